//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"

	"tracker/cmd/internal/clitest"
	"tracker/pkg/client"
)

// terminal is trackctl as a process in a terminal of ours.
type terminal struct {
	t       testing.TB
	master  *os.File
	cmd     *exec.Cmd
	exited  chan error
	drained chan struct{}

	mu     sync.Mutex
	screen *vt.Emulator
	raw    bytes.Buffer
}

// open runs trackctl: this test binary, which goes by its first argument.
func open(t testing.TB, d *clitest.Daemon, cols, rows int, args ...string) *terminal {
	t.Helper()
	return openWith(t, d, cols, rows, nil, args...)
}

// openWith is open with an environment that goes before the usual one.
func openWith(t testing.TB, d *clitest.Daemon, cols, rows int, env []string, args ...string) *terminal {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return openAs(t, self, d, cols, rows, env, args...)
}

// openAs is openWith for a program that lies elsewhere.
func openAs(t testing.TB, self string, d *clitest.Daemon, cols, rows int, env []string, args ...string) *terminal {
	t.Helper()
	var err error
	home := t.TempDir()
	tm := &terminal{t: t, screen: vt.NewEmulator(cols, rows), exited: make(chan error, 1), drained: make(chan struct{})}
	tm.cmd = &exec.Cmd{Path: self, Args: append([]string{"trackctl"}, args...), Env: append([]string{
		"TERM=xterm-256color", "LANG=C.UTF-8", "HOME=" + home, "NO_COLOR=1",
		"TRACK_SERVER=" + d.TCP, "TRACK_TOKEN_FILE=" + filepath.Join(d.Data, "admin.token"),
	}, env...)} // of two with one name the last counts
	tm.master, err = pty.StartWithSize(tm.cmd, &pty.Winsize{Cols: uint16(cols), Rows: uint16(rows)})
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	go func() { tm.exited <- tm.cmd.Wait() }()
	go tm.read()
	t.Cleanup(func() {
		_ = tm.cmd.Process.Kill() // in case the test failed half way
		_ = tm.master.Close()
		<-tm.drained
	})
	return tm
}

// read shows what the process writes, and sends what the terminal answers to the
// questions in it.
func (tm *terminal) read() {
	defer close(tm.drained)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(tm.master, tm.screen)
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := tm.master.Read(buf)
		tm.mu.Lock()
		tm.raw.Write(buf[:n])
		_, _ = tm.screen.Write(buf[:n])
		tm.mu.Unlock()
		if err != nil {
			_ = tm.screen.InputPipe().(io.Closer).Close()
			<-answered
			return
		}
	}
}

func (tm *terminal) text() string {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	return tm.screen.String()
}

const terminalPatience = 15 * time.Second

func (tm *terminal) sees(want string) {
	tm.t.Helper()
	for deadline := time.Now().Add(terminalPatience); !strings.Contains(tm.text(), want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tm.t.Fatalf("the screen does not show %q:\n%s", want, tm.text())
		}
	}
}

func (tm *terminal) press(keys string) {
	tm.t.Helper()
	if _, err := tm.master.WriteString(keys); err != nil {
		tm.t.Fatal(err)
	}
}

func (tm *terminal) resize(cols, rows int) {
	tm.t.Helper()
	tm.mu.Lock()
	tm.screen.Resize(cols, rows)
	tm.mu.Unlock()
	if err := pty.Setsize(tm.master, &pty.Winsize{Cols: uint16(cols), Rows: uint16(rows)}); err != nil {
		tm.t.Fatal(err)
	}
}

// ends waits for the process and returns its exit code and what is left on the screen.
func (tm *terminal) ends() (code int, left string) {
	tm.t.Helper()
	var err error
	select {
	case err = <-tm.exited:
	case <-time.After(terminalPatience):
		tm.t.Fatalf("trackctl does not end:\n%s", tm.text())
	}
	<-tm.drained // with the process gone the terminal reads to its end
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	return code, tm.text()
}

// What takes the other screen of a terminal and gives it back.
const (
	enterAlternate = "\x1b[?1049h"
	leaveAlternate = "\x1b[?1049l"
)

// clean holds that nothing of a key is left: not on the screen, not above it.
func (tm *terminal) clean() {
	tm.t.Helper()
	tm.mu.Lock()
	defer tm.mu.Unlock()
	raw := tm.raw.String()
	enter, leave := strings.Index(raw, enterAlternate), strings.LastIndex(raw, leaveAlternate)
	if enter < 0 || leave < enter {
		tm.t.Fatalf("the alternate screen was not entered and left: %d, %d", enter, leave)
	}
	outside := raw[:enter] + raw[leave+len(leaveAlternate):]
	if strings.Contains(outside, "/d#1.") || strings.Contains(tm.screen.String(), "/d#1.") || strings.Contains(outside, "▀") {
		tm.t.Errorf("the key is left behind:\n%q", outside)
	}
}

func startDaemon(t testing.TB) (*clitest.Daemon, *client.Conn) {
	t.Helper()
	d, err := clitest.Start(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	token, err := os.ReadFile(filepath.Join(d.Data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := client.Dial(client.Config{Server: d.TCP, Token: strings.TrimSpace(string(token))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.CloseIdle)
	return d, conn
}

func TestRevokeAsksOnATerminal(t *testing.T) {
	t.Parallel()
	d, conn := startDaemon(t)
	if _, err := conn.Enroll(t.Context(), client.NewDevice{Name: "van-1"}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		answer string
		code   int
		state  string
	}{{"\n", exitFailed, "active"}, {"\x03", exitInterrupted, "active"}, {"y\n", exitDone, "revoked"}} {
		tm := open(t, d, 80, 24, "device", "revoke", "van-1")
		tm.sees("[y/N]")
		tm.press(tc.answer)
		if code, left := tm.ends(); code != tc.code {
			t.Errorf("answer %q: code %d, want %d\n%s", tc.answer, code, tc.code, left)
		}
		for dev, err := range conn.Devices(t.Context(), "van-1") {
			if err != nil || dev.State != tc.state {
				t.Errorf("answer %q: %+v %v", tc.answer, dev, err)
			}
		}
	}
}
