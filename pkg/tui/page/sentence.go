package page

import (
	"math"
	"strings"
	"time"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/words"
)

// Speaker chooses which answers of a server are worth a sentence. It belongs to one
// goroutine.
type Speaker struct {
	Every time.Duration // between sentences that say the same; 0 says every answer

	at       time.Time // of the last one
	health   health
	dropping bool
}

// Say is the board in a sentence if it is due: at once when the server is well, ill or
// gone otherwise than before, or begins or ceases to drop, else every so often. It is
// empty if it is not.
func (s *Speaker) Say(b *Board, now time.Time) string {
	b.mu.Lock()
	h := b.health(now)
	rate, known := b.rate(dropped)
	b.mu.Unlock()
	is := Speaker{Every: s.Every, at: now, health: h, dropping: known && rate > 0}
	same := is.health == s.health && is.dropping == s.dropping
	if same && !s.at.IsZero() && now.Sub(s.at) < s.Every {
		return ""
	}
	*s = is
	return b.Sentence(now)
}

// Sentence tells the board in a line for logs and screen readers: without glyph art, and
// with a full stop.
func (b *Board) Sentence(now time.Time) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.health(now)
	head := now.UTC().Format("15:04:05") + " " + h.String()
	why := strings.TrimRight(b.reason(h), ".")
	if h == silent || h == waiting {
		return strings.TrimSuffix(head+": "+why, ": ") + "."
	}
	if why != "" {
		head += ", " + why
	}
	parts := []string{b.say("ingest.ok", "taken"), b.say(dropped, "dropped"), b.say("store.stored", "stored")}
	parts = append(parts, none(b.last.Store.Pending)+" waiting", watchers(b.last.Hub["viewers"]))
	if n := b.last.Hub["behind"]; n > 0 {
		parts = append(parts, number(n)+" behind")
	}
	return head + ": " + strings.Join(parts, ", ") + "." + b.mostDropped()
}

// say writes a rate as 12 taken a second, or that it is not known yet.
func (b *Board) say(name, what string) string {
	r, ok := b.rate(name)
	switch {
	case !ok:
		return "unknown " + what
	case r == 0:
		return "none " + what
	case r < 1:
		return "less than 1 " + what + " a second"
	}
	return number(uint64(math.Round(r))) + " " + what + " a second"
}

// mostDropped names the reasons that count just now, the busiest first, empty if none does.
func (b *Board) mostDropped() string {
	var names []string
	busy := 0
	for _, d := range b.reasons() {
		if d.rate > 0 {
			names = append(names, spoken(d.name))
			busy++
		}
	}
	if busy == 0 {
		return ""
	}
	return " Reasons: " + words.All(names, 3, busy) + "."
}

func spoken(name string) string { return strings.ReplaceAll(canvas.Clean(name), "_", " ") }

func none(n uint64) string {
	if n == 0 {
		return "none"
	}
	return number(n)
}

func watchers(n uint64) string {
	if n == 0 {
		return "no watchers"
	}
	return words.Plural(int(n), "watcher")
}
