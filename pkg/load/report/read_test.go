package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tracker/pkg/load"
)

func TestReadGivesWhatWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.json")
	r := synth(1, 5, 1)
	if err := r.WriteJSON(path); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if f.Result.ID != r.ID || f.Result.Counts.Sent != r.Counts.Sent || !f.Result.Started.Equal(r.Started.Time) || f.Name != path {
		t.Errorf("got %+v", f.Result)
	}
	if want, _ := os.ReadFile(path); !bytes.Equal(f.JSON, want) {
		t.Error("the bytes are others")
	}
}

func TestForeignFilesAreRefused(t *testing.T) {
	edit := func(change func(*load.Result)) string {
		r := little(t)
		change(r)
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	half := -0.5
	for name, text := range map[string]string{
		"nothing":       "",
		"no JSON":       "<html>",
		"another":       `{"schema":"k6/1"}`,
		"two of them":   edit(func(*load.Result) {}) + "{}",
		"schema 2":      edit(func(r *load.Result) { r.Schema = "trackbench.result/2" }),
		"validity":      edit(func(r *load.Result) { r.Verdict.Validity = "GREAT" }),
		"no scenario":   edit(func(r *load.Result) { r.Scenario.Name = " " }),
		"duration":      edit(func(r *load.Result) { r.DurationNS = -1 }),
		"long text":     edit(func(r *load.Result) { r.Target.Addr = strings.Repeat("x", maxText+1) }),
		"intervals":     edit(func(r *load.Result) { r.Intervals = make([]load.Interval, maxIntervals+1) }),
		"interval":      edit(func(r *load.Result) { r.Intervals[1].LenNS = 0 }),
		"order":         edit(func(r *load.Result) { r.Intervals[1].TNS = 0 }),
		"cores":         edit(func(r *load.Result) { r.Intervals[1].ClientCPU = &half }),
		"histogram":     edit(func(r *load.Result) { r.Intervals[1].HDR = "HIST" }),
		"completeness":  edit(func(r *load.Result) { r.Completeness = []float64{1.5} }),
		"negative":      edit(func(r *load.Result) { r.Counts.Sent = -1 }),
		"rate":          edit(func(r *load.Result) { r.Rates["x"] = 1e200 }),
		"n is not true": edit(func(r *load.Result) { s := r.Latency["response"]; s.N++; r.Latency["response"] = s }),
	} {
		if _, err := Decode(strings.NewReader(text)); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Decode(zeros{}); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("without end: %v", err)
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// little is a result with a bit of everything, small enough for a fuzzer.
func little(t testing.TB) *load.Result {
	t.Helper()
	r := load.NewResult("1", "fanout")
	text, _ := packed(t, 1000, 60e9, 3, 1e6, 2e6, 2e6, 30e6)
	cores, lag := 0.5, int64(70_000)
	for i := range int64(2) {
		r.Intervals = append(r.Intervals, load.Interval{TNS: i * 1e9, LenNS: 1e9, Sent: 4, Offered: 5, Received: 40, HDR: text,
			ClientCPU: &cores, ServerCPU: &cores, LagP99NS: &lag, LagMaxNS: &lag, Marks: []string{"W07"}})
	}
	r.DurationNS, r.Completeness = 2e9, []float64{1, 0.5}
	r.Latency["response"] = load.Summary{N: 4, Max: 30e6, Mean: 9e6, HDR: text}
	r.Command, r.Checks = []string{"trackbench", "fan out"}, []load.Check{{Kind: "threshold", Name: "p99<5ms"}}
	r.Verdict.Warn("W02", load.Doubt, map[string]any{"late": 1}, "late")
	return r
}

// FuzzDecode draws whatever can be read, in every kind: no panic, nothing but our own
// elements in the page, and no error.
func FuzzDecode(f *testing.F) {
	for _, r := range []*load.Result{load.NewResult("1", "rpc"), little(f)} {
		b, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	_ = fileOf(f, little(f)) // can be read, so that the fuzzer begins where it matters
	f.Add([]byte(fmt.Sprintf(`{"schema":%q,"verdict":{"validity":"VALID"},"scenario":{"name":"x"},"intervals":[{"t_ns":0,"len_ns":1},{"t_ns":1,"len_ns":1,"sent":9223372036854775807}],"completeness":[0,1],"duration_ns":1}`, load.SchemaResult)))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, kind := range Kinds() {
			var out bytes.Buffer
			if err := writers[kind](&out, []*File{file}, Context{}); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if kind == "html" {
				harmlessPage(t, out.Bytes())
			}
		}
	})
}
