// Package engine is the river: what happens to a fix on its way from a door to
// those who watch, and every question and command that a door may put.
//
//	ingest ──► Apply ──► live      the present: newest fix per device, by place
//	             │   ├─► hub       who watches what, frames of many fixes
//	             │   └─► store     the past, written in batches
//	             │
//	web  ◄───────┴── Watch, Near, InBox, History, Devices, Tokens …
//
// flow.go is the page to show a visitor. The registry knows all devices by heart,
// so no datagram waits for a database; keys at rest stay wrapped until the moment
// that a door derives a session from them.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tracker/pkg/hub"
	"tracker/pkg/live"
	"tracker/pkg/seal"
	"tracker/pkg/store"
	"tracker/pkg/track"
)

// Config of an engine. The zero value of every field but Master works.
type Config struct {
	Master    [32]byte      // wraps the roots at rest
	Advertise string        // host:port that enrolment strings name
	Grace     time.Duration // how long a replaced key stays good; default 7 days
	Live      live.Config
	Hub       hub.Config
	Now       func() time.Time
	Logger    *slog.Logger
}

// Engine is one running river. All methods may be called from any goroutine.
type Engine struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	master  [32]byte
	store   store.Store
	live    *live.Live
	hub     *hub.Hub
	probe   track.DeviceID // the server's own device, set before the doors open
	roots   sync.Pool      // of *seal.Root, wiped
	scratch sync.Pool
	maps    atlas

	crossing sync.Mutex // see Crossing
	reported struct {   // under crossing: the millisecond of the newest report, and the fixes since it began
		at int64
		n  uint32
	}
	enrolling  sync.Mutex // serialises commands that check, store, then change mu's state
	mu         sync.RWMutex
	reg        *registry
	order      []track.DeviceID // sorted ids, rebuilt when devices were added
	tokens     map[[32]byte]store.Token
	alarms     []Alarm
	revoked    atomic.Pointer[map[track.DeviceID]time.Time] // see dropRevoked
	future     map[track.DeviceID][]uint32                  // credential -> epochs that lay ahead, ascending
	changes    []track.DeviceID                             // see Changed
	generation atomic.Uint32

	stale           bool // the store still has keys that expired; load's, then tend's own
	aliasWindow     uint32
	aliasCollisions atomic.Uint64
	applied         atomic.Uint64
	probed          atomic.Uint64
}

// New makes an engine on a store and loads what the store remembers: devices, keys,
// tokens, maps, replay floors and the newest fix of each device.
func New(ctx context.Context, cfg Config, st store.Store) (*Engine, error) {
	if cfg.Grace == 0 {
		cfg.Grace = 7 * 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		cfg: cfg, log: cfg.Logger.With("room", "engine"), now: cfg.Now, master: cfg.Master,
		store: st, live: live.New(cfg.Live), reg: newRegistry(),
		tokens: map[[32]byte]store.Token{}, future: map[track.DeviceID][]uint32{},
		roots:   sync.Pool{New: func() any { return new(seal.Root) }},
		scratch: sync.Pool{New: func() any { return new(scratch) }},
	}
	e.aliasWindow = windowOf(e.now())
	hc := cfg.Hub
	e.maps.init()
	hc.Snapshot, hc.Stamp, hc.Maps = e.scan, e.live.Stamp, e.maps.of
	hc.Hidden = func(id track.DeviceID) bool { return id != 0 && id == e.probe }
	e.hub = hub.New(hc)
	if err := e.load(ctx); err != nil {
		return nil, fmt.Errorf("load what the store remembers: %w", err)
	}
	return e, nil
}

func (e *Engine) load(ctx context.Context) error {
	now := e.now()
	if err := e.store.Devices(ctx, func(d *store.Device) error { e.reg.addDevice(d); return nil }); err != nil {
		return err
	}
	if err := e.store.Credentials(ctx, func(c *store.Credential) error {
		if d, ok := e.reg.deviceAt(c.Device); ok && e.reg.devices.at(d).revoked != 0 {
			return nil
		}
		if !c.Expires.IsZero() && !now.Before(c.Expires) {
			e.stale = true
			return nil
		}
		return e.addCred(c, now)
	}); err != nil {
		return err
	}
	if err := e.store.Tokens(ctx, func(t *store.Token) error { e.tokens[t.Hash] = *t; return nil }); err != nil {
		return err
	}
	if err := e.loadMaps(ctx); err != nil {
		return err
	}
	if err := e.store.Floors(ctx, e.recallFloor); err != nil {
		return err
	}
	return e.store.Latest(ctx, func(f *track.Fix) error {
		if d, err := e.reg.device(f.Device); err == nil && d.revoked == 0 {
			e.live.Apply(f)
		}
		return nil
	})
}

