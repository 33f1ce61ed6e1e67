package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// river is a hub with a present as one would write it down: a map under a lock.
type river struct {
	*Hub
	mu      sync.Mutex
	devices map[track.DeviceID]held
	maps    map[track.MapID]map[track.DeviceID]bool
	clock   uint64
	between func() // between the present and the hub, if set
	scanned func() // after the first fix that a snapshot yields, if set
}

type held struct {
	fix   track.Fix
	stamp uint64
}

func newRiver(c Config) *river {
	r := &river{devices: map[track.DeviceID]held{}, maps: map[track.MapID]map[track.DeviceID]bool{}}
	c.Snapshot, c.Stamp, c.Maps = r.snapshot, r.mark, r.mapsOf
	r.Hub = New(c)
	return r
}

func (r *river) mark() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	return r.clock
}

func (r *river) snapshot(q *Query, since uint64, yield func(*track.Fix) bool) {
	r.mu.Lock()
	ids := slices.Sorted(maps.Keys(r.devices))
	r.mu.Unlock()
	for n, id := range ids {
		r.mu.Lock()
		d, ok := r.devices[id]
		ok = ok && (q.Kind != KindMap || r.maps[q.Map][id])
		r.mu.Unlock()
		if !ok || d.stamp < since || !sees(q, &d.fix) {
			continue
		}
		if !yield(&d.fix) {
			return
		}
		if n == 0 && r.scanned != nil {
			r.scanned()
		}
	}
}

func sees(q *Query, f *track.Fix) bool {
	switch q.Kind {
	case KindDevices:
		return slices.Contains(q.Devices, f.Device)
	case KindBox:
		return f.Has&track.HasPos != 0 && q.Box.Contains(f.At)
	}
	return true
}

// apply takes a batch down the river.
func (r *river) apply(fixes ...track.Fix) {
	p := r.Enter()
	defer p.Leave()
	moves := make([]track.Move, len(fixes))
	r.mu.Lock()
	for i := range fixes {
		moves[i] = r.set(&fixes[i])
	}
	r.mu.Unlock()
	if r.between != nil {
		r.between()
	}
	p.Publish(fixes, moves)
}

func (r *river) set(f *track.Fix) track.Move {
	d, ok := r.devices[f.Device]
	m := track.Move{From: d.fix.At, Had: ok && d.fix.Has&track.HasPos != 0, Fresh: true}
	switch {
	case ok && f.Time < d.fix.Time:
		f.Flags |= track.Late
		m.Fresh = false
		return m
	case m.Had && f.Has&track.HasPos == 0:
		d.fix.Beat(f)
	default:
		d.fix = *f
		d.fix.Ext, d.fix.ExtLen = 0, 0
	}
	d.stamp = r.clock
	r.devices[f.Device] = d
	return m
}

func (r *river) remove(id track.DeviceID) {
	p := r.Enter()
	defer p.Leave()
	r.mu.Lock()
	d := r.devices[id]
	delete(r.devices, id)
	r.mu.Unlock()
	p.Gone(id, d.fix.At, d.fix.Has&track.HasPos != 0)
}

// present is what a viewer of q must see in the end.
func (r *river) present(q Query) map[track.DeviceID]track.Fix {
	out := map[track.DeviceID]track.Fix{}
	r.snapshot(&q, 0, func(f *track.Fix) bool { out[f.Device] = *f; return true })
	return out
}

// view is the far end of a watch: it does with frames what the documentation of
// Frame says, and checks their arithmetic.
type view struct {
	fixes   map[track.DeviceID]track.Fix
	fresh   map[track.DeviceID]bool // named since a frame with Fresh; nil: no whole view under way
	from    uint64                  // position of the first snapshot
	at      uint64
	live    uint64 // fixes delivered
	skipped uint64
	resyncs int
	frames  int
	placed  bool
	order   *order // if set, what must come is known
}

func newView() *view { return &view{fixes: map[track.DeviceID]track.Fix{}} }

