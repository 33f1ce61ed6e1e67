package track

import (
	"fmt"
	"strconv"
)

// MapID names a map that devices share: 64 bits, of which none mean anything. Zero is no
// map.
type MapID uint64

// ParseMapID reads exactly 16 lower-case hex digits.
func ParseMapID(s string) (MapID, error) {
	if len(s) != 16 {
		return 0, fmt.Errorf("map id %q: want 16 hex digits: %w", s, ErrInvalid)
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 0, fmt.Errorf("map id %q: want 16 lower-case hex digits: %w", s, ErrInvalid)
		}
	}
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("map id %q: %w", s, ErrInvalid)
	}
	return MapID(n), nil
}

// AppendText appends the 16 hex digits of the id.
func (id MapID) AppendText(dst []byte) ([]byte, error) {
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[id>>shift&15])
	}
	return dst, nil
}

// MarshalText makes ids 16 hex digits in JSON, never numbers: a browser would round them.
func (id MapID) MarshalText() ([]byte, error) { return id.AppendText(make([]byte, 0, 16)) }

// UnmarshalText is the strict opposite of MarshalText.
func (id *MapID) UnmarshalText(b []byte) error {
	v, err := ParseMapID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

func (id MapID) String() string {
	b, _ := id.AppendText(make([]byte, 0, 16))
	return string(b)
}
