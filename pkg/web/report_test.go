package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/hub"
	"tracker/pkg/track"
)

func (p *peer) report(text string) msg {
	p.t.Helper()
	p.send(text)
	return p.until(func(m msg) bool { return m.Type == "reported" || m.Type == "error" })
}

func TestAdminReportsOverTheStream(t *testing.T) {
	h := newHouse(t, nil)
	id := h.enroll("van")[0]
	viewer := h.dialPeer(h.viewer, "", "")
	viewer.snapshot(viewer.watch(`{"op":"watch","id":1,"all":true}`).Stream)
	p := h.dialPeer(h.admin, "", "")
	at := time.Now().UnixMilli()
	for _, ref := range []string{"van", id.String()} {
		m := p.report(fmt.Sprintf(`{"op":"report","id":7,"device":%q,"fixes":[{"time":%d,"lat":50.1234567,"lon":-10.5},{"time":%d}]}`, ref, at, at+1))
		if m.ID != 7 || m.Device != id || m.Accepted != 2 || m.Late != 0 {
			t.Errorf("%s: got %+v", ref, m)
		}
		at += 2
	}
	if m := viewer.until(func(m msg) bool { return len(m.Fixes) > 0 }); m.Fixes[0].Device != id || m.Fixes[0].Lat != 50.1234567 {
		t.Errorf("watched %+v", m)
	}
	m := p.report(fmt.Sprintf(`{"op":"report","device":"van","fixes":[{"time":%q,"lat":1,"lon":2,"alt_m":-3.4,"speed_mps":7.77,"course_deg":359.9999,"accuracy_m":10,"battery_pct":81}]}`,
		time.UnixMilli(at-60_000).UTC().Format(time.RFC3339Nano)))
	if m.Accepted != 1 || m.Late != 1 {
		t.Errorf("a late one: got %+v", m)
	}
	h.store.mu.Lock()
	f := h.store.fixes[len(h.store.fixes)-1]
	h.store.mu.Unlock()
	want := track.Fix{Device: id, Time: at - 60_000, Arrived: f.Arrived, At: geo.Deg(1, 2), PID: f.PID, Alt: -3, Speed: 777, Acc: f.Acc, Bat: 81,
		Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat, Flags: track.Late}
	if f != want {
		t.Errorf("stored\n%+v, want\n%+v", f, want)
	}
	if n := h.web.stats.fixesReported.Load(); n != 5 {
		t.Errorf("%d were counted", n)
	}
}

