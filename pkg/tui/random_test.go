package tui

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/past"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

var randomSeed = flag.Uint64("walk.seed", 0, "walk again with this seed; 0 is the fixed ones")

// monkey is somebody who does anything.
type monkey struct {
	*rig
	rng  *rand.Rand
	keys []string
	last []string // what was done, newest last
}

var hostile = []string{
	"", "\x1b[2J\x1b[H", "\x1b]0;owned\x07", "\u202eevil\u202c", "שלום", "🚚🇩🇪👨‍👩‍👧", "e\u0301\u0301\u0301", "漢字の名前", "a\nb\tc\r", "\x9b31m", "\xff\xfe",
	strings.Repeat("long ", 40), "ﷺ", "\u200b\u200d", "%s%d%n", "van-1",
}

var oddSizes = [][2]int{{0, 0}, {1, 1}, {2, 40}, {20, 5}, {59, 15}, {60, 16}, {80, 24}, {99, 30}, {100, 30}, {120, 40}, {120, 40}, {120, 40}, {300, 4}}

func pick[T any](m *monkey, of []T) T { return of[m.rng.IntN(len(of))] }

func newMonkey(t *testing.T, seed uint64) *monkey {
	m := &monkey{rig: newRig(t, 80, 24, "system"), rng: rand.New(rand.NewPCG(seed, 1))}
	m.player = past.New(history{}, m.live, m.clock.Now)
	m.conf.Open = "https://maps.example/#{z}/{lat}/{lon}/{id}"
	m.compose()
	for _, a := range actions() {
		m.keys = append(m.keys, a.Default...)
	}
	m.keys = append(m.keys, "enter", "enter", "esc", "esc", "esc", "esc", "esc", ".", ".", ".", "?", "j", "tab", "n", "backspace", "delete", "ctrl+u", "ctrl+w", "ctrl+k", "f13", "alt+x", "", "ö")
	m.keys = slices.DeleteFunc(m.keys, func(k string) bool { return k == "x" }) // writes files: see the tests of that
	return m
}

// step does one thing and gives it a name.
func (m *monkey) step() string {
	switch n := m.rng.IntN(100); {
	case n < 50:
		key := pick(m, m.keys)
		text := ""
		if len([]rune(key)) == 1 {
			text = key
		}
		m.Handle(tty.Event{Kind: tty.Press, Key: key, Text: text})
		return "key " + key
	case n < 70:
		e := tty.Event{
			Kind:   pick(m, []tty.Kind{tty.Click, tty.Click, tty.Drag, tty.Release, tty.Wheel, tty.Focus, tty.Blur, tty.Resumed}),
			Button: pick(m, []tty.Button{tty.Left, tty.Left, tty.Left, tty.NoButton, tty.Right, tty.WheelUp, tty.WheelDown}),
			X:      m.rng.IntN(m.w+6) - 3, Y: m.rng.IntN(m.h+6) - 3,
		}
		m.Handle(e)
		return fmt.Sprintf("%v %d at %d,%d", e.Kind, e.Button, e.X, e.Y)
	case n < 73:
		size := pick(m, oddSizes)
		if m.rng.IntN(200) == 0 {
			size = [2]int{500, 120}
		}
		m.Resize(size[0], size[1])
		return fmt.Sprintf("resize %v", size)
	case n < 76:
		text := pick(m, hostile) + strings.Repeat("z", m.rng.IntN(3)*m.rng.IntN(2000))
		m.Handle(tty.Event{Kind: tty.Paste, Text: text})
		return fmt.Sprintf("paste %d bytes", len(text))
	case n < 79:
		return m.command()
	case n < 80:
		d := pick(m, []time.Duration{-time.Hour, -time.Second, 3 * time.Minute, 20 * time.Minute, 48 * time.Hour})
		m.clock.Advance(d)
		return "clock " + d.String()
	case n < 82:
		s := fleet.LinkState(m.rng.IntN(int(fleet.Denied) + 1))
		m.live.SetLink(s, pick(m, hostile))
		return fmt.Sprintf("link %d", s)
	case n < 85:
		m.clock.Advance(time.Duration(m.rng.IntN(3000)) * time.Millisecond)
		return "a moment"
	}
	return m.feed()
}

// command types something into whatever prompt.
func (m *monkey) command() string {
	line := pick(m, []string{
		":goto 90,180", ":goto -89.9,-180", ":goto 0,0", ":follow van", ":theme dark", ":theme mono", ":theme system", ":glyphs ascii", ":glyphs block",
		":glyphs braille", ":speed 60", ":at -10m", ":at 14:05", ":filter speed>", ":filter", ":nonsense", ":mute van-1", "/state:moving", "/age>10", "/!van",
		"/(((", "gmunich", "g0,179.9999", "g\x1b[2J",
	})
	for _, c := range line {
		m.Handle(tty.Event{Kind: tty.Press, Key: string(c), Text: string(c)})
	}
	m.Handle(tty.Event{Kind: tty.Press, Key: pick(m, []string{"enter", "enter", "esc", "tab"})})
	return line
}

