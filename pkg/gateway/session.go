package gateway

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// session is what this door knows of one connection.
type session struct {
	g   *Gateway
	end func(why *rpc.Error)            // from the handshake on
	who atomic.Pointer[engine.Identity] // nil in the handshake; Refresh swaps it

	mu      sync.Mutex // guards what follows
	watches []*pump
	last    uint32    // number of the newest watch
	turn    time.Time // when all watches that were asked for have had theirs, see reserve
}

// sessionKey is where the context of a connection has its session.
type sessionKey struct{}

// sessionOf is the session of a request: what authenticate returned.
func sessionOf(r *rpc.Request) *session { return r.Peer().(*session) }

// identityOf is who is calling.
func identityOf(r *rpc.Request) *engine.Identity { return sessionOf(r).who.Load() }

// authenticate decides about a connection by what its HELLO carries. The name that the
// client gives itself goes to the log and nowhere else.
func (g *Gateway) authenticate(ctx context.Context, h *rpc.Hello, remote net.Addr) (any, error) {
	s := ctx.Value(sessionKey{}).(*session)
	who, err := g.identify(h)
	if err != nil {
		g.stats.strangers.Add(1)
		return nil, err
	}
	s.end = rpc.Ender(ctx)
	s.who.Store(&who)
	g.log.Debug("welcome", "remote", remote, "name", who.Name, "role", string(who.Role), "client", fmt.Sprintf("%q", h.Client),
		"schema", h.SchemaHash == trk.SchemaHash)
	return s, nil
}

func (g *Gateway) identify(h *rpc.Hello) (engine.Identity, error) {
	switch h.AuthKind {
	case rpc.AuthBearer:
		return g.bearer(string(h.Auth))
	case rpc.AuthDeviceKey:
		return g.device(h.Auth)
	}
	return engine.Identity{}, unauthenticated("a token is needed")
}

// bearer finds who bears a token.
func (g *Gateway) bearer(token string) (engine.Identity, error) {
	who, err := g.engine.Authenticate(token)
	if err != nil {
		return engine.Identity{}, unauthenticated("the token is unknown, expired or revoked")
	}
	return who, nil
}

// guard is asked before each call. It is the whole of what this door allows. Who calls
// what changes something must be good at that moment: the connection of a token that was
// revoked lives on until the sweep, and then for the grace of what is in flight.
func guard(r *rpc.Request, m *trk.MethodInfo) error {
	s := sessionOf(r)
	who := s.who.Load()
	switch {
	case !mayCall(who.Role, m.Scope):
		return denied(who, m)
	case changes(m.Scope) && !s.g.engine.Alive(who):
		return endOf(who)
	}
	return nil
}

// changes tells whether the methods of a scope change something.
func changes(scope string) bool { return scope == "admin" || scope == "device" }

// mayCall tells whether a role reaches a scope of the schema. A scope that it does not
// know is nobody's.
func mayCall(role engine.Role, scope string) bool {
	switch scope {
	case "any":
		return true
	case "member": // each of them what is theirs: that is the handler's to see to
		return role == engine.RoleMember || role == engine.RoleDevice || role == engine.RoleViewer || role == engine.RoleAdmin
	case "viewer":
		return role == engine.RoleViewer || role == engine.RoleAdmin
	case "admin":
		return role == engine.RoleAdmin
	case "device":
		return role == engine.RoleDevice || role == engine.RoleAdmin
	}
	return false
}

// sessions is every open connection.
type sessions struct {
	mu   sync.Mutex
	open map[*session]struct{}
}

func (ss *sessions) add(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.open == nil {
		ss.open = map[*session]struct{}{}
	}
	ss.open[s] = struct{}{}
}

func (ss *sessions) remove(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.open, s)
}

func (ss *sessions) list() []*session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	out := make([]*session, 0, len(ss.open))
	for s := range ss.open {
		out = append(out, s)
	}
	return out
}

// sweepEvery bounds how long a revoked token keeps its connections.
const sweepEvery = 500 * time.Millisecond

// sweep looks after all sessions from one goroutine, as a timer in each would cost
// more, and forgets what time has made worthless.
func (g *Gateway) sweep(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			g.sweepOnce()
		}
	}
}

func (g *Gateway) sweepOnce() {
	now := g.cfg.Now()
	g.proofs.forget(now)
	g.accounts.forget(now)
	alive := map[engine.Identity]bool{}
	for _, s := range g.sessions.list() {
		who := s.who.Load()
		if who == nil {
			continue
		}
		ok, known := alive[*who]
		if !known {
			ok = g.engine.Alive(who)
			alive[*who] = ok
		}
		if !ok && s.who.Load() == who { // not refreshed meanwhile
			s.end(endOf(who))
		}
	}
}

// endOf is why a connection ends with its identity.
func endOf(who *engine.Identity) *rpc.Error {
	if who.Role == engine.RoleDevice {
		return deviceEnded
	}
	return tokenEnded
}
