package tui

import (
	"math"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tty"
)

// click presses the left button at a cell and lets it go.
func (r *rig) click(x, y int) *rig {
	r.Handle(tty.Event{Kind: tty.Click, Button: tty.Left, X: x, Y: y})
	r.Handle(tty.Event{Kind: tty.Release, Button: tty.Left, X: x, Y: y})
	r.compose()
	return r
}

func (r *rig) turn(x, y int, b tty.Button) *rig {
	r.Handle(tty.Event{Kind: tty.Wheel, Button: b, X: x, Y: y})
	r.compose()
	return r
}

// find is the cell where a text stands on the screen.
func (r *rig) find(text string) (x, y int) {
	r.see.T.Helper()
	for y, line := range strings.Split(r.see.Frame, "\n") {
		if before, _, ok := strings.Cut(line, text); ok {
			return len([]rune(before)), y
		}
	}
	r.see.T.Fatalf("%q is nowhere:\n%s", text, r.see.Frame)
	return 0, 0
}

func TestMouse(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(fixOf(1, "bus", r0, 48, 11), fixOf(2, "car", r0, 52, 16))
	x, y := cellOf(r, 1)
	r.Handle(tty.Event{Kind: tty.Click, Button: tty.Left, X: x + 1, Y: y})
	r.Handle(tty.Event{Kind: tty.Release, Button: tty.Left, X: x + 1, Y: y})
	if r.sel != 1 {
		t.Errorf("a click selected %v, want the bus", r.sel)
	}
	centre, at := r.view.Centre, r.view.At(float64(2*(x-r.lay.m.x)), float64(4*(y-r.lay.m.y)))
	r.Handle(tty.Event{Kind: tty.Click, Button: tty.Left, X: x, Y: y})
	r.Handle(tty.Event{Kind: tty.Drag, Button: tty.Left, X: x + 5, Y: y + 2})
	r.Handle(tty.Event{Kind: tty.Release, Button: tty.Left, X: x + 5, Y: y + 2})
	if dx, dy := r.view.Dot(at); math.Abs(dx-float64(2*(x+5-r.lay.m.x))) > 0.1 || math.Abs(dy-float64(4*(y+2-r.lay.m.y))) > 0.1 || r.view.Centre == centre {
		t.Errorf("dragging did not carry the map along: %.1f, %.1f", dx, dy)
	}
	if r.sel != 1 {
		t.Error("dragging changed the selection")
	}
	zoom, under := r.view.Zoom, r.view.At(21, 22)
	r.Handle(tty.Event{Kind: tty.Wheel, Button: tty.WheelUp, X: r.lay.m.x + 10, Y: r.lay.m.y + 5})
	if dx, dy := r.view.Dot(under); r.view.Zoom != zoom+zoomStep || math.Abs(dx-21) > 0.1 || math.Abs(dy-22) > 0.1 {
		t.Errorf("the wheel: zoom %v, what was under the pointer is at %.1f,%.1f", r.view.Zoom, dx, dy)
	}
	r.Handle(tty.Event{Kind: tty.Wheel, Button: tty.WheelDown, X: r.lay.m.x + 10, Y: r.lay.m.y + 5})
	if r.view.Zoom != zoom {
		t.Errorf("zoom %v, want %v", r.view.Zoom, zoom)
	}
	// The second row of the list.
	r.Handle(tty.Event{Kind: tty.Click, Button: tty.Left, X: r.lay.list.x + 5, Y: r.lay.list.y + 2})
	if r.store.Name(r.store.Find(r.sel)) != "car" || r.focus != onList {
		t.Errorf("a click on the list selected %q", r.store.Name(r.store.Find(r.sel)))
	}
	for _, at := range [][2]int{{-1, -1}, {500, 500}, {0, 0}, {r.lay.list.x, r.lay.list.y}} {
		for _, e := range []tty.Event{{Kind: tty.Click, Button: tty.Left}, {Kind: tty.Drag}, {Kind: tty.Release}, {Kind: tty.Wheel, Button: tty.WheelUp}, {Kind: tty.Wheel, Button: tty.WheelDown}} {
			e.X, e.Y = at[0], at[1]
			r.Handle(e)
		}
	}
	r.compose()
}

// cellOf is where a device shows, in cells of the screen.
func cellOf(r *rig, id track.DeviceID) (x, y int) {
	v := r.view
	v.Snap() // as the chart does
	m := v.Mapper()
	dx, dy := m.Cell(r.frame.Points[r.store.Find(id)].Pos)
	return r.lay.m.x + int(dx)/2, r.lay.m.y + int(dy)/4
}

