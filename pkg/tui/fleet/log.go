package fleet

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"tracker/pkg/track"
)

// Kind is what happened.
type Kind uint8

const (
	Silent Kind = iota + 1
	Back
	LowBattery
	SOS
	Tamper
	Jump
	Appeared // its first fix since the map was opened
	Resumed
	Resynced
	Disconnected
	Refused // the server does not let this viewer in any more
	kinds
)

var kindNames = [kinds]string{"", "silent", "back", "low battery", "sos", "tamper", "jump", "new", "resumed", "resynced", "disconnected", "denied"}

func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return ""
}

// Alerts tells whether a person has to look at it.
func (k Kind) Alerts() bool { return k == SOS || k == Tamper }

// OfLink tells whether it happened to the feed, not to a device.
func (k Kind) OfLink() bool { return k >= Resumed && k < kinds }

// Event is something that happened to a device or to the feed.
type Event struct {
	N            uint64 // in the order of the log, from 1
	At           time.Time
	Kind         Kind
	Device       track.DeviceID // 0 if it happened to none or to many
	Name, Text   string         // of the device; and what happened, without the name
	Acked, Muted bool
	Times        int // how often in a row, or to how many

	// What Text is made of when somebody asks.
	span   time.Duration
	num    int64
	lost   bool // of a silence: it became a long one
	storm  bool // one line for many
	folded bool // into the line of a storm
}

// unknown is a number that nobody knows.
const unknown = -1

// logSize is how many events are kept.
const logSize = 1000

// stormFrom is how many events of a kind may come within a second. If more do, all of
// them become one line: a network that is down must not flush the log.
const stormFrom = 20

// storm counts the events of a kind that came within a second.
type storm struct {
	from, last time.Time
	n          int
	lines      [stormFrom]uint64 // numbers of the first ones
	line       uint64            // the one line for all; 0 as long as they are few
}

// goesOn tells whether an event at a moment belongs to it.
func (w *storm) goesOn(at time.Time) bool {
	from := w.from
	if w.line != 0 {
		from = w.last // a storm lasts until a second passes without
	}
	return w.n > 0 && at.Sub(from).Abs() < time.Second // the clock may have been set
}

// Log is the last thousand events. The zero Log is empty and ready; any goroutine may
// use it.
type Log struct {
	mu      sync.Mutex
	last    uint64
	changes uint64
	ring    []Event // by N modulo logSize
	muted   map[track.DeviceID]bool
	storms  [kinds][2]storm // of the kind, and of devices that are muted
	flag    func(id track.DeviceID, mute bool)
}

// Add writes an event down and returns its number: that of one line for many, if more
// than twenty of its kind come within a second.
func (l *Log) Add(e Event) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Times = max(e.Times, 1)
	e.Muted = e.Muted || l.muted[e.Device]
	w := &l.storms[e.Kind%kinds][0]
	if e.Muted {
		w = &l.storms[e.Kind%kinds][1]
	}
	if !w.goesOn(e.At) {
		*w = storm{from: e.At}
	}
	w.n++
	w.last = e.At
	switch {
	case l.kept(w.line):
		l.grow(w.line, 1)
		return w.line
	case w.n > stormFrom:
		l.fold(w)
		w.line = l.write(Event{At: w.from, Kind: e.Kind, Muted: e.Muted, Times: w.n, storm: true})
		return w.line
	}
	w.lines[w.n-1] = l.write(e)
	return l.last
}

// fold hides the single lines of what has become a storm.
func (l *Log) fold(w *storm) {
	for _, n := range w.lines {
		if l.kept(n) {
			l.line(n).folded = true
		}
	}
}

func (l *Log) write(e Event) uint64 {
	l.last++
	l.changes++
	e.N = l.last
	if len(l.ring) < logSize {
		l.ring = append(l.ring, e)
	} else {
		*l.line(e.N) = e
	}
	return e.N
}

// line is the event of a number that is kept.
func (l *Log) line(n uint64) *Event { return &l.ring[(n-1)%logSize] }

func (l *Log) kept(n uint64) bool { return n > 0 && n <= l.last && l.last-n < uint64(len(l.ring)) }

// grow says that what a line tells happened again: it wants to be looked at again.
func (l *Log) grow(n uint64, num int64) {
	e := l.line(n)
	e.Times++
	e.num += num
	e.Text = ""
	if e.storm {
		e.Acked = false
	}
	l.changes++
}

// again counts one more of what line n tells, if it is still there and of that kind.
func (l *Log) again(n uint64, kind Kind, num int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.kept(n) || l.line(n).Kind != kind {
		return false
	}
	l.grow(n, num)
	return true
}

// turnLost makes a long silence out of the silence in line n, unless it is one line for
// many.
func (l *Log) turnLost(n uint64, span time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.kept(n) || l.line(n).Kind != Silent {
		return false
	}
	if e := l.line(n); !e.storm {
		e.lost, e.span, e.Text = true, span, ""
		l.changes++
	}
	return true
}

