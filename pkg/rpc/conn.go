package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	helloLimit   = 16 << 10    // of frames before the peer is known
	maxParts     = 64          // messages of a connection that have begun and not ended
	fewBytes     = 1000        // of output, for which a writer yields first
	lastWord     = time.Second // for a peer to take the GOAWAY
	lingerBytes  = 256 << 10   // that are read and thrown away so that it arrives
	lingerTime   = 200 * time.Millisecond
	sampleInline = 1024
)

// conn is one connection of a server. The reader owns the first fields, mu guards
// the last.
type conn struct {
	s      *Server
	nc     net.Conn
	id     uint64
	peer   any
	limit  int // of the frames that the peer takes
	ctx    context.Context
	cancel context.CancelFunc

	in      parser
	out     []byte // what inline requests answered
	inline  Request
	calling bool       // in a handler that may panic
	batch   []*Request // to submit together
	group   *Request   // the last of batch, if others may share its turn
	grouped int        // how many do
	parts   map[uint32]*part
	held    int // bytes in parts
	calls   uint64
	armed   time.Time // when the read deadline was set

	mu        sync.Mutex
	changed   sync.Cond // a request ended, a write ended, or the connection broke
	waiting   int       // for changed
	pending   []byte
	spare     []byte
	writeBy   time.Time
	writing   bool // somebody writes; it goes on until nothing is pending
	kicked    bool // and somebody will
	broken    bool // nothing can be written any more
	leaving   bool // GOAWAY is the last word
	draining  bool // no new requests
	hangup    bool // the read deadline stands where it is
	open      map[uint32]*Request
	running   int // open ones and notifies
	bytes     int // of their bodies
	subs      int
	lastID    uint32
	congested []*Subscription // have credit, but the peer does not read
}

type part struct {
	first   Frame
	body    []byte
	refused bool // answered already; what still comes is thrown away
}

// ServeConn serves nc until the peer leaves, breaks the protocol, or ctx ends, and
// closes it. When it returns, every handler of the connection has returned and
// nothing of it is left. When ctx ends, requests in flight have Config.Grace.
//
// nc may be anything that carries bytes in order. Every Write is of whole frames. If
// it has a method Admit(), that is called once, when the peer is known.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	s.enter()
	defer s.leave()
	s.stats.conns.Add(1)
	defer s.stats.conns.Add(-1)

	c := &conn{s: s, nc: nc, id: s.connIDs.Add(1), limit: minFrame, open: map[uint32]*Request{}}
	c.changed.L = &c.mu
	c.inline.c = c
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer c.cancel()

	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		c.drain()
	})
	e := c.read(ctx)
	c.end(e)
	if !stop() {
		<-drained
	}
}

// read is the life of the connection. It returns what the peer did wrong, or nil.
func (c *conn) read(ctx context.Context) *Error {
	if e := c.handshake(ctx); e != nil {
		return e
	}
	c.in.limit = c.s.cfg.MaxFrame
	c.s.stats.accepted.Add(1)
	if door, ok := c.nc.(interface{ Admit() }); ok {
		door.Admit()
	}
	pinged := false
	for {
		if e := c.process(); e != nil {
			return e
		}
		if c.busy() {
			runtime.Gosched() // a reader that always finds more would starve the workers
		}
		c.arm()
		n, err := c.in.fill(c.nc)
		c.s.stats.reads.Add(1)
		c.s.stats.bytesRead.Add(uint64(n))
		switch {
		case err == nil:
			pinged = false
		case errors.Is(err, os.ErrDeadlineExceeded) && !c.leaves():
			if pinged {
				return &Error{Status: Unavailable, Reason: "idle", fault: FaultIdle}
			}
			pinged = true
			c.ping()
		default:
			var e *Error // of a transport that knows what a frame is
			errors.As(err, &e)
			return e
		}
	}
}

func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running > 0
}

func (c *conn) leaves() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hangup
}

// arm renews the read deadline, after a quarter of it: setting it costs as much as a
// small request.
func (c *conn) arm() {
	now := time.Now()
	if now.Sub(c.armed) >= c.s.cfg.Idle/4 && c.readBy(now.Add(c.s.cfg.Idle)) {
		c.armed = now
	}
}

