package rpc

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	tick       = 10 * time.Millisecond
	wheelSlots = 512
)

// wheel keeps the deadlines of all requests, to a tick. Setting one costs a lock and
// two pointers; a timer for each request would cost more than most requests.
type wheel struct {
	mu    sync.Mutex
	slots [wheelSlots]*Request // doubly linked through Request.after and before
	now   int64                // in ticks
	clock atomic.Int64         // now, for those who only look
}

// ticks is how many turns of the clock d certainly fits in.
func ticks(d time.Duration) int64 { return int64((d+tick-1)/tick) + 1 }

// add sets r's deadline to after that time from the tick at, never before it.
func (w *wheel) add(r *Request, at int64, after time.Duration) {
	w.mu.Lock()
	r.due = max(at+ticks(after), w.now+1) // what has passed is for the next turn
	head := &w.slots[r.due%wheelSlots]
	r.before, r.after = nil, *head
	if *head != nil {
		(*head).before = r
	}
	*head = r
	w.mu.Unlock()
}

// remove forgets r's deadline. When it returns, the wheel does not touch r any more.
func (w *wheel) remove(r *Request) {
	w.mu.Lock()
	if r.due != 0 {
		w.unlink(r)
	}
	w.mu.Unlock()
}

func (w *wheel) unlink(r *Request) {
	if r.after != nil {
		r.after.before = r.before
	}
	if r.before != nil {
		r.before.after = r.after
	} else {
		w.slots[r.due%wheelSlots] = r.after
	}
	r.before, r.after, r.due = nil, nil, 0
}

// advance ends every request whose time has come.
func (w *wheel) advance(now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = max(w.now, now-wheelSlots) // after a long stall one turn sees every slot
	for w.now < now {
		w.now++
		for r := w.slots[w.now%wheelSlots]; r != nil; {
			after := r.after
			if r.due <= w.now {
				w.unlink(r)
				r.stop(DeadlineExceeded)
			}
			r = after
		}
	}
	w.clock.Store(w.now)
}
