// Package overlay reads what people want on their map beside devices: areas, lines and
// places of their own, out of GeoJSON (RFC 7946).
//
//	file ── scanner ──► features ── shape ──► lines and places ──► world.Level
//	        strict JSON,            checked     as the base map has them
//	        says line and column      │
//	                                  └─────► one name each ──► Labels
//
// The file is somebody's, and may be anything: it is bounded before it is read, nothing
// in it makes room for more than it brings, and the first mistake ends it with the place
// where it is. Edges go the shorter way round the globe, so that files that are cut at
// the date line, as the standard has it, and files that are not come out the same; the
// edges along the cut are left out.
package overlay

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"tracker/pkg/geo"
	"tracker/pkg/tui/world"
)

// What an overlay may hold.
const (
	maxFile   = 16 << 20
	maxPoints = 200_000
	maxLabels = 10_000
	maxName   = 64 // characters
	maxDepth  = 64 // objects and lists within each other
)

// Overlay is a file of areas, lines and places. It is immutable.
type Overlay struct {
	Name   string       // of the file, without its directory and what is after the dot
	Level  *world.Level // of outlines, routes and places; nil if there are none
	Labels []Label
}

// Label is a name to be written at a place. It is out of a file and may hold anything.
type Label struct {
	Name string
	Pos  world.Pos
}

// Mistake is what is wrong with a file, and where.
type Mistake struct {
	File      string
	Line, Col int // from 1, columns in characters; 0 not known
	Msg       string
}

func (m *Mistake) Error() string {
	if m.Line == 0 {
		return m.File + ": " + m.Msg
	}
	return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Col, m.Msg)
}

// Open reads an overlay from a file. Errors are of the file system, or a *Mistake.
func Open(file string) (*Overlay, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err // which names the file
	}
	defer f.Close()
	return Read(file, f)
}

// Read takes in an overlay. The name is for mistakes, and without its directory for
// people. Errors are of the reader, or a *Mistake.
func Read(name string, r io.Reader) (*Overlay, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxFile {
		return nil, &Mistake{File: name, Msg: fmt.Sprintf("the file is larger than %d MiB", maxFile>>20)}
	}
	s := &scanner{file: name, data: data}
	var b builder
	if m := s.document(&b); m != nil {
		return nil, m
	}
	return b.overlay(name), nil
}

// builder gathers what there is to draw.
type builder struct {
	lines  [][]world.Pos
	kinds  []world.Kind
	labels []Label
	points int
}

func (b *builder) overlay(name string) *Overlay {
	base := filepath.Base(name)
	o := &Overlay{Name: strings.TrimSuffix(base, filepath.Ext(base)), Labels: b.labels}
	if len(b.lines) > 0 {
		o.Level = world.NewLevel(b.lines, b.kinds, nil)
	}
	return o
}

// position is a place as files have it: degrees, and where in the file it is.
type position struct {
	lon, lat float64
	at       int
}

func (p position) project() world.Pos {
	return world.Project(geo.Deg(p.lat, geo.WrapLon(p.lon)))
}

// add keeps a line that is to be drawn.
func (b *builder) add(kind world.Kind, line []world.Pos) {
	b.lines = append(b.lines, line)
	b.kinds = append(b.kinds, kind)
}

// diagonal is how many degrees north or south an edge goes before it is bent: what is
// straight in degrees, as the standard has it, is not straight on the map.
const diagonal = 2

// draw keeps a line, or the outline of an area without the edges of cuts, and tells
// whether there was room for it.
func (b *builder) draw(kind world.Kind, ps []position) bool {
	line := []world.Pos{ps[0].project()}
	for i, p := range ps[1:] {
		last := ps[i]
		if kind == world.Outline && isCut(last, p) {
			if len(line) > 1 {
				b.add(kind, line)
			}
			line = []world.Pos{p.project()}
			continue
		}
		dLat, dLon := p.lat-last.lat, math.Remainder(p.lon-last.lon, 360)
		n := 1
		if dLon != 0 {
			n = max(1, int(math.Ceil(math.Abs(dLat)/diagonal)))
		}
		for j := 1; j < n; j++ {
			f := float64(j) / float64(n)
			line = append(line, position{lon: last.lon + f*dLon, lat: last.lat + f*dLat}.project())
		}
		line = append(line, p.project())
		if b.points += n - 1; b.points > maxPoints {
			return false
		}
	}
	if len(line) > 1 {
		b.add(kind, line)
	}
	return true
}

// isCut tells whether an edge is only there because the area had to be cut: along the
// date line, or along a pole.
func isCut(a, b position) bool {
	return math.Abs(a.lon) == 180 && math.Abs(b.lon) == 180 || math.Abs(a.lat) == 90 && math.Abs(b.lat) == 90
}

// spot is where the name of a feature would go, and how good a place that is: the
// middle of its largest area, of its longest line, or its first place.
type spot struct {
	rank int // 0 none, 1 a place, 2 a line, 3 an area
	size float64
	pos  world.Pos
}

func (s *spot) offer(o spot) {
	if o.rank > s.rank || o.rank == s.rank && o.size > s.size {
		*s = o
	}
}

// unrolled are places as numbers that do not jump at the date line.
func unrolled(ps []position) (xs, ys []float64) {
	xs, ys = make([]float64, len(ps)), make([]float64, len(ps))
	last := ps[0].project()
	x := float64(last.X)
	for i, p := range ps {
		at := p.project()
		x += float64(int32(at.X - last.X))
		last = at
		xs[i], ys[i] = x, float64(at.Y)
	}
	return xs, ys
}

func posOf(x, y float64) world.Pos {
	return world.Pos{X: uint32(int64(math.Round(x))), Y: uint32(min(max(math.Round(y), 0), math.MaxUint32))}
}

// middleOfArea is the centre of gravity of a ring, and how large it is on the map.
func middleOfArea(ps []position) spot {
	xs, ys := unrolled(ps)
	var area, cx, cy float64
	for i := range len(xs) - 1 {
		// Relative to the first point, or the differences drown.
		x0, y0, x1, y1 := xs[i]-xs[0], ys[i]-ys[0], xs[i+1]-xs[0], ys[i+1]-ys[0]
		cross := x0*y1 - x1*y0
		area += cross
		cx += (x0 + x1) * cross
		cy += (y0 + y1) * cross
	}
	if math.Abs(area) < 1 {
		return spot{rank: 3, pos: posOf(xs[0], ys[0])}
	}
	return spot{3, math.Abs(area), posOf(xs[0]+cx/(3*area), ys[0]+cy/(3*area))}
}

// middleOfLine is half way along it.
func middleOfLine(ps []position) spot {
	xs, ys := unrolled(ps)
	length := 0.0
	for i := range len(xs) - 1 {
		length += math.Hypot(xs[i+1]-xs[i], ys[i+1]-ys[i])
	}
	left := length / 2
	for i := range len(xs) - 1 {
		step := math.Hypot(xs[i+1]-xs[i], ys[i+1]-ys[i])
		if left <= step && step > 0 {
			f := left / step
			return spot{2, length, posOf(xs[i]+f*(xs[i+1]-xs[i]), ys[i]+f*(ys[i+1]-ys[i]))}
		}
		left -= step
	}
	return spot{2, length, posOf(xs[0], ys[0])}
}
