package snap

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
)

// drawing has one of everything that a screen is made of.
func drawing(w, h int) *canvas.Canvas {
	c := canvas.New(w, h)
	c.Tint(w/4, h/3, w/3, h/4, look.Land)
	c.Line(0, 0, float64(2*w-1), float64(4*h-1), look.Coast, look.OnCoast)
	c.Line(float64(w), 0, float64(w/2), float64(4*h-1), look.Border, look.OnBorder)
	c.Dot(2*w-1, 0, look.Moving, look.OnDevice)
	c.Text(3, 1, " trackctl ▸ 9,812 fix/s  8▲ 1◆ 3✕", look.Title, look.OnTop)
	c.Frame(1, 3, w/2, h/2, "Karte <b> & Küste", look.Frame, look.Title, look.OnTop)
	c.Text(3, 5, "van-0417 東京 العربية", look.Text, look.OnTop)
	c.Text(3, 6, "●824", look.Alert, look.OnTop)
	c.Text(3, 7, "▇▇▇░░ 71% ▁▃▅█▀▄ ⣿⡇", look.Good, look.OnTop)
	c.Fill(w/2+3, h-2, 6, 1, look.Row, look.Text, look.OnTop)
	c.Text(w/2+4, h-2, "row", look.Row, look.OnTop)
	c.Text(w/2+4, h-1, "[↘]", look.Picked, look.OnTop)
	return c
}

func theme(t testing.TB, name string) *look.Theme {
	t.Helper()
	th, err := look.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	return th
}

func svg(t testing.TB, c *canvas.Canvas, th *look.Theme) string {
	t.Helper()
	var b bytes.Buffer
	if err := SVG(&b, c, th); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSVGOfEachThemeAndSize(t *testing.T) {
	for _, name := range look.Names {
		tuitest.Golden(t, "svg-"+name, svg(t, drawing(40, 12), theme(t, name)))
	}
	for _, size := range [][2]int{{120, 40}, {80, 24}} {
		tuitest.Golden(t, fmt.Sprintf("svg-dark-%dx%d", size[0], size[1]), svg(t, drawing(size[0], size[1]), theme(t, "dark")))
	}
}

// element is one of a picture, with the text in it.
type element struct {
	name  string
	attrs map[string]string
	text  string
}

// elements reads a picture as strictly as a browser does.
func elements(t testing.TB, doc string) (all []element) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(doc))
	var open []int
	for {
		token, err := d.Token()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			open = append(open, len(all))
			all = append(all, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				all[open[len(open)-1]].text += string(token)
			}
		}
	}
}

var square = regexp.MustCompile(`M(\d+) (\d+)h3v3h-3z`)

