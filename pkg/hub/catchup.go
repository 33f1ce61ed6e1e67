package hub

import (
	"iter"
	"slices"

	"tracker/pkg/track"
)

// catchup brings a viewer from nowhere, or from behind, to a place in the chain. It
// makes private frames, one for each call, so that a viewer that is slow even in this
// holds one frame's worth of fixes, and eight bytes for each device that moved
// meanwhile.
//
//	chain   ──┬──[ ]──[ ]──[ ]──[ ]──[ ]──┬──[ ]──►
//	        start   tap: who changed?    end  live from here
//	live      └─ scan ─────────────► ─ gate ┘
//
// A pass starts at the end of the chain and scans the present, as many fixes a call
// as a frame holds. Frames that are made meanwhile are not lost: they hang on the
// chain, and between two calls their device ids are noted. When the scan is through,
// so few devices have changed that they fit the last frame; if not, they are the next
// pass. Then the last step, in one go: wait until every batch that the scan may have
// seen half way between live and hub is in the chain; take the end of the chain; and
// fold the frames up to there into the last frame. What is before that end is in
// these frames, what is after it follows: no gap, no duplicate.
//
// If the viewer is so slow that the chain is cut in the middle of a pass, the pass is
// finished, and another follows that begins where it began. So the slowest of viewers
// sees every device again and again, the newest fix each time, at its own pace.
type catchup struct {
	s     *stream
	kind  FrameKind
	fresh bool // the next frame begins a whole view

	start *link // where the pass began; nil: there was none yet
	again bool  // begin another pass first
	tap   *link // frames up to here are noted in moved
	lost  bool  // the chain was cut behind tap
	moved idSet // devices of those frames

	next func() (scanned, bool) // of the scan
	halt func()
	todo []track.DeviceID // a pass over these instead of a scan
	left []track.DeviceID // not in view any more, not yet told

	rest []track.Fix // of the last frame, if that was too large
	end  *link       // where the viewer goes on, as soon as it is known

	private Frame // used again and again
}

// scanned is a piece of the scan.
type scanned struct {
	fixes []track.Fix
	last  bool
}

func newCatchup(s *stream, kind FrameKind) *catchup {
	c := &catchup{s: s, kind: kind, again: true}
	c.private.Stream, c.private.Epoch, c.private.owner = s.id, s.epoch, s
	return c
}

// stop ends the scan; c must not be used any more.
func (c *catchup) stop() {
	if c.halt != nil {
		c.halt()
		c.next, c.halt = nil, nil
	}
}

// frame makes the next private frame for v, whose mu is held.
func (c *catchup) frame(v *Viewer) *Frame {
	if c.end != nil {
		return c.finish(v, c.rest)
	}
	for limit := c.s.hub.c.MaxFrame; ; {
		if c.again {
			c.begin(v)
		}
		c.note()
		fixes, over := c.take(limit)
		if !over {
			return c.send(v, fixes)
		}
		if !c.lost && len(fixes)+c.moved.size() <= limit {
			fixes = c.look(fixes, c.moved.take())
			if c.join(&fixes) {
				return c.finish(v, fixes)
			}
		}
		if f := c.endPass(v, fixes); f != nil {
			return f
		}
	}
}

// endPass sends what is left of a pass after which more has changed than fits a
// frame, and sets out for the next one.
func (c *catchup) endPass(v *Viewer, fixes []track.Fix) *Frame {
	passed := c.start
	if c.lost {
		c.again = true
	} else {
		c.start, c.todo = c.tap, c.moved.take()
	}
	if len(fixes) == 0 && len(c.left) == 0 {
		return nil
	}
	f := c.send(v, fixes)
	if c.kind == Resync {
		v.advance(f, passed)
	}
	return f
}