// readBy sets the read deadline, unless the reader is being called off by it.
func (c *conn) readBy(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.hangup {
		c.nc.SetReadDeadline(t)
	}
	return !c.hangup
}

func (c *conn) ping() {
	c.armed = time.Time{}
	c.in.release()
	c.out = nil
	c.mu.Lock()
	c.spare = nil
	c.pending = appendHeader(c.pending, KindPing, 0, 8, 0, 0, 0)
	c.pending = binary.LittleEndian.AppendUint64(c.pending, uint64(time.Now().UnixMilli()))
	c.mu.Unlock()
	c.flush()
}

func (c *conn) handshake(ctx context.Context) *Error {
	host := "local"
	if a := c.nc.RemoteAddr(); a != nil {
		host, _, _ = net.SplitHostPort(a.String())
	}
	if !c.s.knock(host) {
		return protocolError(FaultTooManyHandshakes, ResourceExhausted, "too many connections in the handshake")
	}
	defer c.s.known(host)
	if !c.readBy(time.Now().Add(c.s.cfg.Handshake)) {
		return nil
	}
	c.in.limit = helloLimit
	hello, e := c.hello()
	if e != nil {
		return e
	}
	if hello.ProtoMin > 1 || hello.ProtoMax < 1 {
		return protocolError(FaultVersion, Version, "this server speaks version 1")
	}
	if auth := c.s.cfg.Authenticate; auth != nil {
		ctx, cancel := context.WithTimeout(ctx, c.s.cfg.Handshake)
		defer cancel()
		peer, err := auth(ctx, hello, c.nc.RemoteAddr())
		if err != nil {
			var known *Error
			if !errors.As(err, &known) {
				known = &Error{Status: Unauthenticated}
			}
			refused := *known
			refused.fault, refused.NotRun = FaultAuth, true
			return &refused
		}
		c.peer = peer
	}
	c.limit = min(int(hello.MaxFrame), maxBody)
	c.welcome(hello)
	return nil
}

// hello waits for the preamble and the HELLO behind it.
func (c *conn) hello() (*Hello, *Error) {
	greeted := false
	for {
		if got := c.in.buf[c.in.r:c.in.w]; !greeted && len(got) > 0 {
			n := min(len(got), len(Preamble))
			if string(got[:n]) != Preamble[:n] {
				return nil, protocolError(FaultPreamble, BadFrame, "not "+Preamble)
			}
			if greeted = n == len(Preamble); greeted {
				c.in.r += n
			}
		}
		if greeted {
			var f Frame
			switch ok, e := c.in.next(&f); {
			case e != nil:
				return nil, e
			case ok && (f.Kind != KindHello || f.Flags != 0):
				return nil, protocolError(FaultHandshake, Unauthenticated, "the first frame must be HELLO")
			case ok:
				h, good := parseHello(f.Body)
				if !good {
					return nil, protocolError(FaultHandshake, BadBody, "hello")
				}
				return h, nil
			}
		}
		n, err := c.in.fill(c.nc)
		c.s.stats.bytesRead.Add(uint64(n))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, protocolError(FaultSlowHandshake, DeadlineExceeded, "handshake")
		}
		if e := new(Error); errors.As(err, &e) {
			return nil, e
		}
		if err != nil {
			return nil, protocolError(FaultHandshake, Unavailable, "left in the handshake")
		}
	}
}

func (c *conn) welcome(h *Hello) {
	cfg := &c.s.cfg
	body := appendWelcome(nil, &Welcome{
		Proto: 1, MaxFrame: uint32(cfg.MaxFrame), ConnID: c.id, Epoch: cfg.Epoch,
		MaxInflight: uint32(cfg.MaxInflight), MaxInflightBytes: uint32(cfg.MaxInflightBytes),
		MaxSubs: uint32(cfg.MaxSubs), MaxCredit: uint32(cfg.MaxCredit), MaxMessage: uint32(cfg.MaxMessage),
		Idle: cfg.Idle, Features: cfg.Features & h.Features, Now: time.Now(),
	})
	c.out = AppendFrame(c.out, Frame{Kind: KindWelcome, Body: body})
}

