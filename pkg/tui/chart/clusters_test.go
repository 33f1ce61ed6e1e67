package chart

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

// spot is a block that is wholly in sight: where its badge is, and what it says.
type spot struct {
	count uint32
	rank  rank
	badge bool
	x, y  int32
	w     int32
	dots  [2]int32 // of its corner
}

func (c *Chart) spots() map[ClusterKey]spot {
	out := map[ClusterKey]spot{}
	for i, b := range c.grid.blocks {
		if c.grid.whole(i) && b.count > 0 {
			hx, hy := c.grid.heads(i)
			out[c.grid.key(i)] = spot{b.count, b.rank, b.w > 0, b.x, b.y, b.w, [2]int32{hx.first, hy.first}}
		}
	}
	return out
}

// The picture is panned dot by dot: no number changes, no badge comes or goes, every block
// moves by that dot and no badge by more than the one cell that the map moves by.
func TestBadgesDoNotShimmerWhilePanning(t *testing.T) {
	for _, place := range []struct{ lat, lon float64 }{{48, 11}, {-17, 179.9}, {3, -179.99}, {70, 0.01}} {
		for _, zoom := range []float64{0.4, 1, 1.37, 2, 3.5, 4.21, 5, 6.66, 8, 9.99, 12.5, 15} {
			km := 40_000 / math.Exp2(zoom) / 10
			s := sceneOf(t, 60, 20, swarm(uint64(zoom*100), 700, place.lat, place.lon, km)).look(place.lat, place.lon, zoom)
			for _, step := range [][2]float64{{1, 0}, {0, 1}, {-1, 0}, {0, -1}, {1, 1}} {
				panBy(t, fmt.Sprintf("%v at zoom %v by %v", place, zoom, step), s, step)
			}
		}
	}
}

func panBy(t *testing.T, name string, s *Scene, step [2]float64) {
	t.Helper()
	scene := *s
	c := &Chart{}
	c.Draw(&scene)
	was, badges := c.spots(), 0
	for range 14 { // more than a block
		scene.View.Pan(step[0], step[1])
		c.Draw(&scene)
		now := c.spots()
		for key, b := range now {
			a, there := was[key]
			if !there {
				continue
			}
			if b.badge {
				badges++
			}
			dx, dy := a.x-b.x, a.y-b.y // the map moves the other way
			if by := [2]int32{a.dots[0] - b.dots[0], a.dots[1] - b.dots[1]}; by != [2]int32{int32(step[0]), int32(step[1])} {
				t.Fatalf("%s: block %v moved by %v dots", name, key, by)
			}
			a.x, a.y, b.x, b.y = 0, 0, 0, 0
			a.dots = b.dots
			if a != b || dx*int32(step[0]) < 0 || dx*dx > int32(math.Abs(step[0])) || dy*int32(step[1]) < 0 || dy*dy > int32(math.Abs(step[1])) {
				t.Fatalf("%s: block %v was %+v, is %+v, and moved by %d, %d", name, key, a, b, dx, dy)
			}
		}
		was = now
	}
	if badges < 10 {
		t.Errorf("%s: only %d badges were there to look at", name, badges)
	}
}

func TestZoomingInAndOutComesBackToTheSamePicture(t *testing.T) {
	s := sceneOf(t, 80, 24, tuitest.Vans(900)).look(50, 10, 3.25)
	s.Selected = 7
	c := &Chart{}
	want := c.picture(s)
	for _, at := range [][2]float64{{80, 48}, {3, 90}, {151, 7}} {
		s.View.ZoomAt(0.5, at[0], at[1])
		if c.picture(s) == want {
			t.Error("zooming changed nothing")
		}
		s.View.ZoomAt(-0.5, at[0], at[1])
		if got := c.picture(s); got != want {
			t.Errorf("after zooming about %v; got\n%s\nwant\n%s", at, got, want)
		}
	}
}

// badged is how many devices the badges of a picture speak for.
func (c *Chart) badged() (devices int) {
	for _, b := range c.grid.blocks {
		if b.w > 0 {
			devices += int(b.count)
		}
	}
	return devices
}

func crowdAt(n int) []client.Fix {
	var out []client.Fix
	for i := range n {
		out = append(out, moving(idOf(i), 48, 11, 0, 0))
	}
	return out
}

