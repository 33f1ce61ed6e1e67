package tty

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/colorprofile"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
)

// Card writes a test card: what was found out about the terminal w, what the map would
// choose and why, pictures that show whether that is right, and what to set if it is
// not. It asks c.In how wide signs are drawn. Without a terminal it says what was found
// out and no more. It takes neither the screen nor the keyboard.
func Card(w io.Writer, c Config) error {
	c.fill()
	k := &card{environ: c.Environ, terminal: IsTerminal(w), profile: Profile(w, c.Environ)}
	k.cols, k.rows = Size(w, c.Environ)
	k.glyphs, _ = look.Glyphs("auto", k.getenv) // auto is a name that it knows
	if k.terminal && k.profile != look.NoStyle && IsTerminal(c.In) {
		k.measured = measure(c.In, w)
	}
	_, err := w.Write(k.draw())
	return err
}

// card is what is known when it is drawn.
type card struct {
	environ    []string
	terminal   bool
	cols, rows int
	profile    look.Profile
	glyphs     canvas.Glyphs
	measured

	out bytes.Buffer
}

func (k *card) getenv(name string) string { return Getenv(k.environ, name) }

func (k *card) draw() []byte {
	k.drawFindings()
	if k.profile != look.NoStyle {
		k.drawWidths()
		k.drawGlyphs()
		k.drawColours()
		k.drawThemes()
	}
	k.drawAdvice()
	return k.out.Bytes()
}

func (k *card) linef(format string, args ...any) { fmt.Fprintf(&k.out, format+"\n", args...) }

func (k *card) heading(s string) {
	if k.profile == look.NoStyle {
		k.linef("\n%s", s)
		return
	}
	k.linef("\n\x1b[1m%s\x1b[m", s)
}

func (k *card) drawFindings() {
	finding := func(name, format string, args ...any) { k.linef("  %-11s %s", name, fmt.Sprintf(format, args...)) }
	k.linef("What trackctl map finds here")
	finding("terminal", "%s", k.kind())
	finding("size", "%dx%d, %s", k.cols, k.terminalRows(), k.layout())
	finding("colours", "%s", k.colours())
	finding("glyphs", "%s", k.glyphChoice())
	if far := k.far(); far != "" {
		finding("through", "%s", far)
	}
	if k.answers {
		whole := map[string]string{"yes": "shown whole", "no": "may tear", "": "it does not say"}
		finding("frames", "%s", whole[k.whole])
	}
}

// terminalRows counts the row of the prompt, which Size leaves out.
func (k *card) terminalRows() int {
	if k.terminal {
		return k.rows + 1
	}
	return k.rows
}

func (k *card) kind() string {
	if !k.terminal {
		return "none: standard output is a file or a pipe"
	}
	return "TERM=" + k.shown("TERM") + k.optional("COLORTERM") + k.optional("TERM_PROGRAM")
}

// shown is a variable as it may be shown.
func (k *card) shown(name string) string { return oneLine(k.getenv(name)) }

func (k *card) optional(name string) string {
	if k.getenv(name) == "" {
		return ""
	}
	return " " + name + "=" + k.shown(name)
}

func (k *card) layout() string {
	switch w, h := k.cols, k.terminalRows(); {
	case !k.terminal:
		return "by COLUMNS and LINES, or what is usual"
	case w >= 100 && h >= 30:
		return "enough for map, details and list side by side"
	case w >= 60 && h >= 16:
		return "enough for the map or the list; both at once want 100x30"
	}
	return "enough for the list only; the map wants 60x16"
}

func (k *card) colours() string {
	switch k.profile {
	case look.NoStyle:
		if k.terminal {
			return "none, since TERM=" + k.shown("TERM")
		}
		return "none"
	case look.NoColour:
		if k.getenv("NO_COLOR") != "" {
			return "none, bold and reversed only, since NO_COLOR is set"
		}
		return "none, bold and reversed only, since TERM=" + k.shown("TERM")
	case look.Colour16:
		return "16"
	case look.Colour256:
		return "256"
	}
	return "24 bit"
}

// glyphChoice says what look.Glyphs chose, and why.
func (k *card) glyphChoice() string {
	name := map[canvas.Glyphs]string{canvas.Braille: "braille", canvas.Blocks: "half blocks", canvas.ASCII: "7-bit letters"}[k.glyphs]
	locale, where := k.locale()
	switch {
	case k.glyphs == canvas.Blocks:
		return name + ", since the font of the console has no more"
	case k.glyphs == canvas.ASCII && canvas.RuneWidth('●') != 1:
		return name + ", since signs are set to be two columns wide"
	case k.glyphs == canvas.ASCII:
		return name + ", since " + where + "=" + oneLine(locale) + " is not UTF-8"
	case locale == "":
		return name + ", since no locale says otherwise"
	}
	return name + ", since " + where + "=" + oneLine(locale) + " is UTF-8"
}

