package tty

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/term"

	"tracker/pkg/tui/canvas"
)

// grace is how long a terminal may take nothing before it counts as hung.
const grace = time.Second

// Run shows a page until it wants to quit, ctx is done, or a signal ends the process;
// none of these is an error. A page that panics ends with a Crash. Nothing calls the
// page any more when Run has returned, unless it hangs itself. That the terminal went
// away is an end like any other: there is nobody left to tell.
func Run(ctx context.Context, page Page, c Config) error {
	c.fill()
	before, err := term.GetState(c.In.Fd())
	if err != nil {
		return fmt.Errorf("take the terminal: %w", err)
	}
	p := newProgram(page, c)
	// Neither its signal handler nor its context: both make it close the terminal while
	// it may still be reading from it. A message to leave does not.
	t := tea.NewProgram(p, tea.WithInput(c.In), tea.WithOutput(p.line), tea.WithFPS(30),
		tea.WithEnvironment(c.Environ), tea.WithFilter(p.filter), tea.WithoutSignalHandler())
	shown := make(chan error, 1)
	go func() { // ends with the page; with the process if the terminal hangs in a read
		_, err := t.Run()
		shown <- err
	}()
	if err, ok := wait(ctx, t, p.line, shown); ok {
		return ended(p, err)
	}
	_ = term.Restore(c.In.Fd(), before) // which does not wait for what hangs
	return nil
}

// ended is the error of a page that has ended.
func ended(p *program, err error) error {
	if p.failed != nil {
		return p.failed
	}
	if errors.Is(err, syscall.EIO) {
		return nil // the terminal went away
	}
	return err
}

// wait returns when the page has ended and the terminal was given back, or not ok if
// that never comes to be.
func wait(ctx context.Context, t *tea.Program, line *Line, shown <-chan error) (err error, ok bool) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	select {
	case err := <-shown:
		return err, true
	case <-ctx.Done():
	case <-signals:
	}
	go t.Send(leaveMsg{}) // not waited for: a program that hangs does not take it
	for before := line.progress(); ; before = line.progress() {
		select {
		case err := <-shown:
			return err, true
		case <-time.After(3 * grace):
			if line.progress() == before {
				return nil, false
			}
		}
	}
}

// program is a page as Bubble Tea wants it. View is called after every message, so it
// only hands out the frame that was drawn last.
//
// Events change the page's state and ask for a frame; frames are drawn when the line is
// idle and the last one is long enough ago, so that neither a pasted megabyte nor a
// window being pulled about draws more than a terminal can take.
type program struct {
	page    Page
	config  Config
	link    *Pace
	line    *Line
	out     []byte
	frame   string
	mouse   bool
	focused bool
	started time.Time
	drawn   time.Time
	waiting bool // for soonMsg
	must    bool // draw, whatever the page says
	erase   bool // what is on the screen, with the next frame

	size     tea.WindowSizeMsg // the newest
	resized  time.Time         // when Bubble Tea was last told of one
	settling bool              // until settledMsg

	leaving bool    // the page is over, or about to go into the background
	how     tea.Cmd // to leave, until it is done
	failed  *Crash
	diary   diary
}

func newProgram(page Page, c Config) *program {
	remote := Getenv(c.Environ, "SSH_CONNECTION") != "" || Getenv(c.Environ, "SSH_TTY") != ""
	return &program{
		page: page, config: c, link: c.Link, line: NewLine(c.Out, c.Link, remote),
		focused: true, mouse: page.Wants().Mouse, started: time.Now(),
	}
}

type (
	tickMsg    struct{}
	soonMsg    struct{}
	sizeMsg    struct{} // a size that Bubble Tea was not told yet
	settledMsg struct{} // look whether it can be told now
	leaveMsg   struct{}
	goneMsg    struct{} // an answer has had its time
)

// soonest is how long after a frame the next one may follow, even for a key.
const soonest = 33 * time.Millisecond

