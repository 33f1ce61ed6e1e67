package fleet

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/tuitest"
)

// convoy is devices that report every second by the server's clock, which nobody sets.
type convoy struct {
	s     *Store
	mine  *tuitest.Clock // of the store
	truth time.Time
	frame Frame
	fixes []client.Fix
}

func newConvoy(n int) *convoy {
	s, c := clockedStore()
	v := &convoy{s: s, mine: c, truth: c.At, fixes: make([]client.Fix, n)}
	s.SetLink(Live, "")
	v.run(3 * time.Minute)
	return v
}

// run lets time pass, in which all report but those of the first few that are mute.
func (v *convoy) run(d time.Duration) { v.without(0, d) }

func (v *convoy) without(mute int, d time.Duration) {
	for range d / time.Second {
		v.mine.Advance(time.Second)
		v.truth = v.truth.Add(time.Second)
		for i := range v.fixes {
			v.fixes[i] = fixOf(track.DeviceID(i+1), fmt.Sprint("van", i), v.truth, 48, 11)
		}
		v.s.Apply(v.fixes[mute:])
		v.frame.Refresh(v.s, nil)
	}
}

// sleeps lets time pass in which nothing runs here.
func (v *convoy) sleeps(d time.Duration) {
	v.mine.Advance(d)
	v.truth = v.truth.Add(d)
	v.frame.Refresh(v.s, nil)
}

// set sets the clock here.
func (v *convoy) set(by time.Duration) {
	v.mine.Advance(by)
	v.frame.Refresh(v.s, nil)
}

func (v *convoy) lag() time.Duration { return v.s.Status().Lag }

func TestSleepIsNoSilenceOfTheDevices(t *testing.T) {
	v := newConvoy(30)
	v.sleeps(time.Hour)
	if v.frame.Counts[filter.Lost] != 30 {
		t.Errorf("counts %v: of an hour nothing is known", v.frame.Counts)
	}
	v.run(5 * time.Minute)
	wantLines(t, v.s.Events())
	if v.frame.Counts[filter.Lost] != 0 {
		t.Errorf("counts %v after all have reported", v.frame.Counts)
	}
	// Who does not come back is missed in the end, once.
	v.sleeps(time.Hour)
	v.without(1, 119*time.Second)
	wantLines(t, v.s.Events())
	v.without(1, 2*time.Minute)
	wantLines(t, v.s.Events(), "silent: van0 lost, silent for 62m, usually every 1.5s")
}

func TestBacklogOfASleepIsNoLagForEver(t *testing.T) {
	v := newConvoy(3)
	v.sleeps(time.Hour)
	for range 30 { // what was on its way all the time
		v.s.Apply([]client.Fix{fixOf(1, "van0", v.truth.Add(-time.Hour), 48, 11)})
	}
	v.run(20 * time.Second)
	if got := v.lag(); got >= 2*time.Second {
		t.Errorf("lag %v long after the backlog", got)
	}
}

func TestClockThatIsSetForwardAndBack(t *testing.T) {
	v := newConvoy(30)
	for round := range 10 {
		v.set(time.Hour)
		v.run(30 * time.Second)
		if got := v.lag(); got >= 2*time.Second {
			t.Fatalf("round %d: with the clock ahead a lag of %v", round, got)
		}
		v.set(-time.Hour)
		v.run(time.Second)
		if got := v.lag(); got >= 2*time.Second {
			t.Fatalf("round %d: a lag of %v when the clock is right again", round, got)
		}
		if got := v.frame.Counts; got[filter.Idle] != 30 {
			t.Fatalf("round %d: counts %v, want 30 idle", round, got)
		}
	}
	wantLines(t, v.s.Events())
	// What was heard while the clock was ahead is as old as it is.
	v.set(time.Hour)
	v.run(time.Second)
	v.set(-time.Hour)
	v.without(30, 3*time.Minute)
	if got := v.frame.Counts; got[filter.Stale] != 30 {
		t.Errorf("counts %v three minutes after the last fix, want 30 stale", got)
	}
}

func TestAlarmOfAClockThatWasAheadIsOver(t *testing.T) {
	v := newConvoy(1)
	v.set(time.Hour)
	sos := fixOf(1, "van0", v.truth.Add(time.Millisecond), 48, 11)
	sos.Event = "sos"
	v.s.Apply([]client.Fix{sos})
	v.set(-time.Hour)
	if v.frame.Counts[filter.Alert] != 1 {
		t.Errorf("counts %v, want the alert", v.frame.Counts)
	}
	v.run(filter.AlarmFor + 2*time.Second)
	if v.frame.Counts[filter.Alert] != 0 {
		t.Errorf("counts %v: the alert stands as long as the clock was ahead", v.frame.Counts)
	}
}

func TestSeldomEventsAreNoStormWhenTheClockWasSetBack(t *testing.T) {
	s, c := clockedStore()
	s.Events().Add(Event{At: c.At, Kind: Jump, Name: "first"})
	c.Advance(-time.Hour)
	for i := range stormFrom + 5 {
		c.Advance(time.Minute)
		s.Events().Add(Event{At: c.At, Kind: Jump, Name: fmt.Sprint(i)})
	}
	if got := lines(s.Events()); len(got) != stormFrom+6 {
		t.Errorf("%d lines, want %d", len(got), stormFrom+6)
	}
}

func TestLagIsForgottenWithTheFixesThatHadIt(t *testing.T) {
	s, c := clockedStore()
	late := func() { s.Apply([]client.Fix{fixOf(1, "a", c.At.Add(-5*time.Second), 1, 1)}) }
	late()
	c.Advance(lagOver - time.Second)
	if got := s.Status().Lag; got != 5*time.Second {
		t.Errorf("lag %v, want 5s", got)
	}
	c.Advance(time.Second)
	if got := s.Status().Lag; got != 0 {
		t.Errorf("lag %v of a minute ago", got)
	}
	late()
	c.Advance(lagBreak)
	s.Apply([]client.Fix{fixOf(1, "a", c.At, 1, 1)})
	if got := s.Status().Lag; got != 0 {
		t.Errorf("lag %v after a fix in time, the first for long", got)
	}
}

func TestAServerThatWasRestartedIsSaid(t *testing.T) {
	s, c := clockedStore()
	whole := &client.Event{Kind: client.Snapshot, First: true, Fixes: []client.Fix{fixOf(1, "a", c.At, 1, 1)}}
	goes := func(why error) {
		s.Take(&client.Event{Kind: client.Disconnected, Err: why, RetryIn: 1250 * time.Millisecond})
		c.Advance(3 * time.Second)
	}
	s.Take(whole)
	goes(fmt.Errorf("cannot reach x: %w", fmt.Errorf("connect: %w", syscall.ECONNREFUSED)))
	if got := s.Status().Link; got.Why != "cannot reach x: connect: connection refused" || !got.Again.Equal(epoch.Add(1250*time.Millisecond)) {
		t.Errorf("%+v", got)
	}
	s.Take(whole)
	if got := s.Status().Link; got.Note+got.Why != "" || !got.Again.IsZero() {
		t.Errorf("%+v", got)
	}
	goes(fmt.Errorf("reset"))
	s.Take(whole)
	wantLines(t, s.Events(),
		"disconnected: cannot reach x: connect: connection refused", "resumed: live again after 3.0s, the server was restarted, seen anew",
		"disconnected: reset", "resumed: live again after 3.0s, seen anew")
	if got := len(s.Trail(nil, s.Find(1), 9)); got != 1 {
		t.Errorf("a trail of %d crumbs of a device that stood still", got)
	}
}
