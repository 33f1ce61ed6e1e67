package filter

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// quantity is something about a device that is a number. It is kept in SI units or
// degrees and typed in others.
type quantity struct {
	get      func(*Subject) (v float64, known bool)
	units    []unit  // the first is the unit of a bare number
	min, max float64 // what may be typed, in SI units
	circle   bool    // max is followed by min
	compound bool    // 1h30m is a number
	want     string
}

// unit is what a number is multiplied by: two numbers, since 90 km/h are exactly 25 m/s.
type unit struct {
	name       string
	times, per float64
}

const far = 1e9

var degrees = []unit{{"", 1, 1}, {"°", 1, 1}}

var (
	speed = quantity{
		get: func(s *Subject) (float64, bool) { return s.Speed, s.Has&track.HasVel != 0 },
		units: []unit{
			{"", 1000, 3600}, {"km/h", 1000, 3600}, {"kmh", 1000, 3600}, {"mps", 1, 1}, {"m/s", 1, 1},
			{"kn", 1852, 3600}, {"kt", 1852, 3600}, {"mph", 1609.344, 3600},
		},
		max:  far,
		want: "a speed such as 90 (km/h), 25mps, 40kn or 60mph",
	}
	age = quantity{
		get:      func(s *Subject) (float64, bool) { return s.Age.Seconds(), true },
		units:    []unit{{"", 1, 1}, {"s", 1, 1}, {"m", 60, 1}, {"min", 60, 1}, {"h", 3600, 1}, {"d", 86400, 1}},
		max:      far,
		compound: true,
		want:     "a time such as 30s, 5m, 1h30m or 2d",
	}
	battery = quantity{
		get:   func(s *Subject) (float64, bool) { return float64(s.Battery), s.Has&track.HasBat != 0 },
		units: []unit{{"", 1, 1}, {"%", 1, 1}},
		max:   100,
		want:  "percents from 0 to 100 such as 20 or 20%",
	}
	alt = quantity{
		get:   func(s *Subject) (float64, bool) { return float64(s.Alt), s.Has&track.HasAlt != 0 },
		units: []unit{{"", 1, 1}, {"m", 1, 1}, {"km", 1000, 1}, {"ft", 0.3048, 1}},
		min:   -far, max: far,
		want: "a height such as 500 (m), 2km or 3000ft",
	}
	accuracy = quantity{
		get:   func(s *Subject) (float64, bool) { return float64(s.Accuracy), s.Has&track.HasAcc != 0 },
		units: []unit{{"", 1, 1}, {"m", 1, 1}, {"km", 1000, 1}, {"ft", 0.3048, 1}},
		max:   far,
		want:  "a distance such as 20 (m) or 60ft",
	}
	course = quantity{
		get:   func(s *Subject) (float64, bool) { return s.Course, s.Has&track.HasVel != 0 },
		units: degrees, max: 360, circle: true,
		want: "degrees from 0 to 360 such as 90, or 315..45",
	}
	latitude = quantity{
		get:   func(s *Subject) (float64, bool) { return s.At.LatDeg(), s.Has&track.HasPos != 0 },
		units: degrees, min: -90, max: 90,
		want: "degrees from -90 to 90 such as 48.1, or 47..49",
	}
	longitude = quantity{
		get:   func(s *Subject) (float64, bool) { return s.At.LonDeg(), s.Has&track.HasPos != 0 },
		units: degrees, min: -180, max: 180, circle: true,
		want: "degrees from -180 to 180 such as 11.5, or 170..-170",
	}
	distance = quantity{
		units: []unit{{"m", 1, 1}, {"km", 1000, 1}, {"nmi", 1852, 1}, {"mi", 1609.344, 1}},
		max:   2.1e7,
		want:  "a distance such as 500m, 5km, 2.5mi or 3nmi",
	}
)

// number is true of devices of which a quantity is known and in one of some spans, or
// else outside all of them. What is not known is neither.
type number struct {
	of      *quantity
	spans   []span
	outside bool
}

func (n *number) holds(s *Subject) bool {
	v, known := n.of.get(s)
	return known && n.within(v) != n.outside
}

