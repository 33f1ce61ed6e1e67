package hub

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"tracker/pkg/track"
)

const (
	fixBytes   = int64(unsafe.Sizeof(track.Fix{}))
	frameBytes = int64(unsafe.Sizeof(Frame{}) + unsafe.Sizeof(link{}))
)

// stream is what all viewers of one query share: the fixes that wait for the next
// frame, and the chain of recent frames.
//
//	first                                            last
//	 link ──► frame ─ link ──► frame ─ link ──► frame ─ link ──► nil
//	                    ▲                                 ▲
//	                a viewer that lags                viewers that wait
//
// Viewers walk the chain by themselves and take no lock; one that stands before a
// frame that was let go finds gone. Adding a frame is one atomic store, whatever the
// number of viewers; only those who wait for it are then woken.
type stream struct {
	hub   *Hub
	id    uint32
	epoch uint64
	query Query
	key   string

	viewers atomic.Int32 // written under hub.mu
	idle    int64        // since when there are none, guarded by hub.mu; 0: there are, or were never
	waiting atomic.Pointer[waiter]
	bytes   atomic.Int64 // of the frames from first to last

	mu      sync.Mutex // guards what follows
	seq     uint64     // of the last fix in pending, or in the last frame
	sealed  uint64     // nobody resumes at a place before
	lefts   uint64
	pending []track.Fix
	left    []track.DeviceID
	born    int64           // when the first of pending or left came
	room    int             // for the pending fixes of the next frame: a little more than the last needed
	fixes   slab[track.Fix] // that pending is cut off
	links   slab[link]
	first   *link
	last    *link
	due     bool // stands in the wheel
	window  window
	stale   atomic.Int32 // waiters in waiting whose viewers are elsewhere

	encoding sync.Mutex // guards what follows; only ever tried
	text     slab[byte]
}

const (
	slabFixes = 64       // 4.5 KiB: what a fix that is still needed keeps alive
	slabLinks = 16       // half a KiB: what a viewer that is stuck keeps alive
	slabBytes = 16 << 10 // of a frame's bytes
)

// waiter is the place of a viewer in the list of those who wait. It is pushed by the
// viewer and taken out only together with all others.
type waiter struct {
	v      *Viewer
	next   *waiter
	number uint32  // of the viewer, in the order of their coming
	sorted bool    // of the head: the list is
	list   *waiter // of the head: the next list that is to be told
	queued atomic.Bool
}

// window tells a quiet stream from a busy one.
type window struct {
	start  int64
	fixes  int
	pushes int
	busy   bool
}

// quiet counts n more fixes of one push and tells whether they may leave at once: not if
// there are many in this tick, nor if there were in the one before. What is many depends
// on the viewers, too, each of whom costs a write for every push that does not wait: 25
// pushes a second to a thousand of them would leave twice as often as the tick, half of
// them alone.
func (w *window) quiet(now, tick int64, n int, viewers int32) bool {
	most := min(quietFixes, max(1, hurryPerTick/int(max(1, viewers))))
	if past := now - w.start; past >= tick {
		w.busy = w.many(most) && past < 2*tick
		w.start, w.fixes, w.pushes = now, 0, 0
	}
	w.fixes += n
	w.pushes++
	return !w.busy && !w.many(most)
}

func (w *window) many(pushes int) bool { return w.fixes > quietFixes || w.pushes > pushes }

func newStream(h *Hub, id uint32, epoch uint64, q Query, key string) *stream {
	l := new(link)
	return &stream{hub: h, id: id, epoch: epoch, query: q, key: key, first: l, last: l}
}

// push takes what a batch has for the stream, in order: matches, or all of it but
// hidden fixes. It tells whether the stream must be put into the wheel, and who is to
// be woken.
func (s *stream) push(now int64, fixes []track.Fix, ms []match) (schedule bool, wake *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, seq := s.last, s.seq
	for _, m := range ms {
		if m.left() {
			s.leave(now, fixes[m.fix()].Device)
		} else {
			s.add(now, &fixes[m.fix()])
		}
	}
	return s.settle(now, end, int(s.seq-seq))
}

func (s *stream) pushAll(now int64, fixes []track.Fix, hidden []bool) (schedule bool, wake *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, seq := s.last, s.seq
	for i := range fixes {
		if hidden == nil || !hidden[i] {
			s.add(now, &fixes[i])
		}
	}
	return s.settle(now, end, int(s.seq-seq))
}

func (s *stream) add(now int64, f *track.Fix) {
	if s.pending == nil {
		s.begin(now)
		s.pending = s.fixes.open(now, s.room, slabFixes)
	}
	s.seq++
	s.pending = append(s.pending, *f)
	p := &s.pending[len(s.pending)-1]
	p.Ext, p.ExtLen = 0, 0 // those bytes stay with the batch
	if len(s.left) > 0 && f.Flags&track.Late == 0 {
		s.stay(f.Device)
	}
	if len(s.pending) == s.hub.c.MaxFrame {
		s.seal()
	}
}

