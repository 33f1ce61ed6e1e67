package tui

import (
	"errors"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/snap"
)

// askFile asks where the picture goes.
func (s *screen) askFile() { s.ask(forFile, snap.Name(s.store.Now(), "svg")) }

// picture is what is on the screen, without the line in which somebody types.
func (s *screen) picture() *canvas.Canvas {
	typing := s.prompt.purpose
	s.prompt.close()
	s.Draw(s.store.Now())
	s.prompt.purpose, s.dirty = typing, true
	return &s.c
}

// export saves the picture, or who is where, as the name of the file says.
func (s *screen) export(text string) error {
	name, over := snap.Asked(text)
	if name == "" {
		return errors.New("a name of a file is wanted, such as map.svg, fleet.geojson or trail.gpx")
	}
	shot := snap.Shot{
		Canvas: s.picture(), Theme: s.colours, Frame: &s.frame, Store: s.store, Mask: s.mask, Trail: s.sel,
		Which: func(i int32) bool { return s.frame.Marks[i].Matches() },
	}
	if err := shot.Save(name, over); err != nil {
		return errors.New(canvas.Clean(err.Error()))
	}
	s.say("saved " + canvas.Clean(name))
	return nil
}