// settle is how long answers of the terminal are waited for before it is given back.
// One that comes later is read by the shell.
const settle = 200 * time.Millisecond

// Letters that are written from right to left are drawn in the order in which they are
// stored. A terminal that reorders them would move everything else in their row.
const (
	keepOrder = "\x1b[8l"
	giveOrder = "\x1b[8h"
)

func (p *program) Init() tea.Cmd { return tea.Batch(tea.Raw(keepOrder), p.tick()) }

func (p *program) tick() tea.Cmd {
	return tea.Tick(p.link.Interval(p.focused), func(time.Time) tea.Msg { return tickMsg{} })
}

func (p *program) View() tea.View {
	v := tea.NewView(p.frame)
	v.AltScreen = true
	v.ReportFocus = true
	if p.mouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	return v
}

// filter keeps sizes from Bubble Tea while the terminal is busy: it would send the whole
// screen for each of them.
func (p *program) filter(_ tea.Model, msg tea.Msg) tea.Msg {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		p.size = msg
		if p.settling || !p.settled() {
			return sizeMsg{}
		}
		p.resized = time.Now()
	case settledMsg:
		p.settling = false
		if !p.settled() {
			return sizeMsg{}
		}
		p.resized = time.Now()
		return p.size
	}
	return msg
}

func (p *program) settled() bool {
	return p.resized.IsZero() || p.line.Idle() && time.Since(p.resized) >= soonest
}

// Update ends the page in good order if it panics.
func (p *program) Update(msg tea.Msg) (m tea.Model, cmd tea.Cmd) {
	defer func() {
		if r := recover(); r != nil {
			p.failed = p.config.caught("map", r, p.diary.lately())
			m, cmd = p, p.leave(tea.Quit)
		}
	}()
	if p.leaving {
		return p, p.left(msg)
	}
	return p, p.update(msg)
}

func (p *program) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tickMsg:
		return tea.Batch(p.due(), p.tick())
	case soonMsg:
		p.waiting = false
		return p.soon()
	case sizeMsg:
		return p.later()
	case tea.WindowSizeMsg:
		p.page.Resize(msg.Width, msg.Height)
		p.must = true
		return p.show()
	case tea.CursorPositionMsg:
		p.line.Answered()
		return nil
	case leaveMsg:
		// There are terminals that keep the other screen, and pages that show secrets.
		p.frame = strings.Repeat("\n", max(p.size.Height-1, 0))
		return p.leave(tea.Quit)
	case tea.FocusMsg:
		p.focused = true
	case tea.BlurMsg:
		p.focused = false
	}
	e, ok := event(msg)
	if !ok {
		return nil
	}
	p.diary.note(e)
	p.page.Handle(e)
	return tea.Batch(p.granted(), p.soon())
}

// event is a message as a page knows it.
func event(msg tea.Msg) (Event, bool) {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		return Event{Kind: Press, Key: msg.String()}, true
	case tea.PasteMsg:
		return Event{Kind: Paste, Text: msg.Content}, true
	case tea.MouseClickMsg:
		return mouse(Click, tea.Mouse(msg)), true
	case tea.MouseMotionMsg:
		return mouse(Drag, tea.Mouse(msg)), true
	case tea.MouseReleaseMsg:
		return mouse(Release, tea.Mouse(msg)), true
	case tea.MouseWheelMsg:
		return mouse(Wheel, tea.Mouse(msg)), true
	case tea.FocusMsg:
		return Event{Kind: Focus}, true
	case tea.BlurMsg:
		return Event{Kind: Blur}, true
	case tea.ResumeMsg:
		return Event{Kind: Resumed}, true
	}
	return Event{}, false
}

var buttons = map[tea.MouseButton]Button{
	tea.MouseLeft: Left, tea.MouseMiddle: Middle, tea.MouseRight: Right,
	tea.MouseWheelUp: WheelUp, tea.MouseWheelDown: WheelDown,
}

