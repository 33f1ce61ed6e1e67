package churn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/load/leaktest"
	"tracker/pkg/rpc"
	"tracker/pkg/server"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// house is a whole server in this process.
type house struct{ addr, token string }

func newHouse(t *testing.T) *house {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	ready := make(chan string, 1)
	s, err := server.Open(t.Context(), server.Config{
		Data: dir, Listen: "127.0.0.1:0", UDP: "127.0.0.1:0",
		Ready: func(tcp, _ net.Addr) { ready <- tcp.String() },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	h := &house{addr: <-ready}
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	h.token = strings.TrimSpace(string(token))
	return h
}

// present gives the server something to show.
func (h *house) present(t *testing.T, devices int) {
	t.Helper()
	ctx := t.Context()
	nc, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := rpc.NewClient(ctx, nc, rpc.ClientConfig{Hello: (&Door{Token: h.token}).hello()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var add trk.EnrollReqT
	for i := range devices {
		add.Devices = append(add.Devices, &trk.NewDeviceT{Name: fmt.Sprintf("v%d", i)})
	}
	list, err := trk.DevicesClient{Caller: c}.Enroll(ctx, &add)
	if err != nil {
		t.Fatal(err)
	}
	for i := range devices {
		var e trk.Enrolled
		list.Devices(&e, i)
		if _, err := (trk.PublishClient{Caller: c}).Report(ctx, &trk.ReportReqT{Device: string(e.Device(nil).Id()), Fixes: []*trk.FixT{{Time: float64(time.Now().UnixMilli()), Has: trk.HasPosition, Lat: 481000000, Lon: 115000000}}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVisitorsComeAndGo(t *testing.T) {
	h := newHouse(t)
	h.present(t, 30)
	for _, transport := range []Transport{RPC, WS} {
		t.Run(transport.String(), func(t *testing.T) {
			var ticks []Tick
			o, err := Run(t.Context(), Config{
				Door: Door{Addr: h.addr, Token: h.token, Transport: transport}, Plan: load.Constant(50), Warmup: 200 * time.Millisecond,
				Duration: time.Second, Hold: 20 * time.Millisecond, Interval: 300 * time.Millisecond,
				Settle: time.Second, Scrape: Scraper(h.addr, h.token), OnTick: func(t Tick) { ticks = append(ticks, t) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if o.Planned != 50 || o.Came != 50 || len(o.Failed) != 0 || o.Err() != nil || o.Partial {
				t.Errorf("got %+v, %v", o, o.Err())
			}
			for name, r := range map[string]*load.Recorder{"connect": o.Connect, "handshake": o.Handshake, "snapshot": o.Snapshot, "service": o.Service, "lag": o.Lag} {
				if r.Count() != 50 {
					t.Errorf("%s has %d times", name, r.Count())
				}
			}
			var came int64
			for _, iv := range o.Intervals {
				came += iv.Received
			}
			if came != 50 || len(ticks) < 3 || o.BytesIn < 50*30*20 {
				t.Errorf("%d in intervals, %d ticks, %d bytes", came, len(ticks), o.BytesIn)
			}
			if o.Before[Goroutines] == 0 || len(o.After) == 0 {
				t.Errorf("the server was not read: %d and %d metrics", len(o.Before), len(o.After))
			}
			for _, l := range o.Leaks { // the client's goroutines and files are in this process, too
				if l.Metric != Goroutines && l.Metric != OpenFiles && l.Metric != LiveHeap {
					t.Error(l)
				}
			}
		})
	}
}

func TestIdleViewersAreMeasured(t *testing.T) {
	for _, transport := range []Transport{RPC, WS} {
		h := newHouse(t) // of its own: it may take a while to see the last viewers off
		scrape := Scraper(h.addr, h.token)
		o, err := Hold(t.Context(), IdleConfig{
			Door: Door{Addr: h.addr, Token: h.token, Transport: transport}, Viewers: 50, Hold: 10 * time.Millisecond,
			Settle: time.Minute, Scrape: func(ctx context.Context) (Reading, error) {
				runtime.GC() // the server is in this process: its garbage need not be waited for
				return scrape(ctx)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if o.After[Viewers]-o.Before[Viewers] != 50 || o.Left != 0 || o.Err() != nil || o.Connect.Count() != 50 {
			t.Errorf("%v: got %+v", transport, o)
		}
		if o.Goroutines < 1 {
			t.Errorf("%v: %v goroutines each, and one of each is here", transport, o.Goroutines)
		}
	}
}

func TestAServerThatLetsNobodyIn(t *testing.T) {
	h := newHouse(t)
	for _, transport := range []Transport{RPC, WS} {
		cfg := Config{Door: Door{Addr: h.addr, Token: "wrong", Transport: transport}, Plan: load.Constant(10)}
		if _, err := Run(t.Context(), cfg); !errors.Is(InWords(err), track.ErrDenied) {
			t.Errorf("%v: got %v", transport, err)
		}
		cfg.Addr = "127.0.0.1:1"
		if _, err := Run(t.Context(), cfg); !errors.Is(InWords(err), client.ErrUnreachable) {
			t.Errorf("%v: got %v", transport, err)
		}
	}
}

// door is a server made for one test: it does with each connection what it is told.
func door(t *testing.T, serve func(n int, nc net.Conn, shut func())) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	shut := func() { _ = l.Close() }
	var wait sync.WaitGroup
	wait.Go(func() {
		for n := 0; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer nc.Close()
				serve(n, nc, shut)
			})
		}
	})
	t.Cleanup(func() {
		shut()
		wait.Wait()
	})
	return l.Addr().String()
}

// welcome plays the WebSocket server up to the snapshot.
func welcome(nc net.Conn) bool {
	b := make([]byte, 4096)
	if _, err := nc.Read(b); err != nil {
		return false
	}
	if _, err := io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\n\r\n"); err != nil {
		return false
	}
	if _, err := nc.Read(b); err != nil {
		return false
	}
	_, err := nc.Write(text(`{"type":"snapshot","stream":1,"seq":1,"fixes":[]}`))
	return err == nil
}

func text(s string) []byte { return append([]byte{0x80 | opText, byte(len(s))}, s...) }

// A server that dies is noticed: the run ends early and says so.
func TestAServerThatDies(t *testing.T) {
	addr := door(t, func(n int, nc net.Conn, shut func()) {
		if n == 20 {
			shut()
		}
		welcome(nc)
		_, _ = io.Copy(io.Discard, nc)
	})
	o, err := Run(t.Context(), Config{Door: Door{Addr: addr, Transport: WS, Within: time.Second}, Plan: load.Constant(1000), Duration: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if o.Gone == nil || o.Failed[refused] < goneAfter || o.Planned > 20_000 || o.Came+sum(o.Failed) != o.Planned {
		t.Errorf("got %v, %v of %d, %d came", o.Gone, o.Failed, o.Planned, o.Came)
	}
}

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// Arrivals do not wait: whoever is due while a server lets nobody in has waited, too.
func TestWaitingCountsFromTheMomentDue(t *testing.T) {
	const stall = 100 * time.Millisecond
	addr := door(t, func(n int, nc net.Conn, _ func()) {
		time.Sleep(stall) // what is measured, not what is waited for
		welcome(nc)
		_, _ = io.Copy(io.Discard, nc)
	})
	// One at a time, so that the second has to wait for the first, and so on.
	o, err := Run(t.Context(), Config{Door: Door{Addr: addr, Transport: WS}, Plan: load.Constant(100), Duration: 50 * time.Millisecond, Most: 1})
	if err != nil || o.Came != 5 {
		t.Fatalf("got %+v, %v", o, err)
	}
	if most := time.Duration(o.Snapshot.Summary().Max); most < 5*stall-60*time.Millisecond {
		t.Errorf("the last waited %v, want five stalls of %v", most, stall)
	}
	if o.Late < 4 {
		t.Errorf("%d were late", o.Late)
	}
}

func TestAnInterruptedRunTellsWhatItHas(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	addr := door(t, func(_ int, nc net.Conn, _ func()) {
		welcome(nc)
		_, _ = io.Copy(io.Discard, nc)
	})
	interrupt := func(t Tick) {
		if t.Came > 0 {
			cancel()
		}
	}
	o, err := Run(ctx, Config{
		Door: Door{Addr: addr, Transport: WS}, Plan: load.Constant(500), Duration: time.Minute, Interval: 10 * time.Millisecond, OnTick: interrupt,
	})
	if err != nil || !o.Partial || o.Came == 0 || o.Came+sum(o.Failed) != o.Planned {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestFailuresHaveKinds(t *testing.T) {
	for name, play := range map[string]struct {
		serve func(net.Conn)
		kind  string
	}{
		"hangs up":   {func(nc net.Conn) { _, _ = nc.Read(make([]byte, 4096)) }, closed},
		"401":        {func(nc net.Conn) { say(nc, "HTTP/1.1 401 Unauthorized\r\n\r\n") }, denied},
		"503":        {func(nc net.Conn) { say(nc, "HTTP/1.1 503 No\r\n\r\n") }, busy},
		"no http":    {func(nc net.Conn) { say(nc, "220 mail\r\n\r\n") }, protocol},
		"silent":     {func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }, timeout},
		"error":      {func(nc net.Conn) { after(nc, text(`{"type":"error","id":1,"code":"rate_limited"}`)) }, busy},
		"closes":     {func(nc net.Conn) { after(nc, []byte{0x80 | opClose, 2, 4401 >> 8, 4401 & 255}) }, denied},
		"masked":     {func(nc net.Conn) { after(nc, []byte{0x81, 0x81, 0, 0, 0, 0, 'x'}) }, protocol},
		"never ends": {func(nc net.Conn) { after(nc, []byte{0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0}) }, protocol},
	} {
		t.Run(name, func(t *testing.T) {
			addr := door(t, func(_ int, nc net.Conn, _ func()) { play.serve(nc) })
			d := Door{Addr: addr, Transport: WS, Within: time.Minute}
			if play.kind == timeout {
				d.Within = 50 * time.Millisecond
			}
			v, err := d.Enter(t.Context())
			if err == nil {
				defer v.Leave()
				err = v.Watch(t.Context())
			}
			if got := kindOf(err); got != play.kind {
				t.Errorf("got %s: %v, want %s", got, err, play.kind)
			}
		})
	}
}

func say(nc net.Conn, s string) {
	_, _ = nc.Read(make([]byte, 4096))
	_, _ = io.WriteString(nc, s)
	_, _ = io.Copy(io.Discard, nc)
}

func after(nc net.Conn, b []byte) {
	say2(nc)
	_, _ = nc.Read(make([]byte, 4096))
	_, _ = nc.Write(b)
	_, _ = io.Copy(io.Discard, nc)
}

func say2(nc net.Conn) {
	_, _ = nc.Read(make([]byte, 4096))
	_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
}

// What comes right behind the snapshot is not lost, and pings are answered.
func TestAViewerThatStaysAnswersPings(t *testing.T) {
	answered := make(chan []byte, 1)
	addr := door(t, func(_ int, nc net.Conn, _ func()) {
		say2(nc)
		_, _ = nc.Read(make([]byte, 4096))
		ping := []byte{0x80 | opPing, 3, 'a', 'b', 'c'}
		b := append(text(`{"type":"snapshot","more":true,"fixes":[]}`), text(`{"type":"snapshot","fixes":[]}`)...)
		b = append(append(b, text(`{"type":"fixes","fixes":[]}`)...), ping...)
		_, _ = nc.Write(b[:len(b)-2])
		_, _ = nc.Write(b[len(b)-2:])
		pong := make([]byte, 9)
		_, _ = io.ReadFull(nc, pong)
		answered <- pong
	})
	v, err := (&Door{Addr: addr, Transport: WS}).Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Leave()
	if err := v.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := v.Stay(t.Context()); kindOf(err) != closed && kindOf(err) != reset {
		t.Error(err)
	}
	if got, want := <-answered, appendMasked(nil, opPong, []byte("abc")); string(got) != string(want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestLeaksAreFound(t *testing.T) {
	before := Reading{Goroutines: 100, Viewers: 0, LiveHeap: 50 << 20, OpenFiles: 20, Sessions: 0}
	if l := Compare(before, Reading{Goroutines: 110, Viewers: 0, LiveHeap: 55 << 20, OpenFiles: 25, Sessions: 0}); len(l) != 0 {
		t.Errorf("within the tolerance: %v", l)
	}
	after := Reading{Goroutines: 1000, Viewers: 1, LiveHeap: 90 << 20, OpenFiles: 500, Sessions: 1, Connections: 5}
	leaks := Compare(before, after)
	var got []string
	for _, l := range leaks {
		got = append(got, l.Metric)
	}
	if want := []string{Goroutines, OpenFiles, Viewers, Sessions, LiveHeap}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v, want %v", got, want)
	}
	if s := leaks[0].String(); s != "go_goroutines was 100 before and is 1000, more than 113" {
		t.Error(s)
	}
}

// Whoever is reset at the gate is told why, as the server counts it.
func TestThoseTurnedAwayAtTheGateAreTold(t *testing.T) {
	o := &Outcome{
		Planned: 100, Came: 90, Failed: map[string]int64{reset: 10},
		Connect: load.NewRecorder(), Handshake: load.NewRecorder(), Snapshot: load.NewRecorder(), Service: load.NewRecorder(), Lag: load.NewRecorder(),
		Before: Reading{atTheGate[0]: 5}, After: Reading{atTheGate[0]: 12, atTheGate[1]: 3},
	}
	r := o.Result("test", &Config{Plan: load.Constant(1), Duration: time.Second})
	if f := r.Failure; f == nil || f.Kind != load.Incorrect || !strings.Contains(f.Text, "turned 10 away") || !strings.Contains(f.Hint, "--source-ips") {
		t.Errorf("got %+v", f)
	}
	o.Failed = map[string]int64{noPorts: 10}
	r = o.Result("test", &Config{Plan: load.Constant(1), Duration: time.Second})
	if r.Failure != nil || !r.Verdict.Has("W16") || r.Verdict.Validity != load.Invalid {
		t.Errorf("our own ports are the server's fault: %+v, %+v", r.Failure, r.Verdict)
	}
}

func TestMetricsAreRead(t *testing.T) {
	r, err := parseMetrics(strings.NewReader("# HELP a b\na 1\nb{x=\"y\"} 2\nc 3e3 1700000000\nd NaN\nnothing\n\n e  5 \n"))
	if err != nil || len(r) != 3 || r["a"] != 1 || r["c"] != 3000 || r["e"] != 5 {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, cfg := range []Config{{}, {Plan: load.Constant(1e6)}, {Plan: load.Constant(1), Hold: -1}, {Plan: load.Constant(1), Most: -1}} {
		if _, err := Run(t.Context(), cfg); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%+v: got %v", cfg, err)
		}
	}
	for _, cfg := range []IdleConfig{{}, {Viewers: 1 << 20}, {Viewers: 10}} {
		if _, err := Hold(t.Context(), cfg); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%+v: got %v", cfg, err)
		}
	}
}

func FuzzCutFrame(f *testing.F) {
	f.Add(text("hello"))
	f.Add([]byte{0x82, 126, 0, 3, 1, 2, 3})
	f.Add([]byte{0x88, 127, 0, 0, 0, 0, 0, 0, 0, 1, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, n, err := cutFrame(b)
		if n < 0 || n > len(b) || n > 0 && (err != nil || len(fr.payload) > n-2) {
			t.Errorf("%x: took %d, %v", b, n, err)
		}
	})
}

// discard is a connection whose other end takes everything.
type discard struct{ net.Conn }

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func FuzzTakeRPC(f *testing.F) {
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindPing, ID: 1, Body: make([]byte, 8)}))
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindGoAway, Code: 16, Body: binary.LittleEndian.AppendUint32(nil, 1)}))
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindEvent, ID: 1, Body: append(make([]byte, 8), trk.AppendWatchFrame(nil, &trk.WatchFrameT{Kind: trk.FrameKindSnapshot})...)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		v := &Viewer{nc: discard{}}
		if n, _, _ := v.takeRPC(b); n < 0 {
			t.Errorf("%x: took %d", b, n)
		}
	})
}

// A snapshot of several frames, one of them in parts, is whole with the last.
func TestASnapshotInParts(t *testing.T) {
	event := func(m bool, parts int) (b []byte) {
		body := append(make([]byte, 8), trk.AppendWatchFrame(nil, &trk.WatchFrameT{Kind: trk.FrameKindSnapshot, More: m, Names: []string{"a", "b"}})...)
		for i := range parts {
			f := rpc.Frame{Kind: rpc.KindEvent, ID: 1, Flags: more, Body: body[i*len(body)/parts : (i+1)*len(body)/parts]}
			if i == parts-1 {
				f.Flags = 0
			}
			b = rpc.AppendFrame(b, f)
		}
		return b
	}
	all := append(append(event(true, 1), event(true, 3)...), event(false, 2)...)
	v := &Viewer{nc: discard{}}
	for frames := 1; len(all) > 0; frames++ {
		n, done, err := v.takeRPC(all)
		if err != nil || n == 0 || done != (n == len(all)) {
			t.Fatalf("frame %d: took %d of %d, %v, %v", frames, n, len(all), done, err)
		}
		all = all[n:]
	}
}

func FuzzMetrics(f *testing.F) {
	f.Add("a 1\n# b\nc{d=\"e\"} 2\n")
	f.Fuzz(func(t *testing.T, s string) {
		r, _ := parseMetrics(strings.NewReader(s))
		for name := range r {
			if name == "" || strings.ContainsAny(name, "{ \n") {
				t.Errorf("%q: a metric called %q", s, name)
			}
		}
	})
}

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }
