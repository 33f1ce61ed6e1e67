//go:build !linux

package ingest

import (
	"errors"
	"net"
)

func openBatched(string, string, int) ([]socket, error) {
	return nil, errors.New("only Linux steers datagrams by their device")
}

// receiveBuffer asks for a buffer; systems that grant less say so with an error.
func receiveBuffer(conn *net.UDPConn, want int) (granted int, err error) {
	return want, conn.SetReadBuffer(want)
}
