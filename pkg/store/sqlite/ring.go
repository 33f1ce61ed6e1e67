package sqlite

import (
	"math"
	"math/bits"
	"slices"
	"sync"
	"unsafe"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// The ring holds every fix that is in no run yet, in the order of arrival, in slabs:
//
//	  oldest                                                    newest
//	┌──────┬──────┬──────┐ ┌──────┬──────┬──────┐ ┌──────┬──────┬────
//	│      frozen        │ │       open         │ │     waiting
//	└──────┴──────┴──────┘ └──────┴──────┴──────┘ └──────┴──────┴────
//	 in one tail table,     in the other tail      in memory only
//	 on its way to a run    table
//
// Append writes at the right. The writer moves the second border (a commit), the
// sorter removes at the left (a run). When what is waiting outgrows its limit the
// oldest waiting slab is dropped and counted.
//
// A slab's fixes are never changed once written, and a slab that a reader has pinned
// is not reused: readers look at slabs without the lock.

const (
	slabFixes = 5000    // of a slab, less when memory is small
	slabExt   = 1 << 20 // a slab with more TLVs than this is full as well
	ringSlabs = 8       // what limits are made of at least
	fixSize   = int(unsafe.Sizeof(track.Fix{}))
)

type slab struct {
	first  uint64 // sequence number of fixes[0]; the others follow on
	fixes  []track.Fix
	ext    []byte // their TLVs
	t0, t1 int64  // first and last fix time
	kept   int    // fixes[:kept] are in a tail
	taken  int    // fixes[:taken] are kept or being committed
	sealed bool   // takes no more fixes
	pins   int    // readers

	// An index by device: heads is where the newest fix of a hash is, plus one, and
	// next where the one before it is.
	heads []uint16 // a power of two
	next  []uint16
}

func makeSlab(room int) *slab {
	return &slab{
		fixes: make([]track.Fix, 0, room),
		heads: make([]uint16, 1<<bits.Len(uint(room-1))),
		next:  make([]uint16, room),
	}
}

// head is where the newest fix with the hash of a device is found.
func (s *slab) head(id track.DeviceID) *uint16 {
	return &s.heads[uint64(id)*0x9e3779b97f4a7c15>>40&uint64(len(s.heads)-1)]
}

// add takes as many of the fixes as fit and returns their number and bytes.
func (s *slab) add(fixes []track.Fix, ext []byte) (n, size int) {
	n = min(len(fixes), cap(s.fixes)-len(s.fixes))
	at := len(s.fixes)
	s.fixes = append(s.fixes, fixes[:n]...)
	size = n * fixSize
	added := s.fixes[at:]
	for i := range added {
		f := &added[i]
		s.t0, s.t1 = min(s.t0, f.Time), max(s.t1, f.Time)
		head := s.head(f.Device)
		s.next[at+i], *head = *head, uint16(at+i+1)
		if f.ExtLen != 0 {
			tlvs := extOf(f, ext)
			f.Ext = uint32(len(s.ext))
			s.ext = append(s.ext, tlvs...)
			size += len(tlvs)
		} else {
			f.Ext = 0
		}
	}
	return n, size
}

func (s *slab) size(from, to int) int {
	size := (to - from) * fixSize
	if len(s.ext) > 0 {
		for i := from; i < to; i++ {
			size += int(s.fixes[i].ExtLen)
		}
	}
	return size
}

type ring struct {
	limit int           // bytes that may wait
	room  int           // fixes that a slab takes
	batch int           // fixes waiting that wake the writer early
	wake  chan struct{} // one token: there is something to commit, or batch of it

	mu      sync.Mutex
	slabs   []*slab // oldest first
	free    []*slab
	idle    int    // fewest slabs that were free since trim looked
	next    uint64 // sequence number of the next fix
	pending int    // fixes waiting
	waiting int    // their bytes
	open    int    // bytes kept, not frozen
	frozen  int    // bytes frozen
	piles   []*pile
	stored  uint64
	lost    uint64
	moved   chan struct{} // closed when fixes stop waiting; nil while nobody listens
}

// pile is what one tail table holds, in memory.
type pile struct {
	day   *day
	tail  int
	run   int64 // that it becomes
	tried bool
	slabs []*slab
	bytes int
}

// newRing makes a ring whose limits are at least so many bytes.
func newRing(limit, open, batch int) *ring {
	return &ring{
		limit: limit,
		room:  max(2, min(slabFixes, min(limit, open)/fixSize/ringSlabs)),
		batch: batch,
		wake:  make(chan struct{}, 1),
		next:  1,
	}
}

// append copies the fixes of b into the ring.
func (r *ring) append(b *track.Batch) {
	if len(b.Fixes) == 0 {
		return
	}
	r.mu.Lock()
	before := r.pending
	for fixes := b.Fixes; len(fixes) > 0; {
		n, size := r.last().add(fixes, b.Ext)
		fixes = fixes[n:]
		r.next += uint64(n)
		r.pending += n
		r.waiting += size
		for r.waiting > r.limit && r.drop() {
		}
	}
	wake := before == 0 || before < r.batch && r.pending >= r.batch
	r.mu.Unlock()
	if wake {
		select {
		case r.wake <- struct{}{}:
		default: // the token is there
		}
	}
}

// last returns the slab that takes the next fix. Call with mu held.
func (r *ring) last() *slab {
	if n := len(r.slabs); n > 0 {
		s := r.slabs[n-1]
		if !s.sealed && len(s.fixes) < cap(s.fixes) && len(s.ext) < slabExt {
			return s
		}
		s.sealed = true
	}
	s := r.newSlab(r.next)
	r.slabs = append(r.slabs, s)
	return s
}

func (r *ring) newSlab(first uint64) *slab {
	n := len(r.free)
	if n == 0 {
		s := makeSlab(r.room)
		s.begin(first)
		return s
	}
	s := r.free[n-1]
	r.free[n-1] = nil
	r.free = r.free[:n-1]
	r.idle = min(r.idle, n-1)
	s.begin(first)
	return s
}

// begin empties the slab.
func (s *slab) begin(first uint64) {
	s.first, s.fixes, s.ext = first, s.fixes[:0], s.ext[:0]
	s.t0, s.t1 = math.MaxInt64, math.MinInt64
	s.kept, s.taken, s.sealed = 0, 0, false
	clear(s.heads) // but not next: only what heads leads to is looked at
}

// recycle takes back a slab that no list holds any more. Call with mu held.
func (r *ring) recycle(s *slab) {
	if s.pins == 0 {
		r.free = append(r.free, s)
	}
}

// trim gives slabs that were not needed since it was last called to the garbage
// collector.
func (r *ring) trim() {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.free) - min(r.idle, len(r.free))
	clear(r.free[n:])
	r.free = r.free[:n]
	r.idle = n
}

