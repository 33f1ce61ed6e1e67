package rule

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

func TestRatiosAreAboveZeroWhenTheHeadCostsMore(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, x := range []struct {
		base, head, want float64
		err              error
	}{
		{100, 110, 0.0953102, nil}, {110, 100, -0.0953102, nil}, {7, 7, 0, nil}, {1, math.E, 1, nil},
		{1e-300, 1e300, 1381.5510558, nil}, // whose quotient no float64 holds
		{0, 5, inf, ErrFromNothing},
		{0, 0, nan, ErrUnusable}, {5, 0, nan, ErrUnusable}, {-1, 5, nan, ErrUnusable}, {5, -1, nan, ErrUnusable},
		{nan, 5, nan, ErrUnusable}, {5, nan, nan, ErrUnusable}, {inf, 5, nan, ErrUnusable}, {5, inf, nan, ErrUnusable}, {0, nan, nan, ErrUnusable},
	} {
		got, err := logRatio(x.base, x.head)
		if !errors.Is(err, x.err) || !alike(got, x.want, 1e-6) {
			t.Errorf("logRatio(%g, %g) = %g, %v, want %g, %v", x.base, x.head, got, err, x.want, x.err)
		}
	}
}

func alike(a, b, within float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= within
}

func TestALaunchIsTheMedianOfItsPairs(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, x := range []struct {
		name       string
		base, head []float64
		want       float64
		err        error
	}{
		{"odd", []float64{100, 200, 100}, []float64{110, 220, 900}, math.Log(1.1), nil},
		{"even", []float64{1, 1}, []float64{math.E, 1}, 0.5, nil},
		{"a slower machine for one pair", []float64{100, 700, 100}, []float64{110, 770, 110}, math.Log(1.1), nil},
		{"one from nothing", []float64{0, 100, 100}, []float64{5, 110, 110}, math.Log(1.1), nil},
		{"from nothing", []float64{0, 0, 100}, []float64{5, 5, 110}, inf, ErrFromNothing},
		{"none", nil, nil, nan, ErrUnusable},
		{"one is missing", []float64{1, 2}, []float64{1}, nan, ErrUnusable},
		{"one is no number", []float64{1, nan, 1}, []float64{1, 1, 1}, nan, ErrUnusable},
	} {
		got, err := Launch(x.base, x.head)
		if !errors.Is(err, x.err) || !alike(got, x.want, 1e-12) {
			t.Errorf("%s: %g, %v, want %g, %v", x.name, got, err, x.want, x.err)
		}
	}
}

