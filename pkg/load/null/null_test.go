package null

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/load/churn"
	"tracker/pkg/load/fan"
	"tracker/pkg/load/leaktest"
	"tracker/pkg/load/rpcload"
	"tracker/pkg/rpc"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

func start(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := Listen(cfg)
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
	return s
}

// Every answer is checked by the client, as it checks those of a real server.
func TestCallsAreAnsweredRightly(t *testing.T) {
	s := start(t, Config{})
	dial, err := rpcload.Target{Addr: s.Addr()}.Dialer()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []rpcload.Method{rpcload.Sum, rpcload.Async, rpcload.Sleep, rpcload.Echo} {
		for _, payload := range []int{8, 24, 5000} {
			o, err := rpcload.Run(t.Context(), rpcload.Config{Dial: dial, Method: m, Payload: payload, Conns: 3, Depth: 32, Duration: 30 * time.Millisecond})
			if err != nil || o.Err() != nil || o.Right == 0 {
				t.Errorf("%v of %d: %v, %v", m, payload, err, o)
			}
		}
	}
}

// Both encodings carry what was reported to those who watch, complete and in order: the
// driver holds every update against its plan.
func TestReportsReachEveryWatcher(t *testing.T) {
	for _, batch := range []int{0, 7} {
		s := start(t, Config{Batch: batch, Tick: 5 * time.Millisecond})
		dial, err := rpcload.Target{Addr: s.Addr()}.Dialer()
		if err != nil {
			t.Fatal(err)
		}
		for _, viewers := range []fan.Transport{fan.RPC, fan.WS} {
			for _, reports := range []fan.Transport{fan.RPC, fan.WS} {
				t.Run(fmt.Sprintf("batch %d, %v to %v", batch, reports, viewers), func(t *testing.T) {
					res, err := fan.Run(t.Context(), fan.Config{
						Scenario: "fanout", Plan: fan.AtRate(3, load.Constant(300), 300*time.Millisecond, 1),
						Devices: []fan.Device{{ID: 1, Name: "a"}, {ID: 2, Name: "b"}, {ID: 1<<48 - 1, Name: "c"}}, N: 5,
						Viewers: fan.Dialer{Transport: viewers, Dial: dial, Host: s.Addr()}, Reports: fan.Dialer{Transport: reports, Dial: dial, Host: s.Addr()},
					})
					if err != nil {
						t.Fatal(err)
					}
					d := res.Counts.Deliveries
					if res.Failure != nil || d == nil || d.Received != d.Expected || d.Received != 5*res.Counts.Sent || d.Duplicate+d.OutOfOrder != 0 {
						t.Errorf("got %+v, %+v", res.Failure, d)
					}
				})
			}
		}
	}
}

func TestViewersComeAndGo(t *testing.T) {
	s := start(t, Config{})
	for _, transport := range []churn.Transport{churn.RPC, churn.WS} {
		o, err := churn.Run(t.Context(), churn.Config{Door: churn.Door{Addr: s.Addr(), Transport: transport}, Plan: load.Constant(100), Duration: 200 * time.Millisecond})
		if err != nil || o.Err() != nil || o.Came != 20 {
			t.Errorf("%v: %v, %+v", transport, err, o)
		}
	}
}

