package chart

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/overlay"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

// The goldens of maps with devices. They were looked at.
func TestSceneGoldens(t *testing.T) {
	europe := func(n int) []client.Fix { return tuitest.Vans(n) }
	for _, tt := range []struct {
		name     string
		lat, lon float64
		zoom     float64
		w, h     int
		fixes    []client.Fix
		theme    string
		change   func(*Scene)
	}{
		{"europe-40", 48, 10, 2.4, 100, 36, europe(40), "plain", nil},
		{"europe-150", 48, 10, 2.4, 100, 36, europe(150), "plain", nil},
		{"europe-5000", 48, 10, 2.4, 100, 36, europe(5000), "plain", nil},
		{"world-5000", 20, 10, -9, 120, 40, tuitest.NewFleet(5000, 5, tuitest.World).Step(time.Second, 1), "plain", nil},
		{"dateline-60", -17.5, 179.9, 4.5, 80, 24, swarm(1, 60, -17.5, 179.9, 250), "plain", nil},
		{"arctic-30", 80, -30, 1.5, 80, 24, swarm(2, 30, 89, -30, 600), "plain", nil},
		{"antarctic-300", -78, 0, 0.8, 80, 24, swarm(3, 300, -85, 0, 900), "plain", nil},
		{"munich-40", 48.1, 11.6, 8, 80, 24, swarm(4, 40, 48.1, 11.6, 25), "plain", func(s *Scene) { s.Selected, s.Followed, s.Trails = 3, 4, TrailsAll }},
		{"by-state", 48.1, 11.6, 8, 60, 20, swarm(4, 50, 48.1, 11.6, 25), "system", nil},
		{"by-age", 48.1, 11.6, 8, 60, 20, swarm(4, 50, 48.1, 11.6, 25), "system", func(s *Scene) { s.Colour = look.ByAge }},
		{"by-speed", 48.1, 11.6, 8, 60, 20, swarm(4, 50, 48.1, 11.6, 25), "system", func(s *Scene) { s.Colour = look.BySpeed }},
		{"by-battery", 48.1, 11.6, 8, 60, 20, swarm(4, 50, 48.1, 11.6, 25), "dark", func(s *Scene) { s.Colour = look.ByBattery }},
		{"filter", 48, 10, 2.4, 80, 24, europe(900), "plain", func(s *Scene) { only(s, 20) }},
	} {
		s := sceneOf(t, tt.w, tt.h, tt.fixes).look(tt.lat, tt.lon, tt.zoom)
		s.Theme = themeOf(tt.theme)
		for i := range s.Frame.Points {
			p := &s.Frame.Points[i]
			p.Heard = s.Frame.At - int64(i)*1500
			p.Every = 100
		}
		if tt.change != nil {
			tt.change(s)
		}
		c := &Chart{}
		tuitest.Golden(t, "scene-"+tt.name, c.picture(s))
		checkWords(t, c)
	}
}

// only lets the filter mean one device in so many.
func only(s *Scene, oneIn int) {
	s.Filtering = true
	for i := range s.Frame.Marks {
		if i%oneIn != 0 {
			s.Frame.Marks[i] &^= fleet.MarkMatches
		}
	}
}

// Who follows a device that trembles sees a map that stands.
func TestTheMapMovesByWholeDots(t *testing.T) {
	s := sceneOf(t, 60, 20, tuitest.Vans(300)).look(48, 11, 4.3)
	s.View.Snap()
	s.View.Pan(0.1, 0.1)
	c := &Chart{}
	want := c.picture(s)
	c.base.Text(0, 0, "not drawn again", look.Text, look.OnTop)
	for range 3 {
		s.View.Pan(0.1, 0.1)
		if got := c.picture(s); !strings.HasPrefix(c.text(), "not drawn again") {
			t.Fatalf("a third of a dot away; got\n%s\nwant\n%s", got, want)
		}
	}
	s.View.Pan(0.4, 0)
	if c.Draw(s); strings.HasPrefix(c.text(), "not drawn again") {
		t.Error("a dot away the base is that of before")
	}
}

// A device is drawn on the dot on which the map has its place, to the dot.
func TestDevicesLieOnTheMapTheyBelongTo(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	for range 200 {
		v := sceneOf(t, 40, 12, nil).look(rng.Float64()*160-80, rng.Float64()*340-170, 1+rng.Float64()*11).View
		at := v.At(2+rng.Float64()*76, 2+rng.Float64()*44).Point()
		s := sceneOf(t, 40, 12, []client.Fix{moving(1, at.LatDeg(), at.LonDeg(), 0, 0)})
		s.View = v
		s.Layers, s.Dots = Overlays, 1
		pos := world.Project(at)
		s.Overlays = []*overlay.Overlay{{Level: world.NewLevel([][]world.Pos{{pos, pos}}, []world.Kind{world.Route}, nil)}}
		c := &Chart{}
		c.Draw(s)
		d := c.seen[0]
		cell := c.base.At(int(d.x)/2, int(d.y)/4)
		if cell.Fg != look.Route || cell.Mask != canvas.Bit(int(d.x), int(d.y)) {
			t.Fatalf("%v at zoom %v: the device is at dot %d, %d, the map has %+v there", at, s.View.Zoom, d.x, d.y, *cell)
		}
	}
}

