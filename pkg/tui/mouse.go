package tui

import (
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tty"
)

// mouse takes an event of the mouse, in cells of the screen. Only the left button and the
// wheel do anything.
func (s *screen) mouse(e tty.Event) {
	if e.Kind != tty.Wheel && e.Button != tty.Left && (e.Kind == tty.Click || e.Button != tty.NoButton) {
		return // of what is let go or moved, some terminals do not tell the button
	}
	s.dirty = true
	if s.help {
		s.mouseInHelp(e)
		return
	}
	if s.sheet.isOpen() && s.sheetMouse(e) {
		return
	}
	switch e.Kind {
	case tty.Click:
		s.press(e.X, e.Y)
	case tty.Drag:
		s.drag(e.X, e.Y)
	case tty.Release:
		s.release(e.X, e.Y)
	case tty.Wheel:
		s.wheel(e.X, e.Y, turned(e.Button))
	}
}

// turned is 1 for a wheel that is turned up, and -1 for one that is turned down.
func turned(b tty.Button) int {
	if b == tty.WheelDown {
		return -1
	}
	return 1
}

// mouseInHelp scrolls the help, or closes it with a click beside it: with any click where
// there is nothing beside it.
func (s *screen) mouseInHelp(e tty.Event) {
	s.dragging = false
	r, _ := s.helpBox(s.helpRows())
	switch {
	case e.Kind == tty.Wheel:
		s.helpTop -= 3 * turned(e.Button)
	case e.Kind == tty.Click && (!r.has(e.X, e.Y) || r.w == s.w && r.h == s.h):
		s.closeHelp()
	}
}

func (s *screen) press(x, y int) {
	s.dragging, s.dragged = s.lay.m.has(x, y), false
	s.dragX, s.dragY = x, y
	switch {
	case s.lay.eventBox.has(x, y):
		s.pressEvents(x, y)
	case s.lay.list.has(x, y):
		s.pressList(x, y)
	case y == s.lay.detail && s.sel != 0:
		s.showDetails()
	case y == s.lay.event:
		s.focus = onEvents
	}
}

// pressEvents chooses a tab in the edge of the events, or an event; one that is chosen
// already leads to its device.
func (s *screen) pressEvents(x, y int) {
	again := s.focus == onEvents
	s.focus = onEvents
	if y == s.lay.eventBox.y {
		if t, ok := tabAt(x - s.lay.eventBox.x); ok {
			s.showTab(t)
		}
		return
	}
	p, in := &s.events, s.lay.eventBox.inner()
	row := p.top + y - in.y
	if !in.has(x, y) || row >= len(p.list) {
		return
	}
	if again && p.at == row {
		s.goToEvent()
		return
	}
	p.at = row
}

// pressList sorts by a column, the other way round if it is sorted by it, or chooses a
// device; one that is chosen already is gone to.
func (s *screen) pressList(x, y int) {
	s.focus = onList
	if y == s.lay.list.y {
		if by, ok := s.headAt(x); ok {
			s.sortBy(by, by == s.list.by && !s.list.reverse)
		}
		return
	}
	rows := s.rows()
	row := s.list.top + y - s.lay.list.y - 1
	if row >= len(rows) {
		return
	}
	again := rows[row] == s.selIndex
	s.selectRow(row)
	if again {
		s.lookInto()
	}
}

func (s *screen) drag(x, y int) {
	if !s.dragging || x == s.dragX && y == s.dragY {
		return
	}
	s.take()
	s.view.Pan(float64(2*(s.dragX-x)), float64(4*(s.dragY-y)))
	s.dragX, s.dragY, s.dragged = x, y, true
}

func (s *screen) release(x, y int) {
	if s.dragging && !s.dragged && s.lay.m.has(x, y) {
		s.focus = onMap
		s.selectNear(x, y)
	}
	s.dragging = false
}

// selectNear lists the badge at a cell of the map, or selects the device nearest to it,
// within two cells.
func (s *screen) selectNear(x, y int) {
	switch hit := s.chart.At(x-s.lay.m.x, y-s.lay.m.y); {
	case hit.Count > 0:
		s.showMembers(s.chart.Members(nil, hit.Cluster))
	case hit.Device != fleet.Nobody:
		s.choose(hit.Device)
	}
}

func (s *screen) wheel(x, y, up int) {
	switch {
	case s.lay.m.has(x, y):
		dx, dy := float64(2*(x-s.lay.m.x)+1), float64(4*(y-s.lay.m.y)+2)
		if s.follow {
			dx, dy = float64(s.view.W)/2, float64(s.view.H)/2
		}
		s.zoomAt(float64(up)*zoomStep, dx, dy)
	case s.lay.list.has(x, y):
		s.list.top -= 3 * up
		s.list.clamp(max(s.lay.list.h-1, 1), len(s.rows()))
	case s.lay.eventBox.has(x, y):
		s.events.scroll(-3*up, s.lay.eventBox.inner().h)
	}
}
