package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"tracker/pkg/client"
	"tracker/pkg/tui/qr"
)

// The screen that shows an enrolment. It lives on the terminal's alternate screen, so
// that nothing of the key is left when it goes, whatever makes it go.
const (
	enterAlternate = "\x1b[?1049h\x1b[?25l"
	leaveAlternate = "\x1b[2J\x1b[?25h\x1b[?1049l"
	homeAndClear   = "\x1b[H\x1b[2J"
)

// errLeft says that the person has seen enough.
var errLeft = errors.New("left")

func (a *app) showScreen(ctx context.Context, out *os.File, code *qr.Code, link string, s *showing, w *waiting) error {
	style, err := qr.ParseStyle(first(s.style, "half"))
	if err != nil {
		return err
	}
	p := page{code: code, style: style, palette: qr.DetectPalette(os.Environ()), link: link, w: w, wait: s.wait}
	seen, err := a.runScreen(ctx, out, &p)
	if errors.Is(err, errLeft) {
		a.notef("%s (%v) is enrolled; its code is not shown again", w.device.Name, w.device.ID)
		return nil
	}
	return w.end(ctx, a, seen, err)
}

// runScreen owns the terminal until the first fix, a key, the end of ctx or of time.
func (a *app) runScreen(ctx context.Context, out *os.File, p *page) (*client.Fix, error) {
	in, _ := a.in.(*os.File)
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("take the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(in.Fd()), before) }()
	if _, err := io.WriteString(out, enterAlternate); err != nil {
		return nil, err
	}
	defer func() { _, _ = io.WriteString(out, leaveAlternate) }()

	keys := make(chan byte, 1)
	go readKeys(in, keys) // ends with the process: a read from a terminal cannot be cancelled
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := p.draw(out); err != nil {
			return nil, err
		}
		select {
		case k := <-keys:
			if err := pressed(k); err != nil {
				return nil, err
			}
		case <-tick.C:
			if !p.wait {
				continue
			}
			if seen, err := p.w.look(ctx); seen != nil || err != nil {
				return seen, err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func readKeys(in *os.File, keys chan<- byte) {
	var b [1]byte
	for {
		if n, err := in.Read(b[:]); err != nil || n == 0 {
			return
		}
		keys <- b[0]
	}
}

// pressed says what a key does: in raw mode Ctrl-C is one of them.
func pressed(k byte) error {
	switch k {
	case 3: // Ctrl-C
		return context.Canceled
	case 'q', '\r', '\n', 27:
		return errLeft
	}
	return nil
}

// page is what the screen shows.
type page struct {
	code    *qr.Code
	style   qr.Style
	palette qr.Palette
	link    string
	w       *waiting
	wait    bool

	shown string // on the screen now; an equal page is not drawn again
}

func (p *page) draw(out *os.File) error {
	cols, rows, err := term.GetSize(int(out.Fd()))
	if err != nil {
		return err
	}
	text := p.layout(cols, rows)
	if text == p.shown {
		return nil
	}
	p.shown = text
	_, err = io.WriteString(out, homeAndClear+strings.ReplaceAll(text, "\n", "\r\n"))
	return err
}

// beside is how many columns the words need to stand next to the code.
const beside = 24

// layout places the code and the words: the words below the code if the terminal is
// high enough, else beside it, and without the code if it does not fit at all. The
// link comes whole on one line wherever it can.
func (p *page) layout(cols, rows int) string {
	below := p.words(cols)
	if quiet, ok := p.code.Fit(p.style, cols, rows-len(below)); ok && quiet == qr.Quiet {
		return p.drawing(quiet) + strings.Join(below, "\n")
	}
	if quiet, ok := p.code.Fit(p.style, cols-beside, rows); ok {
		width, _ := p.code.Size(p.style, quiet)
		return sideBySide(p.drawing(quiet), width, p.words(cols-width-2))
	}
	if quiet, ok := p.code.Fit(p.style, cols, rows-len(below)); ok {
		return p.drawing(quiet) + strings.Join(below, "\n")
	}
	needCols, needRows := p.code.Size(p.style, qr.Quiet)
	small := fmt.Sprintf("The code needs a terminal of %dx%d, this one is %dx%d: enlarge it, or use --png FILE.",
		needCols+beside, needRows, cols, rows)
	return strings.Join(append(wrap(small, cols), below...), "\n")
}

func (p *page) drawing(quiet int) string {
	var b bytes.Buffer
	_ = p.code.Terminal(&b, p.style, p.palette, quiet) // a buffer does not fail
	return b.String()
}

// words are the lines beside the code, none longer than width.
func (p *page) words(width int) []string {
	lines := wrap(fmt.Sprintf("%s (%v)", p.w.device.Name, p.w.device.ID), width)
	lines = append(lines, wrap(p.link, width)...)
	return append(lines, wrap(p.state(), width)...)
}

func (p *page) state() string {
	if !p.wait {
		return "q leaves"
	}
	left := max(0, time.Until(p.w.until)).Round(time.Second)
	what := "expires"
	if !p.w.fresh {
		what = "closes"
	}
	s := fmt.Sprintf("waiting for the first fix… %s in %d:%02d, q leaves", what, int(left.Minutes()), int(left.Seconds())%60)
	if p.w.note != "" {
		s += " (" + p.w.note + ")"
	}
	return s
}

// wrap breaks text at blanks, and words that are longer than a line anywhere.
func wrap(text string, width int) []string {
	width = max(width, 8)
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for len([]rune(word)) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			r := []rune(word)
			lines, word = append(lines, string(r[:width])), string(r[width:])
		}
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

// sideBySide puts words to the right of a drawing, starting in its second row. The
// drawing's lines hold colours, so its width is told and not counted.
func sideBySide(drawing string, width int, words []string) string {
	rows := strings.Split(strings.TrimSuffix(drawing, "\n"), "\n")
	for i, w := range words {
		if row := i + 1; row < len(rows) {
			rows[row] += fmt.Sprintf("\x1b[%dG%s", width+3, w)
		}
	}
	return strings.Join(rows, "\n")
}
