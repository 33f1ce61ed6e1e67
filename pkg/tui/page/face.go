package page

import (
	"slices"
	"strings"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/qr"
	"tracker/pkg/tui/tty"
)

// The styles of a code, beside those of everything else.
const (
	ink   = canvas.Style(look.Styles) + iota // a foreground
	paper                                    // a background
	night                                    // likewise: a dark module without ink

	styles = look.Styles + iota
)

// Face is what pages look like on a terminal.
type Face struct {
	Theme  *canvas.Theme
	Glyphs canvas.Glyphs
}

// NewFace chooses by what the terminal can show, and by the environment of the process.
// The colours of codes are data: they are in the face of a terminal without colours too.
func NewFace(p look.Profile, environ []string) Face {
	name := "system"
	if p <= look.NoColour {
		name = "mono"
	}
	theme, _ := look.Named(name)                                                                    // which exists
	glyphs, _ := look.Glyphs("auto", func(name string) string { return tty.Getenv(environ, name) }) // likewise
	return Face{withCode(theme, qr.DetectPalette(environ)), glyphs}
}

// withCode is a theme with the colours of a code.
func withCode(t *look.Theme, p qr.Palette) *canvas.Theme {
	fg, bg := make([]string, styles), make([]string, styles)
	for s, sgr := range t.FG {
		fg[s] = sgr
	}
	for s, sgr := range t.BG {
		bg[s] = sgr
	}
	fg[ink], bg[paper], bg[night] = p.Colours()
	return canvas.NewTheme(t.Name, fg, bg)
}

// CodeStyle is how a code is drawn where nobody has said how: in half blocks, or in
// colours alone where the locale has no half blocks.
func (f *Face) CodeStyle() qr.Style {
	if f.Glyphs == canvas.ASCII {
		return qr.Full
	}
	return qr.Half
}

// Environ is the environment of a terminal that shows a code. Without NO_COLOR, which
// would take the colours out of the code as well: the face has heeded it for all else.
func Environ(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool { return strings.HasPrefix(e, "NO_COLOR=") })
}

// wrap breaks text at blanks, and words that are longer than a line anywhere. Of nothing
// it makes no line.
func wrap(text string, width int) []string {
	width = max(width, 8)
	var lines []string
	if text == "" {
		return nil
	}
	line := ""
	for _, word := range strings.Fields(text) {
		for canvas.Width(word) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			head := upTo(word, width)
			lines, word = append(lines, head), word[len(head):]
		}
		switch {
		case line == "":
			line = word
		case canvas.Width(line)+1+canvas.Width(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

// upTo is as much of the beginning of a text as w columns hold.
func upTo(text string, w int) string {
	n := 0
	for i, r := range text {
		if n += canvas.RuneWidth(r); n > w {
			return text[:i]
		}
	}
	return text
}
