//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDemoMovesAndLeavesNothingBehind(t *testing.T) {
	if testing.Short() {
		t.Skip("builds three programs")
	}
	t.Parallel()
	for _, tc := range []struct {
		name string
		args []string
		stop syscall.Signal // sent when the first device was told of; 0: it ends by itself
		code int
	}{
		{"by itself", []string{"--for", "8s", "--devices", "30"}, 0, 0},
		{"by a signal", []string{"--devices", "30"}, syscall.SIGTERM, 143},
		{"on an error", []string{"--trace", "/dev/null"}, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tmp := t.TempDir()
			demo := exec.Command("../../scripts/demo", tc.args...)
			demo.Env = append(os.Environ(), "TMPDIR="+tmp)
			demo.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			var out, log strings.Builder
			moved := make(chan struct{})
			demo.Stdout, demo.Stderr = &noticing{Builder: &out, want: "devices", seen: moved}, &log
			if err := demo.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Kill(-demo.Process.Pid, syscall.SIGKILL) })
			done := make(chan error, 1)
			go func() { done <- demo.Wait() }()
			if tc.stop != 0 {
				select {
				case <-moved:
				case <-time.After(2 * time.Minute):
				}
				_ = demo.Process.Signal(tc.stop)
			}
			select {
			case <-done:
			case <-time.After(3 * time.Minute):
				t.Fatalf("it does not end:\n%s%s", out.String(), log.String())
			}
			if code := demo.ProcessState.ExitCode(); code != tc.code {
				t.Errorf("code %d, want %d\n%s%s", code, tc.code, out.String(), log.String())
			}
			if tc.code == 0 && (!strings.Contains(out.String(), " summary: ") || !strings.Contains(out.String(), " moving")) {
				t.Errorf("no moving devices in\n%s%s", out.String(), log.String())
			}
			if left, _ := filepath.Glob(filepath.Join(tmp, "tracker-demo*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if err := syscall.Kill(-demo.Process.Pid, 0); err == nil {
				t.Error("processes of the demo are still there")
			}
		})
	}
}

// noticing is a builder that tells when something was first written.
type noticing struct {
	*strings.Builder
	want string
	seen chan struct{}
	told bool
}

func (n *noticing) Write(b []byte) (int, error) {
	c, err := n.Builder.Write(b)
	if !n.told && strings.Contains(n.String(), n.want) {
		n.told = true
		close(n.seen)
	}
	return c, err
}
