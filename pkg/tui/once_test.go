package tui

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
)

// feedOf loads fixes and then waits to be told to stop.
func feedOf(fixes ...client.Fix) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error {
		s.Snapshot(fixes, true, false)
		s.SetLink(Live, "")
		<-ctx.Done()
		return ctx.Err()
	}
}

func TestOnceWritesOneFrameOfPlainText(t *testing.T) {
	for _, tt := range []struct {
		name       string
		env        []string
		cols, rows int
	}{
		{"default", nil, 80, 24}, {"environment", []string{"COLUMNS=120", "LINES=40"}, 120, 40}, {"nonsense", []string{"COLUMNS=x", "LINES=-3"}, 80, 24},
	} {
		var out bytes.Buffer
		o := Options{Server: "here:4810", Feed: feedOf(vans(20)...), Environ: append([]string{"TERM=xterm-256color", "LANG=C.UTF-8"}, tt.env...),
			Now: func() time.Time { return epoch }}
		if err := Once(context.Background(), &out, o); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != tt.rows {
			t.Errorf("%s: %d lines, want %d", tt.name, len(lines), tt.rows)
		}
		widest := 0
		for _, l := range lines {
			widest = max(widest, canvas.Width(l))
		}
		if widest > tt.cols || widest < tt.cols-3 {
			t.Errorf("%s: %d columns, want %d", tt.name, widest, tt.cols)
		}
		if strings.ContainsRune(out.String(), '\x1b') || strings.Contains(out.String(), "hjkl") {
			t.Errorf("%s: colours or hints in plain text:\n%s", tt.name, out.String())
		}
		if !strings.Contains(out.String(), "20 dev") || !strings.Contains(out.String(), "van-00") {
			t.Errorf("%s:\n%s", tt.name, out.String())
		}
	}
}

func TestOnceInASCII(t *testing.T) {
	var out bytes.Buffer
	o := Options{Feed: feedOf(vans(20)...), Environ: []string{"LANG=C"}, Now: func() time.Time { return epoch }}
	if err := Once(context.Background(), &out, o); err != nil {
		t.Fatal(err)
	}
	for i, b := range out.Bytes() {
		if b > '~' || b < ' ' && b != '\n' {
			t.Fatalf("byte %#x at %d:\n%s", b, i, out.String())
		}
	}
	golden(t, "once-ascii", out.String())
}

