package fleet

import (
	"fmt"
	"hash/maphash"
	"math"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Mask turns names and places into what may be shown to strangers. The zero Mask shows
// all; one that is on comes from NewMask. It gives a device another name, the same one for the life of the
// Mask, and places to a tenth of a degree.
type Mask struct {
	On   bool
	salt maphash.Seed
}

// NewMask makes a mask that is on.
func NewMask() *Mask { return &Mask{On: true, salt: maphash.MakeSeed()} }

// Name is what to call a device.
func (m *Mask) Name(id track.DeviceID, name string) string {
	if m == nil || !m.On {
		return name
	}
	return fmt.Sprintf("device-%04x", maphash.Comparable(m.salt, id)&0xffff)
}

// Point is how to write a place.
func (m *Mask) Point(p geo.Point) string {
	if m == nil || !m.On {
		return p.String()
	}
	r := m.Round(p)
	return fmt.Sprintf("%.1f,%.1f", r.LatDeg(), r.LonDeg())
}

// Round is where to show a place.
func (m *Mask) Round(p geo.Point) geo.Point {
	if m == nil || !m.On {
		return p
	}
	tenth := func(deg float64) float64 { return math.Round(deg*10) / 10 }
	return geo.Deg(tenth(p.LatDeg()), tenth(p.LonDeg()))
}
