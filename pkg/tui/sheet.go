package tui

import (
	"fmt"
	"strings"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/words"
)

// sheet is an answer that is laid over the lower part of the map, which goes on below. The
// zero sheet is closed.
type sheet struct {
	title  string
	job    *job   // where its lines come from; nil: they are all there
	lines  []line // as far as they are known
	public bool   // tells nothing of devices
	seen   progress

	top, left int  // the first line and column that are shown
	tail      bool // stays at the end while more comes
	wide      int  // columns of the widest line, of those that were
	measured  int  // looked at so far
}

func (h *sheet) isOpen() bool { return h.title != "" }

// put opens the sheet in place of what was on it, which is stopped.
func (h *sheet) put(next sheet) {
	h.close()
	*h = next
}

// close stops what is still running.
func (h *sheet) close() {
	if h.job != nil {
		h.job.stop()
	}
	*h = sheet{}
}

// sheetDue tells whether the sheet would look different.
func (s *screen) sheetDue() bool {
	if s.sheet.job == nil {
		return false
	}
	_, p := s.sheet.job.read(s.jobs.now())
	return p != s.sheet.seen
}

// masked tells whether names and places are hidden.
func (s *screen) masked() bool { return s.mask != nil && s.mask.On }

// sheetBox is where the sheet is: above the last line, in up to three quarters of the rest,
// and as wide as what is on it.
func (s *screen) sheetBox(title string) rect {
	wide := max(canvas.Width(title)+6, s.sheet.wide+4, 50)
	rows := max(len(s.sheet.lines), 1)
	if s.sheetHidden() {
		rows = 1
	}
	most := s.h - 2 // the status and the line below stay
	r := rect{w: min(wide, s.w), h: min(rows+2, max(most*3/4, 3), most)}
	r.x, r.y = (s.w-r.w)/2, s.h-1-r.h
	return r
}

// sheetHidden tells whether what is on the sheet is not for strangers, and they are there.
func (s *screen) sheetHidden() bool { return s.masked() && !s.sheet.public }

// drawSheet lays the sheet over what is there.
func (s *screen) drawSheet() {
	h := &s.sheet
	if h.job != nil {
		h.lines, h.seen = h.job.read(s.jobs.now())
	}
	for _, l := range h.lines[h.measured:] {
		h.wide = max(h.wide, canvas.Width(l.text))
	}
	h.measured = len(h.lines)
	if h.tail {
		h.top = len(h.lines)
	}
	r := s.sheetBox(h.title)
	in := r.inner()
	if in.empty() {
		return
	}
	h.top = max(min(h.top, len(h.lines)-in.h), 0)
	s.c.Fill(r.x, r.y, r.w, r.h, look.Text, look.Text, look.OnTop)
	s.frameBox(r, s.sheetTitle(in), true)
	s.drawSheetKeys(r, in)
	if s.sheetHidden() {
		s.c.Text(in.x+1, in.y, canvas.Truncate("hidden, as names and places are; "+s.keyFor("mask")+" shows them", in.w-2), look.Dim, look.OnTop)
		return
	}
	for i := range min(in.h, len(h.lines)-h.top) {
		l := h.lines[h.top+i]
		s.c.Text(in.x+1, in.y+i, canvas.Truncate(skip(l.text, h.left), in.w-2), l.style, look.OnTop)
	}
}

// sheetTitle is what the sheet is and how far it is.
func (s *screen) sheetTitle(in rect) string {
	h := &s.sheet
	state := ""
	switch p := h.seen; {
	case h.job != nil && !p.ended:
		state = fmt.Sprintf(" · %d s, esc stops", p.seconds)
	case p.failed:
		state = " · failed"
	case s.sheetHidden():
	case len(h.lines) > in.h:
		state = fmt.Sprintf(" · %d-%d of %s", h.top+1, h.top+in.h, words.Thousands(len(h.lines)))
	}
	title := h.title
	if s.sheetHidden() {
		title = "a command"
	}
	return canvas.Truncate(title, max(in.w-4-canvas.Width(state), 8)) + state
}

