package canvas

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// Styles of the theme that the tests draw with.
const (
	plain Style = iota
	red
	green
	shade // a background
	twin  // looks like green
	reverse
)

var theme = NewTheme("test",
	[]string{"", "31", "32", "", "32", "7"},
	[]string{"", "", "", "48;5;235", "", ""})

func show(c *Canvas, g Glyphs) string { return string(c.Encode(nil, theme, g)) }

// picture is the canvas without colours.
func picture(c *Canvas) string {
	return string(c.Encode(nil, NewTheme("none", []string{""}, []string{""}), Braille))
}

func TestDotsShareACellAndPrioritiesTakeIt(t *testing.T) {
	c := New(1, 1)
	c.Dot(0, 0, green, 3)
	c.Dot(1, 3, green, 3)
	if got := c.Cells[0]; got.Mask != 1|128 || got.Fg != green {
		t.Errorf("two dots of one priority: %+v", got)
	}
	c.Dot(0, 1, red, 2)
	if got := c.Cells[0]; got.Mask != 1|128 || got.Fg != green {
		t.Errorf("a lower priority changed the cell: %+v", got)
	}
	c.Dot(0, 1, red, 10)
	if got := c.Cells[0]; got.Mask != 2 || got.Fg != red {
		t.Errorf("a higher priority did not take the cell: %+v", got)
	}
	if n := c.Rune(0, 0, 'x', green, 9); n != 0 || c.Cells[0].R != 0 {
		t.Errorf("a rune of lower priority covered a dot: %+v", c.Cells[0])
	}
}

func TestBitsAreThoseOfBraille(t *testing.T) {
	c := New(1, 1)
	for y := range 4 {
		for x := range 2 {
			c.Dot(x, y, plain, 1)
		}
	}
	if got := picture(c); got != "⣿" {
		t.Errorf("all dots: %q", got)
	}
	for want, at := range map[string][2]int{"⠁": {0, 0}, "⠈": {1, 0}, "⠂": {0, 1}, "⠐": {1, 1}, "⠄": {0, 2}, "⠠": {1, 2}, "⡀": {0, 3}, "⢀": {1, 3}} {
		c.Resize(1, 1)
		c.Dot(at[0], at[1], plain, 1)
		if got := picture(c); got != want {
			t.Errorf("dot %v: %q, want %q", at, got, want)
		}
	}
}

func TestNothingIsDrawnOutside(t *testing.T) {
	c := New(4, 2)
	for _, p := range [][2]int{{-1, 0}, {0, -1}, {8, 0}, {0, 8}, {1 << 30, 1 << 30}} {
		c.Dot(p[0], p[1], red, 9)
		c.Rune(p[0], p[1], 'x', red, 9)
	}
	c.Rune(3, 0, '漢', red, 9) // half of it would be outside
	c.Fill(-5, -5, 3, 3, red, shade, 9)
	c.Tint(4, 2, 9, 9, shade)
	c.Frame(10, 10, 5, 5, "x", red, red, 9)
	c.Blit(New(3, 3), 9, 9)
	c.Blit(New(3, 3), -9, -9)
	for i, cell := range c.Cells {
		if cell != (Cell{}) {
			t.Errorf("cell %d: %+v", i, cell)
		}
	}
	empty := New(0, -3)
	empty.Dot(0, 0, red, 1)
	empty.Line(0, 0, 9, 9, red, 1)
	if got := show(empty, Braille); got != "" {
		t.Errorf("an empty canvas shows %q", got)
	}
}

func TestWideRunesKeepTheirHalves(t *testing.T) {
	c := New(6, 1)
	c.Text(0, 0, "漢字x", plain, 1)
	if got := picture(c); got != "漢字x" {
		t.Fatalf("got %q", got)
	}
	c.Rune(1, 0, 'a', plain, 2) // over the right half of the first
	if got := picture(c); got != " a字x" {
		t.Errorf("over a right half: %q", got)
	}
	c.Dot(4, 0, plain, 2) // over the left half of the second
	if got := picture(c); got != " a⠁ x" {
		t.Errorf("over a left half: %q", got)
	}
}

func TestTextStopsAtTheEdge(t *testing.T) {
	c := New(5, 1)
	if x := c.Text(2, 0, "漢字", plain, 1); x != 4 {
		t.Errorf("ended at %d, want 4", x)
	}
	if got := picture(c); got != "  漢" {
		t.Errorf("got %q", got)
	}
	c.Resize(3, 1)
	c.Text(-2, 0, "abcd", plain, 1)
	if got := picture(c); got != "cd" {
		t.Errorf("from outside on the left: %q", got)
	}
}

