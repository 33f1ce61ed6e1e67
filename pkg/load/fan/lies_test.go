package fan

import (
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/load"
)

// An update that a server holds back and then tells in a resync was late all the same.
func TestAStallBehindAResyncIsInTheLatency(t *testing.T) {
	bothWays(t, func(t *testing.T, how Transport) {
		const n, m = 4, 6
		f := newFake(t, func(_, _ int, u update) []update {
			u.skipped = 1
			return []update{u}
		})
		res := mustRun(t, rounds(f, how, n, m, 10*time.Millisecond))
		if res.Failure != nil {
			t.Fatalf("got %+v", res.Failure)
		}
		if got := res.Latency["response"].N; got != n*n*m {
			t.Errorf("%d of %d deliveries are in the latency", got, n*n*m)
		}
	})
}

func TestSlowViewerThatEndsWrong(t *testing.T) {
	bothWays(t, func(t *testing.T, how Transport) {
		var first update
		f := newFake(t, func(to, k int, u update) []update {
			switch {
			case to == 9 && k == 0:
				first = u
			case to == 9 && u.Device == first.Device: // only its first is ever told
				first.skipped = 1
				return []update{first}
			}
			return []update{u}
		})
		cfg := rounds(f, how, 10, 10, 20*time.Millisecond)
		cfg.Slow, cfg.Dialers = Slow{0.1, 10 * time.Millisecond}, 1
		res := mustRun(t, cfg)
		if res.Failure == nil || !strings.Contains(res.Failure.Text, "1 slow viewers with a wrong final state") {
			t.Errorf("got %+v", res.Failure)
		}
	})
}

// A server may answer a sign of life before it makes the resync for who reads late.
func TestSlowViewerIsWaitedFor(t *testing.T) {
	const n, m = 10, 10
	f := newFake(t, func(to, k int, u update) []update {
		if to == 9 && k >= n {
			return nil
		}
		return []update{u}
	})
	pongs := 0
	f.ponged = func(nc net.Conn) {
		f.mu.Lock()
		defer f.mu.Unlock()
		v := f.viewers[9]
		if v.nc != nc {
			return
		}
		if pongs++; pongs == 2 {
			skipped := uint64(n*m - n)
			v.at += skipped
			time.AfterFunc(20*time.Millisecond, func() { v.send("resync", slices.Collect(maps.Values(f.newest)), skipped) })
		}
	}
	cfg := rounds(f, RPC, n, m, 20*time.Millisecond)
	cfg.Slow, cfg.Dialers, cfg.Drain = Slow{0.1, time.Millisecond}, 1, 10*time.Second
	if res := mustRun(t, cfg); res.Failure != nil {
		t.Errorf("got %+v", res.Failure)
	}
}

// A server that throws out who reads late has not accounted for anything.
func TestSlowViewerThatIsThrownOut(t *testing.T) {
	f := newFake(t, nil)
	f.lie = func(to, k int, u update) []update {
		if to == 9 && k == 50 {
			f.viewers[9].nc.Close()
		}
		return []update{u}
	}
	cfg := rounds(f, RPC, 10, 10, 20*time.Millisecond)
	cfg.Slow, cfg.Dialers = Slow{0.1, 10 * time.Millisecond}, 1
	cfg.Together = false
	cfg.Reports = f.dialer(RPC)
	res := mustRun(t, cfg)
	if res.Failure == nil || res.Failure.Kind != load.Incorrect || !strings.Contains(res.Failure.Text, "1 viewers whose connection ended") {
		t.Errorf("got %+v", res.Failure)
	}
}

// Who delivers everything, and never says so to who sent it, has not done what was asked.
func TestReportsThatAreNeverAnswered(t *testing.T) {
	bothWays(t, func(t *testing.T, how Transport) {
		f := newFake(t, nil)
		f.mute = true
		res := mustRun(t, rounds(f, how, 3, 4, 10*time.Millisecond))
		if res.Failure == nil || !strings.Contains(res.Failure.Text, "12 reports never answered") {
			t.Errorf("got %+v", res.Failure)
		}
	})
}

// Of who comes later everything has to follow from the snapshot.
func TestVisitorsThatAreToldWrongThings(t *testing.T) {
	lies := map[string]func(k int, u update) []update{
		"what nobody sent": func(_ int, u update) []update { u.Lon += 5 << 21; return []update{u} },
		"a gap": func(k int, u update) []update {
			if k < 4 { // a round of all senders
				return nil
			}
			return []update{u}
		},
		"twice": func(_ int, u update) []update { return []update{u, u} },
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(to, k int, u update) []update {
				if to < 4 {
					return []update{u}
				}
				return lie(k, u)
			})
			cfg := rounds(f, RPC, 4, 30, 20*time.Millisecond)
			cfg.Churn, cfg.Dialers = 5, 1
			res := mustRun(t, cfg)
			if res.Failure == nil || !strings.Contains(res.Failure.Text, "visits") {
				t.Errorf("got %+v", res.Failure)
			}
		})
	}
}

func TestVisitorsWhoseSnapshotLacksSomebody(t *testing.T) {
	f := newFake(t, nil)
	f.bare = true
	cfg := rounds(f, RPC, 4, 30, 20*time.Millisecond)
	cfg.Churn = 5
	res := mustRun(t, cfg)
	if res.Failure == nil || !strings.Contains(res.Failure.Text, "did not follow the snapshot") {
		t.Errorf("got %+v", res.Failure)
	}
}
