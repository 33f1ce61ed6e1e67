package tui

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/world"
)

// fleet is a seeded fleet that drives about between cities.
type fleet struct {
	rng   *rand.Rand
	fixes []client.Fix
	goal  []geo.Point
	clock time.Time
}

var epoch = time.Date(2026, 1, 2, 14, 22, 7, 0, time.UTC)

// newFleet puts n devices near the largest cities inside of box.
func newFleet(n int, seed uint64, box geo.Box) *fleet {
	f := &fleet{rng: rand.New(rand.NewPCG(seed, 1)), clock: epoch}
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
		f.fixes = append(f.fixes, client.Fix{
			Device: track.DeviceID(1000 + i), Name: fmt.Sprintf("van-%04d", i), At: at,
			Time: f.clock, Received: f.clock, Has: track.HasPos | track.HasVel | track.HasBat | track.HasAcc,
			Speed: f.rng.Float64() * 35, Battery: 5 + f.rng.IntN(95), Accuracy: 6,
		})
		if i%7 == 0 {
			f.fixes[i].Speed = 0
		}
	}
	return f
}

// step moves the share of the fleet that reports within d and returns their fixes.
func (f *fleet) step(d time.Duration, share float64) []client.Fix {
	f.clock = f.clock.Add(d)
	var out []client.Fix
	for i := range f.fixes {
		if f.rng.Float64() >= share {
			continue
		}
		x := &f.fixes[i]
		x.Course = geo.Bearing(x.At, f.goal[i])
		x.At = geo.Travel(x.At, x.Course, geo.Meters(x.Speed*d.Seconds()/share))
		x.Time, x.Received = f.clock, f.clock
		out = append(out, *x)
	}
	return out
}

var (
	wholeWorld = geo.World
	europe     = mustBox("35,-11,61,32")
)

func mustBox(s string) geo.Box {
	b, err := geo.ParseBox(s)
	if err != nil {
		panic(err)
	}
	return b
}

// TestMain lets the tests run this binary as the map itself, on a terminal of theirs.
func TestMain(m *testing.M) {
	if mode := os.Getenv("TUI_DRIVER"); mode != "" {
		if err := drive(mode); err != nil {
			fmt.Fprintln(os.Stderr, "driver:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func drive(mode string) error {
	n, _ := strconv.Atoi(os.Getenv("TUI_DEVICES"))
	box := europe
	if os.Getenv("TUI_WORLD") != "" {
		box = wholeWorld
	}
	bindings = append(bindings, binding{keys: []string{"P"}, do: func(*screen) { panic("on purpose") }})
	o := Options{Server: "tracker.example.org:4810", Mouse: true, Theme: os.Getenv("TUI_THEME"), Feed: simulated(n, box)}
	switch mode {
	case "once":
		return Once(context.Background(), os.Stdout, o)
	case "plain":
		return Plain(context.Background(), os.Stdout, o)
	case "panic later":
		o.Feed = later(o.Feed, func() error { panic("on purpose") })
	case "fail later":
		o.Feed = later(o.Feed, func() error { return fmt.Errorf("no such server") })
	case "heartbeat": // tells on descriptor 3 that the feed is alive
		feed, pulse := o.Feed, os.NewFile(3, "pulse")
		o.Feed = func(ctx context.Context, s *Store) error {
			go func() {
				for ctx.Err() == nil {
					s.Apply(nil)
					_, _ = pulse.WriteString(".")
					time.Sleep(20 * time.Millisecond)
				}
			}()
			return feed(ctx, s)
		}
	}
	return Run(context.Background(), o)
}

// later runs a feed for a second and then does something else.
func later(feed func(context.Context, *Store) error, then func() error) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error {
		while, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = feed(while, s)
		return then()
	}
}

// simulated is a feed of n devices, moving at sixty times the speed of life.
func simulated(n int, box geo.Box) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error {
		f := newFleet(n, 7, box)
		f.clock = time.Now()
		s.Snapshot(f.step(time.Second, 1), true, false)
		s.SetLink(Live, "")
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
				fixes := f.step(6*time.Second, 0.1)
				for i := range fixes {
					fixes[i].Received = time.Now()
				}
				s.Apply(fixes)
			}
		}
	}
}
