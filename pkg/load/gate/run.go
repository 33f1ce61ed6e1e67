package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/gate/probe"
	"tracker/pkg/load/gate/rule"
	"tracker/pkg/load/rpcload"
	"tracker/pkg/load/stat"
	"tracker/pkg/track"
)

// Config is one gate.
type Config struct {
	Base, Head Side
	Fixed      []probe.Fixed // of the counters stage; none: it is left out
	Works      []probe.Work  // of the statistical stage; none: it is left out
	// Control starts a server that does nothing and opens a session on it; nil: there is
	// no control. Close of the session ends the server.
	Control func(context.Context) (probe.Session, error)
	// Wanted says which metrics are looked at; nil: all.
	Wanted func(work, metric string) bool
	Floors map[string]float64 // by full name, instead of a Def's own

	Budget   time.Duration // for everything; 0: whatever it takes
	Launches int           // of each side, and work; 0: rule.DefaultFirst
	Most     int           // after an extension; 0: twice as many
	Pairs    int           // of slices in a launch; 0: 6
	Seed     uint64
	Procs    int        // GOMAXPROCS of the servers; 0: all processors
	Seats    load.Seats // zero: any processor
	// Thorough goes on to the statistical stage after a counter regressed.
	Thorough bool

	// OnPhase is told what begins, OnStep how far that is.
	OnPhase func(string)
	OnStep  func(done, all int, text string)

	start func(ctx context.Context, side int) (*rpcload.Own, error) // nil: starts Path
}

// Side is one of the two binaries.
type Side struct {
	Binary
	Path string
}

const (
	base, head = 0, 1
	sides      = 2
)

var sideNames = [sides]string{"base", "head"}

const (
	mostLaunches = 1000
	mostPairs    = 200
)

func (c *Config) check() error {
	c.Launches = cmp.Or(c.Launches, rule.DefaultFirst)
	c.Most = cmp.Or(c.Most, 2*c.Launches)
	c.Pairs = cmp.Or(c.Pairs, 6)
	c.Procs = cmp.Or(c.Procs, runtime.NumCPU())
	var errs []error
	within := func(what string, v, least, most int) {
		if v < least || v > most {
			errs = append(errs, fmt.Errorf("%s %d: want %d to %d: %w", what, v, least, most, track.ErrInvalid))
		}
	}
	within("launches", c.Launches, 4, mostLaunches)
	within("launches after an extension", c.Most, c.Launches, mostLaunches)
	within("pairs", c.Pairs, 2, mostPairs)
	if c.Budget < 0 {
		errs = append(errs, fmt.Errorf("a budget of %v: want some time: %w", c.Budget, track.ErrInvalid))
	}
	for name, floor := range c.Floors {
		if !(floor >= 0 && floor < 10) {
			errs = append(errs, fmt.Errorf("floor of %s: %v: want 0 to 10: %w", name, floor, track.ErrInvalid))
		}
	}
	return errors.Join(errs...)
}

// run is one gate under way.
type run struct {
	cfg      Config
	r        *Report
	rnd      *rand.Rand
	deadline time.Time // zero: none
}

// Run compares head with base. Its error is ours: that something could not be measured at
// all. What the servers did, and whether head is worse, is in the report, which is there
// as far as it goes also when ctx ended early.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	began := time.Now()
	g := &run{cfg: cfg, rnd: rand.New(rand.NewPCG(cfg.Seed, 0x9e3779b97f4a7c15)), r: newReport(&cfg, began)}
	if cfg.Budget > 0 {
		g.deadline = began.Add(cfg.Budget)
	}
	before := load.ReadVitals()
	err := g.stages(ctx)
	g.r.TookNS = int64(time.Since(began))
	g.r.Env = load.Describe(before, load.ReadVitals())
	var f *failure
	switch {
	case errors.As(err, &f):
		g.r.Failure = &f.Failure
		err = nil
	case ctx.Err() != nil:
		g.r.Partial, err = true, nil
	}
	g.conclude()
	return g.r, err
}

func newReport(cfg *Config, began time.Time) *Report {
	r := load.NewResult("", "gate")
	return &Report{
		Schema: Schema, ID: r.ID, Tool: r.Tool, Started: load.Instant{Time: began}, Base: cfg.Base.Binary, Head: cfg.Head.Binary,
		Seed: cfg.Seed, Same: cfg.same(), Metrics: []*Metric{},
	}
}

