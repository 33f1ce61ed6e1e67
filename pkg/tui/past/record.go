package past

import (
	"math"
	"sync"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// record is a fix as it is kept: 32 bytes instead of two hundred, and nothing in it
// for the garbage collector to look at. It has all that a fix of history tells, except
// for when it came and whether that was late: in the past nothing is.
type record struct {
	at       int64  // the device's time, unix milliseconds
	lat, lon int32  // 1e-7 degree
	acc      uint32 // centimetres
	speed    uint16 // cm/s
	course   uint16 // 1/100 degree
	alt      int16
	bat      uint8
	has      track.Has
	marks    marks
	event    uint8 // by the number that events gave it
}

type marks uint8

const (
	onPower marks = 1 << iota
	suspect
	jump
)

// maxRecords is how many records are kept in all: 16 MB.
const maxRecords = 1 << 19

func pack(f *client.Fix, e *events) record {
	return record{
		at: f.Time.UnixMilli(), lat: f.At.Lat, lon: f.At.Lon,
		acc: uint32(hundredths(float64(f.Accuracy), math.MaxUint32)), speed: uint16(hundredths(f.Speed, math.MaxUint16)),
		course: uint16(hundredths(f.Course, math.MaxUint16)) % 36000,
		alt:    int16(min(max(f.Alt, math.MinInt16), math.MaxInt16)), bat: uint8(min(max(f.Battery, 0), 100)),
		has: f.Has, marks: mark(onPower, f.Power) | mark(suspect, f.Suspect) | mark(jump, f.Jump), event: e.number(f.Event),
	}
}

func mark(m marks, set bool) marks {
	if set {
		return m
	}
	return 0
}

// hundredths is a number of the API in the steps of the wire.
func hundredths(v, limit float64) float64 {
	if !(v > 0) { // nor not a number
		return 0
	}
	return min(math.Round(v*100), limit)
}

// fix is the opposite of pack.
func (r *record) fix(s *strip, e *events) client.Fix {
	return client.Fix{
		Device: s.id, Name: s.name, Time: time.UnixMilli(r.at).UTC(), At: geo.Point{Lat: r.lat, Lon: r.lon}, Has: r.has,
		Alt: int(r.alt), Speed: float64(r.speed) / 100, Course: float64(r.course) / 100, Accuracy: geo.Meters(r.acc) / 100,
		Battery: int(r.bat), Power: r.marks&onPower != 0, Event: e.name(r.event),
		Suspect: r.marks&suspect != 0, Jump: r.marks&jump != 0,
	}
}

// events gives numbers to the names of events, of which there are as many as a byte
// has values. Whoever loads asks for numbers while whoever shows asks for names.
type events struct {
	mu      sync.Mutex
	names   []string // of number 1, 2, …
	numbers map[string]uint8
}

// number is 0 for nothing, and for one event too many.
func (e *events) number(name string) uint8 {
	if name == "" {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n, known := e.numbers[name]
	if known || len(e.names) == math.MaxUint8 {
		return n
	}
	if e.numbers == nil {
		e.numbers = map[string]uint8{}
	}
	e.names = append(e.names, name)
	n = uint8(len(e.names))
	e.numbers[name] = n
	return n
}

func (e *events) name(n uint8) string {
	if n == 0 {
		return ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.names[n-1]
}
