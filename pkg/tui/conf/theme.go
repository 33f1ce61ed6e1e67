package conf

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
)

// Theme is a theme of the user's own: what each style that is named looks like, in
// words such as "bold bright-red on 235". The rest is as in the theme that base names,
// or in system.
type Theme map[string]string

// styleNames are what styles are called in a file of settings.
var styleNames = [look.Styles]string{
	look.Text: "text", look.Dim: "dim", look.Bright: "bright", look.Coast: "coast", look.Border: "border",
	look.Land: "land", look.City: "city", look.Frame: "frame", look.Title: "title",
	look.Moving: "moving", look.Idle: "idle", look.Stale: "stale", look.Lost: "lost", look.Alert: "alert",
	look.TrailNew: "trail-new", look.TrailMid: "trail-mid", look.TrailOld: "trail-old",
	look.Picked: "picked", look.Row: "row", look.Good: "good", look.Warn: "warn", look.Keycap: "keycap",
	look.Ghost: "ghost", look.Zone: "zone", look.Route: "route",
	look.Ramp0: "ramp-0", look.Ramp1: "ramp-1", look.Ramp2: "ramp-2", look.Ramp3: "ramp-3", look.Ramp4: "ramp-4",
}

// Look is a theme by name: the user's own, or one that is built in.
func (c *Config) Look(name string) (*look.Theme, error) {
	if _, own := c.Themes[name]; !own {
		return look.Named(name)
	}
	t, wrong := c.theme(name)
	if len(wrong) > 0 {
		return nil, c.from.mistake(wrong[0].msg, wrong[0].path...)
	}
	return t, nil
}

// flaw is a mistake in a theme, and where in the settings it is.
type flaw struct {
	msg  string
	path []string
}

