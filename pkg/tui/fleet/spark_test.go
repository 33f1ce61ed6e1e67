package fleet

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

// slots writes a spark as a line, a dot for nothing.
func slots(s *Store, what Measure) string {
	var b strings.Builder
	for _, v := range s.Spark(nil, s.Find(1), what) {
		if v == Nothing {
			b.WriteByte('.')
			continue
		}
		fmt.Fprint(&b, v, " ")
	}
	return b.String()
}

func TestSparkHasAValueForEverySlot(t *testing.T) {
	s, c := clockedStore()
	drives := func(mps float64, percent int) {
		apply(s, 1, "van", func(f *client.Fix) {
			f.Has |= track.HasVel | track.HasBat
			f.Speed, f.Battery = mps, percent
		})
	}
	drives(1, 80)
	drives(1, 10) // the same fix again is none
	c.Advance(time.Second)
	drives(4, 79) // the latest of a minute counts
	if got := slots(s, OfSpeed); got != strings.Repeat(".", 31)+"400 " {
		t.Errorf("speed: %s", got)
	}
	c.Advance(2 * time.Minute)
	drives(0, 78)
	c.Advance(time.Minute)
	apply(s, 1, "van", nil) // does not know its speed
	if got := slots(s, OfSpeed); got != strings.Repeat(".", 28)+"400 .0 ." {
		t.Errorf("speed: %s", got)
	}
	if got := slots(s, OfBattery); got != strings.Repeat(".", 23)+"78 " {
		t.Errorf("battery: %s", got)
	}
	c.Advance(29 * time.Minute) // silence
	if got := slots(s, OfSpeed); got != ".0 "+strings.Repeat(".", 30) {
		t.Errorf("speed: %s", got)
	}
	c.Advance(time.Hour)
	drives(9, 60)
	if got, want := slots(s, OfSpeed), strings.Repeat(".", 31)+"900 "; got != want {
		t.Errorf("speed: %s", got)
	}
	if got := slots(s, OfBattery); !strings.HasSuffix(got, "60 ") || strings.Count(got, ".") != 22 {
		t.Errorf("battery: %s", got)
	}
	c.Advance(-10 * time.Minute) // a clock that is turned back
	drives(1, 50)
	if got := slots(s, OfSpeed); got != strings.Repeat(".", 32) {
		t.Errorf("speed: %s", got)
	}
	c.Advance(1000 * time.Hour)
	if got := slots(s, OfSpeed) + slots(s, OfBattery); got != strings.Repeat(".", 32+24) {
		t.Errorf("long after: %s", got)
	}
	for _, i := range []int32{Nobody, 1, 1 << 30} {
		if got := s.Spark(nil, i, OfSpeed); got != nil {
			t.Errorf("nobody at %d: %v", i, got)
		}
	}
}

func TestSparkKeepsSpeedsToTwoPercent(t *testing.T) {
	for _, mps := range []float64{0, 0.5, 1, 5, 13.9, 36, 120, 340, 645} {
		got, want := float64(openSpeed(packSpeed(mps)))/100, mps
		if math.Abs(got-want) > 0.1+0.02*want {
			t.Errorf("%v m/s is kept as %v", want, got)
		}
	}
	for _, mps := range []float64{-1, 1e9, math.Inf(1), math.Inf(-1), math.NaN()} {
		if v := openSpeed(packSpeed(mps)); v < -1 || v > math.MaxUint16 {
			t.Errorf("%v m/s is kept as %d", mps, v)
		}
	}
	if OfSpeed.Slot() != time.Minute || OfBattery.Slot() != time.Hour {
		t.Error("slots changed their length")
	}
}
