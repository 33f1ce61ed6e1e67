package tui

import (
	"fmt"
	"math"
	"slices"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/words"
)

// eventTab is which events are listed.
type eventTab uint8

const (
	allEvents eventTab = iota
	alertEvents
	deviceEvents
	linkEvents
	eventTabs
)

func (t eventTab) String() string {
	return [...]string{"all", "alerts", "devices", "link"}[t]
}

// has tells whether an event is listed under a tab.
func (t eventTab) has(k fleet.Kind) bool {
	switch t {
	case alertEvents:
		return k.Alerts() || k == fleet.LowBattery || k == fleet.Jump || k == fleet.Silent
	case deviceEvents:
		return !k.OfLink()
	case linkEvents:
		return k.OfLink()
	}
	return true
}

// eventPane is the list of events, newest first.
type eventPane struct {
	shown   bool
	tab     eventTab
	at      int           // row that is selected, from the newest
	top     int           // first row shown
	list    []fleet.Event // of the tab, newest first
	read    []fleet.Event // memory for reading the log
	heard   int           // events of every tab that are for this person
	latest  fleet.Event   // the newest of them
	version uint64        // of the log, when it was read
	listed  eventTab      // the tab, then
	past    bool          // it came device by device, and is brought into the order of time
}

// renew reads the log. What is selected stays selected, and what is scrolled to stays in
// sight, while newer events come above; the newest one is nobody's choice unless the list
// is looked at.
func (p *eventPane) renew(log *fleet.Log, looked bool) {
	v := log.Version()
	if v == p.version && p.tab == p.listed {
		return
	}
	kept, ok := p.selected()
	ok = ok && p.tab == p.listed && (looked || p.at > 0)
	p.version, p.listed = v, p.tab
	p.read = log.Since(p.read[:0], 0)
	if p.past {
		slices.SortStableFunc(p.read, func(a, b fleet.Event) int { return a.At.Compare(b.At) })
	}
	p.list, p.heard = p.list[:0], 0
	for i := len(p.read) - 1; i >= 0; i-- {
		e := &p.read[i]
		if e.Muted {
			continue
		}
		if p.heard++; p.heard == 1 {
			p.latest = *e
		}
		if p.tab.has(e.Kind) {
			p.list = append(p.list, *e)
		}
	}
	i := slices.IndexFunc(p.list, func(e fleet.Event) bool { return e.N == kept.N })
	if i < 0 { // it went into one line for many
		i = slices.IndexFunc(p.list, func(e fleet.Event) bool { return e.N < kept.N })
	}
	if ok && i >= 0 {
		if p.top > 0 {
			p.top += i - p.at
		}
		p.at = i
	}
	p.at = max(min(p.at, len(p.list)-1), 0)
}

// forget is for another log.
func (p *eventPane) forget() { p.list, p.read, p.heard, p.version = nil, nil, 0, math.MaxUint64 }

func (p *eventPane) move(by, rows int) {
	p.at = max(min(p.at+by, len(p.list)-1), 0)
	p.top = min(max(p.top, p.at-rows+1), p.at)
}

// scroll looks at other rows, and leaves the choice.
func (p *eventPane) scroll(by, rows int) { p.top = max(min(p.top+by, len(p.list)-rows), 0) }

// selected is the event that a key is about.
func (p *eventPane) selected() (fleet.Event, bool) {
	if p.at >= len(p.list) {
		return fleet.Event{}, false
	}
	return p.list[p.at], true
}

// styleOf is how an event looks.
func styleOf(k fleet.Kind) canvas.Style {
	switch k {
	case fleet.SOS, fleet.Tamper, fleet.Refused:
		return look.Alert
	case fleet.LowBattery, fleet.Jump, fleet.Silent, fleet.Disconnected, fleet.Resynced:
		return look.Warn
	case fleet.Back, fleet.Resumed:
		return look.Good
	}
	return look.Text
}

// tabs are the names of the tabs as they stand in the edge of the list, each with the
// column that it begins at.
func tabs(shown eventTab) (title string, columns [eventTabs]int) {
	title = "Events "
	for t := range eventTabs {
		mark := " "
		if t == shown {
			mark = "▸"
		}
		columns[t] = canvas.Width(title)
		title += fmt.Sprintf("%s%d:%s", mark, t+1, t)
	}
	return title, columns
}

