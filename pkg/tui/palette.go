package tui

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tracker/pkg/geo"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/world"
)

// verb is a word of the palette.
type verb struct {
	name, args, help string
	do               func(s *screen, args string) error
	offers           func(s *screen, typed string) []string // what its argument may become
	alone            bool                                   // does something without an argument
}

// verbs are the palette's own. Actions are verbs, too, and so are the commands of the
// program: see CLI.
func verbs() []verb {
	return []verb{
		{name: "filter", args: "EXPRESSION", help: "show who matches; nothing shows all", do: (*screen).setFilter, offers: (*screen).filtersLike, alone: true},
		{name: "save", args: "NAME", help: "keep the filter that holds as @NAME", do: (*screen).saveFilter, offers: (*screen).namesLike},
		{name: "goto", args: "PLACE", help: "to a device, a city, or LAT,LON", do: (*screen).goTo, offers: (*screen).placesLike},
		{name: "follow", args: "DEVICE", help: "select a device and stay with it", do: (*screen).followName, offers: (*screen).devicesLike},
		{name: "select", args: "DEVICE", help: "select a device", do: (*screen).selectName, offers: (*screen).devicesLike},
		{name: "theme", args: "NAME", help: "other colours", do: (*screen).setTheme, offers: oneOf(look.Names)},
		{name: "glyphs", args: "SET", help: "other dots", do: (*screen).setGlyphs, offers: oneOf(look.GlyphNames)},
		{name: "speed", args: "FACTOR", help: "how fast the past goes by, 60 for a minute a second", do: (*screen).setSpeed},
		{name: "at", args: "TIME", help: "show 14:05, 2026-01-02T14:05:00Z, or 10m ago as -10m", do: (*screen).seekText},
		{name: "export", args: "FILE", help: "save the picture (.txt .ansi .svg) or who is where (.geojson .gpx .csv .jsonl)", do: (*screen).export},
		{name: "mute", args: "DEVICE", help: "no more events of a device", do: func(s *screen, a string) error { return s.muteName(a, true) }, offers: (*screen).devicesLike},
		{name: "unmute", args: "DEVICE", help: "its events again", do: func(s *screen, a string) error { return s.muteName(a, false) }, offers: (*screen).devicesLike},
	}
}

