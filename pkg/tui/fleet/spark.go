package fleet

import (
	"math"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

// Measure is a value of which some past is kept for every device.
type Measure uint8

const (
	OfSpeed   Measure = iota // cm/s, the latest of each of 32 minutes
	OfBattery                // percent, the latest of each of 24 hours
)

// Slot is how much time one value of the measure stands for.
func (m Measure) Slot() time.Duration {
	if m == OfBattery {
		return time.Hour
	}
	return time.Minute
}

// Nothing stands in a Spark where a device reported no value.
const Nothing = -1

// Spark appends how a value of a device went: one number a slot, oldest first, Nothing
// where none was reported. The last slot is the present one, whether the device still
// reports or not. Speeds are kept to about two percent.
func (s *Store) Spark(dst []int, i int32, what Measure) []int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.devices.has(i) || !s.points[i].Alive() {
		return dst
	}
	now := s.now().UnixMilli()
	k := &s.devices.at(i).spark
	if what == OfBattery {
		return appendSlots(dst, k.bat[:], k.hour, slotOf(now, time.Hour), func(v uint8) int { return int(v) - 1 })
	}
	return appendSlots(dst, k.speed[:], k.minute, slotOf(now, time.Minute), openSpeed)
}

// spark is the past of a device in 64 bytes: one byte a slot, 0 where nothing was
// reported. Slots are used in turn, by the clock.
type spark struct {
	minute, hour uint32 // the newest slot that is written
	speed        [32]uint8
	bat          [24]uint8
}

// note writes down what a fix says.
func (k *spark) note(f *client.Fix, heard int64) {
	if f.Has&track.HasVel != 0 {
		write(k.speed[:], &k.minute, slotOf(heard, time.Minute), packSpeed(f.Speed))
	}
	if f.Has&track.HasBat != 0 {
		write(k.bat[:], &k.hour, slotOf(heard, time.Hour), uint8(min(max(f.Battery, 0), 100))+1)
	}
}

func slotOf(ms int64, slot time.Duration) uint32 {
	return uint32(min(max(ms/slot.Milliseconds(), 0), math.MaxUint32))
}

// write puts a value into its slot and forgets what was in those that were passed over.
func write(slots []uint8, newest *uint32, slot uint32, v uint8) {
	n := uint32(len(slots))
	if slot < *newest {
		return // the clock was turned back
	}
	for i := range min(slot-*newest, n) {
		slots[(slot-i)%n] = 0
	}
	slots[slot%n], *newest = v, slot
}

func appendSlots(dst []int, slots []uint8, newest, now uint32, open func(uint8) int) []int {
	n := uint32(len(slots))
	for i := range n {
		// Slot now-n+1+i, which is kept if it is among the last n that were written.
		back := n - 1 - i
		if slot := now - back; back <= now && slot <= newest && newest-slot < n && slots[slot%n] != 0 {
			dst = append(dst, open(slots[slot%n]))
			continue
		}
		dst = append(dst, Nothing)
	}
	return dst
}

// packSpeed keeps the square root, which is as exact for a boat as for a plane.
func packSpeed(mps float64) uint8 {
	return uint8(1 + min(math.Round(math.Sqrt(max(mps*100, 0))), 254))
}

func openSpeed(v uint8) int { return (int(v) - 1) * (int(v) - 1) }
