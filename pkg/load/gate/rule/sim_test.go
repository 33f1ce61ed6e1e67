package rule

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tracker/pkg/load/stat"
)

// machine is a simulated one, with both servers on it, as noisy as the ones that
// measured. It has a clock of its own: each slice that is measured is one step of it.
type machine struct {
	rnd *rand.Rand
	// Standard deviations of logarithms: of a slice, and of the luck that the ratio of
	// both sides has for a whole launch.
	slice, launch float64
	drift         float64 // what the whole machine moves by from slice to slice
	effect        float64 // planted: the head costs this much more, as a share
	hit           int     // the launch that a burst takes one side of, from 1; 0: none, or anyLaunch
	hitSide       Side

	level    float64    // the drift so far
	luck     [2]float64 // of this launch
	burst    [2]float64 // of this launch
	launches int
}

const (
	anyLaunch = -1 // of those that a batch can have, on any side

	returns   = 0.95  // how much of the drift's level is left after a slice
	bursty    = 0.075 // the share of slices in which something else happens
	burstMost = 0.5   // how much longer they take, at most
	hitBy     = 0.40  // how much more the side costs whose whole launch was hit
)

// start begins a launch of both sides.
func (m *machine) start() {
	m.launches++
	for s := range m.luck {
		m.luck[s] = m.rnd.NormFloat64() * m.launch / math.Sqrt2
		m.burst[s] = 0
	}
	if m.launches == m.hit {
		m.burst[m.hitSide] = math.Log1p(hitBy)
	}
}

// cost is what the next slice of the side costs.
func (m *machine) cost(s Side) float64 {
	m.level = returns*m.level + m.drift*m.rnd.NormFloat64()
	d := m.level + m.luck[s] + m.burst[s] + m.slice*m.heavy()
	if m.rnd.Float64() < bursty {
		d += math.Log1p(burstMost * m.rnd.Float64())
	}
	if s == Head {
		d += math.Log1p(m.effect)
	}
	return 1000 * math.Exp(d)
}

// heavy is Student's t with three degrees of freedom, scaled to a standard deviation of 1.
func (m *machine) heavy() float64 {
	var square float64
	for range 3 {
		z := m.rnd.NormFloat64()
		square += z * z
	}
	return m.rnd.NormFloat64() / math.Sqrt(square)
}

// procedure is a way to gate: it measures on the machine as it likes, and decides.
type procedure interface {
	batch(m *machine) Finding
}

// launchedPairs is ours: pairs of slices in launches, and the looks that were declared.
type launchedPairs struct{ looks []Look }

// slicePairs is how many pairs of slices a launch has.
const slicePairs = 10

var ourBar = Bar{Floor: 0.03}

func (p launchedPairs) batch(m *machine) Finding {
	d := make([]float64, 0, DefaultMost)
	for {
		d = append(d, m.pairs(slicePairs))
		if !atLook(len(d), p.looks) { // where nothing is decided, and that takes time
			continue
		}
		if f := Judge(d, ourBar, p.looks); f.Verdict != Undecided || f.Over {
			return f
		}
	}
}

// pairs is one launch, in the order that we would take.
func (m *machine) pairs(n int) float64 {
	m.start()
	costs := [2][]float64{make([]float64, 0, n), make([]float64, 0, n)}
	for _, s := range Order(m.rnd, n) {
		costs[s] = append(costs[s], m.cost(s))
	}
	d, err := Launch(costs[Base], costs[Head])
	if err != nil {
		panic(err)
	}
	return d
}

// sequential is what is often done: the base first, the head after it, as many slices as
// we spend on 12 launches, in one of each.
func (m *machine) sequential() (base, head []float64) {
	m.start()
	for range 12 * slicePairs {
		base = append(base, m.cost(Base))
	}
	for range 12 * slicePairs {
		head = append(head, m.cost(Head))
	}
	return base, head
}

// threshold fails what is five per cent worse.
type threshold struct{}

func (threshold) batch(m *machine) Finding {
	base, head := m.sequential()
	b, _ := meanOf(base)
	h, _ := meanOf(head)
	if h > 1.05*b {
		return Finding{Verdict: Worse, N: 12}
	}
	return Finding{Verdict: Pass, N: 12}
}

