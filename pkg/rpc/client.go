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
	"time"
)

// ClientConfig has good zeros.
type ClientConfig struct {
	Hello    Hello         // who is calling; versions and limit are filled in
	Timeout  time.Duration // of calls whose context has no deadline, and of the handshake; 0: 30 s
	Window   int           // updates of a subscription that may wait to be taken; 0: 256
	MaxFrame int           // bytes of body that the client takes; 0: 1 MiB
	MaxReply int           // bytes of an answer in several frames; 0: 64 MiB
	Write    time.Duration // in which the server must take a write; 0: 10 s
}

// Client is the calling end. Its methods may be used by many goroutines: calls share
// the connection, and what is called together travels together. Callers touch the
// output and never the socket, so a server that does not read delays nobody's
// cancelling.
type Client struct {
	nc      net.Conn
	cfg     ClientConfig
	welcome Welcome
	wake    chan struct{} // there is output
	leaving chan struct{} // closed when no new call is taken
	gone    chan struct{} // closed when the connection has ended
	done    chan struct{} // closed when every call knows it
	wg      sync.WaitGroup

	mu     sync.Mutex
	out    []byte
	spare  []byte
	nextID uint32
	calls  map[uint32]*call
	parts  map[uint32][]byte
	room   room
	away   *Error // the server's GOAWAY
	broken error  // why nothing can be written; the reader may still learn more
	err    error
	heard  time.Time // when the server last said something
}

// Caller is what generated clients call through.
type Caller interface {
	Call(ctx context.Context, method uint16, body []byte) ([]byte, error)
	Go(ctx context.Context, method uint16, body []byte, then func(body []byte, err error)) error
	Notify(method uint16, body []byte) error
	Subscribe(ctx context.Context, method uint16, body []byte) (*Stream, error)
}

var _ Caller = (*Client)(nil)

// call is a request that waits: for its answer, or as a subscription for its end. It
// keeps its id until then, even when its caller gave up.
type call struct {
	done   chan struct{} // closed after body and err are set
	body   []byte
	err    error
	then   func(body []byte, err error)
	stream *Stream

	calls, bytes int // what it takes of Client.room
}

// NewClient shakes hands on nc and owns it from then on. A server that refuses says
// why: the error is an *Error.
func NewClient(ctx context.Context, nc net.Conn, cfg ClientConfig) (*Client, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.Window = cmp.Or(cfg.Window, 256)
	cfg.MaxFrame = cmp.Or(cfg.MaxFrame, 1<<20)
	cfg.MaxReply = cmp.Or(cfg.MaxReply, 64<<20)
	cfg.Write = cmp.Or(cfg.Write, 10*time.Second)
	cfg.Hello.ProtoMin, cfg.Hello.ProtoMax, cfg.Hello.MaxFrame = 1, 1, uint32(cfg.MaxFrame)
	c := &Client{
		nc: nc, cfg: cfg,
		wake: make(chan struct{}, 1), leaving: make(chan struct{}), gone: make(chan struct{}), done: make(chan struct{}),
		calls: map[uint32]*call{}, parts: map[uint32][]byte{}, heard: time.Now(),
	}
	in := &parser{limit: cfg.MaxFrame}
	if err := c.greet(ctx, in); err != nil {
		nc.Close()
		return nil, err
	}
	c.room.calls, c.room.bytes = int(c.welcome.MaxInflight), int(c.welcome.MaxInflightBytes)
	c.room.most = c.room.bytes
	c.wg.Go(func() { c.read(in) })
	c.wg.Go(c.write)
	c.wg.Go(c.keepAlive)
	return c, nil
}

func (c *Client) greet(ctx context.Context, in *parser) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.nc.SetDeadline(time.Unix(1, 0)) })
	defer c.nc.SetDeadline(time.Time{})
	defer stop()
	hello := AppendFrame([]byte(Preamble), Frame{Kind: KindHello, Body: appendHello(nil, &c.cfg.Hello)})
	if _, err := c.nc.Write(hello); err != nil {
		return handshakeError(ctx, err)
	}
	for {
		var f Frame
		ok, e := in.next(&f)
		switch {
		case e != nil:
			return e
		case ok && f.Kind == KindGoAway:
			_, e := parseGoAway(Status(f.Code), f.Body)
			return e
		case ok:
			w, good := parseWelcome(f.Body)
			if f.Kind != KindWelcome || !good || w.Proto != 1 {
				return protocolError(faultNone, BadFrame, "the server does not welcome")
			}
			c.welcome = *w
			c.cfg.Window = max(1, min(c.cfg.Window, int(w.MaxCredit)))
			return nil
		}
		if _, err := in.fill(c.nc); err != nil {
			return handshakeError(ctx, err)
		}
	}
}

