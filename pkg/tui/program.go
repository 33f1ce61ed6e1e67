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
	feeding, stopFeed := context.WithCancel(ctx)
	defer stopFeed()
	r := &running{store: store, stopFeed: stopFeed, fed: startFeed(feeding, &o, store), shown: make(chan error, 1)}

	meter := &meter{File: os.Stdout}
	s := newScreen(&o, store, theme, glyphs)
	s.noMouse = !o.Mouse
	p := &program{s: s, meter: meter, focused: true}
	// Neither its signal handler nor its context: both make it close the terminal while
	// it may still be reading from it. A message to quit does not.
	r.tea = tea.NewProgram(p, tea.WithOutput(meter), tea.WithFPS(30), tea.WithEnvironment(o.environ()), tea.WithoutSignalHandler())
	go func() {
		_, err := r.tea.Run()
		r.shown <- errors.Join(p.failed, err)
	}()
	return r.wait(ctx)
}

// running is a map on a terminal and the feed behind it.
type running struct {
	store    *Store
	tea      *tea.Program
	shown    chan error // how the map ended
	fed      <-chan error
	stopFeed func()
}

// grace is how long a terminal may take for the last bytes. One that hangs would take
// them never.
const grace = time.Second

// wait returns when the map has ended, and its feed.
func (r *running) wait(ctx context.Context) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	fed := r.fed
	for {
		select {
		case err := <-r.shown:
			r.stopFeed()
			if fed != nil {
				<-fed
			}
			return err
		case err := <-fed:
			fed = nil
			if err != nil {
				return errors.Join(err, r.quit())
			}
			r.store.SetLink(Ended, "the feed is complete")
		case <-ctx.Done():
			return r.end(fed)
		case <-signals:
			return r.end(fed)
		}
	}
}

// end stops the feed and the map.
func (r *running) end(fed <-chan error) error {
	r.stopFeed()
	err := r.quit()
	if fed != nil {
		<-fed
	}
	return err
}

// quit ends the map and gives the terminal back.
func (r *running) quit() error {
	go r.tea.Quit() // waits while a frame is being written, with a hung terminal for ever
	select {
	case err := <-r.shown:
		return err
	case <-time.After(grace):
		return nil
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

// Update ends the map in good order if the screen panics.
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
