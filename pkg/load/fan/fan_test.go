package fan

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/leaktest"
	"tracker/pkg/track"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// someDevices are such that no server has to know.
func someDevices(n int) (out []Device) {
	for i := range n {
		out = append(out, Device{ID: track.DeviceID(0xa00000000000 + 7919*i), Name: fmt.Sprintf("marauder-%06d", i+1)})
	}
	return out
}

func rounds(f *fake, t Transport, n, m int, every time.Duration) Config {
	return Config{
		Scenario: "marauder", Version: "test", Plan: Rounds(n, m, every, Uniform, Schedule, 7), Devices: someDevices(n),
		Viewers: f.dialer(t), N: n, Together: true, Drain: 200 * time.Millisecond,
	}
}

func mustRun(t *testing.T, cfg Config) *load.Result {
	t.Helper()
	res, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func bothWays(t *testing.T, test func(t *testing.T, how Transport)) {
	for _, how := range []Transport{RPC, WS} {
		t.Run(how.String(), func(t *testing.T) { test(t, how) })
	}
}

func TestEverythingArrives(t *testing.T) {
	bothWays(t, func(t *testing.T, how Transport) {
		f := newFake(t, nil)
		cfg := rounds(f, how, 50, 20, 50*time.Millisecond)
		cfg.Drain = 20 * time.Second
		var ready Ready
		ticks, glances := 0, 0
		cfg.OnGlance = func(load.Tick) { glances++ }
		cfg.OnReady = func(r Ready) { ready = r }
		cfg.OnTick = func(load.Tick) { ticks++ }
		cfg.Interval = 300 * time.Millisecond
		res := mustRun(t, cfg)
		if res.Failure != nil || res.Partial {
			t.Fatalf("got %+v, partial %v", res.Failure, res.Partial)
		}
		c := &res.Counts
		want := load.Deliveries{Expected: 50_000, Received: 50_000, Frames: c.Deliveries.Frames}
		if d := *c.Deliveries; fmt.Sprint(d) != fmt.Sprint(want) {
			t.Errorf("got %+v, want %+v", d, want)
		}
		if c.Planned != 1000 || c.Sent != 1000 || c.Accepted != 1000 || len(c.Errors) != 0 {
			t.Errorf("got %+v", c)
		}
		if k := res.Consistency; k.Clients != 50 || k.Agree != 50 || k.State != k.Planned {
			t.Errorf("got %+v", k)
		}
		for key, n := range map[string]int64{"response": 50_000, "service": 50_000, "send_lag": 1000, "connect": 50} {
			if got := res.Latency[key].N; got != n {
				t.Errorf("%d times of %s, want %d", got, key, n)
			}
		}
		if ready.Viewers != 50 || ticks < 3 || len(res.Intervals) != ticks || glances == 0 {
			t.Errorf("ready %+v, %d ticks, %d intervals", ready, ticks, len(res.Intervals))
		}
		if r := res.Rates["elapsed_ratio"]; r < 0.9 {
			t.Errorf("elapsed %v of the ideal", r)
		}
	})
}

// held keeps back one update of each viewer in the making of a fault.
type held map[int]*update

func TestFaultsAreNamed(t *testing.T) {
	const n, m = 6, 8
	devices := someDevices(n)
	plan := Rounds(n, m, 10*time.Millisecond, Uniform, Schedule, 7)
	turnOf := func(id track.DeviceID) int {
		for turn, d := range plan.devices {
			if devices[d].ID == id {
				return turn
			}
		}
		t.Errorf("device %v", id)
		return 0
	}
	is := func(u update, device int, seq uint32) bool {
		got, _ := plan.places.seq(turnOf(u.Device), u.Lat, u.Lon)
		return u.Device == devices[device].ID && got == seq
	}
	const sender = 2
	cases := map[string]struct {
		lie    func() fault
		text   string // in the failure
		pair   bool   // names the sender, and one receiver
		verify func(t *testing.T, res *load.Result)
	}{
		"loses one": {
			lie: func() fault {
				return func(to, _ int, u update) []update {
					if to == 3 && is(u, sender, 4) {
						return nil
					}
					return []update{u}
				}
			},
			text: "1 lost", pair: true,
			verify: func(t *testing.T, res *load.Result) {
				if d := res.Counts.Deliveries; d.Lost != 1 || d.Conflated != 0 || res.Consistency.Agree != n {
					t.Errorf("got %+v, %+v", d, res.Consistency)
				}
			},
		},
		"loses the last": {
			lie: func() fault {
				return func(to, _ int, u update) []update {
					if to == 3 && is(u, sender, m-1) {
						return nil
					}
					return []update{u}
				}
			},
			text: "1 lost, 1 clients with a wrong final state", pair: true,
		},
		"doubles": {
			lie: func() fault {
				return func(to, _ int, u update) []update {
					if to == 3 && is(u, sender, 4) {
						return []update{u, u}
					}
					return []update{u}
				}
			},
			text: "1 duplicate", pair: true,
		},
		"doubles the last": {
			lie: func() fault {
				return func(to, k int, u update) []update {
					if to == 3 && k == n*m-1 {
						return []update{u, u}
					}
					return []update{u}
				}
			},
			text: "1 duplicate",
		},
		"reorders": {
			lie: func() fault {
				back := held{}
				return func(to, _ int, u update) []update {
					if to == 3 && is(u, sender, 4) {
						back[to] = &u
						return nil
					}
					if old := back[to]; old != nil && old.Device == u.Device {
						back[to] = nil
						return []update{u, *old}
					}
					return []update{u}
				}
			},
			text: "1 out of order", pair: true,
		},
		"conflates": {
			lie: func() fault {
				back := held{}
				return func(to, _ int, u update) []update {
					switch old := back[to]; {
					case to == 3 && is(u, sender, 4):
						back[to] = &u
						return nil
					case old != nil && old.Device == u.Device:
						back[to] = nil
						u.skipped = 2
					}
					return []update{u}
				}
			},
			text: "1 conflated", pair: true,
			verify: func(t *testing.T, res *load.Result) {
				if d := res.Counts.Deliveries; d.Lost != 0 || d.Conflated != 1 || res.Consistency.Agree != n || !strings.Contains(res.Failure.Hint, "skipped") {
					t.Errorf("got %+v, %+v, %+v", d, res.Consistency, res.Failure)
				}
			},
		},
		"conflates and does not say so": {
			lie: func() fault {
				return func(_, _ int, u update) []update {
					if seq, _ := plan.places.seq(turnOf(u.Device), u.Lat, u.Lon); seq%2 == 0 {
						return nil
					}
					return []update{u}
				}
			},
			text: fmt.Sprintf("%d lost", n*n*m/2),
			verify: func(t *testing.T, res *load.Result) {
				if res.Consistency.Agree != n || !strings.Contains(res.Failure.Hint, "conflates") || len(res.Consistency.Mismatches) != mostPairs {
					t.Errorf("got %+v, %+v", res.Consistency, res.Failure)
				}
			},
		},
		"disagrees": {
			lie: func() fault {
				return func(to, _ int, u update) []update {
					if to == 3 && is(u, sender, m-1) {
						u.Lon += 5
					}
					return []update{u}
				}
			},
			text: "1 clients with a wrong final state", pair: true,
		},
		"agrees on what is wrong": {
			lie: func() fault {
				return func(_, _ int, u update) []update {
					if is(u, sender, m-1) {
						u.Lat -= 3
					}
					return []update{u}
				}
			},
			text: fmt.Sprintf("%d clients with a wrong final state", n),
			verify: func(t *testing.T, res *load.Result) {
				if k := res.Consistency; k.Agree != 0 || k.State == k.Planned {
					t.Errorf("got %+v", k)
				}
			},
		},
		"shows the past again": {
			lie: func() fault {
				var first update
				return func(to, k int, u update) []update {
					if to == 3 && k == 0 {
						first = u
					}
					if to == 3 && k == n*m-1 {
						return []update{u, first}
					}
					return []update{u}
				}
			},
			text: "1 duplicate, 1 clients with a wrong final state",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, how Transport) {
				f := newFake(t, c.lie())
				cfg := rounds(f, how, n, m, 10*time.Millisecond)
				cfg.Dialers = 1 // so that viewers join in their order
				res := mustRun(t, cfg)
				if res.Failure == nil || res.Failure.Kind != load.Incorrect || !strings.Contains(res.Failure.Text, c.text) {
					t.Fatalf("got %+v, want %q", res.Failure, c.text)
				}
				if text := res.Failure.Text; c.pair && (!strings.Contains(text, devices[3].Name) || !strings.Contains(text, devices[sender].Name)) {
					t.Errorf("%q does not name %s and %s", text, devices[3].Name, devices[sender].Name)
				}
				if c.verify != nil {
					c.verify(t, res)
				}
			})
		})
	}
}

