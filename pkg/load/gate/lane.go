package gate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/gate/probe"
	"tracker/pkg/load/gate/rule"
	"tracker/pkg/load/rpcload"
	"tracker/pkg/load/stat"
)

// lane is one work of the statistical stage, and what its launches said so far.
type lane struct {
	name  string
	work  probe.Work  // or
	fixed probe.Fixed // whose counters are not steady
	defs  []probe.Def
	moved map[string]string // by metric, why it is here

	// Of the launches that count, by metric: the log-ratio, and the medians of both.
	d       map[string][]float64
	values  [sides]map[string][]float64
	control []float64 // the log-ratio of the control, at the same time
	null    []float64 // what a call of it cost
	late    int       // slices in which the client sent late, of
	slices  int

	done    int // launches that count
	thrown  int // that do not, since they were disturbed,
	reasons map[string]int
	wasted  int // that were thrown away with all others, since the control was not steady
	closed  string
	odd     map[string]bool // metrics that were told as what cannot be a cost
	cost    time.Duration   // of the last launch
	tuned   bool
}

func (l *lane) reset() {
	l.d, l.values, l.control, l.null, l.done = map[string][]float64{}, [sides]map[string][]float64{{}, {}}, nil, nil, 0
}

// fresh is a lane for the same work without any launches, for some metrics of it.
func (l *lane) fresh(defs []probe.Def) *lane {
	n := &lane{name: l.name, work: l.work, fixed: l.fixed, defs: defs, moved: l.moved, cost: l.cost, tuned: l.tuned, reasons: map[string]int{}, odd: map[string]bool{}}
	n.reset()
	return n
}

// usualCost is what a launch is thought to take before there was one.
const usualCost = 6 * time.Second

// trouble is why a launch does not count.
type trouble string

func (t trouble) Error() string { return string(t) }

// launchLane makes one launch of both sides, and keeps what it says unless it was disturbed.
func (g *run) launchLane(ctx context.Context, l *lane) error {
	began := time.Now()
	before := load.ReadVitals()
	s, err := g.launchOnce(ctx, l)
	l.cost = time.Since(began)
	if err == nil {
		err = disturbed(before)
	}
	var t trouble
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &t):
		l.thrown++
		l.reasons[string(t)]++
		return nil
	case err != nil:
		return err
	}
	return g.keep(l, s)
}

// mostStolen is how much of the time a hypervisor may take away while a launch counts, in
// per cent.
const mostStolen = 20

// disturbed says that the machine was taken away from us.
func disturbed(before load.Vitals) error {
	e := load.Describe(before, load.ReadVitals())
	switch {
	case e.Throttled != nil && *e.Throttled > 0:
		return trouble("a control group held us back")
	case e.StealPct != nil && *e.StealPct > mostStolen:
		return trouble("the hypervisor took the processors away")
	}
	return nil
}

// said is what one launch of both sides came to.
type said struct {
	d       map[string]float64
	values  [sides]map[string]float64
	control *float64
	null    float64 // what a call of the control cost
	late    int     // slices in which the client sent late, of
	slices  int
}

func (g *run) launchOnce(ctx context.Context, l *lane) (*said, error) {
	if l.work == nil {
		return g.countPair(ctx, l)
	}
	if err := g.tune(ctx, l); err != nil {
		return nil, err
	}
	p := &pair{g: g, l: l}
	defer p.close()
	if err := p.open(ctx); err != nil {
		return nil, err
	}
	return p.measure(ctx)
}

// countPair is a launch of a work that is counted.
func (g *run) countPair(ctx context.Context, l *lane) (*said, error) {
	s := &said{}
	first := g.rnd.IntN(sides)
	for i := range sides {
		side := (first + i) % sides
		counts, err := g.countOnce(ctx, l.fixed, side)
		if err != nil {
			return nil, err
		}
		s.values[side] = counts
	}
	s.d = ratios(l.defs, s.values)
	return s, nil
}

// tune lets a work find out, once, what the base can do.
func (g *run) tune(ctx context.Context, l *lane) error {
	w, ok := l.work.(probe.Tuned)
	if !ok || l.tuned {
		return nil
	}
	own, err := g.launch(ctx, base)
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	if err := w.Tune(ctx, own); err != nil && ctx.Err() == nil {
		return blame(base, l.name, own, err)
	}
	l.tuned = true
	return ctx.Err()
}

// keep adds a launch to the lane.
func (g *run) keep(l *lane, s *said) error {
	for _, d := range l.defs {
		was, is := count(s.values[base], d.Name), count(s.values[head], d.Name)
		if ok, err := g.told(l.name, &d, was, is, 1); err != nil {
			return err
		} else if !ok {
			continue
		}
		ratio, ok := s.d[d.Name]
		if !ok {
			l.odd[d.Name] = true
			continue
		}
		l.d[d.Name] = append(l.d[d.Name], ratio)
		for side := range sides {
			l.values[side][d.Name] = append(l.values[side][d.Name], s.values[side][d.Name])
		}
	}
	if s.control != nil {
		l.control, l.null = append(l.control, *s.control), append(l.null, s.null)
	}
	l.late, l.slices = l.late+s.late, l.slices+s.slices
	l.done++
	return nil
}

func count(m map[string]float64, name string) int {
	if _, ok := m[name]; ok {
		return 1
	}
	return 0
}