func TestAClickOnAHeadSortsByItsColumn(t *testing.T) {
	for _, size := range [][2]int{{120, 40}, {80, 24}, {50, 12}} {
		r := newRig(t, size[0], size[1], "plain").load(vans(30)...)
		for r.lay.list.empty() {
			r.hit("tab")
		}
		for head, want := range map[string]fleet.Column{
			"name ": fleet.ByName, "km/h": fleet.BySpeed, " age": fleet.ByAge, "batt": fleet.ByBattery, "s name": fleet.ByState,
		} {
			y := r.lay.list.y
			line := strings.Split(r.see.Frame, "\n")[y]
			x := len([]rune(line[:strings.LastIndex(line, head)]))
			r.sortBy((want+1)%fleet.Columns, true)
			r.click(x+1-min(len(head)%2, 1), y)
			if r.list.by != want || r.list.reverse {
				t.Errorf("%v: a click on %q sorts %s", size, head, r.list.sorted())
			}
			r.click(x, y)
			if r.list.by != want || !r.list.reverse {
				t.Errorf("%v: another click on %q sorts %s", size, head, r.list.sorted())
			}
		}
		r.sortBy(fleet.ByName, false)
		r.compose()
		arrow := r.lay.list.x + r.lay.list.w - 11
		if r.click(arrow, r.lay.list.y); r.list.by != fleet.ByName {
			t.Errorf("a click on the head of nothing sorts %s", r.list.sorted())
		}
	}
}

func TestClicksOnEvents(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(9)...)
	r.clock.Advance(time.Minute)
	for i := range 3 {
		f := fixOf(track.DeviceID(1001+i), "van-000"+string(rune('1'+i)), r.clock.At, 40+float64(i), 11)
		f.Event = "sos"
		r.live.Apply([]client.Fix{f})
	}
	r.compose()
	for tab, name := range []string{"1:all", "2:alerts", "3:devices", "4:link"} {
		x, y := r.find(name)
		if r.click(x+1, y); r.events.tab != eventTab(tab) || r.focus != onEvents {
			t.Errorf("a click on %s shows %v", name, r.events.tab)
		}
	}
	x, y := r.find("1:all")
	r.click(x, y)
	_, y = r.find("van-0002  reports")
	if r.click(30, y); r.sel != 0 {
		t.Error("the first click on an event goes somewhere")
	}
	if e, _ := r.events.selected(); e.Device != 1002 {
		t.Errorf("the event of %v is selected", e.Device)
	}
	if r.click(30, y); r.sel != 1002 || !r.centredOn(41, 11) {
		t.Errorf("the second click goes to %v", r.sel)
	}
	r.click(30, r.lay.eventBox.y+r.lay.eventBox.h-2) // below the last one
	if e, _ := r.events.selected(); e.Device != 1002 {
		t.Error("a click beside all events selects one")
	}
	// A newer one comes above what is selected.
	f := fixOf(1005, "van-0005", r.clock.At, 47, 11)
	f.Event = "tamper"
	r.live.Apply([]client.Fix{f})
	r.compose()
	if e, _ := r.events.selected(); e.Device != 1002 {
		t.Errorf("after a newer event that of %v is selected", e.Device)
	}
	r.hit("a").shows("seen: sos van-0002")

	r.Resize(80, 24)
	r.compose()
	r.hit("esc")
	r.click(20, r.lay.event)
	if r.focus != onEvents || r.lay.eventBox.empty() {
		t.Error("a click on the line of the latest event does not list them")
	}
	r.hit("esc").click(20, r.lay.detail).shows("╭─ van-0002", "id ")
}

func TestTheWheelScrollsWhatItIsOver(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(200)...)
	r.clock.Advance(time.Minute)
	for i := range 30 { // one a second, or they are told in one line
		r.clock.Advance(2 * time.Second)
		f := fixOf(track.DeviceID(1001+i), "van", r.clock.At, 40, 11)
		f.Event = "sos"
		r.live.Apply([]client.Fix{f})
	}
	r.compose()
	centre, zoom := r.view.Centre, r.view.Zoom
	r.turn(r.lay.list.x+3, r.lay.list.y+3, tty.WheelDown)
	if r.list.top != 3 {
		t.Errorf("the list is at %d", r.list.top)
	}
	r.turn(5, r.lay.eventBox.y+2, tty.WheelDown)
	if r.events.top != 3 || r.events.at != 0 {
		t.Errorf("the events are at %d, %d is selected", r.events.top, r.events.at)
	}
	for range 99 {
		r.turn(r.lay.list.x+3, r.lay.list.y+3, tty.WheelDown).turn(5, r.lay.eventBox.y+2, tty.WheelDown)
	}
	if r.list.top != 200-r.lay.list.h+1 || r.events.top != len(r.events.list)-r.lay.eventBox.inner().h {
		t.Errorf("at the end the list is at %d, the events at %d", r.list.top, r.events.top)
	}
	for range 99 {
		r.turn(r.lay.list.x+3, r.lay.list.y+3, tty.WheelUp).turn(5, r.lay.eventBox.y+2, tty.WheelUp)
	}
	if r.list.top != 0 || r.events.top != 0 {
		t.Errorf("back at the top the list is at %d, the events at %d", r.list.top, r.events.top)
	}
	if r.view.Centre != centre || r.view.Zoom != zoom {
		t.Error("the map moved")
	}
	r.Resize(80, 24)
	r.hit("?")
	zoom = r.view.Zoom
	r.turn(40, 12, tty.WheelDown)
	if r.helpTop != 3 || !r.help || r.view.Zoom != zoom {
		t.Errorf("the help is at %d", r.helpTop)
	}
	r.turn(40, 12, tty.WheelUp).turn(40, 12, tty.WheelUp)
	if r.helpTop != 0 {
		t.Errorf("the help is at %d", r.helpTop)
	}
}

