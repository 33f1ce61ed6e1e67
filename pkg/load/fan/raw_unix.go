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

// reading reads from a plain TCP connection until step says no, and calls it after each
// read. A read that did not fill its room has taken everything, so the next thing to do is
// to wait: asking the kernel once more, as a Read of net does, costs every frame a call of
// the system that finds nothing.
//
// It stays in one Read of the RawConn, since each of those forgets that the connection was
// found ready before.
func reading(nc net.Conn, room func() []byte, step func(n int, err error) bool) (handled bool, err error) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return false, nil
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return false, nil
	}
	return true, rc.Read(func(fd uintptr) (done bool) {
		for {
			b := room()
			n, err := syscall.Read(int(fd), b)
			switch {
			case err == syscall.EINTR:
				continue
			case err == syscall.EAGAIN:
				return false
			case n == 0 && err == nil:
				err = io.EOF
			}
			if !step(max(n, 0), err) {
				return true
			}
			if n < len(b) {
				return false
			}
		}
	})
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
