// Package wire is the bytes of what travels: here the body of a datagram, which is
// what a device says once package seal has opened it.
//
//	 0   1        5        9        13
//	┌───┬────────┬────────┬────────┬─────┬───────┬─────┬─────┬─────┬─────────┬──────┐
//	│ P │ time 4 │ lat  4 │ lon  4 │ALT 2│ VEL 4 │ACC 1│BAT 1│SUB 1│ TRAIL … │ TLVs…│
//	└───┴────────┴────────┴────────┴─────┴───────┴─────┴─────┴─────┴─────────┴──────┘
//	  └─ each bit says whether a part is there; bit 7 asks for an ack
//
// The newest fix stands first and in full, so that the map needs 13 bytes and a few
// nanoseconds of it. Older ones follow as a trail: count, TP (which parts its
// entries have), and for each entry the difference to the fix before it.
//
// The decoder is strict: one meaning has one spelling, and whatever it takes, the
// encoder writes back byte for byte. docs/protocol.md is the reference.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// The presence byte.
const (
	bitAlt   = 1 << iota // 2 bytes
	bitVel               // 4
	bitAcc               // 1
	bitBat               // 1
	bitSub               // 1
	bitTrail             // count, TP, entries
	bitTLVs              // to the end
	bitAck               // no bytes: please answer
)

// What the entries of a trail may have.
const trailBits = bitAlt | bitVel | bitAcc | bitSub

const (
	fixedLen   = 13
	noPosition = -1 << 31 // as lat: the device knows no place
	maxSub     = 249
	subMillis  = 4
	subsPerSec = 1000 / subMillis
	maxCourse  = 36000
	maxPercent = 100
	noPercent  = 127
	maxTrail   = 255
	halfTurn   = geo.MaxLon
	fullTurn   = 2 * geo.MaxLon
)

// ErrMalformed is what every refusal of DecodeBody is.
var ErrMalformed = fmt.Errorf("malformed body: %w", track.ErrInvalid)

// The rules of the decoder, made once so that refusing costs no allocation.
var (
	errShort     = malformed("ends early")
	errTrailing  = malformed("bytes after the last part")
	errLat       = malformed("latitude is not in -90..90")
	errLon       = malformed("longitude is not in -180..180")
	errNoPosLon  = malformed("longitude of no position is not 0")
	errCourse    = malformed("course is not in 0..359.99")
	errBattery   = malformed("battery is neither 0..100 nor 127")
	errSub       = malformed("sub-second is not in 0..249")
	errTrailPos  = malformed("trail without position")
	errTrailNone = malformed("trail of no fixes")
	errTrailBits = malformed("trail part unknown, or one that the newest fix lacks")
	errVarint    = malformed("number longer than it needs to be, or than 6 bytes")
	errTrailTime = malformed("trail goes back before 1970")
	errTrailLat  = malformed("trail leaves -90..90")
	errTrailLon  = malformed("trail takes the long way round")
	errTrailAlt  = malformed("trail leaves the range of altitudes")
	errTrailVel  = malformed("trail leaves the range of speeds")
	errTrailTurn = malformed("trail turns the long way round")
	errTLV       = malformed("TLV ends early or is empty")
	errTLVLen    = malformed("TLV of a known type with a wrong length")
	errTLVTwice  = malformed("TLV type twice")
	errTLVText   = malformed("text is not UTF-8")
)

func malformed(rule string) error { return &bodyError{rule} }

type bodyError struct{ rule string }

func (e *bodyError) Error() string { return ErrMalformed.Error() + ": " + e.rule }
func (e *bodyError) Unwrap() error { return ErrMalformed }

// Body is the body of one datagram, as an encoder sees it.
type Body struct {
	Fixes []track.Fix // newest first, at least one; only Fixes[0] has battery and event
	TLVs  []byte      // as AppendTLV made them
	Ack   bool        // ask for an ack

	// Sub sends the newest fix's time in 4 ms steps instead of seconds; TrailSub does
	// so for the trail, and needs Sub. What falls between the steps is cut off.
	Sub, TrailSub bool
	// TrailParts says which of HasAlt, HasVel, HasAcc the trail carries; the newest fix
	// must have them, and so must each of the others. Parts that it does not carry are
	// lost, except the altitude, which the receiver takes from the newest fix.
	TrailParts track.Has
}

