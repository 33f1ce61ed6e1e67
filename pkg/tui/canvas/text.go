package canvas

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// RuneWidth is how many columns a terminal gives to a rune: 0, 1 or 2, by the tables
// of the renderer.
func RuneWidth(r rune) int {
	switch {
	case r >= 0x20 && r < 0x7f, r >= 0x2500 && r <= 0x25fc, r >= 0x2800 && r <= 0x28ff:
		return 1 // what maps are made of
	case r < 0xa0:
		return 0
	case common(r):
		return int(commonWidths()[r])
	}
	return measure(r)
}

func measure(r rune) int { return ansi.WcWidth.StringWidth(string(r)) }

// common tells whether a rune is among those that maps and most names are made of: Latin
// to Arabic letters, and signs such as arrows. They are measured once, because measuring
// takes memory each time.
func common(r rune) bool { return r < 0x700 || r >= 0x2000 && r < commonEnd }

const commonEnd = 0x2800

var commonWidths = sync.OnceValue(func() *[commonEnd]uint8 {
	var widths [commonEnd]uint8
	for r := rune(0xa0); r < commonEnd; r++ {
		if common(r) {
			widths[r] = uint8(measure(r))
		}
	}
	return &widths
})

// Width is how many columns a line of clean text takes.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += RuneWidth(r)
	}
	return n
}

// Truncate cuts a line to at most w columns and marks the cut with an ellipsis.
func Truncate(s string, w int) string {
	if Width(s) <= w {
		return s
	}
	if w <= 0 {
		return ""
	}
	n := 0
	for i, r := range s {
		if n += RuneWidth(r); n > w-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// Clean makes foreign text harmless: what is left is runes of one or two columns, on
// which every terminal agrees. Control characters, line breaks and the first byte of
// escape sequences become a question mark; combining marks, joiners, direction marks
// and flags' halves, which a cell cannot hold, are left out. Right-to-left letters
// stay, in the order in which they are stored.
func Clean(s string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = s[i] >= 0x20 && s[i] < 0x7f
	}
	if clean {
		return s
	}
	return strings.TrimSpace(strings.Map(cleanRune, s))
}

func cleanRune(r rune) rune {
	switch {
	case r >= 0x20 && r < 0x7f:
		return r
	case r == utf8.RuneError, unicode.IsControl(r):
		return '?'
	case unicode.IsSpace(r):
		return ' '
	case unicode.In(r, unicode.M, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs):
		return -1
	case r >= 0x1f1e6 && r <= 0x1f1ff, r >= 0x1f3fb && r <= 0x1f3ff: // flags, skin tones
		return -1
	case r == 0x0e33, r == 0x0eb3: // a vowel of Thai and Lao with a mark in it
		return r - 1
	case !unicode.IsPrint(r), !agreed(r):
		return '?'
	}
	return r
}

// agreed tells whether the two ways in which terminals measure come to the same, whatever
// stands beside the rune: the parts of a Korean syllable, say, take less together than each
// alone.
func agreed(r rune) bool {
	w := ansi.WcWidth.StringWidth(string(r))
	return w > 0 && w <= 2 && ansi.GraphemeWidth.StringWidth(string([]rune{'a', r, r, 'a'})) == 2*w+2
}
