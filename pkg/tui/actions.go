package tui

import (
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/fleet"
)

// action is something that the map can be told to do, and how it does it.
type action struct {
	conf.Action
	do func(*screen)
}

const (
	panStep  = 1.0 / 8
	panLeap  = 1.0 / 2
	zoomStep = 0.5
)

// actions is the table that keys, the help and the hint line are made from.
func actions() []action {
	return []action{
		{conf.Action{Name: "pan-left", Default: []string{"h", "left"}}, func(s *screen) { s.pan(-panStep, 0) }},
		{conf.Action{Name: "pan-down", Default: []string{"j", "down"}}, func(s *screen) { s.vertical(1, panStep) }},
		{conf.Action{Name: "pan-up", Default: []string{"k", "up"}}, func(s *screen) { s.vertical(-1, panStep) }},
		{conf.Action{Name: "pan-right", Default: []string{"l", "right"}, Help: "pan; in a list: select", Hint: "pan", Rank: 1}, func(s *screen) { s.pan(panStep, 0) }},
		{conf.Action{Name: "pan-left-half", Default: []string{"H", "shift+left"}}, func(s *screen) { s.pan(-panLeap, 0) }},
		{conf.Action{Name: "pan-down-half", Default: []string{"J", "shift+down", "pgdown"}}, func(s *screen) { s.vertical(1, panLeap) }},
		{conf.Action{Name: "pan-up-half", Default: []string{"K", "shift+up", "pgup"}}, func(s *screen) { s.vertical(-1, panLeap) }},
		{conf.Action{Name: "pan-right-half", Default: []string{"L", "shift+right"}, Help: "pan half a screen; in a list: a page"}, func(s *screen) { s.pan(panLeap, 0) }},
		{conf.Action{Name: "zoom-in", Default: []string{"+", "="}}, func(s *screen) { s.zoom(zoomStep) }},
		{conf.Action{Name: "zoom-out", Default: []string{"-", "_"}, Help: "zoom in, zoom out", Hint: "zoom", Rank: 2}, func(s *screen) { s.zoom(-zoomStep) }},
		{conf.Action{Name: "fit", Default: []string{"0"}, Help: "fit all devices that are meant", Hint: "fit", Rank: 5}, func(s *screen) { s.fitAll() }},
		{conf.Action{Name: "zoom-selected", Default: []string{"z"}, Help: "zoom to the selected device"}, func(s *screen) { s.zoomToSelected() }},
		{conf.Action{Name: "follow", Default: []string{"f"}, Help: "follow the selected device", Hint: "follow", Rank: 3}, func(s *screen) { s.toggleFollow() }},
		{conf.Action{Name: "trails", Default: []string{"t"}, Help: "trails: selected, all, off", Hint: "trails", Rank: 6}, func(s *screen) { s.nextTrails() }},
		{conf.Action{Name: "focus", Default: []string{"tab"}}, func(s *screen) { s.nextFocus(1) }},
		{conf.Action{Name: "focus-back", Default: []string{"shift+tab"}, Help: "map, list, events; the other way round", Hint: "list", Rank: 4}, func(s *screen) { s.nextFocus(-1) }},
		{conf.Action{Name: "filter", Default: []string{"/"}, Help: "show only who matches", Hint: "filter", Rank: 3}, func(s *screen) { s.ask(forFilter, s.wanted) }},
		{conf.Action{Name: "command", Default: []string{":", "ctrl+p"}, Help: "everything else, by its name", Hint: "cmd", Rank: 6}, func(s *screen) { s.ask(forCommand, "") }},
		{conf.Action{Name: "goto", Default: []string{"g"}, Help: "go to a device, a city or LAT,LON; in a list: to its top"}, func(s *screen) { s.askPlace() }},
		{conf.Action{Name: "colour", Default: []string{"c"}, Help: "colours tell of state, age, speed, battery", Hint: "colour", Rank: 7}, func(s *screen) { s.nextColour() }},
		{conf.Action{Name: "events", Default: []string{"e"}}, func(s *screen) { s.toggleEvents() }},
		{conf.Action{Name: "details", Default: []string{"d"}, Help: "show or hide the events, the details"}, func(s *screen) { s.toggleDetails() }},
		{conf.Action{Name: "events-all", Default: []string{"1"}}, func(s *screen) { s.showTab(allEvents) }},
		{conf.Action{Name: "events-alerts", Default: []string{"2"}}, func(s *screen) { s.showTab(alertEvents) }},
		{conf.Action{Name: "events-devices", Default: []string{"3"}}, func(s *screen) { s.showTab(deviceEvents) }},
		{conf.Action{Name: "events-link", Default: []string{"4"}, Help: "events: all, alerts, of devices, of the link"}, func(s *screen) { s.showTab(linkEvents) }},
		{conf.Action{Name: "ack", Default: []string{"a"}}, func(s *screen) { s.ack() }},
		{conf.Action{Name: "ack-all", Default: []string{"A"}, Help: "an event was seen, or all of them"}, func(s *screen) { s.ackAll() }},
		{conf.Action{Name: "mute", Default: []string{"M"}, Help: "no more events of a device, or again"}, func(s *screen) { s.muteSelected() }},
		{conf.Action{Name: "copy", Default: []string{"y"}, Help: "copy the place of the device, or of the middle"}, func(s *screen) { s.copyPlace() }},
		{conf.Action{Name: "open", Default: []string{"o"}, Help: "the address of a page about the place"}, func(s *screen) { s.openPlace() }},
		{conf.Action{Name: "export", Default: []string{"x"}, Help: "save the picture, or who is where"}, func(s *screen) { s.askFile() }},
		{conf.Action{Name: "mask", Default: []string{"p"}, Help: "hide names and exact places"}, func(s *screen) { s.toggleMask() }},
		{conf.Action{Name: "next", Default: []string{"n"}}, func(s *screen) { s.nextMatch(1) }},
		{conf.Action{Name: "prev", Default: []string{"N"}, Help: "next device that is meant, the one before"}, func(s *screen) { s.nextMatch(-1) }},
		{conf.Action{Name: "top", Default: []string{"home"}}, func(s *screen) { s.toEnd(false) }},
		{conf.Action{Name: "bottom", Default: []string{"G", "end"}, Help: "first row of a list, last row"}, func(s *screen) { s.toEnd(true) }},
		{conf.Action{Name: "sort", Default: []string{"s"}}, func(s *screen) { s.sortBy((s.list.by+1)%fleet.Columns, false) }},
		{conf.Action{Name: "reverse", Default: []string{"S"}, Help: "sort the list by the next column, reverse"}, func(s *screen) { s.sortBy(s.list.by, !s.list.reverse) }},
		{conf.Action{Name: "enter", Default: []string{"enter"}, Help: "details of a device, members of a badge; in a list: go there"}, func(s *screen) { s.lookInto() }},
		{conf.Action{Name: "back", Default: []string{"esc"}, Help: "back: help, details, members, list, follow, selection, filter"}, func(s *screen) { s.back() }},
		{conf.Action{Name: "pause", Default: []string{"space"}, Help: "pause the picture, not the feed; the past: run, hold", Hint: "pause", Rank: 7}, func(s *screen) { s.hold() }},
		{conf.Action{Name: "back-step", Default: []string{"["}}, func(s *screen) { s.stepTime(-1) }},
		{conf.Action{Name: "step", Default: []string{"]"}, Help: "a step back in time, a step on", Hint: "time", Rank: 7}, func(s *screen) { s.stepTime(1) }},
		{conf.Action{Name: "back-leap", Default: []string{"{"}}, func(s *screen) { s.stepTime(-leap) }},
		{conf.Action{Name: "leap", Default: []string{"}"}, Help: "ten steps back, ten steps on"}, func(s *screen) { s.stepTime(leap) }},
		{conf.Action{Name: "live", Default: []string{"."}, Help: "back to the present"}, func(s *screen) { s.goLive() }},
		{conf.Action{Name: "base", Default: []string{"b"}, Help: "leave out land, borders, cities, graticule, one by one"}, func(s *screen) { s.nextBase() }},
		{conf.Action{Name: "mouse", Default: []string{"m"}, Help: "leave the mouse to the terminal, to select text"}, func(s *screen) { s.toggleMouse() }},
		{conf.Action{Name: "retry", Default: []string{"r"}}, func(s *screen) { s.retry() }},
		{conf.Action{Name: "redraw", Default: []string{"ctrl+l"}, Help: "connect again, draw everything again"}, func(s *screen) { s.redraw = true }},
		{conf.Action{Name: "suspend", Default: []string{"ctrl+z"}, Help: "back to the shell for a while"}, func(s *screen) { s.suspend = true }},
		{conf.Action{Name: "help", Default: []string{"?"}, Help: "this help", Hint: "help"}, func(s *screen) { s.help = true }},
		{conf.Action{Name: "quit", Default: []string{"q", "ctrl+c"}, Help: "quit", Hint: "quit"}, func(s *screen) { s.quit = true }},
	}
}

// Actions are what keys can be bound to.
func Actions() []conf.Action { return named(actions()) }

func named(as []action) []conf.Action {
	out := make([]conf.Action, len(as))
	for i, a := range as {
		out[i] = a.Action
	}
	return out
}

// bind gives the screen its actions and the keys for them.
func (s *screen) bind(o *Options) (err error) {
	all := append(actions(), o.extra...)
	s.does = make(map[string]func(*screen), len(all))
	for _, a := range all {
		s.does[a.Name] = a.do
	}
	if s.keys = o.Keys; s.keys == nil {
		s.keys, err = conf.NewKeymap(named(all))
	}
	return err
}

// key does what a key is bound to, and nothing if it is not. While the help is open
// any key but those that quit only closes it.
func (s *screen) key(name string) {
	what, bound := s.keys.Action(name)
	switch {
	case s.help && what != "quit":
		s.inHelp(what)
		s.dirty = true
	case bound:
		s.do(what)
	}
}

// do does what an action is for.
func (s *screen) do(name string) {
	if do := s.does[name]; do != nil {
		s.dirty = true
		do(s)
	}
}
