package rpcload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"tracker/pkg/load"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
)

// short is a run that is over soon.
func short(dial func(context.Context) (net.Conn, error), change func(*Config)) Config {
	c := Config{Dial: dial, Depth: 64, Warmup: 20 * time.Millisecond, Duration: 100 * time.Millisecond, Drain: 5 * time.Second}
	if change != nil {
		change(&c)
	}
	return c
}

func mustRun(t *testing.T, cfg Config) *Outcome {
	t.Helper()
	o, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if o.Sent != o.Right+o.Wrong+o.Refused+o.Lost {
		t.Errorf("it does not add up: %+v", o)
	}
	return o
}

func TestEveryMethodIsAnsweredRightly(t *testing.T) {
	dial := honest(t, rpc.Config{})
	for name, change := range map[string]func(*Config){
		"sum":             func(*Config) {},
		"depth 1":         func(c *Config) { c.Depth = 1 },
		"odd depth":       func(c *Config) { c.Depth = 77 },
		"deep":            func(c *Config) { c.Depth = 4096 },
		"async":           func(c *Config) { c.Method = Async },
		"all sleep":       func(c *Config) { c.Method = Sleep },
		"some sleep":      func(c *Config) { c.Method, c.Share = Sleep, 0.01 },
		"echo":            func(c *Config) { c.Method = Echo },
		"small echo":      func(c *Config) { c.Method, c.Payload = Echo, 8 },
		"long echo":       func(c *Config) { c.Method, c.Payload, c.Depth = Echo, 60_000, 16 },
		"connections":     func(c *Config) { c.Conns, c.Depth = 20, 4 },
		"open loop":       func(c *Config) { c.Rate = load.Constant(5000) },
		"open, some slow": func(c *Config) { c.Rate, c.Conns, c.Method, c.Share = load.Constant(5000), 3, Sleep, 0.1 },
		"open, shallow":   func(c *Config) { c.Rate, c.Depth, c.Method = load.Constant(500), 1, Sleep },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := short(dial, change)
			o := mustRun(t, cfg)
			for o.Answered == 0 && cfg.Duration < 10*time.Second { // a busy machine may need more time for one answer
				cfg.Duration *= 4
				o = mustRun(t, cfg)
			}
			if err := o.Err(); err != nil {
				t.Fatal(err, o.Faults)
			}
			if o.Answered == 0 || o.Rate() <= 0 {
				t.Errorf("nothing was measured: %+v", o)
			}
			usual, sleeping := o.Latency.Count(), o.Sleeping.Count()
			if all := cfg.Method == Sleep && cfg.Share == 0; (usual == 0) != all || (sleeping > 0) != (cfg.Method == Sleep) {
				t.Errorf("%d usual times, %d of sleeping calls", usual, sleeping)
			}
			if cfg.Rate.Peak() > 0 && o.Sent != o.Before+o.Planned {
				t.Errorf("%d were sent, %d planned", o.Sent, o.Planned)
			}
		})
	}
}

func TestTheShareThatSleepsIsKept(t *testing.T) {
	usual, _ := sumKind(1)
	l := newLedger(10, usual, usual, 0.01)
	slept := 0
	var out []byte
	for range 10_000 {
		out = l.issue(out[:0], 0)
		s := l.fresh[0]
		if l.slots[s].sleeps {
			slept++
		}
		l.stamp(0, true)
		l.free = append(l.free, s)
	}
	if slept < 99 || slept > 101 {
		t.Errorf("%d of 10000 slept, want 100", slept)
	}
}

func TestIdsComeAroundWithoutZero(t *testing.T) {
	usual, err := sumKind(1)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(1, usual, usual, 0)
	l.slots[0].id = ^uint32(0) - 1
	for range 5 {
		f := l.issue(nil, 0)
		id := l.slots[0].id
		if id == 0 {
			t.Fatal("0 is no id")
		}
		in := sumFrame(rpc.Frame{ID: id, Body: f[rpc.HeaderSize:]}, 0)
		if l.settle(id, in.Body) == nil {
			t.Fatal(l.faults)
		}
	}
}

