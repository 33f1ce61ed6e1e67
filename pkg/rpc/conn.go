package rpc

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/sock"
)

const (
	lastWord    = time.Second // for a peer to take the GOAWAY
	lingerBytes = 256 << 10   // that are read and thrown away so that it arrives
	lingerTime  = 200 * time.Millisecond
)

// conn is one connection of a server. What an update touches comes first, on as few cache
// lines as it fits: a broadcast finds those of every viewer cold.
type conn struct {
	mu      sync.Mutex   // guards what follows, up to open
	sock    *sock.Writer // for direct writes; nil where that is not possible
	pending []byte
	half    []byte          // what a direct write began and did not end; goes before pending
	writing bool            // somebody writes; it goes on until nothing is pending
	kicked  bool            // and somebody will
	broken  bool            // nothing can be written any more
	leaving bool            // GOAWAY is the last word
	told    bool            // it has been said that no new requests are taken
	hangup  bool            // the read deadline stands where it is
	waiting int             // for changed
	wants   []*Subscription // detached ones whose ready is to be called
	s       *Server         // written once, as limit
	limit   int             // of the frames that the peer takes
	halfAt  int             // so much of half has left

	spare     []byte
	writeBy   time.Time
	going     *Error    // why no new requests are taken, before GOAWAY says it and after
	changed   sync.Cond // a request ended, a write ended, or the connection broke
	running   int       // open ones and notifies
	bytes     int       // of their bodies
	subs      int
	congested []*Subscription // have credit, but the peer does not read
	errands   int             // for detached subscriptions, that run
	open      requests
	draining  bool // the connection is to end
	drained   bool // and has done what there is to do for that, bar ending

	nc   net.Conn
	id   uint64
	peer any
	base context.Context // what requests see the values of
	life atomic.Pointer[life]
	gone atomic.Bool // life is over, or would be

	// Below belongs to the reader.
	in      parser
	out     []byte     // what inline requests answered
	inline  *Request   // made for the first
	halves  bool       // a batch may be answered in two
	calling bool       // in a handler that may panic
	batch   []*Request // to submit together
	group   *Request   // the last of batch, if others may share its turn
	grouped int        // how many do
	parts   map[uint32]*part
	held    int // bytes in parts
	calls   uint64
	armed   time.Time // when the read deadline was set
	readAt  int64     // when the batch was read, by the wheel's clock
	began   time.Time // the same, when somebody asked
	last    uint32    // the greatest id that was taken
	closed  bool      // GOAWAY has been said: requests are refused

	parked  atomic.Int64 // bytes of long answers that wait for the peer to read; written under mu
	longest int64        // of them so far; guarded by mu
}

// ServeConn serves nc until the peer leaves, breaks the protocol, or ctx ends, and
// closes it. When it returns, every handler of the connection has returned and
// nothing of it is left.
//
// When ctx ends, GOAWAY says so at once, with ctx's cause if that is an *Error: new
// requests are refused, subscriptions end, and requests in flight have Config.Grace.
// What ctx carries is visible to Config.Authenticate and in Request.Context.
//
// nc may be anything that carries bytes in order. Every Write is of whole frames. If
// it has a method Admit(), that is called once, when the peer is known.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	s.enter()
	defer s.leave()
	s.stats.conns.Add(1)
	defer s.stats.conns.Add(-1)

	c := &conn{s: s, nc: nc, id: s.connIDs.Add(1), limit: minFrame, sock: sock.NewWriter(nc), base: context.WithoutCancel(ctx)}
	c.changed.L = &c.mu
	defer c.cancel()
	defer context.AfterFunc(ctx, func() { c.endFor(farewell(ctx)) })()
	e := c.read(ctx)
	c.end(e)
	c.mu.Lock()
	for c.draining && !c.drained {
		c.wait()
	}
	c.draining, c.drained = true, true // whoever comes now is too late
	c.mu.Unlock()
}

// endFor ends the connection as the end of its context does. Only the first why counts.
func (c *conn) endFor(why *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return
	}
	c.draining = true
	go func() { // ServeConn waits for it
		c.drain(why)
		c.mu.Lock()
		c.drained = true
		c.tell()
		c.mu.Unlock()
	}()
}

// connKey is where the context of Config.Authenticate has the connection.
type connKey struct{}

// Ender returns, in Config.Authenticate and from its context, what ends the connection
// for a reason of its own, at any time and for as long as it lives: as when the context
// of ServeConn ends, with GOAWAY and the grace of what is in flight. It does not wait.
func Ender(ctx context.Context) func(why *Error) {
	c := ctx.Value(connKey{}).(*conn)
	return func(why *Error) {
		bye := *why
		bye.NotRun, bye.fault = true, faultNone
		c.endFor(&bye)
	}
}

// life is the context of a connection, made when somebody asks for it: most never do.
type life struct {
	context.Context
	cancel context.CancelFunc
}

func (c *conn) context() context.Context {
	for {
		if l := c.life.Load(); l != nil {
			return l
		}
		ctx, cancel := context.WithCancel(c.base)
		if c.life.CompareAndSwap(nil, &life{ctx, cancel}) {
			if c.gone.Load() {
				cancel()
			}
			return ctx
		}
		cancel()
	}
}

func (c *conn) cancel() {
	c.gone.Store(true)
	if l := c.life.Load(); l != nil {
		l.cancel()
	}
}