// feed lets devices come, report, and leave.
func (m *monkey) feed() string {
	store := m.live
	if m.store != m.held && m.rng.IntN(2) == 0 {
		store = m.store // the past is fed as well
	}
	switch m.rng.IntN(12) {
	case 0:
		var ids []track.DeviceID
		for range m.rng.IntN(30) {
			ids = append(ids, track.DeviceID(m.rng.IntN(80)))
		}
		store.Left(ids)
		return fmt.Sprintf("left %d", ids)
	case 1:
		store.Snapshot(m.fixes(m.rng.IntN(60)), m.rng.IntN(2) == 0, m.rng.IntN(3) == 0)
		return "snapshot"
	case 2:
		store.Skipped(uint64(m.rng.IntN(1000)))
		return "skipped"
	}
	fixes := m.fixes(1 + m.rng.IntN(40))
	store.Apply(fixes)
	return fmt.Sprintf("%d fixes", len(fixes))
}

func (m *monkey) fixes(n int) (all []client.Fix) {
	lats := []float64{90, -90, 89.99, 85.0511, -85.06, 0, 48.1, 48.1, 48.1001, 52}
	lons := []float64{180, -180, 179.9999, -179.9999, 0, 11.5, 11.5, 11.5001, 13}
	for range n {
		at := m.clock.At.Add(time.Duration(m.rng.IntN(4000)-3600) * time.Second)
		f := client.Fix{
			Device: track.DeviceID(m.rng.IntN(80)), Name: pick(m, hostile), Time: at, Received: at.Add(time.Duration(m.rng.IntN(100)-50) * time.Second),
			At: geo.Deg(pick(m, lats), pick(m, lons)), Has: track.Has(m.rng.IntN(256)), Alt: m.rng.IntN(100000) - 50000,
			Speed: pick(m, []float64{0, 0.4, 20, 1e9, -5}), Course: pick(m, []float64{0, 359.999, 720, -90}), Accuracy: geo.Meters(m.rng.IntN(6000)),
			Battery: m.rng.IntN(400) - 100, Event: pick(m, []string{"", "", "", "", "sos", "tamper", "low_battery", "\x1b[5m"}),
			Power: m.rng.IntN(2) == 0, Late: m.rng.IntN(9) == 0, Suspect: m.rng.IntN(9) == 0, Jump: m.rng.IntN(9) == 0,
		}
		if m.rng.IntN(9) == 0 {
			f.Received = time.Time{}
		}
		all = append(all, f)
	}
	return all
}

// wrong says what is wrong with the frame that is shown, or with the screen.
func (m *monkey) wrong() string {
	theme, glyphs := m.Look()
	styled := string(m.c.Encode(nil, theme, glyphs))
	for styled != "" { // colours are the only sequences there may be
		at := strings.IndexFunc(styled, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
		if at < 0 {
			break
		}
		rest, ok := strings.CutPrefix(styled[at:], "\x1b[")
		end := strings.TrimLeft(rest, "0123456789;")
		if !ok || !strings.HasPrefix(end, "m") {
			return fmt.Sprintf("something that is no text got through: %.40q", styled[at:])
		}
		styled = end[1:]
	}
	for i, line := range strings.Split(string(m.c.Encode(nil, plainTheme, canvas.Braille)), "\n") {
		if i >= max(m.h, 1) || canvas.Width(line) > m.w {
			return fmt.Sprintf("line %d does not fit %dx%d: %q", i, m.w, m.h, line)
		}
	}
	v := &m.view
	if v.W > 0 && !(v.Zoom >= v.MinZoom()-1e-9 && v.Zoom <= world.MaxZoom) || m.mask != nil && v.Zoom > max(maskedZoom, v.MinZoom()) {
		return fmt.Sprintf("the zoom is %v", v.Zoom)
	}
	if m.Due(m.clock.At) {
		return "a frame is due right after a frame"
	}
	if !m.has(m.focus) {
		return fmt.Sprintf("focus %d is on nothing in layout %d", m.focus, m.lay.kind)
	}
	return ""
}

func TestAnythingCanBeDoneToTheMap(t *testing.T) {
	t.Chdir(t.TempDir()) // should a file be saved
	seeds, steps := []uint64{1, 2, 3, 4}, 5000
	if testing.Short() || tuitest.Race {
		steps = 1000
	}
	if *randomSeed != 0 {
		seeds = []uint64{*randomSeed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { newMonkey(t, seed).walk(t, steps) })
	}
}

func (m *monkey) walk(t *testing.T, steps int) {
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%v, after %q", p, m.last)
			panic(p)
		}
	}()
	for i := range steps {
		m.last = append(m.last, m.step())
		m.last = m.last[max(0, len(m.last)-12):]
		m.compose()
		if what := m.wrong(); what != "" {
			t.Fatalf("step %d: %s\nafter %q\n%s", i, what, m.last, m.see.Frame)
		}
		if i%8 == 0 {
			before := slices.Clone(m.c.Cells)
			if m.compose(); !slices.Equal(m.c.Cells, before) {
				t.Fatalf("step %d: drawn again it is another picture\nafter %q\n%s", i, m.last, m.see.Frame)
			}
		}
		m.Wants()
	}
}
