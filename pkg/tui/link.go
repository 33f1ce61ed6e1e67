package tui

import (
	"context"
	"errors"
	"sync"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/words"
)

// Feed fills a store until ctx is done, or until there is nothing more to come (nil) or
// no point in going on (an error).
type Feed = func(ctx context.Context, s *fleet.Store) error

// Line is the way to the server, as far as a person at the map has a hand in it. Any
// goroutine may call its methods.
type Line interface {
	// Again connects anew after the server has refused the feed, with the credentials
	// that there are by now, and returns the feed from there.
	Again(ctx context.Context) (Feed, error)
	// Hurry lets a feed whose line broke try at once, if it waits to try again. It does
	// not block.
	Hurry()
	// Advice says, in half a line, how a person sets another token.
	Advice() string
}

// A feed that was refused is asked for again by itself: a token may have been renewed,
// or the server that was to say so may have been away.
const (
	renewEvery = 5 * time.Minute
	knockEvery = 15 * time.Second
)

// keeper keeps the map open when the server refuses the feed:
//
//	feed ──► refused: DENIED, with the last picture ──► Again ──► feed
//	                       ▲     every five minutes,      │
//	                       │     or when somebody says so │
//	                       └──────────── refused again ───┘
type keeper struct {
	line  Line // nil: a refusal is the end
	store *fleet.Store
	wish  chan struct{} // to try now; room for one

	mu      sync.Mutex
	refusal error // what the feed stands still for; nil: it runs
}

func newKeeper(line Line, store *fleet.Store) *keeper {
	return &keeper{line: line, store: store, wish: make(chan struct{}, 1)}
}

// refused tells whether an error is one that a person may do something about.
func refused(err error) bool {
	return errors.Is(err, track.ErrDenied) || errors.Is(err, track.ErrNotFound) || errors.Is(err, client.ErrUntrusted)
}

// keep makes of a feed one that outlives refusals.
func (k *keeper) keep(feed Feed) Feed {
	if k.line == nil {
		return feed
	}
	return func(ctx context.Context, s *fleet.Store) error {
		for {
			err := feed(ctx, s)
			if ctx.Err() != nil || !refused(err) {
				return err
			}
			if feed = k.wait(ctx, err); feed == nil {
				return nil // stood still until the end: left tells
			}
		}
	}
}

// wait returns the feed that goes on, nil when ctx is done.
func (k *keeper) wait(ctx context.Context, err error) Feed {
	select {
	case <-k.wish: // of before
	default:
	}
	k.stands(err)
	for {
		every := renewEvery
		if errors.Is(err, client.ErrUnreachable) {
			every = knockEvery
		}
		k.store.SetLinkAgain(fleet.Denied, err.Error(), every)
		if !k.pause(ctx, every) {
			return nil
		}
		k.store.SetLink(fleet.Denied, "asking again")
		feed, again := k.line.Again(ctx)
		if again == nil {
			k.stands(nil)
			return feed
		}
		if ctx.Err() != nil {
			return nil
		}
		if err = again; errors.Is(err, track.ErrDenied) {
			k.stands(err)
		}
	}
}

func (k *keeper) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-k.wish:
	case <-ctx.Done():
		return false
	}
	return true
}

func (k *keeper) stands(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refusal = err
}

// left is what the server refused the feed with, if that is how the map was left.
func (k *keeper) left() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.refusal
}

// now lets the feed try at once, whatever it waits for.
func (k *keeper) now() {
	select {
	case k.wish <- struct{}{}:
	default: // somebody said so already
	}
	k.line.Hurry()
}

// down tells whether the feed waits, so that a person could have it try at once.
func (s *screen) down() bool {
	if s.keeper == nil || s.keeper.line == nil {
		return false
	}
	link := s.live.Status().Link
	return (link.State == fleet.Denied || link.State == fleet.Reconnecting) && !link.Again.IsZero()
}

// retry has the feed try again at once.
func (s *screen) retry() {
	switch link := s.live.Status().Link; {
	case s.down():
		s.keeper.now()
	case link.State == fleet.Live:
		s.say("the link is up")
	case link.State == fleet.Ended:
		s.say("the feed is complete")
	default:
		s.say("it is trying")
	}
}

// again says when a feed that is down tries by itself, and how it tries before.
func (s *screen) again(link *fleet.Link) string {
	if link.Again.IsZero() {
		return ""
	}
	left := max(link.Again.Sub(s.live.Now()), 0).Round(time.Second)
	text := "again in " + words.Age(left)
	if s.down() {
		text += ", " + s.keyFor("retry") + " now"
	}
	return text
}

// drawRetry puts into the line of hints what a person can do about a link that is down.
func (s *screen) drawRetry(y int) bool {
	if !s.down() {
		return false
	}
	link := s.live.Status().Link
	x := s.c.Text(1, y, s.keyFor("retry"), look.Keycap, look.OnTop)
	text := "tries now"
	if link.State == fleet.Denied {
		text = "tries again"
		if advice := canvas.Clean(s.keeper.line.Advice()); advice != "" && errors.Is(s.keeper.left(), track.ErrDenied) {
			text += "; " + s.mask.Text(advice)
		}
	}
	text += "  " + s.keyFor("help") + " help  " + s.keyFor("quit") + " quit"
	s.c.Text(x+1, y, canvas.Truncate(text, s.w-x-2), look.Warn, look.OnTop)
	return true
}
