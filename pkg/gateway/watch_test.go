package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/hub"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// view is what a watcher makes of the frames that it gets, and it checks that they are
// what the schema promises.
type view struct {
	t        testing.TB
	s        *trk.WatchOpenStream
	ack      *trk.WatchAckT
	position float64
	ready    bool // the snapshot is whole
	present  map[track.DeviceID]*trk.FixT
	fixes    int // that came as Fixes
	skipped  float64
	frames   []trk.FrameKind
}

func openView(t testing.TB, c rpc.Caller, req *trk.WatchReqT) *view {
	t.Helper()
	s, err := trk.WatchClient{Caller: c}.Open(within(t), req)
	if err != nil {
		t.Fatal(err)
	}
	v := &view{t: t, s: s, ack: at(must(s.Ack())(t)).UnPack(), present: map[track.DeviceID]*trk.FixT{}}
	if v.ack.Resumed {
		v.position, v.ready = req.ResumePosition, true
	}
	return v
}

func deviceOf(f *trk.FixT) track.DeviceID {
	return track.DeviceID(f.DeviceHi)<<32 | track.DeviceID(f.DeviceLo)
}

// take takes one frame. Frames of an earlier stream are let go.
func (v *view) take() *trk.WatchFrameT {
	v.t.Helper()
	for {
		frame, _, err := v.s.Next(within(v.t))
		if err != nil {
			v.t.Fatal(err)
		}
		f := frame.UnPack()
		if f.Stream == v.ack.Stream {
			v.see(f)
			return f
		}
	}
}

func (v *view) see(f *trk.WatchFrameT) {
	v.t.Helper()
	if f.Epoch != v.ack.Epoch || len(f.Names) != len(f.Fixes) {
		v.t.Fatalf("a frame of epoch %s with %d names for %d fixes", f.Epoch, len(f.Names), len(f.Fixes))
	}
	v.frames = append(v.frames, f.Kind)
	if f.Fresh {
		clear(v.present)
	}
	switch f.Kind {
	case trk.FrameKindSnapshot:
		if !f.More {
			v.position, v.ready = f.Position, true
		}
	case trk.FrameKindFixes:
		if !v.ready || v.position+float64(len(f.Fixes)) != f.Position {
			v.t.Fatalf("%d fixes at %v lead to %v", len(f.Fixes), v.position, f.Position)
		}
		v.position, v.fixes = f.Position, v.fixes+len(f.Fixes)
	case trk.FrameKindResync:
		if f.Skipped > 0 {
			v.position, v.skipped = v.position+f.Skipped, v.skipped+f.Skipped
		}
		if !f.More && v.position != f.Position {
			v.t.Fatalf("a resync over %v leads to %v, not %v", f.Skipped, f.Position, v.position)
		}
	}
	for _, fix := range f.Fixes {
		if fix.Marks&trk.MarkLate == 0 {
			v.present[deviceOf(fix)] = fix
		}
	}
	for _, id := range f.Left {
		gone, err := track.ParseDeviceID(id)
		if err != nil {
			v.t.Fatal(err)
		}
		delete(v.present, gone)
	}
}

// until takes frames until it is true.
func (v *view) until(what string, ok func() bool) {
	v.t.Helper()
	for range 100_000 {
		if ok() {
			return
		}
		v.take()
	}
	v.t.Fatalf("never: %s", what)
}

func all() *trk.WatchReqT { return &trk.WatchReqT{Area: &trk.AreaT{All: true}} }

func boxOf(south, west, north, east int32) *trk.AreaT {
	return &trk.AreaT{Box: &trk.BoxT{South: south * 1e7, West: west * 1e7, North: north * 1e7, East: east * 1e7}}
}

func TestWatchIsSnapshotThenWhatFollows(t *testing.T) {
	h := newHouse(t, nil)
	devices := h.enroll("van", "lorry")
	van, lorry := devices[0].Device, devices[1].Device
	h.apply(fixAt(van, 1, 50, 10))
	v := openView(t, h.dial(bearer(h.viewer)), all())
	f := v.take()
	if f.Kind != trk.FrameKindSnapshot || !f.Fresh || f.More || len(f.Fixes) != 1 || f.Names[0] != "van" || v.ack.Watch == 0 {
		t.Fatalf("first: %+v", f)
	}
	h.apply(fixAt(lorry, 2, 51, 11))
	f = v.take()
	if f.Kind != trk.FrameKindFixes || len(f.Fixes) != 1 || f.Names[0] != "lorry" || f.Position != 1 {
		t.Fatalf("then: %+v", f)
	}
	h.apply(fixAt(van, 0, 50, 10)) // late
	if f = v.take(); f.Fixes[0].Marks&trk.MarkLate == 0 {
		t.Errorf("late: %+v", f.Fixes[0])
	}
	if err := h.engine.Revoke(context.Background(), van); err != nil {
		t.Fatal(err)
	}
	if f = v.take(); len(f.Left) != 1 || f.Left[0] != van.String() {
		t.Errorf("revoked: %+v", f)
	}
}

