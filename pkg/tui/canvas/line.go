package canvas

import (
	"math"
	"slices"
)

// Line draws a straight line between two points given in dots, which may lie far
// outside: it is clipped (Liang-Barsky) before it is walked (Bresenham).
func (c *Canvas) Line(x0, y0, x1, y1 float64, fg Style, prio uint8) {
	x0, y0, x1, y1, ok := clip(x0, y0, x1, y1, float64(2*c.W)-0.001, float64(4*c.H)-0.001)
	if !ok {
		return
	}
	c.walk(int(x0), int(y0), int(x1), int(y1), fg, prio)
}

// clip cuts a segment to the rectangle 0..w, 0..h.
func clip(x0, y0, x1, y1, w, h float64) (cx0, cy0, cx1, cy1 float64, ok bool) {
	if x0 >= 0 && x0 <= w && x1 >= 0 && x1 <= w && y0 >= 0 && y0 <= h && y1 >= 0 && y1 <= h {
		return x0, y0, x1, y1, true
	}
	dx, dy := x1-x0, y1-y0
	if math.IsNaN(dx+dy) || math.IsInf(dx, 0) || math.IsInf(dy, 0) {
		return 0, 0, 0, 0, false
	}
	from, to := 0.0, 1.0
	edge := func(p, q float64) bool { // the segment is inside where p*t <= q
		switch {
		case p == 0:
			return q >= 0
		case p < 0:
			from = max(from, q/p)
		default:
			to = min(to, q/p)
		}
		return from <= to
	}
	if !edge(-dx, x0) || !edge(dx, w-x0) || !edge(-dy, y0) || !edge(dy, h-y0) {
		return 0, 0, 0, 0, false
	}
	// Clamped, because the products above round.
	in := func(v, limit float64) float64 { return min(max(v, 0), limit) }
	return in(x0+from*dx, w), in(y0+from*dy, h), in(x0+to*dx, w), in(y0+to*dy, h), true
}

func (c *Canvas) walk(x0, y0, x1, y1 int, fg Style, prio uint8) {
	dx, sx := x1-x0, 1
	if dx < 0 {
		dx, sx = -dx, -1
	}
	dy, sy := y1-y0, 1
	if dy < 0 {
		dy, sy = -dy, -1
	}
	for err := dx - dy; ; {
		c.Dot(x0, y0, fg, prio)
		if x0 == x1 && y0 == y1 {
			return
		}
		e := 2 * err
		if e > -dy {
			err -= dy
			x0 += sx
		}
		if e < dx {
			err += dx
			y0 += sy
		}
	}
}

// Area collects the edges of shapes and then gives a background to the cells that lie
// inside by the even-odd rule. The zero value is ready; it keeps its memory.
type Area struct {
	rows [][]float64 // where edges cross the middle of each row of dots
	used []uint8
}

// Begin forgets all edges and prepares for a canvas.
func (a *Area) Begin(c *Canvas) {
	for len(a.rows) < 4*c.H {
		a.rows = append(a.rows, nil)
	}
	for i := range a.rows {
		a.rows[i] = a.rows[i][:0]
	}
	if cap(a.used) < c.W {
		a.used = make([]uint8, c.W)
	}
	a.used = a.used[:c.W]
}

// Edge adds one edge, in dots. Shapes must be closed by their caller.
func (a *Area) Edge(x0, y0, x1, y1 float64) {
	if y0 > y1 {
		x0, y0, x1, y1 = x1, y1, x0, y0
	}
	first := max(int(math.Ceil(y0-0.5)), 0)
	last := min(int(math.Ceil(y1-0.5)), len(a.rows))
	if first >= last {
		return
	}
	slope := (x1 - x0) / (y1 - y0)
	for row := first; row < last; row++ {
		a.rows[row] = append(a.rows[row], x0+(float64(row)+0.5-y0)*slope)
	}
}

// Fill gives bg to the cells of which at least half the dots are inside.
func (a *Area) Fill(c *Canvas, bg Style) {
	for y := range c.H {
		clear(a.used)
		for _, xs := range a.rows[4*y : 4*y+4] {
			a.count(xs, 2*c.W)
		}
		for x, n := range a.used {
			if n >= 4 {
				c.Cells[y*c.W+x].Bg = bg
			}
		}
	}
}

// count adds the dots of one row that lie between pairs of crossings.
func (a *Area) count(xs []float64, width int) {
	slices.Sort(xs)
	for i := 0; i+1 < len(xs); i += 2 {
		from := max(int(math.Ceil(xs[i]-0.5)), 0)
		to := min(int(math.Ceil(xs[i+1]-0.5)), width)
		for x := from; x < to; x++ {
			a.used[x>>1]++
		}
	}
}
