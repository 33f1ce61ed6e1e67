// Package tty puts a Page on a terminal: it is the only room that knows Bubble Tea, raw
// mode and escape sequences other than colours.
//
//	keys, mouse, size, focus ──► Handle, Resize     state only
//	tick, as often as the terminal can take it ──► Due? ──► Draw ──► Encode ──► Line ──► tty
//	        ▲                                            │                       │
//	        │         quit, suspend, copy, … ◄── Wants ◄─┘                       │
//	        └───────── Pace ◄──── how long that took, when it was answered ◄─────┘
//
// A page neither draws nor waits while it handles an event, and is not asked to draw
// while the terminal is busy with the last frame. Bubble Tea is handed the finished
// string as often as it likes to ask; an equal string costs nothing. Whatever ends a
// page, the terminal is as it was before. Card shows what a terminal can do.
package tty

import (
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
)

// Page fills a terminal. All methods are called by one goroutine at a time.
type Page interface {
	Resize(w, h int)
	Handle(e Event)                       // changes state, draws nothing
	Due(now time.Time) bool               // would a frame differ from the last one?
	Draw(now time.Time) *canvas.Canvas    // the page's own until the next Draw
	Look() (*canvas.Theme, canvas.Glyphs) // of the frame that was drawn last
	Wants() Wants                         // asked after every Handle and Draw
}

// Kind is what an Event is.
type Kind uint8

const (
	Press   Kind = iota + 1 // a key, named in Key
	Paste                   // Text, of any length and with anything in it
	Click                   // a button went down at X, Y
	Drag                    // the mouse moved while a button was down
	Release                 // a button went up
	Wheel                   // Button says which way
	Focus                   // the terminal is being looked at
	Blur                    // and is not any more
	Resumed                 // back from the shell
)

func (k Kind) String() string {
	return [...]string{"nothing", "key", "paste", "click", "drag", "release", "wheel", "focus", "blur", "resumed"}[k]
}

// Button of the mouse.
type Button uint8

const (
	NoButton Button = iota
	Left
	Middle
	Right
	WheelUp
	WheelDown
)

// Event is something that a person did.
type Event struct {
	Kind   Kind
	Key    string // as Bubble Tea names keys: a, A, ctrl+l, shift+left, space
	Text   string
	X, Y   int // cells from the upper left corner
	Button Button
}

// Wants is what a page asks of its terminal. Mouse is a state, the others are said once:
// the page forgets them when it has been asked.
type Wants struct {
	Quit, Suspend bool
	Redraw        bool // everything, as if nothing were on the screen
	Mouse         bool // take the mouse from the terminal
	Copy          string
}

// Config is a terminal.
type Config struct {
	In, Out  *os.File // the process's own if nil
	Environ  []string // the process's own if nil
	FPS      int      // at most so many frames a second without a key, 10 if 0
	StateDir string   // for what is left of a panic; nothing is written if empty
	Link     *Pace    // measures the terminal; may be nil
}

func (c *Config) fill() {
	if c.In == nil {
		c.In = os.Stdin
	}
	if c.Out == nil {
		c.Out = os.Stdout
	}
	if c.Environ == nil {
		c.Environ = os.Environ()
	}
	if c.Link == nil {
		c.Link = &Pace{}
	}
	if c.FPS > 0 {
		c.Link.SetFPS(c.FPS)
	}
}

// Getenv looks a variable up; of several the last one counts.
func Getenv(environ []string, name string) string {
	value := ""
	for _, e := range environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// Interactive tells whether there is a terminal that can show a page.
func Interactive(environ []string, in, out *os.File) bool {
	t := Getenv(environ, "TERM")
	return t != "dumb" && t != "" && term.IsTerminal(in.Fd()) && term.IsTerminal(out.Fd())
}

// IsTerminal tells whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}

// Profile is what colours w can show.
func Profile(w io.Writer, environ []string) look.Profile {
	switch {
	case !IsTerminal(w) || Getenv(environ, "TERM") == "dumb":
		return look.NoStyle
	case Getenv(environ, "NO_COLOR") != "":
		return look.NoColour
	}
	switch colorprofile.Detect(w, environ) {
	case colorprofile.TrueColor:
		return look.TrueColour
	case colorprofile.ANSI256:
		return look.Colour256
	case colorprofile.ANSI:
		return look.Colour16
	case colorprofile.Ascii:
		return look.NoColour
	}
	return look.NoStyle
}

// Colours brings the colours in what is written to w down to what it can show.
func Colours(w io.Writer, environ []string) io.Writer {
	if !IsTerminal(w) {
		return w
	}
	return colorprofile.NewWriter(w, environ)
}

// Size is what a single picture on w may take. On a terminal the prompt needs a line
// too; elsewhere it is COLUMNS and LINES, or 80x24.
func Size(w io.Writer, environ []string) (cols, rows int) {
	if f, ok := w.(*os.File); ok {
		if cols, rows, err := term.GetSize(f.Fd()); err == nil && cols > 0 && rows > 1 {
			return cols, rows - 1
		}
	}
	from := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(Getenv(environ, name)); err == nil && n >= 10 && n <= 1000 {
			return n
		}
		return otherwise
	}
	return from("COLUMNS", 80), from("LINES", 24)
}
