package client

import (
	"math"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// The years that fixes have on the other transport.
const (
	minTime = -62167219200000 // 0000-01-01T00:00:00Z
	maxTime = 253402300799999 // 9999-12-31T23:59:59.999Z
)

func millis(ms float64) time.Time {
	return time.UnixMilli(int64(min(max(ms, minTime), maxTime))).UTC()
}

// moment is a time that may be absent.
func moment(ms float64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return millis(ms)
}

func unixMillis(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli())
}

// notBefore is the first millisecond that is not before a time: fixes have no finer
// times, so as a bound it means the same.
func notBefore(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Add(time.Millisecond - 1).UnixMilli())
}

// eventNames are made once.
var eventNames = func() (t [256]string) {
	for i := range t {
		t[i] = track.Event(i).String()
	}
	return t
}()

// Battery byte of a fix.
const (
	chargeBits = 0x7f
	powerBit   = 0x80
)

// readFix turns a fix of the wire into one of the API, equal to what JSON tells of it.
func readFix(f *Fix, x *trk.Fix, name string) {
	*f = Fix{
		Device:   track.DeviceID(x.DeviceHi())<<32 | track.DeviceID(x.DeviceLo()),
		Name:     name,
		Time:     millis(x.Time()),
		Received: moment(x.Received()),
		Has:      track.Has(x.Has()) & (track.HasPos | track.HasAlt | track.HasVel | track.HasAcc),
		Event:    eventNames[x.Event()],
	}
	if f.Has&track.HasPos != 0 {
		f.At = geo.Point{Lat: x.Lat(), Lon: x.Lon()}
	}
	if f.Has&track.HasAlt != 0 {
		f.Alt = int(x.AltM())
	}
	if f.Has&track.HasVel != 0 {
		f.Speed, f.Course = float64(x.SpeedCmps())/100, float64(x.CourseCdeg())/100
	}
	if f.Has&track.HasAcc != 0 {
		f.Accuracy = geo.Meters(x.AccuracyCm()) / 100
	}
	if b := x.Battery(); track.Has(x.Has())&track.HasBat != 0 {
		f.Power = b&powerBit != 0
		if b&chargeBits <= 100 {
			f.Battery, f.Has = int(b&chargeBits), f.Has|track.HasBat
		}
	}
	if m := track.Flags(x.Marks()); m != 0 {
		f.Late, f.Suspect, f.Jump = m&track.Late != 0, m&track.Suspect != 0, m&track.Jump != 0
	}
}

// fixTable is a table with fixes and the names beside them.
type fixTable interface {
	Fixes(x *trk.Fix, i int) bool
	FixesLength() int
	Names(i int) []byte
	NamesLength() int
}

// appendFixes appends the fixes of a table. That each has a name beside it is what the
// schema asks for and no verifier knows.
func appendFixes(dst []Fix, t fixTable, w words) []Fix {
	var x trk.Fix
	names := t.NamesLength()
	for i := range t.FixesLength() {
		if !t.Fixes(&x, i) {
			break
		}
		name := ""
		if i < names {
			name = w.intern(t.Names(i))
		}
		dst = append(dst, Fix{})
		readFix(&dst[len(dst)-1], &x, name)
	}
	return dst
}

// writeFix is the opposite of readFix, of what a device may say: not who it is, and not
// what the server finds out.
func writeFix(x *trk.FixT, f *Fix) {
	*x = trk.FixT{
		Time: unixMillis(f.Time), Has: trk.Has(f.Has),
		Lat: f.At.Lat, Lon: f.At.Lon, AltM: int16(min(max(f.Alt, math.MinInt16), math.MaxInt16)),
		SpeedCmps: centi(f.Speed, math.MaxUint16), CourseCdeg: centi(f.Course, 35999),
		AccuracyCm: uint32(min(max(math.Round(float64(f.Accuracy)*100), 0), math.MaxUint32)),
	}
	if f.Has&track.HasBat != 0 {
		x.Battery = byte(min(max(f.Battery, 0), 100))
	} else if f.Power {
		x.Has, x.Battery = x.Has|trk.HasBattery, chargeBits
	}
	if f.Power {
		x.Battery |= powerBit
	}
	for i, name := range eventNames {
		if name == f.Event {
			x.Event = trk.DeviceEvent(i)
			break
		}
	}
}

func centi(v, most float64) uint16 { return uint16(min(max(math.Round(v*100), 0), most)) }
