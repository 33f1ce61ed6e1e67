package tui

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tty"
)

// twins are two fleets that differ in what a mask hides, and in nothing else.
func twins() (a, b []client.Fix) {
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range 12 {
		lat, lon := float64(480+rng.IntN(12))/10, float64(110+rng.IntN(12))/10
		for _, f := range []*[]client.Fix{&a, &b} {
			x := fixOf(track.DeviceID(i+1), "", epoch, lat+rng.Float64()*0.09-0.045, lon+rng.Float64()*0.09-0.045)
			x.Has |= track.HasVel | track.HasBat | track.HasAcc
			x.Speed, x.Battery, x.Accuracy = 20, 50, 6
			*f = append(*f, x)
		}
		a[i].Name, b[i].Name = "secret-"+string(rune('a'+i)), "hidden-"+string(rune('a'+i))
		a[i].Accuracy = 17
	}
	return a, b
}

// Whatever is pressed under the mask: who sees the screen, the clipboard or a file cannot
// tell one fleet from the other.
func TestTheMaskHidesOneFleetBehindTheOther(t *testing.T) {
	mask := fleet.NewMask()
	walks := [][]string{
		{"p"}, {"n", "p"}, {"n", "f", "p"}, {"n", "z", "p"}, {"n", "z", "p", "+", "+", "+", "+"}, {"p", "n", "f", "+", "+"}, {"p", "n", "z", "y"}, {"p", "n", "z", "o"},
		{"z", "p", "y"}, {"p", "n", "enter", "enter"}, {"p", "n", "n", "-", "-", "-", "-", "-", "enter"}, {"p", "tab", "s", "G", "enter"}, {"p", "0", "t", "t"},
		{"p", "/", "x", "esc"}, {"p", "e", "d", "n", "f"}, {"p", "1", "j", "enter", "M"}, {"p", "n", "space", "f"}, {"p", "tab", "tab", "enter", "z", "a"},
		{"p", "c", "c", "n", "f", "b"}, {"n", "z", "L", "p", "H", "esc"},
	}
	for _, size := range [][2]int{{120, 40}, {80, 24}, {58, 14}} {
		for _, keys := range walks {
			var seen, copied []string
			for i := range 2 {
				fleets := [2][]client.Fix{}
				fleets[0], fleets[1] = twins()
				r := newRig(t, size[0], size[1], "plain").load(fleets[i]...)
				r.conf.Open = "https://maps.example/#{z}/{lat}/{lon}?{id}"
				r.hit("tab", "shift+tab") // a frame of each
				for _, k := range keys {
					if r.hit(k); k == "p" {
						r.mask = mask
					}
				}
				r.clock.Advance(2 * time.Second)
				sos := fleets[i][3]
				sos.Time, sos.Received, sos.Event = r.clock.At, r.clock.At, "sos"
				r.live.Apply([]client.Fix{sos})
				r.compose()
				seen, copied = append(seen, r.see.Frame), append(copied, r.Wants().Copy)
			}
			if seen[0] != seen[1] || copied[0] != copied[1] || strings.Contains(seen[0], "secret") {
				t.Errorf("%v after %v: copied %q; one\n%s\nthe other\n%s", size, keys, copied, seen[0], seen[1])
			}
		}
	}
}

func TestTheMaskEndsTheWayIn(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(fixOf(1, "bus", epoch, 48.13743, 11.57549)).hit("n", "z")
	if r.view.Zoom <= maskedZoom {
		t.Fatalf("zoom %v", r.view.Zoom)
	}
	r.hit("p")
	way := map[string]func(){
		"the mask itself": func() {},
		"keys":            func() { r.hit("+", "+", "+", "z", "enter", "enter") },
		"the wheel":       func() { r.turn(r.lay.m.x+9, r.lay.m.y+9, tty.WheelUp) },
		"fitting":         func() { r.hit("0") },
		"following":       func() { r.hit("f", "+", "+") },
		"going to a place": func() {
			r.hit(":").types("goto 48.13743,11.57549").prompts("enter")
		},
	}
	for name, do := range way {
		do()
		r.compose()
		if r.view.Zoom > maskedZoom {
			t.Errorf("%s leads in to zoom %v", name, r.view.Zoom)
		}
	}
	// At the end of the way in the wheel does not move the map aside.
	r.hit("esc", "0", "+", "+", "+", "+")
	view := r.view
	if r.turn(r.lay.m.x+2, r.lay.m.y+2, tty.WheelUp); r.view != view {
		t.Errorf("the wheel moves the map from %v to %v", view, r.view)
	}
	r.hit("esc", "n", "f")
	if !r.centredOn(48.1, 11.6) {
		t.Errorf("following under the mask is centred on %v", r.view.Centre.Point())
	}
	r.hit("p").shows("48.13743")
	if !r.centredOn(48.13743, 11.57549) {
		t.Errorf("without the mask it is centred on %v", r.view.Centre.Point())
	}
}
