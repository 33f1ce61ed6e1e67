package look

import (
	"fmt"
	"strings"

	"tracker/pkg/tui/canvas"
)

// Theme gives colours to styles: the parameters of an SGR sequence, such as "1;36" or
// "48;5;235", for what is drawn in a style and for the few styles that have a
// background. What is missing has the terminal's own colour.
type Theme struct {
	Name   string
	FG, BG map[canvas.Style]string
	Land   bool // land is told from the sea by its background
}

// Names are the names that Named takes.
var Names = []string{"system", "dark", "light", "mono"}

var themes = map[string]*Theme{
	// The sixteen colours are whatever somebody has made of them, on a ground that is not
	// known. So words have the terminal's own ink, bold or dim, and marks the four colours
	// that can be seen on black and on white: no yellow, no blue, and nothing that becomes
	// pale because it is bold. Grey is no colour to rely on either: Solarized has its dark
	// ground there.
	"system": {FG: map[canvas.Style]string{
		Dim: "2", Bright: "1", Coast: "36", Border: "2", City: "2", Frame: "2", Title: "1",
		Moving: "32", Idle: "1", Stale: "95", Lost: "91", Alert: "1;7;91",
		TrailNew: "32", TrailMid: "2;32", TrailOld: "2",
		Picked: "1;7", Row: "7", Good: "32", Warn: "1;95", Keycap: "1",
		Ghost: "2", Zone: "95", Route: "39", Ramp0: "32", Ramp1: "36", Ramp2: "39", Ramp3: "95", Ramp4: "91",
	}},
	"dark": {FG: map[canvas.Style]string{
		Text: "38;5;252", Dim: "38;5;246", Bright: "1;38;5;255", Coast: "38;5;66", Border: "38;5;240",
		City: "38;5;249", Frame: "38;5;240", Title: "1;38;5;80",
		Moving: "38;5;120", Idle: "38;5;255", Stale: "38;5;214", Lost: "38;5;203", Alert: "1;38;5;231;48;5;160",
		TrailNew: "38;5;71", TrailMid: "38;5;65", TrailOld: "38;5;240",
		Picked: "1;38;5;16;48;5;228", Row: "38;5;231;48;5;24", Good: "38;5;120", Warn: "1;38;5;214", Keycap: "38;5;80",
		Ghost: "38;5;243", Zone: "38;5;176", Route: "38;5;110",
		Ramp0: "38;5;120", Ramp1: "38;5;191", Ramp2: "38;5;220", Ramp3: "38;5;208", Ramp4: "38;5;203",
	}, BG: map[canvas.Style]string{Land: "48;5;235"}, Land: true},
	"light": {FG: map[canvas.Style]string{
		Text: "38;5;236", Dim: "38;5;242", Bright: "1;38;5;232", Coast: "38;5;67", Border: "38;5;247",
		City: "38;5;240", Frame: "38;5;247", Title: "1;38;5;24",
		Moving: "38;5;22", Idle: "38;5;232", Stale: "38;5;94", Lost: "38;5;160", Alert: "1;38;5;231;48;5;160",
		TrailNew: "38;5;28", TrailMid: "38;5;65", TrailOld: "38;5;247",
		Picked: "1;38;5;231;48;5;25", Row: "38;5;16;48;5;153", Good: "38;5;22", Warn: "1;38;5;94", Keycap: "38;5;24",
		Ghost: "38;5;244", Zone: "38;5;90", Route: "38;5;25",
		Ramp0: "38;5;22", Ramp1: "38;5;58", Ramp2: "38;5;94", Ramp3: "38;5;160", Ramp4: "38;5;126",
	}, BG: map[canvas.Style]string{Land: "48;5;255"}, Land: true},
	// Without colour the shapes tell the states apart, and what is below them is dim.
	"mono": {FG: map[canvas.Style]string{
		Dim: "2", Bright: "1", Coast: "2", Border: "2", City: "2", Frame: "2", Title: "1",
		Stale: "2", Lost: "1", Alert: "1;7", TrailMid: "2", TrailOld: "2",
		Picked: "1;7", Row: "7", Warn: "1", Keycap: "1", Ghost: "2",
	}},
}

