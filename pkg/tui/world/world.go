// Package world is the base map that is built into the program, and the projection
// that puts it on a screen: coasts, borders and land from Natural Earth in two levels
// of detail, and the largest cities from GeoNames. It needs no network and no key.
//
//	    0 ──────────── X ───────────► 2³²
//	 0  ┌──────────────────────────────┐  85.05° north
//	 │  │    ▄▄▄▄▄        ▄▄▄▄▄▄▄▄▄    │
//	 Y  │     ▀██▄       ▄█▀▀██████    │  Web Mercator: the globe is a square.
//	 │  │       ▀█       ▀██▀ ▀█▀▄     │  X wraps, so that distances across the
//	 ▼  │        █▄       ▀█    ▄▄     │  date line are plain int32 subtraction.
//	2³² └──────────────────────────────┘  85.05° south
//
// A View is a window onto that square: a centre, a zoom and a size in dots. Nothing
// here knows what a dot is; a terminal has 2x4 of them in a cell, a web page one a
// pixel.
//
// # File format
//
// The files are made by scripts/basemap.mjs and gzipped; docs/basemap.md has the whole of
// it, and clients/web reads them in JavaScript. Numbers are LEB128 varints,
// signed ones zigzag. A level (world-110m, world-50m) is TopoJSON without the JSON:
//
//	"TRKW" 1           magic and version
//	4 x float64 LE     degrees a step of x and of y, longitude and latitude of step 0
//	narcs, narcs x     points*4 + kind (0 coast, 1 border)
//	all x, then all y  signed; each arc starts absolute, then differences
//	nrings, nrings x   narcs, then signed references: arc i, or ^i for arc i backwards
//
// The cities file is columns, largest city first:
//
//	"TRKC" 1, n
//	n high bytes and n low bytes of longitude, then the same of latitude,
//	                   as fractions of 65535 of -180..180 and -90..90
//	names              UTF-8, separated by newlines
package world

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
)

// Kind tells what a line of the map is.
type Kind uint8

const (
	Coast Kind = iota
	Border
	Outline // of an area of somebody's own
	Route   // likewise a line
	Place   // and a single point: a line from it to itself
)

// Credits is whom the map is owed to; it belongs in a corner of every picture of it.
const Credits = "Natural Earth · GeoNames"

// DetailEnds is the zoom from which on a dot is finer than the steps of the data
// (0.0036 degree, 400 m): coasts drawn beyond it are true only so far.
const DetailEnds = 9

const fineFrom = 2.2

//go:embed world-110m.bin.gz
var coarseGz []byte

//go:embed world-50m.bin.gz
var fineGz []byte

//go:embed cities.bin.gz
var citiesGz []byte

// Coarse is the 1:110 million map, decoded on first use in about a millisecond.
var Coarse = sync.OnceValue(func() *Level { return must(decodeLevel(gunzip(coarseGz))) })

// Fine is the 1:50 million map. Its first use takes some milliseconds: call it ahead
// of time from a goroutine.
var Fine = sync.OnceValue(func() *Level { return must(decodeLevel(gunzip(fineGz))) })

// Cities are the two thousand largest cities, largest first.
var Cities = sync.OnceValue(func() []City { return must(decodeCities(gunzip(citiesGz))) })

// For is the level that suits a zoom.
func For(zoom float64) *Level {
	if zoom < fineFrom {
		return Coarse()
	}
	return Fine()
}

// City is a place to put a name on.
type City struct {
	Name string
	Pos  Pos
}

// Level is one degree of detail of the map. It is immutable.
type Level struct {
	pos     []Pos
	arcs    []span // of pos
	strokes []stroke
	rings   []ring
	refs    []int32 // of all rings: arc i, or ^i for arc i backwards
}

type span struct{ from, to int32 }

// A stroke is a stretch of an arc that is short enough to be worth leaving out. Its
// bounds are relative to its first point, which keeps them free of the date line.
type stroke struct {
	span
	kind       Kind
	west, east int64 // within a turn of its first point
	top, floor uint32
}

type ring struct {
	refs       span
	west, east int64 // relative to its first point
	top, floor uint32
	wound      int64 // 2³² or -2³² if it goes once round a pole
}

const strokeLen = 64

var errTruncated = errors.New("truncated")

func must[T any](v T, err error) T {
	if err != nil {
		panic("world: embedded map: " + err.Error())
	}
	return v
}

func gunzip(gz []byte) []byte {
	r := must(gzip.NewReader(bytes.NewReader(gz)))
	return must(io.ReadAll(r))
}

// reader takes numbers off the front of b and remembers the first mistake.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) magic(want string) {
	if !bytes.HasPrefix(r.b, []byte(want)) {
		r.fail(fmt.Errorf("not a %q file", want[:4]))
		return
	}
	r.b = r.b[len(want):]
}

func (r *reader) float() float64 {
	if len(r.b) < 8 {
		r.fail(errTruncated)
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	return v
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errTruncated)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v := r.uint()
	return int64(v>>1) ^ -int64(v&1)
}

