package look

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
)

// The first sixteen colours as terminals have them, and the grounds that go with them.
var palettes = map[string]struct{ colours, grounds string }{
	"vga":   {"000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa 555555 ff5555 55ff55 ffff55 5555ff ff55ff 55ffff ffffff", "000000"},
	"xterm": {"000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5 7f7f7f ff0000 00ff00 ffff00 5c5cff ff00ff 00ffff ffffff", "000000"},
	// What many older programs of the GNOME kind have, and what newer ones do.
	"tango":        {"000000 cc0000 4e9a06 c4a000 3465a4 75507b 06989a d3d7cf 555753 ef2929 8ae234 fce94f 729fcf ad7fa8 34e2e2 eeeeec", "000000 ffffff 300a24"},
	"gnome":        {"171421 c01c28 26a269 a2734c 12488b a347ba 2aa1b3 d0cfcc 5e5c64 f66151 33d17a e9ad0c 2a7bde c061cb 33c7de ffffff", "171421 ffffff"},
	"solarized":    {"073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5 002b36 cb4b16 586e75 657b83 839496 6c71c4 93a1a1 fdf6e3", "002b36 fdf6e3"},
	"terminal.app": {"000000 990000 00a600 999900 0000b2 b200b2 00a6b2 bfbfbf 666666 e50000 00d900 e5e500 0000ff e500e5 00e5e5 e5e5e5", "000000 ffffff"},
}

func rgb(hex string) (c [3]uint8) {
	v, err := strconv.ParseUint(hex, 16, 24)
	if err != nil {
		panic(err)
	}
	return [3]uint8{uint8(v >> 16), uint8(v >> 8), uint8(v)}
}

// fixed are the colours from 16 on, which are the same everywhere.
func fixed(n int) [3]uint8 {
	if n >= 232 {
		v := uint8(8 + 10*(n-232))
		return [3]uint8{v, v, v}
	}
	level := [6]uint8{0, 95, 135, 175, 215, 255}
	n -= 16
	return [3]uint8{level[n/36], level[n/6%6], level[n%6]}
}

// contrast is that of WCAG: from 1, the same, to 21, black on white.
func contrast(a, b [3]uint8) float64 {
	light := func(c [3]uint8) float64 {
		var lin [3]float64
		for i, v := range c {
			s := float64(v) / 255
			if lin[i] = s / 12.92; s > 0.04045 {
				lin[i] = math.Pow((s+0.055)/1.055, 2.4)
			}
		}
		return 0.2126*lin[0] + 0.7152*lin[1] + 0.0722*lin[2] + 0.05
	}
	x, y := light(a), light(b)
	return max(x, y) / min(x, y)
}

// What styles are for: words are read, marks are found, lines only lead the eye.
var (
	readStyles  = []canvas.Style{Text, Dim, Bright, City, Title, Moving, Idle, Stale, Lost, Good, Warn, Keycap, Zone, Ramp0, Ramp1, Ramp2, Ramp3, Ramp4}
	foundStyles = []canvas.Style{Coast, Route, Ghost, TrailNew, TrailMid}
	lineStyles  = []canvas.Style{Border, Frame, TrailOld}
	ownGround   = []canvas.Style{Alert, Picked, Row}
)

func TestEveryStyleIsForSomething(t *testing.T) {
	all := slices.Concat(readStyles, foundStyles, lineStyles, ownGround, []canvas.Style{Land})
	slices.Sort(all)
	for s := range canvas.Style(Styles) {
		if int(s) >= len(all) || all[s] != s {
			t.Fatalf("style %d is held by none of these tests, or by two", s)
		}
	}
}

func TestFixedThemesAreLegible(t *testing.T) {
	for name, grounds := range map[string]string{
		"dark":  "000000 121212 1e1e1e 002b36 300a24",
		"light": "ffffff fdf6e3 f5f5f5",
	} {
		theme, _ := Named(name)
		index := func(sgr, kind string) [3]uint8 {
			_, after, ok := strings.Cut(";"+sgr, ";"+kind+";5;")
			n, err := strconv.Atoi(strings.Split(after, ";")[0])
			if !ok || err != nil || n < 16 {
				t.Fatalf("%s: %q does not say its own colour", name, sgr)
			}
			return fixed(n)
		}
		under := [][3]uint8{index(theme.BG[Land], "48")}
		for _, g := range strings.Fields(grounds) {
			under = append(under, rgb(g))
		}
		check := func(styles []canvas.Style, want float64) {
			for _, s := range styles {
				for _, g := range under {
					if got := contrast(index(theme.FG[s], "38"), g); got < want {
						t.Errorf("%s: style %d has a contrast of %.2f to %x, want %v", name, s, got, g, want)
					}
				}
			}
		}
		check(readStyles, 4.5)
		check(foundStyles, 3)
		check(lineStyles, 2)
		for _, s := range ownGround {
			if got := contrast(index(theme.FG[s], "38"), index(theme.FG[s], "48")); got < 4.5 {
				t.Errorf("%s: style %d has a contrast of %.2f to its own ground", name, s, got)
			}
		}
	}
}

