package tui

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
)

var (
	epoch = tuitest.Epoch
	fixOf = tuitest.Fix
	vans  = tuitest.Vans
)

// theme is a theme by name, ready for a good terminal; plain is none at all.
func theme(name string) *canvas.Theme {
	profile := look.TrueColour
	if name == "plain" {
		name, profile = "system", look.NoStyle
	}
	t, err := look.Named(name)
	if err != nil {
		panic(err)
	}
	return t.For(profile)
}

// rig is a screen with a clock and a store to play with.
type rig struct {
	*screen
	see   *tuitest.Rig
	clock *tuitest.Clock
}

func newRig(t *testing.T, w, h int, themeName string) *rig {
	t.Helper()
	clock := tuitest.NewClock()
	o := Options{Server: "tracker.example.org:4810", Now: clock.Now}
	store := o.store()
	store.SetLink(fleet.Live, "")
	s, err := newScreen(&o, store, face{theme: theme(themeName), profile: look.TrueColour, glyphs: canvas.Braille})
	if err != nil {
		t.Fatal(err)
	}
	see := &tuitest.Rig{T: t, Key: s.key, Draw: func() *canvas.Canvas { return s.Draw(clock.At) }, Look: s.Look}
	r := &rig{s, see, clock}
	r.Resize(w, h)
	return r
}

func (r *rig) compose() { r.see.Compose() }

func (r *rig) load(fixes ...client.Fix) *rig {
	r.store.Snapshot(fixes, true, false)
	r.compose()
	return r
}

// press sends keys and composes a frame after each.
func (r *rig) press(keys ...string) *rig {
	r.see.Press(keys...)
	return r
}

func (r *rig) shows(want ...string) *rig {
	r.see.T.Helper()
	r.see.Shows(want...)
	return r
}

func (r *rig) hides(unwanted ...string) *rig {
	r.see.T.Helper()
	r.see.Hides(unwanted...)
	return r
}

// TestMain lets the tests run this binary as the map itself, on a terminal of theirs.
func TestMain(m *testing.M) { tuitest.Main(m, drive) }

func drive(mode string) error {
	n, _ := strconv.Atoi(os.Getenv("TUI_DEVICES"))
	box := tuitest.Europe
	if os.Getenv("TUI_WORLD") != "" {
		box = tuitest.World
	}
	feed := func(ctx context.Context, s *fleet.Store) error {
		return tuitest.Simulate(ctx, s, n, box, func() { s.SetLink(fleet.Live, "") })
	}
	o := Options{Server: "tracker.example.org:4810", Mouse: true, Theme: os.Getenv("TUI_THEME"), Feed: feed}
	o.extra = []action{{conf.Action{Name: "panic", Default: []string{"P"}}, func(*screen) { panic("on purpose") }}}
	switch mode {
	case "once":
		return Once(context.Background(), os.Stdout, o)
	case "plain":
		return Plain(context.Background(), os.Stdout, o)
	case "panic later":
		o.Feed = later(feed, func() error { panic("on purpose") })
	case "fail later":
		o.Feed = later(feed, func() error { return fmt.Errorf("no such server") })
	case "heartbeat": // tells on descriptor 3 that the feed is alive
		pulse := os.NewFile(3, "pulse")
		o.Feed = func(ctx context.Context, s *fleet.Store) error {
			go func() {
				for ctx.Err() == nil {
					s.Apply(nil)
					_, _ = pulse.WriteString(".")
					time.Sleep(20 * time.Millisecond)
				}
			}()
			return feed(ctx, s)
		}
	}
	return Run(context.Background(), o)
}

// later runs a feed for a second and then does something else.
func later(feed func(context.Context, *fleet.Store) error, then func() error) func(context.Context, *fleet.Store) error {
	return func(ctx context.Context, s *fleet.Store) error {
		while, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = feed(while, s)
		return then()
	}
}
