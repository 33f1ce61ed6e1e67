package tty

import (
	"bytes"
	"io"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
)

// cardOf is a card of a terminal as it may be found.
func cardOf(p look.Profile, environ ...string) *card {
	k := &card{environ: environ, terminal: p != look.NoStyle, cols: 80, rows: 23, profile: p}
	k.glyphs, _ = look.Glyphs("auto", k.getenv)
	return k
}

// widths are those that the map believes, but for some.
func widths(but map[rune]int) measured {
	m := measured{asked: true, answers: true, whole: "yes"}
	for _, r := range wanted {
		got, ok := but[r]
		if !ok {
			got = canvas.RuneWidth(r)
		}
		m.widths = append(m.widths, width{r, got})
	}
	return m
}

func TestCards(t *testing.T) {
	truecolour := cardOf(look.TrueColour, "TERM=xterm-256color", "COLORTERM=truecolor", "LANG=en_GB.UTF-8")
	truecolour.cols, truecolour.rows, truecolour.measured = 120, 39, widths(nil)
	wide := cardOf(look.Colour256, "TERM=tmux-256color", "LC_ALL=ja_JP.UTF-8", "TMUX=/tmp/tmux", "SSH_CONNECTION=1")
	wide.measured = widths(map[rune]int{'●': 2, '→': 2, '…': -1})
	wide.whole = "no"
	console := cardOf(look.Colour16, "TERM=linux", "LANG=C.UTF-8")
	console.measured = widths(nil)
	console.whole = ""
	mute := cardOf(look.NoColour, "TERM=xterm-256color", "NO_COLOR=1", "LANG=C.UTF-8")
	mute.measured = measured{asked: true}
	letters := cardOf(look.Colour256, "TERM=xterm-256color", "LC_ALL=C", "TERM_PROGRAM=evil\x1b]0;title\a")
	letters.cols, letters.rows = 50, 15
	for name, k := range map[string]*card{
		"card-truecolour": truecolour, "card-wide-signs": wide, "card-console": console, "card-no-colour": mute,
		"card-c-locale": letters, "card-dumb": dumb(), "card-no-terminal": cardOf(look.NoStyle, "LANG=C.UTF-8"),
	} {
		t.Run(name, func(t *testing.T) {
			got := string(k.draw())
			tuitest.Golden(t, name, strings.TrimSuffix(got, "\n"))
			if k.profile == look.NoStyle && strings.Contains(got, "\x1b") {
				t.Error("an escape sequence where none may be")
			}
			if strings.Contains(got, "\x1b]") {
				t.Error("the environment sets the title")
			}
			for line := range strings.SplitSeq(got, "\n") {
				if w := canvas.Width(stripped(line)); w > 80 {
					t.Errorf("%d columns: %q", w, line)
				}
			}
		})
	}
}

