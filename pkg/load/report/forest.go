package report

import (
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
)

// The measures of a forest: a row for each metric and side, names to the left of the
// axis and figures to its right.
const (
	forestLeft  = 190.0
	forestRight = wide - 250
	forestRow   = 26.0
)

// forest draws every ratio with its bounds on one axis, so that what has changed, and
// which way, is seen at once. It is nil if there is no ratio.
func (c *Comparison) forest() *drawing {
	lo, hi, rows := c.reach()
	if rows == 0 {
		return nil
	}
	s := &svg{height: topRoom + float64(rows)*forestRow + lowRoom + 6}
	low := s.height - lowRoom
	x := scale{lo: lo, hi: hi, from: forestLeft, to: forestRight, log: true}
	for _, v := range ratioTicks(x) {
		s.line("grid", x.at(v), topRoom, x.at(v), low)
		s.text("tick mid", x.at(v), low+17, three(v))
	}
	s.line("one", x.at(1), topRoom, x.at(1), low)
	s.line("axis", x.from, low, x.to, low)
	s.text("name mid", (x.from+x.to)/2, low+34, "ratio to "+c.Sides[0].Name)
	y := topRoom + forestRow/2
	for _, r := range c.Rows {
		name := r.Metric
		for i := 1; i < len(r.Cells); i++ {
			cell := &r.Cells[i]
			if cell.Ratio == nil {
				continue
			}
			s.text("name end", x.from-10, y+4, name)
			s.cell(cell, x, y)
			s.text("tick", x.to+12, y+4, c.cellText(i, &r))
			name, y = "", y+forestRow
		}
	}
	return s.done("forest", "Ratios and their bounds", c.forestText())
}

// reach is what the axis has to hold, and how many rows there are.
func (c *Comparison) reach() (lo, hi float64, rows int) {
	lo, hi = 0.9, 1/0.9
	hold := func(v *float64) {
		if v != nil && *v > 0 {
			lo, hi = min(lo, *v), max(hi, *v)
		}
	}
	for _, r := range c.Rows {
		for i := range r.Cells {
			cell := &r.Cells[i]
			if cell.Ratio != nil {
				rows++
			}
			hold(cell.Ratio)
			hold(cell.Low)
			hold(cell.High)
			for j := range cell.Each {
				hold(&cell.Each[j])
			}
		}
	}
	// What lies far out is told in words and drawn at the edge.
	return max(lo/1.05, 0.1), min(hi*1.05, 10), rows
}

// ratioTicks are ratios that people think in, as many as there is room for.
func ratioTicks(x scale) []float64 {
	return spaced(x, 44, 1, 0.5, 2, 0.1, 10, 0.2, 5, 0.8, 1.25, 0.9, 1.1, 0.05, 20, 1.5, 0.7, 3, 0.95, 1.05, 1.2, 0.85, 1.15)
}

// spaced keeps the values that are on the scale and so many pixels from those before.
func spaced(x scale, apart float64, values ...float64) []float64 {
	var kept []float64
	for _, v := range values {
		room := v >= x.lo && v <= x.hi
		for _, other := range kept {
			room = room && math.Abs(x.at(v)-x.at(other)) > apart
		}
		if room {
			kept = append(kept, v)
		}
	}
	return kept
}

// cell draws one ratio: its bounds, its launches and itself.
func (s *svg) cell(c *Cell, x scale, y float64) {
	class := map[Says]string{Better: "good", Worse: "bad", MaybeBetter: "good", MaybeWorse: "bad"}[c.Says]
	if class == "" {
		class = "plainly"
	}
	if c.Low != nil && c.High != nil {
		s.bounds(class, x.at(*c.Low), x.at(*c.High), y)
	}
	for _, v := range c.Each {
		s.circle("launch", x.at(v), y, 2.5)
	}
	s.circle("ratio "+class, x.at(*c.Ratio), y, 5)
}

// bounds draws how far chance goes.
func (s *svg) bounds(class string, from, to, y float64) {
	s.line("bound "+class, from, y, to, y)
	s.line("bound "+class, from, y-5, from, y+5)
	s.line("bound "+class, to, y-5, to, y+5)
}

func (s *svg) circle(class string, x, y, r float64) {
	fmt.Fprintf(&s.b, `<circle class="%s" cx="%s" cy="%s" r="%s"/>`+"\n", class, px(x), px(y), px(r))
}

// cellText is a ratio in words, beside its row.
func (c *Comparison) cellText(i int, r *Row) string {
	cell := &r.Cells[i]
	text := ratio(cell.Ratio)
	if cell.Low != nil {
		text += "  [" + bounds(cell) + "]"
	}
	if cell.Says != "" {
		text += "  " + string(cell.Says)
	}
	if len(c.Sides) > 2 {
		text = c.Sides[i].Name + ": " + text
	}
	return text
}

func (c *Comparison) forestText() string {
	var parts []string
	for _, r := range c.Rows {
		for i := 1; i < len(r.Cells); i++ {
			if says := r.Cells[i].Says; says != "" && says != NoMatter {
				parts = append(parts, r.Metric+" "+string(says))
			}
		}
	}
	if len(parts) == 0 {
		return "No difference is shown."
	}
	text := "Differences: " + strings.Join(parts, ", ") + "."
	if c.each() {
		text = "Small dots are launches. " + text
	}
	return text
}

// each tells whether launches are drawn.
func (c *Comparison) each() bool {
	return slices.ContainsFunc(c.Rows, func(r Row) bool {
		return slices.ContainsFunc(r.Cells, func(c Cell) bool { return len(c.Each) > 0 })
	})
}

// html writes the comparison as a page of its own, of the same make as reports.
func (c *Comparison) html(w io.Writer, ctx Context) error {
	t := c.table()
	t.Title = "Figures"
	o := &overview{Title: "Comparison of " + c.Scenario, Text: c.sidesText(), Table: t, Notes: c.Notes}
	if d := c.forest(); d != nil {
		o.Plot, o.Caption = template.HTML(d.inline("")), d.desc
	}
	return pageTemplate.Execute(w, page{Title: o.Title, Style: template.CSS(plotStyle + pageRules), Overview: o, Foot: foot(ctx)})
}

// sidesText says what was compared.
func (c *Comparison) sidesText() string {
	var parts []string
	for _, s := range c.Sides {
		parts = append(parts, fmt.Sprintf("%s: %s", s.head(), strings.Join(s.Files, ", ")))
	}
	return strings.Join(parts, "; ")
}
