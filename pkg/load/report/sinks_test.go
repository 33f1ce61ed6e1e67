package report

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tracker/pkg/load"
)

func written(t testing.TB, kind string, results ...*load.Result) string {
	t.Helper()
	var files []*File
	for _, r := range results {
		files = append(files, fileOf(t, r))
	}
	var b bytes.Buffer
	if err := writers[kind](&b, files, Context{Version: "0.3.0"}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCSVHasARowForEachInterval(t *testing.T) {
	r := synth(1, 24, 1)
	rows, err := csv.NewReader(strings.NewReader(written(t, "csv", r, hostile(t)))).ReadAll()
	if err != nil || len(rows) != 1+24+24 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	cell := func(row int, name string) string { return rows[row][slices.Index(rows[0], name)] }
	if cell(1, "sent") != "2000" || cell(1, "t_s") != "0.000" || cell(13, "marks") != "W07" || cell(13, "sent_per_s") != "1700.0" {
		t.Errorf("first %v, stalled %v", rows[1], rows[13])
	}
	if p50, err := strconv.ParseFloat(cell(1, "p50_ms"), 64); err != nil || p50 < 15 || p50 > 30 {
		t.Errorf("p50 of %v ms, %v", p50, err)
	}
	if got := harmless("=1+1"); got != "'=1+1" {
		t.Errorf("a formula stays one: %s", got)
	}
}

// benchLine is how golang.org/x/perf reads a result: a name, a count, then values and
// their units.
var benchLine = regexp.MustCompile(`^Benchmark[^a-z\s]\S*-\d+\t[1-9]\d*(\t[-+0-9.eE]+ [^\s]+)+$`)

func TestBenchIsReadByBenchstat(t *testing.T) {
	text := written(t, "bench", synth(1, 5, 1), synth(2, 5, 1), hostile(t))
	units, lines := map[string]string{}, 0
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if f := strings.Fields(l); len(f) == 3 && f[0] == "Unit" {
			units[f[1]] = f[2]
			continue
		}
		switch {
		case strings.HasPrefix(l, "Benchmark"):
			if lines++; !benchLine.MatchString(l) {
				t.Errorf("no line of a benchmark: %q", l)
			}
			for i, f := range strings.Fields(l) {
				if i > 1 && i%2 == 1 && units[f] == "" {
					t.Errorf("the unit %q has no line", f)
				}
			}
		case strings.HasPrefix(l, "# "), regexp.MustCompile(`^(goos|goarch|pkg|cpu): `).MatchString(l):
		default:
			t.Errorf("an unknown line %q", l)
		}
	}
	if lines != 3 || units["response-p99-ns"] != "better=lower" || units["achieved/s"] != "better=higher" {
		t.Errorf("%d lines, units %v", lines, units)
	}
	if !strings.Contains(text, "BenchmarkIngest/devices=1000/rate=2k/watch=true-2\t10000\t") {
		t.Errorf("no such name in %s", text)
	}
}

// sample is a line of the exposition format, read strictly.
var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)\{(.*)\} (\S+)$`)
	labelPair  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)`)
)

