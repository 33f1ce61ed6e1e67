package gateway

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/rpc"
	"tracker/pkg/store"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// nowFix is a fix of this moment as a device writes it, that many seconds before.
func nowFix(ago int, lat, lon int32) *trk.FixT {
	return &trk.FixT{Time: float64(time.Now().UnixMilli()/1000*1000 - int64(ago)*1000), Has: trk.HasPosition, Lat: lat, Lon: lon}
}

func TestReportGoesDownTheWholeRiver(t *testing.T) {
	h := newHouse(t, nil)
	e := h.enroll("van", "lorry")
	van, lorry := e[0], e[1]
	v := openView(t, h.dial(bearer(h.viewer)), all())
	v.until("the snapshot", func() bool { return v.ready })
	c := servicesOf(h.dial(proof(&van, time.Now())))
	full := nowFix(1, 500000000, 100000000)
	full.Has = trk.HasPosition | trk.HasAltitude | trk.HasVelocity | trk.HasAccuracy | trk.HasBattery
	full.AltM, full.SpeedCmps, full.CourseCdeg, full.AccuracyCm, full.Battery, full.Event = -3, 777, 35999, 1000, 0x80|127, trk.DeviceEventTamper
	// What is not its to say.
	full.DeviceLo, full.DeviceHi, full.Marks, full.Received = uint32(lorry.Device), uint16(lorry.Device>>32), 7, 5
	before := float64(time.Now().UnixMilli())
	ack := must(c.publish.Report(within(t), &trk.ReportReqT{Device: "lorry", Fixes: []*trk.FixT{nowFix(2, 1, 2), full}}))(t)
	if string(ack.Device()) != van.Device.String() || ack.Accepted() != 2 || ack.Late() != 0 {
		t.Errorf("ack %+v", ack.UnPack())
	}
	v.until("both", func() bool { return v.fixes == 2 })
	got := v.present[van.Device]
	if got.Received < before || got.Marks&(trk.MarkLate|trk.MarkSuspect) != 0 || got.Time != full.Time || got.Event != full.Event ||
		got.AltM != -3 || got.SpeedCmps != 777 || got.CourseCdeg != 35999 || got.AccuracyCm < 1000 || got.Battery != full.Battery {
		t.Errorf("watched %+v", got)
	}
	if v.present[lorry.Device] != nil {
		t.Error("it was filed under the device that it named")
	}
	if n := len(h.history(van.Device)); n != 2 {
		t.Errorf("%d fixes in history", n)
	}
	ack = must(c.publish.Report(within(t), &trk.ReportReqT{Fixes: []*trk.FixT{nowFix(100, 1, 2), nowFix(0, 3, 4)}}))(t)
	if ack.Accepted() != 2 || ack.Late() != 1 {
		t.Errorf("with a late one: %+v", ack.UnPack())
	}
	if h.gate.stats.reported.Load() != 4 {
		t.Errorf("%d were counted", h.gate.stats.reported.Load())
	}
}

func (h *house) history(id track.DeviceID) []track.Fix {
	h.t.Helper()
	fixes, err := h.engine.HistoryPage(context.Background(), store.Query{Device: id, Heartbeats: true}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return fixes
}

func TestAdminReportsForADeviceThatItNames(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0]
	admin := servicesOf(h.dial(bearer(h.admin)))
	for _, ref := range []string{"van", van.Device.String()} {
		ack := must(admin.publish.Report(within(t), &trk.ReportReqT{Device: ref, Fixes: []*trk.FixT{nowFix(0, 1, 2)}}))(t)
		if string(ack.Device()) != van.Device.String() {
			t.Errorf("%q: filed under %s", ref, ack.Device())
		}
	}
	for _, ref := range []string{"", "bus", "000000000001"} {
		_, err := admin.publish.Report(within(t), &trk.ReportReqT{Device: ref, Fixes: []*trk.FixT{nowFix(0, 1, 2)}})
		wantStatus(t, "for "+ref, err, rpc.NotFound)
	}
	_, err := servicesOf(h.dial(bearer(h.viewer))).publish.Report(within(t), &trk.ReportReqT{Device: "van", Fixes: []*trk.FixT{nowFix(0, 1, 2)}})
	wantStatus(t, "a viewer", err, rpc.PermissionDenied)
	if err := h.engine.Revoke(context.Background(), van.Device); err != nil {
		t.Fatal(err)
	}
	_, err = admin.publish.Report(within(t), &trk.ReportReqT{Device: van.Device.String(), Fixes: []*trk.FixT{nowFix(0, 1, 2)}})
	wantStatus(t, "for a revoked one", err, rpc.Status(trk.AppErrorDeviceRevoked))
	if _, seen := h.engine.Latest(van.Device); seen {
		t.Error("a revoked device is on the map")
	}
}

