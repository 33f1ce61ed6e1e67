package tui

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/chart"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/past"
)

// crowd is thirty buses in one place, and one far away.
func crowd(t *testing.T, w, h int) *rig {
	var fixes []client.Fix
	for i := range 30 {
		fixes = append(fixes, fixOf(track.DeviceID(i+1), fmt.Sprintf("bus-%02d", i+1), epoch, 48.1+float64(i)*1e-5, 11.5))
	}
	return newRig(t, w, h, "plain").load(append(fixes, fixOf(99, "far", epoch, -30, 140))...)
}

func TestEnterGoesInAndEscComesBackByTheSameWay(t *testing.T) {
	r := crowd(t, 80, 24)
	r.hit("/").types("bus").prompts("enter").shows("30 of 31 dev", "/bus")
	r.choose(r.store.Find(7))
	r.hit("f", "enter").shows("30 in this cluster", "bus-07")
	if r.focus != onList || len(r.rows()) != 30 {
		t.Fatalf("enter in a badge lists %d", len(r.rows()))
	}
	r.hit("g", "j", "enter") // to the second of the list, on the map
	if r.focus != onMap || r.store.Name(r.selIndex) != "bus-02" || r.members == nil {
		t.Fatalf("enter in the list: focus %d on %s", r.focus, r.store.Name(r.selIndex))
	}
	r.hit("enter").shows("╭─ bus-02 · following", "id ", "fix ")
	if r.focus != onDetails {
		t.Errorf("enter on a device of the cluster: focus %d", r.focus)
	}
	r.hit("?")
	for _, level := range []struct {
		what string
		left func() bool
	}{
		{"help", func() bool { return r.help }},
		{"details", func() bool { return r.focus == onDetails }},
		{"members", func() bool { return r.members != nil || r.focus != onMap }},
		{"follow", func() bool { return r.follow }},
		{"selection", func() bool { return r.sel != 0 }},
		{"filter", func() bool { return r.flt != nil }},
	} {
		if !level.left() {
			t.Errorf("%s is over already", level.what)
		}
		if r.hit("esc"); level.left() {
			t.Errorf("esc leaves %s", level.what)
		}
	}
	before := r.see.Frame
	if r.hit("esc"); r.see.Frame != before {
		t.Error("esc does something where there is nothing to go back from")
	}
}

func TestEnterOpensTheDetailsAndEscClosesOnlyWhatItOpened(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(9)...)
	r.hit("n", "d").hides("state   ")
	r.hit("enter").shows("state   ")
	r.hit("esc").hides("state   ")
	if r.sel == 0 {
		t.Error("esc closed the details and forgot the selection")
	}
	r.hit("d").shows("state   ").hit("enter") // shown already: goes to it
	if r.view.Zoom < goToZoom {
		t.Error("enter does not go to a device whose details are there")
	}
	r.hit("esc").shows("No device selected")

	r.Resize(80, 24)
	r.hit("n").shows(" moving, heard now")
	r.hit("d").hides(" moving, heard now")
	if r.lay.m.h != 24-3 {
		t.Errorf("the map is %d rows high without the line of details", r.lay.m.h)
	}
	r.hit("f").shows("following van-") // somebody has to say so
	r.hit("d").shows("· following")

	r.Resize(59, 15)
	r.hit("enter").shows("╭─ van-")
	r.hit("esc")
	if r.lay.list.empty() {
		t.Errorf("focus %d", r.focus)
	}
	r.hit("e").shows("Events ▸1:all").hit("esc").shows("name")
	r.hit("M").shows("no more events of van-")
	for _, view := range []string{"tab", "e"} { // whatever was looked at here, where there is room the map is back
		r.hit(view)
		r.Resize(50, 12)
		r.Resize(80, 24)
		r.hit("esc")
		if r.lay.m.empty() {
			t.Errorf("after %s and back again there is no map", view)
		}
		r.Resize(59, 15)
	}
	r.Resize(80, 24)
	r.hit("esc", "esc", "esc")
	for _, size := range [][2]int{{59, 15}, {80, 24}} {
		r.Resize(size[0], size[1])
		r.compose()
	}
	if r.lay.m.empty() {
		t.Error("after a small window and back again there is no map")
	}
}

