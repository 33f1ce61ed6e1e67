package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"tracker/pkg/load"
)

// What a result file may have at most. Ours are far below; a file that is not ours
// must not be able to eat the machine.
const (
	maxFile      = 64 << 20
	maxIntervals = 20_000
	maxReceivers = 1 << 20
	maxList      = 1000 // warnings, checks, arguments, labels, histograms
	maxText      = 4096 // bytes of any of their texts
)

// ErrForeign says that a file is no result of ours.
var ErrForeign = errors.New("no trackbench result")

// File is a result and the bytes that it was read from, which are what a report
// hands on: they may have members that this program does not know.
type File struct {
	Name   string
	Result *load.Result
	JSON   []byte
}

// Read reads a result file, "-" being standard input.
func Read(path string) (*File, error) {
	in, err := load.Input(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	f, err := Decode(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.Name = path
	return f, nil
}

// Decode reads a result and checks that it can be drawn: that it says what it is, that
// nothing in it is without bounds, and that its histograms can be read.
func Decode(in io.Reader) (*File, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%w: larger than %d MiB", ErrForeign, maxFile>>20)
	}
	return decode(b)
}

func decode(b []byte) (*File, error) {
	var r load.Result
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrForeign, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more follows after its end", ErrForeign)
	}
	if err := check(&r); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrForeign, err)
	}
	return &File{Result: &r, JSON: b}, nil
}

// of makes a file of a result that was just measured.
func of(r *load.Result) (*File, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	f, err := decode(append(b, '\n'))
	if err != nil {
		return nil, err
	}
	f.Name = name(r) + ".json"
	return f, nil
}

func check(r *load.Result) error {
	if r.Schema != load.SchemaResult {
		return fmt.Errorf("schema %.40q, want %q", r.Schema, load.SchemaResult)
	}
	switch v := r.Verdict.Validity; v {
	case load.Valid, load.Suspect, load.Invalid:
	default:
		return fmt.Errorf("validity %.40q", v)
	}
	if r.DurationNS < 0 || r.DurationNS > int64(math.MaxInt64/4) {
		return fmt.Errorf("duration_ns %d", r.DurationNS)
	}
	return errors.Join(checkSizes(r), checkTexts(r), checkNumbers(r), checkIntervals(r), checkLatency(r))
}

func checkSizes(r *load.Result) error {
	for _, l := range []struct {
		what string
		n    int
		most int
	}{
		{"intervals", len(r.Intervals), maxIntervals}, {"completeness", len(r.Completeness), maxReceivers},
		{"warnings", len(r.Verdict.Warnings), maxList}, {"checks", len(r.Checks), maxList},
		{"args", len(r.Scenario.Args), maxList}, {"labels", len(r.Labels), maxList}, {"command", len(r.Command), maxList},
		{"latency", len(r.Latency), maxList}, {"rates", len(r.Rates), maxList},
		{"errors", len(r.Counts.Errors), maxList}, {"server_dropped", len(r.Counts.Dropped), maxList},
		{"faults", len(r.Counts.Faults), maxList}, {"events", len(r.Events), maxList}, {"findings", len(r.Findings), maxList},
		{"mismatches", len(mismatches(r)), maxList}, {"trials", len(trials(r)), maxList},
	} {
		if l.n > l.most {
			return fmt.Errorf("%d %s, more than %d", l.n, l.what, l.most)
		}
	}
	return nil
}

func mismatches(r *load.Result) []load.Mismatch {
	if r.Consistency == nil {
		return nil
	}
	return r.Consistency.Mismatches
}

func trials(r *load.Result) []load.Trial {
	if r.Search == nil {
		return nil
	}
	return r.Search.Trials
}

