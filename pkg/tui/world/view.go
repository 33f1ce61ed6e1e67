package world

import (
	"math"

	"tracker/pkg/geo"
)

// MaxLat is where the square of Web Mercator ends, in degrees.
const MaxLat = 85.0511287798066

// MaxZoom is as far in as a view goes: 0.15 m a dot at the equator.
const MaxZoom = 20

const turn = int64(1) << 32

// Pos is a place in the square of the projection, 9 mm steps at the equator. The
// difference of two X, read as an int32, is the short way round the globe.
type Pos struct{ X, Y uint32 }

// Project puts a point on the map. What lies beyond MaxLat is put on the edge.
func Project(p geo.Point) Pos { return Pos{projectLon(p.LonDeg()), projectLat(p.LatDeg())} }

func projectLon(deg float64) uint32 { return uint32(int64((deg + 180) / 360 * float64(turn))) }

func projectLat(deg float64) uint32 {
	s := math.Sin(min(max(deg, -MaxLat), MaxLat) * math.Pi / 180)
	return squareY(0.5 - math.Log((1+s)/(1-s))/(4*math.Pi))
}

func squareY(y float64) uint32 { return uint32(min(max(y*float64(turn), 0), math.MaxUint32)) }

// Point is the opposite of Project.
func (p Pos) Point() geo.Point {
	lon := float64(p.X)/float64(turn)*360 - 180
	y := float64(p.Y) / float64(turn)
	return geo.Deg(math.Atan(math.Sinh(math.Pi*(1-2*y)))*180/math.Pi, lon)
}

// View is a window of W by H square dots around Centre. At Zoom 0 the world is 256
// dots wide, and each step doubles it. The zero value shows nothing.
type View struct {
	Centre Pos
	Zoom   float64
	W, H   int
}

// Scale is the width of the whole world in dots.
func (v *View) Scale() float64 { return 256 * math.Exp2(v.Zoom) }

// MinZoom is where the world is exactly as wide as the view.
func (v *View) MinZoom() float64 { return math.Log2(float64(max(v.W, 1)) / 256) }

// MetersPerDot is the size of a dot on the ground in the middle of the view.
func (v *View) MetersPerDot() geo.Meters {
	around := 2 * math.Pi * float64(geo.EarthRadius) * math.Cos(v.Centre.Point().LatDeg()*math.Pi/180)
	return geo.Meters(around / v.Scale())
}

// Clamp brings the zoom into its limits and keeps the view from leaving the map over
// a pole. It never moves the centre east or west.
func (v *View) Clamp() {
	v.Zoom = min(max(v.Zoom, v.MinZoom()), MaxZoom)
	half := float64(v.H) / 2 / v.Scale()
	if half >= 0.5 {
		v.Centre.Y = 1 << 31
		return
	}
	y := float64(v.Centre.Y) / float64(turn)
	if y < half || y > 1-half { // only then: rounding must not move a centre that is fine
		v.Centre.Y = squareY(min(max(y, half), 1-half))
	}
}

// Resize changes the size and keeps the centre and the scale.
func (v *View) Resize(w, h int) {
	v.W, v.H = w, h
	v.Clamp()
}

// Pan moves the window over the map by dots: positive is east and south.
func (v *View) Pan(dx, dy float64) {
	step := float64(turn) / v.Scale()
	v.Centre.X = v.east(dx)
	v.Centre.Y = squareY((float64(v.Centre.Y) + dy*step) / float64(turn))
	v.Clamp()
}

// east is the centre dx dots further. The last dot before the date line is narrower than
// the others, unless the zoom is a whole number, but it is a dot of the picture like any
// other: whoever crosses the line by a dot moves the picture by one, not by the one and a
// half that the ground would make of it.
func (v *View) east(dx float64) uint32 {
	k, around := v.Scale()/float64(turn), float64(v.Around())
	x := math.Mod(float64(v.Centre.X)*k+dx, around)
	if x < 0 {
		x += around
	}
	switch steps := math.Round(x / k); {
	case steps < float64(turn):
		return uint32(steps)
	case math.Round(x) >= around: // in what is missing of the last dot: the nearer side
		return 0
	}
	return math.MaxUint32
}

// ZoomAt changes the zoom and keeps what is at dot (x, y) where it is.
func (v *View) ZoomAt(dz, x, y float64) {
	before := v.Scale()
	v.Zoom += dz
	v.Zoom = min(max(v.Zoom, v.MinZoom()), MaxZoom)
	k := v.Scale()/before - 1
	v.Pan((x-float64(v.W)/2)*k, (y-float64(v.H)/2)*k)
}

// Snap moves the centre by at most half a dot, onto the grid of the dots of the zoom.
// From then on every place has one whole dot of the world, wherever the view is panned:
// what is drawn moves by whole dots and never changes among itself.
func (v *View) Snap() {
	k := v.Scale() / float64(turn)
	x := math.Round(float64(v.Centre.X) * k)
	if x >= v.Scale() {
		x = 0 // the dot after the last one is the first one
	}
	v.Centre.X = uint32(int64(math.Round(x / k)))
	y, half := math.Round(float64(v.Centre.Y)*k), float64(v.H)/2
	if south := float64(v.Centre.Y)*k + half; south > v.Scale()-0.5 && float64(v.H) < v.Scale() {
		y = math.Ceil(v.Scale()-1e-6) - math.Ceil(half) // what is left of a dot there belongs to the view
	}
	v.Centre.Y = squareY(math.Round(y/k) / float64(turn))
}

