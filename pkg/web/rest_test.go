package web

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

func TestDeviceLife(t *testing.T) {
	h := newHouse(t, nil)
	type device struct {
		ID, Name, State, Revoked string
		Credentials              []struct{ ID, Flags, Expires string }
		Last                     *struct{ Lat, Lon float64 }
	}
	type enrolled struct {
		Device    device
		Enrolment string
	}
	a := h.do("POST", "/v1/devices", h.admin, `{"name":"van 1/ü","flags":"cm"}`)
	if a.status != 201 {
		t.Fatalf("enrol: got %d %s", a.status, a.body)
	}
	var e enrolled
	a.decode(t, &e)
	if !strings.HasPrefix(e.Enrolment, "https://t.example.org:4810/d#1.") || e.Device.Name != "van 1/ü" || e.Device.Credentials[0].Flags != "cm" {
		t.Errorf("enrol: got %s", a.body)
	}
	byName := "/v1/devices/" + url.PathEscape("van 1/ü")
	id, _ := track.ParseDeviceID(e.Device.ID)
	h.apply(fixAt(id, 1, 52.5, 13.4))

	var d device
	h.get(byName).decode(t, &d)
	if d.ID != e.Device.ID || d.State != "active" || d.Last == nil || d.Last.Lat != 52.5 {
		t.Errorf("by name: got %+v", d)
	}
	h.do("PATCH", byName, h.admin, `{"name":"van-1"}`).decode(t, &d)
	if d.Name != "van-1" {
		t.Errorf("rename: got %+v", d)
	}
	if a := h.do("GET", byName, h.viewer, ""); a.status != 404 || a.code(t) != "not_found" {
		t.Errorf("old name: got %d %s", a.status, a.body)
	}
	var rotated enrolled
	h.do("POST", "/v1/devices/van-1/rotate", h.admin, "").decode(t, &rotated)
	if rotated.Enrolment == e.Enrolment || len(rotated.Device.Credentials) != 2 || rotated.Device.Credentials[1].Expires == "" {
		t.Errorf("rotate: got %+v", rotated)
	}
	if a := h.do("POST", "/v1/devices/van-1/reset-floor", h.admin, ""); a.status != 400 || a.code(t) != "invalid" {
		t.Errorf("reset a floor that is sane: got %d %s", a.status, a.body)
	}
	if a := h.do("DELETE", "/v1/devices/"+e.Device.ID, h.admin, ""); a.status != 204 || len(a.body) != 0 {
		t.Errorf("revoke: got %d %s", a.status, a.body)
	}
	h.get("/v1/devices/"+e.Device.ID).decode(t, &d)
	if d.State != "revoked" || d.Revoked == "" {
		t.Errorf("revoked: got %+v", d)
	}
}

func TestBatchEnrolsAllOrNone(t *testing.T) {
	h := newHouse(t, nil)
	var names []string
	for i := range 3000 {
		names = append(names, fmt.Sprintf(`{"name":"%s-%d"}`, strings.Repeat("x", 100), i))
	}
	list := strings.Join(names, ",")
	if len(list) < maxBody {
		t.Fatal("the batch is too small to prove anything")
	}
	if a := h.do("POST", "/v1/devices:batch", h.admin, `{"devices":[`+list+`,{"name":"twice"},{"name":"twice"}]}`); a.status != 409 || a.code(t) != "exists" {
		t.Errorf("a name twice: got %d %.200s", a.status, a.body)
	}
	a := h.do("POST", "/v1/devices:batch", h.admin, `{"devices":[`+list+`]}`)
	var reply struct {
		Devices []struct {
			Device struct{ Name string }
		}
	}
	a.decode(t, &reply)
	if a.status != 201 || len(reply.Devices) != 3000 || !strings.HasSuffix(reply.Devices[2999].Device.Name, "-2999") {
		t.Errorf("got %d with %d devices", a.status, len(reply.Devices))
	}
	// Pages of a list lose nothing and repeat nothing.
	seen, next := map[string]bool{}, ""
	for range 10 {
		var page struct {
			Devices []struct{ ID string }
			Next    string
		}
		h.get("/v1/devices?limit=900&after="+next).decode(t, &page)
		for _, d := range page.Devices {
			if seen[d.ID] {
				t.Fatalf("%s twice", d.ID)
			}
			seen[d.ID] = true
		}
		if next = page.Next; next == "" {
			break
		}
	}
	if len(seen) != 3000 || next != "" {
		t.Errorf("got %d devices in pages, next %q", len(seen), next)
	}
}

