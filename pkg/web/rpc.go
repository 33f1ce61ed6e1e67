package web

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/valyala/fasthttp"

	"tracker/pkg/track"
)

// Messages is a WebSocket that carries whole binary messages, for the room that Config
// names. One goroutine reads; others may write, close and set deadlines meanwhile. Pings
// are answered below it.
type Messages interface {
	// ReadMessage returns the next message, good until the next call. A deadline that
	// passed loses nothing.
	ReadMessage() ([]byte, error)
	WriteMessage(b []byte) error
	// Admit says that the peer is known, so that it counts as a stranger no longer.
	Admit()
	// CloseWrite says goodbye; what still comes may be read.
	CloseWrite() error
	Close() error
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// rpcProtocol is the subprotocol that a client must offer.
const rpcProtocol = "trk.v1"

// rpc upgrades a request to a WebSocket whose messages belong to another room. No token
// is asked for: the first message carries it, and until it is believed the connection
// counts as a stranger's, with the stranger's limits. And pages of any origin may
// connect: what a browser sends along by itself, a cookie or an address, proves nothing
// here, so a page that somebody was lured to has no more rights than its author.
func (w *Web) rpc(rq *request) error {
	if w.cfg.RPC == nil {
		return fmt.Errorf("path %q: %w", rq.http.URI().PathOriginal(), track.ErrNotFound)
	}
	h := &rq.http.Request.Header
	key, err := checkUpgrade(h)
	if err != nil {
		rq.http.Response.Header.Set("Sec-WebSocket-Version", "13")
		return err
	}
	if !offers(string(h.Peek("Sec-WebSocket-Protocol")), rpcProtocol) {
		return fmt.Errorf("want Sec-WebSocket-Protocol %s: %w", rpcProtocol, track.ErrInvalid)
	}
	c, ok := rq.http.Conn().(*conn)
	if !ok {
		return errors.New("websocket on a connection that did not pass the gate")
	}
	rq.http.HijackSetNoResponse(true)
	rq.http.SetStatusCode(fasthttp.StatusSwitchingProtocols) // for the statistics
	rq.http.Hijack(func(buffered net.Conn) { w.openRPC(c, buffered, key) })
	return nil
}

// offers looks for a name in a list with commas.
func offers(list, name string) bool {
	for offered := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(offered) == name {
			return true
		}
	}
	return false
}

// openRPC hands a connection that is now ours to the room. It returns at once, so that
// the HTTP server's buffers go back to it.
func (w *Web) openRPC(c *conn, buffered net.Conn, key string) {
	c.upgraded.Store(true)
	m := &messages{conn: c, buf: drain(c, buffered)}
	if !w.calls.begin() {
		_ = c.shut()
		return
	}
	_, err := c.Write(upgradeReply(key, rpcProtocol))
	go func() { // ends with the connection, or with the calls
		defer w.calls.end()
		defer func() { _ = m.Close() }()
		if err == nil {
			w.cfg.RPC(w.calls.ctx, m)
		}
	}()
}

// calls is the WebSockets that belong to the other room.
type calls struct {
	ctx  context.Context
	stop context.CancelFunc

	mu     sync.Mutex
	open   int
	ending bool
	idle   chan struct{} // closed when it is ending and none is open
}

func (s *calls) init() {
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.idle = make(chan struct{})
}

func (s *calls) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return false
	}
	s.open++
	return true
}

func (s *calls) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open--; s.open == 0 && s.ending {
		close(s.idle)
	}
}

// endAll tells the room to end them; wait returns when it has.
func (s *calls) endAll() {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return
	}
	if s.ending = true; s.open == 0 {
		close(s.idle)
	}
}

func (s *calls) wait() { <-s.idle }

// What a message may hold. A stranger's first one is a handshake and perhaps a few
// requests behind it; of others the longest is a single frame of the layer above, whose
// limit is 1 MiB of body.
const (
	strangerMessage = 64 << 10
	maxCallMessage  = 1<<20 + 4<<10
	controlTime     = 10 * time.Second // for a peer to take a pong
	leastRoom       = 512              // that is read into
	keptRoom        = 128 << 10        // of an idle connection's buffers
)

var errText = &closing{ws.StatusUnsupportedData, "only binary messages are understood"}

// messages is the server's end of such a WebSocket. What has arrived of a frame stays in
// buf while a deadline interrupts, so nothing is lost by one.
type messages struct {
	*conn
	store []byte // empty; what buf lies in
	buf   []byte // of the connection, not understood yet
	taken int    // bytes of buf in which the last message was
	msg   []byte // what has come of a message in several frames
	given bool   // msg was the last message
	state ws.State
	frags int

	wmu     sync.Mutex // guards what follows: one frame at a time
	out     []byte
	leaving bool // a close frame was sent
}

var _ Messages = (*messages)(nil)

func (m *messages) Admit() { m.admit() }

// SetDeadline and SetWriteDeadline are those of the socket: the room renews its own.
func (m *messages) SetDeadline(t time.Time) error      { return m.conn.Conn.SetDeadline(t) }
func (m *messages) SetWriteDeadline(t time.Time) error { return m.conn.Conn.SetWriteDeadline(t) }

func (m *messages) ReadMessage() ([]byte, error) {
	m.consume()
	for {
		h, at, err := m.header()
		if err == nil && len(m.buf)-at < int(h.Length) {
			err = io.ErrUnexpectedEOF
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			if err := m.fill(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			m.sayClose(asClosing(err))
			return nil, err
		}
		b, err := m.frame(h, m.buf[at:at+int(h.Length)])
		m.taken = at + int(h.Length)
		if b != nil || err != nil {
			return b, err
		}
		m.consume()
	}
}

// header reads the header of the next frame and judges the frame by it, before anything
// is kept for it.
func (m *messages) header() (h ws.Header, size int, err error) {
	r := bytes.NewReader(m.buf)
	if h, err = ws.ReadHeader(r); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return h, 0, asProtocolError(err)
	}
	if err := ws.CheckHeader(h, m.state|ws.StateServerSide); err != nil {
		return h, 0, asProtocolError(err)
	}
	most := maxCallMessage
	if !m.admitted.Load() {
		most = strangerMessage
	}
	switch {
	case h.OpCode.IsControl(): // at most 125 bytes, as CheckHeader saw to
	case h.OpCode == ws.OpText:
		return h, 0, errText
	case h.Length < 0 || h.Length > int64(most-len(m.msg)):
		return h, 0, &closing{ws.StatusMessageTooBig, fmt.Sprintf("message larger than %d KiB", most>>10)}
	case h.OpCode == ws.OpContinuation && m.frags >= maxFragments:
		return h, 0, errFragments
	}
	return h, len(m.buf) - r.Len(), nil
}

// fill reads more. The store doubles as it fills: memory follows what has arrived, not
// what was announced.
func (m *messages) fill() error {
	if cap(m.buf)-len(m.buf) < leastRoom {
		if need := len(m.buf) + leastRoom; cap(m.store) < need {
			m.store = make([]byte, 0, max(2*cap(m.store), need))
		}
		m.buf = append(m.store[:0], m.buf...) // which may lie further behind in it
	}
	n, err := m.conn.Conn.Read(m.buf[len(m.buf):cap(m.buf)])
	m.buf = m.buf[:len(m.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// consume lets go of the last message, and of memory that only it needed.
func (m *messages) consume() {
	m.buf, m.taken = m.buf[m.taken:], 0
	if len(m.buf) == 0 {
		if cap(m.store) > keptRoom {
			m.store = nil
		}
		m.buf = m.store[:0]
	}
	if m.given {
		m.msg, m.given = nil, false
	}
}

// frame takes a whole frame. It returns a message if that was its last.
func (m *messages) frame(h ws.Header, payload []byte) ([]byte, error) {
	ws.Cipher(payload, h.Mask, 0)
	switch {
	case h.OpCode == ws.OpPing:
		return nil, m.control(ws.OpPong, payload)
	case h.OpCode == ws.OpPong:
		return nil, nil
	case h.OpCode == ws.OpClose:
		if err := checkClose(payload); err != nil {
			m.sayClose(asClosing(err))
			return nil, err
		}
		m.sayClose(clientLeft)
		return nil, io.EOF
	case h.Fin && h.OpCode == ws.OpBinary:
		return payload[:len(payload):len(payload)], nil
	}
	if m.frags++; h.OpCode != ws.OpContinuation {
		m.frags = 0
	}
	m.state = m.state.Set(ws.StateFragmented)
	m.msg = append(m.msg, payload...)
	if !h.Fin {
		return nil, nil
	}
	m.state, m.given = m.state.Clear(ws.StateFragmented), true
	if m.msg == nil {
		m.msg = []byte{}
	}
	return m.msg, nil
}

func (m *messages) WriteMessage(b []byte) error {
	m.wmu.Lock()
	defer m.wmu.Unlock()
	return m.write(ws.OpBinary, b)
}

// write sends a frame in one write: a message for another would cost a system call, and
// behind TLS a record. Caller holds wmu.
func (m *messages) write(op ws.OpCode, b []byte) error {
	if m.leaving {
		return net.ErrClosed
	}
	m.out = append(appendBinaryHeader(m.out[:0], op, len(b)), b...)
	_, err := m.conn.Conn.Write(m.out)
	if cap(m.out) > keptRoom {
		m.out = nil
	}
	return err
}

// appendBinaryHeader is the shortest header for a whole frame of a server.
func appendBinaryHeader(dst []byte, op ws.OpCode, n int) []byte {
	const fin = 0x80
	switch {
	case n < 126:
		return append(dst, fin|byte(op), byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, fin|byte(op), 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, fin|byte(op), 127), uint64(n))
}

// control sends a control frame of at most 125 bytes. The room's deadline may have passed
// long ago, in a time in which nothing was to be written.
func (m *messages) control(op ws.OpCode, payload []byte) error {
	m.wmu.Lock()
	defer m.wmu.Unlock()
	_ = m.conn.Conn.SetWriteDeadline(time.Now().Add(controlTime))
	return m.write(op, payload)
}

// sayClose sends a close frame, the last frame of all. It does not wait for whoever is
// stuck in a write.
func (m *messages) sayClose(why *closing) {
	if !m.wmu.TryLock() {
		return
	}
	defer m.wmu.Unlock()
	if m.leaving || why == hungUp {
		return
	}
	_ = m.conn.Conn.SetWriteDeadline(time.Now().Add(lastWords))
	_ = m.write(ws.OpClose, ws.NewCloseFrameBody(why.code, why.reason))
	m.leaving = true
}

// CloseWrite is called when the room has said its last word.
func (m *messages) CloseWrite() error {
	m.sayClose(clientLeft)
	return nil
}

func (m *messages) Close() error {
	m.sayClose(clientLeft)
	return m.conn.shut()
}
