package chart

import (
	"cmp"

	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
)

// bin is what falls into one cell.
type bin struct {
	count uint32
	point int32 // that gives the shape
	rank  rank
	mask  uint8
}

// drawDevices draws all devices that no badge speaks for.
func (c *Chart) drawDevices(s *Scene) {
	for i := range c.seen {
		if d := &c.seen[i]; c.grid.blocks[d.block].w == 0 {
			c.sort(s, d)
		}
	}
	for _, at := range c.shown {
		b := &c.bins[at]
		x, y := int(at)%c.out.W, int(at)/c.out.W
		c.taken[at] |= device
		style := b.rank.style(s.Colour)
		switch c.size {
		case asGlyphs:
			c.drawGlyph(s, x, y, b.point, b.rank, style)
		case asBlots:
			c.out.Dots(x, y, fatten(b.mask), style, look.OnDevice)
		default:
			c.out.Dots(x, y, b.mask, style, look.OnDevice)
		}
	}
	// An alert is never a dot among dots, nor one of a number.
	for i := range c.alerts {
		d := &c.alerts[i]
		c.drawGlyph(s, int(d.x)/2, int(d.y)/4, d.point, d.rank, look.Alert)
	}
}

// sort puts a device into its cell.
func (c *Chart) sort(s *Scene, d *seen) {
	at := int32(int(d.y>>2)*c.out.W + int(d.x>>1))
	b := &c.bins[at]
	if b.count == 0 {
		c.shown = append(c.shown, at)
	}
	if b.count == 0 || d.rank > b.rank || d.rank == b.rank && before(&s.Frame.Points[d.point], &s.Frame.Points[b.point]) {
		b.point, b.rank = d.point, d.rank
	}
	b.count++
	b.mask |= canvas.Bit(int(d.x), int(d.y))
}

// before says who of two equals gives the shape of a cell, whatever order they are in.
func before(p, q *fleet.Point) bool {
	return cmp.Or(cmp.Compare(p.Pos.X, q.Pos.X), cmp.Compare(p.Pos.Y, q.Pos.Y), cmp.Compare(p.Course, q.Course)) < 0
}

func (c *Chart) drawGlyph(s *Scene, x, y int, point int32, r rank, style canvas.Style) {
	c.out.Rune(x, y, glyph(s.Colour, &s.Frame.Points[point], s.Frame.Marks[point].State(), r), style, look.OnMarker)
}

// drawPicked draws those that somebody watches over all others: the followed device, and
// the selected one in brackets. Alerts are drawn by drawDevices.
func (c *Chart) drawPicked(s *Scene) {
	if x, y, ok := c.cellOf(s, s.Selected); ok {
		c.out.Rune(x-1, y, '[', look.Picked, look.OnSelected)
		c.out.Rune(x+1, y, ']', look.Picked, look.OnSelected)
		c.drawOne(s, s.Selected, x, y, look.Picked, look.OnSelected)
	}
	if x, y, ok := c.cellOf(s, s.Followed); ok && s.Followed != s.Selected {
		c.drawOne(s, s.Followed, x, y, look.Bright, look.OnMarker)
	}
}

// namePicked names those that somebody watches, wherever they are, and then alerts.
func (c *Chart) namePicked(s *Scene) {
	if x, y, ok := c.cellOf(s, s.Selected); ok {
		c.nameDevice(s, s.Selected, x, y, 3, look.Picked, look.OnSelected, text)
	}
	if x, y, ok := c.cellOf(s, s.Followed); ok && s.Followed != s.Selected {
		c.nameDevice(s, s.Followed, x, y, 2, look.Bright, look.OnLabel, text)
	}
	if s.Layers&Labels == 0 {
		return
	}
	for i := range c.alerts {
		if d := &c.alerts[i]; d.point != s.Selected && d.point != s.Followed {
			c.nameDevice(s, d.point, int(d.x)/2, int(d.y)/4, 2, look.Alert, look.OnLabel, text)
		}
	}
}

// drawOne draws a device by itself, in a style that is not its own.
func (c *Chart) drawOne(s *Scene, i int32, x, y int, style canvas.Style, prio uint8) {
	p, st := s.point(i), s.Frame.Marks[i].State()
	c.out.Rune(x, y, glyph(s.Colour, p, st, rankOf(s.Colour, p, st, s.Frame.At)), style, prio)
}

// drawNames names single devices where they are few enough to be glyphs.
func (c *Chart) drawNames(s *Scene) {
	if c.size != asGlyphs {
		return
	}
	for _, at := range c.shown {
		b := &c.bins[at]
		done := b.point == s.Selected || b.point == s.Followed || s.Frame.Marks[b.point].State() == filter.Alert
		if b.count == 1 && !done && c.named < maxLabels {
			c.nameDevice(s, b.point, int(at)%c.out.W, int(at)/c.out.W, 2, b.rank.style(s.Colour), look.OnLabel, anything)
		}
	}
}
