package tui

import (
	"cmp"
	"io"
	"os"
	"time"

	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/overlay"
	"tracker/pkg/tui/past"
	"tracker/pkg/tui/tty"
)

// Options say what to show and where.
type Options struct {
	// Feed fills the store. It runs in a goroutine of its own, and an error of it ends
	// the map, unless Line can do something about a refusal.
	Feed Feed
	Line Line // nil: a feed that was refused has ended

	Server string // named in the status line
	Theme  string // one of look.Names; empty is system
	Glyphs string // one of look.GlyphNames; empty or auto is what the terminal can show
	Mouse  bool   // take the mouse
	Ages   filter.Ages
	Keys   *conf.Keymap   // of Actions; nil is everybody's default
	Conf   *conf.Config   // what else people set; nil is what everybody has
	Filter *filter.Filter // who is meant at first; nil is all
	Typed  string         // Filter as it was typed; empty is its canonical form
	CLI    *CLI           // commands for the palette; nil: there are none

	Opening    Opening // what Run and Once show first
	Overlays   []*overlay.Overlay
	Past       past.Source // where history comes from; nil: there is only the present
	Format     string      // of Once: one of snap.Pictures; empty is what suits the output
	Cols, Rows int         // of Once; 0 is what suits the output

	In       io.Reader // of questions to Plain; nil: there are none
	StateDir string    // for what is left of a panic; nothing is written if empty

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

// settings are what people set, or what everybody has.
func (o *Options) settings() *conf.Config {
	if o.Conf != nil {
		return o.Conf
	}
	return conf.Defaults()
}

// store makes the store that the feed fills.
func (o *Options) store() *fleet.Store {
	return fleet.New(fleet.Config{Now: o.Now, Ages: o.Ages, LowBattery: o.settings().Battery.Low})
}

// look chooses colours and glyphs for a terminal, or for what is none.
func (o *Options) look(p look.Profile) (f face, err error) {
	c := o.settings()
	if f.glyphs, err = look.Glyphs(cmp.Or(o.Glyphs, c.Glyphs), o.getenv); err != nil {
		return f, err
	}
	f.profile = p
	return f, f.paint(c, cmp.Or(o.Theme, c.Theme))
}

// face is how the screen looks on its terminal.
type face struct {
	theme   *canvas.Theme
	colours *look.Theme // the same, before it was brought down to the terminal
	profile look.Profile
	glyphs  canvas.Glyphs
}

// paint takes the colours of a theme.
func (f *face) paint(c *conf.Config, name string) error {
	t, err := c.Look(name)
	if err == nil {
		f.colours, f.theme = t, t.For(f.profile)
	}
	return err
}