func TestWarmPicturesAllocateNothing(t *testing.T) {
	for _, n := range []int{40, 300, 30_000} {
		for _, size := range [][2]int{{80, 24}, {200, 60}} {
			f := tuitest.NewFleet(n, 3, tuitest.World)
			s := sceneOf(t, size[0], size[1], f.Step(time.Second, 1)).look(20, 10, -9)
			s.Selected, s.Trails, s.Colour = 5, TrailsAll, look.BySpeed
			c := &Chart{}
			c.Draw(s)
			if got := testing.AllocsPerRun(5, func() { c.Draw(s) }); got != 0 {
				t.Errorf("%d devices, %v: %v allocations", n, size, got)
			}
		}
	}
}

// FuzzScene draws anything from anywhere, first of all poles and the seam.
func FuzzScene(f *testing.F) {
	f.Add(uint64(1), 0.0, 180.0, 2.0, uint8(80), uint8(24), uint8(0))
	f.Add(uint64(2), 90.0, -180.0, -9.0, uint8(3), uint8(200), uint8(7))
	f.Add(uint64(3), -89.9, 179.9999, 20.0, uint8(255), uint8(1), uint8(9))
	f.Add(uint64(4), 48.0, 11.0, 6.5, uint8(0), uint8(0), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, lat, lon, zoom float64, w, h, knobs uint8) {
		if !(math.Abs(lat) <= 90 && math.Abs(lon) <= 180 && math.Abs(zoom) < 100) {
			return
		}
		rng := rand.New(rand.NewPCG(seed, 5))
		var fixes []client.Fix
		for i := range rng.IntN(300) {
			at := [][2]float64{{lat, lon}, {90, 0}, {-90, 180}, {lat, 180}, {lat, -180}, {rng.Float64()*180 - 90, rng.Float64()*360 - 180}}[rng.IntN(6)]
			x := moving(idOf(i), at[0], at[1], rng.Float64()*1000, rng.Float64()*360)
			if rng.IntN(9) == 0 {
				x.Event = "sos"
			}
			fixes = append(fixes, x)
		}
		s := sceneOf(t, int(w), int(h), fixes).look(lat, lon, zoom)
		if knobs&1 != 0 {
			s.View.Zoom = zoom // not brought into its limits
		}
		for i := range s.Frame.Points {
			s.Frame.Points[i].Every, s.Frame.Points[i].Heard = 600, s.Frame.At-rng.Int64N(60_000)
		}
		s.Selected, s.Followed = int32(rng.IntN(320))-10, int32(rng.IntN(320))-10
		s.Trails, s.Colour = TrailMode(knobs>>1)%TrailModes, look.ColourBy(knobs>>3)%look.Colours
		s.Filtering, s.Dots = knobs&64 != 0, int(knobs>>6)
		p := world.Project(geo.Deg(lat, lon))
		s.Overlays = []*overlay.Overlay{{
			Level:  world.NewLevel([][]world.Pos{{p, {X: p.X + 1<<31, Y: 0}, {X: 7, Y: math.MaxUint32}}, {p}}, []world.Kind{world.Route, world.Place}, nil),
			Labels: []overlay.Label{{Name: "zone", Pos: p}},
		}}
		if knobs&128 != 0 {
			s.Mask = fleet.NewMask()
		}
		c := &Chart{}
		for range 3 {
			out := c.Draw(s)
			if out.W != int(w) || out.H != int(h) || len(out.Cells) != int(w)*int(h) {
				t.Fatalf("%dx%d cells, want %dx%d", out.W, out.H, w, h)
			}
			checkWords(t, c)
			out.Encode(nil, s.Theme, canvas.Braille)
			for _, at := range [][2]int{{0, 0}, {int(w) - 1, int(h) - 1}, {int(w), int(h)}, {int(w) / 2, int(h) / 2}} {
				hit := c.At(at[0], at[1])
				whole := knobs&1 == 0 // else the same block can show more than twice
				if whole && hit.Count > 0 && len(c.Members(nil, hit.Cluster)) != hit.Count {
					t.Fatalf("at %v: %+v has %d members", at, hit, len(c.Members(nil, hit.Cluster)))
				}
			}
			s.View.Pan(float64(rng.IntN(9)-4), float64(rng.IntN(9)-4))
		}
	})
}

