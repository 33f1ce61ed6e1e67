package gate

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"tracker/pkg/load/gate/probe"
	"tracker/pkg/load/gate/rule"
)

// countLaunches is of each side, and work: the median of three.
const countLaunches = 3

// countProcs is GOMAXPROCS of a server whose work is counted. With more, its runtime wakes
// up threads by writing to itself, as often as chance has it.
const countProcs = 1

// counted is what the launches of a work counted, by side, metric and launch.
type counted [sides]map[string][]float64

// counters is the first stage. It returns the works of which some counters were not
// steady, to be measured.
func (g *run) counters(ctx context.Context) (moved []*lane, err error) {
	fixed := slices.DeleteFunc(slices.Clone(g.cfg.Fixed), func(f probe.Fixed) bool { return len(g.defs(f.Name(), f.Defs())) == 0 })
	if len(fixed) == 0 {
		return nil, nil
	}
	began := time.Now()
	stage := &Stage{Launches: countLaunches}
	g.r.Counters = stage
	defer func() { stage.TookNS = int64(time.Since(began)) }()
	g.phase("counting")
	done := 0
	for _, f := range fixed {
		c, err := g.count(ctx, f, func(side int) {
			g.step(done, len(fixed)*countLaunches*sides, "%s of %s", f.Name(), sideNames[side])
			done++
		})
		if err != nil {
			return nil, err
		}
		l, err := g.judgeCounts(ctx, f, c)
		if err != nil {
			return nil, err
		}
		if l != nil {
			moved = append(moved, l)
		}
	}
	return moved, nil
}

// defs are the metrics of a work that are wanted.
func (g *run) defs(work string, all []probe.Def) []probe.Def {
	return slices.DeleteFunc(slices.Clone(all), func(d probe.Def) bool { return !g.wanted(work, d.Name) })
}

// count lets both sides do a fixed work in fresh launches, by turns.
func (g *run) count(ctx context.Context, f probe.Fixed, tell func(side int)) (*counted, error) {
	c := &counted{{}, {}}
	for i := range countLaunches {
		for j := range sides {
			side := (i + j) % sides
			if tell != nil {
				tell(side)
			}
			counts, err := g.countOnce(ctx, f, side)
			if err != nil {
				return nil, err
			}
			for name, v := range counts {
				c[side][name] = append(c[side][name], v)
			}
		}
	}
	return c, nil
}

func (g *run) countOnce(ctx context.Context, f probe.Fixed, side int) (map[string]float64, error) {
	own, err := g.launchOn(ctx, side, countProcs)
	if err != nil {
		return nil, err
	}
	defer func() { _ = own.Close() }()
	counts, err := f.Count(ctx, own)
	if err != nil && ctx.Err() == nil {
		return nil, blame(side, f.Name(), own, err)
	}
	return counts, err
}

// judgeCounts makes rows of what was counted; a row of a metric that was worse or better
// is counted again. What is not steady goes into a lane of the other stage.
func (g *run) judgeCounts(ctx context.Context, f probe.Fixed, c *counted) (*lane, error) {
	var again []*Metric
	var loose []probe.Def
	for _, d := range g.defs(f.Name(), f.Defs()) {
		was, is := c[base][d.Name], c[head][d.Name]
		if ok, err := g.told(f.Name(), &d, len(was), len(is), countLaunches); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		if !rule.Steady(was, d.Absolute) {
			loose = append(loose, d)
			continue
		}
		m := g.metric(f.Name(), &d, Counters)
		finding := g.countedBatch(&m.Batch, &d, f.Name(), was, is)
		m.settleCounts(finding)
		if finding.Verdict == rule.Worse || finding.Better {
			again = append(again, m)
		}
	}
	if err := g.countAgain(ctx, f, again); err != nil {
		return nil, err
	}
	if len(loose) == 0 {
		return nil, nil
	}
	return g.moved(f, loose, c), nil
}