// The words are those of the rules that all doors share, and of this one where it is about
// its own way of saying things.
func TestReportsThatAreRefused(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van", "old")
	if err := h.engine.Revoke(t.Context(), van[1]); err != nil {
		t.Fatal(err)
	}
	p := h.dialPeer(h.admin, "", "")
	now := time.Now().UnixMilli()
	many := strings.Repeat(fmt.Sprintf(`{"time":%d},`, now), engine.MaxReport) + fmt.Sprintf(`{"time":%d}`, now)
	one := func(members string) string { return fmt.Sprintf(`{"time":%d,%s}`, now, members) }
	for _, tc := range []struct{ fixes, want string }{
		{``, "fixes: want 1..448 of them: invalid"},
		{many, "fixes: want 1..448 of them: invalid"},
		{`{"lat":1,"lon":2}`, "fixes: number 1: time is missing: invalid"},
		{`{"time":null}`, "fixes: number 1: time is missing: invalid"},
		{`{"time":"yesterday"}`, "fixes: number 1: time is neither RFC 3339 nor unix milliseconds: invalid"},
		{`{"time":true}`, "fixes: number 1: time is neither RFC 3339 nor unix milliseconds: invalid"},
		{`{"time":-1}`, "fixes: number 1: time is not in whole unix milliseconds: invalid"},
		{`{"time":1.5}`, "fixes: number 1: time is not in whole unix milliseconds: invalid"},
		{`{"time":"1969-12-31T23:59:59Z"}`, "fixes: number 1: time is not in whole unix milliseconds: invalid"},
		{one(`"lat":1`), "fixes: number 1: lat and lon go together: invalid"},
		{one(`"lat":90.5,"lon":1`), "fixes: number 1: place is not on the globe: invalid"},
		{one(`"lat":1,"lon":1e300`), "fixes: number 1: place is not on the globe: invalid"},
		{one(`"speed_mps":1`), "fixes: number 1: speed_mps and course_deg go together: invalid"},
		{one(`"speed_mps":-1,"course_deg":1`), "fixes: number 1: speed is not in 0..655.35: invalid"},
		{one(`"speed_mps":1,"course_deg":360`), "fixes: number 1: course is not in 0..35999: invalid"},
		{one(`"speed_mps":1,"course_deg":-1`), "fixes: number 1: course is not in 0..35999: invalid"},
		{one(`"speed_mps":1,"course_deg":1e9`), "fixes: number 1: course is not in 0..35999: invalid"},
		{one(`"alt_m":40000`), "fixes: number 1: altitude is not in -32768..32767: invalid"},
		{one(`"accuracy_m":-1`), "fixes: number 1: accuracy is below 0: invalid"},
		{one(`"battery_pct":101`), "fixes: number 1: battery is neither 0..100 nor 127: invalid"},
		{one(`"battery_pct":255`), "fixes: number 1: battery is neither 0..100 nor 127: invalid"},
		{one(`"battery_pct":-1`), "fixes: number 1: battery is neither 0..100 nor 127: invalid"},
		{one(`"altitude":1`), `message: json: unknown field "altitude": invalid`},
		{one(`"lat":1`) + "," + one(`"lat":2`), "fixes: number 1: lat and lon go together: invalid"},
		{fmt.Sprintf(`{"time":%d},{"time":%d}`, now, now-1), "fixes: number 2: older than the one before; want oldest first: invalid"},
		{fmt.Sprintf(`{"time":%d}`, now+600_000), "the clock of the device is 10m0s ahead"},
	} {
		m := p.report(`{"op":"report","id":3,"device":"van","fixes":[` + tc.fixes + `]}`)
		if m.Type != "error" || m.ID != 3 || m.Error.Code != "invalid" || m.Error.Message != tc.want {
			t.Errorf("%.80s: got %+v, want %q", tc.fixes, m, tc.want)
		}
	}
	for request, code := range map[string]string{
		`{"op":"report","id":3,"device":"bus","fixes":[{"time":1}]}`:                     "not_found",
		`{"op":"report","id":3,"fixes":[{"time":1}]}`:                                    "not_found",
		`{"op":"report","id":3,"device":"van"}`:                                          "invalid",
		`{"op":"report","id":3,"device":"van","fixes":[{"time":1}],"all":true}`:          "invalid",
		`{"op":"report","id":3,"device":"` + van[1].String() + `","fixes":[{"time":1}]}`: "invalid",
	} {
		if m := p.report(request); m.Error.Code != code || m.ID != 3 {
			t.Errorf("%s: got %+v", request, m)
		}
	}
	viewer := h.dialPeer(h.viewer, "", "")
	if m := viewer.report(`{"op":"report","id":3,"device":"van","fixes":[{"time":1}]}`); m.Error.Code != "denied" || m.ID != 3 {
		t.Errorf("a viewer: got %+v", m)
	}
	if len(h.store.fixes) != 0 {
		t.Errorf("%d fixes of bad reports were kept", len(h.store.fixes))
	}
}

