package web

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/valyala/fasthttp"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/hub"
	"tracker/pkg/track"
)

// session is one WebSocket. One goroutine lives in it, the reader, which takes messages
// apart. What they ask for, and what is written, is the matter of whoever has the pen;
// see writer.
//
// A client that stops reading stops nobody else: its frames are the hub's to drop. A
// client that asks faster than it may is read more slowly.
type session struct {
	w   *Web
	c   *conn
	who engine.Identity
	id  string // of the request that opened it
	in  *frameReader
	writer

	watching, reports budget // the reader's own

	cause atomic.Pointer[closing] // why it ended
	gone  chan struct{}           // closed when it has

	heard  atomic.Int64 // unix ns when the client last sent anything
	pinged atomic.Int64
}

// Why sessions end.
var (
	goingAway  = &closing{ws.StatusGoingAway, "the server is stopping"}
	tokenEnded = &closing{closeToken, "the token expired or was revoked"}
	tooSlow    = &closing{closeTooSlow, "nothing was taken for too long"}
	wentSilent = &closing{ws.StatusPolicyViolation, "no answer to pings"}
	ourFault   = &closing{ws.StatusInternalServerError, "internal error"}
	clientLeft = &closing{ws.StatusNormalClosure, "bye"}
	hungUp     = &closing{} // no close frame: nobody would read it
)

// lastWords is how long a client has to take our reason.
const lastWords = 250 * time.Millisecond

// stream upgrades a request to a WebSocket.
func (w *Web) stream(rq *request) error {
	h := &rq.http.Request.Header
	key, err := checkUpgrade(h)
	if err != nil {
		rq.http.Response.Header.Set("Sec-WebSocket-Version", "13")
		return err
	}
	if err := checkOrigin(h); err != nil {
		return err
	}
	c, ok := rq.http.Conn().(*conn)
	if !ok {
		return errors.New("websocket on a connection that did not pass the gate")
	}
	who, id := rq.who, rq.id
	rq.http.HijackSetNoResponse(true)
	rq.http.SetStatusCode(fasthttp.StatusSwitchingProtocols) // for the statistics
	rq.http.Hijack(func(buffered net.Conn) { w.open(c, buffered, key, who, id) })
	return nil
}

// open starts the session of a connection that is now ours. It returns at once, so
// that the HTTP server's buffers go back to it.
func (w *Web) open(c *conn, buffered net.Conn, key string, who engine.Identity, id string) {
	c.upgraded.Store(true)
	c.writeTimeout = w.cfg.StreamTimeout
	early := drain(c, buffered)
	s := &session{w: w, c: c, who: who, id: id, gone: make(chan struct{})}
	s.writer.init(c)
	s.in = newFrameReader(s.source(early))
	if who.Role == engine.RoleAdmin {
		s.in.most = maxReportMessage
	}
	now := time.Now().UnixNano()
	s.heard.Store(now)
	s.pinged.Store(now)
	s.taken = true // whatever there is to say waits for the answer to the handshake
	if !w.sessions.add(s) {
		_ = c.shut()
		return
	}
	if s.tcp != nil {
		// What the kernel holds for a slow viewer is old when it arrives, and not
		// counted against anybody.
		_ = s.tcp.SetWriteBuffer(sendBuffer)
	}
	_, err := c.Write(upgradeReply(key, ""))
	_ = c.Conn.SetWriteDeadline(time.Time{})
	if err != nil {
		s.end(hungUp)
	}
	w.stats.opened.Add(1)
	go s.run()
	if !s.rest() {
		s.visit(false)
	}
}

const sendBuffer = 256 << 10

// source is where messages come from: what has been read of them, and then the socket
// itself, where nothing in between has to see what comes.
func (s *session) source(early []byte) io.Reader {
	var r io.Reader = s.c
	if s.tcp != nil {
		r = s.tcp
	}
	if len(early) > 0 {
		r = io.MultiReader(bytes.NewReader(early), r)
	}
	return r
}

// drain returns what the HTTP server read beyond the request: the reader gives its
// buffer before it asks the connection, and the connection has no time left.
func drain(c *conn, buffered net.Conn) []byte {
	_ = c.SetReadDeadline(time.Unix(1, 0))
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	var early []byte
	b := make([]byte, 512)
	for len(early) < maxHeader {
		n, err := buffered.Read(b)
		early = append(early, b[:n]...)
		if err != nil {
			break
		}
	}
	return early
}