func TestPositionsAndNearAgreeWithBruteForce(t *testing.T) {
	h := newHouse(t, nil)
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("d%03d", i))
	}
	ids := h.enroll(names...)
	at := map[string]geo.Point{}
	for i, id := range ids {
		f := fixAt(id, i, float64(i%90)-45, float64(i*7%360)-180)
		h.apply(f)
		at[id.String()] = f.At
	}
	type fixes struct {
		Fixes []struct {
			Device   string
			Lat, Lon float64
		}
		Next string
	}
	for _, box := range []geo.Box{geo.World, {South: -200000000, West: -500000000, North: 100000000, East: 300000000}, {South: -450000000, West: 1700000000, North: 450000000, East: -1700000000}} {
		want := 0
		for _, p := range at {
			if box.Contains(p) {
				want++
			}
		}
		got, next := 0, ""
		for {
			var page fixes
			h.get(fmt.Sprintf("/v1/positions?bbox=%v,%v,%v,%v&limit=40&after=%s", float64(box.South)/1e7, float64(box.West)/1e7, float64(box.North)/1e7, float64(box.East)/1e7, next)).decode(t, &page)
			for _, f := range page.Fixes {
				if p := geo.Deg(f.Lat, f.Lon); p != at[f.Device] || !box.Contains(p) {
					t.Errorf("%v: got %+v", box, f)
				}
				got++
			}
			if next = page.Next; next == "" {
				break
			}
		}
		if got != want {
			t.Errorf("%v: got %d devices, want %d", box, got, want)
		}
	}
	var some fixes
	h.get("/v1/positions?device=d007&device="+ids[9].String()).decode(t, &some)
	if len(some.Fixes) != 2 || some.Fixes[0].Device != ids[7].String() || some.Fixes[1].Device != ids[9].String() {
		t.Errorf("got %+v", some)
	}

	var near struct {
		Hits []struct {
			Distance float64 `json:"distance_m"`
			Bearing  float64 `json:"bearing_deg"`
			Fix      struct{ Device string }
		}
	}
	h.get("/v1/near?at=10,20&within=3000000&limit=5").decode(t, &near)
	from, last := geo.Deg(10, 20), 0.0
	if len(near.Hits) != 5 {
		t.Fatalf("got %d hits", len(near.Hits))
	}
	closer := 0
	for _, hit := range near.Hits {
		d := float64(geo.Distance(from, at[hit.Fix.Device]))
		if hit.Distance < last || hit.Distance > d+0.01 || hit.Distance < d-0.01 || hit.Bearing < 0 || hit.Bearing >= 360 {
			t.Errorf("got %+v, want %v m", hit, d)
		}
		last = hit.Distance
	}
	for _, p := range at {
		if float64(geo.Distance(from, p)) < last-0.01 {
			closer++
		}
	}
	if closer != 4 {
		t.Errorf("%d devices are closer than the fifth hit", closer)
	}
}

