package rule

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

var (
	early = Look{Launches: 6, Worse: 0.999, Pass: 0.99, Share: 0.5}
	full  = Look{Launches: 12, Worse: 0.99, Pass: 0.99, Share: 1}
	last  = Look{Launches: 24, Worse: 0.99, Pass: 0.99, Share: 1, Last: true}
)

func TestQuantilesAreThoseOfTheTables(t *testing.T) {
	for _, x := range []struct {
		p    float64
		free int
		want float64
	}{
		{0.99, 3, 4.541}, {0.99, 5, 3.365}, {0.99, 11, 2.718}, {0.99, 23, 2.500},
		{0.999, 5, 5.893}, {0.90, 5, 1.476}, {0.90, 11, 1.363}, {0.90, 23, 1.319},
	} {
		for range 2 { // found, and remembered
			if got := quantile(x.p, x.free); math.Abs(got-x.want) > 0.0005 {
				t.Errorf("t(%g, %d) = %.4f, want %.3f", x.p, x.free, got, x.want)
			}
		}
	}
}

func TestLooksAreDeclaredForAnyNumberOfLaunches(t *testing.T) {
	for _, x := range []struct {
		first, most int
		want        []int
	}{
		{12, 24, []int{6, 12, 24}}, {12, 12, []int{6, 12}}, {12, 3, []int{6, 12}}, {8, 24, []int{4, 8, 24}},
		{7, 24, []int{7, 24}}, {4, 24, []int{4, 24}}, {4, 4, []int{4}}, {4, 5, []int{4, 5}}, {0, 0, []int{4}}, {-7, 2, []int{4}}, {9, 20, []int{4, 9, 20}},
	} {
		var got []int
		for i, l := range Looks(x.first, x.most) {
			got = append(got, l.Launches)
			isLast, isEarly := i == len(x.want)-1, i == 0 && max(x.first, fewest)/2 == l.Launches
			if l.Last != isLast {
				t.Errorf("Looks(%d, %d)[%d].Last = %v", x.first, x.most, i, l.Last)
			}
			if want := (Look{l.Launches, 0.999, 0.99, 0.5, isLast}); isEarly && l != want {
				t.Errorf("the early look is %+v, want %+v", l, want)
			}
			if want := (Look{l.Launches, 0.99, 0.99, 1, isLast}); !isEarly && l != want {
				t.Errorf("a full look is %+v, want %+v", l, want)
			}
		}
		if !reflect.DeepEqual(got, x.want) {
			t.Errorf("Looks(%d, %d) at %v, want %v", x.first, x.most, got, x.want)
		}
	}
}

// Two rows of launches that were measured on a busy machine, as ratios of requests a
// second: the same binary twice, and one that was slowed down by some ten per cent.
var (
	sameTwice = []float64{0.862, 0.953, 0.914, 0.837, 1.019, 1.044}
	planted   = []float64{1.011, 0.915, 0.827, 0.833, 0.922, 0.883}
)

// slower than the base is a higher cost, a rate is its inverse.
func fromRates(ratios []float64) []float64 {
	d := make([]float64, len(ratios))
	for i, r := range ratios {
		d[i] = -math.Log(r)
	}
	return d
}

func TestMeasuredLaunchesAreToldApart(t *testing.T) {
	plain := Look{Launches: 6, Worse: 0.99, Pass: 0.99, Share: 1, Last: true}
	for _, x := range []struct {
		name     string
		d        []float64
		look     Look
		want     Verdict
		mean, tt float64
	}{
		{"the same twice", fromRates(sameTwice), plain, Undecided, 0.065, 1.85},
		{"ten per cent slower", fromRates(planted), plain, Worse, 0.110, 3.6},
		{"ten per cent slower, early", fromRates(planted), early, Undecided, 0.110, 3.6},
	} {
		got := Decide(x.d, Bar{Floor: 0.03}, x.look)
		tt := got.Mean / (got.SD / math.Sqrt(6))
		if got.Verdict != x.want || math.Abs(got.Mean-x.mean) > 0.003 || math.Abs(tt-x.tt) > 0.06 {
			t.Errorf("%s: %v, mean %.3f, t %.2f, want %v, %.3f, %.2f", x.name, got.Verdict, got.Mean, tt, x.want, x.mean, x.tt)
		}
	}
}

