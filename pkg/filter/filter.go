// Package filter is what people type to say which devices they mean, and the words
// for how a device is. One grammar serves every place that shows devices:
//
//	text ── Parse ──► Filter ── Match(Subject) ──► in or out
//
// The room knows no screens and no wire: whoever has devices fills a Subject.
package filter

import (
	"fmt"
	"strings"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Subject is what a filter looks at. Callers keep one and fill it again for each
// device: Match allocates nothing.
type Subject struct {
	ID       track.DeviceID
	Name     string
	State    State
	Age      time.Duration // since it was heard, or in the past since its fix
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

// Filter tells which devices are meant. A nil Filter means all of them. It is
// immutable and may be used by any number of goroutines.
type Filter struct{ text string }

// Parse understands a filter, or returns an *Error that says where it does not. So far
// every text means all devices, so nothing that people can reach calls it.
func Parse(s string) (*Filter, error) { return &Filter{strings.TrimSpace(s)}, nil }

// Match tells whether a device is meant.
func (f *Filter) Match(*Subject) bool { return true }

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
	Names   Parts = 1 << iota // the name or id
	Numbers                   // what comes with a fix
	Clock                     // how long ago something was
)

// Uses tells what the answers of the filter depend on.
func (f *Filter) Uses() Parts { return 0 }

// Error is a mistake in a filter.
type Error struct {
	Text string // the filter
	At   int    // byte offset of the mistake
	Msg  string
	Want string // what would have been right there; may be empty
}

// Error quotes the filter with a caret under the mistake.
func (e *Error) Error() string {
	at := min(max(e.At, 0), len(e.Text))
	msg := e.Msg
	if e.Want != "" {
		msg += ": want " + e.Want
	}
	return fmt.Sprintf("%s\n  %s\n  %s^", msg, e.Text, strings.Repeat(" ", len([]rune(e.Text[:at]))))
}

// Key is a word before a colon. Help, completion and documentation are made of these.
type Key struct{ Name, Help, Example string }

// Keys are the keys there are.
var Keys []Key

// Complete lists the keys that begin with prefix.
func Complete(prefix string) []string {
	var names []string
	for _, k := range Keys {
		if strings.HasPrefix(k.Name, prefix) {
			names = append(names, k.Name)
		}
	}
	return names
}