func handshakeError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Status: Unavailable, Message: "handshake: " + err.Error(), NotRun: true}
}

// Welcome is what the server said that holds.
func (c *Client) Welcome() Welcome { return c.welcome }

// Leaving is closed when the server said GOAWAY or the connection has ended: new calls
// fail, as having had no effect, while those in flight may still be answered. Who
// wants to go on dials anew.
func (c *Client) Leaving() <-chan struct{} { return c.leaving }

// Done is closed when the connection has ended and every call knows; Err then says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the connection ended or, after Leaving, will: an *Error with the server's
// GOAWAY, or with Unavailable.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason()
}

func (c *Client) reason() error {
	if c.err == nil && c.away != nil {
		return c.away
	}
	return c.err
}

// Close ends the connection and waits until nothing of it is left. Calls in flight
// fail with Canceled. It must not be called from the function given to Go.
func (c *Client) Close() error {
	c.fail(&Error{Status: Canceled, Message: "closed"})
	c.wg.Wait()
	<-c.done
	return nil
}

// Call sends a request and waits for its answer. A call always ends: with ctx, or
// after ClientConfig.Timeout where ctx has no deadline. The body may be used again
// when Call returns.
func (c *Client) Call(ctx context.Context, method uint16, body []byte) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	p := &call{done: make(chan struct{})}
	id, err := c.start(ctx, p, method, body)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.done:
		return p.body, p.err
	case <-ctx.Done():
		c.cancel(id)
		return nil, &Error{Status: StatusOf(ctx.Err())}
	}
}

// Go sends a request and calls then with its answer, from the goroutine that reads:
// then must not block or wait for the Client, and the body is good only until it
// returns. ctx bounds the wait for room to send and gives the deadline; cancelling it
// later does nothing. When Go itself fails, then is not called.
func (c *Client) Go(ctx context.Context, method uint16, body []byte, then func(body []byte, err error)) error {
	_, err := c.start(ctx, &call{then: then}, method, body)
	return err
}

func (c *Client) start(ctx context.Context, p *call, method uint16, body []byte) (uint32, error) {
	if len(body) > int(c.welcome.MaxMessage) || len(body) > int(c.welcome.MaxInflightBytes) {
		return 0, &Error{Status: FrameTooLarge, Message: "message over the server's limit", NotRun: true}
	}
	p.bytes = len(body)
	if p.stream == nil {
		p.calls = 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, p); err != nil {
		return 0, err
	}
	id := c.newID()
	c.calls[id] = p
	f := Frame{Kind: KindReq, ID: id, Code: method, Aux: c.timeout(ctx, p), Body: body}
	c.out = appendMessage(c.out, f, int(c.welcome.MaxFrame))
	if p.stream != nil {
		c.grant(id, c.cfg.Window)
	}
	c.poke()
	return id, nil
}

// enter waits until there is room for p. mu is held, and let go of meanwhile.
func (c *Client) enter(ctx context.Context, p *call) error {
	if err := c.reason(); err != nil {
		return unsent(err)
	}
	if c.room.never(p) {
		return &Error{Status: ResourceExhausted, Message: "no room for the message beside the subscriptions", NotRun: true}
	}
	place := c.room.take(p)
	if place == nil {
		return nil
	}
	c.mu.Unlock()
	select {
	case <-place.Value.(*turn).ok:
	case <-ctx.Done():
	case <-c.leaving:
	}
	c.mu.Lock()
	err := c.reason()
	if err == nil && ctx.Err() != nil {
		err = &Error{Status: StatusOf(ctx.Err())}
	}
	if err != nil {
		c.room.giveUp(place)
		return unsent(err)
	}
	return nil
}

// unsent says of a failure that the request never left.
func unsent(err error) error {
	e := Error{Status: StatusOf(err)}
	if known := (*Error)(nil); errors.As(err, &known) {
		e = *known
	}
	e.NotRun = true
	return &e
}

func (c *Client) newID() uint32 {
	for {
		c.nextID++
		if c.nextID != 0 && c.calls[c.nextID] == nil {
			return c.nextID
		}
	}
}

func (c *Client) timeout(ctx context.Context, p *call) uint16 {
	if p.stream != nil {
		return NoTimeout
	}
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(c.cfg.Timeout)
	}
	ms := (time.Until(until) + time.Millisecond - 1) / time.Millisecond
	switch {
	case ms >= NoTimeout && p.then != nil:
		return NoTimeout - 1
	case ms >= NoTimeout:
		return NoTimeout // more than the field can say; the caller's CANCEL ends it
	}
	return uint16(max(ms, 1))
}