// drop gives up the oldest slab whose fixes wait, unless they are being committed.
// Call with mu held.
func (r *ring) drop() bool {
	for i, s := range r.slabs {
		n := len(s.fixes) - s.kept
		if n == 0 || s.taken != s.kept {
			continue
		}
		r.lost += uint64(n)
		r.pending -= n
		r.waiting -= s.size(s.kept, len(s.fixes))
		s.fixes = s.fixes[:s.kept]
		s.sealed = true
		if s.kept == 0 {
			r.remove(i, i+1)
			r.recycle(s)
		}
		r.settled()
		return true
	}
	return false
}

func (r *ring) remove(from, to int) {
	n := copy(r.slabs[from:], r.slabs[to:])
	clear(r.slabs[from+n:])
	r.slabs = r.slabs[:from+n]
}

func (r *ring) settled() {
	if r.moved != nil {
		close(r.moved)
		r.moved = nil
	}
}

// waitingBefore tells whether fixes older than seq still wait, and if so gives a
// channel that closes when that may have changed.
func (r *ring) waitingBefore(seq uint64) (<-chan struct{}, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.slabs {
		if s.kept == len(s.fixes) {
			continue
		}
		if s.first+uint64(s.kept) >= seq {
			return nil, false
		}
		if r.moved == nil {
			r.moved = make(chan struct{})
		}
		return r.moved, true
	}
	return nil, false
}

func (r *ring) nextSeq() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

func (r *ring) pendingFixes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending
}

// crowded tells whether more waits than is usual.
func (r *ring) crowded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting > r.limit/8
}

// waitsBefore tells whether fixes older than seq wait.
func (r *ring) waitsBefore(seq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.slabs {
		if s.first >= seq {
			return false
		}
		if s.kept < len(s.fixes) {
			return s.first+uint64(s.kept) < seq
		}
	}
	return false
}

// openBefore tells whether fixes older than seq are open.
func (r *ring) openBefore(seq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.frozenSlabs()
	return from < len(r.slabs) && r.slabs[from].kept > 0 && r.slabs[from].first < seq
}

func (r *ring) frozenSlabs() (n int) {
	for _, p := range r.piles {
		n += len(p.slabs)
	}
	return n
}

// unsortedBefore tells whether fixes older than seq are in no run yet.
func (r *ring) unsortedBefore(seq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.slabs) > 0 && r.slabs[0].first < seq
}

// kept is how many bytes are open, and how many of open and frozen.
func (r *ring) kept() (open, all int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open, r.open + r.frozen
}