// Nobody stops publishing while watches open: what a watcher has seen in the end is what
// is, and the position counts every fix since its snapshot.
func TestSnapshotAndWhatFollowsLeaveNoGapAndNoDouble(t *testing.T) {
	h := newHouse(t, nil)
	const devices, rounds, watchers = 50, 60, 8
	var names []string
	for i := range devices {
		names = append(names, fmt.Sprintf("d%02d", i))
	}
	var ids []track.DeviceID
	for _, e := range h.enroll(names...) {
		ids = append(ids, e.Device)
	}
	var published sync.WaitGroup
	published.Go(func() {
		for round := range rounds {
			fixes := make([]track.Fix, devices)
			for i, id := range ids {
				fixes[i] = fixAt(id, round, 40+float64(round)/10, float64(i))
			}
			h.apply(fixes...)
		}
	})
	c := h.dial(bearer(h.viewer))
	done := make(chan struct{}, watchers)
	for range watchers {
		v := openView(t, c, all())
		go func() {
			defer func() { done <- struct{}{} }()
			v.until("the last round", func() bool {
				if !v.ready || len(v.present) != devices {
					return false
				}
				for _, f := range v.present {
					if f.Time != epochMillis+(rounds-1)*1000 {
						return false
					}
				}
				return true
			})
		}()
	}
	published.Wait()
	for range watchers {
		<-done
	}
}

func TestWatchMovesInPlace(t *testing.T) {
	h := newHouse(t, nil)
	devices := h.enroll("north", "south")
	north, south := devices[0].Device, devices[1].Device
	h.apply(fixAt(north, 1, 60, 10), fixAt(south, 1, 40, 10))
	c := h.dial(bearer(h.viewer))
	watch := trk.WatchClient{Caller: c}
	v := openView(t, c, &trk.WatchReqT{Area: boxOf(50, 0, 70, 20)})
	if f := v.take(); len(f.Fixes) != 1 || f.Names[0] != "north" {
		t.Fatalf("in the north: %+v", f)
	}
	before := v.ack
	v.ack = at(must(watch.Move(within(t), &trk.MoveReqT{Watch: before.Watch, Area: boxOf(30, 0, 50, 20)}))(t)).UnPack()
	if v.ack.Watch != before.Watch || v.ack.Stream == before.Stream || v.ack.Resumed {
		t.Errorf("moved from %+v to %+v", before, v.ack)
	}
	if f := v.take(); f.Kind != trk.FrameKindSnapshot || !f.Fresh || len(f.Fixes) != 1 || f.Names[0] != "south" {
		t.Fatalf("in the south: %+v", f)
	}
	h.apply(fixAt(south, 2, 61, 10)) // and away
	v.until("south has left", func() bool { return len(v.present) == 0 })

	for what, err := range map[string]error{
		"a watch that is not": func() error {
			_, err := watch.Move(within(t), &trk.MoveReqT{Watch: 99, Area: all().Area})
			return err
		}(),
		"a watch of another": func() error {
			_, err := trk.WatchClient{Caller: h.dial(bearer(h.viewer))}.Move(within(t), &trk.MoveReqT{Watch: v.ack.Watch, Area: all().Area})
			return err
		}(),
	} {
		wantStatus(t, what, err, rpc.NotFound)
	}
}

