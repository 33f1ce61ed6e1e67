package tui

import (
	"sync"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/world"
)

// Store is what the map knows: the latest fix of each device, its trail, and how the
// link to the server is doing. One goroutine feeds it, the screen copies out of it;
// neither ever waits for the terminal, because nothing is written while the lock is
// held. The zero value is not ready: see NewStore.
type Store struct {
	now   func() time.Time
	ready chan struct{} // closed when a snapshot has been taken whole

	mu      sync.RWMutex
	index   map[track.DeviceID]int32
	points  []point  // hot: copied for every frame
	devices []device // cold, same index
	free    []int32
	trailed int // trail points kept in all

	gen     uint32 // of the last snapshot begun
	voiding bool   // it makes void what it does not name
	loaded  bool   // a snapshot has been taken whole
	version uint64
	named   uint64 // changes whenever a name comes or goes
	fixes   uint64
	skipped uint64
	lag     time.Duration
	link    Link
}

// point is what drawing needs of one device.
type point struct {
	pos    world.Pos
	heard  int64  // unix milliseconds of our clock
	alarm  int64  // when it last reported something for a person to look at; 0 never
	speed  uint16 // cm/s
	course uint16 // 1/100 degree
	has    track.Has
	bat    uint8 // percent, with track.HasBat
	moving bool  // it moved, for devices that do not know their speed
	alive  bool  // the slot is in use
}

type device struct {
	fix   client.Fix
	name  string // clean, never empty
	raw   string // what name was made of
	gen   uint32
	trail []crumb
}

// A crumb is one point of a trail.
type crumb struct {
	pos   world.Pos
	at    int64 // our clock, unix milliseconds
	start bool  // do not draw a line from the crumb before
}

const (
	maxTrail    = 64      // crumbs a device
	trailBudget = 1 << 20 // crumbs in all
	minTrail    = 8

	movingFrom = 50   // cm/s
	crumbApart = 3000 // steps of the projection: 28 m on the equator
	nobody     = int32(-1)
)

// LinkState is how the feed is doing.
type LinkState uint8

const (
	Connecting LinkState = iota
	Live
	Reconnecting
	Ended
)

// Link is what the status line says of the feed.
type Link struct {
	State LinkState
	Since time.Time
	Note  string // why, in a few words
}

// NewStore makes an empty store. now is the clock, time.Now if nil.
func NewStore(now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{now: now, ready: make(chan struct{}), index: map[track.DeviceID]int32{}, link: Link{Since: now()}}
}

// Snapshot takes one part of the present of everything that is watched, or of what
// changed while this viewer was behind. A first part makes void what was known before:
// devices that neither it nor another part names are gone after the last one, the one
// without more. A snapshot that broke off is made good by the next.
func (s *Store) Snapshot(fixes []client.Fix, first, more bool) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if first {
		s.gen++
		s.voiding = true
	}
	for i := range fixes {
		heard := now
		if r := fixes[i].Received; !r.IsZero() && r.Before(now) {
			heard = r
		}
		s.put(&fixes[i], heard)
	}
	if !more {
		s.whole()
	}
	s.version++
}

// whole ends a snapshot: what it did not name is gone.
func (s *Store) whole() {
	for i := range s.devices {
		if s.voiding && s.points[i].alive && s.devices[i].gen != s.gen {
			s.remove(int32(i))
		}
	}
	s.voiding = false
	if !s.loaded {
		s.loaded = true
		close(s.ready)
	}
}

// Apply takes live fixes, oldest first. It copies what it keeps.
func (s *Store) Apply(fixes []client.Fix) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range fixes {
		s.put(&fixes[i], now)
	}
	s.fixes += uint64(len(fixes))
	s.measureLag(fixes, now)
	s.version++
}

// Skipped counts fixes that this viewer was too slow to get.
func (s *Store) Skipped(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skipped += n
	s.version++
}

// Left forgets devices that are no longer in what is watched.
func (s *Store) Left(ids []track.DeviceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if i, ok := s.index[id]; ok {
			s.remove(i)
		}
	}
	s.version++
}

// SetLink says how the feed is doing.
func (s *Store) SetLink(state LinkState, note string) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link.State != state {
		s.link.Since = now
	}
	s.link.State, s.link.Note = state, canvas.Clean(note)
	s.version++
}

func (s *Store) put(f *client.Fix, heard time.Time) {
	if f.Late {
		return // history, not the map
	}
	i, known := s.index[f.Device]
	if !known {
		i = s.slot()
		s.index[f.Device] = i
		s.devices[i] = device{}
	}
	d, p := &s.devices[i], &s.points[i]
	d.gen = s.gen
	if known && f.Time.Before(d.fix.Time) {
		return
	}
	if d.name == "" || f.Name != d.raw {
		d.raw, d.name = f.Name, cleanName(f)
		s.named++
	}
	s.move(d, p, f, heard.UnixMilli(), known)
	keep(f, &d.fix, p.alarmed(heard.UnixMilli()))
}

// placed tells whether anybody knows where it is.
func (p *point) placed() bool { return p.has&track.HasPos != 0 }

// state is how a device is at a moment of our clock.
func (p *point) state(now int64, a *ages) state {
	age := now - p.heard
	switch {
	case p.alarmed(now):
		return isAlert
	case age >= a.lost:
		return isLost
	case age >= a.stale:
		return isStale
	case p.has&track.HasVel != 0 && p.speed >= movingFrom, p.has&track.HasVel == 0 && p.moving:
		return isMoving
	}
	return isIdle
}