func TestHistoryComesInPagesAndInLines(t *testing.T) {
	h := newHouse(t, nil)
	id := h.enroll("van")[0]
	const total = 5000
	for i := range total {
		h.apply(fixAt(id, i, 50+float64(i)/1e4, 8))
	}
	h.apply(track.Fix{Device: id, Time: 1700000000500, Arrived: 1, Has: track.HasBat, Bat: 50})
	type line struct {
		Time string
		Lat  *float64
	}
	var got []line
	next := ""
	for {
		var page struct {
			Fixes []line
			Next  string
		}
		h.get("/v1/history/van?limit=999&after="+next).decode(t, &page)
		got = append(got, page.Fixes...)
		if next = page.Next; next == "" {
			break
		}
	}
	if len(got) != total {
		t.Errorf("pages: got %d fixes, want %d", len(got), total)
	}
	lines := func(query string) (out []line) {
		a := h.do("GET", "/v1/history/van"+query, h.viewer, "", "Accept", "application/x-ndjson")
		if a.header.Get("Content-Type") != "application/x-ndjson" || a.status != 200 {
			t.Fatalf("got %d %v %s", a.status, a.header, a.body)
		}
		for s := bufio.NewScanner(bytes.NewReader(a.body)); s.Scan(); {
			var l line
			if err := json.Unmarshal(s.Bytes(), &l); err != nil {
				t.Fatalf("%v in %s", err, s.Bytes())
			}
			out = append(out, l)
		}
		return out
	}
	for query, want := range map[string]int{
		"":                           total,
		"?limit=2500":                2500,
		"?limit=1":                   1,
		"?limit=2000":                2000,
		"?heartbeats=1":              total + 1,
		"?from=2023-11-14T22:13:30Z": total - 10,
		"?from=2023-11-14T22:13:30Z&to=2023-11-14T22:13:40Z":        10,
		"?from=2023-11-14T23:13:30%2B01:00&to=2023-11-14T22:13:31Z": 1,
		"?to=2000-01-01T00:00:00Z":                                  0,
	} {
		out := lines(query)
		if len(out) != want {
			t.Errorf("%q: got %d lines, want %d", query, len(out), want)
		}
		for i := 1; i < len(out); i++ {
			if out[i].Time < out[i-1].Time {
				t.Fatalf("%q: line %d goes back in time", query, i)
			}
		}
	}
}

