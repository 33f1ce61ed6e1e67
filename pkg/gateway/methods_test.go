package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/web"
	"tracker/pkg/wire/trk"
)

// jsonDoor is the other door, on the same engine.
type jsonDoor struct {
	t    testing.TB
	url  string
	http *http.Client
}

func (h *house) jsonDoor() *jsonDoor {
	h.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	w := web.New(web.Config{Version: "1.2.3"}, h.engine)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.ServeListener(ctx, ln) }()
	d := &jsonDoor{t: h.t, url: "http://" + ln.Addr().String(), http: &http.Client{Transport: &http.Transport{}}}
	h.t.Cleanup(func() {
		d.http.CloseIdleConnections()
		cancel()
		<-done
	})
	return d
}

func (d *jsonDoor) do(method, path, token, body string) (int, map[string]any) {
	d.t.Helper()
	req, err := http.NewRequest(method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := d.http.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	var v map[string]any
	if len(b) > 0 {
		if err := json.Unmarshal(b, &v); err != nil {
			d.t.Fatalf("%v in %s", err, b)
		}
	}
	return resp.StatusCode, v
}

// services is all of them for one caller.
type services struct {
	session   trk.SessionClient
	positions trk.PositionsClient
	watch     trk.WatchClient
	devices   trk.DevicesClient
	tokens    trk.TokensClient
	publish   trk.PublishClient
	status    trk.StatusClient
	maps      trk.MapsClient
	example   trk.ExampleClient
}

func servicesOf(c rpc.Caller) services {
	return services{trk.SessionClient{Caller: c}, trk.PositionsClient{Caller: c}, trk.WatchClient{Caller: c}, trk.DevicesClient{Caller: c},
		trk.TokensClient{Caller: c}, trk.PublishClient{Caller: c}, trk.StatusClient{Caller: c}, trk.MapsClient{Caller: c}, trk.ExampleClient{Caller: c}}
}

// TestBothDoorsRefuseInTheSameWords asks the same wrong thing of both.
func TestBothDoorsRefuseInTheSameWords(t *testing.T) {
	h := newHouse(t, nil)
	h.enroll("van", "lorry")
	j := h.jsonDoor()
	ctx := within(t)
	admin, viewer := servicesOf(h.dial(bearer(h.admin))), servicesOf(h.dial(bearer(h.viewer)))
	err2 := func(_ any, err error) error { return err }
	for name, tt := range map[string]struct {
		err          error
		method, path string
		token, body  string
	}{
		"unknown device":     {err2(viewer.devices.Show(ctx, &trk.DeviceRefT{Device: "bus"})), "GET", "/v1/devices/bus", h.viewer, ""},
		"unknown position":   {err2(viewer.positions.Latest(ctx, &trk.LatestReqT{Devices: []string{"van", "bus"}})), "GET", "/v1/positions?device=van&device=bus", h.viewer, ""},
		"cursor of devices":  {err2(viewer.devices.List(ctx, &trk.ListReqT{After: "xyz"})), "GET", "/v1/devices?after=xyz", h.viewer, ""},
		"limit of devices":   {err2(viewer.devices.List(ctx, &trk.ListReqT{Limit: 1001})), "GET", "/v1/devices?limit=1001", h.viewer, ""},
		"limit of positions": {err2(viewer.positions.InBox(ctx, &trk.InBoxReqT{Limit: 10_001})), "GET", "/v1/positions?limit=10001", h.viewer, ""},
		"limit of near":      {err2(viewer.positions.Near(ctx, &trk.NearReqT{At: &trk.PointT{}, Limit: 1001})), "GET", "/v1/near?at=0,0&limit=1001", h.viewer, ""},
		"cursor of history":  {err2(viewer.positions.History(ctx, &trk.HistoryReqT{Device: "van", After: "xyz"})), "GET", "/v1/history/van?after=xyz", h.viewer, ""},
		"history of nobody":  {err2(viewer.positions.History(ctx, &trk.HistoryReqT{Device: "bus"})), "GET", "/v1/history/bus", h.viewer, ""},
		"viewer enrols":      {err2(viewer.devices.Enroll(ctx, &trk.EnrollReqT{Devices: []*trk.NewDeviceT{{Name: "x"}}})), "POST", "/v1/devices", h.viewer, `{"name":"x"}`},
		"name is taken":      {err2(admin.devices.Rename(ctx, &trk.RenameReqT{Device: "lorry", Name: "van"})), "PATCH", "/v1/devices/lorry", h.admin, `{"name":"van"}`},
		"name is an id":      {err2(admin.devices.Rename(ctx, &trk.RenameReqT{Device: "lorry", Name: "0123456789ab"})), "PATCH", "/v1/devices/lorry", h.admin, `{"name":"0123456789ab"}`},
		"enrol nobody":       {err2(admin.devices.Enroll(ctx, &trk.EnrollReqT{})), "POST", "/v1/devices:batch", h.admin, `{"devices":[]}`},
		"enrol twice":        {err2(admin.devices.Enroll(ctx, &trk.EnrollReqT{Devices: []*trk.NewDeviceT{{Name: "a"}, {Name: "a"}}})), "POST", "/v1/devices:batch", h.admin, `{"devices":[{"name":"a"},{"name":"a"}]}`},
		"wrong flags":        {err2(admin.devices.Enroll(ctx, &trk.EnrollReqT{Devices: []*trk.NewDeviceT{{Name: "a", Flags: "q"}}})), "POST", "/v1/devices:batch", h.admin, `{"devices":[{"name":"a","flags":"q"}]}`},
		"wrong suite":        {err2(admin.devices.Enroll(ctx, &trk.EnrollReqT{Devices: []*trk.NewDeviceT{{Name: "a", Suite: 9}}})), "POST", "/v1/devices", h.admin, `{"name":"a","suite":9}`},
		"revoke nobody":      {err2(admin.devices.Revoke(ctx, &trk.DeviceRefT{Device: "bus"})), "DELETE", "/v1/devices/bus", h.admin, ""},
		"rotate nobody":      {err2(admin.devices.Rotate(ctx, &trk.DeviceRefT{Device: "bus"})), "POST", "/v1/devices/bus/rotate", h.admin, ""},
		"nothing to reset":   {err2(admin.devices.ResetFloor(ctx, &trk.DeviceRefT{Device: "van"})), "POST", "/v1/devices/van/reset-floor", h.admin, ""},
		"role":               {err2(admin.tokens.Create(ctx, &trk.NewTokenT{Name: "x", Role: "king"})), "POST", "/v1/tokens", h.admin, `{"name":"x","role":"king"}`},
		"device is no role":  {err2(admin.tokens.Create(ctx, &trk.NewTokenT{Name: "x", Role: "device"})), "POST", "/v1/tokens", h.admin, `{"name":"x","role":"device"}`},
		"token of nobody":    {err2(admin.tokens.Revoke(ctx, &trk.TokenRefT{Id: "0123456789abcdef"})), "DELETE", "/v1/tokens/0123456789abcdef", h.admin, ""},
		"viewer's tokens":    {err2(viewer.tokens.List(ctx, &trk.EmptyT{})), "GET", "/v1/tokens", h.viewer, ""},
	} {
		_, v := j.do(tt.method, tt.path, tt.token, tt.body)
		problem, _ := v["error"].(map[string]any)
		var e *rpc.Error
		if !errors.As(tt.err, &e) {
			t.Errorf("%s: got %v, want a refusal", name, tt.err)
			continue
		}
		got, want := e.Message, fmt.Sprint(problem["message"])
		if name == "wrong suite" { // of one there, of a list here
			got = strings.TrimPrefix(got, "device 1: ")
			want = strings.TrimPrefix(want, "device 1: ")
		}
		if got != want || e.Reason != problem["code"] {
			t.Errorf("%s: %s %q here, %v %q there", name, e.Reason, got, problem["code"], want)
		}
	}
}

func TestBothDoorsAgreeOnPositions(t *testing.T) {
	h := newHouse(t, nil)
	all := h.enroll("van", "lorry", "quiet")
	van, lorry := all[0].Device, all[1].Device
	h.apply(fixAt(van, 1, 52.5, 13.4))
	full := fixAt(lorry, 2, 52.6, 13.5)
	full.Has |= track.HasAlt | track.HasVel | track.HasAcc | track.HasBat
	full.Alt, full.Speed, full.Course, full.Acc, full.Bat, full.Event = -7, 1234, 35999, 0xff, 0x80|55, track.EventSOS
	h.apply(full)
	j, c := h.jsonDoor(), servicesOf(h.dial(bearer(h.viewer)))
	ctx := within(t)

	_, v := j.do("GET", "/v1/positions", h.viewer, "")
	fixes := must(c.positions.InBox(ctx, &trk.InBoxReqT{}))(t)
	sameFixes(t, fixes.UnPack(), v)

	_, v = j.do("GET", "/v1/positions?device=van&device=quiet&device="+lorry.String(), h.viewer, "")
	sameFixes(t, at(must(c.positions.Latest(ctx, &trk.LatestReqT{Devices: []string{"van", "quiet", lorry.String()}}))(t)).UnPack(), v)

	_, v = j.do("GET", "/v1/positions?limit=1", h.viewer, "")
	first := at(must(c.positions.InBox(ctx, &trk.InBoxReqT{Limit: 1}))(t)).UnPack()
	sameFixes(t, first, v)
	_, v = j.do("GET", "/v1/positions?limit=1&after="+first.Next, h.viewer, "")
	second := at(must(c.positions.InBox(ctx, &trk.InBoxReqT{Limit: 1, After: first.Next}))(t)).UnPack()
	sameFixes(t, second, v)
	if second.Next != "" || first.Next == "" {
		t.Errorf("cursors %q and %q", first.Next, second.Next)
	}
	here := geo.Deg(52.55, 13.45)
	near := at(must(c.positions.Near(ctx, &trk.NearReqT{At: &trk.PointT{Lat: here.Lat, Lon: here.Lon}, WithinM: 100_000}))(t)).UnPack()
	_, v = j.do("GET", "/v1/near?at=52.55,13.45&within=100000", h.viewer, "")
	hits := v["hits"].([]any)
	if len(hits) != 2 || len(near.Fixes) != 2 || len(near.Distances) != 2 {
		t.Fatalf("%d hits here, %d there", len(near.Fixes), len(hits))
	}
	for i, hit := range hits {
		m := hit.(map[string]any)
		if near.Distances[i].Metres != m["distance_m"] || near.Distances[i].BearingDeg != m["bearing_deg"] || near.Names[i] != m["fix"].(map[string]any)["name"] {
			t.Errorf("hit %d: %+v %s here, %v there", i, near.Distances[i], near.Names[i], m)
		}
	}
	box := must(c.positions.InBox(ctx, &trk.InBoxReqT{Box: &trk.BoxT{South: 524000000, West: 130000000, North: 525500000, East: 140000000}}))(t)
	if box.FixesLength() != 1 || string(box.Names(0)) != "van" {
		t.Errorf("box: %+v", box.UnPack())
	}
}

// sameFixes compares a page with what the other door gave.
func sameFixes(t *testing.T, got *trk.FixesT, v map[string]any) {
	t.Helper()
	want, _ := v["fixes"].([]any)
	if got.Next != v["next"] || len(got.Fixes) != len(want) || len(got.Names) != len(want) {
		t.Fatalf("%d fixes, next %q here; %v there", len(got.Fixes), got.Next, v)
	}
	for i, f := range got.Fixes {
		w := want[i].(map[string]any)
		id := track.DeviceID(f.DeviceHi)<<32 | track.DeviceID(f.DeviceLo)
		at, _ := time.Parse(time.RFC3339Nano, w["time"].(string))
		arrived, _ := time.Parse(time.RFC3339Nano, w["received"].(string))
		if id.String() != w["device"] || got.Names[i] != w["name"] || f.Time != float64(at.UnixMilli()) || f.Received != float64(arrived.UnixMilli()) ||
			float64(f.Lat)/1e7 != w["lat"] || float64(f.Lon)/1e7 != w["lon"] {
			t.Errorf("fix %d: %+v %s here, %v there", i, f, got.Names[i], w)
		}
		for has, pair := range map[trk.Has][2]any{
			trk.HasAltitude: {float64(f.AltM), w["alt_m"]},
			trk.HasVelocity: {float64(f.CourseCdeg) / 100, w["course_deg"]},
			trk.HasAccuracy: {float64(f.AccuracyCm) / 100, w["accuracy_m"]},
			trk.HasBattery:  {float64(f.Battery & 0x7f), w["battery_pct"]},
		} {
			if f.Has&has != 0 && pair[0] != pair[1] {
				t.Errorf("fix %d: %v is %v here, %v there", i, has, pair[0], pair[1])
			}
		}
	}
}

func TestPlacesThatAreNotOnTheGlobeAreRefused(t *testing.T) {
	h := newHouse(t, nil)
	c := servicesOf(h.dial(bearer(h.viewer)))
	ctx := within(t)
	for name, err := range map[string]error{
		"point": func() error {
			_, err := c.positions.Near(ctx, &trk.NearReqT{At: &trk.PointT{Lat: 900_000_001}})
			return err
		}(),
		"distance": func() error {
			_, err := c.positions.Near(ctx, &trk.NearReqT{At: &trk.PointT{}, WithinM: -1})
			return err
		}(),
		"upside down": func() error {
			_, err := c.positions.InBox(ctx, &trk.InBoxReqT{Box: &trk.BoxT{South: 1, North: 0}})
			return err
		}(),
		"watch": func() error {
			_, err := c.watch.Open(ctx, &trk.WatchReqT{Area: &trk.AreaT{Box: &trk.BoxT{East: 1_800_000_001}}})
			return err
		}(),
		"from": func() error {
			_, err := c.positions.History(ctx, &trk.HistoryReqT{Device: "van", From: 0.5})
			return err
		}(),
	} {
		if name == "from" {
			wantStatus(t, name, err, rpc.NotFound) // no such device; the time is looked at behind it
			continue
		}
		wantStatus(t, name, err, rpc.InvalidArgument)
	}
}

func TestHistoryComesWholeInOrderAndInPages(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0].Device
	const n = 2*historyPage + historyEvent + 7
	var fixes []track.Fix
	for i := range n {
		fixes = append(fixes, fixAt(van, i, 50+float64(i)/1e4, 10))
	}
	for len(fixes) > 0 {
		k := min(len(fixes), 400)
		h.apply(fixes[:k]...)
		fixes = fixes[k:]
	}
	c := servicesOf(h.dial(bearer(h.viewer)))
	read := func(req *trk.HistoryReqT) (times []float64, next string) {
		t.Helper()
		s := must(c.positions.History(within(t), req))(t)
		ack := must(s.Ack())(t)
		if string(ack.Device()) != van.String() {
			t.Errorf("the history of %s", ack.Device())
		}
		for {
			page, _, err := s.Next(within(t))
			if errors.Is(err, io.EOF) {
				return times, next
			}
			if err != nil {
				t.Fatal(err)
			}
			var f trk.Fix
			for i := range page.FixesLength() {
				page.Fixes(&f, i)
				times = append(times, f.Time())
			}
			next = string(page.Next())
		}
	}
	times, next := read(&trk.HistoryReqT{Device: "van"})
	if len(times) != n || next != "" {
		t.Fatalf("got %d fixes of %d, next %q", len(times), n, next)
	}
	for i, ms := range times {
		if ms != epochMillis+float64(i)*1000 {
			t.Fatalf("fix %d is of %v", i, ms)
		}
	}
	first, next := read(&trk.HistoryReqT{Device: van.String(), Limit: 700, From: epochMillis + 10_000})
	rest, end := read(&trk.HistoryReqT{Device: "van", After: next, To: epochMillis + 2_000_000})
	if len(first) != 700 || first[0] != epochMillis+10_000 || rest[0] != first[699]+1000 || rest[len(rest)-1] != epochMillis+1_999_000 || end != "" {
		t.Errorf("%d fixes from %v, then %d from %v to %v, next %q", len(first), first[0], len(rest), rest[0], rest[len(rest)-1], end)
	}
}