func (w *view) take(f *Frame) error {
	w.frames++
	if f.Fresh {
		w.fresh = map[track.DeviceID]bool{}
	}
	for _, fix := range f.Fixes {
		old, known := w.fixes[fix.Device]
		if w.order != nil {
			if f.Kind == Fixes {
				if err := w.order.live(&fix); err != nil {
					return fmt.Errorf("frame to %d: %w", f.Seq, err)
				}
			}
			w.order.last[fix.Device] = fix.Time
		}
		if known && fix.Time < old.Time && fix.Flags&track.Late == 0 {
			return fmt.Errorf("frame %d %v to %d: device %v goes back from %d to %d", w.frames, f.Kind, f.Seq, fix.Device, old.Time, fix.Time)
		}
		switch {
		case fix.Flags&track.Late != 0:
			continue
		case known && fix.Has&track.HasPos == 0 && old.Has&track.HasPos != 0:
			old.Beat(&fix)
			w.fixes[fix.Device] = old
		default:
			w.fixes[fix.Device] = fix
		}
		if w.fresh != nil {
			w.fresh[fix.Device] = true
		}
	}
	for _, id := range f.Left {
		delete(w.fixes, id)
		if w.order != nil && w.order.q.Kind == KindMap {
			delete(w.order.last, id) // nobody knows with which fix it comes again
		}
	}
	return w.place(f)
}

func (w *view) place(f *Frame) error {
	switch f.Kind {
	case Fixes:
		if w.at+uint64(len(f.Fixes)) != f.Seq || !w.placed || f.More || f.Fresh || f.Skipped != 0 {
			return fmt.Errorf("frame of %d fixes to %d after %d, %d skipped", len(f.Fixes), f.Seq, w.at, f.Skipped)
		}
		w.live += uint64(len(f.Fixes))
	case Resync:
		if w.at+f.Skipped != f.Seq || !w.placed {
			return fmt.Errorf("resync to %d with %d skipped after %d", f.Seq, f.Skipped, w.at)
		}
		w.skipped += f.Skipped
		if !f.More {
			w.resyncs++
		}
	case Snapshot:
		if f.More && f.Seq != 0 || f.Skipped != 0 {
			return fmt.Errorf("snapshot with more to come to %d, %d skipped", f.Seq, f.Skipped)
		}
		if f.More {
			return nil
		}
		w.from, w.live, w.skipped, w.placed = f.Seq, 0, 0, true
	}
	w.at = f.Seq
	if !f.More && w.fresh != nil {
		maps.DeleteFunc(w.fixes, func(id track.DeviceID, _ track.Fix) bool { return !w.fresh[id] })
		w.fresh = nil
	}
	if w.order != nil && f.Kind != Fixes {
		maps.DeleteFunc(w.order.last, func(id track.DeviceID, _ int64) bool { _, ok := w.fixes[id]; return !ok })
	}
	if w.at-w.from != w.live+w.skipped {
		return fmt.Errorf("at %d, from %d: %d delivered and %d skipped", w.at, w.from, w.live, w.skipped)
	}
	return nil
}

// drain takes all that is there now.
func (w *view) drain(t testing.TB, v *Viewer) {
	t.Helper()
	buf := make([]*Frame, 0, 3)
	for {
		frames, err := v.TryNext(buf)
		if err != nil {
			t.Fatal(err)
		}
		if len(frames) == 0 {
			return
		}
		for _, f := range frames {
			if err := w.take(f); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// follow takes frames until the viewer is closed; pause is called before each pull.
func (w *view) follow(v *Viewer, pause func()) error {
	buf := make([]*Frame, 0, 4)
	for {
		pause()
		frames, err := v.Next(context.Background(), buf)
		if errors.Is(err, track.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, f := range frames {
			if err := w.take(f); err != nil {
				return err
			}
		}
	}
}

func watch(t testing.TB, r *river, q Query) *Viewer {
	t.Helper()
	v, err := r.Watch(q, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func fix(id track.DeviceID, time int64, lat, lon float64) track.Fix {
	return track.Fix{Device: id, Time: time, At: geo.Deg(lat, lon), Has: track.HasPos}
}
