package tui

import (
	"time"

	"tracker/pkg/tui/tty"
)

// saying is a sentence at the bottom that goes away by itself.
type saying struct {
	text  string
	until time.Time
}

const sayFor = 5 * time.Second

func (s *screen) say(text string) { s.said = saying{text, s.live.Now().Add(sayFor)} }

// ask opens the prompt.
func (s *screen) ask(what purpose, text string) {
	s.prompt.open(what, text)
	s.typed()
}

// typeKey is a key while the prompt is open.
func (s *screen) typeKey(e tty.Event) {
	s.dirty = true
	p := &s.prompt
	switch e.Key {
	case "esc", "ctrl+c", "ctrl+g":
		s.abandon()
	case "enter":
		s.enter()
	case "tab":
		p.complete(1, s.offers())
		s.typed()
	case "shift+tab":
		p.complete(-1, s.offers())
		s.typed()
	default:
		before, was := p.string(), p.full
		if !p.edit(e.Key, textOf(e)) || p.full && was && p.string() == before {
			return // a megabyte that comes key by key: beyond what fits there is nothing to look at
		}
		s.typed()
	}
}

// textOf is what a key writes.
func textOf(e tty.Event) string {
	if e.Text != "" {
		return e.Text
	}
	if e.Key == "space" {
		return " "
	}
	if r := []rune(e.Key); len(r) == 1 {
		return e.Key
	}
	return ""
}

// typed is called when the text has changed. A filter holds at once; one that is wrong
// leaves the last good one. A command is told of before it is given.
func (s *screen) typed() {
	s.dirty = true
	p := &s.prompt
	p.note, p.tip, p.wrong = "", "", -1
	switch p.purpose {
	case forFilter:
		s.typedFilter(p)
	case forCommand:
		p.tip = s.tip(p.string())
	}
}

func (s *screen) typedFilter(p *prompt) {
	if err := s.setFilter(p.string()); err != nil {
		p.complain(err)
	}
}

// abandon closes the prompt and leaves things as they were before it.
func (s *screen) abandon() {
	if s.prompt.purpose == forFilter {
		_ = s.setFilter("") // nothing can be wrong with it
	}
	s.prompt.close()
}

// enter does what was typed. The prompt stays open while that can be mended.
func (s *screen) enter() {
	p := &s.prompt
	what, text := p.purpose, p.string()
	var err error
	switch what {
	case forFilter:
		err = s.setFilter(text)
	case forCommand:
		err = s.command(text)
	case forPlace:
		err = s.goTo(text)
	case forFile:
		err = s.export(text)
	}
	if err != nil {
		p.complain(err)
		return
	}
	p.remember(what, text)
	if p.purpose == what && p.string() == text { // else an action has opened another
		p.close()
	}
}
