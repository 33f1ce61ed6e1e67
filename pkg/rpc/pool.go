package rpc

import (
	"sync"
)

// pool is the workers of a server. Requests wait in one queue, connections that have
// something to write in another.
//
// Workers are woken one after another: who takes a request wakes the next worker if
// more is queued, and nobody else does until that one runs. So short handlers are run
// by as many workers as there are processors, one after the other and without a
// switch, and handlers that block have as many as they need.
type pool struct {
	mu      sync.Mutex
	jobs    []*Request // a ring
	head, n int
	flushes []*conn
	passed  int // requests that overtook the first of flushes
	idle    []*worker
	spare   int // fewest idle workers since the last trim
	waking  bool
	closed  bool
	wg      sync.WaitGroup
}

type worker struct{ wake chan bool } // false: leave

// submit queues requests; the caller keeps rs.
func (p *pool) submit(rs ...*Request) {
	p.mu.Lock()
	for _, r := range rs {
		if p.n == len(p.jobs) {
			p.grow()
		}
		p.jobs[(p.head+p.n)%len(p.jobs)] = r
		p.n++
	}
	w := p.next()
	p.mu.Unlock()
	w.start()
}

// flush queues a connection that has output.
func (p *pool) flush(c *conn) {
	p.mu.Lock()
	p.flushes = append(p.flushes, c)
	w := p.next()
	p.mu.Unlock()
	w.start()
}

func (p *pool) grow() {
	bigger := make([]*Request, max(64, 2*len(p.jobs)))
	for i := range p.n {
		bigger[i] = p.jobs[(p.head+i)%len(p.jobs)]
	}
	p.jobs, p.head = bigger, 0
}

// next finds the worker to wake, if one should be.
func (p *pool) next() *worker {
	if p.waking || p.n == 0 && len(p.flushes) == 0 {
		return nil
	}
	p.waking = true
	if last := len(p.idle) - 1; last >= 0 {
		w := p.idle[last]
		p.idle = p.idle[:last]
		p.spare = min(p.spare, last)
		return w
	}
	w := &worker{wake: make(chan bool, 1)}
	p.wg.Add(1)
	go p.work(w) // ends when trim or close sends false
	return w
}

func (w *worker) start() {
	if w != nil {
		w.wake <- true // has room: a worker is woken once, by who took it off the list
	}
}

func (p *pool) work(w *worker) {
	defer p.wg.Done()
	for <-w.wake {
		p.mu.Lock()
		p.waking = false
		for {
			r, c := p.take()
			if r == nil && c == nil {
				break
			}
			other := p.next()
			p.mu.Unlock()
			other.start()
			if c != nil {
				c.flushSoon()
			} else {
				r.run()
			}
			p.mu.Lock()
		}
		if p.closed {
			p.mu.Unlock()
			return
		}
		p.idle = append(p.idle, w)
		p.mu.Unlock()
	}
}

// take prefers requests, so that their answers gather, but lets no output wait for
// more than a few of them.
func (p *pool) take() (*Request, *conn) {
	if len(p.flushes) > 0 {
		if p.passed++; p.n == 0 || p.passed > 32 {
			c := p.flushes[0]
			copy(p.flushes, p.flushes[1:])
			p.flushes = p.flushes[:len(p.flushes)-1]
			p.passed = 0
			return nil, c
		}
	}
	if p.n == 0 {
		return nil, nil
	}
	r := p.jobs[p.head]
	p.jobs[p.head] = nil
	p.head = (p.head + 1) % len(p.jobs)
	p.n--
	return r, nil
}

// trim lets half of those go who had nothing to do since the last trim.
func (p *pool) trim() {
	p.mu.Lock()
	n := (p.spare + 1) / 2
	for _, w := range p.idle[:n] {
		w.wake <- false
	}
	p.idle = append(p.idle[:0], p.idle[n:]...)
	p.spare = len(p.idle)
	p.mu.Unlock()
}

// close lets all go, and returns when they have gone. Nothing may be queued.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, w := range p.idle {
		w.wake <- false
	}
	p.idle, p.spare = nil, 0
	p.mu.Unlock()
	p.wg.Wait()
	p.mu.Lock()
	p.closed = false
	p.mu.Unlock()
}
