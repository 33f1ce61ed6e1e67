package load

import (
	"testing"
	"time"
)

// burner is a child that does nothing but use a processor.
func burner(t *testing.T) *Child {
	t.Helper()
	c, err := StartChild(t.Context(), shell("echo ready; while :; do :; done"), "burner", isReady)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	return c
}

func TestCPUOfAnotherProcessIsFinerThanItsTicks(t *testing.T) {
	c := burner(t)
	if _, ok := cpuClock(c.PID); !ok {
		t.Skip("this system shows no clock of another process")
	}
	fine := 0
	for last := time.Duration(0); fine < 3; {
		now, ok := c.CPU()
		if !ok || now < last {
			t.Fatalf("%v, %v after %v", now, ok, last)
		}
		if now > last && now%tickOfStat != 0 && now%time.Microsecond != 0 {
			fine++
		}
		last = now
	}
}

// Both are the same quantity, and its older form says it where there is no clock.
func TestTheClockAgreesWithTheTicks(t *testing.T) {
	c := burner(t)
	for {
		first, ok := cpuClock(c.PID)
		if !ok {
			t.Skip("this system shows no clock of another process")
		}
		ticks, ok := c.cpuStat()
		second, _ := cpuClock(c.PID)
		if !ok {
			t.Fatal("no ticks")
		}
		const slack = 2 * tickOfStat // user and system are rounded each, and the scheduler's tick
		if ticks < first-slack || ticks > second+slack {
			t.Fatalf("ticks tell %v, the clock %v before and %v after", ticks, first, second)
		}
		if first > 5*tickOfStat {
			return
		}
	}
}

func TestNoProcessHasNoClock(t *testing.T) {
	for _, pid := range []int{0, -1, 1 << 30, 1<<29 - 1, mostPID} {
		if d, ok := cpuClock(pid); ok {
			t.Errorf("process %d used %v", pid, d)
		}
	}
}

func TestAProcessThatEndedHasNoClock(t *testing.T) {
	c := burner(t)
	p := c.Process
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if d, ok := p.CPU(); ok {
		t.Errorf("it used %v", d)
	}
}
