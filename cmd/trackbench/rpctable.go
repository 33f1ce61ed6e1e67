package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tracker/pkg/load"
	"tracker/pkg/load/peers"
	"tracker/pkg/load/rpcload"
)

// tableFlags are what a table is told beyond what a single run is.
type tableFlags struct {
	on     bool
	rounds int
	again  int
	quick  bool
	gate   bool
}

func (t *tableFlags) flags(f *pflag.FlagSet) {
	f.BoolVar(&t.on, "table", false, "measure the list of works, and Redis and gRPC beside, in interleaved rounds")
	f.IntVar(&t.rounds, "rounds", 5, "`N` rounds of --table; medians are told")
	f.IntVar(&t.again, "again", 3, "with --table: repeat a work up to `N` times while other processes use the machine")
	f.BoolVar(&t.quick, "quick", false, "with --table: one short round, to see that it works; its figures mean nothing")
	f.BoolVar(&t.gate, "gate", false, "with --table: a missed bar is a failure")
}

// defaults of a table are shorter than those of a single run: it has many works.
func (t *tableFlags) defaults(set *pflag.FlagSet, f *rpcFlags) {
	if !set.Changed("duration") {
		f.duration = 2 * time.Second
	}
	if !set.Changed("warmup") {
		f.warmup = "500ms"
	}
}

// peerVerb is how this program runs itself as the gRPC server that is measured.
const peerVerb = "grpc-peer"

func (b *bench) peerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    peerVerb,
		Short:  "Be the gRPC server that rpc --table measures",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b.ran = true
			return peers.ServeGRPC(os.Stdin, b.out)
		},
	}
}

const manyConns = 1000

// config is what the flags come to once they are checked.
func (t *tableFlags) config(f *rpcFlags) (cfg peers.TableConfig, err error) {
	usage := func(format string, args ...any) (peers.TableConfig, error) {
		return cfg, fail(exitUsage, rpcHelp, format, args...)
	}
	cfg = peers.TableConfig{Version: version, Rounds: t.rounds, Duration: f.duration, Conns: manyConns, Quick: t.quick, Again: max(0, t.again)}
	if !f.own {
		return usage("--table measures servers of its own; it goes without --server")
	}
	warm, err := parseWarmup(f.warmup)
	if err != nil || warm.Auto || t.rounds < 1 || f.duration <= 0 {
		return usage("--rounds %d, --duration %v, --warmup %s: want some of each", t.rounds, f.duration, f.warmup)
	}
	cfg.Warmup = warm.Length
	if t.quick {
		cfg.Rounds, cfg.Again, cfg.Warmup, cfg.Duration, cfg.Conns = 1, 0, 20*time.Millisecond, 100*time.Millisecond, 50
	}
	if lim := load.OpenFiles(); lim > 0 && lim < int64(cfg.Conns)+64 {
		return cfg, fail(exitUsage, fmt.Sprintf("ulimit -n %d", cfg.Conns+64), "this process may open %d files, and the table needs %d", lim, cfg.Conns+64)
	}
	if cfg.Trackerd, err = f.program(); err != nil {
		return cfg, err
	}
	self, err := os.Executable()
	if err != nil {
		return usage("find this program: %w", err)
	}
	cfg.GRPC = []string{self, peerVerb}
	if !f.unpinned {
		cfg.Seats = load.FindSeats()
	}
	return cfg, nil
}

func (b *bench) rpcTable(ctx context.Context, f *rpcFlags) error {
	cfg, err := f.table.config(f)
	if err != nil {
		return err
	}
	files, err := f.check()
	if err != nil {
		return err
	}
	if !f.quiet {
		cfg.Progress = func(format string, args ...any) {
			fmt.Fprintf(b.err, "trackbench: "+format+"\n", args...)
		}
	}
	if err := cfg.Seats.Sit(ctx); err != nil {
		return fail(exitUsage, "--no-pin goes without", "%w", err)
	}
	defer load.Quieten(1 << 30)()
	t, err := peers.Measure(ctx, cfg)
	if errors.Is(err, rpcload.ErrFailed) {
		return fail(exitIncorrect, "", "%w", err)
	}
	if err != nil {
		return rpcFailure(err)
	}
	if err := b.tell(t, t.Print, f.asJSON, files); err != nil {
		return err
	}
	if t.Partial {
		return context.Canceled
	}
	if missed := t.Missed(); f.table.gate && len(missed) > 0 {
		return fail(exitThreshold, "", "%d bars were missed, the first by %q", len(missed), strings.TrimSpace(missed[0].Work))
	}
	return nil
}