func dumb() *card {
	k := cardOf(look.NoStyle, "TERM=dumb", "LANG=C.UTF-8")
	k.terminal = true
	return k
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

func stripped(line string) string { return sgr.ReplaceAllString(line, "") }

// No more colours are used than there are.
func TestCardKeepsToTheColoursThatThereAre(t *testing.T) {
	for _, tt := range []struct {
		profile look.Profile
		never   string
	}{
		{look.Colour16, "38;5;"}, {look.NoColour, "[34][0-7]m"}, {look.NoColour, ";5;"},
	} {
		k := cardOf(tt.profile, "TERM=xterm")
		for _, name := range look.Names {
			theme, err := look.Named(name)
			if err != nil {
				t.Fatal(err)
			}
			if row := k.states(theme); regexp.MustCompile(tt.never).MatchString(row) {
				t.Errorf("profile %d, theme %s: %q", tt.profile, name, row)
			}
		}
	}
}

func TestCardOfAFileIsPlain(t *testing.T) {
	var b bytes.Buffer
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := Card(&b, Config{In: in, Environ: []string{"TERM=xterm-256color", "COLUMNS=100"}}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "terminal    none") || !strings.Contains(got, "100x24") || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}

func TestContrast(t *testing.T) {
	black, white := rgb{}, rgb{255, 255, 255}
	if got := contrast(white, black); math.Abs(got-21) > 1e-9 {
		t.Errorf("white on black %v, want 21", got)
	}
	if got := contrast(black, black); got != 1 {
		t.Errorf("black on black %v, want 1", got)
	}
	for sgr, want := range map[string]rgb{
		"38;5;16": {}, "1;38;5;231;48;5;160": {255, 255, 255}, "38;5;255": {238, 238, 238}, "38;5;120": {135, 255, 135},
	} {
		if got, ok := colour256(sgr, "38"); !ok || got != want {
			t.Errorf("%s: %v %v, want %v", sgr, got, ok, want)
		}
	}
	for _, sgr := range []string{"", "1;36", "38;5", "38;5;7", "38;5;256", "38;5;x", "48;5;20"} {
		if got, ok := colour256(sgr, "38"); ok {
			t.Errorf("%q is %v", sgr, got)
		}
	}
}

// terminalOf answers what it is asked by a script.
type terminalOf struct {
	answers []string
	asked   []string
	typed   bytes.Buffer
}

func (s *terminalOf) Read(b []byte) (int, error) { return s.typed.Read(b) }

func (s *terminalOf) Write(b []byte) (int, error) {
	s.asked = append(s.asked, string(b))
	if bytes.HasSuffix(b, []byte(whereMode)) && len(s.answers) > 0 {
		s.typed.WriteString(s.answers[0])
		s.answers = s.answers[1:]
	}
	return len(b), nil
}

func TestWidthsAreAsked(t *testing.T) {
	s := &terminalOf{answers: []string{"typed ahead\x1b[?2026;2$y\x1b[7;1R"}}
	for range wanted {
		s.answers = append(s.answers, "\x1b[7;3R")
	}
	m := ask(s, s)
	if !m.asked || !m.answers || m.whole != "yes" || len(m.widths) != len(wanted) {
		t.Fatalf("%+v", m)
	}
	for _, w := range m.widths {
		if w.got != 2 || w.right() != (canvas.RuneWidth(w.r) == 2) {
			t.Errorf("%c: %d, right %v", w.r, w.got, w.right())
		}
	}
	if want := "\r●" + whereMode; s.asked[1] != want {
		t.Errorf("asked %q, want %q", s.asked[1], want)
	}
	if got := s.asked[len(s.asked)-1]; got != "\r\x1b[K" {
		t.Errorf("the line is left with %q", got)
	}
}

func TestTerminalThatStopsAnsweringIsAskedNoMore(t *testing.T) {
	s := &terminalOf{answers: []string{"\x1b[7;1R", "\x1b[7;2R"}}
	m := ask(s, s)
	if m.whole != "" || m.widths[0].got != 1 || m.widths[1].got != -1 || m.widths[len(wanted)-1].got != -1 {
		t.Errorf("%+v", m)
	}
	if len(s.asked) != 4 { // the first, two signs, and the line made empty
		t.Errorf("asked %q", s.asked)
	}
	if m := ask(&bytes.Buffer{}, io.Discard); !m.asked || m.answers {
		t.Errorf("%+v", m)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"\x1b[24;80R", "\x1b[?2026;1$y\x1b[1;1R", "\x1b[1;2R", "q\x1b[A\x1b[24;1R", "\x1b[24;80", "\x1b[99999;1R", "\x1b[;R", "\x1b\x1b[1;1R",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		a, err := readAnswer(r)
		read := len(b) - r.Len()
		if read > answerMax {
			t.Errorf("read %d bytes", read)
		}
		if err != nil {
			return
		}
		if a.column < 0 || a.column > 9999 || b[read-1] != 'R' || a.whole != "" && a.whole != "yes" && a.whole != "no" {
			t.Errorf("%+v of %q", a, b[:read])
		}
	})
}
