package fleet

import (
	"sync"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/world"
)

// Store is what the map knows: the latest fix of each device, its trail, and how the
// link to the server is doing. One goroutine feeds it, the screen copies out of it;
// neither ever waits for the terminal, because nothing is written while the lock is
// held. The zero value is not ready: see New.
type Store struct {
	now       func() time.Time
	byFixTime bool
	ages      filter.Ages
	trailMax  int
	ready     chan struct{} // closed when a snapshot has been taken whole
	log       Log

	mu      sync.RWMutex
	index   map[track.DeviceID]int32
	points  []Point  // hot: copied for every frame
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
	changes uint32 // Seq of the point that changed last
}

// Nobody is the index of no device.
const Nobody = int32(-1)

type device struct {
	fix   client.Fix
	name  string // clean, never empty
	raw   string // what name was made of
	gen   uint32
	trail []Crumb
}

// LinkState is how the feed is doing.
type LinkState uint8

const (
	Connecting LinkState = iota
	Live
	Reconnecting
	Ended
	Denied // the server does not let this viewer in any more
)

// Link is what the status line says of the feed.
type Link struct {
	State LinkState
	Since time.Time
	Note  string // why, in a few words
}

// Config is how a store keeps time and how much it keeps.
type Config struct {
	Now       func() time.Time // time.Now if nil
	ByFixTime bool             // a device was heard when its fix was taken, not when it came
	Ages      filter.Ages
	Trail     int // crumbs a device, MaxTrail if 0
}

// New makes an empty store.
func New(c Config) *Store {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Trail <= 0 || c.Trail > MaxTrail {
		c.Trail = MaxTrail
	}
	return &Store{
		now: c.Now, byFixTime: c.ByFixTime, ages: c.Ages.Filled(), trailMax: c.Trail,
		ready: make(chan struct{}), index: map[track.DeviceID]int32{}, link: Link{Since: c.Now()},
	}
}

// Now is the store's clock: of the wall where it is fed live, of the moment that is
// looked at where it is fed from the past. Everything that is drawn goes by it.
func (s *Store) Now() time.Time { return s.now() }

// Ready is closed when a snapshot has been taken whole.
func (s *Store) Ready() <-chan struct{} { return s.ready }

// Ages are the ages by which its devices count as stale and lost.
func (s *Store) Ages() filter.Ages { return s.ages }

// Events is the log of what happened to devices and to the feed.
func (s *Store) Events() *Log { return &s.log }

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
		s.put(&fixes[i], s.heardAt(&fixes[i], heard))
	}
	if !more {
		s.whole()
	}
	s.version++
}

// whole ends a snapshot: what it did not name is gone.
func (s *Store) whole() {
	for i := range s.devices {
		if s.voiding && s.points[i].Alive() && s.devices[i].gen != s.gen {
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
		s.put(&fixes[i], s.heardAt(&fixes[i], now))
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

// heardAt is when a fix counts as heard that came at a moment.
func (s *Store) heardAt(f *client.Fix, came time.Time) time.Time {
	if s.byFixTime {
		return f.Time
	}
	return came
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
	keep(f, &d.fix, p.Alarmed(heard.UnixMilli()))
}

// move brings the point of a device up to a fix.
func (s *Store) move(d *device, p *Point, f *client.Fix, heard int64, known bool) {
	was := *p
	s.changes++
	p.Seq, p.Heard = s.changes, heard
	p.Flags |= Alive
	p.set(Power, f.Power)
	p.set(Suspect, f.Suspect)
	p.set(Jumped, f.Jump)
	if alarming(f.Event) {
		p.Alarm = alarmStamp(heard)
	}
	p.Bat = uint8(min(max(f.Battery, 0), 100))
	if !f.HasPos() {
		return // a heartbeat: alive where it was
	}
	p.Pos, p.Has = world.Project(f.At), f.Has
	p.Speed = uint16(min(f.Speed*100, 65535))
	p.Course = uint16(f.Course*100) % 36000
	if known && was.Placed() {
		p.set(Shifted, apart(was.Pos, p.Pos) > crumbApart/2)
	}
	s.drop(d, p.Pos, heard, f.Jump)
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

func (s *Store) slot() int32 {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	s.points = append(s.points, Point{})
	s.devices = append(s.devices, device{})
	return int32(len(s.points) - 1)
}

func (s *Store) remove(i int32) {
	delete(s.index, s.devices[i].fix.Device)
	s.trailed -= len(s.devices[i].trail)
	s.changes++
	s.points[i], s.devices[i] = Point{Seq: s.changes}, device{}
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

// Status is the store in numbers, at one moment.
type Status struct {
	Version uint64 // another one after every change of anything
	Named   uint64 // another one after a name came or went
	Fixes   uint64 // live ones
	Skipped uint64 // fixes that this viewer was too slow to get
	Devices int
	Loaded  bool // a snapshot has been taken whole
	Lag     time.Duration
	Link    Link
}

// Status tells the store in numbers.
func (s *Store) Status() Status {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.status()
}

func (s *Store) status() Status {
	return Status{s.version, s.named, s.fixes, s.skipped, len(s.index), s.loaded, s.lag, s.link}
}

// Find is the index of a device, Nobody if there is none.
func (s *Store) Find(id track.DeviceID) int32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i, ok := s.index[id]; ok {
		return i
	}
	return Nobody
}

// Info is what the store holds of the device at an index, not ok if there is none.
func (s *Store) Info(i int32) (fix client.Fix, name string, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i < 0 || int(i) >= len(s.points) || !s.points[i].Alive() {
		return client.Fix{}, "", false
	}
	return s.devices[i].fix, s.devices[i].name, true
}

// Name is what to call the device at an index, empty if there is none. It can be shown
// as it is: nothing in it is a command to a terminal.
func (s *Store) Name(i int32) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i < 0 || int(i) >= len(s.devices) {
		return ""
	}
	return s.devices[i].name
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
