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
		m.Wrote(200 * time.Millisecond)
	}
	if got := m.Interval(true).Round(time.Millisecond); got != 600*time.Millisecond {
		t.Errorf("a terminal that takes 200 ms: %v, want 600ms", got)
	}
	if got := m.Note(); got != "2 fps, slow link" {
		t.Errorf("complaint %q", got)
	}
	for range 50 {
		m.Wrote(time.Hour)
	}
	if got := m.Interval(true); got != slowest {
		t.Errorf("a terminal that hangs: %v, want %v", got, slowest)
	}
	for range 13 {
		m.Wrote(0)
	}
	if m.Interval(true) > 2*fastest {
		t.Errorf("after 13 quick frames still %v", m.Interval(true))
	}
}

// One write that hangs for an hour is forgotten in a few frames.
func TestPaceForgetsAHang(t *testing.T) {
	m := &Pace{}
	m.Wrote(time.Hour)
	for range 8 {
		m.Wrote(time.Millisecond)
	}
	if got := m.Interval(true); got > 2*fastest {
		t.Errorf("%v", got)
	}
}

func TestPaceTellsAFarTerminalFromASlowOne(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name    string
		answers []time.Duration
		want    time.Duration
	}{
		{"near and fast", []time.Duration{2 * ms}, fastest},
		{"far and fast", []time.Duration{300 * ms}, fastest},
		{"near and slow", []time.Duration{10 * ms, 210 * ms}, 600 * ms},
		{"far and slow", []time.Duration{300 * ms, 500 * ms}, 600 * ms},
		{"hopeless", []time.Duration{10 * ms, time.Minute}, slowest},
	} {
		m := &Pace{}
		for i := range 60 {
			m.Answered(tt.answers[min(i, len(tt.answers)-1)])
			if i == 20 && len(tt.answers) > 1 {
				m.Answered(tt.answers[0]) // an empty way, now and then
			}
		}
		if got := m.Interval(true); got < tt.want*8/10 || got > tt.want*11/10 {
			t.Errorf("%s: %v, want about %v", tt.name, got, tt.want)
		}
	}
}

// A way that has become longer is not taken for a slow terminal for ever.
func TestPaceLearnsALongerWay(t *testing.T) {
	m := &Pace{}
	m.Answered(20 * time.Millisecond)
	for range 1500 {
		m.Answered(200 * time.Millisecond)
	}
	if got := m.Interval(true); got != fastest {
		t.Errorf("%v", got)
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
