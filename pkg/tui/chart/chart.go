// Package chart draws devices on the map of the world, into cells: what is inside the
// frame of the map and nothing around it.
//
//	base       land, graticule, coasts, borders, overlays: redrawn when the view moves
//	survey     one pass over all points: who is in sight, at which dot, in which block
//	           trails
//	names      selected, followed, alerting
//	badges     a count where dots do not tell how many devices there are
//	devices    markers where there are few, dots where there are many
//	labels     matching, zones, cities, all others
//	ghosts     where devices ought to be by now
//
// Everything that is decided, is decided by dots of the world and not by cells of the
// screen: the view is put onto the grid of the dots before anything is drawn. So badges
// count the same devices wherever the view is panned to.
package chart

import (
	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/overlay"
	"tracker/pkg/tui/world"
)

// Chart draws the map: everything inside the frame, nothing around it. It keeps what it
// can from one frame to the next, and allocates nothing once it is warm. It belongs to
// one goroutine.
type Chart struct {
	out   canvas.Canvas
	scene Scene // of the last picture, its view on the grid of the dots
	m     world.Mapper

	base     canvas.Canvas
	area     canvas.Area
	key      baseKey
	overlays []*overlay.Overlay // that are in the base
	zones    []zone
	degrees  []word // of the graticule, where they belong

	seen   []seen
	alerts []seen  // those of them that somebody has to look at
	inked  []uint8 // by cell: dots with devices
	grid   grid    // of blocks
	size   size    // of devices
	zoom   float64 // of the picture before
	before badges  // in the picture before
	badges badges

	bins  []bin
	shown []int32 // the cells that hold devices which are drawn
	taken []uint8 // by cell: what may not be written over

	words  []word
	slots  map[labelKey]uint8 // where a label was, so that it stays there
	named  int                // labels of devices so far
	crumbs []fleet.Crumb
}

// Layers are what may be left out of a picture.
type Layers uint16

const (
	Fill Layers = 1 << iota // land told from the sea
	Borders
	Cities
	Grid
	Overlays
	Clusters
	Labels
	Reckon // where devices ought to be by now

	Everything = Fill | Borders | Cities | Grid | Overlays | Clusters | Labels | Reckon

	// Base is what Bases choose from; coasts are in every picture.
	Base = Fill | Borders | Cities | Grid
)

// Bases are ways to draw the world below the devices, in the order in which a key goes
// through them: the first is what a map begins with.
var Bases = []struct {
	Name   string
	Layers Layers // out of Base
}{
	{"full", Base},
	{"no land", Base &^ Fill},
	{"no borders", Base &^ (Fill | Borders)},
	{"coasts and grid", Grid},
	{"coasts", 0},
}

// With puts one of Bases under whatever else is shown.
func (l Layers) With(base int) Layers { return l&^Base | Bases[base].Layers }

// Scene is what a picture is made of.
type Scene struct {
	View     world.View
	Frame    *fleet.Frame
	Store    *fleet.Store // where Frame came from, for names and trails
	Theme    *canvas.Theme
	Layers   Layers
	Colour   look.ColourBy
	Trails   TrailMode
	Selected int32 // fleet.Nobody if none is
	Followed int32 // likewise
	Overlays []*overlay.Overlay
	Dots     int         // size of a device in dots, 1 or 2; 0 by how many there are
	Mask     *fleet.Mask // nil shows all

	Filtering bool // the frame's marks tell some devices from others
}

// point is the device at an index if it can be drawn, else nil.
func (s *Scene) point(i int32) *fleet.Point {
	if i < 0 || int(i) >= len(s.Frame.Points) {
		return nil
	}
	if p := &s.Frame.Points[i]; p.Alive() && p.Placed() {
		return p
	}
	return nil
}

func (s *Scene) masked() bool { return s.Mask != nil && s.Mask.On }

// Draw makes the picture and counts the visible devices into the frame: those that the
// filter means, if there is one. The canvas belongs to the chart until the next picture.
func (c *Chart) Draw(s *Scene) *canvas.Canvas {
	c.scene = *s
	c.scene.View.Snap()
	s = &c.scene
	c.m = s.View.Mapper()
	c.drawBase(s)
	c.out.Copy(&c.base)
	c.begin(s)
	c.survey(s)
	c.drawTrails(s)
	c.reserve(s)
	c.cluster(s)
	c.drawDevices(s)
	c.drawPicked(s)
	c.drawLabels(s)
	if s.Layers&Reckon != 0 {
		c.drawGhosts(s)
	}
	return &c.out
}

