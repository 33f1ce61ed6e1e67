package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/tuitest"
)

var testDrops = []string{"replay", "too_old", "auth_fail", "rate_limited"}

// server is a server of which the test decides how it is.
type server struct {
	client.Status
	err error
}

func newServer() *server {
	return &server{Status: client.Status{
		Version: "0.9.1", Uptime: 11_520, Devices: 10_000, Live: 9_812,
		Ingest: map[string]uint64{"ok": 12_345_000, "replay": 12, "too_old": 840},
		Store:  client.StoreStatus{State: "ok", Stored: 12_344_100, Pending: 210, Bytes: 1_312_000_000},
		Hub:    map[string]uint64{"viewers": 14, "behind": 2, "fixes_out": 99_000_000, "skipped": 1_200, "resyncs": 31},
		RPC:    map[string]uint64{"connections": 21, "inflight": 3, "inline": 44_000, "async": 900},
		Probe:  client.Probe{OK: true, Age: 312},
	}}
}

// Status is an answer as a connection gives it: with maps of its own.
func (s *server) ask(context.Context) (client.Status, error) {
	if s.err != nil {
		return client.Status{}, s.err
	}
	out := s.Status
	out.Ingest, out.Hub, out.RPC = maps.Clone(s.Ingest), maps.Clone(s.Hub), maps.Clone(s.RPC)
	return out, nil
}

// second is what happens in one, different from the one before.
func (s *server) second(i int) {
	s.Uptime++
	s.Ingest["ok"] += uint64(1000 + 200*(i%7))
	s.Ingest["too_old"] += uint64(i % 3)
	if i%20 > 16 {
		s.Ingest["replay"] += 40
		s.Hub["skipped"] += 9
	}
	s.Store.Stored += uint64(1000 + 200*((i+6)%7))
	s.Store.Pending = uint64(100 + 50*(i%5))
	s.Hub["fixes_out"] += uint64(14_000 + 100*(i%11))
	s.RPC["inline"] += 4
}

// run lets so many seconds pass.
func (s *server) run(t *testing.T, b *Board, clock *tuitest.Clock, seconds int) {
	t.Helper()
	for i := range seconds {
		clock.Advance(time.Second)
		s.second(i)
		now, err := s.ask(t.Context())
		if err != nil {
			b.Fail(err, clock.Now())
			continue
		}
		b.Take(&now, clock.Now())
	}
}

func rigStatus(t *testing.T, w, h int, env ...string) (*tuitest.Rig, *Board, *server, *tuitest.Clock) {
	t.Helper()
	clock, s := tuitest.NewClock(), newServer()
	b := NewBoard("track.example.org:4810", testDrops)
	p := NewStatus(b, NewFace(look.NoStyle, append([]string{"TERM=xterm-256color", "LANG=C.UTF-8"}, env...)))
	plain := canvas.NewTheme("plain", []string{""}, []string{""})
	p.Resize(w, h)
	return &tuitest.Rig{
		T:    t,
		Key:  func(name string) { p.Handle(tty.Event{Kind: tty.Press, Key: name}) },
		Draw: func() *canvas.Canvas { return p.Draw(clock.Now()) },
		Look: func() (*canvas.Theme, canvas.Glyphs) { return plain, p.face.Glyphs },
	}, b, s, clock
}

var (
	errGone = fmt.Errorf("cannot reach track.example.org:4810: connection refused: %w", client.ErrUnreachable)
	nonce   = client.Alarm{Kind: "nonce_reuse", Device: 0x0123456789ab, Epoch: 7, Time: tuitest.Epoch}
)

func TestStatusScreens(t *testing.T) {
	for _, tc := range []struct {
		name string
		w, h int
		env  string
		then func(b *Board, s *server, clock *tuitest.Clock)
	}{
		{"status-120x40", 120, 40, "", nil},
		{"status-80x24", 80, 24, "", nil},
		{"status-59x15", 59, 15, "", nil},
		{"status-ascii", 80, 24, "LC_ALL=C", nil},
		{"status-console", 80, 24, "TERM=linux", nil},
		{"status-degraded", 80, 24, "", func(b *Board, s *server, clock *tuitest.Clock) {
			s.Store.State, s.Store.Reason, s.Store.Lost = "degraded", "disk full", 512
			s.Alarms = []client.Alarm{nonce}
			s.run(t, b, clock, 1)
		}},
		{"status-alarm", 80, 24, "", func(b *Board, s *server, clock *tuitest.Clock) {
			s.Alarms = []client.Alarm{nonce}
			s.run(t, b, clock, 1)
		}},
		{"status-failed", 80, 24, "", func(b *Board, s *server, clock *tuitest.Clock) {
			s.Probe.OK = false
			s.run(t, b, clock, 1)
		}},
		{"status-gone", 80, 24, "", func(b *Board, s *server, clock *tuitest.Clock) {
			s.err = errGone
			s.run(t, b, clock, 9)
		}},
		{"status-back", 80, 24, "", func(b *Board, s *server, clock *tuitest.Clock) {
			s.err = errGone
			s.run(t, b, clock, 9)
			s.err = nil
			*s = *newServer() // started anew
			s.Uptime = 2
			s.run(t, b, clock, 8)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rig, b, s, clock := rigStatus(t, tc.w, tc.h, tc.env)
			s.run(t, b, clock, 75)
			if tc.then != nil {
				tc.then(b, s, clock)
			}
			tuitest.Golden(t, tc.name, rig.Compose())
		})
	}
}