// DecodeBody appends the fixes of one body to b, oldest first, so that the last one
// is the newest: it has Sub 0, the battery, the event and the TLVs. Device, Wire,
// Arrived, Epoch, PID and Flags are left to the caller, who knows them. On an error,
// which is always an ErrMalformed, b is as it was. It allocates only to grow b.
func DecodeBody(b *track.Batch, body []byte) (ackWanted bool, err error) {
	if len(body) < fixedLen {
		return false, errShort
	}
	p := body[0]
	newest := track.Fix{Time: int64(binary.BigEndian.Uint32(body[1:])) * 1000}
	if err := decodePlace(&newest, body); err != nil {
		return false, err
	}
	rest, err := decodeParts(&newest, p, body[fixedLen:])
	if err != nil {
		return false, err
	}
	if p&(bitTrail|bitTLVs) == 0 { // by far the most frequent
		if len(rest) != 0 {
			return false, errTrailing
		}
		b.Fixes = append(b.Fixes, newest)
		return p&bitAck != 0, nil
	}
	start := len(b.Fixes)
	if p&bitTrail != 0 {
		if rest, err = decodeTrail(b, &newest, p, rest); err != nil {
			b.Fixes = b.Fixes[:start]
			return false, err
		}
	}
	if err := decodeTLVs(b, &newest, p, rest); err != nil {
		b.Fixes = b.Fixes[:start]
		return false, err
	}
	b.Fixes = append(b.Fixes, newest)
	return p&bitAck != 0, nil
}

func decodePlace(f *track.Fix, body []byte) error {
	lat := int32(binary.BigEndian.Uint32(body[5:]))
	lon := int32(binary.BigEndian.Uint32(body[9:]))
	if lat == noPosition {
		if lon != 0 {
			return errNoPosLon
		}
		if body[0]&bitTrail != 0 {
			return errTrailPos
		}
		return nil
	}
	if lat < -geo.MaxLat || lat > geo.MaxLat {
		return errLat
	}
	if lon < -geo.MaxLon || lon > geo.MaxLon {
		return errLon
	}
	f.At = geo.Point{Lat: lat, Lon: lon}
	f.Has = track.HasPos
	return nil
}

// decodeParts reads ALT to SUB of the newest fix and returns what follows.
func decodeParts(f *track.Fix, p byte, rest []byte) ([]byte, error) {
	if p&bitAlt != 0 {
		if len(rest) < 2 {
			return nil, errShort
		}
		f.Alt = int16(binary.BigEndian.Uint16(rest))
		f.Has |= track.HasAlt
		rest = rest[2:]
	}
	if p&bitVel != 0 {
		if len(rest) < 4 {
			return nil, errShort
		}
		f.Speed, f.Course = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
		if f.Course >= maxCourse {
			return nil, errCourse
		}
		f.Has |= track.HasVel
		rest = rest[4:]
	}
	if p&bitAcc != 0 {
		if len(rest) < 1 {
			return nil, errShort
		}
		f.Acc = rest[0]
		f.Has |= track.HasAcc
		rest = rest[1:]
	}
	if p&bitBat != 0 {
		if len(rest) < 1 {
			return nil, errShort
		}
		f.Bat = rest[0]
		if pct := f.Bat & 0x7f; pct > maxPercent && pct != noPercent {
			return nil, errBattery
		}
		f.Has |= track.HasBat
		rest = rest[1:]
	}
	if p&bitSub != 0 {
		if len(rest) < 1 {
			return nil, errShort
		}
		if rest[0] > maxSub {
			return nil, errSub
		}
		f.Time += int64(rest[0]) * subMillis
		rest = rest[1:]
	}
	return rest, nil
}

// decodeTLVs checks what is left of the body, keeps it with the newest fix and
// picks out the event.
func decodeTLVs(b *track.Batch, newest *track.Fix, p byte, rest []byte) error {
	if p&bitTLVs == 0 {
		if len(rest) != 0 {
			return errTrailing
		}
		return nil
	}
	event, err := checkTLVs(rest)
	if err != nil {
		return err
	}
	newest.Event = event
	newest.Ext, newest.ExtLen = uint32(len(b.Ext)), uint16(len(rest))
	b.Ext = append(b.Ext, rest...)
	return nil
}

