package world

import (
	"math"
	"math/rand/v2"
	"testing"

	"tracker/pkg/geo"
)

// somewhere is a seeded view that is on the map, often near the seam or a pole.
func somewhere(rng *rand.Rand) View {
	v := View{
		Centre: Pos{rng.Uint32(), rng.Uint32()}, Zoom: rng.Float64() * MaxZoom,
		W: 2 * (40 + rng.IntN(100)), H: 4 * (6 + rng.IntN(40)),
	}
	switch rng.IntN(4) {
	case 0:
		v.Zoom = math.Round(v.Zoom*2) / 2
	case 1:
		v.Centre.X = uint32(rng.IntN(1<<20) - 1<<19)
	case 2:
		v.Zoom = v.MinZoom()
	}
	v.Clamp()
	return v
}

func TestSnapMovesTheCentreByHalfADotAtMost(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		v := somewhere(rng)
		was := v
		v.Snap()
		half := float64(turn)/v.Scale()/2 + 1
		dx, dy := float64(int32(v.Centre.X-was.Centre.X)), float64(v.Centre.Y)-float64(was.Centre.Y)
		// In the south the last dot of the world is shown whole, however little of it is there.
		bottom := float64(was.Centre.Y)/float64(turn)*was.Scale()+float64(was.H)/2 > was.Scale()-0.5
		if math.Abs(dx) > half || math.Abs(dy) > half && (!bottom || dy < 0 || dy > 2*half) {
			t.Fatalf("%+v moved by %v, %v steps, half a dot is %v", was, dx, dy, half)
		}
		again := v
		again.Snap()
		if again != v {
			t.Fatalf("%+v snaps to %+v, and that to %+v", was, v, again)
		}
	}
}

// Around the globe and back by single dots, from anywhere between them: the seam is no more
// than the other dots, at zooms at which it is only a part of one.
func TestPanningCrossesTheDateLineDotByDot(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for range 500 {
		v := View{Centre: Pos{X: uint32(rng.IntN(1<<24) - 1<<23), Y: 1 << 31}, Zoom: rng.Float64() * 8, W: 160, H: 88}
		v.Clamp()
		step := []float64{1, -1}[rng.IntN(2)]
		origin := func() int64 { s := v; s.Snap(); x, _ := s.Origin(); return x + int64(v.W/2) }
		for was := origin(); int(math.Abs(float64(int32(v.Centre.X)))) < 1<<25; {
			v.Pan(step, 0)
			now := origin()
			if moved := (now - was + v.Around()) % v.Around(); moved != (int64(step)+v.Around())%v.Around() {
				t.Fatalf("at %d, zoom %v, by %v: from dot %d to %d of %d", v.Centre.X, v.Zoom, step, was, now, v.Around())
			}
			was = now
		}
	}
}

// The lowest dots of a map are in sight when it is panned to its end, at every zoom.
func TestTheSouthernEdgeIsInSight(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	for range 500 {
		v := View{Centre: Pos{Y: math.MaxUint32}, Zoom: rng.Float64() * 8, W: 160, H: 88}
		v.Clamp()
		v.Snap()
		m := v.Mapper()
		if _, y := m.Cell(Pos{Y: math.MaxUint32}); y != int64(v.H-1) {
			t.Fatalf("zoom %v: the last dot is in row %d of %d", v.Zoom, y, v.H)
		}
		v.Centre.Y = 0
		v.Clamp()
		v.Snap()
		m = v.Mapper()
		if _, y := m.Cell(Pos{}); y != 0 {
			t.Fatalf("zoom %v: the first dot is in row %d", v.Zoom, y)
		}
	}
}

// near is a place within a few dots of the middle of a view.
func near(v *View, rng *rand.Rand) Pos {
	return v.At(float64(v.W)/2+rng.Float64()*40-20, float64(v.H)/2+rng.Float64()*20-10)
}

func TestCellIsTheDotOfASnappedView(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for range 5000 {
		v := somewhere(rng)
		v.Snap()
		p := near(&v, rng)
		m := v.Mapper()
		fx, fy := m.Dot(p)
		x, y := m.Cell(p)
		// Across the seam the narrow last dot counts for a whole one.
		if math.Abs(fx-0.5-float64(x)) > 1.51 || math.Abs(fy-0.5-float64(y)) > 0.51 {
			t.Fatalf("%+v: %v is at dot %.2f, %.2f and in cell %d, %d", v, p, fx, fy, x, y)
		}
	}
}

// However a view is panned, places keep their distances, to the dot, even where the
// centre crosses the seam.
func TestPanningMovesEveryCellAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for range 3000 {
		v := somewhere(rng)
		p, q := near(&v, rng), near(&v, rng)
		between := func() [2]int64 {
			snapped := v
			snapped.Snap()
			m := snapped.Mapper()
			px, py := m.Cell(p)
			qx, qy := m.Cell(q)
			return [2]int64{qx - px, qy - py}
		}
		want := between()
		for _, step := range [][2]float64{{1, 0}, {0, 1}, {1, 1}, {-3, 2}, {7, -5}} {
			v.Pan(step[0], step[1])
			if got := between(); got != want {
				t.Fatalf("%+v: %v and %v are %v apart, were %v", v, p, q, got, want)
			}
		}
	}
}

func TestTheWorldIsAsWideAsTheView(t *testing.T) {
	for w := 2; w < 1200; w += 2 {
		v := View{W: w, H: 8}
		v.Zoom = v.MinZoom()
		if got := v.Around(); got != int64(w) {
			t.Errorf("a world as wide as %d dots is %d wide", w, got)
		}
	}
	v := View{Zoom: 1.3}
	if got := v.Around(); got != 631 { // 630.35
		t.Errorf("at zoom 1.3 the world is %d dots wide", got)
	}
}