func TestBadgesComeAtFiveAndGoBelowThree(t *testing.T) {
	all := crowdAt(6)
	c := &Chart{}
	s := sceneOf(t, 40, 12, all).look(48, 11, 5)
	for _, tt := range []struct{ n, badged int }{{4, 0}, {5, 5}, {4, 4}, {3, 3}, {2, 0}, {3, 0}, {4, 0}, {6, 6}} {
		next := sceneOf(t, 40, 12, all[:tt.n])
		s.Frame, s.Store = next.Frame, next.Store
		c.Draw(s)
		if got := c.badged(); got != tt.badged {
			t.Errorf("%d devices: a badge for %d, want %d", tt.n, got, tt.badged)
		}
	}
}

// One device that goes back and forth over the edge of a block changes numbers, but no
// badge comes or goes by it.
func TestBadgesDoNotFlapWhenOneCrossesAnEdge(t *testing.T) {
	s := sceneOf(t, 40, 12, crowdAt(9)).look(48, 11, 5)
	c := &Chart{}
	c.Draw(s)
	d := &c.seen[0]
	edge := c.grid.xs[c.grid.cols[d.x]].end // the first dot of the next block
	at := func(dot int32) client.Fix {
		p := c.scene.View.At(float64(dot)+0.5, float64(d.y)+0.5).Point()
		return moving(0, p.LatDeg(), p.LonDeg(), 0, 0)
	}
	var fixes []client.Fix
	for i := range 9 { // five on one side, of which one travels, and four on the other
		f := at(edge - 3)
		if i >= 5 {
			f = at(edge + 2)
		}
		f.Device = idOf(i)
		fixes = append(fixes, f)
	}
	for hop := range 8 {
		here := at(edge - 1 + int32(hop%2))
		here.Device = idOf(0)
		fixes[0] = here
		next := sceneOf(t, 40, 12, fixes)
		s.Frame, s.Store = next.Frame, next.Store
		c.Draw(s)
		badges := 0
		for _, b := range c.grid.blocks {
			if b.w > 0 {
				badges++
			}
		}
		if want := min(hop+1, 2); badges != want {
			t.Fatalf("hop %d: %d badges, want %d:\n%s", hop, badges, want, c.text())
		}
	}
}

func TestBadgesOfManyHaveMoreWeight(t *testing.T) {
	for n, want := range map[int]canvas.Style{99: look.Idle, 100: look.Heavy(look.Idle)} {
		s := sceneOf(t, 40, 12, crowdAt(n)).look(48, 11, 5)
		c := &Chart{}
		c.Draw(s)
		for i, b := range c.grid.blocks {
			if b.w > 0 && c.out.At(int(b.x), int(b.y)).Fg != want {
				t.Errorf("%d devices: badge %d has style %d, want %d", n, i, c.out.At(int(b.x), int(b.y)).Fg, want)
			}
		}
		if c.badged() != n {
			t.Errorf("%d devices: badges speak for %d", n, c.badged())
		}
	}
}

// What the colour of a badge says, its sign says too where somebody ought to look.
func TestBadgesSayTheWorstWithoutColours(t *testing.T) {
	for _, tt := range []struct {
		by   look.ColourBy
		rank rank
		want rune
	}{
		{look.ByState, rank(filter.Idle), 0}, {look.ByState, rank(filter.Moving), 0}, {look.ByState, rank(filter.Stale), '○'},
		{look.ByState, rank(filter.Lost), '✕'}, {look.ByState, rank(filter.Alert), '!'},
		{look.ByAge, unknown, 0}, {look.ByAge, alert - 1, 0}, {look.ByAge, alert, '!'}, {look.BySpeed, alert, '!'},
		{look.ByBattery, firstStep, 0}, {look.ByBattery, alert - 1, '!'}, {look.ByBattery, alert, '!'},
	} {
		if got := tt.rank.sign(tt.by); got != tt.want {
			t.Errorf("by %v, rank %d: %c, want %c", tt.by, tt.rank, got, tt.want)
		}
	}
	for _, tt := range []struct {
		theme string
		n     int
		want  string
	}{{"mono", 40, "●40✕"}, {"plain", 999, "●999✕"}, {"mono", 1000, "●1000 "}, {"system", 40, "●40 "}} {
		fixes := crowdAt(tt.n)
		fixes[7].Received = epoch.Add(-time.Hour)
		s := sceneOf(t, 40, 12, fixes).look(48, 11, 5)
		s.Theme = themeOf(tt.theme)
		c := &Chart{}
		c.Draw(s)
		for _, b := range c.grid.blocks {
			for i, r := range []rune(tt.want) {
				if cell := c.out.At(int(b.x)+i, int(b.y)); b.w > 0 && cell.R != r && (r != ' ' || cell.R != 0) {
					t.Errorf("%s, %d devices: %q at %d, want %q:\n%s", tt.theme, tt.n, cell.R, i, tt.want, c.text())
				}
			}
		}
		if c.badged() != tt.n {
			t.Errorf("%s: badges speak for %d of %d", tt.theme, c.badged(), tt.n)
		}
	}
}