func TestOnceEndsWithItsFeed(t *testing.T) {
	var out bytes.Buffer
	down := errors.New("connection refused")
	fail := func(context.Context, *Store) error { return down }
	if err := Once(context.Background(), &out, Options{Feed: fail}); !errors.Is(err, down) || out.Len() > 0 {
		t.Errorf("%v, wrote %q", err, out.String())
	}
	panics := func(context.Context, *Store) error { panic("oh") }
	if err := Once(context.Background(), &out, Options{Feed: panics}); err == nil || !strings.Contains(err.Error(), "panic: oh") {
		t.Errorf("a feed that panics: %v", err)
	}
	// A feed that is complete without a snapshot shows what it had.
	short := func(_ context.Context, s *Store) error {
		s.Apply(vans(3))
		return nil
	}
	if err := Once(context.Background(), &out, Options{Feed: short, Now: func() time.Time { return epoch }}); err != nil || !strings.Contains(out.String(), "3 dev") {
		t.Errorf("%v\n%s", err, out.String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Once(ctx, &out, Options{Feed: feedOf()}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestOnceDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		silent := func(ctx context.Context, s *Store) error {
			<-ctx.Done()
			return ctx.Err()
		}
		start := time.Now()
		if err := Once(t.Context(), &out, Options{Feed: silent}); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != onceWait {
			t.Errorf("waited %v", took)
		}
		if !strings.Contains(out.String(), "CONNECTING") {
			t.Errorf("got\n%s", out.String())
		}
	})
}

func TestWrongOptionsAreSaid(t *testing.T) {
	for _, o := range []Options{{Theme: "pink"}, {Theme: "plain"}, {Glyphs: "emoji"}} {
		o.Feed = feedOf()
		var out bytes.Buffer
		if err := Once(context.Background(), &out, o); err == nil || !strings.Contains(err.Error(), "not one of") && !strings.Contains(err.Error(), "are not one of") {
			t.Errorf("%+v: %v", o.Theme+o.Glyphs, err)
		}
	}
}

func TestGlyphsByTerminalAndLocale(t *testing.T) {
	for _, tt := range []struct {
		env  string
		want canvas.Glyphs
	}{
		{"TERM=xterm-256color LANG=en_US.UTF-8", canvas.Braille},
		{"TERM=xterm-256color", canvas.Braille},
		{"TERM=linux LANG=de_DE.utf8", canvas.Blocks},
		{"TERM=linux LANG=C", canvas.ASCII},
		{"TERM=xterm LC_ALL=POSIX LANG=en_US.UTF-8", canvas.ASCII},
		{"TERM=xterm LC_CTYPE=en_US.UTF-8 LANG=C", canvas.Braille},
	} {
		o := Options{Environ: strings.Fields(tt.env)}
		if got, err := o.glyphs(); got != tt.want || err != nil {
			t.Errorf("%s: %d, %v, want %d", tt.env, got, err, tt.want)
		}
	}
	for name, want := range map[string]canvas.Glyphs{"braille": canvas.Braille, "block": canvas.Blocks, "ascii": canvas.ASCII} {
		if got, err := (&Options{Glyphs: name, Environ: []string{"LANG=C"}}).glyphs(); got != want || err != nil {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

// plainLines runs Plain for a while of its own time and returns what it wrote and when.
func plainLines(t *testing.T, d time.Duration, feed func(context.Context, *Store) error) (lines []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		w := &lineClock{start: time.Now()}
		if err := Plain(ctx, w, Options{Feed: feed}); err != nil {
			t.Error(err)
		}
		lines = w.lines
		for i := 1; i < len(w.at); i++ {
			if w.at[i]-w.at[i-1] < time.Second {
				t.Errorf("lines %d and %d are %v apart", i-1, i, w.at[i]-w.at[i-1])
			}
		}
	})
	return lines
}

type lineClock struct {
	start time.Time
	lines []string
	at    []time.Duration
}

func (w *lineClock) Write(b []byte) (int, error) {
	w.lines = append(w.lines, strings.TrimSuffix(string(b), "\n"))
	w.at = append(w.at, time.Since(w.start))
	return len(b), nil
}

func TestPlainTellsInSentences(t *testing.T) {
	lines := plainLines(t, 25*time.Second, func(ctx context.Context, s *Store) error {
		f := newFleet(30, 5, europe)
		f.clock = time.Now()
		s.Snapshot(f.step(time.Second, 1), true, false)
		s.SetLink(Live, "")
		for i := range 100 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
			}
			fixes := f.step(time.Second, 0.5)
			if i == 5 {
				fixes = append(fixes, fixes[0])
				fixes[len(fixes)-1].Event = "sos"
				fixes[len(fixes)-1].Time = f.clock.Add(time.Millisecond)
			}
			s.Apply(fixes)
		}
		return nil
	})
	all := strings.Join(lines, "\n")
	if len(lines) < 20 {
		t.Errorf("%d lines in 25 seconds", len(lines))
	}
	for _, want := range []string{
		"link: live.", "summary: 30 devices, ", " moving, ", "fixes a second.", "alert: van-00", "reports sos", "km/h", "north, ", "battery ", "percent", "fix ", " ago.",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("nothing says %q in\n%s", want, all)
		}
	}
	if strings.Count(all, "alert:") != 1 {
		t.Errorf("one event was told %d times", strings.Count(all, "alert:"))
	}
	for _, l := range lines {
		for _, r := range l {
			if r > 0x24f || r < ' ' {
				t.Errorf("%q is not a word: %s", r, l)
			}
		}
	}
}

func TestPlainIsSilentWhenNothingHappens(t *testing.T) {
	lines := plainLines(t, time.Minute, feedOf(vans(2)...))
	if len(lines) > 5 {
		t.Errorf("%d lines about two devices that said nothing:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	lines = plainLines(t, time.Minute, func(ctx context.Context, _ *Store) error {
		<-ctx.Done()
		return nil
	})
	if len(lines) != 0 {
		t.Errorf("about nothing: %q", lines)
	}
}

func TestPlainEndsWithASummaryWhenTheFeedIsComplete(t *testing.T) {
	lines := plainLines(t, time.Hour, func(_ context.Context, s *Store) error {
		s.Snapshot(vans(4), true, false)
		return nil
	})
	if len(lines) != 1 || !strings.Contains(lines[0], "summary: 4 devices, ") {
		t.Errorf("%q", lines)
	}
}

func TestPlainStopsWhenNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := Plain(t.Context(), closedPipe{}, Options{Feed: feedOf(vans(4)...)})
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestHostileNamesInSentences(t *testing.T) {
	lines := plainLines(t, 5*time.Second, feedOf(fixOf(1, "a\nb\x1b[31m\u202e", time.Now(), 48, 11)))
	all := strings.Join(lines, "")
	if strings.ContainsAny(all, "\x1b\u202e\r\n") || !strings.Contains(all, "a?b?[31m") {
		t.Errorf("%q", lines)
	}
}

func TestWords(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{thousands(0), "0"}, {thousands(999), "999"}, {thousands(1000), "1,000"}, {thousands(1234567), "1,234,567"},
		{rate(0), "0"}, {rate(0.25), "0.2"}, {rate(9812), "9812"}, {rate(98_123), "98.1k"},
		{age(-time.Second), "0s"}, {age(59 * time.Second), "59s"}, {age(61 * time.Minute), "1h"}, {age(47 * time.Hour), "47h"}, {age(1e6 * time.Hour), "999d"},
		{length(0.61), "0.6 m"}, {length(38), "38 m"}, {length(2400), "2.4 km"}, {length(611_000), "611 km"},
		{direction(0), "north"}, {direction(359.9), "north"}, {direction(131), "south-east"}, {direction(292.5), "north-west"},
		{string(arrow(0)), "↑"}, {string(arrow(35999)), "↑"}, {string(arrow(13100)), "↘"}, {string(arrow(2250)), "↗"},
		{spoken(0), "0 seconds"}, {spoken(time.Second), "1 second"}, {spoken(3 * time.Minute), "3 minutes"}, {spoken(80 * time.Hour), "3 days"},
		{near(fixOf(1, "", epoch, 48.14, 11.58).At), "in Munich"}, {near(fixOf(1, "", epoch, -40, -120).At), ""},
		{near(fixOf(1, "", epoch, 48.14, 12.6).At), "76 km east of Munich"},
		{place(fixOf(1, "", epoch, -33.5, -70.25).At), "33.50000 south, 70.25000 west"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	f := fixOf(1, "moto-3", epoch, 47.07, 15.44)
	f.Has |= track.HasVel | track.HasBat
	f.Speed, f.Course, f.Battery = 36.7, 315, 22
	if got, want := sentence("moto-3", &f, isMoving, time.Second),
		"moto-3: 47.07000 north, 15.44000 east, in Graz, moving 132 km/h north-west, battery 22 percent, fix 1 second ago."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := sentence("x", &client.Fix{}, isIdle, 0), "x: no place known, idle, fix 0 seconds ago."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestMeterSlowsFramesDown(t *testing.T) {
	m := &meter{}
	if m.interval(true) != fastest || m.interval(false) != blurred || m.complaint() != "" {
		t.Errorf("at rest: %v, %v, %q", m.interval(true), m.interval(false), m.complaint())
	}
	for range 50 {
		m.took(200 * time.Millisecond)
	}
	if got := m.interval(true).Round(time.Millisecond); got != 600*time.Millisecond {
		t.Errorf("a terminal that takes 200 ms: %v, want 600ms", got)
	}
	if got := m.complaint(); got != "2 fps, slow link" {
		t.Errorf("complaint %q", got)
	}
	for range 50 {
		m.took(time.Hour)
	}
	if got := m.interval(true); got != slowest {
		t.Errorf("a terminal that hangs: %v, want %v", got, slowest)
	}
	for range 100 {
		m.took(0)
	}
	if m.interval(true) != fastest {
		t.Errorf("it does not recover: %v", m.interval(true))
	}
}

func TestThemesAreComplete(t *testing.T) {
	for _, name := range Themes {
		if _, err := themeByName(name); err != nil {
			t.Error(err)
		}
		if name == "mono" {
			continue
		}
		seen := map[string]string{}
		for _, s := range stateLooks {
			sgr := looks[name].fg[s.style]
			if sgr == "" {
				t.Errorf("%s: %s has no colour", name, s.name)
			}
			if other := seen[sgr]; other != "" {
				t.Errorf("%s: %s and %s look alike", name, s.name, other)
			}
			seen[sgr] = s.name
		}
	}
}