func fleet(addr string, sockets, devices int) (*client.Fleet, error) {
	f := client.NewFleet(client.FleetConfig{Addr: addr, Sockets: sockets, Unlimited: true})
	for i := range devices {
		if _, err := f.Add(seal.Enrolment{Host: addr, Device: track.DeviceID(i + 1), Root: seal.NewRoot(), Suite: seal.ChaCha20Poly1305}); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func TestCeilingsAreMeasured(t *testing.T) {
	s := start(t, Config{Batch: 5, Tick: 5 * time.Millisecond})
	o := Options{Addr: s.Addr(), UDP: s.UDP(), Length: 50 * time.Millisecond, Fleet: fleet}
	for _, shape := range []Shape{
		{Kind: Calls, Method: "sum", Conns: 1, Depth: 64},
		{Kind: Calls, Method: "echo", Payload: 100, Conns: 2, Depth: 8},
		{Kind: Fanout, Transport: fan.RPC, Viewers: 20, Batch: 5},
		{Kind: Fanout, Transport: fan.WS, Viewers: 20, Batch: 5},
		{Kind: Ingest, Conns: 2},
	} {
		v, err := Measure(t.Context(), o, shape)
		if err != nil || v <= 0 {
			t.Errorf("%+v: %v, %v", shape, v, err)
		}
	}
	if n, err := Datagrams(t.Context(), s.Addr()); err != nil || n == 0 {
		t.Errorf("%d datagrams, %v", n, err)
	}
	if _, err := Measure(t.Context(), o, Shape{Kind: "tea"}); err == nil {
		t.Error("a ceiling of tea")
	}
}

func TestCeilingsAreKeptForADay(t *testing.T) {
	now := time.Now()
	c := &Cache{Path: filepath.Join(t.TempDir(), "a", "ceilings.json"), Fingerprint: "x", Version: "1", Now: func() time.Time { return now }}
	one, other := Shape{Kind: Calls, Depth: 1}, Shape{Kind: Calls, Depth: 2}
	if _, ok := c.Get(one); ok {
		t.Error("a ceiling from nowhere")
	}
	for s, v := range map[Shape]float64{one: 1000, other: 2000} {
		if err := c.Put(s, v); err != nil {
			t.Fatal(err)
		}
	}
	if v, ok := c.Get(one); !ok || v != 1000 {
		t.Errorf("got %v %v", v, ok)
	}
	elsewhere := *c
	elsewhere.Fingerprint = "y"
	if _, ok := elsewhere.Get(one); ok {
		t.Error("a ceiling of another machine")
	}
	now = now.Add(25 * time.Hour)
	if _, ok := c.Get(other); ok {
		t.Error("a ceiling of yesterday")
	}
	if err := c.Put(one, 3000); err != nil || len(c.read()) != 1 {
		t.Errorf("%v, %d kept", err, len(c.read()))
	}
	if err := os.WriteFile(c.Path, []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Get(one); ok {
		t.Error("a ceiling out of a torn file")
	}
	if err := c.Put(one, 4000); err != nil {
		t.Error(err)
	}
	var none *Cache
	if _, ok := none.Get(one); ok || none.Put(one, 1) != nil {
		t.Error("no cache keeps something")
	}
}

// A question is answered without a look at anything but its numbers.
func TestAnswersAllocateNothing(t *testing.T) {
	r, err := newAnswers()
	if err != nil {
		t.Fatal(err)
	}
	body := trk.AppendSumReq(nil, &trk.SumReqT{A: 2, B: 40})
	f := rpc.Frame{Kind: rpc.KindReq, ID: 7, Code: trk.ExampleSumID, Body: body}
	out := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { out, _ = r.add(out[:0], &r.sum, &f) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if rsp, err := trk.ReadSumRsp(out[rpc.HeaderSize:]); err != nil || rsp.Sum() != 42 || binary.LittleEndian.Uint32(out[idAt:]) != 7 {
		t.Errorf("got %v, %v", rsp, err)
	}
	if _, ok := r.add(nil, &r.sum, &rpc.Frame{Body: []byte("short")}); ok {
		t.Error("it answered what is no question")
	}
}

func BenchmarkAnswer(b *testing.B) {
	r, err := newAnswers()
	if err != nil {
		b.Fatal(err)
	}
	f := rpc.Frame{Kind: rpc.KindReq, ID: 7, Code: trk.ExampleSumID, Body: trk.AppendSumReq(nil, &trk.SumReqT{A: 2, B: 40})}
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		out, _ = r.add(out[:0], &r.sum, &f)
	}
}

// loose is a connection that takes everything.
type loose struct{ net.Conn }

func (loose) Write(b []byte) (int, error)      { return len(b), nil }
func (loose) SetWriteDeadline(time.Time) error { return nil }

func FuzzCaller(f *testing.F) {
	s, err := Listen(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.close)
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindReq, ID: 1, Code: trk.ExampleEchoID, Body: trk.AppendEchoReq(nil, &trk.EchoReqT{Payload: []byte("12345678")})}))
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindReq, ID: 2, Code: trk.PublishReportID, Body: trk.AppendReportReq(nil, &trk.ReportReqT{Device: "000000000001", Fixes: []*trk.FixT{{Lat: 1}}})}))
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindCredit, ID: 2, Body: make([]byte, 4)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newCaller(s, loose{})
		for len(b) > 0 {
			n, ok := c.frame(b)
			if n < 0 || n > len(b) {
				t.Fatalf("took %d of %d", n, len(b))
			}
			if !ok || n == 0 {
				return
			}
			b = b[n:]
		}
	})
}

func FuzzSocket(f *testing.F) {
	s, err := Listen(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.close)
	f.Add([]byte("\x81\x91\x00\x00\x00\x00{\"op\":\"unwatch\"}x"))
	f.Add([]byte("\x89\x83\x01\x02\x03\x04abc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newSocket(s, loose{})
		if n, _ := c.frames(b); n < 0 || n > len(b) {
			t.Fatalf("took %d of %d", n, len(b))
		}
	})
}

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }
