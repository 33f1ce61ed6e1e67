//go:build !unix

package sock

import "net"

// Writer is for systems whose sockets can be asked for a write that does not wait.
type Writer struct{}

// NewWriter is nil here: everything goes the connection's own way.
func NewWriter(net.Conn) *Writer { return nil }

// TryWrite takes nothing.
func (*Writer) TryWrite([]byte) (int, error) { return 0, nil }
