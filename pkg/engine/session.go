package engine

import (
	"context"
	"fmt"
	"time"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// Session is what the door for datagrams must know of a wire id, and all of it: no
// root is in it.
type Session struct {
	Device   track.DeviceID // stable id, what a fix is filed under
	Cred     track.DeviceID // provisioned id of the credential
	Suite    seal.Suite
	Flags    seal.EnrolFlags
	Floor    uint32   // lowest epoch that may open a session
	Denied   []uint32 // epochs that an operator struck out; read only
	Live     [2]Live  // epochs that the store remembers, newest first
	Expires  int64    // unix seconds, 0 = never
	Retiring bool     // replaced by a newer credential: acks say so
	Several  bool     // its device may use other wire ids, or doors, at this time, too
	Hidden   bool     // the server's own probe
}

// Struck tells whether an epoch is one that an operator struck out, at the unix time
// now. A clock that ran ahead may have opened several sessions, and whoever recorded
// them could play the earlier ones against the reset: so whatever lies in the future
// and below a struck epoch is struck, too.
func (s *Session) Struck(epoch uint32, now int64) bool {
	for _, denied := range s.Denied {
		if epoch == denied || epoch < denied && int64(epoch) > now+skew {
			return true
		}
	}
	return false
}

// skew is how far ahead, in seconds, the clock of an honest device may be.
const skew = 300

// Session looks up the id that a datagram carries. It allocates nothing and answers
// strangers as fast as friends.
func (e *Engine) Session(wire track.DeviceID) (Session, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	i, ok := e.reg.resolve(wire)
	if !ok {
		return Session{}, false
	}
	c := e.reg.creds.at(i)
	d := e.reg.devices.at(c.device)
	if d.revoked != 0 || (c.expires != 0 && int64(c.expires) <= e.now().Unix()) {
		return Session{}, false
	}
	return Session{
		Device: d.id, Cred: c.id, Suite: c.suite, Flags: c.flags,
		Floor: c.floor, Denied: e.reg.denied[c.id], Live: c.live,
		Expires: int64(c.expires), Retiring: c.expires != 0, Hidden: d.id == e.probe,
		Several: c.flags&seal.RotatingIDs != 0 || c.expires != 0 || c.next != 0 || d.reports,
	}, true
}

// WithRoot lends the root of a credential to fn for the time of the call and wipes
// it afterwards. fn must not keep it.
func (e *Engine) WithRoot(cred track.DeviceID, fn func(root *seal.Root)) error {
	e.mu.RLock()
	i, ok := e.reg.credAt(cred)
	var wrapped [48]byte
	if ok {
		wrapped = e.reg.creds.at(i).wrapped
	}
	e.mu.RUnlock()
	if !ok {
		return fmt.Errorf("credential %s: %w", cred, track.ErrNotFound)
	}
	root := e.roots.Get().(*seal.Root)
	defer func() {
		clear(root[:])
		e.roots.Put(root)
	}()
	if err := seal.Unwrap(&e.master, cred, &wrapped, root); err != nil {
		return fmt.Errorf("unwrap root of credential %s: %w", cred, err)
	}
	fn(root)
	return nil
}

// Generation moves on whenever a credential was revoked, rotated, reset or expired.
// A door that caches sessions compares it before each batch and, when it moved,
// asks Changed which wire ids to look up again.
func (e *Engine) Generation() uint32 { return e.generation.Load() }

// Changed lists the wire ids whose sessions changed after generation since, and the
// generation that this brings the caller to.
func (e *Engine) Changed(since uint32) ([]track.DeviceID, uint32) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	now := uint32(len(e.changes))
	if since >= now {
		return nil, now
	}
	return e.changes[since:now:now], now
}

// changed tells the doors to look a credential up again. Caller holds mu.
func (e *Engine) changed(i uint32) {
	c := e.reg.creds.at(i)
	if c.flags&seal.RotatingIDs == 0 {
		e.changes = append(e.changes, c.id)
	} else {
		e.changes = append(e.changes, e.reg.shown[i]...)
	}
	e.generation.Store(uint32(len(e.changes)))
}

// rotateAliases brings the ids of rotating credentials up to the present window.
func (e *Engine) rotateAliases(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.aliasWindow == windowOf(now) {
		return
	}
	e.aliasWindow = windowOf(now)
	for i := range e.reg.creds.len() {
		c := e.reg.creds.at(uint32(i))
		if c.used && c.flags&seal.RotatingIDs != 0 {
			e.addAliases(uint32(i), c, now)
		}
	}
}

func (e *Engine) addAliases(i uint32, c *credRec, now time.Time) {
	var root seal.Root
	defer clear(root[:])
	if err := seal.Unwrap(&e.master, c.id, &c.wrapped, &root); err != nil {
		e.log.Error("rotating id", "credential", c.id.String(), "err", err)
		return
	}
	if n := e.reg.rotate(i, &root, now); n > 0 {
		e.aliasCollisions.Add(uint64(n))
	}
}

// expireCredentials ends the grace of credentials that were replaced.
func (e *Engine) expireCredentials(ctx context.Context, now time.Time) {
	if e.forgetExpired(now) > 0 {
		e.stale = true
	}
	if !e.stale {
		return
	}
	if _, err := e.store.DropCredentials(ctx, now); err != nil {
		e.log.Warn("drop expired credentials", "err", err) // they stay expired; the next minute tries again
		return
	}
	e.stale = false
}

func (e *Engine) forgetExpired(now time.Time) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.reg.creds.len() {
		c := e.reg.creds.at(uint32(i))
		if c.used && c.expires != 0 && int64(c.expires) <= now.Unix() {
			d := e.reg.devices.at(c.device)
			e.changed(uint32(i))
			e.reg.dropCred(uint32(i))
			if d.cred != 0 {
				e.changed(d.cred - 1) // the key that stays may be the only one now
			}
			n++
		}
	}
	return n
}
