package trend

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// trials is how often a rate is tried; the race detector makes each some ten times as long.
func trials() int {
	if raceEnabled {
		return 25
	}
	return 250
}

// noise is a series without a change: logarithms with a standard deviation, and a share
// of wild runs that cost 30 to 130 per cent more.
func noise(rnd *rand.Rand, n int, sd, wild float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = sd * rnd.NormFloat64()
		if rnd.Float64() < wild {
			x[i] += math.Log(1.3 + rnd.Float64())
		}
	}
	return x
}

// level moves a stretch by a ratio.
func level(x []float64, from, to int, ratio float64) []float64 {
	for i := from; i < to; i++ {
		x[i] += math.Log(ratio)
	}
	return x
}

// slack3 is three standard errors of a share that is tried n times, so that no seed
// decides whether a test passes.
func slack3(share float64, n int) float64 { return 3 * math.Sqrt(share*(1-share)/float64(n)) }

func TestNoiseHardlyEverShowsAChange(t *testing.T) {
	for _, n := range []int{10, 20, 60, 200} {
		for _, wild := range []float64{0, 0.05} {
			rnd := rand.New(rand.NewPCG(11, uint64(n)))
			k, found := trials(), 0
			for range k {
				if len(steps(noise(rnd, n, 0.05, wild))) > 0 {
					found++
				}
			}
			got, most := float64(found)/float64(k), 0.035
			t.Logf("%3d runs, %2.0f %% wild: %4.1f %% show a change", n, 100*wild, 100*got)
			if got > most+slack3(most, k) {
				t.Errorf("%d runs, %g wild: %.1f %% of series without a change show one", n, wild, 100*got)
			}
		}
	}
}

func TestAStepIsFoundWhereItIs(t *testing.T) {
	for _, c := range []struct {
		before, after  int
		sd, wild, step float64
		least          float64 // share in which it is found
	}{
		{10, 10, 0.05, 0, 1.10, 0.75},
		{10, 10, 0.05, 0, 1 / 1.10, 0.75},
		{10, 10, 0.03, 0, 1.10, 0.97},
		{10, 10, 0.05, 0.05, 1.20, 0.75},
		{50, 10, 0.05, 0, 1.10, 0.93},
		{190, 10, 0.05, 0.05, 1.10, 0.80},
		{50, 3, 0.02, 0, 1.10, 0.95},
		{50, 3, 0.02, 0.05, 1.10, 0.85},
		{3, 50, 0.02, 0, 1.10, 0.95},
	} {
		rnd := rand.New(rand.NewPCG(12, 5))
		k, found, inside, near, more := trials(), 0, 0, 0, 0
		for range k {
			n := c.before + c.after
			list := steps(level(noise(rnd, n, c.sd, c.wild), c.before, n, c.step))
			if len(list) > 1 {
				more++
			}
			i := slices.IndexFunc(list, func(s step) bool { return math.Abs(float64(s.at-c.before)) <= 4 })
			if i < 0 {
				continue
			}
			found++
			if math.Abs(float64(list[i].at-c.before)) <= 1 {
				near++
			}
			if list[i].from <= c.before && c.before <= list[i].to {
				inside++
			}
		}
		share := func(n, of int) float64 { return float64(n) / float64(max(1, of)) }
		t.Logf("%3d+%2d runs at %.0f %% noise, %.0f %% wild, %+.0f %%: found %.1f %%, at most a run beside it %.1f %%, in the range told %.1f %%, more than one %.1f %%",
			c.before, c.after, 100*c.sd, 100*c.wild, 100*(c.step-1), 100*share(found, k), 100*share(near, found), 100*share(inside, found), 100*share(more, k))
		if got := share(found, k); got < c.least-slack3(c.least, k) {
			t.Errorf("%+v: found in %.1f %%", c, 100*got)
		}
		if got := share(inside, found); got < 0.9-slack3(0.9, found) {
			t.Errorf("%+v: the range that is told holds it in %.1f %%", c, 100*got)
		}
		if got := share(more, k); got > 0.07+slack3(0.07, k) {
			t.Errorf("%+v: %.1f %% show more than one change", c, 100*got)
		}
	}
}