func TestEnterWithoutASelectionTakesWhatIsInTheMiddle(t *testing.T) {
	r := crowd(t, 120, 40)
	r.look(48.1, 11.5, 5)
	r.hit("enter").shows("30 in this cluster")
	r.hit("esc")
	r.look(-30, 140, 5)
	if r.hit("enter"); r.sel != 99 {
		t.Errorf("%v is selected", r.sel)
	}
	r = newRig(t, 120, 40, "plain").load(vans(4)...)
	r.look(0, 0, 8) // nobody is there
	if r.hit("enter"); r.sel != 1001 && r.store.Name(r.selIndex) != rowNames(r)[:8] {
		t.Errorf("%v is selected", r.sel)
	}
	newRig(t, 120, 40, "plain").load().hit("enter", "n", "N", "G", "home", "f", "z", "M").shows("select a device")
}

// Members are devices, not places in a frame that others may take.
func TestMembersOfAClusterAreWhoTheyWere(t *testing.T) {
	r := crowd(t, 120, 40)
	r.choose(r.store.Find(1))
	r.hit("enter")
	r.live.Left([]track.DeviceID{3, 4})
	r.live.Apply([]client.Fix{fixOf(500, "stranger", r.clock.At, 60, 60), fixOf(501, "stranger", r.clock.At, 61, 60)})
	r.clock.Advance(time.Second)
	r.compose()
	r.shows("28 in this cluster")
	names := rowNames(r)
	if strings.Contains(names, "stranger") || strings.Contains(names, "bus-03") || !strings.Contains(names, "bus-30") {
		t.Errorf("members are %s", names)
	}
	r.hit("s", "S")
	if got := rowNames(r); !strings.HasPrefix(got, "bus-30 bus-29") {
		t.Errorf("by name, reversed: %s", got)
	}
	r.hit("+").shows("28 in this cluster")
	var all []track.DeviceID
	for i := range 30 {
		all = append(all, track.DeviceID(i+1))
	}
	r.live.Left(all)
	r.clock.Advance(time.Second)
	r.compose()
	r.shows("nobody of them is here any more").hit("n", "j", "G", "enter", "esc").shows("Devices 3")
}

func TestNextGoesThroughTheMatchesAndAround(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(40)...)
	r.hit("/").types("van-000").prompts("enter").shows("10 of 40 dev")
	r.sortBy(fleet.ByName, false)
	var seen []string
	for range 12 {
		r.hit("n")
		seen = append(seen, r.store.Name(r.selIndex))
	}
	if want := "van-0000 van-0001"; !strings.HasPrefix(strings.Join(seen, " "), want) || !slices.Equal(seen[10:], seen[:2]) || seen[9] != "van-0009" {
		t.Errorf("n goes through %v", seen)
	}
	r.hit("N", "N")
	if got := r.store.Name(r.selIndex); got != "van-0009" {
		t.Errorf("N goes to %s", got)
	}
	// Who is out of sight is brought into it, at the same zoom.
	r.look(-40, 170, 7)
	r.hit("n")
	if pos, _ := r.selectedPos(); r.view.Zoom != 7 || r.view.Centre != pos {
		t.Errorf("the next one is not in sight: %v", r.view)
	}
	// 0 fits those that are meant, and only those.
	r.live.Apply([]client.Fix{fixOf(7, "suva", r.clock.At, -18, 178)})
	r.hit("0").shows("10 of 41 dev")
	if r.frame.Visible != 10 || r.view.Zoom < 0.5 {
		t.Errorf("0 shows %d at zoom %.1f", r.frame.Visible, r.view.Zoom)
	}
}

func TestBaseLayersAreLeftOutOneByOne(t *testing.T) {
	r := newRig(t, 120, 40, "dark").load(fixOf(1, "bus", epoch, 47.5, 12.9))
	r.look(48.0, 12, 6.6)
	has := func(text string) bool { return strings.Contains(r.see.Frame, text) }
	ground := func() bool {
		return slices.ContainsFunc(r.c.Cells, func(c canvas.Cell) bool { return c.Bg == look.Land })
	}
	border := func() bool {
		return slices.ContainsFunc(r.c.Cells, func(c canvas.Cell) bool { return c.R == 0 && c.Mask != 0 && c.Prio == look.OnBorder })
	}
	for i, want := range []struct{ land, borders, cities, grid bool }{
		{true, true, true, true}, {false, true, true, true}, {false, false, true, true}, {false, false, false, true}, {}, {true, true, true, true},
	} {
		if i > 0 {
			r.hit("b").shows("base map: " + chart.Bases[i%len(chart.Bases)].Name)
		}
		if ground() != want.land || border() != want.borders || has("Munich") != want.cities || has("°N") != want.grid {
			t.Errorf("after %d presses: land %v, borders %v, cities %v, graticule %v", i, ground(), border(), has("Munich"), has("°N"))
		}
	}
}

