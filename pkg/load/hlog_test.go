package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// logged is a run of three intervals, one of them empty, with the histograms that its log
// has to hold by tag.
func logged(t *testing.T) (*Result, map[string][]*hdrhistogram.Histogram) {
	t.Helper()
	r := NewResult("1.2.3", "ingest")
	r.Started = Instant{time.Date(2026, 11, 21, 22, 13, 34, 757_000_000, time.UTC)}
	r.DurationNS, r.Scenario.Seed = int64(3*time.Second), 7
	rng := rand.New(rand.NewPCG(1, 2))
	all, lag := NewRecorder(), NewRecorder()
	held := map[string][]*hdrhistogram.Histogram{}
	for i, n := range []int{20_000, 0, 5_000} {
		response, service := NewRecorder(), NewRecorder()
		for range n {
			d := time.Duration(rng.ExpFloat64() * float64(3*time.Millisecond))
			response.Record(d)
			service.Record(d / 2)
			lag.Record(d / 100)
		}
		all.Merge(response)
		r.Intervals = append(r.Intervals, Interval{
			TNS: int64(i) * 1e9, LenNS: 1e9, Received: int64(n),
			HDR: response.Summary().HDR, Tagged: map[string]string{"service": service.Summary().HDR},
		})
		held[""], held["service"] = append(held[""], response.h), append(held["service"], service.h)
	}
	held["send_lag"] = []*hdrhistogram.Histogram{lag.h}
	r.Latency["response"], r.Latency["service"], r.Latency["send_lag"] = all.Summary(), all.Summary(), lag.Summary()
	r.Latency["not a, tag"] = all.Summary()
	r.Events = []Event{{TNS: 5e8, Text: "somebody]\npressed a key"}}
	return r, held
}

