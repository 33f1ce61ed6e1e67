// Package sock reaches the socket below a connection, for what net.Conn has no words
// for: a look that does not wait, and a write that does not.
//
//	net.Conn ─► wrappers with NetConn ─► *net.TCPConn ─► file descriptor
//	                   │
//	                   └ tls.Conn: no further, it has to see every byte
package sock

import (
	"crypto/tls"
	"net"
)

// TCPOf finds the socket below a connection: nil when something in between has to see
// every byte, such as TLS. Wrappers that have a method NetConn say by it that they pass
// bytes on unchanged, and have passed on by now what they read ahead.
func TCPOf(nc net.Conn) *net.TCPConn {
	for {
		switch c := nc.(type) {
		case *net.TCPConn:
			return c
		case *tls.Conn:
			return nil
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return nil
		}
	}
}
