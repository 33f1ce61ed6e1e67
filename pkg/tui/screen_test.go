package tui

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/world"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got+"\n" != string(want) {
		t.Errorf("%s differs (go test ./pkg/tui -update writes it); got\n%s\nwant\n%s", file, got, want)
	}
}

// rig is a screen with a clock and a store to play with.
type rig struct {
	*screen
	t     *testing.T
	clock *fakeClock
}

func newRig(t *testing.T, w, h int, theme string) *rig {
	t.Helper()
	store, clock := clockedStore()
	o := Options{Server: "tracker.example.org:4810", Now: clock.now}
	store.SetLink(Live, "")
	r := &rig{newScreen(&o, store, themes[theme], canvas.Braille), t, clock}
	r.resize(w, h)
	return r
}

func (r *rig) load(fixes ...client.Fix) *rig {
	r.store.Snapshot(fixes, true, false)
	r.compose()
	return r
}

// press sends keys and composes a frame after each.
func (r *rig) press(keys ...string) *rig {
	for _, k := range keys {
		r.key(k)
		r.compose()
	}
	return r
}

func (r *rig) shows(want ...string) *rig {
	r.t.Helper()
	for _, w := range want {
		if !strings.Contains(r.frame, w) {
			r.t.Errorf("the frame does not show %q:\n%s", w, r.frame)
		}
	}
	return r
}

func (r *rig) hides(unwanted ...string) *rig {
	r.t.Helper()
	for _, w := range unwanted {
		if strings.Contains(r.frame, w) {
			r.t.Errorf("the frame shows %q:\n%s", w, r.frame)
		}
	}
	return r
}

func vans(n int) []client.Fix { return newFleet(n, 5, europe).step(time.Second, 1) }

// The goldens of the map alone: no devices, no frame. They were looked at.
func TestMapGoldens(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lat, lon float64
		zoom     float64
		w, h     int
	}{
		{"world", 0, 10, -1, 80, 40},
		{"world-pacific", 0, -170, -1, 80, 40},
		{"europe", 50, 10, 3, 100, 36},
		{"fiji", -17.5, 179.5, 4.5, 80, 24},
		{"bering", 64, -175, 2.6, 80, 24},
		{"antarctica", -75, 0, 0.8, 100, 24},
		{"arctic", 80, -30, 1.5, 100, 24},
		{"munich", 48.1, 11.6, 8, 80, 24},
	} {
		v := world.View{Centre: world.Project(geo.Deg(tt.lat, tt.lon)), Zoom: tt.zoom, W: 2 * tt.w, H: 4 * tt.h}
		v.Clamp()
		var p picture
		c := p.draw(&scene{view: v, theme: themes["plain"], borders: true, land: true, selected: nobody})
		golden(t, "map-"+tt.name, string(c.Encode(nil, themes["plain"], canvas.Braille)))

		// Land has to be where the coast says it is: the same picture as areas.
		var b strings.Builder
		for y := range c.H {
			for x := range c.W {
				if c.At(x, y).Bg == land {
					b.WriteByte('#')
				} else {
					b.WriteByte('.')
				}
			}
			b.WriteByte('\n')
		}
		golden(t, "land-"+tt.name, b.String())
	}
}

func TestScreenGoldens(t *testing.T) {
	for _, tt := range []struct {
		name    string
		w, h    int
		devices int
		keys    []string
		theme   string
	}{
		{"panes", 120, 40, 40, []string{"n", "n", "f"}, "plain"},
		{"panes-many", 120, 40, 5000, nil, "plain"},
		{"compact", 80, 24, 40, []string{"n"}, "plain"},
		{"compact-many", 80, 24, 1000, nil, "plain"},
		{"compact-list", 80, 24, 40, []string{"tab", "j", "j", "s"}, "plain"},
		{"list-only", 50, 12, 40, []string{"j"}, "plain"},
		{"help", 80, 30, 5, []string{"?"}, "plain"},
		{"system-colours", 80, 24, 40, []string{"n"}, "system"},
		{"dark-colours", 80, 24, 40, []string{"n"}, "dark"},
	} {
		r := newRig(t, tt.w, tt.h, tt.theme).load(vans(tt.devices)...).press(tt.keys...)
		golden(t, "screen-"+tt.name, r.frame)
		checkFrame(t, tt.name, r.screen)
	}
}

