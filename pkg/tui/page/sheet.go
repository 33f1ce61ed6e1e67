package page

import (
	"time"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/tty"
)

// sheet is what all pages have: a canvas as large as the terminal, and when it was drawn.
type sheet struct {
	face Face

	c      canvas.Canvas
	w, h   int
	dirty  bool
	redraw bool
	second int64 // of the last frame
}

// Resize makes the page as large as its terminal.
func (s *sheet) Resize(w, h int) {
	s.w, s.h = max(w, 0), max(h, 0)
	s.dirty = true
}

// handle takes what a person did, and gives keys on that do not mean every page.
func (s *sheet) handle(e tty.Event, key func(name string)) {
	switch {
	case e.Kind == tty.Press && e.Key != "ctrl+l":
		key(e.Key)
	case e.Kind == tty.Press, e.Kind == tty.Resumed:
		s.redraw = true
	case e.Kind == tty.Focus:
		s.dirty = true
	}
}

// aged tells whether the last frame is not the one of now, whatever it showed.
func (s *sheet) aged(now time.Time) bool { return s.dirty || now.Unix() != s.second }

// begin makes an empty frame.
func (s *sheet) begin(now time.Time) {
	s.dirty, s.second = false, now.Unix()
	s.c.Resize(s.w, s.h)
}

// redraws tells once that the terminal has to be drawn anew.
func (s *sheet) redraws() bool {
	was := s.redraw
	s.redraw = false
	return was
}