func TestHistoryThatFailsOnTheWaySaysSoInTheLastLine(t *testing.T) {
	h := newHouse(t, nil)
	id := h.enroll("van")[0]
	for i := range linesPage + 10 {
		h.apply(fixAt(id, i, 50, 8))
	}
	h.store.broken = errors.New("disk on fire")
	a := h.do("GET", "/v1/history/van", h.viewer, "", "Accept", "application/x-ndjson")
	lines := bytes.Split(bytes.TrimSpace(a.body), []byte("\n"))
	last := string(lines[len(lines)-1])
	if !strings.Contains(last, `"code":"internal"`) || strings.Contains(last, "fire") {
		t.Errorf("got the last line %s", last)
	}
	if a := h.do("GET", "/v1/history/van", h.viewer, ""); a.status != 500 || a.code(t) != "internal" || bytes.Contains(a.body, []byte("fire")) {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestTokens(t *testing.T) {
	h := newHouse(t, nil)
	var made struct{ ID, Token, Role, Expires string }
	a := h.do("POST", "/v1/tokens", h.admin, `{"name":"wall display","role":"viewer","ttl":"720h"}`)
	a.decode(t, &made)
	if a.status != 201 || made.Token == "" || made.Role != "viewer" || made.Expires == "" {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	if a := h.do("GET", "/v1/status", made.Token, ""); a.status != 200 {
		t.Errorf("new token: got %d", a.status)
	}
	list := h.do("GET", "/v1/tokens", h.admin, "")
	if bytes.Contains(list.body, []byte(made.Token)) || !bytes.Contains(list.body, []byte(made.ID)) {
		t.Errorf("list: got %s", list.body)
	}
	if a := h.do("DELETE", "/v1/tokens/"+made.ID, h.admin, ""); a.status != 204 {
		t.Errorf("revoke: got %d %s", a.status, a.body)
	}
	if a := h.do("GET", "/v1/status", made.Token, ""); a.status != 401 || a.code(t) != "unauthenticated" {
		t.Errorf("revoked token: got %d %s", a.status, a.body)
	}
}

func TestWhatIsRefused(t *testing.T) {
	h := newHouse(t, nil)
	h.enroll("van")
	for _, tc := range []struct {
		method, path, token, body string
		status                    int
		code                      string
	}{
		{"GET", "/v1/status", "", "", 401, "unauthenticated"},
		{"GET", "/v1/status", "trk_wrong", "", 401, "unauthenticated"},
		{"POST", "/v1/devices", h.viewer, `{"name":"x"}`, 403, "denied"},
		{"DELETE", "/v1/devices/van", h.viewer, "", 403, "denied"},
		{"GET", "/v1/tokens", h.viewer, "", 403, "denied"},
		{"GET", "/v1/nothing", h.viewer, "", 404, "not_found"},
		{"GET", "/v1/devices/nobody", h.viewer, "", 404, "not_found"},
		{"GET", "/v1/devices//rotate", h.viewer, "", 404, "not_found"},
		{"PUT", "/v1/devices/van", h.admin, "{}", 405, "invalid"},
		{"POST", "/v1/devices", h.admin, `{"name":"van"}`, 409, "exists"},
		{"POST", "/v1/devices", h.admin, `{"name":"a","colour":"red"}`, 400, "invalid"},
		{"POST", "/v1/devices", h.admin, `{"name":"a"} {}`, 400, "invalid"},
		{"POST", "/v1/devices", h.admin, `{"name":`, 400, "invalid"},
		{"POST", "/v1/devices", h.admin, ``, 400, "invalid"},
		{"POST", "/v1/devices", h.admin, `{"name":"a","suite":9}`, 400, "invalid"},
		{"POST", "/v1/devices", h.admin, `{"name":"a","suite":-1}`, 400, "invalid"},
		{"POST", "/v1/devices", h.admin, `{"name":"a","flags":"mc"}`, 400, "invalid"},
		{"POST", "/v1/devices", h.admin, `{"name":"` + strings.Repeat("a", maxBody) + `"}`, 413, "too_large"},
		{"POST", "/v1/devices:batch", h.admin, `{"devices":[{"name":"` + strings.Repeat("a", maxBatchBody) + `"}]}`, 413, "too_large"},
		{"POST", "/v1/devices:batch", h.viewer, `{"devices":[{"name":"` + strings.Repeat("a", maxBody) + `"}]}`, 413, "too_large"},
		{"GET", "/v1/devices?limit=0", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/devices?limit=1001", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/devices?Limit=1", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/devices?limit=1&limit=2", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/devices?after=xyz", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/positions?bbox=1,2,3", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/positions?bbox=50,0,40,1", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/positions?device=nobody", h.viewer, "", 404, "not_found"},
		{"GET", "/v1/near", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/near?at=91,0", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/near?at=1,1&within=-5", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/near?at=1,1&within=NaN", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/history/van?from=yesterday", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/history/van?after=@@", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/history/van?heartbeats=yes", h.viewer, "", 400, "invalid"},
		{"GET", "/v1/history/van?limit=10001", h.viewer, "", 400, "invalid"},
		{"POST", "/v1/tokens", h.admin, `{"name":"x","role":"king"}`, 400, "invalid"},
		{"POST", "/v1/tokens", h.admin, `{"name":"x","role":"admin","ttl":"soon"}`, 400, "invalid"},
		{"DELETE", "/v1/tokens/nope", h.admin, "", 404, "not_found"},
		{"GET", "/v1/stream", h.viewer, "", 400, "invalid"},
	} {
		a := h.do(tc.method, tc.path, tc.token, tc.body)
		if a.status != tc.status {
			t.Errorf("%s %.60s %.60s: got %d %.200s, want %d", tc.method, tc.path, tc.body, a.status, a.body, tc.status)
			continue
		}
		if code := a.code(t); code != tc.code {
			t.Errorf("%s %.60s: got code %q, want %q", tc.method, tc.path, code, tc.code)
		}
	}
	if a := h.do("PUT", "/v1/devices", h.admin, "{}"); a.header.Get("Allow") != "GET, POST" {
		t.Errorf("got Allow %q", a.header.Get("Allow"))
	}
}

func TestHealth(t *testing.T) {
	var failing error
	h := newHouse(t, func(c *Config) { c.Probe = probeOf(&failing) })
	if a := h.do("GET", "/healthz", "", ""); a.status != 200 {
		t.Errorf("healthy: got %d %s", a.status, a.body)
	}
	if a := h.do("GET", "/readyz", "", ""); a.status != 200 {
		t.Errorf("ready: got %d %s", a.status, a.body)
	}
	failing = errors.New("no fix came through")
	if a := h.do("GET", "/healthz", "", ""); a.status != 503 || !bytes.Contains(a.body, []byte("no fix came through")) {
		t.Errorf("failing: got %d %s", a.status, a.body)
	}
	if a := h.do("HEAD", "/healthz", "", ""); a.status != 503 || len(a.body) != 0 {
		t.Errorf("HEAD: got %d %s", a.status, a.body)
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	h := newHouse(t, nil)
	h.get("/v1/status")
	body := string(h.do("GET", "/metrics", "", "").body)
	seen, help := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(body) {
		name, _, ok := strings.Cut(strings.TrimSpace(line), " ")
		if f := strings.Fields(line); f[0] == "#" {
			if f[1] == "HELP" && len(f) < 4 || strings.HasPrefix(f[2], "tracker_") && help[f[1]+f[2]] {
				t.Errorf("got the line %q", line)
			}
			help[f[1]+f[2]] = true
			continue
		}
		if !ok || seen[name] {
			t.Errorf("got the line %q (again: %v)", line, seen[name])
		}
		seen[name] = true
		base, _, _ := strings.Cut(name, "{")
		base = strings.TrimSuffix(strings.TrimSuffix(base, "_bucket"), "_count")
		if strings.HasPrefix(name, "tracker_") && !strings.HasPrefix(name, "tracker_http_") && (!help["HELP"+base] || !help["TYPE"+base]) {
			t.Errorf("%s is not explained", name)
		}
		if !strings.HasPrefix(name, "tracker_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("got the name %q", name)
		}
	}
	for _, want := range []string{"tracker_devices", "tracker_store_ok", "tracker_hub_viewers", "tracker_web_connections",
		"tracker_ingest_ok_total", `tracker_hub_lag_seconds_bucket{le="+Inf"}`, `tracker_http_requests_total{route="/v1/status",code="200"}`} {
		if !seen[want] {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestMetricsTakeATokenBehindAProxy(t *testing.T) {
	h := newHouse(t, nil)
	if a := h.do("GET", "/metrics", "", "", "X-Forwarded-For", "203.0.113.7"); a.status != 401 {
		t.Errorf("stranger: got %d", a.status)
	}
	if a := h.do("GET", "/metrics", h.viewer, "", "X-Forwarded-For", "203.0.113.7"); a.status != 200 {
		t.Errorf("viewer: got %d", a.status)
	}
	open := newHouse(t, func(c *Config) { c.OpenMetrics = true })
	if a := open.do("GET", "/metrics", "", "", "X-Forwarded-For", "203.0.113.7"); a.status != 200 {
		t.Errorf("open: got %d", a.status)
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Probe = nil })
	h.web.cfg.Ingest = nil // a bug of ours
	if a := h.do("GET", "/v1/status", h.viewer, ""); a.status != 500 || a.code(t) != "internal" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a := h.do("GET", "/healthz", "", ""); a.status != 200 {
		t.Errorf("after a panic: got %d", a.status)
	}
}
