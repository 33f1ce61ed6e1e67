package tui

import (
	"math"

	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/world"
)

// maskedZoom is as far in as the map goes under a mask: a tenth of a degree is 18 columns
// wide there. Further in the map would show streets to which no place belongs.
const maskedZoom = 9

// toggleMask hides names and exact places, for a screen that strangers see. Where the map
// is may be where somebody was, and how far in may be how far they were apart: so that is
// made as rough as other places.
func (s *screen) toggleMask() {
	if s.mask != nil {
		s.mask = nil
		s.say("names and places are shown")
		return
	}
	s.mask = fleet.NewMask()
	s.view.Centre = s.roughly(s.view.Centre)
	s.view.Zoom = math.Round(s.view.Zoom/zoomStep) * zoomStep
	s.view.Clamp()
	if s.fitting {
		s.fit()
	}
	s.blur()
	s.say("names are hidden, places are to a tenth of a degree")
}

// roughly is where to show a place: under a mask the nearest tenth of a degree.
func (s *screen) roughly(p world.Pos) world.Pos {
	if s.mask == nil {
		return p
	}
	return world.Project(s.mask.Round(p.Point()))
}

// blur keeps the map from going too far in under a mask.
func (s *screen) blur() {
	if s.mask != nil && s.view.Zoom > maskedZoom {
		s.view.Zoom = maskedZoom
		s.view.Clamp()
	}
}
