package gate

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"tracker/pkg/load/gate/probe"
	"tracker/pkg/load/gate/rule"
	"tracker/pkg/load/stat"
)

// statistics is the second stage: a batch of launches, and another one of what was worse
// or better in it.
func (g *run) statistics(ctx context.Context, moved []*lane) error {
	lanes := g.lanes(moved)
	if len(lanes) == 0 {
		return nil
	}
	began := time.Now()
	stage := &Stage{}
	g.r.Statistics = stage
	defer func() { stage.TookNS = int64(time.Since(began)) }()
	g.phase("measuring")
	looks := rule.Looks(g.cfg.Launches, g.cfg.Most)
	err := g.batch(ctx, lanes, looks, true)
	again := g.rows(lanes, looks)
	if err == nil && len(again) > 0 {
		g.phase("measuring again what changed")
		err = g.batch(ctx, again, looks, false)
		g.confirm(again, looks)
	}
	for _, l := range append(lanes, again...) {
		stage.Launches += l.done
		stage.Discarded += l.thrown + l.wasted
	}
	g.control(append(lanes, again...))
	g.lateness(append(lanes, again...))
	return err
}

// lanes are the works that are wanted, and the counters that have to be measured.
func (g *run) lanes(moved []*lane) []*lane {
	var all []*lane
	for _, w := range g.cfg.Works {
		if defs := g.defs(w.Name(), w.Defs()); len(defs) > 0 {
			all = append(all, (&lane{name: w.Name(), work: w}).fresh(defs))
		}
	}
	for _, l := range moved {
		all = append(all, l.fresh(l.defs))
	}
	return all
}

// batch launches until everything is decided, may not go on, or the time is over. Where
// another batch may follow, time is kept for it.
func (g *run) batch(ctx context.Context, lanes []*lane, looks []rule.Look, reserve bool) error {
	all := len(lanes) * looks[0].Launches
	for done := 0; ; done++ {
		states := g.states(lanes, looks)
		left := g.left()
		if reserve && !g.deadline.IsZero() {
			left -= rule.Reserve(states, looks)
		}
		i, ok := rule.Next(states, left, looks)
		if !ok {
			return nil
		}
		l := lanes[i]
		g.step(done, max(all, done+1), "%s, launch %d", l.name, l.done+1)
		if err := g.launchLane(ctx, l); err != nil {
			return err
		}
		g.watch(l, looks)
	}
}

// states tells the planner of launches how far everybody is.
func (g *run) states(lanes []*lane, looks []rule.Look) []rule.State {
	states := make([]rule.State, len(lanes))
	for i, l := range lanes {
		s := &states[i]
		s.Name, s.Cost, s.Done = l.name, l.cost, l.done
		if s.Cost == 0 {
			s.Cost = usualCost
		}
		if l.closed != "" {
			continue
		}
		for _, d := range l.defs {
			bar := g.barOf(l, &d)
			if !l.odd[d.Name] && rule.Judge(l.d[d.Name], bar, looks).Verdict == rule.Undecided {
				s.Open = append(s.Open, rule.Metric{D: l.d[d.Name], Bar: bar})
			}
		}
	}
	return states
}

func (g *run) barOf(l *lane, d *probe.Def) rule.Bar {
	b := g.bar(l.name, d)
	if v := l.values[base][d.Name]; len(v) > 0 {
		b.AtBase = stat.Median(v)
	}
	return b
}

// mostTilted is how far the control may lie from itself before what was measured beside
// it is worth nothing: less than any floor.
const mostTilted = 0.02

// watch closes a lane that is disturbed too often, and begins one anew, once, whose
// control says that the machine favoured one side.
func (g *run) watch(l *lane, looks []rule.Look) {
	if all := l.done + l.thrown; l.thrown > 2 && 3*l.thrown > all {
		l.closed = fmt.Sprintf("%d of %d launches were disturbed: %s", l.thrown, all, l.troubles())
		return
	}
	if !slices.ContainsFunc(looks, func(k rule.Look) bool { return k.Launches == l.done }) {
		return
	}
	switch tilted := tilt(l.control).tilted(); {
	case tilted && l.wasted > 0:
		l.closed = "the control was not steady, twice: the machine favours one side"
	case tilted:
		l.wasted = l.done
		l.reset()
	}
}

// leaning is where the control lies from itself.
type leaning struct {
	n             int
	mean, low, hi float64
}

const controlConfidence = 0.99 // of each side of the interval

func tilt(d []float64) leaning {
	t := leaning{n: len(d)}
	if t.n < 2 {
		return t
	}
	mean, half := stat.Mean(d, controlConfidence)
	t.mean, t.low, t.hi = mean, mean-half, mean+half
	return t
}

func (t leaning) tilted() bool {
	return t.n >= 2 && math.Abs(t.mean) > math.Log1p(mostTilted) && (t.low > 0 || t.hi < 0)
}