func TestColoursAreExplainedInEveryLayoutWithAMap(t *testing.T) {
	for _, size := range [][2]int{{120, 40}, {100, 30}, {80, 24}, {60, 16}} {
		r := newRig(t, size[0], size[1], "dark").load(vans(9)...).hides("<10s")
		r.hit("c").shows("<10s", "older").hit("c").shows("<30", "120 km/h").hit("c").shows("80%", "less").hit("c").hides("80% ●")
		checkFrame(t, "legend", r.screen)
	}
}

func TestAPauseIsOneMomentWhateverIsAsked(t *testing.T) {
	for _, size := range [][2]int{{120, 40}, {80, 24}} {
		r := newRig(t, size[0], size[1], "plain").load(vans(30)...)
		r.hit("n", "space")
		frames := map[string]string{}
		ask := func(when string) {
			r.hit("esc", "esc", "esc", "esc")
			r.list, r.events.shown, r.details, r.focus, r.trails, r.colour = list{}, true, true, onMap, 0, 0
			r.chart = chart.Chart{} // which keeps labels where they were
			r.compose()
			r.hit("0", "n")
			for _, keys := range []string{"n", "N", "tab", "shift+tab", "s", "S", "t", "c", "G", "home", "f", "esc", "e", "1", "d", "z", "0"} {
				r.said = saying{}
				r.hit(keys)
				r.said = saying{}
				r.compose()
				picture := strings.SplitN(r.see.Frame, "\n", 2)[1]
				if before, ok := frames[keys]; ok && before != picture {
					t.Errorf("%v %s, key %s: got\n%s\nwant\n%s", size, when, keys, picture, before)
				}
				frames[keys] = picture
			}
		}
		ask("at once")
		ask("at once, again")
		r.clock.Advance(10 * time.Minute)
		for i := range 30 {
			f := fixOf(track.DeviceID(1000+i), "renamed", r.clock.At, -10, float64(i))
			f.Event = "sos"
			r.live.Apply([]client.Fix{f})
		}
		r.live.Left([]track.DeviceID{1001, 1002, 1003})
		r.live.Apply([]client.Fix{fixOf(7, "another", r.clock.At, 1, 1)})
		ask("ten minutes later")
		r.hit("n").shows("PAUSED 31 new", "! to be seen").hides("renamed", "another")
		r.hit("/").types("another").prompts("enter").shows("0 of 30 dev").hit("esc", "esc", "esc", "esc")
		r.hit("space").shows("LIVE", "28 dev")
	}
}

func TestWhatIsSeenAndMutedInAPauseStaysSo(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(5)...)
	r.sos(1001)
	r.hit("space")
	r.sos(1002)
	r.hit("a").shows("seen: sos van-0001", "1! to be seen").hides("van-0002  reports")
	r.hit("a").shows("there is no alert that nobody has seen")
	r.choose(r.store.Find(1003))
	r.hit("M").shows("no more events of van-0003", "events  muted")
	r.hit("space").shows("van-0002  reports sos", "events  muted")
	if n := r.live.Events().Alerting(); n != 1 || !r.live.Events().Muted(1003) {
		t.Errorf("after the pause %d are to be seen", n)
	}
	r.hit("M").shows("events of van-0003 come again").hides("muted")
	r.live.SetLink(fleet.Reconnecting, "no answer")
	r.hit("space").shows("PAUSED 0 new", "RECONNECTING")
}

