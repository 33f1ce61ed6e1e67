package report

import (
	"fmt"
	"slices"
	"strings"

	"tracker/pkg/load/gate"
)

// forestShape is how a gate's forest is laid out: beside each other on a wide page,
// below each other on that of a phone.
type forestShape struct {
	id, class   string
	width       float64
	left, right float64 // of the axis
	stacked     bool    // the words stand above their row
	row, again  float64 // heights, of a metric and of its second batch
	group       float64
	apart       float64 // of ticks
}

var (
	broadForest  = forestShape{id: "forest", class: "plot broad", width: wide, left: 170, right: wide - 326, row: 29, again: 23, group: 30, apart: 52}
	narrowForest = forestShape{id: "forest-narrow", class: "plot narrow", width: 360, left: 22, right: 338, stacked: true, row: 52, again: 22, group: 32, apart: 54}
)

// grove is a forest in the making.
type grove struct {
	*svg
	forestShape
	x scale
	y float64 // of what comes next
}

// gateForest draws the change of every metric with its bounds and launches on one axis,
// and below it the second batch, if there was one. It is nil if nothing was compared.
func gateForest(r *gate.Report, shape forestShape) *drawing {
	lo, hi, beyond, some := gateReach(r)
	if !some {
		return nil
	}
	g := &grove{svg: &svg{}, forestShape: shape, x: scale{lo: lo, hi: hi, from: shape.left, to: shape.right, log: true}}
	g.height = topRoom + g.tall(r) + lowRoom + 6
	g.axis()
	g.y = topRoom
	for _, s := range []struct{ stage, name string }{{gate.Counters, "Counted"}, {gate.Statistics, "Measured"}} {
		if list := drawn(ofStage(r, s.stage)); len(list) > 0 {
			g.heading(s.name)
			for _, m := range list {
				g.metric(m)
			}
		}
	}
	if c := r.Control; c != nil && known(c.Change) {
		g.heading("Control")
		g.control(c)
	}
	d := g.done(shape.id, "Change of every metric", gateForestText(r, beyond))
	d.class, d.width = shape.class, shape.width
	return d
}

// drawn are the metrics that have a place on the axis.
func drawn(list []*gate.Metric) []*gate.Metric {
	return slices.DeleteFunc(slices.Clone(list), func(m *gate.Metric) bool { return !known(m.Change) })
}

// undrawn are the metrics that were compared and have no place there.
func undrawn(r *gate.Report) []*gate.Metric {
	return slices.DeleteFunc(slices.Clone(r.Metrics), func(m *gate.Metric) bool { return known(m.Change) || !known(m.Head) })
}

// The axis ends here, and what lies further out is drawn at its end.
const (
	leastRatio = 0.5
	mostRatio  = 2.2
)

// gateReach is what the axis has to hold, and whether something lies beyond it.
func gateReach(r *gate.Report) (lo, hi float64, beyond, some bool) {
	lo, hi = 0.92, 1.09
	hold := func(v *float64) {
		if known(v) {
			ratio := 1 + *v
			beyond = beyond || ratio < leastRatio || ratio > mostRatio
			lo, hi = min(lo, ratio), max(hi, ratio)
		}
	}
	batch := func(b *gate.Batch) {
		hold(b.Change)
		hold(b.Low)
		hold(b.High)
		for i := range b.Each {
			hold(&b.Each[i])
		}
	}
	for _, m := range r.Metrics {
		if !known(m.Change) {
			continue
		}
		some = true
		batch(&m.Batch)
		if m.Confirm != nil {
			batch(m.Confirm)
		}
	}
	if c := r.Control; c != nil && known(c.Change) {
		some = true
		batch(&gate.Batch{Change: c.Change, Low: c.Low, High: c.High, Each: c.Each})
	}
	return max(lo/1.02, leastRatio), min(hi*1.02, mostRatio), beyond, some
}

// tall is the height of all rows.
func (g *grove) tall(r *gate.Report) float64 {
	h := 0.0
	for _, stage := range []string{gate.Counters, gate.Statistics} {
		list := drawn(ofStage(r, stage))
		if len(list) > 0 {
			h += g.group
		}
		for _, m := range list {
			h += g.rowOf(m)
		}
	}
	if r.Control != nil && known(r.Control.Change) {
		h += g.group + g.row
	}
	return h
}

func (g *grove) rowOf(m *gate.Metric) float64 {
	if m.Confirm != nil && known(m.Confirm.Change) {
		return g.row + g.again
	}
	return g.row
}

