package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/load"
	"tracker/pkg/load/churn"
)

// churnFlags are what a measurement of coming and going is told.
type churnFlags struct {
	targetFlags
	runFlags
	transport string
	hold      time.Duration
	most      int
	settle    time.Duration
	idle      int
	mostEach  string
}

var churnDefaults = runDefaults{name: "churn", rate: "100", rateHelp: "visits a second", duration: 10 * time.Second, warmup: "2s"}

func (b *bench) churnCommand() *cobra.Command {
	var f churnFlags
	cmd := &cobra.Command{
		Use:   "churn",
		Short: "How soon a viewer who comes sees everything, and what the server keeps when it has left",
		Long: `Viewers connect, shake hands, watch everything until the snapshot is whole, stay a while
and leave, by an open plan: arrivals do not wait for each other. Times count from the
moment a visit was due. When the last has left, the server's goroutines, files,
connections, watches and live heap must be what they were before the first.

With --idle N viewers come and stay, and what each costs is divided into the server's
stacks and heap and the kernel's memory.`,
		Example: `  trackbench churn --token-file data/admin.token --rate 1000/s --duration 60s --threshold 'p99<200ms'
  trackbench churn --token-file data/admin.token --idle 15000 --transport ws`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.ran = true
			if f.idle > 0 {
				return b.idle(cmd.Context(), &f)
			}
			return b.churn(cmd.Context(), &f)
		},
	}
	fl := cmd.Flags()
	f.targetFlags.flags(fl)
	f.runFlags.flags(fl, churnDefaults)
	fl.StringVar(&f.transport, "transport", "rpc", "rpc or ws")
	fl.DurationVar(&f.hold, "hold", 200*time.Millisecond, "how long each stays; with --idle the default is 10s")
	fl.IntVar(&f.most, "most", 4096, "`N` visits under way at most; those beyond it wait, and their time counts")
	fl.DurationVar(&f.settle, "settle", 15*time.Second, "how long the server may take to become what it was")
	fl.IntVar(&f.idle, "idle", 0, "hold `N` viewers instead, and tell what each costs")
	fl.StringVar(&f.mostEach, "max-each", "", "with --idle: fail if one costs the server more than this `size` of memory, such as 10KiB")
	return cmd
}

const churnHelp = "trackbench churn --help shows what there is"

// door checks the flags and finds the server.
func (f *churnFlags) door(ctx context.Context) (d churn.Door, err error) {
	if err := f.check(churnDefaults); err != nil {
		return d, err
	}
	if d.Transport, err = churn.ParseTransport(f.transport); err != nil {
		return d, fail(exitUsage, churnHelp, "--transport: %w", err)
	}
	conn, err := f.connect(ctx)
	if err != nil {
		return d, err
	}
	defer conn.CloseIdle()
	if d.Token, err = f.secret(); err != nil {
		return d, err
	}
	d.Addr, d.Sources = f.addr, f.sources
	if _, _, err := net.SplitHostPort(d.Addr); err != nil {
		return d, fail(exitUsage, "", "--server %q: want HOST:PORT, such as 127.0.0.1:4810", d.Addr)
	}
	return d, nil
}

func (b *bench) churn(ctx context.Context, f *churnFlags) error {
	d, err := f.door(ctx)
	if err != nil {
		return err
	}
	cfg := churn.Config{Door: d, Plan: f.plan, Warmup: f.warm.Length, Duration: f.duration, Hold: f.hold, Most: f.most, Interval: f.interval, Settle: f.settle}
	if err := cfg.Check(); err != nil {
		return fail(exitUsage, churnHelp, "%w", err)
	}
	if f.loopback {
		cfg.Scrape = f.scraper(&d)
	}
	if err := f.preflight(load.Need{Conns: cfg.Open(), PerSec: f.plan.Peak(), For: f.warm.Length + f.duration, Target: load.TargetOf(f.addr)}); err != nil {
		return err
	}
	show, err := b.live(&f.runFlags)
	if err != nil {
		return err
	}
	defer show.close()
	cfg.OnPhase = show.Phase
	cfg.OnTick = func(t churn.Tick) {
		show.Tick(load.Tick{At: t.At, Warming: t.Warming, Sent: t.Came + t.Failed, Received: t.Came, Rate: float64(t.Came) / f.interval.Seconds()})
	}
	b.text(&f.runFlags).header("churn", fmt.Sprintf("rate=%s %s hold=%v transport=%s", f.rate, f.length(), f.hold, f.transport), f.target(f.addr), machine())
	return b.measureVisits(ctx, f, cfg)
}

