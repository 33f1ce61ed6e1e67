package probe

import (
	"context"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/fan"
	"tracker/pkg/load/rpcload"
)

// FixedFanout is reports in lockstep: each waits until every viewer has the one before. So
// none of them shares a frame with another, whoever was faster, and what a delivery takes
// is a property of the server.
func FixedFanout() Fixed { return fixedFanout{viewers: 100, reports: 200} }

type fixedFanout struct{ viewers, reports int }

// stepEvery is the time between two reports. The hub takes so many of them in a tick as a
// stream on which little happens, and passes each on at once.
const stepEvery = 5 * time.Millisecond

func (fixedFanout) Name() string { return "fanout" }

// Defs has smallest changes that matter for what a server does by the clock as well, such
// as to commit and to probe itself.
func (fixedFanout) Defs() []Def {
	return []Def{
		{Name: "writes", Unit: "writes/delivery", Text: "system calls that write, for reports one at a time", Floor: 0.02},
		{Name: "bytes", Unit: "bytes/delivery", Text: "written to connections", Floor: 0.02},
		{Name: "frames", Unit: "frames/report", Text: "made by the hub", Floor: 0.02, Absolute: 0.02},
		{Name: "encodings", Unit: "encodings/report", Text: "of frames, for viewers of two kinds", Floor: 0.02, Absolute: 0.02},
		{Name: "allocs", Unit: "allocs/delivery", Text: "objects on the heap", Floor: 0.02, Absolute: 0.02},
		{Name: "alloc_bytes", Unit: "bytes/delivery", Text: "on the heap", Floor: 0.02, Absolute: 8},
	}
}

func (w fixedFanout) Count(ctx context.Context, s *rpcload.Own) (map[string]float64, error) {
	plan := fan.AtRate(1, load.Constant(float64(time.Second/stepEvery)), time.Duration(w.reports)*stepEvery, 1)
	plan.Pacing = fan.Step
	c, err := openCrowd(ctx, s, plan, w.viewers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.play(ctx, func() {}); err != nil { // buffers grow, pools fill
		return nil, err
	}
	return c.count(ctx, w)
}

// count counts one play of the plan, without the question that ends it.
func (c *crowd) count(ctx context.Context, w fixedFanout) (map[string]float64, error) {
	n := newCounter(c.server)
	if err := n.begin(ctx); err != nil {
		return nil, err
	}
	var done counts
	var counted error
	if _, err := c.play(ctx, func() { done, counted = n.end(ctx) }); err != nil {
		return nil, err
	}
	// Of bytes it is those to viewers: the store writes as well.
	done.add(sysWritten, "tracker_rpc_bytes_written_total", "tracker_web_bytes_written_total")
	costs := done.costs(w.viewers * w.reports)
	for name, metric := range map[string]string{"frames": "tracker_hub_frames_total", "encodings": "tracker_hub_encodings_total"} {
		done.share(costs, name, metric, w.reports)
	}
	return costs, counted
}

// add makes a count the sum of two others, if both are told; otherwise it is told no more.
func (c counts) add(name, a, b string) {
	x, ok := c[a]
	y, ok2 := c[b]
	delete(c, name)
	if ok && ok2 {
		c[name] = x + y
	}
}
