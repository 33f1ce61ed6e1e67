//go:build unix

package sock

import (
	"net"
	"syscall"

	"tracker/pkg/fault"
)

// Writer writes to the socket below a connection without ever waiting. One at a time
// may write, by it or by the connection itself: who shares a Writer sees to that. It fits
// a cache line, as a broadcast finds it cold.
type Writer struct {
	raw   syscall.RawConn
	write func(fd uintptr) // made once: a closure for each write would be an allocation
	b     []byte
	n     int
	errno syscall.Errno
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
	w.b, w.n, w.errno = b, 0, 0
	err = w.raw.Control(w.write)
	w.b = nil
	if err == nil && w.errno != 0 {
		err = w.errno
	}
	return w.n, err
}

func (w *Writer) once(fd uintptr) {
	if at := fault.Split(len(w.b)); at > 0 {
		w.begin(int(fd), at)
	}
	n, err := syscall.Write(int(fd), w.b)
	for err == syscall.EINTR {
		n, err = syscall.Write(int(fd), w.b)
	}
	if err == nil {
		w.n += n
	} else if errno, ok := err.(syscall.Errno); ok && errno != syscall.EAGAIN {
		w.errno = errno
	}
}

// begin writes so much by itself. What is wrong, the write of the rest finds too.
func (w *Writer) begin(fd, at int) {
	if n, err := syscall.Write(fd, w.b[:at]); err == nil {
		w.n, w.b = n, w.b[n:]
	}
}
