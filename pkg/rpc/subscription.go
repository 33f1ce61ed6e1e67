package rpc

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"sync/atomic"
)

// Subscription is the server's end of one. Its methods may be called by anybody, at
// any time; after its end they do nothing and say so. What an update touches comes first,
// as in conn.
type Subscription struct {
	c     *conn
	id    uint32
	life  atomic.Uint32 // of a detached one
	going atomic.Bool   // it ends, or soon will: its request was stopped, or its connection ends

	// Guarded by c.mu.
	policy          Policy
	accepted, ended bool
	waits           bool // in c.congested
	asked           bool // Able said no
	called          bool // in c.wants
	failed          bool // err says why it ends
	credit          int
	seq, sent       uint64 // the last update, and the last the peer was told of
	first, last     *slot  // by seq
	slots           map[uint64]*slot
	free            *slot
	r               *Request      // good until ended
	onReady, onEnd  func()        // once detached
	wake            chan struct{} // made for the first who waits
	err             error
}

// slot keeps the newest update of a key.
type slot struct {
	key        uint64
	seq        uint64
	event      uint16
	body       []byte
	prev, next *slot
}

// Accept answers the request; the body is copied. Without it the first Publish
// answers with an empty body. Updates published before Accept would be lost: accept
// with the watermark of a snapshot, then publish what follows it.
func (s *Subscription) Accept(body []byte) error {
	s.c.mu.Lock()
	err := s.accept(body)
	kick := s.c.kick()
	s.c.mu.Unlock()
	if kick {
		s.c.s.pool.flush(s.c)
	}
	return err
}

func (s *Subscription) accept(body []byte) error {
	if s.over() {
		return s.why()
	}
	if s.accepted {
		return nil
	}
	s.accepted = true
	s.c.s.stats.subs.Add(1)
	s.c.pending = appendMessage(s.c.pending, Frame{Kind: KindRsp, ID: s.id, Body: body}, s.c.limit)
	s.c.bound()
	return nil
}

func (s *Subscription) over() bool {
	return s.ended || s.c.broken || s.c.leaving || s.going.Load()
}

