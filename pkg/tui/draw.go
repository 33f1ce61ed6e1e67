package tui

import (
	"math"
	"math/bits"
	"strconv"

	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/world"
)

// picture draws the map: everything inside the frame, nothing around it. It keeps
// what it can from one frame to the next, and allocates nothing once it is warm.
//
//	base   land, graticule, coasts and borders: redrawn when the view moves
//	       trails
//	bins   devices: one pass over all points, then one over the cells
//	       badges where there are too many to tell apart
//	       names, then cities where there is still room
//	       the selection
type picture struct {
	c    canvas.Canvas
	base canvas.Canvas
	area canvas.Area
	key  baseKey

	bins   []bin
	shown  []int32 // the visible cells that hold devices
	blocks map[blockKey]*block
	order  []*block
	spare  []*block
	taken  []bool // by text
	crumbs []crumb

	scene   scene           // of the last frame
	visible int             // devices in the last frame
	slots   map[int64]uint8 // where a label was, so that it stays there
}

// baseKey is what the base depends on.
type baseKey struct {
	view    world.View
	theme   *canvas.Theme
	land    bool
	borders bool
	drawn   bool
}

// bin is what falls into one cell.
type bin struct {
	count uint32
	last  int32 // the point that is drawn if only one is
	worst state
	mask  uint8
}

// scene is what a frame is made of.
type scene struct {
	view     world.View
	points   []point
	now      int64
	ages     ages
	theme    *canvas.Theme
	land     bool
	borders  bool
	selected int32 // nobody if none is
	label    string
	name     func(point int32) string
	trails   trailMode
	trail    func(dst []crumb, point int32, n int) []crumb
	counts   [stateCount]int // filled by draw: of all devices, seen or not
}

type trailMode uint8

const (
	trailsSelected trailMode = iota
	trailsAll
	trailsOff
	trailModes
)

func (m trailMode) String() string { return [...]string{"selected", "all", "off"}[m] }

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

// draw makes the frame. The canvas belongs to the picture until the next one.
func (p *picture) draw(s *scene) *canvas.Canvas {
	p.drawBase(s)
	p.c.Copy(&p.base)
	p.bin(s)
	p.drawTrails(s)
	p.drawDevices(s)
	p.drawBadges(s)
	p.drawSelected(s)
	p.drawNames(s)
	p.drawCities(s)
	return &p.c
}

func (p *picture) drawBase(s *scene) {
	key := baseKey{s.view, s.theme, s.land, s.borders, true}
	if key == p.key {
		return
	}
	p.key = key
	level := world.For(s.view.Zoom)
	p.base.Resize(s.view.W/2, s.view.H/4)
	if s.land {
		p.area.Begin(&p.base)
		level.Land(&s.view, p.area.Edge)
		p.area.Fill(&p.base, land)
	}
	p.graticule(&s.view)
	level.Lines(&s.view, func(k world.Kind, x0, y0, x1, y1 float64) {
		switch {
		case k == world.Coast:
			p.base.Line(x0, y0, x1, y1, coast, onCoast)
		case s.borders:
			p.base.Line(x0, y0, x1, y1, border, onBorder)
		}
	})
}

