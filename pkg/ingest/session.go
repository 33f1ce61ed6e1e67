package ingest

import (
	"sync"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/seal"
	"tracker/pkg/track"
)

const (
	aheadAfter = time.Hour // an epoch further ahead of us is worth an alarm

	// A device with this many forgeries on its session derives from the lower half of
	// the budget only, so that a flood on some ids leaves new sessions of all others
	// alone.
	suspectFails = 16
	lowerHalf    = 0.5

	// Two sessions that take turns this long, and this often, are two senders. A
	// device that restarts leaves a few stragglers of its old session, no more.
	cloneAfter = 10 * time.Minute
	cloneTurns = 4
	cloneGap   = time.Hour // turns further apart have nothing to do with each other
)

// alias is what a wire id is called elsewhere, for the few that need it: rotating
// ids, and credentials beyond a device's first.
type alias struct {
	device, cred track.DeviceID
	expires      int64 // unix seconds, 0 = never
	retiring     bool
	rotating     bool
	several      bool // of its device's wire ids, another may be on another reader
}

// swing is a device that changes between its two live sessions.
type swing struct {
	since, last int64 // ticks
	turns       int
	told        bool
}

// floors are the newest epochs of credentials with rotating ids. Each of their ids
// may live on another reader, so this is the one thing that readers share; it is
// touched only when such a device opens a session.
type floors struct {
	mu     sync.Mutex
	newest map[track.DeviceID]uint32
}

// of is the lowest epoch that the credential may open.
func (f *floors) of(cred track.DeviceID) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, known := f.newest[cred]; known {
		return e + 1
	}
	return 0
}

func (f *floors) raise(cred track.DeviceID, epoch uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.newest == nil {
		f.newest = map[track.DeviceID]uint32{}
	}
	f.newest[cred] = max(f.newest[cred], epoch)
}

// strike takes back an epoch that turned out to be wrong.
func (f *floors) strike(cred track.DeviceID, struck func(epoch uint32) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if struck(f.newest[cred]) {
		delete(f.newest, cred)
	}
}

// admit makes the record of a device that the engine knows, with the sessions that
// the store remembers: what was stored counts as seen.
func (r *reader) admit(id track.DeviceID) *record {
	s, known := r.engine.Session(id)
	if !known {
		return nil
	}
	rec := r.records.insert(id)
	if s.Suite == seal.AES128GCM {
		rec.flags |= suiteTwo
	}
	r.describe(rec, &s)
	if l := s.Live[0]; l.Known {
		rec.win = seal.Recovered(l.Epoch, l.MaxPID)
	}
	if l := s.Live[1]; l.Known {
		r.older.insert(id).win = seal.Recovered(l.Epoch, l.MaxPID)
		rec.flags |= hasOlder
	}
	r.tally.devices.Store(uint64(r.records.len()))
	return rec
}

// describe notes what may change during the life of a credential.
func (r *reader) describe(rec *record, s *engine.Session) {
	rec.flags &^= bearers | aliased
	if s.Flags&seal.TwoBearers != 0 {
		rec.flags |= bearers
	}
	a := alias{device: s.Device, cred: s.Cred, expires: s.Expires, retiring: s.Retiring, rotating: s.Flags&seal.RotatingIDs != 0, several: s.Several}
	if a == (alias{device: rec.id(), cred: rec.id()}) {
		delete(r.aliases, rec.id())
		return
	}
	rec.flags |= aliased
	r.aliases[rec.id()] = a
}

func (r *reader) identity(rec *record) (device, cred track.DeviceID) {
	a := r.names(rec)
	return a.device, a.cred
}

func (r *reader) names(rec *record) alias {
	if rec.flags&aliased == 0 {
		return alias{device: rec.id(), cred: rec.id()}
	}
	return r.aliases[rec.id()]
}

func (r *reader) credential(rec *record) track.DeviceID {
	_, cred := r.identity(rec)
	return cred
}

// place finds the session of a datagram by its epoch.
func (r *reader) place(d *datagram) seal.Slot {
	rec := d.rec
	d.slot = rec
	if rec.win.Epoch == d.head.Epoch && rec.win.Live() { // nearly always
		return seal.SlotNewest
	}
	var none seal.Window
	win, older := &none, (*record)(nil)
	if rec.flags&hasOlder != 0 {
		older = r.older.find(rec.id())
		win = &older.win
	}
	slot := seal.Place(d.head.Epoch, 0, &rec.win, win) // openSession asks for the floor
	if slot == seal.SlotOlder {
		d.slot = older
	}
	return slot
}

// needKey makes sure that the session has its key, which it lacks after a restart.
// The key is kept even if the datagram turns out to be forged: the epoch is known to
// be right, and the next forgery will not cost another derivation.
func (r *reader) needKey(d *datagram) counter {
	if d.slot.flags&keyed != 0 {
		return fine
	}
	if c := r.derive(d); c != fine {
		return c
	}
	d.slot.key = r.keys.Up
	d.slot.flags |= keyed
	return fine
}

