package tui

import (
	"fmt"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/look"
)

const mouseHelp = "Mouse: drag pans, wheel zooms, a click selects, on a badge lists who is in it."

// helpBox is where the table of keys is laid over everything, and how wide its keys are.
func (s *screen) helpBox(rows []conf.Row) (r rect, keys int) {
	text := canvas.Width(mouseHelp) - 8
	for _, row := range rows {
		keys = max(keys, canvas.Width(row.Label))
		text = max(text, canvas.Width(row.Help))
	}
	r = rect{w: min(keys+text+6, s.w), h: min(len(rows)+4, s.h)}
	r.x, r.y = (s.w-r.w)/2, (s.h-r.h)/2
	return r, keys
}

// drawHelp lays the table of keys over everything. What does not fit is scrolled to.
func (s *screen) drawHelp() {
	rows := s.keys.Rows()
	r, keys := s.helpBox(rows)
	s.c.Fill(r.x, r.y, r.w, r.h, look.Text, look.Text, look.OnTop)
	in := r.inner()
	s.helpTop = max(min(s.helpTop, len(rows)+2-in.h), 0)
	title := "Keys"
	if in.h < len(rows)+2 {
		title = fmt.Sprintf("Keys %d-%d of %d, ↓ shows more", s.helpTop+1, min(s.helpTop+in.h, len(rows)), len(rows))
	}
	s.frameBox(r, title, true)
	for i := range in.h {
		switch at := s.helpTop + i; {
		case at < len(rows):
			s.c.Text(in.x+1, in.y+i, rows[at].Label, look.Keycap, look.OnTop)
			s.c.Text(in.x+keys+3, in.y+i, canvas.Truncate(rows[at].Help, in.w-keys-4), look.Text, look.OnTop)
		case at == len(rows)+1:
			s.c.Text(in.x+1, in.y+i, canvas.Truncate(mouseHelp, in.w-2), look.Dim, look.OnTop)
		}
	}
}

// inHelp is a key while the help is open: those that go down and up scroll it, where there
// is more than fits, and any other closes it.
func (s *screen) inHelp(what string) {
	rows := s.keys.Rows()
	r, _ := s.helpBox(rows)
	by := map[string]int{"pan-down": 1, "pan-up": -1, "pan-down-half": r.h - 3, "pan-up-half": 3 - r.h}[what]
	if by == 0 || r.inner().h >= len(rows)+2 {
		s.help, s.helpTop = false, 0
		return
	}
	s.helpTop += by
}
