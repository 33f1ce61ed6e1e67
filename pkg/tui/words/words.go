// Package words is how numbers read, on screens and in sentences: counts, rates, ages,
// lengths, directions and places.
package words

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/tui/world"
)

// Thousands writes 9812 as 9,812.
func Thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Rate writes fixes a second in at most five columns.
func Rate(perSecond float64) string {
	switch {
	case perSecond < 10 && perSecond > 0:
		return fmt.Sprintf("%.1f", perSecond)
	case perSecond < 10_000:
		return strconv.Itoa(int(math.Round(perSecond)))
	}
	return fmt.Sprintf("%.1fk", perSecond/1000)
}

// Age writes a duration in at most four columns: 3s, 59s, 12m, 5h, 12d.
func Age(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(min(int(d/(24*time.Hour)), 999)) + "d"
}

// Ago writes an age as a moment: now, 3s ago.
func Ago(d time.Duration) string {
	if d < time.Second {
		return "now"
	}
	return Age(d) + " ago"
}

// Length writes metres as 0.6 m, 38 m, 2.4 km, 611 km.
func Length(m geo.Meters) string {
	switch {
	case m < 10:
		return fmt.Sprintf("%.1f m", float64(m))
	case m < 1000:
		return fmt.Sprintf("%.0f m", float64(m))
	case m < 10_000:
		return fmt.Sprintf("%.1f km", float64(m)/1000)
	}
	return fmt.Sprintf("%.0f km", float64(m)/1000)
}

// KMH writes a speed in whole kilometres an hour.
func KMH(mps float64) string { return strconv.Itoa(int(math.Round(mps * 3.6))) }

var compass = [8]string{"north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west"}

// Direction is a course in words: north-east.
func Direction(degrees float64) string {
	way := math.Mod(degrees, 360)
	if way < 0 { // nobody's server says so, and it must not matter
		way += 360
	}
	return compass[int((way+22.5)/45)%8]
}

// Nearby is a place by the closest large city.
type Nearby struct {
	City int // its index in world.Cities
	Away geo.Meters
	Way  float64 // from the city, in degrees
}

// Nearest finds the closest large city, not ok if none is within 300 km.
func Nearest(p geo.Point) (n Nearby, ok bool) {
	best, at := geo.Meters(300_000), -1
	cities := world.Cities()
	here := world.Project(p)
	// Far cities are sorted out by their latitude alone, which is cheap.
	for i := range cities {
		if apartLat := int64(cities[i].Pos.Y) - int64(here.Y); apartLat > 1<<28 || apartLat < -1<<28 {
			continue
		}
		if d := geo.Distance(p, cities[i].Pos.Point()); d < best {
			best, at = d, i
		}
	}
	if at < 0 {
		return Nearby{}, false
	}
	return Nearby{at, best, geo.Bearing(cities[at].Pos.Point(), p)}, true
}

func (n Nearby) written(length func(geo.Meters) string) string {
	name := world.Cities()[n.City].Name
	switch {
	case n.Away < 10_000:
		return "in " + name
	case n.Away < 40_000:
		return "near " + name
	}
	return length(n.Away) + " " + Direction(n.Way) + " of " + name
}

// Near names the closest large city, "" if none is within 300 km: 76 km east of Munich.
func Near(p geo.Point) string {
	if n, ok := Nearest(p); ok {
		return n.written(Length)
	}
	return ""
}

// Place writes a point for readers and listeners: 33.50000 south, 70.25000 west.
func Place(p geo.Point) string { return degrees(p, 5) }

func degrees(p geo.Point, decimals int) string {
	ns, ew := "north", "east"
	if p.Lat < 0 {
		ns = "south"
	}
	if p.Lon < 0 {
		ew = "west"
	}
	return fmt.Sprintf("%.*f %s, %.*f %s", decimals, math.Abs(p.LatDeg()), ns, decimals, math.Abs(p.LonDeg()), ew)
}

// Lag writes a delay in at most five columns: 140ms, 3s.
func Lag(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	return Age(d)
}

// Plural writes a number of things: 1 device, 3 devices, 1,000 fixes.
func Plural(n int, word string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(word, "x"):
		word += "es"
	default:
		word += "s"
	}
	return Thousands(n) + " " + word
}
