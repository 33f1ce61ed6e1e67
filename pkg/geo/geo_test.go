package geo

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// anywhere makes up a point: on the whole globe, at a pole, at the antimeridian, or
// on the corner of a cell.
func anywhere(r *rand.Rand) Point {
	p := Point{int32(r.Int64N(2*MaxLat+1) - MaxLat), int32(r.Int64N(2*MaxLon+1) - MaxLon)}
	switch r.IntN(8) {
	case 0:
		p.Lat = MaxLat - int32(r.IntN(100))
	case 1:
		p.Lat = -MaxLat + int32(r.IntN(3*CellSize))
	case 2:
		p.Lon = MaxLon - int32(r.IntN(3))
	case 3:
		p.Lon = -MaxLon + int32(r.IntN(3))
	case 4:
		p.Lat, p.Lon = p.Lat/CellSize*CellSize, p.Lon/CellSize*CellSize
	}
	return p
}

func anyBox(r *rand.Rand) Box {
	a, b := anywhere(r), anywhere(r)
	if r.IntN(3) == 0 { // small
		b.Lat = a.Lat + int32(r.IntN(5*CellSize))
		b.Lat = min(b.Lat, MaxLat)
		b.Lon = int32((int64(a.Lon)+r.Int64N(5*CellSize)+MaxLon)%(2*MaxLon) - MaxLon)
	}
	return Box{min(a.Lat, b.Lat), a.Lon, max(a.Lat, b.Lat), b.Lon}
}

// vector is the point on the unit sphere.
func vector(p Point) [3]float64 {
	la, lo := p.LatDeg()*math.Pi/180, p.LonDeg()*math.Pi/180
	return [3]float64{math.Cos(la) * math.Cos(lo), math.Cos(la) * math.Sin(lo), math.Sin(la)}
}

// byAngle is the distance by another way: the angle between two vectors.
func byAngle(p, q Point) Meters {
	a, b := vector(p), vector(q)
	var dot, cross float64
	for i := range 3 {
		j, k := (i+1)%3, (i+2)%3
		dot += a[i] * b[i]
		c := a[j]*b[k] - a[k]*b[j]
		cross += c * c
	}
	return EarthRadius * Meters(math.Atan2(math.Sqrt(cross), dot))
}

func TestDistanceAgreesWithVectors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 30_000 {
		a, b := anywhere(r), anywhere(r)
		if r.IntN(2) == 0 { // near each other, also across a pole or the antimeridian
			b = Travel(a, r.Float64()*360, Meters(math.Exp(r.Float64()*12)))
		}
		got, want := Distance(a, b), byAngle(a, b)
		// Near the opposite point the haversine loses half of its digits: 0.2 m.
		if slack := Meters(1e-6) + want*1e-9; math.Abs(float64(got-want)) > float64(slack) && want < 20_000_000 ||
			math.Abs(float64(got-want)) > 0.5 {
			t.Fatalf("Distance(%v, %v) = %v, want %v", a, b, got, want)
		}
		if back := Distance(b, a); back != got {
			t.Fatalf("Distance(%v, %v) = %v, but %v the other way", a, b, got, back)
		}
	}
}

