package world

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"tracker/pkg/geo"
)

// The files are what scripts/basemap made, and small enough to carry along.
func TestEmbeddedFilesAreTheOnesThatWereMade(t *testing.T) {
	sums, err := os.ReadFile("SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	total := 0
	for _, f := range []struct {
		name string
		gz   []byte
	}{{"world-110m.bin", coarseGz}, {"world-50m.bin", fineGz}, {"cities.bin", citiesGz}} {
		fmt.Fprintf(&got, "%x  %s\n", sha256.Sum256(gunzip(f.gz)), f.name)
		total += len(f.gz)
	}
	if got.String() != string(sums) {
		t.Errorf("sums of the embedded files:\n%swant:\n%s", got.String(), sums)
	}
	if total > 220_000 {
		t.Errorf("the map takes %d bytes, more than 220 kB", total)
	}
}

func TestProjectAndBack(t *testing.T) {
	for _, p := range []geo.Point{
		geo.Deg(0, 0), geo.Deg(48.1372, 11.5755), geo.Deg(-33.8688, 151.2093), geo.Deg(85, -179.9999), geo.Deg(-85, 179.9999),
	} {
		if d := geo.Distance(Project(p).Point(), p); d > 0.05 {
			t.Errorf("%v comes back %v, %.3f m off", p, Project(p).Point(), float64(d))
		}
	}
	if got := Project(geo.Deg(90, 0)).Y; got != 0 {
		t.Errorf("the north pole is at y %d, want the edge", got)
	}
	if got := Project(geo.Deg(-90, 0)).Y; got != math.MaxUint32 {
		t.Errorf("the south pole is at y %d, want the edge", got)
	}
	if Project(geo.Deg(10, 180)) != Project(geo.Deg(10, -180)) {
		t.Error("180 and -180 are two meridians")
	}
}

func at(lat, lon float64) Pos { return Project(geo.Deg(lat, lon)) }

func TestViewKeepsWhatIsUnderThePointer(t *testing.T) {
	v := View{Centre: at(48, 11), Zoom: 3, W: 160, H: 80}
	before := v.At(30, 20)
	v.ZoomAt(1.5, 30, 20)
	x, y := v.Dot(before)
	if math.Abs(x-30) > 0.01 || math.Abs(y-20) > 0.01 {
		t.Errorf("what was at 30,20 is at %.3f,%.3f after zooming", x, y)
	}
	if v.Zoom != 4.5 {
		t.Errorf("zoom %v, want 4.5", v.Zoom)
	}
}

func TestPanCrossesTheDateLine(t *testing.T) {
	v := View{Centre: at(0, 179), Zoom: 4, W: 160, H: 80}
	v.Pan(v.Scale()*2/360, 0)
	if got := v.Centre.Point().LonDeg(); math.Abs(got+179) > 1e-6 {
		t.Errorf("two degrees east of 179 is %v, want -179", got)
	}
	x, _ := v.Dot(at(0, 179.5))
	if want := 80 - v.Scale()*1.5/360; math.Abs(x-want) > 0.01 {
		t.Errorf("179.5 east shows at dot %.2f, want %.2f", x, want)
	}
}

func TestClamp(t *testing.T) {
	v := View{Centre: at(84, 0), Zoom: -5, W: 200, H: 80}
	v.Clamp()
	if v.Zoom != v.MinZoom() || math.Abs(v.Scale()-200) > 1e-9 {
		t.Errorf("zoom %v, scale %v: want the world as wide as the view", v.Zoom, v.Scale())
	}
	if _, top := v.Dot(Pos{}); math.Abs(top) > 0.01 {
		t.Errorf("the map's edge is at dot %.2f, want 0", top)
	}
	// Taller than the world: the middle is the middle.
	v = View{Centre: at(60, 0), Zoom: -5, W: 50, H: 400}
	v.Clamp()
	if v.Centre.Y != 1<<31 {
		t.Errorf("centre %d, want the equator", v.Centre.Y)
	}
	v.Zoom = 99
	v.Clamp()
	if v.Zoom != MaxZoom {
		t.Errorf("zoom %v, want %v", v.Zoom, MaxZoom)
	}
}

func TestResizeKeepsTheCentre(t *testing.T) {
	v := View{Centre: at(48, 11), Zoom: 5, W: 160, H: 80}
	want := v.Centre
	for _, size := range [][2]int{{240, 144}, {60, 30}, {500, 280}, {160, 80}} {
		v.Resize(size[0], size[1])
		if v.Centre != want || v.Zoom != 5 {
			t.Errorf("%v: centre %v zoom %v, want %v and 5", size, v.Centre, v.Zoom, want)
		}
	}
}

func TestFitShowsAllPlaces(t *testing.T) {
	for name, places := range map[string][]Pos{
		"one":               {at(48, 11)},
		"europe":            {at(35, -10), at(60, 30), at(48, 11)},
		"across date line":  {at(-17, 178), at(-14, -171), at(-41, 174)},
		"both sides of 180": {at(0, 179.99), at(0, -179.99)},
		"all round":         {at(0, 0), at(10, 120), at(-10, -120)},
		"same column":       {at(50, 10.0001), at(51, 10.0002)},
		"poles":             {at(85, 0), at(-85, 0)},
	} {
		v := View{W: 160, H: 80}
		v.Fit(places, 11)
		for _, p := range places {
			x, y := v.Dot(p)
			if name == "all round" || name == "poles" { // more than the view can hold
				y = min(max(y, 0), 80)
			}
			if x < 0 || x > 160 || y < 0 || y > 80 {
				t.Errorf("%s: %v shows at %.1f,%.1f, outside", name, p.Point(), x, y)
			}
		}
		if v.Zoom > 11 {
			t.Errorf("%s: zoom %v", name, v.Zoom)
		}
	}
	v := View{W: 160, H: 80}
	v.Fit([]Pos{at(-17, 178), at(-14, -171)}, 11)
	if v.Zoom < 3 {
		t.Errorf("a fleet across the date line is shown at zoom %.1f: it went the long way round", v.Zoom)
	}
	before := v
	v.Fit(nil, 11)
	if v != before {
		t.Error("no places moved the view")
	}
}

// Every level is drawn whole: nothing jumps across the map at the date line, and what
// is culled is really out of sight.
func TestLinesAreShortAndComplete(t *testing.T) {
	for name, level := range map[string]*Level{"coarse": Coarse(), "fine": Fine()} {
		for _, centre := range []Pos{at(0, 0), at(0, 180), at(0, -90)} {
			v := View{Centre: centre, W: 2048, H: 2048}
			v.Zoom = 3
			kinds := map[Kind]int{}
			level.Lines(&v, func(k Kind, x0, y0, x1, y1 float64) {
				kinds[k]++
				if d := math.Hypot(x1-x0, y1-y0); d > 2048/8 {
					t.Errorf("%s: a line of %.0f dots from %.0f,%.0f to %.0f,%.0f", name, d, x0, y0, x1, y1)
				}
			})
			if kinds[Coast] < 2000 || kinds[Border] < 500 {
				t.Errorf("%s: %v", name, kinds)
			}
		}
	}
}

// TestCullingLosesNothing compares with drawing every stroke in the three worlds.
func TestCullingLosesNothing(t *testing.T) {
	type segment struct{ x0, y0, x1, y1 int }
	visible := func(v *View, x0, y0, x1, y1 float64) bool {
		return max(x0, x1) >= 0 && min(x0, x1) <= float64(v.W) && max(y0, y1) >= 0 && min(y0, y1) <= float64(v.H)
	}
	for _, v := range []View{
		{Centre: at(52, 10), Zoom: 5, W: 240, H: 144}, {Centre: at(-17, 179.9), Zoom: 4, W: 240, H: 144},
		{Centre: at(66, -170), Zoom: 2.5, W: 160, H: 80}, {Centre: at(-78, 0), Zoom: 2, W: 240, H: 144},
	} {
		l := Fine()
		want, got := map[segment]bool{}, map[segment]bool{}
		w := v.window()
		for i := range l.strokes {
			for shift := -turn; shift <= turn; shift += turn {
				l.line(&l.strokes[i], &w, int64(int32(l.pos[l.strokes[i].from].X-w.cx))+shift, func(_ Kind, x0, y0, x1, y1 float64) {
					if visible(&v, x0, y0, x1, y1) {
						want[segment{int(x0), int(y0), int(x1), int(y1)}] = true
					}
				})
			}
		}
		l.Lines(&v, func(_ Kind, x0, y0, x1, y1 float64) {
			if visible(&v, x0, y0, x1, y1) {
				got[segment{int(x0), int(y0), int(x1), int(y1)}] = true
			}
		})
		if len(got) != len(want) {
			t.Errorf("%v: %d segments, want %d", v.Centre.Point(), len(got), len(want))
		}
	}
}

// isLand asks the even-odd rule about one place.
func isLand(l *Level, lat, lon float64) bool {
	v := View{Centre: at(lat, lon), Zoom: 2, W: 64, H: 64}
	inside := false
	l.Land(&v, func(x0, y0, x1, y1 float64) {
		if (y0 > 32) != (y1 > 32) && 32 < x0+(32-y0)*(x1-x0)/(y1-y0) {
			inside = !inside
		}
	})
	return inside
}

func TestLandAndSea(t *testing.T) {
	for name, l := range map[string]*Level{"coarse": Coarse(), "fine": Fine()} {
		for _, tt := range []struct {
			place    string
			lat, lon float64
			land     bool
		}{
			{"Bavaria", 48.5, 11.5, true}, {"Kansas", 38.5, -98, true}, {"Congo", 0.5, 22, true},
			{"Atlantic", 30, -40, false}, {"Pacific", 0, -150, false}, {"Pacific at the date line", 20, 180, false},
			{"Caspian", 41.5, 51, false}, {"Chukotka east of 180", 66.3, -175, true}, {"Chukotka west of 180", 67.5, 178, true},
			{"Bering Sea", 58, -178, false}, {"Antarctica at 0", -82, 0, true}, {"Antarctica at 150", -80, 150, true}, {"Antarctica at -120", -80, -120, true},
			{"Antarctica at 90", -80, 90, true}, {"Southern Ocean", -58, 100, false}, {"Arctic Ocean", 84.5, 0, false},
			{"Greenland", 75, -40, true}, {"Australia", -25, 134, true},
		} {
			if got := isLand(l, tt.lat, tt.lon); got != tt.land {
				t.Errorf("%s: %s is land: %v, want %v", name, tt.place, got, tt.land)
			}
		}
	}
}

// On a view of the whole world, wherever it is cut, the rings close: every row of dots
// is crossed an even number of times.
func TestLandClosesWhereverTheWorldIsCut(t *testing.T) {
	for _, lon := range []float64{0, 90, 180, -170, -60} {
		v := View{Centre: at(0, lon), W: 256, H: 256}
		crossings := make([]int, 256)
		Coarse().Land(&v, func(_, y0, _, y1 float64) {
			if y0 > y1 {
				y0, y1 = y1, y0
			}
			for y := max(int(math.Ceil(y0-0.5)), 0); y < min(int(math.Ceil(y1-0.5)), 256); y++ {
				crossings[y]++
			}
		})
		for y, n := range crossings {
			if n%2 != 0 {
				t.Errorf("centre %v: row %d is crossed %d times", lon, y, n)
			}
		}
	}
}

func TestCitiesAreWhereTheyAre(t *testing.T) {
	cities := Cities()
	if len(cities) != 2000 {
		t.Fatalf("%d cities", len(cities))
	}
	want := map[string]geo.Point{
		"London": geo.Deg(51.51, -0.13), "Tokyo": geo.Deg(35.69, 139.69), "São Paulo": geo.Deg(-23.55, -46.64), "Auckland": geo.Deg(-36.85, 174.76),
	}
	for i, c := range cities {
		p, ok := want[c.Name]
		if !ok {
			continue
		}
		delete(want, c.Name)
		if d := geo.Distance(c.Pos.Point(), p); d > 5000 {
			t.Errorf("%s (number %d) is %.0f m off", c.Name, i, float64(d))
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// triangle is a level of one arc and one ring.
func triangle() []byte {
	b := []byte("TRKW\x01")
	for _, v := range []float64{0.1, 0.1, -180, -90} {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	signed := func(values ...int64) {
		for _, v := range values {
			b = binary.AppendUvarint(b, uint64(v<<1^v>>63))
		}
	}
	b = append(b, 1, 4<<2)      // one arc of four points
	signed(1900, 100, -50, -50) // x
	signed(1300, 0, 50, -50)    // y
	b = append(b, 1, 1)         // one ring of one arc
	signed(-1)                  // the arc backwards
	return b
}

func TestDecodeSmallLevel(t *testing.T) {
	l, err := decodeLevel(triangle())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.pos[0].Point(), geo.Deg(40, 10); geo.Distance(got, want) > 1 {
		t.Errorf("first point %v, want %v", got, want)
	}
	if !isLand(l, 42, 15) || isLand(l, 42, 30) {
		t.Error("the triangle is not where it should be")
	}
	for n := range len(triangle()) {
		if _, err := decodeLevel(triangle()[:n]); err == nil {
			t.Errorf("the first %d bytes are a level", n)
		}
	}
	if _, err := decodeLevel(append(triangle(), 0)); err == nil {
		t.Error("a byte too many was not noticed")
	}
}

func FuzzDecodeLevel(f *testing.F) {
	f.Add(triangle())
	f.Add([]byte("TRKW\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := decodeLevel(b)
		if err != nil {
			return
		}
		v := View{Centre: at(50, 10), Zoom: 2, W: 100, H: 100}
		l.Lines(&v, func(Kind, float64, float64, float64, float64) {})
		l.Land(&v, func(float64, float64, float64, float64) {})
	})
}

func FuzzDecodeCities(f *testing.F) {
	f.Add([]byte("TRKC\x01\x02\x80\x90\x00\x11\x80\xc0\x01\x02Here\nThere"))
	f.Add([]byte("TRKC\x01\x00"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = decodeCities(b) })
}

func BenchmarkDecodeCoarse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		must(decodeLevel(gunzip(coarseGz)))
	}
}

func BenchmarkDecodeFine(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		must(decodeLevel(gunzip(fineGz)))
	}
}

func BenchmarkLines(b *testing.B) {
	for _, bm := range []struct {
		name string
		v    View
	}{
		{"world", View{W: 240, H: 144}}, {"europe", View{Centre: at(50, 12), Zoom: 4, W: 240, H: 144}}, {"city", View{Centre: at(50, 12), Zoom: 9, W: 240, H: 144}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				Fine().Lines(&bm.v, func(Kind, float64, float64, float64, float64) { n++ })
			}
			b.ReportMetric(float64(n)/float64(b.N), "segments/op")
		})
	}
}
