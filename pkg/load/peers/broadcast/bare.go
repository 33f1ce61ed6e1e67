package broadcast

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"tracker/pkg/load"
)

// Bare is the physical limit: a process that does nothing but write the bytes that it is
// given to each of its connections, one write(2) each, in one goroutine. The bytes are
// those of a frame that came from our server in the same measurement, with other numbers
// in them.
type Bare struct {
	*load.Child
	addr  string
	stdin io.Closer
	frame func(fixes int) []byte
}

// StartBare starts self, which has to call ServeBare when it is run with args. frame
// tells a frame of so many fixes.
func StartBare(ctx context.Context, seats load.Seats, frame func(fixes int) []byte, self string, args ...string) (*Bare, error) {
	cmd := seats.Command(context.WithoutCancel(ctx), seats.Server, self, args...) // Close ends it
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b := &Bare{stdin: stdin, frame: frame}
	if b.Child, err = load.StartChild(ready, cmd, "the bare loop", func(l string) bool { return strings.HasPrefix(l, "ready ") }); err != nil {
		return nil, err
	}
	b.addr = strings.TrimPrefix(b.Ready, "ready ")
	return b, nil
}

func (b *Bare) Name() string           { return "bare" }
func (b *Bare) Process() *load.Process { return &b.Child.Process }

func (b *Bare) Facts() Facts {
	return Facts{Settings: []string{"GOMAXPROCS=1", "write(2) in a loop, non-blocking", "bytes of a frame of trackerd"}, Promise: "none: the bytes are ready, nobody is asked"}
}

func (b *Bare) Close() error { return errors.Join(b.stdin.Close(), b.Stop()) }

func (b *Bare) Dial(ctx context.Context) (net.Conn, error) { return dialTCP(ctx, b.addr) }

// What a connection says that it is, and what it hears when it is that.
const (
	bareViewer    = 'v'
	barePublisher = 'p'
	bareReady     = '+'
)

// say tells the loop what the connection is, and of which run.
func (b *Bare) say(ctx context.Context, l *Line, what byte) error {
	defer l.until(ctx)()
	if _, err := l.Conn.Write(binary.LittleEndian.AppendUint64([]byte{what}, l.Salt)); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(l.Conn, answer[:]); err != nil || answer[0] != bareReady {
		return fmt.Errorf("the bare loop answered %q: %w", answer, err)
	}
	return nil
}

func (b *Bare) View(ctx context.Context, l *Line) error {
	l.Ear = &frameEar{window: 1 << 62, ready: true} // nobody waits for credit
	return b.say(ctx, l, bareViewer)
}

func (b *Bare) Publish(ctx context.Context, l *Line, updates int) (Mouth, error) {
	l.Ear = &frameEar{}
	m := &triggers{ready: b.frame(updates), salt: int32(l.Salt)}
	if err := patch(m.ready, 0, updates, m.salt); err != nil {
		return nil, fmt.Errorf("there is no frame of %d fixes to write: %w", updates, err)
	}
	return m, b.say(ctx, l, barePublisher)
}

// triggers makes bursts for the bare loop: the length of a frame, and the frame.
type triggers struct {
	ready []byte
	salt  int32
}

func (m *triggers) Append(dst []byte, from uint64, n int, _ time.Time) []byte {
	if patch(m.ready, from, n, m.salt) != nil {
		return dst // its deliveries will be missed
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.ready)))
	return append(dst, m.ready...)
}

// mostBare is how long a frame may be.
const mostBare = 1 << 20

// ServeBare is the process that is measured: it listens on a free port of loopback, says
// where on out, and serves until in ends.
func ServeBare(in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	b := &bareLoop{runs: map[uint64]*bareRun{}}
	wg.Go(func() { // ends with in, and so does everything
		_, _ = io.Copy(io.Discard, in)
		_ = l.Close()
		b.end()
	})
	if _, err := fmt.Fprintf(out, "ready %s\n", l.Addr()); err != nil {
		return err
	}
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		wg.Go(func() { b.serve(nc) })
	}
}

// bareLoop is the runs that have connections.
type bareLoop struct {
	mu    sync.Mutex
	runs  map[uint64]*bareRun
	ended bool
}

// bareRun is the viewers of a run, and its publisher when it came.
type bareRun struct {
	viewers   []*bareWriter
	publisher net.Conn
}

// serve finds out what a connection is. A viewer's goroutine ends then: nobody reads from
// it; a publisher's is the loop.
func (b *bareLoop) serve(nc net.Conn) {
	var hello [9]byte
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(nc, hello[:]); err != nil {
		_ = nc.Close()
		return
	}
	_ = nc.SetReadDeadline(time.Time{})
	run := binary.LittleEndian.Uint64(hello[1:])
	publishes := hello[0] == barePublisher
	if !b.join(run, nc, publishes) {
		_ = nc.Close()
		return
	}
	if _, err := nc.Write([]byte{bareReady}); publishes {
		if err == nil {
			b.loop(nc, run)
		}
		b.clear(run)
	}
}

func (b *bareLoop) join(run uint64, nc net.Conn, publishes bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.runs[run]
	if r == nil {
		r = &bareRun{}
		b.runs[run] = r
	}
	switch {
	case b.ended, publishes && r.publisher != nil:
		return false
	case publishes:
		r.publisher = nc
	default:
		r.viewers = append(r.viewers, newBareWriter(nc))
	}
	return true
}

// loop writes what the publisher sends to all viewers, until it leaves.
func (b *bareLoop) loop(nc net.Conn, run uint64) {
	b.mu.Lock()
	viewers := b.runs[run].viewers // who comes later is of no run
	b.mu.Unlock()
	in := bufio.NewReaderSize(nc, 64<<10)
	var frame []byte
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		n := int(binary.LittleEndian.Uint32(head[:]))
		if n > mostBare {
			return
		}
		if cap(frame) < n {
			frame = make([]byte, n)
		}
		frame = frame[:n]
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		for _, v := range viewers {
			v.write(frame)
		}
	}
}

// clear hangs up on a run.
func (b *bareLoop) clear(run uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.runs[run]
	delete(b.runs, run)
	for _, v := range r.viewers {
		_ = v.nc.Close()
	}
	if r.publisher != nil {
		_ = r.publisher.Close()
	}
}

// end ends all runs: those with a publisher by themselves, so that nobody closes a
// connection that is written to.
func (b *bareLoop) end() {
	b.mu.Lock()
	b.ended = true
	var idle []uint64
	for run, r := range b.runs {
		if r.publisher == nil {
			idle = append(idle, run)
		} else {
			_ = r.publisher.Close()
		}
	}
	b.mu.Unlock()
	for _, run := range idle {
		b.clear(run)
	}
}
