package tui

import (
	"fmt"
	"strings"

	"tracker/pkg/tui/canvas"
)

// What things look like. The default theme uses the sixteen colours of the terminal's
// own palette, which its user has chosen to be readable.
const (
	text canvas.Style = iota
	dim
	bright
	coast
	border
	land // a background
	city
	frame
	title
	moving
	idle
	stale
	lost
	alert
	trailNew
	trailMid
	trailOld
	picked // the selection
	row    // the selected row of a list
	good
	warn
	keycap

	styles = iota
)

// Who covers whom on the map.
const (
	onGrid     = 1
	onBorder   = 2
	onCoast    = 3
	onTrail    = 5 // and 6 and 7, older to newer
	onDevice   = 10
	onBadge    = 12
	onMarker   = 13
	onLabel    = 14
	onSelected = 15
	onTop      = 20 // panes and overlays
)

// look is a foreground for each style, and backgrounds for the few that have one.
type look struct {
	fg map[canvas.Style]string
	bg map[canvas.Style]string
}

var looks = map[string]look{
	"system": {fg: map[canvas.Style]string{
		dim: "90", bright: "1", coast: "36", border: "90", city: "2", frame: "90", title: "1;36",
		moving: "1;32", idle: "1", stale: "33", lost: "31", alert: "1;7;31",
		trailNew: "32", trailMid: "2;32", trailOld: "90",
		picked: "1;7", row: "7", good: "32", warn: "1;33", keycap: "36",
	}},
	"dark": {fg: map[canvas.Style]string{
		text: "38;5;252", dim: "38;5;244", bright: "1;38;5;255", coast: "38;5;73", border: "38;5;240",
		city: "38;5;246", frame: "38;5;239", title: "1;38;5;80",
		moving: "38;5;120", idle: "38;5;255", stale: "38;5;214", lost: "38;5;203", alert: "1;38;5;231;48;5;160",
		trailNew: "38;5;71", trailMid: "38;5;65", trailOld: "38;5;238",
		picked: "1;38;5;16;48;5;228", row: "38;5;231;48;5;24", good: "38;5;120", warn: "1;38;5;214", keycap: "38;5;80",
	}, bg: map[canvas.Style]string{land: "48;5;235"}},
	"light": {fg: map[canvas.Style]string{
		text: "38;5;236", dim: "38;5;243", bright: "1;38;5;232", coast: "38;5;24", border: "38;5;249",
		city: "38;5;241", frame: "38;5;250", title: "1;38;5;24",
		moving: "38;5;22", idle: "38;5;232", stale: "38;5;130", lost: "38;5;160", alert: "1;38;5;231;48;5;160",
		trailNew: "38;5;28", trailMid: "38;5;65", trailOld: "38;5;250",
		picked: "1;38;5;231;48;5;25", row: "38;5;16;48;5;153", good: "38;5;22", warn: "1;38;5;130", keycap: "38;5;24",
	}, bg: map[canvas.Style]string{land: "48;5;255"}},
	// Without colour the shapes tell the states apart.
	"mono": {fg: map[canvas.Style]string{
		bright: "1", title: "1", moving: "1", idle: "1", alert: "1;7", picked: "7", row: "7", warn: "1", keycap: "1",
	}},
	"plain": {},
}

// Themes are the names that Options.Theme takes.
var Themes = []string{"system", "dark", "light", "mono"}

var themes = func() map[string]*canvas.Theme {
	m := make(map[string]*canvas.Theme, len(looks))
	for name, l := range looks {
		fg, bg := make([]string, styles), make([]string, styles)
		for s, sgr := range l.fg {
			fg[s] = sgr
		}
		for s, sgr := range l.bg {
			bg[s] = sgr
		}
		m[name] = canvas.NewTheme(name, fg, bg)
	}
	return m
}()

func themeByName(name string) (*canvas.Theme, error) {
	if name == "" {
		name = "system"
	}
	t, ok := themes[name]
	if !ok || name == "plain" {
		return nil, fmt.Errorf("theme %q is not one of %s", name, strings.Join(Themes, ", "))
	}
	return t, nil
}

// state is how a device is, in the order of how much it wants to be seen.
type state uint8

const (
	isIdle state = iota
	isMoving
	isStale
	isLost
	isAlert
	stateCount
)

var stateLooks = [stateCount]struct {
	name  string
	glyph rune
	style canvas.Style
}{
	isIdle:   {"idle", '◆', idle},
	isMoving: {"moving", '▲', moving},
	isStale:  {"stale", '○', stale},
	isLost:   {"lost", '✕', lost},
	isAlert:  {"alert", '!', alert},
}

var arrows = [8]rune{'↑', '↗', '→', '↘', '↓', '↙', '←', '↖'}

// arrow points in the direction of a course of hundredths of a degree.
func arrow(course uint16) rune { return arrows[(int(course)+2250)/4500%8] }