// A checker that finds nothing is worse than none: each of these servers does one thing
// wrong, once, and must be told from an honest one.
func TestEachLieIsFound(t *testing.T) {
	const n = 100 // which request is answered wrongly
	plain := func(f rpc.Frame, out []byte) []byte { return rpc.AppendFrame(out, sumFrame(f, 0)) }
	var kept rpc.Frame
	for name, row := range map[string]struct {
		answer func(i int, f rpc.Frame, out []byte) []byte
		count  func(*Outcome) int64
		says   string
	}{
		"wrong sum": {func(i int, f rpc.Frame, out []byte) []byte {
			if i == n {
				return rpc.AppendFrame(out, sumFrame(f, 1))
			}
			return plain(f, out)
		}, func(o *Outcome) int64 { return o.Wrong }, "want"},
		"torn answer": {func(i int, f rpc.Frame, out []byte) []byte {
			if i == n {
				return rpc.AppendFrame(out, rpc.Frame{Kind: rpc.KindRsp, ID: f.ID, Body: []byte{1, 2, 3}})
			}
			return plain(f, out)
		}, func(o *Outcome) int64 { return o.Wrong }, "SumRsp"},
		"empty answer": {func(i int, f rpc.Frame, out []byte) []byte {
			if i == 1 {
				return rpc.AppendFrame(out, rpc.Frame{Kind: rpc.KindRsp, ID: f.ID})
			}
			return plain(f, out)
		}, func(o *Outcome) int64 { return o.Wrong }, "SumRsp"},
		"answer in parts": {func(i int, f rpc.Frame, out []byte) []byte {
			if i == n {
				rsp := sumFrame(f, 0)
				rsp.Flags = rpc.FlagMore
				return rpc.AppendFrame(out, rsp)
			}
			return plain(f, out)
		}, func(o *Outcome) int64 { return o.Wrong }, "flags 1"},
		"answer of another": {func(i int, f rpc.Frame, out []byte) []byte {
			switch i {
			case n:
				kept = sumFrame(f, 0)
				return out
			case n + 1: // both are answered, each with the other's sum
				other := sumFrame(f, 0)
				kept.ID, other.ID = other.ID, kept.ID
				return rpc.AppendFrame(rpc.AppendFrame(out, kept), other)
			}
			return plain(f, out)
		}, func(o *Outcome) int64 { return o.Wrong / 2 }, "want"},
		"doubled at once": {func(i int, f rpc.Frame, out []byte) []byte {
			if i == n {
				out = plain(f, out)
			}
			return plain(f, out)
		}, func(o *Outcome) int64 { return o.Doubled }, "answered again"},
		"doubled much later": {func(i int, f rpc.Frame, out []byte) []byte {
			if i == n {
				kept = sumFrame(f, 0)
			}
			if i == 5*n {
				out = rpc.AppendFrame(out, kept)
			}
			return plain(f, out)
		}, func(o *Outcome) int64 { return o.Doubled }, "answered again"},
		"lost": {func(i int, f rpc.Frame, out []byte) []byte {
			if i == n {
				return out
			}
			return plain(f, out)
		}, func(o *Outcome) int64 { return o.Lost }, "no answer came in time"},
		"never asked": {func(i int, f rpc.Frame, out []byte) []byte {
			if i == n {
				out = rpc.AppendFrame(out, rpc.Frame{Kind: rpc.KindRsp, ID: f.ID + 64<<16, Body: sumFrame(f, 0).Body})
			}
			return plain(f, out)
		}, func(o *Outcome) int64 { return o.Unknown }, "never asked"},
		"an event": {func(i int, f rpc.Frame, out []byte) []byte {
			if i == n {
				out = rpc.AppendFrame(out, rpc.Frame{Kind: rpc.KindEvent, ID: f.ID, Body: make([]byte, 8)})
			}
			return plain(f, out)
		}, func(o *Outcome) int64 { return o.Unknown }, "nobody asked for it"},
		"refused": {func(i int, f rpc.Frame, out []byte) []byte {
			if i == n {
				return rpc.AppendFrame(out, rpc.Frame{Kind: rpc.KindErr, ID: f.ID, Code: uint16(rpc.ResourceExhausted)})
			}
			return plain(f, out)
		}, func(o *Outcome) int64 { return o.Failed[rpc.ResourceExhausted] }, "resource exhausted"},
	} {
		for _, open := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/open=%v", name, open), func(t *testing.T) {
				cfg := short(liar(t, row.answer), func(c *Config) {
					if open {
						c.Rate = load.Constant(20_000)
					}
					if name == "lost" {
						c.Drain = time.Second
					}
				})
				o := mustRun(t, cfg)
				for o.Err() == nil && o.Sent <= 6*n && cfg.Duration < 10*time.Second { // a busy machine did not come so far
					cfg.Duration *= 4
					o = mustRun(t, cfg)
				}
				if got := row.count(o); got != 1 {
					t.Errorf("found %d, want 1: %+v", got, o)
				}
				if err := o.Err(); !errors.Is(err, ErrFailed) {
					t.Errorf("it passed: %v", err)
				}
				if !strings.Contains(strings.Join(o.Faults, "\n"), row.says) {
					t.Errorf("it says %q, want something of %q", o.Faults, row.says)
				}
			})
		}
	}
}

