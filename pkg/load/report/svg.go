package report

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The measures of a drawing, in its own units; a page shows it as wide as it is.
const (
	wide     = 1040.0
	leftRoom = 74.0 // for the figures of the upright axis
	rightEnd = wide - 96
	topRoom  = 18.0
	lowRoom  = 38.0 // for the level axis
)

// svg is a drawing in the making. Everything that comes from a result goes in by
// text, label or tip, which escape it.
type svg struct {
	b      strings.Builder
	height float64
}

// px writes a coordinate: a tenth of a pixel is enough, and keeps files small and
// equal on all machines.
func px(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	s := fmt.Sprintf("%.1f", v)
	s = strings.TrimSuffix(s, ".0")
	if s == "-0" {
		return "0"
	}
	return s
}

func (s *svg) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&s.b, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, px(x1), px(y1), px(x2), px(y2))
	s.b.WriteByte('\n')
}

func (s *svg) rect(class string, x, y, w, h float64) {
	fmt.Fprintf(&s.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>`, class, px(x), px(y), px(w), px(h))
	s.b.WriteByte('\n')
}

// tip is a rectangle that says something when it is pointed at.
func (s *svg) tip(class string, x, y, w, h float64, text string) {
	fmt.Fprintf(&s.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`,
		class, px(x), px(y), px(w), px(h), escape(text))
	s.b.WriteByte('\n')
}

func (s *svg) dot(class string, x, y float64) {
	fmt.Fprintf(&s.b, `<circle class="%s" cx="%s" cy="%s" r="3.5"/>`, class, px(x), px(y))
	s.b.WriteByte('\n')
}

// text writes at a point; the class says how it stands to it.
func (s *svg) text(class string, x, y float64, text string) {
	fmt.Fprintf(&s.b, `<text class="%s" x="%s" y="%s">%s</text>`, class, px(x), px(y), escape(text))
	s.b.WriteByte('\n')
}

type point struct{ x, y float64 }

// path draws a line through points, leaving out those that nobody could tell from
// the one before.
func (s *svg) path(class string, points []point) {
	if len(points) == 0 {
		return
	}
	fmt.Fprintf(&s.b, `<path class="%s" d="`, class)
	last := point{math.Inf(-1), 0}
	for i, p := range points {
		if i > 0 && i < len(points)-1 && math.Abs(p.x-last.x) < 0.6 && math.Abs(p.y-last.y) < 0.6 {
			continue
		}
		letter := "L"
		if i == 0 {
			letter = "M"
		}
		s.b.WriteString(letter + px(p.x) + " " + px(p.y))
		last = p
	}
	s.b.WriteString("\"/>\n")
}

// escape makes any text safe between tags and in quotes. What XML cannot hold at all
// becomes the sign for that.
func escape(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' {
			return ' '
		}
		if r < 0x20 || r == 0xfffe || r == 0xffff || r == 0x7f || bidi(r) {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	return html.EscapeString(s)
}

// bidi tells signs that turn the direction of what follows, which could make a text
// read as another.
func bidi(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// drawing is a finished picture: what it is called, what it shows in words, and its
// lines.
type drawing struct {
	id, title, desc string
	class           string
	width, height   float64
	body            string
}

func (s *svg) done(id, title, desc string) *drawing {
	return &drawing{id: id, title: title, desc: desc, class: "plot", width: wide, height: s.height, body: s.b.String()}
}

// inline is the picture within a page, which brings the colours.
func (d *drawing) inline(prefix string) string {
	id := prefix + d.id
	return fmt.Sprintf(`<svg class="%s" role="img" viewBox="0 0 %s %s" aria-labelledby="%s-title %s-desc">`+
		"\n<title id=\"%s-title\">%s</title>\n<desc id=\"%s-desc\">%s</desc>\n%s</svg>\n",
		d.class, px(d.width), px(d.height), id, id, id, escape(d.title), id, escape(d.desc), d.body)
}

// alone is the picture as a file of its own.
func (d *drawing) alone() string {
	s := d.inline("")
	s = strings.Replace(s, "<svg ", fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" `, px(d.width), px(d.height)), 1)
	return strings.Replace(s, "</desc>\n", "</desc>\n<style>"+plotStyle+"</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n", 1)
}

// frame draws the axes of a plot and what is written on them.
type frame struct {
	x, y         scale
	xTicks       []float64
	yTicks       []float64
	xName, yName func(float64) string
	xTitle       string
	yTitle       string
}

func (s *svg) frame(f *frame) {
	low := f.y.from
	for _, v := range f.yTicks {
		y := f.y.at(v)
		s.line("grid", f.x.from, y, f.x.to, y)
		name := "0"
		if v != 0 {
			name = f.yName(v)
		}
		s.text("tick end", f.x.from-8, y+4, name)
	}
	for _, v := range f.xTicks {
		x := f.x.at(v)
		s.line("grid", x, f.y.to, x, low)
		s.text("tick mid", x, low+17, f.xName(v))
	}
	s.line("axis", f.x.from, low, f.x.to, low)
	s.text("name mid", (f.x.from+f.x.to)/2, low+34, f.xTitle)
	s.text("name", f.x.from, f.y.to-7, f.yTitle)
}

// mark is a name at the right end of a curve.
type mark struct {
	y     float64
	class string
	text  string
}

// marks writes the names of curves beside their ends, apart from each other and within
// the drawing.
func (s *svg) marks(x, top, low float64, list []mark) {
	const apart = 15
	slices.SortStableFunc(list, func(a, b mark) int { return cmp.Compare(a.y, b.y) })
	for i := range list {
		list[i].y = min(max(list[i].y, top), low)
		if i > 0 {
			list[i].y = max(list[i].y, list[i-1].y+apart)
		}
	}
	end := low
	for i := len(list) - 1; i >= 0; i-- {
		list[i].y = min(list[i].y, end)
		end = list[i].y - apart
		s.text("mark "+list[i].class, x+7, list[i].y+4, list[i].text)
	}
}
