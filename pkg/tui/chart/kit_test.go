package chart

import (
	"math"
	"math/rand/v2"
	"testing"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

// sceneOf is a picture to be drawn of some devices, w by h cells, of where the view is
// put by the caller.
func sceneOf(t testing.TB, w, h int, fixes []client.Fix) *Scene {
	t.Helper()
	clock := tuitest.NewClock()
	store := fleet.New(fleet.Config{Now: clock.Now})
	store.Snapshot(fixes, true, false)
	f := &fleet.Frame{}
	f.Refresh(store, nil)
	return &Scene{
		View: world.View{W: 2 * w, H: 4 * h}, Frame: f, Store: store, Theme: themeOf("system"),
		Layers: Everything, Selected: fleet.Nobody, Followed: fleet.Nobody,
	}
}

func themeOf(name string) *canvas.Theme {
	if name == "plain" {
		system, _ := look.Named("system")
		return system.For(look.NoStyle)
	}
	theme, err := look.Named(name)
	if err != nil {
		panic(err)
	}
	return theme.For(look.TrueColour)
}

func (s *Scene) look(lat, lon, zoom float64) *Scene {
	s.View.Centre, s.View.Zoom = world.Project(geo.Deg(lat, lon)), zoom
	s.View.Clamp()
	return s
}

// picture is what a terminal would get, colours and all.
func (c *Chart) picture(s *Scene) string {
	return string(c.Draw(s).Encode(nil, s.Theme, canvas.Braille))
}

// swarm is n devices that move and stand about a place, some kilometres apart.
func swarm(seed uint64, n int, lat, lon, km float64) []client.Fix {
	rng := rand.New(rand.NewPCG(seed, 9))
	var out []client.Fix
	for i := range n {
		at := geo.Travel(geo.Deg(lat, lon), rng.Float64()*360, geo.Meters(math.Abs(rng.NormFloat64())*km*1000))
		f := tuitest.Fix(idOf(i), names[rng.IntN(len(names))], epoch, at.LatDeg(), at.LonDeg())
		f.Has |= track.HasVel | track.HasBat
		f.Speed, f.Course, f.Battery = float64(rng.IntN(3))*rng.Float64()*40, rng.Float64()*360, rng.IntN(101)
		out = append(out, f)
	}
	return out
}

var names = []string{"van", "truck-0815", "Süd 漢字", "a very long name that has to be cut somewhere", "x", "שלום", "moto 7"}

func idOf(i int) track.DeviceID { return track.DeviceID(i + 1) }

func moving(id track.DeviceID, lat, lon, speed, course float64) client.Fix {
	f := tuitest.Fix(id, "goer", epoch, lat, lon)
	f.Has |= track.HasVel
	f.Speed, f.Course = speed, course
	return f
}
