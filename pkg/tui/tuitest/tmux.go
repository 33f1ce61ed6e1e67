//go:build unix

package tuitest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Tmux is a terminal that shares no code with ours, with this test binary in it as a
// program: see Main.
type Tmux struct {
	t    testing.TB
	path string
	sock string
}

// OpenTmux runs a shell command in a terminal of tmux. "$SELF" in it is the program, mode
// is what Main is told, and env is added to an environment that inherits nothing.
func OpenTmux(t testing.TB, cols, rows int, command, mode string, env ...string) *Tmux {
	t.Helper()
	path, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("tmux is not installed (apt-get install tmux): one terminal emulator only was asked")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := &Tmux{t, path, filepath.Join(t.TempDir(), "tmux")}
	args := []string{"new-session", "-d", "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows), "env", "-i",
		"PATH=/usr/bin:/bin", "TERM=tmux-256color", "LANG=C.UTF-8", "SELF=" + self, "TUI_DRIVER=" + mode, "TUI_DEVICES=40"}
	m.Run(append(append(args, env...), "sh", "-c", command)...)
	t.Cleanup(func() { _ = exec.Command(path, "-S", m.sock, "kill-server").Run() })
	return m
}

// Run is a command of tmux, and gives what it prints.
func (m *Tmux) Run(args ...string) string {
	m.t.Helper()
	out, err := exec.Command(m.path, append([]string{"-u", "-f", "/dev/null", "-S", m.sock}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Send types: each is a key by its name in tmux, or text.
func (m *Tmux) Send(keys ...string) {
	m.t.Helper()
	m.Run(append([]string{"send-keys", "--"}, keys...)...)
}

// Text is what the terminal shows.
func (m *Tmux) Text() string {
	m.t.Helper()
	return m.Run("capture-pane", "-p")
}

// Says is a format of tmux, such as #{pane_title}.
func (m *Tmux) Says(format string) string {
	m.t.Helper()
	return m.Run("display-message", "-p", format)
}

// Sees waits until the terminal shows all of it, and gives what it shows.
func (m *Tmux) Sees(want ...string) string {
	m.t.Helper()
	return m.until(fmt.Sprintf("show %q", want), func(text string) bool {
		for _, w := range want {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	})
}

// Loses waits until the terminal shows it no more.
func (m *Tmux) Loses(unwanted string) {
	m.t.Helper()
	m.until(fmt.Sprintf("stop showing %q", unwanted), func(text string) bool { return !strings.Contains(text, unwanted) })
}

func (m *Tmux) until(what string, ok func(text string) bool) string {
	m.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		text := m.Text()
		if ok(text) {
			return text
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("tmux does not %s:\n%s", what, text)
		}
	}
}
