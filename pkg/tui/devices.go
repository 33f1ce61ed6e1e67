package tui

import (
	"fmt"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/words"
)

// list is how the list of devices is looked at.
type list struct {
	by      fleet.Column
	reverse bool
	top     int // first row shown
}

// show scrolls so that a row of n can be seen in a window of h rows.
func (l *list) show(row, h, n int) {
	l.top = min(max(l.top, row-h+1), row)
	l.clamp(h, n)
}

func (l *list) clamp(h, n int) { l.top = max(min(l.top, n-h), 0) }

// column of the list.
type column struct {
	head string
	w    int          // negative: flush right
	by   fleet.Column // fleet.Columns if it cannot be sorted by
	text func(*screen, *client.Fix, *fleet.Point) string
}

var columns = []column{
	{"km/h", -5, fleet.BySpeed, func(_ *screen, f *client.Fix, _ *fleet.Point) string {
		if f.Has&track.HasVel == 0 {
			return "—"
		}
		return words.KMH(f.Speed)
	}},
	{"", 2, fleet.Columns, func(_ *screen, f *client.Fix, p *fleet.Point) string {
		if f.Has&track.HasVel == 0 || p.Speed < fleet.MovingFrom {
			return ""
		}
		return string(look.Arrow(p.Course))
	}},
	{"age", -5, fleet.ByAge, func(s *screen, _ *client.Fix, p *fleet.Point) string {
		return words.Age(p.Age(s.frame.At))
	}},
	{"batt", -5, fleet.ByBattery, func(_ *screen, f *client.Fix, _ *fleet.Point) string {
		if f.Has&track.HasBat == 0 {
			return "—"
		}
		return fmt.Sprintf("%d%%", f.Battery)
	}},
}

func (s *screen) drawList() {
	order := s.rows()
	r := s.lay.list
	rows := max(r.h-1, 0)
	s.list.clamp(rows, len(order))
	if s.lay.kind == panes {
		s.frameBox(s.lay.listBox, s.listTitle(len(order)), s.focus == onList)
	}
	s.listHeader(r)
	for i := range rows {
		at := s.list.top + i
		if at >= len(order) {
			break
		}
		s.listRow(rect{r.x, r.y + 1 + i, r.w, 1}, order[at])
	}
	if len(order) == 0 && rows > 0 {
		s.c.Text(r.x+2, r.y+1, canvas.Truncate(s.empty(), r.w-3), look.Dim, look.OnTop)
	}
}

// sorted says how.
func (l *list) sorted() string {
	if l.reverse {
		return "by " + l.by.String() + ", reversed"
	}
	return "by " + l.by.String()
}

// listTitle says who is listed.
func (s *screen) listTitle(n int) string {
	switch {
	case s.members != nil:
		return fmt.Sprintf("%s in this cluster", words.Thousands(n))
	case s.flt != nil:
		return fmt.Sprintf("Devices %s of %s %s", words.Thousands(n), words.Thousands(s.frame.Status.Devices), s.list.sorted())
	}
	return fmt.Sprintf("Devices %s %s", words.Thousands(n), s.list.sorted())
}

// empty says why there is nothing to see.
func (s *screen) empty() string {
	if s.members != nil {
		return "nobody of them is here any more"
	}
	if s.flt != nil && s.frame.Status.Devices > 0 {
		return "no device matches " + s.filterText()
	}
	if s.frame.Status.Loaded {
		return "no devices yet"
	}
	return "waiting for the first fixes…"
}

func (s *screen) listHeader(r rect) {
	x := r.x + r.w
	for i := len(columns) - 1; i >= 0 && x-r.x > 20; i-- {
		x = s.cell(x, r.y, columns[i].w, columns[i].head, s.headStyle(columns[i].by))
	}
	s.c.Text(r.x+4, r.y, "name", s.headStyle(fleet.ByName), look.OnTop)
	s.c.Text(r.x+2, r.y, "s", s.headStyle(fleet.ByState), look.OnTop)
}

// headAt is the column of the list that a column of the screen belongs to, if the list can
// be sorted by it.
func (s *screen) headAt(at int) (by fleet.Column, ok bool) {
	r := s.lay.list
	x := r.x + r.w
	for i := len(columns) - 1; i >= 0 && x-r.x > 20; i-- {
		if x -= max(columns[i].w, -columns[i].w); at >= x {
			return columns[i].by, columns[i].by != fleet.Columns
		}
	}
	if at < r.x+4 {
		return fleet.ByState, true
	}
	return fleet.ByName, true
}

func (s *screen) headStyle(by fleet.Column) canvas.Style {
	if s.list.by == by {
		return look.Title
	}
	return look.Dim
}

// cell writes text into the |w| columns before x and returns where they start.
func (s *screen) cell(x, y, w int, txt string, fg canvas.Style) int {
	if w < 0 {
		s.c.Text(x-canvas.Width(txt), y, txt, fg, look.OnTop)
		return x + w
	}
	s.c.Text(x-w+1, y, txt, fg, look.OnTop)
	return x - w
}

func (s *screen) listRow(r rect, i int32) {
	fix, name, ok := s.store.Info(i)
	if !ok || int(i) >= len(s.frame.Points) {
		return // gone since the list was made
	}
	p := &s.frame.Points[i]
	st := s.frame.Marks[i].State()
	fg := look.Text
	if i == s.selIndex {
		fg = look.Row
		s.c.Fill(r.x, r.y, r.w, 1, look.Row, look.Text, look.OnTop)
		s.c.Text(r.x, r.y, "▸", look.Row, look.OnTop)
	}
	x := r.x + r.w
	for c := len(columns) - 1; c >= 0 && x-r.x > 20; c-- {
		x = s.cell(x, r.y, columns[c].w, columns[c].text(s, &fix, p), fg)
	}
	s.c.Text(r.x+4, r.y, canvas.Truncate(s.mask.Name(fix.Device, name), x-r.x-5), fg, look.OnTop)
	if i != s.selIndex {
		fg = look.OfState[st]
	}
	s.c.Rune(r.x+2, r.y, look.Glyph[st], fg, look.OnTop)
}
