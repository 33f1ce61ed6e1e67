package snap

import (
	"strconv"
	"strings"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
)

// rgb is a colour of a picture that is not shown on a terminal.
type rgb struct{ r, g, b uint8 }

func (c rgb) String() string {
	const hex = "0123456789abcdef"
	return string([]byte{'#', hex[c.r>>4], hex[c.r&15], hex[c.g>>4], hex[c.g&15], hex[c.b>>4], hex[c.b&15]})
}

// towards is c with a share of another colour, in hundredths.
func (c rgb) towards(to rgb, share int) rgb {
	mix := func(a, b uint8) uint8 { return uint8((int(a)*(100-share) + int(b)*share) / 100) }
	return rgb{mix(c.r, to.r), mix(c.g, to.g), mix(c.b, to.b)}
}

// dark tells whether white can be read on it.
func (c rgb) dark() bool { return 299*int(c.r)+587*int(c.g)+114*int(c.b) < 128_000 }

// sheet is what a picture is painted on, where a terminal has colours of its own.
type sheet struct{ ink, paper rgb }

var (
	night = sheet{ink: rgb{0xd0, 0xd0, 0xd0}, paper: rgb{0x12, 0x12, 0x12}}
	day   = sheet{ink: rgb{0x30, 0x30, 0x30}, paper: rgb{0xff, 0xff, 0xff}}
)

// sheetOf is dark unless the theme writes its text in a dark colour, as one for light
// terminals does.
func sheetOf(t *look.Theme) sheet {
	text, _ := parseSGR(t.FG[look.Text])
	if text.fg != nil && text.fg.dark() || text.fg == nil && t.Name == "light" {
		return day
	}
	return night
}

// paint is how a cell looks once everything about it is known.
type paint struct {
	fg, bg    rgb
	bold      bool
	underline bool
}

// painter knows the paint of every pair of styles.
type painter struct {
	sheet
	theme *look.Theme
	known map[[2]canvas.Style]paint
}

func newPainter(t *look.Theme) *painter {
	return &painter{sheet: sheetOf(t), theme: t, known: map[[2]canvas.Style]paint{}}
}

func (p *painter) of(fg, bg canvas.Style) paint {
	pair := [2]canvas.Style{fg, bg}
	known, ok := p.known[pair]
	if !ok {
		known = p.mix(fg, bg)
		p.known[pair] = known
	}
	return known
}

// mix does what a terminal does with the two: the parameters of the foreground come after
// those of the background, and one with a ground of its own has it.
func (p *painter) mix(fg, bg canvas.Style) paint {
	return p.shown(p.theme.BG[bg] + ";" + p.theme.Ink(fg))
}

// shown is how a cell looks after SGR parameters.
func (p *painter) shown(params string) paint {
	s, _ := parseSGR(params)
	done := paint{fg: p.ink, bg: p.paper, bold: s.bold, underline: s.underline}
	if s.fg != nil {
		done.fg = *s.fg
	}
	if s.bg != nil {
		done.bg = *s.bg
	}
	if s.reverse {
		done.fg, done.bg = done.bg, done.fg
	}
	if s.dim {
		done.fg = done.fg.towards(done.bg, 40)
	}
	return done
}

// sgr is what the parameters of an SGR sequence say. A colour that is nil is the
// terminal's own.
type sgr struct {
	fg, bg                        *rgb
	bold, dim, underline, reverse bool
}

// parseSGR understands what themes are made of. What it does not know it passes over,
// as terminals do, and says so.
func parseSGR(params string) (s sgr, ok bool) {
	ok = true
	rest := strings.Split(params, ";")
	for len(rest) > 0 {
		var known bool
		rest, known = s.take(rest)
		ok = ok && known
	}
	return s, ok
}

// take reads the first parameter, with those that belong to it, and returns the others.
func (s *sgr) take(params []string) (rest []string, ok bool) {
	rest = params[1:]
	if params[0] == "" {
		return rest, true
	}
	n, err := strconv.ParseUint(params[0], 10, 8)
	if err != nil {
		return rest, false
	}
	switch {
	case n == 38 || n == 48:
		return s.extended(n == 38, rest)
	case n >= 30 && n <= 37:
		s.fg = indexed(uint8(n - 30))
	case n >= 90 && n <= 97:
		s.fg = indexed(uint8(n - 90 + 8))
	case n >= 40 && n <= 47:
		s.bg = indexed(uint8(n - 40))
	case n >= 100 && n <= 107:
		s.bg = indexed(uint8(n - 100 + 8))
	default:
		return rest, s.attribute(n)
	}
	return rest, true
}

func (s *sgr) attribute(n uint64) bool {
	switch n {
	case 0:
		*s = sgr{}
	case 1:
		s.bold = true
	case 2:
		s.dim = true
	case 4:
		s.underline = true
	case 7:
		s.reverse = true
	case 39:
		s.fg = nil
	case 49:
		s.bg = nil
	default:
		return false
	}
	return true
}

// extended reads what follows 38 or 48: 5 and an index, or 2 and three parts.
func (s *sgr) extended(foreground bool, params []string) (rest []string, ok bool) {
	take := 2
	if len(params) > 0 && params[0] == "2" {
		take = 4
	}
	if len(params) < take || params[0] != "5" && params[0] != "2" {
		return nil, false // nobody knows where the next parameter begins
	}
	var parts [3]uint8
	for i, p := range params[1:take] {
		v, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return params[take:], false
		}
		parts[i] = uint8(v)
	}
	colour := &rgb{parts[0], parts[1], parts[2]}
	if take == 2 {
		colour = indexed(parts[0])
	}
	if foreground {
		s.fg = colour
	} else {
		s.bg = colour
	}
	return params[take:], true
}

// sixteen are the colours that every terminal lets its user choose, as somebody might
// have chosen them who wants to read them on paper and on night.
var sixteen = [16]rgb{
	{0x1c, 0x1c, 0x1c}, {0xe0, 0x55, 0x55}, {0x5f, 0xbf, 0x5f}, {0xd0, 0xa0, 0x30},
	{0x5f, 0x8f, 0xd7}, {0xb0, 0x80, 0xc8}, {0x50, 0xb0, 0xb8}, {0xd0, 0xd0, 0xd0},
	{0x80, 0x80, 0x80}, {0xff, 0x6b, 0x6b}, {0x87, 0xd7, 0x87}, {0xf0, 0xd0, 0x60},
	{0x87, 0xaf, 0xff}, {0xd7, 0xa0, 0xe0}, {0x7f, 0xd7, 0xdd}, {0xff, 0xff, 0xff},
}

// indexed is a colour of the table of 256: sixteen, a cube of six levels, and greys.
func indexed(i uint8) *rgb {
	levels := [6]uint8{0, 95, 135, 175, 215, 255}
	switch {
	case i < 16:
		return &sixteen[i]
	case i < 232:
		i -= 16
		return &rgb{levels[i/36], levels[i/6%6], levels[i%6]}
	}
	grey := 8 + 10*(i-232)
	return &rgb{grey, grey, grey}
}
