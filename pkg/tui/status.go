package tui

import (
	"fmt"
	"strings"
	"time"

	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/words"
)

// part is a piece of the status line. The higher its rank the sooner it is left out.
type part struct {
	text  string
	style canvas.Style
	rank  int
}

func (s *screen) drawStatus() {
	if s.h == 0 {
		return
	}
	clock := s.store.Now().UTC().Format("15:04:05Z")
	parts := append([]part{{"trackctl", look.Title, 4}}, s.linkParts()...)
	parts = append(parts, s.whoParts()...)
	for st := filter.States; st > 0; st-- {
		if n := s.frame.Counts[st-1]; n > 0 {
			parts = append(parts, part{words.Thousands(n) + string(look.Glyph[st-1]), look.OfState[st-1], 3})
		}
	}
	if slow := s.link.Note(); slow != "" {
		parts = append(parts, part{slow, look.Warn, 6})
	}
	parts = append(parts, part{clock, look.Dim, 5})
	parts = fitParts(parts, s.w-2)
	x := 1
	for i, p := range parts {
		if i == len(parts)-1 && p.text == clock {
			x = max(x, s.w-1-len(clock))
		}
		x = s.c.Text(x, 0, p.text, p.style, look.OnTop) + 1
	}
}

// whoParts say how many devices there are, and what holds some of them back.
func (s *screen) whoParts() []part {
	devices := words.Thousands(s.frame.Status.Devices) + " dev"
	if s.flt == nil {
		return append([]part{{devices, look.Bright, 2}}, s.aside()...)
	}
	parts := []part{{words.Thousands(s.frame.Matched) + " of " + devices, look.Bright, 2}}
	parts = append(parts, s.aside()...)
	return append(parts, part{"/" + canvas.Truncate(s.filterText(), 24), look.Keycap, 6})
}

// aside is what one has to know although the picture does not show it: whose list that is
// where it has no title, and alerts while something else than the present is looked at.
func (s *screen) aside() (parts []part) {
	if s.members != nil && s.lay.kind != panes {
		parts = append(parts, part{s.listTitle(len(s.grouped)), look.Title, 3})
	}
	if n := s.live.Events().Alerting(); n > 0 && s.store != s.live {
		parts = append(parts, part{words.Thousands(n) + "! to be seen", look.Alert, 1})
	}
	return parts
}

// pausedParts say that the picture stands, what came since, and if nothing can come.
func (s *screen) pausedParts(st *fleet.Status) []part {
	parts := []part{{fmt.Sprintf("‖ PAUSED %s new", words.Thousands(int(st.Fixes-s.held.Status().Fixes))), look.Warn, 0}}
	if st.Link.State == fleet.Reconnecting {
		parts = append(parts, s.lostPart(&st.Link))
	}
	return parts
}

func (s *screen) lostPart(link *fleet.Link) part {
	return part{"○ RECONNECTING " + words.Age(s.live.Now().Sub(link.Since)), look.Warn, 0}
}

// linkParts says how the feed is doing.
func (s *screen) linkParts() []part {
	if !s.present() {
		return s.pastParts()
	}
	st := s.live.Status()
	link := st.Link
	link.Note = s.mask.Text(link.Note)
	switch {
	case link.State == fleet.Denied:
		why := canvas.Truncate(s.mask.Text(link.Why), max(s.w-len(" ○ DENIED "), 0))
		return []part{{"○ DENIED", look.Alert, 0}, {why, look.Warn, 0}, {s.again(&link), look.Dim, 7}}
	case s.held != nil:
		return s.pausedParts(&st)
	case link.State == fleet.Connecting:
		return []part{{"○ CONNECTING", look.Warn, 0}, {s.server, look.Dim, 5}}
	case link.State == fleet.Reconnecting:
		return []part{s.lostPart(&link), {s.mask.Text(link.Why), look.Warn, 6}, {s.again(&link), look.Dim, 7}}
	case link.State == fleet.Ended:
		return []part{{"○ ENDED", look.Dim, 0}, {link.Note, look.Dim, 6}}
	}
	label, style := "● LIVE", look.Good
	if st.Lag >= 2*time.Second {
		label, style = "● LAG", look.Warn
	}
	parts := []part{{label, style, 0}, {s.server, look.Dim, 7}}
	if !s.still {
		parts = append(parts, part{words.Rate(s.speed) + " fix/s", look.Text, 4})
	}
	if st.Lag > 0 {
		parts = append(parts, part{"lag " + words.Lag(st.Lag), look.Dim, 5})
	}
	if st.Skipped > 0 {
		parts = append(parts, part{words.Thousands(int(st.Skipped)) + " skipped", look.Warn, 5})
	}
	return parts
}

// fitParts leaves out the least important parts until the rest fits.
func fitParts(parts []part, w int) []part {
	for {
		total, worst := 0, -1
		for i, p := range parts {
			total += canvas.Width(p.text) + 1
			if p.rank > 0 && (worst < 0 || p.rank >= parts[worst].rank) {
				worst = i
			}
		}
		if total-1 <= w || worst < 0 {
			return parts
		}
		parts = append(parts[:worst:worst], parts[worst+1:]...)
	}
}

func (s *screen) drawHints() {
	at := s.lay.hints
	if at < 0 && s.h > 2 && !s.still {
		at = s.h - 1 // a list has no line for hints, but what was asked for has to be answered
	}
	if s.drawSaying(at) || s.lay.hints < 0 || s.drawRetry(at) {
		return
	}
	var parts []part
	for _, row := range s.keys.Rows() {
		if row.Hint != "" {
			key, _, _ := strings.Cut(row.Label, " ")
			parts = append(parts, part{" " + key + " " + row.Hint, look.Dim, row.Rank})
		}
	}
	x := 0
	for _, p := range fitParts(parts, s.w) {
		key, word, _ := strings.Cut(p.text[1:], " ")
		x = s.c.Text(x+1, s.lay.hints, key, look.Keycap, look.OnTop)
		x = s.c.Text(x+1, s.lay.hints, word, p.style, look.OnTop) + 1
	}
}
