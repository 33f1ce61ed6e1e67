package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tracker/pkg/load"
)

// shelf is a directory as scripts/bench leaves it.
type shelf struct {
	t   *testing.T
	dir string
}

func (s shelf) put(name string, code int, v any) {
	s.t.Helper()
	for suffix, text := range map[string]string{".code": fmt.Sprintf("%d\n", code), ".cmd": "trackbench " + name + "\n"} {
		if err := os.WriteFile(filepath.Join(s.dir, name+suffix), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	b, err := json.Marshal(v)
	if err == nil && v != nil {
		err = os.WriteFile(filepath.Join(s.dir, name+".json"), b, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// result is one whose p99 is as given.
func aResult(p99 time.Duration, checks ...load.Check) *load.Result {
	r := load.NewResult("test", "fanout")
	rec := load.NewRecorder()
	rec.RecordMany(p99, 10_000)
	r.Latency["response"] = rec.Summary()
	r.Checks = checks
	return r
}

func (s shelf) figures(args ...string) (code int, out, said string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	b := &bench{out: &stdout, err: &stderr}
	code = b.main(s.t.Context(), append([]string{figuresVerb, s.dir}, args...))
	return code, stdout.String(), stderr.String()
}

func rowOf(out, work string) string {
	for l := range strings.Lines(out) {
		if strings.HasPrefix(l, "| "+work) {
			return l
		}
	}
	return ""
}

func TestFiguresAreHeldAgainstTheirBars(t *testing.T) {
	s := shelf{t, t.TempDir()}
	s.put("fanout-ws", 0, aResult(30*time.Millisecond, load.Check{Kind: "threshold", Name: "p99<60ms", Pass: true}))
	doubtful := aResult(30 * time.Millisecond)
	doubtful.Verdict.Warn("W07", load.Doubt, nil, "somebody else was there")
	s.put("fanout-rpc", 0, doubtful)
	s.put("allocations", 0, nil)
	code, out, said := s.figures("--only", "fanout-ws,fanout-rpc,allocations")
	if code != exitDone || !strings.Contains(out, "Every bar is met") {
		t.Errorf("code %d: %s%s", code, out, said)
	}
	if row := rowOf(out, "250 updates a second to 1,000 WebSocket"); !strings.Contains(row, "p99 30") || !strings.Contains(row, "| yes | VALID |") || !strings.Contains(row, "`trackbench fanout-ws`") {
		t.Error(row)
	}
	if row := rowOf(out, "250 updates a second to 1,000 RPC"); !strings.Contains(row, "| yes | SUSPECT: W07 somebody else was there |") {
		t.Error(row)
	}
}

func TestAMissedFigureIsSaidPlainly(t *testing.T) {
	s := shelf{t, t.TempDir()}
	s.put("fanout-ws", 1, aResult(90*time.Millisecond, load.Check{Kind: "threshold", Name: "p99<60ms", Text: "it was 90ms"}))
	invalid := aResult(time.Millisecond)
	invalid.Verdict.Warn("W01", load.Ruin, nil, "too slow a client")
	s.put("fanout-rpc", 0, invalid)
	s.put("allocations", 1, nil)
	s.put("idle-ws", 4, nil)
	code, out, said := s.figures()
	if code != exitThreshold {
		t.Errorf("code %d", code)
	}
	for _, name := range []string{"fanout-ws", "fanout-rpc", "allocations", "idle-ws", "marauder-ws", "peers", "slow"} {
		if !strings.Contains(said, name) {
			t.Errorf("%s is not said to be missed: %s", name, said)
		}
	}
	for work, want := range map[string]string{
		"250 updates a second to 1,000 WebSocket": "p99<60ms missed: it was 90ms | **NO**",
		"250 updates a second to 1,000 RPC":       "**NO** | INVALID: W01",
		"a broadcast":                             "the test fails | **NO**",
		"15,000 idle WebSocket":                   "it left no result",
		"everybody to everybody over RPC":         "not measured | **NO**",
	} {
		if row := rowOf(out, work); !strings.Contains(row, want) {
			t.Errorf("want %q in %q", want, row)
		}
	}
	if code, _, said := s.figures("--quick"); code != exitThreshold || !strings.Contains(said, "idle-ws (exit code 4)") || strings.Contains(said, "fanout") {
		t.Errorf("quick: code %d: %s", code, said)
	}
	if code, _, _ := s.figures("--only", "tea"); code != exitUsage {
		t.Errorf("tea: code %d", code)
	}
}

func TestASlowViewerIsComparedInTurns(t *testing.T) {
	s := shelf{t, t.TempDir()}
	s.put("slow", 0, nil)
	for i, ms := range [][2]time.Duration{{40, 41}, {40, 90}, {50, 42}} { // one bad round is no median
		s.put(fmt.Sprintf("slow-without-%d", i+1), 0, aResult(ms[0]*time.Millisecond))
		s.put(fmt.Sprintf("slow-with-%d", i+1), 0, aResult(ms[1]*time.Millisecond))
	}
	code, out, _ := s.figures("--only", "slow")
	if code != exitDone || !strings.Contains(out, "p99 42.0 ms with it, 40.0 ms without: 1.050, medians of 3 rounds") {
		t.Errorf("code %d: %s", code, out)
	}
	s.put("slow-with-1", 0, aResult(99*time.Millisecond))
	if code, out, _ := s.figures("--only", "slow"); code != exitThreshold {
		t.Errorf("code %d: %s", code, out)
	}
}

func TestPeersHaveARowForEachBar(t *testing.T) {
	s := shelf{t, t.TempDir()}
	yes, no := true, false
	type m = map[string]any
	s.put("peers", 1, m{
		"bars": []m{
			{"updates": 20, "target": "bare", "least": 0.8, "held": &yes, "ratio": m{"mean": 0.9, "low": 0.88, "high": 0.92}},
			{"updates": 20, "target": "redis", "least": 1.3, "held": &no, "ratio": m{"mean": 1.1}},
			{"updates": 20, "target": "nats", "least": 3.5},
		},
		"rows": []m{{"updates": 20, "target": "redis", "client_bound": 2}},
	})
	code, out, _ := s.figures("--only", "peers")
	if code != exitThreshold {
		t.Errorf("code %d", code)
	}
	for work, want := range map[string]string{
		"bare": "| >= 0.8 times | 0.90 [0.88, 0.92] | yes | VALID |", "redis": "| >= 1.3 times | 1.10 | **NO** | SUSPECT: redis was CLIENT-BOUND in 2 rounds",
		"nats": "| >= 3.5 times | not measured | **NO** |",
	} {
		if row := rowOf(out, "deliveries per server-core-second, 20 bursts a second of 20 updates, beside "+work); !strings.Contains(row, want) {
			t.Errorf("want %q in %q", want, row)
		}
	}
}

func TestTheTableOfCallsIsSummedUp(t *testing.T) {
	s := shelf{t, t.TempDir()}
	type m = map[string]any
	s.put("rpc-table", 1, m{"rows": []m{{"work": "a", "bar": m{}, "held": true}, {"work": "b", "bar": m{}, "held": false}, {"work": "c"}}})
	code, out, _ := s.figures("--only", "rpc-table")
	if code != exitThreshold || !strings.Contains(out, "1 of 2 bars held, not: b | **NO** | VALID") {
		t.Errorf("code %d: %s", code, out)
	}
}
