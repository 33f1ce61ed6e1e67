package hub

import (
	"context"
	"sync"
	"sync/atomic"

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
	// returned nothing. It must not block and must not call the viewer; it runs where
	// fixes are published. Doors with a goroutine for each viewer need it not.
	Notify func()
}

// Viewer is one watch of one connection: first a snapshot, then what follows.
//
// One goroutine at a time pulls by Next or TryNext. Retarget and Close may be called
// by any.
type Viewer struct {
	hub    *Hub
	notify func()
	wake   chan struct{} // capacity 1
	stripe *stripe
	cur    atomic.Pointer[link] // where it stands; written under mu
	isBack atomic.Bool          // in a resync

	done <-chan struct{} // of the last Next's context; the puller's own

	mu      sync.Mutex // guards what follows
	s       *stream
	w       *waiter
	catch   *catchup    // nil: live
	unbind  func() bool // from that context
	resumed bool
	closed  bool
}

// Watch adds a viewer. It must be closed.
func (h *Hub) Watch(q Query, o Options) (*Viewer, error) {
	q, key, err := q.canonical()
	if err != nil {
		return nil, err
	}
	v := &Viewer{hub: h, notify: o.Notify, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, track.ErrClosed
	}
	h.viewers[v] = struct{}{}
	v.stripe = &h.stripes[len(h.viewers)%stripes]
	s := h.attach(q, key)
	h.mu.Unlock()

	v.enter(s)
	if o.ResumeEpoch == s.epoch {
		if at := s.find(o.ResumeSeq); at != nil {
			v.cur.Store(at)
			v.catch, v.resumed = nil, true
		}
	}
	return v, nil
}

// enter makes the viewer begin with a stream.
func (v *Viewer) enter(s *stream) {
	v.s, v.w = s, &waiter{v: v}
	v.cur.Store(nil)
	v.catch = newCatchup(s, Snapshot)
	v.resumed = false
	v.isBack.Store(false)
}

// Stream names what the viewer watches: the number and epoch that its frames carry,
// and whether it resumed where it was told to.
func (v *Viewer) Stream() (id uint32, epoch uint64, resumed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.s.id, v.s.epoch, v.resumed
}

// Next waits until there is something, and returns as many frames in dst[:0] as there
// are and fit its capacity, at least one. The frames are valid until the next call.
// The error is that of ctx, or track.ErrClosed.
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
	dst = dst[:0]
	v.mu.Lock()
	defer v.mu.Unlock()
	for {
		if v.closed || v.hub.isClosed() {
			return nil, track.ErrClosed
		}
		if v.catch != nil {
			return append(dst, v.catch.frame(v)), nil
		}
		if dst = v.pull(dst); len(dst) > 0 {
			v.account(dst)
			return dst, nil
		}
		if v.cur.Load().next.Load() == gone {
			v.catch = newCatchup(v.s, Resync)
			v.isBack.Store(true)
			continue
		}
		v.s.wait(v.w)
		if v.cur.Load().next.Load() == nil {
			return dst, nil
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
		dst = append(dst, f)
		at = f.link
	}
	v.cur.Store(at)
	return dst
}

// rouse tells the viewer to look again.
func (v *Viewer) rouse() {
	v.kick()
	if v.notify != nil {
		v.notify()
	}
}

// Retarget changes what the viewer watches, in place. Frames of the new stream
// follow, beginning with a snapshot; frames that were already pulled stay valid.
func (v *Viewer) Retarget(q Query) error {
	q, key, err := q.canonical()
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || v.hub.isClosed() {
		return track.ErrClosed
	}
	h := v.hub
	v.exit()
	h.mu.Lock()
	s := h.attach(q, key)
	h.detach(v.s, false) // nobody resumes in the middle of a pan
	h.mu.Unlock()
	v.enter(s)
	v.rouse()
	return nil
}

// exit ends what the viewer has under way in its stream.
func (v *Viewer) exit() {
	if v.catch != nil {
		v.catch.stop()
		v.catch = nil
	}
	if v.w.queued.Load() {
		v.s.stale.Add(1)
	}
}

// Close ends the viewer; a waiting Next returns track.ErrClosed. It waits for a
// TryNext that is running.
func (v *Viewer) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return
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
	v.rouse()
}

func (h *Hub) isClosed() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}
