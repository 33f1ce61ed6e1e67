package tell

import (
	"fmt"
	"time"

	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/words"
)

// narrator chooses what is worth a sentence: what changed, and what needs a person first.
//
//	call for help, low battery            at once
//	the link                              as it changes
//	silent, jumped, back, first seen      gathered for a moment, one sentence for many
//	summary                               first, then every minute in which it changed
//	a device                              where it is one of few, or the one that is followed
type narrator struct {
	store  *fleet.Store
	filter *filter.Filter
	mask   *fleet.Mask
	asked  bool // somebody may ask questions
	frame  fleet.Frame
	seen   uint64 // the version of the store that frame is of

	alarmed  alarmTimes
	followed track.DeviceID // whose news alone is told; 0 is everybody's
	link     fleet.LinkState
	turn     int       // of the devices
	told     []telling // of each point, the last one
	summed   summing   // likewise of all

	heard   uint64 // the last event that was taken from the log
	pending []happening
	scratch []fleet.Event
}

// alarmTimes is which alarm of a device was told last, by when it was reported.
type alarmTimes map[track.DeviceID]int64

// telling is what was last told of a device, and when.
type telling struct {
	of    track.DeviceID // a point may be another's by now
	at    time.Time      // zero: never
	seq   uint32         // of its point
	state filter.State
	city  int // the closest one; none is -1
}

// summing is what the last summary was made of.
type summing struct {
	at     time.Time // zero: there was none
	counts [filter.States]int
	of     int       // devices
	fixes  uint64    // then
	newest uint64    // fixes by now
	moved  time.Time // when those grew
}

const (
	summaryEvery = time.Minute      // if it is another one
	quietEvery   = 10 * time.Minute // if it is the same

	few         = 20               // devices; of more, none is told by itself
	deviceEvery = time.Minute      // of one of few
	followEvery = 30 * time.Second // of the one that is followed
	alarmsMax   = 3                // told one by one; more at once are counted
	namesMax    = 3                // of those who are counted
)

// refresh brings the narrator up to the store.
func (n *narrator) refresh() {
	n.frame.Refresh(n.store, n.filter)
	n.seen = n.frame.Status.Version
	for len(n.told) < len(n.frame.Points) {
		n.told = append(n.told, telling{})
	}
	if n.summed.moved.IsZero() || n.frame.Status.Fixes != n.summed.newest {
		n.summed.moved, n.summed.newest = n.store.Now(), n.frame.Status.Fixes
	}
	n.hear()
}

// urgent is a line that cannot wait, or nothing.
func (n *narrator) urgent() string {
	if n.store.Status().Version != n.seen {
		n.refresh()
	}
	if line := n.alarm(); line != "" {
		return line
	}
	return n.happened("alert: ", fleet.LowBattery)
}

// news is one line that can wait, or nothing if there is nothing to say.
func (n *narrator) news() string {
	n.refresh()
	if line := n.linkChange(); line != "" {
		return line
	}
	for _, kind := range []fleet.Kind{fleet.Resumed, fleet.Resynced} {
		if line := n.happened("link: ", kind); line != "" {
			return line
		}
	}
	if n.summed.at.IsZero() {
		if !n.frame.Status.Loaded {
			return ""
		}
		return n.summary()
	}
	for _, kind := range []fleet.Kind{fleet.Silent, fleet.Jump, fleet.Back, fleet.Appeared} {
		if line := n.happened("", kind); line != "" {
			return line
		}
	}
	if n.due() {
		return n.summary()
	}
	return n.device()
}

// stamp makes a sentence of the words, with the time before it.
func (n *narrator) stamp(line string) string {
	return n.store.Now().UTC().Format("15:04:05 ") + stopped(line)
}

// alarm tells of devices that report something for a person: once, and again if it goes
// on after the time for which an alarm is shown. Of many at once it names some.
func (n *narrator) alarm() string {
	var new []int32
	for i := range n.frame.Points {
		p := &n.frame.Points[i]
		if !p.Alive() || !p.Alarmed(n.frame.At) || p.Flags&fleet.Muted != 0 {
			continue
		}
		fix, _, ok := n.store.Info(int32(i))
		if told := n.alarmed[fix.Device]; ok && (told == 0 || p.AlarmAt()-told >= filter.AlarmFor.Milliseconds()) {
			new = append(new, int32(i))
		}
	}
	switch {
	case len(new) == 0:
		return ""
	case len(new) <= alarmsMax:
		n.hush(new[:1])
		return n.stamp("alert: " + n.brief(new[0]))
	}
	n.hush(new)
	var names []string
	for _, i := range new[:namesMax] {
		fix, name, _ := n.store.Info(i)
		names = append(names, n.name(fix.Device, name))
	}
	line := fmt.Sprintf("alert: %s raise an alarm: %s", words.Plural(len(new), "device"), words.All(names, namesMax, len(new)))
	if n.asked {
		line += ". Ask for alerts to hear them all"
	}
	return n.stamp(line)
}

