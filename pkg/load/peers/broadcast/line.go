package broadcast

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"tracker/pkg/load/peers/codec"
)

// readSize is of the buffer that every connection reads into.
const readSize = 64 << 10

// Line is one connection to a target. It belongs to one goroutine, but for what is
// atomic.
type Line struct {
	Conn net.Conn
	Ear  Ear    // the target puts it here before it waits for anything
	Salt uint64 // of the run
	Nr   int    // of the viewer

	buf       []byte
	r, w      int
	bytes     atomic.Int64
	reads     atomic.Int64
	confirmed atomic.Int64
}

func newLine(nc net.Conn, salt uint64, nr int) *Line {
	return &Line{Conn: nc, Salt: salt, Nr: nr, buf: make([]byte, readSize)}
}

// Await reads until cond holds: the answers to a greeting.
func (l *Line) Await(ctx context.Context, to codec.Sink, cond func() bool) error {
	defer l.until(ctx)()
	for !cond() {
		if err := l.fill(); err != nil {
			return errors.Join(err, ctx.Err())
		}
		if err := l.take(to); err != nil {
			return err
		}
	}
	return nil
}

// until makes reads and writes end with ctx.
func (l *Line) until(ctx context.Context) (done func()) {
	stop := context.AfterFunc(ctx, func() { _ = l.Conn.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

var errFull = errors.New("a message that is longer than the buffer")

// fill reads once.
func (l *Line) fill() error {
	if l.r > 0 {
		l.w = copy(l.buf, l.buf[l.r:l.w])
		l.r = 0
	}
	if l.w == len(l.buf) {
		return errFull
	}
	n, err := l.Conn.Read(l.buf[l.w:])
	l.w += n
	if n == 0 {
		return err
	}
	l.bytes.Add(int64(n))
	l.reads.Add(1)
	return nil // an error beside bytes comes again
}

// take hands out what was read and pays what is owed.
func (l *Line) take(to codec.Sink) error {
	n, err := l.Ear.Take(l.buf[l.r:l.w], to)
	l.r += n
	if c, ok := l.Ear.(confirmer); ok {
		l.confirmed.Store(c.Confirmed())
	}
	if err != nil {
		return err
	}
	if owed := l.Ear.Owe(); len(owed) > 0 {
		_, err = l.Conn.Write(owed)
	}
	return err
}

// parting says in words why a connection ended that should not have.
func parting(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the server closed the connection")
	}
	return err
}

// wanted tells whether a connection ended because we wanted it to.
func wanted(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed)
}

// Greet writes a greeting and waits for what it brings about.
func (l *Line) Greet(ctx context.Context, hello []byte, cond func() bool) error {
	defer l.until(ctx)()
	if _, err := l.Conn.Write(hello); err != nil {
		return errors.Join(err, ctx.Err())
	}
	if err := l.Await(ctx, nobody{}, cond); err != nil {
		return fmt.Errorf("greeting: %w", parting(err))
	}
	return nil
}
