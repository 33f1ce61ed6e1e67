package live

import (
	"math"
	"sync"
	"sync/atomic"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

const (
	maxShards = 256
	slotBits  = 24 // of a ref, below the number of the shard
	slotMask  = 1<<slotBits - 1
	segBits   = 10
	segSize   = 1 << segBits

	firstIndex = 64 // entries of an empty index
	touchAhead = 64 // fixes whose cache lines are fetched together
)

// shard is a part of the devices. Slot 0 is never given out: zero means none in the
// index, in the links and in the free list.
type shard struct {
	mu    sync.Mutex
	used  int    // slots in the index
	next  uint32 // first slot that was never used
	free  uint32 // head of the list of slots to use again, chained by record.beat
	index atomic.Pointer[[]uint32]
	segs  atomic.Pointer[[]*segment]
	_     [80]byte // two shards never share a cache line, nor a pair of them
}

// segment is a block of records that never moves. Its records are guarded by the
// lock of the shard, its links by that of the grid.
type segment struct {
	records [segSize]record
	links   [segSize]link
}

// link chains the devices of one cell by their refs.
type link struct{ prev, next uint32 }

// record is a fix in one cache line. Words of 48 bits share theirs with a small
// field above them. The word id is written only when a device comes or goes, so that
// touch may read it without a lock.
type record struct {
	id      uint64
	at      geo.Point
	when    uint64 // Time, Alt
	arrived uint64 // Arrived, Course
	wire    uint64 // Wire, Speed
	stamp   uint64 // stamp of the last change, Event, Sub
	epoch   uint32
	beat    uint32 // milliseconds by which the newest heartbeat is newer than Time; stays at the maximum of 49 days
	pid     uint32 // PID, Acc
	has     track.Has
	flags   track.Flags
	bat     uint8
	_       uint8
}

const low48 = 1<<48 - 1

func (s *shard) init() {
	s.next = 1
	index, segs := make([]uint32, firstIndex), []*segment{}
	s.index.Store(&index)
	s.segs.Store(&segs)
}

// hash spreads ids: its top bits choose the shard, the next eight are the tag in the
// index, the low ones the place there.
func hash(id track.DeviceID) uint64 {
	h := uint64(id) * 0x9e3779b97f4a7c15
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	return h ^ h>>32
}

// tag is never confused with the slot below it.
func tag(h uint64) uint32 { return uint32(h>>40&0xff) << slotBits }

func (s *shard) segment(slot uint32) *segment { return (*s.segs.Load())[slot>>segBits] }

func (s *shard) record(slot uint32) *record {
	return &s.segment(slot).records[slot&(segSize-1)]
}

// find returns the slot of a device, 0 if there is none.
func (s *shard) find(h uint64, id track.DeviceID) uint32 {
	index := *s.index.Load()
	mask := uint64(len(index) - 1)
	want := tag(h)
	for i := h & mask; ; i = (i + 1) & mask {
		e := index[i]
		if e == 0 {
			return 0
		}
		if e&^slotMask == want && s.record(e&slotMask).id == uint64(id) {
			return e & slotMask
		}
	}
}

// insert gives the device a slot, 0 if there are no more. The caller sets the record.
func (s *shard) insert(h uint64, id track.DeviceID) uint32 {
	slot := s.takeSlot()
	if slot == 0 {
		return 0
	}
	if index := *s.index.Load(); (s.used+1)*16 > len(index)*13 {
		s.grow(2 * len(index))
	}
	s.used++
	s.enter(*s.index.Load(), h, slot)
	atomic.StoreUint64(&s.record(slot).id, uint64(id))
	return slot
}

func (s *shard) takeSlot() uint32 {
	if slot := s.free; slot != 0 {
		s.free = s.record(slot).beat
		return slot
	}
	if s.next > slotMask {
		return 0
	}
	slot := s.next
	s.next++
	if segs := *s.segs.Load(); int(slot>>segBits) == len(segs) {
		// Readers may hold the old directory: it stays as it is.
		grown := append(segs[:len(segs):len(segs)], new(segment))
		s.segs.Store(&grown)
	}
	return slot
}

func (s *shard) enter(index []uint32, h uint64, slot uint32) {
	mask := uint64(len(index) - 1)
	i := h & mask
	for index[i] != 0 {
		i = (i + 1) & mask
	}
	atomic.StoreUint32(&index[i], tag(h)|slot)
}

// grow rebuilds the index. It walks the records in their order in memory, not the
// old index in its random one.
func (s *shard) grow(size int) {
	index := make([]uint32, size)
	for slot := uint32(1); slot < s.next; slot++ {
		if id := s.record(slot).id; id != 0 {
			s.enter(index, hash(track.DeviceID(id)), slot)
		}
	}
	s.index.Store(&index)
}

// remove frees a slot and closes the gap in the index, so that no probe needs to
// step over the dead.
func (s *shard) remove(h uint64, slot uint32) {
	index := *s.index.Load()
	mask := uint64(len(index) - 1)
	gap := h & mask
	for index[gap]&slotMask != slot {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; index[i] != 0; i = (i + 1) & mask {
		home := hash(track.DeviceID(s.record(index[i]&slotMask).id)) & mask
		if (i-home)&mask >= (i-gap)&mask {
			atomic.StoreUint32(&index[gap], index[i])
			gap = i
		}
	}
	atomic.StoreUint32(&index[gap], 0)
	s.used--

	r := s.record(slot)
	atomic.StoreUint64(&r.id, 0)
	r.has, r.beat = 0, s.free
	s.free = slot
}

// touch reads the lines of index and record that the fixes will need, without locks
// and without using what it reads: all that counts is that the misses are under way
// together. Atomic reads are never optimized away. It leaves the hashes in hs.
func (l *Live) touch(fixes []track.Fix, hs *[touchAhead]uint64) {
	for i := range fixes {
		h := hash(fixes[i].Device)
		hs[i] = h
		index := *l.shards[h>>l.shift].index.Load()
		atomic.LoadUint32(&index[h&uint64(len(index)-1)])
	}
	for i := range fixes {
		l.shards[hs[i]>>l.shift].touch(hs[i])
	}
}

func (s *shard) touch(h uint64) {
	index, segs := *s.index.Load(), *s.segs.Load()
	mask := uint64(len(index) - 1)
	want := tag(h)
	for i := h & mask; ; i = (i + 1) & mask {
		e := atomic.LoadUint32(&index[i])
		if e == 0 {
			return
		}
		slot := e & slotMask
		if e&^slotMask == want && int(slot>>segBits) < len(segs) {
			atomic.LoadUint64(&segs[slot>>segBits].records[slot&(segSize-1)].id)
			return
		}
	}
}

func (r *record) time() int64   { return int64(r.when<<16) >> 16 }
func (r *record) seen() int64   { return r.time() + int64(r.beat) }
func (r *record) mark() uint64  { return r.stamp & low48 }
func (r *record) event() uint64 { return r.stamp >> 48 & 0xff }

func (r *record) setStamp(mark uint64) { r.stamp = r.stamp&^low48 | mark&low48 }

func (r *record) setEvent(e track.Event) {
	r.stamp = r.stamp&^(0xff<<48) | uint64(e)<<48
}

// late tells whether f is older than what the record holds of its sort. A place is
// never late for a device that had only heartbeats so far.
func (r *record) late(f *track.Fix) bool {
	if f.Has&track.HasPos == 0 {
		return f.Time < r.seen() && r.beat != math.MaxUint32
	}
	return r.has&track.HasPos != 0 && f.Time < r.time()
}

// place takes a fix with a place. What a newer heartbeat said of the device stays.
func (r *record) place(f *track.Fix) {
	seen := r.seen()
	if f.Time >= seen {
		r.set(f)
		return
	}
	event, bat, has := r.event(), r.bat, r.has&track.HasBat
	r.set(f)
	r.setEvent(track.Event(event))
	if has != 0 {
		r.bat, r.has = bat, r.has|has
	}
	r.beat = beatAfter(seen - f.Time)
}

// beatWith takes a heartbeat.
func (r *record) beatWith(f *track.Fix) {
	if r.has&track.HasPos == 0 {
		r.set(f)
		return
	}
	r.arrived = r.arrived&^low48 | uint64(f.Arrived)&low48
	r.setEvent(f.Event)
	if f.Has&track.HasBat != 0 {
		r.bat, r.has = f.Bat, r.has|track.HasBat
	}
	r.beat = beatAfter(f.Time - r.time())
}

func beatAfter(ms int64) uint32 { return uint32(min(max(ms, 0), math.MaxUint32)) }

// set takes all of a fix but its id.
func (r *record) set(f *track.Fix) {
	r.at = f.At
	r.when = uint64(f.Time)&low48 | uint64(uint16(f.Alt))<<48
	r.arrived = uint64(f.Arrived)&low48 | uint64(f.Course)<<48
	r.wire = uint64(f.Wire)&low48 | uint64(f.Speed)<<48
	r.stamp = r.stamp&low48 | uint64(f.Event)<<48 | uint64(f.Sub)<<56
	r.epoch, r.beat = f.Epoch, 0
	r.pid = f.PID&0xffffff | uint32(f.Acc)<<24
	r.has, r.flags, r.bat = f.Has, f.Flags, f.Bat
}

// load is the opposite of set. Ext stays empty: the present keeps no TLVs.
func (r *record) load(f *track.Fix) {
	*f = track.Fix{
		Device:  track.DeviceID(r.id),
		Wire:    track.DeviceID(r.wire & low48),
		Time:    r.time(),
		Arrived: int64(r.arrived<<16) >> 16,
		At:      r.at,
		Epoch:   r.epoch,
		PID:     r.pid & 0xffffff,
		Alt:     int16(r.when >> 48),
		Speed:   uint16(r.wire >> 48),
		Course:  uint16(r.arrived >> 48),
		Acc:     uint8(r.pid >> 24),
		Bat:     r.bat,
		Has:     r.has,
		Flags:   r.flags,
		Event:   track.Event(r.event()),
		Sub:     uint8(r.stamp >> 56),
	}
}
