package page

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/qr"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/tuitest"
)

const (
	link   = "https://track.example.org:4810/d#1.AAAAAAAA.BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB.1"
	device = track.DeviceID(0x0123456789ab)
)

// enrolRig is the page of an enrolment with somebody in front of it.
type enrolRig struct {
	tuitest.Rig
	p     *Enrol
	clock *tuitest.Clock
	store *fleet.Store
}

func rigEnrol(t *testing.T, w, h int, change func(*Enrolment)) *enrolRig {
	t.Helper()
	code, err := qr.Encode(link)
	if err != nil {
		t.Fatal(err)
	}
	r := &enrolRig{clock: tuitest.NewClock()}
	r.store = fleet.New(fleet.Config{Now: r.clock.Now})
	e := Enrolment{
		Device: client.Device{ID: device, Name: "van-1"}, Code: code, Link: link, Fresh: true,
		Until: r.clock.Now().Add(90*time.Second + 400*time.Millisecond), Store: r.store,
	}
	if change != nil {
		change(&e)
	}
	r.p = NewEnrol(e, NewFace(look.NoColour, []string{"TERM=xterm-256color", "LANG=C.UTF-8"}))
	r.p.Resize(w, h)
	r.Rig = tuitest.Rig{
		T:    t,
		Key:  func(name string) { r.p.Handle(tty.Event{Kind: tty.Press, Key: name}) },
		Draw: func() *canvas.Canvas { return r.p.Draw(r.clock.Now()) },
		Look: func() (*canvas.Theme, canvas.Glyphs) { return r.p.Look() },
	}
	r.Compose()
	return r
}

// lines are the rows of the frame without colours, and without what is right of them.
func (r *enrolRig) lines() []string {
	plain := canvas.NewTheme("plain", []string{""}, []string{""})
	_, glyphs := r.p.Look()
	return strings.Split(string(r.p.c.Encode(nil, plain, glyphs)), "\n")
}

// joined is what stands on the screen, without the drawing and without breaks.
func (r *enrolRig) joined() string {
	text := strings.Map(func(c rune) rune {
		if strings.ContainsRune("█▀▄ ", c) {
			return -1
		}
		return c
	}, strings.Join(r.lines(), ""))
	return text
}

func fix(at time.Time) client.Fix {
	f := tuitest.Fix(device, "van-1", at, 48.137, 11.575)
	f.Has |= track.HasAcc | track.HasVel | track.HasBat
	f.Accuracy, f.Speed, f.Course, f.Battery = 6, 10, 90, 71
	return f
}

func TestEnrolPlacesCodeAndWords(t *testing.T) {
	for _, tc := range []struct {
		name  string
		w, h  int
		style qr.Style
		code  bool
		whole bool // the link stands on one line
	}{
		{"small terminal, words beside", 80, 24, qr.Half, true, false},
		{"large terminal, words below", 120, 40, qr.Half, true, true},
		{"narrow and high", 50, 40, qr.Half, true, false},
		{"too small", 40, 20, qr.Half, false, false},
		{"too small for the full style", 80, 24, qr.Full, false, false},
		{"large enough for the full style", 130, 60, qr.Full, true, true},
		{"the ascii style", 130, 60, qr.ASCII, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := rigEnrol(t, tc.w, tc.h, func(e *Enrolment) { e.Style = tc.style })
			if got := r.drawn(); got != tc.code {
				t.Errorf("shows the code: %v\n%s", got, r.Frame)
			}
			if got := slices.ContainsFunc(r.lines(), func(l string) bool { return strings.Contains(l, link) }); got != tc.whole {
				t.Errorf("shows the link on one line: %v\n%s", got, r.Frame)
			}
			text := r.joined()
			if !tc.code && !strings.Contains(text, "--pngFILE") {
				t.Errorf("does not say what to do:\n%s", r.Frame)
			}
			if !strings.Contains(text, link) || !strings.Contains(text, "van-1(0123456789ab)") || !strings.Contains(text, "expiresin1:30") {
				t.Errorf("words are missing:\n%s", r.Frame)
			}
		})
	}
}

// drawn tells whether each module of the code is where it belongs, with the colours that
// it needs, and the widest possible border around it.
func (r *enrolRig) drawn() bool {
	for _, quiet := range []int{qr.Quiet, qr.Tight} {
		if r.drawnWith(quiet) {
			return true
		}
	}
	return false
}

