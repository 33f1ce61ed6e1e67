package hub

import (
	"context"
	"sync"
	"sync/atomic"

	"tracker/pkg/fault"
	"tracker/pkg/track"
)

// drainFixes bounds what one Next returns beyond its first frame, and so what a
// viewer that is stuck in writing holds on to.
const drainFixes = 512

// Options of a viewer.
type Options struct {
	// ResumeEpoch and ResumeSeq are the last position of an earlier viewer of an equal
	// query. If the stream still has what followed, that comes next instead of a
	// snapshot.
	ResumeEpoch, ResumeSeq uint64
	// Notify is called when there may be something for a viewer whose last TryNext
	// returned nothing, and when the viewer or the hub has closed. It is for doors that
	// have no goroutine for each viewer, and pull by TryNext; those that have one need
	// it not and pull by Next.
	//
	// It runs on one of the hub's workers, or on the caller of Retarget and Close, with
	// no lock held. It may call the viewer and do what takes some microseconds, such as
	// a write that does not wait; others are told only after it returns, so it must not
	// wait, nor pull while Live says false. It may be called again while an earlier call
	// still runs.
	Notify func()
}

// Viewer is one watch of one connection: first a snapshot, then what follows.
//
// One goroutine at a time pulls by Next or TryNext. Retarget and Close may be called
// by any.
type Viewer struct {
	// What telling and pulling touch, together: a broadcast finds it cold.
	w0     waiter // the first for w
	notify func()
	cur    atomic.Pointer[link] // where it stands; written under mu
	isBack atomic.Bool          // in a resync
	live   atomic.Bool          // catch is nil
	mu     sync.Mutex           // guards what follows
	s      *stream
	w      *waiter  // in the list of s
	catch  *catchup // nil: live
	permit permit
	closed bool

	resumed bool
	unbind  func() bool // from the context of the last Next

	hub    *Hub
	stripe *stripe
	wake   chan struct{}   // capacity 1; nil: notify tells
	done   <-chan struct{} // of the last Next's context; the puller's own
}

