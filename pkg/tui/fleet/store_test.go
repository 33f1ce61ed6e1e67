package fleet

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

func clockedStore() (*Store, *tuitest.Clock) {
	c := tuitest.NewClock()
	return New(Config{Now: c.Now}), c
}

var epoch, fixOf = tuitest.Epoch, tuitest.Fix

// point is a copy of the point of a device.
func (s *Store) point(id track.DeviceID) *Point {
	var f Frame
	f.Refresh(s, nil)
	return &f.Points[s.Find(id)]
}

func (s *Store) nameOf(id track.DeviceID) string {
	_, name, _ := s.Info(s.Find(id))
	return name
}

func TestSnapshotReplacesWhatItDoesNotName(t *testing.T) {
	s, c := clockedStore()
	s.Snapshot([]client.Fix{fixOf(1, "a", c.At, 1, 1), fixOf(2, "b", c.At, 2, 2), fixOf(3, "c", c.At, 3, 3)}, true, false)
	if got := s.Status(); !got.Loaded || got.Devices != 3 {
		t.Fatalf("%+v", got)
	}
	s.Snapshot([]client.Fix{fixOf(2, "b", c.At, 2, 2)}, true, true)
	if got := s.Status().Devices; got != 3 {
		t.Errorf("half a snapshot left %d devices, want 3", got)
	}
	s.Apply([]client.Fix{fixOf(9, "new", c.At, 9, 9)}) // while the snapshot is under way
	s.Snapshot([]client.Fix{fixOf(4, "d", c.At, 4, 4)}, false, false)
	for id, want := range map[track.DeviceID]string{1: "", 2: "b", 3: "", 4: "d", 9: "new"} {
		if got := s.nameOf(id); got != want {
			t.Errorf("device %d is %q, want %q", id, got, want)
		}
	}
	// A part that makes nothing void, as after having been too slow.
	s.Snapshot([]client.Fix{fixOf(4, "d", c.At, 5, 5)}, false, false)
	if got := s.Status().Devices; got != 3 {
		t.Errorf("a resync left %d devices, want 3", got)
	}
}

func TestBrokenSnapshotIsMadeGoodByTheNext(t *testing.T) {
	s, c := clockedStore()
	s.Snapshot([]client.Fix{fixOf(1, "a", c.At, 1, 1)}, true, true)
	s.Snapshot([]client.Fix{fixOf(2, "b", c.At, 2, 2)}, true, false)
	if s.nameOf(1) != "" || s.nameOf(2) != "b" {
		t.Errorf("1 is %q, 2 is %q", s.nameOf(1), s.nameOf(2))
	}
}

func TestLateAndOlderFixesDoNotMoveADevice(t *testing.T) {
	s, c := clockedStore()
	s.Apply([]client.Fix{fixOf(1, "a", c.At, 10, 10)})
	late := fixOf(1, "a", c.At.Add(time.Minute), 20, 20)
	late.Late = true
	s.Apply([]client.Fix{late, fixOf(1, "a", c.At.Add(-time.Minute), 30, 30)})
	fix, _, _ := s.Info(s.Find(1))
	if fix.At != geo.Deg(10, 10) {
		t.Errorf("device is at %v, want 10,10", fix.At)
	}
}

func TestHeartbeatKeepsThePlace(t *testing.T) {
	s, c := clockedStore()
	s.Apply([]client.Fix{fixOf(1, "a", c.At, 10, 10)})
	c.Advance(time.Minute)
	s.Apply([]client.Fix{{Device: 1, Name: "a", Time: c.At, Has: track.HasBat, Battery: 40}})
	fix, _, _ := s.Info(s.Find(1))
	if fix.At != geo.Deg(10, 10) || !fix.HasPos() || fix.Battery != 40 {
		t.Errorf("after a heartbeat: %+v", fix)
	}
	p := s.point(1)
	if p.Heard != c.At.UnixMilli() || p.Pos != world.Project(geo.Deg(10, 10)) || p.Bat != 40 || p.Has != track.HasPos|track.HasBat {
		t.Errorf("point %+v", p)
	}
	c.Advance(time.Minute)
	s.Apply([]client.Fix{{Device: 1, Name: "a", Time: c.At}})
	if p := s.point(1); p.Bat != 40 || p.Has&track.HasBat == 0 {
		t.Errorf("a heartbeat that does not know the battery: %+v", p)
	}
	s.Apply([]client.Fix{{Device: 2, Time: c.At}})
	if p := s.point(2); p.Placed() || !p.Alive() {
		t.Errorf("a device that never said where it is: %+v", p)
	}
}

