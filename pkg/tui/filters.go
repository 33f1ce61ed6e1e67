package tui

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/look"
)

// errRegistry says of a filter that the map does not know what it is about.
var errRegistry = errors.New("status and alarm are not on the map; device list --filter knows them")

// parseFilter reads a filter of devices on the map. @NAME stands for one that has a name.
func parseFilter(text string, named map[string]string) (*filter.Filter, error) {
	flt, err := conf.ParseFilter(text, named)
	if err == nil && flt.Uses()&filter.Registry != 0 {
		return nil, errRegistry
	}
	return flt, err
}

// setFilter changes who is meant.
func (s *screen) setFilter(text string) error {
	flt, err := parseFilter(text, s.named)
	if err != nil {
		return err
	}
	if s.flt, s.wanted = flt, text; strings.TrimSpace(text) == "" {
		s.flt = nil
	}
	s.members, s.list.top = nil, 0
	return nil
}

// filterText is the filter that holds, as it was typed. Under the mask it is not told: names
// may be in it.
func (s *screen) filterText() string {
	if s.masked() {
		return "a filter"
	}
	return canvas.Clean(s.wanted)
}

// saveFilter keeps the filter that holds under a name, until the map ends, and tells how it
// is kept for longer.
func (s *screen) saveFilter(name string) error {
	name = strings.TrimPrefix(name, "@")
	if s.flt == nil {
		return fmt.Errorf("there is no filter to save; %s makes one", s.keyFor("filter"))
	}
	if err := conf.CheckName(name); err != nil {
		return err
	}
	_, had := s.named[name]
	s.named = maps.Clone(s.named)
	if s.named == nil {
		s.named = map[string]string{}
	}
	s.named[name] = s.flt.String() // what it stands for, were it made of other names
	verb := "is"
	if had {
		verb = "is now"
	}
	said := []line{
		{"@" + name + " " + verb + " this filter, until the map ends. To keep it, put into map.toml:", look.Text},
		{"", look.Text},
		{"[filters]", look.Bright},
		{cleanLine(conf.FilterLine(name, s.named[name])), look.Bright},
	}
	s.sheet.put(sheet{title: "save " + name, lines: said})
	return nil
}

// namesLike are the names of filters that begin so.
func (s *screen) namesLike(typed string) []string {
	return thatBegin(slices.Sorted(maps.Keys(s.named)), typed)
}

// filtersLike is what a filter that is being typed may go on as.
func (s *screen) filtersLike(typed string) []string {
	word := strings.TrimLeft(typed[strings.LastIndexAny(typed, " (|")+1:], "!")
	before := typed[:len(typed)-len(word)]
	var all []string
	if strings.Count(before, `"`)%2 == 0 {
		for _, name := range slices.Sorted(maps.Keys(s.named)) {
			if begins("@"+name, word) {
				all = append(all, before+"@"+name)
			}
		}
	}
	if strings.HasPrefix(word, "@") {
		return all
	}
	return append(all, filter.Complete(typed)...)
}
