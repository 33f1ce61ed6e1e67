package snap

import (
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
)

// A cell of a picture, in pixels: eight dots of four by four.
const (
	cellW = 8
	cellH = 16
	dot   = 4
	ink   = 3  // of a dot, so that one is told from the next
	base  = 12 // of a line of text, from the top of its cell
)

// SVG writes a picture for pages. Dots, boxes and bars are drawn as shapes on the grid
// of the cells, because fonts disagree about them; only letters and signs are text, each
// word with the width of its cells. Nothing in it is a link, a script or a style sheet.
func SVG(w io.Writer, c *canvas.Canvas, t *look.Theme) error {
	p := &picture{Canvas: c, painter: newPainter(t)}
	for y := range c.H {
		p.row(y)
	}
	_, err := w.Write(p.document())
	return err
}

// picture collects shapes by colour: one path holds thousands of dots.
type picture struct {
	*canvas.Canvas
	*painter
	grounds, bars, dots, lines layers // from the lowest to the highest
	words                      []byte
}

// layers are the shapes of each colour, in the order in which colours turned up.
type layers []layer

type layer struct {
	colour rgb
	path   []byte
}

func (l *layers) add(colour rgb, format string, args ...any) {
	for i := range *l {
		if (*l)[i].colour == colour {
			(*l)[i].path = fmt.Appendf((*l)[i].path, format, args...)
			return
		}
	}
	*l = append(*l, layer{colour, fmt.Appendf(nil, format, args...)})
}

func (p *picture) row(y int) {
	p.ground(y)
	for x := 0; x < p.W; {
		x += p.cell(x, y)
	}
}

// ground fills what is not paper, a run of cells at a time.
func (p *picture) ground(y int) {
	start, colour := 0, p.paper
	for x := 0; x <= p.W; x++ {
		here := p.paper
		if x < p.W {
			here = p.paintAt(x, y).bg
		}
		if here == colour {
			continue
		}
		if colour != p.paper {
			p.grounds.add(colour, "M%d %dh%dv%dh-%dz", start*cellW, y*cellH, (x-start)*cellW, cellH, (x-start)*cellW)
		}
		start, colour = x, here
	}
}

func (p *picture) paintAt(x, y int) paint {
	c := p.At(x, y)
	return p.of(c.Fg, c.Bg)
}

// cell draws what begins in a cell and returns how many cells that takes.
func (p *picture) cell(x, y int) int {
	c, as := p.At(x, y), p.paintAt(x, y)
	switch {
	case c.R == 0:
		p.dotted(x, y, c.Mask, as.fg)
	case c.R <= ' ': // a blank, or the right half of a wide rune
	case c.R >= 0x2800 && c.R <= 0x28ff:
		p.dotted(x, y, uint8(c.R-0x2800), as.fg)
	case p.bar(x, y, c.R, as), p.box(x, y, c.R, as):
	default:
		return p.word(x, y)
	}
	return 1
}

func (p *picture) dotted(x, y int, mask uint8, colour rgb) {
	for dy := range 4 {
		for dx := range 2 {
			if mask&canvas.Bit(dx, dy) != 0 {
				p.dots.add(colour, "M%d %dh%dv%dh-%dz", x*cellW+dx*dot, y*cellH+dy*dot, ink, ink, ink)
			}
		}
	}
}

// bar draws a block as the part of its cell that it fills.
func (p *picture) bar(x, y int, r rune, as paint) bool {
	top, height, colour := 0, cellH, as.fg
	switch {
	case r == '▀':
		height = cellH / 2
	case r >= '▁' && r <= '█':
		height = int(r-'▁'+1) * cellH / 8
		top = cellH - height
	case r == '░':
		colour = as.bg.towards(as.fg, 25)
	default:
		return false
	}
	p.bars.add(colour, "M%d %dh%dv%dh-%dz", x*cellW, y*cellH+top, cellW, height, cellW)
	return true
}

