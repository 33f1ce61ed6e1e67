//go:build unix

package main

import (
	"cmp"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tracker/cmd/internal/clitest"
	"tracker/pkg/geo"
	"tracker/pkg/load/trace"
	"tracker/pkg/tui/world"
)

// shores is the land of the built-in map in the dots of one view of the whole world, out of
// what draws the map: the edges of land, by bands of rows.
type shores struct {
	m     world.Mapper
	bands [][]edge
}

type edge struct{ x0, y0, x1, y1 float64 }

const band = 16 // rows

func newShores() *shores {
	const size = 256 << world.DetailEnds
	view := world.View{Centre: world.Project(geo.Deg(0, 0)), Zoom: world.DetailEnds, W: size, H: size}
	s := &shores{view.Mapper(), make([][]edge, size/band+1)}
	world.Fine().Land(&view, func(x0, y0, x1, y1 float64) {
		from, to := s.band(min(y0, y1)), s.band(max(y0, y1))
		for b := from; b <= to; b++ {
			s.bands[b] = append(s.bands[b], edge{x0, y0, x1, y1})
		}
	})
	return s
}

// dot is where a place is, and how many dots a metre is there.
func (s *shores) dot(p geo.Point) (x, y, metre float64) {
	x, y = s.m.Dot(world.Project(p))
	at := world.View{Centre: world.Project(p), Zoom: world.DetailEnds}
	return x, y, 1 / float64(at.MetersPerDot())
}

func (s *shores) band(y float64) int { return min(max(int(y/band), 0), len(s.bands)-1) }

// ashore tells whether a dot is on land.
func (s *shores) ashore(x, y float64) bool {
	in := false
	for _, e := range s.bands[s.band(y)] {
		if (e.y0 > y) != (e.y1 > y) && x < e.x0+(y-e.y0)/(e.y1-e.y0)*(e.x1-e.x0) {
			in = !in
		}
	}
	return in
}

// away is how far a dot is from the nearest coast, in dots, up to most.
func (s *shores) away(x, y, most float64) float64 {
	best := most
	for b := s.band(y - most); b <= s.band(y+most); b++ {
		for _, e := range s.bands[b] {
			dx, dy := e.x1-e.x0, e.y1-e.y0
			t := 0.0
			if l := dx*dx + dy*dy; l > 0 {
				t = min(max(((x-e.x0)*dx+(y-e.y0)*dy)/l, 0), 1)
			}
			best = min(best, math.Hypot(x-e.x0-t*dx, y-e.y0-t*dy))
		}
	}
	return best
}

// inland is where the map has no water and ships have: Natural Earth keeps rivers, lakes
// and bayous apart from the land, and a map of the world has no use for them.
var inland = []struct {
	name string
	box  string
}{
	{"Great Lakes", "41,-93,49.9,-75"},
	{"bayous and channels of Louisiana", "28.9,-94,31.3,-88.9"},
	{"rivers of the interior", "31,-98,41,-79.9"},
	{"bays and channels of Texas", "25.8,-98.5,31,-94"},
	{"Columbia River", "45.4,-123.9,47,-118"},
}

// tally is how ships lie to the land.
type tally struct{ ships, afloat, ashore int } // ashore: not more than shoreMeters

// shoreMeters is how far the coast of the map may be from the coast: it is drawn for
// 1:50 million, and its points are on a grid of 400 m.
const shoreMeters = 2000

// movingShips are the places of ships under way in a recording: the last of each, and all.
func movingShips(t *testing.T) (last map[int]geo.Point, all []geo.Point) {
	t.Helper()
	f, err := os.Open(cmp.Or(os.Getenv("TRACKER_SHIPS"), filepath.Join(clitest.Recordings(), "ais-us-2022-01-03.csv.gz")))
	if err != nil {
		t.Skipf("the recording of ships is not here: %v", err)
	}
	defer func() { _ = f.Close() }()
	rec, err := trace.Load(f, trace.Options{Newest: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	last = map[int]geo.Point{}
	for i := range rec.Rows {
		if r := &rec.Rows[i]; trace.Known(r.Speed) && r.Speed > 1.5 && r.Speed < 30 { // 3 to 60 knots
			last[r.Vehicle] = r.At
			all = append(all, r.At)
		}
	}
	return last, all
}

// Ships under way are on the water of the map, but for waters that it does not have; and
// no other place for all of them is better than the one where they are.
func TestCoastAndShipsLineUp(t *testing.T) {
	last, all := movingShips(t)
	s := newShores()
	waters := make([]geo.Box, len(inland))
	for i, w := range inland {
		box, err := geo.ParseBox(w.box)
		if err != nil {
			t.Fatal(err)
		}
		waters[i] = box
	}
	of := func(p geo.Point) int {
		return slices.IndexFunc(waters, func(b geo.Box) bool { return b.Contains(p) })
	}
	var open tally
	within := make([]tally, len(inland))
	for _, p := range last {
		n := &open
		if w := of(p); w >= 0 {
			n = &within[w]
		}
		n.ships++
		switch x, y, metre := s.dot(p); {
		case !s.ashore(x, y):
			n.afloat++
		case s.away(x, y, shoreMeters*metre) < shoreMeters*metre:
			n.ashore++
		}
	}
	tell := func(where string, n tally) {
		t.Logf("%-34s %5d ships under way, %3.0f %% on the water of the map, %3.0f %% within %d m of it", where, n.ships,
			percent(n.afloat, n.ships), percent(n.afloat+n.ashore, n.ships), shoreMeters)
	}
	tell("coasts and sea", open)
	for i, n := range within {
		tell(inland[i].name, n)
	}
	if near := percent(open.afloat+open.ashore, open.ships); open.ships < 500 || near < 90 {
		t.Errorf("%.1f %% of %d ships along the coasts are on the water or near it, want 90", near, open.ships)
	}

	all = slices.DeleteFunc(all, func(p geo.Point) bool { return of(p) >= 0 })
	here, best := s.afloat(all, 0, 0), 0.0
	for east := -4000.0; east <= 4000; east += 1000 {
		for north := -4000.0; north <= 4000; north += 1000 {
			if max(math.Abs(east), math.Abs(north)) < shoreMeters {
				continue
			}
			best = max(best, s.afloat(all, east, north))
		}
	}
	t.Logf("%d fixes of ships under way off these waters: %.1f %% on the water where they are, %.1f %% at the best of 72 places 2 to 4 km away", len(all), here, best)
	if best >= here {
		t.Errorf("moved by kilometres, %.1f %% of the ships are on the water, and %.1f %% where they are", best, here)
	}
}

// afloat is how many of some places are on the water if all are moved by so many metres,
// in percent.
func (s *shores) afloat(places []geo.Point, east, north float64) float64 {
	n := 0
	for _, p := range places {
		if x, y, metre := s.dot(p); !s.ashore(x+east*metre, y-north*metre) {
			n++
		}
	}
	return percent(n, len(places))
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }
