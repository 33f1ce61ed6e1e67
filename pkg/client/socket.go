package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// socket is the client's end of one WebSocket: whole messages in, whole messages out,
// pings answered on the way. One goroutine reads; any may write.
type socket struct {
	c      net.Conn
	r      *bufio.Reader
	header [ws.MaxHeaderSize]byte
	msg    []byte
	state  ws.State

	mu sync.Mutex // of writing
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

// openSocket connects to /v1/stream.
func (c *overHTTP) openSocket(ctx context.Context) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	h := http.Header{}
	c.setHeaders(h)
	var refused error
	d := ws.Dialer{
		ReadBufferSize: 16 << 10,
		Header:         ws.HandshakeHeaderHTTP(h),
		NetDial:        func(ctx context.Context, _, _ string) (net.Conn, error) { return c.line.open(ctx) },
		OnStatusError:  func(status int, _ []byte, resp io.Reader) { refused = c.refusal(status, resp) },
	}
	conn, r, _, err := d.Dial(ctx, "ws://"+c.line.server+"/v1/stream")
	if refused != nil {
		if c.line.mustSecure(refused) {
			return c.openSocket(ctx)
		}
		return nil, refused
	}
	if err != nil {
		return nil, c.line.lineError(ctx, err)
	}
	if r == nil {
		r = bufio.NewReaderSize(conn, 16<<10)
	}
	return &socket{c: conn, r: r, state: ws.StateClientSide}, nil
}

// refusal reads the answer to a handshake that failed.
func (c *overHTTP) refusal(status int, resp io.Reader) error {
	r, err := http.ReadResponse(bufio.NewReader(resp), nil)
	if err != nil {
		return &Error{Status: status}
	}
	defer r.Body.Close()
	return readError(status, r.Body)
}

// read returns the next text message. It stands until the call after.
func (s *socket) read() ([]byte, error) {
	if err := s.c.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return nil, err
	}
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
		if !h.Fin {
			s.state = s.state.Set(ws.StateFragmented)
			continue
		}
		s.state = s.state.Clear(ws.StateFragmented)
		if !utf8.Valid(s.msg) {
			return nil, errors.New("a message that is not UTF-8")
		}
		return s.msg, nil
	}
}

// take appends the payload of a frame to the message; memory follows the bytes.
func (s *socket) take(h ws.Header) error {
	if h.OpCode == ws.OpBinary {
		return errors.New("a binary message")
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
	// A pong, or a ping, is a sign of life.
	return s.c.SetReadDeadline(time.Now().Add(silence))
}

// write sends one frame.
func (s *socket) write(op ws.OpCode, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := ws.MaskFrameInPlaceWith(ws.NewFrame(op, true, bytes.Clone(payload)), ws.NewMask())
	b, err := ws.CompileFrame(f)
	if err != nil {
		return err
	}
	if err := s.c.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	_, err = s.c.Write(b)
	return err
}

// close says goodbye, if it can be said at once, and hangs up.
func (s *socket) close() {
	_ = s.c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	if s.mu.TryLock() {
		if b, err := ws.CompileFrame(ws.MaskFrameInPlace(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))); err == nil {
			_, _ = s.c.Write(b)
		}
		s.mu.Unlock()
	}
	_ = s.c.Close()
}
