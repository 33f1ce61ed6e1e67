package report

import (
	"fmt"
	"math"
)

// heatSteps are the shares of an interval's values from which on a cell has its
// colour. Wide steps, since the tail is what one looks for.
var heatSteps = []float64{0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3}

const heatRows = 30

// heat draws how the response times were spread in every interval: time to the right,
// latency upwards, and the darker the more of the interval's values are there.
func heat(v *view) *drawing {
	if len(v.slots) < 2 {
		return nil
	}
	lo, hi := math.Inf(1), 0.0
	for i := range v.slots {
		if h := &v.slots[i].hist; h.total > 0 {
			lo, hi = min(lo, float64(h.min())), max(hi, float64(h.max()))
		}
	}
	if hi == 0 {
		return nil
	}
	const height = 330
	y := around(lo, hi, height-lowRoom-26, topRoom)
	s, x := v.overTime(height-26, y, 9, dur, "response time")
	s.height = height
	rows := s.cells(v, x, y)
	s.heatLines(v, x, y)
	s.tips(v, x, y, func(t *slot) string {
		h := &t.hist
		return fmt.Sprintf("p50 %s, p99 %s, max %s, %s values", dur(float64(h.at(50))), p99Text(h), dur(float64(h.max())), count(h.total))
	})
	s.legend(height - 14)
	column := "an interval"
	if v.every > 1 {
		column = fmt.Sprintf("%d intervals", v.every)
	}
	desc := fmt.Sprintf("Each column is %s, in %d steps of time from %s to %s; the stronger the colour of a cell, the larger its share of the interval's values.", column, rows, dur(y.lo), dur(y.hi))
	if worst, at := v.worst(); worst > 0 {
		desc += fmt.Sprintf(" Highest value %s, in %s.", dur(worst), at.when())
	}
	return s.done("heat", "Response time over time", desc)
}

// worst is the highest value and the slot that has it.
func (v *view) worst() (float64, *slot) {
	var worst float64
	var at *slot
	for i := range v.slots {
		if m := float64(v.slots[i].hist.max()); m > worst {
			worst, at = m, &v.slots[i]
		}
	}
	return worst, at
}

func p99Text(h *hist) string {
	if !h.firm(99) {
		return "n/a"
	}
	return dur(float64(h.at(99)))
}

// cells draws the cells, those that lie side by side in one colour as one.
func (s *svg) cells(v *view, x, y scale) int {
	edges := make([]float64, heatRows)
	for i := range edges {
		edges[i] = y.lo * math.Pow(y.hi/y.lo, float64(i+1)/heatRows)
	}
	levels := make([][]int, len(v.slots))
	for i := range v.slots {
		levels[i] = heatLevels(&v.slots[i].hist, edges)
	}
	tall := (y.from - y.to) / heatRows
	for row := range heatRows {
		for i := 0; i < len(levels); {
			j := i + 1
			for j < len(levels) && levels[j][row] == levels[i][row] {
				j++
			}
			if l := levels[i][row]; l > 0 {
				from := x.at(v.slots[i].from)
				s.rect(fmt.Sprintf("h%d", l), from, y.from-float64(row+1)*tall, x.at(v.slots[j-1].to)-from+0.3, tall+0.3)
			}
			i = j
		}
	}
	return heatRows
}

func heatLevels(h *hist, edges []float64) []int {
	counts, levels := make([]float64, len(edges)), make([]int, len(edges))
	h.spread(edges, counts)
	for i, n := range counts {
		if n <= 0 || h.total == 0 {
			continue
		}
		part := n / float64(h.total)
		for l, from := range heatSteps {
			if part >= from {
				levels[i] = l + 1
			}
		}
	}
	return levels
}

// heatLines draws the median and p99 of each interval over the cells.
func (s *svg) heatLines(v *view, x, y scale) {
	var ends []mark
	for _, l := range []struct {
		p     float64
		class string
	}{{50, "p50"}, {99, "p99"}} {
		at := func(t *slot) (float64, bool) { return float64(t.hist.at(l.p)), t.hist.firm(l.p) }
		if !v.any(func(t *slot) bool { _, ok := at(t); return ok }) {
			continue
		}
		s.steps("halo", v, x, y, at)
		end := s.steps("over "+l.class, v, x, y, at)
		ends = append(ends, mark{end, l.class, nines(l.p)})
	}
	s.marks(x.to, y.to, y.from, ends)
}

// legend says what the colours mean.
func (s *svg) legend(y float64) {
	x := leftRoom
	s.text("note", x, y, "share of the interval's values:")
	x += 190
	for i, from := range heatSteps {
		s.rect(fmt.Sprintf("h%d", i+1), x, y-10, 22, 12)
		label := "≥ " + share(from)
		if i == 0 {
			label = "some"
		}
		s.text("note", x+27, y, label)
		x += 90
	}
}
