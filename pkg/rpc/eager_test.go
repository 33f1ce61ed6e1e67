//go:build unix

package rpc

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// Looking first changes nothing of what a read says.
func TestEagerReadsTellTheSame(t *testing.T) {
	for name, row := range map[string]struct {
		others uint64 // reads of others since the last
		do     func(here net.Conn, peer io.WriteCloser)
		n      int
		err    error
	}{
		"bytes are there":      {0, func(_ net.Conn, p io.WriteCloser) { p.Write([]byte("abc")) }, 3, nil},
		"others read too":      {3, func(_ net.Conn, p io.WriteCloser) { p.Write([]byte("abc")) }, 3, nil},
		"the peer closes":      {0, func(_ net.Conn, p io.WriteCloser) { p.Close() }, 0, io.EOF},
		"the deadline is over": {0, func(c net.Conn, _ io.WriteCloser) { c.SetReadDeadline(time.Unix(1, 0)) }, 0, os.ErrDeadlineExceeded},
		"closed here":          {0, func(c net.Conn, _ io.WriteCloser) { c.Close() }, 0, os.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := tcpPair(t)
			defer far.Close()
			var reads atomic.Uint64
			reads.Store(1 + row.others)
			p := new(parser)
			from, _ := newEager(far, &reads, p)
			e := from.(*eager)
			e.hot = true
			row.do(far, near)
			n, err := p.fill(e)
			if n != row.n || !errors.Is(err, row.err) && !(row.err == os.ErrClosed && err != nil) {
				t.Errorf("got %d, %v", n, err)
			}
		})
	}
}

// One batch that comes late changes nothing, several in a row do, and so does another
// connection that reads.
func TestEagerReaderBelievesInSeveralMisses(t *testing.T) {
	near, far := tcpPair(t)
	var reads atomic.Uint64
	p := new(parser)
	from, _ := newEager(far, &reads, p)
	e := from.(*eager)
	read := func() {
		t.Helper()
		if n, err := p.fill(e); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		p.r = p.w
		reads.Add(1)
	}
	quick := func() { near.Write([]byte("x")); read() }
	slow := func() {
		late := time.AfterFunc(5*time.Millisecond, func() { near.Write([]byte("x")) })
		defer late.Stop()
		read()
	}
	for e.hot = false; !e.hot; { // until the processor is ours for a moment
		quick()
	}
	for misses := 1; misses < eagerMisses; misses++ {
		if slow(); !e.hot || e.misses == 0 {
			t.Fatalf("hot %v after %d misses", e.hot, misses)
		}
	}
	e.misses = eagerMisses - 1
	if slow(); e.hot {
		t.Errorf("hot after %d misses in a row", eagerMisses)
	}
	e.hot, e.misses = true, 0
	reads.Add(1) // of another
	if slow(); e.hot {
		t.Error("hot after a slow batch, and while others read")
	}
	if p.buf == nil {
		t.Error("no buffer for what was read")
	}
}

// A parser that waits for a peer has lent its buffer to others.
func TestSleepingReaderHasNoBuffer(t *testing.T) {
	near, far := tcpPair(t)
	var reads atomic.Uint64
	p := new(parser)
	from, _ := newEager(far, &reads, p)
	e := from.(*eager)
	lent := make(chan bool)
	look := e.look
	e.look = func(fd uintptr) bool {
		done := look(fd)
		if !done {
			lent <- p.buf == nil
		}
		return done
	}
	go func() {
		if !<-lent {
			t.Error("it sleeps with a buffer")
		}
		near.Write([]byte("hello"))
	}()
	if n, err := p.fill(e); n != 5 || err != nil || string(p.buf[:5]) != "hello" {
		t.Errorf("%d, %v, %q", n, err, p.buf)
	}
}
