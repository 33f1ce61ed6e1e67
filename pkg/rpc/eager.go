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

// eager reads from a peer that sends the next batch as soon as it has the answers to
// the last: it looks for a moment before it sleeps, and lets others run between looks.
// It does so only where that worked the last time and while no other connection of the
// server reads: the runtime asks the network less often while something can run, so
// among several busy ones looking would hold up the others.
type eager struct {
	nc    net.Conn
	raw   syscall.RawConn
	reads *atomic.Uint64 // of all connections, counted behind each
	seen  uint64         // reads, when the last one began
	look  func(fd uintptr) bool
	buf   []byte // what look reads into
	n     int
	hot   bool // the last batch came within eagerTime
}

// newEager reads from nc, looking first where that is possible: plain says so.
func newEager(nc net.Conn, reads *atomic.Uint64) (from io.Reader, plain bool) {
	tcp := sock.TCPOf(nc)
	if tcp == nil {
		return nc, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nc, false
	}
	e := &eager{nc: nc, raw: raw, reads: reads}
	e.look = func(fd uintptr) bool {
		e.n, _ = syscall.Read(int(fd), e.buf)
		return true // whatever came of it: who waits is Read
	}
	return e, true
}

func (e *eager) Read(b []byte) (int, error) {
	began := time.Now()
	reads := e.reads.Load()
	alone := reads == e.seen+1
	e.seen = reads
	if e.hot && alone {
		if n := e.spin(b, began); n > 0 {
			return n, nil
		}
		e.hot = false
		return e.nc.Read(b)
	}
	n, err := e.nc.Read(b) // which also tells of the end, of errors and of deadlines
	e.hot = time.Since(began) < eagerTime
	return n, err
}

func (e *eager) spin(b []byte, began time.Time) int {
	e.buf, e.n = b, 0
	for e.raw.Read(e.look) == nil && e.n <= 0 && e.reads.Load() == e.seen && time.Since(began) < eagerTime {
		runtime.Gosched()
	}
	e.buf = nil
	return max(e.n, 0)
}