// boxes are the strokes of lines and corners: where the pen is put down in the cell,
// in halves of a pixel, and where it goes from there.
var boxes = map[rune]struct {
	x, y int
	path string
}{
	'─': {0, 15, "h8"}, '│': {7, 0, "v16"},
	'├': {7, 0, "v16m0-8.5h4.5"}, '┤': {7, 0, "v16m0-8.5h-3.5"},
	'╭': {7, 32, "v-4.5q0-4 4.5-4"}, '╮': {0, 15, "q3.5 0 3.5 4v4.5"},
	'╰': {7, 0, "v3.5q0 4 4.5 4"}, '╯': {7, 0, "v3.5q0 4-3.5 4"},
	'┌': {7, 32, "v-8.5h4.5"}, '┐': {0, 15, "h3.5v8.5"},
	'└': {7, 0, "v7.5h4.5"}, '┘': {7, 0, "v7.5h-3.5"},
}

func (p *picture) box(x, y int, r rune, as paint) bool {
	b, ok := boxes[r]
	if ok {
		p.lines.add(as.fg, "M%v %v%s", float64(2*x*cellW+b.x)/2, float64(2*y*cellH+b.y)/2, b.path)
	}
	return ok
}

// word writes what begins in a cell, as far as one font surely has all of it and one
// paint does: letters of a few scripts stay together, everything else stands alone.
func (p *picture) word(x, y int) int {
	first := p.At(x, y)
	as, n := p.paintAt(x, y), max(canvas.RuneWidth(first.R), 1)
	runes := []rune{first.R}
	for plain(first.R) && x+n < p.W {
		next := p.At(x+n, y)
		if !plain(next.R) || p.paintAt(x+n, y) != as {
			break
		}
		runes = append(runes, next.R)
		n++
	}
	p.write(x, y, n, runes, as)
	return n
}

// plain tells whether every font for terminals has a rune, as wide as the others, and
// nothing happens to it between its neighbours.
func plain(r rune) bool {
	return r > ' ' && r < 0x590 && !unicode.Is(unicode.M, r) && canvas.RuneWidth(r) == 1
}

func (p *picture) write(x, y, n int, runes []rune, as paint) {
	b := fmt.Appendf(p.words, `<text x="%d" y="%d" textLength="%d" lengthAdjust="spacingAndGlyphs" fill="%v"`, x*cellW, y*cellH+base, n*cellW, as.fg)
	if as.bold {
		b = append(b, ` font-weight="bold"`...)
	}
	if as.underline {
		b = append(b, ` text-decoration="underline"`...)
	}
	b = append(b, '>')
	for _, r := range runes {
		b = appendEscaped(b, r)
	}
	p.words = append(b, "</text>\n"...)
}

// appendEscaped writes a rune so that XML takes it for nothing but text. What is no
// text, or moves the text around it, is a question mark.
func appendEscaped(b []byte, r rune) []byte {
	switch {
	case r == '<':
		return append(b, "&lt;"...)
	case r == '>':
		return append(b, "&gt;"...)
	case r == '&':
		return append(b, "&amp;"...)
	case !utf8.ValidRune(r), r&0xfffe == 0xfffe, unicode.In(r, unicode.C), r == utf8.RuneError:
		return append(b, '?')
	}
	return utf8.AppendRune(b, r)
}

func (p *picture) document() []byte {
	w, h := p.W*cellW, p.H*cellH
	b := fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", w, h, w, h)
	b = append(b, "<title>A map of devices, as a terminal shows it</title>\n"...)
	b = fmt.Appendf(b, `<rect width="%d" height="%d" fill="%v"/>`+"\n", w, h, p.paper)
	for _, filled := range []layers{p.grounds, p.bars, p.dots} {
		b = filled.append(b, `shape-rendering="crispEdges" fill`)
	}
	b = p.lines.append(b, `fill="none" stroke`)
	b = append(b, `<g font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="13">`+"\n"...)
	b = append(b, p.words...)
	return append(b, "</g>\n</svg>\n"...)
}

func (l layers) append(b []byte, use string) []byte {
	for _, layer := range l {
		b = fmt.Appendf(b, `<path %s="%v" d="%s"/>`+"\n", use, layer.colour, layer.path)
	}
	return b
}