func TestLinesAreClipped(t *testing.T) {
	for name, tt := range map[string]struct {
		x0, y0, x1, y1 float64
		want           string
	}{
		"inside":      {0, 0, 7, 7, "⠑⢄\n  ⠑⢄"},
		"through":     {-100, -100, 100, 100, "⠑⢄\n  ⠑⢄"},
		"level":       {-1e9, 1, 1e9, 1, "⠒⠒⠒⠒\n"},
		"upright":     {2, 1e9, 2, -1e9, " ⡇\n ⡇"},
		"missed":      {-1, 0, -1, 7, "\n"},
		"above":       {0, -5, 7, -1, "\n"},
		"past corner": {-3, 2, 2, -3, "\n"},
		"a point":     {3, 3, 3, 3, " ⢀\n"},
		"nowhere":     {math.NaN(), 0, 3, 3, "\n"},
		"endless":     {math.Inf(-1), 0, 3, 3, "\n"},
	} {
		c := New(4, 2)
		c.Line(tt.x0, tt.y0, tt.x1, tt.y1, plain, 1)
		if got := picture(c); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// Against the slow obvious way: every point of the line, one by one.
func TestClipAgreesWithWalkingTheLine(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		x0, y0 := rng.Float64()*60-20, rng.Float64()*60-20
		x1, y1 := rng.Float64()*60-20, rng.Float64()*60-20
		seen := false
		for i := range 4001 {
			f := float64(i) / 4000
			x, y := x0+f*(x1-x0), y0+f*(y1-y0)
			seen = seen || x >= 0.05 && x <= 19.9 && y >= 0.05 && y <= 19.9
		}
		cx0, cy0, cx1, cy1, ok := clip(x0, y0, x1, y1, 20, 20)
		if seen && !ok {
			t.Fatalf("%.2f,%.2f %.2f,%.2f was clipped away", x0, y0, x1, y1)
		}
		if ok && (min(cx0, cx1, cy0, cy1) < 0 || max(cx0, cx1, cy0, cy1) > 20) {
			t.Fatalf("%.2f,%.2f %.2f,%.2f is not inside", cx0, cy0, cx1, cy1)
		}
	}
}

func square(a *Area, x0, y0, x1, y1 float64) {
	a.Edge(x0, y0, x1, y0)
	a.Edge(x1, y0, x1, y1)
	a.Edge(x1, y1, x0, y1)
	a.Edge(x0, y1, x0, y0)
}

func TestAreaFillsByEvenAndOdd(t *testing.T) {
	c := New(8, 4)
	var a Area
	a.Begin(c)
	square(&a, -100, -100, 14, 14) // open to the left and above, half of the last cells
	square(&a, 4, 4, 10, 12)       // a lake
	a.Fill(c, shade)
	var got strings.Builder
	for y := range c.H {
		for x := range c.W {
			if c.At(x, y).Bg == shade {
				got.WriteByte('#')
			} else {
				got.WriteByte('.')
			}
		}
		got.WriteByte('\n')
	}
	want := "#######.\n##...##.\n##...##.\n#######.\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	a.Begin(c)
	a.Fill(c, plain)
	if c.At(0, 0).Bg != shade {
		t.Error("an area without edges filled something")
	}
}

func TestEncodeCoalesces(t *testing.T) {
	c := New(12, 2)
	c.Text(0, 0, "ab", red, 1)
	c.Text(3, 0, "cd", red, 1) // a blank between two words of one colour
	c.Text(6, 0, "e", green, 1)
	c.Text(7, 0, "f", twin, 1) // looks the same: nothing to say
	c.Text(0, 1, "plain", plain, 1)
	want := "\x1b[0;31mab cd \x1b[0;32mef\x1b[m\nplain"
	if got := show(c, Braille); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestStylesThatLookAlike(t *testing.T) {
	if !theme.Alike(green, twin) || theme.Alike(green, red) || !theme.Alike(plain, shade) {
		t.Error("green and its twin look the same, green and red do not, and a background is not in the foreground")
	}
}

func TestEncodeBackgrounds(t *testing.T) {
	c := New(6, 1)
	c.Tint(2, 0, 2, 1, shade)
	c.Rune(3, 0, 'x', red, 1)
	want := "  \x1b[0;48;5;235m \x1b[0;48;5;235;31mx\x1b[m"
	if got := show(c, Braille); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	c.Resize(6, 1)
	c.Fill(1, 0, 3, 1, reverse, plain, 1) // shows although it is blank
	want = " \x1b[0;7m   \x1b[m"
	if got := show(c, Braille); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestGlyphLadder(t *testing.T) {
	c := New(16, 1)
	for x, mask := range []uint8{1, 8 | 1, 64 | 128, 255, 2 | 16, 1 | 2 | 4 | 64, 4 | 16} {
		c.Dots(x, 0, mask, plain, 1)
	}
	c.Text(8, 0, "↗●─München"[:len("↗●─Mün")], plain, 1)
	for g, want := range map[Glyphs]string{
		Braille: "⠁⠉⣀⣿⠒⡇⠔ ↗●─Mün",
		Blocks:  "▀▀▄█▀██ /@─Mün",
		ASCII:   "''_#-|/ /@-Mun",
	} {
		if got := show(c, g); got != want {
			t.Errorf("%d: %q, want %q", g, got, want)
		}
	}
	c.Resize(4, 1)
	c.Text(0, 0, "漢x", plain, 1)
	if got := show(c, ASCII); got != "??x" {
		t.Errorf("a wide rune in ascii: %q", got)
	}
}

func TestASCIITableIsComplete(t *testing.T) {
	for mask, ch := range asciiDots {
		if ch < ' ' || ch > '~' || (ch == ' ') != (mask == 0) {
			t.Errorf("mask %08b: %q", mask, ch)
		}
	}
	for r, s := range substitutes {
		if RuneWidth(r) != 1 || s.ascii < ' ' || s.ascii > '~' {
			t.Errorf("%q has width %d and is replaced by %q", r, RuneWidth(r), s.ascii)
		}
	}
	for r := range unaccented {
		if RuneWidth(r) != 1 {
			t.Errorf("%q has width %d", r, RuneWidth(r))
		}
	}
}

func TestBlitAndCopy(t *testing.T) {
	from := New(3, 2)
	from.Text(0, 0, "abc", plain, 1)
	from.Text(0, 1, "def", plain, 1)
	c := New(4, 3)
	c.Blit(from, 2, 1)
	if got := picture(c); got != "\n  ab\n  de" {
		t.Errorf("got %q", got)
	}
	c.Resize(4, 3)
	c.Blit(from, -1, -1)
	if got := picture(c); got != "ef\n\n" {
		t.Errorf("got %q", got)
	}
	c.Copy(from)
	if got := picture(c); got != "abc\ndef" {
		t.Errorf("got %q", got)
	}
}

func TestFrame(t *testing.T) {
	c := New(14, 3)
	c.Frame(0, 0, 14, 3, "a long title", plain, plain, 1)
	want := "╭─ a long … ─╮\n│            │\n╰────────────╯"
	if got := picture(c); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"van-1":                            "van-1",
		"":                                 "",
		"Süd 漢字 שלום":                      "Süd 漢字 שלום",
		"\x1b[31mred\x1b]0;title\x07":      "?[31mred?]0;title?",
		"two\nlines\r\ttab":                "two?lines??tab",
		"\u009b31m c1":                     "?31m c1",
		"bad\xff\xfe":                      "bad??",
		"a\u202egnirts\u202c\u2066x\u2069": "agnirtsx",
		"e\u0301\u0327":                    "e",
		"👨\u200d👩\u200d👧 ok":               "👨👩👧 ok",
		"🇩🇪 truck":                         "truck",
		"👍🏽":                               "👍",
		"zero\u200bwidth\ufeff":            "zerowidth",
		"no\u00a0break":                    "no break",
		"\u2028para\u2029":                 "para",
		"각\u1100\u1161\u11a8":              "각???",
		"soft\u00ad\u115f\u3164\uffa0.":    "soft?ㅤﾠ.",
		"\U0001fffe":                       "?",
		"น้ำ":                              "นา",
	} {
		got := Clean(in)
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if Clean(got) != got {
			t.Errorf("%q is not clean after cleaning: %q", got, Clean(got))
		}
	}
}

// What is measured ahead is what the renderer says, and costs nothing.
func TestRuneWidthIsThatOfTheRenderer(t *testing.T) {
	for r := rune(0xa0); r < 0x3100; r++ {
		if r >= 0x2500 && r <= 0x25fc || r >= 0x2800 && r <= 0x28ff {
			continue // ours, whatever the environment says of ambiguous widths
		}
		if got, want := RuneWidth(r), measure(r); got != want {
			t.Errorf("%U takes %d columns, want %d", r, got, want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { Width("São Paulo · ●824 ↗ Київ") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTruncate(t *testing.T) {
	for _, tt := range []struct {
		in   string
		w    int
		want string
	}{
		{"short", 5, "short"}, {"longer", 5, "long…"}, {"漢字漢字", 5, "漢字…"}, {"漢字", 3, "漢…"}, {"x", 0, ""}, {"", 0, ""}, {"ab", 1, "…"},
	} {
		if got := Truncate(tt.in, tt.w); got != tt.want || Width(got) > tt.w {
			t.Errorf("%q in %d: %q, want %q", tt.in, tt.w, got, tt.want)
		}
	}
}

// Whatever a name holds, what reaches the terminal is printable runes and our own
// colours, and the columns are where the canvas thinks they are.
func FuzzTextIsHarmless(f *testing.F) {
	f.Add("van \x1b[2J \x07 漢字 🇩🇪 e\u0301")
	f.Add("\u202e\u200d\ufe0f")
	f.Fuzz(func(t *testing.T, s string) {
		c := New(20, 1)
		c.Text(0, 0, Clean(s), red, 1)
		for _, g := range []Glyphs{Braille, Blocks, ASCII} {
			out := show(c, g)
			out = strings.TrimPrefix(out, "\x1b[0;31m")
			out = strings.TrimSuffix(out, "\x1b[m")
			out = strings.ReplaceAll(out, "\x1b[m", "")
			out = strings.ReplaceAll(out, "\x1b[0;31m", "")
			if !utf8.ValidString(out) {
				t.Fatalf("%q: not UTF-8: %q", s, out)
			}
			for _, r := range out {
				if w := RuneWidth(r); w < 1 || w > 2 {
					t.Fatalf("%q: %q has width %d", s, r, w)
				}
				if g == ASCII && r > '~' {
					t.Fatalf("%q: %q is not ascii", s, r)
				}
			}
			if Width(out) > 20 {
				t.Fatalf("%q: %d columns: %q", s, Width(out), out)
			}
		}
	})
}

func FuzzLine(f *testing.F) {
	f.Add(0.0, 0.0, 10.0, 10.0)
	f.Add(-1e300, 1e300, 5.0, math.Inf(1))
	f.Fuzz(func(t *testing.T, x0, y0, x1, y1 float64) {
		c := New(5, 5)
		c.Line(x0, y0, x1, y1, red, 1)
		var a Area
		a.Begin(c)
		a.Edge(x0, y0, x1, y1)
		a.Edge(x1, y1, 3, 3)
		a.Edge(3, 3, x0, y0)
		a.Fill(c, shade)
	})
}

func busy(w, h int) *Canvas {
	c := New(w, h)
	rng := rand.New(rand.NewPCG(3, 4))
	for range w * h {
		x, y := rng.Float64()*float64(2*w), rng.Float64()*float64(4*h)
		c.Line(x, y, x+rng.Float64()*8-4, y+rng.Float64()*8-4, Style(1+rng.IntN(2)), 3)
	}
	for range h {
		c.Text(rng.IntN(w), rng.IntN(h), "München", Style(rng.IntN(3)), 14)
	}
	return c
}

func TestEncodeDoesNotAllocate(t *testing.T) {
	c := busy(120, 40)
	out := c.Encode(nil, theme, Braille)
	for _, g := range []Glyphs{Braille, Blocks, ASCII} {
		if n := testing.AllocsPerRun(20, func() { out = c.Encode(out[:0], theme, g) }); n != 0 {
			t.Errorf("%d: %v allocations a frame", g, n)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	c := busy(120, 40)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = c.Encode(out[:0], theme, Braille)
	}
	b.SetBytes(int64(len(out)))
}

func TestUnaccentedIsAsPeopleType(t *testing.T) {
	for in, want := range map[string]string{"Montréal": "Montreal", "Łódź": "Lodz", "Küste №5": "Kuste №5", "東京": "東京", "": ""} {
		if got := Unaccented(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
