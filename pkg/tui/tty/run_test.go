package tty

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
)

// face is a page that shows what happened to it.
type face struct {
	w, h         int
	dirty        bool
	events       []Event
	sizes, draws int
	wants        Wants
	panicsAt     string // handle, due, draw, wants
	canvas       *canvas.Canvas
	stopped      bool
}

func (f *face) at(where string) {
	if f.stopped {
		panic("a page is used that is over")
	}
	if f.panicsAt == where {
		panic("on purpose")
	}
}

func (f *face) Resize(w, h int) {
	f.at("resize")
	f.w, f.h = w, h
	f.sizes++
	f.dirty = true
}

func (f *face) Handle(e Event) {
	f.at("handle")
	f.events = append(f.events, e)
	f.dirty = true
}

func (f *face) Due(time.Time) bool {
	f.at("due")
	return f.dirty
}

func (f *face) Draw(time.Time) *canvas.Canvas {
	f.at("draw")
	f.draws++
	f.dirty = false
	f.canvas = canvas.New(f.w, f.h)
	return f.canvas
}

func (f *face) Look() (*canvas.Theme, canvas.Glyphs) {
	return (&look.Theme{Name: "plain"}).For(look.NoStyle), canvas.ASCII
}

func (f *face) Wants() Wants {
	f.at("wants")
	w := f.wants
	f.wants = Wants{Mouse: w.Mouse}
	return w
}

// stage plays Bubble Tea: it filters messages, hands them over, and runs commands.
type stage struct {
	*program
	face *face
	msgs chan tea.Msg
	done chan struct{}
	saw  []string // what Bubble Tea would do
}

func onStage(t *testing.T, f *face, out io.Writer) *stage {
	t.Helper()
	c := Config{Environ: []string{"TERM=xterm"}}
	c.fill()
	s := &stage{program: newProgram(f, c), face: f, msgs: make(chan tea.Msg), done: make(chan struct{})}
	s.line.out = out
	t.Cleanup(func() {
		close(s.done)
		time.Sleep(time.Minute) // the ticks that are still to come end then
	})
	return s
}

// start runs a command as Bubble Tea does.
func (s *stage) start(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	go func() {
		msg := cmd()
		if batch, ok := msg.(tea.BatchMsg); ok {
			for _, c := range batch {
				s.start(c)
			}
			return
		}
		select {
		case s.msgs <- msg:
		case <-s.done:
		}
	}()
}

func (s *stage) send(msg tea.Msg) {
	if msg = s.filter(s.program, msg); msg == nil {
		return
	}
	switch msg.(type) {
	case tea.WindowSizeMsg:
		s.saw = append(s.saw, "size")
	case tickMsg, soonMsg, sizeMsg, settledMsg, goneMsg, tea.KeyPressMsg:
	default:
		s.saw = append(s.saw, strings.TrimPrefix(fmt.Sprintf("%T", msg), "tea."))
	}
	_, cmd := s.Update(msg)
	s.start(cmd)
}

// runs lets time pass.
func (s *stage) runs(d time.Duration) {
	end := time.After(d)
	for {
		select {
		case msg := <-s.msgs:
			s.send(msg)
		case <-end:
			return
		}
	}
}

func (s *stage) saws(what string) (n int) {
	for _, w := range s.saw {
		if w == what {
			n++
		}
	}
	return n
}

func key(r rune) tea.KeyPressMsg { return tea.KeyPressMsg{Code: r, Text: string(r)} }

func TestAThousandKeysAreOneFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onStage(t, &face{}, io.Discard)
		s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
		if s.face.draws != 1 || s.face.w != 80 {
			t.Fatalf("%d frames for the first size, of %d columns", s.face.draws, s.face.w)
		}
		for range 1000 {
			s.send(key('a'))
		}
		if s.face.draws != 1 || len(s.face.events) != 1000 {
			t.Errorf("%d frames while %d keys came at once, want none", s.face.draws-1, len(s.face.events))
		}
		s.runs(soonest + time.Millisecond)
		if s.face.draws != 2 {
			t.Errorf("%d frames for a thousand keys, want 1", s.face.draws-1)
		}
		s.runs(time.Second)
		if s.face.draws != 2 {
			t.Errorf("%d frames without a reason", s.face.draws-2)
		}
	})
}

