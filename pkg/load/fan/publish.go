package fan

import (
	"context"
	"sync"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/track"
)

// Datagrams sends fixes another way than by a connection, as client.Fleet does.
type Datagrams interface {
	Send(ctx context.Context, device int, f *track.Fix) error
}

// publisher is one connection that reports.
type publisher struct {
	line     *Line
	reporter *Reporter
	next     uint32  // id of the next report
	batch    []byte  // of this wake-up
	sends    []int64 // in it
	retried  int     // the first of them were held back
	held     []int64 // due, and the window was full

	mu       sync.Mutex
	underway int
	right    int64
	refused  map[string]int64
	unknown  int64
}

// mostUnderway is how many reports a connection has unanswered; more are held back.
const mostUnderway = 1024

func newPublisher(line *Line, rep *Reporter) *publisher {
	return &publisher{line: line, reporter: rep, next: firstReport, refused: map[string]int64{}}
}

// answered is called by the line's reader.
func (p *publisher) answered(_ uint32, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.underway == 0 {
		p.unknown++
		return
	}
	p.underway--
	if err == nil {
		p.right++
		return
	}
	p.refused[err.Error()]++
}

// room takes a place in the window.
func (p *publisher) room() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.underway >= mostUnderway {
		return false
	}
	p.underway++
	return true
}

// waits tells whether answers have not come.
func (p *publisher) waits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.underway > 0
}

// sender is the thread that sends what is due.
type sender struct {
	r       *run
	ctx     context.Context
	touched []*publisher
	holding []*publisher
	bunches load.Bunches
	slept   time.Duration
	queued  int64 // now held back
	fix     track.Fix

	mu  sync.Mutex // guards the recorders: one waits for it once an interval
	lag *load.Recorder
	now *load.Recorder // of the present interval
}

func newSender(ctx context.Context, r *run) *sender {
	return &sender{r: r, ctx: ctx, lag: load.NewRecorder(), now: load.NewRecorder()}
}

// slice hands out the lag of the interval that ends.
func (s *sender) slice() load.Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.now.Summary()
	s.now.Reset()
	return sum
}

// grid is how finely sends are spread: half of what counts as late.
const (
	grid      = 500 * time.Microsecond
	lateAfter = time.Millisecond
	longest   = 20 * time.Millisecond // of a nap, so that an end is noticed
)

// send sends according to plan until that ends, ctx does, or everybody has gone.
func (s *sender) send() {
	defer load.Punctual()() // it sleeps in the kernel
	r := s.r
	for j := int64(0); j < r.cfg.Plan.Sends || s.queued > 0; {
		if s.ctx.Err() != nil || r.dead() {
			return
		}
		s.retry()
		now := r.now()
		for j < r.cfg.Plan.Sends && r.due(j) <= now {
			r.sentAt[j%int64(len(r.sentAt))].Store(int64(now)) // or later, see flush; a sender that sleeps needs to know before
			r.sends.Store(j + 1)
			s.put(j)
			j++
		}
		s.flush()
		s.nap(j)
	}
}

// nap sleeps until the next send is due, on the grid.
func (s *sender) nap(j int64) {
	r := s.r
	at := r.now() + grid
	if j < r.cfg.Plan.Sends && s.queued == 0 {
		at = (r.due(j) + grid - 1) / grid * grid
	}
	before := r.now()
	if left := at - before; left > 0 {
		load.Nap(min(left, longest))
		s.slept += r.now() - before
	}
}

// put makes send j part of this wake-up's batch, or holds it back.
func (s *sender) put(j int64) {
	turn, _ := s.r.cfg.Plan.Turn(j)
	device := s.r.cfg.Plan.devices[turn]
	if s.r.cfg.Datagrams != nil {
		s.datagram(j, turn, device)
		return
	}
	p := s.r.pubs[device]
	if len(p.held) > 0 || !p.room() {
		if len(p.held) == 0 {
			s.holding = append(s.holding, p)
		}
		p.held = append(p.held, j)
		s.queued++
		s.r.queued.Store(max(s.r.queued.Load(), s.queued))
		return
	}
	s.add(p, j)
}

func (s *sender) add(p *publisher, j int64) {
	if len(p.sends) == 0 {
		s.touched = append(s.touched, p)
	}
	turn, seq := s.r.cfg.Plan.Turn(j)
	p.sends = append(p.sends, j)
	p.batch = p.reporter.Append(p.batch, p.next, s.r.stamp(j), s.r.cfg.Plan.places.at(turn, seq))
	p.next++
}

// retry sends what was held back, as far as there is room now. All of it counts as
// pressed: the server was the reason.
func (s *sender) retry() {
	kept := s.holding[:0]
	for _, p := range s.holding {
		n := 0
		// With Sleep the next of a sender is due by when this one leaves, so it is not in
		// the same batch.
		for n < len(p.held) && (n == 0 || s.r.cfg.Plan.Pacing != Sleep) && p.room() {
			s.add(p, p.held[n])
			n++
		}
		p.retried = n
		s.queued -= int64(n)
		p.held = append(p.held[:0], p.held[n:]...)
		if len(p.held) > 0 {
			kept = append(kept, p)
		}
	}
	s.holding = kept
}

// flush writes the batches, one write each.
func (s *sender) flush() {
	r := s.r
	for _, p := range s.touched {
		now := r.now()
		for _, j := range p.sends {
			r.sentAt[j%int64(len(r.sentAt))].Store(int64(now)) // before anybody can have it
		}
		clear, err := p.line.Send(p.batch)
		if err != nil {
			r.unsent.Add(int64(len(p.sends))) // why, its reader says
		}
		for i, j := range p.sends {
			s.account(j, now, !clear || i < p.retried)
		}
		p.batch, p.sends, p.retried = p.batch[:0], p.sends[:0], 0
	}
	s.touched = s.touched[:0]
}

// account counts send j, which went out now. Those that the server had to make room for
// are pressed, others that are late are our own lag.
func (s *sender) account(j int64, now time.Duration, pressed bool) {
	r := s.r
	s.bunches.Note(now, 1)
	if j < r.warm {
		return
	}
	r.sent.Add(1)
	lag := max(0, now-r.due(j))
	s.mu.Lock()
	s.lag.Record(lag)
	s.now.Record(lag)
	s.mu.Unlock()
	if lag <= lateAfter && !pressed {
		return
	}
	r.late.Add(1)
	if pressed {
		r.pressed.Add(1)
	}
}

func (s *sender) datagram(j int64, turn, device int) {
	_, seq := s.r.cfg.Plan.Turn(j)
	s.fix = track.Fix{Time: s.r.stamp(j), At: s.r.cfg.Plan.places.at(turn, seq), Has: track.HasPos}
	now := s.r.now()
	s.r.sentAt[j%int64(len(s.r.sentAt))].Store(int64(now))
	s.account(j, now, false)
	if s.r.cfg.Datagrams.Send(s.ctx, device, &s.fix) != nil {
		s.r.unsent.Add(1)
	}
}
