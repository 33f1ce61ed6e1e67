package hub

import (
	"sync"
	"sync/atomic"
)

// gate counts the batches that are on their way from live to hub, and lets one wait
// until those of this moment have arrived, however many come after them.
//
// It has two sides. Batches enter on the side that phase names; wait turns phase
// over and waits for the other side to run empty. Who has to be alone shuts the gate
// with the same turn.
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
		phase := g.phase.Load()
		if phase&shut != 0 {
			g.queue()
			continue
		}
		side = phase & 1
		g.sides[side].open.Add(1)
		// If the phase still stands, whoever turns it later sees us counted.
		if g.phase.Load() == phase {
			return side
		}
		g.leave(side)
	}
}

// queue waits until the gate is not shut.
func (g *gate) queue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.phase.Load()&shut != 0 {
		g.turned.Wait()
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
		g.turn(nil)
	}
}

// shut is a bit of phase beside the side: batches wait before the gate.
const shut = 2

// turn is called and returns with mu held, and lets go of it meanwhile. It calls alone,
// if that is not nil, while no batch is on its way and none can set out.
func (g *gate) turn(alone func()) {
	g.turning = true
	g.begun++
	next := g.phase.Load()&1 ^ 1
	if alone != nil {
		next |= shut
	}
	g.phase.Store(next)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.phase.Store(next &^ shut)
		g.turning = false
		g.done = g.begun
		g.turned.Broadcast()
	}()
	for old := next&1 ^ 1; g.sides[old].open.Load() != 0; {
		<-g.empty
	}
	if alone != nil {
		alone()
	}
}

// alone runs fn at a moment between two batches. It holds up the river: fn must be quick,
// and must not enter the gate.
func (g *gate) alone(fn func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.turning {
		g.turned.Wait()
	}
	g.turn(fn)
}

// Settle returns when every pass that was open at the time of the call has been
// left. Do not call it inside one.
func (h *Hub) Settle() { h.gate.wait() }