// AppendBody is the opposite of DecodeBody. Battery percent and place must be in
// range; it refuses what DecodeBody would refuse.
func AppendBody(dst []byte, m *Body) ([]byte, error) {
	out, err := appendBody(dst, m)
	if err != nil {
		return dst, fmt.Errorf("encode body: %w", err)
	}
	return out, nil
}

func appendBody(dst []byte, m *Body) ([]byte, error) {
	if len(m.Fixes) == 0 {
		return nil, errors.New("no fix")
	}
	if len(m.Fixes) > maxTrail+1 {
		return nil, fmt.Errorf("%d fixes, at most %d fit", len(m.Fixes), maxTrail+1)
	}
	f := &m.Fixes[0]
	if f.Time < 0 || f.Time/1000 > 1<<32-1 {
		return nil, errors.New("time is not in 1970..2106")
	}
	p, err := presence(m)
	if err != nil {
		return nil, err
	}
	dst = append(dst, p)
	dst = binary.BigEndian.AppendUint32(dst, uint32(f.Time/1000))
	if dst, err = appendPlace(dst, f); err != nil {
		return nil, err
	}
	if dst, err = appendParts(dst, f, p); err != nil {
		return nil, err
	}
	if p&bitTrail != 0 {
		if dst, err = appendTrail(dst, m, p); err != nil {
			return nil, err
		}
	}
	if len(m.TLVs) > 0 {
		if _, err := checkTLVs(m.TLVs); err != nil {
			return nil, err
		}
	}
	return append(dst, m.TLVs...), nil
}

func presence(m *Body) (byte, error) {
	p := partBits(m.Fixes[0].Has)
	if m.Sub {
		p |= bitSub
	}
	if len(m.Fixes) > 1 {
		if m.Fixes[0].Has&track.HasPos == 0 {
			return 0, errTrailPos
		}
		p |= bitTrail
	}
	if len(m.TLVs) > 0 {
		p |= bitTLVs
	}
	if m.Ack {
		p |= bitAck
	}
	return p, nil
}

func partBits(h track.Has) byte {
	var p byte
	if h&track.HasAlt != 0 {
		p |= bitAlt
	}
	if h&track.HasVel != 0 {
		p |= bitVel
	}
	if h&track.HasAcc != 0 {
		p |= bitAcc
	}
	if h&track.HasBat != 0 {
		p |= bitBat
	}
	return p
}

func appendPlace(dst []byte, f *track.Fix) ([]byte, error) {
	if f.Has&track.HasPos == 0 {
		return append(dst, 0x80, 0, 0, 0, 0, 0, 0, 0), nil
	}
	if f.At.Lat < -geo.MaxLat || f.At.Lat > geo.MaxLat {
		return nil, errLat
	}
	if f.At.Lon < -geo.MaxLon || f.At.Lon > geo.MaxLon {
		return nil, errLon
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(f.At.Lat))
	return binary.BigEndian.AppendUint32(dst, uint32(f.At.Lon)), nil
}

func appendParts(dst []byte, f *track.Fix, p byte) ([]byte, error) {
	if p&bitAlt != 0 {
		dst = binary.BigEndian.AppendUint16(dst, uint16(f.Alt))
	}
	if p&bitVel != 0 {
		if f.Course >= maxCourse {
			return nil, errCourse
		}
		dst = binary.BigEndian.AppendUint16(dst, f.Speed)
		dst = binary.BigEndian.AppendUint16(dst, f.Course)
	}
	if p&bitAcc != 0 {
		dst = append(dst, f.Acc)
	}
	if p&bitBat != 0 {
		if pct := f.Bat & 0x7f; pct > maxPercent && pct != noPercent {
			return nil, errBattery
		}
		dst = append(dst, f.Bat)
	}
	if p&bitSub != 0 {
		dst = append(dst, byte(f.Time%1000/subMillis))
	}
	return dst, nil
}
