//go:build !unix

package broadcast

import "net"

// bareWriter writes to one viewer.
type bareWriter struct {
	nc   net.Conn
	gone bool
}

func newBareWriter(nc net.Conn) *bareWriter { return &bareWriter{nc: nc} }

func (w *bareWriter) write(b []byte) {
	if !w.gone {
		_, err := w.nc.Write(b)
		w.gone = err != nil
	}
}
