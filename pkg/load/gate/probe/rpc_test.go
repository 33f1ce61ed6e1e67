package probe

import (
	"context"
	"errors"
	"math"
	"net"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tracker/pkg/load/rpcload"
)

// whole holds a sample against what a Work promises.
func whole(t *testing.T, w []Def, s Sample) {
	t.Helper()
	if s.Ops <= 0 || s.Took <= 0 {
		t.Errorf("nothing was done: %+v", s)
	}
	for _, d := range w {
		if v, ok := s.Costs[d.Name]; !ok || !(v > 0) || math.IsInf(v, 0) {
			t.Errorf("%s is %v: %+v", d.Name, v, s)
		}
	}
	if len(s.Costs) != len(w) {
		t.Errorf("it tells %v, want %v", s.Costs, w)
	}
}

func TestCallsAreMeasuredSliceAfterSlice(t *testing.T) {
	s := start(t)
	latency := Latency()
	if _, err := latency.Open(t.Context(), s); err == nil {
		t.Error("a load was made up that nobody had tuned")
	}
	if err := latency.Tune(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, w := range []Work{RPC(), latency} {
		session, err := w.Open(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			sample, err := session.Slice(t.Context())
			if err != nil {
				t.Fatal(w.Name(), err)
			}
			whole(t, w.Defs(), sample)
			if w == latency && sample.Costs["p99"] < sample.Costs["p50"] {
				t.Errorf("the slow are faster: %v", sample.Costs)
			}
		}
		if err := errors.Join(session.Close(), session.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestTheRateIsHalfOfTheMost(t *testing.T) {
	for rate, want := range map[float64]string{0.4: "burst:1@1ms", 1500: "burst:2@1ms", 74_000: "burst:74@1ms", mostOffered: "burst:100@1ms"} {
		w := latencyWork{rate: rate}
		if got := w.plan().String(); got != want {
			t.Errorf("%v/s: %s, want %s", rate, got, want)
		}
	}
}

// near tells whether two are the same but for half of a per cent.
func near(a, b float64) bool { return math.Abs(a-b) <= 0.005*math.Abs(b) }

// What is counted has to be the same in every launch, or it is no count.
func TestWhatACallTakesIsCounted(t *testing.T) {
	var all []map[string]float64
	for range 2 {
		s := start(t)
		c, err := FixedRPC().Count(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	a, b := all[0], all[1]
	for _, d := range FixedRPC().Defs() {
		x, ok := a[d.Name]
		y, ok2 := b[d.Name]
		if !ok || !ok2 {
			t.Errorf("%s is not told: %v, %v", d.Name, a, b)
		}
		if !near(x, y) && math.Abs(x-y) > d.Absolute/2 {
			t.Errorf("%s: %v in one launch, %v in the other", d.Name, x, y)
		}
	}
	// One write for a batch, and in it a frame a call.
	if !near(a["writes"], 1.0/fixedBatch) || a["bytes"] < 20 || a["bytes"] > 100 || a["allocs"] > 0.02 {
		t.Errorf("got %v", a)
	}
}

func TestWhatAnIdleConnectionTakesIsCounted(t *testing.T) {
	c, err := FixedIdle().Count(t.Context(), start(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, within := range map[string][2]float64{"heap": {500, 20_000}, "rss": {1000, 60_000}, "stack": {1000, 20_000}, "goroutines": {0.9, 4}} {
		if v, ok := c[name]; !ok || v < within[0] || v > within[1] {
			t.Errorf("%s is %v, want something between %v", name, v, within)
		}
	}
}

// kill ends a server of the test as a crash would.
func kill(t *testing.T, s *rpcload.Own) {
	t.Helper()
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestAServerThatDiesIsGone(t *testing.T) {
	s := start(t)
	session, err := RPC().Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := session.Slice(t.Context()); err != nil {
		t.Fatal(err)
	}
	kill(t, s)
	for range 2 {
		if _, err := session.Slice(t.Context()); !errors.Is(err, ErrGone) || errors.Is(err, ErrWrong) {
			t.Errorf("a slice on a dead server: %v", err)
		}
	}
	if _, err := RPC().Open(t.Context(), s); !errors.Is(err, ErrGone) {
		t.Errorf("connecting to a dead server: %v", err)
	}
	for _, f := range []Fixed{FixedRPC(), FixedIdle()} {
		if _, err := f.Count(t.Context(), s); !errors.Is(err, ErrGone) {
			t.Errorf("%s: counting a dead server: %v", f.Name(), err)
		}
	}
	if err := Latency().Tune(t.Context(), s); !errors.Is(err, ErrGone) {
		t.Errorf("tuning with a dead server: %v", err)
	}
}

// through stands between us and a server and may change what that says.
func through(t *testing.T, s *rpcload.Own, change func(b []byte) []byte) *rpcload.Own {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	pipe := func(to, from net.Conn, change func([]byte) []byte) {
		defer context.AfterFunc(ctx, func() { _, _ = to.Close(), from.Close() })()
		defer to.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := from.Read(b)
			if err != nil {
				return
			}
			if _, err := to.Write(change(b[:n])); err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", s.Target.Addr)
			if err != nil {
				_ = near.Close()
				continue
			}
			wg.Go(func() { pipe(near, far, change) })
			wg.Go(func() { pipe(far, near, func(b []byte) []byte { return b }) })
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
	there := *s
	there.Target.Addr = l.Addr().String()
	return &there
}

// spoil changes one sum.
func spoil(now *atomic.Bool) func(b []byte) []byte {
	return func(b []byte) []byte {
		if now.CompareAndSwap(true, false) {
			b[len(b)-1] ^= 1 // an answer ends with its sum
		}
		return b
	}
}

func TestAWrongAnswerIsNeverPassed(t *testing.T) {
	s := start(t)
	latency := &latencyWork{rate: 2000}
	for _, w := range []Work{RPC(), latency} {
		t.Run(w.Name(), func(t *testing.T) {
			var lie atomic.Bool
			session, err := w.Open(t.Context(), through(t, s, spoil(&lie)))
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			if _, err := session.Slice(t.Context()); err != nil {
				t.Fatal(err)
			}
			lie.Store(true)
			_, err = session.Slice(t.Context())
			if !errors.Is(err, ErrWrong) || errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "1 were wrong") || !strings.Contains(err.Error(), "want") {
				t.Errorf("one sum of a slice was wrong: %v", err)
			}
		})
	}
	t.Run("counted", func(t *testing.T) {
		var lie atomic.Bool
		var written atomic.Int64
		liar := through(t, s, func(b []byte) []byte {
			if n := written.Add(int64(len(b))); n > 1<<20 && n-int64(len(b)) <= 1<<20 {
				lie.Store(true)
			}
			return spoil(&lie)(b)
		})
		if _, err := FixedRPC().Count(t.Context(), liar); !errors.Is(err, ErrWrong) {
			t.Errorf("one sum was wrong: %v", err)
		}
	})
}

// A server that says nothing any more ends a slice all the same.
func TestASilentServerEndsTheSlice(t *testing.T) {
	var silent atomic.Bool
	c, err := openCaller(t.Context(), through(t, start(t), func(b []byte) []byte {
		if silent.Load() {
			return nil
		}
		return b
	}), calls(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.cfg.Drain = 100 * time.Millisecond
	if _, err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	silent.Store(true)
	if _, err := c.run(t.Context()); !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), "lost") {
		t.Errorf("nothing was answered: %v", err)
	}
}

func TestWhoIsStoppedIsNotTheServersFault(t *testing.T) {
	s := start(t)
	session, err := RPC().Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = session.Slice(ctx)
	_, err2 := FixedRPC().Count(ctx, s)
	_, err3 := FixedIdle().Count(ctx, s)
	for _, err := range []error{err, err2, err3} {
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrWrong) || errors.Is(err, ErrGone) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := session.Slice(t.Context()); err != nil {
		t.Errorf("the next slice: %v", err)
	}
}

func TestAControlIsMeasuredLikeAServer(t *testing.T) {
	session, err := OpenNull(t.Context(), nullCommand(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		sample, err := session.Slice(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		whole(t, RPC().Defs()[:1], sample)
	}
	child := session.(*nullSession).child
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	if child.Alive() {
		t.Error("the server that does nothing was left behind")
	}
	if _, err := OpenNull(t.Context(), exec.Command("no-such-program-at-all")); err == nil {
		t.Error("it started")
	}
}
