package rpcload

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/rpc"
)

func mustOpen(t *testing.T, cfg Config) *Lines {
	t.Helper()
	l, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// counted counts the connections that are made.
func counted(dial func(context.Context) (net.Conn, error)) (func(context.Context) (net.Conn, error), *atomic.Int64) {
	var n atomic.Int64
	return func(ctx context.Context) (net.Conn, error) {
		n.Add(1)
		return dial(ctx)
	}, &n
}

func TestRunsShareConnections(t *testing.T) {
	dial, dialled := counted(honest(t, rpc.Config{}))
	cfg := short(dial, func(c *Config) { c.Conns, c.Duration, c.Warmup = 2, 20*time.Millisecond, 0 })
	l := mustOpen(t, cfg)
	for i, change := range []func(*Config){
		func(*Config) {},
		func(*Config) {},
		func(c *Config) { c.Depth = 7 },
		func(c *Config) { c.Rate = load.Constant(5000) },
		func(c *Config) { c.Rate, c.Depth = load.Bursts(50, 5*time.Millisecond), 100 },
		func(c *Config) { c.Method = Async },
		func(c *Config) { c.Method, c.Payload, c.Depth = Echo, 5000, 200 },
		func(c *Config) { c.Depth = 1 },
	} {
		next := cfg
		change(&next)
		o, err := l.Run(t.Context(), next)
		if err != nil {
			t.Fatal(i, err)
		}
		if err := o.Err(); err != nil || o.Sent < int64(next.Conns) || o.Sent != o.Right {
			t.Errorf("run %d: %v, %v, %+v", i, err, o.Faults, o)
		}
	}
	if dialled.Load() != 2 {
		t.Errorf("%d connections were made, want 2", dialled.Load())
	}
	l.Close()
	if _, err := l.Run(t.Context(), cfg); err == nil {
		t.Error("closed connections were used")
	}
	l.Close()
}

// An answer that comes again when the run is long over belongs to nobody in the next one,
// though that calls, too, and with as many at a time or more.
func TestTheNextRunKnowsAnswersOfTheLast(t *testing.T) {
	for name, depth := range map[string]int{"as deep": 64, "deeper": 1000, "shallower": 3} {
		t.Run(name, func(t *testing.T) {
			var kept []byte // of one connection: its frames come one after the other
			var again atomic.Bool
			l := mustOpen(t, short(liar(t, func(n int, f rpc.Frame, out []byte) []byte {
				rsp := rpc.AppendFrame(out, sumFrame(f, 0))
				if n == 100 {
					kept = bytes.Clone(rsp)
				}
				if again.CompareAndSwap(true, false) {
					return append(bytes.Clone(kept), rsp...)
				}
				return rsp
			}), nil))
			cfg := short(nil, nil)
			o, err := l.Run(t.Context(), cfg)
			if err != nil || o.Err() != nil || o.Sent < 200 {
				t.Fatal(err, o)
			}
			again.Store(true)
			cfg.Depth = depth
			if o, err = l.Run(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			if o.Doubled+o.Unknown != 1 || !errors.Is(o.Err(), ErrFailed) || o.Sent != o.Right {
				t.Errorf("got %+v, want one answer too many", o)
			}
		})
	}
}

func TestAfterALossThereIsNoOtherRun(t *testing.T) {
	cfg := short(liar(t, func(n int, f rpc.Frame, out []byte) []byte {
		if n == 10 {
			return out
		}
		return rpc.AppendFrame(out, sumFrame(f, 0))
	}), func(c *Config) { c.Drain = 50 * time.Millisecond })
	l := mustOpen(t, cfg)
	o, err := l.Run(t.Context(), cfg)
	if err != nil || o.Lost != 1 {
		t.Fatal(err, o)
	}
	if _, err := l.Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "run on open connections") {
		t.Error("an answer is owed, and the next run began:", err)
	}
}

// A run that was stopped is over as far as the server is concerned, too.
func TestAnInterruptedRunLeavesTheConnectionsGood(t *testing.T) {
	cfg := short(honest(t, rpc.Config{}), nil)
	l := mustOpen(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	long := cfg
	long.Duration, long.Warmup = time.Minute, 0
	long.Measuring = cancel
	o, err := l.Run(ctx, long)
	if err != nil || !o.Partial {
		t.Fatal(err, o)
	}
	if o, err = l.Run(t.Context(), cfg); err != nil || o.Err() != nil || o.Right == 0 {
		t.Error(err, o)
	}
}

// writes counts how often, and how much, a client writes.
type writes struct {
	net.Conn
	sizes []int
}

func (w *writes) Write(b []byte) (int, error) {
	w.sizes = append(w.sizes, len(b))
	return w.Conn.Write(b)
}

func TestLockstepIsOneWriteABatch(t *testing.T) {
	plain := honest(t, rpc.Config{})
	var w *writes
	cfg := Config{Depth: 64, Dial: func(ctx context.Context) (net.Conn, error) {
		nc, err := plain(ctx)
		w = &writes{Conn: nc}
		return w, err
	}}
	l := mustOpen(t, cfg)
	w.sizes = nil
	const batches = 20
	o, err := l.Lockstep(t.Context(), cfg, batches)
	if err != nil || o.Err() != nil || o.Right != batches*64 {
		t.Fatal(err, o)
	}
	if len(w.sizes) != batches+1 { // and a ping
		t.Fatalf("%d writes: %v", len(w.sizes), w.sizes)
	}
	for _, n := range w.sizes[:batches] {
		if n != w.sizes[0] {
			t.Errorf("batches of different sizes: %v", w.sizes)
		}
	}
	if o, err = l.Run(t.Context(), short(nil, nil)); err != nil || o.Err() != nil {
		t.Error("a run after it:", err, o)
	}
}

func TestLockstepFindsWhatIsWrong(t *testing.T) {
	for name, row := range map[string]struct {
		answer func(n int, f rpc.Frame, out []byte) []byte
		count  func(*Outcome) int64
	}{
		"wrong": {func(n int, f rpc.Frame, out []byte) []byte {
			if n == 100 {
				return rpc.AppendFrame(out, sumFrame(f, 1))
			}
			return rpc.AppendFrame(out, sumFrame(f, 0))
		}, func(o *Outcome) int64 { return o.Wrong }},
		"lost": {func(n int, f rpc.Frame, out []byte) []byte {
			if n == 100 {
				return out
			}
			return rpc.AppendFrame(out, sumFrame(f, 0))
		}, func(o *Outcome) int64 { return o.Lost }},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Dial: liar(t, row.answer), Depth: 16, Drain: 2 * time.Second}
			o, err := mustOpen(t, cfg).Lockstep(t.Context(), cfg, 20)
			if err != nil || row.count(o) != 1 || !errors.Is(o.Err(), ErrFailed) {
				t.Errorf("got %v, %+v", err, o)
			}
		})
	}
}

func TestLockstepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cfg := Config{Depth: 16, Drain: time.Minute, Dial: liar(t, func(n int, f rpc.Frame, out []byte) []byte {
		if n < 100 {
			return rpc.AppendFrame(out, sumFrame(f, 0))
		}
		cancel()
		return out
	})}
	o, err := mustOpen(t, cfg).Lockstep(ctx, cfg, 20)
	if err != nil || !o.Partial || o.Lost == 0 {
		t.Errorf("got %v, %+v", err, o)
	}
}