// giveUp counts all that waits as lost.
func (r *ring) giveUp() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.pending
	for r.drop() {
	}
	return n
}

func (r *ring) fill(s *store.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Stored, s.Lost, s.Pending = r.stored, r.lost, r.pending
}

// restore puts fixes back that a tail holds, at their old sequence numbers. Records
// come in order.
func (r *ring) restore(first uint64, fixes []track.Fix, ext []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.slabs); n > 0 && first > r.next {
		r.slabs[n-1].sealed = true
	}
	r.next = max(r.next, first)
	for len(fixes) > 0 {
		s := r.last()
		n, size := s.add(fixes, ext)
		s.kept, s.taken = len(s.fixes), len(s.fixes)
		r.open += size
		r.next += uint64(n)
		fixes = fixes[n:]
	}
}

// piece is a part of a slab that is being committed.
type piece struct {
	slab  *slab
	first uint64
	fixes []track.Fix
	ext   []byte
	to    int
}

// take hands out the oldest waiting fixes for a commit. settle must follow. A quarter
// of the ring at most: what is being committed cannot be dropped, and there must be
// something left that is older than the newest.
func (r *ring) take(dst []piece) []piece {
	r.mu.Lock()
	defer r.mu.Unlock()
	slabs := max(1, min(commitSlabs, r.limit/(4*r.room*fixSize)))
	for _, s := range r.slabs {
		if len(dst) == slabs {
			break
		}
		n := len(s.fixes)
		if s.kept == n {
			continue
		}
		s.taken = n
		dst = append(dst, piece{s, s.first + uint64(s.kept), s.fixes[s.kept:n:n], s.ext, n})
	}
	return dst
}

// settle says whether the pieces are in the tail now.
func (r *ring) settle(pieces []piece, kept bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range pieces {
		s := p.slab
		if !kept {
			s.taken = s.kept
			continue
		}
		size := s.size(s.kept, p.to)
		r.waiting -= size
		r.open += size
		r.pending -= len(p.fixes)
		r.stored += uint64(len(p.fixes))
		s.kept = p.to
	}
	r.settled()
}

// freeze makes a pile of all that is open. Only the writer calls it, and not between
// take and settle.
func (r *ring) freeze(d *day, tail int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.frozenSlabs()
	to := from
	p := &pile{day: d, tail: tail, run: d.newRunID(), bytes: r.open}
	for to < len(r.slabs) && r.slabs[to].kept > 0 {
		to++
	}
	if to == from {
		return
	}
	r.split(to - 1)
	p.slabs = append(p.slabs, r.slabs[from:to]...)
	r.piles = append(r.piles, p)
	r.frozen += r.open
	r.open = 0
}

// split moves what waits in slabs[i] into a slab of its own. Call with mu held.
func (r *ring) split(i int) {
	s := r.slabs[i]
	s.sealed = true
	if len(s.fixes) == s.kept {
		return
	}
	rest := r.newSlab(s.first + uint64(s.kept))
	rest.add(s.fixes[s.kept:], s.ext)
	rest.sealed = i < len(r.slabs)-1
	s.fixes, s.taken = s.fixes[:s.kept], s.kept
	r.slabs = append(r.slabs, nil)
	copy(r.slabs[i+2:], r.slabs[i+1:])
	r.slabs[i+1] = rest
}

// oldestPile is the pile whose turn it is to become a run, nil if there is none.
func (r *ring) oldestPile() *pile {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.piles) == 0 {
		return nil
	}
	return r.piles[0]
}

// sorted takes the oldest pile out: it is a run now.
func (r *ring) sorted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.piles[0]
	r.piles = append(r.piles[:0], r.piles[1:]...)
	r.frozen -= p.bytes
	r.remove(0, len(p.slabs))
	for _, s := range p.slabs {
		r.recycle(s)
	}
}

// pilesOf counts the piles of a day, tail says whether that tail of it is one.
func (r *ring) pilesOf(d *day) (n int, tails [2]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.piles {
		if p.day == d {
			n++
			tails[p.tail] = true
		}
	}
	return n, tails
}

// part is fixes and where their TLVs are.
type part struct {
	fixes []track.Fix
	ext   []byte
}

// view is a look at all slabs, which will not change before it is released.
type view struct {
	ring  *ring
	first uint64 // oldest sequence number in the ring: what is older is in runs
	slabs []*slab
	parts []part
}

func (r *ring) view() view {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := view{ring: r, first: r.next, slabs: make([]*slab, len(r.slabs)), parts: make([]part, len(r.slabs))}
	if len(r.slabs) > 0 {
		v.first = r.slabs[0].first
	}
	for i, s := range r.slabs {
		s.pins++
		v.slabs[i], v.parts[i] = s, part{s.fixes[:len(s.fixes):len(s.fixes)], s.ext}
	}
	return v
}

