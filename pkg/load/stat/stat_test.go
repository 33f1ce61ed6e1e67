package stat

import (
	"math"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, x := range []struct {
		list []float64
		want float64
	}{{[]float64{7}, 7}, {[]float64{9, 1, 3}, 3}, {[]float64{9, 1, 3, 5}, 4}} {
		if got := Median(x.list); got != x.want {
			t.Errorf("of %v: %g, want %g", x.list, got, x.want)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("of nothing: %g, want NaN", got)
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-4*max(1, math.Abs(want)) {
		t.Errorf("%s: %g, want %g", what, got, want)
	}
}

func TestMoments(t *testing.T) {
	mean, variance := Moments([]float64{2, 4, 4, 4, 5, 5, 7, 9})
	near(t, "mean", mean, 5)
	near(t, "variance", variance, 32.0/7)
	mean, variance = Moments([]float64{3})
	near(t, "mean of one", mean, 3)
	near(t, "variance of one", variance, 0)
}

// Student's quantiles for 4 and 8 degrees of freedom are 2.77645 and 2.30600.
func TestIntervalsOfMeansAndOfDifferences(t *testing.T) {
	a := []float64{1, 2, 3, 4, 5}
	mean, half := Mean(a, 0.975)
	near(t, "mean", mean, 3)
	near(t, "its half", half, 2.77645*math.Sqrt(2.5/5))
	if _, half := Mean(a[:1], 0.975); !math.IsInf(half, 1) {
		t.Errorf("half of one: %g, want +Inf", half)
	}
	for _, x := range []struct {
		b           []float64
		moved, half float64
	}{
		{[]float64{11, 12, 13, 14, 15}, 10, 2.306},           // as noisy
		{[]float64{2, 2, 2}, -1, 2.77645 * math.Sqrt(2.5/5)}, // not noisy at all
	} {
		moved, half := Welch(a, x.b, 0.975)
		near(t, "moved", moved, x.moved)
		near(t, "its half", half, x.half)
	}
	moved, half := Welch([]float64{1, 1}, []float64{2, 2}, 0.975)
	near(t, "moved without noise", moved, 1)
	near(t, "its half", half, 0)
}

func TestTheIntervalOfARateIsExact(t *testing.T) {
	// By the beta distribution's quantiles, as R's binom.test tells them.
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{{0, 20, 0, 0.1684335}, {10, 10, 0.6915029, 1}, {8, 10, 0.4439045, 0.9747893}, {1, 20, 0.0012651, 0.2487328}} {
		low, high := ClopperPearson(c.k, c.n, 0.95)
		if math.Abs(low-c.low) > 1e-6 || math.Abs(high-c.high) > 1e-6 {
			t.Errorf("%d of %d: %v to %v, want %v to %v", c.k, c.n, low, high, c.low, c.high)
		}
	}
}

// None of 300 is the rule of three at 95 %, here at 99 % on that side.
func TestTheLimitsOfARateAreExact(t *testing.T) {
	for _, x := range []struct {
		k, n int
		want float64
	}{{0, 300, 1 - math.Pow(0.01, 1.0/300)}, {0, 1, 0.99}, {1, 1, 1}, {9, 10, math.Pow(0.99, 0.1)}} {
		if _, got := ClopperPearson(x.k, x.n, 0.98); math.Abs(got-x.want) > 1e-6 {
			t.Errorf("%d of %d may be a rate of %g, want %g", x.k, x.n, got, x.want)
		}
	}
}
