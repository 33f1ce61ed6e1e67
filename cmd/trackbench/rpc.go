package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/load/null"
	"tracker/pkg/load/rpcload"
	"tracker/pkg/track"
)

// rpcFlags are what a measurement of calls is told.
type rpcFlags struct {
	runFlags
	targetFlags
	own         bool // no server was named
	trackerd    string
	tls         string
	fingerprint string
	caFile      string
	unpinned    bool

	method  string
	conns   int
	depth   int
	payload int
	sleep   time.Duration
	share   float64
	table   tableFlags
}

var rpcDefaults = runDefaults{name: "rpc", rateHelp: "open loop: calls a second", duration: 5 * time.Second, warmup: "1s", findMax: true}

func (b *bench) rpcCommand() *cobra.Command {
	var f rpcFlags
	cmd := &cobra.Command{
		Use:   "rpc",
		Short: "How many calls a server answers on a connection, and how soon",
		Long: `Keeps a number of calls under way on each connection and checks every answer: it must
be known, outstanding, single and right, and none may be missing at the end.

Without --server it starts the trackerd that lies beside it, in a directory of its own,
pinned to one processor with one thread of Go code, and itself to another; it ends only
what it started.

The loop is closed: what was answered is replaced, and time counts from the write of a
batch to the read that brought the answer. A server that stalls is sent less meanwhile,
so such latencies flatter it (coordinated omission). With --rate calls fall due by a
plan that does not wait, and time counts from then.

--table measures a list of works in rounds, Redis and gRPC in turn with ours, and holds
the medians against bars. It needs redis-server and redis-benchmark (Debian:
redis-server, redis-tools); without them their rows say so.`,
		Example: `  trackbench rpc --depth 512 --duration 10s
  trackbench rpc --method sleep --sleep 1ms --sleep-share 0.01 --json
  trackbench rpc --server 127.0.0.1:4810 --token-file data/admin.token --rate 50k
  trackbench rpc --table --out json=table.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.ran = true
			f.own = !cmd.Flags().Changed("server")
			if f.table.on {
				f.table.defaults(cmd.Flags(), &f)
				return b.rpcTable(cmd.Context(), &f)
			}
			return b.rpc(cmd.Context(), &f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.addr, "server", "", "server to measure, `HOST:PORT` (default: a trackerd of its own)")
	alsoAddr(fl)
	fl.StringVar(&f.token, "token", "", "`token` (TRACK_TOKEN); any that the server knows will do")
	fl.StringVar(&f.tokenFile, "token-file", "", "`file` that holds it (TRACK_TOKEN_FILE)")
	fl.BoolVar(&f.mine, "i-own-this-target", false, "measure a target that is not this machine")
	fl.StringVar(&f.trackerd, "trackerd", "", "`program` to start without --server (default: beside trackbench, or in PATH)")
	fl.IntVar(&f.pid, "server-pid", 0, "process `id` of --server, to tell what CPU and memory it uses")
	fl.StringVar(&f.tls, "tls", "auto", "on, off, or auto: on unless the server is this machine")
	fl.StringVar(&f.fingerprint, "fingerprint", "", "the only certificate to accept, `sha256:HEX`")
	fl.StringVar(&f.caFile, "ca", "", "`file` of the only authorities to accept, PEM (default: the system's)")
	fl.BoolVar(&f.unpinned, "no-pin", false, "leave it to the system which processor does what")
	fl.StringVar(&f.method, "method", "sum", "sum (in the server's reader), async (in a worker), sleep, or echo")
	fl.IntVar(&f.conns, "conns", 1, "`N` connections")
	fl.IntVar(&f.depth, "depth", 512, "`N` calls under way on each")
	fl.IntVar(&f.payload, "payload", 24, "`bytes` of an echo, 8 to 60000")
	fl.DurationVar(&f.sleep, "sleep", time.Millisecond, "how long a call sleeps at the server, with --method sleep")
	fl.Float64Var(&f.share, "sleep-share", 1, "`part` of the calls that sleep, up to 1; the others are sums")
	f.runFlags.flags(fl, rpcDefaults)
	f.table.flags(fl)
	return cmd
}

const rpcHelp = "trackbench rpc --help shows what there is"

// config is what the flags come to once they are checked, but for the target.
func (f *rpcFlags) config() (cfg rpcload.Config, err error) {
	if cfg.Method, err = rpcload.ParseMethod(f.method); err != nil {
		return cfg, fail(exitUsage, rpcHelp, "--method: %w", err)
	}
	cfg.Conns, cfg.Depth, cfg.Payload, cfg.Sleep, cfg.Share = f.conns, f.depth, f.payload, f.sleep, f.share
	if f.conns == 0 || f.depth == 0 || f.payload == 0 || f.sleep == 0 || f.share == 0 {
		return cfg, fail(exitUsage, rpcHelp, "--conns, --depth, --payload, --sleep and --sleep-share have to be more than nothing")
	}
	if err := f.runFlags.check(rpcDefaults); err != nil {
		return cfg, err
	}
	cfg.Duration, cfg.Warmup, cfg.Settle, cfg.Interval, cfg.Rate = f.duration, f.warm.Length, f.warm.Auto, f.interval, f.plan
	if err := cfg.Check(); err != nil {
		return cfg, fail(exitUsage, rpcHelp, "%w", err)
	}
	if err := f.preflight(load.Need{Conns: f.conns}); err != nil {
		return cfg, err
	}
	cfg.Hello.Client = "trackbench/" + version
	return cfg, nil
}

// site is the server that is measured and, if it is ours, how it ends.
type site struct {
	seats  load.Seats
	own    *rpcload.Own // nil: somebody else's
	target rpcload.Target
	words  string
}

func (s *site) close() error { return s.own.Close() }

// open finds the server or starts one, and tells cfg about it.
func (f *rpcFlags) open(ctx context.Context, cfg *rpcload.Config) (s *site, err error) {
	if f.own {
		s, err = f.startOwn(ctx, cfg)
	} else {
		s, err = f.theirs(cfg)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Dial, err = s.target.Dialer(); err != nil {
		return nil, errors.Join(fail(exitUsage, "", "%w", err), s.close())
	}
	return s, nil
}

func (f *rpcFlags) startOwn(ctx context.Context, cfg *rpcload.Config) (*site, error) {
	if f.pid != 0 {
		return nil, fail(exitUsage, rpcHelp, "--server-pid goes with --server")
	}
	path, err := f.program()
	if err != nil {
		return nil, err
	}
	s := &site{}
	if !f.unpinned {
		s.seats = load.FindSeats()
	}
	if s.own, err = (rpcload.Launch{Path: path, Seats: s.seats}).Start(ctx); ctx.Err() != nil {
		return nil, errors.Join(context.Canceled, s.close())
	} else if err != nil {
		return nil, fail(exitUnreachable, "--trackerd says which one to start", "%w", err)
	}
	if err := s.seats.Sit(ctx); err != nil {
		return nil, errors.Join(fail(exitUsage, "--no-pin goes without", "%w", err), s.close())
	}
	s.target = s.own.Target
	s.target.TLS = f.tls == "on"
	cfg.Server = &s.own.Process
	cfg.ShowToken(s.own.Token)
	s.words = fmt.Sprintf("own trackerd %s, process %d; %v", s.target.Addr, s.own.PID, s.seats)
	return s, nil
}

// program finds the trackerd to start.
func (f *rpcFlags) program() (string, error) {
	if f.trackerd != "" {
		return f.trackerd, nil
	}
	name := "trackerd"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if st, err := os.Stat(beside); err == nil && !st.IsDir() {
			return beside, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fail(exitUsage, "pass --trackerd PROGRAM, or --server HOST:PORT of one that runs", "there is no trackerd beside trackbench, nor in PATH")
	}
	return path, nil
}

func (f *rpcFlags) theirs(cfg *rpcload.Config) (*site, error) {
	if f.trackerd != "" {
		return nil, fail(exitUsage, rpcHelp, "--trackerd and --server exclude each other")
	}
	host, _, err := net.SplitHostPort(f.addr)
	if err != nil || host == "" {
		return nil, fail(exitUsage, "", "--server %q: want HOST:PORT, such as 127.0.0.1:4810", f.addr)
	}
	if !loopback(host) && !f.mine {
		return nil, refuse(f.addr)
	}
	token, err := f.secret()
	if err != nil {
		return nil, err
	}
	if token != "" {
		cfg.ShowToken([]byte(token))
	}
	s := &site{target: rpcload.Target{Addr: f.addr, Fingerprint: f.fingerprint, CAFile: f.caFile}, words: f.addr}
	s.target.TLS = f.tls == "on" || f.tls == "auto" && !loopback(host)
	f.loopback = loopback(host)
	if cfg.Server = f.process(); f.pid != 0 {
		if _, ok := cfg.Server.CPU(); !ok {
			return nil, fail(exitUsage, "", "--server-pid %d: this system does not tell what it uses", f.pid)
		}
	}
	return s, nil
}

func (b *bench) rpc(ctx context.Context, f *rpcFlags) (err error) {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	if err := f.checkTLS(); err != nil {
		return err
	}
	s, err := f.open(ctx, &cfg)
	if err != nil {
		return err
	}
	if f.version, err = f.identify(ctx, s.target.Addr); err != nil {
		return errors.Join(err, s.close())
	}
	defer func() { err = errors.Join(err, s.close()) }()
	show, err := b.live(&f.runFlags)
	if err != nil {
		return err
	}
	defer show.close()
	target := load.Target{Addr: s.target.Addr, Kind: "trackerd", Version: f.version}
	b.rpcHeader(f, &cfg, s, target)
	cfg.OnTick, cfg.OnGlance = show.Tick, show.Glance
	defer load.Quieten(1 << 30)()
	return b.measure(ctx, &f.runFlags, func(ctx context.Context, plan load.Plan, length time.Duration) (*load.Result, error) {
		cfg := cfg
		cfg.Rate, cfg.Duration = plan, length
		r, err := f.once(ctx, cfg, target)
		if err == nil && r.Failure == nil && cfg.Method != rpcload.Sleep { // those sleep at the server
			b.calibrate(ctx, &f.runFlags, s.seats, f.shape(&cfg), cfg.Rate.Zero() && length >= worthCalibrating, r)
		}
		return r, err
	})
}

// once makes one run, and before it a short one with a single call under way, so that
// the rate of many stands beside the time of one.
func (f *rpcFlags) once(ctx context.Context, cfg rpcload.Config, target load.Target) (*load.Result, error) {
	lone, err := f.lone(ctx, cfg)
	if err != nil {
		return nil, rpcFailure(err)
	}
	meter := load.NewMeter(load.MeterConfig{Server: cfg.Server})
	defer meter.Stop()
	cfg.Measuring = func() { meter.Begin(ctx) }
	cfg.Cut = meter.Cut
	o, err := rpcload.Run(ctx, cfg)
	if err != nil {
		return nil, rpcFailure(err)
	}
	r := o.Result(version, &cfg, meter, loopback(target.Addr))
	r.Target = target
	r.Scenario.Args["tls"] = f.tls
	r.Scenario.Plan = cfg.Rate.SHA256(f.seed, cfg.Duration, fmt.Sprintf("rpc %v conns %d depth %d payload %d sleep %v share %v", cfg.Method, cfg.Conns, cfg.Depth, cfg.Payload, cfg.Sleep, cfg.Share))
	if lone != nil && lone.Latency.Count() > 0 {
		r.Latency["depth_1"] = lone.Latency.Summary()
	}
	switch {
	case o.Died():
		r.Partial = true
		r.Fail(load.TargetGone, "", "the server was there no longer: %v", o.Gone)
	case o.Err() != nil:
		r.Fail(load.Incorrect, "", "%v", o.Err())
	}
	return r, nil
}

// worthCalibrating is how long a run is that may be followed by a calibration.
const worthCalibrating = 2 * time.Second

// shape is what a calibration has to be like.
func (f *rpcFlags) shape(cfg *rpcload.Config) null.Shape {
	s := null.Shape{Kind: null.Calls, Method: cfg.Method.String(), Conns: cfg.Conns, Depth: cfg.Depth}
	if cfg.Method == rpcload.Echo {
		s.Payload = cfg.Payload
	}
	return s
}

// loneTime is how long one call at a time is measured, of a run that is long enough.
const loneTime = 200 * time.Millisecond

// lone measures calls one at a time; nil where the run itself does so, has a plan, or is
// too short for it.
func (f *rpcFlags) lone(ctx context.Context, cfg rpcload.Config) (*rpcload.Outcome, error) {
	if cfg.Depth == 1 || !cfg.Rate.Zero() || cfg.Duration < 5*loneTime {
		return nil, nil
	}
	cfg.Conns, cfg.Depth, cfg.Warmup, cfg.Settle, cfg.Duration = 1, 1, loneTime/4, false, loneTime
	cfg.OnTick, cfg.OnGlance = nil, nil
	return rpcload.Run(ctx, cfg)
}

func (f *rpcFlags) checkTLS() error {
	switch f.tls {
	case "on", "off", "auto":
		return nil
	}
	return fail(exitUsage, rpcHelp, "--tls %q: want on, off or auto", f.tls)
}

// check holds what is the same with and without a table against what there is, and
// tells the files to write.
func (f *rpcFlags) check() (files []string, err error) {
	if err := f.checkTLS(); err != nil {
		return nil, err
	}
	return jsonFiles(f.out)
}

// jsonFiles reads what --out was given where there is only JSON.
func jsonFiles(out []string) (files []string, err error) {
	for _, s := range out {
		path, ok := strings.CutPrefix(s, "json=")
		if !ok || path == "" {
			return nil, fail(exitUsage, "", "--out %q: want json=FILE", s)
		}
		files = append(files, path)
	}
	return files, nil
}

// rpcFailure says what to do about a server that refused before the load.
func rpcFailure(err error) error {
	switch {
	case errors.Is(err, track.ErrDenied):
		return fail(exitUnreachable, "pass a token by --token, --token-file or TRACK_TOKEN; the first start of trackerd writes admin.token in its data directory", "%w", err)
	case errors.Is(err, client.ErrUntrusted):
		return fail(exitUnreachable, "--fingerprint or --ca says which certificate to expect", "%w", err)
	case errors.Is(err, track.ErrNotFound):
		return fail(exitUnreachable, "the server is older than its example service, or is no trackerd", "%w", err)
	case errors.Is(err, rpcload.ErrStranger):
		return fail(exitUnreachable, "--server wants the HOST:PORT where trackerd listens", "%w", err)
	case errors.Is(err, rpcload.ErrFailed):
		return fail(exitIncorrect, "", "%w", err)
	}
	return err
}