// drawSheetKeys writes the keys of the sheet into its lower edge: those of the map, which
// are told in the last line, wait below it.
func (s *screen) drawSheetKeys(r, in rect) {
	h := &s.sheet
	var all []string
	if len(h.lines) > in.h {
		all = append(all, "j k scroll")
	}
	if h.wide > in.w-2 {
		all = append(all, "h l sideways")
	}
	if h.job == nil || h.seen.ended {
		all = append(all, "esc closes")
	}
	keys := strings.Join(all, " · ")
	if w := canvas.Width(keys) + 2; keys != "" && w < r.w-4 && !s.sheetHidden() {
		s.c.Text(r.x+r.w-2-w, r.y+r.h-1, " "+keys+" ", look.Dim, look.OnTop)
	}
}

// skip leaves out the columns at the beginning of a line.
func skip(text string, columns int) string {
	for i, r := range text {
		if columns <= 0 {
			return text[i:]
		}
		columns -= canvas.RuneWidth(r)
	}
	return ""
}

// sideways is how far the sheet goes to the side.
const sideways = 8

// sheetKey is a key while the sheet is open, and tells whether it is one of the sheet's.
// They are those of a pager; others go to the map.
func (s *screen) sheetKey(key string) bool {
	h := &s.sheet
	rows := s.sheetBox(h.title).inner().h
	page := max(rows-1, 1)
	tail := false
	switch key {
	case "esc", "q", "ctrl+c":
		h.close()
	case "j", "down", "enter":
		h.top++
	case "k", "up":
		h.top--
	case "pgdown", "space", "ctrl+f":
		h.top += page
	case "pgup", "ctrl+b":
		h.top -= page
	case "g", "home":
		h.top, h.left = 0, 0
	case "G", "end":
		h.top, tail = len(h.lines), true
	case "l", "right":
		h.left = min(h.left+sideways, max(h.wide-sideways, 0))
	case "h", "left":
		h.left = max(h.left-sideways, 0)
	default:
		return false
	}
	h.top, h.tail = max(min(h.top, len(h.lines)-rows), 0), tail
	s.dirty = true
	return true
}

// sheetMouse is the mouse while the sheet is open: on it the wheel scrolls and a click does
// nothing. It tells whether the event was the sheet's.
func (s *screen) sheetMouse(e tty.Event) bool {
	if s.dragging || !s.sheetBox(s.sheet.title).has(e.X, e.Y) {
		return false
	}
	switch {
	case e.Kind == tty.Wheel && e.Button == tty.WheelDown:
		for range 3 {
			s.sheetKey("down")
		}
	case e.Kind == tty.Wheel && e.Button == tty.WheelUp:
		for range 3 {
			s.sheetKey("up")
		}
	}
	return true
}

// runCommand runs a command of the program and lays what it says over the map.
func (s *screen) runCommand(text string) error {
	ws, err := splitLine(text).all()
	if err != nil {
		return err
	}
	v, err := s.cli().check(ws)
	if err != nil {
		return err
	}
	if s.masked() && !v.Public {
		return fmt.Errorf("names and places are hidden, and %s might tell some; %s shows them", v.Name, s.keyFor("mask"))
	}
	if err := s.spellOut(v, ws); err != nil {
		return err
	}
	s.sheet.put(sheet{title: canvas.Clean(strings.Join(strings.Fields(text), " ")), job: s.jobs.start(ws), public: v.Public})
	return nil
}

// spellOut puts filters in the place of their names: the command does not know those.
func (s *screen) spellOut(v *Verb, ws []string) error {
	for i, word := range ws {
		f := v.flag(word)
		if f == nil || f.Value != "filter" {
			continue
		}
		flag, text, inside := strings.Cut(word, "=")
		if !inside && i+1 < len(ws) {
			i, flag, text = i+1, "", ws[i+1]
		}
		if !strings.Contains(text, "@") {
			continue
		}
		flt, err := conf.ParseFilter(text, s.named)
		if err != nil {
			return err
		}
		if ws[i] = flt.String(); flag != "" {
			ws[i] = flag + "=" + ws[i]
		}
	}
	return nil
}

// cli is nil where nothing can be run.
func (s *screen) cli() *CLI {
	if s.jobs == nil {
		return nil
	}
	return s.jobs.cli
}