// spread is n launches with exactly that mean and standard deviation.
func spread(n int, mean, sd float64) []float64 {
	d := make([]float64, n)
	for i := range d {
		d[i] = float64(i)
	}
	m, s := meanOf(d)
	for i := range d {
		d[i] = mean + (d[i]-m)/s*sd
	}
	return d
}

func TestVerdictsAtTheirEdges(t *testing.T) {
	bar := Bar{Floor: 0.03}
	se := func(sd float64, n int) float64 { return sd / math.Sqrt(float64(n)) }
	floor, shown, half := math.Log(1.03), math.Log(1.10), math.Log(1.05)
	const eps = 1e-6
	for _, x := range []struct {
		name   string
		d      []float64
		bar    Bar
		look   Look
		want   Verdict
		better bool
	}{
		{"low is just above 0", spread(12, quantile(0.99, 11)*se(0.08, 12)+eps, 0.08), bar, full, Worse, false},
		{"low is just below 0", spread(12, quantile(0.99, 11)*se(0.08, 12)-eps, 0.08), bar, full, Undecided, false},
		{"above 0, just above the floor", spread(12, floor+eps, 0.001), bar, full, Worse, false},
		{"above 0, just below the floor", spread(12, floor-eps, 0.001), bar, full, Pass, false},
		{"high is just below what has to be shown", spread(12, shown-quantile(0.99, 11)*se(0.07, 12)-eps, 0.07), bar, full, Pass, false},
		{"high is just above what has to be shown", spread(12, shown-quantile(0.99, 11)*se(0.07, 12)+eps, 0.07), bar, full, Undecided, false},
		{"more has to be shown", spread(12, shown-quantile(0.99, 11)*se(0.07, 12)-eps, 0.07), Bar{Floor: 0.03, Shown: 0.08}, full, Undecided, false},
		{"less has to be shown, since the floor is high", spread(12, 0.13, 0.10), Bar{Floor: 0.25}, full, Pass, false},
		{"less has to be shown, since the floor is higher", spread(12, 0.13, 0.10), Bar{Floor: 0.25, Shown: 0.05}, full, Pass, false},
		{"better", spread(12, -quantile(0.99, 11)*se(0.08, 12)-eps, 0.08), bar, full, Pass, true},
		{"better, but not by the floor", spread(12, -floor+eps, 0.001), bar, full, Pass, false},
		{"perhaps better", spread(12, -quantile(0.99, 11)*se(0.08, 12)+eps, 0.08), bar, full, Pass, false},
		{"nothing moved at all", make([]float64, 12), bar, full, Pass, false},
		{"no spread", spread(12, 0.2, 0), bar, full, Worse, false},

		{"early, all but certain", spread(6, quantile(0.999, 5)*se(0.05, 6)+eps, 0.05), bar, early, Worse, false},
		{"early, not that certain", spread(6, quantile(0.999, 5)*se(0.05, 6)-eps, 0.05), bar, early, Undecided, false},
		{"early, half is ruled out", spread(6, half-quantile(0.99, 5)*se(0.02, 6)-eps, 0.02), bar, early, Pass, false},
		{"early, half is not", spread(6, half-quantile(0.99, 5)*se(0.02, 6)+eps, 0.02), bar, early, Undecided, false},
		{"early, may be better", spread(6, -0.05, 0.03), bar, early, Undecided, false},
		{"early, better", spread(6, -0.05, 0.01), bar, early, Pass, true},
		{"early, may be worse", spread(6, 0.03, 0.013), bar, early, Undecided, false},

		{"by too little in its unit", spread(12, 0.30, 0.01), Bar{Floor: 0.25, Absolute: 1, AtBase: 2}, full, Pass, false},
		{"by enough in its unit", spread(12, 0.42, 0.01), Bar{Floor: 0.25, Absolute: 1, AtBase: 2}, full, Worse, false},
		{"in a unit that the base is unknown in", spread(12, 0.30, 0.01), Bar{Floor: 0.25, Absolute: 1}, full, Worse, false},
		{"may be worse, by nothing that counts", spread(12, 0.10, 0.10), Bar{Floor: 0.03, Absolute: 1, AtBase: 2}, full, Pass, false},
		{"a base that is no number", spread(12, 0.30, 0.01), Bar{Floor: 0.25, Absolute: 1, AtBase: math.NaN()}, full, Worse, false},
	} {
		got := Decide(x.d, x.bar, x.look)
		if got.Verdict != x.want || got.Better != x.better {
			t.Errorf("%s: %v, better %v, want %v, %v", x.name, got.Verdict, got.Better, x.want, x.better)
		}
	}
}

