package engine

import (
	"fmt"
	"math"
	"sync"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// MaxReport is how many fixes a report may hold.
const MaxReport = 448

// The rules for what a report says: those for the body of a datagram.
const (
	aheadMost  = 2 * time.Minute // of our clock
	maxTime    = 1 << 32 * 1000  // ms; a datagram counts seconds in 32 bits
	maxCourse  = 36000
	maxPercent = 100
	noPercent  = 127
	knownHas   = track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat
)

// Claim is a fix as somebody reports it, in the units of a fix. What Has does not name is
// not looked at, and what is the server's to say is not here.
type Claim struct {
	Time          float64 // unix milliseconds
	At            geo.Point
	Accuracy      float64 // centimetres
	Speed, Course uint16
	Alt           int16
	Has           track.Has
	Battery       uint8
	Event         track.Event
}

// BadReport is why nothing of a report was taken. The words are the same by every door.
type BadReport struct {
	Ahead bool // the clock of the device is
	why   string
}

func (e *BadReport) Error() string { return e.why }

// Unwrap makes it one of what is invalid.
func (e *BadReport) Unwrap() error { return track.ErrInvalid }

// Reading is a report while a door reads it, claim by claim, oldest first. It is lent by
// NewReading, and Free gives it back with the fixes in it.
type Reading struct {
	Fixes []track.Fix
}

var readings = sync.Pool{New: func() any { return new(Reading) }}

// NewReading begins to read a report.
func NewReading() *Reading { return readings.Get().(*Reading) }

// Free gives a reading back.
func (r *Reading) Free() {
	r.Fixes = r.Fixes[:0]
	readings.Put(r)
}

// Add takes the next fix of the report, or says what is wrong with the report.
func (r *Reading) Add(c *Claim) error {
	n := len(r.Fixes)
	if n == MaxReport {
		return countError()
	}
	var f track.Fix
	if wrong := c.read(&f); wrong != "" {
		return r.Refuse(wrong)
	}
	if n > 0 && f.Time < r.Fixes[n-1].Time {
		return r.Refuse("older than the one before; want oldest first")
	}
	r.Fixes = append(r.Fixes, f)
	return nil
}

// Refuse is the error for the next fix, when a door finds that it cannot be one.
func (r *Reading) Refuse(wrong string) error {
	return &BadReport{why: fmt.Sprintf("fixes: number %d: %s: %v", len(r.Fixes)+1, wrong, track.ErrInvalid)}
}

// Done judges the report as a whole.
func (r *Reading) Done(now time.Time) error {
	n := len(r.Fixes)
	if n == 0 {
		return countError()
	}
	// The last is the newest.
	if ahead := time.UnixMilli(r.Fixes[n-1].Time).Sub(now); ahead > aheadMost {
		return &BadReport{Ahead: true, why: "the clock of the device is " + ahead.Round(time.Second).String() + " ahead"}
	}
	return nil
}

func countError() error {
	return &BadReport{why: fmt.Sprintf("fixes: want 1..%d of them: %v", MaxReport, track.ErrInvalid)}
}

// read makes a fix of a claim, and says which rule it breaks.
func (c *Claim) read(f *track.Fix) (wrong string) {
	switch {
	case !(c.Time >= 0 && c.Time < maxTime) || c.Time != math.Trunc(c.Time):
		return "time is not in whole unix milliseconds"
	case c.Has&^knownHas != 0:
		return "has names a part that is unknown"
	}
	f.Time, f.Has, f.Event = int64(c.Time), c.Has, c.Event
	if c.Has&track.HasPos != 0 {
		if f.At = c.At; !f.At.Valid() {
			return "place is not on the globe"
		}
	}
	if c.Has&track.HasAlt != 0 {
		f.Alt = c.Alt
	}
	if c.Has&track.HasVel != 0 {
		if f.Speed, f.Course = c.Speed, c.Course; f.Course >= maxCourse {
			return "course is not in 0..35999"
		}
	}
	if c.Has&track.HasAcc != 0 {
		f.Acc = wire.AccuracyCode(c.Accuracy)
	}
	if c.Has&track.HasBat != 0 {
		f.Bat = c.Battery
		if pct := f.Bat & 0x7f; pct > maxPercent && pct != noPercent {
			return "battery is neither 0..100 nor 127"
		}
	}
	return ""
}
