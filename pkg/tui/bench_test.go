package tui

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"tracker/pkg/tui/canvas"
)

// busyScreen is a screen full of a fleet of which a tenth moves by about a dot between
// two frames.
func busyScreen(tb testing.TB, n, w, h int, theme string) (s *screen, step func()) {
	tb.Helper()
	f := newFleet(n, 3, wholeWorld)
	clock := &fakeClock{epoch}
	store := NewStore(clock.now)
	store.Snapshot(f.step(time.Second, 1), true, false)
	store.SetLink(Live, "")
	s = newScreen(&Options{Server: "tracker.example.org:4810", Now: clock.now}, store, themes[theme], canvas.Braille)
	s.resize(w, h)
	s.compose()
	return s, func() {
		clock.advance(100 * time.Millisecond)
		store.Apply(f.step(12*time.Minute, 0.1))
	}
}

func BenchmarkCompose(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("120x40/%d", n), func(b *testing.B) {
			s, step := busyScreen(b, n, 120, 40, "dark")
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				step()
				b.StartTimer()
				s.compose()
			}
			b.ReportMetric(float64(len(s.frame)), "bytes/frame")
		})
	}
}

// A step of panning draws the coasts again.
func BenchmarkPan(b *testing.B) {
	s, _ := busyScreen(b, 10_000, 120, 40, "dark")
	s.key("+")
	s.key("+")
	b.ReportAllocs()
	for b.Loop() {
		s.view.Pan(2, 0)
		s.compose()
	}
}

// TestComposeAllocatesNothingPerCell counts what a warm frame costs: some strings for
// the status line and the rows of the list, and nothing for cells, dots and devices.
func TestComposeAllocatesNothingPerCell(t *testing.T) {
	few, _ := busyScreen(t, 300, 120, 40, "dark")
	many, _ := busyScreen(t, 30_000, 120, 40, "dark")
	count := func(s *screen) float64 {
		for range 3 {
			s.compose()
		}
		return testing.AllocsPerRun(5, func() { s.compose() })
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
	m.s, m.step = busyScreen(t, n, w, h, theme)
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

// framer shows frames one after the other, each long enough to be sent.
type framer struct {
	s     *screen
	step  func()
	left  int
	out   counter
	first int
}

func (f *framer) Init() tea.Cmd { return f.soon() }

func (f *framer) soon() tea.Cmd {
	return tea.Tick(30*time.Millisecond, func(time.Time) tea.Msg { return tickMsg{} })
}

func (f *framer) View() tea.View {
	v := tea.NewView(f.s.frame)
	v.AltScreen = true
	return v
}

func (f *framer) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if _, ok := msg.(tickMsg); !ok {
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
	f.s.compose()
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