// graticule draws dotted meridians and parallels at round degrees, and says which, where
// the view is so close that there may be no coast in it to go by.
func (p *picture) graticule(v *world.View) {
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
			p.base.Dot(int(x), y, dim, onGrid)
		}
		p.base.Text(int(x)/2+1, 0, degrees(lon, step, 'E', 'W'), dim, onGrid)
	}
	step = gridStep(perDegree / math.Cos(v.Centre.Point().LatDeg()*math.Pi/180))
	for i := math.Ceil(se.LatDeg() / step); i*step <= nw.LatDeg(); i++ {
		_, y := v.Dot(world.Project(geo.Deg(i*step, 0)))
		for x := 0; x < v.W; x += 4 {
			p.base.Dot(x, int(y), dim, onGrid)
		}
		p.base.Text(0, int(y)/4, degrees(i*step, step, 'N', 'S'), dim, onGrid)
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
func (p *picture) bin(s *scene) {
	w, h := p.c.W, p.c.H
	if cap(p.bins) < w*h {
		p.bins = make([]bin, w*h)
		p.taken = make([]bool, w*h)
	}
	p.bins, p.taken = p.bins[:w*h], p.taken[:w*h]
	clear(p.bins)
	clear(p.taken)
	p.shown, p.visible = p.shown[:0], 0
	s.counts = [stateCount]int{}

	m := s.view.Mapper()
	wide, high := float64(2*w), float64(4*h)
	for i := range s.points {
		pt := &s.points[i]
		if !pt.alive {
			continue
		}
		st := pt.state(s.now, &s.ages)
		s.counts[st]++
		if !pt.placed() {
			continue
		}
		fx, fy := m.Dot(pt.pos)
		if !(fx >= 0 && fy >= 0 && fx < wide && fy < high) {
			continue
		}
		x, y := int(fx), int(fy)
		at := int32(y>>2*w + x>>1)
		b := &p.bins[at]
		if b.count == 0 {
			p.shown = append(p.shown, at)
			b.last = int32(i)
		}
		// The worst is shown, not the last: the colour of a cell must not depend on
		// the order in which devices happen to be stored.
		if st > b.worst {
			b.worst, b.last = st, int32(i)
		}
		b.count++
		b.mask |= canvas.Bit(x, y)
		p.visible++
	}
}

func (p *picture) drawDevices(s *scene) {
	for _, at := range p.shown {
		b := &p.bins[at]
		x, y := int(at)%p.c.W, int(at)/p.c.W
		style := stateLooks[b.worst].style
		switch {
		case p.visible <= glyphsUpTo:
			p.c.Rune(x, y, deviceGlyph(&s.points[b.last], b.worst), style, onMarker)
		case p.visible <= fatUpTo:
			p.c.Dots(x, y, fatten(b.mask), style, onDevice)
		default:
			p.c.Dots(x, y, b.mask, style, onDevice)
		}
	}
}

func deviceGlyph(pt *point, st state) rune {
	if st != isMoving {
		return stateLooks[st].glyph
	}
	if pt.has&track.HasVel == 0 {
		return '•'
	}
	return arrow(pt.course)
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

// blockKey names a block of cells on the grid of the world at a zoom, not of the
// screen: badges keep their place while the view is panned.
type blockKey struct{ x, y int32 }

type block struct {
	key    blockKey
	count  uint32
	dots   int
	worst  state
	sx, sy int64 // where the devices are, weighted
	badge  bool  // was shown in the last frame, which makes it easier to stay
	seen   bool
}

// drawBadges writes a count where dots do not tell how many devices there are.
func (p *picture) drawBadges(s *scene) {
	p.gatherBlocks(s)
	for _, b := range p.order {
		need := uint32(crowd)
		if b.badge {
			need-- // once shown it takes fewer to stay, or badges would flicker
		}
		hidden := b.count >= need && (p.visible <= glyphsUpTo || int(b.count) > 2*b.dots)
		b.badge = hidden || b.count >= mass || b.badge && b.count >= mass*3/4
		if b.badge {
			p.drawBadge(b)
		}
	}
}

func (p *picture) gatherBlocks(s *scene) {
	if p.blocks == nil {
		p.blocks = map[blockKey]*block{}
	}
	for _, b := range p.blocks {
		*b = block{key: b.key, badge: b.badge}
	}
	p.order = p.order[:0]
	ox, oy := worldCells(&s.view)
	for _, at := range p.shown {
		x, y := int(at)%p.c.W, int(at)/p.c.W
		key := blockKey{floorDiv(ox+int64(x), blockW), floorDiv(oy+int64(y), blockH)}
		b := p.blocks[key]
		if b == nil {
			b = p.newBlock(key)
		}
		if !b.seen {
			b.seen = true
			p.order = append(p.order, b)
		}
		cell := &p.bins[at]
		b.count += cell.count
		b.dots += bits.OnesCount8(cell.mask)
		b.worst = max(b.worst, cell.worst)
		b.sx += int64(x) * int64(cell.count)
		b.sy += int64(y) * int64(cell.count)
	}
	for key, b := range p.blocks {
		if !b.seen {
			delete(p.blocks, key)
			p.spare = append(p.spare, b)
		}
	}
}

func (p *picture) newBlock(key blockKey) *block {
	b := &block{}
	if n := len(p.spare); n > 0 {
		b, p.spare = p.spare[n-1], p.spare[:n-1]
	}
	*b = block{key: key}
	p.blocks[key] = b
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
func (p *picture) drawBadge(b *block) {
	var buf [12]byte
	digits := shortCount(buf[:0], b.count)
	w := 1 + len(digits)
	x := min(max(int(b.sx/int64(b.count))-w/2, 0), p.c.W-w)
	y := int(b.sy / int64(b.count))
	if x < 0 || !p.free(x, y, w) {
		return
	}
	p.take(x, y, w)
	style := stateLooks[b.worst].style
	p.c.Rune(x, y, '●', style, onBadge)
	for i, d := range digits {
		p.c.Rune(x+1+i, y, rune(d), style, onBadge)
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

func (p *picture) free(x, y, w int) bool {
	if y < 0 || y >= p.c.H || x < 0 || x+w > p.c.W {
		return false
	}
	for _, t := range p.taken[y*p.c.W+x : y*p.c.W+x+w] {
		if t {
			return false
		}
	}
	return true
}

func (p *picture) take(x, y, w int) {
	for i := range w {
		if x+i >= 0 && x+i < p.c.W && y >= 0 && y < p.c.H {
			p.taken[y*p.c.W+x+i] = true
		}
	}
}

// drawTrails draws where the selected device went, or all visible ones.
func (p *picture) drawTrails(s *scene) {
	switch {
	case s.trails == trailsOff:
	case s.trails == trailsSelected || p.visible == 0:
		if s.selected != nobody {
			p.drawTrail(s, s.selected, maxTrail)
		}
	default:
		n := min(max(trailPoints/p.visible, 2), maxTrail)
		budget := trailPoints
		m := s.view.Mapper()
		for i := range s.points {
			if pt := &s.points[i]; pt.alive && budget > 0 && p.inside(&m, pt) {
				budget -= p.drawTrail(s, int32(i), n)
			}
		}
	}
}

func (p *picture) inside(m *world.Mapper, pt *point) bool {
	x, y := m.Dot(pt.pos)
	return x >= 0 && y >= 0 && x < float64(2*p.c.W) && y < float64(4*p.c.H)
}

// drawTrail draws up to n crumbs in three ages and returns how many there were.
func (p *picture) drawTrail(s *scene, i int32, n int) int {
	p.crumbs = s.trail(p.crumbs[:0], i, n)
	if len(p.crumbs) == 0 {
		return 0
	}
	pt := &s.points[i]
	p.crumbs = append(p.crumbs, crumb{pos: pt.pos})
	m := s.view.Mapper()
	// From the device backwards, the short way from crumb to crumb even if it leads
	// over the date line: where the device shows, its trail ends.
	last := len(p.crumbs) - 1
	x1, y1 := m.Dot(pt.pos)
	for j := last - 1; j >= 0; j-- {
		here, next := &p.crumbs[j], &p.crumbs[j+1]
		x0 := x1 - m.Dots(int32(next.pos.X-here.pos.X))
		_, y0 := m.Dot(here.pos)
		if !next.start {
			p.segment(s, x0, y0, x1, y1, j, last)
		}
		x1, y1 = x0, y0
	}
	return last
}

// segment draws one piece of a trail, and again on the other side of the world if it
// left the view there.
func (p *picture) segment(s *scene, x0, y0, x1, y1 float64, i, n int) {
	style, prio := trailAge(i, n)
	p.c.Line(x0, y0, x1, y1, style, prio)
	around := s.view.Scale()
	switch wide := float64(2 * p.c.W); {
	case x0 < 0 || x1 < 0:
		p.c.Line(x0+around, y0, x1+around, y1, style, prio)
	case x0 > wide || x1 > wide:
		p.c.Line(x0-around, y0, x1-around, y1, style, prio)
	}
}

func trailAge(i, n int) (canvas.Style, uint8) {
	switch {
	case 3*i < n:
		return trailOld, onTrail
	case 3*i < 2*n:
		return trailMid, onTrail + 1
	}
	return trailNew, onTrail + 2
}

// drawSelected puts the selected device on top, in brackets, with its name.
func (p *picture) drawSelected(s *scene) {
	if s.selected == nobody {
		return
	}
	pt := &s.points[s.selected]
	m := s.view.Mapper()
	if !pt.placed() || !p.inside(&m, pt) {
		return
	}
	fx, fy := m.Dot(pt.pos)
	x, y := int(fx)/2, int(fy)/4
	p.take(x-1, y, 3)
	p.c.Rune(x-1, y, '[', picked, onSelected)
	p.c.Rune(x, y, deviceGlyph(pt, pt.state(s.now, &s.ages)), picked, onSelected)
	p.c.Rune(x+1, y, ']', picked, onSelected)
	p.label(int64(s.selected), x, y, 3, s.label, picked, onSelected)
}

// label writes a name beside a cell: where it was in the last frame if there still is
// room, else right of it, left, above, below, or not at all.
func (p *picture) label(key int64, x, y, gap int, name string, style canvas.Style, prio uint8) bool {
	w := canvas.Width(name)
	if w == 0 {
		return false
	}
	places := [4][2]int{{x + gap, y}, {x - gap - w + 1, y}, {x - w/2, y - 1}, {x - w/2, y + 1}}
	if p.slots == nil || len(p.slots) > 8192 {
		p.slots = map[int64]uint8{}
	}
	first := p.slots[key]
	for i := range uint8(len(places)) {
		slot := (first + i) % uint8(len(places))
		if at := places[slot]; p.free(at[0], at[1], w) && p.apart(at[0], at[1], w) {
			p.take(at[0], at[1], w)
			p.c.Text(at[0], at[1], name, style, prio)
			p.space(at[0]-1, at[1], prio)
			p.space(at[0]+w, at[1], prio)
			if slot != first {
				p.slots[key] = slot
			}
			return true
		}
	}
	return false
}

// apart tells whether the cells beside a word belong to no other.
func (p *picture) apart(x, y, w int) bool {
	return (x == 0 || p.free(x-1, y, 1)) && (x+w == p.c.W || p.free(x+w, y, 1))
}

// space keeps a coast from running into a word.
func (p *picture) space(x, y int, prio uint8) {
	if cell := p.c.At(x, y); cell != nil && cell.Prio < onDevice && !p.taken[y*p.c.W+x] {
		p.c.Rune(x, y, ' ', city, prio)
	}
}

// Keys of labels: devices by index, cities after all devices.
const cityKey = int64(1) << 32

// drawNames names single devices where they are few enough to be glyphs.
func (p *picture) drawNames(s *scene) {
	if p.visible > glyphsUpTo {
		return
	}
	for _, at := range p.shown {
		p.take(int(at)%p.c.W, int(at)/p.c.W, 1)
	}
	names := 0
	for _, at := range p.shown {
		b := &p.bins[at]
		if b.count != 1 || b.last == s.selected || p.crowded(s, at) {
			continue
		}
		if p.label(int64(b.last), int(at)%p.c.W, int(at)/p.c.W, 2, s.name(b.last), stateLooks[b.worst].style, onLabel) {
			if names++; names == maxLabels {
				return
			}
		}
	}
}

// crowded tells whether the block of a cell has a badge, which speaks for all in it.
func (p *picture) crowded(s *scene, at int32) bool {
	ox, oy := worldCells(&s.view)
	x, y := int64(int(at)%p.c.W), int64(int(at)/p.c.W)
	b := p.blocks[blockKey{floorDiv(ox+x, blockW), floorDiv(oy+y, blockH)}]
	return b != nil && b.badge
}

// drawCities writes the largest cities that fit, never over a device.
func (p *picture) drawCities(s *scene) {
	for _, at := range p.shown {
		p.taken[at] = true
	}
	m := s.view.Mapper()
	cities := world.Cities()
	cities = cities[:min(len(cities), citiesAt(s.view.Zoom))]
	room := p.c.W * p.c.H / 120
	for i := range cities {
		fx, fy := m.Dot(cities[i].Pos)
		if fx < 0 || fy < 0 || fx >= float64(2*p.c.W) || fy >= float64(4*p.c.H) || room == 0 {
			continue
		}
		x, y := int(fx)/2, int(fy)/4
		if !p.free(x, y, 1) || !p.label(cityKey+int64(i), x, y, 1, cities[i].Name, city, onTrail-1) {
			continue
		}
		p.c.Rune(x, y, '·', city, onTrail-1)
		p.take(x, y, 1)
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