// Since appends the events after number n that are still kept, oldest first. A line may
// change after it was read, when a silence becomes a long one or when something goes on:
// Version tells.
func (l *Log) Since(dst []Event, n uint64) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n = max(n, l.last-uint64(len(l.ring))) + 1; n <= l.last; n++ {
		if e := l.line(n); !e.folded {
			dst = append(dst, e.read())
		}
	}
	return dst
}

// Version is another number after every change of the log.
func (l *Log) Version() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changes
}

// Ack says that a person has seen an event.
func (l *Log) Ack(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept(n) {
		l.line(n).Acked = true
		l.changes++
	}
}

// AckLast acknowledges the newest event that a person has to look at and nobody has, and
// returns it.
func (l *Log) AckLast() (e Event, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := l.last; l.kept(n); n-- {
		if e := l.line(n); e.alerting() {
			e.Acked = true
			l.changes++
			return e.read(), true
		}
	}
	return Event{}, false
}

// AckAll says that a person has seen everything so far, and returns the number of the
// last of it.
func (l *Log) AckAll() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ackTo(l.last)
	return l.last
}

// AckTo says that a person has seen what is there up to a number.
func (l *Log) AckTo(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ackTo(n)
}

func (l *Log) ackTo(n uint64) {
	for i := range l.ring {
		if l.ring[i].N <= n {
			l.ring[i].Acked = true
		}
	}
	l.changes++
}

// Mute says whether the coming events of a device are for this person. Its point is
// flagged, so that the map can show it.
func (l *Log) Mute(id track.DeviceID, mute bool) {
	l.mu.Lock()
	if l.muted == nil {
		l.muted = map[track.DeviceID]bool{}
	}
	if l.muted[id] = mute; !mute {
		delete(l.muted, id)
	}
	l.changes++
	flag := l.flag
	l.mu.Unlock()
	if flag != nil {
		flag(id, mute) // takes the store's lock, under which the store takes ours
	}
}

// MuteLike mutes those who are muted in another log. It is for the log of a store that is
// empty.
func (l *Log) MuteLike(other *Log) {
	other.mu.Lock()
	muted := maps.Clone(other.muted)
	other.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.muted = muted
}

// Muted tells whether the events of a device are not for this person.
func (l *Log) Muted(id track.DeviceID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.muted[id]
}

// Alerting counts the events that a person has to look at and nobody has.
func (l *Log) Alerting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for i := range l.ring {
		if l.ring[i].alerting() {
			n++
		}
	}
	return n
}

func (e *Event) alerting() bool { return e.Kind.Alerts() && !e.Acked && !e.Muted && !e.folded }

// read is the event for others. Its words are made once, when somebody wants them: most
// events of a storm are never read.
func (e *Event) read() Event {
	if e.Text == "" {
		e.Text = e.words()
	}
	r := *e
	r.span, r.num, r.lost, r.storm = 0, 0, false, false
	return r
}

var stormWords = [kinds]string{
	Silent: "%d devices silent", Back: "%d devices back", LowBattery: "%d devices low on battery",
	SOS: "%d reports of sos", Tamper: "%d reports of tampering", Jump: "%d jumps", Appeared: "%d new devices",
}

func (e *Event) words() string {
	if e.storm {
		if stormWords[e.Kind] == "" {
			return fmt.Sprintf("%d times %v", e.Times, e.Kind)
		}
		return fmt.Sprintf(stormWords[e.Kind], e.Times)
	}
	text := e.single()
	if e.Times > 1 && e.Kind.Alerts() {
		text += fmt.Sprintf(", %d times", e.Times)
	}
	return text
}

func (e *Event) single() string {
	switch e.Kind {
	case Silent:
		return e.silence()
	case Back:
		return "back after " + brief(e.span)
	case LowBattery:
		if e.num == unknown {
			return "battery low"
		}
		return fmt.Sprintf("battery low, %d%%", e.num)
	case SOS:
		return "reports sos"
	case Tamper:
		return "reports tampering"
	case Jump:
		if e.num == unknown {
			return "jumped"
		}
		return "jumped " + far(e.num) + " in " + brief(e.span)
	case Appeared:
		return "first fix"
	case Resynced:
		return fmt.Sprintf("%d fixes skipped: this viewer was too slow", e.num)
	}
	return e.Kind.String()
}

func (e *Event) silence() string {
	text := "silent for " + brief(e.span)
	if e.lost {
		text = "lost, " + text
	}
	if e.num > 0 {
		text += ", usually every " + brief(time.Duration(e.num))
	}
	return text
}

// brief is a duration in its largest unit. The words of the rooms above are not for
// this one, which is below them.
func brief(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// far is a distance in metres.
func far(m int64) string {
	if m < 10_000 {
		return fmt.Sprintf("%d m", m)
	}
	return fmt.Sprintf("%d km", m/1000)
}
