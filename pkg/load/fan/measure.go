package fan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
)

// outcome is what a run came to, before it is put into words.
type outcome struct {
	intervals []load.Interval
	began     time.Time
	took      time.Duration // from the first send that counts to the end of the drain
	sending   time.Duration // of that, until the last send
	partial   bool
	drained   bool // everything came that had to
	died      error
	cutter    *cutter
}

// measure sends, waits for the last to arrive, and asks everybody once more whether that
// was all.
func (r *run) measure(ctx context.Context) *outcome {
	o := &outcome{began: time.Now()}
	r.zero.Store(int64(time.Since(r.began)))
	r.startNS = r.began.Add(time.Duration(r.zero.Load())).UnixNano()
	r.started.Store(true)
	if r.cfg.Churn > 0 {
		r.churn = startChurn(r)
	}
	r.sender = newSender(ctx, r)
	done := make(chan struct{})
	go func() { // ends with the plan, with ctx, or with the server; waited for below
		defer close(done)
		r.sender.send()
	}()
	r.phase("sending")
	c := &cutter{run: r}
	o.cutter = c
	if r.warm > 0 {
		c.early = r.warmUp(done)
	}
	r.meter.Begin(ctx)
	begun := r.now()
	c.zero, c.at = begun, begun
	o.intervals = c.until(done, nil)
	o.sending = r.now() - begun
	o.partial = ctx.Err() != nil || r.dead()
	r.draining.Store(true)
	r.phase("draining")
	o.intervals = append(o.intervals, c.drain(r, o)...)
	o.took = r.now() - begun
	if r.churn != nil {
		r.churn.stop()
	}
	o.died = r.died(ctx)
	if o.died == nil {
		// What a server still had to say, such as an update for the second time, comes
		// before the answer. Whoever does not answer has ended, and is told of elsewhere.
		_ = r.barrier(context.WithoutCancel(ctx), 2)
		r.catchUp()
	}
	return o
}

// catchUp waits for the slow viewers: a server may answer a sign of life while it still
// makes the resync that brings one of them to where the others are.
func (r *run) catchUp() {
	top := uint64(0)
	for _, v := range r.viewers {
		top = max(top, v.seen.Load())
	}
	deadline := r.now() + r.cfg.Drain
	for _, v := range r.viewers {
		for v.role == slow && v.seen.Load() < top && r.now() < deadline && v.here() {
			r.pause(time.Millisecond)
		}
	}
}

// warmUp waits until the sends count. What came until then is in no figure, but for what
// was sent behind it and is here already.
func (r *run) warmUp(done <-chan struct{}) *page {
	t := time.NewTimer(r.cfg.Warmup - r.now())
	defer t.Stop()
	select {
	case <-t.C:
	case <-done:
	}
	early := newPage()
	r.shards.collect(early)
	early.frames, early.bytes = 0, 0
	return early
}

// died finds out why there is nobody left, or hardly anybody: nil if there is.
func (r *run) died(ctx context.Context) error {
	if r.broken.Load() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	line, err := r.cfg.Viewers.Open(ctx)
	if err == nil {
		_ = line.Close()
		if !r.dead() {
			return nil
		}
		err = errors.New("it is there again")
	}
	for _, v := range r.everybody() {
		select {
		case <-v.gone:
			return fmt.Errorf("the server died: %s: %w (%w)", v.name, v.err, err)
		default:
		}
	}
	return err
}

// cutter makes intervals of what is only counted up.
type cutter struct {
	run        *run
	zero, at   time.Duration // of the measured part, and of the interval
	sent, late int64
	due, good  int64
	early      *page // of the first interval, from before it began; nil: nothing
}

const glanceEvery = 200 * time.Millisecond

// until cuts the run into intervals until done, or until enough says so.
func (c *cutter) until(done <-chan struct{}, enough func() bool) (out []load.Interval) {
	const look = 5 * time.Millisecond
	tick := time.NewTicker(c.run.cfg.Interval)
	defer tick.Stop()
	var poll, glances <-chan time.Time
	if c.run.cfg.OnGlance != nil {
		t := time.NewTicker(glanceEvery)
		defer t.Stop()
		glances = t.C
	}
	if enough != nil {
		t := time.NewTicker(look)
		defer t.Stop()
		poll = t.C
	}
	for {
		select {
		case <-tick.C:
			out = append(out, c.cut())
		case <-glances:
			c.glance()
		case <-poll:
			if enough() {
				return append(out, c.cut())
			}
		case <-done:
			if enough == nil {
				return out // the interval goes on in the drain
			}
			done = nil
		}
	}
}