// checkFrame holds a frame against the size of the screen.
func checkFrame(t *testing.T, name string, s *screen) {
	t.Helper()
	plain := string(s.c.Encode(nil, themes["plain"], s.glyphs))
	lines := strings.Split(plain, "\n")
	if len(lines) != max(s.h, 1) {
		t.Errorf("%s: %d lines, want %d", name, len(lines), s.h)
	}
	for i, l := range lines {
		if w := canvas.Width(l); w > s.w || !utf8.ValidString(l) {
			t.Errorf("%s: line %d takes %d of %d columns: %q", name, i, w, s.w, l)
		}
	}
}

func TestAnySizeComposes(t *testing.T) {
	r := newRig(t, 80, 24, "system").load(vans(70)...)
	for _, size := range [][2]int{
		{0, 0}, {1, 1}, {2, 1}, {1, 50}, {5, 3}, {20, 5}, {59, 15}, {60, 15}, {59, 16}, {60, 16}, {99, 29}, {100, 29}, {99, 30}, {100, 30}, {500, 120}, {80, 24},
	} {
		r.resize(size[0], size[1])
		for _, keys := range [][]string{nil, {"n", "f"}, {"tab"}, {"?"}, {"x"}, {"esc"}, {"tab"}, {"t", "t", "t"}, {"j", "l", "+", "-", "0"}} {
			r.press(keys...)
			r.compose()
			checkFrame(t, "size", r.screen)
		}
	}
}

func TestLayoutsBySize(t *testing.T) {
	for _, tt := range []struct {
		w, h int
		want layoutKind
	}{
		{120, 40, panes}, {100, 30, panes}, {99, 30, compact}, {100, 29, compact}, {60, 16, compact}, {59, 16, listOnly}, {60, 15, listOnly},
	} {
		if got := layOut(tt.w, tt.h, onMap, false).kind; got != tt.want {
			t.Errorf("%dx%d: %d, want %d", tt.w, tt.h, got, tt.want)
		}
	}
}

func TestStartsWithEveryDeviceInView(t *testing.T) {
	r := newRig(t, 120, 40, "plain")
	r.compose()
	r.shows("waiting for the first fixes…", "● LIVE", "tracker.example.org:4810")
	r.load(fixOf(1, "suva", r.clock.at, -18.1, 178.4), fixOf(2, "apia", r.clock.at, -13.8, -171.8))
	r.shows("suva", "apia", "2 dev")
	if r.view.Zoom < 3 {
		t.Errorf("zoom %.1f: the view went the long way round", r.view.Zoom)
	}
	// A device that appears elsewhere is brought into view too, as long as nobody
	// touched the view.
	r.clock.advance(2 * time.Second)
	r.store.Apply([]client.Fix{fixOf(3, "lima", r.clock.at, -12, -77)})
	r.compose()
	r.shows("lima", "suva")
	r.press("+")
	r.clock.advance(2 * time.Second)
	zoom := r.view.Zoom
	r.store.Apply([]client.Fix{fixOf(4, "oslo", r.clock.at, 60, 10)})
	r.compose()
	if r.view.Zoom != zoom {
		t.Error("the view moved by itself after it was zoomed by hand")
	}
	r.press("0").shows("oslo")
}

func TestPanZoomAndResizeKeepTheCentre(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(10)...)
	r.press("+", "+")
	centre, zoom := r.view.Centre, r.view.Zoom
	r.resize(80, 24)
	r.compose()
	r.resize(120, 40)
	r.compose()
	if r.view.Centre != centre || r.view.Zoom != zoom {
		t.Errorf("after resizing: centre %v zoom %v, want %v and %v", r.view.Centre.Point(), r.view.Zoom, centre.Point(), zoom)
	}
	r.press("l", "j")
	dx := float64(int32(r.view.Centre.X-centre.X)) * r.view.Scale() / (1 << 32)
	dy := (float64(r.view.Centre.Y) - float64(centre.Y)) * r.view.Scale() / (1 << 32)
	if math.Abs(dx-float64(r.view.W)/8) > 1 || math.Abs(dy-float64(r.view.H)/8) > 1 {
		t.Errorf("panned %.1f, %.1f dots, want an eighth of %d, %d", dx, dy, r.view.W, r.view.H)
	}
	r.press("h", "k", "L", "H", "J", "K")
	if d := int32(r.view.Centre.X - centre.X); d > 4 || d < -4 {
		t.Errorf("panning there and back ends %d steps away", d)
	}
	r.press("-", "_", "=", "+")
	if r.view.Zoom != zoom {
		t.Errorf("zoom %v, want %v", r.view.Zoom, zoom)
	}
}

