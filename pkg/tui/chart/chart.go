// Package chart draws devices on the map of the world, into cells: what is inside the
// frame of the map and nothing around it.
//
//	base   land, graticule, coasts and borders: redrawn when the view moves
//	       trails
//	bins   devices: one pass over all points, then one over the cells
//	       badges where there are too many to tell apart
//	       names, then cities where there is still room
//	       the selection
package chart

import (
	"math"
	"math/bits"
	"strconv"

	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/track"
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
	out  canvas.Canvas
	base canvas.Canvas
	area canvas.Area
	key  baseKey

	bins   []bin
	shown  []int32 // the visible cells that hold devices
	blocks map[ClusterKey]*block
	order  []*block
	spare  []*block
	taken  []bool // by text
	crumbs []fleet.Crumb

	scene   Scene           // of the last frame
	visible int             // devices in the last frame
	slots   map[int64]uint8 // where a label was, so that it stays there
}

// baseKey is what the base depends on.
type baseKey struct {
	view   world.View
	theme  *canvas.Theme
	layers Layers
	drawn  bool
}

// bin is what falls into one cell.
type bin struct {
	count uint32
	last  int32 // the point that is drawn if only one is
	worst filter.State
	mask  uint8
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
)

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
	Dots     int         // size of a device in dots; 0 by how many there are
	Mask     *fleet.Mask // nil shows all

	Filtering bool // the frame's marks tell some devices from others
}

// TrailMode is whose trails are drawn.
type TrailMode uint8

const (
	TrailsSelected TrailMode = iota
	TrailsAll
	TrailsOff
	TrailModes
)

func (m TrailMode) String() string { return [...]string{"selected", "all", "off"}[m] }

const (
	gridFrom    = 6.5 // zoom
	fatUpTo     = 200 // up to so many visible devices a dot is 2x2
	glyphsUpTo  = 60  // and up to so many a device is a whole cell
	crowd       = 5   // devices that a block must hold for a badge
	mass        = 24  // and how many always get one
	blockW      = 6   // cells
	blockH      = 3
	maxLabels   = 60
	trailPoints = 20_000 // crumbs drawn in a frame
)

// Draw makes the picture and counts the visible devices into the frame. The canvas
// belongs to the chart until the next picture.
func (c *Chart) Draw(s *Scene) *canvas.Canvas {
	c.scene = *s
	c.drawBase(s)
	c.out.Copy(&c.base)
	c.bin(s)
	c.drawTrails(s)
	c.drawDevices(s)
	c.gatherBlocks(s)
	if s.Layers&Clusters != 0 {
		c.drawBadges()
	}
	c.drawSelected(s)
	if s.Layers&Labels != 0 {
		c.drawNames(s)
	}
	if s.Layers&Cities != 0 {
		c.drawCities(s)
	}
	return &c.out
}

func (c *Chart) drawBase(s *Scene) {
	key := baseKey{s.View, s.Theme, s.Layers & (Fill | Borders | Grid), true}
	if key == c.key {
		return
	}
	c.key = key
	level := world.For(s.View.Zoom)
	c.base.Resize(s.View.W/2, s.View.H/4)
	if s.Layers&Fill != 0 {
		c.area.Begin(&c.base)
		level.Land(&s.View, c.area.Edge)
		c.area.Fill(&c.base, look.Land)
	}
	if s.Layers&Grid != 0 {
		c.graticule(&s.View)
	}
	level.Lines(&s.View, func(k world.Kind, x0, y0, x1, y1 float64) {
		switch {
		case k == world.Coast:
			c.base.Line(x0, y0, x1, y1, look.Coast, look.OnCoast)
		case s.Layers&Borders != 0:
			c.base.Line(x0, y0, x1, y1, look.Border, look.OnBorder)
		}
	})
}