func (v *view) release() {
	v.ring.mu.Lock()
	defer v.ring.mu.Unlock()
	for _, s := range v.slabs {
		s.pins--
	}
	v.slabs = nil
}

// find calls each with the fixes of a device, and where their TLVs are, as far as want
// wants what was made between two times.
func (v *view) find(device track.DeviceID, want func(t0, t1 int64) bool, each func(f *track.Fix, ext []byte)) {
	var found []uint16
	for i, s := range v.slabs {
		p := v.parts[i]
		if i == len(v.slabs)-1 {
			// It may be taking fixes: its index is not ours to read.
			for j := range p.fixes {
				if p.fixes[j].Device == device {
					each(&p.fixes[j], p.ext)
				}
			}
			break
		}
		if !want(s.t0, s.t1) {
			continue
		}
		found = s.find(device, p.fixes, found[:0])
		for _, j := range slices.Backward(found) {
			each(&p.fixes[j], p.ext)
		}
	}
}

// find appends where the fixes of a device are, the newest first. fixes is the slab's
// own slice or the beginning of it.
func (s *slab) find(device track.DeviceID, fixes []track.Fix, found []uint16) []uint16 {
	for i := *s.head(device); i != 0; i = s.next[i-1] {
		if int(i) <= len(fixes) && fixes[i-1].Device == device {
			found = append(found, i-1)
		}
	}
	return found
}

// sorter brings the fixes of slabs into the order of runs: by device, then by
// store.Compare. It is scratch space.
type sorter struct {
	refs, spare []ref
	fixes       []track.Fix
	ext         []byte
}

type ref struct {
	device track.DeviceID
	part   uint32
	at     uint16
}

// each calls emit with the fixes of one device after the other, in pieces of at most
// chunkMax, which are good during the call. A device's pieces come in order.
func (s *sorter) each(parts []part, emit func(fixes []track.Fix, ext []byte) error) error {
	s.refs = s.refs[:0]
	for i := range parts {
		for j := range parts[i].fixes {
			s.refs = append(s.refs, ref{parts[i].fixes[j].Device, uint32(i), uint16(j)})
		}
	}
	s.sortRefs()
	for from := 0; from < len(s.refs); {
		to := from + 1
		for to < len(s.refs) && s.refs[to].device == s.refs[from].device {
			to++
		}
		s.gather(parts, s.refs[from:to])
		from = to
		if err := emitPieces(s.fixes, s.ext, emit); err != nil {
			return err
		}
	}
	return nil
}

// sortRefs is a radix sort over the six bytes of the id. It keeps the order of
// arrival within a device.
func (s *sorter) sortRefs() {
	if cap(s.spare) < len(s.refs) {
		s.spare = make([]ref, len(s.refs))
	}
	from, to := s.refs, s.spare[:len(s.refs)]
	for shift := 0; shift < 48; shift += 8 {
		var at [257]int
		for i := range from {
			at[from[i].device>>shift&255+1]++
		}
		if len(from) == 0 || at[from[0].device>>shift&255+1] == len(from) {
			continue // all the same
		}
		for i := 1; i < 257; i++ {
			at[i] += at[i-1]
		}
		for i := range from {
			d := from[i].device >> shift & 255
			to[at[d]] = from[i]
			at[d]++
		}
		from, to = to, from
	}
	s.refs, s.spare = from, to
}

// gather copies the fixes of one device out of the slabs, in order.
func (s *sorter) gather(parts []part, refs []ref) {
	s.fixes, s.ext = s.fixes[:0], s.ext[:0]
	ordered := true
	for _, ref := range refs {
		p := &parts[ref.part]
		f := p.fixes[ref.at]
		f.Ext = uint32(len(s.ext))
		s.ext = append(s.ext, extOf(&p.fixes[ref.at], p.ext)...)
		if n := len(s.fixes); n > 0 && ordered {
			ordered = store.Compare(&s.fixes[n-1], &f) <= 0
		}
		s.fixes = append(s.fixes, f)
	}
	if !ordered {
		sortFixes(s.fixes)
	}
}

// emitPieces cuts ordered fixes into pieces of at most chunkMax.
func emitPieces(fixes []track.Fix, ext []byte, emit func([]track.Fix, []byte) error) error {
	for len(fixes) > 0 {
		n := min(len(fixes), chunkMax)
		if err := emit(fixes[:n], ext); err != nil {
			return err
		}
		fixes = fixes[n:]
	}
	return nil
}