func TestFollowStaysOnTheDeviceUntilPanned(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(fixOf(1, "bus", r0, 48, 11), fixOf(2, "car", r0, 50, 14))
	r.press("f").shows("bus · following")
	for i := range 5 {
		r.clock.advance(time.Second)
		r.store.Apply([]client.Fix{fixOf(1, "bus", r.clock.at, 48+float64(i), 11)})
		r.compose()
		if got := r.view.Centre.Point(); geo.Distance(got, geo.Deg(48+float64(i), 11)) > 1 {
			t.Fatalf("centre %v", got)
		}
	}
	r.press("+").shows("following")
	r.press("l").hides("following")
	centre := r.view.Centre
	r.clock.advance(time.Second)
	r.store.Apply([]client.Fix{fixOf(1, "bus", r.clock.at, 20, 11)})
	r.compose()
	if r.view.Centre != centre {
		t.Error("the view moved after following ended")
	}
	r.press("f").shows("following").press("esc").hides("following").shows("bus").press("esc").hides("20.00000")
}

var r0 = epoch

func TestPauseFreezesThePictureNotTheFeed(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(fixOf(1, "bus", r0, 48, 11))
	r.press("n", "space").shows("PAUSED 0 new")
	r.clock.advance(time.Second)
	r.store.Apply([]client.Fix{fixOf(1, "bus", r.clock.at, 49, 12), fixOf(2, "new", r.clock.at, 1, 1)})
	r.compose()
	r.shows("PAUSED 2 new", "1 dev")
	r.press("space").shows("● LIVE", "2 dev", "49.00000,12.00000")
}

func TestListSortsAndSelects(t *testing.T) {
	mk := func(id track.DeviceID, name string, speed float64, bat int, age time.Duration) client.Fix {
		f := fixOf(id, name, r0.Add(-age), 48, 11)
		f.Has |= track.HasVel | track.HasBat
		f.Speed, f.Battery = speed, bat
		return f
	}
	r := newRig(t, 80, 24, "plain").load(
		mk(1, "dora", 0, 90, 0), mk(2, "anna", 20, 10, time.Second), mk(3, "carl", 10, 50, time.Hour), mk(4, "bert", 5, 70, 3*time.Minute))
	r.press("tab")
	for _, tt := range []struct {
		by   order
		want string
	}{
		{byState, "carl bert anna dora"}, {byName, "anna bert carl dora"}, {bySpeed, "anna carl bert dora"},
		{byAge, "dora anna bert carl"}, {byBattery, "anna carl bert dora"}, {byState, "carl bert anna dora"},
	} {
		if r.list.by != tt.by {
			t.Fatalf("sorted by %v, want %v", r.list.by, tt.by)
		}
		if got := rowNames(r); got != tt.want {
			t.Errorf("by %v: %s, want %s", tt.by, got, tt.want)
		}
		r.press("S")
		if got, want := rowNames(r), reversed(tt.want); got != want {
			t.Errorf("by %v reversed: %s, want %s", tt.by, got, want)
		}
		r.press("S", "s")
	}
	r.sortBy(byName, false)
	for _, step := range []struct{ key, want string }{
		{"j", "anna"}, {"j", "bert"}, {"G", "dora"}, {"j", "dora"}, {"k", "carl"}, {"g", "anna"}, {"k", "anna"}, {"n", "bert"}, {"N", "anna"}, {"J", "dora"},
	} {
		r.press(step.key)
		if got := r.store.nameOf(r.sel); got != step.want {
			t.Errorf("after %s: %s is selected, want %s", step.key, got, step.want)
		}
	}
	r.press("enter")
	if r.focus != onMap {
		t.Error("enter in the list does not lead back to the map")
	}
	r.shows("[", "dora")
}