func TestNothingIsDrawnWhileTheTerminalIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := &slowly{hung: make(chan struct{})}
		s := onStage(t, &face{}, hung)
		s.start(s.tick())
		s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
		_, _ = s.line.Write([]byte("frame"))
		for range 20 {
			s.send(key('a'))
			s.runs(100 * time.Millisecond)
		}
		if s.face.draws != 1 || len(s.face.events) != 20 {
			t.Errorf("%d frames into a terminal that hangs, %d of 20 keys", s.face.draws-1, len(s.face.events))
		}
		close(hung.hung)
		s.runs(3 * time.Second)
		if s.face.draws != 2 {
			t.Errorf("%d frames when it goes on, want 1", s.face.draws-1)
		}
	})
}

func TestSizesAreToldOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onStage(t, &face{}, io.Discard)
		for i := range 200 {
			s.send(tea.WindowSizeMsg{Width: 80 + i, Height: 24})
			s.runs(5 * time.Millisecond)
		}
		s.runs(time.Second)
		if s.face.sizes > 35 || s.face.w != 279 || s.saws("size") != s.face.sizes {
			t.Errorf("%d sizes, %d of them told, the last %d wide; want about 30, and 279", s.saws("size"), s.face.sizes, s.face.w)
		}
		if s.face.draws != s.face.sizes {
			t.Errorf("%d frames for %d sizes", s.face.draws, s.face.sizes)
		}
	})
}

func TestFiveHundredSizesAtOnceAreAFewFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onStage(t, &face{}, io.Discard)
		for i := range 500 {
			s.send(tea.WindowSizeMsg{Width: 80 + i%100, Height: 24 + i%30})
		}
		if s.face.draws != 1 {
			t.Errorf("%d frames while 500 sizes came at once, want that of the first", s.face.draws)
		}
		s.runs(time.Second)
		if s.face.draws != 2 || s.face.w != 80+499%100 || s.face.h != 24+499%30 {
			t.Errorf("%d frames, the last of %dx%d; want one more, of the last size", s.face.draws, s.face.w, s.face.h)
		}
	})
}

func TestAPageThatIsAlwaysDueGetsTenFramesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onStage(t, &face{}, io.Discard)
		s.start(s.tick())
		s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
		before := s.face.draws
		for range 5000 {
			s.face.dirty = true
			s.runs(time.Millisecond)
		}
		if got := s.face.draws - before; got < 49 || got > 51 {
			t.Errorf("%d frames in five seconds, want 50", got)
		}
	})
}

func TestSizesWaitForABusyTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := &slowly{hung: make(chan struct{})}
		s := onStage(t, &face{}, hung)
		s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
		_, _ = s.line.Write([]byte("frame"))
		for i := range 50 {
			s.send(tea.WindowSizeMsg{Width: 81 + i, Height: 24})
			s.runs(20 * time.Millisecond)
		}
		if s.face.sizes != 1 {
			t.Errorf("%d sizes", s.face.sizes)
		}
		close(hung.hung)
		s.runs(time.Second)
		if s.face.sizes != 2 || s.face.w != 130 {
			t.Errorf("%d sizes, the last %d; want one more, 130", s.face.sizes, s.face.w)
		}
	})
}

func TestWhatWasMissedIsDrawnAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onStage(t, &face{}, io.Discard)
		s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
		s.start(s.tick())
		s.line.missed = true
		s.runs(time.Second)
		if s.saws("clearScreenMsg") != 1 {
			t.Errorf("%v", s.saw)
		}
	})
}

func TestWantsAreGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onStage(t, &face{}, io.Discard)
		s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
		s.face.wants = Wants{Redraw: true, Mouse: true, Copy: "48.1, 11.6"}
		s.send(key('y'))
		s.runs(time.Second)
		if s.saws("clearScreenMsg") != 1 || s.saws("setClipboardMsg") != 1 || s.View().MouseMode != tea.MouseModeCellMotion {
			t.Errorf("%v, mouse %v", s.saw, s.View().MouseMode)
		}
	})
}

// leaves runs until the page would be left.
func (s *stage) leaves(t *testing.T, after time.Duration) {
	t.Helper()
	s.face.stopped = true
	s.runs(after - time.Millisecond)
	if s.how == nil || s.saws("sequenceMsg") != 0 {
		t.Error("it left too early")
	}
	s.runs(2 * time.Millisecond)
	if s.saws("sequenceMsg") != 1 {
		t.Errorf("it did not leave: %v", s.saw)
	}
	s.runs(time.Second)
	if s.saws("sequenceMsg") != 1 {
		t.Errorf("it left more than once: %v", s.saw)
	}
}

