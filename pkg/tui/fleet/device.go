package fleet

import (
	"math"
	"strings"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
)

// device is what is kept of a device beside its point. The latest fix is written out in
// it, at half the size of a client.Fix.
type device struct {
	id    track.DeviceID
	name  string // clean, never empty
	raw   string // what name was made of
	event string

	time, received          int64 // unix milliseconds, never if zero
	at                      geo.Point
	speed, course, accuracy float64
	alt, battery            int32
	has                     track.Has
	power, suspect, jump    bool

	gen   uint32 // the last snapshot that named it
	trail trail
	spark spark

	silent, alarm uint64 // events of the log that may still be told more of
}

// never is the zero time in milliseconds.
const never = math.MinInt64

func millis(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == never {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// keep stores f as the latest fix, with the place of the one before if f is a heartbeat,
// and with its event while that is being shown.
func (d *device) keep(f *client.Fix, alarmed bool) {
	d.time, d.received = millis(f.Time), millis(f.Received)
	if d.has = f.Has | d.has&track.HasPos; f.HasPos() {
		d.at = f.At
	}
	if !alarmed || filter.Alarming(f.Event) {
		d.event = bounded(f.Event)
	}
	d.speed, d.course, d.accuracy = f.Speed, f.Course, float64(f.Accuracy)
	d.alt, d.battery = int32(f.Alt), int32(f.Battery)
	d.power, d.suspect, d.jump = f.Power, f.Suspect, f.Jump
}

// fix is the latest fix again.
func (d *device) fix() client.Fix {
	return client.Fix{
		Device: d.id, Name: d.raw, Time: fromMillis(d.time), Received: fromMillis(d.received),
		At: d.at, Has: d.has, Alt: int(d.alt), Speed: d.speed, Course: d.course,
		Accuracy: geo.Meters(d.accuracy), Battery: int(d.battery), Power: d.power, Event: d.event,
		Suspect: d.suspect, Jump: d.jump,
	}
}

// subject fills what a filter wants to know of the latest fix.
func (d *device) subject(x *filter.Subject) {
	*x = filter.Subject{
		ID: d.id, Name: d.name, At: d.at, Has: d.has, Speed: d.speed, Course: d.course, Alt: int(d.alt),
		Battery: int(d.battery), Accuracy: geo.Meters(d.accuracy),
		Power: d.power, Jump: d.jump, Suspect: d.suspect, Event: d.event,
	}
}

// mostText is how much is kept of what a fix calls itself, in bytes; a server has less.
const mostText = 256

// bounded is as much of a foreign text as is kept. It keeps nothing else alive.
func bounded(s string) string {
	if len(s) <= mostText {
		return s
	}
	return strings.Clone(strings.ToValidUTF8(s[:mostText], ""))
}

// cleanName is what the screen calls a device: its name without anything that a
// terminal could take for a command, or its id.
func cleanName(raw string, id track.DeviceID) string {
	if name := canvas.Clean(raw); name != "" {
		return canvas.Truncate(name, 40)
	}
	return id.String()
}

// shelf holds devices by index. It grows by whole boards, so that nothing is copied and
// nothing lies empty but the last board.
type shelf struct {
	boards []*[boardSize]device
	n      int32
}

const boardSize = 256

// at is the device at an index, which must have been added.
func (s *shelf) at(i int32) *device { return &s.boards[i/boardSize][i%boardSize] }

// add makes room for one more and returns its index.
func (s *shelf) add() int32 {
	if int(s.n) == len(s.boards)*boardSize {
		s.boards = append(s.boards, new([boardSize]device))
	}
	s.n++
	return s.n - 1
}

func (s *shelf) has(i int32) bool { return i >= 0 && i < s.n }
