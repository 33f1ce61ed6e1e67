package trend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/gate"
)

// line is the i-th run of a history, a run a day.
func line(i int) Line {
	return Line{
		Schema: Schema, ID: fmt.Sprint("run", i), Time: load.Instant{Time: time.Date(2026, 1, 1+i, 2, 0, 0, 0, time.UTC)}, Kind: Gate,
		Fingerprint: "sha256:aa", Machine: "2 x EPYC, linux/amd64", Commit: fmt.Sprintf("c%04d", i), Version: "1.0",
		Series: map[string]Value{"rpc.cpu": {100, "ns/call", 12}},
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "h.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func encoded(t testing.TB, l Line) string {
	t.Helper()
	b, err := encode(l)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWhatIsAppendedIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.jsonl")
	var want []Line
	for i := range 3 {
		want = append(want, line(i))
		if err := Append(path, want[i]); err != nil {
			t.Fatal(err)
		}
	}
	h, err := Read(path)
	if err != nil || h.Torn != nil || !reflect.DeepEqual(h.Lines, want) {
		t.Errorf("%v, %+v, want %+v", err, h, want)
	}
}

// A crash in the middle of a write costs that line only, at whatever byte it was.
func TestATornLineIsToldAndLeftOut(t *testing.T) {
	whole, cut := encoded(t, line(0)), encoded(t, line(1))
	for n := 1; n < len(cut)-1; n++ {
		for _, zeros := range []int{0, 5} {
			path := write(t, whole+cut[:n]+strings.Repeat("\x00", zeros))
			h, err := Read(path)
			if err != nil || len(h.Lines) != 1 || !reflect.DeepEqual(h.Torn, []int{2}) {
				t.Fatalf("cut after %d bytes: %v, %+v", n, err, h)
			}
			if n%40 != 0 {
				continue
			}
			if err := Append(path, line(2)); err != nil {
				t.Fatal(err)
			}
			h, err = Read(path)
			if err != nil || len(h.Lines) != 2 || h.Lines[1].ID != "run2" || !reflect.DeepEqual(h.Torn, []int{2}) {
				t.Fatalf("cut after %d bytes, then appended: %v, %+v", n, err, h)
			}
		}
	}
	h, err := Read(write(t, whole+strings.TrimSuffix(cut, "\n")))
	if err != nil || len(h.Lines) != 2 || h.Torn != nil {
		t.Errorf("only its end is missing: %v, %+v", err, h)
	}
}

func TestGarbageIsAnErrorThatNamesTheLine(t *testing.T) {
	whole := encoded(t, line(0))
	edit := func(from, to string) string {
		if !strings.Contains(whole, from) {
			t.Fatalf("there is no %s in %s", from, whole)
		}
		return strings.Replace(whole, from, to, 1)
	}
	for name, bad := range map[string]string{
		"no JSON":          "rpc.cpu 5\n",
		"another object":   `{"schema":"trackbench.result/1"}` + "\n",
		"pretty JSON":      "{\n \"schema\": \"trackbench.result/1\"\n}\n",
		"a later schema":   edit("history/1", "history/2"),
		"two on a line":    strings.TrimSpace(whole) + whole,
		"a negative value": edit(`"value":100`, `"value":-1`),
		"a huge value":     edit(`"value":100`, `"value":1e999`),
		"NaN":              edit(`"value":100`, `"value":NaN`),
		"no figures":       edit(`{"rpc.cpu":{"value":100,"unit":"ns/call","n":12}}`, `{}`),
		"no fingerprint":   edit(`"sha256:aa"`, `""`),
		"another kind":     edit(`"kind":"gate"`, `"kind":"x"`),
		"no time":          edit(`"2026-01-01T02:00:00.000Z"`, `"yesterday"`),
		"a time of nobody": edit(`"2026-`, `"0001-`),
		"an escape":        edit(`"commit":"c0000"`, `"commit":"\u001b[2J"`),
		"a long name":      edit(`"rpc.cpu"`, `"`+strings.Repeat("x", maxName+1)+`"`),
		"a long line":      edit(`"rpc.cpu"`, `"`+strings.Repeat("x", maxLine)+`"`),
		"many launches":    edit(`"n":12`, `"n":99999999`),
	} {
		_, err := Read(write(t, whole+bad+whole))
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "line ") || strings.Contains(err.Error(), "line 1:") || len(err.Error()) > 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if h, err := Read(write(t, "")); err != nil || len(h.Lines) != 0 {
		t.Errorf("an empty file: %v, %+v", err, h)
	}
	if h, err := Read(write(t, "\n"+whole+"  \n")); err != nil || len(h.Lines) != 1 {
		t.Errorf("empty lines: %v, %+v", err, h)
	}
}

func TestAppendLeavesOtherFilesAlone(t *testing.T) {
	for name, text := range map[string]string{
		"prose": "# Read me\n", "prose without an end": "# Read me", "a result": "{\n  \"schema\": \"trackbench.result/1\"\n}\n",
		"another JSONL": `{"a":1}` + "\n", "one long line": strings.Repeat("x", maxLine+10),
	} {
		path := write(t, text)
		if err := Append(path, line(0)); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s: is changed, %v", name, err)
		}
	}
	if err := Append(t.TempDir(), line(0)); err == nil {
		t.Error("a directory was appended to")
	}
}

