package hub

import "time"

// slab cuts pieces off larger allocations, one after the other, so that a busy stream
// allocates once for many of them. It looks ahead only while pieces are asked for in
// quick succession: a quiet stream holds what it needs and no more.
//
//	p := s.open(now, n, most)   // what is left, at least n
//	p = append(p, ...)          // may also outgrow it
//	p = s.close(p)              // keeps exactly that much
//
// A piece keeps the whole allocation alive, which is why that is bounded.
type slab[T any] struct {
	buf    []T
	at     int
	since  int64 // when buf was made
	pieces int   // that it was made for
}

// open returns an empty piece with room for n or more. An allocation for several pieces
// holds at most that many elements.
func (s *slab[T]) open(now int64, n, most int) []T {
	n = max(n, 1)
	if len(s.buf)-s.at < n {
		if s.buf != nil && now-s.since < int64(time.Second) {
			s.pieces = max(s.pieces, min(2*s.pieces, 64))
		} else {
			s.pieces = 1
		}
		s.buf, s.at, s.since = make([]T, max(n, min(n*s.pieces, most))), 0, now
	}
	return s.buf[s.at:s.at]
}

// close ends the piece that was opened last, and returns it without room to grow.
func (s *slab[T]) close(p []T) []T {
	if cap(p) == 0 || s.at == len(s.buf) || &p[:1][0] != &s.buf[s.at] {
		return p // it has outgrown the slab
	}
	s.at += len(p)
	return p[:len(p):len(p)]
}
