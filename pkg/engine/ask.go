package engine

import (
	"fmt"
	"math"
	"strconv"

	"tracker/pkg/geo"
	"tracker/pkg/hub"
	"tracker/pkg/live"
	"tracker/pkg/track"
)

// What a door may ask for at once, and what it gets if it does not say. Every door
// keeps to these, so that all give the same answer.
const (
	FixPage       = 1000
	MaxFixPage    = 10_000
	DevicePage    = 100
	MaxDevicePage = 1000
	NearLimit     = 20
	MaxNear       = 1000

	NearDistance geo.Meters = 5000
)

// Watches that a connection may begin or move at once, and in a second over time;
// beyond that a door lets it wait. Each may cost a walk over everything that is live.
const (
	AskBurst  = 64
	AskPerSec = 20
)

// Limit is how many somebody gets who asked for n, nil being for no number.
func Limit(n *int, def, most int) (int, error) {
	if n == nil {
		return def, nil
	}
	if *n < 1 || *n > most {
		return 0, fmt.Errorf("limit %d: want 1..%d: %w", *n, most, track.ErrInvalid)
	}
	return *n, nil
}

// After reads the cursor of lists that go by device id.
func After(s string) (track.DeviceID, error) {
	if s == "" {
		return 0, nil
	}
	id, err := track.ParseDeviceID(s)
	if err != nil {
		return 0, fmt.Errorf("after %q: not a cursor of this list: %w", s, track.ErrInvalid)
	}
	return id, nil
}

// StreamEpoch reads the epoch of a stream, as frames name it.
func StreamEpoch(s string) (uint64, error) {
	epoch, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("epoch %q: want 16 hex digits: %w", s, track.ErrInvalid)
	}
	return epoch, nil
}

// Resolve finds the device that an id or a name means. It is Find for those who want
// nothing but the id, and allocates only to refuse.
func (e *Engine) Resolve(ref string) (track.DeviceID, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	d, err := e.reg.find(ref)
	if err != nil || d.id == e.probe {
		return 0, fmt.Errorf("device %q: %w", ref, track.ErrNotFound)
	}
	return d.id, nil
}

// DevicesQuery is the query for up to most devices, by id or name.
func (e *Engine) DevicesQuery(refs []string, most int) (hub.Query, error) {
	if len(refs) == 0 || len(refs) > most {
		return hub.Query{}, fmt.Errorf("devices: want 1..%d of them: %w", most, track.ErrInvalid)
	}
	ids := make([]track.DeviceID, len(refs))
	for i, ref := range refs {
		id, err := e.Resolve(ref)
		if err != nil {
			return hub.Query{}, err
		}
		ids[i] = id
	}
	return hub.Devices(ids...), nil
}

// Away is how far a hit is and in which direction from there, as it is told to people
// and programs: to the centimetre and to a tenth of a degree, 360 being 0.
func Away(from geo.Point, h *live.Hit) (metres, bearing float64) {
	metres = math.Round(float64(h.Distance)*100) / 100
	return metres, math.Mod(math.Round(geo.Bearing(from, h.Fix.At)*10), 3600) / 10
}

// LatestOf is the latest position of some devices, by id or name, without those that
// have none.
func (e *Engine) LatestOf(refs []string) ([]track.Fix, error) {
	fixes := make([]track.Fix, 0, len(refs))
	for _, ref := range refs {
		id, err := e.Resolve(ref)
		if err != nil {
			return nil, err
		}
		if f, ok := e.live.Get(id); ok && f.Has&track.HasPos != 0 {
			fixes = append(fixes, f)
		}
	}
	return fixes, nil
}
