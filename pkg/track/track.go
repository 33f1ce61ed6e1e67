// Package track is the vocabulary: what a device, a fix and a batch are, and the
// few ways in which things fail. Every room above speaks in these words.
//
// The types are plain values without pointers, so that millions of them cost the
// garbage collector nothing:
//
//	DeviceID   48 bits, 12 lower-case hex digits in text
//	MapID      64 bits, 16 lower-case hex digits in text
//	Fix        one position report
//	Batch      many fixes that travel together, and the bytes they share
package track

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"tracker/pkg/geo"
)

// The vocabulary of failure. Rooms wrap these; doors translate them, one table a
// door.
var (
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("already exists")
	ErrDenied      = errors.New("not allowed")
	ErrInvalid     = errors.New("invalid")
	ErrUnavailable = errors.New("unavailable")
	ErrClosed      = errors.New("closed")
)

// DeviceID names a device: 48 bits, of which none mean anything. Zero is no device.
type DeviceID uint64

// MaxDeviceID is the largest id that fits the wire.
const MaxDeviceID DeviceID = 1<<48 - 1

// ParseDeviceID reads exactly 12 lower-case hex digits.
func ParseDeviceID(s string) (DeviceID, error) {
	if len(s) != 12 {
		return 0, fmt.Errorf("device id %q: want 12 hex digits: %w", s, ErrInvalid)
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 0, fmt.Errorf("device id %q: want 12 lower-case hex digits: %w", s, ErrInvalid)
		}
	}
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("device id %q: %w", s, ErrInvalid)
	}
	return DeviceID(n), nil
}

const hexDigits = "0123456789abcdef"

// AppendText appends the 12 hex digits of the id.
func (id DeviceID) AppendText(dst []byte) ([]byte, error) {
	for shift := 44; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[id>>shift&15])
	}
	return dst, nil
}

// MarshalText makes ids 12 hex digits in JSON, never numbers.
func (id DeviceID) MarshalText() ([]byte, error) { return id.AppendText(make([]byte, 0, 12)) }

// UnmarshalText is the strict opposite of MarshalText.
func (id *DeviceID) UnmarshalText(b []byte) error {
	v, err := ParseDeviceID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

func (id DeviceID) String() string {
	b, _ := id.AppendText(make([]byte, 0, 12))
	return string(b)
}

// PutWire writes the six big-endian bytes of the id into b[0:6].
func (id DeviceID) PutWire(b []byte) {
	_ = b[5]
	b[0], b[1], b[2] = byte(id>>40), byte(id>>32), byte(id>>24)
	b[3], b[4], b[5] = byte(id>>16), byte(id>>8), byte(id)
}

// DeviceIDFromWire reads the six big-endian bytes of an id.
func DeviceIDFromWire(b []byte) DeviceID {
	_ = b[5]
	return DeviceID(b[0])<<40 | DeviceID(b[1])<<32 | DeviceID(b[2])<<24 |
		DeviceID(b[3])<<16 | DeviceID(b[4])<<8 | DeviceID(b[5])
}

// Has says which parts of a fix its device knew.
type Has uint8

const (
	HasPos Has = 1 << iota // Lat and Lon; a fix without them is a heartbeat
	HasAlt                 // Alt
	HasVel                 // Speed and Course
	HasAcc                 // Acc
	HasBat                 // Bat
)

// Flags are what the server found out about a fix.
type Flags uint8

const (
	Late    Flags = 1 << iota // older than the present when it arrived: history, not the map
	Suspect                   // its clock was more than two minutes ahead of ours
	Jump                      // implies more than 350 m/s since the fix before
)

// Event is something that a device reports beside its place; 0 is nothing.
type Event uint8

const (
	EventNone Event = iota
	EventSOS
	EventLowBattery
	EventPowerLost
	EventMotionStart
	EventMotionStop
	EventTamper
)

var eventNames = [...]string{"", "sos", "low_battery", "power_lost", "motion_start", "motion_stop", "tamper"}

func (e Event) String() string {
	if int(e) < len(eventNames) {
		return eventNames[e]
	}
	return "event_" + strconv.Itoa(int(e))
}

// Fix is one report of one device, 72 bytes without a pointer. Times are unix milliseconds: Time is the
// device's own and decides what is newer, Arrived is ours. (Epoch, PID, Sub) says
// which datagram carried it and which of that datagram's fixes it is, 0 the newest.
type Fix struct {
	Device  DeviceID
	Wire    DeviceID // the id of the credential that sealed it, see seal.Enrolment
	Time    int64
	Arrived int64
	At      geo.Point // 1e-7 degree, valid with HasPos
	Epoch   uint32
	PID     uint32 // 24 bits
	Ext     uint32 // where in its Batch.Ext the raw TLVs of this fix start
	ExtLen  uint16 // and how many bytes they are; only the newest fix of a datagram has any
	Alt     int16  // metres above mean sea level
	Speed   uint16 // centimetres a second
	Course  uint16 // hundredths of a degree, 0..35999
	Acc     uint8  // 4.4 minifloat of centimetres, see wire.AccuracyCM
	Bat     uint8  // bits 6-0 percent (127 unknown), bit 7 external power
	Has     Has
	Flags   Flags
	Event   Event
	Sub     uint8
}

// Present is the time by which the present is ordered, in unix milliseconds: the
// device's own, or ours where its clock runs ahead. Otherwise an hour in which a
// clock was wrong would freeze the device on the map for that hour.
func (f *Fix) Present() int64 {
	if f.Flags&Suspect != 0 {
		return f.Arrived
	}
	return f.Time
}

// When is the device's time of the fix, in UTC.
func (f *Fix) When() time.Time { return time.UnixMilli(f.Time).UTC() }

// BatteryPercent is the charge in percent, if the device knew it.
func (f *Fix) BatteryPercent() (pct int, ok bool) {
	if f.Has&HasBat == 0 || f.Bat&0x7f > 100 {
		return 0, false
	}
	return int(f.Bat & 0x7f), true
}

// Batch is what travels down the river in one go. The fixes of one datagram stand
// together, oldest first. Whoever made the batch owns it and reuses it: a room that
// keeps anything copies it before it returns.
type Batch struct {
	Fixes []Fix
	Ext   []byte // raw TLV bytes of the fixes, see Fix.Ext
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.Fixes, b.Ext = b.Fixes[:0], b.Ext[:0] }

// ExtOf returns the raw TLVs of a fix of this batch, nil if it has none. The slice
// is the batch's own.
func (b *Batch) ExtOf(f *Fix) []byte {
	if f.ExtLen == 0 {
		return nil
	}
	return b.Ext[f.Ext : f.Ext+uint32(f.ExtLen)]
}
