//go:build unix

package tui

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"tracker/pkg/tui/tuitest"
)

// The colours that a picture may have, from none to many.
const (
	paintNone = iota
	paintMono // bold, dim, reverse: no colours
	paint16
	paint256 // of 256
)

var (
	paints256 = regexp.MustCompile(`\x1b\[[0-9;]*[34]8;5;`)
	paints16  = regexp.MustCompile(`\x1b\[(?:[0-9;]*;)?(?:3[0-7]|4[0-7]|9[0-7]|10[0-7])(?:;[0-9]+)*m`)
	anyPaint  = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
)

func paintOf(t *testing.T, out string) int {
	t.Helper()
	for _, seq := range anyPaint.FindAllString(out, -1) {
		if !strings.HasSuffix(seq, "m") {
			t.Errorf("%q in a picture is no colour", seq)
		}
	}
	switch {
	case paints256.MatchString(out):
		return paint256
	case paints16.MatchString(out):
		return paint16
	case strings.ContainsRune(out, '\x1b'):
		return paintMono
	}
	return paintNone
}

func dotsOf(out string) string {
	switch {
	case strings.ContainsFunc(out, func(r rune) bool { return r > 0x2800 && r <= 0x28ff }):
		return "braille"
	case strings.ContainsFunc(out, func(r rune) bool { return r > 0x2580 && r <= 0x259f }):
		return "block"
	case strings.ContainsFunc(out, func(r rune) bool { return r > '~' }):
		return "other"
	}
	return "ascii"
}

func TestOnceShowsWhatThereIsToSeeItWith(t *testing.T) {
	for _, tt := range []struct {
		env     string
		colours int // on a terminal, of a theme of many
		glyphs  string
	}{
		{"COLORTERM=truecolor", paint256, "braille"},
		{"TERM=xterm-256color", paint256, "braille"},
		{"TERM=xterm", paint16, "braille"},
		{"NO_COLOR=1", paintMono, "braille"},
		{"TERM=linux", paint16, "block"},
		{"LC_ALL=C", paint256, "ascii"},
		{"TERM=dumb", paintNone, "braille"},
	} {
		t.Run(tt.env, func(t *testing.T) {
			t.Parallel()
			tm := tuitest.Open(t, 80, 24, "once", "TUI_THEME=dark", tt.env)
			raw, err := tm.Ends()
			if err != nil {
				t.Errorf("on a terminal: %v", err)
			}
			onePicture(t, "on a terminal", raw, 23)
			if got := paintOf(t, raw); got != tt.colours {
				t.Errorf("on a terminal: colours %d, want %d", got, tt.colours)
			}
			if got := dotsOf(raw); got != tt.glyphs {
				t.Errorf("on a terminal: %s, want %s", got, tt.glyphs)
			}
			for _, mode := range []string{"once", "run"} { // a map that is written into a file is one picture
				file := mode + " into a file"
				raw := intoFile(t, mode, "TUI_THEME=dark", tt.env)
				onePicture(t, file, raw, 24)
				if got := paintOf(t, raw); got != paintNone {
					t.Errorf("%s: colours %d", file, got)
				}
				if got := dotsOf(raw); got != tt.glyphs {
					t.Errorf("%s: %s, want %s", file, got, tt.glyphs)
				}
			}
		})
	}
}

func onePicture(t *testing.T, where, raw string, lines int) {
	t.Helper()
	if got := strings.Count(raw, "\n"); got != lines || !strings.Contains(raw, "40 dev") {
		t.Errorf("%s: %d lines, want %d:\n%s", where, got, lines, raw)
	}
}

// intoFile runs this program with a terminal for input and none for output.
func intoFile(t *testing.T, mode string, env ...string) string {
	t.Helper()
	tm := tuitest.Prepare(t, 80, 24, mode, env...)
	defer tm.Master.Close()
	defer tm.Slave.Close()
	c := exec.Command(tm.Cmd.Path)
	c.Env, c.Stdin, c.SysProcAttr = tm.Cmd.Env, tm.Slave, tm.Cmd.SysProcAttr
	c.SysProcAttr.Ctty = 0
	out, err := c.Output()
	if err != nil {
		t.Errorf("%s: %v", mode, err)
	}
	return string(out)
}

// Without a keyboard the map is sentences, on whatever terminal.
func TestNoKeyboardNoMap(t *testing.T) {
	t.Parallel()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	tm := tuitest.Prepare(t, 80, 24, "run")
	tm.Cmd.Stdin = null
	tm.Cmd.SysProcAttr.Setctty = false
	tm.Start()
	tm.Listen()
	tm.Sees("link: live.", "summary: 40 devices")
	_ = tm.Cmd.Process.Kill()
	if raw, _ := tm.Ends(); strings.ContainsRune(raw, '\x1b') {
		t.Errorf("an escape sequence in sentences: %q", raw)
	}
}