func (g *grove) axis() {
	low := g.height - lowRoom
	for _, v := range spaced(g.x, g.apart, 1, 1.1, 0.9, 1.5, 2, 0.5, 1.2, 0.8, 1.05, 0.95, 1.3, 0.7, 1.02, 0.98) {
		g.line("grid", g.x.at(v), topRoom, g.x.at(v), low)
		g.text("tick mid", g.x.at(v), low+17, tickName(v))
	}
	g.line("one", g.x.at(1), topRoom, g.x.at(1), low)
	g.line("axis", g.x.from, low, g.x.to, low)
	g.text("name", g.x.from, low+34, "← better")
	g.text("name end", g.x.to, low+34, "worse →")
}

// tickName is a ratio as a change, in whole per cents.
func tickName(v float64) string {
	if v == 1 {
		return "0 %"
	}
	return fmt.Sprintf("%+.0f %%", 100*(v-1))
}

func (g *grove) heading(name string) {
	at, class := g.x.from-10, "group end"
	if g.stacked {
		at, class = g.x.from, "group"
	}
	g.text(class, at, g.y+g.group-12, name)
	g.y += g.group
}

// metric draws one, and moves on.
func (g *grove) metric(m *gate.Metric) {
	class := findingOf(m).class()
	mid := g.words(fullName(m), &m.Batch, wordOf(m), class)
	g.floor(m, mid)
	g.batch(&m.Batch, class, mid, false)
	if c := m.Confirm; c != nil && known(c.Change) {
		mid += g.again
		g.batch(c, class, mid, true)
		if !g.stacked {
			g.figures(c, confirmText(m), class, mid)
		}
	}
	g.y += g.rowOf(m)
}

func (g *grove) control(c *gate.Control) {
	class, word := "plainly", "steady"
	if !c.Steady {
		class, word = "unsure", "not steady"
	}
	b := &gate.Batch{Change: c.Change, Low: c.Low, High: c.High, Each: c.Each}
	g.batch(b, class, g.words("null server", b, word, class), false)
	g.y += g.row
}

// words names a row and tells its figures. It returns where the row is drawn.
func (g *grove) words(name string, b *gate.Batch, word, class string) (mid float64) {
	if g.stacked {
		g.text("name", g.x.from, g.y+14, name)
		g.text("tick end "+class, g.x.to, g.y+14, changeOf(b)+" "+word)
		return g.y + 31
	}
	mid = g.y + 12
	g.text("name end", g.x.from-10, mid+4, name)
	g.figures(b, word, class, mid)
	return mid
}

// figures are the columns to the right of a row.
func (g *grove) figures(b *gate.Batch, word, class string, mid float64) {
	g.text("tick end "+class, g.x.to+66, mid+4, changeOf(b))
	g.text("tick end", g.x.to+186, mid+4, spanOf(b.Low, b.High))
	g.text("tick "+class, g.x.to+198, mid+4, word)
}

// floor shades the changes that are nobody's business.
func (g *grove) floor(m *gate.Metric, mid float64) {
	if m.Floor <= 0 {
		return
	}
	from, to := g.x.at(1/(1+m.Floor)), g.x.at(1+m.Floor)
	g.rect("floor", from, mid-8, to-from, 21)
}

// batch draws the bounds and the change of one batch, with its launches below; the
// second one as a diamond.
func (g *grove) batch(b *gate.Batch, class string, mid float64, second bool) {
	if known(b.Low) && known(b.High) {
		g.bounds(class, g.x.at(1+*b.Low), g.x.at(1+*b.High), mid)
	}
	for _, v := range b.Each {
		if known(&v) {
			g.circle("launch", g.x.at(1+v), mid+9, 2.2)
		}
	}
	at := g.x.at(1 + *b.Change)
	if second {
		g.diamond("again "+class, at, mid, 6)
		return
	}
	g.circle("ratio "+class, at, mid, 5)
}

func (s *svg) diamond(class string, x, y, r float64) {
	s.path(class, []point{{x - r, y}, {x, y - r}, {x + r, y}, {x, y + r}, {x - r, y}})
}

func gateForestText(r *gate.Report, beyond bool) string {
	var parts []string
	for _, f := range []struct {
		is   finding
		what string
	}{{isFailed, "failed"}, {isWorse, "worse"}, {isUndecided, "not decided"}, {isBetter, "better"}} {
		if list := metricsOf(r, f.is); len(list) > 0 {
			parts = append(parts, f.what+": "+fullNames(list))
		}
	}
	text := "No metric changed by what matters."
	if len(parts) > 0 {
		text = strings.ToUpper(parts[0][:1]) + strings.Join(parts, "; ")[1:] + "."
	}
	text += " Large dots are the change of each metric and lines its bounds; small dots are launches; the shaded zone is what is too small to matter"
	if len(confirmed(r)) > 0 {
		text += "; a diamond is the second batch"
	}
	text += "."
	if list := undrawn(r); len(list) > 0 {
		text += " Not drawn, since there is no share of nothing: " + fullNames(list) + "."
	}
	if beyond {
		text += " What lies beyond the axis is drawn at its end."
	}
	return text
}
