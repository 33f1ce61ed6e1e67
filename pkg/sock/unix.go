//go:build unix

package sock

import (
	"net"
	"syscall"
)

// Writer writes to the socket below a connection without ever waiting. One at a time
// may write, by it or by the connection itself: who shares a Writer sees to that.
type Writer struct {
	raw   syscall.RawConn
	write func(fd uintptr) // made once: a closure for each write would be an allocation
	b     []byte
	n     int
	err   error
}

// NewWriter is nil for a connection that is not plain TCP: all of it must go the
// connection's own way.
func NewWriter(nc net.Conn) *Writer {
	tcp := TCPOf(nc)
	if tcp == nil {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	w := &Writer{raw: raw}
	w.write = w.once
	return w
}

// TryWrite writes what the kernel takes at once, in one call: n < len(b) without an
// error means that its buffer is full. Deadlines mean nothing here. b is not kept.
//
// It goes by Control, which holds the descriptor and nothing else: RawConn.Write would
// look at the write deadline, which an idle connection may have behind it.
func (w *Writer) TryWrite(b []byte) (n int, err error) {
	w.b, w.n, w.err = b, 0, nil
	if err = w.raw.Control(w.write); err == nil {
		err = w.err
	}
	w.b = nil
	return w.n, err
}

func (w *Writer) once(fd uintptr) {
	for {
		n, err := syscall.Write(int(fd), w.b)
		switch err {
		case nil:
			w.n = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			w.err = err
		}
		return
	}
}