func TestCountersAreComparedAsTheyAre(t *testing.T) {
	bar := Bar{Floor: 0.02}
	three := func(v float64) []float64 { return []float64{v, v, v} }
	for _, x := range []struct {
		name       string
		base, head []float64
		bar        Bar
		want       Verdict
		better     bool
	}{
		{"equal", three(2), three(2), bar, Pass, false},
		{"ten per cent more", three(100), three(110), bar, Worse, false},
		{"just the floor", three(100), three(102), bar, Pass, false},
		{"just above it", three(100), three(102.001), bar, Worse, false},
		{"ten per cent less", three(110), three(100), bar, Pass, true},
		{"just the floor less", three(102), three(100), bar, Pass, false},
		{"one launch is off", three(100), []float64{100, 100, 900}, bar, Pass, false},
		{"too little in its unit", three(0.001), three(0.002), Bar{Floor: 0.02, Absolute: 0.01}, Pass, false},
		{"enough in its unit", three(0.001), three(0.012), Bar{Floor: 0.02, Absolute: 0.01}, Worse, false},
		{"from nothing", three(0), three(0.01), bar, Worse, false},
		{"from nothing, too little", three(0), three(0.01), Bar{Floor: 0.02, Absolute: 0.01}, Pass, false},
		{"to nothing", three(1), three(0), bar, Pass, true},
		{"nothing on either side", three(0), three(0), bar, Pass, false},
		{"missing in head", three(1), nil, bar, Undecided, false},
		{"missing in base", nil, three(1), bar, Undecided, false},
		{"no number", three(1), []float64{1, math.NaN(), 1}, bar, Undecided, false},
		{"no end", three(1), three(math.Inf(1)), bar, Undecided, false},
		{"negative", three(-1), three(1), bar, Undecided, false},
	} {
		got := Counter(x.base, x.head, x.bar)
		if got.Verdict != x.want || got.Better != x.better {
			t.Errorf("%s: %v, better %v, want %v, %v", x.name, got.Verdict, got.Better, x.want, x.better)
		}
	}
	got := Counter(three(100), three(110), bar)
	if want := (Finding{Verdict: Worse, Over: true, N: 3, Mean: math.Log(110) - math.Log(100), Low: got.Mean, High: got.Mean, Visible: 0.02}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := Counter(three(2), three(2), Bar{Floor: 0.02, Absolute: 1}).Visible; got != 0.5 {
		t.Errorf("visible is %g, want one in two", got)
	}
}

func TestSteadyCountersRepeat(t *testing.T) {
	for _, x := range []struct {
		base []float64
		abs  float64
		want bool
	}{
		{[]float64{32, 32, 32}, 0, true}, {[]float64{1000, 1005, 1002}, 0, true}, {[]float64{1000, 1006, 1000}, 0, false},
		{[]float64{3, 4, 3}, 0, false}, {[]float64{3, 4, 3}, 1, true}, {[]float64{0, 0, 0}, 0, true}, {[]float64{0, 0, 1}, 0, false},
		{nil, 0, false}, {[]float64{5}, 0, false}, {[]float64{5, math.NaN()}, 9, false}, {[]float64{5, math.Inf(1)}, 9, false},
	} {
		if got := Steady(x.base, x.abs); got != x.want {
			t.Errorf("Steady(%v, %g) = %v, want %v", x.base, x.abs, got, x.want)
		}
	}
}

// Hollander and Wolfe's permeabilities, by the large sample approximation.
func TestTheOtherRulesTestIsTheRealOne(t *testing.T) {
	x := []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}
	y := []float64{1.15, 0.88, 0.90, 0.74, 1.21}
	if p, more := rankSum(y, x); !more || !alike(p, 2*0.1103, 2e-4) {
		t.Errorf("p = %.4f, more %v, want %.4f", p, more, 2*0.1103)
	}
}

func TestOrderIsBalanced(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	for pairs := range 25 {
		order := Order(rnd, pairs)
		if len(order) != 2*pairs {
			t.Fatalf("%d slices for %d pairs", len(order), pairs)
		}
		var first, at [2]int // how often a side comes first, and the sum of its places
		for i, s := range order {
			at[s] += i
			if i%2 == 0 {
				first[s]++
				if order[i+1] != s.Other() {
					t.Fatalf("pair %d of %v has one side twice", i/2, order)
				}
			}
		}
		if d := first[Base] - first[Head]; d != 0 && (pairs%2 == 0 || d*d != 1) {
			t.Errorf("base comes first %d times, head %d times", first[Base], first[Head])
		}
		if pairs%2 == 0 && at[Base] != at[Head] {
			t.Errorf("a machine that grows slower favours one side in %v", order)
		}
	}
	if got := Order(rnd, -3); len(got) != 0 {
		t.Errorf("%v for no pairs", got)
	}
}

// Each slice of a launch is as often base as head, and a seed gives the same again.
func TestOrderIsRandomButForItsSeed(t *testing.T) {
	var heads [20]int
	const times = 4000
	rnd, again := rand.New(rand.NewPCG(6, 6)), rand.New(rand.NewPCG(6, 6))
	seen := make(map[[20]Side]bool)
	for range times {
		order := [20]Side(Order(rnd, 10))
		if order != [20]Side(Order(again, 10)) {
			t.Fatal("the same seed, another order")
		}
		seen[order] = true
		for i, s := range order {
			heads[i] += int(s)
		}
	}
	for i, n := range heads {
		if z := (float64(n) - times/2) / math.Sqrt(times/4); math.Abs(z) > 4 {
			t.Errorf("slice %d is head %d times of %d", i, n, times)
		}
	}
	if len(seen) != 20 { // five blocks: ten ways to place the two of a kind, for either kind
		t.Errorf("%d orders, want 20", len(seen))
	}
}

func TestNamesOfVerdictsAndSides(t *testing.T) {
	if got := [...]string{Undecided.String(), Pass.String(), Worse.String(), Base.String(), Head.String(), Head.Other().String()}; got != [...]string{"undecided", "pass", "worse", "base", "head", "base"} {
		t.Errorf("%q", got)
	}
	if got := Share(math.Log(1.1)); !alike(got, 0.1, 1e-12) {
		t.Errorf("ln 1.1 is a share of %g", got)
	}
}
