package wire

import (
	"encoding/binary"
	"fmt"
	"slices"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// decodeTrail appends the fixes of a trail to b, oldest first, and returns what
// follows it. The newest fix itself is not appended.
func decodeTrail(b *track.Batch, newest *track.Fix, p byte, rest []byte) ([]byte, error) {
	if len(rest) < 2 {
		return nil, errShort
	}
	count, tp := int(rest[0]), rest[1]
	if count == 0 {
		return nil, errTrailNone
	}
	if tp&^trailBits != 0 || tp&^p != 0 {
		return nil, errTrailBits
	}
	r := reader{rest: rest[2:]}
	start := grow(b, count)
	fixes := b.Fixes[start:]
	newer := newest
	for i := range fixes {
		f := &fixes[count-1-i]
		*f = track.Fix{Has: track.HasPos, Sub: uint8(i + 1)}
		if err := r.entry(f, newer, tp); err != nil {
			return nil, err
		}
		newer = f
	}
	return r.rest, nil
}

// grow makes room for n more fixes at the end of b and returns where they start.
func grow(b *track.Batch, n int) int {
	start := len(b.Fixes)
	b.Fixes = slices.Grow(b.Fixes, n)[:start+n]
	return start
}

// reader takes a trail apart. The first error stays.
type reader struct {
	rest []byte
	err  error
}

// entry reads one fix of a trail as the difference to the next newer one.
func (r *reader) entry(f, newer *track.Fix, tp byte) error {
	unit := int64(1000)
	if tp&bitSub != 0 {
		unit = subMillis
	}
	f.Time = newer.Time - int64(r.uvarint())*unit
	lat := int64(newer.At.Lat) + r.varint()
	dlon := r.varint()
	if r.err != nil {
		return r.err
	}
	if f.Time < 0 {
		return errTrailTime
	}
	if lat < -geo.MaxLat || lat > geo.MaxLat {
		return errTrailLat
	}
	if dlon <= -halfTurn || dlon > halfTurn {
		return errTrailLon
	}
	f.At = geo.Point{Lat: int32(lat), Lon: wrapLon(int64(newer.At.Lon) + dlon)}
	// An altitude that the trail does not carry is that of the newer fix: it changes
	// slowly, and a track that drops to sea level between two points helps nobody.
	f.Alt = newer.Alt
	f.Has |= newer.Has & track.HasAlt
	if tp&(bitAlt|bitVel|bitAcc) == 0 {
		return nil
	}
	return r.parts(f, newer, tp)
}

func (r *reader) parts(f, newer *track.Fix, tp byte) error {
	if tp&bitAlt != 0 {
		alt := int64(newer.Alt) + r.varint()
		if alt != int64(int16(alt)) {
			return r.or(errTrailAlt)
		}
		f.Alt = int16(alt)
	}
	if tp&bitVel != 0 {
		speed := int64(newer.Speed) + r.varint()
		turn := r.varint()
		if speed != int64(uint16(speed)) {
			return r.or(errTrailVel)
		}
		if turn <= -maxCourse/2 || turn > maxCourse/2 {
			return r.or(errTrailTurn)
		}
		f.Speed = uint16(speed)
		f.Course = uint16((int64(newer.Course) + turn + maxCourse) % maxCourse)
		f.Has |= track.HasVel
	}
	if tp&bitAcc != 0 {
		if len(r.rest) == 0 {
			return r.or(errShort)
		}
		f.Acc = r.rest[0]
		f.Has |= track.HasAcc
		r.rest = r.rest[1:]
	}
	return r.err
}

// or is err unless something went wrong before it.
func (r *reader) or(err error) error {
	if r.err != nil {
		return r.err
	}
	return err
}

const maxVarint = 6

// uvarint reads a number, seven bits a byte, lowest first. It takes at most six
// bytes and no spare ones: each number has one spelling.
func (r *reader) uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 {
		v := r.rest[0]
		r.rest = r.rest[1:]
		return uint64(v)
	}
	var v uint64
	for i, c := range r.rest {
		if i == maxVarint {
			break
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if c == 0 {
				break // a last byte of 0 adds nothing
			}
			r.rest = r.rest[i+1:]
			return v
		}
		if i == len(r.rest)-1 {
			return r.fail(errShort)
		}
	}
	if len(r.rest) == 0 {
		return r.fail(errShort)
	}
	return r.fail(errVarint)
}

func (r *reader) fail(err error) uint64 {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
	return 0
}

// varint reads a zigzag number: 0, -1, 1, -2, 2 …
func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func appendVarint(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v<<1)^uint64(v>>63))
}

// wrapLon brings a longitude back into range by a full turn. Exactly ±180° stays as
// it is: the same meridian, and each side keeps its own sign.
func wrapLon(lon int64) int32 {
	if lon > halfTurn {
		lon -= fullTurn
	} else if lon < -halfTurn {
		lon += fullTurn
	}
	return int32(lon)
}

// shortest brings a difference on a circle into (-full/2, full/2].
func shortest(d, full int64) int64 {
	if d > full/2 {
		d -= full
	} else if d <= -full/2 {
		d += full
	}
	if d > full/2 { // from just past -full, as between the two spellings of 180°
		d -= full
	}
	return d
}

func appendTrail(dst []byte, m *Body, p byte) ([]byte, error) {
	tp := partBits(m.TrailParts)
	if m.TrailSub {
		tp |= bitSub
	}
	if tp&^trailBits != 0 || tp&^p != 0 {
		return nil, errTrailBits
	}
	dst = append(dst, byte(len(m.Fixes)-1), tp)
	for i := range m.Fixes[1:] {
		var err error
		if dst, err = appendEntry(dst, &m.Fixes[i+1], &m.Fixes[i], m, tp); err != nil {
			return nil, fmt.Errorf("trail fix %d: %w", i+1, err)
		}
	}
	return dst, nil
}

func appendEntry(dst []byte, f, newer *track.Fix, m *Body, tp byte) ([]byte, error) {
	unit := int64(1000)
	if m.TrailSub {
		unit = subMillis
	}
	dt := newer.Time/unit - f.Time/unit
	if dt < 0 {
		return nil, fmt.Errorf("is newer than the fix before it")
	}
	if f.Time < 0 {
		return nil, errTrailTime
	}
	if f.Has&track.HasPos == 0 {
		return nil, errTrailPos
	}
	if f.Has&m.TrailParts != m.TrailParts {
		return nil, fmt.Errorf("lacks a part that the trail carries")
	}
	if !f.At.Valid() {
		return nil, fmt.Errorf("place %v is not on the globe", f.At)
	}
	dst = binary.AppendUvarint(dst, uint64(dt))
	dst = appendVarint(dst, int64(f.At.Lat)-int64(newer.At.Lat))
	dst = appendVarint(dst, shortest(int64(f.At.Lon)-int64(newer.At.Lon), fullTurn))
	if tp&bitAlt != 0 {
		dst = appendVarint(dst, int64(f.Alt)-int64(newer.Alt))
	}
	if tp&bitVel != 0 {
		if f.Course >= maxCourse {
			return nil, errCourse
		}
		dst = appendVarint(dst, int64(f.Speed)-int64(newer.Speed))
		dst = appendVarint(dst, shortest(int64(f.Course)-int64(newer.Course), maxCourse))
	}
	if tp&bitAcc != 0 {
		dst = append(dst, f.Acc)
	}
	return dst, nil
}