func TestHistoryWaitsForCredit(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0].Device
	for i := range 3 * historyEvent {
		h.apply(fixAt(van, i, 50, 10))
	}
	c, err := h.knock(bearer(h.viewer), 1)
	if err != nil {
		t.Fatal(err)
	}
	s := must(trk.PositionsClient{Caller: c}.History(within(t), &trk.HistoryReqT{Device: "van"}))(t)
	eventually(t, "one event is sent", func() bool { return h.gate.rpc.Stats().Events == 1 })
	if _, err := (trk.ExampleClient{Caller: c}).Sum(within(t), &trk.SumReqT{}); err != nil {
		t.Errorf("beside it: %v", err)
	}
	if got := h.gate.rpc.Stats().Events; got != 1 {
		t.Errorf("%d events were sent to somebody who took none", got)
	}
	total := 0
	for {
		page, _, err := s.Next(within(t))
		if err != nil {
			break
		}
		total += page.FixesLength()
	}
	if total != 3*historyEvent {
		t.Errorf("got %d fixes", total)
	}
}

func TestDevicesLiveThroughTheirCommands(t *testing.T) {
	h := newHouse(t, nil)
	c := servicesOf(h.dial(bearer(h.admin)))
	ctx := within(t)
	reply := at(must(c.devices.Enroll(ctx, &trk.EnrollReqT{Devices: []*trk.NewDeviceT{{Name: "van", Flags: "c"}, {Name: "lorry", Suite: 2}}}))(t)).UnPack()
	if len(reply.Devices) != 2 || !strings.HasPrefix(reply.Devices[0].Enrolment, "https://") || reply.Devices[1].Device.Credentials[0].Suite != 2 {
		t.Fatalf("enrolled %+v", reply.Devices)
	}
	van := reply.Devices[0].Device
	if van.State != "active" || van.Created == 0 || van.Last != nil || van.Credentials[0].Flags != "c" {
		t.Errorf("new: %+v", van)
	}
	id, _ := track.ParseDeviceID(van.Id)
	h.apply(fixAt(id, 1, 50, 10))
	page := at(must(c.devices.List(ctx, &trk.ListReqT{Limit: 1}))(t)).UnPack()
	rest := at(must(c.devices.List(ctx, &trk.ListReqT{After: page.Next}))(t)).UnPack()
	if len(page.Devices) != 1 || page.Next == "" || len(rest.Devices) != 1 || rest.Next != "" {
		t.Errorf("pages %+v and %+v", page, rest)
	}
	if found := must(c.devices.List(ctx, &trk.ListReqT{Match: "orr"}))(t); found.DevicesLength() != 1 {
		t.Errorf("%d match", found.DevicesLength())
	}
	renamed := at(must(c.devices.Rename(ctx, &trk.RenameReqT{Device: "van", Name: "Käfer"}))(t)).UnPack()
	if renamed.Name != "Käfer" || renamed.Last == nil || renamed.Last.Lat != 500000000 {
		t.Errorf("renamed: %+v", renamed)
	}
	rotated := at(must(c.devices.Rotate(ctx, &trk.DeviceRefT{Device: van.Id}))(t)).UnPack()
	if len(rotated.Device.Credentials) != 2 || rotated.Enrolment == "" {
		t.Errorf("rotated: %+v", rotated)
	}
	if _, err := c.devices.Revoke(ctx, &trk.DeviceRefT{Device: "Käfer"}); err != nil {
		t.Fatal(err)
	}
	gone := at(must(c.devices.Show(ctx, &trk.DeviceRefT{Device: van.Id}))(t)).UnPack()
	if gone.State != "revoked" || gone.Revoked == 0 {
		t.Errorf("revoked: %+v", gone)
	}
	_, err := c.devices.Rotate(ctx, &trk.DeviceRefT{Device: van.Id})
	wantStatus(t, "rotate what is revoked", err, rpc.InvalidArgument)
}

