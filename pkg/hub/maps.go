package hub

import (
	"slices"
	"sync/atomic"

	"tracker/pkg/track"
)

// permit is what a viewer of something that not everybody may see has beside the rest.
type permit struct {
	may  func() error          // Query.May; nil: for ever
	over atomic.Pointer[error] // why it may not any more; written under mu
}

// Members changes who is on a map, through change, which makes Config.Maps answer
// otherwise. Who watches the map gets of each device that joins its newest fix and then
// every one that follows, and is told of each that parts: no gap, no double.
//
// If the map is watched, change is called at a moment at which no batch is between live
// and hub, so what it finds in live has been published, and what comes is published to
// who is a member then. It holds up the river: it is to be quick, and to return the newest
// fixes of those that joined, as far as they have any, and which of those that parted had
// one. If the map is not watched, nobody has to wait and what it returns is not needed.
// It must not call the hub.
func (h *Hub) Members(m track.MapID, change func(watched bool) (joined []track.Fix, parted []track.DeviceID)) {
	if h.quietly(m, change) {
		return
	}
	var s *stream
	var schedule bool
	var wake *waiter
	h.gate.alone(func() {
		h.mu.RLock()
		defer h.mu.RUnlock()
		s = h.index.maps[m]
		joined, parted := change(s != nil)
		if s != nil {
			schedule, wake = s.regroup(h.now(), joined, parted)
		}
	})
	if s != nil {
		h.settle(s, schedule, wake)
	}
}

// quietly changes a map that nobody watches. Its lock keeps everybody from beginning to:
// who begins afterwards scans what has changed.
func (h *Hub) quietly(m track.MapID, change func(bool) ([]track.Fix, []track.DeviceID)) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.index.maps[m] != nil {
		return false
	}
	change(false)
	return true
}

// regroup is push for devices that came and went without moving.
func (s *stream) regroup(now int64, joined []track.Fix, parted []track.DeviceID) (schedule bool, wake *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, seq := s.last, s.seq
	for _, id := range parted {
		s.leave(now, id)
	}
	for i := range joined {
		// One that joins may not have moved for days: who missed this frame does not find
		// it by looking for what has changed since, as little as one that has left.
		s.lefts++
		s.add(now, &joined[i])
	}
	return s.settle(now, end, int(s.seq-seq))
}

// sees tells whether a device that is live has its fix in the stream.
func (s *stream) sees(f *track.Fix) bool {
	switch q := &s.query; q.Kind {
	case KindBox:
		return f.Has&track.HasPos != 0 && q.Box.Contains(f.At)
	case KindMap:
		for _, m := range s.hub.c.Maps(f.Device) {
			if m == q.Map {
				return true
			}
		}
		return false
	}
	return true
}

// Seal ends what can be resumed of a map: who comes back to a place before this moment
// begins with a snapshot. Call it before somebody gets a right to the map, or they could
// read what came before.
func (h *Hub) Seal(m track.MapID) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if s := h.index.maps[m]; s != nil {
		s.mu.Lock()
		s.sealed = s.seq
		s.mu.Unlock()
	}
}

// Recheck asks Query.May of everybody who watches one of these maps, and ends the viewers
// that may not any more: their Next returns what it said. Whoever begins to watch at the
// same time is asked after it was counted, so that nobody slips through. It looks at every
// viewer once, however many maps there are.
func (h *Hub) Recheck(ms ...track.MapID) {
	if len(ms) == 0 {
		return
	}
	slices.Sort(ms)
	for _, v := range h.everybody() {
		if v.recheck(ms) {
			v.rouse()
		}
	}
}

func (h *Hub) everybody() []*Viewer {
	h.mu.RLock()
	defer h.mu.RUnlock()
	vs := make([]*Viewer, 0, len(h.viewers))
	for v := range h.viewers {
		vs = append(vs, v)
	}
	return vs
}

// recheck is Recheck for one viewer; ms are ascending.
func (v *Viewer) recheck(ms []track.MapID) (ended bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, among := slices.BinarySearch(ms, v.s.query.Map); !among || v.Ended() != nil {
		return false
	}
	return v.ask() != nil
}

// ask asks whether the viewer may go on; mu is held.
func (v *Viewer) ask() error {
	if v.permit.may != nil {
		v.end(v.permit.may())
	}
	return v.Ended()
}

func (v *Viewer) end(err error) {
	if err != nil {
		v.permit.over.Store(&err)
	}
}

// Ended tells why the viewer may not go on, if it may not: TryNext says the same, but a
// door that cannot send need not pull to learn it. It waits for nothing.
func (v *Viewer) Ended() error {
	if err := v.permit.over.Load(); err != nil {
		return *err
	}
	return nil
}

// Entrust hands a viewer to somebody else: check tells for what it watches whether they
// may, and by what Query.May they may go on. If not, the viewer ends with that error.
func (v *Viewer) Entrust(check func(q Query) (may func() error, err error)) {
	if v.entrust(check) != nil {
		v.rouse()
	}
}

func (v *Viewer) entrust(check func(q Query) (may func() error, err error)) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || v.Ended() != nil {
		return nil
	}
	may, err := check(v.s.query)
	if err != nil {
		v.end(err)
		return err
	}
	v.permit.may = may
	return v.ask()
}
