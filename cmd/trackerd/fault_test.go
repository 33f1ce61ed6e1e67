package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// What only a server that can be made worse has in it.
var onlyWorse = []string{"TRACKERD_FAULT", "benchfault", "tracker/pkg/fault"}

func TestNothingOfFaultsIsInTheServer(t *testing.T) {
	program, err := os.ReadFile(buildDaemon(t).bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range onlyWorse {
		if bytes.Contains(program, []byte(text)) {
			t.Errorf("%q is in the program", text)
		}
	}
}

func TestServerThatCanBeWorse(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("builds with faults are for Linux")
	}
	build := buildDaemon(t, "-tags", "benchfault")
	t.Run("says so", func(t *testing.T) { saysSo(t, build) })
	t.Run("refuses what it does not understand", func(t *testing.T) { refusesWrongFaults(t, build) })
	t.Run("crashes after a while", func(t *testing.T) { crashesAfterAWhile(t, build) })
	// Each fault is seen from outside, in a process of its own.
	for _, tt := range []struct {
		name, faults string
		args         []string
		see          func(t *testing.T, d *daemon)
	}{
		{"none", "", nil, seeNothing},
		{"cpu", "cpu=2ms", nil, seeCPU},
		{"alloc", "alloc=1000", nil, seeAllocations},
		{"latency", "latency=20ms", nil, seeLatency},
		{"write", "write=100%", nil, seeWrites},
		{"wrong", "wrong=10", nil, seeWrongAnswers},
		{"drop", "drop=2", []string{"--tick", "1ms", "--device-rate", "1000", "--device-fixes", "1000"}, seeDroppedFrames},
		{"crash", "crash=10req", nil, seeCrash},
		{"mute", "mute=tracker_rpc_writes_total", nil, seeMute},
		{"leak", "leak=1MiB", nil, seeLeak},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.see(t, build.with(t, tt.faults, tt.args...)) })
	}
}

// with starts a server of that build with these faults.
func (d *daemon) with(t *testing.T, faults string, args ...string) *daemon {
	t.Helper()
	w := &daemon{t: t, bin: d.bin, dir: filepath.Join(t.TempDir(), "data"), args: args, env: []string{"TRACKERD_FAULT=" + faults}, stderr: new(bytes.Buffer)}
	w.start()
	return w
}

