package tell

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/words"
)

// narrator chooses what is worth a sentence.
type narrator struct {
	store  *fleet.Store
	filter *filter.Filter
	mask   *fleet.Mask
	frame  fleet.Frame
	seen   uint64 // the version of the store that frame is of

	begun    bool
	told     []uint32 // of each point, the change that was told last
	alarmed  alarmTimes
	followed track.DeviceID // whose news alone is told; 0 is everybody's
	link     fleet.LinkState
	turn     int // of the devices
	said     int
	last     fleet.Status
	lastAt   time.Time

	heard   uint64        // the last event that was taken from the log
	pending []fleet.Event // and what was not told of them, oldest first
	scratch []fleet.Event
}

// alarmTimes is which alarm of a device was told last, by when it was reported.
type alarmTimes map[track.DeviceID]int64

const (
	summaryEvery = 10 // sentences
	eventsMax    = 3  // told one by one; more at once are counted
)

// refresh brings the narrator up to the store.
func (n *narrator) refresh() {
	if !n.begun {
		n.begun = true
		n.lastAt, n.last = n.store.Now(), n.store.Status()
	}
	n.frame.Refresh(n.store, n.filter)
	n.seen = n.frame.Status.Version
	for len(n.told) < len(n.frame.Points) {
		n.told = append(n.told, 0)
	}
	n.hear()
}

// hear takes the events of the log that are news. Those that wait to be told are read
// again: by now one may tell of more devices, or have become part of another.
func (n *narrator) hear() {
	from := n.heard
	if len(n.pending) > 0 {
		from = n.pending[0].N - 1
	}
	n.scratch = n.store.Events().Since(n.scratch[:0], from)
	kept, last := 0, n.heard
	for i := range n.scratch {
		e := &n.scratch[i]
		last = max(last, e.N)
		if e.N > n.heard && n.wants(e) || e.N <= n.heard && n.waits(e.N) {
			n.scratch[kept] = *e
			kept++
		}
	}
	n.heard = last
	n.pending, n.scratch = n.scratch[:kept], n.pending
}

func (n *narrator) waits(number uint64) bool {
	_, found := slices.BinarySearchFunc(n.pending, number, func(e fleet.Event, number uint64) int { return cmp.Compare(e.N, number) })
	return found
}

// wants tells whether an event is to be told. What is told by other means is left to
// them: alarms with the place of the device, the link by its state.
func (n *narrator) wants(e *fleet.Event) bool {
	switch e.Kind {
	case fleet.SOS, fleet.Tamper, fleet.Disconnected, fleet.Refused:
		return false
	}
	return !e.Muted && n.means(e)
}

// means tells whether an event is of somebody whose news is told.
func (n *narrator) means(e *fleet.Event) bool {
	if e.Device == 0 {
		return true
	}
	if n.followed != 0 {
		return e.Device == n.followed
	}
	i := n.store.Find(e.Device)
	return i == fleet.Nobody || int(i) >= len(n.frame.Marks) || n.frame.Marks[i].Matches()
}

// urgent is a line that cannot wait, or nothing.
func (n *narrator) urgent() string {
	if st := n.store.Status(); !n.begun || st.Version != n.seen {
		n.refresh()
	}
	if line := n.alarm(); line != "" {
		return line
	}
	return n.event("alert: ", func(k fleet.Kind) bool { return k == fleet.LowBattery })
}

// news is one line that can wait, or nothing if there is nothing to say.
func (n *narrator) news() string {
	n.refresh()
	if line := n.linkChange(); line != "" {
		return line
	}
	if line := n.event("link: ", ofLink); line != "" {
		return line
	}
	if line := n.event("event: ", func(k fleet.Kind) bool { return k != fleet.LowBattery && !ofLink(k) }); line != "" {
		return line
	}
	if n.said%summaryEvery == 0 {
		if len(n.frame.Points) == 0 {
			return ""
		}
		n.said++
		return n.summary()
	}
	line := n.device()
	if line == "" && n.frame.Status.Fixes == n.last.Fixes {
		return ""
	}
	n.said++
	return line
}

func ofLink(k fleet.Kind) bool { return k == fleet.Resumed || k == fleet.Resynced }

// stamp makes a sentence of the words: one line, with the time before and a full stop
// behind, whatever they come from.
func (n *narrator) stamp(line string) string {
	return n.store.Now().UTC().Format("15:04:05 ") + stopped(line)
}

func stopped(line string) string {
	return strings.TrimRight(strings.ReplaceAll(line, "\n", " "), ". ") + "."
}

var linkWords = [...]string{
	fleet.Connecting: "connecting", fleet.Live: "live", fleet.Reconnecting: "reconnecting", fleet.Ended: "ended", fleet.Denied: "denied",
}

func (n *narrator) linkChange() string {
	link := n.frame.Status.Link
	if link.State == n.link {
		return ""
	}
	n.link = link.State
	if link.State == fleet.Live && n.has(ofLink) {
		return "" // the log has it, and how long it took
	}
	line := "link: " + linkWords[link.State]
	if note := voice(spelled(link.Note)); note != "" {
		line += ", " + note
	}
	return n.stamp(line)
}

// has tells whether an event of some kinds waits to be told.
func (n *narrator) has(of func(fleet.Kind) bool) bool {
	return slices.ContainsFunc(n.pending, func(e fleet.Event) bool { return of(e.Kind) })
}

