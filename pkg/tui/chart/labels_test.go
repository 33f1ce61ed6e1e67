package chart

import (
	"math/rand/v2"
	"strings"
	"testing"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/overlay"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

// checkWords holds every label and every badge of a picture against its cells: it stands
// there whole, and no two share one.
func checkWords(t *testing.T, c *Chart) {
	t.Helper()
	owner := map[[2]int]string{}
	for _, w := range c.words {
		x := w.x
		for _, r := range w.name {
			if other, taken := owner[[2]int{x, w.y}]; taken {
				t.Errorf("%q and %q overlap at %d, %d:\n%s", w.name, other, x, w.y, c.text())
			}
			for i := range canvas.RuneWidth(r) {
				owner[[2]int{x + i, w.y}] = w.name
			}
			if cell := c.out.At(x, w.y); cell == nil || cell.R != r {
				t.Errorf("%q is cut at %d, %d:\n%s", w.name, x, w.y, c.text())
				return
			}
			x += canvas.RuneWidth(r)
		}
	}
	for _, b := range c.grid.blocks {
		for x := int(b.x); x < int(b.x+b.w); x++ {
			if other, taken := owner[[2]int{x, int(b.y)}]; taken {
				t.Errorf("%q and the badge of %d overlap at %d, %d:\n%s", other, b.count, x, b.y, c.text())
			}
			if r := c.out.At(x, int(b.y)).R; x > int(b.x) && (r < '0' || r > '9') && r != 'k' && r != 'M' && (x < int(b.x+b.w)-1 || r != c.worst(&b)) {
				t.Errorf("the badge of %d is cut at %d, %d:\n%s", b.count, x, b.y, c.text())
			}
			owner[[2]int{x, int(b.y)}] = "a badge"
		}
	}
}

// Fleets of every kind, with everything that can stand in the way of a name.
func TestLabelsNeverOverlapAndAreNeverCut(t *testing.T) {
	written := 0
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 4))
		lat, lon := rng.Float64()*170-85, rng.Float64()*360-180
		fixes := swarm(seed, []int{120, 120, 120, 900}[rng.IntN(4)]*rng.IntN(100)/100, lat, lon, rng.Float64()*300)
		for i := range fixes {
			if rng.IntN(12) == 0 {
				fixes[i].Event = "sos"
			}
		}
		s := sceneOf(t, 10+rng.IntN(110), 3+rng.IntN(40), fixes).look(lat, lon, 2+rng.Float64()*7)
		for i := range fixes {
			at := geo.Travel(fixes[i].At, fixes[i].Course, 9000)
			fixes[i].At = at
		}
		s.Store.Apply(fixes)
		s.Frame.Refresh(s.Store, nil)
		s.Trails = TrailMode(rng.IntN(int(TrailModes)))
		s.Colour = look.ColourBy(rng.IntN(int(look.Colours)))
		s.Selected, s.Followed = int32(rng.IntN(len(fixes)+3)-1), int32(rng.IntN(len(fixes)+3)-1)
		s.Filtering = rng.IntN(3) == 0
		s.Overlays = []*overlay.Overlay{{Labels: []overlay.Label{
			{Name: "Depot \x1b[2J", Pos: world.Project(geo.Deg(lat, lon))}, {Name: "Nord", Pos: world.Project(geo.Deg(lat+0.3, lon))},
		}}}
		c := &Chart{}
		for range 2 { // with and without slots to keep
			c.Draw(s)
			checkWords(t, c)
			s.View.Pan(1, 1)
		}
		written += len(c.words)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if written < 5000 {
		t.Errorf("only %d labels in all", written)
	}
}

// where tells the cell of a name, not ok if it is not shown.
func (c *Chart) where(name string) (x, y int, ok bool) {
	for _, w := range c.words {
		if w.name == name {
			return w.x, w.y, true
		}
	}
	return 0, 0, false
}

func named(i int, name string, lat, lon float64) client.Fix {
	return tuitest.Fix(idOf(i), name, epoch, lat, lon)
}

// Where there is not room for all names the more important ones get it.
func TestImportantNamesComeFirst(t *testing.T) {
	// Three devices in a map that is one row high and has room for one or two of them.
	fixes := []client.Fix{named(0, "aaaaaaaa", 48, 11), named(1, "bbbbbbbb", 48, 11.1), named(2, "cccccccc", 48, 11.2)}
	show := func(change func(*Scene)) string {
		s := sceneOf(t, 30, 1, fixes).look(48, 11.1, 7)
		s.Layers = Labels
		change(s)
		c := &Chart{}
		c.Draw(s)
		var got []string
		for _, w := range c.words {
			got = append(got, w.name[:1])
		}
		return strings.Join(got, "")
	}
	for want, change := range map[string]func(*Scene){
		"a": func(*Scene) {}, // like the others, and stored first
		"b": func(s *Scene) { s.Selected = 1 },
		"c": func(s *Scene) { s.Followed = 2 },
	} {
		if got := show(change); !strings.HasPrefix(got, want) {
			t.Errorf("%q is named, want %q first", got, want)
		}
	}
	fixes[2].Event = "sos"
	if got := show(func(*Scene) {}); !strings.HasPrefix(got, "c") {
		t.Errorf("%q is named, want the alert first", got)
	}
	if got := show(func(s *Scene) { s.Selected = 1 }); !strings.HasPrefix(got, "b") {
		t.Errorf("%q is named, want the selected one before the alert", got)
	}
}