func TestWhatIsNoNumberNeverPasses(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		d := spread(12, 0, 0.001)
		d[7] = bad
		got := Decide(d, Bar{Floor: 0.03}, full)
		if got.Verdict != Undecided || !math.IsInf(got.Low, -1) || !math.IsInf(got.High, 1) || !math.IsInf(got.Visible, 1) {
			t.Errorf("with a %g it is %+v, want nothing known", bad, got)
		}
		if got := Judge(d, Bar{Floor: 0.03}, Looks(12, 12)[1:]); got.Verdict != Undecided || !got.Over {
			t.Errorf("with a %g it is judged %+v, want undecided for good", bad, got)
		}
		if got := Decide(spread(12, 0, 0.001), Bar{Floor: bad}, full); bad > 0 && got.Verdict == Worse {
			t.Errorf("worse than a floor of %g", bad)
		}
	}
	if got := Decide(spread(12, 0, 0.001), Bar{Floor: math.NaN()}, full); got.Verdict != Undecided {
		t.Errorf("with no floor it is %v, want undecided", got.Verdict)
	}
	for n := range 2 {
		if got := Decide(make([]float64, n), Bar{Floor: 0.03}, full); got.Verdict != Undecided || got.N != n {
			t.Errorf("with %d launches it is %+v, want nothing known", n, got)
		}
	}
	if got := Judge(spread(12, 1, 0.001), Bar{}, nil); got.Verdict != Undecided {
		t.Errorf("without any look it is %v", got.Verdict)
	}
}

// A slow-down in one is an improvement in the other, if base and head change places.
func TestBetterIsTheMirrorImageOfWorse(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	for range 2000 {
		look := []Look{early, full, last}[rnd.IntN(3)]
		d, back := make([]float64, look.Launches), make([]float64, look.Launches)
		shift := 0.2 * (rnd.Float64() - 0.5)
		for i := range d {
			d[i] = shift + 0.06*rnd.NormFloat64()
			back[i] = -d[i]
		}
		a, b := Decide(d, ourBar, look), Decide(back, ourBar, look)
		if (a.Verdict == Worse) != b.Better || a.Better != (b.Verdict == Worse) {
			t.Fatalf("%v is %v better %v, mirrored %v better %v", d, a.Verdict, a.Better, b.Verdict, b.Better)
		}
		if math.Abs(a.Low+b.High) > 1e-12 || math.Abs(a.High+b.Low) > 1e-12 {
			t.Fatalf("[%g, %g] mirrored is [%g, %g]", a.Low, a.High, b.Low, b.High)
		}
	}
}

func TestNothingIsDecidedBetweenLooks(t *testing.T) {
	looks := Looks(12, 24)
	// Unclear for six launches, and then so much worse that anybody would see it.
	d := append(spread(6, 0, 0.1), spread(18, 0.6, 0.01)...)
	for n := range 12 {
		got := Judge(d[:n], ourBar, looks)
		if got.Verdict != Undecided || got.Over || got.N != n {
			t.Errorf("after %d launches it is %v of %d", n, got.Verdict, got.N)
		}
		if n >= 2 && math.IsInf(got.Low, 0) {
			t.Errorf("after %d launches nothing is told", n)
		}
	}
	if got := Judge(d[:12], ourBar, looks); got.Verdict != Worse || got.N != 12 {
		t.Errorf("after 12 launches it is %v of %d, want worse", got.Verdict, got.N)
	}
}

