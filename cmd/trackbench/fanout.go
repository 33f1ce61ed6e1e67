package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/load/fan"
	"tracker/pkg/load/null"
	"tracker/pkg/load/rpcload"
)

// fanFlags are what both measurements of fan-out are told.
type fanFlags struct {
	targetFlags
	runFlags
	transport   string
	fingerprint string
	caFile      string
	drain       time.Duration
	slow        string
	churn       string
	area        string
	state       string

	// What check makes of them.
	how   fan.Transport
	tls   bool
	late  fan.Slow
	comes float64
}

func (f *fanFlags) flags(fl *pflag.FlagSet, d runDefaults) {
	f.targetFlags.flags(fl)
	f.runFlags.flags(fl, d)
	fl.StringVar(&f.transport, "transport", "rpc", "how viewers connect: rpc (FlatBuffers over TCP), ws (JSON over WebSocket), or over TLS: tls, wss")
	fl.StringVar(&f.fingerprint, "fingerprint", "", "the only certificate to accept, `sha256:HEX`")
	fl.StringVar(&f.caFile, "ca", "", "`file` of the only authorities to accept, PEM (default: the system's)")
	fl.DurationVar(&f.drain, "drain", 10*time.Second, "how long the last updates may take to arrive")
	fl.StringVar(&f.slow, "slow", "", "let some viewers read late: `SHARE:PAUSE` such as 2%:200ms; they need not get everything, but all of it must be accounted for")
	fl.StringVar(&f.churn, "churn", "", "let more viewers come and go, so many a second: `R/s`; each must get a snapshot and then no gap")
	fl.StringVar(&f.area, "area", "map", "what viewers watch: map: one that is made for the run and has its devices; or all")
	fl.StringVar(&f.state, "state", "", "`file` that keeps the fleet's keys (default: in XDG_STATE_HOME)")
}

func (f *fanFlags) check(d runDefaults) (err error) {
	usage := func(format string, args ...any) error {
		return fail(exitUsage, "trackbench "+d.name+" --help shows what there is", format, args...)
	}
	if err := f.runFlags.check(d); err != nil {
		return err
	}
	if f.how, f.tls, err = fan.ParseTransport(f.transport); err != nil {
		return usage("--transport: %w", err)
	}
	if f.late, err = parseSlow(f.slow); err != nil {
		return usage("--slow: %w", err)
	}
	if f.comes, err = parsePerSecond(f.churn); err != nil {
		return usage("--churn: %w", err)
	}
	if f.area != "map" && f.area != "all" {
		return usage("--area %q: want map or all", f.area)
	}
	if f.drain <= 0 {
		return usage("--drain %v: want some time", f.drain)
	}
	return nil
}

// parseSlow reads 2%:200ms.
func parseSlow(s string) (fan.Slow, error) {
	if s == "" {
		return fan.Slow{}, nil
	}
	share, pause, _ := strings.Cut(s, ":")
	v, err := load.ParseShare(share)
	if err != nil {
		return fan.Slow{}, err
	}
	d, err := time.ParseDuration(pause)
	if err != nil || d <= 0 || v >= 1 {
		return fan.Slow{}, fmt.Errorf("%q: want SHARE:PAUSE, such as 2%%:200ms, of less than all", s)
	}
	return fan.Slow{Share: v, Pause: d}, nil
}

// parsePerSecond reads 5/s or 5.
func parsePerSecond(s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "/s"), 64)
	if err != nil || !(v > 0 && v <= 10_000) {
		return 0, fmt.Errorf("%q: want a number a second, such as 5/s", s)
	}
	return v, nil
}

// dialer connects to the server in one way.
func (f *fanFlags) dialer(addr string, how fan.Transport, secure bool) (fan.Dialer, error) {
	token, err := f.secret()
	if err != nil {
		return fan.Dialer{}, err
	}
	d := fan.Dialer{Transport: how, Host: addr, Token: token, Agent: "trackbench/" + version}
	if !secure {
		d.Dial = func(ctx context.Context) (net.Conn, error) {
			nc, err := f.sources.DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", client.ErrUnreachable, err)
			}
			return nc, nil
		}
		return d, nil
	}
	target := rpcload.Target{Addr: addr, TLS: true, Fingerprint: f.fingerprint, CAFile: f.caFile}
	if d.Dial, err = target.Dialer(); err != nil {
		return d, fail(exitUsage, "", "%w", err)
	}
	return d, nil
}

// fleet calls devices together under names of their own.
func (b *bench) fleet(ctx context.Context, f *fanFlags, conn *client.Conn, prefix string, n int) (*load.Roster, []load.Member, error) {
	path, err := (&ingestFlags{state: f.state}).statePath(conn.Server() + "_" + prefix)
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
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%06d", prefix, i+1)
	}
	members, how, err := roster.Muster(ctx, conn, names, nil)
	if err != nil {
		return nil, nil, errors.Join(err, roster.Close())
	}
	fmt.Fprintf(b.err, "trackbench: %d devices, %d of them new\n", n, how.Enrolled)
	return roster, members, nil
}

