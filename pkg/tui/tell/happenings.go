package tell

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/words"
)

// happening is an event that is to be told.
type happening struct {
	fleet.Event
	since time.Time // it was heard of
	grown time.Time // it was last heard to have happened again
	told  int       // of its times; more than 0 only for one line of the log for many
}

const (
	gather  = 2 * time.Second  // what happens to others within belongs into the same sentence
	settle  = 2 * time.Second  // without more of it, a line for many is complete
	longest = 10 * time.Second // to wait for that
)

// hear takes the events of the log that are news. Those that wait to be told are read
// again: by now one may tell of more devices, or have become part of another.
func (n *narrator) hear() {
	from := n.heard
	if len(n.pending) > 0 {
		from = n.pending[0].N - 1
	}
	n.scratch = n.store.Events().Since(n.scratch[:0], from)
	now, last := n.store.Now(), n.heard
	var kept []happening
	for i := range n.scratch {
		e := &n.scratch[i]
		last = max(last, e.N)
		if e.N > n.heard {
			if n.wants(e) {
				kept = append(kept, happening{Event: *e, since: now, grown: now})
			}
			continue
		}
		if h, waits := n.waiting(e.N); waits {
			if e.Times != h.Times {
				h.grown = now
			}
			h.Event = *e
			if h.told == 0 || now.Sub(h.grown) < longest {
				kept = append(kept, h)
			}
		}
	}
	n.heard, n.pending = last, kept
}

func (n *narrator) waiting(number uint64) (h happening, ok bool) {
	i, ok := slices.BinarySearchFunc(n.pending, number, func(h happening, number uint64) int { return cmp.Compare(h.N, number) })
	if ok {
		h = n.pending[i]
	}
	return h, ok
}

// wants tells whether an event is to be told. What is told by other means is left to
// them: alarms with the place of the device, the link by its state.
func (n *narrator) wants(e *fleet.Event) bool {
	switch e.Kind {
	case fleet.SOS, fleet.Tamper, fleet.Disconnected, fleet.Refused:
		return false
	}
	return !e.Muted && n.means(e.Device)
}

// means tells whether news of a device is told; 0 is many, or none.
func (n *narrator) means(id track.DeviceID) bool {
	switch {
	case id == 0:
		return true
	case n.followed != 0:
		return id == n.followed
	}
	i := n.store.Find(id)
	return i == fleet.Nobody || int(i) >= len(n.frame.Marks) || n.frame.Marks[i].Matches()
}

// ready tells whether an event may be told: when others had time to join it. What a
// person has to know at once, and what happens to the feed, waits for nobody.
func (h *happening) ready(now time.Time) bool {
	many := h.Device == 0 && !h.Kind.OfLink()
	switch {
	case h.Times <= h.told:
		return false
	case many:
		return now.Sub(h.grown) >= settle || now.Sub(h.since) >= longest
	case h.Kind.OfLink(), h.Kind == fleet.LowBattery:
		return true
	}
	return now.Sub(h.since) >= gather
}

// happened tells what happened of a kind, in one sentence, however many it happened to.
func (n *narrator) happened(prefix string, kind fleet.Kind) string {
	now := n.store.Now()
	due := slices.ContainsFunc(n.pending, func(h happening) bool { return h.Kind == kind && h.ready(now) })
	if !due {
		return ""
	}
	var one *fleet.Event
	var names []string
	who := map[track.DeviceID]bool{}
	count, others := 0, false
	var kept []happening
	for i := range n.pending {
		h := &n.pending[i]
		switch {
		case h.Kind != kind:
			kept = append(kept, *h)
		case h.Device == 0 && !kind.OfLink():
			others = others || h.told > 0
			count += h.Times - h.told
			h.told = h.Times
			kept = append(kept, *h)
		default:
			one = &h.Event
			if h.Device != 0 && !who[h.Device] {
				who[h.Device] = true
				names = append(names, n.name(h.Device, h.Name))
				count++
			}
		}
	}
	n.pending = kept
	if one != nil && count <= 1 {
		what, _, _ := strings.Cut(n.single(one), "; ") // the rest is for who asks
		return n.stamp(prefix + what + n.lastSeen(one))
	}
	return n.stamp(prefix + several(kind, names, count, others))
}

// several says what happened to many.
func several(kind fleet.Kind, names []string, count int, others bool) string {
	what := sayings[kind].many
	if len(names) == count && count <= namesMax {
		return words.All(names, namesMax, count) + " " + what
	}
	who := words.Plural(count, "device")
	if others {
		who = strings.Replace(who, " ", " more ", 1)
	}
	if len(names) == 0 {
		return who + " " + what
	}
	return who + " " + what + ": " + words.All(names, namesMax-1, count)
}

// lastSeen is where the device of an event is, if that is known.
func (n *narrator) lastSeen(e *fleet.Event) string {
	i := n.store.Find(e.Device)
	fix, _, ok := n.store.Info(i)
	if e.Device == 0 || !ok || !fix.HasPos() {
		return ""
	}
	return ", " + n.about(&fix)
}

var linkWords = [...]string{
	fleet.Connecting: "connecting", fleet.Live: "live", fleet.Reconnecting: "lost, trying again", fleet.Ended: "ended", fleet.Denied: "not allowed any more",
}

func (n *narrator) linkChange() string {
	link := n.frame.Status.Link
	if link.State == n.link {
		return ""
	}
	n.link = link.State
	if link.State == fleet.Live && slices.ContainsFunc(n.pending, func(h happening) bool { return h.Kind.OfLink() }) {
		return "" // the log has it, and how long it took
	}
	line := "link: " + linkWords[link.State]
	note, _, _ := strings.Cut(link.Note, ", again in ") // the number is old when it was said
	if note = voice(spelled(n.mask.Text(note))); note != "" {
		line += ": " + note
	}
	return n.stamp(line)
}
