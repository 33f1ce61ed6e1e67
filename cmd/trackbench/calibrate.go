package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/load/fan"
	"tracker/pkg/load/null"
	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// nullVerb is how this program runs itself as the server that does nothing.
const nullVerb = "null-server"

func (b *bench) nullCommand() *cobra.Command {
	var cfg null.Config
	cmd := &cobra.Command{
		Use:    nullVerb,
		Short:  "Be the server that does nothing, for calibrate",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.ran = true
			s, err := null.Listen(cfg)
			if err != nil {
				return err
			}
			fmt.Fprintf(b.out, "ready tcp=%s udp=%s\n", s.Addr(), s.UDP())
			return s.Run(cmd.Context())
		},
	}
	cmd.Flags().IntVar(&cfg.Batch, "batch", 0, "`N` reports in a frame (default: all that came within a tick)")
	cmd.Flags().DurationVar(&cfg.Tick, "tick", 40*time.Millisecond, "how long a report waits for others")
	cmd.Flags().StringVar(&cfg.Listen, "listen", "127.0.0.1:0", "where, `HOST:PORT`")
	return cmd
}

// nullServer is a child that does nothing.
type nullServer struct {
	*load.Child
	tcp, udp string
}

// startNull starts this program as the server that does nothing.
func startNull(ctx context.Context, seats load.Seats, batch int) (*nullServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &nullServer{}
	cmd := seats.Command(context.WithoutCancel(ctx), seats.Server, self, nullVerb, "--batch", strconv.Itoa(batch)) // Stop ends it
	ready, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s.Child, err = load.StartChild(ready, cmd, nullVerb, func(line string) bool {
		n, _ := fmt.Sscanf(line, "ready tcp=%s udp=%s", &s.tcp, &s.udp)
		return n == 2
	})
	return s, err
}

// ceiling measures what this process reaches at a shape, in about a second.
func (b *bench) ceiling(ctx context.Context, seats load.Seats, s null.Shape, length time.Duration) (perSecond float64, err error) {
	server, err := startNull(ctx, seats, s.Batch)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	return null.Measure(ctx, null.Options{Addr: server.tcp, UDP: server.udp, Length: length, Fleet: nobodysFleet}, s)
}

// nobodysFleet is devices that no server knows.
func nobodysFleet(addr string, sockets, devices int) (*client.Fleet, error) {
	fleet := client.NewFleet(client.FleetConfig{Addr: addr, Sockets: sockets, Unlimited: true})
	for range devices {
		var id [8]byte
		_, _ = rand.Read(id[2:]) // never fails
		e := seal.Enrolment{Host: addr, Device: track.DeviceID(uint64(id[2])<<40 | uint64(id[3])<<32 | uint64(id[4])<<24 | uint64(id[5])<<16 | uint64(id[6])<<8 | uint64(id[7])), Root: seal.NewRoot(), Suite: seal.ChaCha20Poly1305}
		if _, err := fleet.Add(e); err != nil {
			return nil, err
		}
	}
	return fleet, nil
}

// ceilings is where they are kept, nil where there is no place.
func ceilings(e *load.Env) *null.Cache {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return &null.Cache{Path: filepath.Join(dir, "tracker", "bench", "ceilings.json"), Fingerprint: e.Fingerprint, Version: version}
}

// headlines are the rates that a ceiling is of.
var headlines = map[null.Kind]string{null.Calls: "answered_per_s", null.Fanout: "deliveries_per_s", null.Ingest: "achieved_per_s"}

// nearCeiling is how much of its own ceiling a client may use before it is the limit.
const nearCeiling = 0.8

