// Package sim is a fleet that does not exist: vans, trucks, bikes, ships and planes
// that move plausibly between real cities.
//
// A vehicle is a sequence of legs. Each leg is a path of great circles, driven with
// one acceleration, one cruising speed and one stop at its end:
//
//	speed ▲    cruise
//	      │   ┌───────────────┐
//	      │  ╱                 ╲            the next leg
//	      └─┴───────────────────┴──────────┴──► time
//	      begin              arrive   stop
//
// Legs come from the vehicle's own generator, seeded with the fleet's seed and the
// vehicle's number. So the place of a vehicle is a function of (seed, number, time)
// alone: it does not matter how often, at what rate or next to how many others one
// asks.
package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Config says which fleet.
type Config struct {
	Devices int
	Seed    uint64
}

// Fleet is a number of vehicles. One goroutine at a time may ask for one vehicle;
// different vehicles may be asked for concurrently.
type Fleet struct {
	seed     uint64
	vehicles []vehicle
}

// State is what a vehicle's receiver knows at one moment.
type State struct {
	At       geo.Point
	HasAlt   bool
	Alt      float64    // metres
	Speed    float64    // metres a second
	Course   float64    // degrees, 0 <= course < 360
	Accuracy geo.Meters // radius that the place is good to
	Battery  int        // percent, -1 for those on external power
}

// New makes a fleet; its clock stands at zero.
func New(cfg Config) (*Fleet, error) {
	if cfg.Devices < 1 {
		return nil, fmt.Errorf("a fleet of %d devices: want at least 1: %w", cfg.Devices, track.ErrInvalid)
	}
	f := &Fleet{seed: cfg.Seed, vehicles: make([]vehicle, cfg.Devices)}
	for i := range f.vehicles {
		f.vehicles[i].start(cfg.Seed, uint64(i))
	}
	return f, nil
}

// Len is the number of vehicles.
func (f *Fleet) Len() int { return len(f.vehicles) }

// Name is the vehicle's name, such as van-0007; it does not depend on the seed.
func (f *Fleet) Name(i int) string { return fmt.Sprintf("%s-%04d", f.vehicles[i].kind.name, i+1) }

// At is the state of vehicle i when the fleet's clock stands at t. For one vehicle t
// must not go back further than its present leg: its past is not kept.
func (f *Fleet) At(i int, t time.Duration) State {
	v := &f.vehicles[i]
	at := t.Seconds()
	for at >= v.leg.end() {
		v.depart(v.leg.end())
	}
	s := v.leg.at(at - v.leg.begin)
	v.observe(&s, t)
	return s
}

// vehicle is one member of the fleet, some 200 bytes and its path.
type vehicle struct {
	kind     *kind
	rng      rand.PCG
	home     int // index into cities
	lane     int // index into lanes, of a ship
	outward  bool
	place    geo.Point // where the present leg ends
	leg      leg
	accuracy float64
	charge   float64 // where in its battery cycle the vehicle begins, seconds
	noise    uint64
}

func (v *vehicle) start(seed, number uint64) {
	v.rng.Seed(seed, number*0x9e3779b97f4a7c15+1)
	v.kind = kindOf(number)
	v.home = v.pick(len(cities))
	v.lane = v.pick(len(lanes))
	v.outward = v.pick(2) == 0
	v.place = cities[v.home].at
	v.accuracy = v.between(3, 9)
	v.charge = v.between(0, batteryCycle)
	v.noise = v.rng.Uint64()
	// The clock starts in the middle of things: some drive, some stand.
	v.depart(0)
	v.leg.begin = -v.between(0, v.leg.end())
}

func (v *vehicle) depart(now float64) {
	path, alt := v.kind.next(v)
	v.place = path[len(path)-1]
	v.leg = newLeg(path, now, v.between(v.kind.slow, v.kind.fast), v.kind.accel, v.between(v.kind.shortStop, v.kind.longStop))
	v.leg.ceiling, v.leg.flies = alt, v.kind.flies
}

func (v *vehicle) float() float64 { return float64(v.rng.Uint64()>>11) / (1 << 53) }

func (v *vehicle) between(low, high float64) float64 { return low + (high-low)*v.float() }

func (v *vehicle) pick(n int) int { return int(v.float() * float64(n)) }

// observe adds what a receiver makes of the truth: a little noise, a battery.
func (v *vehicle) observe(s *State, t time.Duration) {
	a, b := hash(v.noise, uint64(t)), hash(v.noise+1, uint64(t))
	s.At = geo.Travel(s.At, a*360, geo.Meters(b*v.accuracy/2))
	s.Accuracy = geo.Meters(v.accuracy)
	s.Battery = -1
	if v.kind.battery {
		s.Battery = battery(math.Mod(v.charge+t.Seconds(), batteryCycle))
	}
}

// hash makes a number in 0..1 of two, the same one every time (splitmix64).
func hash(a, b uint64) float64 {
	x := a ^ b*0xbf58476d1ce4e5b9
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return float64((x^x>>31)>>11) / (1 << 53)
}

const (
	batteryCycle = 14 * 3600.0 // seconds from full to full
	batteryDrain = 13 * 3600.0 // of which it drains, from 100 to 20 percent
)

func battery(at float64) int {
	if at < batteryDrain {
		return int(100 - 80*at/batteryDrain)
	}
	return int(20 + 80*(at-batteryDrain)/(batteryCycle-batteryDrain))
}
