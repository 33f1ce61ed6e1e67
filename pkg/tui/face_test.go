package tui

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/past"
	"tracker/pkg/tui/tty"
)

// types sends a text to the prompt, rune by rune.
func (r *rig) types(text string) *rig {
	for _, c := range text {
		r.Handle(tty.Event{Kind: tty.Press, Key: string(c), Text: string(c)})
	}
	r.compose()
	return r
}

func (r *rig) prompts(keys ...string) *rig {
	for _, k := range keys {
		r.Handle(tty.Event{Kind: tty.Press, Key: k})
	}
	r.compose()
	return r
}

func TestAFilterHoldsWhileItIsTyped(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(40)...).press("/")
	r.types("van-0001").shows("/van-0001", "Devices 1 of 40")
	r.types(" speed>").shows("Devices 0 of 40") // unfinished: the last good one holds, a word
	if r.prompt.note == "" || r.prompt.wrong < 0 {
		t.Errorf("nothing is said of a filter that is wrong: %+v", r.prompt)
	}
	r.prompts("ctrl+u").types("name:none").prompts("enter").shows("no device matches name:none")
	r.press("/").prompts("esc").shows("Devices 40 by state")
}

func TestAPastedMegabyteIsBounded(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(vans(5)...).press("/")
	r.Handle(tty.Event{Kind: tty.Paste, Text: strings.Repeat("a\x1b]0;title\a\n", 100_000)})
	r.compose()
	if len(r.prompt.text) != mostTyped || !r.prompt.full {
		t.Errorf("%d runes were taken", len(r.prompt.text))
	}
	r.shows("that is all that fits").hides("\x1b")
}

// A terminal that does not bracket what is pasted sends it key by key: what does not fit any
// more must not have the filter read again each time, or nobody gets at the keys behind it.
func TestKeysBeyondWhatFitsCostNothing(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(vans(5)...).press("/")
	r.types(strings.Repeat("van ", mostTyped/4)).types("x").shows("that is all that fits")
	flt := r.flt
	if r.types("more"); r.flt != flt || flt == nil {
		t.Error("the filter was read again for keys that change nothing")
	}
	r.shows("that is all that fits").prompts("backspace").hides("that is all that fits")
	if r.flt == flt {
		t.Error("the filter was not read again when it changed")
	}
}

func TestEventsAreListedSeenAndMuted(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(5)...)
	r.clock.Advance(time.Minute)
	f := fixOf(track.DeviceID(1001), "van-0001", r.clock.At, 48, 11)
	f.Event = "sos"
	r.store.Apply([]client.Fix{f})
	r.compose()
	r.shows("Events ▸1:all", "sos", "a seen · M mute")
	r.press("4").shows("▸4:link").hides("a seen")
	r.press("2", "a").shows("seen: sos van-0001")
	if n := r.store.Events().Alerting(); n != 0 {
		t.Errorf("%d alerts are left", n)
	}
	r.press("tab", "tab", "M").shows("no more events of van-0001")
	if !r.store.Events().Muted(f.Device) {
		t.Error("it is not muted")
	}
	r.press("e").hides("Events")
}

// What the keys are of no use for is not offered them: a link cannot be muted, and many
// devices in one line neither.
func TestEventsOfferTheKeysThatDoSomething(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(5)...)
	r.store.Events().Add(fleet.Event{At: r.clock.At, Kind: fleet.Refused})
	r.press("1").shows("denied").hides("a seen", "M mute")
	for i := range 30 {
		r.store.Events().Add(fleet.Event{At: r.clock.At, Kind: fleet.SOS, Device: track.DeviceID(1001 + i)})
	}
	r.press("1").shows("30 reports of sos", "a seen").hides("M mute")
}

func TestTheMaskHidesNamesAndPlaces(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(fixOf(7, "secret-van", epoch, 48.13743, 11.57549)).press("n")
	r.shows("secret-van", "48.13743")
	r.press("p").hides("secret-van", "48.13743", "11.57549", "000000000007")
	r.press("y")
	if w := r.Wants(); w.Copy != "48.1,11.6" {
		t.Errorf("copied %q", w.Copy)
	}
	if err := r.export("places.geojson"); err == nil {
		t.Error("places go into a file under the mask")
	}
	r.press("p").shows("secret-van")
}

func TestPicturesAndPlacesGoIntoFiles(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(vans(9)...)
	c, err := r.conf.Look("system")
	if err != nil {
		t.Fatal(err)
	}
	r.colours = c
	dir := t.TempDir()
	for name, has := range map[string]string{"map.svg": "<svg", "map.txt": "van-00", "fleet.geojson": "FeatureCollection"} {
		file := filepath.Join(dir, name)
		if err := r.export(file); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), has) {
			t.Errorf("%s: %v, %d bytes without %q", name, err, len(b), has)
		}
		if r.export(file) == nil {
			t.Errorf("%s was written over", name)
		}
	}
	file := filepath.Join(dir, "clean.txt")
	r.press("x").prompts("ctrl+u").types(file).prompts("enter")
	if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), "export to") || !strings.Contains(string(b), "van-00") {
		t.Errorf("%v; what was typed is in the picture:\n%s", err, b)
	}
	r.press("x").prompts("ctrl+u").types(filepath.Join(dir, "none", "map.svg")).prompts("enter")
	if r.prompt.note == "" || !r.prompt.isOpen() {
		t.Error("a file that cannot be written is not told of")
	}
}

