package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/load"
	"tracker/pkg/load/peers/broadcast"
	"tracker/pkg/track"
)

// peersFlags are what a comparison with other systems is told.
type peersFlags struct {
	trackerd string
	build    bool
	only     []string
	unpinned bool

	viewers  int
	updates  []int
	bursts   int
	window   int
	spread   bool
	rounds   int
	again    int
	duration time.Duration
	warmup   time.Duration
	seed     uint64

	requests bool
	codecs   bool
	gate     bool
	quick    bool
	asJSON   bool
	quiet    bool
	out      []string
}

const peersHelp = "trackbench peers --help shows what there is"

func (b *bench) peersCommand() *cobra.Command {
	var f peersFlags
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "The same work on trackerd, on Redis, NATS and Mosquitto, and on a bare loop",
		Long: `Starts a trackerd, the peers that are installed, and a loop that does nothing but write;
lets one publisher send bursts of messages to a thousand viewers of each, in rounds of
random order; and tells what each of them delivers, what it costs a delivery, and how many
times as much trackerd delivers per second of processor time. All servers have the same
processor and settings that are printed; the one that is not measured is idle. It ends
only what it started.

Every viewer checks every message: none lost, none twice, in order. What is lost by
trackerd is exit code 5, what is lost by others is told. No more than a few bursts are
under way at a time, so a server that cannot keep up is sent less, and that is told, too.

The bare loop writes the very bytes of trackerd's frames to as many connections: what is
between it and trackerd is all that could be gained.

Redis and Mosquitto come from Debian, nats-server from its Go module: --build builds it
from tools/peers, as scripts/peers does. What is not there is skipped, with the reason.

--requests measures calls instead, Redis and gRPC beside: it is rpc --table.
--check-codecs holds our side of each protocol against the peer's own tool.`,
		Example: `  trackbench peers --build
  trackbench peers --only bare,redis --updates 20,100 --rounds 3 --out json=peers.json
  trackbench peers --gate
  trackbench peers --check-codecs`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.ran = true
			switch {
			case f.requests && f.codecs:
				return fail(exitUsage, peersHelp, "--requests and --check-codecs exclude each other")
			case f.requests:
				return b.peersRequests(cmd.Context(), &f)
			case f.codecs:
				return b.checkCodecs(cmd.Context(), &f)
			}
			return b.peers(cmd.Context(), &f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.trackerd, "trackerd", "", "`program` to start (default: beside trackbench, or in PATH)")
	fl.BoolVar(&f.build, "build", false, "build nats-server first, where it is not yet; needs Go and the repository")
	fl.StringSliceVar(&f.only, "only", nil, "measure only these `targets` beside trackerd: "+strings.Join(broadcast.Names()[1:], ", "))
	fl.BoolVar(&f.unpinned, "no-pin", false, "leave it to the system which processor does what")
	fl.IntVar(&f.viewers, "viewers", 1000, "`N` connections that get every message")
	fl.IntSliceVar(&f.updates, "updates", []int{1, 20, 100}, "messages of a burst, `N,N`")
	fl.IntVar(&f.bursts, "bursts", 20, "`N` bursts a second")
	fl.IntVar(&f.window, "under-way", 2, "`N` bursts that may be under way at a time")
	fl.BoolVar(&f.spread, "spread", false, "send the messages of a burst one by one, evenly over time, as many publishers would")
	fl.IntVar(&f.rounds, "rounds", 5, "`N` rounds; medians and the mean of their ratios are told")
	fl.IntVar(&f.again, "again", 2, "repeat a measurement up to `N` times while other processes use the machine")
	fl.DurationVar(&f.duration, "duration", 4*time.Second, "how long to measure each target in a round")
	fl.DurationVar(&f.warmup, "warmup", 500*time.Millisecond, "how long to run before that")
	fl.Uint64Var(&f.seed, "seed", 1, "of the order within rounds")
	fl.BoolVar(&f.requests, "requests", false, "measure calls instead, as rpc --table does")
	fl.BoolVar(&f.codecs, "check-codecs", false, "compare our side of the protocols with the peers' own tools instead")
	fl.BoolVar(&f.gate, "gate", false, "a missed bar is a failure")
	fl.BoolVar(&f.quick, "quick", false, "one short round, to see that it works; its figures mean nothing")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	fl.StringArrayVar(&f.out, "out", nil, "also write the result: `json=FILE`; - is standard output")
	fl.BoolVar(&f.quiet, "quiet", false, "no lines while it runs")
	return cmd
}

