package words

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/geo"
)

// What follows is for voices: units are words, and nothing has a decimal that does not
// tell anything.

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
	return Plural(n, unit)
}

// SpokenLength is Length in words: 38 metres, 2.4 kilometres.
func SpokenLength(m geo.Meters) string {
	switch {
	case m < 1:
		return "less than 1 metre"
	case m < 999.5:
		return Plural(int(math.Round(float64(m))), "metre")
	case m < 9950:
		return decimal(float64(m)/1000, "kilometre")
	}
	return Plural(int(math.Round(float64(m)/1000)), "kilometre")
}

// SpokenSpeed is KMH in words: 84 kilometres an hour.
func SpokenSpeed(mps float64) string {
	return Plural(int(math.Round(mps*3.6)), "kilometre") + " an hour"
}

// SpokenRate is Rate in words: 10 fixes a second, 1 fix every 4 seconds. What comes less
// often than once an hour is none.
func SpokenRate(perSecond float64, thing string) string {
	switch {
	case perSecond >= 1:
		return Plural(int(math.Round(perSecond)), thing) + " a second"
	case perSecond < 1.0/3600:
		return strings.Replace(Plural(0, thing), "0", "no", 1)
	}
	every := time.Duration(math.Round(1/perSecond)) * time.Second
	if every <= time.Second {
		return Plural(1, thing) + " a second"
	}
	return Plural(1, thing) + " every " + Spoken(every)
}

// Spoken is Near in words: 76 kilometres east of Munich.
func (n Nearby) Spoken() string { return n.written(SpokenLength) }

// Roughly is Place to a tenth of a degree: about 48.1 north, 11.6 east.
func Roughly(p geo.Point) string { return "about " + degrees(p, 1) }

// All joins words as one says them: a; a and b; a, b and 15 more. It names most of them
// at most; n is how many there are, named or not.
func All(names []string, most, n int) string {
	names = names[:min(len(names), most)]
	if more := n - len(names); more > 0 {
		names = append(names[:len(names):len(names)], Thousands(more)+" more")
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// decimal writes a number with the one decimal that it has, or without: 2.4 kilometres.
func decimal(v float64, unit string) string {
	if tenths := int(math.Round(v * 10)); tenths%10 == 0 {
		return Plural(tenths/10, unit)
	}
	return fmt.Sprintf("%s %ss", strconv.FormatFloat(v, 'f', 1, 64), unit)
}
