package fleet

import (
	"testing"
	"time"

	"tracker/pkg/client"
)

func TestLagIsTheServersReceiptToHere(t *testing.T) {
	s, c := clockedStore()
	for range 50 {
		s.Apply([]client.Fix{fixOf(1, "a", c.At.Add(-140*time.Millisecond), 1, 1)})
	}
	if got := s.Status().Lag; got != 140*time.Millisecond {
		t.Errorf("lag %v, want 140ms", got)
	}
	s = New(Config{Now: c.Now, ByFixTime: true})
	s.Apply([]client.Fix{fixOf(1, "a", c.At.Add(-time.Hour), 1, 1)})
	if got := s.Status().Lag; got != 0 {
		t.Errorf("the past lags by %v", got)
	}
}

func TestSkewedClocksAreNoLag(t *testing.T) {
	for name, tt := range map[string]struct {
		skew, early, later time.Duration // told in the first minute, and after it
	}{
		"agree":           {0, 100 * time.Millisecond, 100 * time.Millisecond},
		"a little behind": {time.Second, 1100 * time.Millisecond, 1100 * time.Millisecond},
		"far behind":      {time.Minute, time.Minute + 100*time.Millisecond, 0},
		"ahead":           {-time.Minute, 0, 0},
	} {
		var l lag
		now := epoch
		run := func(d, real time.Duration) {
			for range d / time.Second {
				now = now.Add(time.Second)
				l.take(real+tt.skew, now)
			}
		}
		run(30*time.Second, 100*time.Millisecond)
		if got := l.told(now); got != tt.early {
			t.Errorf("%s: %v at first, want %v", name, got, tt.early)
		}
		run(2*time.Minute, 100*time.Millisecond)
		if got := l.told(now); got != tt.later {
			t.Errorf("%s: %v later, want %v", name, got, tt.later)
		}
		// A real one is told all the same.
		run(50*time.Second, 5*time.Second)
		if got := l.told(now); got < 4*time.Second {
			t.Errorf("%s: a lag of 5s is told as %v", name, got)
		}
		run(5*time.Minute, 100*time.Millisecond)
		if got := l.told(now); got > tt.later+10*time.Millisecond {
			t.Errorf("%s: %v after it was over", name, got)
		}
	}
}