// graticule draws dotted meridians and parallels at round degrees, and says which, where
// the view is so close that there may be no coast in it to go by.
func (c *Chart) graticule(v *world.View) {
	if v.Zoom < gridFrom {
		return
	}
	nw, se := v.At(0, 0).Point(), v.At(float64(v.W), float64(v.H)).Point()
	west, east := nw.LonDeg(), se.LonDeg()
	if east < west {
		east += 360
	}
	perDegree := v.Scale() / 360
	step := gridStep(perDegree)
	for i := math.Ceil(west / step); i*step <= east; i++ {
		lon := geo.WrapLon(i * step)
		x, _ := v.Dot(world.Project(geo.Deg(0, lon)))
		for y := 0; y < v.H; y += 4 {
			c.base.Dot(int(x), y, look.Dim, look.OnGrid)
		}
		c.base.Text(int(x)/2+1, 0, degrees(lon, step, 'E', 'W'), look.Dim, look.OnGrid)
	}
	step = gridStep(perDegree / math.Cos(v.Centre.Point().LatDeg()*math.Pi/180))
	for i := math.Ceil(se.LatDeg() / step); i*step <= nw.LatDeg(); i++ {
		_, y := v.Dot(world.Project(geo.Deg(i*step, 0)))
		for x := 0; x < v.W; x += 4 {
			c.base.Dot(x, int(y), look.Dim, look.OnGrid)
		}
		c.base.Text(0, int(y)/4, degrees(i*step, step, 'N', 'S'), look.Dim, look.OnGrid)
	}
}

// gridStep is the smallest round number of degrees that is at least forty dots wide:
// twenty columns, ten rows.
func gridStep(perDegree float64) float64 {
	for ten := 1e-5; ; ten *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if ten*m*perDegree >= 40 {
				return ten * m
			}
		}
	}
}

// degrees writes 11.25°E with as many decimals as the step of the grid has.
func degrees(v, step float64, positive, negative rune) string {
	side := positive
	if v < 0 {
		side = negative
	}
	decimals := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	return strconv.FormatFloat(math.Abs(v), 'f', decimals, 64) + "°" + string(side)
}

// bin sorts all points into cells in one pass.
func (c *Chart) bin(s *Scene) {
	w, h := c.out.W, c.out.H
	if cap(c.bins) < w*h {
		c.bins = make([]bin, w*h)
		c.taken = make([]bool, w*h)
	}
	c.bins, c.taken = c.bins[:w*h], c.taken[:w*h]
	clear(c.bins)
	clear(c.taken)
	c.shown, c.visible = c.shown[:0], 0

	m := s.View.Mapper()
	wide, high := float64(2*w), float64(4*h)
	for i := range s.Frame.Points {
		pt := &s.Frame.Points[i]
		if !pt.Alive() || !pt.Placed() {
			continue
		}
		fx, fy := m.Dot(pt.Pos)
		if !(fx >= 0 && fy >= 0 && fx < wide && fy < high) {
			continue
		}
		x, y := int(fx), int(fy)
		at := int32(y>>2*w + x>>1)
		b := &c.bins[at]
		if b.count == 0 {
			c.shown = append(c.shown, at)
			b.last = int32(i)
		}
		// The worst is shown, not the last: the colour of a cell must not depend on
		// the order in which devices happen to be stored.
		if st := s.Frame.Marks[i].State(); st > b.worst {
			b.worst, b.last = st, int32(i)
		}
		b.count++
		b.mask |= canvas.Bit(x, y)
		c.visible++
	}
	s.Frame.Visible = c.visible
}

func (c *Chart) drawDevices(s *Scene) {
	for _, at := range c.shown {
		b := &c.bins[at]
		x, y := int(at)%c.out.W, int(at)/c.out.W
		style := look.OfState[b.worst]
		switch {
		case c.visible <= glyphsUpTo:
			c.out.Rune(x, y, deviceGlyph(&s.Frame.Points[b.last], b.worst), style, look.OnMarker)
		case c.visible <= fatUpTo:
			c.out.Dots(x, y, fatten(b.mask), style, look.OnDevice)
		default:
			c.out.Dots(x, y, b.mask, style, look.OnDevice)
		}
	}
}

func deviceGlyph(pt *fleet.Point, st filter.State) rune {
	if st != filter.Moving {
		return look.Glyph[st]
	}
	if pt.Has&track.HasVel == 0 {
		return '•'
	}
	return look.Arrow(pt.Course)
}

// fatten makes every dot of a cell two by two, as far as the cell goes: alone, one
// dot is hard to see.
func fatten(mask uint8) uint8 {
	var fat uint8
	for y := range 4 {
		if mask&(canvas.Bit(0, y)|canvas.Bit(1, y)) == 0 {
			continue
		}
		other := y + 1
		if y == 3 {
			other = 2
		}
		fat |= canvas.Bit(0, y) | canvas.Bit(1, y) | canvas.Bit(0, other) | canvas.Bit(1, other)
	}
	return fat
}

