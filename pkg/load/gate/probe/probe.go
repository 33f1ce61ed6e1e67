// Package probe gives one server work and tells what it cost. What costs are compared
// with is not its business: see gate.
//
//	Work.Open ──► Session ── Slice, Slice, … ──► Sample: costs of some 250 ms
//	Fixed.Count ───────────────────────────────► counts of work that is always the same
//
// Every answer and every delivery is held against what was asked for. A cost is a number
// of which less is better, whatever it is of.
package probe

import (
	"context"
	"errors"
	"time"

	"tracker/pkg/load/rpcload"
)

// Def is one metric of a work.
type Def struct {
	Name string // "cpu"; with the work's name before it, "rpc.cpu", it is unique
	Unit string // "ns/call", "writes/call", "ms", "bytes/connection"
	Text string // what it is, in half a sentence
	// Floor is the smallest relative change that is worth telling anybody, such as 0.03.
	Floor float64
	// Absolute is the smallest change in the metric's unit that is; 0: any.
	Absolute float64
}

// Work is something that a server can be given to do, again and again.
type Work interface {
	Name() string
	Defs() []Def
	// Open connects to a server and gets everything ready, so that slices do nothing but
	// the work. The session is not used by two goroutines at once.
	Open(ctx context.Context, s *rpcload.Own) (Session, error)
}

// Tuned is a Work whose load follows from what the base can do. Tune is called once, with
// a launch of the base, before any Open.
type Tuned interface {
	Work
	Tune(ctx context.Context, s *rpcload.Own) error
}

// Session is a server that is ready to work. Between slices it keeps its connections and
// costs nothing.
type Session interface {
	// Slice works for about as long as the Work says. An error that wraps ErrWrong or
	// ErrGone is the server's, any other one is ours.
	Slice(ctx context.Context) (Sample, error)
	Close() error
}

// Sample is what a slice cost.
type Sample struct {
	Costs map[string]float64 // by Def.Name, all of them above 0
	Took  time.Duration
	Ops   int64
	// Bound says that the client was the limit, and Late that the sender was: then the
	// costs tell of us, and not of the server.
	Bound, Late bool
}

// Fixed is a piece of work that is always the same, so that what it takes can be counted.
type Fixed interface {
	Name() string
	Defs() []Def
	// Count does it once, on a server that was just started, and tells the counts by
	// Def.Name. What the server does not tell is absent.
	Count(ctx context.Context, s *rpcload.Own) (map[string]float64, error)
}

var (
	// ErrWrong marks answers or deliveries that are not what they had to be.
	ErrWrong = errors.New("the server is not right")
	// ErrGone marks a server that is there no longer.
	ErrGone = errors.New("the server is gone")
)