// alarmFor is how long a report such as sos is shown, whatever the device says after it:
// a person has to get a chance to see it.
const alarmFor = 5 * time.Minute

func (p *point) alarmed(now int64) bool { return p.alarm != 0 && now-p.alarm < alarmFor.Milliseconds() }

func alarming(event string) bool { return event == "sos" || event == "tamper" }

// ages are how long a device may be silent, in milliseconds.
type ages struct{ stale, lost int64 }

// move brings the point of a device up to a fix.
func (s *Store) move(d *device, p *point, f *client.Fix, heard int64, known bool) {
	was := *p
	p.alive, p.heard = true, heard
	if alarming(f.Event) {
		p.alarm = heard
	}
	p.bat = uint8(min(max(f.Battery, 0), 100))
	if !f.HasPos() {
		return // a heartbeat: alive where it was
	}
	p.pos, p.has = world.Project(f.At), f.Has
	p.speed = uint16(min(f.Speed*100, 65535))
	p.course = uint16(f.Course*100) % 36000
	if known && was.placed() {
		p.moving = apart(was.pos, p.pos) > crumbApart/2
	}
	s.drop(d, p.pos, heard, f.Jump)
}

// keep stores f as the latest fix, with the place of the one before if f is a heartbeat,
// and with its event while that is being shown.
func keep(f, latest *client.Fix, alarmed bool) {
	before := *latest
	*latest = *f
	if !f.HasPos() {
		latest.At, latest.Has = before.At, f.Has|before.Has&track.HasPos
	}
	if alarmed && !alarming(f.Event) {
		latest.Event = before.Event
	}
}

// drop leaves a crumb where a device went.
func (s *Store) drop(d *device, pos world.Pos, at int64, jump bool) {
	n := len(d.trail)
	if n > 0 && apart(d.trail[n-1].pos, pos) < crumbApart {
		return
	}
	room := min(max(trailBudget/max(len(s.index), 1), minTrail), maxTrail)
	if n >= room {
		s.trailed -= n
		d.trail = thin(d.trail)
		s.trailed += len(d.trail)
	}
	d.trail = append(d.trail, crumb{pos, at, jump})
	s.trailed++
}

// thin leaves out every other crumb of the older half: what is recent keeps its
// detail and what is long ago becomes an outline.
func thin(trail []crumb) []crumb {
	half := len(trail) / 2
	kept := trail[:0]
	jumped := false
	for i, c := range trail {
		if i < half && i%2 == 1 {
			jumped = jumped || c.start
			continue
		}
		c.start = c.start || jumped
		jumped = false
		kept = append(kept, c)
	}
	return kept
}

// apart is the larger of the two distances between two places, in steps.
func apart(a, b world.Pos) uint32 {
	abs := func(v int32) uint32 {
		if v < 0 {
			return uint32(-int64(v))
		}
		return uint32(v)
	}
	return max(abs(int32(a.X-b.X)), abs(int32(a.Y-b.Y)))
}

func (s *Store) slot() int32 {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	s.points = append(s.points, point{})
	s.devices = append(s.devices, device{})
	return int32(len(s.points) - 1)
}

func (s *Store) remove(i int32) {
	delete(s.index, s.devices[i].fix.Device)
	s.trailed -= len(s.devices[i].trail)
	s.points[i], s.devices[i] = point{}, device{}
	s.free = append(s.free, i)
	s.named++
}

// measureLag takes the newest fix as what to measure by: from the server's receipt to
// here. It is only as true as the two clocks agree.
func (s *Store) measureLag(fixes []client.Fix, now time.Time) {
	if len(fixes) == 0 || fixes[len(fixes)-1].Received.IsZero() {
		return
	}
	lag := max(now.Sub(fixes[len(fixes)-1].Received), 0)
	s.lag += (lag - s.lag) / 8
}

// cleanName is what the screen calls a device: its name without anything that a
// terminal could take for a command, or its id.
func cleanName(f *client.Fix) string {
	if name := canvas.Clean(f.Name); name != "" {
		return canvas.Truncate(name, 40)
	}
	return f.Device.String()
}

// status is the store in numbers, at one moment.
type status struct {
	version, named, fixes, skipped uint64
	devices                        int
	loaded                         bool
	lag                            time.Duration
	link                           Link
}

func (s *Store) status() status {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return status{s.version, s.named, s.fixes, s.skipped, len(s.index), s.loaded, s.lag, s.link}
}

// copyPoints copies what drawing needs. A point's index names its device until the
// store forgets it.
func (s *Store) copyPoints(dst []point) []point {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return append(dst[:0], s.points...)
}

// find is the index of a device, nobody if there is none.
func (s *Store) find(id track.DeviceID) int32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i, ok := s.index[id]; ok {
		return i
	}
	return nobody
}

// info is what the store holds of the device at an index, not ok if there is none.
func (s *Store) info(i int32) (fix client.Fix, name string, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i < 0 || int(i) >= len(s.points) || !s.points[i].alive {
		return client.Fix{}, "", false
	}
	return s.devices[i].fix, s.devices[i].name, true
}

// names appends the names of all slots, empty where there is no device.
func (s *Store) names(dst []string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range s.devices {
		dst = append(dst, s.devices[i].name)
	}
	return dst
}

// trail appends the last n crumbs of a device, oldest first.
func (s *Store) trail(dst []crumb, i int32, n int) []crumb {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i < 0 || int(i) >= len(s.devices) {
		return dst
	}
	t := s.devices[i].trail
	return append(dst, t[max(0, len(t)-n):]...)
}
