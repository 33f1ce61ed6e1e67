//go:build unix

package tui

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tracker/pkg/tui/tuitest"
)

// besides is what tmux says of a terminal besides what it shows: that a program has it, and
// its title.
const besides = "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{pane_title}"

// The map in tmux: a terminal that shares no code with ours.
func TestTmux(t *testing.T) {
	for _, s := range sizes {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			m := tuitest.OpenTmux(t, s.w, s.h, `cd "$OUT"; echo before; read go; "$SELF"; echo after $?; exec cat`, "run", "OUT="+dir)
			m.Sees("before")
			untouched := m.Says(besides)
			m.Send("Enter")
			m.Sees("40 dev", "● LIVE", "van-00")
			if got, want := m.Says("#{alternate_on} #{cursor_flag} #{mouse_any_flag}"), "1 0 1"; got != want {
				t.Errorf("other screen, cursor, mouse: %q, want %q", got, want)
			}
			inTmux(m, s)

			m.Send("x")
			m.Sees("export to")
			m.Send("C-u", "now.txt", "Enter")
			m.Loses("export to")
			if b, err := os.ReadFile(filepath.Join(dir, "now.txt")); err != nil || !strings.Contains(string(b), "40 dev") {
				t.Errorf("saved was %v\n%s", err, b)
			}
			m.Send("?")
			m.Sees("Keys")
			m.Send("Escape")
			m.Loses("Keys")
			m.Send("q")
			m.Sees("before", "after 0")
			if got := m.Says(besides); got != untouched {
				t.Errorf("other screen, cursor, mouse, title: %q, want %q", got, untouched)
			}
			if left := m.Text(); strings.Contains(left, "van-") {
				t.Errorf("left is\n%s", left)
			}
		})
	}
}

// inTmux is what an operator does most.
func inTmux(m *tuitest.Tmux, s size) {
	if s.kind != listOnly {
		m.Sees("Natural Earth · GeoNames")
		m.Send("n")
		m.Sees(", heard")
		m.Send("f")
		m.Sees("following")
		m.Send("z")
		m.Sees("z11.0")
		m.Send("Escape")
		m.Loses("following")
		m.Send("Escape")
		m.Loses(", heard")
		m.Send("0")
		m.Loses("z11.0")
	}
	m.Send("/van-000")
	m.Loses("van-001")
	m.Send("Enter")
	m.Send("/")
	m.Sees(" /van-000")
	m.Send("Escape")
	m.Sees("van-001")

	m.Send("[")
	m.Sees("REPLAY", "held")
	m.Send(".")
	m.Sees("● LIVE")
	for _, to := range append(sizes, s) {
		m.Run("resize-window", "-x", fmt.Sprint(to.w), "-y", fmt.Sprint(to.h))
		switch to.kind {
		case panes:
			m.Sees("40 dev", "Devices 40 by state", "╭─ Map  z")
		case compact:
			m.Sees("40 dev", "Natural Earth")
			m.Loses("╭─")
		case listOnly:
			m.Sees("40 dev", "batt")
			m.Loses("Natural Earth")
		}
	}
}
