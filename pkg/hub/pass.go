package hub

import (
	"cmp"
	"slices"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Pass is one batch on its way through live and hub.
type Pass struct {
	h    *Hub
	side uint32
}

// Enter opens a pass. Call it before the batch touches live, and Leave when it was
// published: a snapshot waits for the passes that were open when it was taken.
//
//	p := h.Enter()
//	moves = l.ApplyBatch(fixes, moves[:0])
//	p.Publish(fixes, moves)
//	p.Leave()
func (h *Hub) Enter() Pass { return Pass{h, h.gate.enter()} }

// Leave ends the pass. Whoever waits for it is held up until then.
func (p Pass) Leave() { p.h.gate.leave(p.side) }

// match is one fix for one stream. The key sorts by stream, then in the order of the
// batch.
type match struct {
	s   *stream
	key uint64 // number of the stream << 32 | number of the fix << 1 | 1 if it only tells that the device left
}

func matchOf(s *stream, fix int, left bool) match {
	key := uint64(s.id)<<32 | uint64(fix)<<1
	if left {
		key |= 1
	}
	return match{s, key}
}

func (m match) fix() uint32 { return uint32(m.key) >> 1 }
func (m match) left() bool  { return m.key&1 != 0 }

// scratch is the memory of one Publish.
type scratch struct {
	matches []match
	hidden  []bool
}

// Publish gives the fixes to everybody who watches them; moves[i] says what live did
// with fixes[i]. Late fixes are given too. It copies what it keeps and waits for
// nobody. Fixes of one device must be published in the order in which they were
// applied, so no two passes at a time may carry the same device.
func (p Pass) Publish(fixes []track.Fix, moves []track.Move) {
	h := p.h
	h.fixesIn.Add(uint64(len(fixes)))
	sc := h.scratch.Get().(*scratch)
	defer h.scratch.Put(sc)

	h.mu.RLock()
	all := h.index.all
	hidden := h.whoHides(sc, fixes)
	sc.matches = h.index.match(sc.matches[:0], fixes, moves, hidden)
	h.mu.RUnlock()

	if all == nil && len(sc.matches) == 0 {
		return
	}
	now := h.now()
	if all != nil {
		schedule, wake := all.pushAll(now, fixes, hidden)
		h.settle(all, schedule, wake)
	}
	h.deliver(now, fixes, sc.matches)
	clear(sc.matches) // no stream is kept alive by scratch
}

// Gone tells everybody who sees a device that it was removed. at is its last place,
// if it had one. Call it in a pass, after live forgot the device.
func (p Pass) Gone(id track.DeviceID, at geo.Point, had bool) {
	h := p.h
	h.mu.RLock()
	ss := h.index.whoSees(id, at, had, h.c.Hidden != nil && h.c.Hidden(id))
	h.mu.RUnlock()
	ms := make([]match, len(ss))
	for i, s := range ss {
		ms[i] = matchOf(s, 0, true)
	}
	h.deliver(h.now(), []track.Fix{{Device: id}}, ms)
}

// deliver pushes the matches, taking the lock of each stream once.
func (h *Hub) deliver(now int64, fixes []track.Fix, ms []match) {
	slices.SortFunc(ms, func(a, b match) int { return cmp.Compare(a.key, b.key) })
	for len(ms) > 0 {
		s, n := ms[0].s, 1
		for n < len(ms) && ms[n].s == s {
			n++
		}
		schedule, wake := s.push(now, fixes, ms[:n])
		h.settle(s, schedule, wake)
		ms = ms[n:]
	}
}

// settle does what a push asked for, now that no lock is held.
func (h *Hub) settle(s *stream, schedule bool, wake *waiter) {
	if schedule {
		h.wheel.add(s)
	}
	h.fan.hand(wake)
}

// whoHides tells which fixes are of hidden devices; nil if none can be.
func (h *Hub) whoHides(sc *scratch, fixes []track.Fix) []bool {
	if h.c.Hidden == nil {
		return nil
	}
	sc.hidden = sc.hidden[:0]
	for i := range fixes {
		sc.hidden = append(sc.hidden, h.c.Hidden(fixes[i].Device))
	}
	return sc.hidden
}