func TestServerThatDies(t *testing.T) {
	bothWays(t, func(t *testing.T, how Transport) {
		f := newFake(t, nil)
		f.after = 40
		res := mustRun(t, rounds(f, how, 8, 500, 50*time.Millisecond))
		if !res.Partial || res.Failure == nil || res.Failure.Kind != load.TargetGone {
			t.Fatalf("got %+v, partial %v", res.Failure, res.Partial)
		}
		if res.Counts.Sent >= res.Counts.Planned || res.Counts.Errors["unsent"] == 0 {
			t.Errorf("got %+v", res.Counts)
		}
	})
}

func TestInterruptedRunTellsWhatWasUntilThen(t *testing.T) {
	f := newFake(t, nil)
	cfg := rounds(f, RPC, 5, 10_000, 20*time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cfg.Interval = 50 * time.Millisecond
	cfg.OnTick = func(tick load.Tick) {
		if tick.Sent > 0 {
			stop()
		}
	}
	res, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if d := res.Counts.Deliveries; !res.Partial || res.Failure != nil || d.Received != d.Expected || d.Received == 0 {
		t.Errorf("partial %v, %+v, %+v", res.Partial, res.Failure, d)
	}
}

func TestNobodyThere(t *testing.T) {
	f := newFake(t, nil)
	cfg := rounds(f, WS, 3, 2, time.Millisecond)
	f.die()
	if _, err := Run(t.Context(), cfg); err == nil {
		t.Error("it ran")
	}
}

func TestFanoutBesidePublishers(t *testing.T) {
	bothWays(t, func(t *testing.T, how Transport) {
		f := newFake(t, nil)
		cfg := Config{
			Scenario: "fanout", Version: "test", Plan: AtRate(3, load.Constant(200), time.Second, 3), Devices: someDevices(3),
			Viewers: f.dialer(how), Reports: f.dialer(RPC), N: 10, Warmup: 300 * time.Millisecond,
		}
		res := mustRun(t, cfg)
		if res.Failure != nil {
			t.Fatalf("got %+v", res.Failure)
		}
		if c := &res.Counts; c.Planned != 140 || c.Sent != 140 || c.Deliveries.Received != 1400 || res.Latency["response"].N != 1400 {
			t.Errorf("got %+v, %+v, %d times", c, c.Deliveries, res.Latency["response"].N)
		}
		if res.WarmupNS != int64(300*time.Millisecond) {
			t.Errorf("warm-up of %v", time.Duration(res.WarmupNS))
		}
	})
}

func TestSleepingSendersDriftAndBurstsDoNot(t *testing.T) {
	for name, plan := range map[string]*Plan{
		"sleep": Rounds(10, 10, 20*time.Millisecond, Uniform, Sleep, 1),
		"burst": Rounds(10, 10, 20*time.Millisecond, Burst, Schedule, 1),
		"both":  Rounds(10, 10, 20*time.Millisecond, Burst, Sleep, 1),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, nil)
			cfg := rounds(f, RPC, 10, 10, 20*time.Millisecond)
			cfg.Plan, cfg.Drain = plan, 20*time.Second
			res := mustRun(t, cfg)
			if res.Failure != nil || res.Counts.Deliveries.Received != 1000 {
				t.Errorf("got %+v, %+v", res.Failure, res.Counts.Deliveries)
			}
			if took := time.Duration(res.DurationNS); took < 180*time.Millisecond {
				t.Errorf("ten rounds of 20ms took %v", took)
			}
		})
	}
}