func TestStatusBeforeTheFirstAnswers(t *testing.T) {
	rig, b, s, clock := rigStatus(t, 80, 24)
	rig.Compose()
	rig.Shows("○ asking", "track.example.org:4810", "14:22:07Z")
	rig.Hides("taken")
	s.run(t, b, clock, 1)
	rig.Compose()
	rig.Shows("● ok", "—", "10,000 enrolled, 9,812 with a fix", "3h") // nothing is known of rates yet
	s.run(t, b, clock, 1)
	rig.Compose()
	rig.Hides("—")
}

func TestTroubleIsToldByShapeWordAndColour(t *testing.T) {
	seen := map[string]bool{}
	for h := waiting; h <= silent; h++ {
		key := fmt.Sprintf("%c %v", ofHealth[h].glyph, h)
		if ofHealth[h].glyph == 0 || h.String() == "" || seen[key] {
			t.Errorf("%d looks like %q", h, key)
		}
		seen[key] = true
	}
	for _, h := range []health{degraded, broken} {
		if ofHealth[h].style != look.Alert {
			t.Errorf("%v is not red", h)
		}
	}
}

func TestStatusFitsAnySizeAndKeepsWhatMatters(t *testing.T) {
	for _, w := range []int{0, 1, 5, 20, 59, 80, 300} {
		for h := range 40 {
			rig, b, s, clock := rigStatus(t, w, h)
			s.Alarms = []client.Alarm{nonce, nonce, nonce}
			s.run(t, b, clock, 3)
			rig.Compose()
			if rows := strings.Split(rig.Frame, "\n"); len(rows) != max(h, 1) {
				t.Fatalf("%dx%d: %d rows", w, h, len(rows))
			}
			if w >= 59 && h >= 8 {
				rig.Shows("taken", "dropped", "stored", "waiting", "q quits")
			}
		}
	}
}

// The smallest terminal there is shows figures, and not only what they would be of.
func TestStatusShowsFiguresInTwentyColumns(t *testing.T) {
	rig, b, s, clock := rigStatus(t, 20, 5)
	s.run(t, b, clock, 3)
	rig.Compose()
	for _, line := range strings.Split(rig.Frame, "\n")[1:4] {
		if !strings.HasSuffix(line, "/s") || len([]rune(line)) > 20 {
			t.Errorf("%q has no rate", line)
		}
	}
}

func TestRowsLeaveByRankAndFromTheEnd(t *testing.T) {
	rows := []row{{label: "a", rank: rankExtra}, {label: "b"}, {label: "c", rank: rankUseful}, {label: "d", rank: rankExtra}, {label: "e"}}
	for room, want := range []string{"", "b", "be", "bce", "abce", "abcde", "abcde"} {
		got := ""
		for _, r := range choose(slices.Clone(rows), room) {
			got += r.label
		}
		if got != want {
			t.Errorf("room for %d: %q, want %q", room, got, want)
		}
	}
}

