//go:build unix

package tui

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"tracker/pkg/tui/tuitest"
)

func TestTerminalKeysMouseResizeAndQuit(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {120, 40}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			t.Parallel()
			tm := tuitest.Open(t, size[0], size[1], "run")
			tm.Sees("40 dev", "● LIVE", "van-00", "Natural Earth", "hjkl pan")
			tm.Send("?")
			tm.Sees("half a screen")
			tm.Send("x")
			tm.Loses("half a screen")
			tm.Send("n")
			tm.Sees("moving, heard")
			tm.Send("f")
			tm.Sees("· following")
			tm.Send("\x1b[C") // right
			tm.Loses("· following")
			tm.Send("0z")
			tm.Sees("z11.0")
			tm.Send(" ")
			tm.Sees("PAUSED")
			tm.Send(" ")
			tm.Sees("LIVE")
			tm.Send("0")
			tm.Loses("z11.0")
			tm.Send("\x1b[<64;20;8M") // the wheel, up
			tm.Send("\x1b[<64;20;8M")
			tm.Send("\x1b[<0;20;8M\x1b[<32;25;10M\x1b[<0;25;10m") // press, drag, release
			tm.Send("\t")
			tm.Sees("km/h", "batt")
			tm.Send("jjG")
			tm.Send("\t")

			if size[0] == 80 {
				tm.Resize(120, 40)
				tm.Sees("Devices 40 by state", "╰──")
				tm.Resize(58, 12)
				tm.Loses("╰──")
				tm.Sees("name", "batt")
			} else {
				tm.Resize(80, 24)
				tm.Loses("Devices 40 by")
			}
			tm.Send("q")
			raw, err := tm.Ends()
			if err != nil {
				t.Errorf("ended with %v", err)
			}
			tuitest.Restored(t, raw)
		})
	}
}

func TestTerminalIsGivenBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode string
		end  func(tm *tuitest.Terminal)
		code int
		says string
	}{
		{"ctrl-c", "run", func(tm *tuitest.Terminal) { tm.Send("\x03") }, 0, ""},
		{"sigterm", "run", func(tm *tuitest.Terminal) { _ = tm.Cmd.Process.Signal(syscall.SIGTERM) }, 0, ""},
		{"sighup", "run", func(tm *tuitest.Terminal) { _ = tm.Cmd.Process.Signal(syscall.SIGHUP) }, 0, ""},
		{"sigint", "run", func(tm *tuitest.Terminal) { _ = tm.Cmd.Process.Signal(syscall.SIGINT) }, 0, ""},
		{"feed fails", "fail later", func(*tuitest.Terminal) {}, 1, "no such server"},
		{"feed panics", "panic later", func(*tuitest.Terminal) {}, 1, "panic: on purpose"},
		{"screen panics", "run", func(tm *tuitest.Terminal) { tm.Send("P") }, 1, "on purpose"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tm := tuitest.Open(t, 80, 24, tt.mode)
			if tt.mode == "run" {
				tm.Sees("40 dev")
			}
			tt.end(tm)
			raw, err := tm.Ends()
			code := 0
			if exit, ok := err.(*exec.ExitError); ok {
				code = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if code != tt.code {
				t.Errorf("exit code %d, want %d\n%s", code, tt.code, raw[max(0, len(raw)-4000):])
			}
			tuitest.Restored(t, raw)
			if at := strings.LastIndex(raw, "\x1b[?1049l"); tt.says != "" && !strings.Contains(raw[max(at, 0):], tt.says) {
				t.Errorf("after the screen was given back nothing says %q:\n%q", tt.says, raw[max(at, 0):])
			}
		})
	}
}

func TestNoTerminalNoMap(t *testing.T) {
	for _, env := range []string{"TERM=dumb", "TERM="} {
		t.Run(env, func(t *testing.T) {
			t.Parallel()
			tm := tuitest.Open(t, 80, 24, "run", env)
			tm.Sees("link: live.", "summary: 40 devices")
			_ = tm.Cmd.Process.Signal(syscall.SIGKILL)
			raw, _ := tm.Ends()
			if strings.ContainsRune(raw, '\x1b') {
				t.Errorf("an escape sequence on a dumb terminal: %q", raw)
			}
		})
	}
}

// A terminal that does not read: the feed goes on, and a hangup still ends the map.
func TestHungTerminalStopsNeitherFeedNorHangup(t *testing.T) {
	tm := tuitest.Prepare(t, 200, 60, "heartbeat", "TUI_WORLD=1", "TUI_DEVICES=3000")
	pulse, far, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pulse.Close()
	tm.Cmd.ExtraFiles = []*os.File{far}
	tm.Start() // and nobody listens
	_ = far.Close()
	if err := pulse.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// Two seconds and more of the feed's life, by when many times what the terminal
	// takes without a reader has been written.
	if _, err := io.ReadFull(pulse, make([]byte, 120)); err != nil {
		t.Fatalf("the feed stands still: %v", err)
	}
	_ = tm.Cmd.Process.Signal(syscall.SIGHUP)
	select {
	case <-tm.Exited:
	case <-time.After(10 * time.Second):
		t.Fatal("a hangup does not end a map whose terminal does not read")
	}
}
