//go:build unix

package tuitest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// patience bounds everything that tests wait for: a machine may be busy.
const patience = 30 * time.Second

// Terminal is a terminal of our own with a program running in it, as a process: this
// test binary, see Main.
type Terminal struct {
	t       testing.TB
	Master  *os.File
	Slave   *os.File
	Cmd     *exec.Cmd
	before  *term.State
	Exited  chan error    // how the process ended
	drained chan struct{} // closed when the last byte was read

	mu     sync.Mutex
	screen *vt.Emulator
	told   Told
	raw    bytes.Buffer
	text   string // of the screen, when raw was as long as
	textAt int
}

// Open starts the program on a terminal and shows what it writes. mode is what Main is
// told; env is added to an environment that inherits nothing.
func Open(t testing.TB, cols, rows int, mode string, env ...string) *Terminal {
	t.Helper()
	tm := Prepare(t, cols, rows, mode, env...)
	tm.Start()
	tm.Listen()
	return tm
}

// Prepare is Open without starting anything.
func Prepare(t testing.TB, cols, rows int, mode string, env ...string) *Terminal {
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
	tm := &Terminal{t: t, Master: master, Slave: slave, screen: vt.NewEmulator(cols, rows),
		Exited: make(chan error, 1), drained: make(chan struct{})}
	if tm.before, err = term.GetState(slave.Fd()); err != nil {
		t.Fatal(err)
	}
	tm.screen.SetCallbacks(tm.told.callbacks())
	tm.Cmd = exec.Command(self)
	// The whole environment is ours, nothing is inherited.
	tm.Cmd.Env = append([]string{"TERM=xterm-256color", "LANG=C.UTF-8", "TUI_DRIVER=" + mode, "TUI_DEVICES=40"}, env...)
	tm.Cmd.Stdin, tm.Cmd.Stdout, tm.Cmd.Stderr = slave, slave, slave
	tm.Cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return tm
}

// Start starts the program.
func (tm *Terminal) Start() {
	tm.t.Helper()
	if err := tm.Cmd.Start(); err != nil {
		tm.t.Fatal(err)
	}
	go func() { tm.Exited <- tm.Cmd.Wait() }()
	tm.t.Cleanup(tm.close)
}

func (tm *Terminal) close() {
	_ = tm.Cmd.Process.Kill() // in case the test failed half way
	_ = tm.Slave.Close()
	_ = tm.Master.Close()
}

// Listen shows what the process writes, and sends what the terminal answers to the
// questions in it.
func (tm *Terminal) Listen() {
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(tm.Master, tm.screen)
	}()
	go func() {
		defer close(tm.drained)
		buf := make([]byte, 32<<10)
		for {
			n, err := tm.Master.Read(buf)
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

// Text is what the screen shows.
func (tm *Terminal) Text() string {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	if tm.textAt != tm.raw.Len() {
		tm.text, tm.textAt = tm.screen.String(), tm.raw.Len()
	}
	return tm.text
}

// Raw is all that was written so far.
func (tm *Terminal) Raw() string {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	return tm.raw.String()
}

// Told is what the terminal was told so far besides what to show.
func (tm *Terminal) Told() Told {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	told := tm.told
	told.Titles, told.modes = slices.Clone(told.Titles), maps.Clone(told.modes)
	told.Visible = tm.screen.String()
	return told
}

// Column is what the cells of a column show, from the top.
func (tm *Terminal) Column(x int) []string {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	var cells []string
	for y := range tm.screen.Height() {
		cells = append(cells, tm.screen.CellAt(x, y).String())
	}
	return cells
}

// Sees waits until the screen shows all of it.
func (tm *Terminal) Sees(want ...string) {
	tm.t.Helper()
	tm.Eventually(fmt.Sprintf("show %q", want), func() bool {
		for _, w := range want {
			if !strings.Contains(tm.Text(), w) {
				return false
			}
		}
		return true
	})
}

// Loses waits until the screen shows it no more.
func (tm *Terminal) Loses(unwanted string) {
	tm.t.Helper()
	tm.Eventually(fmt.Sprintf("stop showing %q", unwanted), func() bool { return !strings.Contains(tm.Text(), unwanted) })
}

// Eventually waits for something to become true.
func (tm *Terminal) Eventually(what string, ok func() bool) {
	tm.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			tm.t.Fatalf("the screen does not %s:\n%s", what, tm.Text())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Send types.
func (tm *Terminal) Send(keys string) {
	tm.t.Helper()
	if _, err := tm.Master.WriteString(keys); err != nil {
		tm.t.Fatal(err)
	}
}

// Resize changes the size of the terminal.
func (tm *Terminal) Resize(cols, rows int) {
	tm.t.Helper()
	tm.mu.Lock()
	tm.screen.Resize(cols, rows)
	tm.textAt = -1
	tm.mu.Unlock()
	if err := pty.Setsize(tm.Master, &pty.Winsize{Cols: uint16(cols), Rows: uint16(rows)}); err != nil {
		tm.t.Fatal(err)
	}
}

// Ends waits for the process and gives its error and everything it wrote.
func (tm *Terminal) Ends() (string, error) {
	tm.t.Helper()
	var err error
	select {
	case err = <-tm.Exited:
	case <-time.After(patience):
		tm.t.Fatalf("the map does not end:\n%s", tm.Text())
	}
	after, stateErr := term.GetState(tm.Slave.Fd())
	if stateErr != nil {
		tm.t.Fatal(stateErr)
	}
	if fmt.Sprint(*after) != fmt.Sprint(*tm.before) {
		tm.t.Errorf("the terminal's settings are not what they were")
	}
	_ = tm.Slave.Close() // the last one: now the master reads to the end
	<-tm.drained
	tm.mu.Lock()
	defer tm.mu.Unlock()
	return tm.raw.String(), err
}