func TestWatchResumesWhereItStood(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0].Device
	h.apply(fixAt(van, 1, 50, 10))
	c := h.dial(bearer(h.viewer))
	v := openView(t, c, all())
	v.take()
	h.apply(fixAt(van, 2, 50, 10))
	v.take()
	_ = c.Close()
	h.apply(fixAt(van, 3, 50, 10))
	h.apply(fixAt(van, 4, 50, 10))
	req := all()
	req.ResumeEpoch, req.ResumePosition = v.ack.Epoch, v.position
	c = h.dial(bearer(h.viewer))
	again := openView(t, c, req)
	if !again.ack.Resumed || again.ack.Stream != v.ack.Stream {
		t.Fatalf("not resumed: %+v", again.ack)
	}
	again.until("both fixes", func() bool { return again.fixes == 2 })
	if again.frames[0] != trk.FrameKindFixes {
		t.Errorf("frames %v", again.frames)
	}
	req.ResumeEpoch = "0123456789abcdef"
	if fresh := openView(t, c, req); fresh.ack.Resumed || fresh.take().Kind != trk.FrameKindSnapshot {
		t.Errorf("an epoch that never was: %+v", fresh.ack)
	}
	for what, change := range map[string]func(*trk.WatchReqT){
		"epoch":         func(r *trk.WatchReqT) { r.ResumeEpoch = "xyz" },
		"position":      func(r *trk.WatchReqT) { r.ResumePosition = -1 },
		"half position": func(r *trk.WatchReqT) { r.ResumePosition = 0.5 },
	} {
		bad := *req
		change(&bad)
		_, err := trk.WatchClient{Caller: c}.Open(within(t), &bad)
		wantStatus(t, what, err, rpc.InvalidArgument)
	}
}

func TestWatchWantsOneArea(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.MaxDevices = 2 })
	h.enroll("van")
	watch := trk.WatchClient{Caller: h.dial(bearer(h.viewer))}
	for name, tt := range map[string]struct {
		area trk.AreaT
		want rpc.Status
	}{
		"none":     {trk.AreaT{}, rpc.InvalidArgument},
		"two":      {trk.AreaT{All: true, Devices: []string{"van"}}, rpc.InvalidArgument},
		"many":     {trk.AreaT{Devices: []string{"van", "van", "van"}}, rpc.InvalidArgument},
		"stranger": {trk.AreaT{Devices: []string{"bus"}}, rpc.NotFound},
	} {
		_, err := watch.Open(within(t), &trk.WatchReqT{Area: &tt.area})
		wantStatus(t, name, err, tt.want)
	}
	_, err := watch.Open(within(t), &trk.WatchReqT{})
	wantStatus(t, "without an area", err, rpc.BadBody)
}

func TestConnectionHasSoManyWatchesAndNoMore(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.MaxWatches = 3 })
	c := h.dial(bearer(h.viewer))
	var views []*view
	for range 3 {
		views = append(views, openView(t, c, all()))
	}
	_, err := trk.WatchClient{Caller: c}.Open(within(t), all())
	wantStatus(t, "a fourth", err, rpc.Status(trk.AppErrorTooManyWatches))
	openView(t, h.dial(bearer(h.viewer)), all()) // somebody else may
	views[1].s.Close()
	eventually(t, "there is room again", func() bool {
		s, err := trk.WatchClient{Caller: c}.Open(within(t), all())
		if err == nil {
			views = append(views, &view{s: s})
		}
		return err == nil
	})
	if a, b := views[2].ack.Watch, at(must(views[3].s.Ack())(t)).Watch(); a == b {
		t.Errorf("two watches are number %d", a)
	}
}

// A thousand who watch the same thing cost one stream and one encoding a frame.
func TestManyWatchersShareOneEncoding(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0].Device
	h.apply(fixAt(van, 0, 50, 10))
	const conns, each, fixes = 20, 50, 30
	var views []*view
	for range conns {
		c := h.dial(bearer(h.viewer))
		for range each {
			v := openView(t, c, all())
			v.until("the snapshot", func() bool { return v.ready })
			views = append(views, v)
		}
	}
	before := h.engine.Status().Hub
	if before.Streams != 1 || before.Viewers != conns*each {
		t.Fatalf("%d streams, %d viewers", before.Streams, before.Viewers)
	}
	for i := range fixes {
		h.apply(fixAt(van, i+1, 50, 10))
	}
	var wg sync.WaitGroup
	for _, v := range views {
		wg.Go(func() { v.until("all fixes", func() bool { return float64(v.fixes)+v.skipped == fixes }) })
	}
	wg.Wait()
	after := h.engine.Status().Hub
	frames, encodings := after.Frames-before.Frames, after.Encodings-before.Encodings
	// Who fell behind gets frames of its own, which are counted as resyncs.
	if most := frames + 2*(after.Resyncs-before.Resyncs); frames == 0 || encodings > most {
		t.Errorf("%d encodings of %d frames, %d resyncs", encodings, frames, after.Resyncs-before.Resyncs)
	}
}