// calibrate tells a result what this program can reach at all, and that it was the limit
// if that is so. With auto the ceiling is one of today, if there is one, and is measured
// for runs that go toLimit; others are far below it, or say so by being late. fresh
// measures in any case. What cannot be measured leaves the result as it is.
func (b *bench) calibrate(ctx context.Context, f *runFlags, seats load.Seats, s null.Shape, toLimit bool, res *load.Result) {
	if f.calibrate == "off" || ctx.Err() != nil {
		return
	}
	cache := ceilings(&res.Env)
	perSecond, known := cache.Get(s)
	if f.calibrate == "fresh" || !known && toLimit {
		if !f.quiet {
			fmt.Fprintf(b.err, "trackbench: measuring what this program itself can reach\n")
		}
		var err error
		if perSecond, err = b.ceiling(ctx, seats, s, time.Second); err != nil {
			fmt.Fprintf(b.err, "trackbench: no calibration: %v\n", err)
			return
		}
		_ = cache.Put(s, perSecond) // it is measured again next time
	}
	if perSecond > 0 {
		limited(res, s.Kind, perSecond)
	}
}

// limited holds a result against a ceiling.
func limited(res *load.Result, kind null.Kind, perSecond float64) {
	rate := res.Rates[headlines[kind]]
	res.Calibration.NullCeiling = perSecond
	res.Calibration.FractionUsed = rate / perSecond
	if res.Calibration.FractionUsed >= nearCeiling && !res.Verdict.Has("W01") {
		res.Verdict.Warn("W01", load.Doubt, map[string]any{"rate_per_s": rate, "null_ceiling_per_s": perSecond},
			"CLIENT-BOUND: %.0f/s is %.0f %% of what this program reaches against a server that does nothing; the server can do at least this", rate, 100*rate/perSecond)
	}
}

// calibrateFlags are what a calibration is told.
type calibrateFlags struct {
	runFlags
	viewers  int
	unpinned bool
}

var calibrateDefaults = runDefaults{name: "calibrate", duration: time.Second}

func (b *bench) calibrateCommand() *cobra.Command {
	var f calibrateFlags
	cmd := &cobra.Command{
		Use:   "calibrate",
		Short: "What this program itself can reach on this machine, and how well it can tell the time",
		Long: `Runs the client of each measurement against a server that does nothing, a process of its
own, and tells the ceiling: calls answered, updates delivered, datagrams sent a second. A
result near it says more of this program than of a server. It also tells how much too
long this machine's sleeps are, and how late a thread wakes up that wants nothing.`,
		Example: "  trackbench calibrate\n  trackbench calibrate --duration 3s --out json=ceiling.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.ran = true
			return b.calibration(cmd.Context(), &f)
		},
	}
	f.runFlags.flags(cmd.Flags(), calibrateDefaults)
	cmd.Flags().IntVar(&f.viewers, "viewers", 1000, "`N` watchers of what is delivered")
	cmd.Flags().BoolVar(&f.unpinned, "no-pin", false, "leave it to the system which processor does what")
	return cmd
}

// ceilingOf is a shape with a name.
type ceilingOf struct {
	name, unit string
	shape      null.Shape
}

func (f *calibrateFlags) works() []ceilingOf {
	list := []ceilingOf{
		{"sum, one at a time", "calls", null.Shape{Kind: null.Calls, Method: "sum", Conns: 1, Depth: 1}},
		{"sum, 512 at a time", "calls", null.Shape{Kind: null.Calls, Method: "sum", Conns: 1, Depth: 512}},
		{"echo of 1 KiB, 64 at a time", "calls", null.Shape{Kind: null.Calls, Method: "echo", Payload: 1024, Conns: 1, Depth: 64}},
		{"datagrams", "datagrams", null.Shape{Kind: null.Ingest, Conns: 4}},
	}
	for _, t := range []fan.Transport{fan.RPC, fan.WS} {
		for _, batch := range []int{1, 10, 50} {
			list = append(list, ceilingOf{fmt.Sprintf("%v, %d viewers, %d updates a frame", t, f.viewers, batch), "updates",
				null.Shape{Kind: null.Fanout, Transport: t, Viewers: f.viewers, Batch: batch}})
		}
	}
	return list
}

// found is a ceiling as a result has it.
type found struct {
	Work      string     `json:"work"`
	Unit      string     `json:"unit"`
	PerSecond float64    `json:"per_s"`
	Frames    float64    `json:"frames_per_s,omitempty"`
	Shape     null.Shape `json:"shape"`
}

