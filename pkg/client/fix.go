package client

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Fix is one report as the API tells it. In JSON it is one object with the members
//
//	device name time lat lon alt_m speed_mps course_deg accuracy_m
//	battery_pct power event late suspect jump received
//
// of which all but the first three are absent where nobody knows them; Has tells
// which they are.
type Fix struct {
	Device   track.DeviceID
	Name     string
	Time     time.Time // the device's own, UTC, milliseconds
	Received time.Time // the server's, zero if not told
	At       geo.Point // valid with track.HasPos
	Has      track.Has
	Alt      int        // metres above mean sea level, with track.HasAlt
	Speed    float64    // metres a second, with track.HasVel
	Course   float64    // degrees clockwise from north, with track.HasVel
	Accuracy geo.Meters // with track.HasAcc; 5079.04 means that or worse
	Battery  int        // percent, with track.HasBat
	Power    bool       // runs on external power
	Event    string     // "sos", …; empty is nothing
	Late     bool       // arrived after a newer one: history, not the present
	Suspect  bool       // its clock ran ahead of the server's
	Jump     bool       // too far from the fix before to have been travelled
}

// HasPos tells whether the fix has a place; one without is a heartbeat.
func (f *Fix) HasPos() bool { return f.Has&track.HasPos != 0 }

// AppendJSON appends the fix as one JSON object without a line end.
func (f *Fix) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"device":"`...)
	dst, _ = f.Device.AppendText(dst)
	dst = append(dst, `","name":`...)
	dst = appendJSONString(dst, f.Name)
	dst = appendJSONTime(append(dst, `,"time":`...), f.Time)
	if f.Has&track.HasPos != 0 {
		dst = appendJSONFloat(append(dst, `,"lat":`...), f.At.LatDeg())
		dst = appendJSONFloat(append(dst, `,"lon":`...), f.At.LonDeg())
	}
	if f.Has&track.HasAlt != 0 {
		dst = strconv.AppendInt(append(dst, `,"alt_m":`...), int64(f.Alt), 10)
	}
	if f.Has&track.HasVel != 0 {
		dst = appendJSONFloat(append(dst, `,"speed_mps":`...), f.Speed)
		dst = appendJSONFloat(append(dst, `,"course_deg":`...), f.Course)
	}
	if f.Has&track.HasAcc != 0 {
		dst = appendJSONFloat(append(dst, `,"accuracy_m":`...), float64(f.Accuracy))
	}
	if f.Has&track.HasBat != 0 {
		dst = strconv.AppendInt(append(dst, `,"battery_pct":`...), int64(f.Battery), 10)
	}
	if f.Event != "" {
		dst = appendJSONString(append(dst, `,"event":`...), f.Event)
	}
	for _, flag := range [...]struct {
		set  bool
		text string
	}{{f.Power, `,"power":true`}, {f.Late, `,"late":true`}, {f.Suspect, `,"suspect":true`}, {f.Jump, `,"jump":true`}} {
		if flag.set {
			dst = append(dst, flag.text...)
		}
	}
	if !f.Received.IsZero() {
		dst = appendJSONTime(append(dst, `,"received":`...), f.Received)
	}
	return append(dst, '}')
}

func appendJSONTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	return append(t.UTC().AppendFormat(dst, timeLayout), '"')
}

func appendJSONFloat(dst []byte, v float64) []byte { return strconv.AppendFloat(dst, v, 'f', -1, 64) }

