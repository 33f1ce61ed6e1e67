package tui

import (
	"fmt"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/look"
)

// mouseHelp is what the mouse does, in the form of the keys.
var mouseHelp = []conf.Row{
	{Label: "drag", Help: "pan the map"},
	{Label: "wheel", Help: "zoom where the pointer is; scroll a list, or this"},
	{Label: "click", Help: "select; again: go there; badge: its members; head: sort by it"},
}

// helpRows are the lines of the help: the keys that hold, and the mouse.
func (s *screen) helpRows() []conf.Row { return append(s.keys.Rows(), mouseHelp...) }

// helpBox is where the table of keys is laid over everything, and how wide its keys are.
func (s *screen) helpBox(rows []conf.Row) (r rect, keys int) {
	text := 0
	for _, row := range rows {
		keys = max(keys, canvas.Width(row.Label))
		text = max(text, canvas.Width(row.Help))
	}
	r = rect{w: min(keys+text+6, s.w), h: min(len(rows)+2, s.h)}
	r.x, r.y = (s.w-r.w)/2, (s.h-r.h)/2
	return r, keys
}

// drawHelp lays the table of keys over everything. What does not fit is scrolled to.
func (s *screen) drawHelp() {
	rows := s.helpRows()
	r, keys := s.helpBox(rows)
	s.c.Fill(r.x, r.y, r.w, r.h, look.Text, look.Text, look.OnTop)
	in := r.inner()
	s.helpTop = max(min(s.helpTop, len(rows)-in.h), 0)
	title := "Keys"
	if in.h < len(rows) {
		title = fmt.Sprintf("Keys %d-%d of %d, ↓ shows more", s.helpTop+1, min(s.helpTop+in.h, len(rows)), len(rows))
	}
	s.frameBox(r, title, true)
	for i, row := range rows[s.helpTop:min(s.helpTop+in.h, len(rows))] {
		s.c.Text(in.x+1, in.y+i, canvas.Truncate(row.Label, in.w-1), look.Keycap, look.OnTop)
		s.c.Text(in.x+keys+3, in.y+i, canvas.Truncate(row.Help, in.w-keys-4), look.Text, look.OnTop)
	}
}

// inHelp is a key while the help is open: those that go down and up scroll it, where there
// is more than fits, and any other closes it.
func (s *screen) inHelp(what string) {
	rows := s.helpRows()
	r, _ := s.helpBox(rows)
	page := max(r.h-3, 1)
	by := map[string]int{
		"pan-down": 1, "pan-up": -1, "pan-down-half": page, "pan-up-half": -page, "top": -len(rows), "bottom": len(rows),
	}[what]
	if by == 0 || r.inner().h >= len(rows) {
		s.closeHelp()
		return
	}
	s.helpTop += by
}

func (s *screen) closeHelp() { s.help, s.helpTop = false, 0 }
