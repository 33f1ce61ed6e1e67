package fleet

import (
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
)

var kindNames = [...]string{"", "silent", "back", "low battery", "sos", "tamper", "jump", "new", "resumed", "resynced", "disconnected", "denied"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return ""
}

// alerts tells whether a person has to look at it.
func (k Kind) alerts() bool { return k == SOS || k == Tamper }

// Event is something that happened to a device or to the feed.
type Event struct {
	N            uint64 // in the order of the log, from 1
	At           time.Time
	Kind         Kind
	Device       track.DeviceID // 0 if it happened to none or to many
	Name, Text   string
	Acked, Muted bool
	Times        int // how often in a row
}

// logSize is how many events are kept.
const logSize = 1000

// Log is the last thousand events. The zero Log is empty and ready; any goroutine may
// use it.
type Log struct {
	mu    sync.Mutex
	last  uint64
	ring  []Event // by N modulo logSize
	muted map[track.DeviceID]bool
}

// Add writes an event down under the next number.
func (l *Log) Add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	e.N, e.Times = l.last, max(e.Times, 1)
	e.Muted = e.Muted || l.muted[e.Device]
	if len(l.ring) < logSize {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[(e.N-1)%logSize] = e
}

// Since appends the events after number n that are still kept, oldest first.
func (l *Log) Since(dst []Event, n uint64) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n = max(n, l.last-uint64(len(l.ring))); n < l.last; n++ {
		dst = append(dst, l.ring[n%logSize])
	}
	return dst
}

// Ack says that a person has seen an event.
func (l *Log) Ack(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > 0 && n <= l.last && l.last-n < uint64(len(l.ring)) {
		l.ring[(n-1)%logSize].Acked = true
	}
}

// AckAll says that a person has seen everything so far.
func (l *Log) AckAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.ring {
		l.ring[i].Acked = true
	}
}

// Mute says whether the coming events of a device are for this person.
func (l *Log) Mute(id track.DeviceID, mute bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.muted == nil {
		l.muted = map[track.DeviceID]bool{}
	}
	if l.muted[id] = mute; !mute {
		delete(l.muted, id)
	}
}

// Alerting counts the events that a person has to look at and nobody has.
func (l *Log) Alerting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for i := range l.ring {
		if e := &l.ring[i]; e.Kind.alerts() && !e.Acked && !e.Muted {
			n++
		}
	}
	return n
}
