package load

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/client"
)

func TestIngestAddsUp(t *testing.T) {
	h := newHouse(t)
	members := h.muster(100)
	var ticks []Tick
	res, err := Ingest(t.Context(), IngestConfig{
		Conn: h.conn, Fleet: h.fleet(members, client.FleetConfig{Addr: h.udp, Unlimited: true, Sockets: 2}), Members: members,
		Plan: Constant(200), Duration: 1500 * time.Millisecond, Interval: 500 * time.Millisecond, Watch: true, Seed: 9,
		Version: "test", Loopback: true, OnTick: func(t Tick) { ticks = append(ticks, t) },
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &res.Counts
	if c.Planned != 300 || c.Sent != 300 || c.Accepted != 300 || c.Lost != 0 || len(c.Errors) != 0 {
		t.Errorf("got %+v", c)
	}
	if d := c.Deliveries; d == nil || d.Expected != 300 || d.Received != 300 || d.Duplicate != 0 || d.OutOfOrder != 0 || d.Lost != 0 {
		t.Errorf("got %+v", c.Deliveries)
	}
	if n := res.Latency["response"].N; n != 300 || res.Latency["service"].N != 300 || res.Latency["send_lag"].N != 300 {
		t.Errorf("%d latencies, want 300", n)
	}
	var sent, received int64
	for _, iv := range res.Intervals {
		sent, received = sent+iv.Sent, received+iv.Received
	}
	if sent != 300 || received > 300 || len(ticks) != len(res.Intervals) || len(ticks) < 3 {
		t.Errorf("intervals have %d sent, %d received, %d ticks", sent, received, len(ticks))
	}
	if !res.Verdict.Has("W08") || res.Partial || res.Resources.Server == nil {
		t.Errorf("got %+v %+v %+v", res.Verdict, res.Target, res.Resources)
	}
	checkSchema(t, res)
}

// A stall must show in everything that was due while it lasted, not only in what was
// on its way.
func TestIngestShowsAStall(t *testing.T) {
	h := newHouse(t)
	members := h.muster(100)
	var stall atomic.Bool
	l := newLine(t, h.udp, func() bool {
		for stall.Load() {
			time.Sleep(time.Millisecond)
		}
		return true
	})
	var ticks int
	var began time.Time
	var stood time.Duration
	res, err := Ingest(t.Context(), IngestConfig{
		Conn: h.conn, Fleet: h.fleet(members, client.FleetConfig{Addr: l.addr(), Unlimited: true}), Members: members,
		Plan: Constant(200), Duration: 2 * time.Second, Interval: 500 * time.Millisecond, Watch: true,
		OnTick: func(Tick) {
			switch ticks++; ticks {
			case 1:
				began = time.Now()
				stall.Store(true)
			case 3:
				stood = time.Since(began)
				stall.Store(false)
			}
		},
	})
	stall.Store(false)
	if err != nil {
		t.Fatal(err)
	}
	s := res.Latency["response"]
	p90, _ := s.Quantile("90")
	if s.N != 400 || time.Duration(s.Max) < stood*8/10 || p90 < stood/10 {
		t.Errorf("the line stood still for %v of two seconds, and the latency was %v", stood, s)
	}
}

func TestIngestCountsWhatIsLost(t *testing.T) {
	h := newHouse(t)
	members := h.muster(100)
	n := 0
	l := newLine(t, h.udp, func() bool { n++; return n <= 100 || n%10 != 0 })
	res, err := Ingest(t.Context(), IngestConfig{
		Conn: h.conn, Fleet: h.fleet(members, client.FleetConfig{Addr: l.addr(), Unlimited: true}), Members: members,
		Plan: Constant(200), Duration: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := &res.Counts; c.Sent != 200 || c.Lost != l.dropped.Load() || c.Accepted+c.Lost != c.Sent || !res.Verdict.Has("W15") {
		t.Errorf("got %+v with %d dropped", c, l.dropped.Load())
	}
}

func TestIngestEndsEarlyWithWhatItHas(t *testing.T) {
	h := newHouse(t)
	members := h.muster(100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	res, err := Ingest(ctx, IngestConfig{
		Conn: h.conn, Fleet: h.fleet(members, client.FleetConfig{Addr: h.udp, Unlimited: true}), Members: members,
		Plan: Constant(100), Duration: time.Hour, Interval: 200 * time.Millisecond, OnTick: func(Tick) { cancel() },
	})
	if err != nil || !res.Partial || res.Counts.Sent == 0 || res.Counts.Accepted != res.Counts.Sent {
		t.Errorf("got %v, %+v", err, res)
	}
}

func TestWindowTellsDuplicatesFromLateOnes(t *testing.T) {
	var w window
	for _, step := range []struct {
		n              int64
		fresh, inOrder bool
	}{{1, true, true}, {1, false, false}, {4, true, true}, {2, true, false}, {2, false, false}, {3, true, false},
		{100, true, true}, {99, true, false}, {36, false, false}, {200, true, true}, {100, false, false}} {
		if fresh, inOrder := w.note(step.n); fresh != step.fresh || inOrder != step.inOrder {
			t.Fatalf("%d: got %v %v, want %v %v", step.n, fresh, inOrder, step.fresh, step.inOrder)
		}
	}
}

func TestGroundTellsWhichFixAPlaceIs(t *testing.T) {
	g := newGround(7, 1000)
	for i := range g.base {
		for _, n := range []int64{0, 1, 999, 1000, 123_456, 5_000_000} {
			f := g.fix(i, n, 0)
			if !f.At.Valid() {
				t.Fatalf("device %d is at %v", i, f.At)
			}
			if got, ok := g.number(i, f.At); !ok || got != n {
				t.Fatalf("device %d fix %d reads as %d, %v", i, n, got, ok)
			}
		}
	}
	if _, ok := g.number(0, g.base[1]); ok && g.base[1].Lat-g.base[0].Lat >= stride {
		t.Error("a place far away is a fix of this device")
	}
}

func TestResultThatDoesNotAddUpIsNoResult(t *testing.T) {
	good := Result{Counts: Counts{Planned: 10, Sent: 9, Accepted: 8, Lost: 1}, Intervals: []Interval{{Sent: 4}, {Sent: 5}}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Result){
		"intervals": func(r *Result) { r.Intervals[0].Sent++ },
		"lost":      func(r *Result) { r.Counts.Lost++ },
		"planned":   func(r *Result) { r.Counts.Planned = 5 },
	} {
		bad := good
		bad.Intervals = slices.Clone(good.Intervals)
		spoil(&bad)
		if err := bad.Check(); !errors.Is(err, ErrUnsound) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestUsageIsReadFromMetrics(t *testing.T) {
	u := parseUsage(strings.NewReader("# HELP x\nprocess_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 1e+06\nother 3\n"))
	if u == nil || u.cpu != 1.5 || u.rss != 1_000_000 {
		t.Errorf("got %+v", u)
	}
	if parseUsage(strings.NewReader("other 3\n")) != nil {
		t.Error("made figures up")
	}
	if got := u.since(&serverUsage{cpu: 1}); got == nil || got.CPUSeconds != 0.5 {
		t.Errorf("got %+v", got)
	}
	if u.since(&serverUsage{cpu: 2}) != nil {
		t.Error("a server that started anew has no figure")
	}
}

// What was sent to warm up is in no figure, whether it arrives in time or not.
func TestIngestLeavesItsWarmupOut(t *testing.T) {
	h := newHouse(t)
	members := h.muster(100)
	res, err := Ingest(t.Context(), IngestConfig{
		Conn: h.conn, Fleet: h.fleet(members, client.FleetConfig{Addr: h.udp, Unlimited: true}), Members: members,
		Plan: Constant(200), Duration: time.Second, Warmup: 1200 * time.Millisecond, Settle: true, Watch: true, Interval: 300 * time.Millisecond, Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &res.Counts
	if c.Sent != 200 || c.Accepted != 200 || c.Deliveries.Received != 200 || c.Deliveries.Duplicate != 0 || res.Latency["response"].N != 200 || res.Latency["service"].N != 200 {
		t.Errorf("got %+v, %+v, %v", c, c.Deliveries, res.Latency["response"])
	}
	if warmed := time.Duration(res.WarmupNS); warmed < 900*time.Millisecond || res.Scenario.Plan == "" {
		t.Errorf("warmed up for %v, plan %q", warmed, res.Scenario.Plan)
	}
	var offered, received, held int64
	for i := range res.Intervals {
		iv := &res.Intervals[i]
		offered, received = offered+iv.Offered, received+iv.Received
		if g := decode(iv.Tagged["service"]); g != nil {
			held += g.TotalCount()
		}
		if iv.ClientCPU == nil {
			t.Errorf("interval %d does not tell what the client used", i)
		}
	}
	if offered != 200 || received != 200 || held != 200 {
		t.Errorf("the intervals have %d due, %d received, %d service times; want 200 of each", offered, received, held)
	}
	checkSchema(t, res)
}

func TestAProcessIsFoundByItsPort(t *testing.T) {
	h := newHouse(t) // it listens in this process
	p := ListenerAt(h.conn.Server())
	if p == nil {
		t.Skip("skip: this system does not tell who listens")
	}
	if p.PID != os.Getpid() || !p.Alive() {
		t.Errorf("found process %d, want %d", p.PID, os.Getpid())
	}
	if ListenerAt("127.0.0.1:nowhere") != nil || ListenerAt("nowhere") != nil {
		t.Error("found somebody where nobody can be")
	}
	if (&Process{PID: 1 << 30}).Alive() {
		t.Error("a process that does not exist is alive")
	}
}

func TestMeterTellsBothSides(t *testing.T) {
	own := &Process{PID: os.Getpid()} // as if we were the server
	m := NewMeter(MeterConfig{Server: own})
	m.Begin(t.Context())
	for before, _ := own.CPU(); ; { // until the system's clocks have moved a few times
		if now, ok := own.CPU(); !ok || now-before > 30*time.Millisecond {
			break
		}
	}
	cut := m.Cut()
	r := NewResult("x", "y")
	m.End(t.Context(), r)
	if runtime.GOOS == "linux" && (!cut.Known || cut.Client <= 0 || r.Resources.Server == nil || r.Resources.Server.RSS == 0 || r.Resources.Server.Writes == nil) {
		t.Errorf("got %+v, %+v", cut, r.Resources.Server)
	}
	if r.Calibration.Hiccup.N == 0 || r.Calibration.TimerOvershootP99 <= 0 || r.Env.Fingerprint == "" {
		t.Errorf("got %+v", r.Calibration)
	}
	m.Stop() // again does nothing
	r = NewResult("x", "y")
	NewMeter(MeterConfig{}).End(t.Context(), r) // that never began
	if r.Env.Cores == 0 || r.Resources.Server != nil {
		t.Errorf("got %+v", r.Resources)
	}
}
