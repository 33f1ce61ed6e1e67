package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"tracker/pkg/engine"
	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// The other door takes reports as JSON. What this one takes that one takes, and what is
// refused is refused in the same words.
func TestBothDoorsTakeReportsAlike(t *testing.T) {
	h := newHouse(t, nil)
	h.enroll("van")
	old := h.enroll("old")[0]
	if err := h.engine.Revoke(t.Context(), old.Device); err != nil {
		t.Fatal(err)
	}
	admin := servicesOf(h.dial(bearer(h.admin)))
	say := h.jsonDoor().stream(h.admin)
	now := float64(time.Now().UnixMilli())
	fix := func(change func(*trk.FixT)) []*trk.FixT {
		f := &trk.FixT{Time: now, Has: trk.HasPosition | trk.HasVelocity | trk.HasBattery}
		change(f)
		return []*trk.FixT{{Time: now - 5000}, f}
	}
	many := make([]*trk.FixT, engine.MaxReport+1)
	for i := range many {
		many[i] = &trk.FixT{Time: now}
	}
	for name, tt := range map[string]struct {
		device string
		fixes  []*trk.FixT
	}{
		"fine":          {"van", fix(func(*trk.FixT) {})},
		"most":          {"van", many[1:]},
		"none":          {"van", nil},
		"too many":      {"van", many},
		"half time":     {"van", fix(func(f *trk.FixT) { f.Time += 0.5 })},
		"time before":   {"van", fix(func(f *trk.FixT) { f.Time = -1 })},
		"year 2200":     {"van", fix(func(f *trk.FixT) { f.Time = 7.3e12 })},
		"ahead":         {"van", fix(func(f *trk.FixT) { f.Time += 600_000 })},
		"not in order":  {"van", fix(func(f *trk.FixT) { f.Time -= 10_000 })},
		"north of pole": {"van", fix(func(f *trk.FixT) { f.Lat = 900_000_001 })},
		"east of all":   {"van", fix(func(f *trk.FixT) { f.Lon = -1_800_000_001 })},
		"course":        {"van", fix(func(f *trk.FixT) { f.CourseCdeg = 36000 })},
		"battery":       {"van", fix(func(f *trk.FixT) { f.Battery = 101 })},
		"unknown":       {"bus", fix(func(*trk.FixT) {})},
		"nobody":        {"", fix(func(*trk.FixT) {})},
		"revoked":       {old.Device.String(), fix(func(*trk.FixT) {})},
	} {
		want := ""
		if _, err := admin.publish.Report(within(t), &trk.ReportReqT{Device: tt.device, Fixes: tt.fixes}); err != nil {
			var e *rpc.Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			want = e.Message
		}
		got, accepted := say(tt.device, tt.fixes)
		if got != want || want == "" && accepted != len(tt.fixes) {
			t.Errorf("%s: as JSON %d are taken, %q; here %q", name, accepted, got, want)
		}
	}
}

// stream reports over /v1/stream.
func (d *jsonDoor) stream(token string) (report func(device string, fixes []*trk.FixT) (refusal string, accepted int)) {
	d.t.Helper()
	dialer := ws.Dialer{Header: ws.HandshakeHeaderHTTP(http.Header{"Authorization": {"Bearer " + token}})}
	c, _, _, err := dialer.Dial(context.Background(), "ws"+strings.TrimPrefix(d.url, "http")+"/v1/stream")
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return func(device string, fixes []*trk.FixT) (string, int) {
		d.t.Helper()
		texts := make([]string, len(fixes))
		for i, f := range fixes {
			texts[i] = fixText(f)
		}
		if err := wsutil.WriteClientText(c, fmt.Appendf(nil, `{"op":"report","device":%q,"fixes":[%s]}`, device, strings.Join(texts, ","))); err != nil {
			d.t.Fatal(err)
		}
		b, err := wsutil.ReadServerText(c)
		if err != nil {
			d.t.Fatal(err)
		}
		var v struct {
			Accepted int
			Error    struct{ Message string }
		}
		if err := json.Unmarshal(b, &v); err != nil {
			d.t.Fatal(err)
		}
		return v.Error.Message, v.Accepted
	}
}

func fixText(f *trk.FixT) string {
	b := fmt.Appendf(nil, `{"time":%.1f`, f.Time)
	if f.Has&trk.HasPosition != 0 {
		b = fmt.Appendf(b, `,"lat":%.7f,"lon":%.7f`, float64(f.Lat)/1e7, float64(f.Lon)/1e7)
	}
	if f.Has&trk.HasVelocity != 0 {
		b = fmt.Appendf(b, `,"speed_mps":%.2f,"course_deg":%.2f`, float64(f.SpeedCmps)/100, float64(f.CourseCdeg)/100)
	}
	if f.Has&trk.HasBattery != 0 {
		b = fmt.Appendf(b, `,"battery_pct":%d`, f.Battery)
	}
	return string(append(b, '}'))
}
