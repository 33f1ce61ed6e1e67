package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tracker/pkg/load"
	"tracker/pkg/load/report"
)

// runFlags are what every measurement is told. A scenario embeds them, calls flags with
// its own defaults and check before it begins, and ends with measure or conclude:
//
//	flags ──► check ──► live ──► the scenario ──► conclude
//	           usage     lines                    text, files, exit code
type runFlags struct {
	rate       string
	duration   time.Duration
	count      int64
	warmup     string
	seed       uint64
	interval   time.Duration
	out        []string
	promListen string
	thresholds []string
	labels     []string
	strict     bool
	asJSON     bool
	quiet      bool
	noTTY      bool
	color      string
	sourceIPs  string
	calibrate  string
	findExpr   string

	// What check makes of them.
	plan    load.Plan // zero without a rate: a closed loop
	warm    warmup    // how long to run before what counts
	sinks   []sink    // files to write
	limits  []load.Threshold
	marks   map[string]string
	search  []load.Threshold // what --find-max asks for
	sources *load.Sources    // nil: wherever the system likes
}

// runDefaults are what a scenario begins with.
type runDefaults struct {
	name     string        // of the command, for hints
	rate     string        // "": a closed loop, unless --rate is given
	rateHelp string        // of what; "": the scenario has no rate
	duration time.Duration // 0: the scenario has no length of its own
	warmup   string        // "": the scenario has none
	findMax  bool          // its highest rate can be looked for
	fixed    bool          // its sends are laid out beforehand, so its warm-up has one length
}

// warmup is how long a run goes on before it counts: Length, or with Auto until it is
// steady, and Length at most.
type warmup struct {
	Auto   bool
	Length time.Duration
}

func (w warmup) String() string {
	if w.Auto {
		return "auto"
	}
	return w.Length.String()
}

// longestWarmup bounds --warmup auto.
const longestWarmup = 5 * time.Second

// flags makes the flags known.
func (f *runFlags) flags(fl *pflag.FlagSet, d runDefaults) {
	if d.rateHelp != "" {
		fl.StringVar(&f.rate, "rate", d.rate, d.rateHelp+": `R`, FROM:TO:OVER, R@TIME,R@TIME, or burst:N@EVERY")
	}
	if d.findMax {
		fl.StringVar(&f.findExpr, "find-max", "", "look for the highest rate at which this holds: `METRIC<VALUE,...`, such as p99<20ms,loss<0.1%")
	}
	if d.duration > 0 {
		fl.DurationVar(&f.duration, "duration", d.duration, "how long to measure")
		fl.Int64Var(&f.count, "count", 0, "measure `N` sends of the plan, instead of a time")
	}
	if d.warmup != "" {
		auto := "until it is steady"
		if d.fixed {
			auto = longestWarmup.String()
		}
		fl.StringVar(&f.warmup, "warmup", d.warmup, "how long to run before that: a `TIME`, or auto: "+auto)
	}
	fl.Uint64Var(&f.seed, "seed", 1, "`number` that decides whatever is left to chance")
	fl.DurationVar(&f.interval, "interval", time.Second, "`time` between two lines")
	fl.StringArrayVar(&f.out, "out", nil, "also write the result: `KIND=FILE` of "+strings.Join(kinds(), ", ")+"; - is standard output; may be given again")
	fl.StringVar(&f.promListen, "prom-listen", "", "serve the figures to Prometheus at `HOST:PORT` while it runs")
	fl.StringArrayVar(&f.thresholds, "threshold", nil, "fail unless `METRIC<VALUE`, such as p99<60ms, loss<0.1%, rate>9k; may be given again")
	fl.StringArrayVar(&f.labels, "label", nil, "note `KEY=VALUE` in the result; may be given again")
	fl.BoolVar(&f.strict, "strict", false, "a suspect result is a failure")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	fl.BoolVar(&f.quiet, "quiet", false, "no lines while it runs")
	fl.BoolVar(&f.noTTY, "no-tty", false, "plain lines, as if this were no terminal")
	fl.StringVar(&f.color, "color", "auto", "`when` to use colour: auto, always or never; NO_COLOR is honoured")
	fl.StringVar(&f.sourceIPs, "source-ips", "", "connect from these `addresses` of this machine in turn, with commas between")
	fl.StringVar(&f.calibrate, "calibrate", "auto", "measure what this program itself can do: auto, fresh or off")
}

