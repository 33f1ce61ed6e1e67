// Package web is the door for people and programs: REST under /v1, the WebSocket
// /v1/stream, health and metrics, on connections that the roof hands in.
//
//	        conns.go             router.go                  engine
//	conn ──► gate, deadlines ──► route, token, role ──► questions and commands
//	                               │
//	                               └─ /v1/stream ──► session.go
//	                                                 reader: requests and reports
//	                                                 writer.go: frames of the hub, shared,
//	                                                 written by who brings them
//
// A stranger can make this door hold one connection of 256 per address, 16 KiB of
// headers and five seconds, and nothing more: bodies are read, and sockets upgraded,
// only for those who showed a token. Nothing is compressed.
//
// JSON is written by hand where there is much of it (json.go), and once for all who
// watch the same thing (frames.go). What the door serves is written down in
// openapi.json; a test holds the two against each other.
package web

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"tracker/pkg/engine"
	"tracker/pkg/hub"
)

// Config of the door. The zero value works.
type Config struct {
	Version string // of the program, for /v1/status

	MaxPerAddress int           // connections of one address that have shown no token; 0: 256
	HeaderTimeout time.Duration // for a connection to say what it wants; 0: 5 s
	WriteTimeout  time.Duration // for a peer of REST to take at least something; 0: 30 s

	MaxWatches    int           // on one WebSocket; 0: 64
	MaxDevices    int           // named by one watch; 0: 10,000
	PingEvery     time.Duration // to a WebSocket; 0: 30 s
	IdleTimeout   time.Duration // of a WebSocket from which nothing comes, not even a pong; 0: 2 min
	StreamTimeout time.Duration // for a viewer to take at least something; 0: 2 min

	// OpenMetrics shows /metrics to everybody. Otherwise it takes a token, or a peer
	// on this machine.
	OpenMetrics bool

	// Probe tells how long ago the server's own fix last came out at a watcher, and
	// why that is too long, if it is. nil: /healthz only says that the door is open.
	Probe func() (age time.Duration, err error)
	// Ingest yields the counters of the door for datagrams.
	Ingest func() iter.Seq2[string, uint64]
	// RPC serves a WebSocket of /v1/rpc until it or ctx ends, and closes it. nil: there
	// is no such path.
	RPC func(ctx context.Context, m Messages)
	// Gateway yields the counters of that door.
	Gateway func() []engine.Count
	// Refused counts the connections that the port turned away before they came here.
	Refused func() uint64

	Logger *slog.Logger
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.HeaderTimeout, 5 * time.Second}, {&c.WriteTimeout, 30 * time.Second},
		{&c.PingEvery, 30 * time.Second}, {&c.IdleTimeout, 2 * time.Minute}, {&c.StreamTimeout, 2 * time.Minute},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	for _, d := range []struct {
		v   *int
		def int
	}{{&c.MaxPerAddress, 256}, {&c.MaxWatches, 64}, {&c.MaxDevices, 10_000}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.Ingest == nil {
		c.Ingest = func() iter.Seq2[string, uint64] { return func(func(string, uint64) bool) {} }
	}
	if c.Gateway == nil {
		c.Gateway = func() []engine.Count { return nil }
	}
	if c.Refused == nil {
		c.Refused = func() uint64 { return 0 }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Sizes of what may come in, in bytes.
const (
	maxHeader    = 16 << 10 // request line and headers
	maxBody      = 64 << 10
	maxBatchBody = 4 << 20 // of /v1/devices:batch and the like, for admins
)

// Web is the door.
type Web struct {
	cfg      Config
	engine   *engine.Engine
	log      *slog.Logger
	started  time.Time
	gate     *Gate
	conns    connSet
	sessions sessionSet
	calls    calls
	enc      *hub.Encoding
	stats    stats
	requests atomic.Uint64
	boot     string          // what request ids begin with
	life     context.Context // of everything that a request starts; over when kill was called
	kill     context.CancelFunc
}

// New makes a door to an engine.
func New(cfg Config, e *engine.Engine) *Web {
	cfg.setDefaults()
	w := &Web{cfg: cfg, engine: e, log: cfg.Logger.With("room", "web"), started: time.Now(), gate: NewGate(cfg.MaxPerAddress)}
	w.enc = hub.NewEncoding("websocket-json", frameEncoder(e.AppendName))
	w.boot = string(appendHex64(nil, uint64(w.started.UnixNano())))[8:]
	w.life, w.kill = context.WithCancel(context.Background())
	w.calls.init()
	w.stats.init()
	return w
}

// Gate is what counts strangers here. Other doors on the same port let theirs through
// it, too.
func (w *Web) Gate() *Gate { return w.gate }

// shutdownGrace is how long requests in flight may take to end.
const shutdownGrace = 3 * time.Second

// ServeListener serves what ln accepts until ctx ends: then it says goodbye to every
// WebSocket, lets requests in flight finish, and returns when no connection is left.
// It closes ln. Call it once.
func (w *Web) ServeListener(ctx context.Context, ln net.Listener) error {
	srv := w.httpServer()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { w.sweep(ctx) })

	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(&guarded{ln, w}) }()
	select {
	case err := <-failed:
		w.stop(srv, ln)
		return serveError(err)
	case <-ctx.Done():
		w.stop(srv, ln)
		return serveError(<-failed)
	}
}

// serveError is what ended the serving, unless that was the listener's close: whoever
// owns the port may close it before our ctx ends.
func serveError(err error) error {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("serve http: %w", err)
}

// stop ends everything, gently first.
func (w *Web) stop(srv *fasthttp.Server, ln net.Listener) {
	_ = ln.Close()
	w.sessions.endAll(goingAway)
	w.calls.endAll()
	w.conns.hurry()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	err := srv.ShutdownWithContext(ctx)
	w.kill()
	w.sessions.wait()
	w.calls.wait()
	w.conns.closeAll() // those that did not make it
	if err != nil && !errors.Is(err, net.ErrClosed) {
		w.log.Warn("some connections did not end by themselves", "err", err)
	}
}

func (w *Web) httpServer() *fasthttp.Server {
	return &fasthttp.Server{
		Name:                         "tracker",
		Handler:                      w.handle,
		ErrorHandler:                 w.refuse,
		HeaderReceived:               w.admitBody,
		ExpectHandler:                w.expect,
		ReadTimeout:                  w.cfg.HeaderTimeout,
		IdleTimeout:                  time.Minute,
		ReadBufferSize:               maxHeader,
		MaxRequestBodySize:           maxBody,
		DisablePreParseMultipartForm: true,
		NoDefaultContentType:         true,
		CloseOnShutdown:              true,
		MaxIdleWorkerDuration:        2 * time.Second,
		Logger:                       quiet{w.log},
	}
}

// quiet hands what fasthttp has to say to our log; most of it is about strangers.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) {
	q.log.Debug("http", "err", fmt.Sprintf(format, args...))
}

// sweepEvery bounds how long a revoked token keeps its sockets.
const sweepEvery = 500 * time.Millisecond

// sweep looks after all sessions from one goroutine: tokens that ended, clients that
// went silent, pings that are due. A timer in each of them would cost more.
func (w *Web) sweep(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			w.sweepOnce(now)
		}
	}
}

func (w *Web) sweepOnce(now time.Time) {
	alive := map[string]bool{}
	for _, s := range w.sessions.list() {
		ok, known := alive[s.who.Token]
		if !known {
			ok = w.engine.TokenAlive(s.who.Token)
			alive[s.who.Token] = ok
		}
		if !ok {
			s.end(tokenEnded)
			continue
		}
		s.tick(now)
	}
}
