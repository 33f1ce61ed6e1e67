package rpc

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// helloLimit is of frames before the peer is known.
const helloLimit = 16 << 10

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
	if ctx.Err() != nil {
		return farewell(ctx)
	}
	if e != nil {
		return e
	}
	if hello.ProtoMin > 1 || hello.ProtoMax < 1 {
		return protocolError(FaultVersion, Version, "this server speaks version 1")
	}
	if auth := c.s.cfg.Authenticate; auth != nil {
		limited, cancel := context.WithTimeout(context.WithValue(ctx, connKey{}, c), c.s.cfg.Handshake)
		defer cancel()
		peer, err := auth(limited, hello, c.nc.RemoteAddr())
		if err != nil && ctx.Err() != nil {
			return farewell(ctx)
		}
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