func TestLeavingWaitsForAnswers(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(s *stage)
		in   time.Duration
	}{
		{"to those of the start", func(*stage) {}, settle},
		{"to none after it", func(s *stage) { s.runs(time.Second) }, 0},
		{"that do not come", func(s *stage) {
			s.runs(time.Second)
			s.line.asked = questions{on: true, sent: []time.Time{time.Now()}}
		}, settle},
		{"that come", func(s *stage) {
			s.runs(time.Second)
			s.line.asked = questions{on: true, sent: []time.Time{time.Now()}}
			time.AfterFunc(30*time.Millisecond, func() { s.msgs <- tea.CursorPositionMsg{} })
		}, 30 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := onStage(t, &face{}, io.Discard)
				s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
				tt.do(s)
				s.face.wants.Quit = true
				s.send(key('q'))
				if tt.in == 0 {
					s.runs(time.Millisecond)
					if s.saws("sequenceMsg") != 1 {
						t.Errorf("%v", s.saw)
					}
					return
				}
				s.send(key('x')) // which nobody handles any more
				s.leaves(t, tt.in)
				if len(s.face.events) != 1 {
					t.Errorf("%v", s.face.events)
				}
			})
		})
	}
}

func TestSuspendedPageComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onStage(t, &face{}, io.Discard)
		s.start(s.tick())
		s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
		s.runs(time.Second)
		s.face.wants.Suspend = true
		s.send(key('z'))
		s.runs(time.Second)
		if s.saws("sequenceMsg") != 1 || !s.line.direct {
			t.Fatalf("%v, direct %v", s.saw, s.line.direct)
		}
		s.send(tea.SuspendMsg{})
		s.send(tea.ResumeMsg{})
		s.runs(time.Second)
		if got := s.face.events[len(s.face.events)-1].Kind; got != Resumed || s.line.direct || s.saws("RawMsg") != 1 {
			t.Errorf("%v, direct %v, %v", got, s.line.direct, s.saw)
		}
		draws := s.face.draws
		s.face.dirty = true
		s.runs(time.Second)
		if s.face.draws != draws+1 {
			t.Error("frames do not go on")
		}
	})
}

func TestPanicOfAPageEndsIt(t *testing.T) {
	for _, where := range []string{"resize", "handle", "due", "draw", "wants"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := onStage(t, &face{}, io.Discard)
				s.config.StateDir = t.TempDir()
				s.start(s.tick())
				s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
				s.runs(time.Second)
				s.face.panicsAt = where
				s.face.dirty = true
				s.send(key('a'))
				s.send(tea.WindowSizeMsg{Width: 100, Height: 24})
				s.face.stopped = true
				s.runs(time.Second)
				err := ended(s.program, nil)
				var crash *Crash
				if !errors.As(err, &crash) || crash.Value != "on purpose" || crash.File == "" || s.saws("sequenceMsg") != 1 {
					t.Errorf("%v; %v", err, s.saw)
				}
				if !strings.Contains(string(crash.Stack), "run_test.go") {
					t.Errorf("not the page's stack:\n%s", crash.Stack)
				}
			})
		})
	}
}

func TestEventsOfAPage(t *testing.T) {
	for _, tt := range []struct {
		msg  tea.Msg
		want Event
	}{
		{tea.KeyPressMsg{Code: 'l', Mod: tea.ModCtrl}, Event{Kind: Press, Key: "ctrl+l"}},
		{tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}, Event{Kind: Press, Key: "space"}},
		{tea.PasteMsg{Content: "van"}, Event{Kind: Paste, Text: "van"}},
		{tea.MouseClickMsg{X: 3, Y: 4, Button: tea.MouseLeft}, Event{Kind: Click, X: 3, Y: 4, Button: Left}},
		{tea.MouseMotionMsg{X: 5, Y: 6, Button: tea.MouseRight}, Event{Kind: Drag, X: 5, Y: 6, Button: Right}},
		{tea.MouseReleaseMsg{X: 5, Y: 6}, Event{Kind: Release, X: 5, Y: 6}},
		{tea.MouseWheelMsg{X: 1, Y: 2, Button: tea.MouseWheelDown}, Event{Kind: Wheel, X: 1, Y: 2, Button: WheelDown}},
		{tea.FocusMsg{}, Event{Kind: Focus}},
		{tea.BlurMsg{}, Event{Kind: Blur}},
		{tea.ResumeMsg{}, Event{Kind: Resumed}},
	} {
		if got, ok := event(tt.msg); !ok || got != tt.want {
			t.Errorf("%T: %+v, %v, want %+v", tt.msg, got, ok, tt.want)
		}
	}
	if e, ok := event(tea.CursorPositionMsg{}); ok {
		t.Errorf("an answer of the terminal is %+v", e)
	}
}
