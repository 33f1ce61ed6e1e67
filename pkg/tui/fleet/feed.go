package fleet

import (
	"context"
	"errors"
	"syscall"

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
		s.setLink(Link{State: Live}, s.anew())
		s.Skipped(e.Skipped)
		s.Snapshot(e.Fixes, e.First, e.More)
		s.Left(e.Left)
	case client.Fixes:
		s.setLink(Link{State: Live}, "")
		s.Skipped(e.Skipped)
		s.Apply(e.Fixes)
		s.Left(e.Left)
	case client.Resumed:
		s.setLink(Link{State: Live}, "nothing was missed")
	case client.Disconnected:
		s.gone = s.gone || errors.Is(e.Err, syscall.ECONNREFUSED)
		s.SetLinkAgain(Reconnecting, shortly(e.Err), e.RetryIn)
	}
}

// anew is what to write down of a link that begins again with a snapshot. A machine that
// answers for a port where nobody listens says that the server had ended.
func (s *Store) anew() string {
	if s.gone {
		s.gone = false
		return "the server was restarted, seen anew"
	}
	return "seen anew"
}

// shortly is an error in the few words that a status line has room for.
func shortly(err error) string {
	switch {
	case errors.Is(err, client.ErrUnreachable):
		if cause := errors.Unwrap(err); cause != nil && cause != client.ErrUnreachable {
			return cause.Error() // that it was this server goes without saying
		}
		return "no answer"
	case errors.Is(err, track.ErrDenied):
		return "not allowed"
	}
	return err.Error()
}
