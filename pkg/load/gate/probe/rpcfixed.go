package probe

import (
	"context"

	"tracker/pkg/load/rpcload"
)

// FixedRPC is calls of Sum in lockstep on one connection: a batch leaves in one write when
// the one before it was answered, so how often the server writes follows from what it is,
// and not from who was faster.
func FixedRPC() Fixed { return fixedRPC{} }

type fixedRPC struct{}

const (
	fixedBatch   = 64
	fixedBatches = 3125 // 200,000 calls
	// fixedWarmup is made before anything is counted: buffers grow, pools fill.
	fixedWarmup = 50
)

func (fixedRPC) Name() string { return "rpc" }

// Defs has smallest changes that matter for costs which are almost nothing: a server that
// allocates nothing for a call still allocates now and then for itself.
func (fixedRPC) Defs() []Def {
	return []Def{
		{Name: "writes", Unit: "writes/call", Text: "system calls that write, in batches of 64", Floor: 0.02},
		{Name: "bytes", Unit: "bytes/call", Text: "written", Floor: 0.02},
		{Name: "allocs", Unit: "allocs/call", Text: "objects on the heap", Floor: 0.02, Absolute: 0.02},
		{Name: "alloc_bytes", Unit: "bytes/call", Text: "on the heap", Floor: 0.02, Absolute: 2},
	}
}

func (fixedRPC) Count(ctx context.Context, s *rpcload.Own) (map[string]float64, error) {
	c, err := openCaller(ctx, s, rpcload.Config{Method: rpcload.Sum, Depth: fixedBatch, Drain: patience})
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if err := c.lockstep(ctx, fixedWarmup); err != nil {
		return nil, err
	}
	n := newCounter(s)
	if err := n.begin(ctx); err != nil {
		return nil, err
	}
	if err := c.lockstep(ctx, fixedBatches); err != nil {
		return nil, err
	}
	done, err := n.end(ctx)
	if err != nil {
		return nil, err
	}
	return done.costs(fixedBatch * fixedBatches), nil
}

// lockstep makes so many batches of calls. All of them were answered, and rightly.
func (c *caller) lockstep(ctx context.Context, batches int) error {
	o, err := c.lines.Lockstep(ctx, c.cfg, batches)
	if err != nil {
		return gone(ctx, c.server, err)
	}
	return c.verdict(ctx, o)
}
