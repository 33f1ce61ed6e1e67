package web

import (
	"math/bits"
	"unicode/utf8"

	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// Fixes leave as JSON far more often than anything else does, so they are written
// by hand: no reflection, no allocation, and integers all the way, since a fix holds
// no floating-point number. What is written here is the schema Fix of openapi.json.

// names appends the name of a device, as engine.Engine.AppendName does.
type names func(dst []byte, id track.DeviceID) []byte

// appendFix appends one fix as a JSON object. Members that its device did not know
// are left out.
func appendFix(dst []byte, f *track.Fix, name names) []byte {
	dst = append(dst, `{"device":"`...)
	dst, _ = f.Device.AppendText(dst)
	dst = append(dst, `","name":"`...)
	dst = appendName(dst, f.Device, name)
	dst = append(dst, `","time":"`...)
	dst = appendTime(dst, f.Time)
	dst = append(dst, '"')
	if f.Has&track.HasPos != 0 {
		dst = append(dst, `,"lat":`...)
		dst = appendE7(dst, f.At.Lat)
		dst = append(dst, `,"lon":`...)
		dst = appendE7(dst, f.At.Lon)
	}
	dst = appendMotion(dst, f)
	dst = appendBattery(dst, f)
	if f.Event != track.EventNone {
		dst = append(dst, `,"event":`...)
		dst = appendEvent(dst, f.Event)
	}
	dst = appendFlags(dst, f.Flags)
	if f.Arrived != 0 {
		dst = append(dst, `,"received":"`...)
		dst = appendTime(dst, f.Arrived)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

func appendMotion(dst []byte, f *track.Fix) []byte {
	if f.Has&track.HasAlt != 0 {
		dst = append(dst, `,"alt_m":`...)
		dst = appendInt(dst, int64(f.Alt))
	}
	if f.Has&track.HasVel != 0 {
		dst = append(dst, `,"speed_mps":`...)
		dst = appendCenti(dst, uint32(f.Speed))
		dst = append(dst, `,"course_deg":`...)
		dst = appendCenti(dst, uint32(f.Course))
	}
	if f.Has&track.HasAcc != 0 {
		dst = append(dst, `,"accuracy_m":`...)
		dst = append(dst, accuracyText[f.Acc]...)
	}
	return dst
}

func appendBattery(dst []byte, f *track.Fix) []byte {
	if f.Has&track.HasBat == 0 {
		return dst
	}
	if pct, ok := f.BatteryPercent(); ok {
		dst = append(dst, `,"battery_pct":`...)
		dst = appendInt(dst, int64(pct))
	}
	if f.Bat&0x80 != 0 {
		dst = append(dst, `,"power":true`...)
	}
	return dst
}

func appendFlags(dst []byte, fl track.Flags) []byte {
	if fl&track.Late != 0 {
		dst = append(dst, `,"late":true`...)
	}
	if fl&track.Suspect != 0 {
		dst = append(dst, `,"suspect":true`...)
	}
	if fl&track.Jump != 0 {
		dst = append(dst, `,"jump":true`...)
	}
	return dst
}

// eventText holds every event quoted, so that an unknown one allocates nothing.
var eventText = func() (t [256]string) {
	for i := range t {
		t[i] = `"` + track.Event(i).String() + `"`
	}
	return t
}()

func appendEvent(dst []byte, e track.Event) []byte { return append(dst, eventText[e]...) }

// accuracyText holds the metres of each accuracy code.
var accuracyText = func() (t [256]string) {
	for i := range t {
		cm, worse := wire.AccuracyCM(uint8(i))
		if worse {
			cm = accuracyWorse
		}
		t[i] = string(appendCenti(nil, uint32(cm)))
	}
	return t
}()

// accuracyWorse, in centimetres, stands for every radius that is larger than a
// datagram can say: the step that would come next.
const accuracyWorse = 507904

const digitPairs = "00010203040506070809" +
	"10111213141516171819" +
	"20212223242526272829" +
	"30313233343536373839" +
	"40414243444546474849" +
	"50515253545556575859" +
	"60616263646566676869" +
	"70717273747576777879" +
	"80818283848586878889" +
	"90919293949596979899"

func append2(dst []byte, v uint32) []byte {
	return append(dst, digitPairs[2*v], digitPairs[2*v+1])
}

func appendInt(dst []byte, v int64) []byte {
	if v < 0 {
		dst = append(dst, '-')
		return appendUint(dst, -uint64(v))
	}
	return appendUint(dst, uint64(v))
}

func appendUint(dst []byte, v uint64) []byte {
	var b [20]byte
	i := len(b)
	for v >= 10 {
		q := v / 10
		i--
		b[i] = byte('0' + v - q*10)
		v = q
	}
	i--
	b[i] = byte('0' + v)
	return append(dst, b[i:]...)
}

// appendE7 writes 1e-7 degrees as degrees, without trailing zeros.
func appendE7(dst []byte, v int32) []byte {
	u := uint32(v)
	if v < 0 {
		dst = append(dst, '-')
		u = -u
	}
	whole, frac := u/10_000_000, u%10_000_000
	dst = appendUint(dst, uint64(whole))
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.', byte('0'+frac/1_000_000))
	frac %= 1_000_000
	dst = append2(dst, frac/10_000)
	dst = append2(dst, frac/100%100)
	dst = append2(dst, frac%100)
	return trimZeros(dst)
}

// appendCenti writes hundredths as units, without trailing zeros.
func appendCenti(dst []byte, v uint32) []byte {
	dst = appendUint(dst, uint64(v/100))
	if v%100 == 0 {
		return dst
	}
	dst = append(dst, '.')
	return trimZeros(append2(dst, v%100))
}

func trimZeros(dst []byte) []byte {
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// The years that RFC 3339 can write.
const (
	minTime = -62167219200000 // 0000-01-01T00:00:00Z
	maxTime = 253402300799999 // 9999-12-31T23:59:59.999Z
)

// appendTime writes unix milliseconds as RFC 3339 in UTC with three decimals. What
// lies outside of the years 0 to 9999 is brought to the edge.
func appendTime(dst []byte, ms int64) []byte {
	ms = min(max(ms, minTime), maxTime) - minTime
	day, rest := uint32(ms/86_400_000), uint32(ms%86_400_000)
	y, m, d := civil(day)
	dst = append2(dst, y/100)
	dst = append2(dst, y%100)
	dst = append2(append(dst, '-'), m)
	dst = append2(append(dst, '-'), d)
	dst = append2(append(dst, 'T'), rest/3_600_000)
	dst = append2(append(dst, ':'), rest/60_000%60)
	dst = append2(append(dst, ':'), rest/1000%60)
	rest %= 1000
	dst = append(dst, '.', byte('0'+rest/100))
	return append(append2(dst, rest%100), 'Z')
}

// civil turns days since 0000-01-01 into a date of the Gregorian calendar, by
// counting years from March so that the leap day comes last (Hinnant's
// civil_from_days).
func civil(day uint32) (y, m, d uint32) {
	const shift = 146_097 - 60 // counts from March 1 of the year -400, where an era begins
	z := day + shift
	era := z / 146_097
	doe := z % 146_097
	yoe := (doe - doe/1460 + doe/36_524 - doe/146_096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = doy - (153*mp+2)/5 + 1
	m = mp + 3
	y = yoe + era*400
	if m > 12 {
		m -= 12
		y++
	}
	return y - 400, m, d
}

// appendName writes the name where it will stand, and once more, escaped, if it holds
// anything that must not stand there. Hardly any does.
func appendName(dst []byte, id track.DeviceID, name names) []byte {
	start := len(dst)
	dst = name(dst, id)
	if i := start + plainLen(dst[start:]); i < len(dst) {
		raw := string(dst[i:])
		dst = appendEscapes(dst[:i], raw)
	}
	return dst
}

// plain marks the ASCII bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// plainLen is how many leading bytes of b a JSON string can hold as they are.
func plainLen(b []byte) int {
	for i := 0; i < len(b); {
		if plain[b[i]] {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r < utf8.RuneSelf || special(r, n) {
			return i
		}
		i += n
	}
	return len(b)
}

// special tells whether a decoded rune beyond ASCII needs an escape: bytes that are
// not UTF-8, and the two line ends of JavaScript.
func special(r rune, n int) bool {
	return r == utf8.RuneError && n == 1 || r == '\u2028' || r == '\u2029'
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	return append(appendEscapes(append(dst, '"'), s), '"')
}

// appendEscapes appends what stands between the quotes. Bytes that are not UTF-8
// become U+FFFD.
func appendEscapes(dst []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		if plain[s[i]] {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r < utf8.RuneSelf || special(r, n) {
			dst = append(dst, s[start:i]...)
			dst = appendEscaped(dst, r)
			start = i + n
		}
		i += n
	}
	return append(dst, s[start:]...)
}

func appendEscaped(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(append(dst, `\u`...), hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

const hexDigits = "0123456789abcdef"

// appendHex64 writes the 16 hex digits of a 64-bit id, which are never a number in
// JSON: a browser would round it.
func appendHex64(dst []byte, v uint64) []byte {
	for range 16 {
		v = bits.RotateLeft64(v, 4)
		dst = append(dst, hexDigits[v&15])
	}
	return dst
}