// control fills in what the control says, over all launches.
func (g *run) control(lanes []*lane) {
	var all []float64
	for _, l := range lanes {
		all = append(all, l.control...)
	}
	if len(all) < 2 {
		return
	}
	t := tilt(all)
	c := &Control{Base: nullCost(lanes), Steady: !t.tilted(), Launches: t.n, Change: share(t.mean), Low: share(t.low), High: share(t.hi), Text: "steady"}
	for _, x := range all {
		c.Each = append(c.Each, rule.Share(x))
	}
	if !c.Steady {
		c.Text = "not steady: the machine favours one side"
	}
	g.r.Control = c
}

// nullCost is what a call of the null server cost.
func nullCost(lanes []*lane) *float64 {
	var all []float64
	for _, l := range lanes {
		all = append(all, l.null...)
	}
	return medianOf(all)
}

// lateness notes where the client often sent late. That hits both sides alike, and shows
// in how much launches differ; but what it can see is less.
func (g *run) lateness(lanes []*lane) {
	for _, l := range lanes {
		if 5*l.late > l.slices {
			g.r.Notes = append(g.r.Notes, fmt.Sprintf("%s: in %d of %d slices the client sent late, as on a machine that is busy with something else", l.name, l.late, l.slices))
		}
	}
}

// share is a log-ratio as a change; nil if it is none.
func share(v float64) *float64 { return finite(rule.Share(v)) }

// fill tells what launches said of a metric.
func (g *run) fill(b *Batch, l *lane, d *probe.Def, looks []rule.Look) rule.Finding {
	f := rule.Judge(l.d[d.Name], g.barOf(l, d), looks)
	b.Launches, b.Base, b.Head = len(l.d[d.Name]), medianOf(l.values[base][d.Name]), medianOf(l.values[head][d.Name])
	b.Confidence, b.Shows = f.Confidence, shows(f)
	if f.N > 0 {
		b.Change, b.Low, b.High, b.Visible = share(f.Mean), share(f.Low), share(f.High), finite(f.Visible)
	}
	for _, x := range l.d[d.Name] {
		b.Each = append(b.Each, rule.Share(x))
	}
	return f
}

// finite is a figure as a report has it; nil if it is none.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// rows makes a row of each metric, and lanes of what has to be confirmed.
func (g *run) rows(lanes []*lane, looks []rule.Look) (again []*lane) {
	for _, l := range lanes {
		var defs []probe.Def
		for _, d := range l.defs {
			m := g.metric(l.name, &d, Statistics)
			m.Moved = l.moved[d.Name]
			f := g.fill(&m.Batch, l, &d, looks)
			m.settle(f, l.why(d.Name))
			if m.Shows != "" {
				defs = append(defs, d)
			}
		}
		if len(defs) > 0 {
			again = append(again, l.fresh(defs))
		}
	}
	return again
}

// settle is the verdict of a first batch. What was worse is not, before it is confirmed.
func (m *Metric) settle(f rule.Finding, closed string) {
	switch {
	case f.Verdict == rule.Worse:
		m.Verdict, m.Says = Inconclusive, "worse, and there was no time to confirm it"
	case f.Better:
		m.Verdict, m.Says = Pass, "better, and there was no time to confirm it"
	case f.Verdict == rule.Pass:
		m.Verdict, m.Says = Pass, "no change shown"
	case closed != "":
		m.Verdict, m.Says = Inconclusive, closed
	case f.Over:
		m.Verdict, m.Says = Inconclusive, "too much noise to tell"
	default:
		m.Verdict, m.Says = Inconclusive, "the budget was spent"
	}
}

// confirm adds the second batch to the rows that have one.
func (g *run) confirm(lanes []*lane, looks []rule.Look) {
	for _, l := range lanes {
		for _, d := range l.defs {
			if len(l.d[d.Name]) == 0 {
				continue
			}
			i := slices.IndexFunc(g.r.Metrics, func(m *Metric) bool { return m.Work == l.name && m.Name == d.Name })
			m := g.r.Metrics[i]
			m.Confirm = &Batch{}
			m.settleAgain(g.fill(m.Confirm, l, &d, looks))
		}
	}
}

// settleAgain is the verdict of both batches.
func (m *Metric) settleAgain(f rule.Finding) {
	switch {
	case m.Confirm.Shows == m.Shows && m.Shows == "worse":
		m.Verdict, m.Says = Regressed, "worse"
	case m.Confirm.Shows == m.Shows:
		m.Says = "better"
	case f.Verdict == rule.Undecided && m.Shows == "worse":
		m.Verdict, m.Says = Inconclusive, "worse in the first batch, not decided in the second"
	default:
		m.Verdict, m.Says = Pass, "was "+m.Shows+" once, and not again"
		if m.Confirm.Shows == "worse" {
			m.Verdict = Inconclusive
		}
	}
}
