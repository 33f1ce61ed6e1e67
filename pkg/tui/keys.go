package tui

import (
	"slices"

	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
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

// vertical goes down so many rows of what is looked at, or over the map.
func (s *screen) vertical(rows int, part float64) {
	leap := func(page int) int {
		if part == panLeap {
			return rows * max(page, 1)
		}
		return rows
	}
	switch {
	case s.inEvents():
		h := s.lay.eventBox.inner().h
		s.events.move(leap(h-1), h)
	case s.listFocused():
		s.moveSelection(leap(s.lay.list.h - 2))
	case s.focus == onDetails:
		s.moveSelection(leap(s.lay.detailBox.h - 2))
	default:
		s.pan(0, float64(rows)*part)
	}
}

func (s *screen) inEvents() bool { return s.focus == onEvents && !s.lay.eventBox.empty() }

func (s *screen) zoom(dz float64) { s.zoomAt(dz, float64(s.view.W)/2, float64(s.view.H)/2) }

func (s *screen) zoomAt(dz, x, y float64) {
	s.fitting = false
	if s.mask != nil {
		dz = min(dz, maskedZoom-s.view.Zoom)
	}
	s.view.ZoomAt(dz, x, y)
}

// fitAll shows every device that is meant, and goes on doing so while they move until the
// view is panned or zoomed.
func (s *screen) fitAll() {
	s.follow, s.fitting = false, true
	s.fit()
}

const (
	fitZoom  = 11 // no further in than this by itself: 80 m a dot
	goToZoom = 6
	nearZoom = 11
)

// fit shows those that the filter means. If it means nobody the view stays.
func (s *screen) fit() {
	s.places = s.places[:0]
	for i := range s.frame.Points {
		if s.fits(i) {
			s.places = append(s.places, s.roughly(s.frame.Points[i].Pos))
		}
	}
	s.view.Fit(s.places, fitZoom)
	s.fitted, s.fittedTo = len(s.places), s.flt
	s.blur()
}

// fits tells whether a point is among those that the view is fitted to.
func (s *screen) fits(i int) bool {
	p := &s.frame.Points[i]
	return p.Alive() && p.Placed() && s.frame.Marks[i].Matches()
}

// selectedPos is where the selected device may be shown.
func (s *screen) selectedPos() (pos world.Pos, ok bool) {
	if s.selIndex == fleet.Nobody || !s.frame.Points[s.selIndex].Placed() {
		return world.Pos{}, false
	}
	return s.roughly(s.frame.Points[s.selIndex].Pos), true
}

func (s *screen) centreOn(minZoom float64) {
	if pos, ok := s.selectedPos(); ok {
		s.fitting = false
		s.view.Centre = pos
		s.view.Zoom = max(s.view.Zoom, minZoom)
		s.view.Clamp()
		s.blur()
	}
}

func (s *screen) zoomToSelected() {
	if s.needSelection() {
		s.centreOn(nearZoom)
	}
}

// needSelection says so if nothing is selected.
func (s *screen) needSelection() bool {
	if s.sel == 0 {
		s.say("select a device first: " + s.keyFor("next") + " takes the next one")
	}
	return s.sel != 0
}

// goToSelected shows the selected device on the map.
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

// lookInto goes one level deeper: from an event or a row of the list to the device, on the
// map from a badge to its members, and from a device to its details.
func (s *screen) lookInto() {
	if s.inEvents() {
		s.goToEvent()
		return
	}
	if s.listFocused() && s.lay.kind != listOnly || s.focus == onDetails {
		s.goToSelected()
		return
	}
	switch crowd, device := s.looksAt(); {
	case len(crowd) > 0:
		s.showMembers(crowd)
	case s.selIndex != fleet.Nobody:
		s.showDetails()
	case device != fleet.Nobody:
		s.choose(device)
	default:
		s.selectRow(0)
	}
}

// crowded is how many devices beside each other nobody can tell apart.
const crowded = 5

// looksAt is what the map shows where the selected device is, or in its middle: a crowd of
// devices, with a badge or without room for one, and the nearest device. Those that are
// listed already are no crowd.
func (s *screen) looksAt() (crowd []int32, device int32) {
	pos, ok := s.selectedPos()
	if s.lay.m.empty() || !ok && s.selIndex != fleet.Nobody {
		return nil, fleet.Nobody
	}
	x, y := s.lay.m.w/2, s.lay.m.h/2
	if ok {
		x, y = s.cellOf(pos)
	}
	hit := s.chart.At(x, y)
	switch {
	case s.sel != 0 && slices.Contains(s.members, s.sel):
		return nil, hit.Device
	case hit.Count > 0:
		return s.chart.Members(nil, hit.Cluster), hit.Device
	}
	if ok {
		crowd = s.beside(x, y)
	}
	return crowd, hit.Device
}

// beside are the devices that are meant in a cell of the map and those left and right of
// it, if they are a crowd.
func (s *screen) beside(x, y int) (crowd []int32) {
	m := s.mapper()
	for i := range s.frame.Points {
		if !s.fits(i) {
			continue
		}
		dx, dy := m.Cell(s.roughly(s.frame.Points[i].Pos))
		if off := int(dx>>1) - x; int(dy>>2) == y && off >= -1 && off <= 1 {
			crowd = append(crowd, int32(i))
		}
	}
	if len(crowd) < crowded {
		return nil
	}
	return crowd
}

// cellOf is the cell of the map that a place shows in.
func (s *screen) cellOf(pos world.Pos) (x, y int) {
	m := s.mapper()
	dx, dy := m.Cell(pos)
	return int(dx >> 1), int(dy >> 2)
}

// mapper puts places on the map as the chart does.
func (s *screen) mapper() world.Mapper {
	v := s.view
	v.Snap()
	return v.Mapper()
}

// showDetails shows all that is known of the selected device: in the pane if there is
// one, else instead of the map. Where they are shown already the map goes to the device.
func (s *screen) showDetails() {
	switch {
	case s.lay.kind != panes:
		s.focus = onDetails
	case !s.details:
		s.details, s.opened = true, true
	default:
		s.centreOn(goToZoom)
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

// togglePause lets the picture stand, or go on. What stands is a copy, so that all of it
// is of one moment, whatever is asked of it.
func (s *screen) togglePause() {
	if s.held != nil {
		s.held = nil
		return
	}
	s.held = s.live.Still()
}

func (s *screen) sortBy(by fleet.Column, reverse bool) {
	s.list.by, s.list.reverse, s.list.top = by, reverse, 0
	s.group()
	if s.lay.kind != panes {
		s.say("the list is sorted " + s.list.sorted())
	}
}

// rows are the devices that the list shows, in its order: all, those that are meant, or
// the members of a cluster.
func (s *screen) rows() []int32 {
	if s.members != nil {
		return s.grouped
	}
	s.order.Ask(s.list.by, s.list.reverse, &s.frame)
	return s.order.Rows()
}

// rowOf is where a point stands in the list, -1 if it does not.
func (s *screen) rowOf(point int32) int {
	if s.members != nil {
		return slices.Index(s.grouped, point)
	}
	return s.order.Row(point)
}

// showMembers lists the devices of a badge.
func (s *screen) showMembers(crowd []int32) {
	s.members = make([]track.DeviceID, 0, len(crowd))
	for _, i := range crowd {
		if id, ok := s.frame.Device(i); ok {
			s.members = append(s.members, id)
		}
	}
	s.list.top = 0
	s.focus = onList
	s.group()
	s.say(s.listTitle(len(s.grouped)) + "; " + s.keyFor("back") + " goes back")
}

// group finds the members of a cluster that are still there, in the order of the list.
func (s *screen) group() {
	if s.members == nil {
		return
	}
	s.order.Ask(s.list.by, s.list.reverse, &s.frame)
	s.groupedAt, s.grouped = s.frame.At/1000, s.grouped[:0]
	for _, id := range s.members {
		if i := s.store.Find(id); s.order.Row(i) >= 0 {
			s.grouped = append(s.grouped, i)
		}
	}
	slices.SortFunc(s.grouped, func(a, b int32) int { return s.order.Row(a) - s.order.Row(b) })
}

// regroup does so once a second, and when there is another order.
func (s *screen) regroup() {
	if s.order.Ready() || s.groupedAt != s.frame.At/1000 {
		s.group()
	}
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

// nextMatch selects the next device of the list, after the last one the first, and brings
// it into sight.
func (s *screen) nextMatch(by int) {
	rows := s.rows()
	if len(rows) == 0 {
		s.say(s.empty())
		return
	}
	row := s.rowOf(s.selIndex) + by
	if row < 0 && by > 0 {
		row = 0
	}
	s.selectRow(((row % len(rows)) + len(rows)) % len(rows))
	s.reveal()
}

// reveal moves the map to the selected device if that is out of sight.
func (s *screen) reveal() {
	pos, ok := s.selectedPos()
	if !ok || s.lay.m.empty() || s.follow {
		return
	}
	if x, y := s.cellOf(pos); !(rect{w: s.lay.m.w, h: s.lay.m.h}).has(x, y) {
		s.centreOn(s.view.Zoom)
	}
}

// toEnd goes to the first or the last row of what is looked at.
func (s *screen) toEnd(last bool) {
	row := 0
	if last {
		row = max(len(s.rows()), len(s.events.list))
	}
	if s.inEvents() {
		s.events.move(row-s.events.at, s.lay.eventBox.inner().h)
		return
	}
	s.selectRow(row)
}

// askPlace asks where to go; in a list it is the way to its top.
func (s *screen) askPlace() {
	if s.listFocused() || s.inEvents() {
		s.toEnd(false)
		return
	}
	s.ask(forPlace, "")
}

// choose selects the device of a point.
func (s *screen) choose(point int32) {
	if id, ok := s.frame.Device(point); ok {
		s.sel, s.selIndex = id, point
	}
}

// back undoes one thing at a time.
func (s *screen) back() {
	switch {
	case s.focus == onDetails && s.members != nil:
		s.focus = onList
	case s.focus == onDetails:
		s.focus = onMap
	case s.members != nil:
		s.members, s.list.top, s.focus = nil, 0, onMap
	case s.lay.kind == compact && s.focus != onMap, s.lay.kind == listOnly && s.focus == onEvents:
		s.focus = onMap
	case s.opened && s.details:
		s.details, s.opened = false, false
	case s.follow:
		s.follow = false
	case s.sel != 0:
		s.sel, s.selIndex = 0, fleet.Nobody
	case s.flt != nil:
		_ = s.setFilter("") // nothing can be wrong with it
	}
}
