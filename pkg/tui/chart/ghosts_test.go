package chart

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

const heardAt = int64(1_700_000_000_000)

// goer is a device that was heard at heardAt and reports every ten seconds.
func goer(lat, lon, speed, course float64) fleet.Point {
	return fleet.Point{
		Pos: world.Project(geo.Deg(lat, lon)), Heard: heardAt, Speed: uint16(speed * 100), Course: uint16(course * 100), Every: 100,
		Has: track.HasPos | track.HasVel, Flags: fleet.Alive,
	}
}

func TestReckoningGoesOnAsTheDeviceWent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 6))
	for range 2000 {
		lat, lon := rng.Float64()*160-80, rng.Float64()*360-180
		p := goer(lat, lon, 1+rng.Float64()*100, rng.Float64()*359)
		age := 1 + rng.Int64N(20_000)
		got, ok := reckon(&p, heardAt+age)
		gone := geo.Meters(float64(p.Speed) / 100 * float64(age) / 1000)
		want := geo.Travel(p.Pos.Point(), float64(p.Course)/100, gone)
		if d := geo.Distance(got.Point(), want); !ok || d > 0.02*gone+0.5 {
			t.Fatalf("%+v after %d ms: %v, want %v, %.1f of %.1f m off", p, age, got.Point(), want, float64(d), float64(gone))
		}
	}
}

func TestReckoningEndsWhereNobodyCanTell(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fleet.Point)
		age    time.Duration
		want   bool
	}{
		"soon":               {func(*fleet.Point) {}, time.Second, true},
		"just heard":         {func(*fleet.Point) {}, 0, false},
		"from the future":    {func(*fleet.Point) {}, -time.Second, false},
		"two intervals":      {func(*fleet.Point) {}, 20 * time.Second, true},
		"overdue":            {func(*fleet.Point) {}, 20*time.Second + 1e6, false},
		"reports seldom":     {func(p *fleet.Point) { p.Every = 36_000 }, 60 * time.Second, true},
		"a minute is enough": {func(p *fleet.Point) { p.Every = 36_000 }, 61 * time.Second, false},
		"no rhythm":          {func(p *fleet.Point) { p.Every = 0 }, time.Second, false},
		"standing":           {func(p *fleet.Point) { p.Speed = fleet.MovingFrom - 1 }, time.Second, false},
		"speed not known":    {func(p *fleet.Point) { p.Has = track.HasPos }, time.Second, false},
		"jumped":             {func(p *fleet.Point) { p.Flags |= fleet.Jumped }, time.Second, false},
		"suspect":            {func(p *fleet.Point) { p.Flags |= fleet.Suspect }, time.Second, false},
	} {
		p := goer(48, 11, 20, 90)
		tt.change(&p)
		if _, ok := reckon(&p, heardAt+tt.age.Milliseconds()); ok != tt.want {
			t.Errorf("%s: %v", name, ok)
		}
	}
	// At the edge of the map a ghost stays on it, and over the date line it comes out on
	// the other side.
	p := goer(85, 179.9999, 100, 45)
	if got, ok := reckon(&p, heardAt+20_000); !ok || got.Point().LonDeg() > -179 || got.Y > p.Pos.Y {
		t.Errorf("north-east of the corner: %v", got.Point())
	}
}

// A tenth of all ghosts move at a time, each once a second.
func TestGhostsTakeTurns(t *testing.T) {
	moved := map[int32]int{}
	for tick := range int64(20) {
		now := heardAt + tick*100
		together := 0
		for i := range int32(1000) {
			at := turnOf(now, i)
			if at > now || now-at >= ghostStep {
				t.Fatalf("at %d the turn of %d was at %d", now, i, at)
			}
			if at != turnOf(now-100, i) {
				moved[i]++
				together++
			}
		}
		if together != 100 {
			t.Errorf("%d move together", together)
		}
	}
	for i, n := range moved {
		if n != 2 {
			t.Errorf("%d moved %d times in two seconds", i, n)
		}
	}
}

// Ghosts are drawn dim beside the true places, and change nothing else.
func TestGhostsChangeNothingButTheirOwnDots(t *testing.T) {
	for _, n := range []int{20, 150, 1500} {
		s := sceneOf(t, 80, 24, swarm(4, n, 48, 11, 3)).look(48, 11, 11)
		for i := range s.Frame.Points {
			p := &s.Frame.Points[i]
			p.Every, p.Heard = 300, s.Frame.At-40_000
		}
		s.Layers &^= Reckon
		plain := &Chart{}
		want := slices.Clone(plain.Draw(s).Cells)
		s.Layers |= Reckon
		c := &Chart{}
		ghosts := 0
		for i, got := range c.Draw(s).Cells {
			switch {
			case got == want[i]:
			case got.Fg == look.Ghost && got.Prio == look.OnGhost && want[i].Prio <= look.OnGhost:
				ghosts++
			default:
				t.Fatalf("%d devices: cell %d was %+v, is %+v", n, i, want[i], got)
			}
		}
		if ghosts == 0 {
			t.Errorf("%d devices, no ghost", n)
		}
		if !slices.Equal(c.grid.blocks, plain.grid.blocks) || s.Frame.Visible != len(plain.seen) {
			t.Errorf("%d devices: clusters are not the same with ghosts", n)
		}
	}
}

func TestGhostsAreWhereDevicesOughtToBe(t *testing.T) {
	s := sceneOf(t, 60, 20, []client.Fix{moving(1, 48, 11, 30, 90)}).look(48, 11, 14)
	s.Layers = Reckon
	s.Frame.Points[0].Every, s.Frame.Points[0].Heard = 100, s.Frame.At-10_000
	c := &Chart{}
	c.Draw(s)
	x, y, _ := c.cellOf(s, 0)
	// 300 m east, at 6.4 m a dot.
	found := 0
	for i, cell := range c.out.Cells {
		if cell.Fg == look.Ghost && cell.Mask != 0 {
			found++
			if dx := i%c.out.W - x; i/c.out.W != y || dx < 22 || dx > 25 {
				t.Errorf("a ghost %d cells east and %d south", dx, i/c.out.W-y)
			}
		}
	}
	if found != 1 {
		t.Errorf("%d ghosts:\n%s", found, c.text())
	}
	for name, change := range map[string]func(){
		"under a mask":   func() { s.Mask = fleet.NewMask() },
		"without layers": func() { s.Mask, s.Layers = nil, 0 },
	} {
		change()
		for _, cell := range c.Draw(s).Cells {
			if cell.Fg == look.Ghost && cell != (canvas.Cell{}) {
				t.Errorf("a ghost %s", name)
			}
		}
		s.Mask, s.Layers = nil, Reckon
	}
	many := sceneOf(t, 60, 20, tuitest.Vans(maxGhosts+500)).look(48, 11, 1)
	for i := range many.Frame.Points {
		many.Frame.Points[i].Every, many.Frame.Points[i].Heard = 300, many.Frame.At-50_000
	}
	for _, cell := range c.Draw(many).Cells {
		if cell.Fg == look.Ghost {
			t.Fatal("a ghost among thousands")
		}
	}
}
