package tell

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

// listener hears what is told, and when.
type listener struct {
	start time.Time
	lines []string
	at    []time.Duration
	raw   strings.Builder
}

func (l *listener) Write(b []byte) (int, error) {
	l.raw.Write(b)
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(strings.TrimPrefix(line, promptSign)); line != "" {
			l.lines = append(l.lines, line)
			l.at = append(l.at, time.Since(l.start))
		}
	}
	return len(b), nil
}

// told runs Plain for a while of its own time, with somebody who feeds the store and may
// type, and returns what was heard. All of it has to be fit to be heard.
func told(t *testing.T, d time.Duration, o Options, live func(s *fleet.Store, typed io.Writer)) *listener {
	t.Helper()
	l := &listener{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		store := fleet.New(fleet.Config{})
		in, typed := io.Pipe()
		l.start = time.Now()
		done := make(chan error, 1)
		go func() { done <- Plain(ctx, in, l, store, o) }()
		live(store, typed)
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = typed.Close()
	})
	l.audible(t)
	return l
}

// audible holds that a voice can read every line, and that none is interrupted.
func (l *listener) audible(t *testing.T) {
	t.Helper()
	for _, line := range l.lines {
		if !strings.HasSuffix(line, ".") || strings.HasSuffix(line, "..") {
			t.Errorf("no sentence: %q", line)
		}
		for _, r := range line {
			if unicode.IsControl(r) || !unicode.IsLetter(r) && r >= 0x2190 {
				t.Errorf("%U in %q", r, line)
			}
		}
	}
}