func TestReportIsTakenWholeOrNotAtAll(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0]
	admin := servicesOf(h.dial(bearer(h.admin)))
	many := make([]*trk.FixT, engine.MaxReport+1)
	for i := range many {
		many[i] = nowFix(0, 1, 2)
	}
	bad := func(change func(*trk.FixT)) []*trk.FixT {
		f := nowFix(0, 1, 2)
		f.Has = trk.HasPosition | trk.HasVelocity | trk.HasBattery
		change(f)
		return []*trk.FixT{nowFix(5, 1, 2), f}
	}
	for name, tt := range map[string]struct {
		fixes []*trk.FixT
		want  rpc.Status
	}{
		"none":          {nil, rpc.InvalidArgument},
		"too many":      {many, rpc.InvalidArgument},
		"time before":   {bad(func(f *trk.FixT) { f.Time = -1 }), rpc.InvalidArgument},
		"half time":     {bad(func(f *trk.FixT) { f.Time += 0.5 }), rpc.InvalidArgument},
		"no time":       {bad(func(f *trk.FixT) { f.Time = math.NaN() }), rpc.InvalidArgument},
		"endless time":  {bad(func(f *trk.FixT) { f.Time = math.Inf(1) }), rpc.InvalidArgument},
		"year 2200":     {bad(func(f *trk.FixT) { f.Time = 7.3e12 }), rpc.InvalidArgument},
		"ahead":         {bad(func(f *trk.FixT) { f.Time += 180_000 }), rpc.Status(trk.AppErrorClockAhead)},
		"not in order":  {bad(func(f *trk.FixT) { f.Time -= 10_000 }), rpc.InvalidArgument},
		"unknown part":  {bad(func(f *trk.FixT) { f.Has |= 32 }), rpc.InvalidArgument},
		"north of pole": {bad(func(f *trk.FixT) { f.Lat = 900_000_001 }), rpc.InvalidArgument},
		"east of all":   {bad(func(f *trk.FixT) { f.Lon = -1_800_000_001 }), rpc.InvalidArgument},
		"course":        {bad(func(f *trk.FixT) { f.CourseCdeg = 36000 }), rpc.InvalidArgument},
		"battery":       {bad(func(f *trk.FixT) { f.Battery = 101 }), rpc.InvalidArgument},
	} {
		_, err := admin.publish.Report(within(t), &trk.ReportReqT{Device: "van", Fixes: tt.fixes})
		wantStatus(t, name, err, tt.want)
	}
	if n := len(h.history(van.Device)); n != 0 {
		t.Errorf("%d fixes of bad reports were kept", n)
	}
	// What has does not name is not looked at.
	f := nowFix(0, math.MaxInt32, math.MinInt32)
	f.Has, f.CourseCdeg, f.Battery = 0, 65535, 255
	if _, err := admin.publish.Report(within(t), &trk.ReportReqT{Device: "van", Fixes: []*trk.FixT{f}}); err != nil {
		t.Errorf("heartbeat: %v", err)
	}
}

