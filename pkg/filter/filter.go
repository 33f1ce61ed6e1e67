// Package filter is what people type to say which devices they mean, and the words
// for how a device is. One grammar serves every place that shows devices: lists, streams
// and the map.
//
//	van !(idle|lost)        a name with van in it, and neither … nor …
//	    │ Parse
//	    ▼
//	and ─┬─ van             a tree, which is also what String writes
//	     └─ not ─ or ─┬─ idle
//	    │             └─ lost
//	    │ compile
//	    ▼
//	2 van?  ─yes─► 1 idle?  ─no─► 0 lost?  ─no─► in
//	  └no─► out      └yes─► out     └yes─► out
//
// The room knows no screens and no wire: whoever has devices fills a Subject, and Match
// follows the questions until one leads in or out.
package filter

import (
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Never is the age of a device that was never heard: more than any other.
const Never = time.Duration(1<<63 - 1)

// Subject is what a filter looks at. Callers keep one and fill it again for each
// device: Match allocates nothing itself (a regular expression borrows from a pool), but
// lets a Subject escape.
type Subject struct {
	ID       track.DeviceID
	Name     string
	State    State
	Age      time.Duration // since it was heard, or in the past since its fix; Never
	At       geo.Point     // with track.HasPos
	Has      track.Has
	Speed    float64    // metres a second, with track.HasVel
	Course   float64    // degrees clockwise from north, with track.HasVel
	Alt      int        // metres, with track.HasAlt
	Battery  int        // percent, with track.HasBat
	Accuracy geo.Meters // with track.HasAcc

	Power, Jump, Suspect, Late bool

	Event  string
	Status string   // in lists of the registry only: active, revoked
	Alarms []string // likewise
}

// Filter tells which devices are meant. A nil Filter and the zero one mean all of them.
// It is immutable and may be used by any number of goroutines.
type Filter struct {
	steps []step
	first int
	text  string
	uses  Parts
}

// Match tells whether a device is meant.
func (f *Filter) Match(s *Subject) bool {
	if f == nil || len(f.steps) == 0 {
		return true
	}
	at := f.first
	for at >= 0 {
		step := &f.steps[at]
		if step.test.holds(s) {
			at = step.yes
		} else {
			at = step.no
		}
	}
	return at == in
}

// String is the filter in its canonical form, which parses to the same filter.
func (f *Filter) String() string {
	if f == nil {
		return ""
	}
	return f.text
}

// Parts says what an answer of a filter depends on, and so how long it holds.
type Parts uint8

const (
	Names    Parts = 1 << iota // the name or id
	Numbers                    // what comes with a fix
	Clock                      // how long ago something was
	Registry                   // Status and Alarms, which only lists of the registry know
)

// Uses tells what the answers of the filter depend on.
func (f *Filter) Uses() Parts {
	if f == nil {
		return 0
	}
	return f.uses
}
