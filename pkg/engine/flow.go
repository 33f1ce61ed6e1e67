package engine

import (
	"slices"
	"time"

	"tracker/pkg/hub"
	"tracker/pkg/track"
)

// Apply is the river: one batch of fixes, opened and decoded, oldest first within a
// datagram, goes through live to the hub and into the store, on the goroutine that
// read it. It sets the flags Late and Jump of the fixes. The batch is the caller's
// again when it returns.
//
// Batches may come from many goroutines at once, but those of one device from one
// at a time, or its watchers might see them out of order. Nothing here waits for
// anybody: a slow viewer is the hub's business and a slow disk the store's.
func (e *Engine) Apply(b *track.Batch) {
	if len(b.Fixes) == 0 {
		return
	}
	s := e.scratch.Get().(*scratch)
	defer e.scratch.Put(s)
	pass := e.hub.Enter()
	if gone := e.revoked.Load(); gone != nil {
		dropRevoked(b, *gone)
	}
	s.moves = e.live.ApplyBatch(b.Fixes, s.moves[:0])
	pass.Publish(b.Fixes, s.moves)
	pass.Leave()
	e.keep(b, s)
	e.applied.Add(uint64(len(b.Fixes)))
}

// dropRevoked takes out the fixes of devices that were revoked while their batch was
// being read. Doors stop taking their datagrams with the next batch, so the list is
// only needed, and only kept, for a few minutes after a revocation.
func dropRevoked(b *track.Batch, gone map[track.DeviceID]time.Time) {
	b.Fixes = slices.DeleteFunc(b.Fixes, func(f track.Fix) bool {
		_, dead := gone[f.Device]
		return dead
	})
}

// keep stores a batch, less the fixes of the probe.
func (e *Engine) keep(b *track.Batch, s *scratch) {
	if e.probe == 0 || !hasDevice(b.Fixes, e.probe) {
		e.store.Append(b)
		return
	}
	s.kept.Reset()
	for i := range b.Fixes {
		if b.Fixes[i].Device != e.probe {
			s.kept.Fixes = append(s.kept.Fixes, b.Fixes[i])
		}
	}
	e.probed.Add(uint64(len(b.Fixes) - len(s.kept.Fixes)))
	if len(s.kept.Fixes) > 0 {
		s.kept.Ext = append(s.kept.Ext, b.Ext...)
		e.store.Append(&s.kept)
	}
}

func hasDevice(fixes []track.Fix, id track.DeviceID) bool {
	for i := range fixes {
		if fixes[i].Device == id {
			return true
		}
	}
	return false
}

// scratch is what Apply needs beside the batch, reused.
type scratch struct {
	moves []track.Move
	kept  track.Batch
}

// scan shows the hub the present of what a query names.
func (e *Engine) scan(q *hub.Query, since uint64, yield func(*track.Fix) bool) {
	show := func(f *track.Fix) bool { return f.Device == e.probe || yield(f) }
	switch q.Kind {
	case hub.KindAll:
		e.live.All(since, show)
	case hub.KindBox:
		e.live.InBox(q.Box, since, show)
	case hub.KindMap:
		for _, id := range e.maps.membersOf(q.Map) {
			if f, ok := e.live.Since(id, since); ok && !yield(&f) {
				return
			}
		}
	case hub.KindDevices:
		for _, id := range q.Devices {
			if f, ok := e.live.Since(id, since); ok && !yield(&f) {
				return
			}
		}
	}
}
