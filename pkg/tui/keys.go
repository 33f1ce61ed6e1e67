package tui

import (
	"slices"

	"tracker/pkg/tui/world"
)

// binding is one row of the table that keys, the help overlay and the hint line are
// made from.
type binding struct {
	keys  []string // as the terminal names them
	shown string   // in the help; bindings without it are told by the next one
	help  string
	hint  string // one word for the line at the bottom, if it belongs there
	rank  int    // the higher the sooner the hint makes room
	do    func(*screen)
}

const (
	panStep  = 1.0 / 8
	panLeap  = 1.0 / 2
	zoomStep = 0.5
)

var bindings []binding

func init() { // not a literal, because the help that it draws refers to it
	bindings = []binding{
		{[]string{"h", "left"}, "", "", "", 0, func(s *screen) { s.pan(-panStep, 0) }},
		{[]string{"j", "down"}, "", "", "", 0, func(s *screen) { s.vertical(1, panStep) }},
		{[]string{"k", "up"}, "", "", "", 0, func(s *screen) { s.vertical(-1, panStep) }},
		{[]string{"l", "right"}, "hjkl ←↓↑→", "pan; in the list: select", "pan", 1, func(s *screen) { s.pan(panStep, 0) }},
		{[]string{"H", "shift+left"}, "", "", "", 0, func(s *screen) { s.pan(-panLeap, 0) }},
		{[]string{"J", "shift+down", "pgdown"}, "", "", "", 0, func(s *screen) { s.vertical(1, panLeap) }},
		{[]string{"K", "shift+up", "pgup"}, "", "", "", 0, func(s *screen) { s.vertical(-1, panLeap) }},
		{[]string{"L", "shift+right"}, "HJKL", "pan half a screen; in the list: a page", "", 0, func(s *screen) { s.pan(panLeap, 0) }},
		{[]string{"+", "="}, "", "", "", 0, func(s *screen) { s.zoom(zoomStep) }},
		{[]string{"-", "_"}, "+/-", "zoom in, zoom out", "zoom", 2, func(s *screen) { s.zoom(-zoomStep) }},
		{[]string{"0"}, "0", "fit all devices", "fit", 5, func(s *screen) { s.fitAll() }},
		{[]string{"z"}, "z", "zoom to the selected device", "", 0, func(s *screen) { s.zoomToSelected() }},
		{[]string{"f"}, "f", "follow the selected device", "follow", 3, func(s *screen) { s.toggleFollow() }},
		{[]string{"t"}, "t", "trails: selected, all, off", "trails", 6, func(s *screen) { s.trails = (s.trails + 1) % trailModes }},
		{[]string{"tab", "shift+tab"}, "tab", "map or list", "list", 4, func(s *screen) { s.toggleFocus() }},
		{[]string{"n"}, "", "", "", 0, func(s *screen) { s.moveSelection(1) }},
		{[]string{"N"}, "n/N", "next device, device before", "", 0, func(s *screen) { s.moveSelection(-1) }},
		{[]string{"g", "home"}, "", "", "", 0, func(s *screen) { s.selectRow(0) }},
		{[]string{"G", "end"}, "g/G", "first device, last device", "", 0, func(s *screen) { s.selectRow(len(s.list.rows) - 1) }},
		{[]string{"s"}, "", "", "", 0, func(s *screen) { s.sortBy((s.list.by+1)%orders, false) }},
		{[]string{"S"}, "s/S", "sort the list by the next column, reverse", "", 0, func(s *screen) { s.sortBy(s.list.by, !s.list.reverse) }},
		{[]string{"enter"}, "enter", "go to the selected device", "", 0, func(s *screen) { s.goToSelected() }},
		{[]string{"esc"}, "esc", "back: help, list, follow, selection", "", 0, func(s *screen) { s.back() }},
		{[]string{"space"}, "space", "pause the picture, not the feed", "pause", 7, func(s *screen) { s.togglePause() }},
		{[]string{"b"}, "b", "borders on or off", "", 0, func(s *screen) { s.borders = !s.borders }},
		{[]string{"m"}, "m", "leave the mouse to the terminal, to select text", "", 0, func(s *screen) { s.noMouse = !s.noMouse }},
		{[]string{"ctrl+l"}, "ctrl+l", "draw everything again", "", 0, func(s *screen) { s.redraw = true }},
		{[]string{"ctrl+z"}, "ctrl+z", "back to the shell for a while", "", 0, func(s *screen) { s.suspend = true }},
		{[]string{"?"}, "?", "this help", "help", 0, func(s *screen) { s.help = true }},
		{[]string{"q", "ctrl+c"}, "q", "quit", "quit", 0, func(s *screen) { s.quit = true }},
	}
}