// drain waits until everything arrived and was answered, nothing more can, or the time for
// it is over.
func (c *cutter) drain(r *run, o *outcome) []load.Interval {
	deadline := r.now() + r.cfg.Drain
	return c.until(nil, func() bool {
		o.drained = r.shards.good() >= r.expected() && !r.unanswered()
		return o.drained || r.now() > deadline || r.dead()
	})
}

// unanswered tells whether the answer to any report has not come.
func (r *run) unanswered() bool {
	return slices.ContainsFunc(r.pubs, func(p *publisher) bool { return p != nil && p.waits() })
}

// expected is how many updates have to arrive of what was sent so far.
func (r *run) expected() int64 { return r.sends.Load() * r.usual() }

// usual is how many viewers have to get everything.
func (r *run) usual() (n int64) {
	for _, v := range r.viewers {
		if v.role == usual {
			n++
		}
	}
	return n
}

// cut ends an interval.
func (c *cutter) cut() load.Interval {
	r := c.run
	now := r.now()
	slice := newPage()
	r.shards.collect(slice)
	if c.early != nil {
		slice.merge(c.early)
		c.early = nil
	}
	r.total.merge(slice)
	lag := r.sender.slice()
	sent, late, due := r.sent.Load(), r.late.Load(), max(0, r.sends.Load()-r.warm)
	sum := slice.response.Summary()
	iv := load.Interval{
		TNS: int64(c.at - c.zero), LenNS: int64(now - c.at), Sent: sent - c.sent, Offered: due - c.due, Late: late - c.late,
		Received: slice.received, Frames: slice.frames, Backlog: max(0, r.expected()-r.shards.good()),
		HDR: sum.HDR, Tagged: map[string]string{"service": slice.service.Summary().HDR},
	}
	if p99, ok := lag.Quantile("99"); ok {
		ns := int64(p99)
		iv.LagP99NS = &ns
	}
	if lag.N > 0 {
		iv.LagMaxNS = &lag.Max
	}
	cores := r.meter.Cut()
	iv.Use(cores)
	t := c.tick(now, iv.Sent, slice.received)
	t.Frames, t.Late, t.ClientCPU = iv.Frames, iv.Late, cores.Client
	if cores.Known {
		t.Server = cores.Server
	}
	t.P50, _ = sum.Quantile("50")
	t.P99, _ = sum.Quantile("99")
	c.at, c.sent, c.late, c.due = now, sent, late, due
	if r.cfg.OnTick != nil {
		r.cfg.OnTick(t)
	}
	return iv
}

// tick is what can be told at any time.
func (c *cutter) tick(now time.Duration, sent, received int64) load.Tick {
	r := c.run
	return load.Tick{
		At: now, Warming: now < r.cfg.Warmup, Sent: sent, Received: received, AllSent: r.sends.Load(), AllReceived: r.shards.good(),
		Rate: float64(received) / max(1e-9, (now-c.at).Seconds()), Queued: uint64(r.queued.Load()),
	}
}

// glance tells how the interval goes so far.
func (c *cutter) glance() {
	r := c.run
	good := r.shards.good()
	t := c.tick(r.now(), r.sent.Load()-c.sent, good-c.good)
	c.good = good
	r.cfg.OnGlance(t)
}

// setupError lets those who know only the house's words see what a refusal means.
func setupError(err error) error {
	switch rpc.StatusOf(err) {
	case rpc.Unauthenticated, rpc.PermissionDenied:
		return fmt.Errorf("%w: %w", track.ErrDenied, err)
	case rpc.NotFound:
		return fmt.Errorf("%w: %w", track.ErrNotFound, err)
	}
	if errors.Is(err, errGone) || errors.Is(err, errProtocol) {
		return fmt.Errorf("%w: %w", client.ErrUnreachable, err)
	}
	return err
}
