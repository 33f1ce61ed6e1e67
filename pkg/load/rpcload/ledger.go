package rpcload

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"tracker/pkg/rpc"
)

// ledger knows every call of one connection: which are under way, since when, and what
// becomes of each. Calls live in slots. An id is its slot's number and, above it, how
// often the slot was used, so an answer that comes a second time is known even when its
// slot is in use again. A ledger belongs to one goroutine.
type ledger struct {
	usual, sleeping kind
	share           uint64 // of calls that sleep, in 1<<32
	owed            uint64 // calls that sleep, not yet made, likewise

	depth uint32
	size  uint32 // the next power of two
	slots []slot
	free  []uint32
	fresh []uint32 // issued, and not yet written
	counts
}

type slot struct {
	id     uint32 // of the last call
	open   bool   // it is not answered
	sleeps bool
	waited bool          // it was due before there was a slot
	due    time.Duration // since the start of the run: from when its time counts
	at     time.Duration // when it was written
}

// counts add up: sent = right + wrong + refused + lost, once the run is over.
type counts struct {
	sent    int64
	right   int64
	wrong   int64 // answered, not with what was to come
	doubled int64 // answered again
	unknown int64 // answers to what was never asked
	refused int64 // answered with an error
	failed  map[rpc.Status]int64
	faults  []string // the first of what went wrong, in words
}

// mostFaults are told; the others are counted.
const mostFaults = 5

func (c *counts) fault(format string, args ...any) {
	if len(c.faults) < mostFaults {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

func newLedger(depth int, usual, sleeping kind, share float64) *ledger {
	l := &ledger{
		usual: usual, sleeping: sleeping, share: uint64(math.Round(share * (1 << 32))),
		depth: uint32(depth), size: 1 << bits.Len32(uint32(depth-1)),
		slots: make([]slot, depth), free: make([]uint32, depth), fresh: make([]uint32, 0, depth),
	}
	for i := range l.slots {
		l.slots[i].id = uint32(i)
		l.free[depth-1-i] = uint32(i)
	}
	return l
}

// from lets the ids begin after one that was used on the same connection: what comes for
// one of those before is then known to come again.
func (l *ledger) from(id uint32) {
	round := (id/l.size + 1) * l.size // may go around, as ids do
	for i := range l.slots {
		l.slots[i].id = round + uint32(i)
	}
}

// last is an id after which no other was used.
func (l *ledger) last() (id uint32) {
	id = l.slots[0].id
	for i := range l.slots {
		if s := l.slots[i].id; int32(s-id) > 0 {
			id = s
		}
	}
	return id
}

// underway is how many calls wait for their answer.
func (l *ledger) underway() int { return int(l.depth) - len(l.free) }

// issue appends the next call to out. There must be a free slot.
func (l *ledger) issue(out []byte, due time.Duration) []byte {
	s := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	slot := &l.slots[s]
	slot.id += l.size
	if slot.id < l.size { // once around: 0 is no id
		slot.id += l.size
	}
	slot.open, slot.due, slot.sleeps, slot.waited = true, due, false, false
	form := &l.usual.form
	if l.owed += l.share; l.owed >= 1<<32 {
		l.owed -= 1 << 32
		slot.sleeps, form = true, &l.sleeping.form
	}
	l.fresh = append(l.fresh, s)
	l.sent++
	return form.put(out, slot.id)
}

// waited notes that the last call that was issued had been due before.
func (l *ledger) waited() { l.slots[l.fresh[len(l.fresh)-1]].waited = true }

// stamp says when the calls issued since the last stamp were written. closed: their
// time counts from then.
func (l *ledger) stamp(now time.Duration, closed bool) {
	for _, s := range l.fresh {
		l.slots[s].at = now
		if closed {
			l.slots[s].due = now
		}
	}
	l.fresh = l.fresh[:0]
}

// find is the open call that an answer belongs to. Without one it counts what that
// means and returns nil.
func (l *ledger) find(id uint32) *slot {
	s := id & (l.size - 1)
	if s < l.depth {
		slot := &l.slots[s]
		switch {
		case slot.id == id && slot.open:
			return slot
		case id >= l.size && int32(slot.id-id) >= 0:
			l.doubled++
			l.fault("request %d was answered again", id)
			return nil
		}
	}
	l.unknown++
	l.fault("request %d was answered and never asked", id)
	return nil
}

// settle takes an answer. It returns the call if that was outstanding and the answer
// right, for its times; they are good until the next issue.
func (l *ledger) settle(id uint32, body []byte) *slot {
	slot := l.find(id)
	if slot == nil {
		return nil
	}
	slot.open = false
	l.free = append(l.free, id&(l.size-1))
	k := &l.usual
	if slot.sleeps {
		k = &l.sleeping
	}
	if !k.answer.is(body, id) {
		l.wrong++
		l.fault("request %d: %s", id, k.answer.wrong(body, id))
		return nil
	}
	l.right++
	return slot
}

// spoil takes what came instead of the answer.
func (l *ledger) spoil(id uint32, why string) {
	if slot := l.find(id); slot != nil {
		slot.open = false
		l.free = append(l.free, id&(l.size-1))
		l.wrong++
		l.fault("request %d: %s", id, why)
	}
}

// refuse takes an answer that is an error.
func (l *ledger) refuse(id uint32, e *rpc.Error) {
	slot := l.find(id)
	if slot == nil {
		return
	}
	slot.open = false
	l.free = append(l.free, id&(l.size-1))
	l.refused++
	if l.failed == nil {
		l.failed = map[rpc.Status]int64{}
	}
	l.failed[e.Status]++
	l.fault("request %d: %v", id, e)
}
