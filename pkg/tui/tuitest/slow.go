//go:build unix

package tuitest

import (
	"io"
	"sync"
	"time"
)

// Slow is the way to a terminal that is far away, see ListenSlowly.
type Slow struct {
	mu     sync.Mutex
	moved  *sync.Cond // something came, went, or changed
	queue  []byte
	room   int
	most   int
	hurry  bool
	closed bool
}

// sips is how often a second a slow terminal takes something.
const sips = 20

// ListenSlowly is Listen for a terminal that takes so many bytes a second. On the way up
// to buffered bytes are taken at once and stand in a queue, as sshd does: then writing
// says nothing about the terminal, and it answers late what it is asked.
func (tm *Terminal) ListenSlowly(perSecond, buffered int) *Slow {
	sip := max(perSecond/sips, 1)
	s := &Slow{room: max(buffered, sip)}
	s.moved = sync.NewCond(&s.mu)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(tm.Master, tm.screen)
	}()
	go s.fill(tm, sip)
	go func() {
		defer close(tm.drained)
		for b := s.sip(sip); b != nil; b = s.sip(sip) {
			tm.mu.Lock()
			tm.raw.Write(b)
			_, _ = tm.screen.Write(b)
			tm.mu.Unlock()
			if !s.hurrying() {
				time.Sleep(time.Second / sips) // which is what makes it slow
			}
		}
		_ = tm.screen.InputPipe().(io.Closer).Close()
		<-answered
	}()
	return s
}

// fill reads what the program writes while there is room for it.
func (s *Slow) fill(tm *Terminal, sip int) {
	buf := make([]byte, sip)
	for {
		n, err := tm.Master.Read(buf)
		s.mu.Lock()
		s.queue = append(s.queue, buf[:n]...)
		s.most = max(s.most, len(s.queue))
		s.closed = err != nil
		s.moved.Broadcast()
		for len(s.queue) >= s.room && !s.hurry && !s.closed {
			s.moved.Wait()
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// sip takes up to n bytes off the queue, all of it in a hurry, and nil at its end.
func (s *Slow) sip(n int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && !s.closed {
		s.moved.Wait()
	}
	if len(s.queue) == 0 {
		return nil
	}
	if n = min(n, len(s.queue)); s.hurry {
		n = len(s.queue)
	}
	b := append([]byte(nil), s.queue[:n]...)
	s.queue = s.queue[n:]
	s.moved.Broadcast()
	return b
}

func (s *Slow) hurrying() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hurry
}

// Hurry makes the terminal fast from now on.
func (s *Slow) Hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurry = true
	s.moved.Broadcast()
}

// Most is how many bytes stood in the queue at most.
func (s *Slow) Most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}