// theme makes a theme out of the words for it.
func (c *Config) theme(name string) (*look.Theme, []flaw) {
	said := c.Themes[name]
	var wrong []flaw
	fault := func(key string, format string, args ...any) {
		path := []string{"themes", name, key}
		if key == "" {
			path = path[:2]
		}
		wrong = append(wrong, flaw{fmt.Sprintf(format, args...), path})
	}
	if slices.Contains(look.Names, name) {
		fault("", "theme %s is built in: want another name", quoted(name))
	}
	base, err := look.Named(said["base"])
	if err != nil {
		fault("base", "%v%s", err, guess(said["base"], look.Names))
		return nil, wrong
	}
	t := &look.Theme{Name: name, FG: maps.Clone(base.FG), BG: maps.Clone(base.BG), Land: base.Land}
	if t.BG == nil {
		t.BG = map[canvas.Style]string{}
	}
	for _, key := range sortedKeys(said) {
		i := slices.Index(styleNames[:], key)
		switch {
		case key == "base":
			continue
		case i < 0:
			wrong = append(wrong, flaw{
				fmt.Sprintf("no style is called %s%s", quoted(key), guess(key, append(styleNames[:], "base"))),
				[]string{"themes", name, key, "key"},
			})
			continue
		}
		p, err := parsePaint(said[key])
		if err != nil {
			fault(key, "%v", err)
			continue
		}
		if err := set(t, canvas.Style(i), p); err != nil {
			fault(key, "%v", err)
		}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	for _, f := range legible(t, said) {
		fault(f.path[0], "%s", f.msg)
	}
	return t, wrong
}

// set gives a style its looks. Land is told from the sea by its background, or not at all.
func set(t *look.Theme, s canvas.Style, p paint) error {
	if s != look.Land {
		t.FG[s] = p.sgr()
		return nil
	}
	if len(p.attributes) > 0 || p.on != (colour{}) {
		return errors.New("land is a ground: want one colour, or default")
	}
	t.Land = p.in != colour{}
	if t.Land {
		t.BG[s] = p.in.sgr(true)
	} else {
		delete(t.BG, s)
	}
	return nil
}

// paint is what words say about a style.
type paint struct {
	attributes []string // as parameters of SGR
	in, on     colour
}

// colour is one of a terminal's colours. The zero colour is the terminal's own.
type colour struct {
	kind    colourKind
	number  uint8 // of the 16, or of the 256
	r, g, b uint8
}

type colourKind uint8

const (
	ownColour colourKind = iota
	namedColour
	numberedColour
	mixedColour
)

var attributes = map[string]string{"bold": "1", "dim": "2", "italic": "3", "underline": "4", "reverse": "7"}

var colourNames16 = []string{
	"black", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
	"bright-black", "bright-red", "bright-green", "bright-yellow", "bright-blue", "bright-magenta", "bright-cyan", "bright-white",
}

// parsePaint understands "bold bright-red on 235".
func parsePaint(text string) (paint, error) {
	var p paint
	var in, on bool
	words := strings.Fields(text)
	if len(words) == 0 {
		return p, errors.New("want a colour such as \"bold green\", \"208 on black\" or \"#5fd7ff\"; default is the terminal's own")
	}
	for i := 0; i < len(words); i++ {
		to, taken := &p.in, &in
		if words[i] == "on" {
			if i++; i == len(words) {
				return p, fmt.Errorf("no colour after \"on\" in %s", quoted(text))
			}
			to, taken = &p.on, &on
		} else if sgr, ok := attributes[words[i]]; ok {
			p.attributes = append(p.attributes, sgr)
			continue
		}
		c, err := parseColour(words[i])
		if err != nil {
			return p, err
		}
		if *taken {
			return p, fmt.Errorf("%s is a colour too many in %s", quoted(words[i]), quoted(text))
		}
		*to, *taken = c, true
	}
	return p, nil
}

func parseColour(word string) (colour, error) {
	if word == "default" {
		return colour{}, nil
	}
	if i := slices.Index(colourNames16, word); i >= 0 {
		return colour{kind: namedColour, number: uint8(i)}, nil
	}
	if n, err := strconv.ParseUint(word, 10, 8); err == nil {
		return colour{kind: numberedColour, number: uint8(n)}, nil
	}
	if hex, ok := strings.CutPrefix(word, "#"); ok && len(hex) == 6 {
		if v, err := strconv.ParseUint(hex, 16, 24); err == nil {
			return colour{mixedColour, 0, uint8(v >> 16), uint8(v >> 8), uint8(v)}, nil
		}
	}
	known := slices.Concat(colourNames16, sortedKeys(attributes), []string{"default", "on"})
	return colour{}, fmt.Errorf("%s is no colour%s", quoted(word), guess(word, known))
}

// sgr are the parameters of the sequence that a terminal takes.
func (p paint) sgr() string {
	params := slices.Clone(p.attributes)
	for i, c := range []colour{p.in, p.on} {
		if c.kind != ownColour {
			params = append(params, c.sgr(i == 1))
		}
	}
	return strings.Join(params, ";")
}

func (c colour) sgr(ground bool) string {
	first := 30
	if ground {
		first = 40
	}
	switch {
	case c.kind == mixedColour:
		return fmt.Sprintf("%d;2;%d;%d;%d", first+8, c.r, c.g, c.b)
	case c.kind == namedColour && c.number < 8:
		return strconv.Itoa(first + int(c.number))
	case c.kind == namedColour && !ground:
		return strconv.Itoa(first + 60 + int(c.number) - 8)
	}
	return fmt.Sprintf("%d;5;%d", first+8, c.number)
}

// unsgr is the opposite of paint.sgr for the colours; what is no colour is passed over.
func unsgr(sgr string) (in, on colour) {
	var n []int
	for p := range strings.SplitSeq(sgr, ";") {
		v, _ := strconv.Atoi(p)
		n = append(n, v)
	}
	for i := 0; i < len(n); i++ {
		to := &in
		if n[i]/10 == 4 || n[i]/10 == 10 {
			to = &on
		}
		switch {
		case n[i] >= 30 && n[i] < 38, n[i] >= 40 && n[i] < 48:
			*to = colour{kind: namedColour, number: uint8(n[i] % 10)}
		case n[i] >= 90 && n[i] < 98, n[i] >= 100 && n[i] < 108:
			*to = colour{kind: namedColour, number: uint8(n[i]%10 + 8)}
		case (n[i] == 38 || n[i] == 48) && i+2 < len(n) && n[i+1] == 5:
			*to = colour{kind: numberedColour, number: uint8(n[i+2])}
			i += 2
		case (n[i] == 38 || n[i] == 48) && i+4 < len(n) && n[i+1] == 2:
			*to = colour{mixedColour, 0, uint8(n[i+2]), uint8(n[i+3]), uint8(n[i+4])}
			i += 4
		}
	}
	return in, on
}

// light is the luminance of a colour, from 0 to 1. The first sixteen colours are whatever
// the user of the terminal has made of them.
func (c colour) light() (y float64, known bool) {
	switch {
	case c.kind == mixedColour:
	case c.kind == numberedColour && c.number >= 232:
		v := 8 + 10*(c.number-232)
		c.r, c.g, c.b = v, v, v
	case c.kind == numberedColour && c.number >= 16:
		cube := [6]uint8{0, 95, 135, 175, 215, 255}
		n := c.number - 16
		c.r, c.g, c.b = cube[n/36], cube[n/6%6], cube[n%6]
	default:
		return 0, false
	}
	linear := func(v uint8) float64 {
		s := float64(v) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c.r) + 0.7152*linear(c.g) + 0.0722*linear(c.b), true
}

// minContrast is what signs of this size need to be told from their ground.
const minContrast = 3

// contrast is how much two colours differ, from 1 to 21, and 21 if that is not known.
func contrast(a, b colour) float64 {
	x, ok := a.light()
	y, ok2 := b.light()
	if !ok || !ok2 {
		return 21
	}
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// grounds are what terminals look like on which a theme is at home.
var grounds = map[string]colour{
	"dark": {mixedColour, 0, 0x12, 0x12, 0x12}, "light": {mixedColour, 0, 0xff, 0xff, 0xff},
}

// legible holds a theme against its grounds, and the states against each other: whoever
// has a map open all day must see at a glance what is lost. It tells the names of styles.
func legible(t *look.Theme, said Theme) (wrong []flaw) {
	fault := func(s canvas.Style, format string, args ...any) {
		name := styleNames[s]
		if _, its := said[name]; !its {
			name = "land"
		}
		if _, its := said[name]; !its {
			name = ""
		}
		wrong = append(wrong, flaw{fmt.Sprintf(format, args...), []string{name}})
	}
	var land colour
	if t.Land {
		_, land = unsgr(t.BG[look.Land])
	}
	for _, s := range append([]canvas.Style{look.Text}, look.OfState[:]...) {
		in, on := unsgr(t.FG[s])
		under := map[string]colour{"a " + said["base"] + " ground": grounds[said["base"]]}
		if s != look.Text {
			under[quoted("land")] = land
		}
		if on != (colour{}) {
			under = map[string]colour{"its own ground": on}
		}
		for _, what := range sortedKeys(under) {
			if c := contrast(in, under[what]); c < minContrast {
				fault(s, "style %s has a contrast of %.1f to %s, want %d", quoted(styleNames[s]), c, what, minContrast)
			}
		}
	}
	if said["base"] == "mono" {
		return wrong // shapes tell the states apart
	}
	for a := range filter.States {
		for b := range a {
			if t.FG[look.OfState[a]] == t.FG[look.OfState[b]] {
				fault(look.OfState[a], "states %s look alike", quoted(b.String(), a.String()))
			}
		}
	}
	return wrong
}