// begin shakes hands and answers what came with the HELLO. It does so on a stack that
// goes back when that is done: what stays with an idle connection is the shallow one of
// its reader, half the size.
func (c *conn) begin(ctx context.Context) (e *Error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if e = c.handshake(ctx); e != nil {
			return
		}
		c.in.limit = c.s.cfg.MaxFrame
		c.s.stats.accepted.Add(1)
		if door, ok := c.nc.(interface{ Admit() }); ok {
			door.Admit()
		}
		c.readAt = c.s.wheel.clock.Load() // of what came behind the HELLO
		e = c.process()
	}()
	<-done
	return e
}

// read is the life of the connection. It returns what the peer did wrong, or nil.
func (c *conn) read(ctx context.Context) *Error {
	if e := c.begin(ctx); e != nil {
		return e
	}
	// Answers to half of a batch leave at once: then the peer works on them while the
	// other half is worked on here, instead of the two taking turns. Transports that cut
	// what they carry into records, such as TLS, have that effect by themselves.
	from, halves := newEager(c.nc, &c.s.stats.reads, &c.in)
	c.halves = halves
	pinged := false
	c.out = nil // that of the handshake
	for {
		busy, going := c.look()
		if going && !c.closed {
			c.announce()
		}
		if busy {
			runtime.Gosched() // a reader that always finds more would starve the workers
		}
		c.arm()
		n, err := c.in.fill(from)
		c.readAt, c.began = c.s.wheel.clock.Load(), time.Time{}
		c.s.stats.reads.Add(1)
		c.s.stats.bytesRead.Add(uint64(n))
		switch {
		case err == nil:
			pinged = false
		case errors.Is(err, os.ErrDeadlineExceeded):
			switch {
			case c.leaves():
				return nil
			case c.calledOff(): // to say so
			case pinged:
				return &Error{Status: Unavailable, Reason: "idle", fault: FaultIdle}
			default:
				pinged = true
				c.ping()
			}
		default:
			var e *Error // of a transport that knows what a frame is
			errors.As(err, &e)
			return e
		}
		if e := c.process(); e != nil {
			return e
		}
	}
}

func (c *conn) look() (busy, going bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running > 0, c.going != nil
}

// calledOff says whether the reader has yet to announce that the connection ends.
func (c *conn) calledOff() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.going != nil && !c.told
}

// announce says GOAWAY while requests are in flight. Only the reader knows which ids
// it has taken, so nobody else can say it.
func (c *conn) announce() {
	c.mu.Lock()
	why := c.going
	c.told = true
	c.mu.Unlock()
	c.closed, c.armed = true, time.Time{}
	c.out = appendGoAwayFrame(c.out, c.last, why)
	c.put()
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
	if c.hangup || c.going != nil && !c.told {
		return false
	}
	c.nc.SetReadDeadline(t)
	return true
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

// farewell is why a connection ends with ctx.
func farewell(ctx context.Context) *Error {
	why := Error{Status: Unavailable, Message: "the server is stopping"}
	if known := (*Error)(nil); errors.As(context.Cause(ctx), &known) && known.Status != OK {
		why = *known
	}
	why.NotRun, why.fault = true, faultNone // what comes after the last id taken
	return &why
}

// drain is what happens when ctx ends: no new requests, subscriptions end, the rest
// may finish.
func (c *conn) drain(why *Error) {
	expired := false
	giveUp := time.AfterFunc(c.s.cfg.Grace, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		expired = true
		c.tell()
	})
	defer giveUp.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.going = why
	c.nc.SetReadDeadline(time.Unix(1, 0)) // the reader is to announce it
	for r := range c.open.all {
		if r.sub != nil {
			r.stop(why.Status)
		}
	}
	for c.running > 0 && !expired && !c.broken && !c.leaving {
		c.wait()
	}
	c.callOff()
	// The reader that waits for a peer to take its answers sees no deadline of reading.
	for !expired && !c.broken && !c.leaving {
		c.wait()
	}
	switch {
	case c.broken || c.leaving:
	case c.told:
		c.lastWords()
	default: // what the reader has taken only it knows: all may have run
		cut := *why
		cut.NotRun = false
		c.goAway(0, &cut)
	}
}

// callOff ends the reader. mu is held.
func (c *conn) callOff() {
	c.hangup = true
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// end says why, waits for every handler, and closes.
func (c *conn) end(e *Error) {
	if e != nil {
		c.s.stats.fault(e.fault)
		c.s.log.Debug("connection ended", "remote", c.nc.RemoteAddr(), "err", e)
	}
	c.mu.Lock()
	if e == nil && !c.told {
		e = c.going
	}
	switch {
	case c.leaving || c.broken:
	case e != nil && e.fault != FaultPreamble:
		c.goAway(c.last, e)
	case c.told:
		c.lastWords()
	}
	c.going, c.told = cmp.Or(c.going, &Error{Status: Unavailable}), true
	for (c.owes() || c.writing) && !c.broken {
		if c.writing { // who wrote directly leaves the rest to others
			c.wait()
			continue
		}
		c.mu.Unlock()
		c.flush()
		c.mu.Lock()
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
	for r := range c.open.all {
		if r.sub != nil {
			r.sub.letGo()
		}
	}
	for c.running > 0 || c.errands > 0 || c.kicked || c.writing {
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
