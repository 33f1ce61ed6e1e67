package gate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/gate/probe"
	"tracker/pkg/load/gate/rule"
	"tracker/pkg/load/rpcload"
)

// world is servers that cost what a model says: by launch and by slice they vary, and the
// head costs more by an effect.
type world struct {
	rnd           *rand.Rand
	launch, slice float64 // sd of the logarithm
	effect        float64 // of the head, as a logarithm
	bound         float64 // share of slices in which the client is the limit
	effectOnce    int     // the effect is there in so many launches only; 0: in all
	opened        [sides]int
	fail          func(side, opened int) error
	missing       string
	loose         float64 // of counters, sd
	counted       float64 // of the head, factor
}

func newWorld(seed uint64) *world {
	return &world{rnd: rand.New(rand.NewPCG(seed, 7)), launch: 0.02, slice: 0.1, counted: 1}
}

// own is a server that is no process but this one, and knows its side by its address.
func own(side int) *rpcload.Own {
	o := &rpcload.Own{Child: &load.Child{Process: load.Process{PID: os.Getpid()}}}
	o.Target.Addr = sideNames[side]
	return o
}

func sideOf(s *rpcload.Own) int {
	if s.Target.Addr == sideNames[head] {
		return head
	}
	return base
}

func (w *world) config() Config {
	return Config{
		Works: []probe.Work{fakeWork{w}}, Fixed: []probe.Fixed{fakeFixed{w}}, Control: w.control, Seed: 3,
		start: func(_ context.Context, side int) (*rpcload.Own, error) {
			return own(side), nil
		},
	}
}

func (w *world) control(context.Context) (probe.Session, error) {
	s := &fakeSession{w: w, bias: w.rnd.NormFloat64() * w.launch / 4}
	return s, nil
}

type fakeWork struct{ w *world }

func (fakeWork) Name() string { return "rpc" }
func (fakeWork) Defs() []probe.Def {
	return []probe.Def{{Name: "cpu", Unit: "ns/call", Text: "processor time", Floor: 0.03}}
}

func (f fakeWork) Open(_ context.Context, s *rpcload.Own) (probe.Session, error) {
	side := sideOf(s)
	f.w.opened[side]++
	if f.w.fail != nil {
		if err := f.w.fail(side, f.w.opened[side]); err != nil {
			return nil, err
		}
	}
	bias := f.w.rnd.NormFloat64() * f.w.launch
	if side == head && (f.w.effectOnce == 0 || f.w.opened[side] <= f.w.effectOnce) {
		bias += f.w.effect
	}
	return &fakeSession{w: f.w, bias: bias, name: "cpu"}, nil
}

type fakeSession struct {
	w    *world
	bias float64
	name string
}

func (s *fakeSession) Slice(ctx context.Context) (probe.Sample, error) {
	v := 1000 * math.Exp(s.bias+s.w.rnd.NormFloat64()*s.w.slice)
	name := s.name
	if name == "" {
		name = "time"
	}
	return probe.Sample{Costs: map[string]float64{name: v}, Bound: s.w.rnd.Float64() < s.w.bound}, ctx.Err()
}

func (*fakeSession) Close() error { return nil }

type fakeFixed struct{ w *world }

func (fakeFixed) Name() string { return "rpc" }
func (fakeFixed) Defs() []probe.Def {
	return []probe.Def{{Name: "writes", Unit: "writes/call", Text: "system calls", Floor: 0.02}, {Name: "allocs", Unit: "allocs/call", Text: "allocations", Floor: 0.02}}
}

func (f fakeFixed) Count(_ context.Context, s *rpcload.Own) (map[string]float64, error) {
	c := map[string]float64{"writes": 0.0156, "allocs": 3 * math.Exp(f.w.rnd.NormFloat64()*f.w.loose)}
	if sideOf(s) == head {
		c["writes"] *= f.w.counted
		delete(c, f.w.missing)
	}
	return c, nil
}

