package trend

import (
	"math"
	"math/rand/v2"
	"slices"

	"tracker/pkg/load/stat"
)

// A change is looked for in logarithms, so that ten per cent are ten per cent wherever
// they are, and a wild run counts for no more than one that is just unusual.
//
//	▂▂▃▂▃▆▅▆▆▅▆   a step: the place that parts low from high best
//	▂▂▃▂▆▅▆▂▃▂▂   a spell: a stretch that differs from what lies on both its sides, which
//	              no single place would part well
//
// The best one is held against the best ones in the same figures, shuffled: if hardly any
// shuffle reaches it, it is a change, and what lies on its sides is looked at in turn.
// Shuffles are seeded by how many figures there are, so the same history gives the same
// answer.
const (
	shortest = 3   // runs on each side of a change: a single wild one is none
	shuffles = 999 // so the smallest p is 0.001
	glances  = 199 // shuffles that tell whether it is worth a closer look
	limit    = 0.02
	// wildest is how many times the noise a figure can lie off and count for more.
	wildest = 2.5
)

// step is a change between at-1 and at, or rather at one of the places from from to to.
type step struct {
	at, from, to int
	p            float64
}

// steps finds the changes in a series.
func steps(x []float64) []step {
	cuts := find(x, 0, len(x), nil)
	slices.Sort(cuts)
	cuts = settle(x, cuts)
	return prune(x, cuts)
}

// find adds the changes from lo to hi to cuts.
func find(x []float64, lo, hi int, cuts []int) []int {
	s := newSearch(x[lo:hi])
	if s == nil {
		return cuts
	}
	from, to, found := s.change()
	if !found {
		return cuts
	}
	cuts = find(x, lo, lo+from, append(cuts, lo+from))
	if to < hi-lo {
		cuts = find(x, lo+from, lo+to, append(cuts, lo+to))
	}
	return find(x, lo+to, hi, cuts)
}

// settle moves each change to the best place between its neighbours, which were not known
// when it was found.
func settle(x []float64, cuts []int) []int {
	for range 3 {
		moved := false
		for k := range cuts {
			lo, hi := between(cuts, k, len(x))
			s := newSearch(x[lo:hi])
			if s == nil {
				continue
			}
			if at, _ := s.step(s.sums); lo+at != cuts[k] {
				cuts[k], moved = lo+at, true
			}
		}
		if !moved {
			break
		}
	}
	return cuts
}

// prune leaves only changes that hold between their neighbours, the weakest first to go.
func prune(x []float64, cuts []int) []step {
	judged := map[[2]int]step{} // by the stretch: most stay the same when one goes
	for {
		list := make([]step, 0, len(cuts))
		worst := -1
		for k, at := range cuts {
			lo, hi := between(cuts, k, len(x))
			found, known := judged[[2]int{lo, hi}]
			if !known {
				found = judge(x, lo, at, hi)
				judged[[2]int{lo, hi}] = found
			}
			list = append(list, found)
			if p := list[k].p; p > limit && (worst < 0 || p > list[worst].p) {
				worst = k
			}
		}
		if worst < 0 {
			return list
		}
		cuts = settle(x, slices.Delete(cuts, worst, worst+1))
	}
}

// between is the stretch from the change before the k-th to the one after it.
func between(cuts []int, k, n int) (lo, hi int) {
	lo, hi = 0, n
	if k > 0 {
		lo = cuts[k-1]
	}
	if k+1 < len(cuts) {
		hi = cuts[k+1]
	}
	return lo, hi
}

// search looks for the best place in one stretch.
type search struct {
	scores  []float64 // see scores
	sums    []float64 // sums[i] is that of the first i scores
	weights []float64 // weights[i] is that of sums[i]
	spans   []span
	rnd     *rand.Rand
}

// span is a stretch that could be a spell, and the weight of its sum.
type span struct {
	from, to int
	weight   float64
}

// newSearch is nil where there is nothing to look for: too few figures, or all equal.
func newSearch(x []float64) *search {
	n := len(x)
	if n < 2*shortest {
		return nil
	}
	s := &search{scores: scores(x), sums: make([]float64, n+1), rnd: rand.New(rand.NewPCG(uint64(n), 1))}
	if s.scores == nil {
		return nil
	}
	sum(s.sums, s.scores)
	s.weights = make([]float64, n)
	for i := 1; i < n; i++ {
		s.weights[i] = weight(i, n)
	}
	return s
}

// scores are figures as shares of their noise, those that lie wide cut to wildest, with
// mean 0 and variance 1; nil if all are equal. The noise is taken from neighbours, so a
// step does not count as noise.
func scores(x []float64) []float64 {
	n := len(x)
	mid, noise := stat.Median(x), spread(x)
	if noise == 0 {
		return nil
	}
	r := make([]float64, n)
	var mean, squares float64
	for i, v := range x {
		r[i] = min(max((v-mid)/noise, -wildest), wildest)
		mean += r[i] / float64(n)
	}
	for i := range r {
		r[i] -= mean
		squares += r[i] * r[i]
	}
	scale := math.Sqrt(float64(n) / squares)
	for i := range r {
		r[i] *= scale
	}
	return r
}