// count reads how many things follow, each at least one byte.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail(errTruncated)
		return 0
	}
	return int(n)
}

func decodeLevel(b []byte) (*Level, error) {
	r := &reader{b: b}
	r.magic("TRKW\x01")
	var scale [2]float64
	scale[0], scale[1] = r.float(), r.float()
	origin := [2]float64{r.float(), r.float()}

	l := &Level{arcs: make([]span, r.count())}
	kinds := make([]Kind, len(l.arcs))
	var total int32
	for i := range l.arcs {
		n := r.uint()
		kinds[i] = Kind(n & 3)
		if n>>2 < 2 || n>>2 > uint64(len(r.b)) || uint64(total)+n>>2 > uint64(len(r.b)) {
			r.fail(fmt.Errorf("arc %d has %d points", i, n>>2))
			return nil, r.err
		}
		l.arcs[i] = span{total, total + int32(n>>2)}
		total += int32(n >> 2)
	}
	l.pos = make([]Pos, total)
	l.readAxis(r, func(p *Pos, step int64) { p.X = projectLon(origin[0] + scale[0]*float64(step)) })
	l.readAxis(r, func(p *Pos, step int64) { p.Y = projectLat(origin[1] + scale[1]*float64(step)) })
	l.readRings(r)
	if r.err == nil && len(r.b) != 0 {
		r.fail(fmt.Errorf("%d bytes left over", len(r.b)))
	}
	if r.err != nil {
		return nil, r.err
	}
	l.cutStrokes(kinds)
	return l, nil
}

// NewLevel makes a level of somebody's own lines, each of a kind, and areas. From point
// to point both go the shorter way round the globe. A line of one point is drawn as a
// line of no length. Areas are for Land only: who wants to see their outlines passes
// those as lines too. It copies what it keeps, and panics unless there are as many kinds
// as lines.
func NewLevel(lines [][]Pos, kinds []Kind, rings [][]Pos) *Level {
	if len(kinds) != len(lines) {
		panic(fmt.Sprintf("world: %d kinds for %d lines", len(kinds), len(lines)))
	}
	l := &Level{}
	for _, line := range lines {
		l.addArc(line)
		if len(line) == 1 {
			l.pos = append(l.pos, line[0])
			l.arcs[len(l.arcs)-1].to++
		}
	}
	l.cutStrokes(kinds) // before the rings come: their arcs are no lines
	for _, r := range rings {
		if len(r) == 0 {
			continue
		}
		l.refs = append(l.refs, int32(len(l.arcs)))
		l.addArc(r)
		l.addRing(span{int32(len(l.refs)) - 1, int32(len(l.refs))})
	}
	return l
}

func (l *Level) addArc(points []Pos) {
	from := int32(len(l.pos))
	l.pos = append(l.pos, points...)
	l.arcs = append(l.arcs, span{from, int32(len(l.pos))})
}

func (l *Level) readAxis(r *reader, set func(*Pos, int64)) {
	for _, a := range l.arcs {
		var step int64
		for i := a.from; i < a.to; i++ {
			step += r.int()
			set(&l.pos[i], step)
		}
	}
}

func (l *Level) readRings(r *reader) {
	for range r.count() {
		from := int32(len(l.refs))
		for range r.count() {
			ref := r.int()
			if arc := max(ref, ^ref); arc >= int64(len(l.arcs)) {
				r.fail(fmt.Errorf("ring refers to arc %d of %d", arc, len(l.arcs)))
				return
			}
			l.refs = append(l.refs, int32(ref))
		}
		if r.err != nil {
			return
		}
		if to := int32(len(l.refs)); to > from {
			l.addRing(span{from, to})
		}
	}
}

// addRing measures a ring and keeps it, unless it is a ring without an inside (the
// 50m data has one at the south pole).
func (l *Level) addRing(refs span) {
	g := ring{refs: refs, top: math.MaxUint32}
	var x int64
	var last Pos
	first := true
	l.walk(refs, func(p Pos) {
		if !first {
			x += int64(int32(p.X - last.X))
		}
		first, last = false, p
		g.west, g.east = min(g.west, x), max(g.east, x)
		g.top, g.floor = min(g.top, p.Y), max(g.floor, p.Y)
	})
	if g.top == g.floor || g.west == g.east {
		return
	}
	g.wound = x
	if x > -turn/2 && x < turn/2 {
		g.wound = 0
	}
	l.rings = append(l.rings, g)
}

// walk visits the points of a ring in order. Joints are visited twice.
func (l *Level) walk(refs span, visit func(Pos)) {
	for _, ref := range l.refs[refs.from:refs.to] {
		if ref >= 0 {
			for _, p := range l.pos[l.arcs[ref].from:l.arcs[ref].to] {
				visit(p)
			}
			continue
		}
		a := l.arcs[^ref]
		for i := a.to - 1; i >= a.from; i-- {
			visit(l.pos[i])
		}
	}
}

