package geo

import (
	"fmt"
	"math"
)

// Box is an area between two parallels and two meridians, edges included. A box
// whose West is greater than its East crosses the antimeridian. -180 and 180 are
// one meridian, and a box that touches it contains points written either way.
type Box struct{ South, West, North, East int32 }

// World contains every point.
var World = Box{-MaxLat, -MaxLon, MaxLat, MaxLon}

// ParseBox reads "S,W,N,E" in degrees.
func ParseBox(s string) (Box, error) {
	v, err := parseDegrees(s, 4)
	if err != nil {
		return Box{}, fmt.Errorf("box %q: %w (want S,W,N,E such as 47.2,5.8,55.1,15.1)", s, err)
	}
	b, err := BoxDeg(v[0], v[1], v[2], v[3])
	if err != nil {
		return Box{}, fmt.Errorf("box %q: %w", s, err)
	}
	return b, nil
}

// BoxDeg makes a box from degrees and refuses what is not on the globe.
func BoxDeg(south, west, north, east float64) (Box, error) {
	for _, v := range []float64{south, west, north, east} {
		if math.IsNaN(v) {
			return Box{}, fmt.Errorf("not a number")
		}
	}
	if err := checkDegrees(south, west); err != nil {
		return Box{}, err
	}
	if err := checkDegrees(north, east); err != nil {
		return Box{}, err
	}
	if south > north {
		return Box{}, fmt.Errorf("south %g is north of north %g", south, north)
	}
	sw, ne := Deg(south, west), Deg(north, east)
	return Box{sw.Lat, sw.Lon, ne.Lat, ne.Lon}, nil
}

// Crosses tells whether the box crosses the antimeridian.
func (b Box) Crosses() bool { return b.West > b.East }

// Contains tells whether p lies in the box or on its edge.
func (b Box) Contains(p Point) bool {
	if p.Lat < b.South || p.Lat > b.North {
		return false
	}
	if b.containsLon(p.Lon) {
		return true
	}
	return (p.Lon == MaxLon || p.Lon == -MaxLon) && b.containsLon(-p.Lon)
}

func (b Box) containsLon(lon int32) bool {
	if b.Crosses() {
		return lon >= b.West || lon <= b.East
	}
	return lon >= b.West && lon <= b.East
}

// Around is the smallest box that holds every point within d of p. Near a pole it
// is a cap: all longitudes.
func Around(p Point, d Meters) Box {
	if d < 0 {
		d = 0
	}
	r := float64(d/EarthRadius) * 180 / math.Pi
	lat, lon := p.LatDeg(), p.LonDeg()
	box := Box{outward(lat-r, -1, MaxLat), -MaxLon, outward(lat+r, 1, MaxLat), MaxLon}
	if lat-r <= -90 || lat+r >= 90 {
		return box
	}
	// The widest point of the circle lies polewards of its centre:
	// sin(dlon) = sin(r) / cos(lat).
	s := math.Sin(r*math.Pi/180) / math.Cos(lat*math.Pi/180)
	if s >= 1 {
		return box
	}
	dlon := math.Asin(s) * 180 / math.Pi
	box.West = outward(WrapLon(lon-dlon), -1, MaxLon)
	box.East = outward(WrapLon(lon+dlon), 1, MaxLon)
	return box
}

// outward rounds degrees in that direction and one step further, against the errors
// of the sines, but not off the globe.
func outward(deg float64, dir int, limit float64) int32 {
	if dir < 0 {
		return int32(max(math.Floor(deg*E7)-1, -limit))
	}
	return int32(min(math.Ceil(deg*E7)+1, limit))
}

func (b Box) String() string {
	return fmt.Sprintf("%.5f,%.5f,%.5f,%.5f",
		float64(b.South)/E7, float64(b.West)/E7, float64(b.North)/E7, float64(b.East)/E7)
}
