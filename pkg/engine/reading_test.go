package engine

import (
	"errors"
	"math"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// The words are those that clients see, by every door.
func TestReadingKeepsTheRules(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	good := Claim{Time: 1_700_000_000_000, Has: track.HasPos | track.HasVel | track.HasBat, At: geo.Deg(50, 10)}
	for name, tc := range map[string]struct {
		change func(*Claim)
		want   string
	}{
		"time before":   {func(c *Claim) { c.Time = -1 }, "fixes: number 2: time is not in whole unix milliseconds: invalid"},
		"half time":     {func(c *Claim) { c.Time += 0.5 }, "fixes: number 2: time is not in whole unix milliseconds: invalid"},
		"no time":       {func(c *Claim) { c.Time = math.NaN() }, "fixes: number 2: time is not in whole unix milliseconds: invalid"},
		"endless time":  {func(c *Claim) { c.Time = math.Inf(1) }, "fixes: number 2: time is not in whole unix milliseconds: invalid"},
		"year 2200":     {func(c *Claim) { c.Time = 7.3e12 }, "fixes: number 2: time is not in whole unix milliseconds: invalid"},
		"not in order":  {func(c *Claim) { c.Time -= 10 }, "fixes: number 2: older than the one before; want oldest first: invalid"},
		"unknown part":  {func(c *Claim) { c.Has |= 32 }, "fixes: number 2: has names a part that is unknown: invalid"},
		"north of pole": {func(c *Claim) { c.At.Lat = 900_000_001 }, "fixes: number 2: place is not on the globe: invalid"},
		"course":        {func(c *Claim) { c.Course = 36000 }, "fixes: number 2: course is not in 0..35999: invalid"},
		"battery":       {func(c *Claim) { c.Battery = 101 }, "fixes: number 2: battery is neither 0..100 nor 127: invalid"},
		"ahead":         {func(c *Claim) { c.Time += 180_000 }, "the clock of the device is 3m0s ahead"},
		"nothing wrong": {func(c *Claim) { c.Time += 120_000 }, ""},
		"not looked at": {func(c *Claim) { c.Has, c.Course, c.Battery, c.At.Lat = 0, 65535, 255, math.MaxInt32 }, ""},
	} {
		r := NewReading()
		bad := good
		tc.change(&bad)
		err := r.Add(&good)
		if err == nil {
			err = r.Add(&bad)
		}
		if err == nil {
			err = r.Done(now)
		}
		if got := text(err); got != tc.want || err != nil && !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
		r.Free()
	}
}

func TestReportHasSomeFixesAndNotTooMany(t *testing.T) {
	const want = "fixes: want 1..448 of them: invalid"
	r := NewReading()
	defer r.Free()
	if got := text(r.Done(time.Now())); got != want {
		t.Errorf("none: got %q", got)
	}
	for range MaxReport {
		if err := r.Add(&Claim{Time: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Done(time.Now()); err != nil {
		t.Errorf("all that it may have: got %v", err)
	}
	if got := text(r.Add(&Claim{Time: 1})); got != want {
		t.Errorf("one more: got %q", got)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
