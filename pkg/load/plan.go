package load

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/track"
)

// Plan says how many sends a second are due, over time. After its last step the last
// rate goes on. The zero Plan is no plan.
type Plan struct{ steps []step }

// step goes from one rate to another in a straight line.
type step struct {
	from, to float64 // a second
	lasts    float64 // seconds; the last step of a plan has no end
}

// ParsePlan reads a constant rate ("100", "2.5k/s"), a ramp ("1k:10k:30s": from, to,
// over), or steps ("1k@10s,5k@10s").
func ParsePlan(s string) (Plan, error) {
	p, err := parsePlan(s)
	if err != nil {
		return Plan{}, fmt.Errorf("rate %q: %w (want 100, 1k:10k:30s or 1k@10s,5k@10s): %w", s, err, track.ErrInvalid)
	}
	return p, nil
}

func parsePlan(s string) (Plan, error) {
	if from, rest, ramp := strings.Cut(s, ":"); ramp {
		return parseRamp(from, rest)
	}
	if !strings.Contains(s, "@") {
		r, err := parseRate(s)
		return Constant(r), err
	}
	var p Plan
	for part := range strings.SplitSeq(s, ",") {
		rate, lasts, _ := strings.Cut(part, "@")
		r, err := parseRate(rate)
		if err != nil {
			return Plan{}, err
		}
		d, err := parseLength(lasts)
		if err != nil {
			return Plan{}, err
		}
		p.steps = append(p.steps, step{r, r, d})
	}
	return p.open(), nil
}

func parseRamp(from, rest string) (Plan, error) {
	to, lasts, _ := strings.Cut(rest, ":")
	a, err := parseRate(from)
	if err != nil {
		return Plan{}, err
	}
	b, err := parseRate(to)
	if err != nil {
		return Plan{}, err
	}
	d, err := parseLength(lasts)
	if err != nil {
		return Plan{}, err
	}
	return Plan{[]step{{a, b, d}}}.open(), nil
}

// open lets the last rate go on for ever.
func (p Plan) open() Plan {
	last := p.steps[len(p.steps)-1].to
	p.steps = append(p.steps, step{from: last, to: last, lasts: math.Inf(1)})
	return p
}

func parseRate(s string) (float64, error) {
	num, unit := strings.TrimSuffix(s, "/s"), 1.0
	if n, ok := strings.CutSuffix(num, "k"); ok {
		num, unit = n, 1e3
	} else if n, ok := strings.CutSuffix(num, "M"); ok {
		num, unit = n, 1e6
	}
	v, err := strconv.ParseFloat(num, 64)
	if err != nil || !(v*unit > 0) || v*unit > 1e8 {
		return 0, fmt.Errorf("%q is not a number of sends a second above 0", s)
	}
	return v * unit, nil
}

func parseLength(s string) (float64, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a length of time", s)
	}
	return d.Seconds(), nil
}

// Constant is the plan of one rate.
func Constant(rate float64) Plan { return Plan{[]step{{rate, rate, math.Inf(1)}}} }

// Peak is the highest rate of the plan.
func (p Plan) Peak() float64 {
	peak := 0.0
	for _, s := range p.steps {
		peak = max(peak, s.from, s.to)
	}
	return peak
}

// count is how many sends the first t seconds of a step hold.
func (s step) count(t float64) float64 {
	if s.from == s.to {
		return s.from * t
	}
	return s.from*t + (s.to-s.from)*t*t/(2*s.lasts)
}

// when is the inverse of count.
func (s step) when(n float64) float64 {
	if s.from == s.to {
		return n / s.from
	}
	slope := (s.to - s.from) / s.lasts
	return 2 * n / (s.from + math.Sqrt(max(0, s.from*s.from+2*slope*n))) // of both roots the one that is stable
}

// Due is how many sends have fallen due t after the start; the first is due at 0.
func (p Plan) Due(t time.Duration) int64 {
	if t < 0 || len(p.steps) == 0 {
		return 0
	}
	left, n := t.Seconds(), 0.0
	for _, s := range p.steps {
		if left <= s.lasts {
			n += s.count(left)
			break
		}
		n += s.count(s.lasts)
		left -= s.lasts
	}
	// The k-th send is due when k sends lie behind it: count from 0, and let rounding
	// never withhold what When says is due.
	return int64(math.Floor(n+1e-6)) + 1
}

// When is the moment after the start at which the k-th send is due, from 0.
func (p Plan) When(k int64) time.Duration {
	at, n := 0.0, float64(k)
	for _, s := range p.steps {
		if all := s.count(s.lasts); n > all {
			n -= all
			at += s.lasts
			continue
		}
		at += s.when(n)
		break
	}
	return time.Duration(at * 1e9)
}
