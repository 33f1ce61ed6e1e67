package tui

import (
	"fmt"
	"slices"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/chart"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/words"
)

// nextColour lets colours tell something else.
func (s *screen) nextColour() {
	s.colour = (s.colour + 1) % look.Colours
	s.say("colours tell of " + s.colour.String())
}

// toggleMask hides names and exact places, for a screen that strangers see.
func (s *screen) toggleMask() {
	if s.mask = masked(s.mask); s.mask == nil {
		s.say("names and places are shown")
		return
	}
	s.say("names are hidden, places are to a tenth of a degree")
}

func masked(m *fleet.Mask) *fleet.Mask {
	if m != nil {
		return nil
	}
	return fleet.NewMask()
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

// nextFocus goes around the panes that are there.
func (s *screen) nextFocus(by int) {
	for range onEvents + 1 {
		s.focus = focus((int(s.focus) + by + int(onEvents) + 1) % (int(onEvents) + 1))
		switch {
		case s.focus == onMap && s.lay.kind != listOnly,
			s.focus == onList,
			s.focus == onEvents && (s.lay.kind == compact || !s.lay.eventBox.empty()):
			return
		}
	}
}

func (s *screen) toggleEvents() {
	s.events.shown = !s.events.shown
	if s.focus == onEvents {
		s.focus = onMap
	}
}

func (s *screen) showTab(t eventTab) {
	s.events.tab, s.events.at, s.events.top = t, 0, 0
	s.events.renew(s.store.Events())
	if s.lay.kind == panes {
		s.events.shown = true
	}
}

// ack says that the event that is selected, or the newest alert, was seen.
func (s *screen) ack() {
	log := s.store.Events()
	e, ok := s.events.selected()
	if s.focus == onEvents && ok {
		log.Ack(e.N)
	} else if e, ok = log.AckLast(); !ok {
		s.say("there is no alert that nobody has seen")
		return
	}
	s.events.renew(log)
	s.say("seen: " + e.Kind.String() + " " + s.mask.Name(e.Device, e.Name))
}

func (s *screen) ackAll() {
	s.store.Events().AckAll()
	s.events.renew(s.store.Events())
	s.say("everything so far is seen")
}

// muteSelected lets the device of the selected event, or the selected device, make no
// more of them.
func (s *screen) muteSelected() {
	id, name := s.sel, ""
	if e, ok := s.events.selected(); s.focus == onEvents && ok {
		id, name = e.Device, e.Name
	} else if _, n, _, ok := s.selected(); ok {
		name = n
	}
	if id == 0 {
		s.say("select a device or an event first")
		return
	}
	s.store.Events().Mute(id, true)
	s.events.renew(s.store.Events())
	s.say("no more events of " + s.mask.Name(id, name) + "; :unmute lets them come again")
}

// showMembers lists the devices of a badge.
func (s *screen) showMembers(h chart.Hit) {
	s.members = s.chart.Members(s.members[:0], h.Cluster)
	s.list.top = 0
	s.focus = onList
	s.say(fmt.Sprintf("%s in this cluster; %s goes back", words.Thousands(len(s.members)), s.keyFor("back")))
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

// filters are those that the settings name.
func (s *screen) filters() []string {
	var all []string
	for name := range s.conf.Filters {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// drawSaying writes the sentence of the moment into the line of hints.
func (s *screen) drawSaying(y int) bool {
	if s.said.text == "" || s.at.After(s.said.until) {
		return false
	}
	s.c.Text(1, y, canvas.Truncate(s.said.text, s.w-2), look.Bright, look.OnTop)
	return true
}