// The sixteen colours of the terminal are not known, but those of many terminals are.
func TestSystemThemeIsLegibleOnDarkAndLight(t *testing.T) {
	system, _ := Named("system")
	for s, sgr := range system.FG {
		for p := range strings.SplitSeq(sgr, ";") {
			n, err := strconv.Atoi(p)
			switch {
			case err != nil:
				t.Errorf("style %d: %q", s, sgr)
			case n < 30 || n == 39: // bold, dim, reversed; the terminal's own ink
			case slices.Contains([]canvas.Style{Text, Dim, Bright, City, Title, Keycap, Border, Frame, Picked, Row}, s):
				t.Errorf("style %d is to be in the terminal's own ink, and is %q", s, sgr)
			default:
				checkHue(t, fmt.Sprintf("style %d", s), n, strings.HasPrefix(sgr, "1;"))
			}
		}
	}
	if len(system.BG) > 0 || system.Land {
		t.Error("the system theme has a ground of its own, which may be that of the text")
	}
}

// legible16 is a contrast that four of the sixteen have on every ground above.
const legible16 = 2.75

// checkHue holds one of the sixteen against all grounds; where it is bold it may come out
// bright.
func checkHue(t *testing.T, what string, sgr int, bold bool) {
	t.Helper()
	if sgr < 30 || sgr > 97 || sgr > 37 && sgr < 90 {
		t.Errorf("%s: %d is no colour of a foreground", what, sgr)
		return
	}
	numbers := []int{sgr - 30}
	if sgr >= 90 {
		numbers[0] = sgr - 90 + 8
	} else if bold {
		numbers = append(numbers, sgr-30+8)
	}
	for name, p := range palettes {
		colours := strings.Fields(p.colours)
		for _, g := range strings.Fields(p.grounds) {
			for _, n := range numbers {
				if got := contrast(rgb(colours[n]), rgb(g)); got < legible16 {
					t.Errorf("%s: colour %d of %s has a contrast of %.2f to %s", what, n, name, got, g)
				}
			}
		}
	}
	// The green and the cyan of xterm were made for black. On white they are pale, the
	// other four are not, and every other green and cyan of its palette is paler still.
	xterm := strings.Fields(palettes["xterm"].colours)
	for _, n := range numbers {
		if got := contrast(rgb(xterm[n]), rgb("ffffff")); got < 1.95 {
			t.Errorf("%s: colour %d of xterm has a contrast of %.2f to white", what, n, got)
		}
	}
}

// What the first test refuses would be hard to see somewhere.
func TestWhatTheSystemThemeAvoids(t *testing.T) {
	for _, sgr := range []int{31, 33, 34, 35, 37, 90, 92, 93, 94, 96, 97} {
		worst := 21.0
		n := sgr - 30
		if sgr >= 90 {
			n = sgr - 90 + 8
		}
		for _, p := range palettes {
			for _, g := range strings.Fields(p.grounds) {
				worst = min(worst, contrast(rgb(strings.Fields(p.colours)[n]), rgb(g)))
			}
		}
		if worst >= legible16 {
			t.Errorf("%d has a contrast of %.2f at least: it could be used", sgr, worst)
		}
	}
}

