// Package past shows what was instead of what is. It fills a store out of history and
// moves its clock, so that everything that draws a live store draws the past as well.
//
//	keys ── Seek, Step, Play ──► Player ◄── Store, State ── whoever draws
//	                               │ wishes
//	                 Run ──────────┴───────────┐
//	                  │ a group of devices     │ a store and its clock, swapped when
//	                  ▼                        │ it is ready
//	               Source ──► film ──► reel ───┘
//
// The film is what is loaded around the moment that is looked at, by device and packed;
// the reel is a store that has been given the film up to that moment. Forward the reel
// rolls on, back it is made anew out of the film. What the film does not cover is
// loaded in groups of devices, those first whom somebody looks at, and each group is
// shown when it has come.
//
// Time is the devices' own: a recording of another year is looked at in that year. A
// device is on the map if it said anything in the quarter of an hour before, or in the
// time after which a device counts as lost if that is longer.
package past

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
)

// Source is where history comes from. Window yields the fixes of some devices with
// from <= Time < to, each device's in order, heartbeats too. It calls yield from one
// goroutine at a time, which may keep nothing of what it is given, ends with the first
// error of yield and soon after its context.
type Source interface {
	Window(ctx context.Context, devices []track.DeviceID, from, to time.Time, yield func([]client.Fix) error) error
}

// State is where a player is.
type State struct {
	Live          bool
	At            time.Time // if not live, as all below
	Speed         float64   // 0 holds
	Loading       bool      // devices are still to come
	Loaded, Total int       // devices; 0 of 0 until it is known how many there are
	From, To      time.Time // what can be shown without loading, zero if nothing can
	Err           error     // why the picture is not whole; it may become whole yet
	Version       uint64    // another one after every change of anything here
}

const (
	// MaxSpeed is how fast a player plays at most: an hour in a second.
	MaxSpeed = 3600

	minLookback = 15 * time.Minute
	earliest    = 24 * 3600 * 1000 // unix milliseconds; before there were no trackers
)

// Player is the hand on the clock. Its methods return at once; Run does the work. Any
// goroutine may call them.
type Player struct {
	src    Source
	live   *fleet.Store
	now    func() time.Time
	wake   chan struct{} // something was wished
	budget int           // records that are kept

	mu      sync.Mutex
	past    bool
	trip    uint64 // counts the journeys into the past
	at      int64  // unix milliseconds
	latest  int64  // the present when it was last looked up
	speed   float64
	moved   time.Time // when at was moved by hand
	ticked  time.Time // when at was moved by the clock
	first   []track.DeviceID
	reel    *reel
	loading progress
	version uint64
}

// progress is what Run tells of its work.
type progress struct {
	loading       bool
	loaded, total int
	from, to      int64
	err           error
}

// New makes a player that shows the present, which is the live store. It goes by
// time.Now if now is nil.
func New(src Source, live *fleet.Store, now func() time.Time) *Player {
	if now == nil {
		now = time.Now
	}
	return &Player{src: src, live: live, now: now, wake: make(chan struct{}, 1), budget: maxRecords}
}

// Seek goes to a moment, and to the present if the moment is not before it.
func (p *Player) Seek(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moveTo(t.UnixMilli())
}

// Step goes on by d, back if it is negative. From the present it goes back from the
// newest fix of all devices, which in a recording is not now.
func (p *Player) Step(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at
	if !p.past {
		if d >= 0 {
			return
		}
		_, at = survey(p.live, p.now())
	}
	p.moveTo(at + d.Milliseconds())
}

// Play lets the clock run at so many times the speed of life, up to MaxSpeed, until it
// has come so near to the present that the present is shown. It does nothing to the
// present.
func (p *Player) Play(speed float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.past || !(speed > 0) || math.IsInf(speed, 1) {
		speed = 0
	}
	p.speed, p.ticked = min(speed, MaxSpeed), p.now()
	p.changed()
}

// Pause holds the clock.
func (p *Player) Pause() { p.Play(0) }

