package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/load"
	"tracker/pkg/load/gate"
	"tracker/pkg/load/gate/probe"
	"tracker/pkg/load/gate/rule"
	"tracker/pkg/load/report"
)

// gateFlags are what a gate is told.
type gateFlags struct {
	base, head       string
	baseRef, headRef string
	metrics          []string
	floors           []string
	only             string
	thorough         bool
	budget           time.Duration
	launches, most   int
	pairs            int
	procs            int
	pin              bool
	seed             uint64
	inconclusive     string
	history          string
	out              []string
	asJSON, quiet    bool

	selfTest bool
	quick    bool
	plants   []string
	repeat   int

	// What check makes of them.
	floorOf map[string]float64
	sinks   []sink
	plant   []gate.Plant
}

const gateHelp = "trackbench gate --help shows what there is"

// The stages that --only names.
const (
	onlyCounters   = gate.Counters
	onlyStatistics = gate.Statistics
)

func (b *bench) gateCommand() *cobra.Command {
	var f gateFlags
	cmd := &cobra.Command{
		Use:   "gate",
		Short: "Tell whether one build of the server is worse than another, on a noisy machine",
		Long: `Compares two builds of trackerd, and fails on a real regression and never on noise.

First it counts: system calls, bytes, allocations, frames and encodings of work that is
always the same, in three launches of each. A counter that varies goes to the second
stage. That measures: both servers side by side, slices of a quarter of a second by turns
in random order, in 6 to 24 fresh launches; only launches count as independent. A server
that does nothing is measured beside them, to know when it is the machine that changed.

What is worse is measured again in new launches, and only what is worse again fails:

  PASS          0  nothing is worse by what matters
  REGRESSED     1  something is, twice
  INCONCLUSIVE  3  neither could be shown today; --inconclusive pass makes it 0
  FAILED      1 4 5  a metric is missing in head, a server died, a server answered wrongly

Both have to be built alike, by the same Go with the same settings, or it refuses (2).

--selftest turns the gate on itself: the same binary twice has to pass, and a server that
was made worse on purpose has to be found. It builds a server that can be, from the
repository.`,
		Example: `  trackbench gate --base ./trackerd.main --head ./trackerd
  trackbench gate --base-ref origin/main --budget 5m --out md=summary.md --out html=gate.html
  trackbench gate --base-ref HEAD~1 --metric rpc.cpu --floor rpc.cpu=5%
  trackbench gate --selftest --plant cpu=10% --repeat 10`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.ran = true
			if err := f.check(); err != nil {
				return err
			}
			if f.selfTest {
				return b.gateSelfTest(cmd.Context(), &f)
			}
			return b.gate(cmd.Context(), &f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.base, "base", "", "the `trackerd` to compare with")
	fl.StringVar(&f.head, "head", "", "the `trackerd` that may be worse")
	fl.StringVar(&f.baseRef, "base-ref", "", "build the base from this git `revision`; needs Go and the repository")
	fl.StringVar(&f.headRef, "head-ref", "", "build the head from this git `revision` (default: from the working tree)")
	fl.StringArrayVar(&f.metrics, "metric", nil, "look at this `METRIC` only, such as rpc.cpu, or at all of a work, rpc; may be given again")
	fl.StringArrayVar(&f.floors, "floor", nil, "the smallest change that fails, `METRIC=5%`; may be given again")
	fl.StringVar(&f.only, "only", "", "one `STAGE` only: counters or statistics")
	fl.BoolVar(&f.thorough, "thorough", false, "measure also when a counter regressed")
	fl.DurationVar(&f.budget, "budget", 0, "spend this `time` where it decides most (default: whatever it takes, some 5 to 15 minutes)")
	fl.IntVar(&f.launches, "launches", rule.DefaultFirst, "`N` launches of each side and work; half of them may be enough")
	fl.IntVar(&f.most, "most", rule.DefaultMost, "`N` launches where 12 do not decide")
	fl.IntVar(&f.pairs, "pairs", 6, "`N` pairs of slices in a launch")
	fl.IntVar(&f.procs, "procs", 0, "GOMAXPROCS of the servers (default: all processors)")
	fl.BoolVar(&f.pin, "pin", false, "servers on the first processor, this program on the second")
	fl.Uint64Var(&f.seed, "seed", 1, "`number` that decides orders")
	fl.StringVar(&f.inconclusive, "inconclusive", "fail", "`fail` (exit code 3) or pass (0) when nothing could be shown")
	fl.StringVar(&f.history, "history", "", "append the figures to this `FILE`, for trackbench trend")
	fl.StringArrayVar(&f.out, "out", nil, "also write the report: `KIND=FILE` of "+strings.Join(report.GateKinds(), ", ")+"; - is standard output; may be given again")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	fl.BoolVar(&f.quiet, "quiet", false, "no lines while it runs")
	fl.BoolVar(&f.selfTest, "selftest", false, "find planted faults, and none where there is none")
	fl.BoolVar(&f.quick, "quick", false, "with --selftest: what is certain, and one short gate, in less than 3 minutes")
	fl.StringArrayVar(&f.plants, "plant", nil, "with --selftest: plant `FAULT`: cpu=25%, write=10%, latency=25%, or none (default: all four); or a failure: wrong=1000, drop=1000, crash=2s, mute=METRIC, of the base with base: before it; may be given again")
	fl.IntVar(&f.repeat, "repeat", 1, "with --selftest: `N` gates of each plant")
	return cmd
}

// check finds all that is wrong with the flags.
func (f *gateFlags) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if f.only != "" && f.only != onlyCounters && f.only != onlyStatistics {
		bad("--only %q: want %s or %s", f.only, onlyCounters, onlyStatistics)
	}
	if f.inconclusive != "fail" && f.inconclusive != "pass" {
		bad("--inconclusive %q: want fail or pass", f.inconclusive)
	}
	if f.budget < 0 || f.budget > 0 && f.budget < 10*time.Second {
		bad("--budget %v: want 10s or more", f.budget)
	}
	if f.repeat < 1 || f.repeat > 1000 {
		bad("--repeat %d: want 1 to 1000", f.repeat)
	}
	if f.most < f.launches {
		bad("--most %d: want at least --launches %d", f.most, f.launches)
	}
	f.checkSides(bad)
	f.floorOf = map[string]float64{}
	for _, text := range f.floors {
		name, size, _ := strings.Cut(text, "=")
		v, err := strconv.ParseFloat(strings.TrimSuffix(size, "%"), 64)
		if err != nil || !strings.HasSuffix(size, "%") || !(v > 0 && v < 1000) || !slices.Contains(f.known(), name) || !strings.Contains(name, ".") {
			bad("--floor %q: want METRIC=5%%, of %s", text, strings.Join(f.full(), ", "))
		}
		f.floorOf[name] = v / 100
	}
	for _, name := range f.metrics {
		if !slices.Contains(f.known(), name) {
			bad("--metric %q: want some of %s", name, strings.Join(f.known(), ", "))
		}
	}
	for _, text := range f.plants {
		p, err := gate.ParsePlant(text)
		if err != nil {
			bad("--plant %w", err)
		}
		f.plant = append(f.plant, p)
	}
	var err error
	if f.sinks, err = f.parseSinks(); err != nil {
		bad("--out: %w", err)
	}
	if len(errs) > 0 {
		return fail(exitUsage, gateHelp, "%w", errors.Join(errs...))
	}
	return nil
}

