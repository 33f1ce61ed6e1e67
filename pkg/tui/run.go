package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tell"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/world"
)

// Run shows the live map on the process's terminal until its user quits, ctx is done,
// or the feed fails. Where standard input or output is no terminal, or a dumb one, it
// does what Plain does. Whatever ends it, the terminal is as it was before. That the
// terminal went away is an end like any other: there is nobody left to tell.
func Run(ctx context.Context, o Options) error {
	if !tty.Interactive(o.environ(), os.Stdin, os.Stdout) {
		return Plain(ctx, os.Stdout, o)
	}
	theme, glyphs, err := o.look(tty.Profile(os.Stdout, o.environ()))
	if err != nil {
		return err
	}
	go world.Fine() // ahead of the first zoom that wants it

	store := o.store()
	s, err := newScreen(&o, store, theme, glyphs)
	if err != nil {
		return err
	}
	s.noMouse = !o.Mouse
	showing, leave := context.WithCancel(ctx)
	defer leave()
	fed := startFeed(showing, &o, store)
	ended := make(chan error, 1)
	go func() {
		err := <-fed
		if err == nil {
			store.SetLink(fleet.Ended, "the feed is complete")
		} else {
			leave() // there is nothing more to see
		}
		ended <- err
	}()
	err = tty.Run(showing, s, tty.Config{Environ: o.environ(), Link: s.link})
	leave()
	return errors.Join(<-ended, err)
}

// Plain tells of the fleet in sentences, one a second at most: for screen readers,
// logs and terminals that cannot show a map. It ends like Run, and with a last summary
// when the feed is complete.
func Plain(ctx context.Context, w io.Writer, o Options) error {
	store := o.store()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fed := startFeed(ctx, &o, store)
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
	err := tell.Plain(ctx, nil, w, store, tell.Options{Complete: complete})
	cancel()
	return errors.Join(<-ended, err)
}

// startFeed runs the feed and sends what became of it, once.
func startFeed(ctx context.Context, o *Options, store *fleet.Store) <-chan error {
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
func runFeed(ctx context.Context, o *Options, store *fleet.Store) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("feed: panic: %v\n%s", r, debug.Stack())
		}
	}()
	return o.Feed(ctx, store)
}