// bareVerb is how this program runs itself as the loop that only writes.
const bareVerb = "bare-peer"

func (b *bench) bareCommand() *cobra.Command {
	return &cobra.Command{
		Use:    bareVerb,
		Short:  "Be the loop that peers measures beside the servers",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b.ran = true
			return broadcast.ServeBare(os.Stdin, b.out)
		},
	}
}

// config is what the flags come to once they are checked.
func (f *peersFlags) config() (cfg broadcast.Config, err error) {
	usage := func(format string, args ...any) (broadcast.Config, error) {
		return cfg, fail(exitUsage, peersHelp, format, args...)
	}
	if f.quick {
		f.viewers, f.rounds, f.again, f.duration, f.warmup = min(f.viewers, 20), 1, 0, 150*time.Millisecond, 50*time.Millisecond
	}
	if f.rounds < 1 || f.viewers < 1 || f.bursts < 1 || f.window < 1 || f.duration <= 0 || f.warmup < 0 || len(f.updates) == 0 {
		return usage("--rounds, --viewers, --updates, --bursts, --under-way and --duration have to be more than nothing")
	}
	for _, name := range f.only {
		if !slices.Contains(broadcast.Names()[1:], name) {
			return usage("--only %q: want some of %s", name, strings.Join(broadcast.Names()[1:], ", "))
		}
	}
	if lim := load.OpenFiles(); lim > 0 && lim < int64(f.viewers)+64 {
		return cfg, fail(exitUsage, fmt.Sprintf("ulimit -n %d", f.viewers+64), "this process may open %d files, and each viewer needs one", lim)
	}
	self, err := os.Executable()
	if err != nil {
		return usage("find this program: %w", err)
	}
	cfg = broadcast.Config{
		Version: version, Bare: []string{self, bareVerb}, Only: f.only, Updates: f.updates, Spread: f.spread, Rounds: f.rounds, Again: max(0, f.again), Seed: f.seed, Quick: f.quick,
		Shape: broadcast.Shape{Viewers: f.viewers, Bursts: f.bursts, Window: f.window, Warmup: f.warmup, Duration: f.duration},
	}
	if !f.unpinned {
		cfg.Seats = load.FindSeats()
	}
	return cfg, nil
}

// files are where to write the result.
func (f *peersFlags) files() (files []string, err error) {
	for _, o := range f.out {
		path, ok := strings.CutPrefix(o, "json=")
		if !ok || path == "" {
			return nil, fail(exitUsage, peersHelp, "--out %q: want json=FILE", o)
		}
		files = append(files, path)
	}
	return files, nil
}

func (b *bench) progress(quiet bool) func(format string, args ...any) {
	if quiet {
		return nil
	}
	return func(format string, args ...any) { fmt.Fprintf(b.err, "trackbench: "+format+"\n", args...) }
}