func (r *enrolRig) drawnWith(quiet int) bool {
	code, style := r.p.e.Code, r.p.e.Style
	cols, rows := code.Size(style, quiet)
	for y := range rows {
		for x := range cols {
			cell := r.p.c.At(x, y)
			if cell == nil {
				return false
			}
			want := canvas.Cell{R: ' ', Fg: ink, Bg: paper, Prio: look.OnTop}
			switch style {
			case qr.Half:
				want.R = halves(code.Dark(x-quiet, 2*y-quiet), code.Dark(x-quiet, 2*y+1-quiet))
			case qr.Full:
				if code.Dark(x/2-quiet, y-quiet) {
					want.Bg = night
				}
			case qr.ASCII:
				want = canvas.Cell{}
				if code.Dark(x/2-quiet, y-quiet) {
					want = canvas.Cell{R: '#', Prio: look.OnTop}
				}
			}
			if *cell != want {
				return false
			}
		}
	}
	return true
}

func TestCodeKeepsItsColoursWithoutColours(t *testing.T) {
	for _, tc := range []struct {
		env  string
		want string
	}{
		{"TERM=xterm-256color NO_COLOR=1", "\x1b[0;107;30m"},
		{"TERM=linux NO_COLOR=1", "\x1b[0;47;30m"},
		{"TERM=xterm COLORTERM=truecolor", "\x1b[0;48;2;255;255;255;38;2;0;0;0m"},
	} {
		r := rigEnrol(t, 80, 24, nil)
		r.p.face = NewFace(look.NoColour, strings.Fields(tc.env))
		for i, row := range strings.Split(r.Compose(), "\n")[:23] {
			if !strings.HasPrefix(row, tc.want) {
				t.Fatalf("%s: row %d of the code does not begin with its colours: %q", tc.env, i, row)
			}
		}
	}
	if got := Environ([]string{"A=1", "NO_COLOR=1", "NO_COLORS=2"}); !slices.Equal(got, []string{"A=1", "NO_COLORS=2"}) {
		t.Errorf("%q", got)
	}
}

func TestCodeStyleGoesByTheLocale(t *testing.T) {
	for _, tc := range []struct {
		env  string
		want qr.Style
	}{{"TERM=xterm LANG=C.UTF-8", qr.Half}, {"TERM=xterm LC_ALL=C", qr.Full}, {"TERM=linux", qr.Half}} {
		f := NewFace(look.Colour16, strings.Fields(tc.env))
		if got := f.CodeStyle(); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.env, got, tc.want)
		}
	}
	// Asked for, half blocks are drawn as half blocks.
	r := rigEnrol(t, 80, 24, nil)
	r.p.face = NewFace(look.NoColour, []string{"TERM=xterm", "LC_ALL=C"})
	if r.Compose(); !strings.Contains(r.Frame, "▀") {
		t.Errorf("no half blocks:\n%s", r.Frame)
	}
}

func TestEnrolSaysWhatEndsIt(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Enrolment)
		broken bool
		want   string
	}{
		{"a new device", nil, false, "waiting for the first fix… expires in 1:30"},
		{"a new key", func(e *Enrolment) { e.Fresh = false }, false, "waiting for the first fix… closes in 1:30"},
		{"no wait", func(e *Enrolment) { e.Store = nil }, false, "q leaves"},
		{"no server", nil, true, "waiting for the first fix… expires in 1:30 (the server does not answer)"},
	} {
		r := rigEnrol(t, 120, 40, tc.change)
		if tc.broken {
			r.store.SetLink(fleet.Reconnecting, "no answer")
		}
		r.Compose()
		if !slices.Contains(r.lines(), tc.want) {
			t.Errorf("%s: no line says %q:\n%s", tc.name, tc.want, r.Frame)
		}
	}
}

// Where the wait is nearly over the words warn, and the name stands out.
func TestEnrolWordsHaveTheirStyles(t *testing.T) {
	r := rigEnrol(t, 120, 40, nil)
	style := func(word string) canvas.Style {
		for y, l := range r.lines() {
			if x := strings.Index(l, word); x >= 0 {
				return r.p.c.At(len([]rune(l[:x])), y).Fg
			}
		}
		t.Fatalf("no %q in\n%s", word, r.Frame)
		return 0
	}
	if style("van-1") != look.Bright || style("q leaves") != look.Keycap || style("waiting") != look.Text {
		t.Errorf("styles %v %v %v", style("van-1"), style("q leaves"), style("waiting"))
	}
	r.clock.Advance(time.Minute + time.Second)
	if r.Compose(); style("waiting") != look.Warn {
		t.Errorf("with %v left: %v", soon, style("waiting"))
	}
}

