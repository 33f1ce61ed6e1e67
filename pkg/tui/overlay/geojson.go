package overlay

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"tracker/pkg/tui/world"
)

// document reads the whole file.
func (s *scanner) document(b *builder) (m *Mistake) {
	defer s.catch(&m)
	if strings.HasPrefix(string(s.data[:min(3, len(s.data))]), "\ufeff") {
		s.at = len("\ufeff")
	}
	s.thing(b)
	if s.space(); s.at < len(s.data) {
		s.fail(s.at, "something follows the end of the file's one value")
	}
	return nil
}

// thing reads what stands at the top of a file, or in its list of features.
func (s *scanner) thing(b *builder) {
	start, o := s.members("type", "features", "geometry", "properties", "coordinates", "geometries")
	end := s.at
	switch kind := s.kind(start, o); kind {
	case "FeatureCollection":
		s.features(b, start, o)
	case "Feature":
		s.feature(b, start, o)
	case "Topology":
		s.fail(o["type"], "this is TopoJSON, want GeoJSON")
	default:
		var sp spot
		s.geometry(b, &sp, start, o, kind)
	}
	s.at = end
}

func (s *scanner) features(b *builder, start int, o members) {
	s.at = s.member(start, o, "features", "FeatureCollection")
	s.list("a list of features", func() {
		start, o := s.members("type", "geometry", "properties")
		end := s.at
		if kind := s.kind(start, o); kind != "Feature" {
			s.fail(o["type"], "type %q, want Feature", kind)
		}
		s.feature(b, start, o)
		s.at = end
	})
}

// members are where the values of an object are that matter here.
type members map[string]int

// kind is the type that an object says it has.
func (s *scanner) kind(start int, o members) string {
	s.at = s.member(start, o, "type", "object")
	return shortened(s.text("the name of a type")) // it may be told
}

// member is where a value of an object is, which has to be there.
func (s *scanner) member(start int, o members, name, of string) int {
	at, ok := o[name]
	if !ok {
		s.fail(start, "%s without %q", of, name)
	}
	return at
}

func (s *scanner) feature(b *builder, start int, o members) {
	var sp spot
	s.at = s.member(start, o, "geometry", "Feature")
	if !s.null() {
		start, g := s.members("type", "coordinates", "geometries")
		s.geometry(b, &sp, start, g, s.kind(start, g))
	}
	at, ok := o["properties"]
	if !ok {
		return // the standard wants it, and nobody misses it
	}
	s.at = at
	if s.null() {
		return
	}
	if name := s.name(); name != "" && sp.rank > 0 {
		if len(b.labels) == maxLabels {
			s.fail(at, "more than %d names", maxLabels)
		}
		b.labels = append(b.labels, Label{name, sp.pos})
	}
}

// name is what the properties call a feature.
func (s *scanner) name() string {
	_, o := s.members("name", "title")
	for _, key := range []string{"name", "title"} {
		at, ok := o[key]
		if !ok || s.data[at] != '"' {
			continue // null, or a number: no name to show
		}
		s.at = at
		if name := strings.TrimSpace(s.text("a name")); name != "" {
			return shortened(name)
		}
	}
	return ""
}

func shortened(name string) string {
	n := 0
	for i := range name {
		if n++; n > maxName {
			return name[:i]
		}
	}
	return name
}

var shapes = []string{"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"}

func (s *scanner) geometry(b *builder, sp *spot, start int, o members, kind string) {
	if kind == "GeometryCollection" {
		s.geometries(b, sp, start, o)
		return
	}
	if !slices.Contains(shapes, kind) {
		s.fail(o["type"], "type %q is none of Feature, FeatureCollection, %s%s", kind, strings.Join(shapes, ", "), capital(kind))
	}
	s.at = s.member(start, o, "coordinates", kind)
	switch kind {
	case "Point":
		s.place(b, sp)
	case "MultiPoint":
		s.list("a list of positions", func() { s.place(b, sp) })
	case "LineString":
		s.line(b, sp)
	case "MultiLineString":
		s.list("a list of lines", func() { s.line(b, sp) })
	case "Polygon":
		s.area(b, sp)
	case "MultiPolygon":
		s.list("a list of areas", func() { s.area(b, sp) })
	}
}

// capital is what to say of a type that has the wrong case.
func capital(kind string) string {
	for _, shape := range append([]string{"Feature", "FeatureCollection"}, shapes...) {
		if strings.EqualFold(kind, shape) {
			return "; did you mean " + shape + "?"
		}
	}
	return ""
}

// maxCollections is how many collections may be within each other: each is read once for
// every one that it is in.
const maxCollections = 8

