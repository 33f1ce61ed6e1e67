package rpc

import (
	"context"
	"encoding/binary"
	"sync"
)

// Event is one update of a subscription.
type Event struct {
	Type    uint16
	Seq     uint64
	Skipped uint16 // updates before this one that will never come; 65535 or more
	Body    []byte
}

// Stream is the calling end of a subscription. It gives the server credit as its
// updates are taken, so whoever does not call Next is not sent more than a window.
type Stream struct {
	c        *Client
	id       uint32
	events   chan Event
	accepted chan struct{}
	ended    chan struct{}

	mu      sync.Mutex
	answer  []byte
	err     error
	skipped uint16
	taken   int // since credit was given
	once    sync.Once
}

// Subscribe opens a subscription and waits until the server accepted it.
func (c *Client) Subscribe(ctx context.Context, method uint16, body []byte) (*Stream, error) {
	s := &Stream{
		c: c, events: make(chan Event, c.cfg.Window),
		accepted: make(chan struct{}), ended: make(chan struct{}),
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	id, err := c.start(ctx, &call{stream: s}, method, body)
	if err != nil {
		return nil, err
	}
	s.id = id
	select {
	case <-s.accepted:
		return s, nil
	case <-s.ended:
		select {
		case <-s.accepted: // and ended at once
			return s, nil
		default:
			return nil, s.err
		}
	case <-ctx.Done():
		c.cancel(id)
		return nil, &Error{Status: StatusOf(ctx.Err())}
	}
}

// Answer is the body of the server's RSP.
func (s *Stream) Answer() []byte { return s.answer }

// Next waits for an update. When the server ended the subscription without a failure
// the error is io.EOF; updates that had arrived come first.
func (s *Stream) Next(ctx context.Context) (Event, error) {
	select {
	case e := <-s.events:
		s.take()
		return e, nil
	default:
	}
	select {
	case e := <-s.events:
		s.take()
		return e, nil
	case <-ctx.Done():
		return Event{}, ctx.Err()
	case <-s.ended:
		select {
		case e := <-s.events:
			return e, nil
		default:
			return Event{}, s.err
		}
	}
}

// Skipped is the count of updates after the last event that never came, known when
// the subscription has ended.
func (s *Stream) Skipped() uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.skipped
}

// Close asks the server to end the subscription. What had arrived can still be taken.
func (s *Stream) Close() { s.once.Do(func() { s.c.cancel(s.id) }) }

// take tops the credit up at half a window.
func (s *Stream) take() {
	s.mu.Lock()
	s.taken++
	n := s.taken
	if n < (s.c.cfg.Window+1)/2 {
		s.mu.Unlock()
		return
	}
	s.taken = 0
	s.mu.Unlock()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.calls[s.id] != nil {
		s.c.grant(s.id, n)
		s.c.poke()
	}
}

func (s *Stream) accept(body []byte) error {
	select {
	case <-s.accepted:
		return protocolError(faultNone, BadFrame, "accepted twice")
	default:
	}
	s.answer = append([]byte(nil), body...)
	close(s.accepted)
	return nil
}

func (s *Stream) event(f *Frame) error {
	if len(f.Body) < 8 {
		return protocolError(faultNone, BadFrame, "an event carries its sequence")
	}
	e := Event{Type: f.Code, Skipped: f.Aux, Seq: binary.LittleEndian.Uint64(f.Body), Body: append([]byte(nil), f.Body[8:]...)}
	select {
	case s.events <- e:
		return nil
	default:
		return protocolError(faultNone, BadFrame, "an event without credit")
	}
}

func (s *Stream) setSkipped(n uint16) {
	s.mu.Lock()
	s.skipped = n
	s.mu.Unlock()
}

func (s *Stream) end(_ []byte, err error) {
	s.err = err
	close(s.ended)
}