func devicesOf(members []load.Member) (out []fan.Device) {
	for i := range members {
		out = append(out, fan.Device{ID: members[i].ID, Name: members[i].Name})
	}
	return out
}

// watched makes what the viewers watch; the result takes it away again.
func (f *fanFlags) watched(ctx context.Context, conn *client.Conn, members []load.Member) (fan.Area, func(), error) {
	if f.area == "all" {
		return fan.Area{}, func() {}, nil
	}
	m, err := conn.CreateMap(ctx, fmt.Sprintf("trackbench-%x", time.Now().UnixNano()))
	if err != nil {
		return fan.Area{}, nil, fmt.Errorf("make a map: %w", err)
	}
	remove := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = conn.DeleteMap(ctx, m.ID.String()) // the server may have died
	}
	const most = 10_000 // of one question
	for members := range slices.Chunk(members, most) {
		ids := make([]string, len(members))
		for i := range members {
			ids[i] = members[i].ID.String()
		}
		if _, err := conn.JoinMap(ctx, m.ID.String(), ids...); err != nil {
			remove()
			return fan.Area{}, nil, fmt.Errorf("put the devices on a map: %w", err)
		}
	}
	return fan.Area{Map: m.ID.String()}, remove, nil
}

// calibrated holds a result against what this program can reach.
func (b *bench) calibrated(ctx context.Context, f *fanFlags, viewers int, toLimit bool, res *load.Result) {
	batch := 1
	for _, n := range []int{2, 5, 10, 20, 50, 100} { // few, so that they are measured once
		if res.Rates["updates_per_frame"] > 0.7*float64(n) {
			batch = n
		}
	}
	b.calibrate(ctx, &f.runFlags, load.Seats{}, null.Shape{Kind: null.Fanout, Transport: f.how, Viewers: viewers, Batch: batch}, toLimit, res)
}

// configure fills in what both measurements have in common.
func (f *fanFlags) configure(cfg *fan.Config, conn *client.Conn, show *live) (err error) {
	cfg.Version, cfg.Loopback, cfg.Interval, cfg.Drain = version, f.loopback, f.interval, f.drain
	cfg.Slow, cfg.Churn = f.late, f.comes
	cfg.Viewers, err = f.dialer(conn.Server(), f.how, f.tls)
	cfg.OnPhase, cfg.OnTick, cfg.OnGlance = show.Phase, show.Tick, show.Glance
	cfg.OnReady = func(r fan.Ready) {
		show.Phase(fmt.Sprintf("%d connected in %.2f s, each %v", r.Viewers, r.Took.Seconds(), r.Connect))
	}
	return err
}

// run makes one run of a configuration.
func (f *fanFlags) run(ctx context.Context, cfg fan.Config, conn *client.Conn) (*load.Result, error) {
	cfg.Meter = load.NewMeter(load.MeterConfig{Server: f.process(), Metrics: conn.Server()})
	res, err := fan.Run(ctx, cfg)
	if errors.Is(err, load.ErrUnsound) {
		return nil, fail(exitInternal, "please report this", "%w", err)
	}
	if err != nil {
		return nil, err
	}
	res.Target = f.target(conn.Server())
	res.Scenario.Args = map[string]any{"transport": f.transport, "area": f.area, "drain": f.drain.String()}
	if f.slow != "" {
		res.Scenario.Args["slow"] = f.slow
	}
	if f.churn != "" {
		res.Scenario.Args["churn"] = f.churn
	}
	return res, nil
}

// roomForPacer lets Go code run on one more thread than there are processors: the thread
// that keeps the schedule then finds a place when it wakes up, where it would have to wait
// until a reader gives up one. The result undoes it.
func roomForPacer() func() {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + 1)
	return func() { runtime.GOMAXPROCS(n) }
}

// fanMemory keeps the measuring process, which collects garbage rarely, from eating the
// machine.
const fanMemory = 3 << 30

// fanoutFlags are what fanout is told.
type fanoutFlags struct {
	fanFlags
	publishers int
	viewers    int
	publish    string
}

var fanoutDefaults = runDefaults{name: "fanout", rate: "100", rateHelp: "updates a second, of all publishers together", duration: 10 * time.Second, warmup: "2s", findMax: true, fixed: true}

