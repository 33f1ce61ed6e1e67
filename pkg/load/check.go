package load

import (
	"fmt"
	"math"
	"time"
)

// Check holds the figures against each other. Its error wraps ErrUnsound: then none of
// them is to be told.
func (r *Result) Check() error {
	for _, sums := range []func(*Result) error{checkCounts, checkDeliveries, checkIntervals, checkRates} {
		if err := sums(r); err != nil {
			return fmt.Errorf("%w: %w", ErrUnsound, err)
		}
	}
	return nil
}

func checkCounts(r *Result) error {
	c := &r.Counts
	switch {
	case c.Sent < 0 || c.Accepted < 0 || c.Lost < 0:
		return fmt.Errorf("%d sent, %d accepted, %d lost", c.Sent, c.Accepted, c.Lost)
	case c.Answers == nil && c.Accepted+c.Lost+c.Errors["unaccounted"] != c.Sent:
		return fmt.Errorf("%d accepted and %d lost of %d sent", c.Accepted, c.Lost, c.Sent)
	case c.Planned > 0 && c.Sent > c.Planned:
		return fmt.Errorf("%d sent of %d planned", c.Sent, c.Planned)
	}
	if a := c.Answers; a != nil && a.Right+a.Wrong+a.Refused+a.Lost != c.Sent {
		return fmt.Errorf("%d right, %d wrong, %d refused and %d lost answers to %d calls", a.Right, a.Wrong, a.Refused, a.Lost, c.Sent)
	}
	return nil
}

func checkDeliveries(r *Result) error {
	d := r.Counts.Deliveries
	if d == nil {
		return nil
	}
	if d.Received < 0 || d.Lost < 0 || d.Conflated < 0 || d.Expected < 0 {
		return fmt.Errorf("%d deliveries received, %d lost, %d conflated of %d", d.Received, d.Lost, d.Conflated, d.Expected)
	}
	if d.Received < d.Expected && d.Received+d.Lost+d.Conflated != d.Expected {
		return fmt.Errorf("%d deliveries received, %d lost and %d conflated of %d", d.Received, d.Lost, d.Conflated, d.Expected)
	}
	if d.Missing == nil {
		return nil
	}
	var missing int64
	for _, n := range d.Missing {
		missing += n
	}
	if missing != d.Lost+d.Conflated {
		return fmt.Errorf("receivers miss %d deliveries, the run %d", missing, d.Lost+d.Conflated)
	}
	return nil
}

// checkIntervals holds the intervals against the whole. Those of a closed loop are cut
// by a timer and do not have what was on its way at the end.
func checkIntervals(r *Result) error {
	if len(r.Intervals) == 0 || r.Counts.Answers != nil {
		return nil
	}
	var sent, held int64
	histograms := false
	for i := range r.Intervals {
		iv := &r.Intervals[i]
		sent += iv.Sent
		if h := decode(iv.HDR); h != nil {
			histograms = true
			held += h.TotalCount()
		}
	}
	if sent != r.Counts.Sent {
		return fmt.Errorf("the intervals have %d sends, the run %d", sent, r.Counts.Sent)
	}
	if all := r.Latency[headline].N; histograms && held != all {
		return fmt.Errorf("the intervals have %d latencies, the run %d", held, all)
	}
	return nil
}

// checkRates holds the rates against counts and time: a rate is a count divided by a
// time, and the time is that of the run.
func checkRates(r *Result) error {
	for name, v := range r.Rates {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			return fmt.Errorf("%s is %v", name, v)
		}
	}
	if len(r.Intervals) == 0 || r.Counts.Answers != nil { // those count the warm-up, too
		return nil
	}
	last := r.Intervals[len(r.Intervals)-1]
	if end, took := time.Duration(last.TNS+last.LenNS), time.Duration(r.DurationNS); end > took+time.Second {
		return fmt.Errorf("the intervals end after %v, the run after %v", end, took)
	}
	achieved, ok := r.Rates["achieved_per_s"]
	if seconds := float64(r.DurationNS) / 1e9; ok && achieved*seconds < 0.999*float64(r.Counts.Sent)-1 {
		return fmt.Errorf("%.0f sends a second for %.3f s are not %d sends", achieved, seconds, r.Counts.Sent)
	}
	return nil
}