// Origin is the dot in the corner of a view that has been snapped, counted from the
// corner of the world.
func (v *View) Origin() (x, y int64) {
	k := v.Scale() / float64(turn)
	dots := func(c uint32, size int) int64 { return int64(math.Round(float64(c)*k)) - int64(size/2) }
	return dots(v.Centre.X, v.W), dots(v.Centre.Y, v.H)
}

// Around is how many dots the world is wide. The last one is narrower than the others,
// unless the zoom is a whole number.
func (v *View) Around() int64 {
	return max(int64(math.Ceil(v.Scale()-1e-6)), 1) // so far Scale may be off by rounding
}

// Dot is where p shows. It is outside 0..W, 0..H when it does not.
func (v *View) Dot(p Pos) (x, y float64) {
	m := v.Mapper()
	return m.Dot(p)
}

// At is the place under a dot.
func (v *View) At(x, y float64) Pos {
	step := float64(turn) / v.Scale()
	dx := int64((x - float64(v.W)/2) * step)
	return Pos{v.Centre.X + uint32(dx), squareY((float64(v.Centre.Y) + (y-float64(v.H)/2)*step) / float64(turn))}
}

// Mapper is a View prepared for many positions.
type Mapper struct {
	centre Pos
	k      float64
	hw, hh float64
	ox, oy int64 // Origin
	around int64
}

// Mapper prepares for many calls of Dot or Cell.
func (v *View) Mapper() Mapper {
	m := Mapper{centre: v.Centre, k: v.Scale() / float64(turn), hw: float64(v.W) / 2, hh: float64(v.H) / 2, around: v.Around()}
	m.ox, m.oy = v.Origin()
	return m
}

// Dot is View.Dot.
func (m *Mapper) Dot(p Pos) (x, y float64) {
	return float64(int32(p.X-m.centre.X))*m.k + m.hw, (float64(p.Y)-float64(m.centre.Y))*m.k + m.hh
}

// Cell is the dot of a snapped view that p falls into: its dot of the world less the
// Origin. Places that share a dot share it wherever the view is panned, which cannot be
// said of the whole part of Dot. Of the ways round the globe it takes the shorter one.
func (m *Mapper) Cell(p Pos) (x, y int64) {
	x = int64(float64(p.X)*m.k) - m.ox
	switch east := int64(m.centre.X) + int64(int32(p.X-m.centre.X)); {
	case east < 0:
		x -= m.around
	case east >= turn:
		x += m.around
	}
	return x, int64(float64(p.Y)*m.k) - m.oy
}

// Dots is the length of a number of steps in dots.
func (m *Mapper) Dots(steps int32) float64 { return float64(steps) * m.k }

// Fit moves the view so that all places show with a margin of an eighth, zoomed in no
// further than maxZoom. Of the ways round the globe it takes the shorter one: a fleet
// on both sides of the date line stays together.
func (v *View) Fit(places []Pos, maxZoom float64) {
	if len(places) == 0 {
		return
	}
	west, width := shortestArc(places)
	top, floor := places[0].Y, places[0].Y
	for _, p := range places {
		top, floor = min(top, p.Y), max(floor, p.Y)
	}
	v.Centre = Pos{west + width/2, top + (floor-top)/2}
	zoom := func(dots int, extent uint32) float64 {
		return math.Log2(float64(dots) * 0.875 * float64(turn) / 256 / (float64(extent) + 1))
	}
	v.Zoom = min(zoom(v.W, width), zoom(v.H, floor-top), maxZoom)
	v.Clamp()
}

// shortestArc finds the longest stretch of the globe without a place, in steps of a
// 1024th, and returns what is left: its western end and its width.
func shortestArc(places []Pos) (west, width uint32) {
	const bins = 1024
	type bin struct {
		min, max uint32
		used     bool
	}
	var table [bins]bin
	for _, p := range places {
		b := &table[p.X>>22]
		if !b.used {
			*b = bin{p.X, p.X, true}
		}
		b.min, b.max = min(b.min, p.X), max(b.max, p.X)
	}
	var used []*bin
	for i := range table {
		if table[i].used {
			used = append(used, &table[i])
		}
	}
	if len(used) == 1 {
		return used[0].min, used[0].max - used[0].min
	}
	var gap uint32
	var east uint32
	for i, b := range used {
		next := used[(i+1)%len(used)]
		if g := next.min - b.max; g > gap { // wraps by itself at the last one
			gap, west, east = g, next.min, b.max
		}
	}
	return west, east - west
}

// window is a view in the units of the map.
type window struct {
	cx         uint32
	cy         float64
	half       int64 // half the width
	top, floor uint32
	k          float64 // dots a step
	hw, hh     float64
}

func (v *View) window() window {
	k := v.Scale() / float64(turn)
	w := window{cx: v.Centre.X, cy: float64(v.Centre.Y), k: k, hw: float64(v.W) / 2, hh: float64(v.H) / 2}
	w.half = int64(w.hw/k) + 1
	w.top = squareY((w.cy - w.hh/k - 1) / float64(turn))
	w.floor = squareY((w.cy + w.hh/k + 1) / float64(turn))
	return w
}

// dots puts a place x steps east of the centre on the view.
func (w *window) dots(x int64, y uint32) (float64, float64) {
	return float64(x)*w.k + w.hw, (float64(y)-w.cy)*w.k + w.hh
}
