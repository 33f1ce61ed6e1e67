package rpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// benchServer is the other process of the benchmarks: it serves until its standard
// input ends.
func benchServer() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	h := newHouse(Config{})
	serve := func(ctx context.Context, nc net.Conn) { h.ServeConn(ctx, nc) }
	if os.Getenv("RPC_BENCH_SERVER") == "tls" {
		lent := httptest.NewTLSServer(nil) // for its certificate
		lent.Close()
		serve = func(ctx context.Context, nc net.Conn) { h.ServeConn(ctx, tls.Server(nc, lent.TLS)) }
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
		l.Close()
	}()
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go serve(ctx, nc)
	}
}

// peer is a server in a process of its own, on the first processor where taskset is.
type peer struct {
	addr string
	pid  int
}

func startPeer(b *testing.B, transport string) *peer {
	b.Helper()
	name, args := os.Args[0], []string(nil)
	if taskset, err := exec.LookPath("taskset"); err == nil {
		name, args = taskset, []string{"-c", "0", os.Args[0]}
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "RPC_BENCH_SERVER="+transport, "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return &peer{strings.TrimSpace(line), cmd.Process.Pid}
}

// cpu is what the server has used, in ns; 0 where the system does not say.
func (p *peer) cpu() (ns int64) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		n, _ := strconv.ParseInt(strings.Split(string(b)+" ", " ")[0], 10, 64)
		ns += n
	}
	return ns
}

// calls counts the system's calls to read and to write, and how often the server
// had to be woken.
func (p *peer) calls() (read, write, woken int64) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.pid))
	number := func(text, key string) (n int64) {
		_, rest, _ := strings.Cut(text, key)
		n, _ = strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
		return n
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.pid))
	for _, t := range tasks {
		s, _ := os.ReadFile(t)
		woken += number(string(s), "\nvoluntary_ctxt_switches:")
	}
	return number(string(b), "syscr:"), number(string(b), "syscw:"), woken
}

func (p *peer) rss() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	n, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return n << 10
}

// pump keeps depth requests under way on a connection until n were answered, and
// checks every answer. It writes once a read and keeps no more than a stamp a request.
type pump struct {
	nc     net.Conn
	in     parser
	depth  int
	method func(n int) uint16
	ids    []pumped
	fast   []int64 // answers to Sum by 4 µs
	sent   int
}

type pumped struct {
	at     time.Duration
	method uint16
}

func newPump(tb testing.TB, transport, addr string, depth int, method func(n int) uint16) *pump {
	tb.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	if transport == "tls" {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	}
	tb.Cleanup(func() { nc.Close() })
	p := &pump{nc: nc, depth: depth, method: method, ids: make([]pumped, depth+1), fast: make([]int64, 1<<14)}
	p.in.limit = 1 << 20
	if _, err := nc.Write(helloFrame()); err != nil {
		tb.Fatal(err)
	}
	for {
		var f Frame
		if ok, _ := p.in.next(&f); ok {
			return p
		}
		if _, err := p.in.fill(nc); err != nil {
			tb.Fatal(err)
		}
	}
}

func (p *pump) request(out []byte, id uint32, now time.Duration) []byte {
	m := p.method(p.sent)
	p.sent++
	p.ids[id] = pumped{now, m}
	out = appendHeader(out, KindReq, 0, 16, id, m, 0)
	out = binary.LittleEndian.AppendUint64(out, uint64(id))
	return binary.LittleEndian.AppendUint64(out, 42)
}

