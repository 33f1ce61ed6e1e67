package fan

import (
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// scanner reads messages in the one form in which our server writes them: members in
// their order, no spaces, no escapes. It says no to everything else, also to what is
// right in another form; what it says yes to, a tolerant reader understands the same.
type scanner struct {
	b     []byte
	i     int
	fixes []Fix

	minute    [17]byte // "2026-11-22T05:38:" that was seen last, and the moment it is
	minuteMS  int64
	hasMinute bool
}

// frame reads a message that is a frame.
func (s *scanner) frame(b []byte, f *Frame) bool {
	s.b, s.i = b, 0
	ok := s.head(f) && s.list() && s.left() && s.i == len(b)
	s.b = nil
	f.Fixes = s.fixes
	if !ok {
		*f = Frame{}
	}
	if cap(s.fixes) > keepFixes {
		s.fixes = nil
	}
	return ok
}

func (s *scanner) head(f *Frame) bool {
	switch {
	case s.lit(`{"type":"fixes","stream":`):
		f.Kind = Fixes
	case s.lit(`{"type":"snapshot","stream":`):
		f.Kind = Snapshot
	case s.lit(`{"type":"resync","stream":`):
		f.Kind = Resync
	default:
		return false
	}
	if _, ok := s.number(); !ok {
		return false
	}
	if s.lit(`,"epoch":"`) && !s.text() {
		return false
	}
	var ok bool
	if !s.lit(`,"seq":`) {
		return false
	}
	if f.Position, ok = s.number(); !ok {
		return false
	}
	if s.lit(`,"n":`) {
		if _, ok = s.number(); !ok {
			return false
		}
	}
	if s.lit(`,"skipped":`) {
		if f.Skipped, ok = s.number(); !ok {
			return false
		}
	}
	s.lit(`,"fresh":true`)
	f.More = s.lit(`,"more":true`)
	return s.lit(`,"fixes":[`)
}

func (s *scanner) list() bool {
	s.fixes = s.fixes[:0]
	if s.lit(`]`) {
		return true
	}
	for {
		s.fixes = append(s.fixes, Fix{})
		if !s.fix(&s.fixes[len(s.fixes)-1]) {
			return false
		}
		if s.lit(`]`) {
			return true
		}
		if !s.lit(`,`) {
			return false
		}
	}
}

// left passes over the devices that are gone, to the end of the message.
func (s *scanner) left() bool {
	if !s.lit(`,"left":[`) {
		return s.lit(`}`)
	}
	for {
		if !s.lit(`"`) || !s.text() {
			return false
		}
		if s.lit(`]}`) {
			return true
		}
		if !s.lit(`,`) {
			return false
		}
	}
}

func (s *scanner) fix(f *Fix) bool {
	if !s.lit(`{"device":"`) || !s.device(f) || !s.lit(`","name":"`) || !s.text() {
		return false
	}
	if !s.lit(`,"time":"`) || !s.moment(f) {
		return false
	}
	if s.lit(`,"lat":`) {
		if !s.degrees(&f.Lat) || !s.lit(`,"lon":`) || !s.degrees(&f.Lon) {
			return false
		}
		f.Placed = true
	}
	return s.lit(`}`) || s.rest(f)
}

// rest passes over what we do not measure, in the order in which it is written.
func (s *scanner) rest(f *Fix) bool {
	ok := s.decimal(`,"alt_m":`) && s.decimal(`,"speed_mps":`) && s.decimal(`,"course_deg":`) &&
		s.decimal(`,"accuracy_m":`) && s.decimal(`,"battery_pct":`)
	if !ok {
		return false
	}
	s.lit(`,"power":true`)
	if s.lit(`,"event":"`) && !s.text() {
		return false
	}
	f.Late = s.lit(`,"late":true`)
	s.lit(`,"suspect":true`)
	s.lit(`,"jump":true`)
	var received Fix
	if s.lit(`,"received":"`) && !s.moment(&received) {
		return false
	}
	return s.lit(`}`)
}

func (s *scanner) lit(want string) bool {
	if len(s.b)-s.i < len(want) || string(s.b[s.i:s.i+len(want)]) != want {
		return false
	}
	s.i += len(want)
	return true
}

// text passes over the rest of a string and its quote; none with an escape.
func (s *scanner) text() bool {
	for i := s.i; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			s.i = i + 1
			return true
		case c < ' ', c == '\\':
			return false
		}
	}
	return false
}

