package rpc

import (
	"encoding/binary"
	"net"
	"time"
)

// Messages is a transport of whole messages, such as a WebSocket. What ReadMessage
// yields is good until its next call. Deadlines are as those of a net.Conn: one that
// passed loses nothing, and after a new one ReadMessage goes on where it was. Whoever
// implements it bounds the length of a message, by HeaderSize + Config.MaxFrame.
//
// A method Admit() or CloseWrite() error, if there is one, is called as on a net.Conn.
type Messages interface {
	ReadMessage() ([]byte, error)
	WriteMessage(b []byte) error
	Close() error
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// OverMessages carries frames over m, for ServeConn or NewClient. A message holds one
// or more whole frames and at most 64 KiB, unless it is one frame that is longer; the
// first of a client begins with the Preamble. When the peer breaks that, Read fails
// with BadFrame behind what had arrived. A Write must be of whole frames too.
func OverMessages(m Messages) net.Conn { return &messages{Messages: m} }

type messages struct {
	Messages
	rest    []byte // of the message being read
	torn    bool   // and behind it nothing makes sense
	read    bool   // a message has come
	written bool
	failed  error // of a write; what came behind half a message would be read as a part of it
}

// cut finds how many bytes of b the next message holds: as many whole frames as fit,
// or one; 0 if the first is not whole. Only a first message may begin with the
// preamble, and no frame looks like that: it would be a WELCOME in several parts.
func cut(b []byte, first bool) int {
	head := 0
	if first && len(b) >= len(Preamble) && string(b[:len(Preamble)]) == Preamble {
		head = len(Preamble)
	}
	n := head
	for len(b)-n >= HeaderSize {
		end := n + HeaderSize + int(binary.LittleEndian.Uint32(b[n:])&maxBody)
		if end > len(b) || n > head && end > chunk {
			break
		}
		n = end
	}
	if n == head {
		return 0
	}
	return n
}

// Read hands out what a message holds even when it is torn, so that what is wrong with
// its first bytes is said first.
func (c *messages) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		if c.torn {
			return 0, protocolError(FaultTorn, BadFrame, "a message is of whole frames")
		}
		b, err := c.ReadMessage()
		if err != nil {
			return 0, err
		}
		c.torn = len(b) == 0 || cut(b, !c.read) != len(b)
		c.rest, c.read = b, true
		if len(b) == 0 {
			return c.Read(p)
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *messages) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if c.failed != nil {
			return done, c.failed
		}
		n := cut(p[done:], !c.written)
		if n == 0 {
			return done, protocolError(faultNone, BadFrame, "a write is of whole frames")
		}
		if c.failed = c.WriteMessage(p[done : done+n]); c.failed != nil {
			return done, c.failed
		}
		c.written = true
		done += n
	}
	return done, nil
}

// Admit tells the door that the peer is known.
func (c *messages) Admit() {
	if door, ok := c.Messages.(interface{ Admit() }); ok {
		door.Admit()
	}
}

// CloseWrite ends the writing half where m can.
func (c *messages) CloseWrite() error {
	if half, ok := c.Messages.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
