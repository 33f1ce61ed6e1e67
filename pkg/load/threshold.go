package load

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/track"
)

// Threshold is a metric and what it has to be, such as p99<20ms.
type Threshold struct {
	text   string
	metric string // without the name of a latency
	key    string // of the latency
	op     string
	value  float64
}

// unit is how a metric is written.
type unit int

const (
	inTime unit = iota
	inShare
	inRate
	inCores
	inBytes
	inCount
	inTimes
)

// metric is something that a threshold can be about.
type metric struct {
	name string
	unit unit
	of   func(t *Threshold, r *Result) (v float64, known bool)
}

var known = []metric{
	{"p50", inTime, percentile}, {"p90", inTime, percentile}, {"p99", inTime, percentile}, {"p99.9", inTime, percentile},
	{"max", inTime, func(t *Threshold, r *Result) (float64, bool) {
		l := r.Latency[t.key]
		return float64(l.Max), l.N > 0
	}},
	{"loss", inShare, lossOf},
	{"rate", inRate, func(_ *Threshold, r *Result) (float64, bool) { return r.Headline() }},
	{"deliveries", inRate, func(_ *Threshold, r *Result) (float64, bool) {
		v, ok := r.Rates["deliveries_per_s"]
		return v, ok
	}},
	{"cpu", inCores, func(_ *Threshold, r *Result) (float64, bool) {
		s := r.Resources.Server
		return coresOf(s != nil, func() float64 { return s.CPUSeconds }, r.DurationNS)
	}},
	{"client-cpu", inCores, func(_ *Threshold, r *Result) (float64, bool) {
		return coresOf(true, func() float64 { return r.Resources.Client.CPUSeconds }, r.DurationNS)
	}},
	{"rss", inBytes, func(_ *Threshold, r *Result) (float64, bool) {
		s := r.Resources.Server
		if s == nil || s.RSS == 0 {
			return 0, false
		}
		return float64(s.RSS), true
	}},
	{"errors", inCount, func(_ *Threshold, r *Result) (float64, bool) {
		var n int64
		for _, v := range r.Counts.Errors {
			n += v
		}
		return float64(n), true
	}},
	{"elapsed", inTimes, func(_ *Threshold, r *Result) (float64, bool) {
		v, ok := r.Rates["elapsed_ratio"]
		return v, ok
	}},
}

func percentile(t *Threshold, r *Result) (float64, bool) {
	d, ok := r.Latency[t.key].Quantile(strings.TrimPrefix(t.metric, "p"))
	return float64(d), ok
}

func lossOf(_ *Threshold, r *Result) (float64, bool) {
	lost, of := r.Counts.Lost, r.Counts.Sent
	if d := r.Counts.Deliveries; d != nil && d.Expected > 0 && float64(d.Lost)*float64(of) > float64(lost)*float64(d.Expected) {
		lost, of = d.Lost, d.Expected // the worse of both
	}
	return float64(lost) / float64(max(1, of)), of > 0
}

func coresOf(known bool, cpu func() float64, ns int64) (float64, bool) {
	if !known || ns <= 0 {
		return 0, false
	}
	return cpu() / (float64(ns) / 1e9), true
}

// Headline is the rate that a scenario is about: of answers, of fixes that were
// accepted, of deliveries, or else of sends.
func (r *Result) Headline() (float64, bool) {
	for _, name := range []string{"answered_per_s", "accepted_per_s", "deliveries_per_s", "achieved_per_s"} {
		if v, ok := r.Rates[name]; ok {
			return v, true
		}
	}
	return 0, false
}

// Metrics are the names that thresholds know.
func Metrics() (names []string) {
	for _, m := range known {
		names = append(names, m.name)
	}
	return names
}

// ParseThreshold reads METRIC<VALUE, also with <=, > and >=. A metric of time may stand
// after the name of a latency: service.p99<5ms; without one it is of the response.
func ParseThreshold(s string) (Threshold, error) {
	t, err := parseThreshold(s)
	if err != nil {
		return Threshold{}, fmt.Errorf("threshold %q: %w: %w", s, err, track.ErrInvalid)
	}
	return t, nil
}