func (f *gateFlags) checkSides(bad func(string, ...any)) {
	switch {
	case f.selfTest:
		if f.base != "" || f.baseRef != "" || f.headRef != "" {
			bad("--selftest measures one binary beside itself: --head, or what it builds")
		}
	case f.quick || len(f.plants) > 0 || f.repeat > 1:
		bad("--quick, --plant and --repeat go with --selftest")
	case (f.base == "") == (f.baseRef == ""):
		bad("want one of --base and --base-ref: what to compare with")
	case f.head != "" && f.headRef != "":
		bad("--head and --head-ref exclude each other")
	case f.base != "" && f.head == "" && f.headRef == "":
		bad("want --head, or --head-ref: what may be worse")
	}
}

func (f *gateFlags) parseSinks() ([]sink, error) {
	all, err := parseSinks(f.out, report.GateKinds())
	for _, s := range all {
		if f.selfTest && s.kind != "json" {
			return nil, fmt.Errorf("%q: a self-test writes json only", s.kind+"="+s.path)
		}
		if s.path == "-" && f.asJSON {
			return nil, errors.New("--json and --out to standard output exclude each other")
		}
	}
	return all, err
}

// fixedWorks and works are all that a gate knows.
func fixedWorks() []probe.Fixed {
	return []probe.Fixed{probe.FixedRPC(), probe.FixedFanout(), probe.FixedIngest(), probe.FixedIdle()}
}

func works() []probe.Work {
	return []probe.Work{probe.RPC(), probe.Latency(), probe.Fanout(), probe.Ingest()}
}

// full are the names of all metrics, known those and the names of works.
func (f *gateFlags) full() (all []string) {
	add := func(work string, defs []probe.Def) {
		for _, d := range defs {
			all = append(all, work+"."+d.Name)
		}
	}
	for _, w := range fixedWorks() {
		add(w.Name(), w.Defs())
	}
	for _, w := range works() {
		add(w.Name(), w.Defs())
	}
	return all
}

func (f *gateFlags) known() []string {
	all := f.full()
	for _, name := range f.full() {
		work, _, _ := strings.Cut(name, ".")
		if !slices.Contains(all, work) {
			all = append(all, work)
		}
	}
	return all
}

// config is what the flags ask for, without the sides.
func (f *gateFlags) config() gate.Config {
	cfg := gate.Config{
		Floors: f.floorOf, Budget: f.budget, Launches: f.launches, Most: f.most, Pairs: f.pairs, Seed: f.seed, Procs: f.procs, Thorough: f.thorough,
	}
	if f.pin {
		cfg.Seats = load.FindSeats()
	}
	if f.only != onlyStatistics {
		cfg.Fixed = fixedWorks()
	}
	if f.only != onlyCounters {
		cfg.Works = works()
	}
	if len(f.metrics) > 0 {
		cfg.Wanted = func(work, metric string) bool {
			return slices.Contains(f.metrics, work) || slices.Contains(f.metrics, work+"."+metric)
		}
	}
	self, err := os.Executable()
	if err == nil {
		cfg.Control = func(ctx context.Context) (probe.Session, error) {
			return probe.OpenNull(ctx, cfg.Seats.Command(context.WithoutCancel(ctx), cfg.Seats.Server, self, nullVerb)) // the session's Close ends it
		}
	}
	return cfg
}