func TestFirstFixWipesTheCodeAndShowsTheMap(t *testing.T) {
	for _, size := range [][2]int{{120, 40}, {80, 24}, {59, 15}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			r := rigEnrol(t, size[0], size[1], nil)
			r.store.Snapshot([]client.Fix{fix(r.clock.Now())}, true, false)
			if !r.p.Due(r.clock.Now()) {
				t.Error("the first fix is not worth a frame")
			}
			r.clock.Advance(3 * time.Second)
			r.Compose()
			r.Shows("van-1", "has been heard", "48.13700 north, 11.57500 east", "6.0 m", "in Munich", "taken at 14:22:07Z", "3s", "Enter leaves")
			r.Hides("/d#1.", "▀", "▄", "q leaves")
			if size[1] > 15 {
				r.Shows("├", "36 km/h east", "battery 71%")
			}
			if r.p.view.Zoom < 11 {
				t.Errorf("zoom %v, want 11 or more", r.p.view.Zoom)
			}
			if x, y := r.p.view.Dot(r.p.frame.Points[r.p.at].Pos); int(x)/2 != size[0]/2 || int(y)/4 != r.p.view.H/8 {
				t.Errorf("the device is at dot %v, %v of %dx%d", x, y, r.p.view.W, r.p.view.H)
			}
			zoom := r.p.view.Zoom
			r.Press("+", "+", "-")
			if r.p.view.Zoom != zoom+0.5 {
				t.Errorf("zoom %v, want %v", r.p.view.Zoom, zoom+0.5)
			}

			// It stays live, however long ago the code would have expired.
			r.clock.Advance(time.Hour)
			later := fix(r.clock.Now())
			later.At = geo.Deg(48.2, 11.6)
			r.store.Apply([]client.Fix{later})
			r.Compose()
			r.Shows("48.20000 north, 11.60000 east")
			if got := r.p.Seen(); got == nil || got.At != later.At || r.p.How() != Unfinished {
				t.Errorf("seen %+v, ended %v", got, r.p.How())
			}
			r.Press("enter")
			if !r.p.Wants().Quit || r.p.How() != Left {
				t.Errorf("Enter does not leave: %v", r.p.How())
			}
		})
	}
}

func TestFixWithoutAPlaceIsHeardAndAwaitsOne(t *testing.T) {
	r := rigEnrol(t, 80, 24, nil)
	heartbeat := client.Fix{Device: device, Name: "van-1", Time: r.clock.Now(), Received: r.clock.Now()}
	r.store.Snapshot([]client.Fix{heartbeat}, true, false)
	r.Compose()
	r.Shows("was heard at 14:22:07Z", "does not know yet where it is")
	r.Hides("/d#1.", "zoom")
	r.Press("+") // there is no map to zoom
	r.clock.Advance(time.Second)
	r.store.Apply([]client.Fix{fix(r.clock.Now())})
	r.Compose()
	r.Shows("48.13700 north", "zoom")
}

func TestOldFixOfADeviceIsNotItsFirst(t *testing.T) {
	old := fix(tuitest.Epoch.Add(-time.Hour))
	r := rigEnrol(t, 120, 40, func(e *Enrolment) { e.Fresh, e.Device.Last = false, &old })
	r.store.Snapshot([]client.Fix{old}, true, false)
	r.Compose()
	r.Shows("closes in")
	r.store.Apply([]client.Fix{fix(r.clock.Now())})
	r.Compose()
	r.Shows("has been heard")
}

func TestCodeExpiresOnlyWhileTheServerAnswers(t *testing.T) {
	r := rigEnrol(t, 120, 40, nil)
	r.store.Snapshot(nil, true, false)
	r.store.SetLink(fleet.Live, "")
	r.clock.Advance(90 * time.Second)
	r.Compose()
	r.Shows("expires in 0:00")

	r.store.SetLink(fleet.Reconnecting, "no answer")
	r.clock.Advance(time.Minute)
	r.Compose()
	r.Shows("the server does not answer", "expires in 0:00")
	if r.p.Wants().Quit {
		t.Error("expired, though nobody could tell")
	}

	r.store.SetLink(fleet.Live, "")
	if !r.p.Due(r.clock.Now()) {
		t.Error("the server's return is not worth a frame")
	}
	r.Compose()
	if w := r.p.Wants(); !w.Quit || r.p.How() != Expired || strings.TrimSpace(r.Frame) != "" {
		t.Errorf("quits %v, ended %v, and shows\n%s", w.Quit, r.p.How(), r.Frame)
	}
}

