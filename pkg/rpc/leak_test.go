package rpc

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// goroutines lists the stacks of all others, by what begins them: "goroutine 7".
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := map[string]string{}
	for _, g := range strings.Split(string(buf), "\n\n")[1:] { // the first is the caller
		id, stack, _ := strings.Cut(g, " [")
		all[id] = stack
	}
	return all
}

// checkNoGoroutines fails a test that leaves a goroutine of any kind. Call it first:
// what the test cleans up is then done before it looks.
func checkNoGoroutines(tb testing.TB) {
	tb.Helper()
	before := goroutines()
	tb.Cleanup(func() {
		var left map[string]string
		for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
			left = goroutines()
			for id := range before {
				delete(left, id)
			}
			if len(left) == 0 {
				return
			}
		}
		for id, stack := range left {
			tb.Errorf("%s is left [%s", id, stack)
		}
	})
}

// checkNothingLeft fails when a server without connections still knows of some.
func checkNothingLeft(tb testing.TB, s *Server) {
	tb.Helper()
	if s := s.Stats(); s.Conns != 0 || s.Inflight != 0 || s.Subs != 0 {
		tb.Errorf("left behind: %d connections, %d requests, %d subscriptions", s.Conns, s.Inflight, s.Subs)
	}
	if len(s.unknown) != 0 {
		tb.Errorf("left in the handshake: %v", s.unknown)
	}
	p := &s.pool
	if p.n != 0 || len(p.flushes) != 0 || len(p.idle) != 0 {
		tb.Errorf("left in the pool: %d requests, %d connections, %d workers", p.n, len(p.flushes), len(p.idle))
	}
	for i, r := range p.jobs {
		if r != nil {
			tb.Errorf("left in the queue at %d", i)
		}
	}
	for i, r := range s.wheel.slots {
		if r != nil {
			tb.Errorf("left in the wheel at %d", i)
		}
	}
	for i := range s.lanes.shards {
		if n := len(s.lanes.shards[i].last); n != 0 {
			tb.Errorf("%d lanes left in shard %d", n, i)
		}
	}
}