func (k *card) locale() (value, name string) {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := k.getenv(name); v != "" {
			return v, name
		}
	}
	return "", ""
}

// far is what lies between the map and the terminal.
func (k *card) far() string {
	var by []string
	for _, way := range []struct{ variable, name string }{
		{"SSH_CONNECTION", "ssh"}, {"TMUX", "tmux"}, {"STY", "screen"},
	} {
		if k.getenv(way.variable) != "" {
			by = append(by, way.name)
		}
	}
	return strings.Join(by, " and ")
}

func (k *card) drawWidths() {
	switch {
	case !k.asked:
		return
	case !k.answers:
		k.heading("Widths")
		k.linef("  not measured: the terminal does not tell where its cursor is")
		return
	}
	k.heading("Widths, as the terminal draws them")
	for row := range slices.Chunk(k.widths, 10) {
		var line strings.Builder
		for _, w := range row {
			fmt.Fprintf(&line, "  %c %s", w.r, w)
		}
		k.linef("%s", line.String())
	}
}

// wrong are the signs that are not as wide as the map believes.
func (k *card) wrong() string {
	var wrong []string
	for _, w := range k.widths {
		if w.got >= 0 && !w.right() {
			wrong = append(wrong, string(w.r))
		}
	}
	return strings.Join(wrong, " ")
}

func (k *card) drawGlyphs() {
	k.heading("Glyphs: a wave without gaps, in a box without gaps")
	wave := picture()
	plain := (&look.Theme{Name: "plain"}).For(look.NoStyle)
	for _, set := range []struct {
		name string
		g    canvas.Glyphs
	}{{"braille", canvas.Braille}, {"block", canvas.Blocks}, {"ascii", canvas.ASCII}} {
		mark := ""
		if set.g == k.glyphs {
			mark = "  chosen"
		}
		for i, row := range strings.Split(string(wave.Encode(nil, plain, set.g)), "\n") {
			name := ""
			if i == 1 {
				name = set.name
			}
			tail := ""
			if i == 1 {
				tail = mark
			}
			k.linef("  %-9s %s%s", name, row, tail)
		}
	}
}

// picture is a wave in a box.
func picture() *canvas.Canvas {
	const w, h = 46, 4
	c := canvas.New(w, h)
	c.Frame(0, 0, w, h, "", look.Text, look.Text, look.OnTop)
	for x := 2; x < 2*(w-1); x++ {
		y := 8 + 3.4*math.Sin(float64(x)/6)
		c.Dot(x, int(y), look.Text, look.OnCoast)
	}
	return c
}

func (k *card) drawColours() {
	if k.profile == look.NoColour {
		return
	}
	k.heading("Colours: the first row is your palette, the others go from dark to light")
	k.linef("  %-9s %s", "16", ramp(16, func(i int) string {
		if i < 8 {
			return fmt.Sprintf("4%d", i)
		}
		return fmt.Sprintf("10%d", i-8)
	}, "   "))
	k.linef("  %-9s %s", "256", ramp(24, func(i int) string { return fmt.Sprintf("48;5;%d", 232+i) }, "  "))
	k.linef("  %-9s %s", "24 bit", ramp(48, func(i int) string {
		return fmt.Sprintf("48;2;%d;%d;%d", i*255/47, 128, 255-i*255/47)
	}, " "))
}

// ramp is n fields, each with a background.
func ramp(n int, sgr func(int) string, field string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\x1b[%sm%s", sgr(i), field)
	}
	b.WriteString("\x1b[m")
	return b.String()
}

func (k *card) drawThemes() {
	k.heading("Themes: five states that can be told apart, and read")
	for _, name := range look.Names {
		t, err := look.Named(name)
		if err != nil {
			continue
		}
		k.linef("  %-9s %s  %s", name, k.states(t), k.contrastOf(t))
	}
}

// stateNames are what look's shapes and styles stand for, in their order.
var stateNames = [len(look.Glyph)]string{"idle", "moving", "stale", "lost", "alert"}

// states is a row with all states, as a map of that theme would have them.
func (k *card) states(t *look.Theme) string {
	c := canvas.New(43, 1) // as wide as the text
	if t.Land && k.profile >= look.Colour256 {
		c.Tint(0, 0, c.W, 1, look.Land)
	}
	x := 1
	for st, glyph := range look.Glyph {
		from, style := x, look.OfState[st]
		x = c.Text(x, 0, string(glyph)+" "+stateNames[st], style, look.OnTop)
		if _, own := colour256(t.FG[style], "48"); own {
			c.Tint(from, 0, x-from, 1, look.Text)
		}
		x += 2
	}
	row := c.Encode(nil, t.For(k.profile), k.glyphs)
	var b bytes.Buffer
	down := &colorprofile.Writer{Forward: &b, Profile: profiles[k.profile]}
	_, _ = down.Write(row) // a buffer does not fail
	return b.String()
}

