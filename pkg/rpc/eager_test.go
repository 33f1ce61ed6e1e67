//go:build unix

package rpc

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// Looking first changes nothing of what a read says.
func TestEagerReadsTellTheSame(t *testing.T) {
	for name, row := range map[string]struct {
		others uint64 // reads of others since the last
		do     func(e *eager, peer io.WriteCloser)
		n      int
		err    error
	}{
		"bytes are there":      {0, func(_ *eager, p io.WriteCloser) { p.Write([]byte("abc")) }, 3, nil},
		"others read too":      {3, func(_ *eager, p io.WriteCloser) { p.Write([]byte("abc")) }, 3, nil},
		"the peer closes":      {0, func(_ *eager, p io.WriteCloser) { p.Close() }, 0, io.EOF},
		"the deadline is over": {0, func(e *eager, _ io.WriteCloser) { e.nc.SetReadDeadline(time.Unix(1, 0)) }, 0, os.ErrDeadlineExceeded},
		"closed here":          {0, func(e *eager, _ io.WriteCloser) { e.nc.Close() }, 0, os.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := tcpPair(t)
			defer far.Close()
			var reads atomic.Uint64
			reads.Store(1 + row.others)
			from, _ := newEager(far, &reads)
			e := from.(*eager)
			e.hot = true
			row.do(e, near)
			n, err := e.Read(make([]byte, 100))
			if n != row.n || !errors.Is(err, row.err) && !(row.err == os.ErrClosed && err != nil) {
				t.Errorf("got %d, %v", n, err)
			}
		})
	}
}
