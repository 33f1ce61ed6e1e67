package tui

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/world"
)

// fakeClock is a clock that stands until it is moved.
type fakeClock struct{ at time.Time }

func (c *fakeClock) now() time.Time          { return c.at }
func (c *fakeClock) advance(d time.Duration) { c.at = c.at.Add(d) }

func clockedStore() (*Store, *fakeClock) {
	c := &fakeClock{epoch}
	return NewStore(c.now), c
}

func fixOf(id track.DeviceID, name string, at time.Time, lat, lon float64) client.Fix {
	return client.Fix{Device: id, Name: name, Time: at, Received: at, At: geo.Deg(lat, lon), Has: track.HasPos}
}

func (s *Store) nameOf(id track.DeviceID) string {
	_, name, _ := s.info(s.find(id))
	return name
}

func TestSnapshotReplacesWhatItDoesNotName(t *testing.T) {
	s, c := clockedStore()
	s.Snapshot([]client.Fix{fixOf(1, "a", c.at, 1, 1), fixOf(2, "b", c.at, 2, 2), fixOf(3, "c", c.at, 3, 3)}, true, false)
	if got := s.status(); !got.loaded || got.devices != 3 {
		t.Fatalf("%+v", got)
	}
	s.Snapshot([]client.Fix{fixOf(2, "b", c.at, 2, 2)}, true, true)
	if got := s.status().devices; got != 3 {
		t.Errorf("half a snapshot left %d devices, want 3", got)
	}
	s.Apply([]client.Fix{fixOf(9, "new", c.at, 9, 9)}) // while the snapshot is under way
	s.Snapshot([]client.Fix{fixOf(4, "d", c.at, 4, 4)}, false, false)
	for id, want := range map[track.DeviceID]string{1: "", 2: "b", 3: "", 4: "d", 9: "new"} {
		if got := s.nameOf(id); got != want {
			t.Errorf("device %d is %q, want %q", id, got, want)
		}
	}
	// A part that makes nothing void, as after having been too slow.
	s.Snapshot([]client.Fix{fixOf(4, "d", c.at, 5, 5)}, false, false)
	if got := s.status().devices; got != 3 {
		t.Errorf("a resync left %d devices, want 3", got)
	}
}

func TestBrokenSnapshotIsMadeGoodByTheNext(t *testing.T) {
	s, c := clockedStore()
	s.Snapshot([]client.Fix{fixOf(1, "a", c.at, 1, 1)}, true, true)
	s.Snapshot([]client.Fix{fixOf(2, "b", c.at, 2, 2)}, true, false)
	if s.nameOf(1) != "" || s.nameOf(2) != "b" {
		t.Errorf("1 is %q, 2 is %q", s.nameOf(1), s.nameOf(2))
	}
}

func TestLateAndOlderFixesDoNotMoveADevice(t *testing.T) {
	s, c := clockedStore()
	s.Apply([]client.Fix{fixOf(1, "a", c.at, 10, 10)})
	late := fixOf(1, "a", c.at.Add(time.Minute), 20, 20)
	late.Late = true
	s.Apply([]client.Fix{late, fixOf(1, "a", c.at.Add(-time.Minute), 30, 30)})
	fix, _, _ := s.info(s.find(1))
	if fix.At != geo.Deg(10, 10) {
		t.Errorf("device is at %v, want 10,10", fix.At)
	}
}

func TestHeartbeatKeepsThePlace(t *testing.T) {
	s, c := clockedStore()
	s.Apply([]client.Fix{fixOf(1, "a", c.at, 10, 10)})
	c.advance(time.Minute)
	s.Apply([]client.Fix{{Device: 1, Name: "a", Time: c.at, Has: track.HasBat, Battery: 40}})
	fix, _, _ := s.info(s.find(1))
	if fix.At != geo.Deg(10, 10) || !fix.HasPos() || fix.Battery != 40 {
		t.Errorf("after a heartbeat: %+v", fix)
	}
	p := s.copyPoints(nil)[s.find(1)]
	if p.heard != c.at.UnixMilli() || p.pos != world.Project(geo.Deg(10, 10)) {
		t.Errorf("point %+v", p)
	}
	s.Apply([]client.Fix{{Device: 2, Time: c.at}})
	if p := s.copyPoints(nil)[s.find(2)]; p.placed() || !p.alive {
		t.Errorf("a device that never said where it is: %+v", p)
	}
}

func TestLeftAndSlotsAreUsedAgain(t *testing.T) {
	s, c := clockedStore()
	s.Apply([]client.Fix{fixOf(1, "a", c.at, 1, 1), fixOf(2, "b", c.at, 2, 2)})
	s.Left([]track.DeviceID{1, 77})
	s.Apply([]client.Fix{fixOf(3, "c", c.at, 3, 3)})
	if n := len(s.copyPoints(nil)); n != 2 {
		t.Errorf("%d slots for two devices", n)
	}
	if s.find(1) != nobody || s.nameOf(3) != "c" {
		t.Error("the slot of a device that left was not cleaned")
	}
	if got := len(s.trail(nil, s.find(3), 9)); got != 1 {
		t.Errorf("the new device has %d crumbs, want its own one", got)
	}
}