// derive makes the keys for the epoch of a datagram, within the budget.
func (r *reader) derive(d *datagram) counter {
	want := seal.Header{Suite: d.head.Suite, Device: d.head.Device, Epoch: d.head.Epoch}
	if r.wanted == want {
		return fine // an ack for the datagram that has just opened the session
	}
	keep := 0.0
	if d.rec.fails >= suspectFails {
		keep = lowerHalf
	}
	if !r.kdf.take(r.now, keep) {
		return kdfBudget
	}
	r.wanted = want
	if err := r.engine.WithRoot(r.credential(d.rec), r.deriveKeys); err != nil {
		r.wanted = seal.Header{}
		return unknownID // revoked this very moment
	}
	return fine
}

// openSession takes the first datagram of a new epoch. Only when it has opened does
// the epoch take the place of the older one.
func (r *reader) openSession(d *datagram) counter {
	s, known := r.engine.Session(d.head.Device)
	if !known {
		return unknownID
	}
	floor := s.Floor
	if s.Flags&seal.RotatingIDs != 0 {
		floor = max(floor, r.in.floors.of(s.Cred))
	}
	if d.head.Epoch < floor || s.Struck(d.head.Epoch, r.wall/1000) {
		return r.refuseOld(d)
	}
	if c := r.derive(d); c != fine {
		return c
	}
	if !r.verify(d, &r.keys.Up) {
		return authFail
	}
	r.begin(d)
	if s.Flags&seal.RotatingIDs != 0 {
		r.in.floors.raise(s.Cred, d.head.Epoch)
	}
	if time.Duration(int64(d.head.Epoch)-r.wall/1000)*time.Second > aheadAfter {
		r.tally.count(epochFuture)
		r.engine.RaiseAlarm(engine.AlarmEpochFuture, s.Cred, d.head.Epoch)
	}
	return fine
}

// begin makes the epoch of a datagram the newest session of its device.
func (r *reader) begin(d *datagram) {
	rec := d.rec
	if rec.win.Live() {
		older := r.older.find(rec.id())
		if older == nil {
			older = r.older.insert(rec.id())
		}
		older.session(rec)
		rec.flags |= hasOlder
	}
	rec.win = seal.Window{Epoch: d.head.Epoch}
	rec.key = r.keys.Up
	rec.flags = rec.flags&^swung | keyed
	rec.fails = 0
	rec.accept(d)
	r.tally.count(sessions)
}

// watchForClone notices when the two live sessions of a device that has but one
// bearer keep taking turns.
func (r *reader) watchForClone(d *datagram) {
	rec := d.rec
	inOlder, was := d.slot != rec, rec.flags&swung != 0
	if inOlder == was || rec.flags&bearers != 0 {
		return
	}
	rec.flags ^= swung
	s := r.swings[rec.id()]
	if s.turns == 0 || r.now-s.last > ticks(cloneGap) {
		s = swing{since: r.now, told: s.told}
	}
	s.turns++
	s.last = r.now
	if !s.told && s.turns >= cloneTurns && r.now-s.since >= ticks(cloneAfter) {
		s.told = true
		r.tally.count(cloneSuspected)
		r.engine.RaiseAlarm(engine.AlarmClone, r.credential(rec), rec.win.Epoch)
	}
	r.swings[rec.id()] = s
}

// refresh looks again at the devices that were revoked, rotated or reset since the
// batch before.
func (r *reader) refresh() {
	if r.engine.Generation() == r.generation {
		return
	}
	ids, now := r.engine.Changed(r.generation)
	r.generation = now
	for _, id := range ids {
		if rec := r.records.find(id); rec != nil {
			r.review(rec)
		}
	}
}

func (r *reader) review(rec *record) {
	s, known := r.engine.Session(rec.id())
	if !known {
		r.forget(rec.id())
		return
	}
	r.describe(rec, &s)
	struck := func(epoch uint32) bool { return s.Struck(epoch, r.wall/1000) }
	r.in.floors.strike(s.Cred, struck)
	if rec.flags&hasOlder != 0 && struck(r.older.find(rec.id()).win.Epoch) {
		r.dropOlder(rec)
	}
	if rec.win.Live() && struck(rec.win.Epoch) {
		r.strike(rec)
	}
}

// strike ends the newest session; the one before it, if any, is the newest again.
func (r *reader) strike(rec *record) {
	rec.endSession()
	if rec.flags&hasOlder != 0 {
		rec.session(r.older.find(rec.id()))
		r.dropOlder(rec)
	}
}

func (r *reader) dropOlder(rec *record) {
	r.older.remove(rec.id())
	rec.flags &^= hasOlder | swung
}

// forget removes every trace of a wire id.
func (r *reader) forget(id track.DeviceID) {
	r.records.remove(id)
	r.older.remove(id)
	delete(r.aliases, id)
	delete(r.swings, id)
	delete(r.answers, id)
	r.tally.devices.Store(uint64(r.records.len()))
}

// sweepLen is how many records are looked at a second for ids that nobody uses any
// more.
const sweepLen = 4096

// sweep forgets rotating ids of days gone by and keys whose grace is over. The
// engine tells of the latter, too, but only once a minute.
func (r *reader) sweep() {
	r.swept = r.records.sweep(r.swept, sweepLen, func(rec *record) {
		if rec.flags&aliased == 0 {
			return
		}
		a := r.aliases[rec.id()]
		if !a.rotating && (a.expires == 0 || a.expires > r.wall/1000) {
			return
		}
		if _, known := r.engine.Session(rec.id()); !known {
			r.forget(rec.id())
		}
	})
}