// Each pair of states differs, in a list and on the map, with whatever a terminal has:
// by its shape in every font, and by its looks where there are colours.
func TestStatesDifferOnEveryTerminal(t *testing.T) {
	own := &Theme{Name: "own", FG: maps.Clone(themes["dark"].FG), BG: maps.Clone(themes["dark"].BG), Land: true}
	own.FG[Idle] = "32" // as moving is, once it comes down to sixteen
	for _, name := range append([]string{"own"}, Names...) {
		theme := own
		if name != "own" {
			theme, _ = Named(name)
		}
		for _, profile := range []Profile{NoStyle, NoColour, Colour16, Colour256, TrueColour} {
			for _, glyphs := range []canvas.Glyphs{canvas.Braille, canvas.Blocks, canvas.ASCII} {
				shapes, looks := map[string]filter.State{}, map[string]filter.State{}
				for s := range filter.States {
					shape := shown(theme, profile, glyphs, Glyph[s], Text)
					look, _, _ := strings.Cut(shown(theme, profile, glyphs, 'x', OfState[s]), "x")
					if other, taken := shapes[shape]; taken {
						t.Errorf("%s, profile %d, glyphs %d: %v and %v have one shape", name, profile, glyphs, s, other)
					}
					other, taken := looks[look]
					if taken && profile > NoColour && name != "mono" {
						t.Errorf("%s, profile %d: %v and %v look alike", name, profile, s, other)
					}
					shapes[shape], looks[look] = s, s
				}
				for _, r := range append(arrows[:], '•') { // of what moves
					if s, taken := shapes[shown(theme, profile, glyphs, r, Text)]; taken && s != filter.Moving {
						t.Errorf("%s, glyphs %d: %c looks as if it were %v", name, glyphs, r, s)
					}
				}
			}
		}
	}
}

func shown(theme *Theme, p Profile, g canvas.Glyphs, r rune, s canvas.Style) string {
	c := canvas.New(1, 1)
	c.Rune(0, 0, r, s, 1)
	return string(c.Encode(nil, theme.For(p), g))
}

// A terminal of sixteen colours is asked for no others, nor for a ground that might be
// the colour of the words on it.
func TestSixteenColoursAreEnough(t *testing.T) {
	own := &Theme{Name: "own", FG: map[canvas.Style]string{Coast: "1;34", Zone: "38;2;1;2;3", Row: "30;107", Moving: "92"}, BG: map[canvas.Style]string{Land: "48;2;9;9;9"}, Land: true}
	kept := &Theme{Name: "kept", FG: map[canvas.Style]string{Coast: "30"}, BG: map[canvas.Style]string{Land: "43"}, Land: true}
	dark, _ := Named("dark")
	light, _ := Named("light")
	for _, theme := range []*Theme{own, kept, dark, light} {
		few := theme.sixteen()
		for s, sgr := range few.FG {
			if !amongSixteen(sgr) {
				t.Errorf("%s: style %d is %q", theme.Name, s, sgr)
			}
		}
		if want := theme == kept; few.Land != want || (few.BG[Land] != "") != want {
			t.Errorf("%s: land is %v, %q", theme.Name, few.Land, few.BG[Land])
		}
	}
	few := own.sixteen()
	if few.FG[Coast] != "1;34" || few.FG[Moving] != "92" || few.FG[Zone] != themes["system"].FG[Zone] || few.FG[Row] != themes["system"].FG[Row] {
		t.Errorf("of somebody's own theme there is left %q", few.FG)
	}
	if got := dark.sixteen().FG; !maps.Equal(got, themes["system"].FG) {
		t.Errorf("dark is %q, want what system is", got)
	}
	if !dark.Land || dark.FG[Moving] != themes["dark"].FG[Moving] {
		t.Error("the theme itself was changed")
	}
}

// What stands for many has more weight than what stands for one, and never another hue.
func TestHeavyStylesKeepTheirColour(t *testing.T) {
	for _, name := range Names {
		theme, _ := Named(name)
		for s := range canvas.Style(Styles) {
			light, weighty := theme.Ink(s), theme.Ink(Heavy(s))
			attribute, rest, _ := strings.Cut(weighty, ";")
			if rest != light || attribute != "1" && attribute != "4" {
				t.Errorf("%s: style %d is %q, and heavy %q", name, s, light, weighty)
			}
			if attribute == "1" && amongSixteen(light) {
				t.Errorf("%s: style %d may become pale: %q", name, s, weighty)
			}
		}
		if got := shown(theme, NoStyle, canvas.ASCII, 'x', Heavy(Moving)); got != "x" {
			t.Errorf("%s on a terminal without styles: %q", name, got)
		}
	}
}

// Without colours there are only attributes, and all that a terminal may lack are lacking.
func TestMonoHasNoColours(t *testing.T) {
	mono, _ := Named("mono")
	for s, sgr := range mono.FG {
		for p := range strings.SplitSeq(sgr, ";") {
			if !strings.Contains("1 2 4 7", p) {
				t.Errorf("style %d is %q", s, sgr)
			}
		}
	}
	if len(mono.BG) > 0 {
		t.Errorf("grounds %v", mono.BG)
	}
}
