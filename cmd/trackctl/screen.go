package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"tracker/pkg/client"
	tuifleet "tracker/pkg/tui/fleet"
	"tracker/pkg/tui/page"
	"tracker/pkg/tui/qr"
	"tracker/pkg/tui/tty"
)

// showScreen shows an enrolment on the terminal: the code until the first fix, and then
// where that was. Nothing of the key is left when it goes.
func (a *app) showScreen(ctx context.Context, out *os.File, code *qr.Code, link string, s *showing, w *waiting) error {
	environ := os.Environ()
	face := page.NewFace(tty.Profile(out, environ), environ)
	style := face.CodeStyle()
	if s.style != "" {
		var err error
		if style, err = qr.ParseStyle(s.style); err != nil {
			return err
		}
	}
	e := page.Enrolment{Device: w.device, Code: code, Style: style, Link: link, Fresh: w.fresh, Until: w.until}
	if s.wait {
		e.Store = tuifleet.New(tuifleet.Config{})
	}
	p := page.NewEnrol(e, face)
	err := a.runScreen(ctx, out, page.Environ(environ), p, func(ctx context.Context) error {
		if e.Store == nil {
			return nil
		}
		return w.feed(ctx, e.Store)
	})
	return w.ended(ctx, a, p, err)
}

// readersMayLeave makes a write to a pipe that nobody reads any more an error instead of
// the end of the process, for those who end in good order then: "| head -1" is no failure.
func readersMayLeave() { signal.Ignore(syscall.SIGPIPE) }

// left takes away an error that says only that nobody reads any more.
func left(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// runScreen shows a page and runs what feeds it, until the page wants to end, its feed
// fails, or ctx is done. It returns when both have ended.
func (a *app) runScreen(ctx context.Context, out *os.File, environ []string, p tty.Page, feed func(context.Context) error) error {
	in, _ := a.in.(*os.File)
	dir, _ := stateDir() // without one nothing is written of a panic
	showing, leave := context.WithCancel(ctx)
	defer leave()
	fed := make(chan error, 1)
	go func() {
		err := guarded(showing, feed)
		if err != nil {
			leave() // there is nothing more to see
		}
		fed <- err
	}()
	err := tty.Run(showing, p, tty.Config{In: in, Out: out, Environ: environ, StateDir: dir})
	leave()
	return errors.Join(<-fed, err)
}

// guarded turns a panic of a feed into an error: nobody else could give the terminal
// back. What fails because it was told to stop has not failed.
func guarded(ctx context.Context, feed func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("feed: panic: %v\n%s", r, debug.Stack())
		}
	}()
	if err := feed(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// ended says what became of an enrolment whose screen has gone.
func (w *waiting) ended(ctx context.Context, a *app, p *page.Enrol, err error) error {
	seen, how := p.Seen(), p.How()
	interrupted := ctx.Err()
	if how == page.Interrupted || how == page.Unfinished && err == nil {
		interrupted = context.Canceled
	}
	switch {
	case seen != nil:
		return errors.Join(w.end(ctx, a, seen, nil), err, interrupted)
	case err != nil:
		return w.end(ctx, a, nil, err)
	case interrupted != nil:
		return w.end(ctx, a, nil, interrupted)
	case how == page.Expired:
		return w.end(ctx, a, nil, errExpired)
	}
	a.notef("%s (%v) is enrolled; its code is not shown again", w.device.Name, w.device.ID)
	return nil
}

// feed puts what the device sends into a store, until ctx is done.
func (w *waiting) feed(ctx context.Context, store *tuifleet.Store) error {
	watch, err := w.watch(ctx, func() { store.SetLink(tuifleet.Reconnecting, "no answer") })
	if err != nil {
		return err
	}
	return tuifleet.FromWatch(watch)(ctx, store)
}

// watch begins to watch the device, again and again while the server does not answer.
func (w *waiting) watch(ctx context.Context, unanswered func()) (*client.Watch, error) {
	for {
		watch, err := w.conn.Watch(ctx, client.Area{Devices: []string{w.device.ID.String()}})
		if !errors.Is(err, client.ErrUnreachable) {
			return watch, err
		}
		unanswered()
		if err := pause(ctx, askAgain); err != nil {
			return nil, err
		}
	}
}