// Publish sends an update, or does what the method's Policy says. The body is copied.
// key matters to Latest only. With Latest, Drop and Pull it never waits; with Block it
// waits for credit. Under Pull it drops as Drop does. The error says that the subscription is over.
func (s *Subscription) Publish(key uint64, event uint16, body []byte) error {
	for {
		s.c.mu.Lock()
		if err := s.accept(nil); err != nil {
			s.c.mu.Unlock()
			return err
		}
		done := s.offer(key, event, body)
		kick := s.c.kick()
		var ctx context.Context
		var wake <-chan struct{}
		if !done {
			ctx, wake = s.r.Context(), s.sleeps()
		}
		s.c.mu.Unlock()
		if kick {
			s.c.s.pool.flush(s.c)
		}
		if done {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// sleeps is what wakes who waits. mu is held.
func (s *Subscription) sleeps() <-chan struct{} {
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	return s.wake
}

// Ready waits until an update may leave at once: the peer gave credit, and reads. The
// error is ctx's, or says that the subscription is over. It is for the one goroutine
// that sends; what Ready found holds until that one emits.
func (s *Subscription) Ready(ctx context.Context) error {
	for {
		s.c.mu.Lock()
		if s.over() {
			err := s.why()
			s.c.mu.Unlock()
			return err
		}
		ready := s.ready()
		var life context.Context
		var wake <-chan struct{}
		if !ready {
			life, wake = s.r.Context(), s.sleeps()
		}
		s.c.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-wake:
		case <-life.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// why it is over. mu is held.
func (s *Subscription) why() error {
	status := Canceled
	if !s.ended {
		status = cmp.Or(Status(s.r.ended.Load()), status)
	}
	return &Error{Status: status}
}

// Emit sends an update after skipped ones that nobody will get, under Pull. It never
// waits and copies body. Without credit nothing is sent and the error is
// ResourceExhausted: ask Ready or Able first.
//
// When nothing else is to be written, it writes to the socket by itself, as far as that
// takes it at once: no other goroutine is woken for an update.
func (s *Subscription) Emit(skipped uint64, event uint16, body []byte) error {
	c := s.c
	c.mu.Lock()
	if err := s.mayEmit(); err != nil {
		c.mu.Unlock()
		return err
	}
	s.seq += skipped + 1
	if c.direct() {
		c.writeDirect(s, event, body)
		return nil
	}
	c.pending = s.emit(c.pending, s.seq, event, body)
	c.bound()
	kick := c.kick()
	c.mu.Unlock()
	if kick {
		c.s.pool.flush(c)
	}
	return nil
}

func (s *Subscription) mayEmit() error {
	if s.policy != Pull {
		return &Error{Status: FailedPrecondition, Message: "only under Pull"}
	}
	if s.over() {
		return s.why()
	}
	if s.credit == 0 {
		return &Error{Status: ResourceExhausted, Message: "no credit"}
	}
	return s.accept(nil)
}

func (s *Subscription) offer(key uint64, event uint16, body []byte) bool {
	open := s.ready()
	if !open && s.policy == Block {
		return false
	}
	s.seq++
	switch {
	case open:
		s.send(s.seq, event, body)
	case s.policy == Latest:
		s.keep(key, event, body)
	}
	if s.policy == Block {
		s.nudge() // somebody else may wait, and credit be left
	}
	return true
}

// ready says whether an update may leave at once: credit, and a peer that reads. With
// Latest nothing is ever kept while that is so.
func (s *Subscription) ready() bool {
	if s.credit == 0 {
		return false
	}
	if len(s.c.pending) > s.c.s.cfg.MaxOutput/4 {
		if !s.waits {
			s.waits = true
			s.c.congested = append(s.c.congested, s)
		}
		return false
	}
	return s.first == nil
}

// emit appends an update to dst. mu is held.
func (s *Subscription) emit(dst []byte, seq uint64, event uint16, body []byte) []byte {
	skipped := seq - s.sent - 1
	s.sent = seq
	s.credit--
	s.c.s.stats.events.Add(1)
	if skipped > 0 {
		s.c.s.stats.skipped.Add(skipped)
	}
	aux := uint16(min(skipped, math.MaxUint16))
	if len(body)+8 > min(chunk, s.c.limit) {
		whole := append(binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(body)), seq), body...)
		return appendMessage(dst, Frame{Kind: KindEvent, ID: s.id, Code: event, Aux: aux, Body: whole}, s.c.limit)
	}
	dst = slices.Grow(dst, HeaderSize+8+len(body))
	dst = appendHeader(dst, KindEvent, 0, 8+len(body), s.id, event, aux)
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	return append(dst, body...)
}

// send adds an update to what is pending. mu is held.
func (s *Subscription) send(seq uint64, event uint16, body []byte) {
	s.c.pending = s.emit(s.c.pending, seq, event, body)
	s.c.bound()
}

// keep puts the update into its key's slot, which goes to the end: so slots leave in
// the order of their sequence, and what a gap in it means is exactly what was skipped.
func (s *Subscription) keep(key uint64, event uint16, body []byte) {
	at := s.slots[key]
	switch {
	case at != nil:
		s.unlink(at)
	case len(s.slots) >= s.c.s.cfg.MaxKeys:
		return // counted by the gap
	default:
		if at = s.free; at != nil {
			s.free = at.next
		} else {
			at = new(slot)
		}
		at.key = key
		if s.slots == nil {
			s.slots = map[uint64]*slot{}
		}
		s.slots[key] = at
	}
	at.seq, at.event, at.body = s.seq, event, append(at.body[:0], body...)
	at.prev, at.next = s.last, nil
	if s.last != nil {
		s.last.next = at
	} else {
		s.first = at
	}
	s.last = at
}

func (s *Subscription) unlink(at *slot) {
	if at.prev != nil {
		at.prev.next = at.next
	} else {
		s.first = at.next
	}
	if at.next != nil {
		at.next.prev = at.prev
	} else {
		s.last = at.prev
	}
}

// drain sends what was kept, as far as credit goes.
func (s *Subscription) drain() {
	for at := s.first; at != nil && !s.over(); at = s.first {
		if s.credit == 0 {
			return
		}
		if len(s.c.pending) > s.c.s.cfg.MaxOutput/4 {
			s.ready() // to be told when the peer has read
			return
		}
		s.unlink(at)
		delete(s.slots, at.key)
		s.send(at.seq, at.event, at.body)
		at.next, s.free = s.free, at
	}
}

func (s *Subscription) nudge() {
	if s.credit == 0 {
		return
	}
	if s.asked && !s.called {
		s.asked, s.called = false, true
		s.c.wants = append(s.c.wants, s)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// finish ends it and says how many updates nobody will get.
func (s *Subscription) finish() uint16 {
	if !s.accepted {
		s.c.s.stats.subs.Add(1) // finish takes it away
	}
	s.ended = true
	s.slots, s.first, s.last, s.free = nil, nil, nil, nil
	skipped := s.seq - s.sent
	s.c.s.stats.skipped.Add(skipped)
	return uint16(min(skipped, math.MaxUint16))
}
