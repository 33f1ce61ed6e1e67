package fan

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tracker/pkg/load"
)

// Session is the connections of a measurement, kept for several of them.
//
//	Open ──► Play ──────────────────────────────► Play ──► … ──► Close
//	          plan sent ─ all came ─ verified       │
//	                          │                     nothing of ours runs in between
//	                       measured()
//
// Each Play sends the same plan, from the first of its updates on, at its own time. What
// comes while none is under way is held against the next, and each viewer's position in
// the stream goes on from one to the other: a server can lose nothing in between.
type Session struct {
	r      *run
	failed bool
	once   sync.Once // Close
}

// ErrIncorrect marks deliveries that are not those of the plan.
var ErrIncorrect = errors.New("deliveries are not as planned")

// Played is what a play came to when everything was as planned.
type Played struct {
	Sent       int64
	Late       int64 // of them, by more than a millisecond, and not for the server's sake
	Deliveries int64
	Frames     int64
	Bytes      int64
	Took       time.Duration // from the start of the plan to the last delivery
	Response   load.Summary  // from when each update was due
	Service    load.Summary  // from when it left
}

// Open connects everybody. Of cfg it takes the plan, the devices, who watches and who
// reports; viewers are all of the usual kind, and publishers have lines of their own.
func Open(ctx context.Context, cfg Config) (*Session, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg.Together, cfg.Datagrams, cfg.Slow, cfg.Churn, cfg.Warmup = false, nil, Slow{}, 0, 0
	r := newRun(cfg)
	r.sender = newSender(ctx, r)
	s := &Session{r: r}
	if err := r.connectAll(ctx); err != nil {
		s.Close()
		return nil, setupError(err)
	}
	r.plays++
	if err := r.barrier(ctx, r.plays); err != nil {
		s.Close()
		return nil, setupError(err)
	}
	return s, nil
}

// Play sends the plan, waits until all of it came and was answered, calls measured, and
// asks everybody once more whether that was all. If it was not, or was something else, the
// error is ErrIncorrect and says who missed what, and the session is of no more use.
func (s *Session) Play(ctx context.Context, measured func()) (*Played, error) {
	if s.failed {
		return nil, fmt.Errorf("play: an earlier one failed: %w", ErrIncorrect)
	}
	s.failed = true // until it went well
	r := s.r
	r.rewind(ctx)
	r.sender.perform()
	all := r.arrived(ctx)
	took := r.now()
	measured()
	if err := r.lastQuestion(ctx, all); err != nil {
		return nil, err
	}
	r.shards.collect(r.total)
	s.failed = false
	return &Played{
		Sent: r.sent.Load(), Late: r.late.Load() - r.pressed.Load(), Deliveries: r.total.received, Frames: r.total.frames, Bytes: r.total.bytes,
		Took: took, Response: r.total.response.Summary(), Service: r.total.service.Summary(),
	}, nil
}

// lastQuestion ends a play. What a server still had to say, such as an update for the
// second time, comes before the answers; they are not waited for when something is missing
// anyway.
func (r *run) lastQuestion(ctx context.Context, all bool) error {
	var silent error
	if all {
		silent = r.barrier(ctx, r.plays)
	}
	r.started.Store(false)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := r.verdict(); err != nil || silent == nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrIncorrect, silent)
}

// Close ends the connections and waits for those who read.
func (s *Session) Close() { s.once.Do(s.r.close) }

// rewind makes everything ready for the plan to begin, now. No viewer may look at it
// meanwhile.
func (r *run) rewind(ctx context.Context) {
	for _, v := range r.viewers {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.row.clear()
	}
	r.plays++
	r.shards.clear()
	r.total.reset()
	r.sender.rewind(ctx)
	for _, n := range []interface{ Store(int64) }{&r.sends, &r.sent, &r.late, &r.pressed, &r.unsent, &r.queued} {
		n.Store(0)
	}
	r.zero.Store(int64(time.Since(r.began)))
	r.startNS = r.began.Add(time.Duration(r.zero.Load())).UnixNano()
	r.started.Store(true)
}

// arrived waits until everything that was sent came and was answered, and tells whether
// it did before the time for it was over.
func (r *run) arrived(ctx context.Context) bool {
	const look = 250 * time.Microsecond
	for deadline := r.now() + r.cfg.Drain; ; load.Nap(look) {
		switch {
		case r.shards.good() >= r.expected() && !r.unanswered():
			return true
		case ctx.Err() != nil, r.broken.Load() > 0, r.now() > deadline:
			return false
		}
	}
}

// verdict holds what came against the plan.
func (r *run) verdict() error {
	f := r.verify()
	wrong := f.incorrect()
	if n := r.strayed() + f.foreign; n > 0 {
		f.faults = append(f.faults, fmt.Sprintf("%d updates of earlier, or of devices that are not ours", n))
	}
	if n := r.unsent.Load(); n > 0 {
		f.faults = append(f.faults, fmt.Sprintf("%d reports that could not be sent", n))
	}
	for _, v := range r.feeders {
		f.feeder(v)
	}
	if wrong == "" && len(f.faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrIncorrect, f.inWords(wrong))
}

// feeder notes the end of a publisher's line.
func (f *findings) feeder(v *viewer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil && len(f.faults) < mostPairs {
		f.faults = append(f.faults, fmt.Sprintf("%s: %v", v.name, v.err))
	}
}

// strayed is how many updates came while nothing was under way.
func (r *run) strayed() (n int64) {
	for _, v := range r.viewers {
		v.mu.Lock()
		n += v.stray
		v.mu.Unlock()
	}
	return n
}

// inWords is what is wrong, where it was seen first, and what else was.
func (f *findings) inWords(wrong string) string {
	text := ""
	if wrong != "" {
		text = fmt.Sprintf("of %d deliveries: %s%s", f.expected, wrong, f.where())
	}
	for _, fault := range f.faults {
		if text != "" {
			text += "; "
		}
		text += fault
	}
	return text
}

// clear forgets everything, and keeps the room for it.
func (r *row) clear() {
	clear(r.cells)
	*r = row{cells: r.cells}
}

// clear forgets what was counted.
func (s *shards) clear() {
	for i := range s.all {
		one := &s.all[i]
		one.mu.Lock()
		one.page.reset()
		one.good.Store(0)
		one.mu.Unlock()
	}
}

// rewind makes the sender ready for the plan to begin.
func (s *sender) rewind(ctx context.Context) {
	s.ctx = ctx
	s.lag.Reset()
	s.now.Reset()
	s.bunches, s.slept = load.Bunches{}, 0
}

// perform sends the plan.
func (s *sender) perform() {
	if s.r.cfg.Plan.Pacing == Step {
		s.steps()
		return
	}
	s.send()
}

// steps sends one update after the other: each waits for its moment, and for the one
// before to be with everybody.
func (s *sender) steps() {
	defer load.Punctual()() // it sleeps in the kernel
	r := s.r
	for j := range r.cfg.Plan.Sends {
		for left := r.due(j) - r.now(); left > 0; left = r.due(j) - r.now() {
			load.Nap(min(left, longest))
		}
		r.sends.Store(j + 1)
		s.put(j)
		s.flush()
		if !r.arrived(s.ctx) {
			return
		}
	}
}