type drawn struct {
	k              Kind
	x0, y0, x1, y1 float64
}

func lines(l *Level, v *View) []drawn {
	var out []drawn
	l.Lines(v, func(k Kind, x0, y0, x1, y1 float64) { out = append(out, drawn{k, x0, y0, x1, y1}) })
	return out
}

func TestOwnLinesGoWhereTheirPointsAre(t *testing.T) {
	route := []Pos{at(48, 11), at(50, 14), at(52, 13)}
	area := []Pos{at(40, 0), at(40, 10), at(45, 10), at(40, 0)}
	l := NewLevel([][]Pos{route, area, {at(47, 8)}, nil}, []Kind{Route, Outline, Place, Route}, [][]Pos{area, nil})
	v := View{Centre: at(47, 8), Zoom: 5, W: 800, H: 800}
	var want []drawn
	for i, line := range [][]Pos{route, area, {at(47, 8), at(47, 8)}} {
		for j := 1; j < len(line); j++ {
			x0, y0 := v.Dot(line[j-1])
			x1, y1 := v.Dot(line[j])
			want = append(want, drawn{[]Kind{Route, Outline, Place}[i], x0, y0, x1, y1})
		}
	}
	got := lines(l, &v)
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range got {
		if got[i].k != want[i].k || math.Abs(got[i].x0-want[i].x0)+math.Abs(got[i].y0-want[i].y0)+math.Abs(got[i].x1-want[i].x1)+math.Abs(got[i].y1-want[i].y1) > 1e-6 {
			t.Errorf("line %d: %v, want %v", i, got[i], want[i])
		}
	}
	if !isLand(l, 41, 8) || isLand(l, 44, 2) || isLand(l, 50, 14) {
		t.Error("the area is not where it should be")
	}
	// Far away nothing of it is visited.
	v.Centre = at(-30, -60)
	if got := lines(l, &v); len(got) != 0 {
		t.Errorf("on the other side of the world: %v", got)
	}
}

func TestOwnLinesCrossTheDateLine(t *testing.T) {
	l := NewLevel([][]Pos{{at(0, 178), at(0, -178)}}, []Kind{Route}, nil)
	for _, lon := range []float64{178, 180, -178} {
		v := View{Centre: at(0, lon), Zoom: 5, W: 200, H: 80}
		got := lines(l, &v)
		want := 4 * v.Scale() / 360
		if len(got) != 1 || math.Abs(math.Abs(got[0].x1-got[0].x0)-want) > 0.01 {
			t.Errorf("seen from %v: %v, want one line of %.1f dots", lon, got, want)
		}
	}
}

// A voyage round the world and more is there wherever one looks.
func TestOwnLinesGoRoundTheWorld(t *testing.T) {
	var voyage []Pos
	for lon := 0.0; lon <= 360*5; lon += 100 {
		voyage = append(voyage, at(10, geo.WrapLon(lon)))
	}
	l := NewLevel([][]Pos{voyage}, []Kind{Route}, nil)
	for lon := -175.0; lon < 180; lon += 10 {
		v := View{Centre: at(10, lon), Zoom: 4, W: 100, H: 80}
		covered := 0
		for _, d := range lines(l, &v) {
			if min(d.x0, d.x1) <= 50 && max(d.x0, d.x1) >= 50 {
				covered++
			}
		}
		if covered < 5 {
			t.Errorf("the middle of %v is passed %d times, want 5", lon, covered)
		}
	}
}

func TestEveryLineHasAKind(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two lines with one kind were taken")
		}
	}()
	NewLevel([][]Pos{{at(0, 0)}, {at(1, 1)}}, []Kind{Route}, nil)
}

// Seeded lines against the obvious way: every segment by itself, in three worlds.
func TestOwnLinesLoseNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	for range 200 {
		v := somewhere(rng)
		v.Zoom = max(min(v.Zoom, 6), v.MinZoom())
		v.Clamp()
		var line []Pos
		for range 2 + rng.IntN(150) {
			line = append(line, Pos{rng.Uint32(), rng.Uint32()})
		}
		if got, want := crossings(lines(NewLevel([][]Pos{line}, []Kind{Route}, nil), &v), &v), crossings(straight(line, &v), &v); got != want {
			t.Fatalf("%+v: %d segments in sight, want %d", v, got, want)
		}
	}
}

func straight(line []Pos, v *View) []drawn {
	var out []drawn
	for i := 1; i < len(line); i++ {
		x0, y0 := v.Dot(line[i-1])
		m := v.Mapper()
		x1 := x0 + m.Dots(int32(line[i].X-line[i-1].X))
		_, y1 := v.Dot(line[i])
		for _, shift := range []float64{-2, -1, 0, 1, 2} {
			by := shift * v.Scale()
			out = append(out, drawn{Route, x0 + by, y0, x1 + by, y1})
		}
	}
	return out
}

// crossings counts the segments whose box meets the view, clear of rounding.
func crossings(segments []drawn, v *View) int {
	n := 0
	for _, d := range segments {
		if max(d.x0, d.x1) > 1e-3 && min(d.x0, d.x1) < float64(v.W)-1e-3 && max(d.y0, d.y1) > 1e-3 && min(d.y0, d.y1) < float64(v.H)-1e-3 {
			n++
		}
	}
	return n
}