// The longest report that there may be, in the most words.
func longestReport(at int64) []byte {
	var b bytes.Buffer
	b.WriteString(`{"op":"report","id":9007199254740991,"device":"van","fixes":[`)
	for i := range engine.MaxReport {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"time":%q,"lat":-48.1371234,"lon":-111.5754123,"alt_m":-1519,"speed_mps":113.89,"course_deg":270.15,"accuracy_m":1004.81,"battery_pct":100}`,
			time.UnixMilli(at).UTC().Format("2006-01-02T15:04:05.000000Z"))
	}
	b.WriteString("]}")
	return b.Bytes()
}

func TestLongestReportFits(t *testing.T) {
	h := newHouse(t, nil)
	h.enroll("van")
	p := h.dialPeer(h.admin, "", "")
	text := longestReport(time.Now().UnixMilli())
	if len(text) < maxMessage || len(text) > maxReportMessage*3/4 {
		t.Errorf("it has %d bytes", len(text))
	}
	if m := p.report(string(text)); m.Accepted != engine.MaxReport {
		t.Errorf("got %+v", m)
	}
	p.send(string(bytes.Repeat([]byte(" "), maxReportMessage+1)))
	if code, _ := p.closed(); code != ws.StatusMessageTooBig {
		t.Errorf("too much: got close code %d", code)
	}
}

// Reports are answered in order, and behind what was asked before.
func TestAnswersComeInOrder(t *testing.T) {
	h := newHouse(t, nil)
	h.enroll("van")
	p := h.dialPeer(h.admin, "", "")
	var all []byte
	now := time.Now().UnixMilli()
	for i := range 30 {
		request := fmt.Sprintf(`{"op":"report","id":%d,"device":"van","fixes":[{"time":%d}]}`, i, now)
		switch i % 3 {
		case 1:
			request = fmt.Sprintf(`{"op":"watch","id":%d,"bbox":[0,0,1,1]}`, i)
		case 2:
			request = fmt.Sprintf(`{"op":"unwatch","id":%d}`, i-1)
		}
		all = append(all, clientFrame(ws.OpText, true, []byte(request))...)
	}
	if _, err := p.c.Write(all); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		want, id := "reported", int64(i)
		switch i % 3 {
		case 1:
			want = "watching"
		case 2:
			want, id = "unwatched", id-1
		}
		if m := p.until(func(m msg) bool { return m.Type != "snapshot" }); m.Type != want || m.ID != id {
			t.Fatalf("answer %d: got %+v", i, m)
		}
	}
}

func TestBudgetIsPaidOffByTime(t *testing.T) {
	var b budget
	now := time.Unix(1_700_000_000, 0)
	if wait := b.pay(reportBurst, reportPerSec, reportBurst, now); wait != 0 {
		t.Errorf("all at once waits %v", wait)
	}
	if wait := b.pay(reportPerSec, reportPerSec, reportBurst, now); wait != time.Second {
		t.Errorf("too much waits %v", wait)
	}
	if wait := b.pay(leastReport, reportPerSec, reportBurst, now.Add(2*time.Second)); wait != 0 {
		t.Errorf("after two seconds: waits %v", wait)
	}
}

// plainly reads by hand, oddly by the decoder for all JSON.
func plainly(b []byte) (report, []track.Fix, bool) {
	r := engine.NewReading()
	defer r.Free()
	p := plainReport{b: b}
	rep, ok := p.read(r)
	return rep, slices.Clone(r.Fixes), ok
}

func oddly(b []byte) (report, []track.Fix, error) {
	r := engine.NewReading()
	defer r.Free()
	rep, err := decodeReport(b, r)
	return rep, slices.Clone(r.Fixes), err
}

func TestPlainReportsAreReadByHand(t *testing.T) {
	for text, plain := range map[string]bool{
		`{"op":"report","id":7,"device":"van","fixes":[{"time":1}]}`:                                            true,
		" {\t\"fixes\" : [ { \"lat\":-1.5e1 , \"lon\":0.0, \"time\":1.0 } ] ,\n\"op\":\"report\"} ":             true,
		`{"op":"report","device":"bücher","fixes":[{"time":"2026-03-01T12:00:00.123456+02:00"},{"time":2e12}]}`: true,
		string(longestReport(1)):                                           true,
		`{"op":"report","device":"v\u0061n","fixes":[{"time":1}]}`:         false,
		`{"op":"report","device":"van","fixes":[{"time":1,"alt_m":null}]}`: false,
		`{"op":"report","op":"report","fixes":[{"time":1}]}`:               false,
		`{"OP":"report","fixes":[{"time":1}]}`:                             false,
		`{"op":"report","fixes":[{"time":01}]}`:                            false,
		`{"op":"report","fixes":[{"time":1.}]}`:                            false,
		`{"op":"report","fixes":[{"time":1}]}x`:                            false,
		`{"op":"watch","id":1,"all":true}`:                                 false,
		``:                                                                 false,
	} {
		if _, _, ok := plainly([]byte(text)); ok != plain {
			t.Errorf("%.80s: plain %v, want %v", text, ok, plain)
		}
	}
}

// Whatever is read by hand the decoder for all JSON reads as the same.
func FuzzReport(f *testing.F) {
	for _, s := range []string{
		`{"op":"report","id":7,"device":"van","fixes":[{"time":1700000000000,"lat":48.137,"lon":11.575}]}`,
		`{"op":"report","id":-7,"device":"a1b2c3d4e5f6","fixes":[{"time":"2026-03-01T12:00:00.000Z","lat":-0,"lon":180,"alt_m":519.5,"speed_mps":13.89,"course_deg":359.996,"accuracy_m":4.8,"battery_pct":87}]}`,
		`{"device":"\u0000","fixes":[{"time":"2026-02-30T12:00:00+25:00"}],"op":"report"}`,
		`{"op":"report","fixes":[{"time":1e999}, {} , {"lat":1E-2,"lon":0x10}]}`,
		`{"op":"report","fixes":[{"time":null,"Lat":1}],"id":1.0}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !utf8.Valid(b) {
			return // refused with its frame
		}
		rep, fixes, plain := plainly(b)
		again, others, err := oddly(b)
		if plain && (err != nil || again != rep || !slices.Equal(others, fixes)) {
			t.Fatalf("%q: by hand %+v %+v, by the decoder %+v %+v, %v", b, rep, fixes, again, others, err)
		}
		if plain && !json.Valid(b) {
			t.Fatalf("%q is no JSON", b)
		}
		if err != nil {
			if _, _, known := explain(err); !known {
				t.Fatalf("%q: %v is not in the table", b, err)
			}
			return
		}
		for i := range others {
			if f := &others[i]; f.Has&track.HasPos != 0 && !f.At.Valid() || f.Course >= 36000 || i > 0 && f.Time < others[i-1].Time {
				t.Fatalf("%q: took %+v", b, f)
			}
		}
	})
}

