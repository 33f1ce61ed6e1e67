// Package gateway is the door for apps: the services of the schema over the frames of
// rpc, on connections that the roof hands in, over TCP, TLS or WebSocket.
//
//	       conns.go          session.go              one file a service        engine
//	conn ──► gate ──► HELLO: token or proof ──► guard: scope of the method ──► questions,
//	                    │                          │                          commands
//	                    │ sweep                    └─ Watch ──► frames of the hub, encoded
//	                    └─ GOAWAY when it ends                  once for all who watch
//
// A stranger can make this door hold one connection of a limited number per address,
// one frame of 16 KiB and five seconds. Who is known is held by the limits that WELCOME
// announces, and by what its scope lets it call.
//
// The answers are those of the door for people and programs: the same limits, defaults,
// order, cursors and sentences, which is why those live in engine. What a client says of
// itself is never believed: a device reports for itself, whatever it writes.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/fault"
	"tracker/pkg/hub"
	"tracker/pkg/rpc"
)

// Config of the door. The zero value works.
type Config struct {
	Version   string // of the program, for Session.Info and Status.Get
	NoExample bool   // leave the service Example out

	MaxWatches int  // of one connection; 0: 64
	MaxDevices int  // named by one watch; 0: 10,000
	Reports    Rate // of one device
	RPC        Limits

	// Strangers counts the connections that nobody knows yet; nil: they are not limited.
	Strangers Gate
	// Probe tells how long ago the server's own fix last came out at a watcher, and why
	// that is too long, if it is.
	Probe func() (age time.Duration, err error)
	// Ingest yields the counters of the door for datagrams.
	Ingest func() iter.Seq2[string, uint64]

	Now    func() time.Time
	Logger *slog.Logger
}

// Limits are those of the frame layer, as WELCOME announces them. All of them have good
// zeros; see rpc.Config.
type Limits struct {
	MaxInflight      int
	MaxInflightBytes int
	MaxSubs          int
	Handshake        time.Duration
	Write            time.Duration
	Idle             time.Duration
	Grace            time.Duration // for requests in flight when the server, or a token, ends
}

// Gate counts strangers by their address.
type Gate interface {
	Enter(from net.Addr) bool
	Leave(from net.Addr)
}

// defaultWatches and defaultDevices are those of the JSON door.
const (
	defaultWatches = 64
	defaultDevices = 10_000
)

func (c *Config) setDefaults() {
	c.MaxWatches = cmp.Or(c.MaxWatches, defaultWatches)
	c.MaxDevices = cmp.Or(c.MaxDevices, defaultDevices)
	c.Reports.setDefaults()
	if c.Strangers == nil {
		c.Strangers = everybody{}
	}
	if c.Probe == nil {
		c.Probe = func() (time.Duration, error) { return 0, nil }
	}
	if c.Ingest == nil {
		c.Ingest = func() iter.Seq2[string, uint64] { return func(func(string, uint64) bool) {} }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// everybody is the gate of a door without one.
type everybody struct{}

func (everybody) Enter(net.Addr) bool { return true }
func (everybody) Leave(net.Addr)      {}

// Gateway is the door.
type Gateway struct {
	cfg      Config
	engine   *engine.Engine
	log      *slog.Logger
	rpc      *rpc.Server
	enc      *hub.Encoding
	started  time.Time
	proofs   proofs
	accounts accounts
	topics   topics
	sleepers atomic.Int64 // calls of Example.Sleep
	fanouts  atomic.Int64 // big ones of Example.Pub
	sessions sessions
	stats    stats
}

// New makes a door to an engine.
func New(cfg Config, e *engine.Engine) *Gateway {
	cfg.setDefaults()
	g := &Gateway{cfg: cfg, engine: e, log: cfg.Logger.With("room", "gateway"), started: cfg.Now()}
	g.enc = hub.NewEncoding("rpc", frameEncoder(e.AppendName))
	g.proofs.init()
	g.accounts.init(cfg.Reports)
	l := cfg.RPC
	g.rpc = rpc.NewServer(rpc.Config{
		Authenticate: g.authenticate, Translate: translate, Log: cfg.Logger,
		Epoch: e.Status().Lineage, MaxInflight: l.MaxInflight, MaxInflightBytes: l.MaxInflightBytes, MaxSubs: l.MaxSubs,
		MaxHandshakes: maxHandshakes, Handshake: l.Handshake, Write: l.Write, Idle: l.Idle, Grace: l.Grace,
	})
	g.register()
	return g
}

// maxHandshakes leaves it to the gate to count strangers, which knows networks.
const maxHandshakes = 1 << 30

// ServeListener serves what ln accepts until ctx ends: then it says GOAWAY on every
// connection, gives requests in flight their grace, and returns when nothing is left.
// It closes ln. Call it once: it also ends connections whose token has ended, those of
// ServeConn too.
func (g *Gateway) ServeListener(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	wg.Go(func() { g.sweep(ctx) })
	for {
		c, err := ln.Accept()
		if err != nil {
			_ = ln.Close()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		g.accept(ctx, &wg, c)
	}
}

// accept serves a connection of a stranger, if there is room for one more.
func (g *Gateway) accept(ctx context.Context, wg *sync.WaitGroup, c net.Conn) {
	from := c.RemoteAddr()
	if !g.cfg.Strangers.Enter(from) {
		g.stats.refused.Add(1)
		_ = c.Close()
		return
	}
	wg.Go(func() {
		s := &stranger{Conn: fault.Conn(c), g: g}
		defer s.Admit()
		g.ServeConn(ctx, s)
	})
}

// stranger is a connection that counts for the gate until it is known, or gone.
type stranger struct {
	net.Conn
	g        *Gateway
	admitted atomic.Bool
}

// Admit is called by rpc when the handshake is done.
func (s *stranger) Admit() {
	if s.admitted.CompareAndSwap(false, true) {
		s.g.cfg.Strangers.Leave(s.RemoteAddr())
	}
}

// NetConn is the connection beneath, through which every byte passes unchanged.
func (s *stranger) NetConn() net.Conn { return s.Conn }

// CloseWrite is what rpc says last words with, where the connection can.
func (s *stranger) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// ServeConn serves one connection until the peer leaves or ctx ends, and closes it.
// Whoever hands it in counts it as a stranger's until its method Admit, if it has one,
// is called.
func (g *Gateway) ServeConn(ctx context.Context, c net.Conn) {
	s := &session{g: g}
	g.sessions.add(s)
	defer g.sessions.remove(s)
	g.rpc.ServeConn(context.WithValue(ctx, sessionKey{}, s), c)
}
