package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/trend"
)

// remember writes a history: 30 runs, whose cost rises by a fifth at the 21st, and 5 on
// another machine, which is slower still.
func remember(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "h.jsonl")
	rnd := rand.New(rand.NewPCG(31, 5))
	for i := range 35 {
		l := trend.Line{
			Schema: trend.Schema, Time: load.Instant{Time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, i)}, Kind: trend.Gate,
			Fingerprint: "sha256:aa", Machine: "2 x EPYC, linux/amd64, kernel 6.1", Setting: "GOMAXPROCS=2", Commit: fmt.Sprintf("c%04d", i),
			Series: map[string]trend.Value{"rpc.cpu": {Value: 500 * math.Exp(0.01*rnd.NormFloat64()), Unit: "ns/call", N: 12}, "rpc.writes": {Value: 0.0156, Unit: "writes/call", N: 3}},
			Canary: map[string]trend.Value{"null server": {Value: 90 * math.Exp(0.01*rnd.NormFloat64()), Unit: "ns/call", N: 12}},
		}
		by := 1.0
		switch {
		case i >= 30:
			l.Fingerprint, l.Machine, by = "sha256:bb", "2 x EPYC, linux/amd64, kernel 6.2", 3
		case i >= 20:
			by = 1.2
		}
		l.Series["rpc.cpu"] = trend.Value{Value: by * l.Series["rpc.cpu"].Value, Unit: "ns/call", N: 12}
		if err := trend.Append(path, l); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestTrendTellsAChangeWithItsCommits(t *testing.T) {
	path := remember(t)
	var stderr bytes.Buffer
	code, out := try(t, t.Context(), &stderr, "trend", path)
	if code != exitDone || stderr.Len() > 0 {
		t.Fatalf("code %d: %s", code, &stderr)
	}
	for _, want := range []string{
		"35 runs on 2 machines, each for itself", "machine sha256:aa  30 runs, 2026-03-01 to 2026-03-30", "setting      GOMAXPROCS=2",
		"worse: ", "by 20 runs before, 10 after", "after c0019 (2026-03-20), not after c0020 (2026-03-21)",
		"differs by   kernel 6.2, before: kernel 6.1", "5 runs, too few", "0.0156 writes/call  no change found",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
	if strings.Count(out, "worse") != 1 || strings.ContainsAny(out, "▁█\x1b") {
		t.Errorf("said\n%s", out)
	}
}

func TestTrendInJSON(t *testing.T) {
	code, out := try(t, t.Context(), os.Stderr, "trend", remember(t), "--json", "--metric", "rpc.c*")
	var got struct {
		Schema   string
		Runs     int
		Machines []trend.Machine
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitDone {
		t.Fatalf("code %d, %v: %s", code, err, out)
	}
	if got.Schema != schemaTrend || got.Runs != 35 || len(got.Machines) != 2 || len(got.Machines[0].Series) != 1 || len(got.Machines[0].Series[0].Changes) != 1 {
		t.Errorf("%+v", got)
	}
}

// It never fails a build: whatever was found, it ends with 0. Only what cannot be read is
// a mistake.
func TestTrendEndsWithTwoOnlyIfItCannotRead(t *testing.T) {
	path := remember(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := func(text string) string {
		p := filepath.Join(t.TempDir(), "x.jsonl")
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{path, "--last", "5"}, exitDone, ""},
		{[]string{path, "--metric", "nothing"}, exitDone, "there are: rpc.cpu rpc.writes"},
		{[]string{file("")}, exitDone, ""},
		{[]string{file(string(b[:len(b)-20]))}, exitDone, "line 35 was cut off"},
		{[]string{file(string(b) + "oops\n")}, exitUsage, "line 36: no trackbench history"},
		{[]string{filepath.Join(t.TempDir(), "none")}, exitUsage, "there is no history"},
		{[]string{t.TempDir()}, exitUsage, "is a directory"},
		{[]string{path, "--last", "0"}, exitUsage, "--last 0"},
		{[]string{path, "--metric", "["}, exitUsage, "--metric"},
		{[]string{path, path}, exitUsage, "at most 1"},
	} {
		var stderr bytes.Buffer
		code, _ := try(t, t.Context(), &stderr, append([]string{"trend"}, tt.args...)...)
		if code != tt.code || !strings.Contains(stderr.String(), tt.says) || tt.says == "" && stderr.Len() > 0 {
			t.Errorf("%v: code %d, said %s", tt.args, code, &stderr)
		}
	}
}

func TestTheCourseMarksItsChanges(t *testing.T) {
	s := &trend.Series{Changes: []trend.Change{{At: 3}}}
	for _, v := range []float64{1, 1, 1, 2, 2, 2} {
		s.Points = append(s.Points, trend.Point{Value: v})
	}
	for blocks, want := range map[bool]string{false: "000|999", true: "▁▁▁|███"} {
		if got := (trendText{blocks: blocks}).course(s); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	flat := &trend.Series{Points: make([]trend.Point, 100)}
	if got := (trendText{}).course(flat); got != strings.Repeat("0", cells) {
		t.Error(got)
	}
}