// begin starts a pass over what changed since the viewer's place or the start of the
// last pass; over everything if there is neither, or if it missed who left.
func (c *catchup) begin(v *Viewer) {
	c.stop()
	from := c.start
	if from == nil {
		from = v.cur.Load()
	}
	c.start = c.s.flush(false)
	c.tap, c.lost, c.again, c.todo = c.start, false, false, nil
	c.moved = idSet{}
	if from == nil || from.lefts != c.start.lefts {
		c.fresh = true
		c.scan(0)
		return
	}
	c.scan(from.stamp)
}

// scan makes pieces of the present on demand. The buffer is used again when the next
// piece is asked for, which is when the frame is done with.
func (c *catchup) scan(since uint64) {
	h, q := c.s.hub, &c.s.query
	c.next, c.halt = iter.Pull(func(yield func(scanned) bool) {
		var buf []track.Fix
		h.c.Snapshot(q, since, func(f *track.Fix) bool {
			if len(buf) == h.c.MaxFrame {
				if !yield(scanned{fixes: buf}) {
					return false
				}
				buf = buf[:0]
			}
			buf = append(buf, *f)
			return true
		})
		yield(scanned{buf, true})
	})
}

// take returns the next fixes of the pass and whether it is over.
func (c *catchup) take(limit int) (fixes []track.Fix, over bool) {
	if c.next == nil {
		n := min(len(c.todo), limit)
		fixes = c.look(nil, c.todo[:n])
		c.todo = c.todo[n:]
		return fixes, len(c.todo) == 0
	}
	piece, _ := c.next()
	if piece.last {
		c.stop()
	}
	return piece.fixes, piece.last
}

// note takes down who moved in the frames since the last call.
func (c *catchup) note() {
	for !c.lost {
		f := c.tap.next.Load()
		if f == nil {
			return
		}
		if f == gone {
			c.lost = true
			return
		}
		for i := range f.Fixes {
			c.moved.add(f.Fixes[i].Device)
		}
		for _, id := range f.Left {
			c.moved.add(id)
		}
		c.tap = f.link
	}
}

// look adds the present of the devices to fixes, in the place of what fixes said of
// them, and those that are not in view any more to left.
func (c *catchup) look(fixes []track.Fix, ids []track.DeviceID) []track.Fix {
	if len(ids) == 0 {
		return fixes
	}
	m := merge{fixes: fixes}
	for _, id := range ids {
		m.drop(id)
	}
	q := Devices(ids...)
	found := make(map[track.DeviceID]struct{}, len(ids))
	c.s.hub.c.Snapshot(&q, 0, func(f *track.Fix) bool {
		if c.s.sees(f) {
			m.put(f)
			found[f.Device] = struct{}{}
		}
		return true
	})
	for _, id := range ids {
		if _, ok := found[id]; !ok {
			c.left = append(c.left, id)
		}
	}
	return m.fixes
}

// join takes the end of the chain and folds the frames up to there into fixes. It
// fails if the chain was cut before it got there.
func (c *catchup) join(fixes *[]track.Fix) bool {
	c.s.hub.gate.wait()
	end := c.s.flush(false)
	m := merge{fixes: *fixes, left: c.left}
	for c.tap != end {
		f := c.tap.next.Load()
		if f == gone {
			*fixes, c.left, c.lost = m.fixes, m.left, true
			return false
		}
		m.fold(f)
		c.tap = f.link
	}
	*fixes, c.left, c.end = m.fixes, m.left, end
	return true
}

// send makes a frame that is not the last.
func (c *catchup) send(v *Viewer, fixes []track.Fix) *Frame {
	f := &c.private
	f.reuse()
	f.Kind, f.More, f.Fresh, f.Fixes, f.Left = c.kind, true, c.fresh, fixes, c.left
	if c.kind == Resync {
		f.Seq = v.cur.Load().seq
	}
	c.fresh, c.left = false, nil
	return f
}

// finish makes the last frames, and sets the viewer on its place with the very last.
func (c *catchup) finish(v *Viewer, fixes []track.Fix) *Frame {
	limit := c.s.hub.c.MaxFrame
	if len(fixes) > limit {
		left := c.left
		c.left, c.rest = nil, fixes[limit:]
		f := c.send(v, fixes[:limit])
		c.left = left
		return f
	}
	f := c.send(v, fixes)
	f.More, f.Seq = false, c.end.seq
	if c.kind == Resync {
		v.advance(f, c.end)
		v.stripe.resyncs.Add(1)
	}
	v.cur.Store(c.end)
	v.isBack.Store(false)
	v.catchUp(nil)
	return f
}

// advance moves a viewer in a resync on to a place before which it knows everything,
// and counts what it is spared.
func (v *Viewer) advance(f *Frame, to *link) {
	at := v.cur.Load()
	f.Seq, f.Skipped = to.seq, to.seq-at.seq
	v.stripe.skipped.Add(f.Skipped)
	v.cur.Store(to)
}

// merge is a set of newest fixes in the making, and of devices that left.
type merge struct {
	fixes []track.Fix
	left  []track.DeviceID
	at    map[track.DeviceID]int // in fixes; made when it is first needed
}

func (m *merge) find(id track.DeviceID) (int, bool) {
	if m.at == nil {
		m.at = make(map[track.DeviceID]int, len(m.fixes))
		for i := range m.fixes {
			m.at[m.fixes[i].Device] = i
		}
	}
	i, ok := m.at[id]
	return i, ok
}

func (m *merge) put(f *track.Fix) {
	i, ok := m.find(f.Device)
	if !ok {
		m.at[f.Device] = len(m.fixes)
		m.fixes = append(m.fixes, *f)
		return
	}
	m.fixes[i] = *f
}

func (m *merge) drop(id track.DeviceID) {
	i, ok := m.find(id)
	if !ok {
		return
	}
	last := len(m.fixes) - 1
	m.at[m.fixes[last].Device] = i
	m.fixes[i] = m.fixes[last]
	m.fixes = m.fixes[:last]
	delete(m.at, id)
}

// fold adds a frame that the viewer will not get. Late fixes are not the present of
// anything, and heartbeats leave the place as it is.
func (m *merge) fold(f *Frame) {
	for i := range f.Fixes {
		fix := &f.Fixes[i]
		if fix.Flags&track.Late != 0 {
			continue
		}
		at, ok := m.find(fix.Device)
		switch {
		case ok && fix.Has&track.HasPos == 0 && m.fixes[at].Has&track.HasPos != 0:
			m.fixes[at].Beat(fix)
		case !ok || fix.Time >= m.fixes[at].Time:
			m.put(fix)
		}
		m.left = slices.DeleteFunc(m.left, func(id track.DeviceID) bool { return id == fix.Device })
	}
	for _, id := range f.Left {
		m.drop(id)
		m.left = append(m.left, id)
	}
}

// idSet is a set of ids in eight bytes each: a list that is sorted and cleared of
// repetitions whenever it would have to grow.
type idSet struct {
	ids  []track.DeviceID
	tidy int // as many of them are sorted and unique
}

func (s *idSet) add(id track.DeviceID) {
	if len(s.ids) == cap(s.ids) {
		s.settle()
		if n := len(s.ids); n > cap(s.ids)*7/8 {
			s.ids = slices.Grow(s.ids, max(64, n/4))
		}
	}
	s.ids = append(s.ids, id)
}

func (s *idSet) settle() {
	slices.Sort(s.ids)
	s.ids = slices.Compact(s.ids)
	s.tidy = len(s.ids)
}

func (s *idSet) size() int {
	if s.tidy != len(s.ids) {
		s.settle()
	}
	return len(s.ids)
}

// take returns the ids and leaves the set empty.
func (s *idSet) take() []track.DeviceID {
	s.size()
	ids := s.ids
	*s = idSet{}
	return ids
}