func TestDotsLieOnTheGridOfTheCells(t *testing.T) {
	c := drawing(40, 12)
	got := make([]uint8, len(c.Cells))
	for _, e := range elements(t, svg(t, c, theme(t, "dark"))) {
		for _, m := range square.FindAllStringSubmatch(e.attrs["d"], -1) {
			x, _ := strconv.Atoi(m[1])
			y, _ := strconv.Atoi(m[2])
			if x%dot != 0 || y%dot != 0 {
				t.Fatalf("a dot at %d,%d", x, y)
			}
			got[y/cellH*c.W+x/cellW] |= canvas.Bit(x%cellW/dot, y%cellH/dot)
		}
	}
	want := make([]uint8, len(c.Cells))
	for i, cell := range c.Cells {
		switch {
		case cell.R == 0:
			want[i] = cell.Mask
		case cell.R >= 0x2800 && cell.R <= 0x28ff:
			want[i] = uint8(cell.R)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("dots\n%v, want\n%v", got, want)
	}
}

func TestWordsStandInTheirCells(t *testing.T) {
	c := canvas.New(30, 2)
	c.Text(2, 1, "van-1 ●8 東京 Å<&>", look.Text, 1)
	type word struct{ x, y, width, text string }
	var got []word
	for _, e := range elements(t, svg(t, c, theme(t, "dark"))) {
		if e.name == "text" {
			got = append(got, word{e.attrs["x"], e.attrs["y"], e.attrs["textLength"], e.text})
		}
	}
	want := []word{
		{"16", "28", "40", "van-1"}, {"64", "28", "8", "●"}, {"72", "28", "8", "8"},
		{"88", "28", "16", "東"}, {"104", "28", "16", "京"}, {"128", "28", "32", "Å<&>"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v, want\n%v", got, want)
	}
}

func TestNamesInAPictureAreNothingButText(t *testing.T) {
	c := canvas.New(80, 1)
	// Past Clean, which would have taken the worst out already.
	for x, r := range []rune("</text><script>alert(1)</script>]]>&amp;\x1b[31m\u202e\u0085\ufffe\"'") {
		c.Cells[x] = canvas.Cell{R: r, Fg: look.Text, Prio: 1}
	}
	doc := svg(t, c, theme(t, "dark"))
	for _, e := range elements(t, doc) {
		if !slices.Contains([]string{"svg", "title", "rect", "path", "g", "text"}, e.name) {
			t.Errorf("an element %q in\n%s", e.name, doc)
		}
	}
	harmless(t, doc)
	if !strings.Contains(doc, "&lt;/text&gt;&lt;script&gt;") {
		t.Errorf("the name is not there:\n%s", doc)
	}
}

func harmless(t testing.TB, doc string) {
	t.Helper()
	for _, r := range doc {
		if r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf) {
			t.Fatalf("a %U in\n%s", r, doc)
		}
	}
}

// What has a ground of its own has it on land too, as in a terminal: white words on pale
// land could not be read.
func TestGroundsOfTheirOwnCoverLand(t *testing.T) {
	for _, name := range []string{"dark", "light"} {
		theme, err := look.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		p := newPainter(theme)
		for _, s := range []canvas.Style{look.Alert, look.Picked, look.Row, look.Heavy(look.Alert)} {
			if sea, land := p.of(s, look.Text), p.of(s, look.Land); sea != land {
				t.Errorf("%s: style %d is %+v at sea and %+v on land", name, s, sea, land)
			}
		}
		if sea, land := p.of(look.Moving, look.Text), p.of(look.Moving, look.Land); sea.bg == land.bg {
			t.Errorf("%s: land has the ground of the sea", name)
		}
	}
}

func TestBackgroundsAreRunsOfTheirColour(t *testing.T) {
	c := canvas.New(6, 1)
	c.Tint(1, 0, 2, 1, look.Land)
	c.Fill(3, 0, 2, 1, look.Picked, look.Text, 1)
	var got []string
	for _, e := range elements(t, svg(t, c, theme(t, "dark"))) {
		if e.name == "path" {
			got = append(got, e.attrs["fill"]+" "+e.attrs["d"])
		}
	}
	want := []string{"#262626 M8 0h16v16h-16z", "#ffff87 M24 0h16v16h-16z"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPicturesOfLightThemesAreOnPaper(t *testing.T) {
	for name, want := range map[string]sheet{"system": night, "dark": night, "light": day, "mono": night} {
		if got := sheetOf(theme(t, name)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestThemesAreUnderstood(t *testing.T) {
	for _, name := range look.Names {
		th := theme(t, name)
		for _, table := range []map[canvas.Style]string{th.FG, th.BG} {
			for s, params := range table {
				if _, ok := parseSGR(params); !ok {
					t.Errorf("%s: style %d is %q, which nobody paints", name, s, params)
				}
			}
		}
	}
}

// A picture is painted as a terminal would show what it is sent: what is selected, or calls
// for help, keeps its own ground on land.
func TestPicturesAreWhatTerminalsShow(t *testing.T) {
	for _, name := range look.Names {
		th := theme(t, name)
		sent, paints := th.For(look.TrueColour), newPainter(th)
		for fg := range canvas.Style(look.Styles) {
			for bg := range th.BG {
				c := canvas.New(1, 1)
				c.Cells[0] = canvas.Cell{R: 'x', Fg: fg, Bg: bg}
				line := string(c.Encode(nil, sent, canvas.Braille))
				params, _, _ := strings.Cut(strings.TrimPrefix(line, "\x1b["), "m")
				if line[0] == 'x' {
					params = ""
				}
				if got, want := paints.of(fg, bg), paints.shown(params); got != want {
					t.Errorf("%s: style %d on %d is %+v, and %+v on a terminal, of %q", name, fg, bg, got, want, line)
				}
			}
		}
	}
}

func TestSGRIsReadAsTerminalsDo(t *testing.T) {
	red, grey, own := rgb{0xe0, 0x55, 0x55}, rgb{0x26, 0x26, 0x26}, rgb{1, 2, 3}
	for params, want := range map[string]sgr{
		"":                 {},
		";":                {},
		"1;31":             {bold: true, fg: &red},
		"31;39":            {},
		"2;7;4":            {dim: true, reverse: true, underline: true},
		"38;2;1;2;3":       {fg: &own},
		"48;5;235;38;5;1":  {bg: &grey, fg: &red},
		"1;41;0":           {},
		"1;38;5;1;48;5;16": {bold: true, fg: &red, bg: &rgb{}},
	} {
		if got, ok := parseSGR(params); !ok || !same(got, want) {
			t.Errorf("%q: %+v, %v", params, got, ok)
		}
	}
	for _, params := range []string{"x", "38", "38;5", "38;5;256", "38;9;1", "999", "-1", "38;2;1;2", "5"} {
		if _, ok := parseSGR(params); ok {
			t.Errorf("%q is understood", params)
		}
	}
}

func same(a, b sgr) bool {
	colour := func(a, b *rgb) bool { return a == b || a != nil && b != nil && *a == *b }
	return colour(a.fg, b.fg) && colour(a.bg, b.bg) && a.bold == b.bold && a.dim == b.dim && a.underline == b.underline && a.reverse == b.reverse
}

// FuzzSVG draws whatever cells hold: the picture is well formed and no control character
// is in it.
func FuzzSVG(f *testing.F) {
	f.Add("a\x1b<漢", uint8(3), uint8(200), "1;38;5;16;48;5;228")
	f.Add("\u202e&\ufffe", uint8(0), uint8(9), "38;2;")
	f.Fuzz(func(t *testing.T, text string, mask, style uint8, params string) {
		c := canvas.New(8, 2)
		for i, r := range []rune(text) {
			if i == len(c.Cells) {
				break
			}
			c.Cells[i] = canvas.Cell{R: r, Mask: mask, Fg: canvas.Style(style), Bg: look.Land}
		}
		th := &look.Theme{FG: map[canvas.Style]string{canvas.Style(style): params}, BG: map[canvas.Style]string{look.Land: params}}
		doc := svg(t, c, th)
		elements(t, doc)
		harmless(t, doc)
	})
}

func BenchmarkSVG(b *testing.B) {
	c, th := drawing(120, 40), theme(b, "dark")
	b.ReportAllocs()
	for b.Loop() {
		if err := SVG(io.Discard, c, th); err != nil {
			b.Fatal(err)
		}
	}
}
