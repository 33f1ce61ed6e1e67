package chart

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/world"
)

func TestMaskedPlacesAreThoseOfTheMask(t *testing.T) {
	mask := fleet.NewMask()
	s := &Scene{Mask: mask}
	rng := rand.New(rand.NewPCG(1, 7))
	for range 5000 {
		p := geo.Deg(rng.Float64()*170-85, rng.Float64()*360-180)
		if half := func(deg float64) bool { return math.Abs(math.Mod(math.Abs(deg)*10, 1)-0.5) < 1e-4 }; half(p.LatDeg()) || half(p.LonDeg()) {
			continue // half way, either will do
		}
		want, got := world.Project(mask.Round(p)), s.place(world.Project(p))
		if d := geo.Distance(got.Point(), want.Point()); d > 0.2 {
			t.Fatalf("%v is put at %v, want %v", p, got.Point(), want.Point())
		}
	}
	for _, y := range []uint32{0, 1, math.MaxUint32 - 1, math.MaxUint32} {
		if got := s.place(world.Pos{X: math.MaxUint32, Y: y}); got.X != 0 {
			t.Errorf("the corner at %d: %+v", y, got)
		}
	}
	s.Mask = nil
	if p := (world.Pos{X: 12345, Y: 67890}); s.place(p) != p {
		t.Error("without a mask a place is moved")
	}
}

// Two fleets that a mask makes the same look the same, wherever the view is: nothing
// else of a place gets out, nor anything of a name.
func TestAMaskHidesAllButTheRoughPlace(t *testing.T) {
	var a, b []client.Fix
	rng := rand.New(rand.NewPCG(2, 7))
	for i := range 40 {
		lat, lon := float64(480+rng.IntN(8))/10, float64(110+rng.IntN(8))/10
		for _, f := range []*[]client.Fix{&a, &b} {
			x := moving(idOf(i), lat+rng.Float64()*0.09-0.045, lon+rng.Float64()*0.09-0.045, 20, 90)
			x.Name = "secret"
			*f = append(*f, x)
		}
	}
	mask := fleet.NewMask()
	for _, zoom := range []float64{4, 8, 12, 18} {
		var seen []string
		for _, fixes := range [][]client.Fix{a, b} {
			s := sceneOf(t, 60, 20, fixes).look(48.3, 11.4, zoom)
			s.Mask, s.Selected, s.Trails = mask, 5, TrailsAll
			c := &Chart{}
			c.Draw(s)
			seen = append(seen, c.text())
		}
		if seen[0] != seen[1] || strings.Contains(seen[0], "secret") {
			t.Errorf("zoom %v; one fleet\n%s\nthe other\n%s", zoom, seen[0], seen[1])
		}
	}
	s := sceneOf(t, 60, 20, a).look(48.3, 11.4, 8)
	with, without := &Chart{}, &Chart{}
	without.Draw(s)
	s.Mask = mask
	if with.Draw(s); slices.Equal(with.out.Cells, without.out.Cells) || s.Frame.Visible == 0 {
		t.Error("a mask changes nothing")
	}
}
