package tui

import (
	"slices"

	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/world"
)

// pan moves the view by parts of its size. Whoever pans takes the wheel: the view no
// longer fits or follows by itself.
func (s *screen) pan(dx, dy float64) {
	if s.lay.m.empty() {
		return
	}
	s.take()
	s.view.Pan(dx*float64(s.view.W), dy*float64(s.view.H))
}

func (s *screen) take() { s.fitting, s.follow = false, false }

func (s *screen) vertical(rows int, part float64) {
	if s.focus == onEvents && !s.lay.eventBox.empty() {
		if part == panLeap {
			rows *= max(s.lay.eventBox.inner().h-1, 1)
		}
		s.events.move(rows, s.lay.eventBox.inner().h)
		return
	}
	if !s.listFocused() {
		s.pan(0, float64(rows)*part)
		return
	}
	if part == panLeap {
		rows *= max(s.lay.list.h-2, 1)
	}
	s.moveSelection(rows)
}

func (s *screen) zoom(dz float64) {
	s.fitting, s.members = false, nil // a cluster is one of its zoom
	s.view.ZoomAt(dz, float64(s.view.W)/2, float64(s.view.H)/2)
}

// fitAll shows every device, and goes on doing so while they move until the view is
// panned or zoomed.
func (s *screen) fitAll() {
	s.follow, s.fitting = false, true
	s.fit()
}

const (
	fitZoom  = 11 // no further in than this by itself: 80 m a dot
	goToZoom = 6
	nearZoom = 11
)

func (s *screen) fit() {
	s.places = s.places[:0]
	for i := range s.frame.Points {
		if p := &s.frame.Points[i]; p.Alive() && p.Placed() {
			s.places = append(s.places, p.Pos)
		}
	}
	s.view.Fit(s.places, fitZoom)
	s.fitted = len(s.places)
}

func (s *screen) selectedPos() (pos world.Pos, ok bool) {
	if s.selIndex == fleet.Nobody || !s.frame.Points[s.selIndex].Placed() {
		return world.Pos{}, false
	}
	return s.frame.Points[s.selIndex].Pos, true
}

func (s *screen) centreOn(minZoom float64) {
	if pos, ok := s.selectedPos(); ok {
		s.fitting = false
		s.view.Centre = pos
		s.view.Zoom = max(s.view.Zoom, minZoom)
		s.view.Clamp()
	}
}

func (s *screen) zoomToSelected() { s.centreOn(nearZoom) }

func (s *screen) goToSelected() {
	if s.sel == 0 {
		s.selectRow(0)
		return
	}
	s.centreOn(goToZoom)
	if s.lay.kind == compact {
		s.focus = onMap
	}
}

func (s *screen) toggleFollow() {
	if s.sel == 0 {
		s.selectRow(0)
	}
	s.follow = !s.follow && s.sel != 0
	if s.follow {
		s.fitting = false
	}
}

func (s *screen) togglePause() {
	s.paused = !s.paused
	s.pausedAt = s.store.Status().Fixes
}

func (s *screen) sortBy(by fleet.Column, reverse bool) {
	s.list.by, s.list.reverse, s.list.top = by, reverse, 0
}

// rows are the devices that the list shows, in its order: all, those that are meant, or
// the members of a cluster.
func (s *screen) rows() []int32 {
	if s.members != nil {
		return s.members
	}
	s.order.Ask(s.list.by, s.list.reverse, &s.frame)
	return s.order.Rows()
}

// rowOf is where a point stands in the list, -1 if it does not.
func (s *screen) rowOf(point int32) int {
	if s.members != nil {
		return slices.Index(s.members, point)
	}
	return s.order.Row(point)
}

func (s *screen) selectRow(row int) {
	rows := s.rows()
	if len(rows) == 0 {
		return
	}
	row = min(max(row, 0), len(rows)-1)
	s.choose(rows[row])
	s.list.show(row, max(s.lay.list.h-1, 1), len(rows))
}

func (s *screen) moveSelection(by int) {
	n := len(s.rows())
	row := s.rowOf(s.selIndex)
	if row < 0 && by < 0 {
		row = n
	}
	s.selectRow(row + by)
}

// choose selects the device of a point.
func (s *screen) choose(point int32) {
	if fix, _, ok := s.store.Info(point); ok {
		s.sel, s.selIndex = fix.Device, point
	}
}

// back undoes one thing at a time.
func (s *screen) back() {
	switch {
	case s.members != nil:
		s.members, s.list.top = nil, 0
	case s.focus != onMap && s.lay.kind == compact:
		s.focus = onMap
	case s.follow:
		s.follow = false
	case s.sel != 0:
		s.sel, s.selIndex = 0, fleet.Nobody
	case s.flt != nil:
		_ = s.setFilter("") // nothing can be wrong with it
	}
}

// mouse takes an event of the mouse, in cells of the screen.
func (s *screen) mouse(e tty.Event) {
	s.dirty = true
	if s.help {
		s.help = e.Kind != tty.Click
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
		up := 1
		if e.Button == tty.WheelDown {
			up = -1
		}
		s.wheel(e.X, e.Y, up)
	}
}

func (s *screen) press(x, y int) {
	s.dragging, s.dragged = s.lay.m.has(x, y), false
	s.dragX, s.dragY = x, y
	if in := s.lay.eventBox.inner(); in.has(x, y) {
		s.focus = onEvents
		s.events.at = min(s.events.top+y-in.y, max(len(s.events.list)-1, 0))
		return
	}
	if !s.lay.list.has(x, y) {
		return
	}
	s.focus = onList
	rows := s.rows()
	if row := s.list.top + y - s.lay.list.y - 1; y > s.lay.list.y && row < len(rows) {
		again := rows[row] == s.selIndex
		s.selectRow(row)
		if again {
			s.goToSelected()
		}
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
	if s.dragging && !s.dragged {
		s.selectNear(x, y)
		s.focus = onMap
	}
	s.dragging = false
}

// selectNear selects the device nearest to a cell of the map, within two cells.
func (s *screen) selectNear(x, y int) {
	switch hit := s.chart.At(x-s.lay.m.x, y-s.lay.m.y); {
	case hit.Count > 0:
		s.showMembers(hit)
	case hit.Device != fleet.Nobody:
		s.choose(hit.Device)
	}
}

func (s *screen) wheel(x, y, up int) {
	switch {
	case s.lay.m.has(x, y):
		s.fitting = false
		dx, dy := float64(2*(x-s.lay.m.x)+1), float64(4*(y-s.lay.m.y)+2)
		if s.follow {
			dx, dy = float64(s.view.W)/2, float64(s.view.H)/2
		}
		s.view.ZoomAt(float64(up)*zoomStep, dx, dy)
	case s.lay.list.has(x, y):
		s.list.top -= 3 * up
		s.list.clamp(max(s.lay.list.h-1, 1), len(s.rows()))
	case s.lay.eventBox.has(x, y):
		s.events.top = max(min(s.events.top-3*up, len(s.events.list)-s.lay.eventBox.inner().h), 0)
	}
}
