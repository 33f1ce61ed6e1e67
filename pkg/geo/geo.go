// Package geo is the ground: points, boxes, distances, bearings and grid cells on
// the WGS84 globe. It knows nothing of devices.
//
// A Point holds degrees times 1e7 in two int32, as datagrams carry them: 1.1 cm
// steps, exact to compare, eight bytes. Distances treat the earth as a sphere of
// radius EarthRadius (haversine; at most 0.5 % off the ellipsoid).
package geo

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Meters is a length.
type Meters float64

// EarthRadius is the mean radius R1 of the WGS84 ellipsoid.
const EarthRadius Meters = 6371008.8

// E7 is the number of steps in a degree.
const E7 = 1e7

const (
	MaxLat = 90 * 10_000_000  // north pole
	MaxLon = 180 * 10_000_000 // antimeridian
)

// Point is a place; Lat in -MaxLat..MaxLat, Lon in -MaxLon..MaxLon.
type Point struct{ Lat, Lon int32 }

// Deg makes a point from degrees, rounded to the nearest step. It does not check
// ranges: see Valid.
func Deg(lat, lon float64) Point {
	return Point{int32(math.Round(lat * E7)), int32(math.Round(lon * E7))}
}

// LatDeg is the latitude in degrees.
func (p Point) LatDeg() float64 { return float64(p.Lat) / E7 }

// LonDeg is the longitude in degrees.
func (p Point) LonDeg() float64 { return float64(p.Lon) / E7 }

// Valid tells whether both coordinates are on the globe.
func (p Point) Valid() bool {
	return p.Lat >= -MaxLat && p.Lat <= MaxLat && p.Lon >= -MaxLon && p.Lon <= MaxLon
}

func (p Point) String() string {
	return strconv.FormatFloat(p.LatDeg(), 'f', 5, 64) + "," + strconv.FormatFloat(p.LonDeg(), 'f', 5, 64)
}

// ParsePoint reads "LAT,LON" in degrees.
func ParsePoint(s string) (Point, error) {
	v, err := parseDegrees(s, 2)
	if err != nil {
		return Point{}, fmt.Errorf("place %q: %w (want LAT,LON such as 48.137,11.575)", s, err)
	}
	if err := checkDegrees(v[0], v[1]); err != nil {
		return Point{}, fmt.Errorf("place %q: %w", s, err)
	}
	return Deg(v[0], v[1]), nil
}

func parseDegrees(s string, n int) ([]float64, error) {
	parts := strings.Split(s, ",")
	if len(parts) != n {
		return nil, fmt.Errorf("want %d numbers, got %d", n, len(parts))
	}
	v := make([]float64, n)
	for i, p := range parts {
		f, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%q is not a number", p)
		}
		v[i] = f
	}
	return v, nil
}

func checkDegrees(lat, lon float64) error {
	if lat < -90 || lat > 90 {
		return fmt.Errorf("latitude %g is not in -90..90", lat)
	}
	if lon < -180 || lon > 180 {
		return fmt.Errorf("longitude %g is not in -180..180", lon)
	}
	return nil
}

// Distance is the length of the great circle from a to b.
func Distance(a, b Point) Meters {
	la, lb := a.LatDeg()*math.Pi/180, b.LatDeg()*math.Pi/180
	dlat := lb - la
	dlon := (b.LonDeg() - a.LonDeg()) * math.Pi / 180
	s, t := math.Sin(dlat/2), math.Sin(dlon/2)
	h := s*s + math.Cos(la)*math.Cos(lb)*t*t
	return 2 * EarthRadius * Meters(math.Asin(math.Sqrt(min(1, h))))
}

// Bearing is the direction in which the great circle leaves a towards b, in degrees
// clockwise from north, 0 <= bearing < 360.
func Bearing(a, b Point) float64 {
	la, lb := a.LatDeg()*math.Pi/180, b.LatDeg()*math.Pi/180
	dlon := (b.LonDeg() - a.LonDeg()) * math.Pi / 180
	y := math.Sin(dlon) * math.Cos(lb)
	x := math.Cos(la)*math.Sin(lb) - math.Sin(la)*math.Cos(lb)*math.Cos(dlon)
	d := math.Mod(math.Atan2(y, x)*180/math.Pi+360, 360)
	return d
}

// Travel is where one arrives from p after d along the great circle that leaves
// with that bearing, in degrees.
func Travel(p Point, bearing float64, d Meters) Point {
	la, lo := p.LatDeg()*math.Pi/180, p.LonDeg()*math.Pi/180
	th, ad := bearing*math.Pi/180, float64(d/EarthRadius)
	lb := math.Asin(math.Sin(la)*math.Cos(ad) + math.Cos(la)*math.Sin(ad)*math.Cos(th))
	dl := math.Atan2(math.Sin(th)*math.Sin(ad)*math.Cos(la), math.Cos(ad)-math.Sin(la)*math.Sin(lb))
	return Deg(lb*180/math.Pi, WrapLon((lo+dl)*180/math.Pi))
}

// WrapLon brings a longitude in degrees into -180..180.
func WrapLon(lon float64) float64 {
	if lon >= -180 && lon <= 180 {
		return lon
	}
	return math.Mod(math.Mod(lon+180, 360)+360, 360) - 180
}
