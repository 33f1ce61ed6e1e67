package sqlite

import (
	"context"
	"database/sql"
	"slices"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// Latest implements store.Store.
func (d *DB) Latest(ctx context.Context, yield func(*track.Fix) error) error {
	return d.walk(ctx, func(e *entry) error {
		if e.hasPlace {
			if err := yield(&e.place); err != nil {
				return err
			}
		}
		if e.hasBeat && (!e.hasPlace || store.Newer(&e.beat, &e.place)) {
			return yield(&e.beat)
		}
		return nil
	})
}

// Floors implements store.Store.
func (d *DB) Floors(ctx context.Context, yield func(store.Floor) error) error {
	deny := *d.deny.Load()
	byWire := make(map[track.DeviceID][]uint32)
	for key := range deny {
		byWire[key.wire] = append(byWire[key.wire], key.epoch)
	}
	yieldDenied := func(wire track.DeviceID) error {
		epochs := byWire[wire]
		delete(byWire, wire)
		slices.Sort(epochs)
		for _, n := range epochs {
			if err := yield(store.Floor{Credential: wire, Epoch: n, Denied: true}); err != nil {
				return err
			}
		}
		return nil
	}
	err := d.walk(ctx, func(e *entry) error {
		for i := range e.creds {
			c := &e.creds[i]
			for _, ep := range c.epochs[:c.n] {
				if deny.has(c.wire, ep.number) {
					continue // what is only in the state was not asked before
				}
				if err := yield(store.Floor{Credential: c.wire, Epoch: ep.number, MaxPID: ep.pid}); err != nil {
					return err
				}
			}
			if err := yieldDenied(c.wire); err != nil {
				return err
			}
		}
		return nil
	})
	for wire := range byWire {
		if err == nil {
			err = yieldDenied(wire)
		}
	}
	return err
}

// walk gives yield the state of every device as of now, in the order of ids: what the
// state knows, and what is in memory.
func (d *DB) walk(ctx context.Context, yield func(*entry) error) error {
	if err := d.usable(); err != nil {
		return err
	}
	if err := d.takeTurn(ctx); err != nil {
		return err
	}
	defer d.endTurn()
	v := d.ring.view()
	defer v.release()
	// A fix that becomes part of a run from here on was in memory when we looked.
	for _, day := range d.openDays() {
		if err := d.mergeState(ctx, day); err != nil {
			return err
		}
	}

	deny := *d.deny.Load()
	base := stateReader{file: d.reg, at: -1}
	s := summary{deny: deny, emit: func(fresh *entry) error {
		if err := base.before(ctx, fresh.device, yield); err != nil {
			return err
		}
		old, err := base.take(fresh.device)
		if err != nil || old == nil {
			if err == nil {
				err = yield(fresh)
			}
			return err
		}
		old.forget(deny)
		old.merge(fresh, deny)
		return yield(old)
	}}
	var order sorter
	if err := order.each(v.parts, untilDone(ctx, s.add)); err != nil {
		return err
	}
	if err := s.finish(); err != nil {
		return err
	}
	return base.before(ctx, track.MaxDeviceID+1, yield)
}

// stateReader walks the entries of the state.
type stateReader struct {
	file    *file
	at      int64 // key of the last block that was read
	ended   bool
	entries []packed
	entry   entry
}

// before gives yield the entries before device.
func (r *stateReader) before(ctx context.Context, device track.DeviceID, yield func(*entry) error) error {
	for {
		ok, err := r.fill()
		if !ok || r.entries[0].device >= device {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		e := r.entries[0]
		r.entries = r.entries[1:]
		if r.entry.parse(e.device, e.data) != nil {
			continue
		}
		if err := yield(&r.entry); err != nil {
			return err
		}
	}
}

// take returns the entry of device if it is the next one, else nil.
func (r *stateReader) take(device track.DeviceID) (*entry, error) {
	ok, err := r.fill()
	if !ok || r.entries[0].device != device {
		return nil, err
	}
	e := r.entries[0]
	r.entries = r.entries[1:]
	if r.entry.parse(e.device, e.data) != nil {
		return nil, nil
	}
	return &r.entry, nil
}

// fill makes sure that there is a next entry; false at the end.
func (r *stateReader) fill() (bool, error) {
	if len(r.entries) > 0 || r.ended {
		return len(r.entries) > 0, nil
	}
	r.entries = nil // the blocks they lie in are let go
	err := r.file.read(func(c *conn) error {
		var data sql.RawBytes
		return c.rows(&r.at, &data)(func() error {
			r.entries, _ = parseStateBlock(slices.Clone(data), r.entries)
			return nil
		}, "SELECT device, data FROM state WHERE device > ? ORDER BY device LIMIT 16", r.at)
	})
	r.ended = len(r.entries) == 0
	return !r.ended && err == nil, err
}
