package tui

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

	"tracker/pkg/tui/world"
)

// This file is the only one that knows Bubble Tea.

// Run shows the live map on the process's terminal until its user quits, ctx is done,
// or the feed fails. Where standard input or output is no terminal, or a dumb one, it
// does what Plain does. Whatever ends it, the terminal is as it was before. That the
// terminal went away is an end like any other: there is nobody left to tell.
func Run(ctx context.Context, o Options) error {
	if !interactive(&o) {
		return Plain(ctx, os.Stdout, o)
	}
	theme, glyphs, err := o.look(os.Stdout)
	if err != nil {
		return err
	}
	go world.Fine() // ahead of the first zoom that wants it

	store := NewStore(o.Now)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fed := startFeed(ctx, &o, store)

	meter := &meter{File: os.Stdout}
	s := newScreen(&o, store, theme, glyphs)
	s.noMouse = !o.Mouse
	prog := tea.NewProgram(&program{s: s, meter: meter, focused: true},
		tea.WithContext(ctx), tea.WithOutput(meter), tea.WithFPS(30), tea.WithEnvironment(o.environ()))
	shown := make(chan error, 1)
	go func() {
		_, err := prog.Run()
		shown <- err
	}()
	return supervise(ctx, cancel, store, prog, shown, fed)
}

// supervise waits for whichever ends the map, and then for the others.
func supervise(ctx context.Context, cancel func(), store *Store, prog *tea.Program, shown, fed <-chan error) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	var feedErr error
	for {
		select {
		case err := <-shown:
			outside := ctx.Err() != nil
			cancel()
			if fed != nil {
				<-fed
			}
			if outside && feedErr == nil || errors.Is(err, tea.ErrInterrupted) {
				return nil
			}
			return errors.Join(feedErr, err)
		case feedErr = <-fed:
			fed = nil
			if feedErr == nil {
				store.SetLink(Ended, "the feed is complete")
				continue
			}
			go prog.Quit() // from a goroutine: it waits while the program draws
		case <-hangup:
			cancel()
			// Drawing may hang for ever in a write to a terminal that is gone.
			select {
			case <-shown:
			case <-time.After(time.Second):
			}
			if fed != nil {
				<-fed
			}
			return nil
		}
	}
}

// startFeed runs the feed and sends what became of it, once.
func startFeed(ctx context.Context, o *Options, store *Store) <-chan error {
	fed := make(chan error, 1)
	go func() {
		err := runFeed(ctx, o, store)
		if ctx.Err() != nil {
			err = nil // it was told to stop
		}
		fed <- err
	}()
	return fed
}

// runFeed turns a panic of the feed into an error: nobody else could give the
// terminal back.
func runFeed(ctx context.Context, o *Options, store *Store) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("feed: panic: %v\n%s", r, debug.Stack())
		}
	}()
	return o.Feed(ctx, store)
}

// program is the screen as Bubble Tea wants it. View is called after every message,
// so it only hands out the frame that was composed last: the same string again costs
// nothing.
type program struct {
	s       *screen
	meter   *meter
	focused bool
	drawn   time.Time
	waiting bool // for soonMsg
}

type (
	tickMsg struct{}
	soonMsg struct{}
)

// soonest is how long after a frame the next one may follow, even for a key.
const soonest = 33 * time.Millisecond

func (p *program) Init() tea.Cmd { return p.tick() }

func (p *program) tick() tea.Cmd {
	return tea.Tick(p.meter.interval(p.focused), func(time.Time) tea.Msg { return tickMsg{} })
}

func (p *program) View() tea.View {
	v := tea.NewView(p.s.frame)
	v.AltScreen = true
	v.ReportFocus = true
	if !p.s.noMouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	return v
}

func (p *program) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	s := p.s
	switch msg := msg.(type) {
	case tickMsg:
		if s.stir() {
			p.draw()
		}
		return p, p.tick()
	case soonMsg:
		p.waiting = false
		p.draw()
		return p, nil
	case tea.WindowSizeMsg:
		s.resize(msg.Width, msg.Height)
		p.draw()
		return p, nil
	case tea.FocusMsg:
		p.focused = true
	case tea.BlurMsg:
		p.focused = false
		return p, nil
	case tea.KeyPressMsg:
		s.key(msg.String())
	case tea.MouseClickMsg:
		if msg.Button != tea.MouseLeft {
			return p, nil
		}
		s.mouse(mousePress, msg.X, msg.Y)
	case tea.MouseMotionMsg:
		s.mouse(mouseDrag, msg.X, msg.Y)
	case tea.MouseReleaseMsg:
		s.mouse(mouseRelease, msg.X, msg.Y)
	case tea.MouseWheelMsg:
		p.wheel(msg)
	case tea.ResumeMsg:
		s.redraw = true
	default:
		return p, nil
	}
	return p, p.after()
}

func (p *program) wheel(msg tea.MouseWheelMsg) {
	switch msg.Button {
	case tea.MouseWheelUp:
		p.s.mouse(mouseWheelUp, msg.X, msg.Y)
	case tea.MouseWheelDown:
		p.s.mouse(mouseWheelDown, msg.X, msg.Y)
	}
}

// after answers a key or the mouse: with a frame at once, or soon if one was just drawn.
func (p *program) after() tea.Cmd {
	s := p.s
	switch {
	case s.quit:
		return tea.Quit
	case s.suspend:
		s.suspend = false
		return tea.Suspend
	case s.redraw:
		s.redraw = false
		p.draw()
		return tea.ClearScreen
	}
	pause := max(soonest, p.meter.pause()) - time.Since(p.drawn)
	if pause <= 0 {
		p.draw()
		return nil
	}
	if p.waiting {
		return nil
	}
	p.waiting = true
	return tea.Tick(pause, func(time.Time) tea.Msg { return soonMsg{} })
}

func (p *program) draw() {
	p.s.slow = p.meter.complaint()
	p.s.compose()
	p.drawn = time.Now()
}