// Whoever is watched is named however many badges are about, and none of those devices is
// lost from sight by it.
func TestWatchedNamesComeBeforeBadges(t *testing.T) {
	fixes := swarm(3, 3000, 48, 11, 60)
	for i := range fixes {
		fixes[i].Name = "crowd"
	}
	fixes[5].Name, fixes[6].Name, fixes[7].Name, fixes[7].Event = "the selected one", "the followed one", "the one in need", "sos"
	s := sceneOf(t, 60, 20, fixes).look(48, 11, 5)
	s.Layers &^= Cities
	c := &Chart{}
	c.Draw(s)
	before := c.badged()
	s.Selected, s.Followed = 5, 6
	c.Draw(s)
	for _, name := range []string{"the selected one", "the followed one", "the one in need"} {
		if _, _, ok := c.where(name); !ok {
			t.Errorf("%q is not there:\n%s", name, c.text())
		}
	}
	checkWords(t, c)
	if got := c.badged(); got < before*8/10 {
		t.Errorf("for three names the badges of %d devices of %d went:\n%s", before-got, before, c.text())
	}
}

// A city gives its place to a device that the filter means, and takes it from one that
// is there like all others.
func TestCitiesComeBetweenMatchesAndAllOthers(t *testing.T) {
	s := sceneOf(t, 60, 20, []client.Fix{named(0, "some van", 48.2, 11.4)}).look(48.14, 11.58, 6)
	for _, filtering := range []bool{false, true} {
		s.Filtering = filtering
		c := &Chart{}
		c.Draw(s)
		first := c.words[0].name
		if (first == "some van") != filtering {
			t.Errorf("filtering %v: the first label is %q", filtering, first)
		}
	}
}

// The slot of a label belongs to a device and not to an index, which another one gets.
func TestLabelsStayWhereTheyWere(t *testing.T) {
	a, b := named(0, "first", 48, 11), named(1, "second", 48, 11.07)
	s := sceneOf(t, 40, 9, []client.Fix{a, b}).look(48, 11, 7)
	s.Layers = Labels
	c := &Chart{}
	c.Draw(s)
	x0, y0, ok := c.where("first")
	if !ok {
		t.Fatalf("no label:\n%s", c.text())
	}
	// What stood in the way goes: the label stays nevertheless.
	s.Store.Left([]track.DeviceID{b.Device})
	s.Frame.Refresh(s.Store, nil)
	c.Draw(s)
	if x, y, ok := c.where("first"); !ok || x != x0 || y != y0 {
		t.Errorf("the label went from %d, %d to %d, %d", x0, y0, x, y)
	}
	// The next device of the same index starts on the right.
	s.Store.Left([]track.DeviceID{a.Device})
	s.Store.Apply([]client.Fix{named(8, "other", 48, 11), named(9, "third", 40, 11)})
	s.Frame.Refresh(s.Store, nil)
	c.Draw(s)
	cx, cy, _ := c.cellOf(s, s.Store.Find(idOf(8)))
	if x, y, ok := c.where("other"); !ok || x != cx+2 || y != cy {
		t.Errorf("beside %d, %d the label is at %d, %d", cx, cy, x, y)
	}
}

func TestAClickOnANameIsAClickOnItsDevice(t *testing.T) {
	s := sceneOf(t, 60, 12, []client.Fix{named(0, "a rather long name", 48, 11)}).look(48, 11, 7)
	c := &Chart{}
	c.Draw(s)
	x, y, ok := c.where("a rather long name")
	if !ok {
		t.Fatalf("no label:\n%s", c.text())
	}
	if hit := c.At(x+16, y); hit.Device != 0 {
		t.Errorf("%+v", hit)
	}
	if hit := c.At(x+16, y+4); hit.Device != fleet.Nobody {
		t.Errorf("far below: %+v", hit)
	}
	for _, at := range [][2]int{{-1, 0}, {0, -1}, {60, 0}, {0, 12}} {
		if hit := c.At(at[0], at[1]); hit.Device != fleet.Nobody {
			t.Errorf("outside, at %v: %+v", at, hit)
		}
	}
}

func TestOverlaysAreDrawnAndNamed(t *testing.T) {
	at := func(lat, lon float64) world.Pos { return world.Project(geo.Deg(lat, lon)) }
	box := []world.Pos{at(-1, 179), at(-1, -179), at(1, -179), at(1, 179), at(-1, 179)}
	o := &overlay.Overlay{
		Level: world.NewLevel([][]world.Pos{box, {at(-0.5, 178), at(-0.5, -178)}, {at(0, 180)}},
			[]world.Kind{world.Outline, world.Route, world.Place}, [][]world.Pos{box}),
		Labels: []overlay.Label{{Name: "Zone\x1b]0;x\x07 0", Pos: at(0.5, 180)}, {Name: "elsewhere", Pos: at(0.5, 90)}},
	}
	s := sceneOf(t, 40, 12, nil).look(0, 180, 5)
	s.Overlays = []*overlay.Overlay{o, {Name: "empty"}}
	s.Layers = Overlays
	c := &Chart{}
	c.Draw(s)
	count := map[canvas.Style]int{}
	for _, cell := range c.out.Cells {
		if cell.R != 0 || cell.Mask != 0 {
			count[cell.Fg]++
		}
	}
	if count[look.Zone] < 50 || count[look.Route] < 30 {
		t.Errorf("cells by style: %v\n%s", count, c.text())
	}
	got := c.text()
	if !strings.Contains(got, "+") || !strings.Contains(got, "Zone?]0;x? 0") || strings.Contains(got, "elsewhere") {
		t.Errorf("got\n%s", got)
	}
	checkWords(t, c)

	s.Layers = 0
	if c.Draw(s); strings.TrimSpace(c.text()) != "" {
		t.Errorf("without the layer:\n%s", c.text())
	}
	// Another set of overlays makes another base.
	s.Layers, s.Overlays = Overlays, s.Overlays[1:]
	if c.Draw(s); strings.TrimSpace(c.text()) != "" {
		t.Errorf("without the overlay:\n%s", c.text())
	}
}
