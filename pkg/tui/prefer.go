package tui

import (
	"slices"

	"tracker/pkg/tui/chart"
	"tracker/pkg/tui/look"
)

// prefer takes over what people set.
func (s *screen) prefer() {
	for c := range look.Colours {
		if c.String() == s.conf.Colour {
			s.colour = c
		}
	}
	for t := range chart.TrailModes {
		if t.String() == s.conf.Trails {
			s.trails = t
		}
	}
	s.most = panes
	if i := slices.Index([]string{"panes", "compact", "list"}, s.conf.Layout); i >= 0 {
		s.most = layoutKind(i)
	}
}
