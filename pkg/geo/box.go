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
	lat := p.LatDeg()
	south, north := lat-r, lat+r
	if south <= -90 || north >= 90 {
		return Box{e7floor(max(south, -90)), -MaxLon, e7ceil(min(north, 90)), MaxLon}
	}
	// The widest point of the circle lies polewards of its centre:
	// sin(dlon) = sin(r) / cos(lat).
	s := math.Sin(r*math.Pi/180) / math.Cos(lat*math.Pi/180)
	if s >= 1 {
		return Box{e7floor(south), -MaxLon, e7ceil(north), MaxLon}
	}
	dlon := math.Asin(s) * 180 / math.Pi
	if dlon >= 180 {
		return Box{e7floor(south), -MaxLon, e7ceil(north), MaxLon}
	}
	return Box{
		e7floor(south), e7floor(WrapLon(p.LonDeg() - dlon)),
		e7ceil(north), e7ceil(WrapLon(p.LonDeg() + dlon)),
	}
}

func e7floor(deg float64) int32 { return int32(max(math.Floor(deg*E7)-1, -1800000000)) }
func e7ceil(deg float64) int32  { return int32(min(math.Ceil(deg*E7)+1, 1800000000)) }

func (b Box) String() string {
	return fmt.Sprintf("%.5f,%.5f,%.5f,%.5f",
		float64(b.South)/E7, float64(b.West)/E7, float64(b.North)/E7, float64(b.East)/E7)
}
