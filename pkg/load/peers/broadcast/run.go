package broadcast

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tracker/pkg/load"
)

// run is one measurement.
type run struct {
	t     Target
	shape Shape

	viewers   []*Line
	books     []ledger
	publisher *Line
	mouth     Mouth

	began     time.Time    // the zero of due
	due       atomic.Int64 // when the first burst of this phase was due, since began
	phase     atomic.Int64 // number of that burst
	counts    atomic.Bool  // this phase is measured
	delivered atomic.Int64
	goal      atomic.Int64 // of delivered, that somebody waits for
	came      atomic.Int64 // when the last delivery came, since began

	sent uint64 // messages
	out  []byte

	mu      sync.Mutex
	latency *load.Recorder
	gone    error // the first connection that ended by itself
	wake    chan struct{}
}

const (
	dialers  = 16 // connections that are opened at once
	patience = 15 * time.Second
	mostSalt = 1_799_999_999 // a longitude
)

// ErrGone says that the server ended a connection, or does not answer.
var ErrGone = errors.New("the server is gone")

// Measure connects the viewers, fills the server and counts. What was lost, doubled or
// came out of order is no error of Measure: see Figure.Err. A server that ends a
// connection is one that wraps ErrGone, one that sends what nobody sent, or spares a
// viewer something, one that wraps ErrFailed.
func Measure(ctx context.Context, t Target, shape Shape) (*Figure, error) {
	if err := shape.Check(); err != nil {
		return nil, err
	}
	r := &run{t: t, shape: shape, began: time.Now(), latency: load.NewRecorder(), wake: make(chan struct{}, 1)}
	defer r.hangUp()
	if err := r.connect(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", t.Name(), ErrGone, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	for i := range r.viewers {
		readers.Go(func() { r.view(ctx, cancel, i) })
	}
	readers.Go(func() { r.confirm(ctx, cancel) })
	f, err := r.fill(ctx)
	cancel()
	readers.Wait()
	switch {
	case errors.Is(r.gone, ErrFailed): // it is there, and wrong
		return nil, fmt.Errorf("%s: %w", t.Name(), r.gone)
	case r.gone != nil:
		return nil, fmt.Errorf("%s: %w: %w", t.Name(), ErrGone, r.gone)
	}
	if err != nil {
		return nil, err
	}
	r.judge(f)
	return f, nil
}

func (r *run) now() time.Duration { return time.Since(r.began) }