// begin forgets the picture before, and at another zoom also what was remembered in order
// to keep this one calm: so a place looks the same whichever way one came to it.
func (c *Chart) begin(s *Scene) {
	n := c.out.W * c.out.H
	if cap(c.bins) < n {
		c.bins, c.taken, c.inked = make([]bin, n), make([]uint8, n), make([]uint8, n)
	}
	c.bins, c.taken, c.inked = c.bins[:n], c.taken[:n], c.inked[:n]
	clear(c.bins)
	clear(c.taken)
	clear(c.inked)
	c.seen, c.alerts, c.shown, c.words, c.named = c.seen[:0], c.alerts[:0], c.shown[:0], c.words[:0], 0
	c.grid.lay(&s.View)
	if c.slots == nil {
		c.slots = map[labelKey]uint8{}
	}
	if c.zoom != s.View.Zoom {
		c.zoom, c.size = s.View.Zoom, unsized
	}
	if c.size == unsized || len(c.slots) > maxSlots {
		clear(c.slots)
	}
}

// seen is a device that is in sight.
type seen struct {
	point int32
	block int32
	x, y  uint16 // dots
	rank  rank
}

// maxSide is how wide and high a picture can be, in dots.
const maxSide = 1 << 16

// survey finds the devices in sight and counts them into blocks. What the filter does not
// mean becomes a dim dot and is not spoken of again.
func (c *Chart) survey(s *Scene) {
	wide, high := uint64(min(2*c.out.W, maxSide)), uint64(min(4*c.out.H, maxSide))
	for i := range s.Frame.Points {
		p := &s.Frame.Points[i]
		if !p.Alive() || !p.Placed() {
			continue
		}
		x, y := c.m.Cell(s.place(p.Pos))
		if uint64(x) >= wide || uint64(y) >= high {
			continue
		}
		mark := s.Frame.Marks[i]
		if s.Filtering && !mark.Matches() {
			c.out.Dot(int(x), int(y), look.Dim, look.OnGhost-1)
			continue
		}
		at := seen{int32(i), c.grid.block(x, y), uint16(x), uint16(y), rankOf(s.Colour, p, mark.State(), s.Frame.At)}
		c.seen = append(c.seen, at)
		c.count(&at)
		if mark.State() == filter.Alert && len(c.alerts) < maxLabels {
			c.alerts = append(c.alerts, at)
		}
	}
	s.Frame.Visible = len(c.seen)
}

// count adds a device to its block.
func (c *Chart) count(d *seen) {
	b := &c.grid.blocks[d.block]
	b.count++
	b.rank = max(b.rank, d.rank)
	b.sx += uint64(c.grid.intoX(d))
	b.sy += uint64(c.grid.intoY(d))
	ink := &c.inked[int(d.y>>2)*c.out.W+int(d.x>>1)]
	if dot := canvas.Bit(int(d.x), int(d.y)); *ink&dot == 0 {
		*ink |= dot
		b.dots++
	}
}

// What is in a cell that may not be written over.
const (
	device = 1 << iota
	text
	gap // beside a name, which names may share

	anything = device | text
)

// reserve keeps the cells of those free who are drawn whatever happens, and names them:
// badges come after them, and make do with what is left of their blocks.
func (c *Chart) reserve(s *Scene) {
	c.takeAlerts()
	if x, y, ok := c.cellOf(s, s.Followed); ok {
		c.take(x, y, 1, text)
	}
	if x, y, ok := c.cellOf(s, s.Selected); ok {
		c.take(x-1, y, 3, text)
	}
	// No device has its cell yet. Names keep clear of all of them if they can.
	for i, ink := range c.inked {
		if ink != 0 {
			c.taken[i] |= device
		}
	}
	c.namePicked(s)
	for i := range c.taken {
		c.taken[i] &^= device
	}
	c.takeAlerts()
}

func (c *Chart) takeAlerts() {
	for i := range c.alerts {
		c.take(int(c.alerts[i].x)/2, int(c.alerts[i].y)/4, 1, device)
	}
}

// cellOf is where a device shows, not ok if it does not.
func (c *Chart) cellOf(s *Scene, i int32) (x, y int, ok bool) {
	p := s.point(i)
	if p == nil {
		return 0, 0, false
	}
	dx, dy := c.m.Cell(s.place(p.Pos))
	return int(dx >> 1), int(dy >> 2), c.inside(dx, dy)
}

func (c *Chart) inside(x, y int64) bool {
	return x >= 0 && y >= 0 && x < int64(2*c.out.W) && y < int64(4*c.out.H)
}

// free tells whether w cells are on the picture and hold nothing of what is to be avoided.
func (c *Chart) free(x, y, w int, avoid uint8) bool {
	if y < 0 || y >= c.out.H || x < 0 || x+w > c.out.W {
		return false
	}
	for _, t := range c.taken[y*c.out.W+x : y*c.out.W+x+w] {
		if t&avoid != 0 {
			return false
		}
	}
	return true
}

func (c *Chart) take(x, y, w int, by uint8) {
	for i := range w {
		if x+i >= 0 && x+i < c.out.W && y >= 0 && y < c.out.H {
			c.taken[y*c.out.W+x+i] |= by
		}
	}
}
