package tty

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"

	"tracker/pkg/tui/canvas"
)

// grace is how long a terminal may take for the last bytes. One that hangs would take
// them never.
const grace = time.Second

// Run shows a page until it wants to quit, ctx is done, or a signal ends the process;
// none of these is an error. A page that panics ends with one. Nothing calls the page
// any more when Run has returned, unless the terminal hangs. That the terminal went away
// is an end like any other: there is nobody left to tell.
func Run(ctx context.Context, page Page, c Config) error {
	c.fill()
	p := &program{page: page, link: c.Link, focused: true, mouse: page.Wants().Mouse}
	// Neither its signal handler nor its context: both make it close the terminal while
	// it may still be reading from it. A message to quit does not.
	t := tea.NewProgram(p, tea.WithInput(c.In), tea.WithOutput(&Line{c.Out, c.Link}), tea.WithFPS(30),
		tea.WithEnvironment(c.Environ), tea.WithoutSignalHandler())
	shown := make(chan error, 1)
	go func() {
		_, err := t.Run()
		shown <- errors.Join(p.failed, err)
	}()
	return wait(ctx, t, shown)
}

// wait returns when the page has ended and the terminal was given back.
func wait(ctx context.Context, t *tea.Program, shown <-chan error) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	select {
	case err := <-shown:
		return err
	case <-ctx.Done():
	case <-signals:
	}
	go t.Quit() // waits while a frame is being written, with a hung terminal for ever
	select {
	case err := <-shown:
		return err
	case <-time.After(grace):
		return nil
	}
}

// program is a page as Bubble Tea wants it. View is called after every message, so it
// only hands out the frame that was drawn last.
type program struct {
	page    Page
	link    *Pace
	out     []byte
	frame   string
	mouse   bool
	focused bool
	drawn   time.Time
	waiting bool  // for soonMsg
	failed  error // a panic, after which nothing is drawn any more
}

type (
	tickMsg struct{}
	soonMsg struct{}
)

// soonest is how long after a frame the next one may follow, even for a key.
const soonest = 33 * time.Millisecond

func (p *program) Init() tea.Cmd { return p.tick() }

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

// Update ends the page in good order if it panics.
func (p *program) Update(msg tea.Msg) (m tea.Model, cmd tea.Cmd) {
	defer func() {
		if r := recover(); r != nil {
			p.failed = fmt.Errorf("map: panic: %v\n%s", r, debug.Stack())
			m, cmd = p, tea.Quit
		}
	}()
	if p.failed != nil {
		return p, tea.Quit
	}
	return p.update(msg)
}

func (p *program) update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tickMsg:
		if !p.page.Due(time.Now()) {
			return p, p.tick()
		}
		p.draw()
		return p, tea.Batch(p.granted(), p.tick())
	case soonMsg:
		p.waiting = false
		p.draw()
		return p, p.granted()
	case tea.WindowSizeMsg:
		p.page.Resize(msg.Width, msg.Height)
		p.draw()
		return p, p.granted()
	case tea.FocusMsg:
		p.focused = true
	case tea.BlurMsg:
		p.focused = false
	}
	e, ok := event(msg)
	if !ok {
		return p, nil
	}
	p.page.Handle(e)
	return p, p.after()
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

// after answers an event: with a frame at once, or soon if one was just drawn.
func (p *program) after() tea.Cmd {
	if cmd := p.granted(); cmd != nil {
		return cmd
	}
	if !p.page.Due(time.Now()) || p.waiting {
		return nil
	}
	pause := max(soonest, p.link.pause()) - time.Since(p.drawn)
	if pause <= 0 {
		p.draw()
		return p.granted()
	}
	p.waiting = true
	return tea.Tick(pause, func(time.Time) tea.Msg { return soonMsg{} })
}

// granted does what the page wants of its terminal.
func (p *program) granted() tea.Cmd {
	w := p.page.Wants()
	p.mouse = w.Mouse
	switch {
	case w.Quit:
		return tea.Quit
	case w.Suspend:
		return tea.Suspend
	case w.Redraw:
		p.draw()
		return tea.ClearScreen
	case w.Copy != "":
		return tea.SetClipboard(w.Copy)
	}
	return nil
}

func (p *program) draw() {
	c := p.page.Draw(time.Now())
	p.frame = encode(&p.out, c, p.page)
	p.drawn = time.Now()
}

// encode makes a string of a frame, in memory that is used again.
func encode(buf *[]byte, c *canvas.Canvas, page Page) string {
	theme, glyphs := page.Look()
	*buf = c.Encode((*buf)[:0], theme, glyphs)
	return string(*buf)
}