// check reads what the flags say; every error of it is one of usage.
func (f *runFlags) check(d runDefaults) (err error) {
	usage := func(format string, args ...any) error {
		return fail(exitUsage, "trackbench "+d.name+" --help shows what there is", format, args...)
	}
	f.plan = load.Plan{}
	if f.rate != "" {
		if f.plan, err = load.ParsePlan(f.rate); err != nil {
			return usage("--rate: %w", err)
		}
	}
	if d.duration > 0 {
		if err := f.checkLength(d); err != nil {
			return usage("%w", err)
		}
	}
	if f.interval < 100*time.Millisecond {
		return usage("--interval %v: want at least 100ms", f.interval)
	}
	if d.warmup != "" {
		if f.warm, err = parseWarmup(f.warmup); err != nil {
			return usage("--warmup: %w", err)
		}
		f.warm.Auto = f.warm.Auto && !d.fixed
	}
	if f.search = nil; f.findExpr != "" {
		if f.search, err = load.ParseThresholds(f.findExpr); err != nil {
			return usage("--find-max: %w", err)
		}
	}
	f.limits = nil
	for _, s := range f.thresholds {
		t, err := load.ParseThreshold(s)
		if err != nil {
			return usage("--threshold: %w", err)
		}
		f.limits = append(f.limits, t)
	}
	if f.marks, err = parseLabels(f.labels); err != nil {
		return usage("--label: %w", err)
	}
	if f.sinks, err = parseSinks(f.out, kinds()); err != nil {
		return usage("--out: %w", err)
	}
	if f.asJSON && slices.ContainsFunc(f.sinks, func(s sink) bool { return s.path == "-" }) {
		return usage("--json and --out to standard output exclude each other")
	}
	if f.sources, err = load.ParseSources(f.sourceIPs); err != nil {
		return usage("--source-ips: %w", err)
	}
	for _, x := range []struct{ flag, value, want string }{{"color", f.color, "auto always never"}, {"calibrate", f.calibrate, "auto fresh off"}} {
		if !slices.Contains(strings.Fields(x.want), x.value) {
			return usage("--%s %q: want one of %s", x.flag, x.value, x.want)
		}
	}
	return nil
}

// checkLength brings --duration and --count to one length.
func (f *runFlags) checkLength(d runDefaults) error {
	switch {
	case f.duration <= 0:
		return fmt.Errorf("--duration %v: want some time", f.duration)
	case f.count < 0:
		return fmt.Errorf("--count %d: want a number above 0", f.count)
	case f.count == 0:
		return nil
	case f.plan.Zero():
		return errors.New("--count goes with --rate")
	}
	if f.duration = f.plan.When(f.count); f.plan.Bursty() {
		f.duration = f.plan.When(f.count-1) + time.Nanosecond
	}
	return nil
}

// length is what --duration and --count say, for a header.
func (f *runFlags) length() string {
	if f.count > 0 {
		return fmt.Sprintf("count=%d", f.count)
	}
	return fmt.Sprintf("duration=%v", f.duration)
}

func parseWarmup(s string) (warmup, error) {
	if s == "auto" {
		return warmup{Auto: true, Length: longestWarmup}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return warmup{}, fmt.Errorf("%q is no length of time, nor auto", s)
	}
	return warmup{Length: d}, nil
}

func parseLabels(list []string) (map[string]string, error) {
	var all map[string]string
	for _, s := range list {
		key, value, ok := strings.Cut(s, "=")
		if !ok || strings.TrimSpace(key) == "" {
			return nil, fmt.Errorf("%q: want KEY=VALUE", s)
		}
		if all == nil {
			all = map[string]string{}
		}
		all[key] = value
	}
	return all, nil
}

// sink is a file to write.
type sink struct{ kind, path string }

