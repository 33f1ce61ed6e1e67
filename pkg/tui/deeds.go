package tui

import (
	"cmp"

	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/chart"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
)

// nextColour lets colours tell something else.
func (s *screen) nextColour() {
	s.colour = (s.colour + 1) % look.Colours
	s.say("colours tell of " + s.colour.String())
}

// nextBase draws the world below the devices in another way.
func (s *screen) nextBase() {
	s.base = (s.base + 1) % len(chart.Bases)
	s.say("base map: " + chart.Bases[s.base].Name)
}

func (s *screen) nextTrails() {
	s.trails = (s.trails + 1) % chart.TrailModes
	s.say("trails: " + s.trails.String())
}

func (s *screen) toggleMouse() {
	if s.noMouse = !s.noMouse; s.noMouse {
		s.say("the mouse is the terminal's; " + s.keyFor("mouse") + " takes it back")
		return
	}
	s.say("the mouse is the map's; " + s.keyFor("mouse") + " gives it to the terminal")
}

// copyPlace puts the place of the selected device on the clipboard, or where the map's
// middle is.
func (s *screen) copyPlace() {
	at := s.view.Centre.Point()
	if fix, _, _, ok := s.selected(); ok && fix.HasPos() {
		at = fix.At
	}
	s.copies = s.mask.Point(at)
	s.say("copied " + s.copies + ", if the terminal takes it (OSC 52)")
}

// openPlace tells the address of a page about a place, and copies it.
func (s *screen) openPlace() {
	if s.conf.Open == "" {
		s.say(`there is no page to open; set "open" in the file of settings, see trackctl map --print-config`)
		return
	}
	at, id := s.view.Centre.Point(), ""
	if fix, _, _, ok := s.selected(); ok && fix.HasPos() {
		at, id = fix.At, fix.Device.String()
	}
	at = s.mask.Round(at)
	if s.mask != nil {
		id = ""
	}
	s.copies = s.conf.URL(at.LatDeg(), at.LonDeg(), s.view.Zoom, id)
	s.say("copied " + s.copies)
}

// nextFocus goes around what there is: map, list, events.
func (s *screen) nextFocus(by int) {
	const n = int(onEvents) + 1
	at := min(int(s.focus), n) % n // from details in full to the list
	for range n {
		at = (at + by + n) % n
		if s.has(focus(at)) && (focus(at) != onList || s.lay.kind != listOnly) {
			s.focus = focus(at)
			return
		}
	}
}

// toggleDetails shows or hides the details: the pane, or the line.
func (s *screen) toggleDetails() {
	if s.focus == onDetails {
		s.focus = onMap
		return
	}
	s.details, s.opened = !s.details, false
}

// toggleEvents shows or hides the events: the pane, or instead of the map.
func (s *screen) toggleEvents() {
	switch {
	case s.lay.kind == panes:
		s.events.shown = !s.events.shown
	case s.focus == onEvents:
		s.focus = onMap
	default:
		s.focus = onEvents
	}
}

// showTab lists other events, and shows the list if it is not there.
func (s *screen) showTab(t eventTab) {
	s.events.tab, s.events.at, s.events.top = t, 0, 0
	s.events.renew(s.store.Events(), false)
	if s.events.shown = true; s.lay.kind != panes {
		s.focus = onEvents
	}
}

// goToEvent selects the device of the event that is selected, and goes to it.
func (s *screen) goToEvent() {
	e, ok := s.events.selected()
	if !ok {
		return
	}
	i := s.store.Find(e.Device)
	switch {
	case e.Device == 0:
		s.say("that is of no device of its own")
	case i == fleet.Nobody || int(i) >= len(s.frame.Points):
		s.say(s.mask.Name(e.Device, e.Name) + " is not on the map any more")
	default:
		s.choose(i)
		s.goToSelected()
	}
}

// copied tells whether what is shown is a copy of the present, behind which the same log
// goes on: in a pause, and until the first picture after it.
func (s *screen) copied() bool { return s.store != s.live && !s.events.past }

// ack says that the event that is selected, or the newest alert, was seen.
func (s *screen) ack() {
	e, ok := s.events.selected()
	if !s.inEvents() || !ok {
		if e, ok = s.store.Events().AckLast(); !ok {
			s.say("there is no alert that nobody has seen")
			return
		}
	}
	s.store.Events().Ack(e.N)
	if s.copied() {
		s.live.Events().Ack(e.N)
	}
	s.say("seen: " + e.Kind.String() + " " + s.mask.Name(e.Device, e.Name))
}

// ackAll says that all that the picture shows was seen, and not what came since it was
// paused.
func (s *screen) ackAll() {
	last := s.store.Events().AckAll()
	if s.copied() {
		s.live.Events().AckTo(last)
	}
	s.say("everything so far is seen")
}

// muteSelected lets the device of the selected event, or the selected device, make no
// more of them; or lets them come again.
func (s *screen) muteSelected() {
	id, name := s.sel, ""
	if e, ok := s.events.selected(); s.inEvents() && ok {
		id, name = e.Device, e.Name
	} else if _, n, _, ok := s.selected(); ok {
		name = n
	}
	if id == 0 {
		s.say("select a device or an event of one first")
		return
	}
	mute := !s.store.Events().Muted(id)
	s.mute(id, mute)
	name = s.mask.Name(id, cmp.Or(name, id.String()))
	if mute {
		s.say("no more events of " + name + "; " + s.keyFor("mute") + " lets them come again")
		return
	}
	s.say("events of " + name + " come again")
}

// mute says whether the events of a device are for this person: now, and in whatever is
// looked at.
func (s *screen) mute(id track.DeviceID, mute bool) {
	s.store.Events().Mute(id, mute)
	if s.store != s.live {
		s.live.Events().Mute(id, mute)
	}
}

// keyFor is the key of an action, as people should press it.
func (s *screen) keyFor(action string) string {
	if keys := s.keys.Keys(action); len(keys) > 0 {
		return keys[0]
	}
	return ":" + action
}

// setTheme changes the colours.
func (s *screen) setTheme(name string) error {
	err := s.paint(s.conf, name)
	s.redraw = err == nil
	return err
}

// setGlyphs changes what dots are made of.
func (s *screen) setGlyphs(name string) error {
	g, err := look.Glyphs(name, s.getenv)
	if err == nil {
		s.glyphs, s.redraw = g, true
	}
	return err
}

// drawSaying writes the sentence of the moment into the line of hints.
func (s *screen) drawSaying(y int) bool {
	if y < 0 || s.said.text == "" || s.live.Now().After(s.said.until) {
		return false
	}
	s.c.Fill(0, y, s.w, 1, look.Text, look.Text, look.OnTop)
	s.c.Text(1, y, canvas.Truncate(s.said.text, s.w-2), look.Bright, look.OnTop)
	return true
}