// ClusterKey names a block of cells on the grid of the world at a zoom, not of the
// screen: badges keep their place while the view is panned.
type ClusterKey struct{ x, y int32 }

type block struct {
	key    ClusterKey
	count  uint32
	dots   int
	worst  filter.State
	sx, sy int64 // where the devices are, weighted
	badge  bool  // was shown in the last frame, which makes it easier to stay
	seen   bool
}

// drawBadges writes a count where dots do not tell how many devices there are.
func (c *Chart) drawBadges() {
	for _, b := range c.order {
		need := uint32(crowd)
		if b.badge {
			need-- // once shown it takes fewer to stay, or badges would flicker
		}
		hidden := b.count >= need && (c.visible <= glyphsUpTo || int(b.count) > 2*b.dots)
		b.badge = hidden || b.count >= mass || b.badge && b.count >= mass*3/4
		if b.badge {
			c.drawBadge(b)
		}
	}
}

func (c *Chart) gatherBlocks(s *Scene) {
	if c.blocks == nil {
		c.blocks = map[ClusterKey]*block{}
	}
	for _, b := range c.blocks {
		*b = block{key: b.key, badge: b.badge}
	}
	c.order = c.order[:0]
	ox, oy := worldCells(&s.View)
	for _, at := range c.shown {
		x, y := int(at)%c.out.W, int(at)/c.out.W
		key := ClusterKey{floorDiv(ox+int64(x), blockW), floorDiv(oy+int64(y), blockH)}
		b := c.blocks[key]
		if b == nil {
			b = c.newBlock(key)
		}
		if !b.seen {
			b.seen = true
			c.order = append(c.order, b)
		}
		cell := &c.bins[at]
		b.count += cell.count
		b.dots += bits.OnesCount8(cell.mask)
		b.worst = max(b.worst, cell.worst)
		b.sx += int64(x) * int64(cell.count)
		b.sy += int64(y) * int64(cell.count)
	}
	for key, b := range c.blocks {
		if !b.seen {
			delete(c.blocks, key)
			c.spare = append(c.spare, b)
		}
	}
}

func (c *Chart) newBlock(key ClusterKey) *block {
	b := &block{}
	if n := len(c.spare); n > 0 {
		b, c.spare = c.spare[n-1], c.spare[:n-1]
	}
	*b = block{key: key}
	c.blocks[key] = b
	return b
}

// worldCells is the cell of the world's grid that lies in the corner of the view.
func worldCells(v *world.View) (x, y int64) {
	k := v.Scale() / (1 << 32)
	return int64(float64(v.Centre.X)*k-float64(v.W)/2) / 2, int64(float64(v.Centre.Y)*k-float64(v.H)/2) / 4
}

func floorDiv(a, b int64) int32 {
	if a < 0 {
		a -= b - 1
	}
	return int32(a / b)
}

// drawBadge puts ●824 where most of the devices of the block are.
func (c *Chart) drawBadge(b *block) {
	var buf [12]byte
	digits := shortCount(buf[:0], b.count)
	w := 1 + len(digits)
	x := min(max(int(b.sx/int64(b.count))-w/2, 0), c.out.W-w)
	y := int(b.sy / int64(b.count))
	if x < 0 || !c.free(x, y, w) {
		return
	}
	c.take(x, y, w)
	style := look.OfState[b.worst]
	c.out.Rune(x, y, '●', style, look.OnBadge)
	for i, d := range digits {
		c.out.Rune(x+1+i, y, rune(d), style, look.OnBadge)
	}
}

// shortCount writes 824, 9812, 12k, 3M.
func shortCount(dst []byte, n uint32) []byte {
	switch {
	case n < 10_000:
		return strconv.AppendUint(dst, uint64(n), 10)
	case n < 1_000_000:
		return append(strconv.AppendUint(dst, uint64(n/1000), 10), 'k')
	}
	return append(strconv.AppendUint(dst, uint64(n/1_000_000), 10), 'M')
}

func (c *Chart) free(x, y, w int) bool {
	if y < 0 || y >= c.out.H || x < 0 || x+w > c.out.W {
		return false
	}
	for _, t := range c.taken[y*c.out.W+x : y*c.out.W+x+w] {
		if t {
			return false
		}
	}
	return true
}

