package tui

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tracker/pkg/geo"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/world"
)

// verb is a word of the palette.
type verb struct {
	name, args, help string
	do               func(s *screen, args string) error
	offers           func(s *screen) []string // completions of its argument
}

// verbs are the palette's own. Actions are verbs, too, and what trackctl can be told
// without leaving the map.
func verbs() []verb {
	return []verb{
		{"filter", "EXPRESSION", "show who matches; nothing shows all", func(s *screen, a string) error { return s.setFilter(a) }, (*screen).filters},
		{"goto", "PLACE", "to a device, a city, or LAT,LON", func(s *screen, a string) error { return s.goTo(a) }, (*screen).deviceNames},
		{"follow", "DEVICE", "select a device and stay with it", func(s *screen, a string) error { return s.followName(a) }, (*screen).deviceNames},
		{"select", "DEVICE", "select a device", func(s *screen, a string) error { return s.selectName(a) }, (*screen).deviceNames},
		{"theme", "NAME", "other colours", func(s *screen, a string) error { return s.setTheme(a) }, func(*screen) []string { return look.Names }},
		{"glyphs", "SET", "other dots", func(s *screen, a string) error { return s.setGlyphs(a) }, func(*screen) []string { return look.GlyphNames }},
		{"speed", "FACTOR", "how fast the past goes by, 60 for a minute a second", func(s *screen, a string) error { return s.setSpeed(a) }, nil},
		{"at", "TIME", "show 14:05, 2026-01-02T14:05:00Z, or 10m ago as -10m", func(s *screen, a string) error { return s.seekText(a) }, nil},
		{"export", "FILE", "save the picture (.txt .ansi .svg) or who is where (.geojson .gpx .csv .jsonl)", func(s *screen, a string) error { return s.export(a) }, nil},
		{"mute", "DEVICE", "no more events of a device", func(s *screen, a string) error { return s.muteName(a, true) }, (*screen).deviceNames},
		{"unmute", "DEVICE", "its events again", func(s *screen, a string) error { return s.muteName(a, false) }, (*screen).deviceNames},
	}
}

// command does a line of the palette.
func (s *screen) command(line string) error {
	name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
	args = strings.TrimSpace(args)
	if name == "" {
		return nil
	}
	for _, v := range verbs() {
		if v.name == name {
			return v.do(s, args)
		}
	}
	if _, ok := s.does[name]; ok && args == "" {
		s.do(name)
		return nil
	}
	return fmt.Errorf("there is no %q; tab shows what there is", name)
}

// offered are completions for the palette.
func (s *screen) offered(before, word string) []string {
	var all []string
	if first := strings.TrimSpace(before); first == "" {
		for _, v := range verbs() {
			all = append(all, v.name)
		}
		for name := range s.does {
			all = append(all, name)
		}
		slices.Sort(all)
		all = slices.Compact(all)
	} else {
		for _, v := range verbs() {
			if v.name == first && v.offers != nil {
				all = v.offers(s)
			}
		}
	}
	return slices.DeleteFunc(all, func(o string) bool { return !strings.HasPrefix(strings.ToLower(o), strings.ToLower(word)) })
}

// mostOffered bounds completions: nobody steps through more.
const mostOffered = 200

func (s *screen) deviceNames() []string {
	var all []string
	for i := range s.frame.Points {
		if s.frame.Points[i].Alive() {
			if all = append(all, s.store.Name(int32(i))); len(all) == mostOffered {
				break
			}
		}
	}
	slices.Sort(all)
	return all
}

// deviceNamed finds a device by its name, or the only one whose name begins so.
func (s *screen) deviceNamed(name string) (int32, error) {
	found, begins := fleet.Nobody, 0
	lower := strings.ToLower(name)
	for i := range s.frame.Points {
		if !s.frame.Points[i].Alive() {
			continue
		}
		n := strings.ToLower(s.store.Name(int32(i)))
		if n == lower {
			return int32(i), nil
		}
		if strings.HasPrefix(n, lower) {
			found, begins = int32(i), begins+1
		}
	}
	switch {
	case name == "":
		return fleet.Nobody, fmt.Errorf("which device?")
	case begins == 0:
		return fleet.Nobody, fmt.Errorf("no device is called %q", canvas.Clean(name))
	case begins > 1:
		return fleet.Nobody, fmt.Errorf("%d devices begin with %q", begins, canvas.Clean(name))
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
		s.store.Events().Mute(fix.Device, mute)
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
	lower := strings.ToLower(text)
	all := slices.DeleteFunc(s.deviceNames(), func(n string) bool { return !strings.HasPrefix(strings.ToLower(n), lower) })
	for _, c := range world.Cities() {
		if len(all) >= mostOffered {
			break
		}
		if strings.HasPrefix(strings.ToLower(c.Name), lower) {
			all = append(all, c.Name)
		}
	}
	return all
}
