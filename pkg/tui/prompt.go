package tui

import (
	"errors"
	"slices"
	"strings"
	"unicode"

	"tracker/pkg/filter"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
)

// purpose is what a prompt is for.
type purpose uint8

const (
	noPrompt purpose = iota
	forFilter
	forCommand
	forPlace
	forFile
)

// sign stands before what is typed.
var sign = [...]string{forFilter: "/", forCommand: ":", forPlace: "go to ", forFile: "export to "}

// mostTyped bounds what a prompt takes, in runes: a pasted megabyte is a mistake.
const mostTyped = 1024

// prompt is the line in which people type. The zero prompt is closed.
type prompt struct {
	purpose purpose
	text    []rune
	at      int    // the cursor
	note    string // what is wrong with the text
	tip     string // what it would do
	wrong   int    // the rune that is wrong, -1 if none is
	full    bool   // more was typed than fits

	past   map[purpose][]string // what was typed before, latest last
	pastAt int                  // how far back, 0 is the present
	draft  string               // the present, while the past is looked at

	choices []string // completions of the word before the cursor
	choice  int
	stem    int // where that word begins
}

const mostPast = 100

func (p *prompt) open(what purpose, text string) {
	p.purpose, p.text, p.note, p.tip, p.wrong, p.full = what, []rune(text), "", "", -1, false
	p.at, p.pastAt, p.choices = len(p.text), 0, nil
}

// complain says what is wrong with the text, and if it is a filter, where.
func (p *prompt) complain(err error) {
	p.note, _, _ = strings.Cut(err.Error(), "\n")
	var bad *filter.Error
	if !errors.As(err, &bad) {
		return
	}
	p.note = bad.Msg
	if text := p.string(); p.purpose == forFilter {
		p.wrong = len([]rune(text[:min(bad.At, len(text))]))
	}
}

func (p *prompt) close() { p.purpose = noPrompt }

func (p *prompt) isOpen() bool { return p.purpose != noPrompt }

func (p *prompt) string() string { return string(p.text) }

// remember keeps what was typed for a purpose, once.
func (p *prompt) remember(what purpose, text string) {
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	if p.past == nil {
		p.past = map[purpose][]string{}
	}
	all := slices.DeleteFunc(p.past[what], func(s string) bool { return s == text })
	all = append(all, text)
	p.past[what] = all[max(0, len(all)-mostPast):]
}

// edit does what a key does to the text. It tells whether it was such a key.
func (p *prompt) edit(key, text string) bool {
	choices := p.choices
	p.choices = nil
	switch key {
	case "left", "ctrl+b":
		p.at = max(p.at-1, 0)
	case "right", "ctrl+f":
		p.at = min(p.at+1, len(p.text))
	case "home", "ctrl+a":
		p.at = 0
	case "end", "ctrl+e":
		p.at = len(p.text)
	case "backspace", "ctrl+h":
		p.cut(max(p.at-1, 0), p.at)
	case "delete", "ctrl+d":
		p.cut(p.at, min(p.at+1, len(p.text)))
	case "ctrl+u":
		p.cut(0, p.at)
	case "ctrl+k":
		p.cut(p.at, len(p.text))
	case "ctrl+w", "alt+backspace":
		p.cut(p.wordBefore(), p.at)
	case "up", "ctrl+p":
		p.back(1)
	case "down", "ctrl+n":
		p.back(-1)
	case "tab", "shift+tab":
		p.choices = choices
		return false
	default:
		if text == "" {
			p.choices = choices
			return false
		}
		p.insert(text)
	}
	return true
}

// insert puts text in at the cursor: what cannot be shown in a line is left out.
func (p *prompt) insert(text string) {
	room := mostTyped - len(p.text)
	var put []rune
	for _, r := range text {
		if len(put) == room {
			p.full = true
			break
		}
		switch {
		case r == '\n', r == '\t', r == '\r':
			put = append(put, ' ')
		case unicode.IsPrint(r):
			put = append(put, r)
		}
	}
	p.text = slices.Insert(p.text, p.at, put...)
	p.at += len(put)
}

