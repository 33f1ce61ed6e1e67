package past

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

// FromConn asks a server, one history a device, so many devices at a time.
func FromConn(c *client.Conn, parallel int) Source { return fromConn{c.History, max(parallel, 1)} }

type fromConn struct {
	history  func(context.Context, client.HistoryQuery) iter.Seq2[client.Fix, error]
	parallel int
}

// batch is how many fixes are yielded at once.
const batch = 256

func (s fromConn) Window(ctx context.Context, devices []track.DeviceID, from, to time.Time, yield func([]client.Fix) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var one sync.Mutex
	inTurn := func(fixes []client.Fix) error {
		one.Lock()
		defer one.Unlock()
		if ctx.Err() != nil {
			return context.Cause(ctx) // another one's yield has failed
		}
		return yield(fixes)
	}
	var crew sync.WaitGroup
	var begun atomic.Int64
	var fall fallen
	for range min(s.parallel, len(devices)) {
		crew.Go(func() {
			defer fall.hold(func() { stop(context.Canceled) })
			fixes := make([]client.Fix, 0, batch)
			for i := int(begun.Add(1)) - 1; i < len(devices) && ctx.Err() == nil; i = int(begun.Add(1)) - 1 {
				q := client.HistoryQuery{Device: devices[i].String(), From: from, To: to, Heartbeats: true}
				if err := s.device(ctx, q, fixes, inTurn); err != nil {
					stop(err) // the first one stays
				}
			}
		})
	}
	crew.Wait()
	fall.on()
	return context.Cause(ctx)
}

// device yields the history of one device. One that the server has forgotten has none.
func (s fromConn) device(ctx context.Context, q client.HistoryQuery, fixes []client.Fix, yield func([]client.Fix) error) error {
	for f, err := range s.history(ctx, q) {
		if errors.Is(err, track.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		if fixes = append(fixes, f); len(fixes) < batch {
			continue
		}
		if err := yield(fixes); err != nil {
			return err
		}
		fixes = fixes[:0]
	}
	if len(fixes) == 0 {
		return ctx.Err() // a walk that was cut short may have ended without a word
	}
	return yield(fixes)
}

// fallen holds the first panic of goroutines for the one that waits for them. Thrown
// where it came up, it would end the program with the terminal still taken.
type fallen struct {
	mu  sync.Mutex
	why string
}

// hold is deferred.
func (f *fallen) hold(then func()) {
	v := recover()
	if v == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why == "" {
		f.why = fmt.Sprintf("%v\n\n%s", v, debug.Stack())
	}
	then()
}

// on falls on.
func (f *fallen) on() {
	if f.why != "" {
		panic(f.why)
	}
}
