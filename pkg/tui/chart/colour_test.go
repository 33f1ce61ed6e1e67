package chart

import (
	"fmt"
	"strings"
	"testing"

	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
)

func TestColoursByMode(t *testing.T) {
	const now = 1_000_000_000
	heard := func(ms int64) fleet.Point { return fleet.Point{Heard: now - ms} }
	speed := func(kmh float64) fleet.Point {
		return fleet.Point{Speed: uint16(kmh/3.6*100 + 0.5), Has: track.HasVel}
	}
	full := func(percent uint8) fleet.Point { return fleet.Point{Bat: percent, Has: track.HasBat} }
	for _, tt := range []struct {
		by   look.ColourBy
		p    fleet.Point
		st   filter.State
		want canvas.Style
	}{
		{look.ByState, heard(0), filter.Moving, look.Moving},
		{look.ByState, heard(0), filter.Alert, look.Alert},
		{look.ByAge, heard(-500), filter.Idle, look.Ramp0},
		{look.ByAge, heard(9_999), filter.Idle, look.Ramp0},
		{look.ByAge, heard(10_000), filter.Idle, look.Ramp1},
		{look.ByAge, heard(60_000), filter.Idle, look.Ramp2},
		{look.ByAge, heard(300_000), filter.Stale, look.Ramp3},
		{look.ByAge, heard(900_000), filter.Lost, look.Ramp4},
		{look.ByAge, heard(900_000), filter.Alert, look.Alert},
		{look.BySpeed, speed(0), filter.Idle, look.Ramp0},
		{look.BySpeed, speed(29.5), filter.Moving, look.Ramp0},
		{look.BySpeed, speed(31), filter.Moving, look.Ramp1},
		{look.BySpeed, speed(61), filter.Moving, look.Ramp2},
		{look.BySpeed, speed(91), filter.Moving, look.Ramp3},
		{look.BySpeed, speed(121), filter.Moving, look.Ramp4},
		{look.BySpeed, fleet.Point{}, filter.Moving, look.Dim},
		{look.BySpeed, speed(121), filter.Alert, look.Alert},
		{look.ByBattery, full(100), filter.Idle, look.Ramp0},
		{look.ByBattery, full(80), filter.Idle, look.Ramp0},
		{look.ByBattery, full(79), filter.Idle, look.Ramp1},
		{look.ByBattery, full(49), filter.Idle, look.Ramp2},
		{look.ByBattery, full(29), filter.Idle, look.Ramp3},
		{look.ByBattery, full(15), filter.Idle, look.Ramp3},
		{look.ByBattery, full(14), filter.Idle, look.Ramp4},
		{look.ByBattery, full(0), filter.Idle, look.Ramp4},
		{look.ByBattery, fleet.Point{}, filter.Idle, look.Dim},
	} {
		if got := rankOf(tt.by, &tt.p, tt.st, now).style(tt.by); got != tt.want {
			t.Errorf("by %v, %+v %v: style %d, want %d", tt.by, tt.p, tt.st, got, tt.want)
		}
	}
}

// Without colour the shapes have to do.
func TestShapesSayTheSame(t *testing.T) {
	low, east := fleet.Point{Bat: 9, Has: track.HasBat}, fleet.Point{Has: track.HasVel, Course: 9000}
	for _, tt := range []struct {
		by   look.ColourBy
		p    *fleet.Point
		st   filter.State
		want rune
	}{
		{look.ByState, &east, filter.Moving, '→'}, {look.BySpeed, &east, filter.Moving, '→'}, {look.ByAge, &low, filter.Moving, '•'},
		{look.ByState, &low, filter.Idle, '◆'}, {look.ByAge, &low, filter.Stale, '○'}, {look.BySpeed, &low, filter.Lost, '✕'},
		{look.ByBattery, &low, filter.Idle, '!'}, {look.ByBattery, &east, filter.Moving, '→'}, {look.ByAge, &east, filter.Alert, '!'},
	} {
		if got := glyph(tt.by, tt.p, tt.st, rankOf(tt.by, tt.p, tt.st, 0)); got != tt.want {
			t.Errorf("by %v, %+v %v: %c, want %c", tt.by, tt.p, tt.st, got, tt.want)
		}
	}
}

