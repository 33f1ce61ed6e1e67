package rule

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// NoLimit is the time left when nobody set any.
const NoLimit = time.Duration(math.MaxInt64)

// Metric is one cost of a work so far.
type Metric struct {
	D   []float64 // one number a launch
	Bar Bar
}

// State is how far a work has come. A launch serves all metrics of its work.
type State struct {
	Name string
	Cost time.Duration // of one launch, as seen so far; 0: none has been
	Done int           // launches
	Open []Metric      // those that are Undecided; none: it needs no more launches
}

// Next says which work gets the next launch, so that launches go where they decide most.
// It is false when there is nothing to decide any more, or not in the time that is left.
//
// At first everybody gets to the first look, in turn, so that a machine that changes over
// minutes does not meet each of them with another face. Then the look that is likeliest
// to decide for its price comes first, and what was begun is finished. A look that can't
// be reached in the time left is not begun; if not even all first ones can be, those
// that take least are.
func Next(states []State, left time.Duration, looks []Look) (i int, ok bool) {
	if left <= 0 || len(looks) == 0 {
		return 0, false
	}
	var begun, first, later []int
	for i, s := range states {
		switch look, ok := s.next(looks); {
		case !ok:
		case look.Launches == looks[0].Launches:
			first = append(first, i)
		case !atLook(s.Done, looks) && s.need(look) <= left:
			begun = append(begun, i)
		case s.need(look) <= left:
			later = append(later, i)
		}
	}
	if len(begun) > 0 {
		return begun[0], true
	}
	if turn := together(states, first, left, looks[0]); len(turn) > 0 {
		return slices.MinFunc(turn, func(a, b int) int { return states[a].Done - states[b].Done }), true
	}
	return worthiest(states, later, looks)
}

// next is the first look that s has not had.
func (s State) next(looks []Look) (Look, bool) {
	at := slices.IndexFunc(looks, func(l Look) bool { return l.Launches > s.Done })
	if at < 0 || len(s.Open) == 0 {
		return Look{}, false
	}
	return looks[at], true
}

// need is the time that s takes to get to the look.
func (s State) need(look Look) time.Duration {
	return time.Duration(look.Launches-s.Done) * s.Cost
}

func atLook(done int, looks []Look) bool {
	return slices.ContainsFunc(looks, func(l Look) bool { return l.Launches == done })
}

// together is as many of those that wait for their first look as can all have it in the
// time that is left, in their order.
func together(states []State, first []int, left time.Duration, look Look) []int {
	cheap := slices.Clone(first)
	slices.SortStableFunc(cheap, func(a, b int) int { return cmp.Compare(states[a].need(look), states[b].need(look)) })
	for n, i := range cheap {
		if left -= states[i].need(look); left < 0 {
			cheap = cheap[:n]
			break
		}
	}
	slices.Sort(cheap)
	return cheap
}

// worthiest is the work whose next look decides most metrics a second.
func worthiest(states []State, later []int, looks []Look) (best int, ok bool) {
	most := -1.0
	for _, i := range later {
		s := states[i]
		look, _ := s.next(looks)
		worth := 0.0
		for _, m := range s.Open {
			worth += m.chance(look)
		}
		worth /= max(s.need(look), time.Millisecond).Seconds()
		if worth > most {
			best, most, ok = i, worth, true
		}
	}
	return best, ok
}

// chance is how likely the look is to decide the metric, if launches go on as they have.
// The mean at the look is the mean so far and that of launches to come; it is taken to
// fall around today's as a normal curve, which is good enough to tell works apart, and
// for nothing else.
func (m Metric) chance(look Look) float64 {
	had, all := float64(len(m.D)), float64(look.Launches)
	if had < 2 || had >= all || !finite(m.D) {
		return 0
	}
	mean, sd := meanOf(m.D)
	free := look.Launches - 1
	wobble := sd / math.Sqrt(all)
	worse := max(quantile(look.Worse, free)*wobble, math.Log1p(m.Bar.floor()))
	pass := math.Log1p(look.Share*m.Bar.shown()) - quantile(look.Pass, free)*wobble
	ahead := sd * math.Sqrt((all-had)/(all*had))
	return min(1, below(pass, mean, ahead)+1-below(worse, mean, ahead))
}

// below is the share of a normal curve that lies below x.
func below(x, mean, sd float64) float64 {
	if sd == 0 {
		if x > mean {
			return 1
		}
		return 0
	}
	return math.Erfc((mean-x)/(sd*math.Sqrt2)) / 2
}

// Reserve is the time for one batch that confirms: the work that costs most, up to its
// first look, which is enough for what is far off. Whoever wants to be sure of it takes it
// off what Next is told is left.
func Reserve(states []State, looks []Look) time.Duration {
	if len(looks) == 0 {
		return 0
	}
	var most time.Duration
	for _, s := range states {
		most = max(most, s.Cost)
	}
	return time.Duration(looks[0].Launches) * most
}
