// Package words is how numbers read, on screens and in sentences: counts, rates, ages,
// lengths, directions and places.
package words

import (
	"fmt"
	"math"
	"strconv"
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
	return compass[int(math.Mod(degrees+382.5, 360)/45)%8]
}

// Near names the closest large city, "" if none is within 300 km.
func Near(p geo.Point) string {
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
	switch {
	case at < 0:
		return ""
	case best < 10_000:
		return "in " + cities[at].Name
	case best < 40_000:
		return "near " + cities[at].Name
	}
	return fmt.Sprintf("%s %s of %s", Length(best), Direction(geo.Bearing(cities[at].Pos.Point(), p)), cities[at].Name)
}

// Place writes a point for readers and listeners: 33.50000 south, 70.25000 west.
func Place(p geo.Point) string {
	ns, ew := "north", "east"
	if p.Lat < 0 {
		ns = "south"
	}
	if p.Lon < 0 {
		ew = "west"
	}
	return fmt.Sprintf("%.5f %s, %.5f %s", math.Abs(p.LatDeg()), ns, math.Abs(p.LonDeg()), ew)
}

// Spoken is Age in words: 3 minutes.
func Spoken(d time.Duration) string {
	n, unit := int(max(d, 0)/time.Second), "second"
	switch {
	case n >= 2*86400:
		n, unit = n/86400, "day"
	case n >= 2*3600:
		n, unit = n/3600, "hour"
	case n >= 120:
		n, unit = n/60, "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return strconv.Itoa(n) + " " + unit
}

// Lag writes a delay in at most five columns: 140ms, 3s.
func Lag(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	return Age(d)
}

// Plural writes a number of things: 1 device, 3 devices.
func Plural(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}
