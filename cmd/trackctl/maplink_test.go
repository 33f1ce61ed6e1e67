//go:build unix

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tracker/cmd/internal/clitest"
	"tracker/pkg/client"
	"tracker/pkg/track"
)

// walls is a server with one device on the map, and tokens of viewers that can be ended.
type walls struct {
	t    *testing.T
	d    *clitest.Daemon
	conn *client.Conn
	home string
	file string // holds a token
	id   string // of it
}

func newWalls(t *testing.T) *walls {
	t.Helper()
	d, conn := startDaemon(t)
	w := &walls{t: t, d: d, conn: conn, home: t.TempDir()}
	w.file = filepath.Join(w.home, "wall.token")
	e, err := conn.Enroll(t.Context(), client.NewDevice{Name: "van-1"})
	if err != nil {
		t.Fatal(err)
	}
	w.run("beacon", "--enrolment", e.Enrolment, "--lat", "48.137", "--lon", "11.575", "--ack")
	w.renew()
	return w
}

// run runs trackctl as another shell would.
func (w *walls) run(args ...string) {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	c := &exec.Cmd{Path: self, Args: append([]string{"trackctl"}, args...), Env: []string{
		"HOME=" + w.home, "TRACK_SERVER=" + w.d.TCP, "TRACK_TOKEN_FILE=" + filepath.Join(w.d.Data, "admin.token"),
	}}
	if out, err := c.CombinedOutput(); err != nil {
		w.t.Fatalf("trackctl %q: %v\n%s", args, err, out)
	}
}

