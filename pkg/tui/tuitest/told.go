//go:build unix

package tuitest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
)

// Told is what a terminal was told besides what to show.
type Told struct {
	Titles  []string     // of the window and its icon, and folders, in the order in which they were set
	Bells   int          //
	Other   bool         // the other screen is on
	Hidden  bool         // the cursor
	modes   map[int]bool // of DEC, as they were set last
	Visible string       // what the screen shows
}

// Modes are those that were changed and not changed back. A terminal begins with the
// cursor shown and with lines that wrap.
func (t *Told) Modes() []int {
	changed := maps.Clone(t.modes)
	maps.DeleteFunc(changed, func(mode int, on bool) bool { return on == (mode == 7 || mode == 25) })
	return slices.Sorted(maps.Keys(changed))
}

// callbacks let an emulator note what it is told.
func (t *Told) callbacks() vt.Callbacks {
	t.modes = map[int]bool{}
	note := func(s string) { t.Titles = append(t.Titles, s) }
	set := func(on bool) func(ansi.Mode) {
		return func(m ansi.Mode) {
			if dec, ok := m.(ansi.DECMode); ok {
				t.modes[dec.Mode()] = on
			}
		}
	}
	return vt.Callbacks{
		Title: note, IconName: note, WorkingDirectory: note,
		Bell:             func() { t.Bells++ },
		AltScreen:        func(on bool) { t.Other = on },
		CursorVisibility: func(visible bool) { t.Hidden = !visible },
		EnableMode:       set(true),
		DisableMode:      set(false),
	}
}

// Replay shows what was written to a terminal of that size, and tells what is left.
func Replay(raw string, cols, rows int) *Told {
	told := &Told{}
	screen := vt.NewEmulator(cols, rows)
	screen.SetCallbacks(told.callbacks())
	drained := make(chan struct{})
	go func() { // the answers, which nobody wants
		defer close(drained)
		_, _ = io.Copy(io.Discard, screen)
	}()
	_, _ = screen.WriteString(raw)
	told.Visible = screen.String()
	_ = screen.InputPipe().(io.Closer).Close()
	<-drained
	return told
}

// Restored holds that a terminal is as it was before: what was written took the other
// screen, and then gave back all that it had taken.
func Restored(t testing.TB, raw string) {
	t.Helper()
	if !strings.Contains(raw, "\x1b[?1049h") {
		t.Error("the map never took the screen")
	}
	told := Replay(raw, 120, 40)
	if told.Other {
		t.Error("the other screen was never left")
	}
	if told.Hidden {
		t.Error("the cursor is still hidden")
	}
	if left := told.Modes(); len(left) > 0 {
		t.Errorf("modes were changed and not changed back: %v", left)
	}
	if len(told.Titles) > 0 || told.Bells > 0 {
		t.Errorf("titles %q, %d bells", told.Titles, told.Bells)
	}
}

// Blank holds that nothing is left on the screen that a terminal comes back to.
func Blank(t testing.TB, raw string) {
	t.Helper()
	if left := Replay(raw, 120, 40).Visible; strings.TrimSpace(left) != "" {
		t.Errorf("left on the screen is\n%s", left)
	}
}

// Sequences takes what was written to a terminal apart: how often each kind of control
// sequence is in it, and what text is. Kinds are named as CSI m, CSI ?h, OSC 52, DCS, ESC 7,
// C0 0a, C1 9b.
func Sequences(raw string) (kinds map[string]int, text string) {
	kinds = map[string]int{}
	var shown strings.Builder
	p := ansi.NewParser()
	p.SetParamsSize(32)
	p.SetDataSize(1 << 20)
	var state byte
	for len(raw) > 0 {
		seq, width, n, next := ansi.DecodeSequence(raw, state, p)
		if kind := kindOf(seq, width, p); kind == "" {
			shown.WriteString(seq)
		} else {
			kinds[kind]++
		}
		raw, state = raw[n:], next
	}
	return kinds, shown.String()
}

func kindOf(seq string, width int, p *ansi.Parser) string {
	cmd := ansi.Cmd(p.Command())
	sign := func(b byte) string {
		if b == 0 {
			return ""
		}
		return string(rune(b))
	}
	switch {
	case ansi.HasCsiPrefix(seq):
		return "CSI " + sign(cmd.Prefix()) + sign(cmd.Intermediate()) + sign(cmd.Final())
	case ansi.HasOscPrefix(seq):
		return fmt.Sprintf("OSC %d", p.Command())
	case ansi.HasDcsPrefix(seq):
		return "DCS " + sign(cmd.Intermediate()) + sign(cmd.Final())
	case ansi.HasApcPrefix(seq), ansi.HasPmPrefix(seq), ansi.HasSosPrefix(seq):
		return "APC, PM or SOS"
	case ansi.HasEscPrefix(seq):
		return "ESC " + seq[1:]
	case len(seq) == 1 && (seq[0] < 0x20 || seq[0] == 0x7f):
		return fmt.Sprintf("C0 %02x", seq[0])
	case len(seq) == 1 && seq[0] >= 0x80:
		return fmt.Sprintf("C1 %02x", seq[0])
	case width == 0:
		return fmt.Sprintf("no width %q", seq)
	}
	return ""
}