// ownVerb is one of the palette's own, or nil.
func ownVerb(name string) *verb {
	all := verbs()
	if i := slices.IndexFunc(all, func(v verb) bool { return v.name == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

// command does a line of the palette: a word of its own, an action, or a command of the
// program. Of a word and an action with one name it is the word that takes arguments.
func (s *screen) command(text string) error {
	text = strings.TrimSpace(text)
	name, args, _ := strings.Cut(text, " ")
	args = strings.TrimSpace(args)
	own, act := ownVerb(name), s.does[name] != nil
	switch {
	case name == "":
		return nil
	case own != nil && (args != "" || own.alone || !act):
		return own.do(s, args)
	case act && args == "":
		s.do(name)
		return nil
	case s.cli().verb(name) != nil:
		return s.runCommand(text)
	case act:
		return fmt.Errorf("%s stands alone", name)
	}
	return unknown("there is no", name, s.paletteNames())
}

// unknown says that there is nothing of a name, and what was probably meant.
func unknown(lack, name string, known []string) error {
	near := conf.Nearest(name, known)
	if like := thatBegin(known, name); near == "" && len(like) == 1 {
		near = like[0]
	}
	if near != "" {
		return fmt.Errorf("%s %q; did you mean %s?", lack, canvas.Clean(name), near)
	}
	return fmt.Errorf("%s %q; tab shows what there is", lack, canvas.Clean(name))
}

// paletteNames are all words that a line may begin with.
func (s *screen) paletteNames() []string {
	var all []string
	for _, v := range verbs() {
		all = append(all, v.name)
	}
	for name := range s.does {
		all = append(all, name)
	}
	if cli := s.cli(); cli != nil {
		all = append(all, namesOf(cli.Verbs)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// mostOffered bounds completions: nobody steps through more.
const mostOffered = 200

// shownName is what a device is called on this screen.
func (s *screen) shownName(point int32) string {
	if !s.masked() {
		return s.store.Name(point)
	}
	fix, name, _ := s.store.Info(point)
	return s.mask.Name(fix.Device, name)
}

// devicesLike are the names of devices that begin so.
func (s *screen) devicesLike(typed string) []string {
	var all []string
	for i := range s.frame.Points {
		if !s.frame.Points[i].Alive() {
			continue
		}
		if name := s.shownName(int32(i)); begins(name, typed) {
			if all = append(all, name); len(all) == mostOffered {
				break
			}
		}
	}
	slices.Sort(all)
	return all
}

// begins tells whether a text begins with what was typed, whatever the case.
func begins(text, typed string) bool {
	return len(text) >= len(typed) && strings.EqualFold(text[:len(typed)], typed)
}

// oneOf offers those of some names that begin with what was typed.
func oneOf(names []string) func(*screen, string) []string {
	return func(_ *screen, typed string) []string { return thatBegin(names, typed) }
}

func thatBegin(names []string, typed string) []string {
	var all []string
	for _, name := range names {
		if begins(name, typed) {
			all = append(all, name)
		}
	}
	return all
}

// deviceNamed finds a device by its name, or the only one whose name begins so. Under the
// mask it goes by the other names, too.
func (s *screen) deviceNamed(name string) (int32, error) {
	found, begin := fleet.Nobody, 0
	for i := range s.frame.Points {
		if !s.frame.Points[i].Alive() {
			continue
		}
		called, shown := s.store.Name(int32(i)), s.shownName(int32(i))
		if strings.EqualFold(called, name) || strings.EqualFold(shown, name) {
			return int32(i), nil
		}
		if begins(called, name) || begins(shown, name) {
			found, begin = int32(i), begin+1
		}
	}
	switch {
	case name == "":
		return fleet.Nobody, fmt.Errorf("which device?")
	case begin == 0:
		return fleet.Nobody, fmt.Errorf("no device is called %q", canvas.Clean(name))
	case begin > 1:
		return fleet.Nobody, fmt.Errorf("%d devices begin with %q", begin, canvas.Clean(name))
	}
	return found, nil
}

func (s *screen) selectName(name string) error {
	i, err := s.deviceNamed(name)
	if err == nil {
		s.choose(i)
		s.centreOn(goToZoom)
	}
	return err
}

func (s *screen) followName(name string) error {
	err := s.selectName(name)
	if err == nil {
		s.follow, s.fitting = true, false
	}
	return err
}

func (s *screen) muteName(name string, mute bool) error {
	i, err := s.deviceNamed(name)
	if err != nil {
		return err
	}
	if fix, _, ok := s.store.Info(i); ok {
		s.mute(fix.Device, mute)
	}
	return nil
}

// goTo shows a place: LAT,LON, a device or a city.
func (s *screen) goTo(text string) error {
	if lat, lon, ok := strings.Cut(text, ","); ok {
		y, err1 := strconv.ParseFloat(strings.TrimSpace(lat), 64)
		x, err2 := strconv.ParseFloat(strings.TrimSpace(lon), 64)
		if err1 != nil || err2 != nil || !(y >= -90 && y <= 90 && x >= -180 && x <= 180) {
			return fmt.Errorf("%q is no LAT,LON", canvas.Clean(text))
		}
		s.showPlace(world.Project(geo.Deg(y, x)), nearZoom)
		return nil
	}
	if _, err := s.deviceNamed(text); err == nil {
		return s.selectName(text)
	}
	if c := cityNamed(text); c != nil {
		s.showPlace(world.Project(c.Pos.Point()), cityZoom)
		return nil
	}
	return fmt.Errorf("no device and no city is called %q", canvas.Clean(text))
}

const cityZoom = 8

func (s *screen) showPlace(at world.Pos, zoom float64) {
	s.take()
	s.view.Centre, s.view.Zoom = at, max(s.view.Zoom, zoom)
	s.view.Clamp()
}

// cityNamed is the largest city of that name; nil if there is none.
func cityNamed(name string) *world.City {
	for _, c := range world.Cities() { // largest first
		if strings.EqualFold(c.Name, name) {
			return &c
		}
	}
	return nil
}

// placesLike are devices and cities that begin so.
func (s *screen) placesLike(text string) []string {
	all := s.devicesLike(text)
	for _, c := range world.Cities() {
		if len(all) >= mostOffered {
			break
		}
		if begins(c.Name, text) {
			all = append(all, c.Name)
		}
	}
	return all
}
