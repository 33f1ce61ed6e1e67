//go:build unix

package tty

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
)

// TestMain lets the tests run this binary as a page on a terminal of theirs.
func TestMain(m *testing.M) { tuitest.Main(m, drive) }

// drive shows a board. "busy" fills it with something else at every frame, "tell" tells
// of keys on descriptor 3.
func drive(mode string) error {
	c := Config{StateDir: os.Getenv("TTY_STATE"), Link: &Pace{}}
	if mode == "card" {
		return Card(os.Stdout, c)
	}
	b := &board{busy: strings.Contains(mode, "busy"), note: c.Link.Note}
	if strings.Contains(mode, "tell") {
		b.tell = os.NewFile(3, "tell")
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	fed := make(chan error, 1)
	b.feed = func() {
		go func() {
			fed <- c.Guard("feed", func() error { panic("a feed on purpose") })
			leave()
		}()
	}
	err := Run(ctx, b, c)
	select {
	case err := <-fed:
		return err
	default:
		return err
	}
}

// board is a page that counts what happens to it.
type board struct {
	w, h                int
	keys, pasted        int
	last                string
	dirty, busy, breaks bool
	wants               Wants
	note                func() string
	tell                *os.File
	feed                func()
	c                   canvas.Canvas
	rng                 *rand.Rand
}

func (b *board) Resize(w, h int) {
	b.w, b.h, b.dirty = w, h, true
}

func (b *board) Handle(e Event) {
	b.dirty = true
	if b.tell != nil {
		_, _ = b.tell.WriteString(".")
	}
	switch e.Kind {
	case Press:
		b.keys++
		b.last = e.Key
		b.press(e.Key)
	case Paste:
		b.pasted += len(e.Text)
	case Resumed:
		b.wants.Redraw = true
		b.last = "resumed"
	}
}

func (b *board) press(key string) {
	switch key {
	case "q":
		b.wants.Quit = true
	case "ctrl+z":
		b.wants.Suspend = true
	case "y":
		b.wants.Copy = "48.1, 11.6"
	case "H":
		panic("a handler on purpose")
	case "D":
		b.breaks = true
	case "F":
		b.feed()
	}
}

func (b *board) Due(time.Time) bool { return b.dirty || b.busy }

func (b *board) Draw(time.Time) *canvas.Canvas {
	if b.breaks {
		panic("a frame on purpose")
	}
	b.dirty = false
	b.c.Resize(b.w, b.h)
	if b.busy {
		b.scatter()
	}
	for y, line := range []string{
		fmt.Sprintf("size %dx%d, %d keys, last %s.", b.w, b.h, b.keys, b.last),
		fmt.Sprintf("pasted %d.", b.pasted),
		fmt.Sprintf("link %s.", b.note()),
		fmt.Sprintf("round %s.", os.Getenv("TTY_ROUND")),
	} {
		b.c.Text(0, y, line+strings.Repeat(" ", 20), look.Text, look.OnTop)
	}
	return &b.c
}

// scatter fills the board with dots that were elsewhere in the frame before.
func (b *board) scatter() {
	if b.rng == nil {
		b.rng = rand.New(rand.NewPCG(1, 1))
	}
	for range b.w * b.h {
		b.c.Dot(b.rng.IntN(2*b.w), b.rng.IntN(4*b.h), look.Text, look.OnDevice)
	}
}

func (b *board) Look() (*canvas.Theme, canvas.Glyphs) {
	return (&look.Theme{Name: "plain"}).For(look.NoStyle), canvas.Braille
}

func (b *board) Wants() Wants {
	w := b.wants
	b.wants = Wants{Mouse: true}
	w.Mouse = true
	return w
}

// ends quits and looks at what is left.
func ends(t *testing.T, tm *tuitest.Terminal, code int) string {
	t.Helper()
	raw, err := tm.Ends()
	got := 0
	if exit, ok := err.(*exec.ExitError); ok {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != code {
		t.Errorf("exit code %d, want %d\n%s", got, code, raw[max(0, len(raw)-2000):])
	}
	tuitest.Restored(t, raw)
	if strings.LastIndex(raw, keepOrder) > strings.LastIndex(raw, giveOrder) {
		t.Error("the order of letters was not given back")
	}
	return raw
}

func TestPageIsShownAndTheTerminalGivenBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(tm *tuitest.Terminal)
	}{
		{"key", func(tm *tuitest.Terminal) { tm.Send("q") }},
		{"sigterm", func(tm *tuitest.Terminal) { _ = tm.Cmd.Process.Signal(syscall.SIGTERM) }},
		{"sighup", func(tm *tuitest.Terminal) { _ = tm.Cmd.Process.Signal(syscall.SIGHUP) }},
		{"sigint", func(tm *tuitest.Terminal) { _ = tm.Cmd.Process.Signal(syscall.SIGINT) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tm := tuitest.Open(t, 80, 24, "run", "SSH_TTY=/dev/pts/1")
			tm.Sees("size 80x24, 0 keys")
			tm.Send("xy\x1b[A")
			tm.Sees("3 keys, last up.")
			tt.end(tm)
			raw := ends(t, tm, 0)
			if !strings.Contains(raw, "\x1b]52;c;NDguMSwgMTEuNg==\x07") {
				t.Error("what was to be copied did not come out")
			}
			if !strings.Contains(raw, question) {
				t.Error("over ssh the terminal was not asked")
			}
		})
	}
}

