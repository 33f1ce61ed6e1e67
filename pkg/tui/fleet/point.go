package fleet

import (
	"math"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/world"
)

// Point is what drawing needs of one device. All points are copied for every frame, so
// it is small and holds no pointers.
type Point struct {
	Pos    world.Pos
	Heard  int64  // when it last reported, unix milliseconds on the store's clock
	Seq    uint32 // another one after every change of this slot
	Alarm  uint32 // when it last reported something for a person, see AlarmAt; 0 never
	Speed  uint16 // cm/s
	Course uint16 // 1/100 degree
	Every  uint16 // tenths of a second between its fixes, smoothed; 0 not known
	Has    track.Has
	Bat    uint8 // percent, with track.HasBat
	Flags  Flags
	Tenant uint16 // another one for every device that has the slot
}

// Flags of a Point.
type Flags uint16

const (
	Alive   Flags = 1 << iota // the slot is in use
	Shifted                   // it moved, for devices that do not know their speed
	Jumped
	Suspect
	Muted // its events are not for this person
	Power
)

const (
	// MovingFrom is that of a filter, in the cm/s of a Point.
	MovingFrom = uint16(100 * filter.MovingFrom)

	alarmEpoch = 1577836800 // 2020 in unix seconds
)

func (p *Point) set(f Flags, on bool) {
	p.Flags &^= f
	if on {
		p.Flags |= f
	}
}

// Alive tells whether there is a device at all.
func (p *Point) Alive() bool { return p.Flags&Alive != 0 }

// Placed tells whether anybody knows where it is.
func (p *Point) Placed() bool { return p.Has&track.HasPos != 0 }

// Moving tells whether it moves, by its speed if it knows it, else by its places.
func (p *Point) Moving() bool {
	if p.Has&track.HasVel != 0 {
		return p.Speed >= MovingFrom
	}
	return p.Flags&Shifted != 0
}

// Age is how long before a moment it was heard.
func (p *Point) Age(now int64) time.Duration { return time.Duration(now-p.Heard) * time.Millisecond }

// Alarmed tells whether an alarm of it is to be shown.
func (p *Point) Alarmed(now int64) bool {
	return p.Alarm != 0 && now-p.AlarmAt() < filter.AlarmFor.Milliseconds()
}

// AlarmAt is when it last reported something for a person, in unix milliseconds to the
// second.
func (p *Point) AlarmAt() int64 { return (int64(p.Alarm) + alarmEpoch) * 1000 }

func alarmStamp(ms int64) uint32 { return uint32(max(ms/1000-alarmEpoch, 1)) }

// State is how it is at a moment of the store's clock.
func (p *Point) State(now int64, a filter.Ages) filter.State {
	return a.StateOf(p.Age(now), p.Alarmed(now), p.Moving())
}

// until is how it is at a moment, and the moment from which on it is something else if
// nothing more is heard of it. The ages must be filled.
func (p *Point) until(now int64, a filter.Ages) (filter.State, int64) {
	st, stale, lost := p.State(now, a), p.Heard+ceilMillis(a.Stale), p.Heard+ceilMillis(a.Lost)
	switch {
	case !p.Alive():
		return 0, math.MaxInt64
	case p.Alarmed(now):
		return st, p.AlarmAt() + filter.AlarmFor.Milliseconds()
	case now < stale:
		return st, stale
	case now < lost:
		return st, lost
	}
	return st, math.MaxInt64
}

// ceilMillis is the first whole millisecond that is not before d.
func ceilMillis(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// report puts what a fix says of the device itself into its point, apart from where and
// when.
func (p *Point) report(f *client.Fix) {
	p.set(Power, f.Power)
	p.set(Suspect, f.Suspect)
	p.set(Jumped, f.Jump)
	if f.Has&track.HasBat != 0 {
		p.Bat = uint8(min(max(f.Battery, 0), 100))
		p.Has |= track.HasBat
	}
	if !f.HasPos() {
		return // a heartbeat: alive where it was
	}
	p.Pos, p.Has = world.Project(f.At), f.Has
	p.Speed = uint16(min(max(f.Speed*100, 0), math.MaxUint16))
	p.Course = uint16((int(f.Course*100)%36000 + 36000) % 36000)
}

// mostEvery keeps a silent night from counting as the way in which a device reports: an
// interval counts as at most so many of the ones before.
const mostEvery = 4

// interval takes the time between two fixes of a device into its usual one.
func (p *Point) interval(gap time.Duration) {
	tenths := min(max(int64(gap/(100*time.Millisecond)), 1), math.MaxUint16)
	every := int64(p.Every)
	if every > 0 {
		tenths = every + (min(tenths, mostEvery*every)-every+2)/4
	}
	p.Every = uint16(min(max(tenths, 1), math.MaxUint16))
}

// usual is the time that usually passes between two fixes, 0 if that is not known.
func (p *Point) usual() time.Duration { return time.Duration(p.Every) * 100 * time.Millisecond }
