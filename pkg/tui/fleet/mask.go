package fleet

import (
	"fmt"
	"hash/maphash"
	"math"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Mask turns names and places into what may be shown to strangers. The zero Mask, and
// none, shows all; one that is on comes from NewMask. It gives a device another name,
// the same one for the life of the Mask, and places to a tenth of a degree, which is
// 11 km. Whatever leaves the map goes through one of its methods.
type Mask struct {
	On   bool
	salt maphash.Seed
}

// NewMask makes a mask that is on.
func NewMask() *Mask { return &Mask{On: true, salt: maphash.MakeSeed()} }

func (m *Mask) on() bool { return m != nil && m.On }

// Name is what to call a device.
func (m *Mask) Name(id track.DeviceID, name string) string {
	if !m.on() {
		return name
	}
	return fmt.Sprintf("device-%06x", maphash.Comparable(m.salt, id)&0xffffff)
}

// ID is how to write the id of a device.
func (m *Mask) ID(id track.DeviceID) string { return m.Name(id, id.String()) }

// Point is how to write a place.
func (m *Mask) Point(p geo.Point) string {
	if !m.on() {
		return p.String()
	}
	r := m.Round(p)
	return fmt.Sprintf("%.1f,%.1f", r.LatDeg(), r.LonDeg())
}

// Round is where to show a place.
func (m *Mask) Round(p geo.Point) geo.Point {
	if !m.on() {
		return p
	}
	tenth := func(deg float64) float64 { return math.Round(deg*10) / 10 }
	return geo.Deg(tenth(p.LatDeg()), tenth(p.LonDeg()))
}

// Fix is what may be shown of a fix. Its device, which is an identity as good as a name,
// is none.
func (m *Mask) Fix(f client.Fix) client.Fix {
	if !m.on() {
		return f
	}
	f.Name, f.At, f.Device = m.Name(f.Device, f.Name), m.Round(f.At), 0
	return f
}

// Event is what may be shown of an event. Its text holds no name and no place.
func (m *Mask) Event(e Event) Event {
	if m.on() && e.Device != 0 {
		e.Name, e.Device = m.Name(e.Device, e.Name), 0
	}
	return e
}

// Text is foreign text, such as an answer of the server, with places in it made as
// coarse as others: of a number with decimals, only the first is left.
func (m *Mask) Text(s string) string {
	if !m.on() {
		return s
	}
	out := make([]byte, 0, len(s))
	decimals := -1 // digits since the point; -1 before it
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			if decimals >= 0 {
				decimals++
			}
		case c == '.' && i > 0 && s[i-1] >= '0' && s[i-1] <= '9':
			decimals = 0
		default:
			decimals = -1
		}
		if decimals < 2 {
			out = append(out, c)
		}
	}
	return string(out)
}