func TestFloorOfADeviceFromTheFutureIsReset(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0].Device
	future := fixAt(van, 1, 50, 10)
	future.Epoch = uint32(time.Now().Add(48 * time.Hour).Unix())
	h.apply(future)
	h.engine.RaiseAlarm(engine.AlarmEpochFuture, van, future.Epoch)
	c := servicesOf(h.dial(bearer(h.admin)))
	show := at(must(c.devices.Show(within(t), &trk.DeviceRefT{Device: "van"}))(t)).UnPack()
	if len(show.Alarms) != 1 || show.Alarms[0] != "epoch_future" {
		t.Errorf("alarms %v", show.Alarms)
	}
	status := at(must(c.status.Get(within(t), &trk.EmptyT{}))(t)).UnPack()
	if len(status.Alarms) != 1 || status.Alarms[0].Device != van.String() {
		t.Errorf("status: %+v", status.Alarms)
	}
	reset := must(c.devices.ResetFloor(within(t), &trk.DeviceRefT{Device: "van"}))(t)
	if reset.AlarmsLength() != 0 {
		t.Errorf("after: %+v", reset.UnPack())
	}
}

func TestTokensLiveThroughTheirCommands(t *testing.T) {
	h := newHouse(t, nil)
	c := servicesOf(h.dial(bearer(h.admin)))
	ctx := within(t)
	made := at(must(c.tokens.Create(ctx, &trk.NewTokenT{Name: "wall", Role: "viewer", TtlMs: 3600_000}))(t)).UnPack()
	if made.Token.Expires-made.Token.Created != 3600_000 || made.Token.Role != "viewer" || !strings.HasPrefix(made.Secret, "trk_") {
		t.Fatalf("made %+v", made.Token)
	}
	wall := servicesOf(h.dial(bearer(made.Secret)))
	info := at(must(wall.session.Info(ctx, &trk.EmptyT{}))(t)).UnPack()
	if info.Id != made.Token.Id || info.Expires != made.Token.Expires {
		t.Errorf("it says %+v of itself", info)
	}
	if list := must(c.tokens.List(ctx, &trk.EmptyT{}))(t); list.TokensLength() != 3 {
		t.Errorf("%d tokens", list.TokensLength())
	}
	if _, err := c.tokens.Revoke(ctx, &trk.TokenRefT{Id: made.Token.Id}); err != nil {
		t.Fatal(err)
	}
	_, err := h.knock(bearer(made.Secret), 0)
	wantStatus(t, "revoked", err, rpc.Unauthenticated)
	for _, ttl := range []float64{-1, 0.5, 1e300} {
		_, err := c.tokens.Create(ctx, &trk.NewTokenT{Name: "x", Role: "viewer", TtlMs: ttl})
		wantStatus(t, fmt.Sprint("ttl ", ttl), err, rpc.InvalidArgument)
	}
	me := must(c.session.Info(ctx, &trk.EmptyT{}))(t)
	_, err = c.tokens.Revoke(ctx, &trk.TokenRefT{Id: string(me.Id())})
	wantStatus(t, "the last admin token", err, rpc.InvalidArgument)
}