// stages runs one stage after the other. A head that is worse by what is counted needs no
// measurement.
func (g *run) stages(ctx context.Context) error {
	moved, err := g.counters(ctx)
	if err != nil || g.regressed() && !g.cfg.Thorough {
		return err
	}
	return g.statistics(ctx, moved)
}

func (g *run) regressed() bool {
	return slices.ContainsFunc(g.r.Metrics, func(m *Metric) bool { return m.Verdict == Regressed })
}

func (g *run) phase(format string, args ...any) {
	if g.cfg.OnPhase != nil {
		g.cfg.OnPhase(fmt.Sprintf(format, args...))
	}
}

func (g *run) step(done, all int, format string, args ...any) {
	if g.cfg.OnStep != nil {
		g.cfg.OnStep(done, all, fmt.Sprintf(format, args...))
	}
}

func (g *run) wanted(work, metric string) bool {
	return g.cfg.Wanted == nil || g.cfg.Wanted(work, metric)
}

// left is what remains of the budget.
func (g *run) left() time.Duration {
	if g.deadline.IsZero() {
		return rule.NoLimit
	}
	return time.Until(g.deadline)
}

// failure is a server that did what none may.
type failure struct{ Failure }

func (f *failure) Error() string { return f.Side + ": " + f.Text }

// blame says whose fault an error is: a server's if the probe says so or it is there no
// longer, ours otherwise.
func blame(side int, work string, s *rpcload.Own, err error) error {
	kind := ""
	switch {
	case exhausted(err):
		return fmt.Errorf("%s of %s: %w", work, sideNames[side], err)
	case errors.Is(err, probe.ErrWrong):
		kind = Wrong
	case errors.Is(err, probe.ErrGone), s != nil && !s.Alive():
		kind = Died
	default:
		return fmt.Errorf("%s of %s: %w", work, sideNames[side], err)
	}
	text := err.Error()
	if s != nil {
		if last := s.LastWords(); last != "" {
			text += "; it said: " + last
		}
	}
	return &failure{Failure{Side: sideNames[side], Kind: kind, Work: work, Text: text}}
}

// exhausted says that this machine has no more of something: no server can help that.
func exhausted(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOMEM}, func(e error) bool { return errors.Is(err, e) })
}

// launch starts one side.
func (g *run) launch(ctx context.Context, side int) (*rpcload.Own, error) {
	return g.launchOn(ctx, side, g.cfg.Procs)
}

func (g *run) launchOn(ctx context.Context, side, procs int) (*rpcload.Own, error) {
	if g.cfg.start != nil {
		return g.cfg.start(ctx, side)
	}
	s := [sides]*Side{&g.cfg.Base, &g.cfg.Head}[side]
	own, err := rpcload.Launch{
		Path: s.Path, Seats: g.cfg.Seats, Env: append([]string{fmt.Sprintf("GOMAXPROCS=%d", procs)}, s.Env...),
	}.Start(ctx)
	if err != nil && ctx.Err() == nil {
		return nil, &failure{Failure{Side: sideNames[side], Kind: Died, Text: fmt.Sprintf("it does not start: %v", err)}}
	}
	return own, err
}

// bar is what counts as worse of a metric.
func (g *run) bar(work string, d *probe.Def) rule.Bar {
	b := rule.Bar{Floor: d.Floor, Absolute: d.Absolute}
	if floor, ok := g.cfg.Floors[work+"."+d.Name]; ok {
		b.Floor, b.Absolute = floor, 0
	}
	return b
}

// metric is a new row of the report.
func (g *run) metric(work string, d *probe.Def, stage string) *Metric {
	b := g.bar(work, d)
	m := &Metric{Work: work, Name: d.Name, Unit: d.Unit, Text: d.Text, Stage: stage, Floor: b.Floor, Absolute: b.Absolute}
	g.r.Metrics = append(g.r.Metrics, m)
	return m
}

// medianOf is the median, for a report; nil if there is none.
func medianOf(list []float64) *float64 {
	if len(list) == 0 {
		return nil
	}
	return finite(stat.Median(list))
}