// connect opens the publisher and the viewers, each until the server says that it is
// what it wants to be.
func (r *run) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	salt := rand.Uint64N(mostSalt) + 1
	open := func(ctx context.Context, nr int) (*Line, error) {
		nc, err := r.t.Dial(ctx)
		if err != nil {
			return nil, err
		}
		return newLine(nc, salt, nr), nil
	}
	r.viewers, r.books = make([]*Line, r.shape.Viewers), make([]ledger, r.shape.Viewers)
	planned := uint64(r.shape.planned(r.shape.Warmup)+r.shape.planned(r.shape.Duration)) * uint64(r.shape.Updates)
	group, all := errgroup.WithContext(ctx)
	group.SetLimit(dialers)
	for i := range r.viewers {
		r.books[i] = ledger{salt: salt, planned: planned}
		group.Go(func() (err error) {
			if r.viewers[i], err = open(all, i); err == nil {
				err = r.t.View(all, r.viewers[i])
			}
			if err != nil {
				err = fmt.Errorf("viewer %d: %w", i, err)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var err error
	if r.publisher, err = open(ctx, -1); err == nil {
		r.mouth, err = r.t.Publish(ctx, r.publisher, r.shape.Updates)
	}
	if err != nil {
		return fmt.Errorf("publisher: %w", err)
	}
	return nil
}

func (r *run) hangUp() {
	for _, l := range append(r.viewers, r.publisher) {
		if l != nil {
			_ = l.Conn.Close()
		}
	}
}

// view is the reading of one viewer: the same for every target.
func (r *run) view(ctx context.Context, cancel func(), i int) {
	l, book := r.viewers[i], &r.books[i]
	defer l.until(ctx)()
	settle := r.timer()
	for {
		err := l.fill()
		if err == nil {
			now := r.now()
			err = l.take(book)
			settle(book, now)
		}
		if err != nil {
			r.lose(fmt.Sprintf("viewer %d", i), err, cancel)
			return
		}
	}
}

// timer makes what times the deliveries of a read, with one look at the clock for all.
func (r *run) timer() func(*ledger, time.Duration) {
	u := uint64(r.shape.Updates)
	every := r.shape.every()
	var n int64
	var now time.Duration
	each := func(from, to uint64) {
		n += int64(to - from)
		if !r.counts.Load() {
			return
		}
		first, phase := time.Duration(r.due.Load()), uint64(r.phase.Load())
		r.mu.Lock()
		defer r.mu.Unlock()
		for from < to {
			burst := from / u
			end := min(to, (burst+1)*u)
			if burst >= phase {
				r.latency.RecordMany(now-first-time.Duration(burst-phase)*every, int64(end-from))
			}
			from = end
		}
	}
	return func(book *ledger, at time.Duration) {
		n, now = 0, at
		book.fresh(each)
		if n > 0 {
			r.came.Store(int64(at))
			if r.delivered.Add(n) < r.goal.Load() {
				return
			}
			select {
			case r.wake <- struct{}{}:
			default:
			}
		}
	}
}

// confirm reads what the server says to the publisher.
func (r *run) confirm(ctx context.Context, cancel func()) {
	l := r.publisher
	defer l.until(ctx)()
	for {
		err := l.fill()
		if err == nil {
			err = l.take(nobody{})
		}
		if err != nil {
			r.lose("the publisher", err, cancel)
			return
		}
	}
}

// lose notes why a connection ended, unless that was us.
func (r *run) lose(who string, err error, cancel func()) {
	if wanted(err) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone == nil {
		r.gone = fmt.Errorf("%s: %w", who, parting(err))
	}
	cancel()
}

// fill does the plan: first what warms up, then what is measured. In between and after
// it nothing is under way, so what was used meanwhile is what was needed.
func (r *run) fill(ctx context.Context) (*Figure, error) {
	if err := r.play(ctx, r.shape.Warmup, nil); err != nil {
		return nil, err
	}
	f := &Figure{Latency: r.latency}
	r.counts.Store(true)
	err := r.play(ctx, r.shape.Duration, f)
	return f, err
}

// play sends the bursts that fall due in a time, and waits until all of them have come.
func (r *run) play(ctx context.Context, d time.Duration, f *Figure) error {
	planned := r.shape.planned(d)
	if planned == 0 {
		return nil
	}
	start := r.now() + time.Millisecond
	r.due.Store(int64(start))
	r.phase.Store(int64(r.sent) / int64(r.shape.Updates))
	before := r.sample()
	bursts := 0
	for bursts < planned {
		at := start + time.Duration(bursts)*r.shape.every()
		if err := r.sleep(ctx, at); err != nil {
			return err
		}
		if ok, err := r.room(ctx, start+d); err != nil {
			return err
		} else if !ok {
			break // the time is over
		}
		if err := r.burst(at); err != nil {
			return err
		}
		bursts++
	}
	if err := r.drain(ctx); err != nil {
		return err
	}
	if f != nil {
		after := r.sample()
		f.Bursts, f.Planned, f.Messages = bursts, planned, int64(bursts*r.shape.Updates)
		f.Took = max(0, time.Duration(r.came.Load())-start)
		after.less(&before, f)
	}
	return nil
}

func (r *run) burst(at time.Duration) error {
	r.out = r.mouth.Append(r.out[:0], r.sent, r.shape.Updates, r.began.Add(at))
	r.sent += uint64(r.shape.Updates)
	if _, err := r.publisher.Conn.Write(r.out); err != nil {
		return fmt.Errorf("%s: %w: publish: %w", r.t.Name(), ErrGone, err)
	}
	return nil
}

func (r *run) sleep(ctx context.Context, at time.Duration) error {
	if d := at - r.now(); d > 0 {
		return load.Pause(ctx, d)
	}
	return ctx.Err()
}

// missing is how many deliveries are under way.
func (r *run) missing() int64 { return int64(r.sent)*int64(r.shape.Viewers) - r.delivered.Load() }

// room waits until one more burst may be under way. It is false when the time is over, or
// when what is under way does not come any more.
func (r *run) room(ctx context.Context, end time.Duration) (bool, error) {
	most := int64(r.shape.Window-1) * int64(r.shape.Updates) * int64(r.shape.Viewers)
	r.goal.Store(int64(r.sent)*int64(r.shape.Viewers) - most)
	err := r.wait(ctx, func() bool { return r.missing() <= most || r.now() >= end })
	return r.missing() <= most, err
}

func (r *run) drain(ctx context.Context) error {
	r.goal.Store(int64(r.sent) * int64(r.shape.Viewers))
	return r.wait(ctx, func() bool { return r.missing() <= 0 && r.unconfirmed() == 0 })
}

// unconfirmed is how many messages the server has not confirmed, if it does that.
func (r *run) unconfirmed() int64 {
	if !r.t.Facts().Confirms {
		return 0
	}
	return int64(r.sent) - r.publisher.confirmed.Load()
}

// wait waits for cond, or until nothing has come for as long as Drain allows.
func (r *run) wait(ctx context.Context, cond func() bool) error {
	var t *time.Timer
	for last, since := int64(-1), time.Duration(0); !cond(); {
		if n := r.delivered.Load() + r.publisher.confirmed.Load(); n != last {
			last, since = n, r.now()
		} else if r.now()-since > r.shape.Drain {
			return nil // lost; the ledgers know what
		}
		const look = 5 * time.Millisecond // conditions that no delivery tells of
		if t == nil {
			t = time.NewTimer(look)
			defer t.Stop()
		} else {
			t.Reset(look)
		}
		select {
		case <-r.wake:
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// sample is a moment at which nothing is under way.
type sample struct {
	delivered, bytes, reads int64
	server, client          time.Duration
	known                   bool
	rss                     int64
}

func (r *run) sample() sample {
	s := sample{delivered: r.delivered.Load()}
	for _, l := range r.viewers {
		s.bytes += l.bytes.Load()
		s.reads += l.reads.Load()
	}
	s.server, s.known = r.t.Process().CPU()
	s.client, _ = load.OwnCPU()
	s.rss, _ = r.t.Process().RSS()
	return s
}

func (s *sample) less(before *sample, f *Figure) {
	f.Deliveries, f.Bytes, f.Reads = s.delivered-before.delivered, s.bytes-before.bytes, s.reads-before.reads
	f.ServerCPU, f.ClientCPU, f.ServerKnown = s.server-before.server, s.client-before.client, s.known && before.known
	f.RSS = s.rss
}

const mostFaults = 5

// judge goes through the ledgers, when nobody writes in them any more.
func (r *run) judge(f *Figure) {
	for i := range r.books {
		b := &r.books[i]
		lost := int64(r.sent) - b.got()
		f.Lost += lost
		f.Duplicate += b.duplicate
		f.OutOfOrder += b.outOfOrder
		if lost+b.duplicate+b.outOfOrder > 0 && len(f.Faults) < mostFaults {
			text := fmt.Sprintf("viewer %d: %d lost, %d twice, %d out of order", i, lost, b.duplicate, b.outOfOrder)
			if first, ok := b.missing(r.sent); ok {
				text += fmt.Sprintf("; number %d never came", first)
			}
			f.Faults = append(f.Faults, text)
		}
	}
	f.Unconfirmed = r.unconfirmed()
}