// checkUpgrade checks the handshake of RFC 6455, section 4.2.1.
func checkUpgrade(h *fasthttp.RequestHeader) (key string, err error) {
	key = string(h.Peek("Sec-WebSocket-Key"))
	raw, bad := base64.StdEncoding.DecodeString(key)
	switch {
	case !h.ConnectionUpgrade() || !strings.EqualFold(string(h.Peek("Upgrade")), "websocket"):
		err = errors.New("this is a WebSocket")
	case string(h.Peek("Sec-WebSocket-Version")) != "13":
		err = errors.New("want Sec-WebSocket-Version 13")
	case bad != nil || len(raw) != 16:
		err = errors.New("want a Sec-WebSocket-Key of 16 bytes")
	default:
		return key, nil
	}
	return "", fmt.Errorf("%w: %w", err, track.ErrInvalid)
}

// checkOrigin lets browsers connect only from pages of this very host; programs send
// no Origin.
func checkOrigin(h *fasthttp.RequestHeader) error {
	origin := string(h.Peek("Origin"))
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Host, string(h.Host())) {
		return fmt.Errorf("origin %q is %w", origin, errOrigin)
	}
	return nil
}

// upgradeReply answers the handshake, and picks a subprotocol unless it is empty.
func upgradeReply(key, protocol string) []byte {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if protocol != "" {
		protocol = "\r\nSec-WebSocket-Protocol: " + protocol
	}
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + protocol + "\r\n\r\n")
}

// run lives as long as the session.
func (s *session) run() {
	defer s.w.sessions.remove(s)
	defer s.w.stats.closed.Add(1)
	s.read()
	s.stays()
	s.c.unread.Store(s.why() != hungUp)
	_ = s.c.shut()
}

// broke ends the session, and only it, on a bug of ours.
func (s *session) broke(p any) {
	s.w.log.Error("panic in a session", "request", s.id, "err", p, "stack", string(debug.Stack()))
	s.end(ourFault)
}

// end closes the session for a reason. The first one counts.
func (s *session) end(why *closing) {
	if !s.cause.CompareAndSwap(nil, why) {
		return
	}
	close(s.gone)
	// Whoever hangs in a write is let go.
	_ = s.c.Conn.SetWriteDeadline(time.Now().Add(lastWords))
	s.wake(false)
	s.room.Broadcast()
}

func (s *session) ended() bool { return s.cause.Load() != nil }

// why tells the reason after the session ended.
func (s *session) why() *closing { return s.cause.Load() }

// tick is the sweeper's visit.
func (s *session) tick(now time.Time) {
	n := now.UnixNano()
	if n-s.heard.Load() > int64(s.w.cfg.IdleTimeout) {
		s.end(wentSilent)
		return
	}
	if n-s.pinged.Load() >= int64(s.w.cfg.PingEvery) {
		s.pinged.Store(n)
		s.say(func(b []byte) []byte { return append(b, pingFrame...) })
		s.wake(false)
	}
}

// ask is what the reader hands to the pen.
type ask struct {
	op      string
	id      int64
	query   hub.Query
	resume  resumption
	payload []byte // of a ping
	err     error  // told to the client instead
}

type resumption struct{ epoch, seq uint64 }

// read takes messages until the client closes or the line breaks. After the session
// ended it goes on for a moment, for the client's close.
//
// It waits here and not deeper, where a stack of 4 KiB is enough for it.
func (s *session) read() {
	defer func() {
		if p := recover(); p != nil {
			s.broke(p)
		}
	}()
	for {
		err := s.in.await()
		if err == nil {
			err = s.readOne()
		}
		if err != nil {
			s.end(asClosing(err))
			return
		}
	}
}

func (s *session) readOne() error {
	op, payload, err := s.in.next()
	if err != nil {
		return err
	}
	if op == ws.OpClose {
		return clientLeft
	}
	now := time.Now()
	s.heard.Store(now.UnixNano())
	if s.ended() || op == ws.OpPong || op == ws.OpText && s.hear(payload, now) {
		return nil
	}
	s.understand(op, payload, now)
	return nil
}

func (s *session) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.gone:
	}
}

