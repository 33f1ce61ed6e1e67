package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"tracker/pkg/track"
)

// A row is a fix as plain numbers: the one list of what is stored. Both codings
// work on rows, the tail's (differences from one fix to the next, as they came) and
// the chunks' (column by column). Fields that mostly follow another one are written
// as the distance from it.
//
// The order counts: the tail writes a bit mask of what changed, and what seldom
// changes stands last so that the mask stays two bytes.
type row [columns]int64

const (
	colDevice = iota
	colTime
	colDelay // Arrived - Time
	colLat
	colLon
	colPID
	colEpoch
	colAlt
	colSpeed
	colCourse
	colAcc
	colBat
	colSub
	colHas
	colExtLen
	colFlags
	colEvent
	colWire // Wire - Device: 0 until credentials are rotated
	columns
)

func (r *row) load(f *track.Fix) {
	*r = row{
		colDevice: int64(f.Device),
		colTime:   f.Time,
		colDelay:  f.Arrived - f.Time,
		colLat:    int64(f.At.Lat),
		colLon:    int64(f.At.Lon),
		colPID:    int64(f.PID),
		colEpoch:  int64(f.Epoch),
		colAlt:    int64(f.Alt),
		colSpeed:  int64(f.Speed),
		colCourse: int64(f.Course),
		colAcc:    int64(f.Acc),
		colBat:    int64(f.Bat),
		colSub:    int64(f.Sub),
		colHas:    int64(f.Has),
		colExtLen: int64(f.ExtLen),
		colFlags:  int64(f.Flags),
		colEvent:  int64(f.Event),
		colWire:   int64(f.Wire) - int64(f.Device),
	}
}

// store is the opposite of load. It leaves f.Ext alone, and reports whether every
// number fitted its field.
func (r *row) store(f *track.Fix) bool {
	f.Device = track.DeviceID(r[colDevice])
	f.Wire = track.DeviceID(r[colWire] + r[colDevice])
	f.Time = r[colTime]
	f.Arrived = r[colTime] + r[colDelay]
	f.At.Lat, f.At.Lon = int32(r[colLat]), int32(r[colLon])
	f.Epoch, f.PID = uint32(r[colEpoch]), uint32(r[colPID])
	f.ExtLen = uint16(r[colExtLen])
	f.Alt, f.Speed, f.Course = int16(r[colAlt]), uint16(r[colSpeed]), uint16(r[colCourse])
	f.Acc, f.Bat, f.Sub = uint8(r[colAcc]), uint8(r[colBat]), uint8(r[colSub])
	f.Has, f.Flags, f.Event = track.Has(r[colHas]), track.Flags(r[colFlags]), track.Event(r[colEvent])
	return int64(f.At.Lat) == r[colLat] && int64(f.At.Lon) == r[colLon] &&
		int64(f.Epoch) == r[colEpoch] && int64(f.PID) == r[colPID] &&
		int64(f.ExtLen) == r[colExtLen] && int64(f.Alt) == r[colAlt] &&
		int64(f.Speed) == r[colSpeed] && int64(f.Course) == r[colCourse] &&
		int64(f.Acc) == r[colAcc] && int64(f.Bat) == r[colBat] && int64(f.Sub) == r[colSub] &&
		int64(f.Has) == r[colHas] && int64(f.Flags) == r[colFlags] && int64(f.Event) == r[colEvent]
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// append writes r as what differs from base.
func (r *row) append(dst []byte, base *row) []byte {
	var mask uint64
	for i := range r {
		if r[i] != base[i] {
			mask |= 1 << i
		}
	}
	dst = binary.AppendUvarint(dst, mask)
	for i := range r {
		if mask>>i&1 != 0 {
			dst = binary.AppendUvarint(dst, zigzag(r[i]-base[i]))
		}
	}
	return dst
}

// parse reads what append wrote on top of base, which r holds at the call.
func (r *row) parse(src []byte) (rest []byte, ok bool) {
	mask, n := binary.Uvarint(src)
	if n <= 0 || mask >= 1<<columns {
		return nil, false
	}
	src = src[n:]
	for i := range r {
		if mask>>i&1 == 0 {
			continue
		}
		u, n := binary.Uvarint(src)
		if n <= 0 {
			return nil, false
		}
		r[i] += unzigzag(u)
		src = src[n:]
	}
	return src, true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal ends a record with the checksum of what it holds; unseal checks and removes it.
func seal(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func unseal(b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, errDamaged
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return nil, fmt.Errorf("wrong checksum: %w", errDamaged)
	}
	return body, nil
}

// errDamaged is a record that is not what was once written.
var errDamaged = errors.New("damaged record")

const tailFormat = 1

// extOf is the TLVs of f, which stand in ext.
func extOf(f *track.Fix, ext []byte) []byte {
	if f.ExtLen == 0 {
		return nil
	}
	return ext[f.Ext : f.Ext+uint32(f.ExtLen)]
}

// appendTail writes one record of the tail: fixes in the order of their arrival, and
// their TLVs.
//
//	format | number of fixes | bytes of TLVs | fixes | TLVs | checksum
func appendTail(dst []byte, fixes []track.Fix, ext []byte) []byte {
	start := len(dst)
	extLen := 0
	for i := range fixes {
		extLen += int(fixes[i].ExtLen)
	}
	dst = append(dst, tailFormat)
	dst = binary.AppendUvarint(dst, uint64(len(fixes)))
	dst = binary.AppendUvarint(dst, uint64(extLen))
	var r, prev row
	for i := range fixes {
		r.load(&fixes[i])
		dst = r.append(dst, &prev)
		prev = r
	}
	for i := range fixes {
		dst = append(dst, extOf(&fixes[i], ext)...)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// parseTail appends the fixes of a record and their TLVs. On an error nothing is appended.
func parseTail(rec []byte, fixes []track.Fix, ext []byte) ([]track.Fix, []byte, error) {
	body, err := unseal(rec)
	if err != nil {
		return fixes, ext, err
	}
	if len(body) == 0 || body[0] != tailFormat {
		return fixes, ext, fmt.Errorf("unknown format: %w", errDamaged)
	}
	body = body[1:]
	count, k := binary.Uvarint(body)
	if k <= 0 || count > uint64(len(body)) {
		return fixes, ext, errDamaged
	}
	body = body[k:]
	extLen, k := binary.Uvarint(body)
	if k <= 0 || extLen > uint64(len(body)-k) {
		return fixes, ext, errDamaged
	}
	body = body[k:]
	tlvs := body[len(body)-int(extLen):]
	body = body[:len(body)-int(extLen)]

	n0, at := len(fixes), uint32(len(ext))
	end := at + uint32(extLen)
	var r row
	ok := true
	for range count {
		var f track.Fix
		if body, ok = r.parse(body); !ok || !r.store(&f) || at+uint32(f.ExtLen) > end {
			return fixes[:n0], ext, errDamaged
		}
		f.Ext = at
		at += uint32(f.ExtLen)
		fixes = append(fixes, f)
	}
	if len(body) != 0 || at != end {
		return fixes[:n0], ext, errDamaged
	}
	return fixes, append(ext, tlvs...), nil
}