func TestStatusTellsOfTheDoorsAndTheRiver(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.Probe = func() (time.Duration, error) { return 42 * time.Millisecond, errors.New("late") }
	})
	van := h.enroll("van")[0].Device
	h.apply(fixAt(van, 1, 50, 10))
	c := servicesOf(h.dial(bearer(h.viewer)))
	s := at(must(c.status.Get(within(t), &trk.EmptyT{}))(t)).UnPack()
	if s.Version != "1.2.3" || s.Devices != 1 || s.Live != 1 || len(s.Lineage) != 16 || s.Started == 0 || s.Now < s.Started {
		t.Errorf("status %+v", s)
	}
	if s.Probe.Ok || s.Probe.AgeMs != 42 || s.Probe.Error != "late" || s.Store.State != "ok" {
		t.Errorf("probe %+v, store %+v", s.Probe, s.Store)
	}
	counters := map[string]float64{}
	for _, c := range append(s.Rpc, s.Hub...) {
		counters[c.Name] = c.Value
	}
	if counters["connections"] != 1 || counters["accepted"] != 1 || counters["fixes_in"] != 1 {
		t.Errorf("counters %v", counters)
	}
}

func TestExample(t *testing.T) {
	h := newHouse(t, nil)
	c := servicesOf(h.dial(bearer(h.viewer)))
	ctx := within(t)
	if got := must(c.example.Sum(ctx, &trk.SumReqT{A: 1<<31 - 1, B: 1}))(t); got.Sum() != -1<<31 {
		t.Errorf("sum %d", got.Sum())
	}
	if got := must(c.example.AsyncSum(ctx, &trk.SumReqT{A: 2, B: 3}))(t); got.Sum() != 5 {
		t.Errorf("sum %d", got.Sum())
	}
	if got := must(c.example.Sleep(ctx, &trk.SleepReqT{Ms: 1, A: 2, B: 3}))(t); got.Sum() != 5 {
		t.Errorf("sum %d", got.Sum())
	}
	_, err := c.example.Sleep(ctx, &trk.SleepReqT{Ms: 1001})
	wantStatus(t, "a long sleep", err, rpc.InvalidArgument)
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	_, err = c.example.Sleep(short, &trk.SleepReqT{Ms: 1000})
	wantStatus(t, "sleep beyond a deadline", err, rpc.DeadlineExceeded)
	payload := make([]byte, maxEcho)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	if got := must(c.example.Echo(ctx, &trk.EchoReqT{Payload: payload}))(t); string(got.PayloadBytes()) != string(payload) {
		t.Error("echo is not what was called")
	}
	_, err = c.example.Echo(ctx, &trk.EchoReqT{Payload: append(payload, 0)})
	wantStatus(t, "a long echo", err, rpc.InvalidArgument)
}

