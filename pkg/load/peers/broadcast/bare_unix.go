//go:build unix

package broadcast

import (
	"net"
	"syscall"
)

// bareWriter writes to one viewer with as little as there is: the system call.
type bareWriter struct {
	nc   net.Conn
	fd   int // 0: not known
	gone bool
}

func newBareWriter(nc net.Conn) *bareWriter {
	w := &bareWriter{nc: nc}
	if tcp, ok := nc.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { w.fd = int(fd) })
		}
	}
	return w
}

// write sends all of b. Only when the socket is full does it wait, by way of the runtime.
// The descriptor is good while nobody closes the connection, which the loop that calls
// this does itself, afterwards.
func (w *bareWriter) write(b []byte) {
	if w.gone || w.fd == 0 {
		return
	}
	n, err := syscall.Write(w.fd, b)
	if n == len(b) {
		return
	}
	if err == syscall.EAGAIN {
		n, err = 0, nil
	}
	if err == nil {
		_, err = w.nc.Write(b[n:])
	}
	w.gone = err != nil
}