// recallFloor restores the replay state of a credential: what was stored counts as
// seen.
func (e *Engine) recallFloor(f store.Floor) error {
	i, ok := e.reg.credAt(f.Credential)
	if !ok {
		return nil // revoked or rotated away
	}
	if f.Denied {
		e.reg.denied[f.Credential] = append(e.reg.denied[f.Credential], f.Epoch)
		return nil
	}
	c := e.reg.creds.at(i)
	l := Live{Epoch: f.Epoch, MaxPID: f.MaxPID, Known: true}
	switch { // newest first
	case !c.live[0].Known || l.Epoch > c.live[0].Epoch:
		c.live[1], c.live[0] = c.live[0], l
	case !c.live[1].Known || l.Epoch > c.live[1].Epoch:
		c.live[1] = l
	}
	return nil
}

// SetAdvertise says what enrolment strings name, once the address is known. Call it
// before the doors open.
func (e *Engine) SetAdvertise(hostPort string) { e.cfg.Advertise = hostPort }

// Run works until ctx ends and returns when everything that it started has.
func (e *Engine) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.hub.Run(ctx) })
	g.Go(func() error { return e.tend(ctx) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// tend does what time asks for: ids of the next window, keys whose grace is over.
func (e *Engine) tend(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			e.rotateAliases(e.now())
			e.expireCredentials(ctx, e.now())
			e.forgetRevoked(e.now())
		}
	}
}

// EnrollProbe registers the server's own device, which nobody sees and nothing
// keeps, and returns its enrolment. Call it once, before the doors open.
func (e *Engine) EnrollProbe() (seal.Enrolment, error) {
	id := e.freshID()
	now := e.now().UTC()
	enrolment := seal.Enrolment{Device: id, Suite: seal.ChaCha20Poly1305}
	cred := e.newCredential(&enrolment, id, now)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.probe = id
	e.reg.addDevice(&store.Device{ID: id, Name: "\x00probe", Created: now})
	e.reg.active--
	return enrolment, e.addCred(&cred, now)
}

// Status is the state of the river for people and monitors.
type Status struct {
	Devices int // that may send
	Live    int // that have a present
	Lineage uint64
	Applied uint64 // fixes since start
	Refused uint64 // fixes that found no room in the present
	// AliasCollisions counts rotating ids that two devices wanted at the same time.
	AliasCollisions uint64
	Store           store.Status
	Hub             hub.Stats
	Alarms          []Alarm
}

// Status gathers what the rooms of the river count, less what the server does for
// itself: nobody asked about the probe.
func (e *Engine) Status() Status {
	e.mu.RLock()
	active := e.reg.active
	e.mu.RUnlock()
	s := Status{
		Devices: active, Live: e.live.Len(), Lineage: e.store.Lineage(), Applied: e.applied.Load(),
		Refused: e.live.Refused(), AliasCollisions: e.aliasCollisions.Load(),
		Store: e.store.Status(), Hub: e.hub.Stats(), Alarms: e.Alarms(),
	}
	probed := e.Probed()
	if _, seen := e.live.Get(e.probe); seen && e.probe != 0 {
		s.Live--
	}
	less(&s.Applied, probed)
	less(&s.Hub.FixesIn, probed)
	less(&s.Hub.FixesOut, probed)
	less(&s.Hub.Frames, probed)
	if e.probe != 0 { // whose watch may not be there yet, or not any more
		s.Hub.Viewers = max(0, s.Hub.Viewers-1)
		s.Hub.Streams = max(0, s.Hub.Streams-1)
	}
	return s
}

// Probed is how many fixes of the probe came down the river.
func (e *Engine) Probed() uint64 { return e.probed.Load() }

// less subtracts what may be counted a moment later than what it is part of.
func less(n *uint64, by uint64) { *n -= min(*n, by) }

func above(ids []track.DeviceID, after track.DeviceID) int {
	i, found := slices.BinarySearch(ids, after)
	if found {
		i++
	}
	return i
}
