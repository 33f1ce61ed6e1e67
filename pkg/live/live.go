// Package live is the present: the newest fix of every device.
package live

import (
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Config of the present. The zero value is good.
type Config struct {
	Shards int // rounded up to a power of two; 0 picks by GOMAXPROCS
}

// Live holds the newest fix of every device. Safe for concurrent use.
type Live struct{}

// Hit is one answer of Near.
type Hit struct {
	Fix      track.Fix
	Distance geo.Meters
}

// New returns an empty present.
func New(c Config) *Live { return &Live{} }

// Apply makes f the present of its device unless f is late, sets Late and Jump in
// f.Flags, and tells what it did. A heartbeat (no HasPos) keeps the place.
func (l *Live) Apply(f *track.Fix) track.Move { return track.Move{} }

// ApplyBatch applies the fixes in order and appends one Move each to moves. It is
// cheaper than as many calls of Apply: the cache misses of the batch overlap.
func (l *Live) ApplyBatch(fixes []track.Fix, moves []track.Move) []track.Move { return moves }

// Get returns the present of a device.
func (l *Live) Get(id track.DeviceID) (track.Fix, bool) { return track.Fix{}, false }

// Remove forgets a device and returns its last present.
func (l *Live) Remove(id track.DeviceID) (track.Fix, bool) { return track.Fix{}, false }

// Len is the number of devices.
func (l *Live) Len() int { return 0 }

// Near returns the devices within that distance of p, nearest first, at most limit.
// within <= 0 means anywhere; limit <= 0 means all.
func (l *Live) Near(p geo.Point, within geo.Meters, limit int) []Hit { return nil }

// InBox yields the devices whose place is in b and whose present changed since that
// stamp; 0 is since ever. No lock is held while yield runs. The fix is valid during
// the call only.
func (l *Live) InBox(b geo.Box, since uint64, yield func(*track.Fix) bool) {}

// All yields every device, also those without a place, that changed since.
func (l *Live) All(since uint64, yield func(*track.Fix) bool) {}

// Stamp returns a mark for InBox and All: a change that begins after Stamp returned
// is seen by a scan with since = that mark.
func (l *Live) Stamp() uint64 { return 0 }
