package load

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	highest = int64(60 * time.Second) // beyond it a value is only counted as overflow
	lowest  = int64(time.Microsecond) // the finest step
	digits  = 3
)

// Recorder keeps a histogram of durations: 1 us to 60 s at three significant digits,
// some 170 KiB however many there are. It belongs to one goroutine; each of several
// has its own, and Merge brings them together.
type Recorder struct {
	h        *hdrhistogram.Histogram
	overflow int64
	negative int64
}

// NewRecorder makes an empty recorder.
func NewRecorder() *Recorder { return &Recorder{h: hdrhistogram.New(lowest, highest, digits)} }

// Record counts one duration. It does not allocate.
func (r *Recorder) Record(d time.Duration) {
	switch {
	case d < 0:
		r.negative++ // clocks disagree; counted, never clamped
	case int64(d) > highest:
		r.overflow++
	default:
		_ = r.h.RecordValue(int64(d)) // in range, so it cannot fail
	}
}

// RecordMany counts the same duration n times, for the price of once.
func (r *Recorder) RecordMany(d time.Duration, n int64) {
	switch {
	case d < 0:
		r.negative += n
	case int64(d) > highest:
		r.overflow += n
	default:
		_ = r.h.RecordValues(int64(d), n)
	}
}

// Merge adds what other counted.
func (r *Recorder) Merge(other *Recorder) {
	r.h.Merge(other.h)
	r.overflow += other.overflow
	r.negative += other.negative
}

// Reset empties the recorder.
func (r *Recorder) Reset() {
	r.h.Reset()
	r.overflow, r.negative = 0, 0
}

// Count is how many durations were recorded in range.
func (r *Recorder) Count() int64 { return r.h.TotalCount() }

// quantiles are those that a summary tells.
var quantiles = []struct {
	name string
	q    float64
}{{"50", 50}, {"90", 90}, {"99", 99}, {"99.9", 99.9}}

// tail is how many values must lie beyond a percentile for it to mean anything.
const tail = 10

// Summary is a histogram in words of JSON, durations in nanoseconds.
type Summary struct {
	Unit     string            `json:"unit"` // "ns"
	N        int64             `json:"n"`
	Min      int64             `json:"min"`
	Max      int64             `json:"max"`
	Mean     float64           `json:"mean"`
	Overflow int64             `json:"overflow"` // longer than 60 s, in none of the other figures
	Negative int64             `json:"negative"` // shorter than nothing, likewise
	P        map[string]*int64 `json:"p"`        // nil where fewer than ten values lie beyond
	HDR      string            `json:"hdr_v2"`   // the whole histogram, HdrHistogram V2 compressed, base64
}

// Summary says what was recorded.
func (r *Recorder) Summary() Summary {
	s := Summary{Unit: "ns", N: r.h.TotalCount(), Overflow: r.overflow, Negative: r.negative, P: map[string]*int64{}}
	for _, q := range quantiles {
		s.P[q.name] = nil
		if float64(s.N)*(100-q.q)/100 >= tail-1e-9 {
			v := r.h.ValueAtQuantile(q.q)
			s.P[q.name] = &v
		}
	}
	if s.N > 0 {
		s.Min, s.Max, s.Mean = r.h.Min(), r.h.Max(), r.h.Mean()
	}
	if b, err := r.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err == nil {
		s.HDR = string(b)
	}
	return s
}

// Quantile is a percentile of the summary and whether it means anything.
func (s Summary) Quantile(name string) (time.Duration, bool) {
	if v := s.P[name]; v != nil {
		return time.Duration(*v), true
	}
	return 0, false
}

// String is the summary as one line for people.
func (s Summary) String() string {
	line := "min " + brief(time.Duration(s.Min))
	for _, q := range quantiles {
		line += "  p" + q.name + " "
		if d, ok := s.Quantile(q.name); ok {
			line += brief(d)
		} else {
			line += "n/a"
		}
	}
	return line + fmt.Sprintf("  max %s  n=%d", brief(time.Duration(s.Max)), s.N)
}

// brief is a duration with three digits.
func brief(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.0f us", float64(d)/1e3)
}

var _ json.Marshaler = Instant{}

// Instant is a moment in JSON: UTC with milliseconds.
type Instant struct{ time.Time }

// MarshalJSON writes RFC 3339 with milliseconds.
func (i Instant) MarshalJSON() ([]byte, error) {
	return []byte(i.UTC().Format(`"2006-01-02T15:04:05.000Z"`)), nil
}

// UnmarshalJSON reads what MarshalJSON wrote, and RFC 3339 in general.
func (i *Instant) UnmarshalJSON(b []byte) error { return i.Time.UnmarshalJSON(b) }