func TestPanicLeavesAFileAndTheTerminal(t *testing.T) {
	for _, tt := range []struct{ key, says string }{
		{"H", "map: panic: a handler on purpose"}, {"D", "map: panic: a frame on purpose"}, {"F", "feed: panic: a feed on purpose"},
	} {
		t.Run(tt.key, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "tracker")
			tm := tuitest.Open(t, 80, 24, "run", "TTY_STATE="+dir)
			tm.Sees("size 80x24")
			tm.Send("\x1b[200~secret\x1b[201~")
			tm.Sees("pasted 6.")
			tm.Send(tt.key)
			raw := ends(t, tm, 1)
			files, err := filepath.Glob(filepath.Join(dir, "panic-*.txt"))
			if err != nil || len(files) != 1 {
				t.Fatalf("%v, %v", files, err)
			}
			after := raw[strings.LastIndex(raw, "\x1b[?1049l"):]
			if !strings.Contains(after, tt.says+"; the stack is in "+files[0]) || strings.Contains(raw, "goroutine ") {
				t.Errorf("after the screen was given back: %q", after)
			}
			b, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{tt.says, "terminal  80x24", "TERM      xterm-256color", "pty_test.go"} {
				if !bytes.Contains(b, []byte(want)) {
					t.Errorf("the file does not have %q:\n%s", want, b)
				}
			}
			if bytes.Contains(b, []byte("secret")) {
				t.Error("the file has what was pasted")
			}
		})
	}
}

func TestStormOfSizesEndsInTheLastOne(t *testing.T) {
	tm := tuitest.Open(t, 80, 24, "busy")
	tm.Sees("size 80x24")
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for i := range 200 {
		<-every.C
		tm.Resize(60+i%100, 20+i%30)
	}
	tm.Resize(90, 30)
	tm.Sees("size 90x30,")
	tm.Send("q")
	ends(t, tm, 0)
}

// The process group of this terminal has nobody who could continue it, so the system
// does not stop it; what a shell would do is played. The size stays as it is: for one
// that changes just then, Bubble Tea writes a field of its own from two goroutines, always
// with the same value.
func TestSuspendedPageGivesTheTerminalBackAndComesAgain(t *testing.T) {
	tm := tuitest.Open(t, 80, 24, "run", "SSH_TTY=/dev/pts/1")
	tm.Sees("size 80x24")
	tm.Send("\x1a")
	tm.Loses("size 80x24")
	tm.Eventually("come back", func() bool {
		_ = tm.Cmd.Process.Signal(syscall.SIGCONT) // it may not listen yet
		return strings.Contains(tm.Text(), "size 80x24, 1 keys, last resumed.")
	})
	tm.Send("q")
	raw := ends(t, tm, 0)
	if n := strings.Count(raw, "\x1b[?1049l"); n < 2 {
		t.Errorf("the screen was given back %d times, want twice", n)
	}
	if n := strings.Count(raw, giveOrder); n != 2 {
		t.Errorf("the order of letters was given back %d times, want 2", n)
	}
}