// Whoever takes nothing gets the newest of each device and the count of the rest, and
// costs one who takes everything nothing.
func TestSlowWatcherGetsTheNewestBesideAFastOne(t *testing.T) {
	h := newHouseWith(t, hub.Config{QueueBytes: 64 << 10}, nil)
	var ids []track.DeviceID
	for _, e := range h.enroll("van", "lorry") {
		ids = append(ids, e.Device)
	}
	slowConn, err := h.knock(bearer(h.viewer), 1)
	if err != nil {
		t.Fatal(err)
	}
	slow := openView(t, slowConn, all())
	slow.until("the snapshot", func() bool { return slow.ready })
	eventually(t, "its credit is used up", func() bool {
		h.apply(fixAt(ids[0], 0, 50, 10))
		return h.gate.rpc.Stats().Events >= 2
	})
	sent := h.gate.rpc.Stats().Events
	fast := openView(t, h.dial(bearer(h.viewer)), all())
	fast.until("the snapshot", func() bool { return fast.ready })
	const rounds = 3000 // more than the stream keeps
	big := make([]track.Fix, 0, 2*100)
	for round := 1; round <= rounds; round++ {
		for _, id := range ids {
			big = append(big, fixAt(id, round, 50, 10))
		}
		if len(big) == cap(big) {
			h.apply(big...)
			big = big[:0]
			fast.until("it keeps up", func() bool {
				return fast.present[ids[1]] != nil && fast.present[ids[1]].Time == epochMillis+float64(round)*1000
			})
		}
	}
	if h.gate.rpc.Stats().Events == sent {
		t.Error("nothing was sent to the fast one")
	}
	slow.until("the newest of both", func() bool {
		for _, id := range ids {
			if f := slow.present[id]; f == nil || f.Time != epochMillis+rounds*1000 {
				return false
			}
		}
		return true
	})
	if got := slow.skipped + float64(slow.fixes); got < 2*rounds || slow.skipped == 0 {
		t.Errorf("it got %d and was spared %v of %d", slow.fixes, slow.skipped, 2*rounds)
	}
}

func TestDeviceDoesNotRead(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0]
	c := servicesOf(h.dial(proof(&van, time.Now())))
	_, err := c.watch.Open(within(t), all())
	wantStatus(t, "watch", err, rpc.PermissionDenied)
	_, err = c.positions.Latest(within(t), &trk.LatestReqT{Devices: []string{"van"}})
	wantStatus(t, "its own position", err, rpc.PermissionDenied)
	if !errors.Is(err, &rpc.Error{Status: rpc.PermissionDenied}) {
		t.Error(err)
	}
}

func TestClosedWatchLeavesTheHub(t *testing.T) {
	h := newHouse(t, nil)
	v := openView(t, h.dial(bearer(h.viewer)), all())
	v.take()
	v.s.Close()
	for {
		if _, _, err := v.s.Next(within(t)); err != nil {
			if !errors.Is(err, io.EOF) && rpc.StatusOf(err) != rpc.Canceled {
				t.Errorf("closed: %v", err)
			}
			break
		}
	}
	eventually(t, "the viewer is gone", func() bool { return h.engine.Status().Hub.Viewers == 0 })
}

func TestWhoAsksForManyViewsWaitsForItsTurn(t *testing.T) {
	var s session
	now := time.Unix(1_700_000_000, 0)
	for i := range engine.AskBurst {
		if wait := s.reserve(now); wait > 0 {
			t.Fatalf("number %d of the burst waits %v", i, wait)
		}
	}
	const each = time.Second / engine.AskPerSec
	for i := range 3 {
		if wait := s.reserve(now); wait != time.Duration(i+1)*each {
			t.Errorf("number %d beyond it waits %v", i, wait)
		}
	}
	if wait := s.reserve(now.Add(time.Minute)); wait > 0 {
		t.Errorf("a minute later: %v", wait)
	}
}

func TestFewWaitForTheirTurn(t *testing.T) {
	h := newHouse(t, nil)
	c := servicesOf(h.dial(bearer(h.viewer)))
	far := int64(0)
	done := make(chan error, 2*engine.AskBurst+int(maxTurn/time.Second)*engine.AskPerSec)
	for range cap(done) {
		err := c.watch.MoveAsync(within(t), &trk.MoveReqT{Watch: 7, Area: all().Area}, func(_ trk.WatchAck, err error) { done <- err })
		if err != nil {
			t.Fatal(err)
		}
	}
	for range cap(done) / 2 { // the burst, and those that need not wait to be refused
		err := <-done
		var e *rpc.Error
		switch {
		case errors.As(err, &e) && e.Status == rpc.ResourceExhausted && e.RetryAfter > 0:
			far++
		case rpc.StatusOf(err) != rpc.NotFound:
			t.Fatalf("got %v", err)
		}
		if far > 0 {
			return
		}
	}
	t.Error("everybody waits")
}