func (c *Client) grant(id uint32, n int) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	c.out = AppendFrame(c.out, Frame{Kind: KindCredit, ID: id, Body: b[:]})
}

func (c *Client) cancel(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[id] != nil && c.err == nil {
		c.out = appendHeader(c.out, KindCancel, 0, 0, id, 0, 0)
		c.poke()
	}
}

// maxUnread is how much output may wait for a server that does not read, of what is
// not bounded by what is in flight.
const maxUnread = 4 << 20

// Notify sends what is not answered. It never waits; when the server does not read it
// fails with ResourceExhausted.
func (c *Client) Notify(method uint16, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.reason(); err != nil {
		return unsent(err)
	}
	if len(body) > int(c.welcome.MaxMessage) {
		return &Error{Status: FrameTooLarge, Message: "message over the server's limit", NotRun: true}
	}
	if len(c.out) > maxUnread {
		return &Error{Status: ResourceExhausted, Message: "the server does not read", NotRun: true}
	}
	c.out = appendMessage(c.out, Frame{Kind: KindNotify, Code: method, Body: body}, int(c.welcome.MaxFrame))
	c.poke()
	return nil
}

func (c *Client) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Client) write() {
	for {
		select {
		case <-c.wake:
		case <-c.gone:
			return
		}
		runtime.Gosched() // others who are about to call travel along
		c.mu.Lock()
		out := c.out
		c.out, c.spare = c.spare[:0], nil
		c.mu.Unlock()
		c.nc.SetWriteDeadline(time.Now().Add(c.cfg.Write))
		if _, err := c.nc.Write(out); err != nil {
			c.stopWriting(lost(err))
			return
		}
		if cap(out) <= 4*bigBuffer {
			c.mu.Lock()
			c.spare = out[:0]
			c.mu.Unlock()
		}
	}
}

// stopWriting leaves it to the reader to end the connection: the server may have said
// why before it closed.
func (c *Client) stopWriting(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.broken = err
		c.nc.SetReadDeadline(time.Now().Add(lastWord))
	}
}

func lost(err error) error {
	var e *Error // of a transport that knows what a frame is
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, io.EOF) {
		return &Error{Status: Unavailable, Message: "the server closed the connection"}
	}
	return &Error{Status: Unavailable, Message: err.Error()}
}

// keepAlive finds a server that is gone without a word within twice the idle time: one
// that left several questions unanswered, as the clock alone also passes when it is this
// process that stood still.
func (c *Client) keepAlive() {
	idle := max(c.welcome.Idle, 10*time.Millisecond)
	t := time.NewTicker(idle / 2)
	defer t.Stop()
	asked, heard := 0, time.Time{}
	for {
		select {
		case <-c.gone:
			return
		case now := <-t.C:
			c.mu.Lock()
			if c.heard != heard {
				asked, heard = 0, c.heard
			}
			silent := now.Sub(heard)
			if silent >= idle/2 {
				c.out = AppendFrame(c.out, Frame{Kind: KindPing, Body: make([]byte, 8)})
				c.poke()
				asked++
			}
			c.mu.Unlock()
			if silent > 2*idle && asked > 3 {
				c.fail(&Error{Status: Unavailable, Message: "the server is silent"})
				return
			}
		}
	}
}

// fail ends the connection, once. It is the reader that then tells every call, so that
// the functions given to Go run one after another.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	if c.away == nil {
		close(c.leaving)
	}
	close(c.gone)
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// tellAll is the reader's last act.
func (c *Client) tellAll() {
	c.mu.Lock()
	calls := c.calls
	c.calls = nil
	err := c.err
	c.mu.Unlock()
	for _, p := range calls {
		c.settle(p, nil, err)
	}
	c.nc.Close() // last: over TLS it may wait for the peer
	close(c.done)
}

// readFailed ends the connection with the best reason there is.
func (c *Client) readFailed(err error) {
	c.mu.Lock()
	switch {
	case c.away != nil:
		err = c.unanswered()
	case c.broken != nil && errors.Is(err, os.ErrDeadlineExceeded):
		err = c.broken
	default:
		err = lost(err)
	}
	c.mu.Unlock()
	c.fail(err)
}

// unanswered is the GOAWAY for calls that the server took: nobody knows of them.
func (c *Client) unanswered() error {
	e := *c.away
	e.NotRun = false
	return &e
}

// settle gives a call its answer. It is no longer in c.calls, so this happens once.
func (c *Client) settle(p *call, body []byte, err error) {
	switch {
	case p.stream != nil:
		p.stream.end(body, err)
	case p.then != nil:
		p.then(body, err)
	default:
		p.body, p.err = append([]byte(nil), body...), err
		close(p.done)
	}
}

