package sim

import (
	"math"

	"tracker/pkg/geo"
)

// leg is one drive from the first to the last point of a path, and the stop after
// it. Seconds and metres; begin is on the fleet's clock, the rest counts from there.
type leg struct {
	path    []geo.Point
	begin   float64
	length  float64
	accel   float64
	cruise  float64 // reached only if the leg is long enough
	ramp    float64 // time to gain it, and to lose it
	driving float64 // time from begin to arrival
	stop    float64
	ceiling float64 // metres above sea level, if it flies
	flies   bool
}

func newLeg(path []geo.Point, begin, cruise, accel, stop float64) leg {
	l := leg{path: path, begin: begin, accel: accel, stop: stop}
	for i := 1; i < len(path); i++ {
		l.length += float64(geo.Distance(path[i-1], path[i]))
	}
	// Gaining and losing speed takes cruise²/accel metres; a shorter leg peaks lower.
	l.cruise = min(cruise, math.Sqrt(l.length*accel))
	l.ramp = l.cruise / accel
	if l.cruise > 0 {
		l.driving = l.ramp + l.length/l.cruise
	}
	return l
}

// end is when the next leg begins.
func (l *leg) end() float64 { return l.begin + l.driving + l.stop }

// at is the truth after t seconds.
func (l *leg) at(t float64) State {
	done, speed := l.progress(t)
	s := State{Speed: speed, HasAlt: l.flies}
	s.At, s.Course = l.place(done)
	if l.flies {
		s.Alt = l.altitude(done)
	}
	return s
}

// progress is how many metres lie behind after t seconds, and the speed there.
func (l *leg) progress(t float64) (done, speed float64) {
	left := l.driving - t
	switch {
	case left <= 0:
		return l.length, 0
	case t < l.ramp:
		return l.accel * t * t / 2, l.accel * t
	case left < l.ramp:
		return l.length - l.accel*left*left/2, l.accel * left
	}
	return l.cruise * (t - l.ramp/2), l.cruise
}

// place is the point that far along the path, and the direction in which the path
// goes on; at its end, the direction of arrival.
func (l *leg) place(done float64) (geo.Point, float64) {
	for i := 1; ; i++ {
		from, to := l.path[i-1], l.path[i]
		d := float64(geo.Distance(from, to))
		if done > d && i < len(l.path)-1 {
			done -= d
			continue
		}
		if done >= d-1 {
			return to, math.Mod(geo.Bearing(to, from)+180, 360)
		}
		at := geo.Travel(from, geo.Bearing(from, to), geo.Meters(done))
		return at, geo.Bearing(at, to)
	}
}

// slope is how steeply planes climb and sink, metres a metre: about three degrees.
const slope = 0.05

func (l *leg) altitude(done float64) float64 {
	return max(0, min(l.ceiling, done*slope, (l.length-done)*slope))
}
