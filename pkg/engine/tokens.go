package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// Role is what somebody may do. Tokens are of the first three.
type Role string

const (
	RoleAdmin  Role = "admin"  // everything
	RoleViewer Role = "viewer" // read and watch
	RoleMember Role = "member" // watch the maps that were granted to it, and nothing else
	RoleDevice Role = "device" // report its own fixes, and watch the maps that it is on
)

// Identity is who is behind a connection: the bearer of a token, or a device that
// proved its key.
type Identity struct {
	Token   string         // id of the token, 16 hex digits; empty: it is a device
	Device  track.DeviceID // of a device
	Cred    track.DeviceID // of a device: the credential that it proved
	Name    string
	Role    Role
	Expires time.Time // zero: when it is revoked
}

// Token is what people see of a token: never the token itself.
type Token struct {
	ID      string
	Name    string
	Role    Role
	Created time.Time
	Expires time.Time // zero = never
}

const tokenPrefix = "trk_"

// CreateToken makes a bearer token and returns it, this once. Only its SHA-256 is
// kept: 256 random bits need no slow hash.
func (e *Engine) CreateToken(ctx context.Context, name string, role Role, ttl time.Duration) (Token, string, error) {
	if role != RoleAdmin && role != RoleViewer && role != RoleMember {
		return Token{}, "", fmt.Errorf("role %q: want admin, viewer or member: %w", role, track.ErrInvalid)
	}
	if err := checkName(name); err != nil {
		return Token{}, "", err
	}
	if ttl < 0 {
		return Token{}, "", fmt.Errorf("lifetime %v is negative: %w", ttl, track.ErrInvalid)
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	secret := tokenPrefix + base64.RawURLEncoding.EncodeToString(raw[:])
	t := store.Token{Name: name, Role: string(role), Hash: sha256.Sum256([]byte(secret)), Created: e.now().UTC().Truncate(time.Second)}
	t.ID = binary.BigEndian.Uint64(t.Hash[:])
	if ttl > 0 {
		t.Expires = t.Created.Add(ttl)
	}
	if err := e.store.SaveToken(ctx, t); err != nil {
		return Token{}, "", fmt.Errorf("create token: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tokens[t.Hash] = t
	return tokenView(t), secret, nil
}

// Authenticate finds who bears a token. Looking up the hash of what was presented
// takes the same time whether or not a prefix of it is right.
func (e *Engine) Authenticate(secret string) (Identity, error) {
	if !strings.HasPrefix(secret, tokenPrefix) || len(secret) > 128 {
		return Identity{}, fmt.Errorf("token: %w", track.ErrDenied)
	}
	hash := sha256.Sum256([]byte(secret))
	e.mu.RLock()
	t, ok := e.tokens[hash]
	e.mu.RUnlock()
	if !ok || e.expired(t) {
		return Identity{}, fmt.Errorf("token: %w", track.ErrDenied)
	}
	return Identity{Token: tokenID(t), Name: t.Name, Role: Role(t.Role), Expires: t.Expires}, nil
}

// Alive tells whether somebody who was let in still would be.
func (e *Engine) Alive(who *Identity) bool {
	if who.Role != RoleDevice {
		return e.TokenAlive(who.Token)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	i, known := e.reg.credAt(who.Cred)
	if !known {
		return false
	}
	c := e.reg.creds.at(i)
	d := e.reg.devices.at(c.device)
	return d.id == who.Device && d.revoked == 0 && (c.expires == 0 || int64(c.expires) > e.now().Unix())
}

// TokenAlive tells whether a token that let somebody in still would.
func (e *Engine) TokenAlive(id string) bool {
	n, err := strconv.ParseUint(id, 16, 64)
	if err != nil {
		return false
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, t := range e.tokens {
		if t.ID == n {
			return !e.expired(t)
		}
	}
	return false
}

func (e *Engine) expired(t store.Token) bool {
	return !t.Expires.IsZero() && !e.now().Before(t.Expires)
}

// Tokens lists the tokens, oldest first.
func (e *Engine) Tokens() []Token {
	e.mu.RLock()
	defer e.mu.RUnlock()
	out := make([]Token, 0, len(e.tokens))
	for _, t := range e.tokens {
		out = append(out, tokenView(t))
	}
	slices.SortFunc(out, func(a, b Token) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// RevokeToken ends a token. The last admin token cannot be revoked, or nobody could
// make another.
func (e *Engine) RevokeToken(ctx context.Context, id string) error {
	e.enrolling.Lock()
	defer e.enrolling.Unlock()
	hash, err := e.revocable(id)
	if err != nil {
		return err
	}
	if err := e.store.DeleteToken(ctx, binary.BigEndian.Uint64(hash[:])); err != nil {
		return fmt.Errorf("revoke token %s: %w", id, err)
	}
	e.mu.Lock()
	delete(e.tokens, hash)
	e.mu.Unlock()
	e.endViewer(binary.BigEndian.Uint64(hash[:]))
	return nil
}

func (e *Engine) revocable(id string) (hash [32]byte, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	found, otherAdmin := false, false
	var role Role
	for h, t := range e.tokens {
		if tokenID(t) == id {
			found, hash, role = true, h, Role(t.Role)
		} else if Role(t.Role) == RoleAdmin && !e.expired(t) {
			otherAdmin = true
		}
	}
	switch {
	case !found:
		return hash, fmt.Errorf("token %q: %w", id, track.ErrNotFound)
	case role == RoleAdmin && !otherAdmin:
		return hash, fmt.Errorf("token %s is the last admin token; create another first: %w", id, track.ErrInvalid)
	}
	return hash, nil
}

// tokenID is 16 hex digits: 64-bit ids are no numbers in JSON.
func tokenID(t store.Token) string { return fmt.Sprintf("%016x", t.ID) }

func tokenView(t store.Token) Token {
	return Token{ID: tokenID(t), Name: t.Name, Role: Role(t.Role), Created: t.Created, Expires: t.Expires}
}