// The last answer of a run may be the one that is doubled.
func TestADoubledLastAnswerIsFound(t *testing.T) {
	o := mustRun(t, short(liar(t, func(_ int, f rpc.Frame, out []byte) []byte {
		rsp := rpc.AppendFrame(nil, sumFrame(f, 0))
		return append(append(out, rsp...), rsp...)
	}), func(c *Config) { c.Depth = 1 }))
	if o.Doubled < o.Sent { // the first call of all, before the load, is doubled too
		t.Errorf("%d of %d doubled answers were found", o.Doubled, o.Sent)
	}
}

// The same by a plan, where a connection has nothing under way when the plan ends, and
// what is said twice comes only then.
func TestADoubledLastAnswerIsFoundInAnOpenLoop(t *testing.T) {
	var last []byte // of one connection: frames come one after the other
	dial := gossip(t, func(f rpc.Frame) []byte {
		if f.Kind == rpc.KindPing {
			return append(bytes.Clone(last), rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindPong, ID: f.ID, Body: f.Body})...)
		}
		last = rpc.AppendFrame(nil, sumFrame(f, 0))
		return last
	})
	o := mustRun(t, short(dial, func(c *Config) { c.Rate, c.Depth = load.Constant(50), 1 }))
	if o.Doubled == 0 || !errors.Is(o.Err(), ErrFailed) {
		t.Errorf("the last answer came twice: %+v", o)
	}
}

// Who is stopped before anything was measured has measured nothing.
func TestARunThatEndsInItsWarmupHasNoFigures(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := short(honest(t, rpc.Config{}), func(c *Config) {
		c.Warmup, c.Interval = time.Minute, 10*time.Millisecond
		c.OnTick = func(t load.Tick) {
			if t.Received > 0 {
				cancel()
			}
		}
	})
	o, err := Run(ctx, cfg)
	if err != nil || !o.Partial || o.Err() != nil {
		t.Fatal(err, o)
	}
	if o.Took != 0 || o.Answered != 0 || o.Rate() != 0 || o.ClientCPU != 0 || len(o.Intervals) != 0 {
		t.Errorf("the warm-up was measured: %+v", o)
	}
	if r := o.Result("test", &cfg, load.NewMeter(load.MeterConfig{}), true); r.Verdict.Validity != load.Invalid || !r.Verdict.Has("W23") {
		t.Errorf("nothing was measured, and the result is %v", r.Verdict)
	}
}

func TestAServerThatLeavesLosesWhatWasUnderWay(t *testing.T) {
	goAway := rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindGoAway, Code: uint16(rpc.Unavailable), Body: []byte{0, 0, 0, 0}})
	o := mustRun(t, short(liar(t, func(i int, f rpc.Frame, out []byte) []byte {
		if i >= 100 {
			return goAway
		}
		return rpc.AppendFrame(out, sumFrame(f, 0))
	}), func(c *Config) { c.Duration = time.Minute }))
	if o.Lost == 0 || !o.Died() || !strings.Contains(strings.Join(o.Faults, "\n"), "sent us away") {
		t.Errorf("%d lost, it says %q", o.Lost, o.Faults)
	}
}

