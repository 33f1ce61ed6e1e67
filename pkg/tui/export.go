package tui

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

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

// export saves the picture, or who is where, as the name of the file says; of a selected
// device its trail, in formats that have trails.
func (s *screen) export(text string) error {
	name, over := snap.Asked(text)
	if name == "" {
		return errors.New("a name of a file is wanted, such as map.svg, fleet.geojson or trail.gpx")
	}
	shot := snap.Shot{
		Canvas: s.picture(), Theme: s.colours, Frame: &s.frame, Store: s.store, Mask: s.mask,
		Which: func(i int32) bool { return s.frame.Marks[i].Matches() },
	}
	what := ""
	if _, called, _, ok := s.selected(); ok && slices.Contains(snap.Trails, snap.Format(name)) {
		shot.Trail, what = s.sel, ", the trail of "+called
	}
	if err := shot.Save(s.atHome(name), over); err != nil {
		return errors.New(canvas.Clean(err.Error()))
	}
	s.say("saved " + canvas.Clean(name) + what)
	return nil
}

// atHome is a file whose name begins with ~/, as a shell would find it.
func (s *screen) atHome(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok && s.getenv("HOME") != "" {
		return filepath.Join(s.getenv("HOME"), rest)
	}
	return name
}