func parseThreshold(s string) (Threshold, error) {
	i := strings.IndexAny(s, "<>")
	if i < 0 {
		return Threshold{}, errors.New("want METRIC<VALUE or METRIC>VALUE")
	}
	t := Threshold{text: s, op: s[i : i+1], key: "response"}
	value := s[i+1:]
	if rest, ok := strings.CutPrefix(value, "="); ok {
		t.op, value = t.op+"=", rest
	}
	name := strings.TrimSpace(s[:i])
	u, err := t.name(name)
	if err != nil {
		return Threshold{}, err
	}
	t.value, err = u.parse(strings.TrimSpace(value))
	return t, err
}

// name finds the metric, also after the name of a latency and a full stop.
func (t *Threshold) name(name string) (unit, error) {
	for _, m := range known {
		if name == m.name {
			t.metric = name
			return m.unit, nil
		}
		key, ok := strings.CutSuffix(name, "."+m.name)
		if ok && m.unit == inTime && key != "" {
			t.key, t.metric = key, m.name
			return m.unit, nil
		}
	}
	return 0, fmt.Errorf("there is no metric %q; want one of %s", name, strings.Join(Metrics(), ", "))
}

func (u unit) parse(s string) (v float64, err error) {
	switch u {
	case inTime:
		var d time.Duration
		if d, err = time.ParseDuration(s); err != nil || d < 0 {
			return 0, fmt.Errorf("%q is no length of time such as 20ms", s)
		}
		return float64(d), nil
	case inShare:
		return ParseShare(s)
	case inRate:
		return parseRate(s)
	case inBytes:
		return parseBytes(s)
	case inTimes:
		s = strings.TrimSuffix(s, "x")
	}
	v, err = strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return 0, fmt.Errorf("%q is no number from 0 up", s)
	}
	return v, nil
}

// ParseShare reads 0.1% or 0.001, from nothing to all.
func ParseShare(s string) (float64, error) {
	num, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(num, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("%q is no share such as 0.1%%", s)
	}
	return v, nil
}

func parseBytes(s string) (float64, error) {
	num, factor := s, 1.0
	for _, u := range []struct {
		suffix string
		factor float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}} {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			num, factor = strings.TrimSpace(n), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(num, 64)
	if err != nil || !(v >= 0) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is no number of bytes such as 64MiB", s)
	}
	return v * factor, nil
}

// ParseThresholds reads several with commas between them: all of them have to hold.
func ParseThresholds(s string) ([]Threshold, error) {
	var all []Threshold
	for part := range strings.SplitSeq(s, ",") {
		t, err := ParseThreshold(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

func (t Threshold) String() string { return t.text }

// Check holds a result against the threshold. What was not measured is not met.
func (t Threshold) Check(r *Result) Check {
	i := slices.IndexFunc(known, func(m metric) bool { return m.name == t.metric })
	v, measured := known[i].of(&t, r)
	if !measured {
		return Check{Kind: "threshold", Name: t.text, Text: "not measured"}
	}
	return Check{Kind: "threshold", Name: t.text, Pass: t.holds(v), Text: "it was " + known[i].unit.show(v)}
}

func (t Threshold) holds(v float64) bool {
	switch t.op {
	case "<":
		return v < t.value
	case "<=":
		return v <= t.value
	case ">":
		return v > t.value
	}
	return v >= t.value
}

func (u unit) show(v float64) string {
	switch u {
	case inTime:
		return time.Duration(v).Round(10 * time.Microsecond).String()
	case inShare:
		return fmt.Sprintf("%.3f%%", 100*v)
	case inRate:
		return fmt.Sprintf("%.0f/s", v)
	case inCores:
		return fmt.Sprintf("%.2f cores", v)
	case inBytes:
		return fmt.Sprintf("%.1f MB", v/1e6)
	case inTimes:
		return fmt.Sprintf("%.4gx", v)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