func TestTheFirstLookThatDecidesStays(t *testing.T) {
	looks := Looks(12, 24)
	d := append(spread(6, 0, 0.005), spread(18, 0.6, 0.01)...)
	for n := 6; n <= 24; n++ {
		if got := Judge(d[:n], ourBar, looks); got.Verdict != Pass || got.N != 6 || got.Over {
			t.Errorf("after %d launches it is %v of %d, want what the look at 6 had", n, got.Verdict, got.N)
		}
	}
}

func TestAfterTheLastLookItIsOver(t *testing.T) {
	d := make([]float64, 30)
	for i := range d {
		d[i] = 0.05 - 0.3*float64(1-i%2*2)
	}
	got := Judge(d, ourBar, Looks(12, 24))
	if got.Verdict != Undecided || !got.Over || got.N != 24 {
		t.Errorf("it is %v of %d, over %v, want undecided of 24, over", got.Verdict, got.N, got.Over)
	}
}

// visibleAt is what is visible at a look when launches vary by sd.
func visibleAt(sd float64, bar Bar, look Look) float64 {
	return visible(sd/math.Sqrt(float64(look.Launches)), look.Launches-1, bar, look)
}

// What is called visible is found nine times out of ten, and the floor is where it ends.
func TestVisibleIsWhatIsFound(t *testing.T) {
	for _, x := range []struct {
		look      Look
		sd, floor float64
	}{{early, 0.05, 0.03}, {early, 0.01, 0.03}, {full, 0.05, 0.03}, {last, 0.05, 0.03}, {last, 0.08, 0.03}, {full, 0.04, 0.03}, {full, 0.02, 0.05}, {last, 0.01, 0.25}} {
		rnd := rand.New(rand.NewPCG(11, uint64(x.look.Launches)))
		bar := Bar{Floor: x.floor}
		planted := math.Log1p(visibleAt(x.sd, bar, x.look))
		const gates = 4000 / slower
		found := 0
		d := make([]float64, x.look.Launches)
		for range gates {
			for i := range d {
				d[i] = planted + x.sd*rnd.NormFloat64()
			}
			if Decide(d, bar, x.look).Verdict == Worse {
				found++
			}
		}
		t.Logf("%d launches with sd %.2f see %.1f %%: %.1f %% found", x.look.Launches, x.sd, 100*visibleAt(x.sd, bar, x.look), 100*float64(found)/gates)
		wantAtLeast(t, "found", found, gates, 0.82)
		wantAtMost(t, "found", found, gates, 0.95)
	}
	if got := visibleAt(0, Bar{Floor: 0.03}, full); math.Abs(got-0.03) > 1e-12 {
		t.Errorf("without noise %g is visible, want the floor", got)
	}
	d := spread(12, 0.01, 0.05)
	if got, want := Decide(d, ourBar, full).Visible, visibleAt(0.05, ourBar, full); math.Abs(got-want) > 1e-12 {
		t.Errorf("the finding calls %g visible, the function %g", got, want)
	}
}

func BenchmarkDecide(b *testing.B) {
	d := spread(24, 0.01, 0.05)
	b.ReportAllocs()
	for b.Loop() {
		Decide(d, ourBar, last)
	}
}

func BenchmarkJudge(b *testing.B) {
	d := spread(24, 0.05, 0.3)
	looks := Looks(12, 24)
	b.ReportAllocs()
	for b.Loop() {
		Judge(d, ourBar, looks)
	}
}

func TestDecidingAllocatesNothing(t *testing.T) {
	d, looks := spread(24, 0.05, 0.3), Looks(12, 24)
	Judge(d, ourBar, looks) // has the quantiles found
	if n := testing.AllocsPerRun(100, func() { Judge(d, ourBar, looks) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}