// What came in a pause nobody has seen.
func TestAckAllInAPauseIsOfThePicture(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(5)...)
	r.sos(1001)
	r.hit("space")
	r.sos(1002)
	r.hit("A").shows("everything so far is seen", "1! to be seen")
	if n := r.live.Events().Alerting(); n != 1 {
		t.Errorf("%d alerts are left, want the one of the pause", n)
	}
	r.sos(1003)
	r.hit("space", "A") // before there is a picture of what came
	if n := r.live.Events().Alerting(); n != 2 {
		t.Errorf("%d alerts are left, want the two of the pause", n)
	}
	r.hit("A")
	if n := r.live.Events().Alerting(); n != 0 {
		t.Errorf("%d alerts are left after the pause", n)
	}
}

// Whatever is looked at when a device is muted, it is muted in all else.
func TestWhoIsMutedIsSoAtEveryTime(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(5)...)
	r.player = past.New(history{}, r.live, r.clock.Now)
	mute := func(where string, muted bool, id track.DeviceID) {
		t.Helper()
		if got := r.live.Events().Muted(id); got != muted {
			t.Errorf("%s: van %d is muted: %v", where, id, got)
		}
	}
	r.hit("space").hit(":").types("mute van-0002").prompts("enter").hit("space")
	mute("after a pause", true, 1002)
	r.hit("[")
	if r.present() || !r.store.Events().Muted(1002) {
		t.Error("who is muted is not so in the past")
	}
	r.store.Apply([]client.Fix{fixOf(1003, "van-0003", r.store.Now(), 48, 11)})
	r.compose()
	r.hit(":").types("mute van-0003").prompts("enter").hit(".")
	mute("after the past", true, 1003)
	r.hit(":").types("unmute van-0003").prompts("enter")
	mute("unmuted", false, 1003)
}

// The line of the latest event is no place for those who are muted either.
func TestTheLatestEventIsOfNobodyWhoIsMuted(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(vans(5)...)
	r.live.Events().Mute(1002, true)
	r.sos(1002)
	r.compose()
	r.hides("reports sos", "e events 1")
	r.sos(1001)
	r.compose()
	r.shows("van-0001 reports sos", "e events 1")
	r.sos(1002)
	r.compose()
	r.shows("van-0001 reports sos", "e events 1")
}

// Steps through time look at those who are meant, and at nobody where that is everybody.
func TestThoseWhoAreMeantComeFirstInThePast(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(30)...)
	r.player = past.New(history{}, r.live, r.clock.Now)
	if r.hit("["); len(r.first) != 0 {
		t.Errorf("%d of all come first", len(r.first))
	}
	r.hit(".").hit("/").types("van-0007").prompts("enter").hit("[")
	if !slices.Equal(r.first, []track.DeviceID{1007}) {
		t.Errorf("%v come first", r.first)
	}
}

// What was said goes away by the clock of the wall, in a pause and in the past too.
func TestWhatWasSaidGoesAway(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(5)...)
	r.player = past.New(history{}, r.live, r.clock.Now)
	for _, key := range []string{"space", "["} {
		r.hit(key, "t").shows("trails: ")
		if r.clock.Advance(sayFor + time.Second); !r.Due(r.clock.At) {
			t.Error("nothing is drawn when a second has passed")
		}
		r.compose()
		r.hides("trails: ")
		if r.Due(r.clock.At) {
			t.Error("what stands is drawn again and again")
		}
	}
}

func TestPauseTravelFollowAndFilterInAnyOrder(t *testing.T) {
	keys := []string{"space", "[", ".", "f", "n", "/"}
	var orders func(done []string)
	orders = func(done []string) {
		if len(done) < 3 {
			for _, k := range keys {
				orders(append(done[:len(done):len(done)], k))
			}
			return
		}
		r := newRig(t, 80, 24, "plain").load(vans(5)...)
		r.player = past.New(history{}, r.live, r.clock.Now)
		for _, k := range done {
			if r.hit(k); k == "/" {
				r.types("van").prompts("enter")
			}
			r.clock.Advance(time.Second)
			r.live.Left([]track.DeviceID{1001})
			r.compose()
			past, held := !r.player.State().Live, r.held != nil
			shows := map[string]bool{"REPLAY": past, "PAUSED": held && !past, "LIVE": !held && !past}
			for label, want := range shows {
				if strings.Contains(r.see.Frame, label) != want || past && held {
					t.Fatalf("after %v: past %v, held %v:\n%s", done, past, held, r.see.Frame)
				}
			}
		}
	}
	orders(nil)
}
