// Package live is the present: the newest fix of every device, found by id, by area
// and by distance.
//
//	      id ──hash──► shard            lock per shard, 16 or more of them
//	                   ├─ index         open addressing, u32: 8 bits of hash | slot
//	                   └─ segments      1,024 records of 64 bytes, one cache line each,
//	                          ▲         and two u32 links for the grid
//	                          │ ref = shard | slot
//	place ──► grid ── block ──┴─► cell ─► ref ─► ref ─► ref …
//	          one lock  32 x 32 cells     a doubly linked list through the links
//
// A device costs its record, eight bytes of links, about seven of index and its
// share of the grid: no pointers, so a million of them are nothing to the garbage
// collector. Segments never move, growing copies only the small index of one shard.
//
// Most fixes stay in their cell of 0.1 degree and touch nothing but their shard: one
// line of index, one line of record. ApplyBatch reads those lines of the whole batch
// before it works on the first fix, so that the cache misses overlap.
//
// Locks: shard before grid. A query takes the grid's lock to collect refs, lets go,
// then reads each record under its shard's lock and tests the place exactly; it
// yields with no lock held. So a query is not one frozen moment: each device is seen
// as it was when the query came by. A device that crosses into an area meanwhile may
// be missed, as if asked a moment earlier.
package live

import (
	"math/bits"
	"runtime"
	"sync/atomic"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// maxSpeed in metres a second: two fixes that imply more are marked as a Jump.
const maxSpeed = 350

// Config of the present. The zero value is good.
type Config struct {
	Shards int // 1 to 256, rounded up to a power of two; 0: eight for each processor, at least 16
}

// Live holds the newest fix of every device. Safe for concurrent use; the fixes of
// one device are ordered by their own time, whoever brings them.
type Live struct {
	shards []shard
	shift  uint // of a hash, to the number of its shard
	clock  atomic.Uint64
	count  atomic.Int64
	full   atomic.Uint64
	grid   grid
}

// New returns an empty present.
func New(c Config) *Live {
	n := c.Shards
	if n <= 0 {
		n = max(16, 8*runtime.GOMAXPROCS(0))
	}
	n = min(1<<bits.Len(uint(n-1)), maxShards)
	l := &Live{shards: make([]shard, n), shift: uint(64 - bits.Len(uint(n-1)))}
	for i := range l.shards {
		l.shards[i].init()
	}
	return l
}

// Apply makes f the present of its device, unless f is late. It sets the flags Late
// and Jump in f and clears them where they do not hold.
//
// Late is what is older than the present by the device's clock. Of two fixes with
// the same time the one that arrives later is the present, and neither is late. A
// heartbeat (no HasPos) keeps the place and its time and renews what the device says
// of itself; it is late if an even newer heartbeat came before it.
//
// Jump is a fix that its device could only have reached from the place before at
// more than 350 m/s; an interval below a second counts as one, since the wire's
// plain clock has whole seconds.
func (l *Live) Apply(f *track.Fix) track.Move { return l.apply(hash(f.Device), f) }

// ApplyBatch applies the fixes in their order and appends one Move each to moves. It
// is cheaper than as many calls of Apply, see the package comment.
func (l *Live) ApplyBatch(fixes []track.Fix, moves []track.Move) []track.Move {
	var hs [touchAhead]uint64
	for len(fixes) > 0 {
		n := min(len(fixes), touchAhead)
		l.touch(fixes[:n], &hs)
		for i := range n {
			moves = append(moves, l.apply(hs[i], &fixes[i]))
		}
		fixes = fixes[n:]
	}
	return moves
}

func (l *Live) apply(h uint64, f *track.Fix) track.Move {
	f.Flags &^= track.Late | track.Jump
	if f.Flags&track.Suspect == 0 {
		return l.put(h, f)
	}
	ours := *f
	ours.Time = f.Present()
	m := l.put(h, &ours)
	f.Flags = ours.Flags
	return m
}

// put applies a fix by its Time.
func (l *Live) put(h uint64, f *track.Fix) track.Move {
	n := h >> l.shift
	s := &l.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()

	slot := s.find(h, f.Device)
	if slot == 0 {
		return l.insert(s, uint32(n), h, f)
	}
	r := s.record(slot)
	m := track.Move{Had: r.has&track.HasPos != 0}
	if m.Had {
		m.From = r.at
	}
	if r.late(f) {
		f.Flags |= track.Late
		return m
	}
	m.Fresh = true
	r.setStamp(l.clock.Load())
	if f.Has&track.HasPos == 0 {
		r.beatWith(f)
		return m
	}
	if m.Had && jumped(m.From, f.At, f.Time-r.time()) {
		f.Flags |= track.Jump
	}
	r.place(f)
	ref := uint32(n)<<slotBits | slot
	switch {
	case !m.Had:
		l.grid.add(l, ref, geo.CellOf(f.At))
	case geo.CellOf(m.From) != geo.CellOf(f.At):
		l.grid.move(l, ref, geo.CellOf(m.From), geo.CellOf(f.At))
	}
	return m
}

// insert adds a device under the lock of its shard.
func (l *Live) insert(s *shard, n uint32, h uint64, f *track.Fix) track.Move {
	slot := s.insert(h, f.Device)
	if slot == 0 {
		l.full.Add(1)
		return track.Move{}
	}
	l.count.Add(1)
	r := s.record(slot)
	r.setStamp(l.clock.Load())
	r.set(f)
	if f.Has&track.HasPos != 0 {
		l.grid.add(l, n<<slotBits|slot, geo.CellOf(f.At))
	}
	return track.Move{Fresh: true}
}

// jumped tells whether the way from a to b in that many milliseconds takes more than
// maxSpeed. The first test overestimates the distance and settles nearly all cases
// without trigonometry.
func jumped(a, b geo.Point, ms int64) bool {
	limit := geo.Meters(max(ms, 1000)) * maxSpeed / 1000
	dlat, dlon := abs(int64(b.Lat)-int64(a.Lat)), abs(int64(b.Lon)-int64(a.Lon))
	dlon = min(dlon, 2*geo.MaxLon-dlon)
	const step = geo.EarthRadius * 3.14159265358979 / 180 / geo.E7 // metres of latitude
	if geo.Meters(dlat+dlon)*step <= limit {
		return false
	}
	return geo.Distance(a, b) > limit
}

func abs(v int64) int64 { return max(v, -v) }

// Get returns the present of a device.
func (l *Live) Get(id track.DeviceID) (f track.Fix, ok bool) { return l.Since(id, 0) }

// Since returns the present of a device if it changed since that stamp, like All.
func (l *Live) Since(id track.DeviceID, since uint64) (f track.Fix, ok bool) {
	h := hash(id)
	s := &l.shards[h>>l.shift]
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.find(h, id)
	if slot == 0 || s.record(slot).mark() < since {
		return f, false
	}
	s.record(slot).load(&f)
	return f, true
}

// Remove forgets a device and returns what its present was.
func (l *Live) Remove(id track.DeviceID) (f track.Fix, ok bool) {
	h := hash(id)
	n := uint32(h >> l.shift)
	s := &l.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.find(h, id)
	if slot == 0 {
		return f, false
	}
	s.record(slot).load(&f)
	if f.Has&track.HasPos != 0 {
		l.grid.remove(l, n<<slotBits|slot, geo.CellOf(f.At))
	}
	s.remove(h, slot)
	l.count.Add(-1)
	return f, true
}

// Len is the number of devices.
func (l *Live) Len() int { return int(l.count.Load()) }

// Refused counts the fixes of devices that found their shard full, at 16 million
// devices a shard.
func (l *Live) Refused() uint64 { return l.full.Load() }

// Stamp returns a mark for InBox and All: a scan since that mark sees every change
// whose Apply began after Stamp returned, and none that was complete before. Of those
// in between it may see some.
func (l *Live) Stamp() uint64 { return l.clock.Add(1) }

// seg is the segment that holds ref, which is a slot of a record that exists.
func (l *Live) seg(ref uint32) *segment {
	return l.shards[ref>>slotBits].segment(ref & slotMask)
}
