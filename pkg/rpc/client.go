package rpc

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
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
	room    chan struct{} // one token for each request in flight
	gone    chan struct{} // closed when the connection has ended
	wg      sync.WaitGroup

	mu     sync.Mutex
	out    []byte
	spare  []byte
	nextID uint32
	calls  map[uint32]*call
	parts  map[uint32][]byte
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
	token  bool // it holds one of Client.room
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
		wake: make(chan struct{}, 1), gone: make(chan struct{}),
		calls: map[uint32]*call{}, parts: map[uint32][]byte{}, heard: time.Now(),
	}
	in := &parser{limit: cfg.MaxFrame}
	if err := c.greet(ctx, in); err != nil {
		nc.Close()
		return nil, err
	}
	c.room = make(chan struct{}, min(c.welcome.MaxInflight, 1<<20))
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

// Done is closed when the connection has ended; Err then says why.
func (c *Client) Done() <-chan struct{} { return c.gone }

// Err is why the connection ended: an *Error with the server's GOAWAY, or with
// Unavailable.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and waits until nothing of it is left. Calls in flight
// fail with Canceled.
func (c *Client) Close() error {
	c.fail(&Error{Status: Canceled, Message: "closed"})
	c.wg.Wait()
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
// then must not block, and the body is good only until it returns. ctx bounds the
// wait for room to send and gives the deadline; cancelling it later does nothing.
func (c *Client) Go(ctx context.Context, method uint16, body []byte, then func(body []byte, err error)) error {
	_, err := c.start(ctx, &call{then: then}, method, body)
	return err
}

func (c *Client) start(ctx context.Context, p *call, method uint16, body []byte) (uint32, error) {
	if len(body) > int(c.welcome.MaxMessage) {
		return 0, &Error{Status: FrameTooLarge, Message: "message over the server's limit", NotRun: true}
	}
	if p.stream == nil {
		select {
		case c.room <- struct{}{}:
			p.token = true
		case <-ctx.Done():
			return 0, &Error{Status: StatusOf(ctx.Err()), NotRun: true}
		case <-c.gone:
			return 0, c.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		c.giveBack(p)
		return 0, c.err
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

func (c *Client) giveBack(p *call) {
	if p.token {
		<-c.room
	}
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
	return uint16(min(max(ms, 1), NoTimeout-1))
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

// Notify sends what is not answered.
func (c *Client) Notify(method uint16, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
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
			c.fail(lost(err))
			return
		}
		if cap(out) <= 4*bigBuffer {
			c.mu.Lock()
			c.spare = out[:0]
			c.mu.Unlock()
		}
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

// keepAlive finds a server that is gone without a word within twice the idle time.
func (c *Client) keepAlive() {
	idle := max(c.welcome.Idle, 10*time.Millisecond)
	t := time.NewTicker(idle / 2)
	defer t.Stop()
	for {
		select {
		case <-c.gone:
			return
		case now := <-t.C:
			c.mu.Lock()
			silent := now.Sub(c.heard)
			if silent >= idle/2 {
				c.out = AppendFrame(c.out, Frame{Kind: KindPing, Body: make([]byte, 8)})
				c.poke()
			}
			c.mu.Unlock()
			if silent > 2*idle {
				c.fail(&Error{Status: Unavailable, Message: "the server is silent"})
				return
			}
		}
	}
}

// fail ends everything, once.
func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	calls := c.calls
	c.calls = nil
	close(c.gone)
	c.nc.Close()
	c.mu.Unlock()
	for _, p := range calls {
		c.settle(p, nil, err)
	}
}

// settle gives a call its answer. It is no longer in c.calls, so this happens once.
func (c *Client) settle(p *call, body []byte, err error) {
	c.giveBack(p)
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
			c.fail(lost(err))
			return
		}
		c.mu.Lock()
		c.heard = time.Now()
		c.mu.Unlock()
	}
}

func (c *Client) frame(f *Frame) error {
	c.mu.Lock()
	whole, err := c.assemble(f)
	if !whole || err != nil {
		c.mu.Unlock()
		return err
	}
	p := c.calls[f.ID]
	last := f.Kind == KindErr || f.Kind == KindEnd || f.Kind == KindRsp && p != nil && p.stream == nil
	if last {
		delete(c.calls, f.ID)
	}
	c.mu.Unlock()
	switch f.Kind {
	case KindRsp, KindErr, KindEnd, KindEvent:
		if p == nil {
			return protocolError(faultNone, BadFrame, "an answer nobody waits for")
		}
	case KindPing:
		c.mu.Lock()
		c.out = AppendFrame(c.out, Frame{Kind: KindPong, ID: f.ID, Body: f.Body})
		c.poke()
		c.mu.Unlock()
		return nil
	case KindPong:
		return nil
	case KindGoAway:
		_, e := parseGoAway(Status(f.Code), f.Body)
		e.NotRun = false // of what is in flight nobody knows
		return e
	default:
		return protocolError(faultNone, BadFrame, "a server does not send this kind")
	}
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
		return protocolError(faultNone, BadFrame, "a frame that does not fit its request")
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
	if c.calls[f.ID] == nil || len(had)+len(f.Body) > c.cfg.MaxReply {
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
