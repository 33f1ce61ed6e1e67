//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tracker/cmd/internal/clitest"
	"tracker/pkg/load"
)

// bad is a server that something is done to, and a measurement of it, each a process.
type bad struct {
	t      *testing.T
	server *clitest.Daemon
	pid    int // of the server
	cmd    *exec.Cmd
	out    bytes.Buffer
	lines  chan string // of standard error
	read   sync.WaitGroup
	json   string
}

// begin starts a measurement of a server of its own and returns when it measures.
func begin(t *testing.T, args ...string) *bad {
	t.Helper()
	dir := t.TempDir()
	server, err := clitest.Start(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bad{t: t, server: server, json: filepath.Join(dir, "run.json"), lines: make(chan string, 1000)}
	t.Cleanup(func() { _ = server.Stop() }) // it may be gone already: that is what some of them are about
	p := load.ListenerAt(server.TCP)
	if p == nil {
		t.Skip("this system does not tell which process listens")
	}
	b.pid = p.PID
	args = append(args, "--server", server.TCP, "--no-tty", "--out", "json="+b.json, "--interval", "200ms")
	b.cmd = exec.Command("trackbench", args...)
	b.cmd.Env = append(os.Environ(), "TRACK_TOKEN_FILE="+filepath.Join(server.Data, "admin.token"), "HOME="+dir, "XDG_STATE_HOME="+dir)
	b.cmd.Stdout = &b.out
	stderr, err := b.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.read.Go(func() { // ends with the measurement
		defer close(b.lines)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			b.lines <- in.Text()
		}
	})
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		b.read.Wait()
		_ = b.cmd.Wait()
	})
	return b
}

// measuring waits until so many intervals were told.
func (b *bad) measuring(intervals int) {
	b.t.Helper()
	var seen []string
	for l := range b.lines {
		seen = append(seen, l)
		word, _, _ := strings.Cut(strings.TrimSpace(l), " ")
		if d, err := time.ParseDuration(word); err == nil && d > 0 && !strings.Contains(l, "warming") {
			if intervals--; intervals == 0 {
				return
			}
		}
	}
	b.t.Fatalf("it ended before it measured:\n%s\n%s", strings.Join(seen, "\n"), &b.out)
}

// end waits for the measurement and returns how it ended and what it wrote.
func (b *bad) end() (code int, res *load.Result, said string) {
	b.t.Helper()
	var all strings.Builder
	for l := range b.lines {
		all.WriteString(l + "\n")
	}
	b.read.Wait()
	err := b.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		b.t.Fatal(err)
	}
	said = b.out.String() + all.String()
	text, err := os.ReadFile(b.json)
	if err != nil {
		b.t.Fatalf("it left no result, code %d: %v\n%s", code, err, said)
	}
	if err := json.Unmarshal(text, &res); err != nil {
		b.t.Fatal(err)
	}
	return code, res, said
}

func (b *bad) signal(pid int, sig syscall.Signal) {
	b.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		b.t.Fatal(err)
	}
}

// A server that dies is told by the code, and what was measured until then is written
// and marked.
func TestAServerThatDiesMidRun(t *testing.T) {
	for name, args := range map[string][]string{
		"rpc":    {"rpc", "--rate", "500", "--duration", "60s", "--warmup", "0s"},
		"closed": {"rpc", "--depth", "8", "--duration", "60s", "--warmup", "0s", "--calibrate", "off"},
		"ingest": {"ingest", "--rate", "200", "--duration", "60s", "--warmup", "0s"},
		"fanout": {"fanout", "--viewers", "5", "--publishers", "1", "--rate", "100", "--duration", "60s", "--warmup", "0s"},
		"churn":  {"churn", "--rate", "300", "--duration", "60s", "--warmup", "0s", "--settle", "1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := begin(t, args...)
			b.measuring(2)
			b.signal(b.pid, syscall.SIGKILL)
			code, res, said := b.end()
			if code != exitUnreachable {
				t.Errorf("it ended with %d, want %d:\n%s", code, exitUnreachable, said)
			}
			if !res.Partial || res.Counts.Sent == 0 || res.Failure == nil || res.Failure.Kind != load.TargetGone {
				t.Errorf("partial %v, %d sent, failure %+v", res.Partial, res.Counts.Sent, res.Failure)
			}
		})
	}
}

// stall is what is planted: the server does nothing for so long.
const stall = 1400 * time.Millisecond

// Everything that was due while a server stands still has waited for it. Who counts from
// when a call was written does not see that: the calls were not written meanwhile.
func TestAServerThatFreezesShows(t *testing.T) {
	for name, args := range map[string][]string{
		"rpc":    {"rpc", "--rate", "1000", "--depth", "16", "--duration", "4s", "--warmup", "0s"},
		"fanout": {"fanout", "--viewers", "2", "--publishers", "1", "--rate", "1000", "--duration", "4s", "--warmup", "0s"},
	} {
		t.Run(name, func(t *testing.T) {
			b := begin(t, args...)
			b.measuring(2)
			b.signal(b.pid, syscall.SIGSTOP)
			time.Sleep(stall) // the fault itself
			b.signal(b.pid, syscall.SIGCONT)
			code, res, said := b.end()
			if code != exitDone && code != exitInvalid {
				t.Errorf("it ended with %d:\n%s", code, said)
			}
			response, ok := res.Latency["response"].Quantile("99")
			service, ok2 := res.Latency["service"].Quantile("99")
			if !ok || !ok2 || response < time.Second {
				t.Errorf("response p99 %v, service p99 %v, want a second and more:\n%s", response, service, said)
			}
			if name == "rpc" && service > response/2 {
				t.Errorf("service p99 %v, response p99 %v: want one far below the other:\n%s", service, response, said)
			}
			for _, line := range []string{"from the moment due", "from the actual send"} {
				if !strings.Contains(said, line) {
					t.Errorf("nothing %s is printed:\n%s", line, said)
				}
			}
		})
	}
}

// A client that has a tenth of a processor says that it was the limit, and that its
// figures are lower bounds.
func TestAThrottledClientSaysSo(t *testing.T) {
	b := begin(t, "rpc", "--duration", "2s", "--warmup", "0s", "--calibrate", "fresh")
	b.measuring(1)
	ctx, stop := context.WithCancel(t.Context())
	var throttle sync.WaitGroup
	throttle.Go(func() { // ends with ctx; leaves it running
		for ctx.Err() == nil {
			_ = b.cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(45 * time.Millisecond) // the fault itself
			_ = b.cmd.Process.Signal(syscall.SIGCONT)
			time.Sleep(5 * time.Millisecond)
		}
	})
	_, res, said := b.end()
	stop()
	throttle.Wait()
	if !res.Verdict.Has("W01") || res.Verdict.Validity == load.Valid {
		t.Errorf("it found itself quick enough: %+v", res.Verdict)
	}
	if !strings.Contains(said, "CLIENT-BOUND") || !strings.Contains(said, ">=") {
		t.Errorf("it did not say so:\n%s", said)
	}
}