func (n *number) within(v float64) bool {
	for _, p := range n.spans {
		if p.holds(v) || n.of.seam(v) && (p.holds(n.of.min) || p.holds(n.of.max)) {
			return true
		}
	}
	return false
}

// seam tells whether a number is one of the two that are the same place of a circle.
func (q *quantity) seam(v float64) bool { return q.circle && (v == q.min || v == q.max) }

// span is the numbers between two, both included. On a circle it may begin with the
// greater of them.
type span struct{ from, to float64 }

func (p span) holds(v float64) bool {
	if p.from > p.to {
		return v >= p.from || v <= p.to
	}
	return v >= p.from && v <= p.to
}

var (
	bottom = math.Inf(-1)
	top    = math.Inf(1)
)

// parse makes the test of a clause about a quantity.
func (q *quantity) parse(c *clause) (test, error) {
	n := &number{of: q, outside: c.op == "!="}
	if !c.equality() {
		if len(c.values) > 1 {
			return nil, c.fail(c.values[1].at, q.want, "%s compares with one number", c.op)
		}
		p, err := q.compared(c)
		n.spans = []span{p}
		return n, err
	}
	for _, v := range c.values {
		p, err := q.equal(c, v)
		if err != nil {
			return nil, err
		}
		n.spans = append(n.spans, p)
	}
	return n, nil
}

// compared is what lies on one side of a number.
func (q *quantity) compared(c *clause) (span, error) {
	v := c.values[0]
	a, err := q.amount(c, v.at, v.text, &q.units[0])
	switch c.op {
	case "<":
		return span{bottom, math.Nextafter(a.value, bottom)}, err
	case "<=":
		return span{bottom, a.value}, err
	case ">":
		return span{math.Nextafter(a.value, top), top}, err
	}
	return span{a.value, top}, err
}

// equal is a range, or what rounds to a number in as many digits as were typed.
func (q *quantity) equal(c *clause, v value) (span, error) {
	if from, to, ok := strings.Cut(v.text, ".."); ok {
		return q.between(c, v, from, to)
	}
	a, err := q.amount(c, v.at, v.text, &q.units[0])
	if err != nil {
		return span{}, err
	}
	p := span{a.value - a.half, max(math.Nextafter(a.value+a.half, bottom), a.value)}
	if q.circle {
		p = q.round(p)
	}
	return p, nil
}

// round brings a span that reaches over the seam of a circle back onto the circle.
func (q *quantity) round(p span) span {
	if p.from < q.min {
		p.from += q.max - q.min
	}
	if p.to >= q.max {
		p.to -= q.max - q.min
	}
	return p
}

// between is a range, one end of which may be left out. A unit that only its end has is
// meant for both.
func (q *quantity) between(c *clause, v value, from, to string) (span, error) {
	p := span{bottom, top}
	if from == "" && to == "" {
		return p, c.fail(v.at, q.want, "this range has no end")
	}
	bare := &q.units[0]
	if to != "" {
		a, err := q.amount(c, v.at+len(from)+len(".."), to, bare)
		if err != nil {
			return p, err
		}
		p.to, bare = a.value, a.unit
	}
	if from != "" {
		a, err := q.amount(c, v.at, from, bare)
		if err != nil {
			return p, err
		}
		p.from = a.value
	}
	if p.from > p.to && !q.circle {
		return p, c.fail(v.at, "the smaller one first", "the range %s runs backwards", v.text)
	}
	return p, nil
}

// amount is a number that somebody typed.
type amount struct {
	value float64 // in SI units
	half  float64 // half a step of its last digit
	unit  *unit   // of its end
}

func (q *quantity) amount(c *clause, at int, s string, bare *unit) (amount, error) {
	a, ok := q.read(s, bare)
	if !ok || a.value < q.min || a.value > q.max {
		return amount{}, c.fail(at, q.want, "%s cannot be %q", c.key, s)
	}
	return a, nil
}