// mannWhitney fails what is worse with p < 0.05, two-sided.
type mannWhitney struct{}

func (mannWhitney) batch(m *machine) Finding {
	base, head := m.sequential()
	if p, more := rankSum(base, head); p < 0.05 && more {
		return Finding{Verdict: Worse, N: 12}
	}
	return Finding{Verdict: Pass, N: 12}
}

// rankSum is the two-sided p of Mann and Whitney's test, by its normal approximation,
// without ties, and whether b is the larger one.
func rankSum(a, b []float64) (p float64, more bool) {
	u := 0.0 // pairs in which b is larger
	sorted := slices.Sorted(slices.Values(a))
	for _, v := range b {
		below, _ := slices.BinarySearch(sorted, v)
		u += float64(below)
	}
	na, nb := float64(len(a)), float64(len(b))
	z := (u - na*nb/2) / math.Sqrt(na*nb*(na+nb+1)/12)
	return math.Erfc(math.Abs(z) / math.Sqrt2), z > 0
}

// tally is how gates went.
type tally struct {
	gates     int
	alarms    int // the first batch was worse
	confirmed int // and so was the second
	better    int
	passed    int // without being better
	launches  int // of the first batch, in all
	// Of the first batch, by the launches that it took.
	decided, worse, cleared map[int]int
}

// simulate gates that often, each on a machine of its own.
func simulate(p procedure, like machine, gates int, seed uint64) tally {
	t := tally{gates: gates, decided: make(map[int]int), worse: make(map[int]int), cleared: make(map[int]int)}
	for k := range gates {
		m := like
		m.rnd = rand.New(rand.NewPCG(seed, uint64(k)))
		if m.hit == anyLaunch {
			m.hit, m.hitSide = 1+m.rnd.IntN(DefaultMost), Side(m.rnd.IntN(2))
		}
		m.level = m.drift / math.Sqrt(1-returns*returns) * m.rnd.NormFloat64()
		f := p.batch(&m)
		t.count(f)
		if f.Verdict == Worse && p.batch(&m).Verdict == Worse {
			t.confirmed++
		}
	}
	return t
}

func (t *tally) count(f Finding) {
	t.launches += f.N
	if f.Verdict != Undecided {
		t.decided[f.N]++
	}
	switch {
	case f.Verdict == Worse:
		t.alarms++
		t.worse[f.N]++
	case f.Better:
		t.better++
	case f.Verdict == Pass:
		t.passed++
		t.cleared[f.N]++
	}
}

func (t tally) String() string {
	share := func(n int) string { return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(t.gates)) }
	return fmt.Sprintf("worse %s, confirmed %s, better %s, passed %s; decided at 6 %s, at 12 %s, at 24 %s; %.1f launches",
		share(t.alarms), share(t.confirmed), share(t.better), share(t.passed),
		share(t.decided[6]), share(t.decided[12]), share(t.decided[24]), float64(t.launches)/float64(t.gates))
}

// sure is how sure a test is that a rate is what it says: the limit has to lie outside of
// the exact binomial (Clopper-Pearson) interval of what was counted, one-sided. So a rate
// that is only just held does not pass, whatever the seed: it would take the luck of one
// in a hundred. Where not enough can be simulated for that, the limit may lie within.
const sure = 0.99

func wantAtMost(t *testing.T, what string, hits, of int, limit float64) {
	t.Helper()
	if low, high := between(hits, of); high > limit && (enough || low > limit) {
		t.Errorf("%s: %d of %d, a rate of %.2f to %.2f %%, want at most %.2f %%", what, hits, of, 100*low, 100*high, 100*limit)
	}
}

func wantAtLeast(t *testing.T, what string, hits, of int, limit float64) {
	t.Helper()
	if low, high := between(hits, of); low < limit && (enough || high < limit) {
		t.Errorf("%s: %d of %d, a rate of %.2f to %.2f %%, want at least %.2f %%", what, hits, of, 100*low, 100*high, 100*limit)
	}
}

// between is the interval of the rate, each end one-sided.
func between(hits, of int) (low, high float64) {
	return stat.ClopperPearson(hits, of, 2*sure-1)
}