func TestDistanceOfKnownPlaces(t *testing.T) {
	tests := []struct {
		name  string
		a, b  Point
		want  Meters // on the sphere of EarthRadius
		slack Meters
	}{
		{"a place and itself", Deg(48, 11), Deg(48, 11), 0, 1},
		{"a degree of latitude", Deg(0, 0), Deg(1, 0), 111195.08, 1},
		{"a degree of the equator", Deg(0, 179.5), Deg(0, -179.5), 111195.08, 1},
		{"-180 is 180", Deg(10, 180), Deg(10, -180), 0, 1},
		{"all longitudes of a pole", Deg(90, 0), Deg(90, 123), 0, 1},
		{"over the pole", Deg(89, 0), Deg(89, 180), 222390.16, 1},
		{"pole to pole", Deg(90, 0), Deg(-90, 77), 20015114.4, 1},
		{"half around", Deg(0, 0), Deg(0, 180), 20015114.4, 1},
		{"Munich to Berlin", Deg(48.137, 11.575), Deg(52.52, 13.405), 504400, 500},
	}
	for _, tt := range tests {
		if got := Distance(tt.a, tt.b); math.Abs(float64(got-tt.want)) > float64(tt.slack) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestTravelArrivesAtDistanceAndBearing(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 20_000 {
		from := anywhere(r)
		bearing, d := r.Float64()*360, Meters(math.Exp(r.Float64()*16))
		to := Travel(from, bearing, d)
		if !to.Valid() {
			t.Fatalf("Travel(%v, %v, %v) = %v is not on the globe", from, bearing, d, to)
		}
		if got := Distance(from, to); math.Abs(float64(got-d)) > 0.02+1e-7*float64(d) {
			t.Fatalf("Travel(%v, %v, %v) = %v is %v away", from, bearing, d, to, got)
		}
		if from.LatDeg() > 89 || from.LatDeg() < -89 || d < 1000 {
			continue // a centimetre turns the bearing
		}
		off := math.Mod(Bearing(from, to)-bearing+540, 360) - 180
		if got := Bearing(from, to); math.Abs(off) > 0.01 || got < 0 || got >= 360 {
			t.Fatalf("Bearing(%v, %v) = %v, want %v", from, to, got, bearing)
		}
	}
}

// inside is Contains by degrees of eastward way, in wide arithmetic.
func inside(b Box, p Point) bool {
	if p.Lat < b.South || p.Lat > b.North {
		return false
	}
	const turn = 2 * MaxLon
	width := (int64(b.East) - int64(b.West) + turn) % turn
	if b.West == -MaxLon && b.East == MaxLon {
		width = turn
	}
	way := (int64(p.Lon) - int64(b.West) + turn) % turn
	return way <= width
}

func TestBoxContainsAgreesWithArithmetic(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 100_000 {
		b, p := anyBox(r), anywhere(r)
		switch r.IntN(4) {
		case 0:
			p.Lon = b.West
		case 1:
			p.Lon, p.Lat = b.East, b.North
		}
		if got, want := b.Contains(p), inside(b, p); got != want {
			t.Fatalf("%+v contains %+v: %v, want %v", b, p, got, want)
		}
	}
	for range 1000 {
		if p := anywhere(r); !World.Contains(p) {
			t.Fatalf("the world does not contain %v", p)
		}
	}
}

func TestAroundHoldsCircle(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 30_000 {
		p := anywhere(r)
		d := Meters(math.Exp(r.Float64() * 17.2)) // up to 30,000 km
		b := Around(p, d)
		if !(Point{b.South, b.West}).Valid() || !(Point{b.North, b.East}).Valid() || b.South > b.North {
			t.Fatalf("Around(%v, %v) = %+v is not on the globe", p, d, b)
		}
		for _, q := range []Point{p, Travel(p, r.Float64()*360, d*Meters(r.Float64())), Travel(p, r.Float64()*360, d), anywhere(r)} {
			if Distance(p, q) <= d && !b.Contains(q) {
				t.Fatalf("Around(%v, %v) = %+v misses %+v at %v", p, d, b, q, Distance(p, q))
			}
		}
	}
}

// A box that is much too large would be right, and slow.
func TestAroundIsTight(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 2_000 {
		p := anywhere(r)
		d := Meters(10 + math.Exp(r.Float64()*13))
		b := Around(p, d)
		if b.West == -MaxLon && b.East == MaxLon {
			continue // a cap
		}
		for _, q := range []Point{{b.North, p.Lon}, {b.South, p.Lon}} {
			if got := Distance(p, q); got > d*1.001+0.1 {
				t.Fatalf("Around(%v, %v) = %+v reaches %v", p, d, b, got)
			}
		}
		// The meridian of the east edge touches the circle: some point of it is as near.
		nearest := Meters(math.Inf(1))
		for i := range 1001 {
			lat := float64(b.South) + (float64(b.North)-float64(b.South))*float64(i)/1000
			nearest = min(nearest, Distance(p, Point{int32(lat), b.East}))
		}
		if nearest > d*1.001+0.1 {
			t.Fatalf("Around(%v, %v) = %+v: the east edge is %v away", p, d, b, nearest)
		}
	}
}

func TestCellsInVisitsExactlyTheCellsOfTheBox(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range 3000 {
		b := anyBox(r)
		cells := CellsIn(b)
		if cells.Len() > 20_000 {
			continue
		}
		got := map[Cell]bool{}
		cells.All(func(c Cell) bool {
			if got[c] {
				t.Fatalf("%+v: cell %d twice", b, c)
			}
			got[c] = true
			return true
		})
		if len(got) != cells.Len() {
			t.Fatalf("%+v: %d cells, Len %d", b, len(got), cells.Len())
		}
		for range 50 {
			p := anywhere(r)
			if r.IntN(2) == 0 { // somewhere in the box
				p.Lat = b.South + int32(r.Int64N(int64(b.North)-int64(b.South)+1))
				width := (int64(b.East) - int64(b.West) + 2*MaxLon) % (2 * MaxLon)
				p.Lon = int32((int64(b.West)+r.Int64N(width+1)+MaxLon)%(2*MaxLon) - MaxLon)
			}
			c := CellOf(p)
			if b.Contains(p) && !got[c] {
				t.Fatalf("%+v: cell %d of %+v inside is not visited", b, c, p)
			}
			if cells.Has(c) != got[c] {
				t.Fatalf("%+v: Has(%d) = %v, visited %v", b, c, cells.Has(c), got[c])
			}
		}
	}
}

func TestCellsOfTheWorld(t *testing.T) {
	cells := CellsIn(World)
	if got, want := cells.Len(), CellRows*CellCols; got != want {
		t.Errorf("the world has %d cells, want %d", got, want)
	}
	r := rand.New(rand.NewPCG(7, 7))
	for range 10_000 {
		if p := anywhere(r); !cells.Has(CellOf(p)) {
			t.Fatalf("cell %d of %v is not in the world", CellOf(p), p)
		}
	}
	n := 0
	cells.All(func(Cell) bool { n++; return n < 10 })
	if n != 10 {
		t.Errorf("the walk went on to %d cells after it was stopped at 10", n)
	}
}

func TestCellOfIsTheSameForBothNamesOfTheAntimeridian(t *testing.T) {
	for lat := int32(-MaxLat); lat < MaxLat; lat += 37 * CellSize {
		if a, b := CellOf(Point{lat, MaxLon}), CellOf(Point{lat, -MaxLon}); a != b {
			t.Errorf("at %d: cells %d and %d", lat, a, b)
		}
	}
	row, col := CellOf(Point{MaxLat, MaxLon - 1}).Split()
	if row != CellRows-1 || col != CellCols-1 {
		t.Errorf("the last cell is row %d, column %d", row, col)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want string // of the error, or of the value printed
	}{
		{"48.137,11.575", "48.13700,11.57500"},
		{" -90 , 180 ", "-90.00000,180.00000"},
		{"1e1,2E0", "10.00000,2.00000"},
		{"", "want 2 numbers"},
		{"1,2,3", "want 2 numbers"},
		{"a,2", `"a" is not a number`},
		{"NaN,2", "not a number"},
		{"1,Inf", "not a number"},
		{"90.0000001,0", "latitude"},
		{"0,-180.1", "longitude"},
	}
	for _, tt := range tests {
		p, err := ParsePoint(tt.in)
		got := p.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("ParsePoint(%q) = %s, want %s", tt.in, got, tt.want)
		}
	}
	boxes := []struct{ in, want string }{
		{"47.2,5.8,55.1,15.1", "47.20000,5.80000,55.10000,15.10000"},
		{"-20,170,-10,-170", "-20.00000,170.00000,-10.00000,-170.00000"},
		{"2,0,1,0", "south 2 is north of north 1"},
		{"1,2,3", "want 4 numbers"},
		{"-91,0,0,0", "latitude"},
		{"0,0,0,181", "longitude"},
	}
	for _, tt := range boxes {
		b, err := ParseBox(tt.in)
		got := b.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("ParseBox(%q) = %s, want %s", tt.in, got, tt.want)
		}
	}
	if _, err := BoxDeg(math.NaN(), 0, 0, 0); err == nil {
		t.Error("a box of NaN was taken")
	}
}

