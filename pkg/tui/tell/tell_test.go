package tell

import (
	"bufio"
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
		time.Sleep(time.Until(tuitest.Epoch)) // a bubble begins in a year without any devices
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
		if !strings.HasSuffix(line, ".") && !strings.HasSuffix(line, "?") || strings.HasSuffix(line, "..") {
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
	l := told(t, 90*time.Second, Options{}, func(s *fleet.Store, _ io.Writer) {
		start := time.Now()
		f := tuitest.NewFleet(few, 3, tuitest.Europe)
		f.Clock = start
		s.Snapshot(f.Step(time.Second, 1), true, false)
		s.SetLink(fleet.Live, "")
		for i := range 160 {
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
		reads := time.Duration(len(l.lines[i-1])) * time.Second / readsRate
		if gap := l.at[i] - l.at[i-1]; !alert && l.at[i-1] > 0 && (gap < newsEvery || gap < reads*9/10) {
			t.Errorf("%v after the line before: %q", gap, l.lines[i])
		}
		if alert && l.at[i] > sos+lookEvery {
			t.Errorf("%v after the call for help: %q", l.at[i]-sos, l.lines[i])
		}
	}
	if l.has(" alert: van-0004 calls for help, moving ") != 1 || l.has("summary: 20 devices, 17 moving, 3 idle.") == 0 || l.has(" van-") != few+1 {
		t.Errorf("%d lines:\n%s", len(l.lines), strings.Join(l.lines, "\n"))
	}
}

// One sentence tells of all who went silent together, and another one of those who
// followed them, however the log counts them.
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
	if want := []string{"Ask a", "The n", "alert", "van-0", ".4137", "News "}; !slices.Equal(early, want) {
		t.Errorf("%q, want %q", early, want)
	}
	if l.has("summary: ") == 0 {
		t.Errorf("it never went on:\n%s", strings.Join(l.lines, "\n"))
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

// dialogue is what somebody sees who types, with what was typed where the echo of a
// terminal puts it.
// FuzzAnswer asks anything: the answer is sentences and nothing else.
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
