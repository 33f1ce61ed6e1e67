package live

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

const (
	copyOut    = 256  // fixes copied under one lock of a shard, then yielded without it
	collectOut = 1024 // refs after which the grid is let go
)

// All yields every device whose present changed since that stamp, 0 being since
// ever; also those that never had a place. The fix is valid during the call only. No
// lock is held meanwhile, yield may take its time.
func (l *Live) All(since uint64, yield func(*track.Fix) bool) {
	l.scan(func(r *record) bool { return r.mark() >= since }, yield)
}

// InBox yields the devices whose place is in b and whose present changed since that
// stamp, like All.
func (l *Live) InBox(b geo.Box, since uint64, yield func(*track.Fix) bool) {
	want := func(r *record) bool {
		return r.mark() >= since && r.has&track.HasPos != 0 && b.Contains(r.at)
	}
	l.grid.mu.RLock()
	parts, devices := l.grid.parts(geo.CellsIn(b))
	// Memory read in order costs a tenth of the same read by links.
	if devices > l.Len()/8+collectOut {
		l.grid.mu.RUnlock()
		l.scan(want, yield)
		return
	}
	var out []track.Fix
	l.collect(parts, nil, func(refs []uint32) bool {
		for len(refs) > 0 {
			n := min(len(refs), copyOut)
			out = l.read(out[:0], refs[:n], want)
			refs = refs[n:]
			for i := range out {
				if !yield(&out[i]) {
					return false
				}
			}
		}
		return true
	})
}

// scan walks all records in the order of memory.
func (l *Live) scan(want func(*record) bool, yield func(*track.Fix) bool) {
	out := make([]track.Fix, copyOut)
	for i := range l.shards {
		for slot := uint32(1); slot != 0; {
			var n int
			n, slot = l.shards[i].copyOut(slot, out, want)
			for k := range out[:n] {
				if !yield(&out[k]) {
					return
				}
			}
		}
	}
}

// copyOut copies wanted records from slot on, until out is full or many were looked
// at, and returns how many and where to go on; 0 is the end.
func (s *shard) copyOut(slot uint32, out []track.Fix, want func(*record) bool) (n int, next uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := min(s.next, slot+16*copyOut)
	for ; slot < end && n < len(out); slot++ {
		if r := s.record(slot); r.id != 0 && want(r) {
			r.load(&out[n])
			n++
		}
	}
	if slot >= s.next {
		return n, 0
	}
	return n, slot
}

// collect visits the devices of parts in lists of about collectOut; a crowded cell
// makes a longer one. The caller has locked the grid for reading and finds it
// unlocked; visit runs without the lock.
func (l *Live) collect(parts []part, seen *geo.Cells, visit func(refs []uint32) bool) {
	var refs []uint32
	for {
		refs = refs[:0]
		for len(parts) > 0 && len(refs) < collectOut {
			refs = l.grid.refs(l, refs, parts[0], seen)
			parts = parts[1:]
		}
		l.grid.mu.RUnlock()
		if !visit(refs) || len(parts) == 0 {
			return
		}
		l.grid.mu.RLock()
	}
}

// read appends the records that are wanted. Refs may be out of date: the device may
// have gone, and even another come in its place.
func (l *Live) read(dst []track.Fix, refs []uint32, want func(*record) bool) []track.Fix {
	for _, ref := range refs { // for the cache, see touch
		atomic.LoadUint64(&l.seg(ref).records[ref&(segSize-1)].id)
	}
	for _, ref := range refs {
		s := &l.shards[ref>>slotBits]
		s.mu.Lock()
		if r := s.record(ref & slotMask); r.id != 0 && want(r) {
			dst = append(dst, track.Fix{})
			r.load(&dst[len(dst)-1])
		}
		s.mu.Unlock()
	}
	return dst
}

// Hit is one answer of Near.
type Hit struct {
	Fix      track.Fix
	Distance geo.Meters
}

const (
	firstRing = 5_000     // metres: about half a cell
	lastRing  = 4_000_000 // beyond that the whole globe is asked
)

// Near returns the devices within that distance of p, nearest first and by id where
// equally near; at most limit of them. within <= 0 is anywhere, limit <= 0 is all.
//
// It looks at the cells of ever larger circles and is done when the circle reaches as
// far as the last hit: nothing outside can be nearer.
func (l *Live) Near(p geo.Point, within geo.Meters, limit int) []Hit {
	n := nearest{from: p, within: within, limit: limit, worst: geo.Meters(math.Inf(1))}
	if within > 0 {
		n.worst = within
	}
	var seen *geo.Cells
	reach := geo.Meters(firstRing)
	if limit <= 0 {
		reach = geo.Meters(math.Inf(1))
	}
	for {
		box, all := n.circle(reach)
		cells := geo.CellsIn(box)
		l.grid.mu.RLock()
		parts, _ := l.grid.parts(cells)
		l.collect(parts, seen, func(refs []uint32) bool { n.look(l, refs); return true })
		n.trim()
		if all || n.full() && n.hits[limit-1].Distance <= reach {
			return n.result()
		}
		if n.full() {
			reach = n.hits[limit-1].Distance // the last round
		} else {
			reach *= 2
		}
		seen = &cells
	}
}

// nearest keeps the best hits so far, unsorted between two calls of trim.
type nearest struct {
	from   geo.Point
	within geo.Meters
	worst  geo.Meters // farther hits are of no use
	limit  int
	hits   []Hit
	buf    []track.Fix
}

// circle is the box around everything within reach, and whether that is all there is
// to look at.
func (n *nearest) circle(reach geo.Meters) (box geo.Box, all bool) {
	if n.within > 0 && reach >= n.within {
		return geo.Around(n.from, n.within), true
	}
	if reach > lastRing {
		return geo.World, true
	}
	return geo.Around(n.from, reach), false
}

func (n *nearest) full() bool { return n.limit > 0 && len(n.hits) >= n.limit }

func (n *nearest) look(l *Live, refs []uint32) {
	placed := func(r *record) bool { return r.has&track.HasPos != 0 }
	for len(refs) > 0 {
		k := min(len(refs), copyOut)
		n.buf = l.read(n.buf[:0], refs[:k], placed)
		refs = refs[k:]
		for i := range n.buf {
			if d := geo.Distance(n.from, n.buf[i].At); d <= n.worst {
				n.hits = append(n.hits, Hit{n.buf[i], d})
			}
		}
		if n.limit > 0 && len(n.hits) > 2*n.limit+copyOut {
			n.trim()
		}
	}
}

func (n *nearest) trim() {
	slices.SortFunc(n.hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(a.Distance, b.Distance), cmp.Compare(a.Fix.Device, b.Fix.Device))
	})
	if n.full() {
		n.hits = n.hits[:n.limit]
		n.worst = n.hits[n.limit-1].Distance
	}
}

// result leaves out the second sight of a device that moved while we looked.
func (n *nearest) result() []Hit {
	seen := make(map[track.DeviceID]struct{}, len(n.hits))
	return slices.DeleteFunc(n.hits, func(h Hit) bool {
		_, again := seen[h.Fix.Device]
		seen[h.Fix.Device] = struct{}{}
		return again
	})
}