func TestChurnAndSlowViewersAccount(t *testing.T) {
	bothWays(t, func(t *testing.T, how Transport) {
		f := newFake(t, nil)
		cfg := rounds(f, how, 10, 40, 20*time.Millisecond)
		cfg.Slow, cfg.Churn, cfg.Drain = Slow{0.2, 50 * time.Millisecond}, 20, 20*time.Second
		res := mustRun(t, cfg)
		if res.Failure != nil {
			t.Fatalf("got %+v", res.Failure)
		}
		churned := res.Findings["churn"].(map[string]any)
		if churned["visits"].(int64) < 5 || res.Latency["rejoin"].N < 5 || res.Consistency.Clients != 8 {
			t.Errorf("got %+v, %+v", res.Findings, res.Consistency)
		}
	})
}

func TestSlowViewerThatMissesSomething(t *testing.T) {
	f := newFake(t, func(to, k int, u update) []update {
		if to == 9 && k == 50 {
			return nil
		}
		return []update{u}
	})
	cfg := rounds(f, RPC, 10, 10, 20*time.Millisecond)
	cfg.Slow, cfg.Dialers = Slow{0.1, 10 * time.Millisecond}, 1
	res := mustRun(t, cfg)
	if res.Failure == nil || !strings.Contains(res.Failure.Text, "1 neither delivered to a slow viewer") {
		t.Errorf("got %+v", res.Failure)
	}
}
