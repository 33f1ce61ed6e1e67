package trend

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"tracker/pkg/load/stat"
)

// witness is something that was measured in the same runs and that the code cannot have
// changed.
type witness struct {
	name          string
	unit          string
	before, after []float64
}

// witnesses are what the null server cost, and what the same metric was of a gate's base,
// if that was one and the same build all the time.
func (s *Series) witnesses(lo, at, hi int) []witness {
	series := map[string]*witness{}
	add := func(i int, name string, v Value) {
		id := name + "\x00" + v.Unit
		w := series[id]
		if w == nil {
			w = &witness{name: name, unit: v.Unit}
			series[id] = w
		}
		if i < at {
			w.before = append(w.before, v.Value)
		} else {
			w.after = append(w.after, v.Value)
		}
	}
	base := s.sameBase(lo, hi)
	for i := lo; i < hi; i++ {
		l := s.Points[i].line
		for name, v := range l.Canary {
			add(i, "the "+name, v)
		}
		if base == "" {
			continue
		}
		if v, ok := l.Base.Series[s.Metric]; ok {
			add(i, "the base, "+base+" all the time,", v)
		}
	}
	var list []witness
	for _, w := range series {
		list = append(list, *w)
	}
	slices.SortFunc(list, func(a, b witness) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.unit, b.unit)) })
	return list
}

// sameBase is the base of all the runs, empty if there is not one.
func (s *Series) sameBase(lo, hi int) (name string) {
	for i := lo; i < hi; i++ {
		b := s.Points[i].line.Base
		if b == nil {
			return ""
		}
		switch this := cmp.Or(b.Commit, b.Version); {
		case this == "" || i > lo && this != name:
			return ""
		default:
			name = this
		}
	}
	return name
}

// sure is how sure a witness has to be, one-sided, and enough how much of the change it
// has to have made itself for the machine to be the reason.
const (
	sure   = 0.99
	enough = 0.5
)

// testify notes what a witness says of a change. It speaks only of a move in the same
// direction; in the other one it explains nothing.
func (w *witness) testify(c *Change, s *Series) {
	if len(w.before) < shortest || len(w.after) < shortest {
		return
	}
	worse := 1.0
	if c.Says == "better" {
		worse = -1
	}
	if rate(w.unit) {
		worse = -worse // a rate gets worse by falling
	}
	all := logs(slices.Concat(w.before, w.after))
	before, after := all[:len(w.before)], all[len(w.before):]
	if !above(before, after, worse) {
		return
	}
	moved := worse * (stat.Median(after) - stat.Median(before))
	if moved < math.Log1p(least) {
		return
	}
	percent := Percent(math.Exp(worse * moved))
	if moved < enough*math.Abs(math.Log(c.To/c.From)) {
		c.Notes = append(c.Notes, fmt.Sprintf("%s moved the same way, but by %s only", w.name, percent))
		return
	}
	c.Machine = true
	c.Notes = append(c.Notes, fmt.Sprintf("%s moved too, by %s: it is the machine", w.name, percent))
}

// above tells whether figures got higher (sign 1) or lower (-1), by Welch's version of
// Student's t.
func above(before, after []float64, sign float64) bool {
	noise := scores(slices.Concat(before, after)) // a wild one would hide what the others say
	if noise == nil {
		return false
	}
	moved, half := stat.Welch(noise[:len(before)], noise[len(before):], sure)
	return sign*moved > half
}