func (l *Level) cutStrokes(kinds []Kind) {
	for i, a := range l.arcs {
		for from := a.from; from < a.to-1; {
			s := l.measure(span{from, min(from+strokeLen, a.to)})
			s.kind = kinds[i]
			l.strokes = append(l.strokes, s)
			from = s.to - 1
		}
	}
}

// measure makes a stroke of two or more points, up to the one that is half way round the
// globe: farther than a turn from where it begins nobody looks for it.
func (l *Level) measure(points span) stroke {
	y := l.pos[points.from].Y
	s := stroke{span: span{points.from, points.from + 1}, top: y, floor: y}
	var x int64
	for s.to < points.to && x > -turn/2 && x < turn/2 {
		p := l.pos[s.to]
		x += int64(int32(p.X - l.pos[s.to-1].X))
		s.west, s.east = min(s.west, x), max(s.east, x)
		s.top, s.floor = min(s.top, p.Y), max(s.floor, p.Y)
		s.to++
	}
	return s
}

// Lines visits every segment of the map that can show in v, in dots of the view. The
// ends may lie outside; segments that stay within one dot are left out. Where a view
// is as wide as the world a segment can be visited once at each edge.
func (l *Level) Lines(v *View, visit func(k Kind, x0, y0, x1, y1 float64)) {
	w := v.window()
	for i := range l.strokes {
		s := &l.strokes[i]
		if s.floor < w.top || s.top > w.floor {
			continue
		}
		x := int64(int32(l.pos[s.from].X - w.cx))
		for shift := -2 * turn; shift <= 2*turn; shift += turn {
			if x+s.east+shift >= -w.half && x+s.west+shift <= w.half {
				l.line(s, &w, x+shift, visit)
			}
		}
	}
}

func (l *Level) line(s *stroke, w *window, x int64, visit func(k Kind, x0, y0, x1, y1 float64)) {
	px, py := w.dots(x, l.pos[s.from].Y)
	for i := s.from + 1; i < s.to; i++ {
		x += int64(int32(l.pos[i].X - l.pos[i-1].X))
		nx, ny := w.dots(x, l.pos[i].Y)
		if i < s.to-1 && math.Floor(nx) == math.Floor(px) && math.Floor(ny) == math.Floor(py) {
			continue
		}
		visit(s.kind, px, py, nx, ny)
		px, py = nx, ny
	}
}

// Land visits the edges of all land that can show in v, in dots of the view, for an
// even-odd fill: lakes as large as the Caspian come out as holes.
func (l *Level) Land(v *View, edge func(x0, y0, x1, y1 float64)) {
	w := v.window()
	for i := range l.rings {
		g := &l.rings[i]
		// What winds round a pole is closed along the edge of the map.
		if g.top > w.floor || (g.floor < w.top && g.wound == 0) {
			continue
		}
		x := int64(int32(l.first(g).X - w.cx))
		for shift := -2 * turn; shift <= 2*turn; shift += turn {
			if x+g.east+shift >= -w.half && x+g.west+shift <= w.half {
				l.ringEdges(g, &w, x+shift, edge)
			}
		}
	}
}

func (l *Level) first(g *ring) Pos {
	ref := l.refs[g.refs.from]
	if ref >= 0 {
		return l.pos[l.arcs[ref].from]
	}
	return l.pos[l.arcs[^ref].to-1]
}

func (l *Level) ringEdges(g *ring, w *window, x int64, edge func(x0, y0, x1, y1 float64)) {
	first := true
	var last Pos
	var px, py, fx, fy float64
	l.walk(g.refs, func(p Pos) {
		if first {
			px, py = w.dots(x, p.Y)
			fx, fy, first, last = px, py, false, p
			return
		}
		x += int64(int32(p.X - last.X))
		nx, ny := w.dots(x, p.Y)
		edge(px, py, nx, ny)
		px, py, last = nx, ny, p
	})
	if g.wound != 0 {
		_, pole := w.dots(0, math.MaxUint32)
		edge(px, py, px, pole)
		edge(px, pole, fx, pole)
		px, py = fx, pole
	}
	edge(px, py, fx, fy)
}

func decodeCities(b []byte) ([]City, error) {
	r := &reader{b: b}
	r.magic("TRKC\x01")
	n := r.count()
	if r.err != nil {
		return nil, r.err
	}
	if len(r.b) < 4*n {
		return nil, errTruncated
	}
	names := strings.Split(string(r.b[4*n:]), "\n")
	if len(names) != n && n > 0 {
		return nil, fmt.Errorf("%d names for %d cities", len(names), n)
	}
	cities := make([]City, n)
	fraction := func(column, i int) float64 {
		hi, lo := r.b[2*column*n+i], r.b[(2*column+1)*n+i]
		return float64(uint(hi)<<8|uint(lo)) / 65535
	}
	for i := range cities {
		cities[i] = City{names[i], Pos{projectLon(fraction(0, i)*360 - 180), projectLat(fraction(1, i)*180 - 90)}}
	}
	return cities, nil
}
