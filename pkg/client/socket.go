package client

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// socket is the client's end of one WebSocket: whole messages in, whole messages out,
// pings answered on the way. One goroutine reads; any may write.
type socket struct {
	c      net.Conn
	r      *bufio.Reader
	kind   ws.OpCode // of the messages: text or binary
	header [ws.MaxHeaderSize]byte
	msg    []byte
	state  ws.State

	mu  sync.Mutex // of writing
	out []byte
}

const (
	maxIncoming  = 16 << 20 // bytes of a message from the server
	growIncoming = 256 << 10
	silence      = 75 * time.Second // servers ping every 30 s
	writeWithin  = 10 * time.Second
)

// closedError is how the server closed a socket.
type closedError struct {
	code   ws.StatusCode
	reason string
}

func (c *closedError) Error() string {
	if c.reason != "" {
		return c.reason
	}
	return fmt.Sprintf("the server closed the connection with code %d", c.code)
}

// openSocket shakes hands on a path of the server.
func (d *dialer) openSocket(ctx context.Context, path string, kind ws.OpCode, h http.Header, protocols ...string) (*socket, error) {
	var refused error
	up := ws.Dialer{
		ReadBufferSize: 16 << 10,
		Protocols:      protocols,
		Header:         ws.HandshakeHeaderHTTP(h),
		NetDial:        func(ctx context.Context, _, _ string) (net.Conn, error) { return d.open(ctx) },
		OnStatusError:  func(status int, _ []byte, resp io.Reader) { refused = d.refusal(status, resp) },
	}
	conn, r, _, err := up.Dial(ctx, "ws://"+d.server+path)
	if refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, d.lineError(ctx, err)
	}
	if r == nil {
		r = bufio.NewReaderSize(conn, 16<<10)
	}
	return &socket{c: conn, r: r, kind: kind, state: ws.StateClientSide}, nil
}

// refusal reads the answer to a handshake that failed.
func (d *dialer) refusal(status int, resp io.Reader) error {
	r, err := http.ReadResponse(bufio.NewReader(resp), nil)
	if err != nil {
		return &Error{Status: status}
	}
	defer r.Body.Close()
	return d.readError(status, r.Body)
}

// read returns the next message. It stands until the call after.
func (s *socket) read() ([]byte, error) {
	s.msg = s.msg[:0]
	for {
		h, err := ws.ReadHeaderBuffer(s.r, s.header[:0])
		if err != nil {
			return nil, err
		}
		if err := ws.CheckHeader(h, s.state); err != nil {
			return nil, err
		}
		if h.OpCode.IsControl() {
			if err := s.control(h); err != nil {
				return nil, err
			}
			continue
		}
		if err := s.take(h); err != nil {
			return nil, err
		}
		if h.Fin {
			s.state = s.state.Clear(ws.StateFragmented)
			return s.msg, nil
		}
		s.state = s.state.Set(ws.StateFragmented)
	}
}

// take appends the payload of a frame to the message; memory follows the bytes.
func (s *socket) take(h ws.Header) error {
	if h.OpCode != s.kind && h.OpCode != ws.OpContinuation {
		return fmt.Errorf("a message of the kind %d", h.OpCode)
	}
	if h.Length < 0 || h.Length > int64(maxIncoming-len(s.msg)) {
		return fmt.Errorf("a message of more than %d MiB", maxIncoming>>20)
	}
	for left := int(h.Length); left > 0; {
		n, at := min(left, growIncoming), len(s.msg)
		s.msg = slices.Grow(s.msg, n)[:at+n]
		if _, err := io.ReadFull(s.r, s.msg[at:]); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

func (s *socket) control(h ws.Header) error {
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(s.r, payload); err != nil {
		return err
	}
	switch h.OpCode {
	case ws.OpPing:
		return s.write(ws.OpPong, payload)
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(payload)
		_ = s.write(ws.OpClose, payload[:min(len(payload), 2)])
		return &closedError{code, reason}
	}
	return s.alive()
}

// alive gives the server of a text socket, which pings, another while. The frames of a
// binary one have pings of their own, and their reader its own deadlines.
func (s *socket) alive() error {
	if s.kind != ws.OpText {
		return nil
	}
	return s.c.SetReadDeadline(time.Now().Add(silence))
}

// write sends one frame.
func (s *socket) write(op ws.OpCode, payload []byte) error {
	return s.writeWithin(op, payload, time.Now().Add(writeWithin))
}

func (s *socket) writeWithin(op ws.OpCode, payload []byte, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.c.SetWriteDeadline(until); err != nil {
		return err
	}
	return s.put(op, payload)
}

// keepOut is how much memory for writing a socket keeps.
const keepOut = 256 << 10

// put masks and writes. Caller holds mu.
func (s *socket) put(op ws.OpCode, payload []byte) error {
	h := ws.Header{Fin: true, OpCode: op, Masked: true, Mask: ws.NewMask(), Length: int64(len(payload))}
	w := bytes.NewBuffer(s.out[:0])
	if err := ws.WriteHeader(w, h); err != nil {
		return err
	}
	head := w.Len()
	w.Write(payload)
	b := w.Bytes()
	ws.Cipher(b[head:], h.Mask, 0)
	if cap(b) <= keepOut {
		s.out = b
	}
	_, err := s.c.Write(b)
	return err
}

// close says goodbye, if it can be said at once, and hangs up.
func (s *socket) close() {
	_ = s.c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	if s.mu.TryLock() {
		_ = s.put(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))
		s.mu.Unlock()
	}
	_ = s.c.Close()
}