func TestLeftAndSlotsAreUsedAgain(t *testing.T) {
	s, c := clockedStore()
	s.Apply([]client.Fix{fixOf(1, "a", c.At, 1, 1), fixOf(2, "b", c.At, 2, 2)})
	s.Left([]track.DeviceID{1, 77})
	s.Apply([]client.Fix{fixOf(3, "c", c.At, 3, 3)})
	if n := len(s.points); n != 2 {
		t.Errorf("%d slots for two devices", n)
	}
	if s.Find(1) != Nobody || s.nameOf(3) != "c" {
		t.Error("the slot of a device that left was not cleaned")
	}
	if got := len(s.Trail(nil, s.Find(3), 9)); got != 1 {
		t.Errorf("the new device has %d crumbs, want its own one", got)
	}
	room := s.crumbs.made
	for range 100 {
		s.Left([]track.DeviceID{3})
		s.Apply([]client.Fix{fixOf(3, "c", c.At, 3, 3)})
	}
	if s.crumbs.made != room {
		t.Errorf("room for %d pieces of trails, was %d: those who left keep theirs", s.crumbs.made, room)
	}
}

func TestNamesAreMadeHarmless(t *testing.T) {
	s, c := clockedStore()
	s.Apply([]client.Fix{
		fixOf(1, "\x1b[2J\x1b]52;c;x\x07boo\r\n", c.At, 1, 1), fixOf(2, "", c.At, 2, 2),
		fixOf(3, strings.Repeat("long", 50), c.At, 3, 3), fixOf(4, "\u202e\u200b", c.At, 4, 4),
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
	now := epoch.UnixMilli()
	for name, tt := range map[string]struct {
		p    Point
		want filter.State
	}{
		"moving":            {Point{Heard: now, Has: track.HasVel, Speed: 300}, filter.Moving},
		"idle":              {Point{Heard: now, Has: track.HasVel, Speed: 20}, filter.Idle},
		"moved, no speed":   {Point{Heard: now, Flags: Shifted}, filter.Moving},
		"speed decides":     {Point{Heard: now, Has: track.HasVel, Flags: Shifted}, filter.Idle},
		"stale":             {Point{Heard: now - 120_000, Has: track.HasVel, Speed: 300}, filter.Stale},
		"lost":              {Point{Heard: now - 900_000}, filter.Lost},
		"alert beats lost":  {Point{Heard: now - 900_000, Alarm: alarmStamp(now - 1000)}, filter.Alert},
		"alarm is over":     {Point{Heard: now, Alarm: alarmStamp(now - filter.AlarmFor.Milliseconds())}, filter.Idle},
		"clock ran forward": {Point{Heard: now + 5000, Has: track.HasVel, Speed: 300}, filter.Moving},
	} {
		if got := tt.p.State(now, filter.Ages{}); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestPointIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(Point{}); got > 40 {
		t.Errorf("a point takes %d bytes, want 40 at most: all are copied for every frame", got)
	}
}

func TestSnapshotTakesTheAgeFromTheServer(t *testing.T) {
	s, c := clockedStore()
	old := fixOf(1, "a", c.At.Add(-time.Hour), 1, 1)
	ahead := fixOf(2, "b", c.At.Add(time.Hour), 1, 1) // its clock, or the server's, is ahead of ours
	s.Snapshot([]client.Fix{old, ahead}, true, false)
	if got := s.point(1).Heard; got != c.At.Add(-time.Hour).UnixMilli() {
		t.Errorf("heard at %d", got)
	}
	if got := s.point(2).Heard; got != c.At.UnixMilli() {
		t.Errorf("heard in the future: %d", got)
	}
}

func TestAnAlarmIsShownForAWhile(t *testing.T) {
	s, c := clockedStore()
	sos := fixOf(1, "a", c.At, 1, 1)
	sos.Event = "sos"
	s.Apply([]client.Fix{sos})
	after := func(d time.Duration, event string) (filter.State, string) {
		c.Advance(d)
		f := fixOf(1, "a", c.At, 1, 1)
		f.Event = event
		s.Apply([]client.Fix{f})
		fix, _, _ := s.Info(s.Find(1))
		return s.point(1).State(c.At.UnixMilli(), filter.Ages{Stale: time.Minute, Lost: 10 * time.Minute}), fix.Event
	}
	if st, event := after(time.Second, "motion_start"); st != filter.Alert || event != "sos" {
		t.Errorf("a second later: %v, %q", st, event)
	}
	if st, event := after(filter.AlarmFor, "motion_stop"); st != filter.Idle || event != "motion_stop" {
		t.Errorf("much later: %v, %q", st, event)
	}
}

func TestLinkSaysSinceWhen(t *testing.T) {
	s, c := clockedStore()
	c.Advance(time.Minute)
	s.SetLink(Live, "")
	c.Advance(time.Minute)
	s.SetLink(Live, "")
	if got := s.Status().Link; got.State != Live || !got.Since.Equal(epoch.Add(time.Minute)) {
		t.Errorf("%+v", got)
	}
	s.SetLink(Reconnecting, "server\x1b[31m closed")
	if got := s.Status().Link.Note; got != "server?[31m closed" {
		t.Errorf("note %q", got)
	}
}

func TestEventsOfAWatch(t *testing.T) {
	s, c := clockedStore()
	s.Take(&client.Event{Kind: client.Snapshot, First: true, Fixes: []client.Fix{fixOf(1, "a", c.At, 1, 1), fixOf(2, "b", c.At, 2, 2)}})
	s.Take(&client.Event{Kind: client.Fixes, Fixes: []client.Fix{fixOf(3, "c", c.At, 3, 3)}, Left: []track.DeviceID{2}})
	if st := s.Status(); st.Link.State != Live || st.Devices != 2 || st.Fixes != 1 {
		t.Errorf("after fixes: %+v", st)
	}
	s.Take(&client.Event{Kind: client.Disconnected, Err: errors.New("connection reset"), RetryIn: 1234 * time.Millisecond})
	if st := s.Status(); st.Link.State != Reconnecting || st.Link.Note != "connection reset, again in 1.2s" {
		t.Errorf("after a break: %+v", st.Link)
	}
	s.Take(&client.Event{Kind: client.Disconnected, Err: fmt.Errorf("dial: %w", client.ErrUnreachable), RetryIn: time.Second})
	if got := s.Status().Link.Note; got != "no answer, again in 1s" {
		t.Errorf("note %q", got)
	}
	s.Take(&client.Event{Kind: client.Refused, Err: errors.New("no")})
	s.Take(&client.Event{Kind: client.Resync, First: true, More: true, Skipped: 40, Fixes: []client.Fix{fixOf(3, "c", c.At, 3, 4)}})
	s.Take(&client.Event{Kind: client.Resync, Skipped: 2, Fixes: []client.Fix{fixOf(4, "d", c.At, 4, 4)}})
	if st := s.Status(); st.Link.State != Live || st.Skipped != 42 || st.Devices != 2 {
		t.Errorf("after a resync: %+v", st)
	}
	s.Take(&client.Event{Kind: client.Resumed})
	if s.nameOf(1) != "" || s.nameOf(3) != "c" || s.nameOf(4) != "d" {
		t.Error("the resync did not replace what was known")
	}
}

func ExampleStore() {
	s := New(Config{Now: func() time.Time { return epoch }})
	s.Snapshot([]client.Fix{fixOf(0xabc, "van-1", epoch, 48.1, 11.5)}, true, false)
	fix, name, _ := s.Info(s.Find(0xabc))
	fmt.Println(name, fix.At)
	// Output: van-1 48.10000,11.50000
}

// A server that gives devices names of any length does not fill the memory with them.
func TestLongNamesAreNotKept(t *testing.T) {
	s := New(Config{})
	f := tuitest.Fix(1, strings.Repeat("ü", 5000), tuitest.Epoch, 48, 11)
	f.Event = strings.Repeat("e", 10_000)
	s.Snapshot([]client.Fix{f}, true, false)
	named := s.Status().Named
	f.Time = f.Time.Add(time.Second)
	s.Apply([]client.Fix{f})
	fix, name, ok := s.Info(s.Find(1))
	if !ok || len(fix.Name) != mostText || len(fix.Event) != mostText || !utf8.ValidString(fix.Name) || canvas.Width(name) != 40 {
		t.Errorf("a name of %d bytes, an event of %d, shown as %q", len(fix.Name), len(fix.Event), name)
	}
	if got := s.Status().Named; got != named {
		t.Error("the same name again is another one")
	}
}