// While a device is selected a file of places is its trail, as far as the format has
// trails, and the map says so. A name from ~/ on is in the home directory.
func TestASelectedDeviceIsSavedAsItsTrail(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(9)...).press("n")
	home := t.TempDir()
	r.getenv = func(name string) string { return map[string]string{"HOME": home}[name] }
	for name, has := range map[string]struct{ said, text string }{
		"trail.gpx": {"saved ~/trail.gpx, the trail of van-0001", "<trk>"},
		"all.csv":   {"saved ~/all.csv", "van-0008"},
		"all.jsonl": {"saved ~/all.jsonl", "van-0008"},
	} {
		r.press("x").prompts("ctrl+u").types("~/" + name).prompts("enter").shows(has.said)
		if b, err := os.ReadFile(filepath.Join(home, name)); err != nil || !strings.Contains(string(b), has.text) {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}
	r.press("esc", "x").prompts("ctrl+u").types("~/all.gpx").prompts("enter").shows("saved ~/all.gpx").hides("the trail of")
}

func TestThePaletteDoesWhatItIsTold(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(40)...)
	r.press(":").types("follow van-0007").prompts("enter").shows("van-0007 · following")
	r.press(":").types("goto 48.1,11.5").prompts("enter")
	if at := r.view.Centre.Point(); at.LatDeg() < 48 || at.LatDeg() > 48.2 || r.follow {
		t.Errorf("the map is at %v", at)
	}
	r.press(":").types("theme dark").prompts("enter")
	if !r.Wants().Redraw {
		t.Error("other colours do not draw everything anew")
	}
	for _, wrong := range []string{"frobnicate", "goto nowhere-at-all", "goto 91,0", "goto NaN,NaN", "speed 60", "at yesterday", "theme nosuch", "follow van-00", "filter speed>"} {
		r.press(":").types(wrong).prompts("enter")
		if r.prompt.note == "" || !r.prompt.isOpen() {
			t.Errorf("%q was taken", wrong)
		}
		r.prompts("esc")
	}
	r.press(":").types("zo").prompts("tab")
	if got := r.prompt.string(); got != "zoom-in" {
		t.Errorf("completed to %q", got)
	}
}

func TestClustersTellTheirMembers(t *testing.T) {
	var fixes []client.Fix
	for i := range 30 {
		fixes = append(fixes, fixOf(track.DeviceID(i+1), "bus", epoch, 48.1+float64(i)*1e-5, 11.5))
	}
	fixes = append(fixes, fixOf(99, "far", epoch, -30, 140))
	r := newRig(t, 120, 40, "plain").load(fixes...)
	x, y := cellOf(r, 1)
	for _, kind := range []tty.Kind{tty.Click, tty.Release} {
		r.Handle(tty.Event{Kind: kind, X: x, Y: y, Button: tty.Left})
	}
	r.compose()
	r.shows("30 in this cluster")
	r.press("esc").shows("Devices 31 by state")
}

// history is a source of what devices were.
type history []client.Fix

func (h history) Window(_ context.Context, devices []track.DeviceID, from, to time.Time, yield func([]client.Fix) error) error {
	var out []client.Fix
	for _, id := range devices {
		for _, f := range h {
			if f.Device == id && !f.Time.Before(from) && f.Time.Before(to) {
				out = append(out, f)
			}
		}
	}
	return yield(out)
}

func TestTheMapGoesThroughTime(t *testing.T) {
	r := newRig(t, 120, 40, "plain")
	now := fixOf(1, "van", r.clock.At, 48, 11)
	was := fixOf(1, "van", r.clock.At.Add(-5*time.Minute), 47, 10)
	r.load(now).press("[").shows("there is no history")
	r.player = past.New(history{was, now}, r.store, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.player.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	if err := r.seekText("-3m"); err != nil {
		t.Fatal(err)
	}
	r.press("n")
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(r.see.Frame, "47.00000,10.00000"); r.compose() {
		if time.Now().After(deadline) {
			t.Fatalf("the past does not come:\n%s", r.see.Frame)
		}
		time.Sleep(time.Millisecond)
	}
	r.shows("◀ REPLAY 2026-01-02 14:19:07Z held")
	r.press(".")
	for deadline := time.Now().Add(20 * time.Second); !r.present(); r.compose() {
		if time.Now().After(deadline) {
			t.Fatal("the present does not come back")
		}
	}
	r.press("n").shows("● LIVE", "48.00000,11.00000")
}

func TestMomentsAreRead(t *testing.T) {
	now := time.Date(2026, 1, 2, 14, 22, 7, 0, time.UTC)
	for text, want := range map[string]string{
		"14:05": "2026-01-02T14:05:00Z", "23:05:30": "2026-01-01T23:05:30Z", "-10m": "2026-01-02T14:12:07Z",
		"2025-12-31 08:00": "2025-12-31T08:00:00Z", "2026-01-02T03:04:05+01:00": "2026-01-02T02:04:05Z",
	} {
		if got, err := moment(text, now); err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %v %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "noon", "-", "-0s", "25:00", "2026-13-01"} {
		if got, err := moment(text, now); err == nil {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
}

func TestSparklinesShowGaps(t *testing.T) {
	if got := spark([]int{fleet.Nothing, 0, 50, 100}, 4); got != " ▁▄█" {
		t.Errorf("%q", got)
	}
	if got := spark([]int{1, 2, 3, 4, 5}, 2); got != "▆▇" {
		t.Errorf("%q", got)
	}
}

func TestHelpScrollsWhereItDoesNotFit(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(vans(3)...).press("?").shows("↓ shows more").hides("this help")
	for range 40 {
		r.press("j")
	}
	r.shows("this help", "drag ").press("x").hides("Keys 1")
}