func (c *Client) read(in *parser) {
	defer c.tellAll()
	for {
		var f Frame
		for {
			ok, e := in.next(&f)
			if e != nil {
				c.fail(e)
				return
			}
			if !ok {
				break
			}
			if err := c.frame(&f); err != nil {
				c.fail(err)
				return
			}
		}
		if _, err := in.fill(c.nc); err != nil {
			c.readFailed(err)
			return
		}
		c.mu.Lock()
		c.heard = time.Now()
		c.mu.Unlock()
	}
}

// frame handles one frame. The error ends the connection.
func (c *Client) frame(f *Frame) error {
	switch f.Kind {
	case KindRsp, KindErr, KindEnd, KindEvent:
		return c.answered(f)
	case KindPing:
		c.mu.Lock()
		if len(c.out) < maxUnread {
			c.out = AppendFrame(c.out, Frame{Kind: KindPong, ID: f.ID, Body: f.Body})
			c.poke()
		}
		c.mu.Unlock()
		return nil
	case KindPong:
		return nil
	case KindGoAway:
		return c.goAway(f)
	}
	return protocolError(faultNone, BadFrame, "a server does not send this kind")
}

// goAway takes no new calls, gives back those that the server did not take, and lets
// the others end.
func (c *Client) goAway(f *Frame) error {
	last, e := parseGoAway(Status(f.Code), f.Body)
	var back []*call
	c.mu.Lock()
	if c.away == nil && c.err == nil {
		close(c.leaving)
	}
	c.away = e
	for id, p := range c.calls {
		if e.NotRun && int32(id-last) > 0 { // ids wrap
			c.forget(id, p)
			back = append(back, p)
		}
	}
	err := c.finished()
	c.mu.Unlock()
	for _, p := range back {
		c.settle(p, nil, e)
	}
	return err
}

// finished is the end of a connection on which nothing is left to come.
func (c *Client) finished() error {
	if c.away != nil && len(c.calls) == 0 {
		return c.unanswered()
	}
	return nil
}

func (c *Client) forget(id uint32, p *call) {
	delete(c.calls, id)
	delete(c.parts, id)
	c.room.free(p)
}

// answered handles what belongs to a request.
func (c *Client) answered(f *Frame) error {
	c.mu.Lock()
	p := c.calls[f.ID]
	if p == nil {
		defer c.mu.Unlock()
		if c.away != nil || c.err != nil {
			return nil // it was given back, or all were
		}
		return protocolError(faultNone, BadFrame, "an answer nobody waits for")
	}
	whole, err := c.assemble(f)
	if !whole || err != nil {
		c.mu.Unlock()
		return err
	}
	if f.Kind == KindErr || f.Kind == KindEnd || f.Kind == KindRsp && p.stream == nil {
		c.forget(f.ID, p)
	}
	end := c.finished()
	c.mu.Unlock()
	if err := c.deliver(p, f); err != nil {
		return err
	}
	return end
}

func (c *Client) deliver(p *call, f *Frame) error {
	switch {
	case f.Kind == KindEvent && p.stream != nil:
		return p.stream.event(f)
	case f.Kind == KindErr, f.Kind == KindEnd && f.Code != 0:
		if p.stream != nil {
			p.stream.setSkipped(f.Aux)
		}
		c.settle(p, nil, parseError(Status(f.Code), f.Body))
	case f.Kind == KindEnd && p.stream != nil:
		p.stream.setSkipped(f.Aux)
		c.settle(p, nil, io.EOF)
	case f.Kind == KindRsp && p.stream != nil:
		return p.stream.accept(f.Body)
	case f.Kind == KindRsp:
		c.settle(p, f.Body, nil)
	default:
		err := protocolError(faultNone, BadFrame, "a frame that does not fit its request")
		if f.Kind == KindEnd { // it is forgotten already
			c.settle(p, nil, err)
		}
		return err
	}
	return nil
}

func (c *Client) assemble(f *Frame) (bool, error) {
	if f.Flags&FlagMore == 0 && len(c.parts) == 0 {
		return true, nil
	}
	had, begun := c.parts[f.ID]
	if !begun && f.Flags&FlagMore == 0 {
		return true, nil
	}
	if len(had)+len(f.Body) > c.cfg.MaxReply {
		return false, protocolError(faultNone, FrameTooLarge, "answer over the limit")
	}
	had = append(had, f.Body...)
	if f.Flags&FlagMore != 0 {
		c.parts[f.ID] = had
		return false, nil
	}
	delete(c.parts, f.ID)
	f.Body = had
	return true, nil
}
