package rpc

import (
	"cmp"
	"encoding/binary"
	"errors"
	"time"

	"tracker/pkg/fault"
)

const (
	// fewAnswers are too few bytes for a write of their own while a batch lasts.
	fewAnswers   = 2 << 10
	maxParts     = 64 // messages of a connection that have begun and not ended
	sampleInline = 1024
)

type part struct {
	first   Frame
	body    []byte
	refused bool // answered already; what still comes is thrown away
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
	early := bigBuffer
	if c.halves {
		early = min(max(fewAnswers, (c.in.w-c.in.r)/2), bigBuffer)
	}
	var f Frame
	for {
		ok, e := c.in.next(&f)
		if !ok || e != nil {
			return false, e
		}
		if e := c.frame(&f); e != nil {
			return false, e
		}
		if len(c.out) > early {
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
	if c.closed {
		c.answer(f, protocolError(faultNone, Unavailable, "going away"))
		return nil
	}
	if f.Kind == KindReq && int32(f.ID-c.last) > 0 { // parts may have let a later one pass
		c.last = f.ID
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
	if waited := c.waited(); waited > 0 && c.late(m, f.Aux, waited) {
		c.s.stats.deadlines.Add(1)
		c.answer(f, &Error{Status: DeadlineExceeded, NotRun: true})
		return
	}
	if c.inline == nil {
		c.inline = &Request{c: c}
	}
	r := c.inline
	r.Method, r.ID, r.Body, r.Meta, r.m = f.Code, f.ID, body, meta, m
	r.notify = f.Kind == KindNotify
	at := len(c.out)
	if c.calls++; c.calls%sampleInline == 0 {
		defer c.overrun(time.Now())
	}
	c.out = append(c.out, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	c.calling = true
	fault.Request()
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
	case !r.notify && c.open.get(r.ID) != nil:
		return nil, protocolError(FaultID, BadFrame, "id in use")
	case r.notify && stream:
		return protocolError(FaultMethod, Unimplemented, "a subscription needs an id"), nil
	case c.going != nil:
		return protocolError(faultNone, Unavailable, "going away"), nil
	case stream && c.subs >= cfg.MaxSubs:
		return protocolError(FaultSubs, ResourceExhausted, "too many subscriptions"), nil
	case !stream && c.running-c.subs >= cfg.MaxInflight, c.bytes+len(r.keep) > cfg.MaxInflightBytes:
		return protocolError(FaultInflight, ResourceExhausted, "too much in flight"), nil
	}
	c.running++
	c.bytes += len(r.keep)
	if !r.notify {
		c.open.put(r)
	}
	if stream {
		c.subs++
		r.sub = &Subscription{c: c, id: r.ID, policy: r.m.Policy, r: r}
	}
	return nil, nil
}

// waited is how many ticks have passed since the batch was read.
func (c *conn) waited() int64 { return c.s.wheel.clock.Load() - c.readAt }

// late says whether an inline request's time passed while its batch waited for that
// many ticks: for a handler that took long, or for the peer to read.
func (c *conn) late(m *Method, aux uint16, waited int64) bool {
	after := c.timeout(m, aux)
	return after > 0 && waited >= ticks(after)
}

// timeout is what a request has, or 0 for as long as it takes.
func (c *conn) timeout(m *Method, aux uint16) time.Duration {
	switch {
	case aux == NoTimeout, aux == 0 && m.Stream != nil:
		return 0
	case aux == 0:
		return cmp.Or(m.Timeout, c.s.cfg.Timeout)
	}
	return time.Duration(aux) * time.Millisecond
}

func (c *conn) setDeadline(r *Request, aux uint16) {
	after := c.timeout(r.m, aux)
	if after == 0 {
		return
	}
	if c.began.IsZero() { // one look at the clock serves a batch
		c.began = time.Now().Add(-tick * time.Duration(max(c.waited()-1, 0))) // never early
	}
	r.deadline = c.began.Add(after)
	c.s.wheel.add(r, c.readAt, after)
}

// enterLane says whether a keyed request may run at once. A Key that panics is the
// server's own bug and ends the request.
func (c *conn) enterLane(r *Request) (first bool) {
	defer func() {
		if v := recover(); v != nil {
			first = false
			c.finish(r, nil, c.panicked(r.m, v))
			c.s.release(r)
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
	if r := c.open.get(id); r != nil {
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
	c.grant(f.ID, binary.LittleEndian.Uint32(f.Body))
	tell := len(c.wants) > 0 && c.kick()
	c.mu.Unlock()
	if tell {
		c.s.pool.flush(c)
	}
	return nil
}

// grant gives a subscription credit for n updates more. mu is held.
func (c *conn) grant(id, n uint32) {
	r := c.open.get(id)
	if r == nil || r.sub == nil {
		c.s.stats.fault(FaultLate)
		return
	}
	s := r.sub
	credit := int64(s.credit) + int64(n)
	if credit > int64(c.s.cfg.MaxCredit) {
		c.s.stats.fault(FaultCredit)
		r.stop(OutOfRange)
		return
	}
	s.credit = int(credit)
	s.drain()
	s.nudge()
}
