package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/rpcload"
)

// RPC is calls of Sum, as many as the server answers: two connections, each with a pipeline
// that is never empty.
func RPC() Work { return rpcWork{} }

type rpcWork struct{}

// The shape of the load. Deep enough that a server has always something to do, and not so
// deep that its buffers are what is measured.
const (
	rpcConns = 2
	rpcDepth = 64
	rpcSlice = 250 * time.Millisecond
)

func (rpcWork) Name() string { return "rpc" }

func (rpcWork) Defs() []Def {
	return []Def{
		{Name: "time", Unit: "ns/call", Text: "from one answer to the next, pipelined", Floor: 0.03},
		{Name: "cpu", Unit: "ns/call", Text: "processor time of the server", Floor: 0.03},
	}
}

func (rpcWork) Open(ctx context.Context, s *rpcload.Own) (Session, error) {
	c, err := openCaller(ctx, s, calls(rpcSlice))
	if err != nil {
		return nil, err
	}
	return &callSession{c, &s.Process}, nil
}

// calls is the load, without whom it is for.
func calls(length time.Duration) rpcload.Config {
	return rpcload.Config{Method: rpcload.Sum, Conns: rpcConns, Depth: rpcDepth, Duration: length, Drain: patience}
}

// patience is how long an answer may take before it counts as lost.
const patience = 10 * time.Second

// caller is connections to a server on which calls are made, slice after slice.
type caller struct {
	server alive
	lines  *rpcload.Lines
	cfg    rpcload.Config
}

// openCaller connects to a server of ours.
func openCaller(ctx context.Context, s *rpcload.Own, cfg rpcload.Config) (*caller, error) {
	cfg.ShowToken(s.Token)
	cfg.Server = &s.Process
	return newCaller(ctx, s, s.Target.Addr, cfg)
}

// newCaller connects to the server at addr.
func newCaller(ctx context.Context, server alive, addr string, cfg rpcload.Config) (*caller, error) {
	dial, err := rpcload.Target{Addr: addr}.Dialer()
	if err != nil {
		return nil, err
	}
	cfg.Dial = dial
	cfg.Hello.Client = "trackbench"
	lines, err := rpcload.Open(ctx, cfg)
	if err != nil {
		return nil, gone(ctx, server, fmt.Errorf("%w: connect: %w", ErrWrong, err))
	}
	return &caller{server, lines, cfg}, nil
}

func (c *caller) Close() error {
	c.lines.Close()
	return nil
}

// run makes calls for a slice. What it returns was all answered, and rightly.
func (c *caller) run(ctx context.Context) (*rpcload.Outcome, error) {
	o, err := c.lines.Run(ctx, c.cfg)
	if err != nil {
		return nil, gone(ctx, c.server, err)
	}
	return o, c.verdict(ctx, o)
}

// verdict is what is to be said of a run that is over, if it is not as it should be.
func (c *caller) verdict(ctx context.Context, o *rpcload.Outcome) error {
	switch err := o.Err(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return gone(ctx, c.server, fmt.Errorf("%w: %w: %q", ErrWrong, err, o.Faults))
	case o.Answered == 0:
		// All came, if later: a machine that is very busy does that to a short slice.
		return errors.New("no answer came while it was measured")
	}
	return nil
}

// callSession measures the time and the processor that a call takes.
type callSession struct {
	*caller
	process *load.Process // nil: its processor time is not asked for
}

// Slice takes the processor time of all calls, from before the first to after the last:
// while a thread runs, the system knows what it used only up to the last tick. The time
// is that of the part in which the pipelines were full.
func (s *callSession) Slice(ctx context.Context) (Sample, error) {
	before, known := s.process.CPU()
	o, err := s.run(ctx)
	if err != nil {
		return Sample{}, err
	}
	after, _ := s.process.CPU()
	sample := Sample{
		Costs: map[string]float64{"time": 1e9 / o.Rate()},
		Took:  o.Took, Ops: o.Answered, Bound: o.ClientBound(),
	}
	if known && after > before {
		sample.Costs["cpu"] = float64(after-before) / float64(o.Right)
	}
	return sample, nil
}