func TestNamesAreMadeHarmless(t *testing.T) {
	s, c := clockedStore()
	s.Apply([]client.Fix{
		fixOf(1, "\x1b[2J\x1b]52;c;x\x07boo\r\n", c.at, 1, 1), fixOf(2, "", c.at, 2, 2),
		fixOf(3, strings.Repeat("long", 50), c.at, 3, 3), fixOf(4, "\u202e\u200b", c.at, 4, 4),
	})
	for id, want := range map[track.DeviceID]string{
		1: "?[2J?]52;c;x?boo??", 2: "000000000002", 3: strings.Repeat("long", 10)[:39] + "…", 4: "000000000004",
	} {
		if got := s.nameOf(id); got != want {
			t.Errorf("%d: %q, want %q", id, got, want)
		}
	}
}

func TestStates(t *testing.T) {
	a := &ages{stale: 120_000, lost: 900_000}
	now := epoch.UnixMilli()
	for name, tt := range map[string]struct {
		p    point
		want state
	}{
		"moving":            {point{heard: now, has: track.HasVel, speed: 300}, isMoving},
		"idle":              {point{heard: now, has: track.HasVel, speed: 20}, isIdle},
		"moved, no speed":   {point{heard: now, moving: true}, isMoving},
		"speed decides":     {point{heard: now, has: track.HasVel, moving: true}, isIdle},
		"stale":             {point{heard: now - 120_000, has: track.HasVel, speed: 300}, isStale},
		"lost":              {point{heard: now - 900_000}, isLost},
		"alert beats lost":  {point{heard: now - 900_000, alarm: now - 1000}, isAlert},
		"alarm is over":     {point{heard: now, alarm: now - alarmFor.Milliseconds()}, isIdle},
		"clock ran forward": {point{heard: now + 5000, has: track.HasVel, speed: 300}, isMoving},
	} {
		if got := tt.p.state(now, a); got != tt.want {
			t.Errorf("%s: %v, want %v", name, stateLooks[got].name, stateLooks[tt.want].name)
		}
	}
}

func TestSnapshotTakesTheAgeFromTheServer(t *testing.T) {
	s, c := clockedStore()
	old := fixOf(1, "a", c.at.Add(-time.Hour), 1, 1)
	ahead := fixOf(2, "b", c.at.Add(time.Hour), 1, 1) // its clock, or the server's, is ahead of ours
	s.Snapshot([]client.Fix{old, ahead}, true, false)
	points := s.copyPoints(nil)
	if got := points[s.find(1)].heard; got != c.at.Add(-time.Hour).UnixMilli() {
		t.Errorf("heard at %d", got)
	}
	if got := points[s.find(2)].heard; got != c.at.UnixMilli() {
		t.Errorf("heard in the future: %d", got)
	}
}

func TestTrailThinsTheOldAndKeepsTheRecent(t *testing.T) {
	s, c := clockedStore()
	const steps = 1000
	for i := range steps {
		c.advance(time.Second)
		s.Apply([]client.Fix{fixOf(1, "a", c.at, 10, float64(i)*0.01)})
	}
	trail := s.trail(nil, s.find(1), maxTrail)
	if len(trail) > maxTrail || len(trail) < maxTrail/2 {
		t.Fatalf("%d crumbs", len(trail))
	}
	for i := 1; i < len(trail); i++ {
		if trail[i].at <= trail[i-1].at {
			t.Fatalf("crumb %d is out of order", i)
		}
	}
	lon := func(i int) float64 { return trail[i].pos.Point().LonDeg() }
	if lon(0) > 0.5 {
		t.Errorf("the trail begins at %.2f: its beginning is lost", lon(0))
	}
	if last := len(trail) - 1; lon(last) < 9.98 || lon(last)-lon(last-1) > 0.011 {
		t.Errorf("the end of the trail has lost its detail: %.2f, %.2f", lon(last-1), lon(last))
	}
}

func TestTrailBreaksAtAJumpAndKeepsTheBreak(t *testing.T) {
	crumbs := make([]crumb, 16)
	for i := range crumbs {
		crumbs[i].at = int64(i)
	}
	crumbs[3].start = true
	got := thin(crumbs)
	if len(got) != 12 || got[2].at != 4 || !got[2].start {
		t.Errorf("after thinning: %+v", got)
	}

	s, c := clockedStore()
	s.Apply([]client.Fix{fixOf(1, "a", c.at, 10, 10)})
	c.advance(time.Second)
	jump := fixOf(1, "a", c.at, 50, 50)
	jump.Jump = true
	s.Apply([]client.Fix{jump})
	if trail := s.trail(nil, s.find(1), 9); len(trail) != 2 || !trail[1].start {
		t.Errorf("trail over a jump: %+v", trail)
	}
}

