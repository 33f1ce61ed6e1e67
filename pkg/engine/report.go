package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// ErrRevoked says that a device may not send any more.
var ErrRevoked = errors.New("revoked")

// Crossing is held by whoever gives the river fixes of a device that comes in by two
// ways at once, from two readers or by two doors: its watchers would see them out of
// order if both batches went down together. Session.Several tells which those are.
func (e *Engine) Crossing() sync.Locker { return &e.crossing }

// Report takes fixes of one device that no datagram brought, oldest first, and tells how
// many of them were late. It writes on the fixes what the server knows of them, and they
// are its own until it returns.
//
// A reported fix carries no credential, Wire 0, and so no epoch: it counts for no floor
// of replay protection, before a restart or after it, and a device may report and send
// datagrams as it likes. PID is its place in the report, which keeps fixes of the same
// moment apart.
//
// From its first report on, the doors take the batches of a device in turn, see
// Crossing. That very first one may still cross a batch of datagrams that a reader has
// in hand: then watchers see the two the other way round, once.
func (e *Engine) Report(id track.DeviceID, fixes []track.Fix) (late int, err error) {
	if err := e.meet(id); err != nil {
		return 0, err
	}
	b := track.Batch{Fixes: fixes}
	e.applyReport(id, &b)
	if len(b.Fixes) == 0 && len(fixes) > 0 {
		return 0, revokedError(id) // while it was on its way
	}
	for i := range b.Fixes {
		if b.Fixes[i].Flags&track.Late != 0 {
			late++
		}
	}
	return late, nil
}

func (e *Engine) applyReport(id track.DeviceID, b *track.Batch) {
	e.crossing.Lock()
	defer e.crossing.Unlock()
	now := e.now().UnixMilli()
	if now > e.reported.at {
		e.reported.at, e.reported.n = now, 0
	}
	for i := range b.Fixes {
		f := &b.Fixes[i]
		f.Device, f.Wire, f.Arrived, f.Epoch, f.PID, f.Sub, f.Flags, f.ExtLen = id, 0, now, 0, e.reported.n, 0, 0, 0
		e.reported.n++
	}
	e.Apply(b)
}

// meet lets a device report. The first time, the door for datagrams is told that its
// fixes come in by another way too.
func (e *Engine) meet(id track.DeviceID) error {
	e.mu.RLock()
	known, err := e.met(id)
	e.mu.RUnlock()
	if known || err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if known, err = e.met(id); known || err != nil {
		return err
	}
	d, err := e.reg.device(id)
	if err != nil {
		return err
	}
	d.reports = true
	e.reg.credsOf(d, func(i uint32, _ *credRec) { e.changed(i) })
	return nil
}

// met tells whether a device has reported before, if it may. Caller holds mu.
func (e *Engine) met(id track.DeviceID) (bool, error) {
	d, err := e.reg.device(id)
	switch {
	case err != nil || id == e.probe:
		return false, fmt.Errorf("device %s: %w", id, track.ErrNotFound)
	case d.revoked != 0:
		return false, revokedError(id)
	}
	return d.reports, nil
}

func revokedError(id track.DeviceID) error {
	return fmt.Errorf("device %s is %w: %w", id, ErrRevoked, track.ErrInvalid)
}

// HistoryPage appends the fixes that a query asks for, oldest first. It is for queries
// with a limit: what it returns is in memory.
func (e *Engine) HistoryPage(ctx context.Context, q store.Query, fixes []track.Fix) ([]track.Fix, error) {
	err := e.History(ctx, q, func(f *track.Fix, _ []byte) error {
		fixes = append(fixes, *f)
		return nil
	})
	return fixes, err
}