func (c *Chart) take(x, y, w int) {
	for i := range w {
		if x+i >= 0 && x+i < c.out.W && y >= 0 && y < c.out.H {
			c.taken[y*c.out.W+x+i] = true
		}
	}
}

// drawTrails draws where the selected device went, or all visible ones.
func (c *Chart) drawTrails(s *Scene) {
	switch {
	case s.Trails == TrailsOff:
	case s.Trails == TrailsSelected || c.visible == 0:
		if s.Selected != fleet.Nobody {
			c.drawTrail(s, s.Selected, fleet.MaxTrail)
		}
	default:
		n := min(max(trailPoints/c.visible, 2), fleet.MaxTrail)
		budget := trailPoints
		m := s.View.Mapper()
		for i := range s.Frame.Points {
			if pt := &s.Frame.Points[i]; pt.Alive() && budget > 0 && c.inside(&m, pt) {
				budget -= c.drawTrail(s, int32(i), n)
			}
		}
	}
}

func (c *Chart) inside(m *world.Mapper, pt *fleet.Point) bool {
	x, y := m.Dot(pt.Pos)
	return x >= 0 && y >= 0 && x < float64(2*c.out.W) && y < float64(4*c.out.H)
}

// drawTrail draws up to n crumbs in three ages and returns how many there were.
func (c *Chart) drawTrail(s *Scene, i int32, n int) int {
	c.crumbs = s.Store.Trail(c.crumbs[:0], i, n)
	if len(c.crumbs) == 0 {
		return 0
	}
	pt := &s.Frame.Points[i]
	c.crumbs = append(c.crumbs, fleet.Crumb{Pos: pt.Pos})
	m := s.View.Mapper()
	// From the device backwards, the short way from crumb to crumb even if it leads
	// over the date line: where the device shows, its trail ends.
	last := len(c.crumbs) - 1
	x1, y1 := m.Dot(pt.Pos)
	for j := last - 1; j >= 0; j-- {
		here, next := &c.crumbs[j], &c.crumbs[j+1]
		x0 := x1 - m.Dots(int32(next.Pos.X-here.Pos.X))
		_, y0 := m.Dot(here.Pos)
		if !next.Start {
			c.segment(s, x0, y0, x1, y1, j, last)
		}
		x1, y1 = x0, y0
	}
	return last
}

// segment draws one piece of a trail, and again on the other side of the world if it
// left the view there.
func (c *Chart) segment(s *Scene, x0, y0, x1, y1 float64, i, n int) {
	style, prio := trailAge(i, n)
	c.out.Line(x0, y0, x1, y1, style, prio)
	around := s.View.Scale()
	switch wide := float64(2 * c.out.W); {
	case x0 < 0 || x1 < 0:
		c.out.Line(x0+around, y0, x1+around, y1, style, prio)
	case x0 > wide || x1 > wide:
		c.out.Line(x0-around, y0, x1-around, y1, style, prio)
	}
}

func trailAge(i, n int) (canvas.Style, uint8) {
	switch {
	case 3*i < n:
		return look.TrailOld, look.OnTrail
	case 3*i < 2*n:
		return look.TrailMid, look.OnTrail + 1
	}
	return look.TrailNew, look.OnTrail + 2
}

// drawSelected puts the selected device on top, in brackets, with its name.
func (c *Chart) drawSelected(s *Scene) {
	if s.Selected == fleet.Nobody {
		return
	}
	pt := &s.Frame.Points[s.Selected]
	m := s.View.Mapper()
	if !pt.Placed() || !c.inside(&m, pt) {
		return
	}
	fx, fy := m.Dot(pt.Pos)
	x, y := int(fx)/2, int(fy)/4
	c.take(x-1, y, 3)
	c.out.Rune(x-1, y, '[', look.Picked, look.OnSelected)
	c.out.Rune(x, y, deviceGlyph(pt, s.Frame.Marks[s.Selected].State()), look.Picked, look.OnSelected)
	c.out.Rune(x+1, y, ']', look.Picked, look.OnSelected)
	c.label(int64(s.Selected), x, y, 3, s.name(s.Selected), look.Picked, look.OnSelected)
}

