//go:build unix

package fan

import (
	"io"
	"net"
	"syscall"
)

// rawWriter writes to a plain TCP connection without ever waiting for its peer.
type rawWriter struct {
	rc   syscall.RawConn
	call func(fd uintptr) bool // once, made one time so that a write allocates nothing
	b    []byte
	n    int
	err  error
}

// newRawWriter is nil for what is not plain TCP.
func newRawWriter(nc net.Conn) *rawWriter {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	w := &rawWriter{rc: rc}
	w.call = w.once
	return w
}

func (w *rawWriter) once(fd uintptr) bool {
	for {
		w.n, w.err = syscall.Write(int(fd), w.b)
		if w.err != syscall.EINTR {
			return true // also when it was full: waiting is not ours
		}
	}
}

// try writes what the kernel takes at once.
func (w *rawWriter) try(b []byte) (n int, err error) {
	w.b = b
	err = w.rc.Write(w.call)
	w.b = nil
	switch {
	case err != nil:
		return 0, err
	case w.err == syscall.EAGAIN:
		return 0, nil
	case w.err != nil:
		return 0, w.err
	case w.n == 0 && len(b) > 0:
		return 0, io.ErrShortWrite
	}
	return w.n, nil
}
