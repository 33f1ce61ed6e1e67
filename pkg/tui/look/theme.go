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
	"system": {FG: map[canvas.Style]string{
		Dim: "90", Bright: "1", Coast: "36", Border: "90", City: "2", Frame: "90", Title: "1;36",
		Moving: "1;32", Idle: "1", Stale: "33", Lost: "31", Alert: "1;7;31",
		TrailNew: "32", TrailMid: "2;32", TrailOld: "90",
		Picked: "1;7", Row: "7", Good: "32", Warn: "1;33", Keycap: "36",
		Ghost: "2", Zone: "35", Route: "34", Ramp0: "1;32", Ramp1: "32", Ramp2: "33", Ramp3: "1;33", Ramp4: "31",
	}},
	"dark": {FG: map[canvas.Style]string{
		Text: "38;5;252", Dim: "38;5;244", Bright: "1;38;5;255", Coast: "38;5;73", Border: "38;5;240",
		City: "38;5;246", Frame: "38;5;239", Title: "1;38;5;80",
		Moving: "38;5;120", Idle: "38;5;255", Stale: "38;5;214", Lost: "38;5;203", Alert: "1;38;5;231;48;5;160",
		TrailNew: "38;5;71", TrailMid: "38;5;65", TrailOld: "38;5;238",
		Picked: "1;38;5;16;48;5;228", Row: "38;5;231;48;5;24", Good: "38;5;120", Warn: "1;38;5;214", Keycap: "38;5;80",
		Ghost: "38;5;242", Zone: "38;5;176", Route: "38;5;110",
		Ramp0: "38;5;120", Ramp1: "38;5;191", Ramp2: "38;5;220", Ramp3: "38;5;208", Ramp4: "38;5;203",
	}, BG: map[canvas.Style]string{Land: "48;5;235"}, Land: true},
	"light": {FG: map[canvas.Style]string{
		Text: "38;5;236", Dim: "38;5;243", Bright: "1;38;5;232", Coast: "38;5;24", Border: "38;5;249",
		City: "38;5;241", Frame: "38;5;250", Title: "1;38;5;24",
		Moving: "38;5;22", Idle: "38;5;232", Stale: "38;5;130", Lost: "38;5;160", Alert: "1;38;5;231;48;5;160",
		TrailNew: "38;5;28", TrailMid: "38;5;65", TrailOld: "38;5;250",
		Picked: "1;38;5;231;48;5;25", Row: "38;5;16;48;5;153", Good: "38;5;22", Warn: "1;38;5;130", Keycap: "38;5;24",
		Ghost: "38;5;245", Zone: "38;5;90", Route: "38;5;25",
		Ramp0: "38;5;22", Ramp1: "38;5;58", Ramp2: "38;5;94", Ramp3: "38;5;130", Ramp4: "38;5;160",
	}, BG: map[canvas.Style]string{Land: "48;5;255"}, Land: true},
	// Without colour the shapes tell the states apart.
	"mono": {FG: map[canvas.Style]string{
		Bright: "1", Title: "1", Moving: "1", Idle: "1", Alert: "1;7", Picked: "7", Row: "7", Warn: "1", Keycap: "1",
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

// Profile is what a terminal can show.
type Profile uint8

const (
	NoStyle  Profile = iota // no terminal, or a dumb one: no sequences at all
	NoColour                // bold and reverse only
	Colour16
	Colour256
	TrueColour
)

// For makes the theme ready to draw with on a terminal. It takes a few milliseconds:
// call it once, not for every frame. Themes of more colours than the terminal has are
// brought down when they are sent.
func (t *Theme) For(p Profile) *canvas.Theme {
	switch p {
	case NoStyle:
		return (&Theme{Name: "plain"}).compile()
	case NoColour:
		mono := *themes["mono"]
		mono.Name = "mono"
		return mono.compile()
	}
	return t.compile()
}

func (t *Theme) compile() *canvas.Theme {
	fg, bg := make([]string, Styles), make([]string, Styles)
	for s, sgr := range t.FG {
		fg[s] = sgr
	}
	for s, sgr := range t.BG {
		bg[s] = sgr
	}
	return canvas.NewTheme(t.Name, fg, bg)
}
