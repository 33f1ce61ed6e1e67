package chart

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

// The goldens of the map alone: no devices, no frame. They were looked at.
func TestMapGoldens(t *testing.T) {
	system, _ := look.Named("system")
	plain := system.For(look.NoStyle)
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
		var p Chart
		c := p.Draw(&Scene{View: v, Frame: &fleet.Frame{}, Theme: plain, Layers: Everything, Selected: fleet.Nobody})
		tuitest.Golden(t, "map-"+tt.name, string(c.Encode(nil, plain, canvas.Braille)))

		// Land has to be where the coast says it is: the same picture as areas.
		var b strings.Builder
		for y := range c.H {
			for x := range c.W {
				if c.At(x, y).Bg == look.Land {
					b.WriteByte('#')
				} else {
					b.WriteByte('.')
				}
			}
			b.WriteByte('\n')
		}
		tuitest.Golden(t, "land-"+tt.name, b.String())
	}
}

func TestGridHasRoundSteps(t *testing.T) {
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
		if cells, label := ScaleBar(tt.perDot, 20); cells != tt.cells || label != tt.label {
			t.Errorf("%v m a dot: %d cells %s, want %d %s", float64(tt.perDot), cells, label, tt.cells, tt.label)
		}
	}
}

// drawn is a chart of some devices.
func drawn(t *testing.T, layers Layers, mask *fleet.Mask, fixes ...client.Fix) (*Chart, *Scene) {
	t.Helper()
	clock := tuitest.NewClock()
	store := fleet.New(fleet.Config{Now: clock.Now})
	store.Snapshot(fixes, true, false)
	var f fleet.Frame
	f.Refresh(store, nil)
	system, _ := look.Named("system")
	s := &Scene{
		View: world.View{Zoom: 5, W: 160, H: 96}, Frame: &f, Store: store, Theme: system.For(look.NoStyle),
		Layers: layers, Selected: fleet.Nobody, Followed: fleet.Nobody, Mask: mask,
	}
	s.View.Centre = f.Points[0].Pos
	c := &Chart{}
	c.Draw(s)
	return c, s
}

func (c *Chart) text() string { return string(c.out.Encode(nil, c.scene.Theme, canvas.Braille)) }

func TestAtFindsTheNearestDeviceAndItsCluster(t *testing.T) {
	var fixes []client.Fix
	for _, v := range tuitest.Vans(30) {
		v.At = geo.Deg(48, 11)
		fixes = append(fixes, v)
	}
	c, s := drawn(t, Everything, nil, fixes...)
	x, y := s.View.W/4, s.View.H/8
	hit := c.At(x, y)
	if hit.Device == fleet.Nobody || hit.Count != 30 {
		t.Fatalf("at the devices: %+v", hit)
	}
	members := c.Members(nil, hit.Cluster)
	slices.Sort(members)
	if len(members) != 30 || members[0] != 0 || members[29] != 29 {
		t.Errorf("members %v", members)
	}
	if s.Frame.Visible != 30 {
		t.Errorf("%d visible", s.Frame.Visible)
	}
	if hit := c.At(x+20, y); hit.Device != fleet.Nobody || hit.Count != 0 {
		t.Errorf("where there is nobody: %+v", hit)
	}
	var fresh Chart
	if hit := fresh.At(0, 0); hit.Device != fleet.Nobody || fresh.Members(nil, ClusterKey{}) != nil {
		t.Errorf("before the first picture: %+v", hit)
	}
}

func TestLayersCanBeLeftOut(t *testing.T) {
	vans := []client.Fix{tuitest.Fix(1, "bus", epoch, 48, 11), tuitest.Fix(2, "car", epoch, 49, 12)}
	with, _ := drawn(t, Everything, nil, vans...)
	bare, _ := drawn(t, 0, nil, vans...)
	for _, word := range []string{"bus", "Munich"} {
		if !strings.Contains(with.text(), word) || strings.Contains(bare.text(), word) {
			t.Errorf("%q: with every layer\n%s\nwith none\n%s", word, with.text(), bare.text())
		}
	}
	masked, _ := drawn(t, Everything, fleet.NewMask(), vans...)
	if got := masked.text(); strings.Contains(got, "bus") || !strings.Contains(got, "device-") {
		t.Errorf("a mask does not hide names:\n%s", got)
	}
}

// Whoever goes through the bases sees another map at every step, and the devices in all.
func TestEveryBaseIsAMapOfItsOwn(t *testing.T) {
	bus := tuitest.Fix(1, "bus", epoch, 45.6, 13.8)
	seen := map[string]string{}
	for i, b := range Bases {
		layers := Everything.With(i)
		if layers&Base != b.Layers || layers|Base != Everything {
			t.Errorf("%s: layers %b", b.Name, layers)
		}
		c, s := drawn(t, layers, nil, bus)
		s.Theme, s.View.Zoom = themeOf("dark"), 7
		got := c.picture(s)
		if other, twice := seen[got]; twice {
			t.Errorf("%s and %s are the same picture:\n%s", b.Name, other, got)
		}
		if !strings.Contains(got, "bus") {
			t.Errorf("%s: no device:\n%s", b.Name, got)
		}
		seen[got] = b.Name
	}
}

var epoch = tuitest.Epoch.Add(-time.Second)
