//go:build unix

package null

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"time"
)

// eager is how long a reader looks for more before it sleeps. A process that wakes up for
// each question would be slower than the server that it stands beneath.
const eager = 50 * time.Microsecond

// looker reads a connection, and looks for a while before it sleeps.
type looker struct {
	nc   net.Conn
	raw  syscall.RawConn // nil: it only sleeps
	look func(fd uintptr) bool

	b     []byte // of the read under way
	n     int
	err   error
	began time.Time
	alone func() bool
}

func newLooker(nc net.Conn, alone func() bool) *looker {
	l := &looker{nc: nc, alone: alone}
	if c, ok := nc.(syscall.Conn); ok {
		l.raw, _ = c.SyscallConn()
	}
	l.look = l.once
	return l
}

func (l *looker) once(fd uintptr) bool {
	for {
		l.n, l.err = syscall.Read(int(fd), l.b)
		if !errors.Is(l.err, syscall.EAGAIN) && !errors.Is(l.err, syscall.EINTR) {
			return true
		}
		if !l.alone() || time.Since(l.began) > eager {
			return false // it is asked again when there is something
		}
		runtime.Gosched()
	}
}

// Read reads what there is, or waits for it.
func (l *looker) Read(b []byte) (int, error) {
	if l.raw == nil {
		return l.nc.Read(b)
	}
	l.b, l.began = b, time.Now()
	err := l.raw.Read(l.look)
	l.b = nil
	switch {
	case err != nil:
		return 0, err
	case l.err != nil:
		return 0, l.err
	case l.n == 0:
		return 0, io.EOF
	}
	return l.n, nil
}