func (b *bench) peers(ctx context.Context, f *peersFlags) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	files, err := f.files()
	if err != nil {
		return err
	}
	cfg.Progress = b.progress(f.quiet)
	if f.build {
		if err := broadcast.Build(ctx, "."); err != nil {
			return fail(exitUsage, "scripts/peers in the repository does the same", "%w", err)
		}
	}
	if cfg.Trackerd, err = (&rpcFlags{trackerd: f.trackerd}).program(); err != nil {
		return err
	}
	if err := cfg.Seats.Sit(ctx); err != nil {
		return fail(exitUsage, "--no-pin goes without", "%w", err)
	}
	defer load.Quieten(1 << 30)()
	t, err := broadcast.Run(ctx, cfg)
	switch {
	case ctx.Err() != nil && t == nil:
		return context.Canceled
	case errors.Is(err, broadcast.ErrFailed):
		return fail(exitIncorrect, "", "%w", err)
	case errors.Is(err, track.ErrInvalid):
		return fail(exitUsage, peersHelp, "%w", err)
	case err != nil:
		return fail(exitUnreachable, "", "%w", err)
	}
	return b.concludePeers(t, f, files)
}

func (b *bench) concludePeers(t *broadcast.Table, f *peersFlags, files []string) error {
	if err := b.tell(t, t.Print, f.asJSON, files); err != nil {
		return err
	}
	if t.Partial {
		return context.Canceled
	}
	if missed := t.Missed(); f.gate && len(missed) > 0 {
		return fail(exitThreshold, "", "%d bars were missed, the first of trackerd to %s at %d a burst", len(missed), missed[0].Target, missed[0].Updates)
	}
	return nil
}

// tell writes a result to files, and prints it in one form or the other.
func (b *bench) tell(v any, text func(w io.Writer) error, asJSON bool, files []string) error {
	doc, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	doc = append(doc, '\n')
	for _, path := range files {
		if path == "-" {
			_, err = b.out.Write(doc)
		} else {
			err = os.WriteFile(path, doc, 0o644)
		}
		if err != nil {
			return fail(exitUsage, "", "write the result: %w", err)
		}
	}
	if asJSON {
		_, err = b.out.Write(doc)
		return err
	}
	return text(b.out)
}

// peersRequests is rpc --table under another name.
func (b *bench) peersRequests(ctx context.Context, f *peersFlags) error {
	args := []string{"--table", fmt.Sprintf("--rounds=%d", f.rounds), fmt.Sprintf("--again=%d", f.again)}
	for name, on := range map[string]bool{"quick": f.quick, "gate": f.gate, "json": f.asJSON, "quiet": f.quiet, "no-pin": f.unpinned} {
		if on {
			args = append(args, "--"+name)
		}
	}
	if f.trackerd != "" {
		args = append(args, "--trackerd="+f.trackerd)
	}
	for _, o := range f.out {
		args = append(args, "--out="+o)
	}
	cmd := b.rpcCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(b.out)
	cmd.SetErr(b.err)
	return cmd.ExecuteContext(ctx)
}

// checkCodecs holds our codecs against native tools.
func (b *bench) checkCodecs(ctx context.Context, f *peersFlags) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	files, err := f.files()
	if err != nil {
		return err
	}
	if f.build {
		if err := broadcast.Build(ctx, "."); err != nil {
			return fail(exitUsage, "scripts/peers in the repository does the same", "%w", err)
		}
	}
	if err := cfg.Seats.Sit(ctx); err != nil {
		return fail(exitUsage, "--no-pin goes without", "%w", err)
	}
	check := broadcast.CheckConfig{Seats: cfg.Seats, Rounds: cfg.Rounds, Progress: b.progress(f.quiet)}
	if f.quick {
		check.Messages = 20_000
	}
	c, err := broadcast.CheckCodecs(ctx, check)
	switch {
	case ctx.Err() != nil:
		return context.Canceled
	case errors.Is(err, broadcast.ErrFailed):
		return fail(exitIncorrect, "", "%w", err)
	case err != nil:
		return fail(exitUnreachable, "", "%w", err)
	}
	if err := b.tell(c, c.Print, f.asJSON, files); err != nil {
		return err
	}
	if failed := c.Failed(); f.gate && len(failed) > 0 {
		return fail(exitThreshold, "", "our side of %s is slower than %s", failed[0].Protocol, failed[0].Tool)
	}
	return nil
}