// recording is a file of the recordings that lie beside a work tree.
func recording(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("TRACKER_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no recording: %v", err)
	}
	return path
}

// ships are the last places of all ships of a day off the United States.
func ships(t *testing.T) []client.Fix {
	t.Helper()
	file, err := os.Open(recording(t, "ais-us-2022-01-03.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	gz, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(gz).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]client.Fix{}
	for _, row := range rows[1:] {
		lat, err1 := strconv.ParseFloat(row[2], 64)
		lon, err2 := strconv.ParseFloat(row[3], 64)
		if id, err := strconv.ParseUint(row[0], 10, 40); err == nil && err1 == nil && err2 == nil && math.Abs(lat) < 85 {
			last[row[0]] = tuitest.Fix(idOf(int(id)), row[7], epoch, lat, lon)
		}
	}
	var out []client.Fix
	for _, f := range last {
		out = append(out, f)
	}
	return out
}

// Coasts and ships come from two sources that know nothing of each other. What is not on
// a river or a lake, which the base map does not know, has to be at sea, give or take a
// cell for harbours that are finer than the map; and moved by two degrees it must not be.
func TestShipsAreAtSea(t *testing.T) {
	fixes := ships(t)
	s := sceneOf(t, 120, 40, fixes)
	var places []world.Pos
	for i := range s.Frame.Points {
		places = append(places, s.Frame.Points[i].Pos)
	}
	s.View.Fit(places, 11)
	checkAtSea(t, s, 10_000)
	s.look(38, -95, 3)
	there := checkAtSea(t, s, 5000)
	for i := range fixes {
		fixes[i].At = geo.Deg(fixes[i].At.LatDeg()+2, fixes[i].At.LonDeg())
	}
	if off := atSea(sceneOf(t, 120, 40, fixes).look(38, -95, 3), 2); off.near > there.near/2 {
		t.Errorf("with all ships two degrees north as many are at sea: %+v, were %+v", off, there)
	}
}

// shares of the ships in a picture.
type shares struct {
	all, open int     // in sight, and not on inland waters
	on        float64 // of all, on a cell of sea or coast
	near      float64 // of open, on one or beside one
}

func checkAtSea(t *testing.T, s *Scene, atLeast int) shares {
	t.Helper()
	got := atSea(s, 0)
	t.Logf("zoom %.1f: %+v", s.View.Zoom, got)
	if got.all < atLeast || got.open < atLeast*9/10 || got.near < 0.97 || got.on < 0.75 {
		t.Errorf("zoom %.1f: %+v", s.View.Zoom, got)
	}
	return got
}

// atSea counts ships that have been moved north by some degrees.
func atSea(s *Scene, north float64) (got shares) {
	s.Layers = Fill
	c := &Chart{}
	c.Draw(s)
	wet := func(x, y int) bool {
		cell := c.base.At(x, y)
		return cell == nil || cell.Bg != look.Land || cell.Mask != 0
	}
	for i := range c.seen {
		x, y := int(c.seen[i].x)/2, int(c.seen[i].y)/4
		got.all++
		if wet(x, y) {
			got.on++
		}
		if inland(s.Frame.Points[c.seen[i].point].Pos.Point(), north) {
			continue
		}
		got.open++
		near := false
		for j := range 9 {
			near = near || wet(x+j%3-1, y+j/3-1)
		}
		if near {
			got.near++
		}
	}
	got.on /= float64(got.all)
	got.near /= float64(got.open)
	return got
}

// inland is the Mississippi with all that flows into it, and the Great Lakes.
func inland(p geo.Point, north float64) bool {
	lat, lon := p.LatDeg()-north, p.LonDeg()
	return lat > 30.6 && lat < 50 && lon > -98 && lon < -82.5 || lat > 40.5 && lat < 50 && lon > -93 && lon < -74.5
}

func BenchmarkDraw(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("120x40/%d", n), func(b *testing.B) {
			f := tuitest.NewFleet(n, 3, tuitest.World)
			s := sceneOf(b, 120, 40, f.Step(time.Second, 1)).look(20, 10, -9)
			s.Theme = themeOf("dark")
			c := &Chart{}
			c.Draw(s)
			b.ReportAllocs()
			for b.Loop() {
				c.Draw(s)
			}
		})
	}
}

// Every step of a pan draws the coasts again.
func BenchmarkPan(b *testing.B) {
	for name, zoom := range map[string]float64{"world": -9, "europe": 3.5, "city": 9} {
		b.Run(name, func(b *testing.B) {
			s := sceneOf(b, 120, 40, tuitest.Vans(10_000)).look(50, 10, zoom)
			c := &Chart{}
			c.Draw(s)
			b.ReportAllocs()
			for b.Loop() {
				s.View.Pan(1, 0)
				c.Draw(s)
			}
		})
	}
}