// number reads a whole number of up to 15 digits.
func (s *scanner) number() (v uint64, ok bool) {
	start := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' <= 9 {
		v = v*10 + uint64(s.b[s.i]-'0')
		s.i++
	}
	n := s.i - start
	return v, n > 0 && n <= 15 && (n == 1 || s.b[start] != '0')
}

// decimal passes over a member that is a number, if it is there.
func (s *scanner) decimal(name string) bool {
	if !s.lit(name) {
		return true
	}
	s.lit(`-`)
	if _, ok := s.number(); !ok {
		return false
	}
	if !s.lit(`.`) {
		return true
	}
	start := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' <= 9 {
		s.i++
	}
	return s.i > start
}

// degrees reads degrees with up to seven decimals, exactly.
func (s *scanner) degrees(to *int32) bool {
	minus := s.lit(`-`)
	whole, ok := s.number()
	if !ok || whole > 180 {
		return false
	}
	v := int64(whole) * geo.E7
	if s.lit(`.`) {
		start, unit := s.i, int64(geo.E7)
		for s.i < len(s.b) && s.b[s.i]-'0' <= 9 {
			unit /= 10
			v += unit * int64(s.b[s.i]-'0')
			s.i++
		}
		if n := s.i - start; n == 0 || n > 7 {
			return false
		}
	}
	if minus {
		v = -v
	}
	*to = int32(v)
	return true
}

// nibble is the value of each hex digit, 16 of anything else. Ids are lower case.
var nibble = func() (t [256]uint8) {
	for i := range t {
		t[i] = 16
	}
	for i, c := range "0123456789abcdef" {
		t[c] = uint8(i)
	}
	return t
}()

func (s *scanner) device(f *Fix) bool {
	const n = 12
	if len(s.b)-s.i < n {
		return false
	}
	var id uint64
	var bad uint8
	for _, c := range s.b[s.i : s.i+n] {
		v := nibble[c]
		bad |= v
		id = id<<4 | uint64(v)
	}
	s.i += n
	f.Device = track.DeviceID(id)
	return bad < 16
}

// moment reads "2026-11-22T05:38:44.123Z" and the quote behind it. Nearly all of them lie
// in the minute of the one before.
func (s *scanner) moment(f *Fix) bool {
	const n = len(`2026-11-22T05:38:44.123Z"`)
	if len(s.b)-s.i < n {
		return false
	}
	b := s.b[s.i : s.i+n]
	s.i += n
	if !s.hasMinute || string(b[:17]) != string(s.minute[:]) {
		t, err := time.Parse(time.RFC3339, string(b[:17])+"00Z")
		if err != nil {
			return false
		}
		copy(s.minute[:], b)
		s.minuteMS, s.hasMinute = t.UnixMilli(), true
	}
	a0, a1, c0, c1, c2 := b[17]-'0', b[18]-'0', b[20]-'0', b[21]-'0', b[22]-'0'
	if a0 > 5 || a1 > 9 || c0 > 9 || c1 > 9 || c2 > 9 || b[19] != '.' || b[23] != 'Z' || b[24] != '"' {
		return false
	}
	f.Time = s.minuteMS + 1000*(10*int64(a0)+int64(a1)) + 100*int64(c0) + 10*int64(c1) + int64(c2)
	return true
}

// reported reads the answer to a report that was taken.
func (s *scanner) reported(b []byte, to Sink) bool {
	s.b, s.i = b, 0
	defer func() { s.b = nil }()
	if !s.lit(`{"type":"reported","id":`) {
		return false
	}
	id, ok := s.number()
	if !ok || id < firstTextReport || id > 1<<32-1 || !s.lit(`,"device":"`) || !s.text() || !s.lit(`,"accepted":`) {
		return false
	}
	if n, ok := s.number(); !ok || n == 0 || !s.lit(`,"late":`) {
		return false
	}
	if _, ok := s.number(); !ok || !s.lit(`}`) || s.i != len(b) {
		return false
	}
	to.Answer(uint32(id)-firstTextReport+firstReport, nil)
	return true
}
