// Package tuitest is what tests of the map's rooms share: a fleet that drives about, a
// clock that stands, golden files, a face to press keys on, and a terminal to run the
// whole thing in. Only tests import it. It looks into no room that its users test, so
// that their inner tests may use it too.
package tuitest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
)

// Epoch is when clocks and fleets start.
var Epoch = time.Date(2026, 1, 2, 14, 22, 7, 0, time.UTC)

// Clock is a clock that stands until it is moved.
type Clock struct{ At time.Time }

// NewClock makes a clock that stands at Epoch.
func NewClock() *Clock { return &Clock{Epoch} }

// Now is the clock as a function.
func (c *Clock) Now() time.Time { return c.At }

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) { c.At = c.At.Add(d) }

// Fix is a fix with a place and a name, received when it was taken.
func Fix(id track.DeviceID, name string, at time.Time, lat, lon float64) client.Fix {
	return client.Fix{Device: id, Name: name, Time: at, Received: at, At: geo.Deg(lat, lon), Has: track.HasPos}
}

// update is shared with whoever else brings such a flag into a test.
func update() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

func init() {
	if flag.Lookup("update") == nil {
		flag.Bool("update", false, "write golden files")
	}
}

// Golden holds got against testdata/NAME.txt of the package under test, which -update
// writes.
func Golden(t testing.TB, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if update() {
		if err := os.WriteFile(file, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got+"\n" != string(want) {
		t.Errorf("%s differs (go test with -update writes it); got\n%s\nwant\n%s", file, got, want)
	}
}

// Rig is a page with somebody in front of it. Its Frame is what is shown.
type Rig struct {
	T     testing.TB
	Key   func(name string)
	Draw  func() *canvas.Canvas
	Look  func() (*canvas.Theme, canvas.Glyphs)
	Frame string
}

// Compose shows a new frame.
func (r *Rig) Compose() string {
	c := r.Draw()
	theme, glyphs := r.Look()
	r.Frame = string(c.Encode(nil, theme, glyphs))
	return r.Frame
}

// Press sends keys and shows a frame after each.
func (r *Rig) Press(keys ...string) {
	for _, k := range keys {
		r.Key(k)
		r.Compose()
	}
}

// Shows holds that the frame has all of it.
func (r *Rig) Shows(want ...string) {
	r.T.Helper()
	for _, w := range want {
		if !strings.Contains(r.Frame, w) {
			r.T.Errorf("the frame does not show %q:\n%s", w, r.Frame)
		}
	}
}

// Hides holds that the frame has none of it.
func (r *Rig) Hides(unwanted ...string) {
	r.T.Helper()
	for _, w := range unwanted {
		if strings.Contains(r.Frame, w) {
			r.T.Errorf("the frame shows %q:\n%s", w, r.Frame)
		}
	}
}