// hush takes the alarms at some points for heard.
func (n *narrator) hush(points []int32) {
	for _, i := range points {
		if fix, _, ok := n.store.Info(i); ok {
			n.alarmed[fix.Device] = n.frame.Points[i].AlarmAt()
		}
	}
}

// alarms are the points at which a device reports something for a person.
func (n *narrator) alarms() (at []int32) {
	for i := range n.frame.Points {
		if p := &n.frame.Points[i]; p.Alive() && p.Alarmed(n.frame.At) {
			at = append(at, int32(i))
		}
	}
	return at
}

// forget drops the alarms that are over: should one come again, it is news.
func (n *narrator) forget() {
	for id, at := range n.alarmed {
		if n.frame.At-at >= filter.AlarmFor.Milliseconds() {
			delete(n.alarmed, id)
		}
	}
}

// device tells of the next device with news, where they are few or one is followed.
func (n *narrator) device() string {
	if n.followed != 0 {
		return n.newsOf(n.store.Find(n.followed), true)
	}
	if n.frame.Matched > few {
		return ""
	}
	for range n.frame.Points {
		i := n.turn % len(n.frame.Points)
		n.turn++
		if !n.frame.Marks[i].Matches() {
			continue
		}
		if line := n.newsOf(int32(i), false); line != "" {
			return line
		}
	}
	return ""
}

// newsOf tells of the device at a point, if it does something else, or is somewhere else,
// than when that was told last. Of one that is followed every move is news.
func (n *narrator) newsOf(i int32, followed bool) string {
	if i < 0 || int(i) >= len(n.told) {
		return ""
	}
	p, last, every := &n.frame.Points[i], &n.told[i], deviceEvery
	if followed {
		every = followEvery
	}
	fix, _, ok := n.store.Info(i)
	if !ok || !p.Alive() {
		return ""
	}
	if last.of != fix.Device {
		*last = telling{of: fix.Device}
	}
	now, st := n.store.Now(), n.state(i)
	first := last.at.IsZero()
	if p.Seq == last.seq || !first && now.Sub(last.at) < every {
		return ""
	}
	last.seq = p.Seq
	if st > filter.Moving && !first {
		return "" // an event told it
	}
	city := -1
	if near, ok := n.nearest(&fix); ok {
		city = near.City
	}
	if !first && st == last.state && city == last.city && !(followed && st == filter.Moving) {
		return ""
	}
	*last = telling{fix.Device, now, p.Seq, st, city}
	return n.stamp(n.brief(i))
}

// due tells whether there ought to be a summary: soon if it is another one than the
// last, else so that one hears that somebody is still there.
func (n *narrator) due() bool {
	since := n.store.Now().Sub(n.summed.at)
	counts, of := n.counts()
	return since >= quietEvery || since >= summaryEvery && (counts != n.summed.counts || of != n.summed.of)
}

// summary is the fleet in one sentence, and where the one is that is followed.
func (n *narrator) summary() string {
	n.forget()
	now, last := n.store.Now(), n.summed
	n.summed.at, n.summed.fixes = now, last.newest
	n.summed.counts, n.summed.of = n.counts()
	line := "summary: " + n.counted()
	quiet, since := now.Sub(last.moved), now.Sub(last.at)
	switch {
	case n.summed.of == 0 || n.link != fleet.Live:
	case quiet >= summaryEvery:
		line += ". Nobody was heard for " + words.Spoken(quiet)
	case !last.at.IsZero() && since >= summaryEvery:
		line += ". " + words.SpokenRate(float64(last.newest-last.fixes)/since.Seconds(), "fix")
	}
	if open := n.store.Events().Alerting(); open > 0 && n.asked {
		line += ". " + words.Plural(open, "alert") + " not acknowledged"
	}
	if i := n.store.Find(n.followed); n.followed != 0 && i != fleet.Nobody {
		line += ". Following " + n.brief(i)
	}
	return n.stamp(line)
}

// counts is how many devices are in which states, and how many there are.
func (n *narrator) counts() (counts [filter.States]int, of int) {
	if n.filter.String() == "" {
		return n.frame.Counts, n.frame.Status.Devices
	}
	for i, m := range n.frame.Marks {
		if m.Matches() && n.frame.Points[i].Alive() {
			counts[m.State()]++
		}
	}
	return counts, n.frame.Status.Devices
}

// counted says so, those that want to be seen first.
func (n *narrator) counted() string {
	counts, of := n.counts()
	line := words.Plural(of, "device")
	switch {
	case of == 0:
		return "no devices"
	case n.filter.String() != "":
		line = words.Thousands(n.frame.Matched) + " of " + line
	}
	for _, s := range []filter.State{filter.Alert, filter.Lost, filter.Stale, filter.Moving, filter.Idle} {
		if c := counts[s]; c > 0 {
			line += fmt.Sprintf(", %s %v", words.Thousands(c), s)
		}
	}
	return line
}
