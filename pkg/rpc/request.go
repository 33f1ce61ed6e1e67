package rpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/fault"
)

// Request is one call while its handler runs. Nothing of it may be kept afterwards.
type Request struct {
	Method uint16
	ID     uint32
	Body   []byte
	Meta   []byte // what stood before the body, or nil

	c      *conn
	m      *Method
	notify bool
	next   *Request // in the lane of its key
	also   *Request // shares its worker's turn
	key    uint64
	keep   []byte // holds Body and Meta of requests that leave the reader
	out    []byte
	room   int64 // of conn.parked, reserved
	sub    *Subscription

	before, after *Request // in the wheel, guarded by its lock, as is due
	due           int64

	ended    atomic.Uint32 // the status that ends it early
	mu       sync.Mutex
	deadline time.Time
	ctx      *callContext
	cancel   context.CancelCauseFunc
}

// Peer is what Config.Authenticate made of the caller.
func (r *Request) Peer() any { return r.c.peer }

// ConnID is the number of the connection.
func (r *Request) ConnID() uint64 { return r.c.id }

// RemoteAddr is where the connection comes from.
func (r *Request) RemoteAddr() net.Addr { return r.c.nc.RemoteAddr() }

// Stopped says cheaply what Context().Done() would: the caller has gone, gave up, or
// time ran out.
func (r *Request) Stopped() bool { return r.ended.Load() != 0 || r.c.gone.Load() }

// Context ends with the request: canceled, out of time, or its connection gone. It is
// made when first asked for; handlers that do not wait need none. An inline request
// has its connection's.
func (r *Request) Context() context.Context {
	if r.m.Exec == Inline {
		return r.c.context()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil {
		ctx, cancel := context.WithCancelCause(r.c.context())
		r.ctx, r.cancel = &callContext{ctx, r.deadline}, cancel
		if s := Status(r.ended.Load()); s != 0 {
			cancel(&Error{Status: s})
		}
	}
	return r.ctx
}

// stop ends r early. The first status counts.
func (r *Request) stop(s Status) {
	if !r.ended.CompareAndSwap(0, uint32(s)) {
		return
	}
	switch s {
	case Canceled:
		r.c.s.stats.cancels.Add(1)
	case DeadlineExceeded:
		r.c.s.stats.deadlines.Add(1)
	}
	r.mu.Lock()
	if r.cancel != nil {
		r.cancel(&Error{Status: s})
	}
	r.mu.Unlock()
	if r.sub != nil {
		r.sub.letGo()
	}
}

// callContext says DeadlineExceeded where the wheel ended it.
type callContext struct {
	context.Context
	deadline time.Time
}

func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *callContext) Err() error {
	err := c.Context.Err()
	if err != nil && StatusOf(context.Cause(c.Context)) == DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return err
}

// run is a worker's turn.
func (r *Request) run() {
	for r != nil {
		also := r.also // before r is somebody else's
		r.serve()
		r = also
	}
}

func (r *Request) serve() {
	out, err := r.call()
	if r.sub != nil && err == nil && r.sub.stays() {
		return // r is the subscription's
	}
	s := r.c.s
	r.c.finish(r, out, err)
	var next *Request
	if r.m.Exec == Keyed {
		next = s.lanes.done(r) // behind the answer: an empty lane lets others overtake it
	}
	s.release(r)
	if next != nil {
		s.pool.submit(next)
	}
}

func (r *Request) call() (out []byte, err error) {
	if r.sub == nil {
		r.c.makeRoom(r)
	}
	out = append(r.out[:0], make([]byte, HeaderSize)...)
	defer func() {
		if v := recover(); v != nil {
			err = r.c.panicked(r.m, v)
		}
	}()
	if r.sub != nil && r.sub.life.Load() == subEnds {
		return out, r.sub.leave()
	}
	if s := Status(r.ended.Load()); s != 0 {
		return out, &Error{Status: s, NotRun: true}
	}
	if !r.notify && r.c.gone.Load() {
		return out, &Error{Status: Canceled, NotRun: true} // nobody is there to hear
	}
	fault.Request()
	if r.m.Stream != nil {
		return out, r.m.Stream(r, r.sub)
	}
	return r.m.Handle(r, out)
}

// failure makes of a handler's error what the peer may see.
func (r *Request) failure(err error) *Error {
	if s := Status(r.ended.Load()); s != 0 && (StatusOf(err) == s || errors.Is(err, context.Canceled)) {
		return &Error{Status: s, NotRun: notRun(err)}
	}
	return r.c.failure(r.m, err)
}

func notRun(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.NotRun
}

func (c *conn) failure(m *Method, err error) *Error {
	var e *Error
	if !errors.As(err, &e) && c.s.cfg.Translate != nil {
		e = c.s.cfg.Translate(err)
	}
	switch {
	case e != nil:
		if e.Status == BadBody {
			c.s.stats.fault(FaultBody)
		}
		if e.Status == OK {
			e = &Error{Status: Unknown, Message: e.Message}
		}
		if !e.NotRun && !e.Status.MayHaveRun() {
			known := *e
			known.NotRun = true
			e = &known
		}
		return e
	case errors.Is(err, context.Canceled):
		return &Error{Status: Canceled}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Status: DeadlineExceeded}
	}
	ref := reference()
	c.s.log.Error("request failed", "method", m.Name, "ref", ref, "err", err)
	return &Error{Status: Internal, Message: "internal error", Ref: ref}
}

func (c *conn) panicked(m *Method, v any) *Error {
	c.s.stats.fault(FaultPanic)
	ref := reference()
	c.s.log.Error("handler panicked", "method", m.Name, "ref", ref, "err", v, "stack", string(debug.Stack()))
	return &Error{Status: Internal, Message: "internal error", Ref: ref}
}

func reference() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// lanes keeps requests of the same key in order: a lane is a chain of requests of
// which the first runs, and the map knows the last.
type lanes struct {
	shards [16]struct {
		mu   sync.Mutex
		last map[uint64]*Request
	}
}

// enter says whether r may run at once.
func (l *lanes) enter(r *Request) bool {
	s := &l.shards[r.key%16]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[uint64]*Request{}
	}
	last := s.last[r.key]
	s.last[r.key] = r
	if last != nil {
		last.next = r
	}
	return last == nil
}

// done yields who is next behind r.
func (l *lanes) done(r *Request) *Request {
	s := &l.shards[r.key%16]
	s.mu.Lock()
	defer s.mu.Unlock()
	next := r.next
	r.next = nil
	if next == nil {
		delete(s.last, r.key)
	}
	return next
}
