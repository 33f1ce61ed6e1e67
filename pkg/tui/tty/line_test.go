package tty

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slowly is a terminal that takes some time for every piece, and none at all while it
// hangs.
type slowly struct {
	each time.Duration
	hung chan struct{} // nil, or closed when it hangs no more

	mu  sync.Mutex
	got bytes.Buffer
	err error
}

func (s *slowly) Write(b []byte) (int, error) {
	if s.hung != nil {
		<-s.hung
	}
	time.Sleep(s.each)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	return s.got.Write(b)
}

func (s *slowly) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

func lineTo(s *slowly) *Line { return &Line{out: s, pace: &Pace{}} }

func put(t *testing.T, l *Line, s string) {
	t.Helper()
	if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("wrote %d of %d: %v", n, len(s), err)
	}
}

func TestLineDoesNotWaitForTheTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowly{each: 200 * time.Millisecond}
		l := lineTo(s)
		if !l.Idle() {
			t.Error("a new line is busy")
		}
		start := time.Now()
		put(t, l, "one ")
		put(t, l, "two ")
		if took := time.Since(start); took != 0 || l.Idle() {
			t.Errorf("two writes took %v, idle %v; want no time, and busy", took, l.Idle())
		}
		if err := l.Drain(time.Second); err != nil || s.text() != "one two " || !l.Idle() {
			t.Errorf("drained: %v, %q, idle %v", err, s.text(), l.Idle())
		}
		for range 50 {
			put(t, l, "frame")
			_ = l.Drain(time.Second)
		}
		if got := l.pace.pause().Round(time.Millisecond); got != 600*time.Millisecond {
			t.Errorf("pause %v after writes of 200 ms, want 600 ms", got)
		}
	})
}

func TestLineKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 1))
		s := &slowly{each: time.Millisecond}
		l := lineTo(s)
		var want bytes.Buffer
		for range 300 {
			b := bytes.Repeat([]byte{byte('a' + rng.IntN(26))}, rng.IntN(3*piece))
			want.Write(b)
			put(t, l, string(b))
			time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
		}
		if err := l.Drain(time.Second); err != nil || s.text() != want.String() {
			t.Errorf("%v; %d bytes came through, want %d, all as they were written", err, len(s.text()), want.Len())
		}
	})
}

func TestLineHoldsAMegabyteAndTellsWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowly{hung: make(chan struct{})}
		l := lineTo(s)
		put(t, l, "begun")
		synctest.Wait()
		put(t, l, strings.Repeat("x", queueMost-1))
		if n, err := l.Write([]byte("ab")); n != 0 || !errors.Is(err, errFull) {
			t.Errorf("a write to a full line: %d, %v", n, err)
		}
		if !l.Missed() || l.Missed() {
			t.Error("what was missed is not told once")
		}
		close(s.hung)
		if err := l.Drain(time.Second); err != nil || len(s.text()) != len("begun")+queueMost-1 {
			t.Errorf("%v, %d bytes", err, len(s.text()))
		}
		put(t, l, "again")
		_ = l.Drain(time.Second)
		if !strings.HasSuffix(s.text(), "xagain") {
			t.Error("it does not recover")
		}
	})
}

func TestDirectLineReturnsWhenTheTerminalHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowly{each: 900 * time.Millisecond}
		l := lineTo(s)
		l.asked.on = true
		put(t, l, "frame ")
		l.Direct(true)
		put(t, l, strings.Repeat("x", 4*piece))
		put(t, l, " end")
		if got := s.text(); !strings.HasPrefix(got, "frame "+question+"xxx") || !strings.HasSuffix(got, "x end") {
			t.Errorf("the terminal has %.40q…%q", got, got[max(0, len(got)-10):])
		}
		l.Direct(false)
		start := time.Now()
		put(t, l, "frame")
		if time.Since(start) != 0 {
			t.Error("it still waits")
		}
		_ = l.Drain(time.Second)
	})
}

func TestDirectLineGivesAHungTerminalUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowly{hung: make(chan struct{})}
		l := lineTo(s)
		put(t, l, "frame")
		l.Direct(true)
		start := time.Now()
		if _, err := l.Write([]byte("a")); !errors.Is(err, errStuck) || time.Since(start) != grace {
			t.Errorf("%v after %v, want %v after %v", err, time.Since(start), errStuck, grace)
		}
		start = time.Now()
		if _, err := l.Write([]byte("b")); err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %v: it waits again for what hangs", err, time.Since(start))
		}
		close(s.hung)
		if err := l.Drain(time.Second); err != nil || s.text() != "frameab" {
			t.Errorf("%v, %q", err, s.text())
		}
	})
}

func TestDirectLineSendsNoFramesThatNobodyWillSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowly{each: time.Second / 2}
		l := lineTo(s)
		put(t, l, "begun ")
		synctest.Wait()
		put(t, l, strings.Repeat("a long frame ", 2000))
		l.Direct(true)
		put(t, l, "end")
		if s.text() != "begun end" {
			t.Errorf("%.60q", s.text())
		}
	})
}

func TestLineOfATerminalThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("gone")
		s := &slowly{err: gone}
		l := lineTo(s)
		put(t, l, "frame")
		if err := l.Drain(time.Second); !errors.Is(err, gone) {
			t.Errorf("drain: %v", err)
		}
		if _, err := l.Write([]byte("more")); !errors.Is(err, gone) || !l.Idle() {
			t.Errorf("write: %v, idle %v", err, l.Idle())
		}
	})
}

// asking is a line that asks, to a terminal that does not answer by itself.
func asking() (*Line, *slowly) {
	s := &slowly{}
	l := lineTo(s)
	l.asked.on = true
	return l, s
}

// frames shows frames for a while, as often as the line lets it, and tells how many.
func frames(l *Line, d time.Duration) int {
	n := 0
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(l.pace.Interval(true)) {
		if l.Idle() {
			_, _ = l.Write([]byte("frame"))
			synctest.Wait()
			n++
		}
	}
	return n
}

func TestTerminalThatNeverAnswersIsNotAskedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := asking()
		if n := frames(l, time.Minute); n != 600 {
			t.Errorf("%d frames in a minute, want all 600", n)
		}
		if n := strings.Count(s.text(), question); n != lostMost || l.Unanswered() {
			t.Errorf("asked %d times, want %d; still waiting: %v", n, lostMost, l.Unanswered())
		}
	})
}

func TestTerminalThatAnswersAtOnceIsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := asking()
		for range 100 {
			put(t, l, "frame")
			synctest.Wait()
			time.Sleep(30 * time.Millisecond)
			l.Answered()
			time.Sleep(70 * time.Millisecond)
		}
		if n := strings.Count(s.text(), question); n != 100 || l.pace.Note() != "" || !l.Idle() {
			t.Errorf("asked %d times in 100 frames, idle %v, %q", n, l.Idle(), l.pace.Note())
		}
	})
}

func TestAnswersThatStopStopTheFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := asking()
		put(t, l, "frame")
		time.Sleep(20 * time.Millisecond)
		l.Answered()
		if n := frames(l, 20*time.Second); n > 12 {
			t.Errorf("%d frames in 20 s for a terminal that has stopped answering", n)
		}
		if n := strings.Count(s.text(), question); n != 1+askedMost || !l.Unanswered() {
			t.Errorf("asked %d times, want %d", n, 1+askedMost)
		}
		if l.pace.Note() == "" {
			t.Error("no word of the slow link")
		}
		for range askedMost { // it was only slow
			l.Answered()
		}
		before := strings.Count(s.text(), question)
		for range 40 {
			frames(l, time.Second)
			l.Answered()
		}
		if l.Unanswered() || strings.Count(s.text(), question) == before || l.pace.near.Load() > int64(2*time.Second) {
			t.Error("it is not asked again")
		}
	})
}

func TestTerminalThatWasTakenAwayIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := asking()
		put(t, l, "frame")
		l.Answered()
		frames(l, 20*time.Second)
		before := strings.Count(s.text(), question)
		frames(l, time.Minute)
		if n := strings.Count(s.text(), question); n <= before {
			t.Errorf("asked %d times, and in another minute %d", before, n-before)
		}
	})
}

// farAway is a link as ssh is one: it takes everything at once, hands on 20 kB a second,
// and a terminal at its end answers.
type farAway struct {
	line *Line

	mu    sync.Mutex
	shown time.Time // when all that was taken will have been shown
	late  time.Duration
}

func (f *farAway) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.shown.Before(now) {
		f.shown = now
	}
	f.shown = f.shown.Add(time.Duration(len(b)) * time.Second / 20_000)
	f.late = max(f.late, f.shown.Sub(now))
	for range bytes.Count(b, []byte(question)) {
		time.AfterFunc(f.shown.Sub(now)+40*time.Millisecond, f.line.Answered)
	}
	return len(b), nil
}

// A picture that is a minute old is worse than one frame a second.
func TestFramesDoNotGatherOnTheWay(t *testing.T) {
	for _, tt := range []struct {
		asks      bool
		min, most time.Duration
	}{
		{true, 0, 3 * time.Second}, {false, 30 * time.Second, time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &farAway{}
			f.line = &Line{out: f, pace: &Pace{}, asked: questions{on: tt.asks}}
			frame, n := bytes.Repeat([]byte("x"), 6000), 0
			for range 600 {
				if f.line.Idle() {
					_, _ = f.line.Write(frame)
					n++
				}
				time.Sleep(f.line.pace.Interval(true))
			}
			time.Sleep(time.Hour) // for what is on its way
			f.mu.Lock()
			defer f.mu.Unlock()
			t.Logf("asking %v: %d frames, the picture is up to %v old", tt.asks, n, f.late)
			if f.late < tt.min || f.late > tt.most || n < 60 {
				t.Errorf("asking %v: %d frames, up to %v late, want %v to %v", tt.asks, n, f.late, tt.min, tt.most)
			}
		})
	}
}