func (p *pump) run(n int) error {
	began := time.Now()
	out := make([]byte, 0, p.depth*28)
	for id := 1; id <= min(p.depth, n); id++ {
		out = p.request(out, uint32(id), 0)
	}
	first := p.sent
	for got := 0; ; {
		if len(out) > 0 {
			if _, err := p.nc.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
		if got == n {
			return nil
		}
		if _, err := p.in.fill(p.nc); err != nil {
			return err
		}
		now := time.Since(began)
		var f Frame
		for {
			ok, e := p.in.next(&f)
			if e != nil {
				return e
			}
			if !ok {
				break
			}
			was := &p.ids[f.ID]
			want := uint64(f.ID)
			if was.method == mSum {
				want += 42
				p.fast[min(int((now-was.at)/(4*time.Microsecond)), len(p.fast)-1)]++
			}
			if f.Kind != KindRsp || was.method == 0 || binary.LittleEndian.Uint64(f.Body) != want {
				return fmt.Errorf("request %d was answered with %v", f.ID, f)
			}
			was.method = 0
			if got++; p.sent-first+min(p.depth, n) < n {
				out = p.request(out, f.ID, now)
			}
		}
	}
}

func (p *pump) median() time.Duration {
	var all, sum int64
	for _, n := range p.fast {
		all += n
	}
	for i, n := range p.fast {
		if sum += n; sum > all/2 {
			return time.Duration(i+1) * 4 * time.Microsecond
		}
	}
	return 0
}

func onlySum(int) uint16 { return mSum }

// BenchmarkPeer measures a server in another process over loopback TCP. cpu-ns/req is
// the server's, and the figure to compare on a busy machine. Pin the client away from
// it: taskset -c 1 go test -cpu 1 -bench Peer
func BenchmarkPeer(b *testing.B) {
	for _, bench := range []struct {
		name         string
		conns, depth int
		method       func(n int) uint16
	}{
		{"Sum/depth=64", 1, 64, onlySum},
		{"Sum/depth=512", 1, 512, onlySum},
		{"Sum/depth=4096", 1, 4096, onlySum},
		{"Sleep/depth=512", 1, 512, func(int) uint16 { return mSleep }},
		{"Echo/depth=512", 1, 512, func(int) uint16 { return mEcho }},
		{"OnePercentSleeps/depth=512", 1, 512, func(n int) uint16 {
			if n%100 == 0 {
				return mSleep
			}
			return mSum
		}},
		{"Batch/depth=512", 1, 512, func(int) uint16 { return mBatch }},
		{"TLS/Sum/depth=64", 1, 64, onlySum},
		{"TLS/Sum/depth=512", 1, 512, onlySum},
		{"TLS/Sum/depth=4096", 1, 4096, onlySum},
		{"Sum/conns=16/depth=64", 16, 64, onlySum},
		{"Sum/conns=1000/depth=4", 1000, 4, onlySum},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			transport, _, _ := strings.Cut(bench.name, "/")
			transport = strings.ToLower(transport)
			peer := startPeer(b, transport)
			before := peer.rss()
			pumps := make([]*pump, bench.conns)
			for i := range pumps {
				pumps[i] = newPump(b, transport, peer.addr, bench.depth, bench.method)
			}
			idle := peer.rss()
			cpu := peer.cpu()
			read, write, woken := peer.calls()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i, p := range pumps {
				n := b.N / len(pumps)
				if i < b.N%len(pumps) {
					n++
				}
				wg.Go(func() {
					if err := p.run(n); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
			b.ReportMetric(float64(peer.cpu()-cpu)/float64(b.N), "cpu-ns/req")
			read2, write2, woken2 := peer.calls()
			b.ReportMetric(float64(b.N)/float64(write2-write), "req/write")
			b.ReportMetric(float64(read2-read)/float64(write2-write), "reads/write")
			b.ReportMetric(float64(woken2-woken)/float64(write2-write), "woken/write")
			if bench.conns > 1 {
				b.ReportMetric(float64(idle-before)/float64(bench.conns), "idle-B/conn")
				b.ReportMetric(float64(peer.rss()-before)/float64(bench.conns), "B/conn")
			} else {
				b.ReportMetric(float64(pumps[0].median().Microseconds()), "p50-µs")
			}
		})
	}
}

// BenchmarkCall is what a call costs both ends in one process.
func BenchmarkCall(b *testing.B) {
	b.ReportAllocs()
	c := newHouse(Config{}).client(b, ClientConfig{})
	b.SetParallelism(256)
	b.RunParallel(func(pb *testing.PB) {
		body := sumBody(1, 2)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for pb.Next() {
			if _, err := c.Call(ctx, mSum, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The server allocates nothing for a request in the reader, and nothing for one in a
// worker once it is warm; growing the pool by a worker now and then is allowed for.
func TestRequestsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, row := range map[string]struct {
		method uint16
		most   float64
	}{"inline": {mSum, 0.01}, "async": {mEcho, 0.1}, "sleeping": {mSleep, 1}} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(Config{})
			nc := h.dial(t)
			p := &pump{nc: nc, depth: 64, method: func(int) uint16 { return row.method }, ids: make([]pumped, 65), fast: make([]int64, 1<<14)}
			p.in.limit = 1 << 20
			nc.Write(helloFrame())
			for f := (Frame{}); ; {
				if ok, _ := p.in.next(&f); ok {
					break
				}
				if _, err := p.in.fill(nc); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.run(20000); err != nil {
				t.Fatal(err)
			}
			const n = 50000
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := p.run(n); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if per := float64(after.Mallocs-before.Mallocs) / n; per > row.most {
				t.Errorf("%.3f allocations a request, want at most %v", per, row.most)
			}
		})
	}
}