// telling prepares a terminal whose page tells of keys on a pipe.
func telling(t *testing.T, cols, rows int, mode string, env ...string) (*tuitest.Terminal, *os.File) {
	t.Helper()
	tm := tuitest.Prepare(t, cols, rows, mode, env...)
	near, far, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	t.Cleanup(func() { _ = far.Close() })
	tm.Cmd.ExtraFiles = []*os.File{far}
	if err := near.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return tm, near
}

// A terminal that reads nothing: keys are handled, and a hangup ends the page.
func TestHungTerminalStopsNeitherKeysNorHangup(t *testing.T) {
	tm, keys := telling(t, 200, 60, "busy tell")
	before := settings(t, tm)
	tm.Start()
	// Once the terminal is raw no key is lost.
	tm.Eventually("be raw", func() bool { return settings(t, tm) != before })
	tm.Send(strings.Repeat("x", 300))
	if _, err := io.ReadFull(keys, make([]byte, 300)); err != nil {
		t.Fatalf("keys are not handled: %v", err)
	}
	_ = tm.Cmd.Process.Signal(syscall.SIGHUP)
	select {
	case <-tm.Exited:
	case <-time.After(15 * time.Second):
		t.Fatal("a hangup does not end a page whose terminal does not read")
	}
	if settings(t, tm) != before {
		t.Error("the terminal is still raw")
	}
}

// slow is a reader of a terminal that takes 20 kB a second, until it is told to hurry.
type slow struct {
	hurry chan struct{}
	done  chan struct{}

	mu  sync.Mutex
	raw bytes.Buffer
}

func readSlowly(tm *tuitest.Terminal) *slow {
	s := &slow{hurry: make(chan struct{}), done: make(chan struct{})}
	go func() { // ends with the terminal
		defer close(s.done)
		every := time.NewTicker(100 * time.Millisecond)
		defer every.Stop()
		buf := make([]byte, 2<<10)
		for {
			n, err := tm.Master.Read(buf)
			s.mu.Lock()
			s.raw.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
			select {
			case <-every.C:
			case <-s.hurry:
			}
		}
	}()
	return s
}

func (s *slow) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.String()
}

func TestSlowTerminalGetsFewerFramesAndKeysStillWork(t *testing.T) {
	tm, keys := telling(t, 120, 40, "busy tell")
	tm.Start()
	s := readSlowly(tm)
	tm.Eventually("tell that the link is slow", func() bool { return strings.Contains(s.text(), "fps, slow link") })
	tm.Send("xxxxx")
	if _, err := io.ReadFull(keys, make([]byte, 5)); err != nil {
		t.Fatalf("keys are not handled: %v", err)
	}
	tm.Send("q")
	close(s.hurry)
	select {
	case err := <-tm.Exited:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("it does not end")
	}
	_ = tm.Slave.Close()
	<-s.done
	tuitest.Restored(t, s.text())
}

func TestAMegabyteIsPasted(t *testing.T) {
	const megabyte = 1 << 20
	tm := tuitest.Open(t, 80, 24, "run")
	tm.Sees("size 80x24")
	tm.Send("\x1b[200~" + strings.Repeat("paste me\n", megabyte/9) + strings.Repeat("x", megabyte%9) + "\x1b[201~")
	tm.Sees(fmt.Sprintf("pasted %d.", megabyte), " 0 keys")
	tm.Send("z")
	tm.Sees("1 keys, last z.")
	tm.Send("q")
	ends(t, tm, 0)
}

