//go:build unix

package rpc

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// eagerTime is how long a reader looks before it sleeps. To fall asleep and be woken
// costs about as much processor time, and the peer waits for it.
const eagerTime = 50 * time.Microsecond

// eager reads from a peer that sends the next batch as soon as it has the answers to
// the last: it looks for a moment before it sleeps, and lets others run between looks.
// It does so only where that worked the last time, and for one connection of a server
// at once, so nothing is spent on peers that are slow or many.
type eager struct {
	nc     net.Conn
	raw    syscall.RawConn
	others *atomic.Bool // somebody looks already
	look   func(fd uintptr) bool
	buf    []byte // what look reads into
	n      int
	hot    bool // the last batch came within eagerTime
}

// newEager reads from nc, looking first where that is possible.
func newEager(nc net.Conn, others *atomic.Bool) io.Reader {
	tcp := tcpOf(nc)
	if tcp == nil {
		return nc
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nc
	}
	e := &eager{nc: nc, raw: raw, others: others}
	e.look = func(fd uintptr) bool {
		e.n, _ = syscall.Read(int(fd), e.buf)
		return true // whatever came of it: who waits is Read
	}
	return e
}

// tcpOf finds the socket below a connection: nil when something in between has to see
// every byte, such as TLS. Other wrappers with a method NetConn have passed on by now what
// they read ahead, which was part of the handshake.
func tcpOf(nc net.Conn) *net.TCPConn {
	for {
		switch c := nc.(type) {
		case *net.TCPConn:
			return c
		case *tls.Conn:
			return nil
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return nil
		}
	}
}

func (e *eager) Read(b []byte) (int, error) {
	began := time.Now()
	if e.hot && e.others.CompareAndSwap(false, true) {
		n := e.spin(b, began)
		e.others.Store(false)
		e.hot = n > 0
		if n > 0 {
			return n, nil
		}
		return e.nc.Read(b)
	}
	n, err := e.nc.Read(b) // which also tells of the end, of errors and of deadlines
	e.hot = time.Since(began) < eagerTime
	return n, err
}

func (e *eager) spin(b []byte, began time.Time) int {
	e.buf, e.n = b, 0
	for e.raw.Read(e.look) == nil && e.n <= 0 && time.Since(began) < eagerTime {
		runtime.Gosched()
	}
	e.buf = nil
	return max(e.n, 0)
}