// Reports and datagrams of one device live side by side, and a restart remembers both:
// what was reported counts for no floor, what was sent still does.
func TestReportsLeaveReplayFloorsAloneAcrossARestart(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0]
	id := van.Device
	epoch := uint32(time.Now().Unix())
	sent := func(pid uint32, ago int) {
		b := track.Batch{Fixes: []track.Fix{{Device: id, Wire: id, Epoch: epoch, PID: pid, Has: track.HasPos,
			Time: time.Now().UnixMilli() - int64(ago)*1000, Arrived: time.Now().UnixMilli()}}}
		h.engine.Apply(&b)
	}
	report := func(n, ago int) {
		t.Helper()
		req := &trk.ReportReqT{}
		for i := range n {
			req.Fixes = append(req.Fixes, nowFix(ago+n-i, int32(i), 7))
		}
		must(servicesOf(h.dial(proof(&van, time.Now()))).publish.Report(within(t), req))(t)
	}
	if s, _ := h.engine.Session(id); s.Several {
		t.Error("a device that never reported comes in by one way")
	}
	sent(41, 3000)
	report(engine.MaxReport, 1000)
	sent(42, 900)
	report(3, 0)
	if s, _ := h.engine.Session(id); !s.Several {
		t.Error("the door for datagrams is not told that it reports too")
	}
	// The same moment twice, and in one report.
	twin := nowFix(0, 9, 9)
	must(servicesOf(h.dial(bearer(h.admin))).publish.Report(within(t), &trk.ReportReqT{Device: "van", Fixes: []*trk.FixT{twin, twin}}))(t)
	before, latest := h.history(id), firstOf(h.engine.Latest(id))
	if len(before) != engine.MaxReport+3+2+2 {
		t.Fatalf("%d fixes before the restart", len(before))
	}
	for round, compact := range []bool{false, true} {
		if compact {
			if err := h.db.Compact(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		h.stop()
		h.open()
		after := h.history(id)
		if len(after) != len(before) {
			t.Fatalf("round %d: %d fixes of %d", round, len(after), len(before))
		}
		for i := range after {
			before[i].Ext, after[i].Ext = 0, 0
			if after[i] != before[i] {
				t.Fatalf("round %d: fix %d is\n%+v, was\n%+v", round, i, after[i], before[i])
			}
		}
		s, ok := h.engine.Session(id)
		if want := (engine.Live{Epoch: epoch, MaxPID: 42, Known: true}); !ok || s.Live[0] != want || s.Live[1].Known {
			t.Errorf("round %d: floors %+v, want only %+v", round, s.Live, want)
		}
		if got := firstOf(h.engine.Latest(id)); got.Time != latest.Time || got.At != latest.At || got.Wire != 0 {
			t.Errorf("round %d: the present is %+v, was %+v", round, got, latest)
		}
	}
	if _, err := h.engine.ResetFloor(context.Background(), id); err == nil {
		t.Error("a report made a session in the future")
	}
	report(2, 0)
	if got := len(h.history(id)); got != len(before)+2 {
		t.Errorf("%d fixes after another report", got)
	}
	// A page that ends between the twins goes on with the second.
	pages := 0
	for q := (store.Query{Device: id, Limit: 1}); ; pages++ {
		page, err := h.engine.HistoryPage(context.Background(), q, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		q.After = store.Behind(&page[0])
	}
	if pages != len(before)+2 {
		t.Errorf("one by one there are %d fixes of %d", pages, len(before)+2)
	}
}

func firstOf[T any](v T, _ bool) T { return v }

func TestReportsOfADeviceStayInOrder(t *testing.T) {
	h := newHouse(t, nil)
	h.enroll("van")
	const n = 300
	c := h.dial(bearer(h.admin))
	p := trk.PublishClient{Caller: c}
	var wg sync.WaitGroup
	late := make([]uint32, n)
	for i := range n {
		ref := "van"
		wg.Add(1)
		f := nowFix(n-i, int32(i), 1)
		if err := p.ReportAsync(within(t), &trk.ReportReqT{Device: ref, Fixes: []*trk.FixT{f}}, func(a trk.ReportAck, err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
				return
			}
			late[i] = a.Late()
		}); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	for i, l := range late {
		if l != 0 {
			t.Fatalf("report %d came late", i)
		}
	}
}

func TestDeviceThatReportsTooMuchIsToldToWait(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Reports = Rate{Reports: 1, Fixes: 10, Burst: 5} })
	e := h.enroll("van", "lorry")
	van, lorry := servicesOf(h.dial(proof(&e[0], time.Now()))), servicesOf(h.dial(proof(&e[1], time.Now())))
	one := &trk.ReportReqT{Fixes: []*trk.FixT{nowFix(0, 1, 2)}}
	var err error
	for i := range 50 {
		if _, err = van.publish.Report(within(t), one); err != nil {
			if i < 5 {
				t.Errorf("after %d reports: %v", i, err)
			}
			break
		}
	}
	e2, _ := err.(*rpc.Error)
	if e2 == nil || e2.Status != rpc.ResourceExhausted || e2.RetryAfter <= 0 || e2.RetryAfter > 5*time.Second || !e2.NotRun {
		t.Errorf("got %+v, want to be told when", err)
	}
	if _, err := lorry.publish.Report(within(t), one); err != nil {
		t.Errorf("another device: %v", err)
	}
	admin := servicesOf(h.dial(bearer(h.admin)))
	if _, err := admin.publish.Report(within(t), &trk.ReportReqT{Device: "van", Fixes: one.Fixes}); err != nil {
		t.Errorf("an admin: %v", err)
	}
	if h.gate.stats.limited.Load() == 0 {
		t.Error("nothing was counted")
	}
}

func TestAccountsArePaidOffByTime(t *testing.T) {
	var a accounts
	a.init(Rate{Reports: 4, Fixes: 50, Burst: 120})
	now := time.Unix(1_700_000_000, 0)
	for i := range 120 {
		if wait := a.charge(1, 1, now); wait != 0 {
			t.Fatalf("report %d of the burst waits %v", i, wait)
		}
	}
	if wait := a.charge(1, 1, now); wait != 250*time.Millisecond {
		t.Errorf("one too many waits %v", wait)
	}
	if wait := a.charge(1, 1, now.Add(250*time.Millisecond)); wait != 0 {
		t.Errorf("a quarter of a second later: %v", wait)
	}
	// A big report is taken and paid off before the next.
	if wait := a.charge(2, engine.MaxReport, now); wait != 0 {
		t.Errorf("a big one waits %v", wait)
	}
	for range 4 {
		a.charge(2, engine.MaxReport, now)
	}
	if wait := a.charge(2, 1, now); wait <= 0 {
		t.Error("five big ones at once are fine")
	}
	a.forget(now)
	if len(a.due) != 2 {
		t.Errorf("%d accounts", len(a.due))
	}
	a.forget(now.Add(time.Hour))
	if len(a.due) != 0 {
		t.Errorf("%d accounts are kept for ever", len(a.due))
	}
}