func FuzzParsePoint(f *testing.F) {
	for _, s := range []string{"48.1,11.5", "-90,180", "1e-300,0x1p-2", "NaN,0", ",", "1,2,3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePoint(s)
		if err != nil {
			return
		}
		if !p.Valid() {
			t.Fatalf("ParsePoint(%q) = %+v is not on the globe", s, p)
		}
		// Printed with five decimals it is the same to within half of the last.
		q, err := ParsePoint(p.String())
		if err != nil || abs(int64(q.Lat)-int64(p.Lat)) > 50 || abs(int64(q.Lon)-int64(p.Lon)) > 50 {
			t.Fatalf("%+v printed and parsed is %+v, %v", p, q, err)
		}
	})
}

func FuzzParseBox(f *testing.F) {
	for _, s := range []string{"47.2,5.8,55.1,15.1", "-20,170,-10,-170", "-90,-180,90,180", "2,0,1,0", ",,,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBox(s)
		if err != nil {
			return
		}
		corners := []Point{{b.South, b.West}, {b.South, b.East}, {b.North, b.West}, {b.North, b.East}}
		for _, p := range corners {
			if !p.Valid() || !b.Contains(p) || !CellsIn(b).Has(CellOf(p)) {
				t.Fatalf("ParseBox(%q) = %+v: corner %+v", s, b, p)
			}
		}
		if _, err := ParseBox(b.String()); err != nil {
			t.Fatalf("%+v printed and parsed: %v", b, err)
		}
	})
}

func abs(v int64) int64 { return max(v, -v) }

func BenchmarkDistance(b *testing.B) {
	b.ReportAllocs()
	p, q := Deg(48.137, 11.575), Deg(48.2, 11.6)
	for b.Loop() {
		Distance(p, q)
	}
}

func BenchmarkContains(b *testing.B) {
	b.ReportAllocs()
	box, _ := BoxDeg(47, 10, 49, 12)
	p := Deg(48.137, 11.575)
	for b.Loop() {
		box.Contains(p)
	}
}