// label writes a name beside a cell: where it was in the last frame if there still is
// room, else right of it, left, above, below, or not at all.
func (c *Chart) label(key int64, x, y, gap int, name string, style canvas.Style, prio uint8) bool {
	w := canvas.Width(name)
	if w == 0 {
		return false
	}
	places := [4][2]int{{x + gap, y}, {x - gap - w + 1, y}, {x - w/2, y - 1}, {x - w/2, y + 1}}
	if c.slots == nil || len(c.slots) > 8192 {
		c.slots = map[int64]uint8{}
	}
	first := c.slots[key]
	for i := range uint8(len(places)) {
		slot := (first + i) % uint8(len(places))
		if at := places[slot]; c.free(at[0], at[1], w) && c.apart(at[0], at[1], w) {
			c.take(at[0], at[1], w)
			c.out.Text(at[0], at[1], name, style, prio)
			c.space(at[0]-1, at[1], prio)
			c.space(at[0]+w, at[1], prio)
			if slot != first {
				c.slots[key] = slot
			}
			return true
		}
	}
	return false
}

// apart tells whether the cells beside a word belong to no other.
func (c *Chart) apart(x, y, w int) bool {
	return (x == 0 || c.free(x-1, y, 1)) && (x+w == c.out.W || c.free(x+w, y, 1))
}

// space keeps a coast from running into a word.
func (c *Chart) space(x, y int, prio uint8) {
	if cell := c.out.At(x, y); cell != nil && cell.Prio < look.OnDevice && !c.taken[y*c.out.W+x] {
		c.out.Rune(x, y, ' ', look.City, prio)
	}
}

// Keys of labels: devices by index, cities after all devices.
const cityKey = int64(1) << 32

// drawNames names single devices where they are few enough to be glyphs.
func (c *Chart) drawNames(s *Scene) {
	if c.visible > glyphsUpTo {
		return
	}
	for _, at := range c.shown {
		c.take(int(at)%c.out.W, int(at)/c.out.W, 1)
	}
	names := 0
	for _, at := range c.shown {
		b := &c.bins[at]
		if b.count != 1 || b.last == s.Selected || c.crowded(s, at) {
			continue
		}
		if c.label(int64(b.last), int(at)%c.out.W, int(at)/c.out.W, 2, s.name(b.last), look.OfState[b.worst], look.OnLabel) {
			if names++; names == maxLabels {
				return
			}
		}
	}
}

// name is what to write beside a device.
func (s *Scene) name(i int32) string {
	name := s.Store.Name(i)
	if s.Mask != nil && s.Mask.On {
		fix, _, _ := s.Store.Info(i)
		name = s.Mask.Name(fix.Device, name)
	}
	return canvas.Truncate(name, 24)
}

// crowded tells whether the block of a cell has a badge, which speaks for all in it.
func (c *Chart) crowded(s *Scene, at int32) bool {
	b := c.blocks[c.blockOf(&s.View, int(at)%c.out.W, int(at)/c.out.W)]
	return b != nil && b.badge
}

// blockOf is the block that a cell of the picture belongs to.
func (c *Chart) blockOf(v *world.View, x, y int) ClusterKey {
	ox, oy := worldCells(v)
	return ClusterKey{floorDiv(ox+int64(x), blockW), floorDiv(oy+int64(y), blockH)}
}

// drawCities writes the largest cities that fit, never over a device.
func (c *Chart) drawCities(s *Scene) {
	for _, at := range c.shown {
		c.taken[at] = true
	}
	m := s.View.Mapper()
	cities := world.Cities()
	cities = cities[:min(len(cities), citiesAt(s.View.Zoom))]
	room := c.out.W * c.out.H / 120
	for i := range cities {
		fx, fy := m.Dot(cities[i].Pos)
		if fx < 0 || fy < 0 || fx >= float64(2*c.out.W) || fy >= float64(4*c.out.H) || room == 0 {
			continue
		}
		x, y := int(fx)/2, int(fy)/4
		if !c.free(x, y, 1) || !c.label(cityKey+int64(i), x, y, 1, cities[i].Name, look.City, look.OnTrail-1) {
			continue
		}
		c.out.Rune(x, y, '·', look.City, look.OnTrail-1)
		c.take(x, y, 1)
		room--
	}
}

// citiesAt is how far down the list of cities a zoom goes: a name must not come and
// go while the view is panned.
func citiesAt(zoom float64) int {
	n := 10.0
	for ; zoom >= 0.5; zoom -= 0.5 {
		n *= 1.55
	}
	return int(min(n, 1e6))
}
