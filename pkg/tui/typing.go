package tui

import (
	"errors"
	"time"

	"tracker/pkg/filter"
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
		if p.edit(e.Key, textOf(e)) {
			s.typed()
		}
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
// leaves the last good one.
func (s *screen) typed() {
	s.dirty = true
	p := &s.prompt
	p.note, p.wrong = "", -1
	if p.purpose != forFilter {
		return
	}
	if err := s.setFilter(p.string()); err != nil {
		p.note = err.Error()
		var bad *filter.Error
		if errors.As(err, &bad) {
			p.note, p.wrong = bad.Msg, len([]rune(p.string()[:min(bad.At, len(p.string()))]))
		}
	}
}

// setFilter changes who is meant.
func (s *screen) setFilter(text string) error {
	flt, err := filter.Parse(text)
	if err != nil {
		return err
	}
	if s.flt, s.wanted = flt, text; text == "" {
		s.flt = nil
	}
	s.members, s.list.top = nil, 0
	return nil
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
	var err error
	switch p.purpose {
	case forFilter:
		err = s.setFilter(p.string())
	case forCommand:
		err = s.command(p.string())
	case forPlace:
		err = s.goTo(p.string())
	case forFile:
		err = s.export(p.string())
	}
	if err != nil {
		p.note = err.Error()
		return
	}
	p.remember()
	p.close()
}

// offers are completions for what is typed.
func (s *screen) offers() func(before, word string) []string {
	switch s.prompt.purpose {
	case forFilter:
		return func(_, word string) []string { return filter.Complete(word) }
	case forCommand:
		return s.offered
	case forPlace:
		return func(before, word string) []string { return s.placesLike(before + word) }
	}
	return func(string, string) []string { return nil }
}