// exposition reads a text file as Prometheus does and returns its samples.
func exposition(t *testing.T, text string) map[string]float64 {
	t.Helper()
	samples, families, kind := map[string]float64{}, map[string]bool{}, ""
	name := ""
	for l := range strings.Lines(text) {
		if !strings.HasSuffix(l, "\n") {
			t.Fatalf("the last line has no end: %q", l)
		}
		l = strings.TrimSuffix(l, "\n")
		if f := strings.SplitN(l, " ", 4); f[0] == "#" {
			if f[1] == "HELP" {
				if name = f[2]; families[name] {
					t.Fatalf("%s begins twice", name)
				}
				families[name] = true
			} else if kind = f[3]; f[1] != "TYPE" || f[2] != name {
				t.Fatalf("a line %q", l)
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(l)
		if m == nil {
			t.Fatalf("no sample: %q", l)
		}
		base := m[1]
		if kind == "histogram" {
			base = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(base, "_bucket"), "_sum"), "_count")
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if base != name || err != nil {
			t.Fatalf("%q stands under %s, %v", l, name, err)
		}
		seen := map[string]bool{}
		for rest := m[2]; rest != ""; {
			p := labelPair.FindStringSubmatch(rest)
			if p == nil || seen[p[1]] {
				t.Fatalf("labels %q", rest)
			}
			seen[p[1]], rest = true, rest[len(p[0]):]
		}
		if _, twice := samples[m[1]+m[2]]; twice {
			t.Fatalf("%q stands twice", l)
		}
		samples[m[1]+m[2]] = v
	}
	return samples
}

func TestPromIsValidExposition(t *testing.T) {
	a := synth(1, 5, 1)
	got := exposition(t, written(t, "prom", a, synth(2, 5, 1), hostile(t), hostile(t)))
	who := `scenario="ingest",target="127.0.0.1:4810",label_commit="a1b2c3d"`
	for key, want := range map[string]float64{
		`trackbench_count` + who + `,kind="sent"`:                               10000,
		`trackbench_validity` + who + `,state="VALID"`:                          1,
		`trackbench_latency_seconds_count` + who + `,kind="response"`:           10000,
		`trackbench_latency_seconds_bucket` + who + `,kind="response",le="60"`:  10000,
		`trackbench_latency_seconds_bucket` + who + `,kind="response",le="0.1"`: 10000,
		`trackbench_check` + who + `,kind="threshold",check="p50<60ms"`:         1,
		`trackbench_start_time_seconds` + who:                                   float64(a.Started.UnixMilli()) / 1e3,
		`trackbench_cpu_seconds` + who + `,run="2",side="client"`:               0.41 * 5,
	} {
		if v, ok := got[key]; !ok || math.Abs(v-want) > 1e-9*want {
			t.Errorf("%s is %v (%v), want %v", key, v, ok, want)
		}
	}
	last := 0.0
	for _, edge := range promEdges {
		v := got[fmt.Sprintf(`trackbench_latency_seconds_bucket%s,kind="response",le="%v"`, who, edge)]
		if v < last {
			t.Errorf("the bucket %v has %v, the one before %v", edge, v, last)
		}
		last = v
	}
}

type junitSuites struct {
	Suites []struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
			} `xml:"failure"`
			Error *struct{} `xml:"error"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func TestJUnitTellsWhatWasAsked(t *testing.T) {
	good, bad, invalid, cut := synth(1, 5, 1), synth(2, 5, 1), synth(3, 5, 1), synth(4, 5, 1)
	bad.Checks = append(bad.Checks, load.Check{Kind: "threshold", Name: "p99<5ms", Text: "it was 41 ms"})
	bad.Counts.Deliveries.Lost = 3
	invalid.Verdict.Warn("W23", load.Ruin, nil, "no answer came")
	cut.Partial = true
	cut.Counts.Deliveries.Lost = 3
	cut.Checks = append(cut.Checks, load.Check{Kind: "correctness", Name: "complete", Pass: true})
	var got junitSuites
	if err := xml.Unmarshal([]byte(written(t, "junit", good, bad, invalid, cut, hostile(t))), &got); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][3]int{{3, 0, 0}, {4, 2, 0}, {3, 0, 1}, {4, 0, 1}} {
		if s := got.Suites[i]; [3]int{s.Tests, s.Failures, s.Errors} != want || len(s.Cases) != s.Tests {
			t.Errorf("suite %d: %d tests, %d failures, %d errors, want %v", i, s.Tests, s.Failures, s.Errors, want)
		}
	}
	c := got.Suites[1].Cases
	if c[1].Failure == nil || c[1].Failure.Message != "3 deliveries lost" || c[3].Name != "threshold p99<5ms" || c[3].Failure.Message != "it was 41 ms" {
		t.Errorf("cases %+v", c)
	}
}

func TestWriteReplacesInOneStep(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run.prom")
	for range 2 {
		if err := Write("prom", path, synth(1, 3, 1), Context{}); err != nil {
			t.Fatal(err)
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("%v is left, %v", names, err)
	}
	if err := Write("pdf", path, synth(1, 3, 1), Context{}); !errors.Is(err, ErrKind) || !strings.Contains(err.Error(), "bench, csv, html") {
		t.Errorf("got %v", err)
	}
	if err := Write("csv", filepath.Join(dir, "none", "x"), synth(1, 3, 1), Context{}); err == nil {
		t.Error("written into a directory that is not there")
	}
	list, err := SVG(filepath.Join(dir, "svg"), fileOf(t, synth(1, 24, 1)))
	if err != nil || len(list) != 6 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestMarkdown(t *testing.T) {
	got := written(t, "md", missing(t))
	for _, want := range []string{"**VALID**", "| response |", "### The course of the run", "| 118 | 20 % |", "    trackbench ingest --rate 2k"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// Figures of a part of a run, or of a server that failed, must not pass for whole ones.
func TestFilesOfFiguresSayWhatTheyAreOf(t *testing.T) {
	r := synth(1, 5, 1)
	r.Partial = true
	r.Fail(load.TargetGone, "", "it died")
	for kind, want := range map[string][]string{
		"bench": {"VALID PARTIAL FAILED\n"},
		"prom":  {"trackbench_partial{", "} 1\n", "trackbench_failed{"},
		"md":    {"PARTIAL", "it died"},
		"junit": {"interrupted", "it died"},
		"html":  {"PARTIAL", "it died"},
	} {
		got := written(t, kind, r)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s does not say %q", kind, w)
			}
		}
	}
	var log strings.Builder
	if err := r.WriteHLog(&log); err != nil || !strings.Contains(log.String(), "#[VALID PARTIAL FAILED]\n") {
		t.Errorf("%v: %.300s", err, &log)
	}
}
