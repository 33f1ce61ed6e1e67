package tui

import (
	"testing"

	"tracker/pkg/client"
	"tracker/pkg/tui/canvas"
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
