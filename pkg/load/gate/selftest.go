package gate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/gate/probe"
	"tracker/pkg/load/rpcload"
	"tracker/pkg/load/stat"
	"tracker/pkg/track"
)

// SchemaSelfTest names the form of a SelfTest in JSON.
const SchemaSelfTest = "trackbench.gate-selftest/1"

// SelfTest is what gates said of plants.
type SelfTest struct {
	Schema  string       `json:"schema"`
	Started load.Instant `json:"started"`
	TookNS  int64        `json:"took_ns"`
	Seed    uint64       `json:"seed"`
	Rows    []*Trial     `json:"rows"`
	Held    bool         `json:"held"`
	Partial bool         `json:"partial"`
	Env     load.Env     `json:"env"`
}

// Trial is all gates of one plant.
type Trial struct {
	Plant        string   `json:"plant"`
	Fault        string   `json:"fault,omitempty"` // as the head was given it
	Gates        int      `json:"gates"`
	Pass         int      `json:"pass"`
	Regressed    int      `json:"regressed"`
	Inconclusive int      `json:"inconclusive"`
	Failed       int      `json:"failed"`
	Alarms       int      `json:"alarms"` // gates in which anything was worse in the first batch
	Found        int      `json:"found"`  // gates in which what was planted is what regressed, or failed
	Need         int      `json:"need"`   // of Found; of none: the most that may have Regressed, 0
	Low          float64  `json:"low"`    // 95 % interval of the rate at which gates regressed, Clopper and Pearson
	High         float64  `json:"high"`
	Held         bool     `json:"held"`
	Reasons      []string `json:"reasons,omitempty"` // of each gate
	TookNS       []int64  `json:"took_ns"`
	Launches     []int    `json:"launches"` // of each gate, both batches
}

// SelfTestConfig says what to plant.
type SelfTestConfig struct {
	// Gate is what each gate is told. Both sides are the same binary, one that can be
	// given a fault.
	Gate   Config
	Plants []Plant
	Repeat int // gates of each plant; 0: 1
	// Limit bounds the statistical stage of a gate without a plant; 0: it is not bounded.
	Limit  time.Duration
	OnGate func(t *Trial, r *Report) // of each gate as it ends
}

// RunSelfTest plants faults, lets gates find them, and tells how often they did. Its error
// is ours, as that of Run.
func RunSelfTest(ctx context.Context, cfg SelfTestConfig) (*SelfTest, error) {
	began := time.Now()
	t := &SelfTest{Schema: SchemaSelfTest, Started: load.Instant{Time: began}, Seed: cfg.Gate.Seed, Held: true, Rows: []*Trial{}}
	before := load.ReadVitals()
	var failed error
	for _, p := range cfg.Plants {
		row := &Trial{Plant: p.String()}
		t.Rows = append(t.Rows, row)
		if failed = cfg.trial(ctx, p, row); failed != nil {
			break
		}
		t.Held = t.Held && row.Held
	}
	t.TookNS, t.Partial = int64(time.Since(began)), ctx.Err() != nil
	t.Held = t.Held && failed == nil && !t.Partial
	t.Env = load.Describe(before, load.ReadVitals())
	return t, failed
}

func (cfg *SelfTestConfig) trial(ctx context.Context, p Plant, row *Trial) error {
	n := max(1, cfg.Repeat)
	for i := range n {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c, err := cfg.planted(ctx, p, uint64(i))
		if err != nil {
			return err
		}
		row.Fault = strings.Join(append(c.Base.Env, c.Head.Env...), " ")
		r, err := Run(ctx, c)
		if err != nil {
			return err
		}
		if r.Partial {
			return context.Canceled
		}
		row.add(p, r)
		if cfg.OnGate != nil {
			cfg.OnGate(row, r)
		}
	}
	if p.Fault != "" {
		row.Need = p.need(n)
	}
	row.Low, row.High = stat.ClopperPearson(row.Regressed, row.Gates, 0.95)
	switch {
	case p.Fault == "":
		row.Held = row.Failed+row.Regressed == 0
	case p.How == "":
		row.Held = row.Failed == 0 && row.Found >= row.Need
	default:
		row.Held = row.Found >= row.Need
	}
	return nil
}