// tabAt is the tab at a column of the box of events.
func tabAt(x int) (eventTab, bool) {
	const before = 3 // what a frame has before its title
	title, columns := tabs(eventTabs)
	if x >= before+canvas.Width(title) {
		return 0, false
	}
	for t := eventTabs; t > 0; t-- {
		if x >= before+columns[t-1] {
			return t - 1, true
		}
	}
	return 0, false
}

func (s *screen) drawEvents() {
	r := s.lay.eventBox
	if r.empty() {
		return
	}
	p := &s.events
	title, _ := tabs(p.tab)
	s.frameBox(r, title, s.focus == onEvents)
	in := r.inner()
	if len(p.list) == 0 {
		s.c.Text(in.x+1, in.y, canvas.Truncate("nothing has happened", in.w-1), look.Dim, look.OnTop)
		return
	}
	p.top = max(min(p.top, len(p.list)-in.h), 0)
	for i := range in.h {
		if p.top+i >= len(p.list) {
			return
		}
		s.drawEvent(rect{in.x, in.y + i, in.w, 1}, &p.list[p.top+i], s.focus == onEvents && p.top+i == p.at)
	}
}

func (s *screen) drawEvent(r rect, e *fleet.Event, picked bool) {
	fg := styleOf(e.Kind)
	if e.Acked {
		fg = look.Dim
	}
	text := look.Text
	if picked {
		fg, text = look.Row, look.Row
		s.c.Fill(r.x, r.y, r.w, 1, look.Row, look.Text, look.OnTop)
	}
	x := s.c.Text(r.x+1, r.y, e.At.UTC().Format("15:04:05"), text, look.OnTop)
	x = s.c.Text(x+1, r.y, e.Kind.String(), fg, look.OnTop)
	line := e.Text
	if e.Name != "" {
		line = s.mask.Name(e.Device, e.Name) + "  " + line
	}
	if e.Times > 1 && e.Kind.OfLink() { // of devices the text tells how many
		line += fmt.Sprintf("  (%s times)", words.Thousands(e.Times))
	}
	at := max(x+1, r.x+24)
	note := ""
	switch {
	case e.Acked:
		note = "seen "
	case e.Kind.Alerts() && e.Device != 0:
		note = s.keyFor("ack") + " seen · " + s.keyFor("mute") + " mute "
	case e.Kind.Alerts():
		note = s.keyFor("ack") + " seen "
	}
	s.c.Text(at, r.y, canvas.Truncate(line, r.x+r.w-at-canvas.Width(note)-1), text, look.OnTop)
	if note != "" && at+8 < r.x+r.w-canvas.Width(note) {
		s.c.Text(r.x+r.w-canvas.Width(note), r.y, note, look.Dim, look.OnTop)
	}
}

// drawLatest tells the newest event in a line, where there is no room for a list.
func (s *screen) drawLatest() {
	if s.lay.event < 0 || s.events.heard == 0 {
		return
	}
	e := &s.events.latest
	note := fmt.Sprintf("%s events %s", s.keyFor("events"), words.Thousands(s.events.heard))
	if n := s.store.Events().Alerting(); n > 0 {
		note = fmt.Sprintf("%s to be seen · ", words.Thousands(n)) + note
	}
	x := s.c.Text(1, s.lay.event, e.At.UTC().Format("15:04:05"), look.Dim, look.OnTop)
	x = s.c.Text(x+1, s.lay.event, e.Kind.String(), styleOf(e.Kind), look.OnTop)
	line := e.Text
	if e.Name != "" {
		line = s.mask.Name(e.Device, e.Name) + " " + line
	}
	s.c.Text(x+1, s.lay.event, canvas.Truncate(line, s.w-x-canvas.Width(note)-4), look.Text, look.OnTop)
	if at := s.w - 1 - canvas.Width(note); at > x+10 {
		s.c.Text(at, s.lay.event, note, look.Dim, look.OnTop)
	}
}
