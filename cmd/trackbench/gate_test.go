package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"tracker/pkg/load/gate"
	"tracker/pkg/load/gate/build"
)

// servers builds a trackerd, and one that can be given faults.
func servers(t *testing.T) (sound, faulty string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only there can a server be given faults")
	}
	dir := t.TempDir()
	sound, faulty = filepath.Join(dir, "trackerd"), filepath.Join(dir, "faulty")
	for path, flags := range map[string][]string{sound: nil, faulty: {"-tags", build.FaultTag}} {
		args := append(append([]string{"build"}, flags...), "-o", path, "tracker/cmd/trackerd")
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return sound, faulty
}

func TestServersThatWereNotBuiltAlikeAreRefused(t *testing.T) {
	sound, faulty := servers(t)
	for _, c := range []struct {
		says string
		args []string
	}{
		{"-tags=benchfault", []string{"--base", sound, "--head", faulty}},
		{"-tags=benchfault", []string{"--base", faulty, "--head", sound}},
		{"can't be given faults", []string{"--selftest", "--head", sound}},
	} {
		var stderr bytes.Buffer
		if code, out := try(t, t.Context(), &stderr, append([]string{"gate", "--quiet"}, c.args...)...); code != exitUsage || out != "" ||
			!strings.Contains(stderr.String(), c.says) || !strings.Contains(stderr.String(), "hint: ") {
			t.Errorf("%v: code %d: %s", c.args, code, &stderr)
		}
	}
}

func TestServersThatFailAreNotPassed(t *testing.T) {
	_, faulty := servers(t)
	var stderr bytes.Buffer
	code, out := try(t, t.Context(), &stderr, "gate", "--selftest", "--head", faulty, "--only", "counters", "--json", "--quiet",
		"--plant", "wrong=1000", "--plant", "crash=1000req", "--plant", "base:crash=1000req", "--plant", "mute=go_memstats_mallocs_total")
	var s gate.SelfTest
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != exitDone || !s.Held || len(s.Rows) != 4 {
		t.Fatalf("code %d, %v: %s%s", code, err, out, &stderr)
	}
	for i, want := range []string{"head: ", "head: ", "base: ", "head: it does not tell rpc.allocs"} {
		if r := s.Rows[i]; r.Found != 1 || r.Failed != 1 || !strings.HasPrefix(r.Reasons[0], want) {
			t.Errorf("%s: %+v", r.Plant, r)
		}
	}
}

func TestSystemCallsThatAreAddedAreCounted(t *testing.T) {
	_, faulty := servers(t)
	var stderr bytes.Buffer
	code, out := try(t, t.Context(), &stderr, "gate", "--selftest", "--head", faulty, "--only", "counters", "--metric", "rpc", "--quiet", "--plant", "write=10%")
	if code != exitDone || !strings.Contains(out, "held: found by 1, wanted 1") {
		t.Errorf("code %d: %s%s", code, out, &stderr)
	}
}

func TestAGateOfOneServerWithItselfPasses(t *testing.T) {
	sound, _ := servers(t)
	var stderr bytes.Buffer
	path := filepath.Join(t.TempDir(), "h.jsonl")
	code, out := try(t, t.Context(), &stderr, "gate", "--base", sound, "--head", sound, "--only", "counters", "--metric", "rpc.writes", "--metric", "rpc.bytes",
		"--quiet", "--history", path)
	if code != exitDone || !strings.Contains(out, "none of 2 metrics regressed") || !strings.Contains(out, "wrote   "+path) {
		t.Errorf("code %d: %s%s", code, out, &stderr)
	}
	if code, out := try(t, t.Context(), &stderr, "trend", path); code != exitDone || !strings.Contains(out, "rpc.writes") {
		t.Errorf("code %d: %s%s", code, out, &stderr)
	}
}