func mustRun(t *testing.T, cfg Config) *Report {
	t.Helper()
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func metricOf(t *testing.T, r *Report, name string) *Metric {
	t.Helper()
	for _, m := range r.Metrics {
		if m.FullName() == name {
			return m
		}
	}
	t.Fatalf("the report has no %s: %+v", name, r)
	return nil
}

func TestTheSameTwicePasses(t *testing.T) {
	r := mustRun(t, newWorld(1).config())
	if r.Verdict != Pass || r.Failure != nil || len(r.Metrics) != 3 || r.Visible == nil || !r.Control.Steady {
		t.Errorf("%+v", r)
	}
	if m := metricOf(t, r, "rpc.cpu"); m.Launches < 6 || len(m.Each) != m.Launches || m.Low == nil || *m.Low > *m.Change || *m.High < *m.Change {
		t.Errorf("%+v", m)
	}
}

func TestWhatIsWorseTwiceFails(t *testing.T) {
	w := newWorld(2)
	w.effect = math.Log(1.10)
	r := mustRun(t, w.config())
	m := metricOf(t, r, "rpc.cpu")
	if r.Verdict != Regressed || m.Verdict != Regressed || m.Confirm == nil || m.Confirm.Shows != "worse" || !strings.Contains(r.Reason, "rpc.cpu +") {
		t.Errorf("%s %+v", r.Reason, m)
	}
}

func TestWhatIsBetterTwiceIsToldAndPasses(t *testing.T) {
	w := newWorld(3)
	w.effect = math.Log(0.85)
	r := mustRun(t, w.config())
	m := metricOf(t, r, "rpc.cpu")
	if r.Verdict != Pass || m.Says != "better" || m.Confirm == nil {
		t.Errorf("%s %+v", r.Reason, m)
	}
}

func TestAnAlarmThatDoesNotComeAgainFailsNothing(t *testing.T) {
	for _, effect := range []float64{1.2, 0.8} {
		w := newWorld(4)
		w.effect, w.effectOnce = math.Log(effect), 6
		r := mustRun(t, w.config())
		m := metricOf(t, r, "rpc.cpu")
		if r.Verdict != Pass || m.Confirm == nil || !strings.Contains(m.Says, "once, and not again") {
			t.Errorf("%s %+v", r.Reason, m)
		}
	}
}

func TestTooMuchNoiseIsInconclusive(t *testing.T) {
	w := newWorld(5)
	w.launch = 0.8
	r := mustRun(t, w.config())
	m := metricOf(t, r, "rpc.cpu")
	if r.Verdict != Inconclusive || m.Says != "too much noise to tell" || m.Launches != 24 || m.Visible == nil || *m.Visible < 0.2 || r.Hint == "" {
		t.Errorf("%s %+v", r.Reason, m)
	}
}

func TestACounterThatGrewFailsWithoutAMeasurement(t *testing.T) {
	w := newWorld(6)
	w.counted = 1.1
	r := mustRun(t, w.config())
	m := metricOf(t, r, "rpc.writes")
	if r.Verdict != Regressed || m.Stage != Counters || m.Confirm == nil || math.Abs(*m.Change-0.1) > 1e-9 || r.Statistics != nil || w.opened != [sides]int{} {
		t.Errorf("%s %+v", r.Reason, m)
	}
	cfg := w.config()
	cfg.Thorough = true
	if r := mustRun(t, cfg); r.Statistics == nil || r.Verdict != Regressed {
		t.Errorf("%+v", r)
	}
}

func TestACounterThatIsNotSteadyIsMeasured(t *testing.T) {
	w := newWorld(7)
	w.loose = 0.02
	r := mustRun(t, w.config())
	m := metricOf(t, r, "rpc.allocs")
	if r.Verdict != Pass || m.Stage != Statistics || !strings.Contains(m.Moved, "3 launches of the base counted") || m.Launches < 6 {
		t.Errorf("%s %+v", r.Reason, m)
	}
	if metricOf(t, r, "rpc.writes").Stage != Counters {
		t.Error("a steady counter was measured")
	}
}

func TestWhatCannotBeACostIsNotPassed(t *testing.T) {
	for _, c := range []struct{ was, is float64 }{{-1, 3}, {3, -1}, {0, 3}, {math.NaN(), 3}, {3, math.NaN()}} {
		w := newWorld(15)
		cfg := w.config()
		cfg.Fixed = []probe.Fixed{oddMetric{fakeFixed{w}, c.was, c.is}}
		r := mustRun(t, cfg)
		if m := metricOf(t, r, "rpc.allocs"); m.Verdict == Pass || r.Verdict == Pass {
			t.Errorf("%v to %v: %s %+v", c.was, c.is, r.Reason, m)
		}
	}
}

// oddMetric tells something else than a cost.
type oddMetric struct {
	fakeFixed
	was, is float64
}

func (o oddMetric) Count(ctx context.Context, s *rpcload.Own) (map[string]float64, error) {
	c, err := o.fakeFixed.Count(ctx, s)
	if c["allocs"] = o.was; sideOf(s) == head {
		c["allocs"] = o.is
	}
	return c, err
}

func TestServersThatFailAreNeverPassed(t *testing.T) {
	of := func(side, opened int, err error) func(int, int) error {
		return func(s, n int) error {
			if s == side && n >= opened {
				return err
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		set        func(*world)
		side, kind string
	}{
		"base dies":     {func(w *world) { w.fail = of(base, 3, fmt.Errorf("%w: it exited", probe.ErrGone)) }, "base", Died},
		"head dies":     {func(w *world) { w.fail = of(head, 1, fmt.Errorf("%w: it exited", probe.ErrGone)) }, "head", Died},
		"head is wrong": {func(w *world) { w.fail = of(head, 2, fmt.Errorf("%w: 7 is not 8", probe.ErrWrong)) }, "head", Wrong},
		"missing":       {func(w *world) { w.missing = "writes" }, "head", Missing},
	} {
		w := newWorld(8)
		c.set(w)
		r := mustRun(t, w.config())
		if r.Verdict != Failed || r.Failure.Side != c.side || r.Failure.Kind != c.kind || !strings.HasPrefix(r.Reason, c.side+": ") || r.Hint == "" {
			t.Errorf("%s: %s %+v", name, r.Verdict, r.Failure)
		}
	}
}

func TestAMetricThatOnlyTheHeadTellsIsNoted(t *testing.T) {
	w := newWorld(9)
	cfg := w.config()
	cfg.Fixed = []probe.Fixed{newMetric{fakeFixed{w}}}
	if r := mustRun(t, cfg); r.Verdict != Pass || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "rpc.allocs is new") {
		t.Errorf("%+v", r)
	}
}

// newMetric is a work that the base does not tell all of.
type newMetric struct{ fakeFixed }

func (n newMetric) Count(ctx context.Context, s *rpcload.Own) (map[string]float64, error) {
	c, err := n.fakeFixed.Count(ctx, s)
	if sideOf(s) == base {
		delete(c, "allocs")
	}
	return c, err
}

func TestErrorsOfOursCostALaunchAndNotTheVerdict(t *testing.T) {
	w := newWorld(10)
	w.fail = func(side, opened int) error {
		if side == base && opened == 2 {
			return errors.New("too many open files")
		}
		return nil
	}
	if r := mustRun(t, w.config()); r.Verdict != Pass || r.Statistics.Discarded != 1 {
		t.Errorf("%s %+v", r.Reason, r.Statistics)
	}
	w = newWorld(10)
	w.fail = func(int, int) error { return errors.New("too many open files") }
	r := mustRun(t, w.config())
	if r.Verdict != Inconclusive || !strings.Contains(metricOf(t, r, "rpc.cpu").Says, "too many open files") {
		t.Errorf("%s %+v", r.Reason, r.Metrics)
	}
}

func TestSlicesOfABusyClientDoNotCount(t *testing.T) {
	w := newWorld(11)
	w.bound = 0.5
	r := mustRun(t, w.config())
	if m := metricOf(t, r, "rpc.cpu"); r.Verdict != Inconclusive || !strings.Contains(m.Says, "the client was the limit") {
		t.Errorf("%s %+v", r.Reason, m)
	}
}

func TestAMachineThatFavoursOneSideDecidesNothing(t *testing.T) {
	g := &run{}
	looks := rule.Looks(12, 24)
	full := func() *lane {
		l := (&lane{name: "rpc"}).fresh(nil)
		l.done, l.control = looks[0].Launches, []float64{0.05, 0.06, 0.05, 0.04, 0.05, 0.05}
		return l
	}
	l := full()
	g.watch(l, looks)
	if l.done != 0 || l.wasted != 6 || l.closed != "" {
		t.Errorf("the first time: %+v", l)
	}
	l.done = 1
	if g.watch(l, looks); l.closed != "" {
		t.Errorf("after the first launch of the second time: %+v", l)
	}
	l.done, l.control = 6, full().control
	g.watch(l, looks)
	if !strings.Contains(l.closed, "favours one side") {
		t.Errorf("the second time: %+v", l)
	}
	l = full()
	for i := range l.control {
		l.control[i] -= 0.05
	}
	if g.watch(l, looks); l.done != 6 || l.closed != "" {
		t.Errorf("a steady one: %+v", l)
	}
}

func TestTheBudgetEndsTheMeasurement(t *testing.T) {
	w := newWorld(13)
	cfg := w.config()
	cfg.Budget = time.Nanosecond
	r := mustRun(t, cfg)
	if m := metricOf(t, r, "rpc.cpu"); r.Verdict != Inconclusive || m.Says != "the budget was spent" || m.Launches != 0 {
		t.Errorf("%s %+v", r.Reason, m)
	}
}

func TestAnInterruptedGateTellsWhatItHas(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := newWorld(14)
	w.fail = func(_, opened int) error {
		if opened == 4 {
			cancel()
			return ctx.Err()
		}
		return nil
	}
	r, err := Run(ctx, w.config())
	if err != nil || !r.Partial || r.Verdict != Inconclusive || metricOf(t, r, "rpc.cpu").Launches != 3 {
		t.Errorf("%v %+v", err, r)
	}
}

func TestConfigsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Launches = 3 },
		func(c *Config) { c.Launches, c.Most = 12, 6 },
		func(c *Config) { c.Pairs = 1 },
		func(c *Config) { c.Budget = -1 },
		func(c *Config) { c.Floors = map[string]float64{"rpc.cpu": math.NaN()} },
	} {
		cfg := newWorld(1).config()
		change(&cfg)
		if _, err := Run(t.Context(), cfg); err == nil {
			t.Errorf("accepted: %+v", cfg)
		}
	}
}

func TestPlantsAreParsedStrictly(t *testing.T) {
	for text, want := range map[string]Plant{
		"none": {}, "cpu=25%": {Fault: "cpu", Size: 0.25}, "latency=12.5%": {Fault: "latency", Size: 0.125}, "write=10%": {Fault: "write", Size: 0.1},
		"wrong=1000": {Fault: "wrong", How: "wrong=1000"}, "base:crash=2s": {Fault: "crash", How: "crash=2s", Base: true},
	} {
		if p, err := ParsePlant(text); err != nil || p != want || p.String() != text {
			t.Errorf("%s: %v %v", text, p, err)
		}
	}
	for _, text := range []string{"", "cpu", "cpu=", "cpu=25", "cpu=NaN%", "cpu=-5%", "cpu=0%", "write=10.5%", "write=200%", "disk=5%", "cpu=1e9%", "base:cpu=5%", "mute=", "wrong=1,cpu=1ns", "base:none"} {
		if p, err := ParsePlant(text); err == nil {
			t.Errorf("%q was taken as %v", text, p)
		}
	}
}
