package look

import (
	"strings"
	"testing"

	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
)

func TestThemesTellTheStatesApart(t *testing.T) {
	for _, name := range Names {
		theme, err := Named(name)
		if err != nil {
			t.Error(err)
		}
		if name == "mono" {
			continue
		}
		seen := map[string]filter.State{}
		for s := range filter.States {
			sgr := theme.FG[OfState[s]]
			if sgr == "" {
				t.Errorf("%s: %v has no colour", name, s)
			}
			if other, taken := seen[sgr]; taken {
				t.Errorf("%s: %v and %v look alike", name, s, other)
			}
			seen[sgr] = s
		}
	}
}

func TestThemesAreComplete(t *testing.T) {
	for _, name := range Names {
		theme, _ := Named(name)
		if name == "mono" {
			continue
		}
		for s := range canvas.Style(Styles) {
			terminals := s == Text || s == Bright || s == Land // may be the terminal's own
			if theme.FG[s] == "" && theme.BG[s] == "" && !terminals {
				t.Errorf("%s: style %d has no colour", name, s)
			}
		}
	}
}

func TestStatesHaveTheirOwnShapes(t *testing.T) {
	seen := map[rune]bool{}
	for s, r := range Glyph {
		if r == 0 || seen[r] || canvas.RuneWidth(r) != 1 {
			t.Errorf("%v has the glyph %q", filter.State(s), r)
		}
		seen[r] = true
	}
}

func TestUnknownNamesAreSaid(t *testing.T) {
	if _, err := Named("pink"); err == nil || err.Error() != `theme "pink" is not one of system, dark, light, mono` {
		t.Errorf("%v", err)
	}
	if _, err := Named("plain"); err == nil {
		t.Error("plain is no theme to choose")
	}
	if _, err := Glyphs("emoji", nil); err == nil || err.Error() != `glyphs "emoji" are not one of auto, braille, block, ascii` {
		t.Errorf("%v", err)
	}
}

func TestTerminalsWithoutColourGetNone(t *testing.T) {
	c := canvas.New(4, 1)
	c.Text(0, 0, "ab", Keycap, 1)
	dark, _ := Named("dark")
	for p, want := range map[Profile]string{
		NoStyle: "ab", NoColour: "\x1b[0;1mab\x1b[m", Colour256: "\x1b[0;38;5;80mab\x1b[m",
	} {
		if got := string(c.Encode(nil, dark.For(p), canvas.Braille)); got != want {
			t.Errorf("profile %d: %q, want %q", p, got, want)
		}
	}
}

func TestGlyphsByTerminalAndLocale(t *testing.T) {
	env := func(vars string) func(string) string {
		return func(name string) string {
			for _, e := range strings.Fields(vars) {
				if v, ok := strings.CutPrefix(e, name+"="); ok {
					return v
				}
			}
			return ""
		}
	}
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
		if got, err := Glyphs("", env(tt.env)); got != tt.want || err != nil {
			t.Errorf("%s: %d, %v, want %d", tt.env, got, err, tt.want)
		}
	}
	for name, want := range map[string]canvas.Glyphs{"braille": canvas.Braille, "block": canvas.Blocks, "ascii": canvas.ASCII} {
		if got, err := Glyphs(name, env("LANG=C")); got != want || err != nil {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

func TestArrowsAndRamps(t *testing.T) {
	for course, want := range map[uint16]rune{0: '↑', 35999: '↑', 13100: '↘', 2250: '↗', 2249: '↑'} {
		if got := Arrow(course); got != want {
			t.Errorf("%d: %c, want %c", course, got, want)
		}
	}
	if Ramp(-1) != Ramp0 || Ramp(2) != Ramp2 || Ramp(99) != Ramp4 {
		t.Error("a ramp does not end at its ends")
	}
	for c := range Colours {
		if c.String() == "" {
			t.Errorf("%d has no name", c)
		}
	}
}
