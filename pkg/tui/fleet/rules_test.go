package fleet

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/tuitest"
)

// apply gives the store a fix of a device at its own time, changed by edit.
func apply(s *Store, id track.DeviceID, name string, edit func(*client.Fix)) {
	f := fixOf(id, name, s.Now(), 48, 11)
	if edit != nil {
		edit(&f)
	}
	s.Apply([]client.Fix{f})
}

func battery(percent int) func(*client.Fix) {
	return func(f *client.Fix) { f.Has, f.Battery = f.Has|track.HasBat, percent }
}

func reports(event string) func(*client.Fix) {
	return func(f *client.Fix) { f.Event = event }
}

// The clock of a store without one is the wall's, which here is that of the bubble.
func TestSilentLostAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		s.Snapshot([]client.Fix{fixOf(1, "van", s.Now(), 48, 11), fixOf(2, "once", s.Now(), 48, 11)}, true, false)
		time.Sleep(30 * time.Second)
		apply(s, 1, "van", nil)
		var f Frame
		wait := func(d time.Duration) {
			for range d / time.Second {
				time.Sleep(time.Second)
				f.Refresh(s, nil)
			}
		}
		wait(2*time.Minute - time.Second)
		wantLines(t, s.Events())
		wait(time.Minute)
		silent := s.Events().Since(nil, 0)
		wantLines(t, s.Events(), "silent: van silent for 2m, usually every 30s")
		version := s.Events().Version()
		wait(13 * time.Minute)
		wantLines(t, s.Events(), "silent: van lost, silent for 15m, usually every 30s")
		if got := s.Events().Since(nil, 0)[0]; got.N != silent[0].N || got.Device != 1 || s.Events().Version() == version {
			t.Errorf("the silence got long in another line: %+v", got)
		}
		wait(time.Hour)
		apply(s, 1, "van", nil)
		wantLines(t, s.Events(), "silent: van lost, silent for 15m, usually every 30s", "back: van back after 75m")
		wait(3 * time.Minute)
		if got := lines(s.Events()); len(got) != 3 {
			t.Errorf("silent again: %q", got)
		}
	})
}

// attend lets time pass while somebody looks.
func attend(s *Store, c *tuitest.Clock, d time.Duration) {
	for ; d > 0; d -= time.Second {
		c.Advance(min(d, time.Second))
		s.Tick()
	}
}

func TestSlowReporterIsNotSilentBetweenItsFixes(t *testing.T) {
	s, c := clockedStore()
	for range 5 {
		apply(s, 1, "meter", nil)
		for range 10 {
			c.Advance(time.Minute)
			s.Tick()
		}
	}
	wantLines(t, s.Events())
	attend(s, c, 20*time.Minute)
	wantLines(t, s.Events(), "silent: meter lost, silent for 30m, usually every 10m")
}

func TestNobodyIsSilentWhileWeAreDeaf(t *testing.T) {
	s, c := clockedStore()
	s.SetLink(Live, "")
	apply(s, 1, "van", nil)
	c.Advance(time.Second)
	apply(s, 1, "van", nil)
	s.Take(&client.Event{Kind: client.Disconnected, Err: errors.New("reset"), RetryIn: time.Second})
	attend(s, c, 10*time.Minute)
	s.Take(&client.Event{Kind: client.Disconnected, Err: client.ErrUnreachable, RetryIn: time.Second})
	s.Take(&client.Event{Kind: client.Resumed})
	attend(s, c, 119*time.Second)
	wantLines(t, s.Events(), "disconnected: reset", "resumed: live again after 10m, nothing was missed")
	c.Advance(2 * time.Second)
	s.Tick()
	if got := lines(s.Events()); len(got) != 3 || got[2] != "silent: van silent for 12m, usually every 1.0s" {
		t.Errorf("%q", got)
	}
}

func TestDeadNetworkIsOneLine(t *testing.T) {
	s, c := clockedStore()
	fixes := make([]client.Fix, 312)
	for range 2 {
		c.Advance(time.Second)
		for i := range fixes {
			fixes[i] = fixOf(track.DeviceID(i+1), fmt.Sprint("van", i), c.At, 48, 11)
		}
		s.Apply(fixes)
	}
	for range 20 * 60 {
		c.Advance(time.Second)
		s.Tick()
	}
	wantLines(t, s.Events(), "silent: 312 devices silent")
	for i := range fixes {
		fixes[i].Time = c.At
	}
	s.Apply(fixes)
	wantLines(t, s.Events(), "silent: 312 devices silent", "back: 312 devices back")
}

