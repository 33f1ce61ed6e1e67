package tui

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
)

// busyScreen is a screen full of a fleet of which a tenth moves by about a dot between
// two frames.
func busyScreen(tb testing.TB, n, w, h int, themeName string) (s *screen, step func()) {
	tb.Helper()
	f := tuitest.NewFleet(n, 3, tuitest.World)
	clock := tuitest.NewClock()
	o := Options{Server: "tracker.example.org:4810", Now: clock.Now}
	store := o.store()
	store.Snapshot(f.Step(time.Second, 1), true, false)
	store.SetLink(fleet.Live, "")
	s, err := newScreen(&o, store, face{theme: theme(themeName), profile: look.TrueColour, glyphs: canvas.Braille})
	if err != nil {
		tb.Fatal(err)
	}
	s.Resize(w, h)
	s.Draw(clock.At)
	return s, func() {
		clock.Advance(100 * time.Millisecond)
		store.Apply(f.Step(12*time.Minute, 0.1))
	}
}

// composer makes frames as a terminal gets them, in memory that is used again.
func composer(s *screen) func() string {
	var buf []byte
	return func() string {
		c := s.Draw(time.Time{})
		theme, glyphs := s.Look()
		buf = c.Encode(buf[:0], theme, glyphs)
		return string(buf)
	}
}

func BenchmarkCompose(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("120x40/%d", n), func(b *testing.B) {
			s, step := busyScreen(b, n, 120, 40, "dark")
			compose, frame := composer(s), ""
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				step()
				b.StartTimer()
				frame = compose()
			}
			b.ReportMetric(float64(len(frame)), "bytes/frame")
		})
	}
}

// A step of panning draws the coasts again.
func BenchmarkPan(b *testing.B) {
	s, _ := busyScreen(b, 10_000, 120, 40, "dark")
	s.key("+")
	s.key("+")
	compose := composer(s)
	b.ReportAllocs()
	for b.Loop() {
		s.view.Pan(2, 0)
		compose()
	}
}

// TestComposeAllocatesNothingPerCell counts what a warm frame costs: some strings for
// the status line and the rows of the list, and nothing for cells, dots and devices.
func TestComposeAllocatesNothingPerCell(t *testing.T) {
	few, _ := busyScreen(t, 300, 120, 40, "dark")
	many, _ := busyScreen(t, 30_000, 120, 40, "dark")
	count := func(s *screen) float64 {
		compose := composer(s)
		for range 3 {
			compose()
		}
		return testing.AllocsPerRun(5, func() { compose() })
	}
	a, b := count(few), count(many)
	if a > 400 || b > 400 {
		t.Errorf("%.0f allocations with 300 devices, %.0f with 30,000", a, b)
	}
}

// wire counts what Bubble Tea sends to the terminal: for a first frame, and for each
// of the frames that follow while the fleet moves.
func wire(t *testing.T, n, w, h, frames int, theme string) (first, each int) {
	t.Helper()
	m := &framer{left: frames}
	s, step := busyScreen(t, n, w, h, theme)
	m.compose, m.step = composer(s), step
	m.frame = m.compose()
	p := tea.NewProgram(m, tea.WithInput(nil), tea.WithOutput(&m.out), tea.WithWindowSize(w, h),
		tea.WithEnvironment([]string{"TERM=xterm-256color"}), tea.WithColorProfile(colorprofile.ANSI256),
		tea.WithoutSignals(), tea.WithFPS(120))
	if _, err := p.Run(); err != nil {
		t.Fatal(err)
	}
	return m.first, (int(m.out.n.Load()) - m.first) / frames
}

// counter is a terminal that only counts.
type counter struct{ n atomic.Int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

type nextFrame struct{}

// framer shows frames one after the other, each long enough to be sent.
type framer struct {
	compose func() string
	step    func()
	frame   string
	left    int
	out     counter
	first   int
}

func (f *framer) Init() tea.Cmd { return f.soon() }

func (f *framer) soon() tea.Cmd {
	return tea.Tick(30*time.Millisecond, func(time.Time) tea.Msg { return nextFrame{} })
}

func (f *framer) View() tea.View {
	v := tea.NewView(f.frame)
	v.AltScreen = true
	return v
}

func (f *framer) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if _, ok := msg.(nextFrame); !ok {
		return f, nil
	}
	if f.first == 0 {
		f.first = int(f.out.n.Load())
	}
	if f.left == 0 {
		return f, tea.Quit
	}
	f.left--
	f.step()
	f.frame = f.compose()
	return f, f.soon()
}

// The budget of a slow line: ten frames a second of ten thousand devices in 1 Mbit/s.
func TestBytesAFrame(t *testing.T) {
	for _, tt := range []struct {
		n, w, h int
		theme   string
		most    int
	}{
		{200, 80, 24, "dark", 2_000}, {10_000, 120, 40, "dark", 16_000}, {10_000, 120, 40, "system", 16_000}, {10_000, 120, 40, "mono", 10_000},
	} {
		first, each := wire(t, tt.n, tt.w, tt.h, 12, tt.theme)
		t.Logf("%d devices, %dx%d, %s: first frame %d bytes, then %d a frame", tt.n, tt.w, tt.h, tt.theme, first, each)
		if each > tt.most {
			t.Errorf("%d devices, %dx%d, %s: %d bytes a frame, budget %d", tt.n, tt.w, tt.h, tt.theme, each, tt.most)
		}
	}
}
