package tuitest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/world"
)

// World and Europe are where fleets live.
var (
	World  = geo.World
	Europe = mustBox("35,-11,61,32")
)

func mustBox(s string) geo.Box {
	b, err := geo.ParseBox(s)
	if err != nil {
		panic(err)
	}
	return b
}

// Fleet is a seeded fleet that drives about between cities.
type Fleet struct {
	Fixes []client.Fix // where everybody is
	Clock time.Time

	rng  *rand.Rand
	goal []geo.Point
}

// NewFleet puts n devices near the largest cities inside of box.
func NewFleet(n int, seed uint64, box geo.Box) *Fleet {
	f := &Fleet{rng: rand.New(rand.NewPCG(seed, 1)), Clock: Epoch}
	var homes []geo.Point
	for _, c := range world.Cities() {
		if p := c.Pos.Point(); box.Contains(p) {
			homes = append(homes, p)
		}
	}
	for i := range n {
		home := homes[int(math.Abs(f.rng.NormFloat64())*float64(len(homes))/3)%len(homes)]
		at := geo.Travel(home, f.rng.Float64()*360, geo.Meters(f.rng.ExpFloat64()*60_000))
		f.goal = append(f.goal, homes[f.rng.IntN(len(homes))])
		f.Fixes = append(f.Fixes, client.Fix{
			Device: track.DeviceID(1000 + i), Name: fmt.Sprintf("van-%04d", i), At: at,
			Time: f.Clock, Received: f.Clock, Has: track.HasPos | track.HasVel | track.HasBat | track.HasAcc,
			Speed: f.rng.Float64() * 35, Battery: 5 + f.rng.IntN(95), Accuracy: 6,
		})
		if i%7 == 0 {
			f.Fixes[i].Speed = 0
		}
	}
	return f
}

// Vans are the first fixes of n devices in Europe.
func Vans(n int) []client.Fix { return NewFleet(n, 5, Europe).Step(time.Second, 1) }

// Step moves the share of the fleet that reports within d and returns their fixes.
func (f *Fleet) Step(d time.Duration, share float64) []client.Fix {
	f.Clock = f.Clock.Add(d)
	var out []client.Fix
	for i := range f.Fixes {
		if f.rng.Float64() >= share {
			continue
		}
		x := &f.Fixes[i]
		x.Course = geo.Bearing(x.At, f.goal[i])
		x.At = geo.Travel(x.At, x.Course, geo.Meters(x.Speed*d.Seconds()/share))
		x.Time, x.Received = f.Clock, f.Clock
		out = append(out, *x)
	}
	return out
}

// Sink takes fixes, as a store does.
type Sink interface {
	Snapshot(fixes []client.Fix, first, more bool)
	Apply(fixes []client.Fix)
}

// Simulate is a feed of n devices, moving at sixty times the speed of life until ctx is
// done. loaded is called after the snapshot.
func Simulate(ctx context.Context, s Sink, n int, box geo.Box, loaded func()) error {
	f := NewFleet(n, 7, box)
	f.Clock = time.Now()
	s.Snapshot(f.Step(time.Second, 1), true, false)
	loaded()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			fixes := f.Step(6*time.Second, 0.1)
			for i := range fixes {
				fixes[i].Received = time.Now()
			}
			s.Apply(fixes)
		}
	}
}