func TestLowBatteryIsToldOnceUntilItWasCharged(t *testing.T) {
	s, c := clockedStore()
	s.Snapshot([]client.Fix{fixOf(1, "a", c.At, 48, 11)}, true, false)
	for _, percent := range []int{16, 15, 14, 13, 16, 12, 19, 3, 20, 15, 14} {
		c.Advance(time.Second)
		apply(s, 1, "a", battery(percent))
	}
	c.Advance(time.Second)
	apply(s, 1, "a", nil) // without saying anything of it
	wantLines(t, s.Events(), "low battery: a battery low, 14%", "low battery: a battery low, 14%")

	// By its own word, whatever the number; and not for who was low when first seen.
	s, c = clockedStore()
	flat := fixOf(2, "flat", c.At, 48, 11)
	battery(3)(&flat)
	s.Snapshot([]client.Fix{flat}, true, false)
	c.Advance(time.Second)
	apply(s, 2, "flat", battery(2))
	apply(s, 3, "says", battery(40))
	c.Advance(time.Second)
	apply(s, 3, "says", func(f *client.Fix) { f.Event = "low_battery" })
	wantLines(t, s.Events(), "new: says first fix", "low battery: says battery low")

	s = New(Config{Now: c.Now, LowBattery: 50})
	apply(s, 1, "a", battery(50))
	c.Advance(time.Second)
	apply(s, 1, "a", battery(49))
	wantLines(t, s.Events(), "low battery: a battery low, 49%")
}

func TestAlarmThatGoesOnIsOneLine(t *testing.T) {
	s, c := clockedStore()
	apply(s, 1, "van", reports("sos"))
	log := s.Events()
	for range 3 {
		c.Advance(time.Minute)
		apply(s, 1, "van", reports("sos"))
	}
	wantLines(t, log, "sos: van reports sos, 4 times")
	if log.Alerting() != 1 {
		t.Errorf("%d alerting", log.Alerting())
	}
	log.AckLast()
	c.Advance(time.Minute)
	apply(s, 1, "van", reports("sos"))
	if log.Alerting() != 0 {
		t.Error("an alarm that was seen alerts again because it goes on")
	}
	apply(s, 1, "van", reports("sos")) // the same fix, as in a snapshot
	c.Advance(time.Minute)
	apply(s, 1, "van", reports("tamper"))
	c.Advance(filter.AlarmFor)
	apply(s, 1, "van", reports("tamper"))
	wantLines(t, log, "sos: van reports sos, 5 times", "tamper: van reports tampering", "tamper: van reports tampering")
}

func TestOldAlarmsOfTheFirstPictureAreNoNews(t *testing.T) {
	s, c := clockedStore()
	old, young := fixOf(1, "old", c.At.Add(-filter.AlarmFor), 48, 11), fixOf(2, "young", c.At.Add(-time.Minute), 48, 11)
	old.Event, young.Event = "sos", "sos"
	s.Snapshot([]client.Fix{old, young}, true, false)
	wantLines(t, s.Events(), "sos: young reports sos")
	if got := s.Events().Since(nil, 0)[0].At; !got.Equal(c.At.Add(-time.Minute)) {
		t.Errorf("at %v", got)
	}
	s.Snapshot([]client.Fix{old, young}, true, false)
	if got := s.Events().Since(nil, 0); len(got) != 1 || got[0].Times != 1 {
		t.Errorf("the same picture again: %+v", got)
	}
}

func TestJumpsAndNewDevices(t *testing.T) {
	s, c := clockedStore()
	jump := func(f *client.Fix) { f.Jump = true }
	apply(s, 1, "early", jump) // before the picture is whole nobody is new, and nobody jumps
	s.Snapshot([]client.Fix{fixOf(1, "early", c.At, 48, 11)}, true, false)
	c.Advance(3 * time.Second)
	apply(s, 1, "early", func(f *client.Fix) { f.Jump, f.At = true, fixOf(0, "", c.At, 52, 11).At })
	apply(s, 2, "new", nil)
	c.Advance(time.Second)
	apply(s, 2, "new", nil)
	s.Snapshot([]client.Fix{fixOf(1, "early", c.At, 48, 11), fixOf(2, "new", c.At, 48, 11), fixOf(3, "too", c.At, 48, 11)}, true, false)
	late := fixOf(4, "late", c.At, 48, 11)
	late.Late = true
	s.Apply([]client.Fix{late})
	wantLines(t, s.Events(), "jump: early jumped 444 km in 3.0s", "new: new first fix", "new: too first fix")
}

