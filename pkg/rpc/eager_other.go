//go:build !unix

package rpc

import (
	"io"
	"net"
	"sync/atomic"
)

func newEager(nc net.Conn, _ *atomic.Bool) io.Reader { return nc }
