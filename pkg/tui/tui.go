package tui

import (
	"context"
	"os"
	"time"

	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tty"
)

// Options say what to show and where.
type Options struct {
	// Feed fills the store until ctx is done, or until there is nothing more to come
	// (nil) or no point in going on (an error, which ends the map). It runs in a
	// goroutine of its own.
	Feed func(ctx context.Context, s *fleet.Store) error

	Server string // named in the status line
	Theme  string // one of look.Names; empty is system
	Glyphs string // one of look.GlyphNames; empty or auto is what the terminal can show
	Mouse  bool   // take the mouse
	Ages   filter.Ages
	Keys   *conf.Keymap // of Actions; nil is everybody's default

	Environ []string         // nil is the process's own
	Now     func() time.Time // nil is time.Now

	extra []action // for tests
}

func (o *Options) environ() []string {
	if o.Environ != nil {
		return o.Environ
	}
	return os.Environ()
}

func (o *Options) getenv(name string) string { return tty.Getenv(o.environ(), name) }

// store makes the store that the feed fills.
func (o *Options) store() *fleet.Store { return fleet.New(fleet.Config{Now: o.Now, Ages: o.Ages}) }

// look chooses colours and glyphs for a terminal, or for what is none.
func (o *Options) look(p look.Profile) (*canvas.Theme, canvas.Glyphs, error) {
	glyphs, err := look.Glyphs(o.Glyphs, o.getenv)
	if err != nil {
		return nil, 0, err
	}
	theme, err := look.Named(o.Theme)
	if err != nil {
		return nil, 0, err
	}
	return theme.For(p), glyphs, nil
}
