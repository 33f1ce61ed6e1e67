package tui

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
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
			compose, frame, worst := composer(s), "", time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				step()
				start := time.Now()
				b.StartTimer()
				frame = compose()
				worst = max(worst, time.Since(start))
			}
			b.ReportMetric(float64(len(frame)), "bytes/frame")
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
		})
	}
}

// BenchmarkComposeSorting is BenchmarkCompose with a list that is sorted anew for every
// frame, by name, and with names that come and go: what happens once a second at most.
func BenchmarkComposeSorting(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("120x40/%d", n), func(b *testing.B) {
			s, step := busyScreen(b, n, 120, 40, "dark")
			s.sortBy(fleet.ByName, false)
			compose, i, worst := composer(s), 0, time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				step()
				s.store.Apply([]client.Fix{fixOf(7, fmt.Sprintf("name %d", i), s.store.Now(), 1, 1)})
				i++
				s.sortBy(fleet.ByName, i%2 == 0)
				start := time.Now()
				b.StartTimer()
				compose()
				worst = max(worst, time.Since(start))
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
		})
	}
}

// BenchmarkBase draws the coasts and borders anew, of the world and of Europe.
func BenchmarkBase(b *testing.B) {
	for name, zoom := range map[string]float64{"world": -0.5, "europe": 2} {
		b.Run("120x40/"+name, func(b *testing.B) {
			s, _ := busyScreen(b, 0, 120, 40, "dark")
			s.take()
			s.view.Centre, s.view.Zoom = world.Project(geo.Deg(48, 10)), zoom
			compose, by, worst := composer(s), 2.0, time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				s.view.Pan(by, 0)
				compose()
				worst, by = max(worst, time.Since(start)), -by
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
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

// wire counts what Bubble Tea sends to the terminal: for a first frame, for each of the
// frames that follow while the fleet moves, and for as many that are the same again.
func wire(t *testing.T, s *screen, step func(), frames int, profile colorprofile.Profile) (first, each, same int) {
	t.Helper()
	m := &framer{left: 2 * frames, moving: frames, compose: composer(s), step: step}
	m.frame = m.compose()
	p := tea.NewProgram(m, tea.WithInput(nil), tea.WithOutput(&m.out), tea.WithWindowSize(s.w, s.h),
		tea.WithEnvironment([]string{"TERM=xterm-256color"}), tea.WithColorProfile(profile),
		tea.WithoutSignals(), tea.WithFPS(120))
	if _, err := p.Run(); err != nil {
		t.Fatal(err)
	}
	return m.first, (m.moved - m.first) / frames, m.last - m.moved
}

// counter is a terminal that only counts.
type counter struct{ n atomic.Int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

type nextFrame struct{}

// framer shows frames one after the other, each long enough to be sent: at first of a fleet
// that moves, then of one that stands.
type framer struct {
	compose func() string
	step    func()
	frame   string
	left    int // frames
	moving  int // of them, at the end those that stand
	out     counter

	first, moved, last int // bytes sent when the first frame, and the last of each kind, were
}

func (f *framer) Init() tea.Cmd { return f.soon() }

func (f *framer) soon() tea.Cmd {
	return tea.Tick(50*time.Millisecond, func(time.Time) tea.Msg { return nextFrame{} })
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
	sent := int(f.out.n.Load())
	if f.first == 0 {
		f.first = sent
	}
	if f.left >= f.moving/2 { // by then a busy machine has sent what moved
		f.moved = sent
	}
	f.last = sent
	if f.left == 0 {
		return f, tea.Quit
	}
	if f.left > f.moving {
		f.step()
	}
	f.left--
	f.frame = f.compose()
	return f, f.soon()
}

// The budget of a slow line: ten frames a second of ten thousand devices in 1 Mbit/s. From
// near there are no badges that hide what moves.
func TestBytesAFrame(t *testing.T) {
	for _, tt := range []struct {
		n, w, h int
		near    bool
		theme   string
		profile colorprofile.Profile
		most    int
	}{
		{200, 80, 24, false, "dark", colorprofile.ANSI256, 2_000},
		{10_000, 120, 40, false, "dark", colorprofile.ANSI256, 10_000},
		{10_000, 120, 40, true, "dark", colorprofile.ANSI256, 10_000},
		{10_000, 120, 40, false, "system", colorprofile.ANSI256, 10_000},
		{10_000, 120, 40, false, "system", colorprofile.ANSI, 6_500},
		{10_000, 120, 40, true, "system", colorprofile.ANSI, 6_500},
		{10_000, 120, 40, true, "dark", colorprofile.ANSI, 6_500},
		{10_000, 120, 40, true, "mono", colorprofile.Ascii, 6_500},
	} {
		t.Run(fmt.Sprintf("%d/%dx%d/near=%v/%s/%v", tt.n, tt.w, tt.h, tt.near, tt.theme, tt.profile), func(t *testing.T) {
			t.Parallel()
			s, step := busyScreen(t, tt.n, tt.w, tt.h, tt.theme)
			if tt.near {
				s.take()
				s.view.Centre, s.view.Zoom = world.Project(geo.Deg(50, 10)), 2
			}
			first, each, same := wire(t, s, step, 8, tt.profile)
			t.Logf("first frame %d bytes, then %d a frame, and %d for frames that are the same", first, each, same)
			if each > tt.most {
				t.Errorf("%d bytes a frame, budget %d", each, tt.most)
			}
			if each == 0 {
				t.Error("nothing was sent: nothing moved")
			}
			if same != 0 {
				t.Errorf("%d bytes for frames that are the same", same)
			}
		})
	}
}