// process handles every whole frame in the buffer and sends what that gave.
func (c *conn) process() *Error {
	for {
		again, e := c.frames()
		if again {
			continue // a handler panicked; the frames behind it are not to blame
		}
		c.put()
		return e
	}
}

// put sends the reader's output, with whatever else is pending. It is where reading
// stops when the peer does not read.
func (c *conn) put() {
	c.submit() // first: writing may block, and others may wait for the key of a request
	c.mu.Lock()
	if !c.leaving && !c.broken {
		c.pending = append(c.pending, c.out...)
	}
	idle := len(c.pending) == 0
	c.mu.Unlock()
	if cap(c.out) > 2*bigBuffer {
		c.out = nil
	}
	c.out = c.out[:0]
	if idle {
		return
	}
	c.flush()
	c.mu.Lock()
	for len(c.pending) > c.s.cfg.MaxOutput/4 && !c.broken && !c.leaving {
		c.wait()
	}
	c.mu.Unlock()
}

// frames takes what is whole in the buffer. One recover serves all inline handlers
// of a batch.
func (c *conn) frames() (again bool, e *Error) {
	defer func() {
		if !c.calling {
			return
		}
		c.calling = false
		if v := recover(); v != nil {
			c.inlinePanicked(v)
			again = true
		}
	}()
	calls := c.calls
	defer func() { c.s.stats.inline.Add(c.calls - calls) }()
	var f Frame
	for {
		ok, e := c.in.next(&f)
		if !ok || e != nil {
			return false, e
		}
		if e := c.frame(&f); e != nil {
			return false, e
		}
		if len(c.out) > bigBuffer {
			c.put()
		}
	}
}

func (c *conn) frame(f *Frame) *Error {
	if len(c.parts) > 0 || f.Flags != 0 {
		whole, e := c.assemble(f)
		if !whole || e != nil {
			return e
		}
	}
	switch f.Kind {
	case KindReq, KindNotify:
		return c.request(f)
	case KindCancel:
		c.canceled(f.ID)
	case KindCredit:
		return c.credit(f)
	case KindPing:
		if len(f.Body) != 8 {
			return protocolError(FaultControl, BadFrame, "ping carries 8 bytes")
		}
		c.out = AppendFrame(c.out, Frame{Kind: KindPong, ID: f.ID, Body: f.Body})
	case KindPong, KindGoAway: // a peer that goes away says so and closes
	default:
		return protocolError(FaultControl, BadFrame, "a client does not send this kind")
	}
	return nil
}

// assemble gathers messages of several frames, and takes the metadata off.
func (c *conn) assemble(f *Frame) (whole bool, e *Error) {
	p := c.parts[f.ID]
	if p == nil && f.Flags&FlagMore == 0 {
		return true, nil
	}
	if f.Kind == KindCancel && p != nil {
		c.forget(f.ID, p)
		if !p.refused && p.first.Kind == KindReq {
			c.refuse(f.ID, &Error{Status: Canceled, NotRun: true})
		}
		return false, nil
	}
	if f.Kind != KindReq && f.Kind != KindNotify {
		if f.Flags&FlagMore == 0 {
			return true, nil
		}
		return false, protocolError(FaultMore, BadFrame, "this kind is one frame")
	}
	if f.Flags&FlagMore != 0 && len(f.Body) == 0 {
		return false, protocolError(FaultMore, BadFrame, "an empty part")
	}
	if p == nil {
		if len(c.parts) >= maxParts {
			return false, protocolError(FaultMore, ResourceExhausted, "too many messages in parts")
		}
		if c.parts == nil {
			c.parts = map[uint32]*part{}
		}
		p = &part{first: *f}
		p.first.Body = nil
		c.parts[f.ID] = p
	} else if f.Kind != p.first.Kind || f.Code != p.first.Code || f.Flags&FlagMeta != 0 {
		return false, protocolError(FaultMore, BadFrame, "a part of something else")
	}
	if !p.refused && (len(p.body)+len(f.Body) > c.s.cfg.MaxMessage || c.held+len(f.Body) > c.s.cfg.MaxInflightBytes) {
		c.held -= len(p.body)
		p.body, p.refused = nil, true
		c.s.stats.fault(FaultMessage)
		if f.Kind == KindReq {
			c.refuse(f.ID, protocolError(faultNone, FrameTooLarge, "message over the limit"))
		}
	}
	if !p.refused {
		p.body = append(p.body, f.Body...)
		c.held += len(f.Body)
	}
	if f.Flags&FlagMore != 0 {
		return false, nil
	}
	c.forget(f.ID, p)
	aux := p.first.Aux
	*f = p.first
	f.Aux, f.Flags, f.Body = aux, f.Flags&^FlagMore, p.body
	return !p.refused, nil
}