func TestTrailsHaveABudget(t *testing.T) {
	s, c := clockedStore()
	const devices = trailBudget / minTrail / 8 // room for 64 each
	fixes := make([]client.Fix, devices*2)
	for round := range 20 {
		c.advance(time.Second)
		for i := range fixes {
			fixes[i] = fixOf(track.DeviceID(i+1), "x", c.at, 10, float64(round)*0.01)
		}
		s.Apply(fixes)
	}
	if s.trailed > trailBudget {
		t.Errorf("%d crumbs kept, the budget is %d", s.trailed, trailBudget)
	}
	total := 0
	for i := range s.devices {
		total += len(s.devices[i].trail)
	}
	if total != s.trailed {
		t.Errorf("counted %d crumbs, there are %d", s.trailed, total)
	}
}

func TestAnAlarmIsShownForAWhile(t *testing.T) {
	s, c := clockedStore()
	sos := fixOf(1, "a", c.at, 1, 1)
	sos.Event = "sos"
	s.Apply([]client.Fix{sos})
	after := func(d time.Duration, event string) (state, string) {
		c.advance(d)
		f := fixOf(1, "a", c.at, 1, 1)
		f.Event = event
		s.Apply([]client.Fix{f})
		fix, _, _ := s.info(s.find(1))
		return s.copyPoints(nil)[0].state(c.at.UnixMilli(), &ages{60_000, 600_000}), fix.Event
	}
	if st, event := after(time.Second, "motion_start"); st != isAlert || event != "sos" {
		t.Errorf("a second later: %v, %q", stateLooks[st].name, event)
	}
	if st, event := after(alarmFor, "motion_stop"); st != isIdle || event != "motion_stop" {
		t.Errorf("much later: %v, %q", stateLooks[st].name, event)
	}
}

func TestLinkAndLag(t *testing.T) {
	s, c := clockedStore()
	c.advance(time.Minute)
	s.SetLink(Live, "")
	c.advance(time.Minute)
	s.SetLink(Live, "")
	if got := s.status().link; got.State != Live || !got.Since.Equal(epoch.Add(time.Minute)) {
		t.Errorf("%+v", got)
	}
	s.SetLink(Reconnecting, "server\x1b[31m closed")
	if got := s.status().link.Note; got != "server?[31m closed" {
		t.Errorf("note %q", got)
	}
	for range 50 {
		s.Apply([]client.Fix{fixOf(1, "a", c.at.Add(-140*time.Millisecond), 1, 1)})
	}
	if got := s.status().lag.Round(10 * time.Millisecond); got != 140*time.Millisecond {
		t.Errorf("lag %v, want 140ms", got)
	}
}

func TestEventsOfAWatch(t *testing.T) {
	s, c := clockedStore()
	s.take(&client.Event{Kind: client.Snapshot, First: true, Fixes: []client.Fix{fixOf(1, "a", c.at, 1, 1), fixOf(2, "b", c.at, 2, 2)}})
	s.take(&client.Event{Kind: client.Fixes, Fixes: []client.Fix{fixOf(3, "c", c.at, 3, 3)}, Left: []track.DeviceID{2}})
	if st := s.status(); st.link.State != Live || st.devices != 2 || st.fixes != 1 {
		t.Errorf("after fixes: %+v", st)
	}
	s.take(&client.Event{Kind: client.Disconnected, Err: errors.New("connection reset"), RetryIn: 1234 * time.Millisecond})
	if st := s.status(); st.link.State != Reconnecting || st.link.Note != "connection reset, again in 1.2s" {
		t.Errorf("after a break: %+v", st.link)
	}
	s.take(&client.Event{Kind: client.Disconnected, Err: fmt.Errorf("dial: %w", client.ErrUnreachable), RetryIn: time.Second})
	if got := s.status().link.Note; got != "no answer, again in 1s" {
		t.Errorf("note %q", got)
	}
	s.take(&client.Event{Kind: client.Refused, Err: errors.New("no")})
	s.take(&client.Event{Kind: client.Resync, First: true, More: true, Skipped: 40, Fixes: []client.Fix{fixOf(3, "c", c.at, 3, 4)}})
	s.take(&client.Event{Kind: client.Resync, Skipped: 2, Fixes: []client.Fix{fixOf(4, "d", c.at, 4, 4)}})
	if st := s.status(); st.link.State != Live || st.skipped != 42 || st.devices != 2 {
		t.Errorf("after a resync: %+v", st)
	}
	s.take(&client.Event{Kind: client.Resumed})
	if s.nameOf(1) != "" || s.nameOf(3) != "c" || s.nameOf(4) != "d" {
		t.Error("the resync did not replace what was known")
	}
}

func BenchmarkApply(b *testing.B) {
	s := NewStore(nil)
	f := newFleet(10_000, 1, europe)
	s.Snapshot(f.step(time.Second, 1), true, false)
	batch := append([]client.Fix(nil), f.step(time.Second, 0.1)...)
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			batch[i].Time = batch[i].Time.Add(time.Second)
		}
		s.Apply(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/fix")
}

func ExampleStore() {
	s := NewStore(func() time.Time { return epoch })
	s.Snapshot([]client.Fix{fixOf(0xabc, "van-1", epoch, 48.1, 11.5)}, true, false)
	fix, name, _ := s.info(s.find(0xabc))
	fmt.Println(name, fix.At)
	// Output: van-1 48.10000,11.50000
}