// pair is a launch of both sides, side by side.
type pair struct {
	g        *run
	l        *lane
	own      [sides]*rpcload.Own
	sessions [sides]probe.Session
	controls [sides]probe.Session
	bound    int // slices in which the client was the limit
	late     int // in which it sent late
	all      int
	null     [sides][]float64
}

// open starts both, in an order that chance decides, so that neither has the better port
// or the warmer machine.
func (p *pair) open(ctx context.Context) error {
	first := p.g.rnd.IntN(sides)
	var err error
	for i := range sides {
		side := (first + i) % sides
		if p.own[side], err = p.g.launch(ctx, side); err != nil {
			return err
		}
	}
	for i := range sides {
		side := (first + i) % sides
		if p.sessions[side], err = p.l.work.Open(ctx, p.own[side]); err != nil {
			return p.broke(ctx, side, err)
		}
	}
	if p.g.cfg.Control == nil {
		return nil
	}
	for i := range sides {
		if p.controls[(first+i)%sides], err = p.g.cfg.Control(ctx); err != nil {
			return fmt.Errorf("start the control: %w", err)
		}
	}
	return nil
}

// broke tells an error of a server from one of ours, which costs this launch.
func (p *pair) broke(ctx context.Context, side int, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = blame(side, p.l.name, p.own[side], err)
	var f *failure
	if errors.As(err, &f) {
		return err
	}
	return trouble(err.Error())
}

func (p *pair) close() {
	for side := range sides {
		for _, s := range []probe.Session{p.sessions[side], p.controls[side]} {
			if s != nil {
				_ = s.Close()
			}
		}
		_ = p.own[side].Close()
	}
}

// Before slices count, both sides work until two slices in a row took about the same.
const (
	leastWarm = 2
	mostWarm  = 5
	warmth    = 0.05
)

func (p *pair) measure(ctx context.Context) (*said, error) {
	for side := range sides {
		if err := p.warm(ctx, side); err != nil {
			return nil, err
		}
	}
	costs := [sides]map[string][]float64{{}, {}}
	p.bound, p.late, p.all = 0, 0, 0
	order := rule.Order(p.g.rnd, p.g.cfg.Pairs)
	for i := range p.g.cfg.Pairs {
		two := order[2*i : 2*i+2]
		for _, s := range two {
			if err := p.slice(ctx, int(s), costs[s]); err != nil {
				return nil, err
			}
		}
		if err := p.look(ctx, two); err != nil {
			return nil, err
		}
	}
	if 5*p.bound > p.all {
		return nil, trouble("the client was the limit")
	}
	return p.sum(costs)
}

func (p *pair) warm(ctx context.Context, side int) error {
	last := 0.0
	for i := range mostWarm {
		costs := map[string][]float64{}
		if err := p.slice(ctx, side, costs); err != nil {
			return err
		}
		v := costs[p.l.defs[0].Name]
		if len(v) == 0 {
			return nil
		}
		if i+1 >= leastWarm && math.Abs(math.Log(v[0]/last)) < warmth {
			return nil
		}
		last = v[0]
	}
	return nil
}

// slice lets one side work for a moment.
func (p *pair) slice(ctx context.Context, side int, costs map[string][]float64) error {
	s, err := p.sessions[side].Slice(ctx)
	if err != nil {
		return p.broke(ctx, side, err)
	}
	p.all++
	if s.Bound {
		p.bound++
	}
	if s.Late {
		p.late++
	}
	for name, v := range s.Costs {
		costs[name] = append(costs[name], v)
	}
	return nil
}

// look lets the control work as the sides just did.
func (p *pair) look(ctx context.Context, two []rule.Side) error {
	if p.controls[base] == nil {
		return nil
	}
	for _, s := range two {
		c, err := p.controls[s].Slice(ctx)
		if err != nil {
			return errors.Join(ctx.Err(), trouble("the control: "+err.Error()))
		}
		for _, v := range c.Costs {
			p.null[s] = append(p.null[s], v)
		}
	}
	return nil
}

// sum makes one log-ratio of each metric of all slices.
func (p *pair) sum(costs [sides]map[string][]float64) (*said, error) {
	s := &said{d: map[string]float64{}, values: [sides]map[string]float64{{}, {}}, late: p.late, slices: p.all}
	for _, d := range p.l.defs {
		for side := range sides {
			if v := costs[side][d.Name]; len(v) == p.g.cfg.Pairs {
				s.values[side][d.Name] = stat.Median(v)
			}
		}
		if len(costs[base][d.Name]) != p.g.cfg.Pairs || len(costs[head][d.Name]) != p.g.cfg.Pairs {
			continue
		}
		ratio, err := rule.Launch(costs[base][d.Name], costs[head][d.Name])
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", p.l.name, d.Name, err)
		}
		s.d[d.Name] = ratio
	}
	if len(p.null[base]) > 0 {
		ratio, err := rule.Launch(p.null[base], p.null[head])
		if err != nil {
			return nil, fmt.Errorf("the control: %w", err)
		}
		s.control, s.null = &ratio, stat.Median(p.null[base])
	}
	return s, nil
}

// why says why a metric may not be decided, beyond what its launches say; empty: there is
// no such reason.
func (l *lane) why(metric string) string {
	if l.odd[metric] {
		return noCost
	}
	return l.closed
}

// troubles says in words what launches were thrown away for.
func (l *lane) troubles() string {
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(l.reasons)) {
		all = append(all, fmt.Sprintf("%d times %s", l.reasons[reason], reason))
	}
	return strings.Join(all, ", ")
}
