package hub

import (
	"context"
	"runtime"
	"sync"
)

// fanChunk is how many viewers a worker tells before others have a turn: with a write
// of some microseconds each, a fraction of a millisecond.
const fanChunk = 32

// fan tells viewers that there is something, on workers of its own, so that neither a
// publisher nor the wheel pays for how many watch.
//
//	publisher ─┐  list of who waits   ┌─ worker: 32 viewers, yield, 32 viewers ...
//	wheel ─────┴──► [ stream stream ]─┴─ worker
//
// A list is handed over in one step. Workers cut a chunk off the first and put the rest
// behind the others, so that a stream with thousands of viewers does not hold up one
// with a few, and all processors share the largest.
type fan struct {
	mu          sync.Mutex
	first, last *waiter // of lists, linked by their heads' list
	running     bool
	kick        chan struct{} // as many as there are workers; made and closed by run
}

// run is the workers' life. What was handed over by its end is still told.
func (f *fan) run(ctx context.Context) {
	workers := runtime.GOMAXPROCS(0)
	kick := make(chan struct{}, workers)
	f.mu.Lock()
	f.kick, f.running = kick, true
	f.mu.Unlock()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range kick {
				f.work()
			}
		})
	}
	<-ctx.Done()
	f.mu.Lock()
	f.running = false
	close(kick)
	f.mu.Unlock()
	wg.Wait()
}

// work tells viewers until nobody is left to be told.
func (f *fan) work() {
	for {
		chunk := f.take()
		if chunk == nil {
			return
		}
		chunk.wake()
		runtime.Gosched() // readers and publishers wait for this processor, too
	}
}

// hand gives a list to the workers. Without them, as before Run, it is told here.
func (f *fan) hand(list *waiter) {
	if list == nil {
		return
	}
	f.mu.Lock()
	if !f.running {
		f.mu.Unlock()
		list.wake()
		return
	}
	f.add(list)
	f.call()
	f.mu.Unlock()
}

// call wakes a worker. If the channel is full, each of them has yet to look. mu is held.
func (f *fan) call() {
	if !f.running {
		return
	}
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// add puts a list behind the others. mu is held.
func (f *fan) add(list *waiter) {
	list.list = nil
	if f.last == nil {
		f.first = list
	} else {
		f.last.list = list
	}
	f.last = list
}

// take cuts a chunk off the lists, and calls another worker if there is more.
func (f *fan) take() (chunk *waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := &chunk
	for n := 0; n < fanChunk && f.first != nil; {
		w := f.first
		if !w.sorted && w.next != nil {
			if chunk != nil {
				break
			}
			f.sortFirst()
			continue
		}
		f.drop()
		*end = w
		for ; n < fanChunk && w != nil; n++ {
			end, w = &w.next, w.next
		}
		if w != nil {
			*end = nil
			w.sorted = true
			f.add(w)
		}
	}
	if f.first != nil {
		f.call()
	}
	return chunk
}

// drop takes the first list out. mu is held.
func (f *fan) drop() {
	w := f.first
	if f.first = w.list; f.first == nil {
		f.last = nil
	}
	w.list = nil
}

// sortFirst brings the first list into the order in which the viewers came, which is
// that of their sockets in memory, the kernel's too: a broadcast that meets them in any
// other costs several percent more. Workers that wait again side by side shuffle them. mu
// is held, and let go of meanwhile.
func (f *fan) sortFirst() {
	list := f.first
	f.drop()
	f.mu.Unlock()
	list = sortWaiters(list)
	list.sorted = true
	f.mu.Lock()
	f.add(list)
}

// sortWaiters sorts by merging runs of doubling length; equals stay in order.
func sortWaiters(list *waiter) *waiter {
	var runs [32]*waiter // of 1 << i waiters, or none
	for list != nil {
		w := list
		list, w.next = w.next, nil
		i := 0
		for ; runs[i] != nil; i++ {
			w, runs[i] = mergeWaiters(runs[i], w), nil
		}
		runs[i] = w
	}
	for _, run := range runs {
		list = mergeWaiters(run, list)
	}
	return list
}

func mergeWaiters(a, b *waiter) (list *waiter) {
	end := &list
	for a != nil && b != nil {
		if b.number < a.number {
			*end, end, b = b, &b.next, b.next
		} else {
			*end, end, a = a, &a.next, a.next
		}
	}
	if a == nil {
		a = b
	}
	*end = a
	return list
}