func rowNames(r *rig) string {
	var names []string
	for _, i := range r.list.rows {
		_, name, _ := r.store.info(i)
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func reversed(s string) string {
	words := strings.Fields(s)
	for i, j := 0, len(words)-1; i < j; i, j = i+1, j-1 {
		words[i], words[j] = words[j], words[i]
	}
	return strings.Join(words, " ")
}

func TestSelectionSurvivesSortingAndGoesWithItsDevice(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(30)...)
	r.press("n", "n", "n")
	name := r.store.nameOf(r.sel)
	r.press("s", "s", "S").shows(name)
	r.store.Left([]track.DeviceID{r.sel})
	r.compose()
	r.shows("No device selected")
}

func TestMouse(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(fixOf(1, "bus", r0, 48, 11), fixOf(2, "car", r0, 52, 16))
	x, y := cellOf(r, 1)
	r.mouse(mousePress, x+1, y)
	r.mouse(mouseRelease, x+1, y)
	if r.sel != 1 {
		t.Errorf("a click selected %v, want the bus", r.sel)
	}
	centre, at := r.view.Centre, r.view.At(float64(2*(x-r.lay.m.x)), float64(4*(y-r.lay.m.y)))
	r.mouse(mousePress, x, y)
	r.mouse(mouseDrag, x+5, y+2)
	r.mouse(mouseRelease, x+5, y+2)
	if dx, dy := r.view.Dot(at); math.Abs(dx-float64(2*(x+5-r.lay.m.x))) > 0.1 || math.Abs(dy-float64(4*(y+2-r.lay.m.y))) > 0.1 || r.view.Centre == centre {
		t.Errorf("dragging did not carry the map along: %.1f, %.1f", dx, dy)
	}
	if r.sel != 1 {
		t.Error("dragging changed the selection")
	}
	zoom, under := r.view.Zoom, r.view.At(21, 22)
	r.mouse(mouseWheelUp, r.lay.m.x+10, r.lay.m.y+5)
	if dx, dy := r.view.Dot(under); r.view.Zoom != zoom+zoomStep || math.Abs(dx-21) > 0.1 || math.Abs(dy-22) > 0.1 {
		t.Errorf("the wheel: zoom %v, what was under the pointer is at %.1f,%.1f", r.view.Zoom, dx, dy)
	}
	r.mouse(mouseWheelDown, r.lay.m.x+10, r.lay.m.y+5)
	if r.view.Zoom != zoom {
		t.Errorf("zoom %v, want %v", r.view.Zoom, zoom)
	}
	// The second row of the list.
	r.mouse(mousePress, r.lay.list.x+5, r.lay.list.y+2)
	if r.store.nameOf(r.sel) != "car" || r.focus != onList {
		t.Errorf("a click on the list selected %q", r.store.nameOf(r.sel))
	}
	for _, at := range [][2]int{{-1, -1}, {500, 500}, {0, 0}, {r.lay.list.x, r.lay.list.y}} {
		for _, kind := range []mouseKind{mousePress, mouseDrag, mouseRelease, mouseWheelUp, mouseWheelDown} {
			r.mouse(kind, at[0], at[1])
		}
	}
	r.compose()
}

// cellOf is where a device shows, in cells of the screen.
func cellOf(r *rig, id track.DeviceID) (x, y int) {
	fx, fy := r.view.Dot(r.points[r.store.find(id)].pos)
	return r.lay.m.x + int(fx)/2, r.lay.m.y + int(fy)/4
}

func TestHelpCoversEverythingAndAnyKeyClosesIt(t *testing.T) {
	r := newRig(t, 100, 40, "plain").load(vans(3)...)
	r.press("?").shows("Keys", "follow the selected device", "quit", "Mouse: drag pans")
	zoom := r.view.Zoom
	r.press("+").hides("Keys")
	if r.view.Zoom != zoom {
		t.Error("the key that closed the help zoomed as well")
	}
	r.press("?", "q")
	if !r.quit {
		t.Error("q in the help does not quit")
	}
}

func TestEveryKeyIsBoundOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range bindings {
		if b.do == nil {
			t.Errorf("%v does nothing", b.keys)
		}
		for _, k := range b.keys {
			if seen[k] {
				t.Errorf("key %q is bound twice", k)
			}
			seen[k] = true
		}
	}
	newRig(t, 80, 24, "plain").press("unknown", "")
}