func (b *bench) measureVisits(ctx context.Context, f *churnFlags, cfg churn.Config) error {
	defer load.Quieten(2 << 30)()
	meter := load.NewMeter(load.MeterConfig{Server: f.process(), Metrics: f.addr})
	defer meter.Stop()
	phase := cfg.OnPhase
	var used *load.Result // what the measured part cost; what comes after it is not the visitors'
	cfg.OnPhase = func(name string) {
		switch name {
		case churn.Measuring:
			meter.Begin(ctx)
		case churn.Settling:
			used = &load.Result{}
			meter.End(context.WithoutCancel(ctx), used)
		}
		phase(name)
	}
	o, err := churn.Run(ctx, cfg)
	if err != nil {
		return churn.InWords(err)
	}
	res := o.Result(version, &cfg)
	res.Target = f.target(f.addr)
	res.Scenario.Plan = f.plan.SHA256(f.seed, f.duration, "churn "+f.transport)
	if used != nil {
		res.Resources, res.Calibration, res.Env = used.Resources, used.Calibration, used.Env
	} else {
		meter.End(context.WithoutCancel(ctx), res)
	}
	res.Judge(load.Evidence{Late: o.Late, Loopback: f.loopback, Plan: f.plan})
	return b.conclude(res, &f.runFlags, leakLines(o)...)
}

// scraper reads the server's metrics, and with them how many files it has open, which
// only the system tells.
func (f *churnFlags) scraper(d *churn.Door) func(context.Context) (churn.Reading, error) {
	read, server := churn.Scraper(f.addr, d.Token), f.process()
	return func(ctx context.Context) (churn.Reading, error) {
		r, err := read(ctx)
		if err != nil || server == nil {
			return r, err
		}
		if list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", server.PID)); err == nil {
			r[churn.OpenFiles] = float64(len(list))
		}
		return r, nil
	}
}

// leakLines tell the server before the first visitor and after the last.
func leakLines(o *churn.Outcome) []string {
	if o.Before == nil || o.After == nil {
		return []string{"leaks        unknown: the server shows no metrics"}
	}
	line := "leaks        none"
	if len(o.Leaks) > 0 {
		line = fmt.Sprintf("leaks        %d", len(o.Leaks))
	}
	line += fmt.Sprintf(": %.0f goroutines before and %.0f after", o.Before[churn.Goroutines], o.After[churn.Goroutines])
	if before, ok := o.Before[churn.OpenFiles]; ok {
		line += fmt.Sprintf(", %.0f files and %.0f", before, o.After[churn.OpenFiles])
	}
	if before, ok := o.Before[churn.LiveHeap]; ok {
		line += fmt.Sprintf(", live heap %.1f MB and %.1f", before/1e6, o.After[churn.LiveHeap]/1e6)
	}
	lines := []string{line}
	for _, l := range o.Leaks {
		lines = append(lines, "             "+l.String())
	}
	return lines
}

