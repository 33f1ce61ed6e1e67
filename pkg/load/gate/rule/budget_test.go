package rule

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

var threeLooks = Looks(DefaultFirst, DefaultMost)

// open is a metric with that many launches.
func open(n int, mean, sd float64) []Metric {
	return []Metric{{D: spread(n, mean, sd), Bar: ourBar}}
}

func TestEverybodyGetsToTheFirstLookInTurn(t *testing.T) {
	states := []State{{Name: "rpc", Open: open(0, 0, 0)}, {Name: "fan", Open: open(0, 0, 0)}, {Name: "decided"}, {Name: "ingest", Open: open(0, 0, 0)}}
	var got []string
	for range 18 {
		i, ok := Next(states, NoLimit, threeLooks)
		if !ok {
			t.Fatalf("nobody is next after %v", got)
		}
		got = append(got, states[i].Name)
		states[i].Done++
		states[i].Cost = time.Duration(1+i) * time.Second
	}
	if want := slices.Repeat([]string{"rpc", "fan", "ingest"}, 6); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestWhoIsNext(t *testing.T) {
	const s = time.Second
	at := func(done int, cost time.Duration, open []Metric) State {
		return State{Done: done, Cost: cost, Open: open}
	}
	near, far := open(6, 0.01, 0.03), open(6, 0.07, 0.30) // from being decided at 12
	for _, x := range []struct {
		name   string
		states []State
		left   time.Duration
		want   int // -1: nobody
	}{
		{"nobody is there", nil, NoLimit, -1},
		{"all is decided", []State{at(6, s, nil), at(12, s, nil)}, NoLimit, -1},
		{"all have had their last look", []State{at(24, s, open(24, 0.07, 0.3))}, NoLimit, -1},
		{"no time is left", []State{at(0, 0, open(0, 0, 0))}, 0, -1},
		{"too much was spent", []State{at(0, 0, open(0, 0, 0))}, -s, -1},
		{"one waits for its first look", []State{at(6, s, near), at(5, s, open(5, 0, 0.1))}, NoLimit, 1},
		{"the likelier one", []State{at(6, s, far), at(6, s, near)}, NoLimit, 1},
		{"the cheaper one", []State{at(6, 5*s, near), at(6, s, near)}, NoLimit, 1},
		{"a price that is worth it", []State{at(6, s, far), at(6, 3*s, near)}, NoLimit, 1},
		{"more metrics for the price", []State{at(6, s, near), at(6, s, slices.Concat(near, near))}, NoLimit, 1},
		{"as good as each other", []State{at(6, s, near), at(6, s, near)}, NoLimit, 0},
		{"the likelier one does not fit", []State{at(6, s, far), at(6, 2*s, near)}, 11 * s, 0},
		{"it just fits", []State{at(6, s, far), at(6, 2*s, near)}, 12 * s, 1},
		{"nothing fits", []State{at(6, s, far), at(6, 2*s, near)}, 5 * s, -1},
		{"hopeless, but time is left", []State{at(12, s, open(12, 0.07, 2))}, NoLimit, 0},
		{"what was begun is finished", []State{at(6, s, near), at(9, s, open(9, 0.07, 0.3))}, NoLimit, 1},
		{"even before first looks", []State{at(2, s, open(2, 0, 0.1)), at(9, s, open(9, 0.07, 0.3))}, NoLimit, 1},
		{"what was begun does not fit", []State{at(6, s, near), at(9, 9*s, open(9, 0.07, 0.3))}, 7 * s, 0},
		{"not all first looks fit: the dear one goes without", []State{at(0, 10*s, open(0, 0, 0)), at(1, s, open(1, 0, 0)), at(2, s, open(2, 0, 0.1))}, 20 * s, 1},
		{"then its time is for others", []State{at(1, 10*s, open(1, 0, 0)), at(6, s, near)}, 20 * s, 1},
		{"one that can't be missed", []State{at(6, s, far), at(6, s, open(6, 0.2, 0))}, NoLimit, 1},
		{"one that can't move", []State{at(6, s, far), at(6, s, open(6, 0.04, 0))}, NoLimit, 1},
		{"a metric that came late", []State{at(6, s, open(0, 0, 0)), at(6, s, near)}, NoLimit, 1},
	} {
		i, ok := Next(x.states, x.left, threeLooks)
		if !ok {
			i = -1
		}
		if i != x.want {
			t.Errorf("%s: %d is next, want %d", x.name, i, x.want)
		}
	}
	if _, ok := Next([]State{{Open: near}}, NoLimit, nil); ok {
		t.Error("somebody is next without any look")
	}
}

// The chance is a guess, of which the order of works has to come out right.
func TestTheLikelierOneIsDecidedMoreOften(t *testing.T) {
	rnd := rand.New(rand.NewPCG(21, 1))
	saidBefore, wasBefore := 1.0, 1.0
	for _, x := range []struct{ mean, sd float64 }{{0, 0.05}, {0.05, 0.05}, {0.10, 0.09}, {0.07, 0.09}, {0.04, 0.12}, {0.06, 0.20}} {
		const gates = 4000 / slower
		var said, was float64
		open := 0.0
		d := make([]float64, 12)
		for range gates {
			for i := range d {
				d[i] = x.mean + x.sd*rnd.NormFloat64()
			}
			if Judge(d[:6], ourBar, threeLooks).Verdict != Undecided {
				continue
			}
			open++
			said += Metric{D: d[:6], Bar: ourBar}.chance(threeLooks[1])
			if Judge(d, ourBar, threeLooks).Verdict != Undecided {
				was++
			}
		}
		said, was = said/open, was/open
		t.Logf("mean %.2f, sd %.2f: said %.2f, was %.2f", x.mean, x.sd, said, was)
		if said >= saidBefore || was >= wasBefore {
			t.Errorf("mean %.2f, sd %.2f: said %.2f, was %.2f, after %.2f and %.2f", x.mean, x.sd, said, was, saidBefore, wasBefore)
		}
		saidBefore, wasBefore = said, was
	}
}

func TestReserveIsForOneBatchOfTheDearest(t *testing.T) {
	states := []State{{Cost: 3 * time.Second}, {Cost: 7 * time.Second}, {}}
	for _, x := range []struct {
		looks []Look
		want  time.Duration
	}{{Looks(12, 24), 42 * time.Second}, {Looks(4, 24), 28 * time.Second}, {nil, 0}} {
		if got := Reserve(states, x.looks); got != x.want {
			t.Errorf("%v, want %v", got, x.want)
		}
	}
	if got := Reserve(nil, threeLooks); got != 0 {
		t.Errorf("%v for nothing", got)
	}
}

// work is one of a simulated gate under a budget.
type work struct {
	machine machine
	cost    time.Duration
	d       []float64
}

func (w *work) state() State {
	s := State{Cost: w.cost, Done: len(w.d)}
	if s.Done == 0 {
		s.Cost = 0 // nobody knows yet
	}
	if Judge(w.d, ourBar, threeLooks).Verdict == Undecided {
		s.Open = []Metric{{D: w.d, Bar: ourBar}}
	}
	return s
}

// spend makes launches until the budget is gone, and tells how much of it was spent.
func spend(works []*work, budget time.Duration, next func([]State, time.Duration, []Look) (int, bool)) (spent time.Duration) {
	for {
		states := make([]State, len(works))
		for i, w := range works {
			states[i] = w.state()
		}
		i, ok := next(states, budget-spent, threeLooks)
		if !ok {
			return spent
		}
		works[i].d = append(works[i].d, works[i].machine.pairs(slicePairs))
		spent += works[i].cost
	}
}

// inTurn is what one would do who does not look at anything.
func inTurn(states []State, left time.Duration, _ []Look) (int, bool) {
	least := -1
	for i, s := range states {
		if len(s.Open) > 0 && s.Done < DefaultMost && (least < 0 || s.Done < states[least].Done) {
			least = i
		}
	}
	return least, least >= 0 && states[least].Cost <= left
}

// fourWorks are alike but for their noise and their price.
func fourWorks(seed uint64) []*work {
	works := []*work{
		{machine: machine{slice: 0.08, launch: 0.02}, cost: 6 * time.Second},
		{machine: machine{slice: 0.17, launch: 0.04}, cost: 6 * time.Second},
		{machine: machine{slice: 0.30, launch: 0.10}, cost: 12 * time.Second},
		{machine: machine{slice: 0.12, launch: 0.03}, cost: 9 * time.Second},
	}
	for i, w := range works {
		w.machine.rnd = rand.New(rand.NewPCG(seed, uint64(i)))
	}
	return works
}

// Where launches go depends on what the ones before them said. That does not turn noise
// into alarms, whether the budget is short, just enough, or none.
func TestTheAllocationDoesNotInflateAlarms(t *testing.T) {
	for _, budget := range []time.Duration{4 * time.Minute, 6 * time.Minute, NoLimit} {
		const gates = gates / 8
		alarms, improved, launches := 0, 0, 0
		for k := range gates {
			works := fourWorks(uint64(k))
			if spent := spend(works, budget, Next); spent > budget {
				t.Fatalf("%v spent of %v", spent, budget)
			}
			for _, w := range works {
				launches += len(w.d)
				f := Judge(w.d, ourBar, threeLooks)
				if f.Verdict == Worse {
					alarms++
				}
				if f.Better {
					improved++
				}
			}
		}
		metrics := gates * len(fourWorks(0))
		t.Logf("%.0f s: %.2f %% alarms, %.2f %% improvements, %.1f launches a work", budget.Seconds(),
			100*float64(alarms)/float64(metrics), 100*float64(improved)/float64(metrics), float64(launches)/float64(metrics))
		wantAtMost(t, "alarms", alarms, metrics, alarmsFirst)
		wantAtMost(t, "improvements of nothing", improved, metrics, alarmsFirst)
	}
}

// Deciding after each launch, whenever it happens to look good or bad, does.
func TestLookingAfterEachLaunchWouldInflateAlarms(t *testing.T) {
	var each []Look
	for n := 4; n <= DefaultMost; n++ {
		each = append(each, Look{Launches: n, Worse: 0.99, Pass: 0.99, Share: 1, Last: n == DefaultMost})
	}
	const gates = gates / 2
	got := simulate(launchedPairs{each}, machine{slice: 0.30, launch: 0.10}, gates, 8)
	t.Log(got)
	wantAtLeast(t, "alarms", got.alarms, gates, alarmsFirst)
}

func TestLaunchesGoWhereTheyDecideMost(t *testing.T) {
	const gates = gates / 16
	for _, budget := range []time.Duration{4 * time.Minute, 5 * time.Minute, 6 * time.Minute} {
		var ours, turns int
		for k := range gates {
			for _, x := range []struct {
				next func([]State, time.Duration, []Look) (int, bool)
				hits *int
			}{{Next, &ours}, {inTurn, &turns}} {
				works := fourWorks(uint64(k))
				spend(works, budget, x.next)
				for _, w := range works {
					if Judge(w.d, ourBar, threeLooks).Verdict != Undecided {
						*x.hits++
					}
				}
			}
		}
		metrics := float64(gates * len(fourWorks(0)))
		t.Logf("%v: %.1f %% decided, %.1f %% in turn", budget, 100*float64(ours)/metrics, 100*float64(turns)/metrics)
		if 3*ours < 4*turns {
			t.Errorf("with %v we decide %d metrics, launches in turn %d: want a third more", budget, ours, turns)
		}
	}
}

// A budget that is never used up changes nothing: whatever is not decided gets to its
// last look.
func TestWithoutABudgetEverybodyGetsToTheEnd(t *testing.T) {
	for k := range uint64(20) {
		works := fourWorks(k)
		spend(works, NoLimit, Next)
		for i, w := range works {
			if f := Judge(w.d, ourBar, threeLooks); f.Verdict == Undecided && !f.Over {
				t.Errorf("work %d has ended undecided after %d launches", i, len(w.d))
			} else if len(w.d) != f.N {
				t.Errorf("work %d was decided after %d launches and got %d", i, f.N, len(w.d))
			}
		}
	}
}

func BenchmarkNext(b *testing.B) {
	var states []State
	for i := range 6 {
		states = append(states, State{Done: 6, Cost: time.Duration(1+i) * time.Second, Open: open(6, 0.01*float64(i), 0.1)})
	}
	b.ReportAllocs()
	for b.Loop() {
		Next(states, NoLimit, threeLooks)
	}
}