func logOf(t *testing.T, r *Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteHLog(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestALogHasTheFormOfJavas(t *testing.T) {
	r, _ := logged(t)
	lines := strings.Split(strings.TrimSuffix(logOf(t, r), "\n"), "\n")
	for i, want := range []string{
		`#[trackbench 1.2.3 ingest seed=7]`,
		`#[Histogram log format version 1.3]`,
		`#[StartTime: 1795299214.757 (seconds since epoch), Sat Nov 21 22:13:34 UTC 2026]`,
		`#[BaseTime: 1795299214.757 (seconds since epoch)]`,
		`"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"`,
	} {
		if lines[i] != want {
			t.Errorf("line %d is %s, want %s", i+1, lines[i], want)
		}
	}
	form := regexp.MustCompile(`^(Tag=(service|send_lag),)?\d+\.\d{3},\d+\.\d{3},\d+\.\d{3},HISTF[A-Za-z0-9+/=]+$`)
	untagged := 0
	for _, l := range lines[5:] {
		switch {
		case strings.HasPrefix(l, "#[event 0.500 somebody  pressed a key]"):
		case !form.MatchString(l):
			t.Errorf("odd line %.80s", l)
		case !strings.HasPrefix(l, "Tag="):
			untagged++
		}
	}
	if untagged != 3 {
		t.Errorf("%d lines of the headline, want 3, the empty interval too", untagged)
	}
}

func TestALogIsReadBackInGo(t *testing.T) {
	r, held := logged(t)
	in := hdrhistogram.NewHistogramLogReader(strings.NewReader(logOf(t, r)))
	seen := map[string]int{}
	for {
		h, err := in.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			break
		}
		tag := h.Tag()
		if seen[tag] >= len(held[tag]) {
			t.Fatalf("one line too many of %q", tag)
		}
		want := held[tag][seen[tag]]
		if h.TotalCount() != want.TotalCount() || h.Max() != want.Max() {
			t.Errorf("%q line %d: %d values up to %d, want %d up to %d", tag, seen[tag], h.TotalCount(), h.Max(), want.TotalCount(), want.Max())
		}
		for _, q := range quantiles {
			if got, want := h.ValueAtQuantile(q.q), want.ValueAtQuantile(q.q); got != want {
				t.Errorf("%q line %d: p%s is %d, want %d", tag, seen[tag], q.name, got, want)
			}
		}
		seen[tag]++
	}
	for tag, list := range held {
		if seen[tag] != len(list) {
			t.Errorf("%d lines of %q, want %d", seen[tag], tag, len(list))
		}
	}
}

// nodeLibrary installs what tools/hdr asks for, or skips with the reason.
func nodeLibrary(t *testing.T) (dir string) {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("skip: no %s: logs are not read by hdr-histogram-js", name)
		}
	}
	dir = t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "read.mjs"} {
		b, err := os.ReadFile(filepath.Join("../../tools/hdr", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		last := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Skipf("skip: npm could not install hdr-histogram-js: %s", last[len(last)-1])
	}
	return dir
}

func TestALogIsReadBackInJavaScript(t *testing.T) {
	dir := nodeLibrary(t)
	r, held := logged(t)
	path := filepath.Join(dir, "run.hlog")
	if err := r.Write("hlog", path); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("node", filepath.Join(dir, "read.mjs"), path).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var lines []struct {
		Tag        string
		Start, End int64
		N, Max     int64
		P          []int64
	}
	if err := json.Unmarshal(out, &lines); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	seen := map[string]int{}
	for _, l := range lines {
		if seen[l.Tag] >= len(held[l.Tag]) {
			t.Fatalf("one line too many of %q", l.Tag)
		}
		want := held[l.Tag][seen[l.Tag]]
		if l.N != want.TotalCount() {
			t.Errorf("%q line %d: %d values, want %d", l.Tag, seen[l.Tag], l.N, want.TotalCount())
		}
		for i, q := range quantiles {
			if got, want := l.P[i], want.ValueAtQuantile(q.q); got != want && want != 0 {
				t.Errorf("%q line %d: p%s is %d, want %d", l.Tag, seen[l.Tag], q.name, got, want)
			}
		}
		if l.Tag != "send_lag" && l.Start != r.Started.UnixMilli()+int64(seen[l.Tag])*1000 {
			t.Errorf("%q line %d begins at %d", l.Tag, seen[l.Tag], l.Start)
		}
		seen[l.Tag]++
	}
	for tag, list := range held {
		if seen[tag] != len(list) {
			t.Errorf("%d lines of %q, want %d", seen[tag], tag, len(list))
		}
	}
}

func TestPercentilesAreWrittenAsPlottersReadThem(t *testing.T) {
	r, held := logged(t)
	dir := filepath.Join(t.TempDir(), "hgrm")
	if err := r.Write("hgrm", dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Fatalf("got %v, %v", entries, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "send_lag.hgrm"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if lines[0] != "       Value     Percentile TotalCount 1/(1-Percentile)" || lines[1] != "" {
		t.Errorf("got %q", lines[:2])
	}
	h := held["send_lag"][0]
	before, counted := -1.0, int64(0)
	for _, l := range lines[2 : len(lines)-3] {
		f := strings.Fields(l)
		value, err := strconv.ParseFloat(f[0], 64)
		part, err2 := strconv.ParseFloat(f[1], 64)
		n, err3 := strconv.ParseInt(f[2], 10, 64)
		if err != nil || err2 != nil || err3 != nil || value < before || n < counted {
			t.Fatalf("odd line %q", l)
		}
		if last := part == 1; last != (len(f) == 3) {
			t.Errorf("odd columns %q", l)
		}
		before, counted = value, n
	}
	if counted != h.TotalCount() {
		t.Errorf("the last line counts %d, want %d", counted, h.TotalCount())
	}
	want := fmt.Sprintf("Total count    = %12d]", h.TotalCount())
	if end := lines[len(lines)-3:]; !strings.HasPrefix(end[0], "#[Mean    = ") || !strings.HasSuffix(end[1], want) || !strings.HasPrefix(end[2], "#[Buckets = ") {
		t.Errorf("got %q", end)
	}
}

// A file that is replaced is whole at every moment, and an error leaves the one before.
func TestFilesAreWrittenWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	bad := NewResult("x", "y")
	bad.Findings = map[string]any{"no JSON": make(chan int)}
	if err := bad.Write("json", path); err == nil {
		t.Error("wrote what cannot be written")
	}
	if b, _ := os.ReadFile(path); string(b) != "before" {
		t.Errorf("got %q", b)
	}
	if err := NewResult("x", "y").Write("json", path); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); !json.Valid(b) {
		t.Errorf("got %q", b)
	}
	if NewResult("x", "y").Write("xml", path) == nil {
		t.Error("wrote a kind that there is not")
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("left behind: %v", slices.Collect(func(yield func(string) bool) {
			for _, e := range list {
				if !yield(e.Name()) {
					return
				}
			}
		}))
	}
}
