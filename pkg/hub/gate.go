package hub

import (
	"sync"
	"sync/atomic"
)

// gate counts the batches that are on their way from live to hub, and lets one wait
// until those of this moment have arrived, however many come after them.
//
// It has two sides. Batches enter on the side that phase names; wait turns phase
// over and waits for the other side to run empty.
type gate struct {
	phase atomic.Uint32
	sides [2]struct {
		open atomic.Int64
		_    [56]byte // the other side is another cache line
	}
	empty chan struct{} // capacity 1: some side ran empty

	mu      sync.Mutex
	turned  *sync.Cond
	turning bool
	begun   uint64 // turns
	done    uint64
}

func (g *gate) init() {
	g.empty = make(chan struct{}, 1)
	g.turned = sync.NewCond(&g.mu)
}

func (g *gate) enter() (side uint32) {
	for {
		side = g.phase.Load() & 1
		g.sides[side].open.Add(1)
		// If the phase still stands, whoever turns it later sees us counted.
		if g.phase.Load()&1 == side {
			return side
		}
		g.leave(side)
	}
}

func (g *gate) leave(side uint32) {
	if g.sides[side].open.Add(-1) != 0 {
		return
	}
	select {
	case g.empty <- struct{}{}:
	default:
	}
}

// wait returns when every batch that had entered before the call has left. Callers
// that wait at the same time share a turn.
func (g *gate) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for want := g.begun + 1; g.done < want; {
		if g.turning {
			g.turned.Wait()
			continue
		}
		g.turn()
	}
}

// turn is called and returns with mu held, and lets go of it meanwhile.
func (g *gate) turn() {
	g.turning = true
	g.begun++
	old := g.phase.Load() & 1
	g.phase.Store(old ^ 1)
	g.mu.Unlock()
	for g.sides[old].open.Load() != 0 {
		<-g.empty
	}
	g.mu.Lock()
	g.turning = false
	g.done = g.begun
	g.turned.Broadcast()
}

// Settle returns when every pass that was open at the time of the call has been
// left. Do not call it inside one.
func (h *Hub) Settle() { h.gate.wait() }