func TestSeriesKeepsTheNewest(t *testing.T) {
	var s series
	for i := range 100 {
		s.add(float64(i))
	}
	var got []string
	s.newest(3, func(i int, v float64) { got = append(got, fmt.Sprint(i, "=", v)) })
	if want := "0=97 1=98 2=99"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	if s.most(1000) != 99 {
		t.Errorf("the most is %v", s.most(1000))
	}
	s, got = series{}, nil
	s.add(5)
	s.newest(3, func(i int, v float64) { got = append(got, fmt.Sprint(i, "=", v)) })
	if want := "2=5"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRatesAreTheGrowth(t *testing.T) {
	before := newServer()
	now := newServer()
	now.Uptime++
	now.Ingest["ok"] += 50
	now.Ingest["new"] = 10
	now.Ingest["replay"] = 0 // fell, of whatever reason
	now.Store.Stored += 5
	now.Hub["skipped"] += 1
	got := Rates(&before.Status, &now.Status, 500*time.Millisecond)
	want := map[string]float64{
		"ingest.ok": 100, "ingest.new": 20, "ingest.too_old": 0, "store.stored": 10, "store.lost": 0,
		"hub.fixes_out": 0, "hub.skipped": 2, "hub.resyncs": 0, "rpc.inline": 0, "rpc.async": 0, "rpc.failed": 0,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	now.Uptime = 1
	if got := Rates(&before.Status, &now.Status, time.Second); got != nil {
		t.Errorf("a server that started anew has the rates %v", got)
	}
}

func TestPollingGoesOnWhileTheServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newServer(), NewBoard("here", testDrops)
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		var told []string
		ask := func(ctx context.Context) (client.Status, error) {
			switch asked++; asked {
			case 3:
				s.err = errGone
			case 4:
				<-ctx.Done() // it hangs
				return client.Status{}, ctx.Err()
			case 5:
				s.err = nil
			}
			s.second(0)
			return s.ask(ctx)
		}
		each := func() error {
			_, rest, _ := strings.Cut(b.Sentence(time.Now()), " ")
			if told = append(told, rest); len(told) == 6 {
				cancel()
			}
			return nil
		}
		if err := b.Poll(ctx, ask, 2*time.Second, each); err != nil {
			t.Errorf("ended with %v", err)
		}
		want := []string{
			"ok: unknown taken, unknown dropped, unknown stored, 100 waiting, 14 watchers, 2 behind.",
			"ok: 500 taken a second, none dropped, 1,100 stored a second, 100 waiting, 14 watchers, 2 behind.",
			"no answer: " + errGone.Error() + ".",
			"no answer: none within 5 seconds.",
			// Nine seconds after the last answer, in which the server took two lots.
			"ok: 222 taken a second, none dropped, 489 stored a second, 100 waiting, 14 watchers, 2 behind.",
			"ok: 1,000 taken a second, none dropped, 2,200 stored a second, 100 waiting, 14 watchers, 2 behind.",
		}
		if !slices.Equal(told, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestPollingEndsWhenTheServerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard("here", testDrops)
		denied := fmt.Errorf("status: %w", track.ErrDenied)
		err := b.Poll(t.Context(), func(context.Context) (client.Status, error) { return client.Status{}, denied }, time.Second, nil)
		if !errors.Is(err, track.ErrDenied) {
			t.Errorf("ended with %v", err)
		}
		full := errors.New("pipe is closed")
		err = b.Poll(t.Context(), newServer().ask, time.Second, func() error { return full })
		if !errors.Is(err, full) {
			t.Errorf("ended with %v", err)
		}
		// With an answer on the board the next question has to wait.
		start := time.Now()
		_ = b.Poll(t.Context(), newServer().ask, 3*time.Second, func() error { return full })
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("asked after %v", took)
		}
	})
}

func TestSilenceIsNoticedWithoutAnAnswer(t *testing.T) {
	rig, b, s, clock := rigStatus(t, 80, 24)
	s.run(t, b, clock, 5)
	clock.Advance(patience)
	rig.Compose()
	rig.Shows("● ok")
	clock.Advance(2 * time.Second) // the question after it hangs still
	rig.Compose()
	rig.Shows("○ no answer for 7s", "taken")
}

func TestSentencesAreForEars(t *testing.T) {
	_, b, s, clock := rigStatus(t, 80, 24)
	s.run(t, b, clock, 19)
	for _, tc := range []struct {
		change func()
		want   string
	}{
		{func() {}, "14:22:27 ok: 1,000 taken a second, none dropped, 2,200 stored a second, 100 waiting, 14 watchers, 2 behind."},
		{func() { s.Ingest["too_old"] += 3; s.Ingest["rate_limited"] = 1; s.Hub["behind"] = 0 },
			"14:22:28 ok: 1,000 taken a second, 4 dropped a second, 2,200 stored a second, 100 waiting, 14 watchers. Reasons: too old and rate limited."},
		{func() { s.Store.State, s.Store.Reason = "degraded", "disk \x1b[31mfull" },
			"14:22:29 degraded, disk ?[31mfull: 1,000 taken a second, none dropped, 2,200 stored a second, 100 waiting, 14 watchers."},
		{func() { s.Probe.OK = false },
			"14:22:30 failed, a fix no longer makes its way through the server: 1,000 taken a second, none dropped, 2,200 stored a second, 100 waiting, 14 watchers."},
		{func() { s.err = errGone }, "14:22:31 no answer: " + errGone.Error() + "."},
	} {
		tc.change()
		s.run(t, b, clock, 1)
		if got := b.Sentence(clock.Now()); got != tc.want {
			t.Errorf("got  %q\nwant %q", got, tc.want)
		}
	}
}