func TestLegends(t *testing.T) {
	want := map[look.ColourBy]string{
		look.ByState:   "◆ idle ▲ moving ○ stale ✕ lost ! alert",
		look.ByAge:     "● <10s ● <1m ● <5m ● <15m ● older ! alert",
		look.BySpeed:   "● <30 ● <60 ● <90 ● <120 ● 120 km/h ● not known ! alert",
		look.ByBattery: "● 80% ● 50% ● 30% ● 15% ! less ● not known ! alert",
	}
	for by, want := range want {
		c := Chart{scene: Scene{Colour: by, Theme: themeOf("system")}}
		out := canvas.New(80, 1)
		end := WriteLegend(out, c.Legend(), 2, 0, 78)
		got := string(out.Encode(nil, themeOf("plain"), canvas.Braille))
		if got != "  "+want || end != canvas.Width(got)+1 {
			t.Errorf("by %v: %q ending at %d, want %q", by, got, end, want)
		}
		out.Resize(80, 1)
		WriteLegend(out, c.Legend(), 0, 0, 20)
		if got := string(out.Encode(nil, themeOf("plain"), canvas.Braille)); canvas.Width(got) > 20 || !strings.HasPrefix(want, got) || got == "" {
			t.Errorf("by %v in 20 columns: %q", by, got)
		}
	}
	c := Chart{scene: Scene{Theme: themeOf("system")}}
	if parts := c.Legend(); fmt.Sprint(parts[0]) != fmt.Sprint(LegendPart{'◆', look.Idle, "idle"}) {
		t.Errorf("%+v", parts)
	}
}

// Where there are no colours a legend of them would be five times the same sign.
func TestLegendsWithoutColoursTellOfShapes(t *testing.T) {
	for by := range look.Colours {
		c := Chart{scene: Scene{Colour: by, Theme: themeOf("mono")}}
		seen := map[rune]bool{}
		for _, p := range c.Legend() {
			if seen[p.Glyph] {
				t.Errorf("by %v: %c twice", by, p.Glyph)
			}
			seen[p.Glyph] = true
		}
		if last := c.Legend()[filter.Alert].Text; strings.Contains(last, "15%") != (by == look.ByBattery) {
			t.Errorf("by %v: %q", by, last)
		}
	}
}

// What the filter does not mean is there, dim, and does not count.
func TestAFilterLeavesTheOthersDim(t *testing.T) {
	s := sceneOf(t, 60, 20, swarm(2, 400, 48, 11, 60)).look(48, 11, 5.5)
	s.Layers = Clusters | Labels
	s.Filtering = true
	meant := 0
	for i := range s.Frame.Marks {
		if i%20 != 0 {
			s.Frame.Marks[i] &^= fleet.MarkMatches
		} else {
			meant++
		}
	}
	c := &Chart{}
	c.Draw(s)
	if s.Frame.Visible == 0 || s.Frame.Visible > meant || c.size != asGlyphs {
		t.Errorf("%d visible, %d meant, size %d", s.Frame.Visible, meant, c.size)
	}
	dim := 0
	for _, cell := range c.out.Cells {
		if cell.Fg == look.Dim && cell.Mask != 0 {
			dim++
		}
	}
	if dim < 30 {
		t.Errorf("%d dim cells:\n%s", dim, c.text())
	}
	for i := range c.grid.blocks {
		for _, m := range c.Members(nil, c.grid.key(i)) {
			if !s.Frame.Marks[m].Matches() {
				t.Fatalf("%d is a member of a cluster", m)
			}
		}
	}
	// A click takes one that is meant, though others may be nearer.
	for i := range c.seen {
		d := &c.seen[i]
		if hit := c.At(int(d.x)/2, int(d.y)/4); hit.Device == fleet.Nobody || !s.Frame.Marks[hit.Device].Matches() {
			t.Errorf("at %d, %d: %+v", d.x, d.y, hit)
		}
	}
}
