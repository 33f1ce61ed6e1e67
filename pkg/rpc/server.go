package rpc

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Exec says where a method's handler runs.
type Exec uint8

const (
	// Async handlers run in a worker, beside each other, and may take their time.
	Async Exec = iota
	// Inline handlers run in the reader of their connection: in order, without any
	// hand-over, and everything else of that connection waits. They must not block
	// and should take a microsecond or two.
	Inline
	// Keyed handlers run in a worker, one at a time for each key.
	Keyed
)

// Policy says what becomes of a subscription's updates when the peer gave no credit
// or does not read.
type Policy uint8

const (
	// Latest keeps the newest update of each key; memory is bounded by the keys.
	Latest Policy = iota
	// Block lets the publisher wait. For one who reads the past, not for a fan-out.
	Block
	// Drop drops.
	Drop
	// Pull lets the handler ask Subscription.Ready and then Emit what is newest at that
	// moment. For sources that conflate by themselves: nothing is kept here.
	Pull
)

// Method is one that the server answers: by Handle, or, when it opens a subscription,
// by Stream.
type Method struct {
	Name    string
	Exec    Exec
	Timeout time.Duration // when the caller asks for none; 0: Config.Timeout

	// Batch lets up to 32 requests that arrived together share a worker's turn, one
	// after the other: cheaper, but one that waits holds up those behind it. Only for
	// Async methods that are usually quick.
	Batch bool

	// Handle appends its answer to out and returns it. out has content already.
	Handle func(r *Request, out []byte) ([]byte, error)
	// Key of a Keyed request. It reads r.Body and must not block.
	Key func(r *Request) uint64

	// Stream runs as long as the subscription; it ends with END when Stream returns.
	Stream func(r *Request, s *Subscription) error
	Policy Policy
}

// Config of a server. All of it has good zeros.
type Config struct {
	// Authenticate decides about a connection before any request is looked at. What
	// it returns is Request.Peer. nil lets everybody in. See Ender.
	Authenticate func(ctx context.Context, h *Hello, remote net.Addr) (any, error)
	// Translate finds the status for an error of a handler that is not an *Error; nil
	// for what is nobody's business: that is logged, and answered with Internal.
	Translate func(error) *Error
	Log       *slog.Logger
	Epoch     uint64
	Features  uint32

	MaxFrame         int           // bytes of body; 0: 1 MiB
	MaxMessage       int           // bytes of a message in several frames; 0: 4 MiB
	MaxInflight      int           // requests of a connection that left the reader; 0: 4096
	MaxInflightBytes int           // of their bodies; 0: 4 MiB
	MaxSubs          int           // subscriptions of a connection; 0: 256
	MaxCredit        int           // of a subscription; 0: 65,536
	MaxKeys          int           // that a Latest subscription keeps back; 0: 65,536
	MaxOutput        int           // bytes that wait for the peer to read; 0: 4 MiB; reading stops at a quarter
	MaxHandshakes    int           // connections of one address that are not known yet; 0: 64
	Handshake        time.Duration // to become known; 0: 5 s
	Timeout          time.Duration // of requests that ask for none; 0: 30 s
	Write            time.Duration // in which the peer must take a write; 0: 10 s
	Idle             time.Duration // of silence before a PING, and again before the end; 0: 60 s
	Grace            time.Duration // for requests in flight when the server ends; 0: 5 s
}

