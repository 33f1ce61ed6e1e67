package load

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// headline is the latency whose lines of a log have no tag: readers look at those first,
// or at nothing else.
const headline = "response"

// tagged are what a tag may be, so that no reader stumbles.
var tagged = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// WriteHLog writes the histograms of the run as a log of format 1.3: one line for each
// interval and latency, in nanoseconds; the column of maxima is in milliseconds. A
// latency that was not kept by interval has one line for the whole run.
//
// It is written here and not by the library, whose writer cuts base times to whole
// seconds and cannot set the unit of the maxima.
func (r *Result) WriteHLog(w io.Writer) error {
	out := bufio.NewWriter(w)
	start := r.Started.UTC()
	stamp := fmt.Sprintf("%d.%03d (seconds since epoch)", start.Unix(), start.Nanosecond()/1e6)
	fmt.Fprintf(out, "#[trackbench %s %s seed=%d]\n", oneLine(r.Tool.Version), oneLine(r.Scenario.Name), r.Scenario.Seed)
	if r.Partial || r.Failure != nil {
		fmt.Fprintf(out, "#[%s]\n", r.State())
	}
	fmt.Fprint(out, "#[Histogram log format version 1.3]\n")
	fmt.Fprintf(out, "#[StartTime: %s, %s]\n", stamp, start.Format("Mon Jan 02 15:04:05 MST 2006"))
	fmt.Fprintf(out, "#[BaseTime: %s]\n", stamp)
	fmt.Fprint(out, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n")
	lines := r.hlogLines()
	events := slices.Clone(r.Events)
	for _, l := range lines {
		for len(events) > 0 && events[0].TNS <= l.at {
			fmt.Fprintf(out, "#[event %s %s]\n", seconds(events[0].TNS), oneLine(events[0].Text))
			events = events[1:]
		}
		tag := ""
		if l.tag != "" {
			tag = "Tag=" + l.tag + ","
		}
		fmt.Fprintf(out, "%s%s,%s,%.3f,%s\n", tag, seconds(l.at), seconds(l.length), float64(l.most)/1e6, l.hdr)
	}
	for _, e := range events {
		fmt.Fprintf(out, "#[event %s %s]\n", seconds(e.TNS), oneLine(e.Text))
	}
	return out.Flush()
}

func seconds(ns int64) string { return fmt.Sprintf("%.3f", float64(ns)/1e9) }

// oneLine keeps a text from ending its line or its bracket early.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == ']' {
			return ' '
		}
		return c
	}, s)
}

type hlogLine struct {
	tag        string
	at, length int64
	most       int64
	hdr        string
}

// hlogLines are the lines by time, the headline first.
func (r *Result) hlogLines() []hlogLine {
	var lines []hlogLine
	for _, key := range r.latencies() {
		tag := ""
		if key != headline {
			tag = key
		}
		byInterval := false
		for i := range r.Intervals {
			iv := &r.Intervals[i]
			if hdr := iv.histogram(key); hdr != "" {
				byInterval = true
				lines = append(lines, hlogLine{tag: tag, at: iv.TNS, length: iv.LenNS, most: most(hdr), hdr: hdr})
			}
		}
		if sum := r.Latency[key]; !byInterval && sum.HDR != "" {
			lines = append(lines, hlogLine{tag: tag, length: r.DurationNS, most: most(sum.HDR), hdr: sum.HDR})
		}
	}
	slices.SortStableFunc(lines, func(a, b hlogLine) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.tag, b.tag))
	})
	return lines
}

// latencies are the keys of the result's latencies whose names can be tags, in order.
func (r *Result) latencies() (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(r.Latency)) {
		if tagged.MatchString(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (iv *Interval) histogram(key string) string {
	if key == headline {
		return iv.HDR
	}
	return iv.Tagged[key]
}

func most(hdr string) int64 {
	if h := decode(hdr); h != nil {
		return h.Max()
	}
	return 0
}

// WriteHGRM writes the percentiles of one latency as HdrHistogram's plotters read them,
// in milliseconds.
func WriteHGRM(w io.Writer, s *Summary) error {
	h := decode(s.HDR)
	if h == nil {
		h = NewRecorder().h
	}
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")
	const ticksPerHalf, ms = 5, 1e6
	for _, b := range h.CumulativeDistributionWithTicks(ticksPerHalf) {
		part := b.Quantile / 100
		if part < 1 {
			fmt.Fprintf(out, "%12.3f %2.12f %10d %14.2f\n", float64(b.ValueAt)/ms, part, b.Count, 1/(1-part))
			continue
		}
		fmt.Fprintf(out, "%12.3f %2.12f %10d\n", float64(b.ValueAt)/ms, part, b.Count)
		break // the library repeats the end
	}
	fmt.Fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", h.Mean()/ms, h.StdDev()/ms)
	fmt.Fprintf(out, "#[Max     = %12.3f, Total count    = %12d]\n", float64(h.Max())/ms, h.TotalCount())
	fmt.Fprintf(out, "#[Buckets = %12d, SubBuckets     = %12d]\n", buckets(h), subBuckets)
	return out.Flush()
}

// subBuckets and buckets are how the histogram is laid out inside; plotters show it.
const subBuckets = 2048

func buckets(h *hdrhistogram.Histogram) int {
	n := 1
	for most := subBuckets * h.LowestTrackableValue(); most < h.HighestTrackableValue(); most <<= 1 {
		n++
	}
	return n
}

// WriteHGRMs writes a file for each latency into a directory, which it makes.
func (r *Result) WriteHGRMs(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, key := range r.latencies() {
		s := r.Latency[key]
		if err := WriteFile(filepath.Join(dir, key+".hgrm"), func(w io.Writer) error { return WriteHGRM(w, &s) }); err != nil {
			return err
		}
	}
	return nil
}
