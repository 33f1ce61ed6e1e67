//go:build unix

package tui

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// terminal is a terminal of our own with the map running in it, as a process: this
// test binary, see TestMain.
type terminal struct {
	t       *testing.T
	master  *os.File
	slave   *os.File
	cmd     *exec.Cmd
	before  *term.State
	exited  chan error
	drained chan struct{} // closed when the last byte was read

	mu     sync.Mutex
	screen *vt.Emulator
	raw    bytes.Buffer
}

func openTerminal(t *testing.T, cols, rows int, mode string, env ...string) *terminal {
	t.Helper()
	tm := prepare(t, cols, rows, mode, env...)
	tm.start()
	tm.listen()
	return tm
}

func prepare(t *testing.T, cols, rows int, mode string, env ...string) *terminal {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	if err := pty.Setsize(master, &pty.Winsize{Cols: uint16(cols), Rows: uint16(rows)}); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tm := &terminal{t: t, master: master, slave: slave, screen: vt.NewEmulator(cols, rows),
		exited: make(chan error, 1), drained: make(chan struct{})}
	if tm.before, err = term.GetState(slave.Fd()); err != nil {
		t.Fatal(err)
	}
	tm.cmd = exec.Command(self)
	// The whole environment is ours, nothing is inherited.
	tm.cmd.Env = append([]string{"TERM=xterm-256color", "LANG=C.UTF-8", "TUI_DRIVER=" + mode, "TUI_DEVICES=40"}, env...)
	tm.cmd.Stdin, tm.cmd.Stdout, tm.cmd.Stderr = slave, slave, slave
	tm.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return tm
}

func (tm *terminal) start() {
	tm.t.Helper()
	if err := tm.cmd.Start(); err != nil {
		tm.t.Fatal(err)
	}
	go func() { tm.exited <- tm.cmd.Wait() }()
	tm.t.Cleanup(tm.close)
}

func (tm *terminal) close() {
	_ = tm.cmd.Process.Kill() // in case the test failed half way
	_ = tm.slave.Close()
	_ = tm.master.Close()
}

// listen shows what the process writes, and sends what the terminal answers to the
// questions in it.
func (tm *terminal) listen() {
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(tm.master, tm.screen)
	}()
	go func() {
		defer close(tm.drained)
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
	}()
}

func (tm *terminal) text() string {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	return tm.screen.String()
}

// sees waits until the screen shows all of it.
func (tm *terminal) sees(want ...string) {
	tm.t.Helper()
	tm.eventually(fmt.Sprintf("show %q", want), func() bool {
		for _, w := range want {
			if !strings.Contains(tm.text(), w) {
				return false
			}
		}
		return true
	})
}

func (tm *terminal) loses(unwanted string) {
	tm.t.Helper()
	tm.eventually(fmt.Sprintf("stop showing %q", unwanted), func() bool { return !strings.Contains(tm.text(), unwanted) })
}

