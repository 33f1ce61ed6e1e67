// Package look is what things look like in a terminal: the styles and who covers whom,
// the themes that give colours to styles, and the glyphs that say the same without
// colour. It knows no devices and no terminal; it is told what the terminal can show.
//
//	Theme (names and SGR) ── For(Profile) ──► canvas.Theme ──► Canvas.Encode
package look

import (
	"strings"

	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
)

// Styles of everything that is drawn. The default theme uses the sixteen colours of the
// terminal's own palette, which its user has chosen to be readable.
const (
	Text canvas.Style = iota
	Dim
	Bright
	Coast
	Border
	Land // a background
	City
	Frame
	Title
	Moving
	Idle
	Stale
	Lost
	Alert
	TrailNew
	TrailMid
	TrailOld
	Picked // the selection
	Row    // the selected row of a list
	Good
	Warn
	Keycap
	Ghost // where a device ought to be by now
	Zone  // areas and lines of the user's own
	Route
	Ramp0 // from fresh, slow or full
	Ramp1
	Ramp2
	Ramp3
	Ramp4 // to old, fast or empty

	Styles = iota

	heavy = canvas.Style(Styles) // from here on, each style once more: see Heavy
)

// Heavy is a style with more weight: bold, or underlined where bold could come out as
// another colour. It is for what stands for many.
func Heavy(s canvas.Style) canvas.Style { return heavy + s%heavy }

// Who covers whom on the map.
const (
	OnGrid     = 1
	OnBorder   = 2
	OnCoast    = 3
	OnZone     = 4
	OnTrail    = 5 // and 6 and 7, older to newer
	OnGhost    = 9
	OnDevice   = 10
	OnBadge    = 12
	OnMarker   = 13
	OnLabel    = 14
	OnSelected = 15
	OnTop      = 20 // panes and what is laid over them
)

// Glyph is the shape of each state, which says what its colour says.
var Glyph = [filter.States]rune{
	filter.Idle: '◆', filter.Moving: '▲', filter.Stale: '○', filter.Lost: '✕', filter.Alert: '!',
}

// OfState is the style of each state.
var OfState = [filter.States]canvas.Style{
	filter.Idle: Idle, filter.Moving: Moving, filter.Stale: Stale, filter.Lost: Lost, filter.Alert: Alert,
}

var arrows = [8]rune{'↑', '↗', '→', '↘', '↓', '↙', '←', '↖'}

// Arrow points in the direction of a course of hundredths of a degree.
func Arrow(course uint16) rune { return arrows[(int(course)+2250)/4500%8] }

// ColourBy is what the colours of devices tell.
type ColourBy uint8

const (
	ByState ColourBy = iota
	ByAge
	BySpeed
	ByBattery
	Colours
)

func (c ColourBy) String() string { return [...]string{"state", "age", "speed", "battery"}[c] }

// Ramp is the style of a step of the ramp, from 0 to 4; what lies beyond is put on the
// end.
func Ramp(step int) canvas.Style { return Ramp0 + canvas.Style(min(max(step, 0), 4)) }

// GlyphNames are the names that Glyphs takes.
var GlyphNames = []string{"auto", "braille", "block", "ascii"}

// Glyphs chooses what the font is trusted with: by name, or for auto and the empty name
// by what getenv tells of the locale and the kind of terminal. No locale at all, as in
// a container, is taken for UTF-8: only one that says something else is believed.
func Glyphs(name string, getenv func(string) string) (canvas.Glyphs, error) {
	switch name {
	case "braille":
		return canvas.Braille, nil
	case "block":
		return canvas.Blocks, nil
	case "ascii":
		return canvas.ASCII, nil
	case "", "auto":
		return detectGlyphs(getenv), nil
	}
	return 0, unknown("glyphs", name, GlyphNames)
}

func detectGlyphs(getenv func(string) string) canvas.Glyphs {
	locale := getenv("LC_ALL")
	for _, name := range []string{"LC_CTYPE", "LANG"} {
		if locale == "" {
			locale = getenv(name)
		}
	}
	locale = strings.ToLower(strings.ReplaceAll(locale, "-", ""))
	switch {
	case locale != "" && !strings.Contains(locale, "utf8"):
		return canvas.ASCII
	case canvas.RuneWidth('●') != 1: // a terminal set up to draw such signs twice as wide
		return canvas.ASCII
	case getenv("TERM") == "linux":
		return canvas.Blocks
	}
	return canvas.Braille
}