// An answer does not overtake what was asked before and is still being carried out, by
// whoever has the pen.
func TestAnswerWaitsForWhatIsBeingCarriedOut(t *testing.T) {
	h := newHouse(t, nil)
	p := h.dialPeer(h.admin, "", "")
	s := h.web.sessions.list()[0]
	begun, release := make(chan struct{}), make(chan struct{})
	q := hub.All()
	q.May = sync.OnceValue(func() error { close(begun); <-release; return nil })
	var asked sync.WaitGroup
	asked.Go(func() { s.ask(ask{op: "watch", id: 1, query: q}) })
	<-begun
	waiting := goroutinesOf("sync.(*Cond).Wait")
	asked.Go(func() { s.answer(func(b []byte) []byte { return appendReported(b, 2, 1, 1, 0) }) })
	eventually(t, "it has said so, or waits", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.said != nil || goroutinesOf("sync.(*Cond).Wait") > waiting
	})
	close(release)
	asked.Wait()
	for _, want := range []string{"watching", "reported"} {
		if m := p.until(func(m msg) bool { return m.Type != "snapshot" }); m.Type != want {
			t.Errorf("got %+v, want it %s", m, want)
		}
	}
}

// Who bears a token that was revoked reports nothing more, not even in the moment in which
// the connection lives on.
func TestRevokedTokenReportsNothing(t *testing.T) {
	h := newHouse(t, nil)
	h.enroll("van")
	tok, secret, err := h.engine.CreateToken(t.Context(), "thief", engine.RoleAdmin, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := h.dialPeer(secret, "", "")
	if err := h.engine.RevokeToken(t.Context(), tok.ID); err != nil {
		t.Fatal(err)
	}
	p.send(fmt.Sprintf(`{"op":"report","id":1,"device":"van","fixes":[{"time":%d,"lat":1,"lon":1}]}`, time.Now().UnixMilli()))
	if m := p.next(); m.Type != "goodbye" || m.Reason != tokenEnded.reason {
		t.Errorf("got %+v", m)
	}
	if n := h.web.stats.fixesReported.Load(); n != 0 {
		t.Errorf("%d fixes were taken", n)
	}
}
