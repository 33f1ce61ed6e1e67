package fleet

import (
	"sync"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
)

// Store is what the map knows: the latest fix of each device, its trail, what happened,
// and how the link to the server is doing. One goroutine feeds it, the screen copies out
// of it; neither ever waits for the terminal, because nothing is written while the lock
// is held. The zero value is not ready: see New.
type Store struct {
	now       func() time.Time
	byFixTime bool
	trailMax  int
	ready     chan struct{} // closed when a snapshot has been taken whole
	rules     rules
	log       Log // has a lock of its own, which is taken last

	gone bool // nobody listened where the server was; of the goroutine that feeds

	mu      sync.RWMutex
	index   map[track.DeviceID]int32
	points  []Point  // hot: copied for frames
	seqs    []uint32 // the Seq of each point, close together: a frame looks at all of them
	told    []told   // likewise: what was said of each device
	devices shelf    // cold, same index
	free    []int32
	crumbs  crumbs

	gen     uint32 // of the last snapshot begun
	voiding bool   // it makes void what it does not name
	loaded  bool   // a snapshot has been taken whole
	version uint64
	named   uint64 // changes whenever a name comes or goes
	fixes   uint64
	skipped uint64
	lag     lag
	link    Link
	changes uint32    // Seq of the point that changed last
	ticked  time.Time // when silence was last looked for
	woke    time.Time // when this side was last found to have been away; see leapt
	events  []Event   // of the fix at hand
	resync  uint64    // the line of the log that counts what was skipped
	resyncs time.Time // when it was last added to
}

// Nobody is the index of no device.
const Nobody = int32(-1)

// Config is how a store keeps time, how much it keeps, and when it speaks up.
type Config struct {
	Now        func() time.Time // time.Now if nil
	ByFixTime  bool             // a device was heard when its fix was taken, not when it came
	Ages       filter.Ages
	Trail      int // crumbs a device, MaxTrail if 0
	LowBattery int // percent below which it is an event, 15 if 0
}

// New makes an empty store.
func New(c Config) *Store {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Trail <= 0 || c.Trail > MaxTrail {
		c.Trail = MaxTrail
	}
	if c.LowBattery <= 0 {
		c.LowBattery = lowBattery
	}
	s := &Store{
		now: c.Now, byFixTime: c.ByFixTime, trailMax: c.Trail, ready: make(chan struct{}),
		rules: rules{c.Ages.Filled(), c.LowBattery}, index: map[track.DeviceID]int32{}, link: Link{Since: c.Now()},
	}
	s.log.flag = s.flagMuted
	return s
}

// Now is the store's clock: of the wall where it is fed live, of the moment that is
// looked at where it is fed from the past. Everything that is drawn goes by it.
func (s *Store) Now() time.Time { return s.now() }

// Ready is closed when a snapshot has been taken whole.
func (s *Store) Ready() <-chan struct{} { return s.ready }

// Ages are the ages by which its devices count as stale and lost.
func (s *Store) Ages() filter.Ages { return s.rules.ages }

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
		came := now
		if r := fixes[i].Received; !r.IsZero() && r.Before(now) {
			came = r
		}
		s.put(&fixes[i], came, now)
	}
	if !more {
		s.whole()
	}
	s.version++
}

// whole ends a snapshot: what it did not name is gone.
func (s *Store) whole() {
	for i := range s.points {
		if s.voiding && s.points[i].Alive() && s.devices.at(int32(i)).gen != s.gen {
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
		s.put(&fixes[i], now, now)
	}
	s.fixes += uint64(len(fixes))
	s.measureLag(fixes, now)
	s.tick(now)
	s.version++
}

// Skipped counts fixes that this viewer was too slow to get.
func (s *Store) Skipped(n uint64) {
	if n == 0 {
		return
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skipped += n
	s.version++
	// Who is too slow once is so again and again: that is one line a minute.
	if now.Sub(s.resyncs) >= time.Minute || !s.log.again(s.resync, Resynced, int64(n)) {
		s.resync = s.log.Add(Event{At: now, Kind: Resynced, num: int64(n)})
		s.resyncs = now
	}
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

// silent writes a silence down, or makes more of the line that told of it.
func (s *Store) silent(i int32, e Event, now time.Time) {
	d := s.devices.at(i)
	s.version++
	if e.lost && s.log.turnLost(d.silent, e.span) {
		return
	}
	e.At, e.Device, e.Name = now, d.id, d.name
	d.silent = s.log.Add(e)
}

// flagMuted marks the point of a device whose events are not for this person.
func (s *Store) flagMuted(id track.DeviceID, mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[id]; ok {
		s.points[i].set(Muted, mute)
		s.touch(i)
		s.version++
	}
}

// heardAt is when a fix counts as heard that came at a moment, in unix milliseconds.
func (s *Store) heardAt(f *client.Fix, came time.Time) int64 {
	if s.byFixTime {
		return f.Time.UnixMilli()
	}
	return came.UnixMilli()
}

// put takes a fix that came at a moment.
func (s *Store) put(f *client.Fix, came, now time.Time) {
	if f.Late {
		return // history, not the map
	}
	i, known := s.index[f.Device]
	if !known {
		i = s.slot(f.Device)
	}
	d, p, taken := s.devices.at(i), &s.points[i], millis(f.Time)
	d.gen = s.gen
	if known && taken < d.time {
		return
	}
	if name := bounded(f.Name); d.name == "" || name != d.raw {
		d.raw, d.name = name, cleanName(name, f.Device)
		s.named++
	}
	was, heard := *p, s.heardAt(f, came)
	s.move(i, f, heard, known)
	if !known || taken > d.time { // and not the same one again, in a snapshot
		n := news{
			fix: f, was: &was, is: p, from: d.at, known: known, loaded: s.loaded, heard: heard, now: now.UnixMilli(),
		}
		if known && d.time != never {
			n.gap = time.Duration(taken-d.time) * time.Millisecond
			p.interval(n.gap)
		}
		d.spark.note(f, heard)
		s.tell(i, &n)
	}
	d.keep(f, p.Alarmed(heard))
}

// move brings the point of a device up to a fix.
func (s *Store) move(i int32, f *client.Fix, heard int64, known bool) {
	p := &s.points[i]
	was := *p
	p.Heard = heard
	p.Flags |= Alive
	p.report(f)
	s.touch(i)
	if filter.Alarming(f.Event) {
		p.Alarm = alarmStamp(heard)
	}
	if !f.HasPos() {
		return
	}
	if known && was.Placed() {
		p.set(Shifted, apart(was.Pos, p.Pos) > crumbApart/2)
	}
	s.drop(&s.devices.at(i).trail, p.Pos, heard, f.Jump)
}

// tell writes down what a fix means to a person.
func (s *Store) tell(i int32, n *news) {
	d := s.devices.at(i)
	s.events, s.told[i] = s.rules.fix(s.events[:0], n, s.told[i])
	for _, e := range s.events {
		alerts := e.Kind.Alerts()
		if alerts && n.was.Alarmed(n.heard) && s.log.again(d.alarm, e.Kind, 0) {
			continue // it goes on
		}
		e.At, e.Device, e.Name = time.UnixMilli(n.heard).UTC(), n.fix.Device, d.name
		if line := s.log.Add(e); alerts {
			d.alarm = line
		}
	}
}

// touch says that a point is not what it was.
func (s *Store) touch(i int32) {
	s.changes++
	s.points[i].Seq, s.seqs[i] = s.changes, s.changes
}

// slot finds room for a device that is new.
func (s *Store) slot(id track.DeviceID) int32 {
	i := Nobody
	if n := len(s.free); n > 0 {
		i = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		i = s.devices.add()
		s.points, s.seqs, s.told = append(s.points, Point{}), append(s.seqs, 0), append(s.told, 0)
	}
	s.index[id] = i
	s.devices.at(i).id = id
	s.points[i].set(Muted, s.log.Muted(id))
	return i
}

func (s *Store) remove(i int32) {
	d := s.devices.at(i)
	delete(s.index, d.id)
	s.crumbs.clear(&d.trail)
	*d, s.points[i], s.told[i] = device{}, Point{Tenant: s.points[i].Tenant + 1}, 0
	s.touch(i)
	s.free = append(s.free, i)
	s.named++
}

// measureLag takes the newest fix as what to measure by: from the server's receipt to
// here. In the past nothing lags.
func (s *Store) measureLag(fixes []client.Fix, now time.Time) {
	if n := len(fixes); n > 0 && !s.byFixTime && !fixes[n-1].Received.IsZero() {
		s.lag.take(now.Sub(fixes[n-1].Received), now)
	}
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
	return Status{s.version, s.named, s.fixes, s.skipped, len(s.index), s.loaded, s.lag.told(s.now()), s.link}
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
	if !s.devices.has(i) || !s.points[i].Alive() {
		return client.Fix{}, "", false
	}
	d := s.devices.at(i)
	return d.fix(), d.name, true
}

// Name is what to call the device at an index, empty if there is none. It can be shown
// as it is: nothing in it is a command to a terminal.
func (s *Store) Name(i int32) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.devices.has(i) {
		return ""
	}
	return s.devices.at(i).name
}

// names appends the names of all slots, empty where there is no device.
func (s *Store) names(dst []string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range s.devices.n {
		dst = append(dst, s.devices.at(i).name)
	}
	return dst
}