// alarm tells of a device that reports something for a person: once, and again if it
// goes on after the time for which an alarm is shown.
func (n *narrator) alarm() string {
	for i := range n.frame.Points {
		p := &n.frame.Points[i]
		if !p.Alive() || !p.Alarmed(n.frame.At) || p.Flags&fleet.Muted != 0 {
			continue
		}
		fix, name, ok := n.store.Info(int32(i))
		if told := n.alarmed[fix.Device]; ok && (told == 0 || p.AlarmAt()-told >= filter.AlarmFor.Milliseconds()) {
			n.alarmed[fix.Device] = p.AlarmAt()
			return n.stamp("alert: " + n.describe(&fix, name, i))
		}
	}
	return ""
}

// hush takes all alarms of the moment for heard.
func (n *narrator) hush() {
	for i := range n.frame.Points {
		if p := &n.frame.Points[i]; p.Alive() && p.Alarmed(n.frame.At) {
			fix, _, _ := n.store.Info(int32(i))
			n.alarmed[fix.Device] = p.AlarmAt()
		}
	}
}

// forget drops the alarms that are over: should one come again, it is news.
func (n *narrator) forget() {
	for id, at := range n.alarmed {
		if n.frame.At-at >= filter.AlarmFor.Milliseconds() {
			delete(n.alarmed, id)
		}
	}
}

// event tells of the oldest pending event of some kinds, or counts them if they come
// faster than they can be told.
func (n *narrator) event(prefix string, of func(fleet.Kind) bool) string {
	if !n.has(of) {
		return ""
	}
	first := slices.IndexFunc(n.pending, func(e fleet.Event) bool { return of(e.Kind) })
	counts, total := map[fleet.Kind]int{}, 0
	for i := range n.pending {
		if e := &n.pending[i]; of(e.Kind) {
			counts[e.Kind] += max(e.Times, 1)
			total++
		}
	}
	if total <= eventsMax {
		line := n.stamp(prefix + n.eventWords(&n.pending[first]))
		n.pending = slices.Delete(n.pending, first, first+1)
		return line
	}
	n.pending = slices.DeleteFunc(n.pending, func(e fleet.Event) bool { return of(e.Kind) })
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d times %s", counts[kind], kindWords(kind)))
	}
	return n.stamp(prefix + strings.Join(parts, ", "))
}

// device tells of the next device with news.
func (n *narrator) device() string {
	if n.followed != 0 {
		return n.newsOf(n.store.Find(n.followed))
	}
	for range n.frame.Points {
		i := n.turn % len(n.frame.Points)
		n.turn++
		if !n.frame.Marks[i].Matches() {
			continue
		}
		if line := n.newsOf(int32(i)); line != "" {
			return line
		}
	}
	return ""
}

// newsOf tells of the device at a point, if it changed since that was done last.
func (n *narrator) newsOf(i int32) string {
	if i < 0 || int(i) >= len(n.frame.Points) || !n.frame.Points[i].Alive() || n.told[i] == n.frame.Points[i].Seq {
		return ""
	}
	fix, name, ok := n.store.Info(i)
	if !ok {
		return ""
	}
	n.told[i] = n.frame.Points[i].Seq
	return n.stamp(n.describe(&fix, name, int(i)))
}

// summary is the fleet in one sentence, and where the one is that is followed.
func (n *narrator) summary() string {
	n.forget()
	now, st := n.store.Now(), n.frame.Status
	line := "summary: " + n.counted()
	if d := now.Sub(n.lastAt); d > 0 && st.Fixes > n.last.Fixes {
		line += fmt.Sprintf("; %s fixes a second", words.Rate(float64(st.Fixes-n.last.Fixes)/d.Seconds()))
	}
	n.last, n.lastAt = st, now
	if i := n.store.Find(n.followed); n.followed != 0 && i != fleet.Nobody && int(i) < len(n.frame.Points) {
		fix, name, _ := n.store.Info(i)
		line += ". Following " + n.describe(&fix, name, int(i))
	}
	return n.stamp(line)
}

// counted is how many devices there are, in which states.
func (n *narrator) counted() string {
	line := words.Plural(n.frame.Status.Devices, "device")
	counts := n.frame.Counts
	if n.filter.String() != "" {
		counts = n.matches()
		line = fmt.Sprintf("%d of %s", n.frame.Matched, line)
	}
	for _, s := range []filter.State{filter.Alert, filter.Moving, filter.Idle, filter.Stale, filter.Lost} {
		if c := counts[s]; c > 0 {
			line += fmt.Sprintf(", %d %v", c, s)
		}
	}
	return line
}

func (n *narrator) matches() (counts [filter.States]int) {
	for i, m := range n.frame.Marks {
		if m.Matches() && n.frame.Points[i].Alive() {
			counts[m.State()]++
		}
	}
	return counts
}

func (n *narrator) describe(f *client.Fix, name string, i int) string {
	st, age := filter.Idle, time.Duration(0)
	if i < len(n.frame.Points) {
		st, age = n.frame.Marks[i].State(), n.frame.Points[i].Age(n.frame.At)
	}
	return n.sentence(n.name(f.Device, name), f, st, age)
}

// name is what to call a device aloud.
func (n *narrator) name(id track.DeviceID, name string) string {
	if spoken := voice(n.mask.Name(id, name)); spoken != "" {
		return spoken
	}
	return n.mask.Name(id, id.String())
}