func (b *bench) fanoutCommand() *cobra.Command {
	var f fanoutFlags
	cmd := &cobra.Command{
		Use:   "fanout",
		Short: "How soon, and whether, everybody who watches has what a few publish",
		Long: `A few devices publish by an open plan, and many viewers watch. Every update has to come
to every viewer, once and in order, and all viewers have to end with the state that the
plan says: whatever is missing is named, receiver and sender. Times count from the moment
a send was due to the read that brought the update.`,
		Example: `  trackbench fanout --token-file data/admin.token --viewers 1000 --rate 250 --duration 30s
  trackbench fanout --token-file data/admin.token --transport ws --slow 2%:200ms --churn 5/s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.ran = true
			return b.fanout(cmd.Context(), &f)
		},
	}
	fl := cmd.Flags()
	f.flags(fl, fanoutDefaults)
	fl.IntVar(&f.viewers, "viewers", 100, "`N` viewers")
	fl.IntVar(&f.publishers, "publishers", 1, "`N` devices that publish by turns")
	fl.StringVar(&f.publish, "publish", "rpc", "how they publish: rpc, tls, ws, wss, or udp: sealed datagrams")
	return cmd
}

func (b *bench) fanout(ctx context.Context, f *fanoutFlags) error {
	usage := func(format string, args ...any) error {
		return fail(exitUsage, "trackbench fanout --help shows what there is", format, args...)
	}
	if err := f.check(fanoutDefaults); err != nil {
		return err
	}
	if f.viewers < 1 || f.publishers < 1 {
		return usage("--viewers %d, --publishers %d: want at least one", f.viewers, f.publishers)
	}
	if f.plan.Zero() {
		return usage("--rate: want one; an open plan is all there is")
	}
	if need := int(math.Ceil(f.plan.Peak() / perDevice)); f.publish == "udp" && f.publishers < need {
		return usage("--publishers %d: datagrams at %.0f/s need %d, since a server takes 4 a second of one device", f.publishers, f.plan.Peak(), need)
	}
	publish, secure, err := fan.ParseTransport(f.publish)
	if err != nil && f.publish != "udp" {
		return usage("--publish %q: want rpc, tls, ws, wss or udp", f.publish)
	}
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.CloseIdle()
	if err := f.preflight(load.Need{Conns: f.viewers + f.publishers, PerSec: f.comes, For: f.warm.Length + f.duration, Target: load.TargetOf(conn.Server())}); err != nil {
		return err
	}
	roster, members, err := b.fleet(ctx, &f.fanFlags, conn, "publisher", f.publishers)
	if err != nil {
		return err
	}
	defer func() { _ = roster.Close() }()
	show, err := b.live(&f.runFlags)
	if err != nil {
		return err
	}
	defer show.close()
	b.text(&f.runFlags).header("fanout", fmt.Sprintf("publishers=%d viewers=%d rate=%s %s warmup=%v publish=%s transport=%s seed=%d",
		f.publishers, f.viewers, f.rate, f.length(), f.warm, f.publish, f.transport, f.seed), f.target(conn.Server()), machine())
	defer load.Quieten(fanMemory)()
	defer roomForPacer()()
	area, remove, err := f.watched(ctx, conn, members)
	if err != nil {
		return err
	}
	defer remove()
	return b.measure(ctx, &f.runFlags, func(ctx context.Context, plan load.Plan, length time.Duration) (*load.Result, error) {
		cfg := fan.Config{
			Scenario: "fanout", Plan: fan.Warmed(f.publishers, plan, f.warm.Length, length, f.seed), Devices: devicesOf(members),
			N: f.viewers, Area: area, Warmup: f.warm.Length,
		}
		err := f.configure(&cfg, conn, show)
		if err == nil && f.publish != "udp" {
			cfg.Reports, err = f.dialer(conn.Server(), publish, secure)
		}
		if err != nil {
			return nil, err
		}
		res, err := f.once(ctx, cfg, conn, members)
		if err == nil {
			b.calibrated(ctx, &f.fanFlags, f.viewers, f.findExpr != "", res)
		}
		return res, err
	})
}

// once makes one run, with a fleet of its own where datagrams are sent.
func (f *fanoutFlags) once(ctx context.Context, cfg fan.Config, conn *client.Conn, members []load.Member) (*load.Result, error) {
	if f.publish == "udp" {
		fleet, err := newFleet(&f.targetFlags, 1, members)
		if err != nil {
			return nil, err
		}
		running, stop := context.WithCancel(context.WithoutCancel(ctx)) // it has to flush after Ctrl-C
		ended := make(chan error, 1)
		go func() { ended <- fleet.Run(running) }() // waited for below
		defer func() { stop(); <-ended }()
		cfg.Datagrams = fleet
	}
	res, err := f.run(ctx, cfg, conn)
	if err != nil {
		return nil, err
	}
	for name, v := range map[string]any{"publishers": f.publishers, "viewers": f.viewers, "rate": f.rate, "duration": f.duration.String(), "warmup": f.warm.String(), "publish": f.publish} {
		res.Scenario.Args[name] = v
	}
	res.Target.UDP = f.udp
	return res, nil
}