// A device is either counted by a badge or drawn, never both and never neither.
func TestBadgesTakeThePlaceOfTheirDevices(t *testing.T) {
	for _, n := range []int{30, 150, 900} {
		s := sceneOf(t, 80, 24, swarm(3, n, 48, 11, 20)).look(48, 11, 6)
		c := &Chart{}
		c.Draw(s)
		drawn := 0
		for _, at := range c.shown {
			drawn += int(c.bins[at].count)
		}
		if got := c.badged() + drawn; got != s.Frame.Visible || c.badged() == 0 {
			t.Errorf("%d devices: %d counted, %d drawn, %d visible", n, c.badged(), drawn, s.Frame.Visible)
		}
		for i, b := range c.grid.blocks {
			if want := []rune(fmt.Sprintf("●%d", b.count)); b.w > 0 {
				for j, r := range want {
					if cell := c.out.At(int(b.x)+j, int(b.y)); cell.R != r {
						t.Errorf("%d devices: badge %v says %q at %d, want %q", n, c.grid.key(i), cell.R, j, r)
					}
				}
			}
		}
	}
}

func TestAlertsAndTheSelectedAreNeverHiddenByABadge(t *testing.T) {
	fixes := crowdAt(40)
	fixes[20].Event = "sos"
	s := sceneOf(t, 40, 12, fixes).look(48, 11, 5)
	c := &Chart{}
	c.Draw(s)
	x, y, _ := c.cellOf(s, 20)
	if cell := c.out.At(x, y); cell.R != '!' || c.badged() != 40 {
		t.Errorf("an alert among %d is %q:\n%s", c.badged(), cell.R, c.text())
	}
	s.Selected = 3
	c.Draw(s)
	if cell := c.out.At(x-1, y); cell.R != '[' || c.badged() != 40 {
		t.Errorf("the selected one among %d has %q on its left:\n%s", c.badged(), cell.R, c.text())
	}
}

// One device that crosses the edge must not turn all others into something else.
func TestDevicesKeepTheirSize(t *testing.T) {
	fixes := swarm(1, 70, 48, 11, 20)
	s := sceneOf(t, 80, 24, fixes).look(48, 11, 5)
	c := &Chart{}
	for _, tt := range []struct {
		n    int
		want size
	}{{60, asGlyphs}, {66, asGlyphs}, {67, asBlots}, {66, asBlots}, {61, asBlots}, {60, asGlyphs}} {
		next := sceneOf(t, 80, 24, fixes[:tt.n])
		s.Frame, s.Store = next.Frame, next.Store
		if c.Draw(s); c.size != tt.want {
			t.Errorf("%d devices: size %d, want %d", tt.n, c.size, tt.want)
		}
	}
	s.View.Zoom = 5.1
	next := sceneOf(t, 80, 24, fixes[:66])
	s.Frame, s.Store = next.Frame, next.Store
	if c.Draw(s); c.size != asBlots {
		t.Errorf("at another zoom: size %d", c.size)
	}
	for dots, want := range map[int]size{1: asDots, 2: asBlots} {
		s.Dots = dots
		if c.Draw(s); c.size != want {
			t.Errorf("%d dots: size %d, want %d", dots, c.size, want)
		}
	}
}