// kinds are the files that a result can be written to.
func kinds() []string {
	all := slices.Clone(load.Sinks)
	for _, k := range report.Kinds() {
		if !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	return all
}

// parseSinks reads what --out was given, of some kinds. That a file cannot be written is
// better known before a run than after it.
func parseSinks(list, kinds []string) (all []sink, err error) {
	for _, text := range list {
		kind, path, ok := strings.Cut(text, "=")
		if !ok || path == "" || !slices.Contains(kinds, kind) {
			return nil, fmt.Errorf("%q: want json=FILE, or another of %s", text, strings.Join(kinds, ", "))
		}
		if path == "-" && kind == "hgrm" {
			return nil, fmt.Errorf("%q: want a directory", text)
		}
		if path != "-" {
			if st, err := os.Stat(filepath.Dir(path)); err != nil || !st.IsDir() {
				return nil, fmt.Errorf("%q: there is no directory %s", text, filepath.Dir(path))
			}
		}
		all = append(all, sink{kind, path})
	}
	return all, nil
}

// preflight makes sure that the run can be had, see load.Preflight.
func (f *runFlags) preflight(n load.Need) error {
	n.Sources = f.sources
	err := load.Preflight(n)
	var short *load.Shortage
	if errors.As(err, &short) {
		return fail(exitUsage, short.Fix, "%w", err)
	}
	return err
}

// measure runs the scenario by the plan of the flags, or looks for the highest rate, and
// concludes. A result that comes with an error is concluded as far as it goes, and the
// error decides the exit code.
func (b *bench) measure(ctx context.Context, f *runFlags, run load.Run) error {
	if f.findExpr != "" {
		return b.findMax(ctx, f, f.findExpr, f.search, run)
	}
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	k := b.listen(f, quit)
	res, err := run(ctx, f.plan, f.duration)
	k.close()
	if res == nil {
		return err
	}
	k.mark(res)
	concluded := b.conclude(res, f, visitorLines(res)...)
	if err != nil {
		return err
	}
	return concluded
}

// conclude is how every measurement ends: it holds the result against the thresholds,
// prints it, writes the files, and says by its error how the program ends. lines are
// what only this scenario has to say, and stand below the common ones.
func (b *bench) conclude(res *load.Result, f *runFlags, lines ...string) error {
	if err := res.Check(); err != nil {
		return fail(exitInternal, "please report this", "%w", err)
	}
	res.Command = append([]string{"trackbench"}, load.RedactArgs(b.args)...)
	res.Tool.Commit = commit()
	res.Labels = f.marks
	res.Scenario.Seed = f.seed
	for _, t := range f.limits {
		res.Checks = append(res.Checks, t.Check(res))
	}
	res.Redact()
	if f.asJSON {
		if err := b.printJSON(res); err != nil {
			return err
		}
	} else {
		b.text(f).result(res, lines)
	}
	if err := b.write(res, f); err != nil {
		return err
	}
	return verdict(res, f.strict)
}

// write writes the files; one that fails keeps no other from being written.
func (b *bench) write(res *load.Result, f *runFlags) error {
	var failed error
	var wrote []string
	for _, s := range f.sinks {
		if err := writeSink(s, res); err != nil {
			failed = errors.Join(failed, fail(exitUsage, "", "write %s: %w", s.kind, err))
			continue
		}
		if s.path != "-" {
			wrote = append(wrote, s.path)
		}
	}
	if len(wrote) > 0 && !f.asJSON {
		fmt.Fprintf(b.text(f).w, "wrote   %s\n", strings.Join(wrote, " "))
	}
	return failed
}

// writeSink writes one file of one kind.
func writeSink(s sink, res *load.Result) error {
	err := error(nil)
	if slices.Contains(load.Sinks, s.kind) {
		err = res.Write(s.kind, s.path)
	} else {
		err = report.Write(s.kind, s.path, res, report.Context{Version: version})
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("%s: %w", s.path, at.Err)
	}
	return err
}

// verdict turns a result into how the program ends. What the server did wrong comes
// before what the measurement did: a run that lost updates is no better for being
// suspect.
func verdict(res *load.Result, strict bool) error {
	var missed []string
	for _, c := range res.Checks {
		if !c.Pass && c.Kind == "threshold" {
			missed = append(missed, fmt.Sprintf("threshold %s: %s", c.Name, c.Text))
		}
	}
	switch bad := res.Failure; {
	case bad != nil && bad.Kind == load.TargetGone:
		return fail(exitUnreachable, bad.Hint, "%s", bad.Text)
	case bad != nil:
		return fail(exitIncorrect, bad.Hint, "%s", bad.Text)
	case res.Partial:
		return context.Canceled
	case res.Verdict.Validity == load.Invalid:
		return fail(exitInvalid, "", "the measurement is INVALID: %s", reason(res, load.Ruin))
	case len(missed) > 0:
		return fail(exitThreshold, "", "%s", strings.Join(missed, "; "))
	case strict && res.Verdict.Validity != load.Valid:
		return fail(exitInvalid, "", "the measurement is SUSPECT, and --strict asks for more: %s", reason(res, load.Doubt))
	}
	return nil
}

// reason is the first warning of a severity.
func reason(res *load.Result, s load.Severity) string {
	for _, w := range res.Verdict.Warnings {
		if w.Severity == s {
			return w.ID + " " + w.Text
		}
	}
	return "no reason was given"
}

// environment lets TRACKBENCH_NAME stand for a flag that the command line does not give,
// TRACKBENCH_DURATION for --duration. A flag that may be given again takes one value.
// TRACK_SERVER, which all our programs know, is the server of those that measure one
// that runs.
func environment(cmd *cobra.Command) error {
	var failed error
	cmd.Flags().VisitAll(func(fl *pflag.Flag) {
		name := "TRACKBENCH_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if at := os.Getenv("TRACK_SERVER"); !ok && fl.Name == "server" && fl.DefValue != "" && at != "" {
			name, value, ok = "TRACK_SERVER", at, true
		}
		if !ok || value == "" || fl.Changed || fl.Name == "help" {
			return
		}
		if err := cmd.Flags().Set(fl.Name, value); err != nil {
			failed = errors.Join(failed, fail(exitUsage, "", "%s: %w", name, err))
		}
	})
	return failed
}

// count writes a whole number with thin groups, as in 100 000.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return sign + s
}

// perSecond writes a rate with three digits.
func perSecond(v float64) string {
	switch a := math.Abs(v); {
	case a >= 999_500:
		return fmt.Sprintf("%.3g M/s", v/1e6)
	case a >= 9_995:
		return fmt.Sprintf("%.3g k/s", v/1e3)
	case a >= 100:
		return fmt.Sprintf("%.0f/s", v)
	}
	return fmt.Sprintf("%.3g/s", v)
}
