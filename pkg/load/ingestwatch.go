package load

import (
	"context"
	"sync"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

// ingestWatch is the watcher of a measurement: it tells for each fix that arrives
// which send it was, and how long ago that was due.
type ingestWatch struct {
	run   *ingestRun
	feed  *client.Watch
	index map[track.DeviceID]int
	done  chan struct{}

	mu                   sync.Mutex
	start                time.Time // of the measurement
	skip                 int64     // sends before it
	began                bool
	seen                 []window // by device
	response             *Recorder
	service              *Recorder
	slice                *Recorder // responses of the present interval
	serviceSlice         *Recorder
	received             int64 // each fix once
	filled, filledFrames int64 // of received and frames, in intervals that are over
	duplicate            int64
	outOfOrder           int64
	frames               int64
	skipped              uint64
	err                  error
}

// window remembers the last 64 fixes of a device.
type window struct {
	next int64 // one more than the highest number seen
	bits uint64
}

// note files number n: new, or seen before, or new but behind one that is already here.
func (w *window) note(n int64) (fresh, inOrder bool) {
	if n >= w.next {
		if step := n - w.next + 1; step < 64 {
			w.bits <<= uint(step)
		} else {
			w.bits = 0
		}
		w.bits |= 1
		w.next = n + 1
		return true, true
	}
	back := uint(w.next - 1 - n)
	if back >= 64 || w.bits&(1<<back) != 0 {
		return false, false
	}
	w.bits |= 1 << back
	return true, false
}

// watchIngest begins to watch everything and waits for the first snapshot, so that
// every fix of the measurement comes after it.
func watchIngest(ctx context.Context, r *ingestRun) (*ingestWatch, error) {
	// The watch outlives ctx: what was sent before an interruption is still to be seen.
	feed, err := r.cfg.Conn.Watch(context.WithoutCancel(ctx), client.Area{})
	if err != nil {
		return nil, err
	}
	w := &ingestWatch{
		run: r, feed: feed, index: map[track.DeviceID]int{}, done: make(chan struct{}),
		seen: make([]window, len(r.cfg.Members)), response: NewRecorder(), service: NewRecorder(), slice: NewRecorder(), serviceSlice: NewRecorder(),
	}
	for i := range r.cfg.Members {
		w.index[r.cfg.Members[i].ID] = i
	}
	stop := context.AfterFunc(ctx, feed.Close)
	defer stop()
	for {
		e, err := feed.Next()
		if err != nil {
			feed.Close()
			return nil, err
		}
		if e.Kind == client.Snapshot && !e.More {
			break
		}
	}
	go w.listen() // ends when the feed is closed; stop waits for it
	return w, nil
}

// begin sets the moment that the plan counts from, and how many sends were before it.
func (w *ingestWatch) begin(start time.Time, skip int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.start, w.skip, w.began = start, skip, true
	w.frames, w.skipped = 0, 0
	w.slice.Reset()
	w.serviceSlice.Reset()
}

func (w *ingestWatch) stop() {
	w.feed.Close()
	<-w.done
}

func (w *ingestWatch) listen() {
	defer close(w.done)
	for {
		e, err := w.feed.Next()
		if err != nil {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
			return
		}
		w.take(&e, time.Now())
	}
}

// take files one event; all its fixes arrived now.
func (w *ingestWatch) take(e *client.Event, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frames++
	w.skipped += e.Skipped
	for i := range e.Fixes {
		w.fix(&e.Fixes[i], now)
	}
}

func (w *ingestWatch) fix(f *client.Fix, now time.Time) {
	i, ours := w.index[f.Device]
	if !ours {
		return
	}
	n, ok := w.run.ground.number(i, f.At)
	if !ok || n == 0 {
		return // from before the measurement
	}
	fresh, inOrder := w.seen[i].note(n)
	g := (n-1)*int64(len(w.seen)) + int64(i)
	since := time.Duration(now.UnixNano() - w.run.sentAt[g%sentRing].Load())
	k := g - w.skip
	switch {
	case !w.began:
		w.slice.Record(since)
		return
	case k < 0:
		return // of the warm-up, and late
	case !fresh:
		w.duplicate++
		return
	case !inOrder:
		w.outOfOrder++
	}
	w.received++
	late := now.Sub(w.start.Add(w.run.cfg.Plan.When(k)))
	w.response.Record(late)
	w.slice.Record(late)
	if w.run.sent.Load()-k < sentRing {
		w.service.Record(since)
		w.serviceSlice.Record(since)
	}
}

// interval tells what came in the present interval, and how much came in all.
func (w *ingestWatch) interval(reset bool) (received int64, s Summary) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s = w.slice.Summary()
	if reset {
		w.slice.Reset()
	}
	return w.received, s
}

// fill ends an interval: what came since the last one is its own.
func (w *ingestWatch) fill(iv *Interval) {
	w.mu.Lock()
	defer w.mu.Unlock()
	iv.Received, iv.Frames = w.received-w.filled, w.frames-w.filledFrames
	w.filled, w.filledFrames = w.received, w.frames
	iv.HDR = w.slice.Summary().HDR
	iv.Tagged = map[string]string{"service": w.serviceSlice.Summary().HDR}
	w.slice.Reset()
	w.serviceSlice.Reset()
}

func (w *ingestWatch) count() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.received
}

// drain waits until as many fixes arrived as the server took, or none came for a
// while.
func (w *ingestWatch) drain(ctx context.Context, taken int64) {
	const poll, silence = 20 * time.Millisecond, 2 * time.Second
	tick := time.NewTicker(poll)
	defer tick.Stop()
	last, since := int64(-1), time.Now()
	for {
		w.mu.Lock()
		n, err := w.received, w.err
		w.mu.Unlock()
		if n != last {
			last, since = n, time.Now()
		}
		if n >= taken || err != nil || time.Since(since) > silence {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// account fills in what was delivered.
func (w *ingestWatch) account(res *Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	res.Counts.Deliveries = &Deliveries{
		Expected: res.Counts.Accepted, Received: w.received, Lost: max(0, res.Counts.Accepted-w.received),
		Duplicate: w.duplicate, OutOfOrder: w.outOfOrder, Frames: w.frames,
	}
	if w.skipped > 0 {
		res.Verdict.Warn("W25", Doubt, map[string]any{"skipped": w.skipped},
			"the watcher was too slow: the server skipped %d fixes for it", w.skipped)
	}
	res.Latency["response"] = w.response.Summary()
	res.Latency["service"] = w.service.Summary()
}
