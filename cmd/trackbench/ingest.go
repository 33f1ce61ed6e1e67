package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/seal"
)

// ingestFlags are what a measurement of ingest is told.
type ingestFlags struct {
	targetFlags
	devices    int
	rate       string
	duration   time.Duration
	conns      int
	watch      bool
	seed       uint64
	interval   time.Duration
	maxLoss    string
	thresholds []string
	out        []string
	strict     bool
	quiet      bool
	state      string
}

func (b *bench) ingestCommand() *cobra.Command {
	var f ingestFlags
	cmd := &cobra.Command{
		Use:   "ingest",
		Short: "How many datagrams a server takes in, and how soon a watcher has them",
		Long: `Enrols a fleet and sends sealed datagrams by an open plan: the schedule does not wait
for the server. It counts what was accepted, what was lost and where; with --watch also
how long each fix took from the moment it was due to a watcher's WebSocket.`,
		Example: `  trackbench ingest --token-file data/admin.token --rate 10k --duration 30s --watch
  trackbench ingest --token-file data/admin.token --rate 1k:50k:60s --out json=run.json --threshold 'p99<60ms'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.ran = true
			return b.ingest(cmd.Context(), &f)
		},
	}
	fl := cmd.Flags()
	f.targetFlags.flags(fl)
	fl.StringVar(&f.rate, "rate", "100", "fixes a second: `R`, FROM:TO:OVER, or R@TIME,R@TIME")
	fl.DurationVar(&f.duration, "duration", 10*time.Second, "how long to send")
	fl.IntVar(&f.devices, "devices", 0, "`N` devices (default: as many as the rate needs)")
	fl.IntVar(&f.conns, "conns", 4, "`N` sockets to send from")
	fl.BoolVar(&f.watch, "watch", false, "watch everything, and measure how soon each fix is there")
	fl.Uint64Var(&f.seed, "seed", 1, "`number` that decides where the devices are")
	fl.DurationVar(&f.interval, "interval", time.Second, "`time` between two lines")
	fl.StringVar(&f.maxLoss, "max-loss", "0.1%", "more loss than this `share` is a failure")
	fl.StringArrayVar(&f.thresholds, "threshold", nil, "fail unless `METRIC<VALUE`, such as p99<60ms, loss<0.1%, rate>9k; may be given again")
	fl.StringArrayVar(&f.out, "out", nil, "also write the result: `json=FILE`; - is standard output")
	fl.BoolVar(&f.strict, "strict", false, "a suspect result is a failure")
	fl.BoolVar(&f.quiet, "quiet", false, "no lines while it runs")
	fl.StringVar(&f.state, "state", "", "`file` that keeps the fleet's keys (default: in XDG_STATE_HOME)")
	return cmd
}

// plan is what the flags come to once they are checked.
type plan struct {
	rate       load.Plan
	devices    int
	maxLoss    float64
	thresholds []threshold
	json       []string
}

// perDevice is how many datagrams a second a device may send, with room to spare.
const perDevice = 3.0

func (f *ingestFlags) check() (p plan, err error) {
	usage := func(format string, args ...any) (plan, error) {
		return plan{}, fail(exitUsage, "trackbench ingest --help shows what there is", format, args...)
	}
	if p.rate, err = load.ParsePlan(f.rate); err != nil {
		return usage("--rate: %w", err)
	}
	if f.duration <= 0 || f.interval < 100*time.Millisecond {
		return usage("--duration %v, --interval %v: want some time, and intervals of at least 100ms", f.duration, f.interval)
	}
	if f.conns < 1 || f.conns > 64 {
		return usage("--conns %d: want 1 to 64", f.conns)
	}
	need := int(math.Ceil(p.rate.Peak() / perDevice))
	if p.devices = f.devices; p.devices == 0 {
		p.devices = max(100, need)
	}
	if p.devices < need {
		return usage("--devices %d: a rate of %.0f/s needs %d, since a server takes 4 datagrams a second of one device", p.devices, p.rate.Peak(), need)
	}
	if p.maxLoss, err = parseShare(f.maxLoss); err != nil {
		return usage("--max-loss: %w", err)
	}
	for _, s := range f.thresholds {
		t, err := parseThreshold(s)
		if err != nil {
			return usage("--threshold: %w", err)
		}
		p.thresholds = append(p.thresholds, t)
	}
	p.json, err = jsonFiles(f.out)
	return p, err
}

func (b *bench) ingest(ctx context.Context, f *ingestFlags) error {
	p, err := f.check()
	if err != nil {
		return err
	}
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	if lim := load.OpenFiles(); lim > 0 && lim < int64(f.conns)+64 {
		return fail(exitUsage, fmt.Sprintf("ulimit -n %d", f.conns+64), "this process may open %d files, and the run needs %d", lim, f.conns+64)
	}
	roster, members, err := b.muster(ctx, f, conn, p.devices)
	if err != nil {
		return err
	}
	defer func() { _ = roster.Close() }()
	fleet, err := newFleet(f, members)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // it has to flush after Ctrl-C
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(running) }() // waited for below
	show := display{bench: b, quiet: f.quiet, watch: f.watch}
	show.header(f, conn, &p)
	res, err := load.Ingest(ctx, load.IngestConfig{
		Conn: conn, Fleet: fleet, Members: members, Plan: p.rate, Duration: f.duration, Seed: f.seed,
		Watch: f.watch, Interval: f.interval, Version: version, Loopback: f.loopback,
		OnTick: show.tick, OnPhase: show.phase,
	})
	stop()
	err = errors.Join(err, <-ended)
	if errors.Is(err, load.ErrUnsound) {
		return fail(exitInternal, "please report this", "%w", err)
	}
	if err != nil {
		return err
	}
	res.Scenario.Seed = f.seed
	res.Scenario.Args = map[string]any{"rate": f.rate, "duration": f.duration.String(), "devices": p.devices, "conns": f.conns, "watch": f.watch}
	res.Target.UDP = f.udp
	show.result(res)
	for _, path := range p.json {
		if err := res.WriteJSON(path); err != nil {
			return fail(exitUsage, "", "write the result: %w", err)
		}
	}
	return conclude(res, &p, f.strict)
}

func (b *bench) muster(ctx context.Context, f *ingestFlags, conn *client.Conn, devices int) (*load.Roster, []load.Member, error) {
	path, err := f.statePath(conn.Server())
	if err != nil {
		return nil, nil, fail(exitUsage, "set HOME or XDG_STATE_HOME, or pass --state FILE", "%w", err)
	}
	roster, err := load.OpenRoster(path)
	if errors.Is(err, load.ErrFleetBusy) {
		return nil, nil, fail(exitUsage, "wait for it, or pass --state FILE", "%w", err)
	}
	if err != nil {
		return nil, nil, fail(exitUsage, "pass --state FILE", "%w", err)
	}
	names := make([]string, devices)
	for i := range names {
		names[i] = fmt.Sprintf("bench-%06d", i+1)
	}
	members, how, err := roster.Muster(ctx, conn, names, nil)
	if err != nil {
		return nil, nil, errors.Join(err, roster.Close())
	}
	fmt.Fprintf(b.err, "trackbench: %d devices, %d of them new\n", devices, how.Enrolled)
	return roster, members, nil
}

func (f *ingestFlags) statePath(server string) (string, error) {
	if f.state != "" {
		return f.state, nil
	}
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "tracker", "bench", strings.NewReplacer(":", "_", "/", "_", "[", "", "]", "").Replace(server)+".json"), nil
}

func newFleet(f *ingestFlags, members []load.Member) (*client.Fleet, error) {
	fleet := client.NewFleet(client.FleetConfig{Addr: f.udp, Sockets: f.conns, Unlimited: true})
	for i := range members {
		e, err := seal.ParseEnrolment(members[i].Enrolment)
		if err != nil {
			return nil, err
		}
		if f.udp == "" && !loopback(e.Host) && !f.mine {
			return nil, refuse(e.Host)
		}
		if _, err := fleet.Add(e); err != nil {
			return nil, err
		}
	}
	return fleet, nil
}

// conclude turns a result into an exit code.
func conclude(res *load.Result, p *plan, strict bool) error {
	c := &res.Counts
	var missed []string
	for _, t := range p.thresholds {
		if why := t.missed(res); why != "" {
			missed = append(missed, why)
		}
	}
	switch d := c.Deliveries; {
	case res.Partial:
		return context.Canceled
	case c.Sent > 0 && float64(c.Lost)/float64(c.Sent) > p.maxLoss:
		return fail(exitIncorrect, "see server_dropped in the result, and trackctl status", "%d of %d fixes were lost, more than --max-loss allows", c.Lost, c.Sent)
	case d != nil && d.Duplicate > 0:
		return fail(exitIncorrect, "", "%d fixes were delivered more than once", d.Duplicate)
	case d != nil && d.Lost > 0 && !res.Verdict.Has("W21"):
		return fail(exitIncorrect, "", "%d of %d accepted fixes never came to the watcher", d.Lost, d.Expected)
	case len(missed) > 0:
		return fail(exitThreshold, "", "%s", strings.Join(missed, "; "))
	case res.Verdict.Validity == load.Invalid, strict && res.Verdict.Validity != load.Valid:
		return fail(exitInvalid, "", "the measurement is %s", res.Verdict.Validity)
	}
	return nil
}

// threshold is a metric and what it may be.
type threshold struct {
	text   string
	metric string
	less   bool
	value  float64
}

func parseThreshold(s string) (threshold, error) {
	i := strings.IndexAny(s, "<>")
	if i < 0 {
		return threshold{}, fmt.Errorf("%q: want METRIC<VALUE or METRIC>VALUE", s)
	}
	t := threshold{text: s, metric: strings.TrimSpace(s[:i]), less: s[i] == '<'}
	value := strings.TrimSpace(s[i+1:])
	var err error
	switch t.metric {
	case "p50", "p90", "p99", "p99.9", "max":
		var d time.Duration
		d, err = time.ParseDuration(value)
		t.value = float64(d)
	case "loss":
		t.value, err = parseShare(value)
	case "rate":
		var p load.Plan
		p, err = load.ParsePlan(value)
		t.value = p.Peak()
	default:
		return t, fmt.Errorf("%q: there is no metric %q; want p50, p90, p99, p99.9, max, loss or rate", s, t.metric)
	}
	if err != nil {
		return t, fmt.Errorf("%q: %v", s, err)
	}
	return t, nil
}

// missed says how a result misses the threshold; a metric that was not measured is
// missed, too.
func (t threshold) missed(res *load.Result) string {
	v, known := t.measured(res)
	switch {
	case !known:
		return fmt.Sprintf("threshold %s: not measured", t.text)
	case t.less && v < t.value, !t.less && v > t.value:
		return ""
	}
	return fmt.Sprintf("threshold %s: it was %s", t.text, t.show(v))
}

func (t threshold) measured(res *load.Result) (float64, bool) {
	switch t.metric {
	case "loss":
		return float64(res.Counts.Lost) / float64(max(1, res.Counts.Sent)), true
	case "rate":
		return res.Rates["accepted_per_s"], true
	}
	l, ok := res.Latency["response"]
	if t.metric == "max" {
		return float64(l.Max), ok && l.N > 0
	}
	d, known := l.Quantile(strings.TrimPrefix(t.metric, "p"))
	return float64(d), ok && known
}

func (t threshold) show(v float64) string {
	switch t.metric {
	case "loss":
		return fmt.Sprintf("%.3f%%", 100*v)
	case "rate":
		return fmt.Sprintf("%.0f/s", v)
	}
	return time.Duration(v).Round(10 * time.Microsecond).String()
}

// parseShare reads 0.1% or 0.001.
func parseShare(s string) (float64, error) {
	num, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(num, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("%q is no share such as 0.1%%", s)
	}
	return v, nil
}

// loopback tells whether a host, with or without a port, is this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
