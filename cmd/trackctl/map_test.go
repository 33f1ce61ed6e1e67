//go:build unix

package main

import (
	"strings"
	"testing"
)

// A map that cannot be is told in a sentence: the terminal is not taken for it.
func TestMapIsRefusedBeforeItTakesTheTerminal(t *testing.T) {
	t.Parallel()
	d, _ := startDaemon(t)
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"wrong token", []string{"map", "--token", "wrong"}, exitDenied, "trackctl: "},
		{"nobody there", []string{"map", "--server", "127.0.0.1:1"}, exitUnreachable, "cannot reach 127.0.0.1:1"},
		{"no such zoom", []string{"map", "--zoom", "21"}, exitUsage, "--zoom 21: want 0 to 20"},
		{"no such time", []string{"map", "--at", "tomorrow"}, exitUsage, "--at: \"tomorrow\" is no time"},
		{"a place of sentences", []string{"map", "--plain", "--goto", "Paris"}, exitUsage, "--goto, --zoom and --at are of the map"},
		{"no such device", []string{"map", "--device", "nobody"}, exitFailed, "nobody"},
	} {
		tm := open(t, d, 80, 24, tt.args...)
		code, left := tm.ends()
		if code != tt.code || !strings.Contains(left, tt.says) {
			t.Errorf("%s: code %d, want %d, and left is\n%s", tt.name, code, tt.code, left)
		}
		tm.mu.Lock()
		raw := tm.raw.String()
		tm.mu.Unlock()
		if strings.Contains(raw, "\x1b[?1049h") {
			t.Errorf("%s: the other screen was taken", tt.name)
		}
	}
}
