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

// ErrUnsound says that the figures of a run do not add up; none of them is to be used.
var ErrUnsound = errors.New("the figures do not add up")