func (c *Config) defaults() {
	c.MaxFrame = min(cmp.Or(c.MaxFrame, 1<<20), maxBody)
	c.MaxMessage = cmp.Or(c.MaxMessage, 4<<20)
	c.MaxInflight = cmp.Or(c.MaxInflight, 4096)
	c.MaxInflightBytes = cmp.Or(c.MaxInflightBytes, 4<<20)
	c.MaxSubs = cmp.Or(c.MaxSubs, 256)
	c.MaxCredit = cmp.Or(c.MaxCredit, 1<<16)
	c.MaxKeys = cmp.Or(c.MaxKeys, 1<<16)
	c.MaxOutput = cmp.Or(c.MaxOutput, 4<<20)
	c.MaxHandshakes = cmp.Or(c.MaxHandshakes, 64)
	c.Handshake = cmp.Or(c.Handshake, 5*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.Write = cmp.Or(c.Write, 10*time.Second)
	c.Idle = cmp.Or(c.Idle, 60*time.Second)
	c.Grace = cmp.Or(c.Grace, 5*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Server answers on connections that somebody else accepts.
type Server struct {
	cfg     Config
	log     *slog.Logger
	methods [256]*[256]*Method
	stats   counters
	pool    pool
	wheel   wheel
	lanes   lanes
	spares  sync.Pool // of *Request; a server's own, as its clock may be
	connIDs atomic.Uint64

	mu         sync.Mutex
	users      int // connections being served
	stopTicker func()
	unknown    map[string]int // connections by address that are in the handshake
}

// NewServer makes a server. Register its methods before it serves.
func NewServer(cfg Config) *Server {
	cfg.defaults()
	return &Server{cfg: cfg, log: cfg.Log.With("room", "rpc"), unknown: map[string]int{}}
}

// Handle registers a method. A method that is declared wrongly is a bug and panics.
func (s *Server) Handle(id uint16, m Method) {
	switch {
	case (m.Handle == nil) == (m.Stream == nil):
		panic("rpc: method " + m.Name + " needs either Handle or Stream")
	case (m.Key != nil) != (m.Exec == Keyed):
		panic("rpc: method " + m.Name + ": Keyed methods and only they need a Key")
	case m.Stream != nil && m.Exec != Async:
		panic("rpc: method " + m.Name + ": a subscription is async")
	case m.Batch && (m.Stream != nil || m.Exec != Async):
		panic("rpc: method " + m.Name + ": only async calls go in batches")
	case s.method(id) != nil:
		panic("rpc: method " + m.Name + " has the id of " + s.method(id).Name)
	}
	page := &s.methods[id>>8]
	if *page == nil {
		*page = new([256]*Method)
	}
	(*page)[id&255] = &m
}

func (s *Server) method(id uint16) *Method {
	if page := s.methods[id>>8]; page != nil {
		return page[id&255]
	}
	return nil
}

// Stats of all connections.
func (s *Server) Stats() Stats { return s.stats.snapshot() }

// enter starts what all connections share, with the first of them.
func (s *Server) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users++; s.users > 1 {
		return
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	s.stopTicker = func() { close(stop); <-stopped }
	go func() { // ends when the last connection leaves
		defer close(stopped)
		s.tick(stop)
	}()
}

// leave ends it with the last one; then no goroutine of the server is left.
func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	s.stopTicker()
	s.pool.close()
}

func (s *Server) tick(stop <-chan struct{}) {
	t := time.NewTicker(tick)
	defer t.Stop()
	start, base := time.Now(), s.wheel.now
	for n := 1; ; n++ {
		select {
		case <-stop:
			return
		case now := <-t.C:
			s.wheel.advance(base + int64(now.Sub(start)/tick))
			if n%100 == 0 {
				s.pool.trim()
			}
		}
	}
}

func (s *Server) knock(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unknown[host] >= s.cfg.MaxHandshakes {
		return false
	}
	s.unknown[host]++
	return true
}

func (s *Server) known(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unknown[host]--; s.unknown[host] == 0 {
		delete(s.unknown, host)
	}
}

func (s *Server) newRequest(c *conn, m *Method) *Request {
	r, _ := s.spares.Get().(*Request)
	if r == nil {
		r = new(Request)
	}
	r.c, r.m = c, m
	return r
}

func (s *Server) release(r *Request) {
	keep, out := r.keep, r.out
	if cap(keep) > chunk {
		keep = nil
	}
	if cap(out) > chunk {
		out = nil
	}
	*r = Request{keep: keep[:0], out: out[:0]}
	s.spares.Put(r)
}
