package hub

import (
	"context"
	"sync"
	"time"
)

// slots of the wheel: streams are spread over as many moments of a tick.
const wheelSlots = 10

// wheel turns once a tick and flushes the streams of the slot that it passes. A
// stream has its slot by its number, so that it leaves exactly one tick after it left
// before, and never together with all the others.
type wheel struct {
	mu    sync.Mutex
	slots [wheelSlots][]*stream
	n     int           // streams in all slots
	kick  chan struct{} // capacity 1: the wheel stood still and n is not 0 any more
}

func (w *wheel) init() { w.kick = make(chan struct{}, 1) }

func (w *wheel) add(s *stream) {
	w.mu.Lock()
	i := s.id % wheelSlots
	w.slots[i] = append(w.slots[i], s)
	w.n++
	still := w.n == 1
	w.mu.Unlock()
	if still {
		select {
		case w.kick <- struct{}{}:
		default:
		}
	}
}

// take empties a slot and leaves it the memory of spare.
func (w *wheel) take(slot int64, spare []*stream) (due []*stream, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slot % wheelSlots
	due, w.slots[i] = w.slots[i], spare[:0]
	w.n -= len(due)
	return due, w.n > 0
}

// turn flushes streams until ctx ends. It sleeps while no stream is in the wheel.
func (h *Hub) turn(ctx context.Context) {
	step := max(int64(h.c.Tick)/wheelSlots, 1)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var spare []*stream
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wheel.kick:
		}
		for at, more := h.now()/step, true; more; {
			timer.Reset(time.Duration((at+1)*step - h.now()))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			// If we come late, a whole turn is enough.
			for end := h.now() / step; at < end; at++ {
				at = max(at, end-wheelSlots)
				spare, more = h.wheel.take(at+1, spare)
				for i, s := range spare {
					s.flush(true)
					spare[i] = nil
				}
			}
		}
	}
}
