package tui

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

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
		tuitest.Golden(t, "screen-"+tt.name, r.see.Frame)
		checkFrame(t, tt.name, r.screen)
	}
}

var plainTheme = theme("plain")

// checkFrame holds a frame against the size of the screen.
func checkFrame(t *testing.T, name string, s *screen) {
	t.Helper()
	plain := string(s.c.Encode(nil, plainTheme, s.glyphs))
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
		r.Resize(size[0], size[1])
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
		if got := layOut(tt.w, tt.h, shown{most: panes, events: true, details: true}).kind; got != tt.want {
			t.Errorf("%dx%d: %d, want %d", tt.w, tt.h, got, tt.want)
		}
	}
}

func TestStartsWithEveryDeviceInView(t *testing.T) {
	r := newRig(t, 120, 40, "plain")
	r.compose()
	r.shows("waiting for the first fixes…", "● LIVE", "tracker.example.org:4810")
	r.load(fixOf(1, "suva", r.clock.At, -18.1, 178.4), fixOf(2, "apia", r.clock.At, -13.8, -171.8))
	r.shows("suva", "apia", "2 dev")
	if r.view.Zoom < 3 {
		t.Errorf("zoom %.1f: the view went the long way round", r.view.Zoom)
	}
	// A device that appears elsewhere is brought into view too, as long as nobody
	// touched the view.
	r.clock.Advance(2 * time.Second)
	r.store.Apply([]client.Fix{fixOf(3, "lima", r.clock.At, -12, -77)})
	r.compose()
	r.shows("lima", "suva")
	r.press("+")
	r.clock.Advance(2 * time.Second)
	zoom := r.view.Zoom
	r.store.Apply([]client.Fix{fixOf(4, "oslo", r.clock.At, 60, 10)})
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
	r.Resize(80, 24)
	r.compose()
	r.Resize(120, 40)
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
		r.clock.Advance(time.Second)
		r.store.Apply([]client.Fix{fixOf(1, "bus", r.clock.At, 48+float64(i), 11)})
		r.compose()
		if got := r.view.Centre.Point(); geo.Distance(got, geo.Deg(48+float64(i), 11)) > 1 {
			t.Fatalf("centre %v", got)
		}
	}
	r.press("+").shows("following")
	r.press("l").hides("following")
	centre := r.view.Centre
	r.clock.Advance(time.Second)
	r.store.Apply([]client.Fix{fixOf(1, "bus", r.clock.At, 20, 11)})
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
	r.clock.Advance(time.Second)
	r.live.Apply([]client.Fix{fixOf(1, "bus", r.clock.At, 49, 12), fixOf(2, "new", r.clock.At, 1, 1)})
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
		by   fleet.Column
		want string
	}{
		{fleet.ByState, "carl bert anna dora"}, {fleet.ByName, "anna bert carl dora"}, {fleet.BySpeed, "anna carl bert dora"},
		{fleet.ByAge, "dora anna bert carl"}, {fleet.ByBattery, "anna carl bert dora"}, {fleet.ByState, "carl bert anna dora"},
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
	r.sortBy(fleet.ByName, false)
	for _, step := range []struct{ key, want string }{
		{"j", "anna"}, {"j", "bert"}, {"G", "dora"}, {"j", "dora"}, {"k", "carl"}, {"home", "anna"}, {"k", "anna"}, {"n", "bert"}, {"N", "anna"}, {"J", "dora"},
	} {
		r.press(step.key)
		if got := r.store.Name(r.store.Find(r.sel)); got != step.want {
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
	for _, i := range r.rows() {
		_, name, _ := r.store.Info(i)
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
	name := r.store.Name(r.store.Find(r.sel))
	r.press("s", "s", "S").shows(name)
	r.store.Left([]track.DeviceID{r.sel})
	r.compose()
	r.shows("No device selected")
}

func TestHelpCoversEverythingAndAnyKeyClosesIt(t *testing.T) {
	r := newRig(t, 100, 40, "plain").load(vans(3)...)
	r.press("?").shows("Keys", "follow the selected device", "quit", "drag ", "pan the map")
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

func TestEveryActionHasAKeyOfItsOwn(t *testing.T) {
	r := newRig(t, 80, 24, "plain")
	for _, a := range actions() {
		if a.do == nil || len(r.keys.Keys(a.Name)) == 0 {
			t.Errorf("%s does nothing, or nothing does it", a.Name)
		}
	}
	r.press("unknown", "")
	if r.quit || r.help {
		t.Error("a key that is not bound does something")
	}
}

func TestKeysCanBeBoundAnew(t *testing.T) {
	keys, err := (&conf.Config{Keys: map[string][]string{"help": {"f1"}, "quit": {"X"}}}).Keymap(Actions())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Keys: keys}
	s, err := newScreen(&o, o.store(), face{theme: plainTheme, profile: look.TrueColour, glyphs: canvas.Braille})
	if err != nil {
		t.Fatal(err)
	}
	s.key("q")
	s.key("?")
	if s.quit || s.help {
		t.Error("the default keys still do what they did")
	}
	s.key("f1")
	s.Resize(80, 45)
	if frame := string(s.Draw(epoch).Encode(nil, plainTheme, canvas.Braille)); !strings.Contains(frame, "this help") || !strings.Contains(frame, "X quit") {
		t.Errorf("help and hints do not name the keys:\n%s", frame)
	}
	s.key("X")
	if !s.Wants().Quit {
		t.Error("x does not quit")
	}
}

func TestOneShotWishesAreSaidOnce(t *testing.T) {
	r := newRig(t, 80, 24, "plain")
	r.press("ctrl+l", "ctrl+z")
	if w := r.Wants(); !w.Redraw || !w.Suspend || !w.Mouse || w.Quit {
		t.Errorf("%+v", w)
	}
	if w := r.Wants(); w.Redraw || w.Suspend {
		t.Errorf("asked again: %+v", w)
	}
	r.Handle(tty.Event{Kind: tty.Resumed})
	if !r.Wants().Redraw {
		t.Error("back from the shell nothing is drawn again")
	}
	r.press("m")
	if r.Wants().Mouse {
		t.Error("m does not give the mouse back")
	}
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
		if got := r.c.At(x, y).Fg; got != look.Alert {
			t.Errorf("the cell has style %d, want alert", got)
		}
		for i, j := 0, len(fixes)-1; i < j; i, j = i+1, j-1 {
			fixes[i], fixes[j] = fixes[j], fixes[i]
		}
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
		whole += strings.Count(r.see.Frame, "vehicle-"+string(rune('a'+i)))
	}
	if cut := strings.Count(r.see.Frame, "vehicle"); cut > whole {
		t.Errorf("%d of %d labels are covered by others:\n%s", cut-whole, cut, r.see.Frame)
	}
	r.shows("[", "vehicle-a")
}

func TestTrailsOfSelectedAndAll(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(fixOf(1, "bus", r0, 48, 11), fixOf(2, "car", r0, 50, 14))
	for i := range 30 {
		r.clock.Advance(time.Second)
		r.store.Apply([]client.Fix{
			fixOf(1, "bus", r.clock.At, 48, 11+float64(i)*0.05), fixOf(2, "car", r.clock.At, 50, 14+float64(i)*0.05)})
	}
	trails := func() int {
		r.compose()
		n := 0
		for _, c := range r.c.Cells {
			if c.Prio >= look.OnTrail && c.Prio <= look.OnTrail+2 && c.Mask != 0 {
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
		r.clock.Advance(time.Second)
		r.store.Apply([]client.Fix{fixOf(1, "ship", r.clock.At, 0, geo.WrapLon(179+float64(i)*0.1))})
	}
	r.press("n")
	for _, centre := range []float64{180, 0, 90} {
		r.view = world.View{Centre: world.Project(geo.Deg(0, centre)), Zoom: -5, W: r.view.W, H: r.view.H}
		r.view.Clamp()
		r.fitting = false
		r.compose()
		n := 0
		for _, c := range r.c.Cells {
			if c.Prio >= look.OnTrail && c.Prio <= look.OnTrail+2 && c.Mask != 0 {
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
	r.store.SetLink(fleet.Reconnecting, "dial\x1b[31m\n\x9b2J")
	f := fixOf(6, "x", r0, 47, 10)
	f.Event = "\x1b[5m"
	r.store.Apply([]client.Fix{f})
	r.press("n", "n", "n", "n", "n", "n", "?")
	if strings.ContainsAny(strings.ReplaceAll(r.see.Frame, "\x1b[", ""), "\x1b\x07\r\u009b\u202e\u200d") {
		t.Errorf("a control character got through:\n%q", r.see.Frame)
	}
	for _, seq := range []string{"\x1b[2J", "\x1b[5m\n", "\x1b]"} {
		if strings.Contains(r.see.Frame, seq) {
			t.Errorf("%q got through", seq)
		}
	}
	checkFrame(t, "hostile", r.screen)
	r.press("x").shows("🚚", "lorry", "שלום")
}

func TestStatusLineSaysHowTheFeedIs(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(3)...)
	r.shows("● LIVE tracker.example.org:4810", "3 dev")
	r.store.SetLink(fleet.Reconnecting, "connection reset by peer")
	r.clock.Advance(7 * time.Second)
	r.compose()
	r.shows("○ RECONNECTING 7s", "connection reset by peer")
	r.store.SetLink(fleet.Ended, "the feed is complete")
	r.compose()
	r.shows("○ ENDED the feed is complete")
	r.store.SetLink(fleet.Live, "")
	r.store.Skipped(1234)
	for range 120 {
		r.store.Apply([]client.Fix{fixOf(1, "a", r.clock.At.Add(-5*time.Second-time.Millisecond), 1, 1)})
	}
	r.compose()
	r.shows("● LAG", "lag 5s", "1,234 skipped")
	r.clock.Advance(5 * time.Second)
	r.compose()
	r.shows("24 fix/s")
}

func TestFramesAreOnlyMadeWhenSomethingChanged(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(vans(3)...)
	if r.Due(r.clock.At) {
		t.Error("a new frame right after a frame")
	}
	r.clock.Advance(time.Second)
	if !r.Due(r.clock.At) {
		t.Error("no new frame when the clock went on")
	}
	r.compose()
	r.store.Apply(vans(1))
	if !r.Due(r.clock.At) {
		t.Error("no new frame after fixes")
	}
	r.compose()
	r.key("+")
	if !r.Due(r.clock.At) {
		t.Error("no new frame after a key")
	}
	r.press("space")
	r.live.Apply(vans(1))
	if r.Due(r.clock.At) {
		t.Error("a paused picture is drawn again for fixes")
	}
}

func TestGridHelpsWhereThereIsNoCoast(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(fixOf(1, "bus", r0, 48.1234, 11.5))
	r.press("z").shows("°E", "°N", "base map detail ends at z 9")
}