func (tm *terminal) eventually(what string, ok func() bool) {
	tm.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			tm.t.Fatalf("the screen does not %s:\n%s", what, tm.text())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (tm *terminal) send(keys string) {
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

// ends waits for the process and gives its error and everything it wrote.
func (tm *terminal) ends() (string, error) {
	tm.t.Helper()
	var err error
	select {
	case err = <-tm.exited:
	case <-time.After(15 * time.Second):
		tm.t.Fatalf("the map does not end:\n%s", tm.text())
	}
	after, stateErr := term.GetState(tm.slave.Fd())
	if stateErr != nil {
		tm.t.Fatal(stateErr)
	}
	if fmt.Sprint(*after) != fmt.Sprint(*tm.before) {
		tm.t.Errorf("the terminal's settings are not what they were")
	}
	_ = tm.slave.Close() // the last one: now the master reads to the end
	<-tm.drained
	tm.mu.Lock()
	defer tm.mu.Unlock()
	return tm.raw.String(), err
}

// restored holds what was written against what has to be taken back.
func restored(t *testing.T, raw string) {
	t.Helper()
	for on, off := range map[string]string{
		"\x1b[?1049h": "\x1b[?1049l", // the other screen
		"\x1b[?25l":   "\x1b[?25h",   // the cursor hidden
		"\x1b[?1002h": "\x1b[?1002l", // the mouse
		"\x1b[?1006h": "\x1b[?1006l",
		"\x1b[?1004h": "\x1b[?1004l", // focus reports
		"\x1b[?2004h": "\x1b[?2004l", // bracketed paste
	} {
		if at := strings.LastIndex(raw, on); at >= 0 && strings.LastIndex(raw, off) < at {
			t.Errorf("%q was never taken back", on)
		}
	}
	if !strings.Contains(raw, "\x1b[?1049h") {
		t.Error("the map never took the screen")
	}
}

func TestTerminalKeysMouseResizeAndQuit(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {120, 40}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			t.Parallel()
			tm := openTerminal(t, size[0], size[1], "run")
			tm.sees("40 dev", "● LIVE", "van-00", "Natural Earth", "hjkl pan")
			tm.send("?")
			tm.sees("this help")
			tm.send("x")
			tm.loses("this help")
			tm.send("n")
			tm.sees("moving, heard")
			tm.send("f")
			tm.sees("· following")
			tm.send("\x1b[C") // right
			tm.loses("· following")
			tm.send("0z")
			tm.sees("z11.0")
			tm.send(" ")
			tm.sees("PAUSED")
			tm.send(" ")
			tm.sees("LIVE")
			tm.send("0")
			tm.loses("z11.0")
			tm.send("\x1b[<64;20;8M") // the wheel, up
			tm.send("\x1b[<64;20;8M")
			tm.send("\x1b[<0;20;8M\x1b[<32;25;10M\x1b[<0;25;10m") // press, drag, release
			tm.send("\t")
			tm.sees("km/h", "batt")
			tm.send("jjG")
			tm.send("\t")

			if size[0] == 80 {
				tm.resize(120, 40)
				tm.sees("Devices 40 by state", "╰──")
				tm.resize(58, 12)
				tm.loses("╰──")
				tm.sees("name", "batt")
			} else {
				tm.resize(80, 24)
				tm.loses("Devices 40 by")
			}
			tm.send("q")
			raw, err := tm.ends()
			if err != nil {
				t.Errorf("ended with %v", err)
			}
			restored(t, raw)
		})
	}
}

func TestTerminalIsGivenBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode string
		end  func(tm *terminal)
		code int
		says string
	}{
		{"ctrl-c", "run", func(tm *terminal) { tm.send("\x03") }, 0, ""},
		{"sigterm", "run", func(tm *terminal) { _ = tm.cmd.Process.Signal(syscall.SIGTERM) }, 0, ""},
		{"sighup", "run", func(tm *terminal) { _ = tm.cmd.Process.Signal(syscall.SIGHUP) }, 0, ""},
		{"sigint", "run", func(tm *terminal) { _ = tm.cmd.Process.Signal(syscall.SIGINT) }, 0, ""},
		{"feed fails", "fail later", func(*terminal) {}, 1, "no such server"},
		{"feed panics", "panic later", func(*terminal) {}, 1, "panic: on purpose"},
		{"screen panics", "run", func(tm *terminal) { tm.send("P") }, 1, "on purpose"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tm := openTerminal(t, 80, 24, tt.mode)
			if tt.mode == "run" {
				tm.sees("40 dev")
			}
			tt.end(tm)
			raw, err := tm.ends()
			code := 0
			if exit, ok := err.(*exec.ExitError); ok {
				code = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if code != tt.code {
				t.Errorf("exit code %d, want %d\n%s", code, tt.code, raw[max(0, len(raw)-4000):])
			}
			restored(t, raw)
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
			tm := openTerminal(t, 80, 24, "run", env)
			tm.sees("link: live.", "summary: 40 devices")
			_ = tm.cmd.Process.Signal(syscall.SIGKILL)
			raw, _ := tm.ends()
			if strings.ContainsRune(raw, '\x1b') {
				t.Errorf("an escape sequence on a dumb terminal: %q", raw)
			}
		})
	}
}