func TestSpeakersSayWhatIsNew(t *testing.T) {
	_, b, s, clock := rigStatus(t, 80, 24)
	calm, eager := Speaker{Every: 10 * time.Second}, Speaker{}
	var told []string
	for second := range 40 {
		switch second {
		case 13:
			s.Ingest["too_old"]++
		case 25:
			s.err = errGone
		case 28:
			s.err = nil
		}
		s.run(t, b, clock, 1)
		if line := calm.Say(b, clock.Now()); line != "" {
			told = append(told, fmt.Sprint(second, line[8:12]))
		}
		if eager.Say(b, clock.Now()) == "" {
			t.Errorf("second %d is not told to somebody who wants all", second)
		}
	}
	if got, want := strings.Join(told, ","), "0 ok:,10 ok:,13 ok:,14 ok:,24 ok:,25 no ,28 ok:,38 ok:"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestReportsAreOneObject(t *testing.T) {
	_, b, s, clock := rigStatus(t, 80, 24)
	s.run(t, b, clock, 2)
	var got map[string]any
	line, err := json.Marshal(b.Report(clock.Now()))
	if err == nil {
		err = json.Unmarshal(line, &got)
	}
	if err != nil || got["time"] != "2026-01-02T14:22:09Z" || got["version"] != "0.9.1" || got["error"] != nil {
		t.Errorf("%v: %s", err, line)
	}
	if rates, _ := got["rates"].(map[string]any); rates["ingest.ok"] != 1200.0 {
		t.Errorf("rates %v", got["rates"])
	}
	s.err = errGone
	s.run(t, b, clock, 1)
	line, err = json.Marshal(b.Report(clock.Now()))
	if want := `{"time":"2026-01-02T14:22:10Z","error":"` + errGone.Error() + `"}`; err != nil || string(line) != want {
		t.Errorf("%v: %s, want %s", err, line, want)
	}
}

func TestForeignTextIsHarmlessOnTheBoard(t *testing.T) {
	clock, s := tuitest.NewClock(), newServer()
	b := NewBoard("host\x1b[2J", []string{"re\x1bplay"})
	s.Version, s.Store.State, s.Store.Reason = "1\x1b]0;x\x07", "degraded", "\x1b[2J"
	s.Ingest["re\x1bplay"] = 3
	s.Alarms = []client.Alarm{{Kind: "k\x9b2J"}}
	s.run(t, b, clock, 2)
	p := NewStatus(b, NewFace(look.NoStyle, nil))
	p.Resize(120, 40)
	c := p.Draw(clock.Now())
	for i := range c.Cells {
		if r := c.Cells[i].R; r > 0 && r < 0x20 || r >= 0x7f && r < 0xa0 {
			t.Fatalf("%q in a cell", r)
		}
	}
	if got := b.Sentence(clock.Now()); strings.ContainsAny(got, "\x1b\x07\u009b") {
		t.Errorf("%q", got)
	}
}

func TestStatusIsDueOnlyWhenItWouldDiffer(t *testing.T) {
	clock, s := tuitest.NewClock(), newServer()
	b := NewBoard("here", nil)
	p := NewStatus(b, NewFace(look.NoStyle, nil))
	p.Resize(80, 24)
	p.Draw(clock.Now())
	if p.Due(clock.Now()) {
		t.Error("due without a reason")
	}
	if !p.Due(clock.Now().Add(time.Second)) {
		t.Error("the clock stands still")
	}
	b.Take(&s.Status, clock.Now())
	if !p.Due(clock.Now()) {
		t.Error("an answer is not worth a frame")
	}
	for key, want := range map[string]tty.Wants{
		"q": {Quit: true}, "esc": {Quit: true}, "ctrl+c": {Quit: true}, "ctrl+z": {Suspend: true}, "ctrl+l": {Redraw: true}, "x": {},
	} {
		p := NewStatus(b, Face{})
		p.Handle(tty.Event{Kind: tty.Press, Key: key})
		if got := p.Wants(); got != want {
			t.Errorf("%s wants %+v, want %+v", key, got, want)
		}
	}
}