// Live goes back to the present, which has gone on meanwhile.
func (p *Player) Live() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave()
}

// First says whose history is wanted before that of others. It keeps a copy.
func (p *Player) First(ids []track.DeviceID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.first, ids) {
		p.first = slices.Clone(ids) // not in place: Run may be reading the one before
	}
}

// Store is what to draw: the live store, or one whose clock is in the past, which is
// another one after every step back. What outlives a frame is kept by DeviceID.
func (p *Player) Store() *fleet.Store {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.past {
		return p.live
	}
	return p.reel.store
}

// State tells where the player is.
func (p *Player) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.past {
		return State{Live: true, Version: p.version}
	}
	s := State{
		At: moment(p.at), Speed: p.speed, Loading: p.loading.loading, Loaded: p.loading.loaded, Total: p.loading.total,
		Err: p.loading.err, Version: p.version,
	}
	if p.loading.to > p.loading.from {
		s.From, s.To = moment(p.loading.from), moment(p.loading.to)
	}
	return s
}

// moveTo is called under the lock, as all below.
func (p *Player) moveTo(at int64) {
	at = max(at, earliest)
	if !p.past || at >= p.latest {
		_, p.latest = survey(p.live, p.now())
	}
	if at >= p.latest {
		p.leave()
		return
	}
	if !p.past {
		p.past, p.speed = true, 0
		p.trip++
		p.reel = newReel(p.live, at) // empty, but not the present
	}
	if l := &p.loading; at < l.from || at >= l.to {
		*l = progress{loading: true}
	}
	p.at, p.moved, p.ticked = at, p.now(), p.now()
	p.changed()
}

func (p *Player) leave() {
	if p.past {
		p.past, p.speed, p.reel, p.loading = false, 0, nil, progress{}
		p.changed()
	}
}

// changed tells whoever draws and Run that something is different.
func (p *Player) changed() {
	p.version++
	select {
	case p.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// wish is what Run is to do.
type wish struct {
	past  bool
	trip  uint64
	at    int64
	speed float64
	moved time.Time
	first []track.DeviceID
}

// tick lets the clock run until now if it may, but not past edge, and tells what is
// wished.
func (p *Player) tick(now time.Time, run bool, edge int64) wish {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.past && p.speed > 0 {
		on := int64(now.Sub(p.ticked).Seconds() * p.speed * 1000)
		if on = min(on, edge-1-p.at); run && on > 0 {
			p.at += on
			p.version++
		}
		p.ticked = now
	}
	return wish{p.past, p.trip, p.at, p.speed, p.moved, p.first}
}

// mount shows a reel, unless the journey that it was made for is over.
func (p *Player) mount(trip uint64, r *reel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.past && p.trip == trip && p.reel != r {
		p.reel = r
		p.version++
	}
}

// arrive ends a journey that has come to the present.
func (p *Player) arrive(trip uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trip == trip {
		p.leave()
	}
}

func (p *Player) report(trip uint64, g progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &p.loading
	if !p.past || p.trip != trip {
		return
	}
	if l.loading != g.loading || l.loaded != g.loaded || l.total != g.total || l.from != g.from || l.to != g.to || text(l.err) != text(g.err) {
		p.version++
	}
	*l = g
}

// text compares errors, which need not be comparable.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// device is somebody on the map.
type device struct {
	id   track.DeviceID
	name string
}

// survey tells who is on the map and the time of the newest fix there, now if there is
// none. A clock that runs ahead tells nothing about the present.
func survey(live *fleet.Store, now time.Time) (who []device, latest int64) {
	var f fleet.Frame
	f.Refresh(live, nil)
	for i := range f.Points {
		fix, _, ok := live.Info(int32(i))
		if !ok {
			continue
		}
		who = append(who, device{fix.Device, fix.Name})
		if !fix.Suspect {
			latest = max(latest, fix.Time.UnixMilli())
		}
	}
	if latest <= 0 {
		latest = now.UnixMilli()
	}
	return who, latest
}
