//go:build !unix

package rpc

import (
	"io"
	"net"
	"sync/atomic"
)

func newEager(nc net.Conn, _ *atomic.Uint64, _ *parser) (io.Reader, bool) { return nc, false }