// told makes sure that the head tells whatever the base does. ok is false for what
// nobody tells.
func (g *run) told(work string, d *probe.Def, was, is, all int) (ok bool, err error) {
	name := work + "." + d.Name
	switch {
	case was == all && is < all:
		return false, &failure{Failure{Side: sideNames[head], Kind: Missing, Work: work,
			Text: fmt.Sprintf("it does not tell %s, which the base does", name)}}
	case was < all && is == all:
		g.r.Notes = append(g.r.Notes, fmt.Sprintf("%s is new: the base does not tell it, so there is nothing to compare with", name))
		return false, nil
	}
	return was == all, nil
}

// countedBatch fills in what the counts of one batch say.
func (g *run) countedBatch(b *Batch, d *probe.Def, work string, was, is []float64) rule.Finding {
	b.Launches, b.Base, b.Head = len(is), medianOf(was), medianOf(is)
	switch {
	case b.Base == nil || b.Head == nil:
	case *b.Base > 0:
		change := *b.Head / *b.Base - 1
		b.Change = &change
		for i := range is {
			b.Each = append(b.Each, is[i] / *b.Base - 1)
		}
	case *b.Head == 0:
		b.Change = new(float64)
	}
	f := rule.Counter(was, is, g.bar(work, d))
	b.Shows = shows(f)
	return f
}

func (m *Metric) settleCounts(f rule.Finding) {
	m.Verdict, m.Says = Pass, "no change that matters"
	switch {
	case f.Verdict == rule.Undecided:
		m.Verdict, m.Says = Inconclusive, noCost
	case f.Verdict == rule.Worse:
		m.Verdict, m.Says = Inconclusive, "worse, and not confirmed yet"
	case f.Better:
		m.Says = "better, and not confirmed yet"
	}
}

// shows is what a finding says by itself.
func shows(f rule.Finding) string {
	switch {
	case f.Verdict == rule.Worse:
		return "worse"
	case f.Better:
		return "better"
	}
	return ""
}

// countAgain confirms what was found, in new launches.
func (g *run) countAgain(ctx context.Context, f probe.Fixed, rows []*Metric) error {
	if len(rows) == 0 {
		return nil
	}
	g.phase("counting %s again", f.Name())
	c, err := g.count(ctx, f, nil)
	if err != nil {
		return err
	}
	for _, m := range rows {
		d := def(f.Defs(), m.Name)
		was, is := c[base][d.Name], c[head][d.Name]
		if ok, err := g.told(f.Name(), d, len(was), len(is), countLaunches); err != nil {
			return err
		} else if !ok {
			continue // the base told it a moment ago; what it said then is not confirmed
		}
		m.Confirm = &Batch{}
		finding := g.countedBatch(m.Confirm, d, f.Name(), was, is)
		m.settleAgain(finding)
	}
	return nil
}

func def(all []probe.Def, name string) *probe.Def {
	i := slices.IndexFunc(all, func(d probe.Def) bool { return d.Name == name })
	return &all[i]
}

// moved makes a lane of counters that vary from launch to launch.
func (g *run) moved(f probe.Fixed, defs []probe.Def, c *counted) *lane {
	l := &lane{name: f.Name(), fixed: f, defs: defs, moved: map[string]string{}}
	for _, d := range defs {
		was := c[base][d.Name]
		l.moved[d.Name] = fmt.Sprintf("%d launches of the base counted %.4g to %.4g %s", len(was), slices.Min(was), slices.Max(was), d.Unit)
	}
	return l
}

// noCost is said of what a server tells that cannot be a cost.
const noCost = "it was told as less than nothing, or as nothing by one side only"

// ratios are the log-ratios of one launch of both sides of a fixed work, where there is
// one.
func ratios(defs []probe.Def, values [sides]map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for _, d := range defs {
		switch was, is := values[base][d.Name], values[head][d.Name]; {
		case was > 0 && is > 0:
			out[d.Name] = math.Log(is / was)
		case was == 0 && is == 0:
			out[d.Name] = 0
		}
	}
	return out
}