func TestTheLinkIsInTheLog(t *testing.T) {
	s, c := clockedStore()
	s.Take(&client.Event{Kind: client.Snapshot, First: true})
	for range 3 {
		s.Take(&client.Event{Kind: client.Disconnected, Err: fmt.Errorf("x\x1b[2J"), RetryIn: time.Second})
		c.Advance(time.Second)
	}
	s.Take(&client.Event{Kind: client.Snapshot, First: true})
	for range 30 {
		c.Advance(time.Second)
		s.Take(&client.Event{Kind: client.Resync, Skipped: 20})
		s.Take(&client.Event{Kind: client.Resync})
	}
	c.Advance(time.Minute)
	s.Take(&client.Event{Kind: client.Fixes, Skipped: 5})
	s.SetLink(Denied, "token expired")
	c.Advance(time.Hour)
	s.SetLink(Live, "")
	s.SetLink(Ended, "")
	wantLines(t, s.Events(),
		"disconnected: x?[2J", "resumed: live again after 3.0s, seen anew",
		"resynced: 600 fixes skipped: this viewer was too slow", "resynced: 5 fixes skipped: this viewer was too slow",
		"denied: token expired", "resumed: live again after 60m")
	if got := s.Status().Skipped; got != 605 {
		t.Errorf("%d skipped", got)
	}
}

func TestMutedDevicesAreFlaggedAndQuiet(t *testing.T) {
	s, c := clockedStore()
	apply(s, 1, "van", nil)
	var f Frame
	f.Refresh(s, nil)
	s.Events().Mute(1, true)
	s.Events().Mute(77, true) // not there yet
	f.Refresh(s, nil)
	if f.Points[s.Find(1)].Flags&Muted == 0 {
		t.Error("the point does not say so")
	}
	c.Advance(time.Second)
	apply(s, 1, "van", reports("sos"))
	apply(s, 77, "muted before", reports("sos"))
	f.Refresh(s, nil)
	if n := s.Events().Alerting(); n != 0 || f.Points[s.Find(77)].Flags&Muted == 0 || f.Points[s.Find(1)].Flags&Muted == 0 {
		t.Errorf("%d alerting, %+v", n, f.Points)
	}
	s.Events().Mute(1, false)
	c.Advance(filter.AlarmFor)
	apply(s, 1, "van", reports("sos"))
	if n := s.Events().Alerting(); n != 1 || s.point(1).Flags&Muted != 0 {
		t.Errorf("%d alerting, %+v", n, s.point(1))
	}
}

func TestIntervalsAreSmoothed(t *testing.T) {
	var p Point
	for _, step := range []struct {
		gap  time.Duration
		want uint16
	}{
		{0, 1}, {10 * time.Second, 2}, {time.Minute, 4}, // from almost nothing it grows slowly
	} {
		if p.interval(step.gap); p.Every != step.want {
			t.Errorf("after %v: %d, want %d", step.gap, p.Every, step.want)
		}
	}
	p = Point{}
	p.interval(10 * time.Second)
	p.interval(10 * time.Hour) // a night
	if got := p.usual(); got != 17500*time.Millisecond {
		t.Errorf("after a night: %v", got)
	}
	for range 100 {
		p.interval(time.Minute)
	}
	if got := p.usual(); got < 59*time.Second || got > time.Minute {
		t.Errorf("after a hundred minutes: %v", got)
	}
	p = Point{}
	if p.interval(100 * time.Hour); p.Every != 65535 {
		t.Errorf("%d", p.Every)
	}
}

func TestRulesGoByTheAgesOfTheStore(t *testing.T) {
	r := rules{filter.Ages{Stale: time.Second, Lost: time.Minute}, 15}
	p := Point{Flags: Alive, Every: 1}
	for age, want := range map[time.Duration]told{
		999 * time.Millisecond: 0, time.Second: toldSilent, time.Minute: toldSilent | toldLost,
	} {
		if _, got := r.silence(&p, 0, age.Milliseconds()); got != want {
			t.Errorf("%v: %b, want %b", age, got, want)
		}
	}
	for _, p := range []Point{{Every: 1}, {Flags: Alive}} {
		if e, got := r.silence(&p, 0, 1e9); got != 0 || e != (Event{}) {
			t.Errorf("%+v is silent", p)
		}
	}
}