// spread is the noise of a series: its standard deviation, were it normal and had it no
// changes. Where most neighbours are equal, it is what all differ from the middle.
func spread(x []float64) float64 {
	steps := make([]float64, 0, len(x))
	for i := 1; i < len(x); i++ {
		steps = append(steps, math.Abs(x[i]-x[i-1]))
	}
	if m := stat.Median(steps); m > 0 {
		return m / (0.6745 * math.Sqrt2)
	}
	mid, all := stat.Median(x), 0.0
	for _, v := range x {
		all += math.Abs(v-mid) / float64(len(x))
	}
	return all
}

func sum(into, scores []float64) {
	for i, r := range scores {
		into[i+1] = into[i] + r
	}
}

// weight makes sums of k of n scores comparable: under shuffling, the mean of sum² times
// it is about 1.
func weight(k, n int) float64 { return float64(n) / (float64(k) * float64(n-k)) }

// spans are the stretches that are tried as spells. To try all would cost the square of
// their number; lengths that grow by a third and begin every quarter of a length miss no
// spell by much, and the best is then fitted to the figures.
func spans(n int) []span {
	var list []span
	for long := shortest; long <= n-2*shortest; long = max(long+1, long*4/3) {
		for from := shortest; from+long <= n-shortest; from += max(1, long/4) {
			list = append(list, span{from, from + long, weight(long, n)})
		}
	}
	return list
}

// step is the best place for a step, and how good it is.
func (s *search) step(sums []float64) (at int, best float64) {
	n := len(s.scores)
	for t := shortest; t <= n-shortest; t++ {
		if v := sums[t] * sums[t] * s.weights[t]; v > best {
			at, best = t, v
		}
	}
	return at, best
}

// spell is the best of the spans.
func (s *search) spell(sums []float64) (at span, best float64) {
	for _, sp := range s.spans {
		d := sums[sp.to] - sums[sp.from]
		if v := d * d * sp.weight; v > best {
			at, best = sp, v
		}
	}
	return at, best
}

// fit moves the ends of a spell to where they part it best.
func (s *search) fit(at span) (from, to int) {
	n := len(s.scores)
	from, to = at.from, at.to
	good := func(i, j int) float64 {
		d := s.sums[j] - s.sums[i]
		return d * d * s.weights[j-i]
	}
	for range 4 {
		was := [2]int{from, to}
		for i := shortest; i <= to-shortest; i++ {
			if good(i, to) > good(from, to) {
				from = i
			}
		}
		for j := from + shortest; j <= n-shortest; j++ {
			if good(from, j) > good(from, to) {
				to = j
			}
		}
		if was == [2]int{from, to} {
			break
		}
	}
	return from, to
}

// change is the best change of the stretch: a step at from, with to at the end, or a
// spell. found tells whether shuffles hardly ever show the like.
func (s *search) change() (from, to int, found bool) {
	s.spans = spans(len(s.scores))
	at, step := s.step(s.sums)
	long, spell := s.spell(s.sums)
	pStep, pSpell := s.chances(glances, step, spell)
	isStep, isSpell := pStep <= limit, len(s.spans) > 0 && pSpell <= limit/4
	switch {
	case isSpell && (!isStep || spell > step):
		from, to = s.fit(long)
		return from, to, true
	case isStep:
		return at, len(s.scores), true
	}
	return 0, 0, false
}

// slack is how much less likely than the best place another one may be and still be the
// one where the change is: twice the difference of the logarithms of the likelihoods.
const slack = 8

// judge tells how likely shuffled figures show a step like the one at a place in a
// stretch, and where else it could be.
func judge(x []float64, lo, at, hi int) step {
	s := newSearch(x[lo:hi])
	if s == nil {
		return step{at: at, from: at, to: at, p: 1}
	}
	best, v := s.step(s.sums)
	found := step{at: lo + best, from: lo + best, to: lo + best}
	found.p, _ = s.chances(shuffles, v, 0)
	n := float64(len(s.scores))
	unexplained := func(v float64) float64 { return max(n-v, 1e-9) }
	for t := shortest; t <= len(s.scores)-shortest; t++ {
		other := s.sums[t] * s.sums[t] * s.weights[t]
		if n*math.Log(unexplained(other)/unexplained(v)) < slack {
			found.from, found.to = min(found.from, lo+t), max(found.to, lo+t)
		}
	}
	return found
}

// chances are the shares of so many shuffles that show a step and a spell at least as
// good, or 1 if it is clear before the end that the share is above its limit.
func (s *search) chances(of int, step, spell float64) (pStep, pSpell float64) {
	most := limit * float64(of+1)
	shuffled, sums := slices.Clone(s.scores), make([]float64, len(s.sums))
	nStep, nSpell := 1.0, 1.0 // the figures as they are count as one of them
	for range of {
		isStep, isSpell := nStep <= most, len(s.spans) > 0 && nSpell <= most/4
		if !isStep && !isSpell {
			return 1, 1
		}
		s.rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		sum(sums, shuffled)
		if isStep {
			if _, v := s.step(sums); v >= step*(1-1e-9) {
				nStep++
			}
		}
		if isSpell {
			if _, v := s.spell(sums); v >= spell*(1-1e-9) {
				nSpell++
			}
		}
	}
	share := func(n, most float64) float64 {
		if n > most {
			return 1
		}
		return n / float64(of+1)
	}
	return share(nStep, most), share(nSpell, most/4)
}