func TestAFigureThatCannotBeComparedIsRefused(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), -1} {
		path := filepath.Join(t.TempDir(), "h.jsonl")
		l := line(0)
		l.Series["rpc.cpu"] = Value{Value: v}
		if err := Append(path, l); err == nil {
			t.Errorf("%v was taken", v)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: a file was left: %v", v, err)
		}
		if m := Look([]Line{l}, Options{}); len(m[0].Series) != 0 {
			t.Errorf("%v: looked at %+v", v, m[0].Series[0])
		}
	}
}

// Runs that end at the same time lose nothing and mix nothing.
func TestManyAppendAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.jsonl")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 5 {
				l := line(i*5 + j)
				l.Setting = strings.Repeat("x", 1900)
				if err := Append(path, l); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	h, err := Read(path)
	if err != nil || len(h.Lines) != 40 || h.Torn != nil {
		t.Fatalf("%v, %d lines, torn %v", err, len(h.Lines), h.Torn)
	}
	seen := map[string]bool{}
	for _, l := range h.Lines {
		seen[l.ID] = true
	}
	if len(seen) != 40 {
		t.Errorf("%d different lines", len(seen))
	}
}

func number(v float64) *float64 { return &v }

func TestAGateIsRememberedWithItsBaseAndItsControl(t *testing.T) {
	env := load.Describe(load.ReadVitals(), load.ReadVitals())
	r := &gate.Report{
		ID: "x", Started: load.Instant{Time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)}, Tool: load.Tool{Go: "go1.26"},
		Base: gate.Binary{Commit: "aaa", Version: "1.0"}, Head: gate.Binary{SHA256: "0123456789abcdef"}, Same: []string{"GOMAXPROCS=2", "GOGC=100"},
		Verdict: gate.Regressed, Env: env, Control: &gate.Control{Launches: 12, Base: number(90)},
		Metrics: []*gate.Metric{
			{Work: "rpc", Name: "cpu", Unit: "ns/call", Batch: gate.Batch{Launches: 12, Base: number(500), Head: number(600)}, Confirm: &gate.Batch{Head: number(1)}},
			{Work: "rpc", Name: "new", Unit: "bytes", Batch: gate.Batch{Launches: 3, Head: number(0)}},
			{Work: "rpc", Name: "gone", Unit: "bytes"},
			{Work: "rpc", Name: "odd", Batch: gate.Batch{Head: number(math.NaN())}},
		},
	}
	got := FromGate(r)
	want := Line{
		Schema: Schema, ID: "x", Time: r.Started, Kind: Gate, Fingerprint: env.Fingerprint, Machine: got.Machine, Setting: "GOMAXPROCS=2 GOGC=100",
		Version: "sha256:0123456789ab",
		Series:  map[string]Value{"rpc.cpu": {600, "ns/call", 12}, "rpc.new": {0, "bytes", 3}},
		Base:    &Base{Commit: "aaa", Version: "1.0", Series: map[string]Value{"rpc.cpu": {500, "ns/call", 12}}},
		Canary:  map[string]Value{"null server": {90, "ns/call", 12}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	path := filepath.Join(t.TempDir(), "h.jsonl")
	if err := Append(path, got); err != nil {
		t.Error(err)
	}
	for _, bad := range []func(r *gate.Report){
		func(r *gate.Report) { r.Verdict = gate.Failed }, func(r *gate.Report) { r.Partial = true }, func(r *gate.Report) { r.Metrics = nil },
	} {
		failed := *r
		bad(&failed)
		if err := Append(path, FromGate(&failed)); !errors.Is(err, ErrNothing) {
			t.Errorf("%v", err)
		}
	}
}

// What can be read can be written, and is then the same; no bytes make it panic.
func FuzzHistory(f *testing.F) {
	l := line(0)
	l.Base = &Base{Commit: "b", Series: map[string]Value{"rpc.cpu": {1, "ns/call", 2}}}
	l.Canary = map[string]Value{"null server": {1, "ns/call", 2}}
	whole := encoded(f, l)
	f.Add([]byte(whole))
	f.Add([]byte(whole[:40]))
	f.Add([]byte(whole + whole[:100] + "\x00\x00\n" + whole))
	f.Add([]byte("{\n}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		var text bytes.Buffer
		for _, l := range h.Lines {
			b, err := encode(l)
			if err != nil {
				t.Fatalf("it was read and cannot be written: %v", err)
			}
			text.Write(b)
		}
		first := text.String()
		again, err := Decode(&text)
		if err != nil || len(again.Lines) != len(h.Lines) || again.Torn != nil {
			t.Fatalf("%v, %d lines of %d", err, len(again.Lines), len(h.Lines))
		}
		second := ""
		for _, l := range again.Lines {
			second += encoded(t, l)
		}
		if first != second {
			t.Errorf("%s, then %s", first, second)
		}
		if _, err := json.Marshal(Look(h.Lines, Options{})); err != nil {
			t.Error(err)
		}
	})
}