// Watch adds a viewer. It must be closed.
func (h *Hub) Watch(q Query, o Options) (*Viewer, error) {
	may := q.May
	q, key, err := q.canonical()
	if err != nil {
		return nil, err
	}
	v := &Viewer{hub: h, notify: o.Notify, permit: permit{may: may}}
	if o.Notify == nil {
		v.wake = make(chan struct{}, 1)
	}
	if err := v.begin(q, key, o); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// begin counts a viewer, makes it enter its stream and asks whether it may. It is locked
// all the while: whoever finds it among the others waits until it is whole.
func (v *Viewer) begin(q Query, key string, o Options) error {
	h := v.hub
	v.mu.Lock()
	defer v.mu.Unlock()
	h.mu.Lock()
	if h.closed {
		v.closed = true
		h.mu.Unlock()
		return track.ErrClosed
	}
	h.viewers[v] = struct{}{}
	h.lastViewer++
	v.w0.number = h.lastViewer
	v.stripe = &h.stripes[len(h.viewers)%stripes]
	s := h.attach(q, key)
	h.mu.Unlock()

	v.enter(s, &v.w0)
	if o.ResumeEpoch == s.epoch {
		if at := s.find(o.ResumeSeq); at != nil {
			v.cur.Store(at)
			v.resumed = true
			v.catchUp(nil)
		}
	}
	return v.ask()
}

// enter makes the viewer begin with a stream, in whose list it is to have w.
func (v *Viewer) enter(s *stream, w *waiter) {
	v.s, v.w, w.v, w.number = s, w, v, v.w0.number
	v.cur.Store(nil)
	v.catchUp(newCatchup(s, Snapshot))
	v.resumed = false
	v.isBack.Store(false)
}

func (v *Viewer) catchUp(c *catchup) {
	v.catch = c
	v.live.Store(c == nil)
}

// Live tells that the next TryNext does no more than take frames off the chain. If it is
// false, TryNext makes a part of a snapshot or of a resync, for which it may scan the
// present and wait for a batch: that is for a goroutine of the viewer's own, until it is
// live again. Live waits for nothing, not even for a TryNext that runs. What it says may
// be over when the viewer is retargeted meanwhile, see TryLive.
func (v *Viewer) Live() bool {
	at := v.cur.Load()
	return v.live.Load() && at != nil && at.next.Load() != gone
}

// Stream names what the viewer watches: the number and epoch that its frames carry,
// and whether it resumed where it was told to.
func (v *Viewer) Stream() (id uint32, epoch uint64, resumed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.s.id, v.s.epoch, v.resumed
}

// Next waits until there is something, if the viewer has no Notify, and returns as many
// frames in dst[:0] as there are and fit its capacity, at least one. The frames are valid
// until the next call. The error is that of ctx, or track.ErrClosed.
func (v *Viewer) Next(ctx context.Context, dst []*Frame) ([]*Frame, error) {
	if done := ctx.Done(); done != v.done {
		v.bind(ctx)
		v.done = done
	}
	for {
		frames, err := v.TryNext(dst)
		if err != nil || len(frames) > 0 {
			return frames, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		<-v.wake
	}
}

// bind makes the end of ctx wake the viewer. Done once for a context, it spares
// every wait a select of two channels, which is a quarter of what a wait costs.
func (v *Viewer) bind(ctx context.Context) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.unbind != nil {
		v.unbind()
	}
	if !v.closed {
		v.unbind = context.AfterFunc(ctx, v.kick)
	}
}

func (v *Viewer) kick() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// TryNext is Next without waiting: no frames and no error if there is nothing. Only
// when it makes a snapshot it may wait for a batch that is just being applied.
func (v *Viewer) TryNext(dst []*Frame) ([]*Frame, error) {
	if cap(dst) == 0 {
		dst = make([]*Frame, 0, 1)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for {
		if frames, live, err := v.takeLive(dst); live {
			return frames, err
		}
		if v.catch != nil {
			return append(dst[:0], v.catch.frame(v)), nil
		}
		v.catchUp(newCatchup(v.s, Resync))
		v.isBack.Store(true)
	}
}

// TryLive is TryNext for a viewer that is live, and does nothing otherwise: it may run
// where nobody must be held up. dst must have room.
func (v *Viewer) TryLive(dst []*Frame) (frames []*Frame, live bool, err error) {
	if !v.Live() {
		return nil, false, nil // also while a TryNext scans, with the lock
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.takeLive(dst)
}

// Turn is what Pull found beside frames.
type Turn uint8

const (
	Behind Turn = iota // not live, as TryLive says it: nothing was done
	More               // there may be more frames
	Waits              // that was all; Notify comes with the next
)

// Pull is TryLive for doors that send as they pull. It spares them the look that finds
// nothing: with the last of the frames the viewer waits already, so that Notify may come
// while they are being sent.
func (v *Viewer) Pull(dst []*Frame) ([]*Frame, Turn, error) {
	if !v.Live() {
		return nil, Behind, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	frames, live, err := v.takeLive(dst)
	switch at := v.cur.Load(); {
	case !live:
		return nil, Behind, nil
	case err != nil || len(frames) == 0:
		return nil, Waits, err
	case at.next.Load() == nil:
		v.s.wait(v.w)
		if at.next.Load() == nil {
			return frames, Waits, nil
		}
	}
	return frames, More, nil
}

// takeLive takes frames off the chain, or puts the viewer into the list of those who
// wait, unless it has first to catch up. mu is held.
func (v *Viewer) takeLive(dst []*Frame) (frames []*Frame, live bool, err error) {
	for {
		if v.closed || v.hub.isClosed() {
			return nil, true, track.ErrClosed
		}
		if err := v.Ended(); err != nil {
			return nil, true, err
		}
		if v.catch != nil {
			return nil, false, nil
		}
		if frames = v.pull(dst[:0]); len(frames) > 0 {
			v.account(frames)
			return frames, true, nil
		}
		if v.cur.Load().next.Load() == gone {
			return nil, false, nil
		}
		v.s.wait(v.w)
		if v.cur.Load().next.Load() == nil {
			return frames, true, nil
		}
	}
}

// pull takes frames off the chain.
func (v *Viewer) pull(dst []*Frame) []*Frame {
	at := v.cur.Load()
	for fixes := 0; len(dst) < cap(dst); {
		f := at.next.Load()
		if f == nil || f == gone {
			break
		}
		if fixes += len(f.Fixes); fixes > drainFixes && len(dst) > 0 {
			break
		}
		at = f.link
		if !fault.Drop() {
			dst = append(dst, f)
		}
	}
	v.cur.Store(at)
	return dst
}

// rouse tells the viewer to look again.
func (v *Viewer) rouse() {
	if v.notify != nil {
		v.notify()
		return
	}
	v.kick()
}

// Retarget changes what the viewer watches, in place. Frames of the new stream
// follow, beginning with a snapshot; frames that were already pulled stay valid.
func (v *Viewer) Retarget(q Query) error {
	may := q.May
	q, key, err := q.canonical()
	if err != nil {
		return err
	}
	err = v.retarget(q, key, may)
	v.rouse()
	return err
}

func (v *Viewer) retarget(q Query, key string, may func() error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || v.hub.isClosed() {
		return track.ErrClosed
	}
	if err := v.Ended(); err != nil {
		return err
	}
	h := v.hub
	v.exit()
	h.mu.Lock()
	s := h.attach(q, key)
	h.detach(v.s, false) // nobody resumes in the middle of a pan
	h.mu.Unlock()
	v.enter(s, new(waiter)) // the old one is the old stream's
	v.permit.may = may
	return v.ask()
}

// exit ends what the viewer has under way in its stream.
func (v *Viewer) exit() {
	if v.catch != nil {
		v.catch.stop()
		v.catch = nil // and live stays as it is: the next TryNext begins or ends something
	}
	if v.w.queued.Load() {
		v.s.stale.Add(1)
	}
}

// Close ends the viewer; a waiting Next returns track.ErrClosed. It waits for a
// TryNext that is running.
func (v *Viewer) Close() {
	if v.close() {
		v.rouse()
	}
}

func (v *Viewer) close() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	v.closed = true
	if v.unbind != nil {
		v.unbind()
	}
	v.exit()
	v.hub.mu.Lock()
	delete(v.hub.viewers, v)
	v.hub.detach(v.s, true)
	v.hub.mu.Unlock()
	return true
}

func (h *Hub) isClosed() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}