func mouse(k Kind, m tea.Mouse) Event {
	return Event{Kind: k, X: m.X, Y: m.Y, Button: buttons[m.Button]}
}

// due draws a frame if one is wanted and the terminal can take it.
func (p *program) due() tea.Cmd {
	if !p.wanted() || !p.line.Idle() {
		return nil
	}
	return p.show()
}

// wanted tells whether a frame would differ from the last one. Without a size there is
// none.
func (p *program) wanted() bool {
	p.erase = p.erase || p.line.Missed()
	return !p.resized.IsZero() && (p.must || p.erase || p.page.Due(time.Now()))
}

// soon answers an event: with a frame at once, or with one as soon as the terminal can
// take it.
func (p *program) soon() tea.Cmd {
	if p.leaving || p.waiting || !p.wanted() {
		return nil
	}
	pause := max(soonest, p.link.pause()) - time.Since(p.drawn)
	if pause <= 0 && p.line.Idle() {
		return p.show()
	}
	if pause <= 0 {
		pause = soonest
	}
	p.waiting = true
	return tea.Tick(pause, func(time.Time) tea.Msg { return soonMsg{} })
}

// later looks again for whether a new size can be told.
func (p *program) later() tea.Cmd {
	if p.settling {
		return nil
	}
	p.settling = true
	return tea.Tick(soonest, func(time.Time) tea.Msg { return settledMsg{} })
}

// granted does what the page wants of its terminal.
func (p *program) granted() tea.Cmd {
	w := p.page.Wants()
	p.mouse = w.Mouse
	p.erase = p.erase || w.Redraw
	switch {
	case w.Quit:
		return p.leave(tea.Quit)
	case w.Suspend:
		return p.leave(tea.Suspend)
	case w.Copy != "":
		return tea.SetClipboard(w.Copy)
	}
	return nil
}

// leave ends the page, or puts it into the background, when the terminal has answered
// what it was asked or has had time to.
func (p *program) leave(how tea.Cmd) tea.Cmd {
	p.leaving, p.how = true, tea.Sequence(tea.Raw(giveOrder), how)
	p.line.Direct(true)
	wait := settle
	if !p.line.Unanswered() {
		wait -= time.Since(p.started) // Bubble Tea asks too, when it starts
	}
	if wait <= 0 {
		return p.gone()
	}
	return tea.Tick(wait, func(time.Time) tea.Msg { return goneMsg{} })
}

// gone leaves, once.
func (p *program) gone() tea.Cmd {
	how := p.how
	p.how = nil
	return how
}

// left takes messages when the page does not any more. That the terminal was suspended
// is told when it is not any more, and at once where nothing can be suspended.
func (p *program) left(msg tea.Msg) tea.Cmd {
	switch msg.(type) {
	case tickMsg:
		return p.tick()
	case soonMsg:
		p.waiting = false
	case tea.CursorPositionMsg:
		p.line.Answered()
		if !p.line.Unanswered() && time.Since(p.started) >= settle {
			return p.gone()
		}
	case goneMsg:
		return p.gone()
	case leaveMsg:
		return tea.Quit
	case tea.SuspendMsg:
		p.leaving = false
		p.line.Direct(false)
		return tea.Raw(keepOrder)
	}
	return nil
}

// show draws a frame.
func (p *program) show() tea.Cmd {
	p.draw()
	if !p.erase {
		return p.granted()
	}
	p.erase = false
	return tea.Batch(tea.ClearScreen, p.granted())
}

func (p *program) draw() {
	c := p.page.Draw(time.Now())
	p.frame = encode(&p.out, c, p.page)
	p.drawn = time.Now()
	p.must = false
}

// encode makes a string of a frame, in memory that is used again.
func encode(buf *[]byte, c *canvas.Canvas, page Page) string {
	theme, glyphs := page.Look()
	*buf = c.Encode((*buf)[:0], theme, glyphs)
	return string(*buf)
}
