//go:build unix

package rpc

import (
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"tracker/pkg/sock"
)

// eagerTime is how long a reader looks before it sleeps. To fall asleep and be woken
// costs about as much processor time, and the peer waits for it.
const eagerTime = 50 * time.Microsecond

// eagerMisses in a row are as many as it takes to believe that a peer has become slow. One
// says little: the peer, or this process, was not given the processor for a moment, and
// a peer that waits for answers would be read slowly for as long as it goes on.
const eagerMisses = 4

// eager reads from a peer that sends the next batch as soon as it has the answers to
// the last: it looks for a moment before it sleeps, and lets others run between looks.
// It does so only where that worked the last times and while no other connection of the
// server reads: the runtime asks the network less often while something can run, so
// among several busy ones looking would hold up the others.
//
// While it sleeps, an empty parser has no buffer.
type eager struct {
	raw    syscall.RawConn
	in     *parser
	reads  *atomic.Uint64 // of all connections, counted behind each
	seen   uint64         // reads, when the last one began
	look   func(fd uintptr) bool
	buf    []byte // what look reads into; nil after a sleep
	n      int    // what it read; negative: nothing was there
	err    error
	waits  bool // for something to be there
	hot    bool // batches come within eagerTime
	misses int  // in a row, while hot
}

// newEager reads from nc for in, looking first where that is possible: plain says so.
func newEager(nc net.Conn, reads *atomic.Uint64, in *parser) (from io.Reader, plain bool) {
	tcp := sock.TCPOf(nc)
	if tcp == nil {
		return nc, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nc, false
	}
	e := &eager{raw: raw, reads: reads, in: in}
	e.look = e.once
	return e, true
}

// Read is for the parser alone: b is where that wants to have it.
func (e *eager) Read(b []byte) (int, error) {
	began := time.Now()
	reads := e.reads.Load()
	alone := reads == e.seen+1
	e.seen = reads
	if !e.hot || !alone {
		n, err := e.wait(b)
		e.hot, e.misses = time.Since(began) < eagerTime, 0
		return n, err
	}
	if n := e.spin(b, began); n > 0 {
		e.misses = 0
		return n, nil
	}
	if e.misses++; e.misses == eagerMisses {
		e.hot = false
	}
	return e.wait(b)
}

func (e *eager) spin(b []byte, began time.Time) int {
	e.buf, e.n = b, 0
	for e.raw.Read(e.look) == nil && e.n <= 0 && e.reads.Load() == e.seen && time.Since(began) < eagerTime {
		runtime.Gosched()
	}
	e.buf = nil
	return max(e.n, 0)
}

// wait reads as the connection itself would: it also tells of the end, of errors and of
// deadlines.
func (e *eager) wait(b []byte) (int, error) {
	e.buf, e.n, e.err, e.waits = b, 0, nil, true
	err := e.raw.Read(e.look)
	e.buf, e.waits = nil, false
	switch {
	case err != nil:
		return 0, err
	case e.err != nil:
		return 0, e.err
	case e.n == 0:
		return 0, io.EOF
	}
	return e.n, nil
}

// once reads once. It returns false to be called again when something is there.
func (e *eager) once(fd uintptr) bool {
	if e.buf == nil {
		e.buf = e.in.wake()
	}
	e.n, e.err = syscall.Read(int(fd), e.buf)
	for e.err == syscall.EINTR {
		e.n, e.err = syscall.Read(int(fd), e.buf)
	}
	if e.err != syscall.EAGAIN || !e.waits {
		return true
	}
	if e.in.sleep() {
		e.buf = nil
	}
	return false
}
