package rpc

// A detached subscription has no goroutine: it is ended by whoever finds that it must
// end, once its handler has returned.
//
//	            handler returns nil          stop, End, connection ends
//	subHandled ────────────────────► subOpen ─────────────────────────► subEnds ─► worker: onEnd, END
//	   going is set meanwhile:          └──────────► at once
const (
	subHandled uint32 = iota // or not detached at all
	subOpen
	subEnds // a worker will, and nobody else
)

// Detach lets the subscription outlive its handler, if that returns nil: the request's
// body is gone then, and no goroutine is kept. Call it in the handler, once.
//
// ready is called after Able said no, when an update may leave; ended once, after the
// handler has returned, when the subscription is over for whatever reason. Both run on
// workers, so they may take a moment, and ready must not wait. What they do beside a
// call of the handler, of each other or of Emit is up to them.
func (s *Subscription) Detach(ready, ended func()) {
	s.c.mu.Lock()
	s.onReady, s.onEnd = ready, ended
	s.c.mu.Unlock()
}

func (s *Subscription) tellReady() {
	defer s.Guard()
	s.onReady()
}

// Able tells whether an update may leave at once: the peer gave credit, and reads. If
// not, and nothing is over, the ready of Detach is called when it may. It holds until
// the next Emit, so only one at a time may ask and emit.
func (s *Subscription) Able() (bool, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.over() {
		return false, s.why()
	}
	able := s.ready()
	s.asked = !able && s.onReady != nil
	return able, nil
}

// End ends a detached subscription: with err, or well if that is nil.
func (s *Subscription) End(err error) {
	s.c.mu.Lock()
	if !s.ended && !s.failed {
		s.failed, s.err = true, err
	}
	s.c.mu.Unlock()
	s.letGo()
}

// Go runs f on a goroutine of its own, for which the connection waits when it ends. It
// is for what takes too long where it was found to be necessary. It returns false, and
// f does not run, if the subscription is over.
func (s *Subscription) Go(f func()) bool {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.over() {
		return false
	}
	c.errands++
	go func() { // the connection's end waits for errands
		defer c.ranErrand()
		defer s.Guard()
		f()
	}()
	return true
}

// Guard is to be deferred where the owner of a detached subscription is called by others
// than its workers: a panic ends the subscription, and nothing else.
func (s *Subscription) Guard() {
	if v := recover(); v != nil {
		s.c.mu.Lock()
		var m *Method
		if !s.ended {
			m = s.r.m
		}
		s.c.mu.Unlock()
		if m != nil {
			s.End(s.c.panicked(m, v))
		}
	}
}

// letGo ends the subscription if nothing but itself keeps it. It takes no lock but the
// pool's: what ends requests holds others.
func (s *Subscription) letGo() {
	s.going.Store(true)
	if s.life.CompareAndSwap(subOpen, subEnds) {
		s.c.s.pool.submit(s.r)
	}
}

// stays says that the request is the subscription's now: whoever calls it, the worker of
// a handler that returned nil, must not touch it any more.
func (s *Subscription) stays() bool {
	c := s.c
	c.mu.Lock()
	detached := s.onEnd != nil && s.life.Load() == subHandled
	if detached {
		r := s.r
		c.bytes -= len(r.keep)
		r.keep, r.out, r.Body, r.Meta = nil, nil, nil, nil
	}
	c.mu.Unlock()
	if !detached {
		return false
	}
	s.life.Store(subOpen)
	if s.going.Load() { // it was to end while the handler ran
		s.letGo()
	}
	return true
}

// leave is the last that happens on behalf of the owner.
func (s *Subscription) leave() error {
	s.onEnd()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.failed {
		return s.err
	}
	return s.why()
}