func (s *stream) leave(now int64, id track.DeviceID) {
	s.begin(now)
	s.lefts++
	s.stay(id)
	s.left = append(s.left, id)
}

func (s *stream) begin(now int64) {
	if len(s.pending) == 0 && len(s.left) == 0 {
		s.born = now
	}
}

// stay takes back that a device left: it came again before the frame did.
func (s *stream) stay(id track.DeviceID) {
	if i := slices.Index(s.left, id); i >= 0 {
		s.left = slices.Delete(s.left, i, i+1)
	}
}

// settle decides when what is pending leaves: now, or when the wheel comes by. The
// stream has got n fixes, and its end was there before.
func (s *stream) settle(now int64, end *link, n int) (schedule bool, wake *waiter) {
	quiet := s.window.quiet(now, int64(s.hub.c.Tick), n, s.viewers.Load())
	if len(s.pending) > 0 || len(s.left) > 0 {
		if quiet && !s.due && s.hub.mayHurry(now, s.viewers.Load()) {
			s.seal()
		} else {
			schedule, s.due = !s.due, true
		}
	}
	if s.last != end {
		wake = s.whoWaits()
	}
	return schedule, wake
}

// whoWaits empties the list of those who wait. The caller holds mu, and wakes them
// when it has let go.
func (s *stream) whoWaits() *waiter {
	if s.waiting.Load() == nil {
		return nil
	}
	return s.waiting.Swap(nil)
}

// flush makes a frame of what is pending and wakes those who wait. It returns the
// stream's end.
func (s *stream) flush(tick bool) *link {
	s.mu.Lock()
	if tick {
		s.due = false
	}
	var wake *waiter
	if s.seal() {
		wake = s.whoWaits()
	}
	last := s.last
	s.mu.Unlock()
	s.hub.fan.hand(wake)
	return last
}

// seal makes a frame of what is pending, if anything is. The caller holds mu.
func (s *stream) seal() bool {
	if len(s.pending) == 0 && len(s.left) == 0 {
		return false
	}
	if s.pending != nil {
		s.pending = s.fixes.close(s.pending)
	}
	f := &Frame{
		Kind: Fixes, Stream: s.id, Epoch: s.epoch, Seq: s.seq, Fixes: s.pending, Left: s.left,
		owner: s, born: s.born, link: s.newLink(),
	}
	f.keep(frameBytes + int64(cap(s.pending))*fixBytes + int64(cap(s.left))*8)
	s.room = min(len(s.pending)*9/8+1, s.hub.c.MaxFrame)
	s.pending, s.left = nil, nil
	s.last.next.Store(f)
	s.last = f.link
	s.hub.frames.Add(1)
	for limit := int64(s.hub.c.QueueBytes); s.bytes.Load() > limit; {
		if f := s.first.next.Load(); f == nil || f.link == s.last {
			break // the newest stays, however large
		}
		s.drop()
	}
	return true
}

// newLink is the end of the chain after what is pending. The stamp must be read here,
// under mu: what it promises was pushed before.
func (s *stream) newLink() *link {
	l := &s.links.open(s.born, 1, slabLinks)[:1][0]
	s.links.at++
	l.seq, l.stamp, l.lefts = s.seq, s.hub.stamp.Load(), s.lefts
	return l
}

// drop lets the oldest frame go. The caller holds mu.
func (s *stream) drop() {
	f := s.first.next.Load()
	s.first.next.Store(gone)
	s.first = f.link
	f.letGo()
}

// trim lets go of frames that were born before then, and of waiters that wait no more.
// It returns when the oldest frame was born that is left, now if none is.
func (s *stream) trim(now, then int64) (oldest int64) {
	s.mu.Lock()
	f := s.first.next.Load()
	for ; f != nil && f.born < then; f = s.first.next.Load() {
		s.drop()
	}
	if oldest = now; f != nil {
		oldest = f.born
	}
	var wake *waiter
	if s.stale.Swap(0) > 0 {
		wake = s.whoWaits() // for nothing: they wait again
	}
	s.mu.Unlock()
	s.hub.fan.hand(wake)
	return oldest
}

// find returns the place after the fix with that number, nil if the stream does not
// have it any more, a frame has it in the middle, or it is sealed.
func (s *stream) find(seq uint64) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq < s.sealed {
		return nil
	}
	for l := s.first; l != nil && l.seq <= seq; {
		if l.seq == seq {
			return l
		}
		f := l.next.Load()
		if f == nil {
			return nil
		}
		l = f.link
	}
	return nil
}

// wait puts a viewer into the list. It must look for a frame once more afterwards.
func (s *stream) wait(w *waiter) {
	if !w.queued.CompareAndSwap(false, true) {
		return
	}
	for {
		w.next = s.waiting.Load()
		if s.waiting.CompareAndSwap(w.next, w) {
			return
		}
	}
}

// wake wakes a list that was taken out.
func (w *waiter) wake() {
	for w != nil {
		next := w.next
		w.next, w.sorted = nil, false
		w.queued.Store(false) // from here on w is the viewer's again
		w.v.rouse()
		w = next
	}
}
