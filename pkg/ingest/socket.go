package ingest

import (
	"net"
	"net/netip"
	"time"

	"tracker/pkg/seal"
)

// socket is where a reader gets datagrams and leaves answers: batchSocket on Linux,
// plainSocket everywhere. Only its reader uses it, except for interrupt, drops,
// close and udp.
type socket interface {
	// receive waits for datagrams and returns up to batchLen of them, valid until the
	// next call; without wait it returns what is there. One that was too long for a
	// report is longer than seal.MaxDatagram, but not all of it.
	receive(wait bool) ([][]byte, error)
	// sender is where datagram i of the last batch claims to come from.
	sender(i int) netip.AddrPort
	// answer leaves an ack for the sender of datagram i; flush sends what was left.
	answer(i int, ack []byte)
	flush() (sent, failed int)
	// shield makes the kernel drop what no device sends, or stops that, if it can.
	shield(on bool) bool

	// drops is what the kernel has dropped since the socket was opened: because the
	// buffer was full, and because of the shield.
	drops() (full, filtered uint64)
	// interrupt ends all waiting for good.
	interrupt()
	close() error
	udp() *net.UDPConn
}

// batchLen is how many datagrams one system call brings at most.
const batchLen = 64

// longest is one byte more than any report, so that what is cut off still shows.
const longest = seal.MaxDatagram + 1

// plainSocket reads one datagram a call with nothing but package net. Of the drops
// it knows nothing. Its buffer holds the largest there are, as some systems make an
// error of one that does not fit.
type plainSocket struct {
	conn   *net.UDPConn
	buf    [1 << 16]byte
	batch  [1][]byte
	from   netip.AddrPort
	ack    [seal.AckLen]byte
	hasAck bool
}

func openPlain(network, addr string) (*plainSocket, error) {
	a, err := net.ResolveUDPAddr(network, addr)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP(network, a)
	if err != nil {
		return nil, err
	}
	return &plainSocket{conn: conn}, nil
}

func (s *plainSocket) receive(wait bool) ([][]byte, error) {
	if !wait {
		return nil, nil // package net reads nothing once it was interrupted
	}
	n, from, err := s.conn.ReadFromUDPAddrPort(s.buf[:])
	if err != nil {
		return nil, err
	}
	s.batch[0], s.from = s.buf[:n], from
	return s.batch[:], nil
}

func (s *plainSocket) sender(int) netip.AddrPort { return s.from }

func (s *plainSocket) answer(_ int, ack []byte) {
	copy(s.ack[:], ack)
	s.hasAck = true
}

func (s *plainSocket) flush() (sent, failed int) {
	if !s.hasAck {
		return 0, 0
	}
	s.hasAck = false
	if _, err := s.conn.WriteToUDPAddrPort(s.ack[:], s.from); err != nil {
		return 0, 1
	}
	return 1, 0
}

func (s *plainSocket) shield(bool) bool               { return false }
func (s *plainSocket) drops() (full, filtered uint64) { return 0, 0 }
func (s *plainSocket) interrupt()                     { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }
func (s *plainSocket) close() error                   { return s.conn.Close() }
func (s *plainSocket) udp() *net.UDPConn              { return s.conn }