// A console knows no brackets: what is pasted there is as many keys.
func TestAQuarterOfAMegabyteIsTyped(t *testing.T) {
	const many = 1 << 18
	tm := tuitest.Open(t, 80, 24, "run")
	tm.Sees("size 80x24")
	tm.Send(strings.Repeat("abcdefgh", many/8))
	tm.Sees(fmt.Sprintf("%d keys, last h.", many))
	tm.Send("q")
	ends(t, tm, 0)
}

func TestCardOnATerminal(t *testing.T) {
	tm := tuitest.Open(t, 100, 60, "card")
	tm.Sees("What to set")
	raw, err := tm.Ends() // which holds that the settings are what they were
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"TERM=xterm-256color", "Widths, as the terminal draws them", "● 1  ◆ 1", "chosen", "contrast"} {
		if !strings.Contains(stripped(raw), want) {
			t.Errorf("the card does not have %q:\n%s", want, raw)
		}
	}
	if strings.Contains(raw, "\x1b[?1049h") {
		t.Error("it takes the screen")
	}
}

// tmux is a terminal that shares no code with ours.
type tmux struct {
	t    *testing.T
	path string
	sock string
}

func openTmux(t *testing.T, command string) *tmux {
	t.Helper()
	path, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("tmux is not installed (apt-get install tmux): one terminal emulator only was asked")
	}
	m := &tmux{t, path, filepath.Join(t.TempDir(), "tmux")}
	m.run("new-session", "-d", "-x", "80", "-y", "24", "env", "-i", "PATH=/usr/bin:/bin", "PS1=ready> ", "TERM=tmux-256color", "LANG=C.UTF-8",
		"SSH_TTY=/dev/pts/1", "TUI_DRIVER=run", "sh", "-c", command)
	t.Cleanup(func() { _ = exec.Command(path, "-S", m.sock, "kill-server").Run() })
	return m
}

func (m *tmux) run(args ...string) string {
	m.t.Helper()
	out, err := exec.Command(m.path, append([]string{"-u", "-f", "/dev/null", "-S", m.sock}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (m *tmux) sees(want string) string {
	m.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		got := m.run("capture-pane", "-p")
		if strings.Contains(got, want) {
			return got
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("tmux does not show %q:\n%s", want, got)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Whatever the terminal was asked, it has answered before the shell reads again.
func TestTmuxLeavesNoAnswersBehind(t *testing.T) {
	m := openTmux(t, "for i in 1 2 3 4; do TTY_ROUND=$i "+self(t)+"; echo left $i $?; done; echo done; exec cat -v")
	for i := range 4 {
		m.sees(fmt.Sprintf("round %d.", i+1))
		m.run("send-keys", "x", "x", "q")
	}
	m.sees("done")
	m.run("send-keys", "over", "Enter")
	got := m.sees("over\nover")
	if want := "left 1 0\nleft 2 0\nleft 3 0\nleft 4 0\ndone\nover\nover\n"; strings.TrimRight(got, "\n")+"\n" != want {
		t.Errorf("on the screen is\n%q\nwant\n%q", got, want)
	}
	if got := m.run("display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}"); strings.TrimSpace(got) != "0 1 0" {
		t.Errorf("alternate screen, cursor, mouse: %q, want 0 1 0", got)
	}
}

// A shell with job control stops the page and lets it go on.
func TestTmuxStopsAndContinues(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed: job control was not tried")
	}
	m := openTmux(t, "exec "+bash+" --norc --noprofile -i")
	m.sees("ready>")
	m.run("send-keys", self(t), "Enter")
	m.sees("size 80x24, 0 keys")
	m.run("send-keys", "C-z")
	m.sees("Stopped")
	m.run("send-keys", "echo in the shell", "Enter")
	m.sees("\nin the shell")
	m.run("send-keys", "fg", "Enter")
	m.sees("size 80x24, 1 keys, last resumed.")
	m.run("send-keys", "q")
	m.sees(self(t) + "\nready>") // which fg has written
	m.run("send-keys", "echo over $?", "Enter")
	m.sees("\nover 0")
}

// settings are those of a terminal, to be compared.
func settings(t *testing.T, tm *tuitest.Terminal) string {
	t.Helper()
	state, err := term.GetState(tm.Slave.Fd())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(*state)
}