func (s *scanner) geometries(b *builder, sp *spot, start int, o members) {
	if s.depth > maxCollections {
		s.fail(start, "more than %d collections within each other", maxCollections)
	}
	s.at = s.member(start, o, "geometries", "GeometryCollection")
	s.list("a list of geometries", func() {
		start, g := s.members("type", "coordinates", "geometries")
		end := s.at
		s.geometry(b, sp, start, g, s.kind(start, g))
		s.at = end
	})
}

func (s *scanner) place(b *builder, sp *spot) {
	p := s.position(b)
	sp.offer(spot{rank: 1, pos: p.project()})
	b.add(world.Place, []world.Pos{p.project()})
}

func (s *scanner) line(b *builder, sp *spot) {
	start := s.start()
	ps := s.positions(b)
	if len(ps) < 2 {
		s.fail(start, "a line of %s, want 2 or more", count(len(ps), "position"))
	}
	s.draw(b, world.Route, ps)
	sp.offer(middleOfLine(ps))
}

func (s *scanner) area(b *builder, sp *spot) {
	s.list("a list of rings", func() {
		ring := s.ring(b)
		s.draw(b, world.Outline, ring)
		sp.offer(middleOfArea(ring)) // holes lose: they are smaller
	})
}

func (s *scanner) ring(b *builder) []position {
	start := s.start()
	ps := s.positions(b)
	if len(ps) < 4 {
		s.fail(start, "a ring of %s, want 4 or more", count(len(ps), "position"))
	}
	if first, last := ps[0], ps[len(ps)-1]; first.lon != last.lon || first.lat != last.lat {
		s.fail(last.at, "a ring that does not end where it begins")
	}
	return ps
}

func count(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

func (s *scanner) draw(b *builder, kind world.Kind, ps []position) {
	if !b.draw(kind, ps) {
		s.fail(ps[0].at, "more than %d points, with those between points that are far apart", maxPoints)
	}
}

func (s *scanner) positions(b *builder) (ps []position) {
	s.list("a list of positions", func() { ps = append(ps, s.position(b)) })
	return ps
}

// position reads longitude and latitude, and passes over a height.
func (s *scanner) position(b *builder) position {
	p := position{at: s.start()}
	n, lonAt, latAt := 0, 0, 0
	s.list("a position", func() {
		at := s.start()
		v := s.number()
		switch n++; n {
		case 1:
			p.lon, lonAt = v, at
		case 2:
			p.lat, latAt = v, at
		}
	})
	if n < 2 {
		s.fail(p.at, "a position of %s, want longitude and latitude", count(n, "number"))
	}
	if b.points++; b.points > maxPoints {
		s.fail(p.at, "more than %d points", maxPoints)
	}
	s.degrees(p, lonAt, latAt)
	return p
}

// degrees holds a position against the globe. Longitudes may go once too far round, as
// they do in files that are not cut at the date line.
func (s *scanner) degrees(p position, lonAt, latAt int) {
	switch {
	case math.Abs(p.lon) > 1000 || math.Abs(p.lat) > 1000:
		at := lonAt
		if math.Abs(p.lon) <= 1000 {
			at = latAt
		}
		s.fail(at, "not degrees: want the file in WGS 84 (EPSG:4326)")
	case math.Abs(p.lat) > 90 && math.Abs(p.lat) <= 180 && math.Abs(p.lon) <= 90:
		s.fail(latAt, "latitude %v is beyond 90: are the two swapped? longitude comes first", p.lat)
	case math.Abs(p.lat) > 90:
		s.fail(latAt, "latitude %v is beyond 90", p.lat)
	case math.Abs(p.lon) > 360:
		s.fail(lonAt, "longitude %v is beyond 360", p.lon)
	}
}

// fail ends the reading with a mistake. It is caught in document.
func (s *scanner) fail(at int, format string, args ...any) {
	line, col := s.lineOf(at)
	panic(&Mistake{s.file, line, col, fmt.Sprintf(format, args...)})
}

// catch turns the mistake that ended the reading into a result. Other panics are ours.
func (s *scanner) catch(m **Mistake) {
	switch r := recover().(type) {
	case nil:
	case *Mistake:
		*m = r
	default:
		panic(r)
	}
}

// lineOf counts lines, and characters in the line, up to a byte.
func (s *scanner) lineOf(at int) (line, col int) {
	line, start := 1, 0
	for i, c := range s.data[:at] {
		if c == '\n' {
			line, start = line+1, i+1
		}
	}
	return line, 1 + utf8.RuneCount(s.data[start:at])
}
