package load

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/track"
)

// Plan says how many sends a second are due, over time. After its last step the last
// rate goes on. The zero Plan is no plan.
type Plan struct {
	steps []step
	burst int64         // so many at once,
	every time.Duration // and then none for so long; a plan of bursts has no steps
}

// step goes from one rate to another in a straight line.
type step struct {
	from, to float64 // a second
	lasts    float64 // seconds; the last step of a plan has no end
}

// ParsePlan reads a constant rate ("100", "2.5k/s"), a ramp ("1k:10k:30s": from, to,
// over), steps ("1k@10s,5k@10s") or bursts ("burst:500@1s": so many at once, how often).
func ParsePlan(s string) (Plan, error) {
	p, err := parsePlan(s)
	if err != nil {
		return Plan{}, fmt.Errorf("rate %q: %w (want 100, 1k:10k:30s, 1k@10s,5k@10s or burst:500@1s): %w", s, err, track.ErrInvalid)
	}
	return p, nil
}

func parsePlan(s string) (Plan, error) {
	if rest, bursts := strings.CutPrefix(s, "burst:"); bursts {
		return parseBursts(rest)
	}
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
	return Plan{steps: []step{{a, b, d}}}.open(), nil
}

func parseBursts(s string) (Plan, error) {
	count, every, _ := strings.Cut(s, "@")
	n, err := parseRate(count)
	if err == nil && n != math.Trunc(n) {
		err = fmt.Errorf("%q is not a whole number", count)
	}
	if err != nil {
		return Plan{}, err
	}
	d, err := parseLength(every)
	if err != nil {
		return Plan{}, err
	}
	return Bursts(int64(n), time.Duration(d*1e9)), nil
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
func Constant(rate float64) Plan { return Plan{steps: []step{{rate, rate, math.Inf(1)}}} }

// Bursts is the plan of n sends at once, again and again.
func Bursts(n int64, every time.Duration) Plan { return Plan{burst: n, every: every} }

// Bursty tells whether the plan asks for many sends at once.
func (p Plan) Bursty() bool { return p.burst > 0 }

// Opening is the plan's beginning without an end: its first rate, or its bursts.
func (p Plan) Opening() Plan {
	if p.Bursty() || p.Zero() {
		return p
	}
	return Constant(p.steps[0].from)
}

// After is the plan with a warm-up before it, at its first rate. Bursts go on as they are.
func (p Plan) After(warmup time.Duration) Plan {
	if warmup <= 0 || p.Bursty() || p.Steady() {
		return p
	}
	first := p.steps[0].from
	return Plan{steps: append([]step{{first, first, warmup.Seconds()}}, p.steps...)}
}

// Steady tells whether the plan is one rate from beginning to end, or one burst again
// and again.
func (p Plan) Steady() bool {
	for _, s := range p.steps {
		if s.from != p.steps[0].from || s.to != s.from {
			return false
		}
	}
	return true
}

// Zero tells whether there is no plan.
func (p Plan) Zero() bool { return len(p.steps) == 0 && p.burst == 0 }

// String writes the plan as ParsePlan reads it; equal plans are equal strings.
func (p Plan) String() string {
	num := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	secs := func(v float64) string { return time.Duration(math.Round(v * 1e9)).String() }
	switch steps := p.steps; {
	case p.burst > 0:
		return fmt.Sprintf("burst:%d@%v", p.burst, p.every)
	case len(steps) == 0:
		return ""
	case p.Steady():
		return num(steps[0].from)
	case len(steps) == 2 && steps[0].from != steps[0].to:
		return num(steps[0].from) + ":" + num(steps[0].to) + ":" + secs(steps[0].lasts)
	}
	var parts []string
	for _, s := range p.steps[:len(p.steps)-1] { // the last one only lets the one before go on
		parts = append(parts, num(s.from)+"@"+secs(s.lasts))
	}
	return strings.Join(parts, ",")
}

// SHA256 names what a run with this plan does: the same seed, length and shape give the
// same name on every machine. shape is whatever else decides who sends what, as text.
func (p Plan) SHA256(seed uint64, length time.Duration, shape string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "trackbench.plan/1\nrate %v\nseed %d\nlength %d\nshape %s\n", p, seed, length, shape))
	return hex.EncodeToString(sum[:])
}

// Peak is the highest rate of the plan; of bursts it is what they come to a second.
func (p Plan) Peak() float64 {
	if p.burst > 0 {
		return float64(p.burst) / p.every.Seconds()
	}
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
	if t < 0 || p.Zero() {
		return 0
	}
	if p.burst > 0 {
		return p.burst * (int64(t/p.every) + 1)
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
	if p.burst > 0 {
		return time.Duration(k/p.burst) * p.every
	}
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
