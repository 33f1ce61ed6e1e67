package probe

import (
	"context"
	"fmt"
	"math"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/rpcload"
)

// Latency is calls of Sum by a plan that does not wait for answers, at half of what the
// base could do at most. Times count from when a call was due.
//
// The plan's calls are due together, once a millisecond: that is how often a thread can
// be woken without becoming the load itself. Spread evenly, they would leave together all
// the same, and most of what is told would be how long they waited for that.
func Latency() Tuned { return &latencyWork{} }

type latencyWork struct{ rate float64 }

const (
	latencySlice = 500 * time.Millisecond
	latencyEvery = time.Millisecond
	// mostOffered is the highest rate, in calls a second: an open loop costs its client
	// more than a closed one, and it must not be what is late.
	mostOffered  = 100_000
	leastOffered = 1_000
	// tuneFor is how long the base shows what it can do, after as long to warm up.
	tuneFor = 250 * time.Millisecond
	// mostLate is which part of the calls may leave late, by no fault of the server,
	// before the times tell of the sender. It is more than the hundredth that p99 looks
	// at: where others use the processors as well, a slice in which nothing left late is
	// rare, and both sides meet the same.
	mostLate = 0.05
)

func (*latencyWork) Name() string { return "latency" }

func (*latencyWork) Defs() []Def {
	return []Def{
		{Name: "p50", Unit: "ms", Text: "of calls at half of the base's most, from when they were due", Floor: 0.05},
		{Name: "p99", Unit: "ms", Text: "the same, of the slowest hundredth", Floor: 0.25, Absolute: 1},
	}
}

// Tune finds the rate with a closed loop on as many connections.
func (w *latencyWork) Tune(ctx context.Context, s *rpcload.Own) error {
	c, err := openCaller(ctx, s, calls(tuneFor))
	if err != nil {
		return fmt.Errorf("tune latency: %w", err)
	}
	defer func() { _ = c.Close() }()
	for range 2 { // the first warms it up
		o, err := c.run(ctx)
		if err != nil {
			return fmt.Errorf("tune latency: %w", err)
		}
		w.rate = min(max(o.Rate()/2, leastOffered), mostOffered)
	}
	return nil
}

// plan is the rate in whole calls a burst.
func (w *latencyWork) plan() load.Plan {
	each := math.Round(w.rate * latencyEvery.Seconds())
	return load.Bursts(int64(max(1, each)), latencyEvery)
}

func (w *latencyWork) Open(ctx context.Context, s *rpcload.Own) (Session, error) {
	if w.rate == 0 {
		return nil, fmt.Errorf("open latency: nobody has tuned it")
	}
	cfg := calls(latencySlice)
	cfg.Depth = latencyDepth
	cfg.Rate = w.plan()
	c, err := openCaller(ctx, s, cfg)
	if err != nil {
		return nil, err
	}
	return &latencySession{c}, nil
}

// latencyDepth lets calls go out on time though the server has not answered for a while.
const latencyDepth = 1024

type latencySession struct{ *caller }

func (s *latencySession) Slice(ctx context.Context) (Sample, error) {
	o, err := s.run(ctx)
	if err != nil {
		return Sample{}, err
	}
	times := o.Latency.Summary()
	sample := Sample{
		Costs: map[string]float64{}, Took: o.Took, Ops: o.Right, Bound: o.ClientBound(),
		Late: float64(o.Late-o.Pressed) > mostLate*float64(o.Planned),
	}
	for _, q := range []string{"50", "99"} {
		if d, ok := times.Quantile(q); ok {
			sample.Costs["p"+q] = float64(d) / 1e6
		}
	}
	return sample, nil
}