func asClosing(err error) *closing {
	var c *closing
	if errors.As(err, &c) {
		return c
	}
	return hungUp
}

// understand hands a message to the pen.
func (s *session) understand(op ws.OpCode, payload []byte, now time.Time) {
	var a ask
	if op == ws.OpPing {
		a = ask{op: "pong", payload: payload}
	} else if a, a.err = s.parse(payload); a.op == "report" {
		if s.who.Role == engine.RoleAdmin {
			s.hearOdd(payload, now)
			return
		}
		a.err = fmt.Errorf("the token %q is that of a %s: %w", s.who.Name, s.who.Role, track.ErrDenied)
	}
	s.pause(s.watching.pay(1, engine.AskPerSec, engine.AskBurst, now))
	s.ask(a)
}

// message is what a client sends.
type message struct {
	Op      string     `json:"op"`
	ID      int64      `json:"id"`
	All     bool       `json:"all"`
	Devices []string   `json:"devices"`
	BBox    *[]float64 `json:"bbox"`
	Map     string     `json:"map"`
	Epoch   string     `json:"epoch"`
	Seq     uint64     `json:"seq"`
}

func (s *session) parse(b []byte) (ask, error) {
	var m message
	if err := decodeStrict(b, &m); err != nil {
		return ask{op: m.Op, id: m.ID}, fmt.Errorf("message: %v: %w", err, track.ErrInvalid)
	}
	a := ask{op: m.Op, id: m.ID}
	var err error
	switch m.Op {
	case "ping", "unwatch":
	case "watch", "area":
		if a.query, err = s.query(&m); err == nil && m.Epoch != "" {
			a.resume, err = parseResume(&m)
		}
	default:
		err = fmt.Errorf("op %q: want watch, area, unwatch, report or ping: %w", m.Op, track.ErrInvalid)
	}
	return a, err
}

func parseResume(m *message) (resumption, error) {
	epoch, err := engine.StreamEpoch(m.Epoch)
	return resumption{epoch: epoch, seq: m.Seq}, err
}

// query reads what is to be watched, and asks whether the client may.
func (s *session) query(m *message) (hub.Query, error) {
	q, err := s.areaOf(m)
	return s.w.allowed(&s.who, q, err)
}

// areaOf reads exactly one of all, devices, bbox and map.
func (s *session) areaOf(m *message) (hub.Query, error) {
	ways := 0
	for _, given := range []bool{m.All, m.Devices != nil, m.BBox != nil, m.Map != ""} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		return hub.Query{}, fmt.Errorf("want one of all, devices, bbox and map: %w", track.ErrInvalid)
	case m.All:
		return hub.All(), nil
	case m.Map != "":
		return s.w.engine.MapQuery(&s.who, m.Map)
	case m.BBox != nil:
		b := *m.BBox
		if len(b) != 4 {
			return hub.Query{}, fmt.Errorf("bbox: want [S,W,N,E]: %w", track.ErrInvalid)
		}
		box, err := geo.BoxDeg(b[0], b[1], b[2], b[3])
		if err != nil {
			return hub.Query{}, fmt.Errorf("bbox: %v: %w", err, track.ErrInvalid)
		}
		return hub.Box(box), nil
	}
	return s.w.engine.DevicesQuery(m.Devices, s.w.cfg.MaxDevices)
}

// sessionSet is every open WebSocket.
type sessionSet struct {
	mu     sync.Mutex
	open   map[*session]struct{}
	wg     sync.WaitGroup
	ending *closing // set once: nobody comes in any more
}

func (ss *sessionSet) add(s *session) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.ending != nil {
		return false
	}
	if ss.open == nil {
		ss.open = map[*session]struct{}{}
	}
	ss.open[s] = struct{}{}
	ss.wg.Add(1)
	return true
}

func (ss *sessionSet) remove(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.open, s)
	ss.wg.Done()
}

func (ss *sessionSet) list() []*session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	out := make([]*session, 0, len(ss.open))
	for s := range ss.open {
		out = append(out, s)
	}
	return out
}

func (ss *sessionSet) endAll(why *closing) {
	ss.mu.Lock()
	ss.ending = why
	ss.mu.Unlock()
	for _, s := range ss.list() {
		s.end(why)
	}
}

func (ss *sessionSet) wait() { ss.wg.Wait() }

func (ss *sessionSet) isEnding() bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.ending != nil
}