func TestPageIsBlankBeforeItIsLeft(t *testing.T) {
	for key, how := range map[string]End{"q": Left, "enter": Left, "esc": Left, "ctrl+j": Left, "ctrl+c": Interrupted} {
		r := rigEnrol(t, 80, 24, nil)
		r.Key(key)
		if r.p.Wants().Quit || !r.p.Due(r.clock.Now()) {
			t.Errorf("%s: left without a blank frame", key)
		}
		r.Compose()
		if !r.p.Wants().Quit || r.p.How() != how || strings.TrimSpace(r.Frame) != "" {
			t.Errorf("%s: ended %v, want %v, and shows\n%s", key, r.p.How(), how, r.Frame)
		}
	}
	r := rigEnrol(t, 80, 24, nil)
	r.Key("q")
	r.Key("ctrl+c") // of a terminal that takes no frame
	if !r.p.Wants().Quit || r.p.How() != Left {
		t.Error("asked twice, it still waits for the terminal")
	}
}

func TestEnrolIsDueOnlyWhenItWouldDiffer(t *testing.T) {
	r := rigEnrol(t, 80, 24, nil)
	if r.p.Due(r.clock.Now()) {
		t.Error("due without a reason")
	}
	if !r.p.Due(r.clock.Now().Add(time.Second)) {
		t.Error("the countdown stands still")
	}
	r.p.Handle(tty.Event{Kind: tty.Resumed})
	if !r.p.Wants().Redraw || r.p.Wants().Redraw {
		t.Error("a redraw is wanted once")
	}
}

func TestHostileNamesAreHarmlessOnPages(t *testing.T) {
	evil := "\x1b]0;title\x07\x1b[2J\u202evan\r\n"
	r := rigEnrol(t, 80, 24, func(e *Enrolment) { e.Device.Name, e.Link = evil, link+"\x1b[31m" })
	check := func() {
		t.Helper()
		for _, row := range r.lines() {
			if strings.ContainsFunc(row, func(c rune) bool { return c < 0x20 || c == 0x7f || c == '\u202e' }) {
				t.Errorf("%q", row)
			}
		}
	}
	check()
	f := fix(r.clock.Now())
	f.Name = evil
	r.store.Snapshot([]client.Fix{f}, true, false)
	r.Compose()
	r.Shows("has been heard")
	check()
}

func TestEnrolFitsAnySize(t *testing.T) {
	for _, style := range []qr.Style{qr.Half, qr.Full, qr.ASCII} {
		r := rigEnrol(t, 0, 0, func(e *Enrolment) { e.Style = style })
		for _, seen := range []bool{false, true} {
			if seen {
				r.store.Snapshot([]client.Fix{fix(r.clock.Now())}, true, false)
			}
			for _, w := range []int{0, 1, 2, 7, 20, 45, 59, 80, 200} {
				for _, h := range []int{0, 1, 2, 3, 4, 5, 6, 8, 10, 24, 50} {
					r.p.Resize(w, h)
					r.Compose()
					if c := &r.p.c; c.W != w || c.H != h {
						t.Fatalf("%dx%d on a terminal of %dx%d", c.W, c.H, w, h)
					}
				}
			}
		}
	}
}

func TestWrapLosesNothing(t *testing.T) {
	for _, text := range []string{"", "one", "two words", strings.Repeat("long", 40), "a " + strings.Repeat("b", 100) + " c",
		"ünïcödé " + strings.Repeat("é", 50), strings.Repeat("車", 30)} {
		for _, width := range []int{1, 8, 20, 80} {
			lines := wrap(text, width)
			if got, want := strings.Join(lines, ""), strings.Join(strings.Fields(text), ""); strings.ReplaceAll(got, " ", "") != want {
				t.Errorf("wrap(%q, %d) = %q", text, width, lines)
			}
			for _, l := range lines {
				if canvas.Width(l) > max(width, 8) {
					t.Errorf("wrap(%q, %d): a line of %d", text, width, canvas.Width(l))
				}
			}
		}
	}
}

func FuzzWrap(f *testing.F) {
	f.Add("van-1 is here", 9)
	f.Add("車車車 車", 8)
	f.Add("a\u0301\u200b\xff", 8)
	f.Fuzz(func(t *testing.T, text string, width int) {
		text = canvas.Clean(text)
		width = min(max(width, 0), 300)
		got := strings.Join(wrap(text, width), "")
		if strings.ReplaceAll(got, " ", "") != strings.Join(strings.Fields(text), "") {
			t.Errorf("wrap(%q, %d) is %q", text, width, got)
		}
	})
}
