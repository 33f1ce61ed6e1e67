package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
	"unicode/utf8"

	"tracker/pkg/track"
)

// TLVType is the first byte of a TLV: type, length, value. Types that a receiver
// does not know are skipped.
type TLVType uint8

const (
	TLVPad          TLVType = 0  // any bytes: hides the length of a datagram
	TLVSource       TLVType = 1  // u8, see Source
	TLVSatellites   TLVType = 2  // u8
	TLVEvent        TLVType = 3  // u8, track.Event
	TLVTemperature  TLVType = 4  // i16, 0.01 °C
	TLVSupply       TLVType = 5  // u16, mV
	TLVOdometer     TLVType = 6  // u32, m
	TLVVerticalAcc  TLVType = 7  // u8, accuracy code
	TLVText         TLVType = 8  // UTF-8
	TLVEllipsoid    TLVType = 9  // i32, cm above the WGS84 ellipsoid
	TLVCell         TLVType = 10 // see Cell
	TLVQueued       TLVType = 11 // u16, fixes that still wait on the device
	TLVFirmware     TLVType = 12 // u32
	TLVVendorFirst  TLVType = 128
	TLVVendorLast   TLVType = 254 // the first two bytes of the value are the vendor's number
	tlvLastStandard         = TLVFirmware
)

// Source says what found the place.
type Source uint8

const (
	SourceGNSS Source = 1 + iota
	SourceNetwork
	SourceCell
	SourceManual
	SourceDeadReckoning
)

// tlvLen is the exact length of the value by type; -1 is free.
var tlvLen = [...]int{TLVPad: -1, TLVSource: 1, TLVSatellites: 1, TLVEvent: 1, TLVTemperature: 2,
	TLVSupply: 2, TLVOdometer: 4, TLVVerticalAcc: 1, TLVText: -1, TLVEllipsoid: 4, TLVCell: cellLen,
	TLVQueued: 2, TLVFirmware: 4}

const maxTLV = 255 // bytes of value

// TLVs walks over raw TLVs. Values are slices of raw. It stops where a TLV ends
// early, which never happens with what DecodeBody kept.
func TLVs(raw []byte) iter.Seq2[TLVType, []byte] {
	return func(yield func(TLVType, []byte) bool) {
		for len(raw) >= 2 && len(raw) >= 2+int(raw[1]) {
			n := 2 + int(raw[1])
			if !yield(TLVType(raw[0]), raw[2:n:n]) {
				return
			}
			raw = raw[n:]
		}
	}
}

// checkTLVs holds every TLV against its rule and returns the event, if any.
func checkTLVs(raw []byte) (event track.Event, err error) {
	if len(raw) == 0 {
		return 0, errTLV
	}
	var seen uint16
	for len(raw) > 0 {
		if len(raw) < 2 || len(raw) < 2+int(raw[1]) {
			return 0, errTLV
		}
		t, v := TLVType(raw[0]), raw[2:2+int(raw[1])]
		raw = raw[2+len(v):]
		if t >= TLVVendorFirst && t <= TLVVendorLast && len(v) < 2 {
			return 0, errTLVLen
		}
		if t == TLVPad || t > tlvLastStandard {
			continue
		}
		if want := tlvLen[t]; want >= 0 && len(v) != want {
			return 0, errTLVLen
		}
		if seen>>t&1 != 0 {
			return 0, errTLVTwice
		}
		seen |= 1 << t
		switch t {
		case TLVEvent:
			event = track.Event(v[0])
		case TLVText:
			if !utf8.Valid(v) {
				return 0, errTLVText
			}
		}
	}
	return event, nil
}

// AppendTLV appends one TLV. A value of more than 255 bytes does not fit and is cut,
// text before the character that would be torn apart; only text and padding can be
// that long.
func AppendTLV(dst []byte, t TLVType, value []byte) []byte {
	if len(value) > maxTLV {
		cut := maxTLV
		for t == TLVText && cut > maxTLV-utf8.UTFMax && !utf8.RuneStart(value[cut]) {
			cut--
		}
		value = value[:cut]
	}
	dst = append(dst, byte(t), byte(len(value)))
	return append(dst, value...)
}

const cellLen = 17

// Cell names the radio cell that a device camps on.
type Cell struct {
	Radio    uint8 // 1 GSM, 2 UMTS, 3 LTE, 4 NR, 5 NB-IoT, 6 LTE-M
	MCC, MNC uint16
	Area     uint32 // location or tracking area
	ID       uint64 // cell identity, up to 36 bits in use
}

// AppendCell appends a cell TLV.
func AppendCell(dst []byte, c Cell) []byte {
	dst = append(dst, byte(TLVCell), cellLen, c.Radio)
	dst = binary.BigEndian.AppendUint16(dst, c.MCC)
	dst = binary.BigEndian.AppendUint16(dst, c.MNC)
	dst = binary.BigEndian.AppendUint32(dst, c.Area)
	return binary.BigEndian.AppendUint64(dst, c.ID)
}

// ParseCell reads the value of a cell TLV.
func ParseCell(v []byte) (Cell, error) {
	if len(v) != cellLen {
		return Cell{}, fmt.Errorf("cell of %d bytes, want %d: %w", len(v), cellLen, track.ErrInvalid)
	}
	return Cell{
		Radio: v[0],
		MCC:   binary.BigEndian.Uint16(v[1:]),
		MNC:   binary.BigEndian.Uint16(v[3:]),
		Area:  binary.BigEndian.Uint32(v[5:]),
		ID:    binary.BigEndian.Uint64(v[9:]),
	}, nil
}
