package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

// FromWatch is a feed that takes what a watch tells. The watch should be connected
// already, so that a wrong address or token is told in a sentence and not on a map. It
// is closed when the feed ends.
func FromWatch(w *client.Watch) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error {
		// Next waits for the watch's own end, not for ctx.
		stop := context.AfterFunc(ctx, w.Close)
		defer stop()
		defer w.Close()
		for e, err := range w.Events() {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, track.ErrClosed) {
				return nil
			}
			if errors.Is(err, track.ErrDenied) {
				s.SetLink(Denied, err.Error())
			}
			if err != nil {
				return err
			}
			s.Take(&e)
		}
		return nil
	}
}

// Take puts an event of a watch into the store, whatever its kind.
func (s *Store) Take(e *client.Event) {
	switch e.Kind {
	case client.Snapshot, client.Resync:
		s.setLink(Live, "", "seen anew")
		s.Skipped(e.Skipped)
		s.Snapshot(e.Fixes, e.First, e.More)
		s.Left(e.Left)
	case client.Fixes:
		s.setLink(Live, "", "")
		s.Skipped(e.Skipped)
		s.Apply(e.Fixes)
		s.Left(e.Left)
	case client.Resumed:
		s.setLink(Live, "", "nothing was missed")
	case client.Disconnected:
		why := shortly(e.Err)
		s.setLink(Reconnecting, fmt.Sprintf("%s, again in %v", why, e.RetryIn.Round(100*time.Millisecond)), why)
	}
}

// shortly is an error in the few words that a status line has room for.
func shortly(err error) string {
	switch {
	case errors.Is(err, client.ErrUnreachable):
		return "no answer"
	case errors.Is(err, track.ErrDenied):
		return "not allowed"
	}
	return err.Error()
}