func (row *Trial) add(p Plant, r *Report) {
	row.Gates++
	switch r.Verdict {
	case Pass:
		row.Pass++
	case Regressed:
		row.Regressed++
	case Inconclusive:
		row.Inconclusive++
	case Failed:
		row.Failed++
	}
	alarm, found := false, p.caused(r.Failure)
	for _, m := range r.Metrics {
		alarm = alarm || m.Shows == "worse"
		found = found || m.Verdict == Regressed && p.shows(m.FullName())
	}
	if alarm {
		row.Alarms++
	}
	if found {
		row.Found++
	}
	row.Reasons = append(row.Reasons, r.Reason)
	row.TookNS = append(row.TookNS, r.TookNS)
	launches := 0
	if r.Statistics != nil {
		launches = r.Statistics.Launches
	}
	row.Launches = append(row.Launches, launches)
}

// planted is the gate that looks for a plant: of what can show it, and nothing else.
func (cfg *SelfTestConfig) planted(ctx context.Context, p Plant, turn uint64) (Config, error) {
	c := cfg.Gate
	c.Seed += turn << 32
	if p.Fault == "" {
		if cfg.Limit > 0 {
			c.Budget = cfg.Limit
		}
		return c, nil
	}
	kind := plants[p.Fault]
	if p.How != "" {
		side := &c.Head
		if p.Base {
			side = &c.Base
		}
		side.Env = []string{faultVariable + "=" + p.How}
		c.Wanted = func(work, _ string) bool { return work == kind.works }
		return c, nil
	}
	fault := fmt.Sprintf("%s=%g%%", p.Fault, p.Size*100)
	if kind.sized != "" {
		at, err := cfg.cost(ctx, kind.sized)
		if err != nil {
			return c, err
		}
		fault = fmt.Sprintf("%s=%dns", p.Fault, int64(math.Max(1, math.Round(at*p.Size))))
	}
	c.Head.Env = []string{faultVariable + "=" + fault}
	c.Wanted = func(work, metric string) bool { return p.shows(work + "." + metric) }
	return c, nil
}

// faultVariable is where a server with faults looks for them.
const faultVariable = "TRACKERD_FAULT"

// calibrationSlices are of the base, to know what it costs.
const calibrationSlices = 9

// cost is what the base takes for an operation, in ns: the median of some slices.
func (cfg *SelfTestConfig) cost(ctx context.Context, metric string) (float64, error) {
	work, name, _ := strings.Cut(metric, ".")
	for _, w := range cfg.Gate.Works {
		if w.Name() != work {
			continue
		}
		c := cfg.Gate
		if err := c.check(); err != nil {
			return 0, err
		}
		g := &run{cfg: c}
		own, err := g.launch(ctx, base)
		if err != nil {
			return 0, err
		}
		defer func() { _ = own.Close() }()
		return sliceCost(ctx, w, own, name)
	}
	return 0, fmt.Errorf("there is no work %s to size a fault by: %w", work, track.ErrInvalid)
}

func sliceCost(ctx context.Context, w probe.Work, own *rpcload.Own, name string) (float64, error) {
	if t, ok := w.(probe.Tuned); ok {
		if err := t.Tune(ctx, own); err != nil {
			return 0, err
		}
	}
	s, err := w.Open(ctx, own)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	var all []float64
	for range calibrationSlices {
		one, err := s.Slice(ctx)
		if err != nil {
			return 0, err
		}
		v, ok := one.Costs[name]
		if !ok {
			return 0, errors.New("the base does not tell " + name)
		}
		all = append(all, v*nanoseconds(def(w.Defs(), name).Unit))
	}
	return stat.Median(all), nil
}

// nanoseconds is what a unit of time is in those.
func nanoseconds(unit string) float64 {
	switch unit, _, _ := strings.Cut(unit, "/"); unit {
	case "ms":
		return 1e6
	case "us", "µs":
		return 1e3
	}
	return 1
}