func (b *bench) idle(ctx context.Context, f *churnFlags) error {
	d, err := f.door(ctx)
	if err != nil {
		return err
	}
	most, err := parseSize(f.mostEach)
	if err != nil {
		return fail(exitUsage, churnHelp, "--max-each: %w", err)
	}
	if !f.loopback {
		return fail(exitUsage, churnHelp, "--idle needs the metrics of the server, which is not this machine")
	}
	if err := f.preflight(load.Need{Conns: f.idle, Target: load.TargetOf(f.addr)}); err != nil {
		return err
	}
	show, err := b.live(&f.runFlags)
	if err != nil {
		return err
	}
	defer show.close()
	cfg := churn.IdleConfig{Door: d, Viewers: f.idle, Hold: f.hold, Settle: f.settle, Scrape: f.scraper(&d), OnPhase: show.Phase}
	if cfg.Hold == 200*time.Millisecond {
		cfg.Hold = 10 * time.Second
	}
	b.text(&f.runFlags).header("idle", fmt.Sprintf("viewers=%d transport=%s", f.idle, f.transport), f.target(f.addr), machine())
	meter := load.NewMeter(load.MeterConfig{Server: f.process(), Metrics: f.addr})
	defer meter.Stop()
	meter.Begin(ctx)
	began := time.Now()
	o, err := churn.Hold(ctx, cfg)
	if err != nil {
		return churn.InWords(err)
	}
	res := o.Result(version, &cfg)
	res.Target = f.target(f.addr)
	res.Started, res.DurationNS = load.Instant{Time: began}, int64(time.Since(began)) // what both sides used is of all of it
	meter.End(context.WithoutCancel(ctx), res)
	res.Judge(load.Evidence{Loopback: f.loopback})
	if most > 0 {
		res.Checks = append(res.Checks, f.checkEach(o.RSS, most))
	}
	return b.conclude(res, &f.runFlags, idleLines(o)...)
}

// wobble is what the memory of a server moves by without any viewer.
const wobble = 1 << 20

// checkEach holds what one idle viewer costs against what it may. So few viewers that all
// of them together may cost no more than the server's memory moves by anyway tell nothing.
func (f *churnFlags) checkEach(each, most float64) load.Check {
	c := load.Check{Kind: "threshold", Name: "max-each " + f.mostEach, Pass: each <= most, Text: fmt.Sprintf("one costs %.1f KiB", each/1024)}
	if c.Pass && most*float64(f.idle) < wobble {
		c.Pass, c.Text = false, fmt.Sprintf("not measured: %d viewers are too few to tell", f.idle)
	}
	return c
}

func idleLines(o *churn.Idle) []string {
	const kib = 1024
	return []string{
		fmt.Sprintf("each         %.1f KiB of the server's memory: stacks %.1f, heap %.1f, other %.1f; %.1f of the heap live", o.RSS/kib, o.Stack/kib, o.Heap/kib, o.Other/kib, o.Live/kib),
		fmt.Sprintf("kernel       %s for a socket, %s in its buffers; %.2f goroutines each", ofKernel(o.KernelSlab), ofKernel(o.KernelBuffer), o.Goroutines),
		fmt.Sprintf("opened       in %v, whole snapshot %v", o.Opening.Round(time.Millisecond), o.Connect.Summary()),
	}
}

// ofKernel is a share of what the whole machine's kernel holds, which falls for reasons of
// its own, too.
func ofKernel(v float64) string {
	if v < 0 {
		return "n/a"
	}
	return fmt.Sprintf("%.1f KiB", v/1024)
}

// parseSize reads 10KiB, 10KB, 2MiB or a number of bytes.
func parseSize(s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	var v float64
	var unit string
	n, err := fmt.Sscanf(s, "%f%s", &v, &unit)
	scale, known := map[string]float64{"": 1, "B": 1, "KB": 1e3, "KiB": 1 << 10, "MB": 1e6, "MiB": 1 << 20}[unit]
	if n == 0 || !known || !(v > 0) || n == 2 && err != nil {
		return 0, fmt.Errorf("%q is no size such as 10KiB", s)
	}
	return v * scale, nil
}
