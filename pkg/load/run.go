package load

import (
	"context"
	"errors"
	"time"
)

// Run is one measurement as the search for the highest rate needs it: run this plan
// for this long. It may be called again and again, one call at a time. With a partial
// result it may return no error; without one it has to.
type Run func(ctx context.Context, plan Plan, length time.Duration) (*Result, error)

// Tick is how a run goes: one interval of it, or the one that is not over yet.
type Tick struct {
	At                   time.Duration // of its end, since the start
	Warming              bool
	Sent, Received       int64   // in it
	AllSent, AllReceived int64   // since the beginning
	Rate                 float64 // answers, deliveries or sends a second, as the scenario is about
	Frames               int64
	Late                 int64         // sends in it that were more than 1 ms late
	Queued               uint64        // sends that wait in the client
	Lost                 int64         // known to be lost, since the beginning
	P50, P99             time.Duration // 0 if too few were received
	Dropped              uint64        // by the server, since the beginning
	ClientCPU, Server    float64       // cores; Server is 0 if it does not tell
}

// ErrUnsound says that the figures of a run do not add up; none of them is to be used.
var ErrUnsound = errors.New("the figures do not add up")