func (c *conn) forget(id uint32, p *part) {
	c.held -= len(p.body)
	delete(c.parts, id)
}

// request answers f, or starts what will.
func (c *conn) request(f *Frame) *Error {
	if f.ID == 0 && f.Kind == KindReq {
		return protocolError(FaultID, BadFrame, "a request needs an id")
	}
	var meta []byte
	body := f.Body
	if f.Flags&FlagMeta != 0 {
		if len(body) < 2 || len(body) < 2+int(binary.LittleEndian.Uint16(body)) {
			c.s.stats.fault(FaultMeta)
			c.answer(f, protocolError(faultNone, BadBody, "metadata"))
			return nil
		}
		n := 2 + int(binary.LittleEndian.Uint16(body))
		meta, body = body[2:n], body[n:]
	}
	m := c.s.method(f.Code)
	if m == nil {
		c.s.stats.fault(FaultMethod)
		c.answer(f, protocolError(faultNone, Unimplemented, "no such method"))
		return nil
	}
	if m.Exec == Inline {
		c.callInline(m, f, meta, body)
		return nil
	}
	return c.start(m, f, meta, body)
}

var errNoAnswer = errors.New("the handler did not return what it was given")

func (c *conn) callInline(m *Method, f *Frame, meta, body []byte) {
	r := &c.inline
	r.Method, r.ID, r.Body, r.Meta, r.m = f.Code, f.ID, body, meta, m
	r.notify = f.Kind == KindNotify
	at := len(c.out)
	if c.calls++; c.calls%sampleInline == 0 {
		defer c.overrun(time.Now())
	}
	c.out = append(c.out, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	c.calling = true
	out, err := m.Handle(r, c.out)
	c.calling = false
	switch {
	case r.notify:
		c.out = c.out[:at]
	case err == nil && len(out) < at+HeaderSize:
		err = errNoAnswer
		fallthrough
	case err != nil:
		c.out = c.out[:at]
		c.refuse(f.ID, c.failure(m, err))
	case len(out)-at-HeaderSize > min(chunk, c.limit):
		body := append([]byte(nil), out[at+HeaderSize:]...)
		c.out = appendMessage(out[:at], Frame{Kind: KindRsp, ID: f.ID, Body: body}, c.limit)
	default:
		c.out = out
		putHeader(out[at:], KindRsp, 0, len(out)-at-HeaderSize, f.ID, 0, 0)
	}
}

func (c *conn) overrun(began time.Time) {
	if time.Since(began) > time.Millisecond {
		c.s.stats.overruns.Add(1)
	}
}

// inlinePanicked answers the request whose handler panicked. Its header is still the
// last thing in out: handlers append to what they were given, and keep it to
// themselves until they return.
func (c *conn) inlinePanicked(v any) {
	c.out = c.out[:len(c.out)-HeaderSize]
	e := c.panicked(c.inline.m, v)
	if !c.inline.notify {
		c.refuse(c.inline.ID, e)
	}
}

// refuse answers from the reader.
func (c *conn) refuse(id uint32, e *Error) {
	c.s.stats.failed.Add(1)
	c.out = appendErrFrame(c.out, KindErr, id, e)
}

func (c *conn) answer(f *Frame, e *Error) {
	if f.Kind == KindReq {
		c.refuse(f.ID, e)
	}
}

// start takes a copy of the request out of the reader.
func (c *conn) start(m *Method, f *Frame, meta, body []byte) *Error {
	r := c.s.newRequest(c, m)
	r.keep = append(append(r.keep[:0], meta...), body...)
	r.Method, r.ID, r.notify = f.Code, f.ID, f.Kind == KindNotify
	r.Body = r.keep[len(meta):]
	if meta != nil {
		r.Meta = r.keep[:len(meta):len(meta)]
	}
	if refusal, e := c.admit(r); e != nil {
		return e
	} else if refusal != nil {
		c.s.stats.fault(refusal.fault)
		c.answer(f, refusal)
		c.s.release(r)
		return nil
	}
	if c.s.stats.inflight.Add(1); r.notify {
		c.s.stats.notifies.Add(1)
	} else {
		c.s.stats.async.Add(1)
	}
	c.setDeadline(r, f.Aux)
	if m.Exec == Keyed && !c.enterLane(r) {
		return nil
	}
	if m.Batch && c.join(r) {
		return nil
	}
	if c.batch = append(c.batch, r); len(c.batch) == 64 {
		c.submit()
	}
	return nil
}

// maxGroup is how many requests share a turn: more would make those behind wait for
// longer than a turn costs.
const maxGroup = 32

// join hangs r behind the group that is being gathered, or begins one.
func (c *conn) join(r *Request) bool {
	if c.group == nil || c.grouped == maxGroup {
		c.group, c.grouped = r, 1
		return false
	}
	c.group.also = r
	c.group = r
	c.grouped++
	return true
}

// admit registers r, or says why not: what the peer asked for too early or too often
// is answered, what makes ids ambiguous ends the connection.
func (c *conn) admit(r *Request) (refusal, e *Error) {
	cfg := &c.s.cfg
	c.mu.Lock()
	defer c.mu.Unlock()
	stream := r.m.Stream != nil
	switch {
	case !r.notify && c.open[r.ID] != nil:
		return nil, protocolError(FaultID, BadFrame, "id in use")
	case r.notify && stream:
		return protocolError(FaultMethod, Unimplemented, "a subscription needs an id"), nil
	case c.draining:
		return protocolError(faultNone, Unavailable, "going down"), nil
	case stream && c.subs >= cfg.MaxSubs:
		return protocolError(FaultSubs, ResourceExhausted, "too many subscriptions"), nil
	case !stream && c.running-c.subs >= cfg.MaxInflight, c.bytes+len(r.keep) > cfg.MaxInflightBytes:
		return protocolError(FaultInflight, ResourceExhausted, "too much in flight"), nil
	}
	c.running++
	c.bytes += len(r.keep)
	if !r.notify {
		c.open[r.ID] = r
		c.lastID = r.ID
	}
	if stream {
		c.subs++
		r.sub = &Subscription{c: c, id: r.ID, policy: r.m.Policy, wake: make(chan struct{}, 1), r: r}
	}
	return nil, nil
}

func (c *conn) setDeadline(r *Request, aux uint16) {
	after := time.Duration(aux) * time.Millisecond
	if aux == 0 {
		if r.m.Stream != nil {
			return
		}
		if after = r.m.Timeout; after == 0 {
			after = c.s.cfg.Timeout
		}
	}
	if aux == NoTimeout {
		return
	}
	r.deadline = time.Now().Add(after)
	c.s.wheel.add(r, after)
}

// enterLane says whether a keyed request may run at once. A Key that panics is the
// server's own bug and ends the request.
func (c *conn) enterLane(r *Request) (first bool) {
	defer func() {
		if v := recover(); v != nil {
			first = false
			c.finish(r, nil, c.panicked(r.m, v))
		}
	}()
	r.key = r.m.Key(r)
	return c.s.lanes.enter(r)
}

func (c *conn) submit() {
	if len(c.batch) == 0 {
		return
	}
	c.s.pool.submit(c.batch...)
	clear(c.batch)
	c.batch, c.group = c.batch[:0], nil
}

func (c *conn) canceled(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.open[id]; r != nil {
		r.stop(Canceled)
		return
	}
	c.s.stats.fault(FaultLate) // it crossed the answer; nothing to do
}

func (c *conn) credit(f *Frame) *Error {
	if len(f.Body) != 4 {
		return protocolError(FaultControl, BadFrame, "credit carries 4 bytes")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.open[f.ID]
	if r == nil || r.sub == nil {
		c.s.stats.fault(FaultLate)
		return nil
	}
	s := r.sub
	n := int64(s.credit) + int64(binary.LittleEndian.Uint32(f.Body))
	if n > int64(c.s.cfg.MaxCredit) {
		c.s.stats.fault(FaultCredit)
		r.stop(OutOfRange)
		return nil
	}
	s.credit = int(n)
	s.drain()
	s.nudge()
	return nil
}

// finish answers r and forgets it.
func (c *conn) finish(r *Request, out []byte, err error) {
	c.s.wheel.remove(r)
	kind, code := KindRsp, OK
	var aux uint16
	var e *Error
	if err != nil {
		kind, e = KindErr, r.failure(err)
		code = e.Status
	} else if len(out) < HeaderSize && r.sub == nil {
		kind, e = KindErr, c.failure(r.m, errNoAnswer)
	}
	if e == nil && r.sub == nil && !r.notify {
		out = c.sendParts(r, out)
	}
	c.mu.Lock()
	if s := r.sub; s != nil {
		aux = s.finish()
		if s.accepted || e == nil {
			kind = KindEnd
		}
		c.subs--
		c.s.stats.subs.Add(-1)
	}
	if e != nil {
		c.s.stats.failed.Add(1)
	}
	if !r.notify {
		delete(c.open, r.ID)
		c.append(kind, r.ID, code, aux, out, e)
	}
	r.mu.Lock()
	if r.cancel != nil { // after the end is marked: a publisher that waits looks again
		r.cancel(nil)
	}
	r.mu.Unlock()
	c.running--
	c.bytes -= len(r.keep)
	c.s.stats.inflight.Add(-1)
	if r.out = out; out == nil {
		r.out = nil
	}
	kick := c.kick()
	c.tell()
	c.mu.Unlock()
	c.s.release(r)
	if kick {
		c.s.pool.flush(c)
	}
}

// append adds the frame that ends a request. mu is held.
func (c *conn) append(k Kind, id uint32, code Status, aux uint16, out []byte, e *Error) {
	if c.broken || c.leaving {
		return
	}
	at := len(c.pending)
	switch {
	case e != nil:
		c.pending = appendErrFrame(c.pending, k, id, e)
		binary.LittleEndian.PutUint16(c.pending[at+10:], aux)
	case k == KindEnd:
		c.pending = appendHeader(c.pending, k, 0, 0, id, uint16(code), aux)
	default:
		putHeader(out, k, 0, len(out)-HeaderSize, id, uint16(code), aux)
		c.pending = append(c.pending, out...)
	}
	c.bound()
}

// sendParts sends all but the last part of a long answer, each when there is room, so
// that shorter ones get between them.
func (c *conn) sendParts(r *Request, out []byte) []byte {
	limit := min(chunk, c.limit)
	body := out[HeaderSize:]
	for len(body) > limit {
		c.mu.Lock()
		for len(c.pending) > 4*chunk && !c.broken && !c.leaving {
			c.wait()
		}
		if !c.broken && !c.leaving {
			c.pending = AppendFrame(c.pending, Frame{Kind: KindRsp, Flags: FlagMore, ID: r.ID, Body: body[:limit]})
		}
		kick := c.kick()
		c.mu.Unlock()
		if kick {
			c.s.pool.flush(c)
		}
		body = body[limit:]
	}
	if len(body) == len(out)-HeaderSize {
		return out
	}
	return append(out[:HeaderSize], body...)
}

// kick says whether the caller has to find somebody to write. mu is held.
func (c *conn) kick() bool {
	if len(c.pending) == 0 || c.kicked || c.writing || c.broken {
		return false
	}
	c.kicked = true
	return true
}

// bound ends the connection of a peer that lets output pile up. mu is held.
func (c *conn) bound() {
	if len(c.pending) > c.s.cfg.MaxOutput && !c.leaving {
		c.s.stats.fault(FaultSlow)
		c.pending = c.pending[:0]
		c.goAway(&Error{Status: SlowConsumer, Message: "output over the limit"})
		c.hangup = true
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// goAway makes GOAWAY the last frame. mu is held.
func (c *conn) goAway(e *Error) {
	c.pending = appendGoAwayFrame(c.pending, c.lastID, e)
	c.leaving = true
	c.writeBy = time.Now().Add(lastWord)
	c.nc.SetWriteDeadline(c.writeBy)
	c.tell()
}

// flushSoon is the worker's way: others that are about to finish go first.
func (c *conn) flushSoon() {
	c.mu.Lock()
	few := len(c.pending) < fewBytes
	c.mu.Unlock()
	if few {
		runtime.Gosched()
	}
	c.mu.Lock()
	c.kicked = false
	c.tell()
	c.mu.Unlock()
	c.flush()
}

// flush writes until nothing is pending, unless somebody does already.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing {
		return
	}
	c.writing = true
	for len(c.pending) > 0 && !c.broken {
		out := c.pending
		c.pending, c.spare = c.spare[:0], nil
		c.renew()
		c.mu.Unlock()
		_, err := c.nc.Write(out)
		c.s.stats.writes.Add(1)
		c.s.stats.bytesWritten.Add(uint64(len(out)))
		c.mu.Lock()
		if cap(out) <= 2*bigBuffer {
			c.spare = out[:0]
		}
		if err != nil {
			c.fail(err)
		}
		c.relieve()
		c.tell()
	}
	c.writing = false
	c.tell()
}

// renew moves the write deadline, after a quarter of it. mu is held.
func (c *conn) renew() {
	if c.leaving {
		return
	}
	now := time.Now()
	if c.writeBy.Sub(now) < c.s.cfg.Write*3/4 {
		c.writeBy = now.Add(c.s.cfg.Write)
		c.nc.SetWriteDeadline(c.writeBy)
	}
}

// fail gives up writing. The reader learns it by the close. mu is held.
func (c *conn) fail(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.leaving {
		c.s.stats.fault(FaultSlow)
	}
	c.broken = true
	c.pending = nil
	c.nc.Close()
	c.cancel()
}

// relieve goes on with subscriptions that waited for the peer to read. mu is held.
func (c *conn) relieve() {
	if len(c.congested) == 0 || len(c.pending) > c.s.cfg.MaxOutput/4 {
		return
	}
	again := c.congested
	c.congested = nil
	for _, s := range again {
		s.waits = false
		s.drain()
		s.nudge()
	}
}

func (c *conn) wait() {
	c.waiting++
	c.changed.Wait()
	c.waiting--
}

func (c *conn) tell() {
	if c.waiting > 0 {
		c.changed.Broadcast()
	}
}

// drain is what happens when the server ends: no new requests, subscriptions end, the
// rest may finish.
func (c *conn) drain() {
	expired := false
	giveUp := time.AfterFunc(c.s.cfg.Grace, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		expired = true
		c.tell()
	})
	defer giveUp.Stop()
	c.mu.Lock()
	c.draining = true
	for _, r := range c.open {
		if r.sub != nil {
			r.stop(Unavailable)
		}
	}
	for c.running > 0 && !expired && !c.broken && !c.leaving {
		c.wait()
	}
	c.hangup = true
	c.nc.SetReadDeadline(time.Unix(1, 0))
	c.mu.Unlock()
}

// end says why, waits for every handler, and closes.
func (c *conn) end(e *Error) {
	if e != nil {
		c.s.stats.fault(e.fault)
		c.s.log.Debug("connection ended", "remote", c.nc.RemoteAddr(), "err", e)
	}
	c.mu.Lock()
	if e == nil && c.draining {
		e = &Error{Status: Unavailable, Message: "the server is going down"}
	}
	if e != nil && !c.leaving && !c.broken && e.fault != FaultPreamble {
		c.goAway(e)
	}
	c.draining = true
	c.mu.Unlock()
	c.flush()
	c.mu.Lock()
	for c.writing {
		c.wait()
	}
	linger := c.leaving && !c.broken
	c.broken = true
	c.tell()
	c.mu.Unlock()
	c.cancel()
	if linger {
		c.linger()
	}
	c.nc.Close()
	c.mu.Lock()
	for c.running > 0 || c.kicked || c.writing {
		c.wait()
	}
	c.mu.Unlock()
}

// linger reads a little of what is still coming: a close with unread bytes is a reset,
// which would overtake the GOAWAY.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, c.nc, lingerBytes)
}
