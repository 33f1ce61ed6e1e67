package fleet

import (
	"time"

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
	Every  uint16 // tenths of a second between its fixes; 0 not known
	Has    track.Has
	Bat    uint8 // percent, with track.HasBat
	Flags  Flags
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
	// MovingFrom is the speed in cm/s from which on a device counts as moving.
	MovingFrom = 50

	// AlarmFor is how long a report such as sos is shown, whatever the device says
	// after it: a person has to get a chance to see it.
	AlarmFor = 5 * time.Minute

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
	return p.Alarm != 0 && now-p.AlarmAt() < AlarmFor.Milliseconds()
}

// AlarmAt is when it last reported something for a person, in unix milliseconds to the
// second.
func (p *Point) AlarmAt() int64 { return (int64(p.Alarm) + alarmEpoch) * 1000 }

func alarmStamp(ms int64) uint32 { return uint32(max(ms/1000-alarmEpoch, 1)) }

// State is how it is at a moment of the store's clock.
func (p *Point) State(now int64, a filter.Ages) filter.State {
	return a.StateOf(p.Age(now), p.Alarmed(now), p.Moving())
}

func alarming(event string) bool { return event == "sos" || event == "tamper" }
