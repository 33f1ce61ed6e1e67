package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"tracker/pkg/geo"
	"tracker/pkg/hub"
	"tracker/pkg/live"
	"tracker/pkg/store"
	"tracker/pkg/track"
)

// Latest is the newest fix of a device.
func (e *Engine) Latest(id track.DeviceID) (track.Fix, bool) { return e.live.Get(id) }

// Near returns up to limit devices within that distance of a place, nearest first.
// A within of 0 means any distance.
func (e *Engine) Near(p geo.Point, within geo.Meters, limit int) []live.Hit {
	hits := e.live.Near(p, within, limit+1)
	hits = slices.DeleteFunc(hits, func(h live.Hit) bool { return h.Fix.Device == e.probe })
	return hits[:min(len(hits), limit)]
}

// Positions returns the newest fixes of the devices in a box by ascending id: at
// most limit, starting behind after, and whether there are more. It looks at every
// device in the box for each page.
func (e *Engine) Positions(box geo.Box, after track.DeviceID, limit int) (fixes []track.Fix, more bool) {
	keep := func(f *track.Fix) bool {
		if f.Device > after && f.Device != e.probe {
			fixes = append(fixes, *f)
		}
		return true
	}
	if box == geo.World {
		e.live.All(0, func(f *track.Fix) bool { return f.Has&track.HasPos == 0 || keep(f) })
	} else {
		e.live.InBox(box, 0, keep)
	}
	slices.SortFunc(fixes, func(a, b track.Fix) int { return cmp.Compare(a.Device, b.Device) })
	if len(fixes) > limit {
		return fixes[:limit], true
	}
	return fixes, false
}

// History walks the past of one device, oldest first. See store.Store.History for
// who owns what yield sees.
func (e *Engine) History(ctx context.Context, q store.Query, yield func(f *track.Fix, ext []byte) error) error {
	if q.Device == e.probe {
		return fmt.Errorf("device %s: %w", q.Device, track.ErrNotFound)
	}
	return e.store.History(ctx, q, yield)
}

// Watch adds a viewer. The devices that a query names must exist; only the server
// itself may name its probe.
func (e *Engine) Watch(q hub.Query, o hub.Options) (*hub.Viewer, error) {
	e.mu.RLock()
	for _, id := range q.Devices {
		if _, err := e.reg.device(id); err != nil {
			e.mu.RUnlock()
			return nil, err
		}
	}
	e.mu.RUnlock()
	return e.hub.Watch(q, o)
}
