package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/load"
	"tracker/pkg/load/sim"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// simulateFlags are what a simulation is told.
type simulateFlags struct {
	fleetFlags
	devices int
	seed    uint64
	rate    float64
	length  time.Duration
}

func (a *app) simulateCommand() *cobra.Command {
	var s simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Drive a seeded fleet between real cities",
		Long: `Enrols a fleet of vans, trucks, bikes, ships and planes and drives it: in and between
real cities, along sea lanes, with stops and speeds as such vehicles have. Where each
one is depends on the seed, its number and the time alone, so the same seed is the same
fleet. It goes on until interrupted, or --for so long.`,
		Example: `  trackctl simulate --devices 200
  trackctl simulate --devices 10000 --rate 5000 --seed 7 --for 1m`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			if err := s.check(); err != nil {
				return err
			}
			return a.simulate(ctx, &s)
		}),
	}
	f := cmd.Flags()
	f.IntVar(&s.devices, "devices", 100, "`N` devices")
	f.Uint64Var(&s.seed, "seed", 1, "`number` that decides where everybody is")
	f.Float64Var(&s.rate, "rate", 0, "fixes a second of the whole fleet (default: one per device every 2 s)")
	f.DurationVar(&s.length, "for", 0, "stop after this `time`")
	s.flags(f)
	return cmd
}

// mostPerDevice is how many fixes a second one device may send, with room to spare
// below what the server takes.
const mostPerDevice = 3.0

func (s *simulateFlags) check() error {
	if s.devices < 1 || s.devices > 1_000_000 {
		return usagef("--devices %d: want 1 to 1000000", s.devices)
	}
	if s.length < 0 {
		return usagef("--for %v is less than nothing", s.length)
	}
	if s.rate == 0 {
		s.rate = float64(s.devices) / 2
	}
	if !(s.rate > 0) || math.IsInf(s.rate, 0) {
		return usagef("--rate %v: want a number above 0", s.rate)
	}
	if most := mostPerDevice * float64(s.devices); s.rate > most {
		return hint(usagef("--rate %g is more than %d devices may send, which is %g a second", s.rate, s.devices, most), "add --devices")
	}
	return nil
}

func (a *app) simulate(ctx context.Context, s *simulateFlags) error {
	say := a.progress()
	defer say.clear()
	world, err := sim.New(sim.Config{Devices: s.devices, Seed: s.seed})
	if err != nil {
		return err
	}
	conn, err := a.connect()
	if err != nil {
		return err
	}
	names := make([]string, world.Len())
	for i := range names {
		names[i] = s.prefix + world.Name(i)
	}
	fl, err := a.raise(ctx, conn, &s.fleetFlags, "simulate", names, say)
	if err != nil {
		return err
	}
	began := time.Now()
	sent, err := drive(ctx, fl, world, s, say)
	err = errors.Join(err, fl.close())
	say.clear()
	st := fl.Stats()
	if s.asJSON {
		return errors.Join(a.printJSON(struct {
			Devices   int     `json:"devices"`
			Seed      uint64  `json:"seed"`
			Fixes     int64   `json:"fixes"`
			Datagrams uint64  `json:"datagrams"`
			Took      float64 `json:"took_s"`
		}{world.Len(), s.seed, sent, st.Datagrams, time.Since(began).Seconds()}), err)
	}
	say.note("%d fixes of %d devices in %d datagrams", sent, world.Len(), st.Datagrams)
	return err
}

// drive sends a fix of each vehicle in turn, evenly over time.
func drive(ctx context.Context, fl *fleet, world *sim.Fleet, s *simulateFlags, say *progress) (sent int64, err error) {
	p := load.Pacer{Plan: load.Constant(s.rate), End: s.length}
	start := time.Now()
	p.Start(start)
	for {
		from, to, ok := p.Wait(ctx)
		if !ok {
			break
		}
		for k := from; k < to; k++ {
			i := int(k % int64(world.Len()))
			due := p.Intended(k)
			f := observed(world.At(i, due.Sub(start)), due)
			if err := fl.Send(ctx, i, &f); err != nil {
				return sent, err
			}
			sent++
		}
		say.step("driving", int(sent), 0, fmt.Sprintf(" fixes, %d devices", world.Len()))
		select {
		case err := <-fl.ended:
			fl.ended <- err // close wants it too
			return sent, err
		default:
		}
	}
	if err := ctx.Err(); err != nil {
		return sent, err
	}
	return sent, fl.Flush(ctx)
}

// observed says in the words of a datagram what a vehicle's receiver knows.
func observed(s sim.State, at time.Time) track.Fix {
	f := track.Fix{
		Time: at.UnixMilli(), At: s.At, Has: track.HasPos | track.HasVel | track.HasAcc,
		Speed: centi(s.Speed), Course: uint16(math.Round(s.Course*100)) % 36000,
		Acc: wire.AccuracyCode(float64(s.Accuracy) * 100),
	}
	if s.HasAlt {
		f.Alt, f.Has = int16(math.Round(s.Alt)), f.Has|track.HasAlt
	}
	if s.Battery >= 0 {
		f.Bat, f.Has = uint8(s.Battery), f.Has|track.HasBat
	}
	return f
}
