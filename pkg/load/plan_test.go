package load

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tracker/pkg/track"
)

func TestPlanSaysWhenSendsAreDue(t *testing.T) {
	for _, tc := range []struct {
		plan string
		at   time.Duration
		due  int64 // how many by then
	}{
		{"10", 0, 1},
		{"10", 99 * time.Millisecond, 1},
		{"10", 100 * time.Millisecond, 2},
		{"2.5k/s", time.Second, 2501},
		{"0.5", 2 * time.Second, 2},
		{"10:20:10s", 10 * time.Second, 151}, // mean 15/s
		{"10:20:10s", 11 * time.Second, 171}, // then 20/s for ever
		{"20:10:10s", 5 * time.Second, 88},   // 20·5 − 0.5·25 = 87.5
		{"1@10s,100@1s", 10 * time.Second, 11},
		{"1@10s,100@1s", 11 * time.Second, 111},
		{"1@10s,100@1s", 12 * time.Second, 211},
		{"10", -time.Second, 0},
	} {
		p, err := ParsePlan(tc.plan)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Due(tc.at); got != tc.due {
			t.Errorf("%s: %d due at %v, want %d", tc.plan, got, tc.at, tc.due)
		}
	}
}

func TestPlanDueAndWhenAgree(t *testing.T) {
	for _, s := range []string{"1", "333", "97k", "1k:10k:3s", "10k:10:3s", "100@1s,7@2s,3k@1s"} {
		p, err := ParsePlan(s)
		if err != nil {
			t.Fatal(err)
		}
		last := time.Duration(-1)
		for k := int64(0); k < 20_000; k++ {
			at := p.When(k)
			if at < last {
				t.Fatalf("%s: send %d is due at %v, before the one at %v", s, k, at, last)
			}
			last = at
			if due := p.Due(at + time.Microsecond); due < k+1 {
				t.Fatalf("%s: send %d is due at %v, but only %d are due then", s, k, at, due)
			}
			if due := p.Due(at - time.Microsecond); due > k+1 && p.Peak() < 1e5 {
				t.Fatalf("%s: just before send %d at %v, %d are due", s, k, at, due)
			}
		}
	}
}

func TestPlanPeak(t *testing.T) {
	for s, want := range map[string]float64{"5": 5, "1k:10k:30s": 10_000, "1k@10s,200@10s": 1000} {
		if p, err := ParsePlan(s); err != nil || p.Peak() != want {
			t.Errorf("%s: peak %v, %v; want %v", s, p.Peak(), err, want)
		}
	}
}

func TestPlanRefusesNonsense(t *testing.T) {
	for _, s := range []string{"", "0", "-1", "x", "1e99", "NaN", "1:2", "1:2:x", "1:2:-3s", "1@", "1@0s", "1@1s,", "0@1s"} {
		if _, err := ParsePlan(s); !errors.Is(err, track.ErrInvalid) || !strings.Contains(err.Error(), "want 100") {
			t.Errorf("%q: got %v", s, err)
		}
	}
}

// stepper is a clock that only moves when somebody sleeps.
type stepper struct {
	at   time.Time
	over time.Duration // each sleep is that much too long
	naps int
}

func (s *stepper) pacer(plan string, end time.Duration) *Pacer {
	pl, _ := ParsePlan(plan)
	p := &Pacer{Plan: pl, End: end, now: func() time.Time { return s.at }, sleep: func(d time.Duration) {
		s.naps++
		s.at = s.at.Add(d + s.over)
	}}
	p.Start(s.at)
	return p
}

func TestPacerHandsOutEverySendOnce(t *testing.T) {
	for _, over := range []time.Duration{0, 60 * time.Microsecond, 3 * time.Millisecond, 300 * time.Millisecond} {
		clock := &stepper{at: time.Unix(1000, 0), over: over}
		p := clock.pacer("10k", time.Second)
		next := int64(0)
		for {
			from, to, ok := p.Wait(context.Background())
			if !ok {
				break
			}
			if from != next || to <= from {
				t.Fatalf("handed out %d..%d after %d", from, to, next)
			}
			if now := clock.at; p.Intended(to - 1).After(now.Add(time.Microsecond)) {
				t.Fatalf("send %d went out %v early", to-1, p.Intended(to-1).Sub(now))
			}
			next = to
		}
		if next != 10_000 || p.Planned() != 10_000 {
			t.Errorf("overshoot %v: %d sends of %d planned, want 10000", over, next, p.Planned())
		}
		if clock.naps > 1100 {
			t.Errorf("%d naps for a thousand milliseconds", clock.naps)
		}
	}
}

func TestPacerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	clock := &stepper{at: time.Unix(1000, 0)}
	p := clock.pacer("1", 0)
	if from, to, ok := p.Wait(ctx); from != 0 || to != 1 || !ok {
		t.Fatalf("got %d..%d %v", from, to, ok)
	}
	cancel()
	if _, _, ok := p.Wait(ctx); ok {
		t.Error("handed out a send after the end")
	}
}

func TestPacerSleepsInTheKernelByDefault(t *testing.T) {
	p := &Pacer{Plan: Constant(1000), End: 20 * time.Millisecond}
	p.Start(time.Now())
	n := int64(0)
	for {
		from, to, ok := p.Wait(context.Background())
		if !ok {
			break
		}
		n += to - from
	}
	if n != 20 {
		t.Errorf("%d sends in 20 ms at 1000/s, want 20", n)
	}
}

func TestBurstsAreDueAtOnce(t *testing.T) {
	p, err := ParsePlan("burst:500@2s")
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]int64{0: 500, 1999 * time.Millisecond: 500, 2 * time.Second: 1000} {
		if got := p.Due(at); got != want {
			t.Errorf("%d due at %v, want %d", got, at, want)
		}
	}
	if p.When(499) != 0 || p.When(500) != 2*time.Second || p.Peak() != 250 || !p.Bursty() || !p.Steady() {
		t.Errorf("got %v %v %v", p.When(499), p.When(500), p.Peak())
	}
	pacer := Pacer{Plan: p, End: 6 * time.Second}
	if pacer.Planned() != 1500 {
		t.Errorf("%d planned in six seconds, want 1500", pacer.Planned())
	}
	for _, s := range []string{"burst:", "burst:0@1s", "burst:1.5@1s", "burst:5@0s", "burst:5@-1s", "burst:nan@1s", "burst:5"} {
		if _, err := ParsePlan(s); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%s: got %v", s, err)
		}
	}
}

func TestAPlanIsNamedByWhatItDoes(t *testing.T) {
	parse := func(s string) Plan {
		p, err := ParsePlan(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	name := parse("1k").SHA256(7, time.Second, "ingest devices 100")
	// The same on every machine: the name is in results that are compared.
	if want := "8ae685eb00be68b1"; len(name) != 64 || name[:16] != want {
		t.Errorf("the plan is called %s, want %s…", name, want)
	}
	if again := parse("1000/s").SHA256(7, time.Second, "ingest devices 100"); again != name {
		t.Error("the same plan in other words has another name")
	}
	for what, other := range map[string]string{
		"seed": parse("1k").SHA256(8, time.Second, "ingest devices 100"), "length": parse("1k").SHA256(7, 2*time.Second, "ingest devices 100"),
		"rate": parse("2k").SHA256(7, time.Second, "ingest devices 100"), "shape": parse("1k").SHA256(7, time.Second, "ingest devices 200"),
	} {
		if other == name {
			t.Errorf("another %s has the same name", what)
		}
	}
}

// A warm-up must not eat the beginning of a plan that changes its rate.
func TestAWarmupComesBeforeThePlan(t *testing.T) {
	for _, text := range []string{"100", "10:100:5s", "10@2s,50@2s"} {
		plan, err := ParsePlan(text)
		if err != nil {
			t.Fatal(err)
		}
		const warmup = 2 * time.Second
		warmed := plan.After(warmup)
		skip := int64(20) // at the first rate
		if text == "100" {
			skip = 200
		}
		for k := range int64(50) {
			if got, want := warmed.When(skip+k)-warmup, plan.When(k); (got - want).Abs() > time.Microsecond {
				t.Errorf("%s: send %d is due at %v, want %v", text, k, got, want)
			}
		}
	}
}