func TestWorstStateColoursTheCell(t *testing.T) {
	fixes := make([]client.Fix, 0, 300)
	for i := range 300 { // all in one cell, in this and in reverse order
		f := fixOf(track.DeviceID(i+1), "x", r0, 48+float64(i)*1e-6, 11)
		if i == 100 {
			f.Event = "sos"
		}
		fixes = append(fixes, f)
	}
	for range 2 {
		r := newRig(t, 80, 24, "plain").load(fixes...)
		r.view.Zoom = 3
		r.fitting = false
		r.compose()
		r.shows("●300", "1!", "299◆")
		x, y := cellOf(r, 1)
		if got := r.c.At(x, y).Fg; got != alert {
			t.Errorf("the cell has style %d, want alert", got)
		}
		for i, j := 0, len(fixes)-1; i < j; i, j = i+1, j-1 {
			fixes[i], fixes[j] = fixes[j], fixes[i]
		}
	}
}

// Badges keep to the grid of the world: panning by whole blocks moves them with the
// map and changes nothing else.
func TestBadgesDoNotShimmerWhilePanning(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(3000)...)
	r.fitting = false
	counts := func() map[blockKey]uint32 {
		m := map[blockKey]uint32{}
		for k, b := range r.pic.blocks {
			m[k] = b.count
		}
		return m
	}
	r.compose()
	before := counts()
	for range 4 {
		r.view.Pan(2, 0)
		r.compose()
	}
	same, edge := 0, 0
	for k, n := range counts() {
		if before[k] == n {
			same++
		} else {
			edge++
		}
	}
	if same < 10*edge {
		t.Errorf("%d blocks kept their count, %d did not", same, edge)
	}
}

func TestLabelsDoNotOverlap(t *testing.T) {
	var fixes []client.Fix
	for i := range 12 { // closer together than their names are long
		fixes = append(fixes, fixOf(track.DeviceID(i+1), "vehicle-"+string(rune('a'+i)), r0, 48+float64(i%4)*0.2, 11+float64(i/4)*0.3))
	}
	r := newRig(t, 80, 24, "plain").load(fixes...)
	r.view.Zoom, r.fitting = 5, false
	r.press("n")
	whole := 0
	for i := range 12 {
		whole += strings.Count(r.frame, "vehicle-"+string(rune('a'+i)))
	}
	if cut := strings.Count(r.frame, "vehicle"); cut > whole {
		t.Errorf("%d of %d labels are covered by others:\n%s", cut-whole, cut, r.frame)
	}
	r.shows("[", "vehicle-a")
}

func TestTrailsOfSelectedAndAll(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(fixOf(1, "bus", r0, 48, 11), fixOf(2, "car", r0, 50, 14))
	for i := range 30 {
		r.clock.advance(time.Second)
		r.store.Apply([]client.Fix{
			fixOf(1, "bus", r.clock.at, 48, 11+float64(i)*0.05), fixOf(2, "car", r.clock.at, 50, 14+float64(i)*0.05)})
	}
	trails := func() int {
		r.compose()
		n := 0
		for _, c := range r.pic.c.Cells {
			if c.Prio >= onTrail && c.Prio <= onTrail+2 && c.Mask != 0 {
				n++
			}
		}
		return n
	}
	if n := trails(); n != 0 {
		t.Errorf("%d cells of trails without a selection", n)
	}
	r.press("n")
	one := trails()
	r.press("t")
	all := trails()
	r.press("t")
	if none := trails(); one == 0 || all <= one || none != 0 {
		t.Errorf("cells of trails: selected %d, all %d, off %d", one, all, none)
	}
}

func TestTrailOverTheDateLineIsShort(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(fixOf(1, "ship", r0, 0, 179))
	for i := range 20 {
		r.clock.advance(time.Second)
		r.store.Apply([]client.Fix{fixOf(1, "ship", r.clock.at, 0, geo.WrapLon(179+float64(i)*0.1))})
	}
	r.press("n")
	for _, centre := range []float64{180, 0, 90} {
		r.view = world.View{Centre: world.Project(geo.Deg(0, centre)), Zoom: -5, W: r.view.W, H: r.view.H}
		r.view.Clamp()
		r.fitting = false
		r.compose()
		n := 0
		for _, c := range r.pic.c.Cells {
			if c.Prio >= onTrail && c.Prio <= onTrail+2 && c.Mask != 0 {
				n++
			}
		}
		if n > 6 {
			t.Errorf("centre %v: two degrees of trail take %d cells", centre, n)
		}
	}
}

