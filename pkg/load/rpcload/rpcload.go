// Package rpcload fills a server with calls and checks every answer.
//
//	form ──► ledger.issue ──► out ──write──► server ──read──► frames ──► ledger.settle
//	 ready frame, patched      │ a batch                                    │ known? outstanding?
//	                           └ stamped when it is written                 │ right? then its slot
//	                                                 Recorder ◄── now - stamp   is free again
//
// It has to cost less than what it measures, so nothing of a call is made while it
// runs: requests are copies of a ready frame in which three numbers are patched, an
// answer is compared with one that was verified before, and there is one look at the
// clock for a read and one for a write. Each connection belongs to one goroutine.
//
// In a closed loop a connection keeps exactly Depth calls under way: what was answered
// is replaced in the next write. A server that stalls is sent less in the meantime, so
// latencies of a closed loop flatter it and compare only at equal depth. In an open
// loop (Config.Rate) calls fall due by a plan and their time counts from then.
//
// Run opens connections, makes one run on them and closes them. Who compares many short
// runs keeps them: see Lines.
package rpcload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
)

// Config says what to do to which server. Zero values are good where it is not said.
type Config struct {
	Dial  func(ctx context.Context) (net.Conn, error)
	Hello rpc.Hello // who is calling

	Method  Method
	Sleep   time.Duration // of Sleep: how long each such call sleeps at the server; 0: 1 ms
	Share   float64       // of Sleep: which part of the calls sleep, the others are sums; 0: all
	Payload int           // of Echo, in bytes; 0: 24

	Conns    int           // 0: 1
	Depth    int           // calls under way on each; 0: 512
	Rate     load.Plan     // calls a second in all, open loop; zero: closed loop
	Warmup   time.Duration // counts for nothing
	Settle   bool          // end the warm-up as soon as it is steady; Warmup is then the longest
	Duration time.Duration // 0: 5 s
	Drain    time.Duration // for the last answers to come; 0: 5 s

	Server    *load.Process // nil: what the server used is unknown
	Interval  time.Duration // between two ticks; 0: 1 s
	OnTick    func(load.Tick)
	OnGlance  func(load.Tick)   // a few times a second, of the interval that goes on
	Connected func()            // called when all connections are open and none is used yet
	Measuring func()            // called when the warm-up is over
	Cut       func() load.Cores // asked at the end of each interval
}

// What a single connection may have under way: a server stops reading a peer that does
// not read when a mebibyte waits for it, and a client that writes as one goroutine
// would then wait for ever.
const mostUnderway = 1 << 20

const (
	mostConns   = 20_000
	mostPayload = 60_000 // answers travel in one frame
	mostSleep   = time.Second
)

func (c *Config) defaults() {
	c.Sleep = cmp.Or(c.Sleep, time.Millisecond)
	c.Share = cmp.Or(c.Share, 1)
	c.Payload = cmp.Or(c.Payload, 24)
	c.Conns = cmp.Or(c.Conns, 1)
	c.Depth = cmp.Or(c.Depth, 512)
	c.Duration = cmp.Or(c.Duration, 5*time.Second)
	c.Drain = cmp.Or(c.Drain, 5*time.Second)
	c.Interval = cmp.Or(c.Interval, time.Second)
}

// Check fills in what is not said and finds what cannot be done, all of it at once.
func (c *Config) Check() error {
	c.defaults()
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(format+": %w", append(args, track.ErrInvalid)...))
	}
	if c.Method < Sum || c.Method > Echo {
		bad("method %d: there is no such", c.Method)
	}
	if c.Conns < 1 || c.Conns > mostConns {
		bad("%d connections: want 1 to %d", c.Conns, mostConns)
	}
	if c.Depth < 1 || c.Depth > 1<<16 {
		bad("depth %d: want 1 to 65536", c.Depth)
	}
	if c.Payload < minPayload || c.Payload > mostPayload {
		bad("payload of %d bytes: want %d to %d", c.Payload, minPayload, mostPayload)
	}
	if c.Sleep < time.Millisecond || c.Sleep > mostSleep || c.Sleep%time.Millisecond != 0 {
		bad("sleep of %v: want whole milliseconds, up to %v", c.Sleep, mostSleep)
	}
	if !(c.Share > 0 && c.Share <= 1) {
		bad("share of sleeping calls %v: want more than 0, up to 1", c.Share)
	}
	if c.Duration <= 0 || c.Warmup < 0 || c.Drain <= 0 || c.Interval <= 0 {
		bad("duration %v, warm-up %v: want some time", c.Duration, c.Warmup)
	}
	if c.Method == Echo && c.Depth*(c.Payload+64) > mostUnderway {
		bad("depth %d with a payload of %d bytes: want at most 1 MiB under way on a connection", c.Depth, c.Payload)
	}
	return errors.Join(errs...)
}

// ShowToken makes the connections show a bearer token.
func (c *Config) ShowToken(token []byte) { c.Hello.AuthKind, c.Hello.Auth = rpc.AuthBearer, token }

// open says whether calls fall due by a plan.
func (c *Config) open() bool { return c.Rate.Peak() > 0 }

// ErrStranger marks a target that answers, and does not speak our protocol.
var ErrStranger = errors.New("it does not speak our protocol")

// ErrFailed marks a run whose answers were not all there, right and single.
var ErrFailed = errors.New("the answers are not right")