// token makes one.
func (w *walls) token() (secret string) {
	w.t.Helper()
	tok, secret, err := w.conn.CreateToken(w.t.Context(), "wall", "viewer", time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	w.id = tok.ID
	return secret
}

// renew puts a new token into the file.
func (w *walls) renew() {
	w.t.Helper()
	if err := os.WriteFile(w.file, []byte(w.token()+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// revoke ends the token of the moment.
func (w *walls) revoke() {
	w.t.Helper()
	if err := w.conn.RevokeToken(w.t.Context(), w.id); err != nil {
		w.t.Fatal(err)
	}
}

// open opens the map with the token of the file.
func (w *walls) open(cols, rows int, args ...string) *terminal {
	w.t.Helper()
	return w.openWith(cols, rows, []string{"TRACK_TOKEN_FILE=" + w.file}, args...)
}

func (w *walls) openWith(cols, rows int, env []string, args ...string) *terminal {
	w.t.Helper()
	tm := openWith(w.t, w.d, cols, rows, append([]string{"HOME=" + w.home}, env...), append([]string{"map"}, args...)...)
	tm.sees("1 dev")
	tm.sees("● LIVE")
	return tm
}

const ended = "the token expired or was revoked"

func TestMapOutlivesItsToken(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{120, 40}, {80, 24}, {59, 15}} {
		w := newWalls(t)
		tm := w.open(size[0], size[1])
		w.revoke()
		tm.sees("○ DENIED " + ended[:20])
		tm.sees("van-1") // the last picture
		if size[1] > 15 {
			tm.sees("r tries again; another token goes into " + w.file[:10])
		}
		tm.press("r") // nobody has put another one there
		tm.sees("○ DENIED the token is unknown")
		w.renew()
		tm.press("r")
		tm.sees("● LIVE")
		if size[1] > 15 {
			tm.press("e\t\t")
			tm.sees("live again after")
		}
		tm.press("q")
		if code, left := tm.ends(); code != exitDone || strings.Contains(left, "trackctl:") {
			t.Errorf("%v: code %d, and left is\n%s", size, code, left)
		}
	}
}

func TestMapThatIsLeftDeniedSaysSo(t *testing.T) {
	t.Parallel()
	w := newWalls(t)
	for _, tc := range []struct {
		name string
		end  func(tm *terminal)
		code int
		says string
	}{
		{"q", func(tm *terminal) { tm.press("q") }, exitDenied, "trackctl: " + ended},
		{"ctrl-c", func(tm *terminal) { tm.press("\x03") }, exitDenied, "hint: pass --token"},
		{"sigterm", func(tm *terminal) { _ = tm.cmd.Process.Signal(syscall.SIGTERM) }, exitInterrupted, ""},
	} {
		w.renew()
		tm := w.open(80, 24)
		w.revoke()
		tm.sees("○ DENIED")
		tc.end(tm)
		code, left := tm.ends()
		if code != tc.code || !strings.Contains(left, tc.says) || strings.Contains(left, "deadline") {
			t.Errorf("%s: code %d, want %d, and left is\n%s", tc.name, code, tc.code, left)
		}
	}
}

// What is left when the time is over is said, if it is that the map was denied.
func TestRefusalIsNotForgottenWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		err, want error
	}{
		{"denied", track.ErrDenied, track.ErrDenied}, {"stopped", context.DeadlineExceeded, nil}, {"nothing", nil, nil},
	} {
		got := limited(t.Context(), time.Nanosecond, func(ctx context.Context) error {
			<-ctx.Done()
			return tc.err
		})
		if !errors.Is(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

// The token of a context is read again from where another shell has put it, and only that
// of the context that the map was opened with.
func TestMapTakesTheTokenThatAnotherShellHasSet(t *testing.T) {
	t.Parallel()
	w := newWalls(t)
	w.run("context", "add", "home", "--server", w.d.TCP, "--token", w.token())
	tm := w.openWith(120, 40, []string{"TRACK_TOKEN_FILE=", "TRACK_SERVER="})
	w.revoke()
	tm.sees("○ DENIED " + ended)
	tm.sees("trackctl context add home --server " + w.d.TCP + " --token -")
	w.run("context", "add", "elsewhere", "--server", "127.0.0.1:1", "--token", "nobody's")
	w.run("context", "use", "elsewhere")
	tm.press("r")
	tm.sees("○ DENIED the token is unknown")
	w.run("context", "add", "home", "--server", w.d.TCP, "--token", w.token())
	tm.press("r")
	tm.sees("● LIVE")
	tm.press("q")
	if code, left := tm.ends(); code != exitDone {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
}

// What is asked behind a new token, a command or a history, is asked with it.
func TestMapAsksEverythingWithTheNewToken(t *testing.T) {
	t.Parallel()
	w := newWalls(t)
	tm := w.open(120, 40)
	w.revoke()
	tm.sees("○ DENIED")
	w.renew()
	tm.press("r")
	tm.sees("● LIVE")
	tm.press(":near 48.137,11.6\r")
	tm.sees("1.9 km")
	tm.press("\x1b")
	tm.loses("1.9 km")
	tm.press("[")
	tm.sees("REPLAY")
	tm.loses("loading")
	if text := tm.text(); strings.Contains(text, "token") || strings.Contains(text, "closed") {
		t.Errorf("the past is not there:\n%s", text)
	}
	tm.press("q")
	if code, left := tm.ends(); code != exitDone {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
}

func TestMapOutlivesItsServer(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	d, err := clitest.Start(data)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			_ = d.Stop()
		}
	})
	tm := open(t, d, 120, 40, "map")
	tm.sees("● LIVE")
	if err := d.Stop(); err != nil {
		t.Error(err)
	}
	stopped = true
	tm.sees("○ RECONNECTING")
	tm.sees("connection refused")
	tm.sees("r tries now")
	tm.sees("the server is stopping") // an event
	again, err := clitest.Start(data, "--listen", d.TCP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := again.Stop(); err != nil {
			t.Error(err)
		}
	})
	// Another try may be under way just now, from when the server was not there yet.
	for deadline := time.Now().Add(terminalPatience); !strings.Contains(tm.text(), "● LIVE"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come back:\n%s", tm.text())
		}
		tm.press("r")
	}
	tm.sees("the server was restarted, seen anew")
	tm.press("q")
	if code, left := tm.ends(); code != exitDone {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
}

func TestMapEndsWithItsTimeAndItsTerminal(t *testing.T) {
	t.Parallel()
	w := newWalls(t)
	for _, tc := range []struct {
		name string
		end  func(tm *terminal)
		code int
	}{
		{"sighup", func(tm *terminal) { _ = tm.cmd.Process.Signal(syscall.SIGHUP) }, exitDone}, // as if the window were closed
		{"sigterm", func(tm *terminal) { _ = tm.cmd.Process.Signal(syscall.SIGTERM) }, exitInterrupted},
	} {
		tm := w.open(80, 24)
		tc.end(tm)
		code, left := tm.ends()
		if code != tc.code || strings.Contains(left, "trackctl:") || strings.Contains(left, "dev") {
			t.Errorf("%s: code %d, want %d, and left is\n%s", tc.name, code, tc.code, left)
		}
	}
	// How long that is depends on how soon it is up: what counts is how it ends.
	for _, args := range [][]string{{"--for", "1ns"}, {"--for", "2s"}} {
		tm := openWith(t, w.d, 80, 24, []string{"HOME=" + w.home}, append([]string{"map"}, args...)...)
		if code, left := tm.ends(); code != exitDone || strings.Contains(left, "trackctl:") || strings.Contains(left, "dev") {
			t.Errorf("%q: code %d, and left is\n%s", args, code, left)
		}
	}
	// The window is closed: nobody is left to tell.
	tm := w.open(80, 24)
	_ = tm.master.Close()
	select {
	case <-tm.exited:
	case <-time.After(terminalPatience):
		t.Error("a map whose terminal has gone goes on")
	}
}

// A server that takes the connection and says nothing is given up, in a sentence.
func TestMapDoesNotWaitForeverForAServer(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for ten seconds")
	}
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	tm := open(t, &clitest.Daemon{TCP: ln.Addr().String(), Data: t.TempDir()}, 80, 24, "map", "--token", "any")
	code, left := tm.ends()
	tm.mu.Lock()
	raw := tm.raw.String()
	tm.mu.Unlock()
	if code != exitUnreachable || !strings.Contains(left, "no answer within 10s") || strings.Contains(raw, enterAlternate) {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
}