// has tells how many lines hold all of the words.
func (l *listener) has(words ...string) int {
	n := 0
	for _, line := range l.lines {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

func wait(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestALineASecondAndAlertsAtOnce(t *testing.T) {
	var sos time.Duration
	l := told(t, 30*time.Second, Options{}, func(s *fleet.Store, _ io.Writer) {
		start := time.Now()
		f := tuitest.NewFleet(50, 3, tuitest.Europe)
		f.Clock = start
		s.Snapshot(f.Step(time.Second, 1), true, false)
		s.SetLink(fleet.Live, "")
		for i := range 40 {
			wait(500 * time.Millisecond)
			fixes := f.Step(500*time.Millisecond, 1)
			if i == 21 {
				fixes[4].Event, sos = "sos", time.Since(start)
			}
			s.Apply(fixes)
		}
	})
	for i := 1; i < len(l.lines); i++ {
		alert := strings.Contains(l.lines[i], " alert: ")
		if gap := l.at[i] - l.at[i-1]; !alert && l.at[i-1] > 0 && gap < newsEvery {
			t.Errorf("%v after the line before: %q", gap, l.lines[i])
		}
		if alert && l.at[i] > sos+lookEvery {
			t.Errorf("%v after the call for help: %q", l.at[i]-sos, l.lines[i])
		}
	}
	if l.has(" alert: van-0004: ", "reports sos") != 1 || l.has(" event: ") != 0 || l.has("summary: 50 devices, ", " fixes a second.") == 0 || len(l.lines) < 20 {
		t.Errorf("%d lines:\n%s", len(l.lines), strings.Join(l.lines, "\n"))
	}
}

func TestManyCallsForHelpAreToldInTurn(t *testing.T) {
	l := told(t, 10*time.Second, Options{}, func(s *fleet.Store, _ io.Writer) {
		var fixes []client.Fix
		for i := range 23 {
			f := tuitest.Fix(track.DeviceID(1+i), "", time.Now(), 48, 11)
			f.Event = "sos"
			fixes = append(fixes, f)
		}
		s.Snapshot(fixes, true, false)
	})
	var first time.Duration
	seconds := map[time.Duration]int{}
	for i, line := range l.lines {
		if strings.Contains(line, " alert: ") {
			if first == 0 {
				first = l.at[i]
			}
			seconds[(l.at[i]-first)/time.Second]++
		}
	}
	if l.has(" alert: ") != 23 || seconds[0] != alertsMax || seconds[4] != 3 {
		t.Errorf("%v:\n%s", seconds, strings.Join(l.lines, "\n"))
	}
}

func TestNewsWaitsWhileItIsHeld(t *testing.T) {
	l := told(t, 30*time.Second, Options{}, func(s *fleet.Store, typed io.Writer) {
		f := tuitest.NewFleet(5, 3, tuitest.Europe)
		f.Clock = time.Now()
		s.Snapshot(f.Step(time.Second, 1), true, false)
		_, _ = io.WriteString(typed, "\n")
		for i := range 10 {
			wait(time.Second)
			fixes := f.Step(time.Second, 1)
			if i == 5 {
				fixes[1].Event = "sos"
			}
			s.Apply(fixes)
		}
		_, _ = io.WriteString(typed, "where van-0003\n\n")
	})
	var early []string
	for i, line := range l.lines {
		if l.at[i] <= 10*time.Second {
			early = append(early, strings.TrimLeft(line, "0123456789: ")[:5])
		}
	}
	// The greeting, that news waits, one alert, an answer, and that it goes on.
	if want := []string{"Ask a", "The n", "alert", "van-0", "News "}; !slices.Equal(early, want) {
		t.Errorf("%q, want %q", early, want)
	}
	if l.has("summary: ") == 0 {
		t.Errorf("it never went on:\n%s", strings.Join(l.lines, "\n"))
	}
}

func TestMutedDevicesDoNotCallForHelp(t *testing.T) {
	l := told(t, 10*time.Second, Options{}, func(s *fleet.Store, _ io.Writer) {
		loud, muted := tuitest.Fix(1, "loud", time.Now(), 48, 11), tuitest.Fix(2, "muted", time.Now(), 48, 11)
		s.Snapshot([]client.Fix{loud, muted}, true, false)
		s.Events().Mute(2, true)
		wait(time.Second)
		for _, f := range []*client.Fix{&loud, &muted} {
			f.Event, f.Time = "sos", time.Now()
		}
		s.Apply([]client.Fix{loud, muted})
	})
	if l.has("alert: loud: ") != 1 || l.has("alert: muted: ") != 0 {
		t.Errorf("%s", strings.Join(l.lines, "\n"))
	}
}

func TestAlarmsThatAreOverAreForgotten(t *testing.T) {
	clock := tuitest.NewClock()
	store := fleet.New(fleet.Config{Now: clock.Now})
	cry := tuitest.Fix(1, "van-1", clock.At, 48, 11)
	cry.Event = "sos"
	teller := newTeller(io.Discard, store, &Options{})
	for range 3 { // it goes on, but nobody has to hear it every minute
		for minute := range 5 {
			cry.Time = clock.At
			store.Apply([]client.Fix{cry})
			if got := teller.urgent(); (got != "") != (minute == 0) {
				t.Errorf("after %d minutes: %q", minute, got)
			}
			clock.Advance(time.Minute)
		}
	}
	clock.Advance(filter.AlarmFor)
	teller.refresh()
	if teller.summary(); len(teller.alarmed) != 0 {
		t.Errorf("still known: %v", teller.alarmed)
	}
}

func TestEventsAreToldOrCounted(t *testing.T) {
	l := told(t, 10*time.Second, Options{}, func(s *fleet.Store, _ io.Writer) {
		van := tuitest.Fix(1, "van-1", time.Now(), 48, 11)
		s.Snapshot([]client.Fix{van}, true, false)
		log := s.Events()
		add := func(e fleet.Event) { e.At = time.Now(); log.Add(e) }
		add(fleet.Event{Kind: fleet.Silent, Device: 1, Name: "van-1", Text: "silent for 4m, usually every 30s"})
		add(fleet.Event{Kind: fleet.Back, Device: 9, Name: "gone\x1b[2J"})
		add(fleet.Event{Kind: fleet.LowBattery, Device: 1, Name: "van-1", Text: "battery low, 12%"})
		add(fleet.Event{Kind: fleet.Resumed, Text: "live again after 1d"})
		add(fleet.Event{Kind: fleet.Back, Device: 7, Name: "quiet one", Muted: true})
		wait(5 * time.Second)
		for i := range 9 {
			add(fleet.Event{Kind: []fleet.Kind{fleet.Silent, fleet.Back, fleet.Jump}[i%3], Device: 1, Name: "van-1"})
		}
	})
	for _, want := range []string{
		"event: van-1 silent for 4 minutes, usually every 30 seconds.", "event: gone?[2J back", "alert: van-1 battery low, 12 percent.",
		"link: live again after 1 day.", "event: 3 times silent, 3 times back, 3 times jumped.",
	} {
		if l.has(want) != 1 {
			t.Errorf("%d lines say %q:\n%s", l.has(want), want, strings.Join(l.lines, "\n"))
		}
	}
	if l.has("quiet one") != 0 || l.has("event: ") != 3 {
		t.Errorf("too much:\n%s", strings.Join(l.lines, "\n"))
	}
}

func TestALinkThatIsBackIsToldOnce(t *testing.T) {
	l := told(t, 10*time.Second, Options{}, func(s *fleet.Store, _ io.Writer) {
		s.SetLink(fleet.Live, "")
		wait(3 * time.Second)
		s.SetLink(fleet.Reconnecting, "no answer, again in 1.2s")
		wait(3 * time.Second)
		s.SetLink(fleet.Live, "")
	})
	var links []string
	for _, line := range l.lines {
		if _, words, ok := strings.Cut(line, " link: "); ok {
			links = append(links, words)
		}
	}
	if want := []string{"live.", "reconnecting, no answer, again in 1.2 seconds.", "live again after 3.0 seconds."}; !slices.Equal(links, want) {
		t.Errorf("%q, want %q", links, want)
	}
}

func TestLongSilenceIsSilent(t *testing.T) {
	l := told(t, time.Hour, Options{}, func(s *fleet.Store, _ io.Writer) {
		s.Snapshot([]client.Fix{tuitest.Fix(1, "van-1", time.Now(), 48, 11)}, true, false)
		s.SetLink(fleet.Live, "")
	})
	if len(l.lines) > 5 {
		t.Errorf("%d lines about nothing:\n%s", len(l.lines), strings.Join(l.lines, "\n"))
	}
}

func TestNewsIsOfThoseWhoAreMeant(t *testing.T) {
	l := told(t, 20*time.Second, Options{}, func(s *fleet.Store, typed io.Writer) {
		f := tuitest.NewFleet(30, 3, tuitest.Europe)
		f.Clock = time.Now()
		s.Snapshot(f.Step(time.Second, 1), true, false)
		_, _ = io.WriteString(typed, "follow van-0007\n")
		for range 18 {
			wait(time.Second)
			s.Apply(f.Step(time.Second, 1))
		}
	})
	news := 0
	for _, line := range l.lines {
		switch {
		case strings.Contains(line, "summary: "):
			if !strings.Contains(line, ". Following van-0007: ") {
				t.Errorf("%q", line)
			}
		case strings.Contains(line, "van-"):
			if !strings.Contains(line, "van-0007: ") {
				t.Errorf("%q", line)
			}
			news++
		}
	}
	if news < 10 {
		t.Errorf("%d lines of it:\n%s", news, strings.Join(l.lines, "\n"))
	}
}

func TestTheEndOfQuestionsIsTheEnd(t *testing.T) {
	for name, typed := range map[string]string{"quit": "quit\n", "end of input": "", "last line": "help", "short": "q\n"} {
		var out strings.Builder
		if err := Plain(t.Context(), strings.NewReader(typed), &out, fleet.New(fleet.Config{}), Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(out.String(), "where NAME: ") != (name == "last line") {
			t.Errorf("%s: %q", name, out.String())
		}
	}
}

func TestAPipeThatBreaksIsAnEnd(t *testing.T) {
	for err, want := range map[error]error{
		&os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}: nil, io.ErrClosedPipe: nil, os.ErrClosed: os.ErrClosed, syscall.ENOSPC: syscall.ENOSPC,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := fleet.New(fleet.Config{})
			s.SetLink(fleet.Live, "")
			if got := Plain(t.Context(), nil, brokenPipe{err}, s, Options{}); !errors.Is(got, want) {
				t.Errorf("%v: %v", err, got)
			}
		})
	}
}

type brokenPipe struct{ err error }

func (b brokenPipe) Write([]byte) (int, error) { return 0, b.err }

func TestAFileThatTakesADeadlineIsReadNoMore(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	complete := make(chan struct{})
	close(complete)
	if err := Plain(t.Context(), r, io.Discard, fleet.New(fleet.Config{}), Options{Complete: complete}); err != nil {
		t.Error(err)
	}
	// Nobody is left to take what is typed now.
	if _, err := io.WriteString(w, "help\n"); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(r).ReadString('\n'); line != "help\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
}

func TestSentencesSayWhereADeviceIs(t *testing.T) {
	var n, masked narrator
	masked.mask = fleet.NewMask()
	f := tuitest.Fix(1, "moto-3", tuitest.Epoch, 47.07, 15.44)
	f.Has |= track.HasVel | track.HasBat
	f.Speed, f.Course, f.Battery = 36.7, 315, 22
	for _, tt := range []struct{ got, want string }{
		{n.sentence("moto-3", &f, 1, time.Second), "moto-3: 47.07000 north, 15.44000 east, in Graz, moving 132 km/h north-west, battery 22 percent, fix 1 second ago."},
		{n.sentence("x", &client.Fix{}, 0, 0), "x: no place known, idle, fix 0 seconds ago."},
		{n.sentence("x", &client.Fix{Event: "sos\x1b[2J"}, 4, 0), "x: no place known, alert, reports sos?[2J, fix 0 seconds ago."},
		{masked.sentence("x", &f, 1, 0), "x: about 47.1 north, 15.4 east, moving 132 km/h north-west, battery 22 percent, fix 0 seconds ago."},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestVoiceLeavesWhatCanBeRead(t *testing.T) {
	for in, want := range map[string]string{
		"van-0417":        "van-0417",
		"Küste №5 — Nord": "Küste 5 — Nord",
		"●▲ 🚚 truck 🚚":    "truck",
		"東京 العربية":      "東京 العربية",
		"a\nb\x1b[31m":    "a?b?[31m",
		"→":               "",
	} {
		if got := voice(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"silent for 4m": "silent for 4 minutes", "back after 1h": "back after 1 hour", "jumped 412 m in 3.5s": "jumped 412 m in 3.5 seconds", "12%": "12 percent", "b2d": "b2d",
	} {
		if got := spelled(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestNothingLeaksThroughTheMask(t *testing.T) {
	mask := fleet.NewMask()
	secret := tuitest.Fix(0xabcdef, "secret-van", time.Now(), 48.13743, 11.57549)
	secret.Event = "sos"
	l := told(t, 30*time.Second, Options{Mask: mask}, func(s *fleet.Store, typed io.Writer) {
		secret.Time, secret.Received = time.Now(), time.Now()
		s.Snapshot([]client.Fix{secret, tuitest.Fix(2, "otto", time.Now(), 48.2, 11.6)}, true, false)
		s.Events().Add(fleet.Event{At: time.Now(), Kind: fleet.Silent, Device: 0xabcdef, Name: "secret-van", Text: "silent for 4m"})
		name := mask.Name(0xabcdef, "")
		for _, q := range []string{"list", "where " + name, "near " + name, "near Munich", "follow " + name, "events", "summary", "where secret", "where 000000abcdef"} {
			_, _ = io.WriteString(typed, q+"\n")
		}
		wait(5 * time.Second)
		secret.Time = time.Now()
		s.Apply([]client.Fix{secret})
	})
	heard := strings.ReplaceAll(l.raw.String(), `called "secret"`, "") // that was typed here
	heard = strings.ReplaceAll(heard, `called "000000abcdef"`, "")
	for _, word := range []string{"secret", "abcdef", "48.13", "11.57", "Munich", "otto"} {
		if strings.Contains(heard, word) {
			t.Errorf("%q is told:\n%s", word, heard)
		}
	}
	if l.has("about 48.1 north, 11.6 east") == 0 {
		t.Errorf("and nothing else:\n%s", heard)
	}
}

func TestDistancesDoNotSayMoreThanTheMask(t *testing.T) {
	mask := fleet.NewMask()
	store := fleet.New(fleet.Config{Now: tuitest.NewClock().Now})
	store.Snapshot([]client.Fix{tuitest.Fix(1, "a", tuitest.Epoch, 48.13743, 11.57549), tuitest.Fix(2, "b", tuitest.Epoch, 48.06, 11.64)}, true, false)
	for mask.Name(1, "") == mask.Name(2, "") {
		mask = fleet.NewMask() // once in tens of thousands
	}
	a, b := mask.Name(1, ""), mask.Name(2, "")
	for ask, want := range map[string]string{
		"near 48.1,11.6": a + ": 0.0 m north, idle.\n" + b + ": 0.0 m north, idle.\n",
		"near " + a:      b + ": 0.0 m north, idle.\n",
	} {
		var out strings.Builder
		if err := newTeller(&out, store, &Options{Mask: mask}).answer(question{text: ask}); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v, want %q", ask, out.String(), err, want)
		}
	}
}

// dialogue is what somebody sees who types, with what was typed where the echo of a
// terminal puts it.
func dialogue(t *testing.T, o Options, typed ...string) string {
	t.Helper()
	var out strings.Builder
	clock := tuitest.NewClock()
	store := fleet.New(fleet.Config{Now: clock.Now})
	f := tuitest.NewFleet(24, 3, tuitest.Europe)
	f.Fixes[5].Name, f.Fixes[6].Event, f.Fixes[7].Has = "Müll <5>\x1b[2J", "sos", 0
	fixes := f.Step(time.Second, 1)
	store.Snapshot(fixes, true, false)
	clock.At = f.Clock
	teller := newTeller(&out, store, &o)
	for _, q := range typed {
		out.WriteString(canvas.Clean(q) + "\n")
		if err := teller.answer(question{text: q}); err != nil && !errors.Is(err, errQuit) {
			t.Fatal(err)
		}
		clock.Advance(time.Second)
	}
	return out.String()
}

func TestDialogues(t *testing.T) {
	for name, typed := range map[string][]string{
		"where":  {"where van-0003", "where VAN-0003", "where müll", "where 0000000003ec", "where van", "where nobody", "where", "where van-0007", "w van-0003"},
		"near":   {"near 48.14,11.58", "near Paris", "near van-0003", "near van-0007", "near nowhere", "near 91,0"},
		"list":   {"list", "follow van-0003", "summary", "follow", "follow x"},
		"held":   {"", "where van-0003", "", "hold", "summary", "go"},
		"others": {"help", "events", "ack", "e", "sing", "\x1b[2J\x07", "quit"},
	} {
		tuitest.Golden(t, "dialogue-"+name, dialogue(t, Options{}, typed...))
	}
}

func TestAFilterNarrowsTheNews(t *testing.T) {
	out := dialogue(t, Options{}, "filter name:van-0003", "list", "summary", "filter", "filter speed>>3", "list (", "filter \x1b[2J(")
	for _, want := range []string{
		"\nNews of 1 of 24 devices, 1 ", "; calls for help are told of all.\n", "\n1 device.\nvan-0003: ", "summary: 1 of 24 devices, 1 ",
		"\nNews of all devices: 24 devices, ", "filter speed>>3\nThat filter is not right at character ", "list (\nThat filter is not right at character ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %q in\n%s", want, out)
		}
	}
}

func TestQuestionsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	r := bufio.NewReaderSize(strings.NewReader(long+"\nhelp\r\nlast"), maxQuestion)
	for _, want := range []question{{long: true}, {text: "help"}, {text: "last", end: true}, {end: true}} {
		if got := readQuestion(r); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// FuzzAnswer asks anything: the answer is sentences and nothing else.
func FuzzAnswer(f *testing.F) {
	for _, q := range []string{"where van", "near 1,1", "list state:moving", "filter (", "follow \x1b[2J", "near Köln", "events", "ack", "", "help", "summary", "\xff"} {
		f.Add(q)
	}
	store := fleet.New(fleet.Config{Now: tuitest.NewClock().Now})
	store.Snapshot(tuitest.Vans(30), true, false)
	f.Fuzz(func(t *testing.T, q string) {
		l := &listener{}
		teller := newTeller(l, store, &Options{})
		if err := teller.answer(question{text: q}); err != nil && !errors.Is(err, errQuit) {
			t.Fatal(err)
		}
		l.audible(t)
		if n := strings.Count(l.raw.String(), "\n"); n > listMax+2 || strings.ContainsAny(l.raw.String(), "\x1b\x07\r") {
			t.Errorf("%d lines: %q", n, l.raw.String())
		}
	})
}

func TestTheNearestComesFirst(t *testing.T) {
	store := fleet.New(fleet.Config{Now: tuitest.NewClock().Now})
	store.Snapshot(tuitest.Vans(200), true, false)
	var out strings.Builder
	at := geo.Deg(48, 11)
	teller := newTeller(&out, store, &Options{})
	if err := teller.answer(question{text: "near 48,11"}); err != nil {
		t.Fatal(err)
	}
	fixes := tuitest.Vans(200)
	slices.SortFunc(fixes, func(a, b client.Fix) int { return cmp.Compare(geo.Distance(at, a.At), geo.Distance(at, b.At)) })
	var got, want []string
	for line := range strings.Lines(out.String()) {
		name, _, _ := strings.Cut(line, ":")
		got = append(got, name)
	}
	for _, f := range fixes[:nearMax] {
		want = append(want, f.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func BenchmarkLook(b *testing.B) {
	store := fleet.New(fleet.Config{})
	f := tuitest.NewFleet(10_000, 1, tuitest.World)
	store.Snapshot(f.Step(time.Second, 1), true, false)
	teller := newTeller(io.Discard, store, &Options{})
	b.ReportAllocs()
	for b.Loop() {
		store.Apply(f.Step(time.Second, 0.001))
		if err := teller.look(); err != nil {
			b.Fatal(err)
		}
	}
}