func saysSo(t *testing.T, build *daemon) {
	program, err := os.ReadFile(build.bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range onlyWorse {
		if !bytes.Contains(program, []byte(text)) {
			t.Errorf("%q is not in the program: it says nothing where it is not", text)
		}
	}
	out, err := exec.Command(build.bin, "version").Output()
	if err != nil || !strings.HasSuffix(string(out), "+benchfault\n") {
		t.Errorf("version %q, %v", out, err)
	}
	for _, faults := range []string{"", "wrong=1000"} {
		d := build.with(t, faults)
		st, err := d.conn.Status(t.Context())
		if err != nil || !strings.HasSuffix(st.Version, "+benchfault") {
			t.Errorf("%q: status says version %q, %v", faults, st.Version, err)
		}
		d.stop()
		log := d.stderr.(*bytes.Buffer).String()
		if !strings.Contains(log, "level=WARN") || !strings.Contains(log, "SERVE NOBODY") || !strings.Contains(log, faults) {
			t.Errorf("%q: the log says only\n%s", faults, log)
		}
	}
}

func refusesWrongFaults(t *testing.T, build *daemon) {
	cmd := exec.Command(build.bin, "serve", "--data", build.dir)
	cmd.Env = append(os.Environ(), "TRACKERD_FAULT=alloc=1,cpu=fast,slow=1")
	out, err := cmd.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != exitUsage {
		t.Errorf("ended with %v, want exit code %d", err, exitUsage)
	}
	if text := string(out); !strings.Contains(text, `trackerd: TRACKERD_FAULT: "cpu=fast": `) || !strings.Contains(text, `trackerd: TRACKERD_FAULT: "slow=1": `) ||
		strings.Contains(text, "alloc=1") {
		t.Errorf("it says\n%s", text)
	}
	if _, err := os.Stat(build.dir); !os.IsNotExist(err) {
		t.Errorf("and has begun its data directory: %v", err)
	}
}

func crashesAfterAWhile(t *testing.T, build *daemon) {
	cmd := exec.Command(build.bin, "serve", "--data", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "TRACKERD_FAULT=crash=100ms")
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 {
		t.Errorf("ended with %v, want exit code 3", err)
	}
}

const calls = 400

func seeNothing(t *testing.T, d *daemon) {
	x := d.example(t)
	before := d.metrics(t)
	if wrong := sums(t, x); len(wrong) > 0 {
		t.Errorf("answers %d are wrong", wrong)
	}
	after := d.metrics(t)
	if n := after.of(t, "process_io_write_syscalls_total") - before.of(t, "process_io_write_syscalls_total"); n < calls || n >= 2*calls {
		t.Errorf("%v writes for %d answers", n, calls)
	}
	if n := after.of(t, "go_memstats_mallocs_total") - before.of(t, "go_memstats_mallocs_total"); n >= 100*calls {
		t.Errorf("%v allocations for %d calls", n, calls)
	}
}

// The bound is loose, for a processor that is quicker than it was at the start.
func seeCPU(t *testing.T, d *daemon) {
	x := d.example(t)
	for name, call := range map[string]func(context.Context, *trk.SumReqT) (trk.SumRsp, error){"inline": x.Sum, "async": x.AsyncSum} {
		before := d.metrics(t)
		for range 100 {
			if _, err := call(t.Context(), &trk.SumReqT{A: 1, B: 2}); err != nil {
				t.Fatal(err)
			}
		}
		if s := d.metrics(t).of(t, "process_cpu_seconds_total") - before.of(t, "process_cpu_seconds_total"); s < 0.1 {
			t.Errorf("%s: 100 calls took %v s of a processor, want some 0.2", name, s)
		}
	}
}

func seeAllocations(t *testing.T, d *daemon) {
	x := d.example(t)
	before := d.metrics(t)
	sums(t, x)
	if n := d.metrics(t).of(t, "go_memstats_mallocs_total") - before.of(t, "go_memstats_mallocs_total"); n < 1000*calls {
		t.Errorf("%v allocations for %d calls, want 1000 each", n, calls)
	}
}

func seeLatency(t *testing.T, d *daemon) {
	x := d.example(t)
	for range 5 {
		began := time.Now()
		if _, err := x.Sum(t.Context(), &trk.SumReqT{A: 1, B: 2}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 20*time.Millisecond {
			t.Errorf("answered in %v, want no less than 20ms", took)
		}
	}
}

// What is written in two parts arrives as if it had not been, whatever carries it.
func seeWrites(t *testing.T, d *daemon) {
	x := d.example(t)
	before := d.metrics(t)
	if wrong := sums(t, x); len(wrong) > 0 {
		t.Errorf("answers %d are wrong", wrong)
	}
	if n := d.metrics(t).of(t, "process_io_write_syscalls_total") - before.of(t, "process_io_write_syscalls_total"); n < 2*calls {
		t.Errorf("%v writes for %d answers, want two each", n, calls)
	}
	token, err := os.ReadFile(filepath.Join(d.dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"", "ws://", "http://", "wss://", "https://"} {
		c, err := client.Dial(client.Config{Server: scheme + d.tcp, Token: strings.TrimSpace(string(token)), TLS: client.TLSConfig{Insecure: true}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		w, err := c.Watch(t.Context(), client.Area{})
		if err != nil {
			t.Fatal(err)
		}
		if e, err := w.Next(); err != nil || e.Kind != client.Snapshot {
			t.Errorf("%s: the first event is %v %v, %v", scheme, e.Kind, e.Err, err)
		}
		w.Close()
		if _, err := c.Status(t.Context()); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func seeWrongAnswers(t *testing.T, d *daemon) {
	wrong := sums(t, d.example(t))
	if len(wrong) != calls/10 {
		t.Fatalf("%d of %d answers are wrong, want each tenth", len(wrong), calls)
	}
	for i, n := range wrong {
		if n != 10*(i+1) {
			t.Fatalf("answers %d are wrong, want each tenth", wrong)
		}
	}
}

// The numbers of the frames tell the client that one is missing.
func seeDroppedFrames(t *testing.T, d *daemon) {
	const device = "van"
	if _, err := d.conn.Enroll(t.Context(), client.NewDevice{Name: device}); err != nil {
		t.Fatal(err)
	}
	w, err := d.conn.Watch(t.Context(), client.Area{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, enough := context.WithCancel(t.Context())
	var reporter sync.WaitGroup
	defer reporter.Wait()
	defer enough()
	reporter.Go(func() {
		start := time.Now().Add(-time.Hour)
		for i := 0; ctx.Err() == nil; i++ {
			at := start.Add(time.Duration(i) * time.Second)
			if _, _, err := d.conn.Report(ctx, device, []client.Fix{{Time: at, At: geo.Deg(48, 11), Has: track.HasPos}}); err != nil && ctx.Err() == nil {
				t.Error(err)
				w.Close()
				return
			}
		}
	})
	for {
		e, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == client.Disconnected {
			t.Log(e.Err)
			return
		}
	}
}

func seeCrash(t *testing.T, d *daemon) {
	x := d.example(t)
	for i := range 9 {
		if _, err := x.Sum(t.Context(), &trk.SumReqT{}); err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
	}
	if _, err := x.Sum(t.Context(), &trk.SumReqT{}); err == nil {
		t.Error("the tenth was answered")
	}
	err := d.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 {
		t.Errorf("ended with %v, want exit code 3", err)
	}
}

func seeMute(t *testing.T, d *daemon) {
	page := string(d.metrics(t))
	if strings.Contains(page, "tracker_rpc_writes_total") || !strings.Contains(page, "tracker_rpc_bytes_written_total") {
		t.Errorf("the page is\n%s", page)
	}
}

func seeLeak(t *testing.T, d *daemon) {
	const conns = 64
	before := d.metrics(t)
	for range conns {
		d.example(t)
	}
	if n := d.metrics(t).of(t, "go_memstats_heap_alloc_bytes") - before.of(t, "go_memstats_heap_alloc_bytes"); n < conns/2<<20 {
		t.Errorf("%v bytes for %d connections, want 1 MiB each", n, conns)
	}
}

// example is a connection for calls.
func (d *daemon) example(t *testing.T) trk.ExampleClient {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(d.dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", d.tcp)
	if err != nil {
		t.Fatal(err)
	}
	c, err := rpc.NewClient(t.Context(), nc, rpc.ClientConfig{Hello: rpc.Hello{AuthKind: rpc.AuthBearer, Auth: bytes.TrimSpace(token)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return trk.ExampleClient{Caller: c}
}

// sums asks for sums, one after another, and tells which answers were wrong, from 1 on.
func sums(t *testing.T, x trk.ExampleClient) (wrong []int) {
	t.Helper()
	for i := range int32(calls) {
		got, err := x.Sum(t.Context(), &trk.SumReqT{A: i, B: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if got.Sum() != i+1000 {
			wrong = append(wrong, int(i)+1)
		}
	}
	return wrong
}

// page is what /metrics says.
type page string

func (d *daemon) metrics(t *testing.T) page {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(d.dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.tcp+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Close = true
	ask.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	rsp, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rsp.Body.Close() }()
	b, err := io.ReadAll(rsp.Body)
	if err != nil || rsp.StatusCode != http.StatusOK {
		t.Fatal(rsp.Status, err)
	}
	return page(b)
}

func (p page) of(t *testing.T, name string) (v float64) {
	t.Helper()
	for line := range strings.Lines(string(p)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(value, &v); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
