package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/load"
	"tracker/pkg/load/fan"
)

// marauderFlags are what marauder is told.
type marauderFlags struct {
	fanFlags
	n, m    int
	every   time.Duration
	phase   string
	pacing  string
	elapsed float64
	scale   bool
}

var marauderDefaults = runDefaults{name: "marauder"}

func (b *bench) marauderCommand() *cobra.Command {
	var f marauderFlags
	cmd := &cobra.Command{
		Use:   "marauder",
		Short: "Everybody sends and everybody watches: n clients, m updates each, one every s",
		Long: `The Marauder's Map: n clients stand on a map. Each sends m updates, one every s, and must
get all n*m, its own included. All must come once and in order, and at the end all n must
show the state that the plan says; whatever is wrong is named, receiver and sender.

Senders start at moments spread over the first s (--phase uniform) or all at once (burst).
With --pacing schedule an update is due s after the one before was due, so that lag does
not add up; with sleep it is due s after the one before was sent.

The ideal is s*m. What the last update needed beyond the last send is the drain.`,
		Example: `  trackbench marauder --token-file data/admin.token -n 1000 -m 100 -s 1s
  trackbench marauder --token-file data/admin.token -n 200 -m 20 -s 500ms --transport ws --out html=run.html
  trackbench marauder --plan -n 1000 -s 1s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.ran = true
			return b.marauder(cmd.Context(), &f)
		},
	}
	fl := cmd.Flags()
	f.flags(fl, marauderDefaults)
	fl.IntVarP(&f.n, "clients", "n", 50, "`N` clients")
	fl.IntVarP(&f.m, "updates", "m", 10, "`M` updates of each")
	fl.DurationVarP(&f.every, "every", "s", time.Second, "`time` from one update of a client to its next")
	fl.StringVar(&f.phase, "phase", "uniform", "when clients send their first: uniform or burst")
	fl.StringVar(&f.pacing, "pacing", "schedule", "what the next waits for: schedule or sleep")
	fl.Float64Var(&f.elapsed, "max-elapsed", 1.02, "fail if it takes more than so many `times` s*m; 0: whatever it takes")
	fl.BoolVar(&f.scale, "plan", false, "only tell what such a run comes to, at several sizes")
	return cmd
}

// most that a run may be; its rows are counted in memory.
const (
	mostClients = 10_000
	mostUpdates = 1_000_000
)

func (f *marauderFlags) check() (phase fan.Phase, pacing fan.Pacing, err error) {
	usage := func(format string, args ...any) (fan.Phase, fan.Pacing, error) {
		return 0, 0, fail(exitUsage, "trackbench marauder --help shows what there is", format, args...)
	}
	if err := f.fanFlags.check(marauderDefaults); err != nil {
		return 0, 0, err
	}
	if f.n < 1 || f.n > mostClients || f.m < 1 || f.m > mostUpdates || f.every <= 0 {
		return usage("-n %d -m %d -s %v: want 1 to %d clients, 1 to %d updates, and some time", f.n, f.m, f.every, mostClients, mostUpdates)
	}
	switch f.phase {
	case "uniform":
	case "burst":
		phase = fan.Burst
	default:
		return usage("--phase %q: want uniform or burst", f.phase)
	}
	switch f.pacing {
	case "schedule":
	case "sleep":
		pacing = fan.Sleep
	default:
		return usage("--pacing %q: want schedule or sleep", f.pacing)
	}
	return phase, pacing, nil
}

func (b *bench) marauder(ctx context.Context, f *marauderFlags) error {
	phase, pacing, err := f.check()
	if err != nil {
		return err
	}
	if f.scale {
		f.tellScale(b.out)
		return nil
	}
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.CloseIdle()
	plan := fan.Rounds(f.n, f.m, f.every, phase, pacing, f.seed)
	if err := f.preflight(load.Need{Conns: f.n, PerSec: f.comes, For: plan.Ideal(), Target: load.TargetOf(conn.Server())}); err != nil {
		return err
	}
	roster, members, err := b.fleet(ctx, &f.fanFlags, conn, "marauder", f.n)
	if err != nil {
		return err
	}
	defer func() { _ = roster.Close() }()
	show, err := b.live(&f.runFlags)
	if err != nil {
		return err
	}
	defer show.close()
	b.text(&f.runFlags).header("marauder", fmt.Sprintf("n=%d m=%d s=%v phase=%s pacing=%s transport=%s seed=%d",
		f.n, f.m, f.every, f.phase, f.pacing, f.transport, f.seed), f.target(conn.Server()), machine())
	defer load.Quieten(fanMemory)()
	defer roomForPacer()()
	area, remove, err := f.watched(ctx, conn, members)
	if err != nil {
		return err
	}
	defer remove()
	cfg := fan.Config{Scenario: "marauder", Plan: plan, Devices: devicesOf(members), N: f.n, Area: area, Together: true}
	if err := f.configure(&cfg, conn, show); err != nil {
		return err
	}
	res, err := f.run(ctx, cfg, conn)
	if err != nil {
		return err
	}
	f.hold(res)
	b.calibrated(ctx, &f.fanFlags, f.n, false, res)
	return b.conclude(res, &f.runFlags, visitorLines(res)...)
}

// hold says what was asked for, and whether it took too long.
func (f *marauderFlags) hold(res *load.Result) {
	for name, v := range map[string]any{"n": f.n, "m": f.m, "s": f.every.String(), "phase": f.phase, "pacing": f.pacing} {
		res.Scenario.Args[name] = v
	}
	ratio, known := res.Rates["elapsed_ratio"]
	if f.elapsed == 0 || !known {
		return
	}
	res.Checks = append(res.Checks, load.Check{
		Kind: "threshold", Name: fmt.Sprintf("elapsed<=%gx", f.elapsed), Pass: ratio <= f.elapsed, Text: fmt.Sprintf("it was %.4gx of s*m", ratio),
	})
}

// visitorLines tell of viewers that read late, and of those that come and go.
func visitorLines(res *load.Result) (lines []string) {
	if slow, ok := res.Findings["slow"].(map[string]any); ok {
		lines = append(lines, fmt.Sprintf("slow         %v viewers read late and were spared %v updates, %v unaccounted for", slow["viewers"], slow["skipped"], slow["unaccounted"]))
	}
	if churn, ok := res.Findings["churn"].(map[string]any); ok {
		lines = append(lines, fmt.Sprintf("churn        %v visits, %v failed, %v gaps after a snapshot", churn["visits"], churn["failed"], churn["gaps"]))
	}
	return lines
}

// What an update is on the wire, about, when frames hold many.
const (
	rpcUpdate, rpcFrame = 80, 140
	wsUpdate, wsFrame   = 128, 60
	frameEvery          = 50 * time.Millisecond // that a server makes under load
)

// tellScale prints what runs of several sizes come to.
func (f *marauderFlags) tellScale(w io.Writer) {
	sizes := []int{10, 100, 300, 1000, 3000}
	if !slices.Contains(sizes, f.n) {
		sizes = append(sizes, f.n)
		slices.Sort(sizes)
	}
	fmt.Fprintf(w, "s=%v m=%d transport=%s\n", f.every, f.m, f.transport)
	fmt.Fprintf(w, "%7s %15s %14s %11s %11s %8s %8s %9s\n", "n", "deliveries", "deliveries/s", "frames/s", "MB/s", "conns", "files", "memory")
	for _, n := range sizes {
		rate := float64(n) * float64(n) / f.every.Seconds()
		frames := float64(n) * min(float64(n)/f.every.Seconds(), 1/frameEvery.Seconds())
		update, frame := float64(rpcUpdate), float64(rpcFrame)
		if f.how == fan.WS {
			update, frame = wsUpdate, wsFrame
		}
		fmt.Fprintf(w, "%7d %15s %14s %11s %11.1f %8d %8d %6.0f MB\n", n, count(int64(n)*int64(n)*int64(f.m)), perSecond(rate), perSecond(frames),
			(rate*update+frames*frame)/1e6, n, n+load.Spare, clientMemory(n)/1e6)
	}
}

// clientMemory is about what a run of n clients needs: a row of cells and the buffers of
// each connection, and the histograms.
func clientMemory(n int) float64 {
	const each, cell, fixed = 48 << 10, 12, 40 << 20
	return fixed + float64(n)*each + float64(n)*float64(n)*cell
}