var profiles = map[look.Profile]colorprofile.Profile{
	look.NoStyle: colorprofile.NoTTY, look.NoColour: colorprofile.ASCII, look.Colour16: colorprofile.ANSI,
	look.Colour256: colorprofile.ANSI256, look.TrueColour: colorprofile.TrueColor,
}

// contrastOf says how well the faintest state of a theme can be read on its land. 4.5 is
// what is asked of text. The colours of a palette are the terminal's, and not known.
func (k *card) contrastOf(t *look.Theme) string {
	land, known := colour256(t.BG[look.Land], "48")
	if !known || k.profile < look.Colour256 {
		return "your palette"
	}
	least := math.Inf(1)
	for _, style := range look.OfState {
		fg, ok := colour256(t.FG[style], "38")
		if !ok {
			continue
		}
		bg, own := colour256(t.FG[style], "48")
		if !own {
			bg = land
		}
		least = min(least, contrast(fg, bg))
	}
	return fmt.Sprintf("contrast %.1f", least)
}

// rgb is a colour of 0 to 255 each.
type rgb [3]float64

// colour256 is the colour of 256 that an SGR sequence sets: 38 its foreground, 48 its
// background.
func colour256(sgr, which string) (rgb, bool) {
	params := strings.Split(sgr, ";")
	for i := 0; i+2 < len(params); i++ {
		if params[i] != which || params[i+1] != "5" {
			continue
		}
		n, err := strconv.Atoi(params[i+2])
		return paletteColour(n), err == nil && n >= 16 && n <= 255
	}
	return rgb{}, false
}

// paletteColour is a colour of the cube or of the greys, which are alike everywhere.
func paletteColour(n int) rgb {
	if n >= 232 {
		grey := float64(8 + 10*(n-232))
		return rgb{grey, grey, grey}
	}
	level := func(i int) float64 {
		if i == 0 {
			return 0
		}
		return float64(55 + 40*i)
	}
	n -= 16
	return rgb{level(n / 36), level(n / 6 % 6), level(n % 6)}
}

// contrast of two colours, from 1 to 21, as WCAG has it.
func contrast(a, b rgb) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(c rgb) float64 {
	linear := func(v float64) float64 {
		if v /= 255; v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

// drawAdvice says what to do about what was found.
func (k *card) drawAdvice() {
	k.heading("What to set")
	for _, a := range k.advice() {
		k.linef("  - %s", a)
	}
}

func (k *card) advice() []string {
	if !k.terminal {
		return []string{
			"There is no terminal here: trackctl map prints one picture, as with --once,\n" +
				"    of 80x24 or COLUMNS and LINES.",
			"trackctl map --plain tells of the fleet in sentences.",
		}
	}
	if k.profile == look.NoStyle {
		return []string{
			"This terminal cannot show a map: trackctl map tells it in sentences.",
			"If it can do more than TERM says, set TERM, for example to xterm-256color.",
		}
	}
	var list []string
	add := func(when bool, advice string) {
		if when {
			list = append(list, advice)
		}
	}
	locale, where := k.locale()
	add(k.glyphs == canvas.ASCII && locale != "", "For letters with accents and a finer map: "+where+"=C.UTF-8.")
	add(k.wrong() != "", "Not as wide as the map believes: "+k.wrong()+". Let the terminal draw signs of\n"+
		"    ambiguous width narrow; or use --glyphs ascii.")
	add(k.glyphs == canvas.Braille, "If the wave has gaps or rings: another font, or --glyphs block.")
	add(k.profile == look.Colour256 || k.profile == look.Colour16,
		"If the row of 24 bit is smooth: COLORTERM=truecolor.")
	add(k.profile != look.NoColour, "If a theme is hard to read: --theme system, dark, light or mono.")
	add(k.getenv("TMUX") != "", "tmux: set -g mouse on, set -g set-clipboard on (for copying), and\n"+
		"    set -g focus-events on (less is drawn while nobody looks).")
	add(k.getenv("STY") != "", "screen does not hand on what is copied; tmux does.")
	add(k.getenv("TERM_PROGRAM") == "Apple_Terminal", "Terminal.app does not take what is copied.")
	add(k.getenv("SSH_CONNECTION") != "", "Over ssh the map asks the terminal when a frame has arrived, and draws\n"+
		"    less often when that takes long.")
	add(k.getenv("TERM") == "linux", "The console has no mouse and 16 colours: use the keys, ? lists them.")
	add(k.getenv("TERM") != "linux", "To select text with the mouse: hold shift, or --no-mouse.")
	return list
}