// key does what a key is bound to, and nothing if it is not. While the help is open
// any key but those that quit only closes it.
func (s *screen) key(name string) {
	i := slices.IndexFunc(bindings, func(b binding) bool { return slices.Contains(b.keys, name) })
	quits := name == "q" || name == "ctrl+c"
	switch {
	case s.help && !quits:
		s.help, s.dirty = false, true
	case i >= 0:
		s.dirty = true
		bindings[i].do(s)
	}
}

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
	s.fitting = false
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
	for i := range s.points {
		if p := &s.points[i]; p.alive && p.placed() {
			s.places = append(s.places, p.pos)
		}
	}
	s.view.Fit(s.places, fitZoom)
	s.fitted = len(s.places)
}

func (s *screen) selectedPos() (pos world.Pos, ok bool) {
	if s.selIndex == nobody || !s.points[s.selIndex].placed() {
		return world.Pos{}, false
	}
	return s.points[s.selIndex].pos, true
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

func (s *screen) toggleFocus() {
	if s.focus == onMap {
		s.focus = onList
	} else {
		s.focus = onMap
	}
	s.list.dirty = true
}

func (s *screen) togglePause() {
	s.paused = !s.paused
	s.pausedAt = s.store.status().fixes
}

func (s *screen) sortBy(by order, reverse bool) {
	s.list.by, s.list.reverse, s.list.dirty = by, reverse, true
	s.list.top = 0
}

func (s *screen) selectRow(row int) {
	s.renewList()
	if len(s.list.rows) == 0 {
		return
	}
	row = min(max(row, 0), len(s.list.rows)-1)
	s.choose(s.list.rows[row])
	s.list.show(row, max(s.lay.list.h-1, 1))
}

func (s *screen) moveSelection(by int) {
	s.renewList()
	row := s.list.row(s.selIndex)
	if row < 0 && by < 0 {
		row = len(s.list.rows)
	}
	s.selectRow(row + by)
}

// choose selects the device of a point.
func (s *screen) choose(point int32) {
	if fix, _, ok := s.store.info(point); ok {
		s.sel, s.selIndex = fix.Device, point
	}
}

// back undoes one thing at a time.
func (s *screen) back() {
	switch {
	case s.focus == onList && s.lay.kind == compact:
		s.focus = onMap
	case s.follow:
		s.follow = false
	default:
		s.sel, s.selIndex = 0, nobody
	}
}

// mouse events, in cells of the screen.
type mouseKind uint8

const (
	mousePress mouseKind = iota
	mouseDrag
	mouseRelease
	mouseWheelUp
	mouseWheelDown
)

func (s *screen) mouse(kind mouseKind, x, y int) {
	s.dirty = true
	if s.help {
		s.help = kind != mousePress
		return
	}
	switch kind {
	case mousePress:
		s.press(x, y)
	case mouseDrag:
		s.drag(x, y)
	case mouseRelease:
		s.release(x, y)
	case mouseWheelUp:
		s.wheel(x, y, 1)
	case mouseWheelDown:
		s.wheel(x, y, -1)
	}
}

func (s *screen) press(x, y int) {
	s.dragging, s.dragged = s.lay.m.has(x, y), false
	s.dragX, s.dragY = x, y
	if !s.lay.list.has(x, y) {
		return
	}
	s.focus = onList
	if row := s.list.top + y - s.lay.list.y - 1; y > s.lay.list.y && row < len(s.list.rows) {
		again := s.list.rows[row] == s.selIndex
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
	cx, cy := float64(2*(x-s.lay.m.x)+1), float64(4*(y-s.lay.m.y)+2)
	m := s.view.Mapper()
	best, at := 6.0*6.0, nobody
	for i := range s.points {
		p := &s.points[i]
		if !p.alive || !p.placed() {
			continue
		}
		dx, dy := m.Dot(p.pos)
		if d := (dx-cx)*(dx-cx) + (dy-cy)*(dy-cy); d < best {
			best, at = d, int32(i)
		}
	}
	if at != nobody {
		s.choose(at)
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
		s.list.clamp(max(s.lay.list.h-1, 1))
	}
}