func TestExampleCanBeLeftOut(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.NoExample = true })
	_, err := servicesOf(h.dial(bearer(h.viewer))).example.Sum(within(t), &trk.SumReqT{})
	wantStatus(t, "sum", err, rpc.Unimplemented)
}

func TestPublishedUpdatesReachSubscribersInOrder(t *testing.T) {
	h := newHouse(t, nil)
	a, b := servicesOf(h.dial(bearer(h.viewer))), servicesOf(h.dial(bearer(h.viewer)))
	ctx := within(t)
	if ack := must(b.example.Pub(ctx, &trk.PubReqT{Topic: "t", Value: 1}))(t); ack.Subscribers() != 0 || ack.Published() != 1 {
		t.Errorf("to nobody: %+v", ack.UnPack())
	}
	one := must(a.example.Sub(ctx, &trk.SubReqT{Topic: "t"}))(t)
	two := must(b.example.Sub(ctx, &trk.SubReqT{Topic: "t"}))(t)
	if ack := must(two.Ack())(t); ack.Subscribers() != 2 {
		t.Errorf("%d subscribers", ack.Subscribers())
	}
	if _, err := b.example.Sub(ctx, &trk.SubReqT{Topic: "other"}); err != nil {
		t.Fatal(err)
	}
	ack := must(b.example.Pub(ctx, &trk.PubReqT{Topic: "t", Key: 5, Value: 10, Count: 100}))(t)
	if ack.Subscribers() != 2 || ack.Published() != 100 {
		t.Errorf("published %+v", ack.UnPack())
	}
	for name, s := range map[string]*trk.ExampleSubStream{"one": one, "two": two} {
		for last := int32(0); last < 109; {
			p, e, err := s.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if p.Key() != 5 || p.Value() <= last || int64(p.Value()) != 9+int64(e.Seq) {
				t.Fatalf("%s: %d as number %d behind %d", name, p.Value(), e.Seq, last)
			}
			last = p.Value()
		}
	}
	for _, topic := range []string{"", strings.Repeat("x", 65)} {
		_, err := b.example.Sub(ctx, &trk.SubReqT{Topic: topic})
		wantStatus(t, "topic", err, rpc.InvalidArgument)
	}
	_, err := b.example.Pub(ctx, &trk.PubReqT{Topic: "t", Count: maxPub + 1})
	wantStatus(t, "too many", err, rpc.InvalidArgument)
	one.Close()
	eventually(t, "one is gone", func() bool { return h.gate.topics.subscribers("t") == 1 })
}

