package tui

import (
	"context"
	"os"
	"time"
)

// Options say what to show and where.
type Options struct {
	// Feed fills the store until ctx is done, or until there is nothing more to come
	// (nil) or no point in going on (an error, which ends the map). It runs in a
	// goroutine of its own.
	Feed func(ctx context.Context, s *Store) error

	Server string // named in the status line
	Theme  string // one of Themes; empty is system
	Glyphs string // braille, block, ascii; empty or auto is what the terminal can show
	Mouse  bool   // take the mouse

	// A device that was silent for so long is shown as stale, or lost. 0 = 2 and 15 minutes.
	StaleAfter, LostAfter time.Duration

	Environ []string         // nil is the process's own
	Now     func() time.Time // nil is time.Now
}

func (o *Options) now() func() time.Time {
	if o.Now != nil {
		return o.Now
	}
	return time.Now
}

func (o *Options) staleAfter() time.Duration {
	if o.StaleAfter > 0 {
		return o.StaleAfter
	}
	return 2 * time.Minute
}

func (o *Options) lostAfter() time.Duration {
	if o.LostAfter > 0 {
		return max(o.LostAfter, o.staleAfter())
	}
	return max(15*time.Minute, o.staleAfter())
}

func (o *Options) environ() []string {
	if o.Environ != nil {
		return o.Environ
	}
	return os.Environ()
}