func (b *bench) calibration(ctx context.Context, f *calibrateFlags) error {
	if err := f.check(calibrateDefaults); err != nil {
		return err
	}
	if f.viewers < 1 {
		return fail(exitUsage, "", "--viewers %d: want at least one", f.viewers)
	}
	if err := f.preflight(load.Need{Conns: f.viewers}); err != nil {
		return err
	}
	seats := load.Seats{}
	if !f.unpinned {
		seats = load.FindSeats()
	}
	res := load.NewResult(version, "calibrate")
	res.Scenario.Loop, res.Scenario.Args = "closed", map[string]any{"viewers": f.viewers, "each": f.duration.String(), "seats": seats.String()}
	res.Target = load.Target{Kind: "null"}
	b.text(&f.runFlags).header("calibrate", seats.String(), res.Target, machine())
	naps := load.Sleeps()
	if err := seats.Sit(ctx); err != nil {
		return fail(exitUsage, "--no-pin goes without", "%w", err)
	}
	defer load.Quieten(2 << 30)()
	meter := load.NewMeter(load.MeterConfig{})
	defer meter.Stop()
	meter.Begin(ctx)
	began := time.Now()
	res.Started = load.Instant{Time: began}
	all, lines, err := b.works(ctx, f, seats)
	res.DurationNS = int64(time.Since(began))
	res.Partial = ctx.Err() != nil
	if err != nil && !res.Partial {
		return err
	}
	meter.End(context.WithoutCancel(ctx), res)
	res.Findings = map[string]any{"ceilings": all, "sleeps": naps}
	res.Judge(load.Evidence{Loopback: true})
	return b.conclude(res, &f.runFlags, append(lines, napLines(naps, res)...)...)
}

// works measures one ceiling after the other and keeps them for the runs of the day.
func (b *bench) works(ctx context.Context, f *calibrateFlags, seats load.Seats) (all []found, lines []string, err error) {
	cache := ceilings(machine())
	for _, w := range f.works() {
		if !f.quiet {
			fmt.Fprintf(b.err, "trackbench: %s\n", w.name)
		}
		v, err := b.ceiling(ctx, seats, w.shape, f.duration)
		if err != nil {
			return all, lines, fmt.Errorf("%s: %w", w.name, err)
		}
		_ = cache.Put(w.shape, v) // it is measured again when it is needed
		one := found{Work: w.name, Unit: w.unit, PerSecond: v, Shape: w.shape}
		line := fmt.Sprintf("ceiling      %-34s %12.0f %s/s", w.name, v, w.unit)
		if w.shape.Kind == null.Fanout {
			one.Frames = v / float64(w.shape.Batch)
			line += fmt.Sprintf(", %.0f frames/s", one.Frames)
		}
		all, lines = append(all, one), append(lines, line)
	}
	return all, lines, nil
}

// napLines tell how well this machine sleeps.
func napLines(naps []load.Sleep, res *load.Result) (lines []string) {
	micros := func(s load.Summary, q string) string {
		if d, ok := s.Quantile(q); ok {
			return fmt.Sprintf("%.0f", float64(d)/1e3)
		}
		return "n/a"
	}
	for _, n := range naps {
		lines = append(lines, fmt.Sprintf("nap          %7v: too long by p50 %s, p90 %s, max %.0f us in the kernel; p50 %s, p90 %s, max %.0f us in the Go runtime", time.Duration(n.Length),
			micros(n.Kernel, "50"), micros(n.Kernel, "90"), float64(n.Kernel.Max)/1e3, micros(n.GoRuntime, "50"), micros(n.GoRuntime, "90"), float64(n.GoRuntime.Max)/1e3))
	}
	h := res.Calibration.Hiccup
	return append(lines, fmt.Sprintf("hiccups      a thread that wants nothing wakes up late by p50 %s, p99 %s, max %.0f us", micros(h, "50"), micros(h, "99"), float64(h.Max)/1e3))
}
