package rpcload

import (
	"context"
	"time"

	"tracker/pkg/load"
)

// watcher looks at a run from beside: it ends the warm-up, cuts the intervals, and takes
// the samples that the figures are made of. It belongs to one goroutine.
type watcher struct {
	r     *run
	conns []*conn
	o     *Outcome
	ended <-chan struct{} // nobody is left

	ticks, glances *time.Ticker
	cut            sample // the end of the last interval
	used           load.Cores
	warming        bool
	due            int64 // of the plan, up to the last interval
}

// glanceEvery is how often somebody may look at a run.
const glanceEvery = 200 * time.Millisecond

func (r *run) watch(conns []*conn, o *Outcome, ended <-chan struct{}) *watcher {
	return &watcher{
		r: r, conns: conns, o: o, ended: ended, cut: r.sample(conns),
		ticks: time.NewTicker(r.cfg.Interval), glances: time.NewTicker(glanceEvery),
	}
}

func (w *watcher) stop() {
	w.ticks.Stop()
	w.glances.Stop()
}

// wait looks on until then; false when the run is over before.
func (w *watcher) wait(ctx context.Context, until time.Duration) bool {
	t := time.NewTimer(until - w.r.now())
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return true
		case <-ctx.Done():
			w.o.Partial = true
			return false
		case <-w.ended:
			return false
		case <-w.ticks.C:
			w.tick()
		case <-w.glances.C:
			if w.r.cfg.OnGlance != nil {
				w.r.cfg.OnGlance(w.glance(w.r.sample(w.conns)))
			}
		}
	}
}

// handover is how long before its end the warm-up of an open loop is known to end: the
// one that paces has to notice.
const handover = 25 * time.Millisecond

// measure waits through the warm-up and the measured part, or until nobody is left.
func (w *watcher) measure(ctx context.Context, warm func()) {
	r, o := w.r, w.o
	if !w.warm(ctx) {
		return // nothing was measured
	}
	from := r.now()
	if r.cfg.open() && r.cfg.Warmup > 0 {
		from += handover
	}
	r.from.Store(int64(from))
	warm()
	if !w.wait(ctx, from) {
		return
	}
	begin := w.begin()
	w.wait(ctx, from+r.cfg.Duration)
	end := r.sample(w.conns)
	o.RSSBusy, _ = r.cfg.Server.RSS()
	o.Warmed = from
	o.Took, o.Answered, o.Begun = end.at-begin.at, end.right-begin.right, end.sent-begin.sent
	o.ClientCPU = end.client - begin.client
	o.ServerCPU, o.ServerKnown = end.server-begin.server, begin.known && end.known
	if o.ServerKnown && begin.all && end.all {
		o.OthersCPU = max(0, end.machine-begin.machine-o.ClientCPU-o.ServerCPU)
	}
	if end.at > w.cut.at {
		w.interval(end)
	}
}

// warm lets the run go on for the warm-up, or until it is steady; false when it ended.
func (w *watcher) warm(ctx context.Context) bool {
	r := w.r
	if r.cfg.Warmup <= 0 {
		return true
	}
	w.warming = true
	defer func() { w.warming = false }()
	if !r.cfg.Settle {
		return w.wait(ctx, r.cfg.Warmup)
	}
	var steady load.Steady
	for before := r.sample(w.conns); before.at < r.cfg.Warmup; {
		if !w.wait(ctx, before.at+load.SteadyWindow) {
			return false
		}
		now := r.sample(w.conns)
		if steady.Window(0, float64(now.right-before.right)/(now.at-before.at).Seconds()) {
			return true
		}
		before = now
	}
	return true
}

// begin begins the measured part.
func (w *watcher) begin() sample {
	if w.r.cfg.Measuring != nil {
		w.r.cfg.Measuring()
	}
	w.o.Started = time.Now()
	// The books are empty but for calls that count: some may have been answered already.
	w.ticks.Reset(w.r.cfg.Interval)
	w.cut = w.r.sample(w.conns)
	return w.cut
}

// glance is the interval as far as it has come.
func (w *watcher) glance(now sample) load.Tick {
	t := load.Tick{
		At: now.at, Warming: w.warming, Sent: now.sent - w.cut.sent, Received: now.right - w.cut.right,
		AllSent: now.sent, AllReceived: now.right, ClientCPU: w.used.Client, Server: w.used.Server,
	}
	if s := (now.at - w.cut.at).Seconds(); s > 0 {
		t.Rate = float64(t.Received) / s
	}
	b := w.r.books
	b.mu.Lock()
	s := b.slice.Summary()
	t.Late = b.lateSlice
	b.mu.Unlock()
	t.P50, _ = s.Quantile("50")
	t.P99, _ = s.Quantile("99")
	return t
}

// tick ends an interval.
func (w *watcher) tick() {
	now := w.r.sample(w.conns)
	if w.warming || w.r.from.Load() > int64(w.cut.at) {
		t := w.glance(now)
		t.Warming = true
		w.cut = now
		w.tell(t)
		return
	}
	w.interval(now)
}

func (w *watcher) tell(t load.Tick) {
	if w.r.cfg.OnTick != nil {
		w.r.cfg.OnTick(t)
	}
}

func (w *watcher) interval(now sample) {
	if w.r.cfg.Cut != nil {
		w.used = w.r.cfg.Cut()
	}
	t := w.glance(now)
	from := time.Duration(w.r.from.Load())
	iv := load.Interval{TNS: int64(w.cut.at - from), LenNS: int64(now.at - w.cut.at), Sent: t.Sent, Received: t.Received, Late: t.Late}
	if w.r.cfg.Cut != nil {
		iv.Use(w.used)
	}
	if w.r.cfg.open() {
		due := w.r.cfg.Rate.Due(min(now.at-from, w.r.cfg.Duration-1))
		iv.Offered, w.due = due-w.due, due
		iv.Backlog = w.r.waiting(w.conns) + now.sent - now.right
		t.Queued = uint64(w.r.waiting(w.conns))
	}
	w.fill(&iv)
	w.cut = now
	w.o.Intervals = append(w.o.Intervals, iv)
	w.tell(t)
}

// fill gives an interval the times of the answers that came since the last one.
func (w *watcher) fill(iv *load.Interval) {
	b := w.r.books
	b.mu.Lock()
	defer b.mu.Unlock()
	iv.HDR = b.slice.Summary().HDR
	b.slice.Reset()
	b.lateSlice = 0
	if !w.r.cfg.open() {
		return
	}
	iv.Tagged = map[string]string{"service": b.serviceSlice.Summary().HDR}
	if lag := b.lagSlice.Summary(); lag.N > 0 {
		most := lag.Max
		iv.LagMaxNS, iv.LagP99NS = &most, lag.P["99"]
	}
	b.serviceSlice.Reset()
	b.lagSlice.Reset()
}

// last adds what came after the end to the last interval.
func (w *watcher) last() {
	list := w.o.Intervals
	if len(list) == 0 {
		return
	}
	iv := &list[len(list)-1]
	b := w.r.books
	iv.HDR = load.MergeHDR(iv.HDR, b.slice.Summary().HDR)
	if w.r.cfg.open() {
		iv.Tagged["service"] = load.MergeHDR(iv.Tagged["service"], b.serviceSlice.Summary().HDR)
	}
}

// waiting is how many calls are due and have no slot.
func (r *run) waiting(conns []*conn) (n int64) {
	for _, c := range conns {
		c.mu.Lock()
		n += int64(len(c.late))
		c.mu.Unlock()
	}
	return n
}
