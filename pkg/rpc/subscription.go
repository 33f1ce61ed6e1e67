package rpc

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
)

// Subscription is the server's end of one. Its methods may be called by anybody, at
// any time; after its end they do nothing and say so.
type Subscription struct {
	c      *conn
	r      *Request // good until ended
	id     uint32
	policy Policy
	wake   chan struct{} // for Block and Pull

	// Guarded by c.mu.
	accepted, ended bool
	waits           bool // in c.congested
	credit          int
	seq, sent       uint64 // the last update, and the last the peer was told of
	slots           map[uint64]*slot
	first, last     *slot // by seq
	free            *slot
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
	return s.ended || s.c.broken || s.c.leaving || s.r.Stopped()
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
		ctx := s.c.ctx
		if !done {
			ctx = s.r.Context()
		}
		s.c.mu.Unlock()
		if kick {
			s.c.s.pool.flush(s.c)
		}
		if done {
			return nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	}
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
		if !ready {
			life = s.r.Context()
		}
		s.c.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-s.wake:
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
// ResourceExhausted: ask Ready first.
func (s *Subscription) Emit(skipped uint64, event uint16, body []byte) error {
	s.c.mu.Lock()
	err := s.emitNow(skipped, event, body)
	kick := s.c.kick()
	s.c.mu.Unlock()
	if kick {
		s.c.s.pool.flush(s.c)
	}
	return err
}

func (s *Subscription) emitNow(skipped uint64, event uint16, body []byte) error {
	if s.policy != Pull {
		return &Error{Status: FailedPrecondition, Message: "only under Pull"}
	}
	if s.over() {
		return s.why()
	}
	if s.credit == 0 {
		return &Error{Status: ResourceExhausted, Message: "no credit"}
	}
	if err := s.accept(nil); err != nil {
		return err
	}
	s.seq += skipped + 1
	s.emit(s.seq, event, body)
	return nil
}

func (s *Subscription) offer(key uint64, event uint16, body []byte) bool {
	open := s.ready()
	if !open && s.policy == Block {
		return false
	}
	s.seq++
	switch {
	case open:
		s.emit(s.seq, event, body)
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

func (s *Subscription) emit(seq uint64, event uint16, body []byte) {
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
		s.c.pending = appendMessage(s.c.pending, Frame{Kind: KindEvent, ID: s.id, Code: event, Aux: aux, Body: whole}, s.c.limit)
	} else {
		s.c.pending = appendHeader(s.c.pending, KindEvent, 0, 8+len(body), s.id, event, aux)
		s.c.pending = binary.LittleEndian.AppendUint64(s.c.pending, seq)
		s.c.pending = append(s.c.pending, body...)
	}
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
		s.emit(at.seq, at.event, at.body)
		at.next, s.free = s.free, at
	}
}

func (s *Subscription) nudge() {
	if s.credit == 0 {
		return
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