// Somebody made it slow, somebody else mended it: over the whole series nothing changed.
func TestASpellIsFound(t *testing.T) {
	rnd := rand.New(rand.NewPCG(13, 5))
	k, found := trials(), 0
	for range k {
		list := steps(level(noise(rnd, 120, 0.05, 0), 60, 80, 1.10))
		if len(list) >= 2 && math.Abs(float64(list[0].at-60)) <= 4 && math.Abs(float64(list[len(list)-1].at-80)) <= 4 {
			found++
		}
	}
	if got := float64(found) / float64(k); got < 0.93-slack3(0.93, k) {
		t.Errorf("found in %.1f %%", 100*got)
	}
}

func TestSeveralStepsAreAllFound(t *testing.T) {
	x := noise(rand.New(rand.NewPCG(14, 5)), 120, 0.02, 0.03)
	level(x, 30, 120, 1.15)
	level(x, 60, 120, 1.2)
	level(x, 90, 120, 0.8)
	var at []int
	for _, s := range steps(x) {
		at = append(at, s.at)
	}
	if want := []int{30, 60, 90}; !slices.Equal(at, want) {
		t.Errorf("changes at %v, want %v", at, want)
	}
}

func TestCountersThatNeverVaryChangeOnce(t *testing.T) {
	x := slices.Concat(slices.Repeat([]float64{math.Log(0.0156)}, 20), slices.Repeat([]float64{math.Log(0.0172)}, 3))
	if got := steps(x); len(got) != 1 || got[0].at != 20 || got[0].from != 20 || got[0].to != 20 {
		t.Errorf("%+v", got)
	}
	if got := steps(slices.Repeat([]float64{7}, 50)); len(got) != 0 {
		t.Errorf("of equal figures: %+v", got)
	}
}

func TestOneWildRunIsNoChange(t *testing.T) {
	for at := range 40 {
		x := slices.Repeat([]float64{1}, 40)
		for i := range x {
			x[i] += 0.001 * float64(i*7%5) // some noise, in no order
		}
		x[at] = 9
		if got := steps(x); len(got) != 0 {
			t.Errorf("wild run %d: %+v", at, got)
		}
	}
}

func TestFewFiguresShowNothing(t *testing.T) {
	for n := range Fewest {
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(i / 3)
		}
		if got := steps(x); len(got) != 0 {
			t.Errorf("%d figures: %+v", n, got)
		}
	}
	clear := []float64{0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 5, 5}
	if got := steps(clear); len(got) != 1 {
		t.Errorf("12 figures: %+v", got)
	}
}

func TestTheSameHistoryGivesTheSameAnswer(t *testing.T) {
	x := level(noise(rand.New(rand.NewPCG(15, 5)), 100, 0.05, 0.05), 50, 100, 1.1)
	first := steps(slices.Clone(x))
	for range 3 {
		if got := steps(slices.Clone(x)); !slices.Equal(got, first) {
			t.Fatalf("%+v, then %+v", first, got)
		}
	}
}

// The work that a long history takes is bounded by what is looked at, not by its length.
// The time is not held against a clock here; the benchmark tells it.
func TestALongHistoryIsCutAndSaysSo(t *testing.T) {
	lines := long(Most+500, 1)
	m := Look(lines, Options{})
	if s := m[0].Series[0]; len(s.Points) != Most || s.Cut != 500 || m[0].Runs != Most+500 {
		t.Errorf("%d points, %d cut, %d runs", len(s.Points), s.Cut, m[0].Runs)
	}
	if s := Look(lines[:300], Options{Last: 200})[0].Series[0]; len(s.Points) != 200 || s.Cut != 100 {
		t.Errorf("%d points, %d cut", len(s.Points), s.Cut)
	}
}

// long is a history with a step every 150 runs.
func long(runs, metrics int) []Line {
	rnd := rand.New(rand.NewPCG(16, 5))
	lines := make([]Line, runs)
	for i := range lines {
		l := line(i)
		l.Series = map[string]Value{}
		for m := range metrics {
			l.Series["rpc.m"+string(rune('a'+m))] = Value{100 * math.Exp(0.04*rnd.NormFloat64()+0.1*float64(i/150%2)), "ns/call", 12}
		}
		lines[i] = l
	}
	return lines
}

func BenchmarkLook(b *testing.B) {
	b.ReportAllocs()
	lines := long(2000, 30)
	for b.Loop() {
		began := time.Now()
		Look(lines, Options{})
		b.ReportMetric(time.Since(began).Seconds(), "s/history")
	}
}