func TestTheHelpIsClosedBesideIt(t *testing.T) {
	r := newRig(t, 120, 50, "plain").load(vans(3)...)
	r.hit("?").click(60, 25)
	if !r.help || r.sel != 0 {
		t.Error("a click on the help closes it, or goes through it")
	}
	if r.click(2, 25); r.help || r.focus != onMap {
		t.Error("a click beside the help does not close it")
	}
	r.Resize(60, 16)
	if r.hit("?").click(30, 8); r.help {
		t.Error("where nothing is beside the help a click does not close it")
	}
}

func TestOtherButtonsDoNothing(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(30)...)
	before, view := r.see.Frame, r.view
	x, y := cellOf(r, 1001)
	for _, b := range []tty.Button{tty.Right, tty.Middle} {
		for _, at := range [][2]int{{x, y}, {r.lay.list.x + 5, r.lay.list.y}, {r.lay.list.x + 5, r.lay.list.y + 4}, {20, r.lay.eventBox.y}} {
			for _, k := range []tty.Kind{tty.Click, tty.Drag, tty.Release} {
				r.Handle(tty.Event{Kind: k, Button: b, X: at[0] + int(k), Y: at[1]})
			}
			r.compose()
			if r.see.Frame != before || r.view != view || r.sel != 0 || r.focus != onMap {
				t.Fatalf("button %d at %v does something:\n%s", b, at, r.see.Frame)
			}
		}
	}
	// Nor do they take part in what the left one began.
	r.Handle(tty.Event{Kind: tty.Click, Button: tty.Left, X: 20, Y: 10})
	r.Handle(tty.Event{Kind: tty.Drag, Button: tty.Right, X: 40, Y: 20})
	if r.view != view {
		t.Error("the right button drags the map")
	}
}

func TestADragGoesOnBesideTheMap(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(30)...)
	r.look(48, 11, 6)
	under := r.view.At(float64(2*(20-r.lay.m.x)), float64(4*(10-r.lay.m.y)))
	r.Handle(tty.Event{Kind: tty.Click, Button: tty.Left, X: 20, Y: 10})
	for _, to := range [][2]int{{60, 20}, {118, 39}, {-3, -2}, {118, 25}} { // over the list, the events and off the screen
		r.Handle(tty.Event{Kind: tty.Drag, Button: tty.Left, X: to[0], Y: to[1]})
		if x, y := r.view.Dot(under); math.Round(x) != float64(2*(to[0]-r.lay.m.x)) || math.Round(y) != float64(4*(to[1]-r.lay.m.y)) {
			t.Errorf("dragged to %v, but it is at %.1f,%.1f", to, x, y)
		}
	}
	r.Handle(tty.Event{Kind: tty.Release, Button: tty.Left, X: 118, Y: 25})
	if r.sel != 0 || r.focus != onMap {
		t.Error("where a drag ends something is selected")
	}
	view := r.view
	r.Handle(tty.Event{Kind: tty.Drag, Button: tty.Left, X: 30, Y: 12})
	// What begins elsewhere does not drag the map.
	r.Handle(tty.Event{Kind: tty.Click, Button: tty.Left, X: 20, Y: r.lay.eventBox.y + 2})
	r.Handle(tty.Event{Kind: tty.Drag, Button: tty.Left, X: 30, Y: 12})
	r.Handle(tty.Event{Kind: tty.Release, Button: tty.Left, X: 30, Y: 12})
	if r.view != view {
		t.Error("the map moved without being dragged")
	}
	// Nor does what a help came between.
	r.Handle(tty.Event{Kind: tty.Click, Button: tty.Left, X: 20, Y: 10})
	r.hit("?")
	r.Handle(tty.Event{Kind: tty.Drag, Button: tty.Left, X: 50, Y: 12})
	r.hit("esc")
	r.Handle(tty.Event{Kind: tty.Drag, Button: tty.Left, X: 70, Y: 12})
	if r.view != view {
		t.Error("a drag went on after the help")
	}
}

// Between a picture and a click on it devices come and go, and take the places of others.
func TestAClickIsOnWhatThePictureShows(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(3)...)
	x, y := r.find("van-0001")
	r.live.Left([]track.DeviceID{1001})
	r.live.Apply([]client.Fix{fixOf(2000, "another", r.clock.At, -30, -60)})
	r.click(x, y)
	if r.sel == 2000 {
		t.Error("a click on one that left selects one that is elsewhere")
	}
	if x, y = r.find("another"); r.click(x, y).sel != 2000 {
		t.Errorf("the next picture has it, and %d is selected", r.sel)
	}
}
