package web

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/fault"
	"tracker/pkg/sock"
)

// Gate counts the connections of each address that nobody knows yet, and turns away
// those beyond the limit. One IPv6 customer has a /64, so that is what counts as an
// address there.
type Gate struct {
	limit int
	mu    sync.Mutex
	open  map[netip.Addr]int
}

// NewGate makes a gate for that many strangers of one address.
func NewGate(limit int) *Gate { return &Gate{limit: limit, open: map[netip.Addr]int{}} }

// Enter lets a connection from that address in, or not. Whoever came in leaves once:
// when it is known, or gone.
func (g *Gate) Enter(from net.Addr) bool {
	a := source(from)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[a] >= g.limit {
		return false
	}
	g.open[a]++
	return true
}

// Leave stops counting a connection that came in.
func (g *Gate) Leave(from net.Addr) {
	a := source(from)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[a]--; g.open[a] <= 0 {
		delete(g.open, a)
	}
}

// source is the address that a connection counts for. What has none, such as a pipe
// in a test, counts for the zero address.
func source(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		p, _ := ip.Prefix(64) // 64 is always a length of an IPv6 prefix
		return p.Addr()
	}
	return ip
}

// guarded is a listener whose connections pass the gate and are known to the server
// until they close, so that a shutdown can end those that would not end themselves.
type guarded struct {
	net.Listener
	w *Web
}

func (l *guarded) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: fault.Conn(raw), w: l.w, from: raw.RemoteAddr(), writeTimeout: l.w.cfg.WriteTimeout}
		if !l.w.gate.Enter(c.from) {
			l.w.stats.gateRefused.Add(1)
			_ = raw.Close()
			continue
		}
		l.w.conns.add(c)
		return c, nil
	}
}

// conn is one connection of the door. Its writes carry a rolling deadline: a peer may
// take as long as it likes, as long as it takes something.
type conn struct {
	net.Conn
	w            *Web
	from         net.Addr
	writeTimeout time.Duration
	admitted     atomic.Bool
	upgraded     atomic.Bool // it belongs to a session
	unread       atomic.Bool // it was answered before its request was read
	closed       atomic.Bool
}

// admit stops counting the connection as one of a stranger.
func (c *conn) admit() {
	if c.admitted.CompareAndSwap(false, true) {
		c.w.gate.Leave(c.from)
	}
}

func (c *conn) Write(b []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// SetDeadline leaves the deadline of writes alone, which Write rolls on.
func (c *conn) SetDeadline(t time.Time) error    { return c.Conn.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Close is the HTTP server's, who has nothing to close when the connection has become a
// session's.
func (c *conn) Close() error {
	if c.upgraded.Load() {
		return nil
	}
	return c.shut()
}

func (c *conn) shut() error {
	if c.closed.CompareAndSwap(false, true) {
		if c.unread.Load() {
			linger(c.Conn)
		}
		c.admit()
		c.w.conns.remove(c)
	}
	return c.Conn.Close()
}

const (
	lingerTime  = time.Second
	lingerBytes = 4 << 20
)

// linger says that nothing more will come and throws away what still arrives, for a
// moment. To close with bytes unread would reset the connection, and the reset would
// overtake the answer.
func linger(c net.Conn) {
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	if tcp := sock.TCPOf(c); tcp != nil {
		_ = tcp.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c, lingerBytes))
}

// connSet is every open connection of the server.
type connSet struct {
	mu   sync.Mutex
	open map[*conn]struct{}
}

func (cs *connSet) add(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.open == nil {
		cs.open = map[*conn]struct{}{}
	}
	cs.open[c] = struct{}{}
}

func (cs *connSet) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
}

func (cs *connSet) len() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open)
}

func (cs *connSet) list() []*conn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := make([]*conn, 0, len(cs.open))
	for c := range cs.open {
		all = append(all, c)
	}
	return all
}

// hurry ends those that wait for a request; one that is being answered still gets its
// answer.
func (cs *connSet) hurry() {
	for _, c := range cs.list() {
		if !c.upgraded.Load() {
			_ = c.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

// closeAll ends what is left.
func (cs *connSet) closeAll() {
	for _, c := range cs.list() {
		_ = c.shut()
	}
}