func (p *prompt) cut(from, to int) {
	p.text = slices.Delete(p.text, from, to)
	p.at, p.full = from, false
}

// wordBefore is where the word before the cursor begins.
func (p *prompt) wordBefore() int {
	i := p.at
	for i > 0 && p.text[i-1] == ' ' {
		i--
	}
	for i > 0 && p.text[i-1] != ' ' {
		i--
	}
	return i
}

// back goes to what was typed before, or with -1 forward again.
func (p *prompt) back(by int) {
	past := p.past[p.purpose]
	to := min(max(p.pastAt+by, 0), len(past))
	if to == p.pastAt {
		return
	}
	if p.pastAt == 0 {
		p.draft = p.string()
	}
	text := p.draft
	if p.pastAt = to; to > 0 {
		text = past[len(past)-to]
	}
	p.text = []rune(text)
	p.at = len(p.text)
}

// complete puts the next completion in for the word before the cursor. offered tells what
// there is, given the words before it and its beginning.
func (p *prompt) complete(by int, offered func(before, word string) []string) {
	if p.choices == nil {
		p.stem = p.at
		for p.stem > 0 && p.text[p.stem-1] != ' ' {
			p.stem--
		}
		p.choices = offered(string(p.text[:p.stem]), string(p.text[p.stem:p.at]))
		p.choice = -1
		if by < 0 {
			p.choice = 0
		}
	}
	n := len(p.choices)
	if n == 0 {
		p.choices = nil
		return
	}
	p.choice = ((p.choice+by)%n + n) % n
	kept := p.choices
	p.cut(p.stem, p.at)
	p.insert(kept[p.choice])
	if p.choices = kept; n == 1 {
		p.choices = nil // tab goes on with what follows
		if p.purpose == forCommand && !strings.ContainsAny(kept[0][max(len(kept[0])-1, 0):], ":<>=,") {
			p.insert(" ")
		}
	}
}

// draw writes the prompt into a line, as far as it fits: the part around the cursor.
func (p *prompt) draw(c *canvas.Canvas, y, w int) {
	c.Fill(0, y, w, 1, look.Text, look.Text, look.OnTop)
	x := c.Text(0, y, " "+sign[p.purpose], look.Title, look.OnTop)
	room := p.drawAside(c, y, x, w)
	from := 0
	for canvas.Width(string(p.text[from:p.at])) > max(room-1, 0) {
		from++
	}
	for i, r := range p.text[from:] {
		at := from + i
		width := canvas.Width(string(r))
		if x+width > w-1 || room < width {
			break
		}
		style := look.Bright
		if at == p.wrong {
			style = look.Alert
		}
		if at == p.at {
			style = look.Row
		}
		c.Text(x, y, string(r), style, look.OnTop)
		x, room = x+width, room-width
	}
	if p.at == len(p.text) && room > 0 {
		c.Text(x, y, "▏", look.Title, look.OnTop)
	}
}

// leastTip is how much of a tip says anything, in columns.
const leastTip = 12

// drawAside writes what is to be said of the text beside it, or what is wrong above it if
// that is longer. It returns the columns that are left for the text.
func (p *prompt) drawAside(c *canvas.Canvas, y, x, w int) int {
	room := w - x - 1
	note, style := p.tip, look.Dim
	switch {
	case p.full:
		note, style = "that is all that fits", look.Warn
	case p.note != "":
		note, style = p.note, look.Warn
	}
	// What is typed goes first, up to a half of the line.
	width := min(canvas.Width(note), room-min(canvas.Width(p.string())+4, room/2))
	switch {
	case note == "":
		return room
	case style == look.Warn && width < canvas.Width(note) && y > 1:
		c.Fill(0, y-1, w, 1, look.Text, look.Text, look.OnTop)
		c.Text(1, y-1, canvas.Truncate(note, w-2), style, look.OnTop)
		return room
	case width < min(leastTip, canvas.Width(note)):
		return room
	}
	c.Text(w-1-width, y, canvas.Truncate(note, width), style, look.OnTop)
	return room - width - 2
}