func TestTopicsAreBounded(t *testing.T) {
	var ts topics
	tell := func(int) error { return nil }
	subs := make([]*rpc.Subscription, maxTopics)
	for i := range subs {
		subs[i] = new(rpc.Subscription)
		if err := ts.join(fmt.Sprint(i), subs[i], tell); err != nil {
			t.Fatal(err)
		}
	}
	s := new(rpc.Subscription)
	wantStatus(t, "one topic too many", ts.join("more", s, tell), rpc.ResourceExhausted)
	if err := ts.join("7", s, tell); err != nil {
		t.Errorf("a topic that exists: %v", err)
	}
	ts.leave("7", s)
	for i, s := range subs {
		ts.leave(fmt.Sprint(i), s)
	}
	if len(ts.byName) != 0 || ts.subs != 0 || ts.kept != 0 {
		t.Errorf("%d topics, %d subscribers, %d updates are left", len(ts.byName), ts.subs, ts.kept)
	}
}

// A subscriber without credit keeps an update of each key. Keys and subscribers multiply,
// and whoever is known may make as many of both as it likes.
func TestWhatSubscribersKeepBackIsBounded(t *testing.T) {
	var ts topics
	tell := func(int) error { return nil }
	subs := make([]*rpc.Subscription, 256)
	for i := range subs {
		subs[i] = new(rpc.Subscription)
		if err := ts.join("t", subs[i], tell); err != nil {
			t.Fatal(err)
		}
	}
	const most = maxKept / 256
	for key := range uint32(most) {
		if to, err := ts.publish("t", key); err != nil || len(to) != len(subs) {
			t.Fatalf("key %d goes to %d: %v", key, len(to), err)
		}
	}
	_, err := ts.publish("t", most)
	wantStatus(t, "one key too many", err, rpc.ResourceExhausted)
	if _, err := ts.publish("t", 0); err != nil {
		t.Errorf("a key that is known: %v", err)
	}
	wantStatus(t, "one subscriber too many", ts.join("t", new(rpc.Subscription), tell), rpc.ResourceExhausted)
	ts.leave("t", subs[0])
	if _, err := ts.publish("t", most); err != nil {
		t.Errorf("when one has left: %v", err)
	}
	for _, s := range subs[1:] {
		ts.leave("t", s)
	}
	if ts.kept != 0 {
		t.Errorf("%d updates are left", ts.kept)
	}
}