func appendJSONString(dst []byte, s string) []byte {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			b, _ := json.Marshal(s) // strings always marshal
			return appendPrintable(dst, b)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// appendPrintable escapes what a terminal could take for a command, or for nothing: JSON
// only wants it of the first 32 characters.
func appendPrintable(dst, b []byte) []byte {
	for _, r := range string(b) {
		switch {
		case unicode.IsPrint(r):
			dst = utf8.AppendRune(dst, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
	}
	return dst
}

// MarshalJSON is AppendJSON for encoding/json.
func (f Fix) MarshalJSON() ([]byte, error) { return f.AppendJSON(nil), nil }

// UnmarshalJSON reads what AppendJSON and the server write. Members it does not know
// are passed over.
func (f *Fix) UnmarshalJSON(b []byte) error {
	d := fixReader{scan: scan{b: b}}
	*f = Fix{}
	d.fix(f)
	return d.end()
}

// fixReader reads fixes and remembers a few names, so that a stream of fixes of the
// same devices makes no garbage.
type fixReader struct {
	scan
	words    words // made by remember
	lat, lon bool  // seen in the fix that is being read
}

// remember makes room for the names of a stream.
func (d *fixReader) remember() { d.words = make(words, 4096) }

func (d *fixReader) fix(f *Fix) {
	d.lat, d.lon = false, false
	d.open('{')
	for first := true; d.more(first, '}'); first = false {
		d.member(f, d.key())
	}
	switch {
	case d.err != nil:
	case f.Device == 0 || f.Time.IsZero():
		d.fail("a fix without device or time")
	case d.lat != d.lon:
		d.fail("a fix with half a place")
	case d.lat:
		f.Has |= track.HasPos
	}
}

// Ranges that a fix can hold; what is outside of them is not a fix.
const (
	maxCenti = 1 << 40
	maxSmall = 1 << 31
)

func (d *fixReader) member(f *Fix, key []byte) {
	if d.null() {
		return
	}
	switch string(key) {
	case "device":
		f.Device = d.device()
	case "name":
		f.Name = d.words.intern(d.str())
	case "time":
		f.Time = d.time()
	case "received":
		f.Received = d.time()
	case "lat":
		f.At.Lat, d.lat = int32(d.scaled(7, geo.MaxLat)), true
	case "lon":
		f.At.Lon, d.lon = int32(d.scaled(7, geo.MaxLon)), true
	case "alt_m":
		f.Alt = int(d.scaled(0, maxSmall))
		f.Has |= track.HasAlt
	case "speed_mps":
		f.Speed = float64(d.scaled(2, maxCenti)) / 100
		f.Has |= track.HasVel
	case "course_deg":
		f.Course = float64(d.scaled(2, maxCenti)) / 100
		f.Has |= track.HasVel
	case "accuracy_m":
		f.Accuracy = geo.Meters(d.scaled(2, maxCenti)) / 100
		f.Has |= track.HasAcc
	case "battery_pct":
		f.Battery = int(d.scaled(0, maxSmall))
		f.Has |= track.HasBat
	case "power":
		f.Power = d.bool()
	case "event":
		f.Event = d.words.intern(d.str())
	case "late":
		f.Late = d.bool()
	case "suspect":
		f.Suspect = d.bool()
	case "jump":
		f.Jump = d.bool()
	default:
		d.skip()
	}
}

// device reads an id.
func (d *fixReader) device() track.DeviceID {
	id, ok := parseDevice(d.str())
	if !ok {
		d.fail("want a device id of 12 hex digits")
	}
	return id
}

// parseDevice reads the 12 digits of an id. By track.ParseDeviceID it would cost a
// string for each fix.
func parseDevice(b []byte) (track.DeviceID, bool) {
	var id track.DeviceID
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		id = id<<4 | track.DeviceID(c&15)
	}
	return id, len(b) == 12
}

// words are strings that were made lately, an even number of places for them; without
// any, every string is made anew.
type words []string

// intern makes a string of bytes, and the same one again if it was made lately.
func (w words) intern(b []byte) string {
	if len(w) == 0 || len(b) == 0 {
		return string(b)
	}
	h := uint32(2166136261) // FNV-1a
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	// Two that fall on the same pair of places have room there.
	i := (h * 0x9e3779b1 >> 16) % uint32(len(w)) &^ 1
	last, before := &w[i], &w[i+1]
	if *last == string(b) {
		return *last
	}
	if *before == string(b) {
		return *before
	}
	*before, *last = *last, string(b)
	return *last
}
