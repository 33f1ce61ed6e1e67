package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

// feedOf loads fixes and then waits to be told to stop.
func feedOf(fixes ...client.Fix) func(context.Context, *fleet.Store) error {
	return func(ctx context.Context, s *fleet.Store) error {
		s.Snapshot(fixes, true, false)
		s.SetLink(fleet.Live, "")
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
	tuitest.Golden(t, "once-ascii", out.String())
}

func TestOnceEndsWithItsFeed(t *testing.T) {
	var out bytes.Buffer
	down := errors.New("connection refused")
	fail := func(context.Context, *fleet.Store) error { return down }
	if err := Once(context.Background(), &out, Options{Feed: fail}); !errors.Is(err, down) || out.Len() > 0 {
		t.Errorf("%v, wrote %q", err, out.String())
	}
	panics := func(context.Context, *fleet.Store) error { panic("oh") }
	if err := Once(context.Background(), &out, Options{Feed: panics}); err == nil || !strings.Contains(err.Error(), "panic: oh") {
		t.Errorf("a feed that panics: %v", err)
	}
	// A feed that is complete without a snapshot shows what it had.
	short := func(_ context.Context, s *fleet.Store) error {
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
		silent := func(ctx context.Context, s *fleet.Store) error {
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

// plainLines runs Plain for a while of its own time and returns what it wrote and when.
func plainLines(t *testing.T, d time.Duration, feed func(context.Context, *fleet.Store) error) (lines []string) {
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
			if w.at[i]-w.at[i-1] < time.Second && !strings.Contains(w.lines[i], " alert: ") {
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
	lines := plainLines(t, 90*time.Second, func(ctx context.Context, s *fleet.Store) error {
		f := tuitest.NewFleet(12, 5, tuitest.Europe)
		f.Clock = time.Now()
		s.Snapshot(f.Step(time.Second, 1), true, false)
		s.SetLink(fleet.Live, "")
		for i := range 100 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
			}
			fixes := f.Step(time.Second, 0.5)
			if i == 5 {
				fixes = append(fixes, fixes[0])
				fixes[len(fixes)-1].Event = "sos"
				fixes[len(fixes)-1].Time = f.Clock.Add(time.Millisecond)
			}
			s.Apply(fixes)
		}
		return nil
	})
	all := strings.Join(lines, "\n")
	if len(lines) < 12 || len(lines) > 40 {
		t.Errorf("%d lines in 90 seconds", len(lines))
	}
	for _, want := range []string{
		"link: live.", "summary: 12 devices, ", " moving, ", "alert: van-00", "calls for help", "kilometres an hour", " van-0011: ",
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

// Who asks in words uses the filters that have a name as on the map.
func TestPlainKnowsTheNamesOfFilters(t *testing.T) {
	set := conf.Defaults()
	set.Filters = map[string]string{"first": "name:van-0001"}
	w := &lineClock{}
	synctest.Test(t, func(t *testing.T) {
		in, typed := io.Pipe()
		o := Options{Feed: feedOf(vans(4)...), Conf: set, In: in}
		ended := make(chan error, 1)
		go func() { ended <- Plain(t.Context(), w, o) }()
		for _, line := range []string{"who @first", "filter !@first", "who @frist", "who status:active", "quit"} {
			synctest.Wait()
			time.Sleep(time.Second)
			_, _ = io.WriteString(typed, line+"\n")
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = typed.Close()
	})
	all := strings.Join(w.lines, "\n")
	for _, want := range []string{"1 device.", "News of 3 of 4 devices", "did you mean @first?", "status and alarm are not on the map"} {
		if !strings.Contains(all, want) {
			t.Errorf("nothing says %q in\n%s", want, all)
		}
	}
}

func TestPlainIsSilentWhenNothingHappens(t *testing.T) {
	lines := plainLines(t, time.Minute, feedOf(vans(2)...))
	if len(lines) > 5 {
		t.Errorf("%d lines about two devices that said nothing:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	lines = plainLines(t, time.Minute, func(ctx context.Context, _ *fleet.Store) error {
		<-ctx.Done()
		return nil
	})
	if len(lines) != 0 {
		t.Errorf("about nothing: %q", lines)
	}
}

func TestPlainEndsWithASummaryWhenTheFeedIsComplete(t *testing.T) {
	lines := plainLines(t, time.Hour, func(_ context.Context, s *fleet.Store) error {
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
