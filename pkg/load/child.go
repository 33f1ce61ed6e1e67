package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Seats say which processor a server and its client run on, so that neither takes the
// other's time. The zero Seats pin nobody.
type Seats struct {
	Server, Client int
	Pinned         bool
}

// FindSeats takes the first two processors that this process may use. Without two of
// them, or without taskset, nobody is pinned.
func FindSeats() Seats {
	cpus := Processors()
	if _, err := exec.LookPath("taskset"); err != nil || len(cpus) < 2 {
		return Seats{}
	}
	return Seats{Server: cpus[0], Client: cpus[1], Pinned: true}
}

func (s Seats) String() string {
	if !s.Pinned {
		return "server and client on any processor"
	}
	return fmt.Sprintf("server on processor %d, client on processor %d", s.Server, s.Client)
}

// Sit puts this process on the client's seat: every thread that it has, and with them
// those that it will have. It runs one thread of Go code from then on.
func (s Seats) Sit(ctx context.Context) error {
	if !s.Pinned {
		return nil
	}
	out, err := exec.CommandContext(ctx, "taskset", "-a", "-c", "-p", strconv.Itoa(s.Client), strconv.Itoa(os.Getpid())).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pin this process: %w: %s", err, strings.TrimSpace(string(out)))
	}
	runtime.GOMAXPROCS(1)
	return nil
}

// Command makes a command that runs on a processor of its own, with one thread of Go
// code if it is Go. The process is the program itself: taskset becomes it.
func (s Seats) Command(ctx context.Context, cpu int, name string, args ...string) *exec.Cmd {
	if s.Pinned {
		name, args = "taskset", append([]string{"-c", strconv.Itoa(cpu), name}, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	apart(cmd)
	return cmd
}

// Child is a server that this process started, and that ends with Stop.
type Child struct {
	Process
	Ready string // the line that said so

	name  string
	cmd   *exec.Cmd
	said  *lastWords
	drain sync.WaitGroup
}

// StartChild starts a server and waits until a line of its output is one that ready
// agrees to. Its further output is thrown away. ctx bounds the start, not the life.
func StartChild(ctx context.Context, cmd *exec.Cmd, name string, ready func(line string) bool) (*Child, error) {
	c := &Child{name: name, cmd: cmd, said: &lastWords{}}
	cmd.Stderr = c.said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c.PID = cmd.Process.Pid
	lines, enough := make(chan string), make(chan struct{})
	c.drain.Go(func() { pass(out, lines, enough) }) // ends with the child's output
	err = c.await(ctx, lines, ready)
	close(enough)
	if err != nil {
		_ = cmd.Process.Kill()
		ended := c.end(nil)
		if ctx.Err() != nil {
			ended = nil // that was us
		}
		return nil, fmt.Errorf("start %s: %w", name, errors.Join(err, ended, c.said.err()))
	}
	return c, nil
}

var errSilent = errors.New("it ended before it was ready")

func (c *Child) await(ctx context.Context, lines <-chan string, ready func(string) bool) error {
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				return errSilent
			}
			if ready(l) {
				c.Ready = l
				return nil
			}
			c.said.add(l)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pass hands on the lines of a child's output until there were enough, and reads on,
// so that the child never waits for a reader.
func pass(out io.Reader, lines chan<- string, enough <-chan struct{}) {
	defer close(lines)
	for in := bufio.NewReader(out); ; {
		l, err := in.ReadString('\n')
		if err != nil {
			return
		}
		select {
		case lines <- strings.TrimSpace(l):
		case <-enough:
			_, _ = io.Copy(io.Discard, in)
			return
		}
	}
}

// LastWords is the end of what the child said on its standard error.
func (c *Child) LastWords() string {
	if c == nil || c.said == nil {
		return ""
	}
	if err := c.said.err(); err != nil {
		return err.Error()
	}
	return ""
}

// grace is how long a child may take to end by itself.
const grace = 10 * time.Second

// Stop asks the child to end, by its id, and waits for it. It may be called again.
func (c *Child) Stop() error {
	if c == nil || c.cmd == nil {
		return nil
	}
	return c.end(syscall.SIGTERM)
}

func (c *Child) end(sig os.Signal) error {
	cmd := c.cmd
	c.cmd = nil
	if cmd == nil {
		return nil
	}
	if sig != nil {
		_ = cmd.Process.Signal(sig)
	}
	kill := time.AfterFunc(grace, func() { _ = cmd.Process.Kill() })
	c.drain.Wait() // the output has to be read before Wait closes it
	err := cmd.Wait()
	killed := !kill.Stop()
	var exit *exec.ExitError
	switch {
	case killed:
		return fmt.Errorf("%s did not end and was killed", c.name)
	case sig != nil && errors.As(err, &exit):
		return nil // it ended as it was told to
	case err != nil:
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// lastWords keeps the end of what a child said, for when it fails.
type lastWords struct {
	mu   sync.Mutex
	text []byte
}

const mostWords = 2 << 10

func (w *lastWords) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, b...)
	if over := len(w.text) - mostWords; over > 0 {
		w.text = append(w.text[:0], w.text[over:]...)
	}
	return len(b), nil
}

func (w *lastWords) add(line string) { _, _ = w.Write([]byte(line + "\n")) }

func (w *lastWords) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text := strings.TrimSpace(string(w.text)); text != "" {
		return errors.New(text)
	}
	return nil
}
