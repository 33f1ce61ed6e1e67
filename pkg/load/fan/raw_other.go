//go:build !unix

package fan

import "net"

// rawWriter is only for systems whose sockets can be asked not to wait.
type rawWriter struct{}

func newRawWriter(net.Conn) *rawWriter { return nil }

func (*rawWriter) try([]byte) (int, error) { return 0, nil }

func reading(net.Conn, func() []byte, func(int, error) bool) (handled bool, err error) {
	return false, nil
}
