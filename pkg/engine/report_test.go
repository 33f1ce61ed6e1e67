package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"tracker/pkg/hub"
	"tracker/pkg/store"
	"tracker/pkg/track"
)

// A device that comes in by two doors at once: whoever watches it sees it go forward
// only, as long as both doors hold Crossing.
func TestReportsAndDatagramsOfOneDeviceStayInOrder(t *testing.T) {
	w := newWorld(t)
	van := w.enroll("van", 0).Device.ID
	viewer, err := w.Watch(hub.All(), hub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer viewer.Close()
	const n = 500
	start := w.now.UnixMilli()
	var doors sync.WaitGroup
	doors.Go(func() {
		for i := range n {
			if _, err := w.Report(van, []track.Fix{{Time: start + int64(i), Has: track.HasPos}}); err != nil {
				t.Error(err)
			}
		}
	})
	doors.Go(func() {
		for i := range n {
			b := track.Batch{Fixes: []track.Fix{{Device: van, Wire: van, PID: uint32(i), Time: start + int64(i), Has: track.HasPos}}}
			w.Crossing().Lock()
			w.Apply(&b)
			w.Crossing().Unlock()
		}
	})
	var newest int64
	for seen := 0; seen < 2*n; {
		frames, err := viewer.Next(t.Context(), make([]*hub.Frame, 0, 4))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			if f.Kind == hub.Snapshot {
				seen = int(f.Seq)
			}
			seen += int(f.Skipped)
			if f.Kind == hub.Fixes {
				seen += len(f.Fixes)
			}
			for i := range f.Fixes {
				if fix := &f.Fixes[i]; fix.Flags&track.Late == 0 {
					if fix.Time < newest {
						t.Fatalf("the present went back from %d to %d", newest, fix.Time)
					}
					newest = fix.Time
				}
			}
		}
	}
	doors.Wait()
}

func TestFirstReportTellsTheDoorForDatagrams(t *testing.T) {
	w := newWorld(t)
	van := w.enroll("van", 0).Device.ID
	before := w.Generation()
	for range 3 {
		if _, err := w.Report(van, []track.Fix{{Time: w.now.UnixMilli()}}); err != nil {
			t.Fatal(err)
		}
	}
	if s, ok := w.Session(van); !ok || !s.Several {
		t.Errorf("session %+v", s)
	}
	ids, after := w.Changed(before)
	if !slices.Equal(ids, []track.DeviceID{van}) || after != before+1 {
		t.Errorf("told of %v, once, and went from %d to %d", ids, before, after)
	}
}

func TestOnlyDevicesThatMaySendReport(t *testing.T) {
	w := newWorld(t)
	probe, err := w.EnrollProbe()
	if err != nil {
		t.Fatal(err)
	}
	van := w.enroll("van", 0).Device.ID
	if err := w.Revoke(context.Background(), van); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[track.DeviceID]error{van: ErrRevoked, probe.Device: track.ErrNotFound, 7: track.ErrNotFound} {
		if _, err := w.Report(id, []track.Fix{{Time: 1}}); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", id, err, want)
		}
	}
}

func TestIdentityLivesAsLongAsWhatProvedIt(t *testing.T) {
	w := newWorld(t)
	van := w.enroll("van", 0).Device.ID
	who := Identity{Device: van, Cred: van, Role: RoleDevice}
	if !w.Alive(&who) {
		t.Error("a device that may send")
	}
	if _, err := w.Rotate(context.Background(), van); err != nil {
		t.Fatal(err)
	}
	if !w.Alive(&who) {
		t.Error("within the grace of its old key")
	}
	w.now = w.now.Add(w.cfg.Grace)
	if w.Alive(&who) {
		t.Error("after it")
	}
	tok, secret, err := w.CreateToken(context.Background(), "x", RoleViewer, 1e9)
	if err != nil {
		t.Fatal(err)
	}
	who, err = w.Authenticate(secret)
	if err != nil || !who.Expires.Equal(tok.Expires) || !w.Alive(&who) {
		t.Errorf("%+v, %v", who, err)
	}
	w.now = tok.Expires
	if w.Alive(&who) {
		t.Error("a token that expired")
	}
}

// Two reports that a device sends one right behind the other may arrive in the same
// millisecond and tell of the same moment, here first that it moves and then that
// somebody calls for help. History has both, in the order of the reports, whatever the
// length of its pages.
func TestReportsOfTheSameMomentStayApart(t *testing.T) {
	w := newWorld(t)
	van := w.enroll("van", 0).Device.ID
	at := w.now.UnixMilli()
	want := []track.Event{track.EventMotionStart, track.EventSOS, track.EventTamper}
	for _, ev := range want {
		if _, err := w.Report(van, []track.Fix{{Time: at, Event: ev}}); err != nil {
			t.Fatal(err)
		}
	}
	q := store.Query{Device: van, Limit: 1, Heartbeats: true}
	var got []track.Event
	for range len(want) {
		fixes, err := w.HistoryPage(t.Context(), q, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range fixes {
			got = append(got, fixes[i].Event)
			q.After = store.Behind(&fixes[i])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("history has %v, want %v", got, want)
	}
	if f, ok := w.live.Get(van); !ok || f.Event != track.EventTamper {
		t.Errorf("the present is %v", f.Event)
	}
}