// Named finds a theme; the empty name is system.
func Named(name string) (*Theme, error) {
	if name == "" {
		name = "system"
	}
	t, ok := themes[name]
	if !ok {
		return nil, unknown("theme", name, Names)
	}
	named := *t
	named.Name = name
	return &named, nil
}

func unknown(what, name string, names []string) error {
	are := "is"
	if strings.HasSuffix(what, "s") {
		are = "are"
	}
	return fmt.Errorf("%s %q %s not one of %s", what, name, are, strings.Join(names, ", "))
}

// Ink is what SGR parameters a style has as a foreground, heavy ones too.
func (t *Theme) Ink(s canvas.Style) string {
	if s < heavy || t.FG == nil {
		return t.FG[s]
	}
	sgr, weight := t.FG[s-heavy], "1"
	if amongSixteen(sgr) {
		weight = "4"
	}
	return strings.TrimSuffix(weight+";"+sgr, ";")
}

// Profile is what a terminal can show.
type Profile uint8

const (
	NoStyle  Profile = iota // no terminal, or a dumb one: no sequences at all
	NoColour                // bold, dim, underlined and reverse only
	Colour16                // of the foreground; eight grounds, as the Linux console has
	Colour256
	TrueColour
)

// For makes the theme ready to draw with on a terminal. It takes a few milliseconds:
// call it once, not for every frame. For sixteen colours it says itself what becomes of
// the others; colours of three bytes are brought down to 256 when they are sent.
func (t *Theme) For(p Profile) *canvas.Theme {
	switch p {
	case NoStyle:
		return (&Theme{Name: "plain"}).compile()
	case NoColour:
		mono := *themes["mono"]
		mono.Name = "mono"
		return mono.compile()
	case Colour16:
		return t.sixteen().compile()
	}
	return t.compile()
}

// sixteen is the theme on a terminal of sixteen colours. The nearest of them would be a
// guess, since nobody knows what they look like: near black may be the very ground. So a
// style that wants another colour looks as in system, and land is told from the sea by
// its coast. If two states then look alike, all do as in system.
func (t *Theme) sixteen() *Theme {
	system := themes["system"]
	few := &Theme{Name: t.Name, FG: map[canvas.Style]string{}, BG: map[canvas.Style]string{}}
	for s, sgr := range t.FG {
		if amongSixteen(sgr) {
			few.FG[s] = sgr
		} else if sgr, ok := system.FG[s]; ok {
			few.FG[s] = sgr
		}
	}
	for s, sgr := range t.BG {
		if amongSixteen(sgr) {
			few.BG[s] = sgr
		}
	}
	few.Land = few.BG[Land] != ""
	seen, lost := map[string]bool{}, false
	for _, s := range OfState {
		seen[few.FG[s]] = true
		lost = lost || few.FG[s] != t.FG[s]
	}
	if lost && len(seen) < len(OfState) {
		for _, s := range OfState {
			few.FG[s] = system.FG[s]
		}
	}
	return few
}

// amongSixteen tells whether a terminal of sixteen colours and eight grounds has what the
// parameters ask for.
func amongSixteen(sgr string) bool {
	for p := range strings.SplitSeq(sgr, ";") {
		if p == "38" || p == "48" || len(p) == 3 { // 100 to 107 are bright grounds
			return false
		}
	}
	return true
}

func (t *Theme) compile() *canvas.Theme {
	fg, bg := make([]string, 2*Styles), make([]string, 2*Styles)
	for s := range canvas.Style(2 * Styles) {
		fg[s], bg[s] = t.Ink(s), t.BG[s]
	}
	return canvas.NewTheme(t.Name, fg, bg)
}
