package web

import (
	"context"
	"slices"
	"sync"
	"time"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// memory is a store for tests that are not about storing.
type memory struct {
	store.Store // what tests do not need is nil
	mu          sync.Mutex
	fixes       []track.Fix
	broken      error
}

func (m *memory) Append(b *track.Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fixes = append(m.fixes, b.Fixes...)
}

func (m *memory) History(_ context.Context, q store.Query, yield func(*track.Fix, []byte) error) error {
	m.mu.Lock()
	fixes := slices.Clone(m.fixes)
	err := m.broken
	m.mu.Unlock()
	slices.SortFunc(fixes, func(a, b track.Fix) int { return store.Compare(&a, &b) })
	n := 0
	for i := range fixes {
		f := &fixes[i]
		if err != nil && n > 2 {
			return err
		}
		if f.Device != q.Device || q.After.Passed(f) || f.Has&track.HasPos == 0 && !q.Heartbeats {
			continue
		}
		if !q.From.IsZero() && f.When().Before(q.From) || !q.To.IsZero() && !f.When().Before(q.To) {
			continue
		}
		if err := yield(f, nil); err != nil {
			return err
		}
		if n++; n == q.Limit {
			break
		}
	}
	return nil
}

func (m *memory) Devices(context.Context, func(*store.Device) error) error         { return nil }
func (m *memory) Credentials(context.Context, func(*store.Credential) error) error { return nil }
func (m *memory) Tokens(context.Context, func(*store.Token) error) error           { return nil }
func (m *memory) Floors(context.Context, func(store.Floor) error) error            { return nil }
func (m *memory) Latest(context.Context, func(*track.Fix) error) error             { return nil }
func (m *memory) SaveToken(context.Context, store.Token) error                     { return nil }
func (m *memory) DeleteToken(context.Context, uint64) error                        { return nil }
func (m *memory) Maps(context.Context, func(*store.Map) error) error               { return nil }
func (m *memory) MapMembers(context.Context, func(track.MapID, track.DeviceID) error) error {
	return nil
}
func (m *memory) MapViewers(context.Context, func(track.MapID, uint64) error) error { return nil }
func (m *memory) SaveMap(context.Context, store.Map) error                          { return nil }
func (m *memory) DeleteMap(context.Context, track.MapID) error                      { return nil }
func (m *memory) JoinMap(context.Context, track.MapID, []track.DeviceID) error      { return nil }
func (m *memory) PartMap(context.Context, track.MapID, []track.DeviceID) error      { return nil }
func (m *memory) GrantMap(context.Context, track.MapID, uint64) error               { return nil }
func (m *memory) UngrantMap(context.Context, track.MapID, uint64) error             { return nil }
func (m *memory) Lineage() uint64                                                   { return 0xfedcba9876543210 }
func (m *memory) Status() store.Status                                              { return store.Status{State: store.OK} }
func (m *memory) SaveDevices(context.Context, []store.Device, []store.Credential) error {
	return nil
}
func (m *memory) RenameDevice(context.Context, track.DeviceID, string) error          { return nil }
func (m *memory) RevokeDevice(context.Context, track.DeviceID, time.Time) error       { return nil }
func (m *memory) RotateCredential(context.Context, store.Credential, time.Time) error { return nil }
func (m *memory) ResetFloor(context.Context, track.DeviceID, uint32, ...uint32) error { return nil }