func TestHostileNamesDoNotReachTheTerminal(t *testing.T) {
	r := newRig(t, 120, 40, "system").load(
		fixOf(1, "\x1b[2J\x1b]0;owned\x07", r0, 48, 11), fixOf(2, "\u202eevil\u202c\u200d", r0, 50, 12),
		fixOf(3, "שלום 123", r0, 51, 13), fixOf(4, "🚚🇩🇪👨‍👩‍👧 lorry", r0, 52, 14), fixOf(5, "e\u0301\u0301\u0301\u0301zalgo", r0, 53, 15))
	r.store.SetLink(Reconnecting, "dial\x1b[31m\n\x9b2J")
	f := fixOf(6, "x", r0, 47, 10)
	f.Event = "\x1b[5m"
	r.store.Apply([]client.Fix{f})
	r.press("n", "n", "n", "n", "n", "n", "?")
	if strings.ContainsAny(strings.ReplaceAll(r.frame, "\x1b[", ""), "\x1b\x07\r\u009b\u202e\u200d") {
		t.Errorf("a control character got through:\n%q", r.frame)
	}
	for _, seq := range []string{"\x1b[2J", "\x1b[5m\n", "\x1b]"} {
		if strings.Contains(r.frame, seq) {
			t.Errorf("%q got through", seq)
		}
	}
	checkFrame(t, "hostile", r.screen)
	r.press("x").shows("🚚", "lorry", "שלום")
}

func TestStatusLineSaysHowTheFeedIs(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(3)...)
	r.shows("● LIVE tracker.example.org:4810", "3 dev")
	r.store.SetLink(Reconnecting, "connection reset by peer")
	r.clock.advance(7 * time.Second)
	r.compose()
	r.shows("○ RECONNECTING 7s", "connection reset by peer")
	r.store.SetLink(Ended, "the feed is complete")
	r.compose()
	r.shows("○ ENDED the feed is complete")
	r.store.SetLink(Live, "")
	r.store.Skipped(1234)
	for range 120 {
		r.store.Apply([]client.Fix{fixOf(1, "a", r.clock.at.Add(-5*time.Second-time.Millisecond), 1, 1)})
	}
	r.compose()
	r.shows("● LAG", "lag 5s", "1,234 skipped")
	r.clock.advance(5 * time.Second)
	r.compose()
	r.shows("24 fix/s")
}

func TestFramesAreOnlyMadeWhenSomethingChanged(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(vans(3)...)
	if r.stir() {
		t.Error("a new frame right after a frame")
	}
	r.clock.advance(time.Second)
	if !r.stir() {
		t.Error("no new frame when the clock went on")
	}
	r.compose()
	r.store.Apply(vans(1))
	if !r.stir() {
		t.Error("no new frame after fixes")
	}
	r.compose()
	r.key("+")
	if !r.stir() {
		t.Error("no new frame after a key")
	}
	r.press("space")
	r.store.Apply(vans(1))
	if r.stir() {
		t.Error("a paused picture is drawn again for fixes")
	}
}

func TestGridHelpsWhereThereIsNoCoast(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(fixOf(1, "bus", r0, 48.1234, 11.5))
	r.press("z").shows("°E", "°N", "coasts are true to 400 m")
	if got := gridStep(256 * 512 / 360.0); math.Abs(got-0.2) > 1e-9 {
		t.Errorf("step %v at zoom 9", got)
	}
	if got := degrees(-11.25, 0.05, 'E', 'W'); got != "11.25°W" {
		t.Errorf("got %q", got)
	}
}

func TestScaleBar(t *testing.T) {
	for _, tt := range []struct {
		perDot geo.Meters
		cells  int
		label  string
	}{
		{19_600, 12, "500 km"}, {611, 16, "20 km"}, {0.6, 16, "20 m"}, {150_000, 16, "5000 km"},
	} {
		if cells, label := scaleBar(tt.perDot, 20); cells != tt.cells || label != tt.label {
			t.Errorf("%v m a dot: %d cells %s, want %d %s", float64(tt.perDot), cells, label, tt.cells, tt.label)
		}
	}
}
