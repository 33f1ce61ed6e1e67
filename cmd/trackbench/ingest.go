package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/load/null"
	"tracker/pkg/seal"
)

// ingestFlags are what a measurement of ingest is told.
type ingestFlags struct {
	runFlags
	targetFlags
	devices int
	conns   int
	watch   bool
	maxLoss string
	state   string
}

var ingestDefaults = runDefaults{name: "ingest", rate: "100", rateHelp: "fixes a second", duration: 10 * time.Second, warmup: "auto", findMax: true}

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
	f.runFlags.flags(fl, ingestDefaults)
	fl.IntVar(&f.devices, "devices", 0, "`N` devices (default: as many as the rate needs)")
	fl.IntVar(&f.conns, "conns", 4, "`N` sockets to send from")
	fl.BoolVar(&f.watch, "watch", false, "watch everything, and measure how soon each fix is there")
	fl.StringVar(&f.maxLoss, "max-loss", "0.1%", "more loss than this `share` is a failure")
	fl.StringVar(&f.state, "state", "", "`file` that keeps the fleet's keys (default: in XDG_STATE_HOME)")
	return cmd
}

// perDevice is how many datagrams a second a device may send, with room to spare.
const perDevice = 3.0

// mostDevices bounds how many devices a rate may ask for by itself.
const mostDevices = 1_000_000

// searchDevices are enough to look for the highest rate of most machines.
const searchDevices = 20_000

// check reads the flags; devices are then as many as the rate needs.
func (f *ingestFlags) check() (maxLoss float64, err error) {
	usage := func(format string, args ...any) (float64, error) {
		return 0, fail(exitUsage, "trackbench ingest --help shows what there is", format, args...)
	}
	if err := f.runFlags.check(ingestDefaults); err != nil {
		return 0, err
	}
	if f.plan.Zero() {
		return usage("--rate: want one; datagrams have no closed loop")
	}
	if f.conns < 1 || f.conns > 64 {
		return usage("--conns %d: want 1 to 64", f.conns)
	}
	need := int(math.Ceil(f.plan.Peak() / perDevice))
	if f.devices == 0 {
		f.devices = max(100, need)
		if f.findExpr != "" {
			f.devices = max(searchDevices, need)
		}
	}
	if f.devices < need || f.devices > mostDevices {
		return usage("--devices %d: a rate of %.0f/s needs %d, since a server takes 4 datagrams a second of one device; at most are %d", f.devices, f.plan.Peak(), need, mostDevices)
	}
	if maxLoss, err = load.ParseShare(f.maxLoss); err != nil {
		return usage("--max-loss: %w", err)
	}
	return maxLoss, nil
}

func (b *bench) ingest(ctx context.Context, f *ingestFlags) error {
	maxLoss, err := f.check()
	if err != nil {
		return err
	}
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	if err := f.preflight(load.Need{Conns: f.conns}); err != nil {
		return err
	}
	roster, members, err := b.muster(ctx, f, conn, f.devices)
	if err != nil {
		return err
	}
	defer func() { _ = roster.Close() }()
	show, err := b.live(&f.runFlags)
	if err != nil {
		return err
	}
	defer show.close()
	b.text(&f.runFlags).header("ingest", fmt.Sprintf("rate=%s %s warmup=%v devices=%d conns=%d seed=%d", f.rate, f.length(), f.warm, f.devices, f.conns, f.seed), f.target(conn.Server()), machine())
	server := f.process()
	return b.measure(ctx, &f.runFlags, func(ctx context.Context, plan load.Plan, length time.Duration) (*load.Result, error) {
		if need := int(math.Ceil(plan.Peak() / perDevice)); need > f.devices { // a search has come so far
			return nil, fail(exitUsage, fmt.Sprintf("--devices %d", need), "%d devices may not send %.0f/s: a server takes 4 datagrams a second of one", f.devices, plan.Peak())
		}
		res, err := f.once(ctx, load.IngestConfig{
			Conn: conn, Members: members, Plan: plan, Duration: length, Warmup: f.warm.Length, Settle: f.warm.Auto, Seed: f.seed,
			Watch: f.watch, Interval: f.interval, Version: version, Loopback: f.loopback, Server: server,
			OnTick: show.Tick, OnGlance: show.Glance, OnPhase: show.Phase,
		}, maxLoss)
		if err == nil && res.Failure == nil {
			b.calibrate(ctx, &f.runFlags, load.Seats{}, null.Shape{Kind: null.Ingest, Conns: f.conns}, false, res)
		}
		return res, err
	})
}

// once runs the measurement with a fleet of its own and says what of it is a failure.
func (f *ingestFlags) once(ctx context.Context, cfg load.IngestConfig, maxLoss float64) (*load.Result, error) {
	fleet, err := newFleet(&f.targetFlags, f.conns, cfg.Members)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // it has to flush after Ctrl-C
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(running) }() // waited for below
	cfg.Fleet = fleet
	res, err := load.Ingest(ctx, cfg)
	stop()
	if err = errors.Join(err, <-ended); err != nil {
		return nil, err
	}
	res.Scenario.Args = map[string]any{
		"rate": cfg.Plan.String(), "duration": cfg.Duration.String(), "warmup": f.warm.String(), "devices": f.devices, "conns": f.conns, "watch": f.watch, "max_loss": f.maxLoss,
	}
	res.Target.UDP = f.udp
	f.hold(res, maxLoss)
	return res, nil
}

// hold says what of a result is not correct.
func (f *ingestFlags) hold(res *load.Result, maxLoss float64) {
	c := &res.Counts
	if float64(c.Lost) > maxLoss*float64(c.Sent) {
		res.Fail(load.Incorrect, "see server_dropped in the result, and trackctl status", "%d of %d fixes were lost, more than --max-loss allows", c.Lost, c.Sent)
	}
	d := c.Deliveries
	if d == nil {
		return
	}
	if d.Duplicate > 0 {
		res.Fail(load.Incorrect, "", "%d fixes were delivered more than once", d.Duplicate)
	}
	if d.Lost > 0 && !res.Verdict.Has("W25") {
		res.Fail(load.Incorrect, "", "%d of %d accepted fixes never came to the watcher", d.Lost, d.Expected)
	}
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

// newFleet makes what sends the datagrams of the members. Enrolments name a host, too.
func newFleet(f *targetFlags, sockets int, members []load.Member) (*client.Fleet, error) {
	fleet := client.NewFleet(client.FleetConfig{Addr: f.udp, Sockets: sockets, Unlimited: true})
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