func TestColoursByEnvironment(t *testing.T) {
	for _, tt := range []struct {
		env            string
		colour, braile bool
	}{
		{"TERM=xterm-256color", true, true},
		{"NO_COLOR=1", false, true},
		{"TERM=linux", true, false},
		{"LC_ALL=C", true, false},
	} {
		t.Run(tt.env, func(t *testing.T) {
			t.Parallel()
			tm := openTerminal(t, 80, 24, "run", tt.env)
			tm.sees("40 dev")
			tm.send("q")
			raw, err := tm.ends()
			if err != nil {
				t.Error(err)
			}
			if got := strings.Contains(raw, "\x1b[36m") || strings.Contains(raw, ";36m"); got != tt.colour {
				t.Errorf("colours: %v, want %v", got, tt.colour)
			}
			if got := strings.ContainsFunc(raw, func(r rune) bool { return r > 0x2800 && r <= 0x28ff }); got != tt.braile {
				t.Errorf("braille: %v, want %v", got, tt.braile)
			}
			restored(t, raw)
		})
	}
}

// A terminal that does not read: the feed goes on, and a hangup still ends the map.
func TestHungTerminalStopsNeitherFeedNorHangup(t *testing.T) {
	tm := prepare(t, 200, 60, "heartbeat", "TUI_WORLD=1", "TUI_DEVICES=3000")
	pulse, far, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pulse.Close()
	tm.cmd.ExtraFiles = []*os.File{far}
	tm.start() // and nobody listens
	_ = far.Close()
	if err := pulse.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// Two seconds and more of the feed's life, by when many times what the terminal
	// takes without a reader has been written.
	if _, err := io.ReadFull(pulse, make([]byte, 120)); err != nil {
		t.Fatalf("the feed stands still: %v", err)
	}
	_ = tm.cmd.Process.Signal(syscall.SIGHUP)
	select {
	case <-tm.exited:
	case <-time.After(10 * time.Second):
		t.Fatal("a hangup does not end a map whose terminal does not read")
	}
}

// The map in tmux: a terminal that shares no code with ours.
func TestTmux(t *testing.T) {
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("tmux is not installed (apt-get install tmux): the map was shown by one terminal emulator only")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	socket := fmt.Sprintf("%s/tmux", t.TempDir())
	run := func(args ...string) string {
		out, err := exec.Command(tmux, append([]string{"-u", "-f", "/dev/null", "-S", socket}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("new-session", "-d", "-x", "80", "-y", "24", "env", "-i", "TERM=tmux-256color", "LANG=C.UTF-8", "TUI_DRIVER=run", "TUI_DEVICES=40",
		"sh", "-c", "echo before; "+self+"; echo after $?; exec cat")
	t.Cleanup(func() { _ = exec.Command(tmux, "-S", socket, "kill-server").Run() })
	sees := func(want ...string) {
		t.Helper()
		deadline := time.Now().Add(15 * time.Second)
		for {
			got := run("capture-pane", "-p")
			missing := ""
			for _, w := range want {
				if !strings.Contains(got, w) {
					missing = w
				}
			}
			if missing == "" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("tmux does not show %q:\n%s", missing, got)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	sees("40 dev", "● LIVE", "Natural Earth · GeoNames", "van-00")
	run("send-keys", "n")
	sees("moving, heard")
	run("send-keys", "?")
	sees("this help")
	run("send-keys", "x")
	run("resize-window", "-x", "120", "-y", "40")
	sees("Devices 40 by state", "╭─ Map  z")
	run("send-keys", "q")
	sees("before", "after 0")
	if got := run("display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}"); strings.TrimSpace(got) != "0 1 0" {
		t.Errorf("alternate screen, cursor, mouse after quitting: %q, want 0 1 0", got)
	}
}