// read reads a number with its unit, or several of them where that is usual.
func (q *quantity) read(s string, bare *unit) (amount, bool) {
	var sum amount
	for first := true; first || s != ""; first = false {
		v, half, rest, ok := readNumber(s)
		if !ok || !first && !q.compound {
			return amount{}, false
		}
		name := rest
		if i := strings.IndexAny(rest, "0123456789"); i >= 0 {
			name = rest[:i]
		}
		u := q.unit(name, bare)
		if u == nil || !first && name == "" {
			return amount{}, false
		}
		sum.value += v * u.times / u.per
		sum.half, sum.unit = half*u.times/u.per, u
		s = rest[len(name):]
	}
	return sum, true
}

// unit finds a unit by its name; no name is the bare one, if numbers may be bare.
func (q *quantity) unit(name string, bare *unit) *unit {
	if name == "" && q.units[0].name == "" {
		return bare
	}
	name = strings.ToLower(name)
	i := slices.IndexFunc(q.units, func(u unit) bool { return u.name == name })
	if i < 0 {
		return nil
	}
	return &q.units[i]
}

// numeral has limits so that half a step of its last digit is still something.
var numeral = regexp.MustCompile(`^[-+]?[0-9]{1,12}(?:\.([0-9]{1,9}))?`)

// readNumber reads the decimal number at the begin of s, and half a step of its last
// digit.
func readNumber(s string) (v, half float64, rest string, ok bool) {
	m := numeral.FindStringSubmatch(s)
	if m == nil {
		return 0, 0, s, false
	}
	v, err := strconv.ParseFloat(m[0], 64)
	return v, 0.5 * math.Pow10(-len(m[1])), s[len(m[0]):], err == nil
}

// inBox is true of devices in a box, or else of those outside of it. Of those without a
// place it is neither.
type inBox struct {
	box     geo.Box
	outside bool
}

func (b *inBox) holds(s *Subject) bool {
	return s.Has&track.HasPos != 0 && b.box.Contains(s.At) != b.outside
}

const wantBox = "bbox:SOUTH,WEST,NORTH,EAST in degrees, such as bbox:47.2,5.8,55.1,15.1"

func parseBox(c *clause) (test, error) {
	v, err := c.coordinates(4, wantBox)
	if err != nil {
		return nil, err
	}
	box, err := geo.BoxDeg(v[0], v[1], v[2], v[3])
	if err != nil {
		return nil, c.fail(c.values[0].at, wantBox, "%v", err)
	}
	return &inBox{box, c.op == "!="}, nil
}

// inCircle is like inBox. The box around the circle spares most devices the sines.
type inCircle struct {
	box     geo.Box
	centre  geo.Point
	within  geo.Meters
	outside bool
}

func (n *inCircle) holds(s *Subject) bool {
	if s.Has&track.HasPos == 0 {
		return false
	}
	inside := n.box.Contains(s.At) && geo.Distance(n.centre, s.At) <= n.within
	return inside != n.outside
}

const wantNear = "near:LAT,LON,DISTANCE such as near:48.1,11.6,5km"

func parseNear(c *clause) (test, error) {
	if len(c.values) != 3 {
		return nil, c.fail(c.values[0].at, wantNear, "near compares with two coordinates and a distance")
	}
	last := c.values[2]
	d, err := distance.amount(c, last.at, last.text, nil)
	if err != nil {
		return nil, err
	}
	place := *c
	place.values = c.values[:2]
	v, err := place.coordinates(2, wantNear)
	if err != nil {
		return nil, err
	}
	at, within := geo.Deg(v[0], v[1]), geo.Meters(d.value)
	return &inCircle{geo.Around(at, within), at, within, c.op == "!="}, nil
}

// coordinates reads so many values as degrees, latitudes and longitudes in turn.
func (c *clause) coordinates(n int, want string) ([]float64, error) {
	if len(c.values) != n {
		return nil, c.fail(c.values[0].at, want, "%s compares with %d numbers, not %d", c.key, n, len(c.values))
	}
	var out []float64
	for i, v := range c.values {
		q := &latitude
		if i%2 == 1 {
			q = &longitude
		}
		a, err := q.amount(c, v.at, v.text, &q.units[0])
		if err != nil {
			return nil, err
		}
		out = append(out, a.value)
	}
	return out, nil
}