// Whatever order devices are stored in, the picture is the same.
func TestColoursDoNotDependOnTheOrderOfDevices(t *testing.T) {
	fixes := swarm(5, 400, 48, 11, 80)
	for i := range fixes {
		if i%3 == 0 {
			fixes[i].Received = epoch.Add(-3 * time.Minute) // stale
		}
	}
	for _, n := range []int{50, 180, 400} {
		some := slices.Clone(fixes[:n])
		draw := func() string {
			s := sceneOf(t, 60, 20, some).look(48, 11, 5.5)
			s.Layers &^= Labels
			return new(Chart).picture(s)
		}
		want := draw()
		rng := rand.New(rand.NewPCG(1, 2))
		for range 5 {
			rng.Shuffle(n, func(i, j int) { some[i], some[j] = some[j], some[i] })
			if got := draw(); got != want {
				t.Fatalf("%d devices in another order; got\n%s\nwant\n%s", n, got, want)
			}
		}
	}
}

// Against the slow obvious way: the block of every device by itself.
func TestMembersAreThoseOfTheBlock(t *testing.T) {
	for _, lon := range []float64{11, 179.9, -179.9} {
		for _, zoom := range []float64{0.5, 3, 5.3} {
			s := sceneOf(t, 70, 20, swarm(8, 600, 10, lon, 900)).look(10, lon, zoom)
			c := &Chart{}
			c.Draw(s)
			want := map[ClusterKey][]int32{}
			v := c.scene.View
			k := v.Scale() / (1 << 32)
			last := int32(math.Ceil(v.Scale()-1e-6))/blockDots - 1
			for i, p := range s.Frame.Points {
				key := ClusterKey{min(int32(float64(p.Pos.X)*k/blockDots), last), int32(float64(p.Pos.Y) * k / blockDots), zoom}
				want[key] = append(want[key], int32(i))
			}
			compared := 0
			for key := range c.spots() {
				compared++
				if got := c.Members(nil, key); !slices.Equal(got, want[key]) {
					t.Errorf("lon %v zoom %v: %v holds %v, want %v", lon, zoom, key, got, want[key])
				}
			}
			if compared == 0 {
				t.Errorf("lon %v zoom %v: no blocks", lon, zoom)
			}
		}
	}
}

// Both halves of a block that the edge of a whole world cuts are places of their own.
func TestAWorldThatIsCutThroughABlock(t *testing.T) {
	s := sceneOf(t, 60, 20, nil).look(0, 3, -9)
	var fixes []client.Fix
	for i := range 40 {
		x := 0.2
		if i%2 == 0 {
			x = float64(s.View.W) - 0.2
		}
		at := s.View.At(x, 40).Point()
		fixes = append(fixes, moving(idOf(i), at.LatDeg(), at.LonDeg(), 0, 0))
	}
	next := sceneOf(t, 60, 20, fixes)
	s.Frame, s.Store = next.Frame, next.Store
	c := &Chart{}
	c.Draw(s)
	var counts []uint32
	for i, b := range c.grid.blocks {
		if b.count > 0 {
			counts = append(counts, b.count)
			if got := len(c.Members(nil, c.grid.key(i))); got != int(b.count) {
				t.Errorf("%v has %d members, want %d", c.grid.key(i), got, b.count)
			}
		}
	}
	if len(c.badges) != 2 || !slices.Equal(counts, []uint32{20, 20}) {
		t.Errorf("badges %v, counts %v", slices.Collect(maps.Keys(c.badges)), counts)
	}
}

func TestShortCounts(t *testing.T) {
	for n, want := range map[uint32]string{5: "5", 9999: "9999", 10_000: "10k", 999_999: "999k", 3_400_000: "3M"} {
		if got := string(shortCount(nil, n)); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestBlocksCoverTheWorldOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	for range 500 {
		v := world.View{Centre: world.Pos{X: rng.Uint32(), Y: rng.Uint32()}, Zoom: rng.Float64() * 12, W: 240, H: 96}
		v.Clamp()
		v.Snap()
		var g grid
		g.lay(&v)
		for name, side := range map[string]struct {
			of    []int32
			heads []head
		}{"across": {g.cols, g.xs}, "down": {g.rows, g.ys}} {
			for dot, i := range side.of {
				if h := side.heads[i]; dot < int(h.first) || dot >= int(h.end) {
					t.Fatalf("%+v: dot %d %s is not in its block %+v", v, dot, name, h)
				}
			}
			for i := 1; i < len(side.heads); i++ {
				if side.heads[i].first != side.heads[i-1].end {
					t.Fatalf("%+v %s: %+v", v, name, side.heads)
				}
			}
		}
	}
}