func TestARefusalIsToldBeforeTheLoad(t *testing.T) {
	t.Run("method", func(t *testing.T) {
		s := rpc.NewServer(rpc.Config{})
		if _, err := Run(t.Context(), short(serve(t, s.ServeConn), nil)); rpc.StatusOf(err) != rpc.Unimplemented {
			t.Error(err)
		}
	})
	t.Run("connection", func(t *testing.T) {
		dial := honest(t, rpc.Config{Authenticate: func(_ context.Context, h *rpc.Hello, _ net.Addr) (any, error) {
			return nil, rpc.Errorf(rpc.Unauthenticated, "%s is not known", h.Client)
		}})
		_, err := Run(t.Context(), short(dial, func(c *Config) { c.Hello.Client = "trackbench" }))
		if rpc.StatusOf(err) != rpc.Unauthenticated || !strings.Contains(err.Error(), "trackbench is not known") {
			t.Error(err)
		}
	})
	t.Run("first answer wrong", func(t *testing.T) {
		dial := liar(t, func(_ int, f rpc.Frame, out []byte) []byte { return rpc.AppendFrame(out, sumFrame(f, 1)) })
		if _, err := Run(t.Context(), short(dial, nil)); !errors.Is(err, ErrFailed) {
			t.Error(err)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		dial := func(context.Context) (net.Conn, error) { return nil, errNobody }
		if _, err := Run(t.Context(), short(dial, nil)); !errors.Is(err, errNobody) {
			t.Error(err)
		}
	})
	t.Run("too deep", func(t *testing.T) {
		_, err := Run(t.Context(), short(honest(t, rpc.Config{MaxInflight: 10}), func(c *Config) { c.Method = Async }))
		if err == nil || !strings.Contains(err.Error(), "the server allows 10 requests") {
			t.Error(err)
		}
	})
}

func TestAnInterruptedRunKeepsWhatItHas(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cfg := short(honest(t, rpc.Config{}), func(c *Config) {
		c.Warmup, c.Duration, c.Interval = 0, time.Minute, 10*time.Millisecond
		c.OnTick = func(t load.Tick) {
			if t.Received > 0 {
				cancel()
			}
		}
	})
	o, err := Run(ctx, cfg)
	if err != nil || !o.Partial || o.Answered == 0 || o.Err() != nil {
		t.Error(err, o)
	}
}

// The client of an open loop counts from when a call was due: a server that takes a
// break of 50 ms is felt by all that fell due meanwhile, not by one.
func TestOpenLoopFeelsAStall(t *testing.T) {
	dial := liar(t, func(i int, f rpc.Frame, out []byte) []byte {
		if i == 100 {
			time.Sleep(50 * time.Millisecond) // the server's fault, not a wait of the test
		}
		return rpc.AppendFrame(out, sumFrame(f, 0))
	})
	o := mustRun(t, short(dial, func(c *Config) {
		c.Rate, c.Warmup, c.Depth = load.Constant(2000), 0, 4
	}))
	if err := o.Err(); err != nil {
		t.Fatal(err, o.Faults)
	}
	if p90, ok := o.Latency.Summary().Quantile("90"); !ok || p90 < 20*time.Millisecond {
		t.Errorf("p90 is %v, though a quarter of the calls fell due in a stall of 50 ms", p90)
	}
}

func TestAskingForTheImpossible(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"depth":    func(c *Config) { c.Depth = -1 },
		"conns":    func(c *Config) { c.Conns = 1 << 20 },
		"payload":  func(c *Config) { c.Payload = 4 },
		"sleep":    func(c *Config) { c.Sleep = time.Microsecond },
		"share":    func(c *Config) { c.Share = 1.5 },
		"duration": func(c *Config) { c.Duration = -1 },
		"method":   func(c *Config) { c.Method = 9 },
		"underway": func(c *Config) { c.Method, c.Depth, c.Payload = Echo, 4096, 1024 },
	} {
		c := short(nil, change)
		if err := c.Check(); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhoWasTheLimit(t *testing.T) {
	for _, row := range []struct {
		client, server time.Duration
		known, bound   bool
	}{
		{950 * time.Millisecond, 500 * time.Millisecond, true, true},
		{950 * time.Millisecond, 990 * time.Millisecond, true, false},
		{700 * time.Millisecond, 500 * time.Millisecond, true, false},
		{950 * time.Millisecond, 0, false, true},
	} {
		o := Outcome{Took: time.Second, Cores: 1, ClientCPU: row.client, ServerCPU: row.server, ServerKnown: row.known}
		if o.ClientBound() != row.bound {
			t.Errorf("%+v: %v", row, !row.bound)
		}
	}
}

// What is done for a call while it runs must not allocate: the instrument would measure
// its own collector.
func TestCallsDoNotAllocate(t *testing.T) {
	usual, err := sumKind(1)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(64, usual, usual, 0)
	out := make([]byte, 0, 1<<16)
	rsp := make([]byte, 0, 1<<10)
	allocs := testing.AllocsPerRun(1000, func() {
		out = l.issue(out[:0], 0)
		id := l.slots[l.fresh[0]].id
		l.stamp(1, true)
		rsp = appendSum(rsp[:0], int32(first(id)+second(id)))
		if l.settle(id, rsp) == nil {
			t.Fatal(l.faults)
		}
	})
	if allocs > 0.01 {
		t.Errorf("%v allocations a call", allocs)
	}
}

func BenchmarkClient(b *testing.B) {
	b.ReportAllocs()
	usual, _ := sumKind(1)
	l := newLedger(512, usual, usual, 0)
	out := make([]byte, 0, 1<<16)
	rsp := appendSum(nil, 1)
	for b.Loop() {
		out = l.issue(out[:0], 0)
		id := l.slots[l.fresh[0]].id
		l.stamp(1, true)
		patchSum(rsp, int32(first(id)+second(id)))
		l.settle(id, rsp)
	}
	if l.wrong > 0 {
		b.Fatal(l.faults)
	}
}

// Programs read results: what they find by name today they must find tomorrow.
func TestAResultKeepsItsNames(t *testing.T) {
	cfg := short(honest(t, rpc.Config{}), func(c *Config) {
		c.Rate, c.Method, c.Share = load.Constant(5000), Sleep, 0.5
		c.Server, c.Interval = &load.Process{PID: os.Getpid()}, 10*time.Millisecond
	})
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	r := mustRun(t, cfg).Result("1.2.3", &cfg, load.NewMeter(load.MeterConfig{}), true)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var all any
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	collect(names, "", all)
	for _, want := range strings.Fields(`schema id tool.version tool.go started duration_ns partial env.cores
		scenario.name scenario.loop scenario.args.method scenario.args.conns scenario.args.depth scenario.args.duration
		scenario.args.warmup scenario.args.sleep scenario.args.sleep_share
		counts.planned counts.sent counts.accepted counts.lost counts.errors counts.answers.right counts.answers.wrong
		counts.answers.refused counts.answers.lost counts.answers.doubled counts.answers.unknown
		rates.answered_per_s rates.offered_per_s rates.client_cpu_ns_per_call
		latency.response.n latency.response.max latency.response.p.50 latency.response.p.90 latency.response.p.99
		latency.response.p.99.9 latency.response.hdr_v2 latency.sleeping.n latency.service.n
		intervals.sent intervals.received resources.client.cpu_s verdict.validity verdict.warnings.id`) {
		if !names[want] {
			t.Errorf("%s is missing in %s", want, b)
		}
	}
	if r.Schema != "trackbench.result/1" || r.Scenario.Name != "rpc" || r.Scenario.Loop != "open" {
		t.Error(r.Schema, r.Scenario)
	}
}

// collect lists the names of all members.
func collect(names map[string]bool, at string, v any) {
	names[strings.TrimPrefix(at, ".")] = true
	switch v := v.(type) {
	case map[string]any:
		for k, m := range v {
			collect(names, at+"."+k, m)
		}
	case []any:
		for _, m := range v {
			collect(names, at, m)
		}
	}
}

// The intervals of a run hold every time that counts, those of late answers too, and
// none of the warm-up.
func TestTheIntervalsAddUp(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"closed":          func(c *Config) {},
		"open":            func(c *Config) { c.Rate = load.Constant(3000) },
		"open, steady":    func(c *Config) { c.Rate, c.Settle, c.Warmup = load.Constant(3000), true, 700*time.Millisecond },
		"open, no warmup": func(c *Config) { c.Rate, c.Warmup = load.Constant(3000), 0 },
	} {
		cfg := short(honest(t, rpc.Config{}), func(c *Config) {
			c.Depth, c.Duration, c.Interval, c.Warmup = 64, 150*time.Millisecond, 40*time.Millisecond, 50*time.Millisecond
			edit(c)
		})
		o := mustRun(t, cfg)
		var held, offered int64
		for _, iv := range o.Intervals {
			h, err := hdrhistogram.Decode([]byte(iv.HDR))
			if err != nil {
				t.Fatal(err)
			}
			held += h.TotalCount()
			offered += iv.Offered
		}
		if held != o.Latency.Count() || held == 0 {
			t.Errorf("%s: the intervals have %d times, the run %d", name, held, o.Latency.Count())
		}
		if cfg.Rate.Zero() {
			continue
		}
		if offered != o.Planned || o.Planned != 450 || held != o.Planned {
			t.Errorf("%s: %d due in the intervals, %d planned, %d times; want 450", name, offered, o.Planned, held)
		}
		if o.Lag.Count() != held || o.Service.Count() != held {
			t.Errorf("%s: %d lags and %d service times of %d", name, o.Lag.Count(), o.Service.Count(), held)
		}
	}
}
