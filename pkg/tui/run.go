package tui

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"tracker/pkg/filter"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/past"
	"tracker/pkg/tui/tell"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/world"
)

// Run shows the live map on the process's terminal until its user quits, ctx is done,
// or the feed fails. Where standard output is no terminal it does what Once does; where
// standard input is none, or the terminal a dumb one, what Plain does. Whatever ends it,
// the terminal is as it was before. That the terminal went away is an end like any
// other: there is nobody left to tell.
//
// A server that refuses the feed does not end the map if there is a Line: it is asked
// again, and the map that is left meanwhile ends with the refusal.
func Run(ctx context.Context, o Options) error {
	switch {
	case !tty.IsTerminal(os.Stdout):
		return Once(ctx, os.Stdout, o)
	case !tty.Interactive(o.environ(), os.Stdin, os.Stdout):
		return Plain(ctx, os.Stdout, o)
	}
	f, err := o.look(tty.Profile(os.Stdout, o.environ()))
	if err != nil {
		return err
	}
	go world.Fine() // ahead of the first zoom that wants it

	store := o.store()
	s, err := newScreen(&o, store, f)
	if err != nil {
		return err
	}
	s.noMouse, s.opening = !o.Mouse, o.Opening
	if o.Past != nil {
		s.player = past.New(o.Past, store, o.Now)
	}
	terminal := tty.Config{Environ: o.environ(), Link: s.link, FPS: s.conf.FPS, StateDir: o.StateDir}
	s.keeper = newKeeper(o.Line, store)
	o.Feed = s.keeper.keep(o.Feed)
	showing, leave := context.WithCancel(ctx)
	defer leave()
	s.jobs = &jobs{ctx: showing, cli: o.CLI, guard: terminal.Guard, now: time.Now}
	fed := startFeed(showing, &o, store, &terminal)
	travelled := startPlayer(showing, s.player, &terminal, leave)
	ended := make(chan error, 1)
	go func() {
		err := <-fed
		if err == nil && showing.Err() == nil {
			store.SetLink(fleet.Ended, "the feed is complete")
		} else {
			leave() // there is nothing more to see
		}
		ended <- err
	}()
	err = tty.Run(showing, s, terminal)
	leave()
	s.order.Wait()
	s.jobs.wait()
	return errors.Join(<-ended, s.keeper.left(), <-travelled, err)
}

// startPlayer runs the player and sends what became of it, once. A player that fails takes
// the map with it.
func startPlayer(ctx context.Context, p *past.Player, terminal *tty.Config, leave func()) <-chan error {
	ended := make(chan error, 1)
	if p == nil {
		ended <- nil
		return ended
	}
	go func() {
		err := terminal.Guard("player", func() error { return p.Run(ctx) })
		if ctx.Err() == nil && err != nil {
			leave()
		} else if !crashed(err) {
			err = nil // it was told to stop
		}
		ended <- err
	}()
	return ended
}

// crashed tells whether an error is a panic, which is told whoever stopped what.
func crashed(err error) bool {
	var c *tty.Crash
	return errors.As(err, &c)
}

// Plain tells of the fleet in sentences, one a second at most: for screen readers,
// logs and terminals that cannot show a map. It ends like Run, and with a last summary
// when the feed is complete.
func Plain(ctx context.Context, w io.Writer, o Options) error {
	store := o.store()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fed := startFeed(ctx, &o, store, &tty.Config{StateDir: o.StateDir})
	complete := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		err := <-fed
		if err == nil && ctx.Err() == nil {
			close(complete)
		} else {
			cancel()
		}
		ended <- err
	}()
	err := tell.Plain(ctx, o.In, w, store, tell.Options{
		Complete: complete, Filter: o.Filter,
		Parse: func(text string) (*filter.Filter, error) { return parseFilter(text, o.settings().Filters) },
	})
	cancel()
	return errors.Join(<-ended, err)
}

// startFeed runs the feed and sends what became of it, once.
func startFeed(ctx context.Context, o *Options, store *fleet.Store, terminal *tty.Config) <-chan error {
	fed := make(chan error, 1)
	go func() {
		err := terminal.Guard("feed", func() error { return o.Feed(ctx, store) })
		if ctx.Err() != nil && !crashed(err) {
			err = nil // it was told to stop
		}
		fed <- err
	}()
	return fed
}
