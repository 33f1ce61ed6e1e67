package tty

import (
	"bytes"
	"os"
	"testing"
	"time"

	"tracker/pkg/tui/look"
)

func TestPaceSlowsFramesDown(t *testing.T) {
	m := &Pace{}
	if m.Interval(true) != fastest || m.Interval(false) != blurred || m.Note() != "" {
		t.Errorf("at rest: %v, %v, %q", m.Interval(true), m.Interval(false), m.Note())
	}
	for range 50 {
		m.Wrote(1, 200*time.Millisecond)
	}
	if got := m.Interval(true).Round(time.Millisecond); got != 600*time.Millisecond {
		t.Errorf("a terminal that takes 200 ms: %v, want 600ms", got)
	}
	if got := m.Note(); got != "2 fps, slow link" {
		t.Errorf("complaint %q", got)
	}
	for range 50 {
		m.Wrote(1, time.Hour)
	}
	if got := m.Interval(true); got != slowest {
		t.Errorf("a terminal that hangs: %v, want %v", got, slowest)
	}
	for range 100 {
		m.Wrote(1, 0)
	}
	if m.Interval(true) != fastest {
		t.Errorf("it does not recover: %v", m.Interval(true))
	}
}

func TestPaceKeepsToTheFramesThatAreWanted(t *testing.T) {
	m := &Pace{}
	m.SetFPS(5)
	if got := m.Interval(true); got != 200*time.Millisecond || m.Note() != "" {
		t.Errorf("five a second: %v, %q", got, m.Note())
	}
}

func TestNoTerminalHasNoColours(t *testing.T) {
	var b bytes.Buffer
	if got := Profile(&b, []string{"TERM=xterm-256color", "COLORTERM=truecolor"}); got != look.NoStyle {
		t.Errorf("profile %d", got)
	}
	if cols, rows := Size(&b, []string{"COLUMNS=120", "LINES=nonsense"}); cols != 120 || rows != 24 {
		t.Errorf("%dx%d", cols, rows)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if Interactive([]string{"TERM=xterm"}, f, f) || IsTerminal(f) {
		t.Error("a file is taken for a terminal")
	}
	if got := Getenv([]string{"A=1", "B=2", "A=3"}, "A"); got != "3" {
		t.Errorf("A=%s", got)
	}
}