func TestExampleTakesNoMoreThanAShareOfTheServer(t *testing.T) {
	h := newHouse(t, nil)
	c := servicesOf(h.dial(bearer(h.viewer)))
	ctx := within(t)
	h.gate.sleepers.Store(maxSleepers)
	_, err := c.example.Sleep(ctx, &trk.SleepReqT{Ms: 1})
	wantStatus(t, "one sleeper too many", err, rpc.ResourceExhausted)
	h.gate.sleepers.Add(-1)
	if _, err = c.example.Sleep(ctx, &trk.SleepReqT{Ms: 1}); err != nil {
		t.Errorf("the last sleeper: %v", err)
	}
	must(c.example.Sub(ctx, &trk.SubReqT{Topic: "t"}))(t)
	h.gate.fanouts.Store(maxFanouts)
	_, err = c.example.Pub(ctx, &trk.PubReqT{Topic: "t", Count: bigFanout})
	wantStatus(t, "one big publication too many", err, rpc.ResourceExhausted)
	if _, err = c.example.Pub(ctx, &trk.PubReqT{Topic: "t", Count: bigFanout - 1}); err != nil {
		t.Errorf("a small publication: %v", err)
	}
	if n := h.gate.sleepers.Load(); n != maxSleepers-1 {
		t.Errorf("%d sleepers, want %d", n, maxSleepers-1)
	}
	if n := h.gate.fanouts.Load(); n != maxFanouts {
		t.Errorf("%d big publications, want %d", n, maxFanouts)
	}
}