// texts are all texts of a result that have to be short.
func texts(r *load.Result) []string {
	texts := []string{r.ID, r.Tool.Version, r.Tool.Commit, r.Tool.Go, r.Scenario.Name, r.Scenario.Loop, r.Scenario.Plan,
		r.Target.Addr, r.Target.UDP, r.Target.Kind, r.Target.Version, r.Target.Commit, r.Target.Go, r.Env.Fingerprint, r.Env.OS, r.Env.CPU,
		r.Env.CgroupMax, r.Env.Kernel, r.Env.Clocksource, r.Env.Virt, r.Env.TCPCC}
	texts = append(texts, r.Command...)
	texts = append(texts, r.Counts.Faults...)
	if r.Failure != nil {
		texts = append(texts, r.Failure.Kind, r.Failure.Text, r.Failure.Hint)
	}
	if c := r.Consistency; c != nil {
		texts = append(texts, c.State, c.Planned)
	}
	for _, m := range mismatches(r) {
		texts = append(texts, m.Receiver, m.Sender, m.Want, m.Got)
	}
	if s := r.Search; s != nil {
		texts = append(texts, s.Expr, s.Bound, strings.Join(s.Reasons, ";"))
	}
	for _, t := range trials(r) {
		texts = append(texts, strings.Join(t.Reasons, ";"))
	}
	for _, e := range r.Events {
		texts = append(texts, e.Text)
	}
	for _, w := range r.Verdict.Warnings {
		texts = append(texts, w.ID, string(w.Severity), w.Text)
	}
	for _, c := range r.Checks {
		texts = append(texts, c.Kind, c.Name, c.Text)
	}
	for k, v := range r.Labels {
		texts = append(texts, k, v)
	}
	for k := range r.Latency {
		texts = append(texts, k)
	}
	return texts
}

func checkTexts(r *load.Result) error {
	for _, s := range texts(r) {
		if len(s) > maxText {
			return fmt.Errorf("a text of %d bytes, %.40q", len(s), s)
		}
	}
	if r.Scenario.Name == "" || strings.TrimSpace(r.Scenario.Name) == "" {
		return errors.New("no name of a scenario")
	}
	return nil
}

func checkNumbers(r *load.Result) error {
	c := &r.Counts
	for _, n := range []int64{c.Planned, c.Sent, c.BytesOut, r.Resources.Client.RSS} {
		if n < 0 {
			return fmt.Errorf("a count of %d", n)
		}
	}
	for k, v := range r.Rates {
		if v < 0 || v > 1e15 {
			return fmt.Errorf("rate %.40q of %g", k, v)
		}
	}
	for i, v := range r.Completeness {
		if v < 0 || v > 1 {
			return fmt.Errorf("completeness %g of receiver %d", v, i)
		}
	}
	if cpu := r.Resources.Client.CPUSeconds; cpu < 0 || cpu > 1e12 {
		return fmt.Errorf("cpu_s of %g", cpu)
	}
	for _, t := range trials(r) {
		if t.Rate < 0 || t.Rate > 1e15 {
			return fmt.Errorf("a trial of %g/s", t.Rate)
		}
	}
	if s := r.Resources.Server; s != nil && (s.CPUSeconds < 0 || s.CPUSeconds > 1e12) {
		return fmt.Errorf("cpu_s of %g", s.CPUSeconds)
	}
	return nil
}

func checkIntervals(r *load.Result) error {
	end := int64(math.MinInt64)
	for i, iv := range r.Intervals {
		switch {
		case iv.LenNS <= 0 || iv.LenNS > math.MaxInt64/4 || iv.TNS < -math.MaxInt64/4 || iv.TNS > math.MaxInt64/4:
			return fmt.Errorf("interval %d at %d ns for %d ns", i, iv.TNS, iv.LenNS)
		case iv.TNS < end:
			return fmt.Errorf("interval %d begins before the one before it ends", i)
		case iv.Sent < 0 || iv.Received < 0 || iv.Offered < 0 || iv.Lost < 0 || iv.Backlog < 0 || iv.Late < 0:
			return fmt.Errorf("a negative count in interval %d", i)
		case bad(iv.ClientCPU) || bad(iv.ServerCPU):
			return fmt.Errorf("the cores of interval %d", i)
		case len(iv.Marks) > 64:
			return fmt.Errorf("%d marks in interval %d", len(iv.Marks), i)
		}
		end = iv.TNS + iv.LenNS
		if _, err := parseHist(iv.HDR); err != nil {
			return fmt.Errorf("interval %d: %w", i, err)
		}
	}
	return nil
}

func bad(cores *float64) bool { return cores != nil && (*cores < 0 || *cores > 1e6) }

func checkLatency(r *load.Result) error {
	for k, s := range r.Latency {
		if s.N < 0 || s.Overflow < 0 || s.Negative < 0 || s.Min < 0 || s.Max < 0 || s.Mean < 0 {
			return fmt.Errorf("a negative figure in latency %.40q", k)
		}
		h, err := parseHist(s.HDR)
		if err != nil {
			return fmt.Errorf("latency %.40q: %w", k, err)
		}
		if s.HDR != "" && h.total != s.N {
			return fmt.Errorf("latency %.40q is said to have %d values, and its histogram has %d", k, s.N, h.total)
		}
	}
	return nil
}
