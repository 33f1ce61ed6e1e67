package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui"
	tuifleet "tracker/pkg/tui/fleet"
	"tracker/pkg/tui/past"
)

// firstAnswer is how long a server may take to begin a map.
const firstAnswer = 10 * time.Second

// mapLine is the map's way to its server: the connection of the moment, and the watch on
// it. Both are others after the token has become another.
type mapLine struct {
	app  *app // settled
	area client.Area

	mu     sync.Mutex
	as     *app // whose server and token those of the moment are
	conn   *client.Conn
	watch  *client.Watch
	advice string
	closed bool
}

var (
	_ tui.Line    = (*mapLine)(nil)
	_ past.Source = (*mapLine)(nil)
)

// openMapLine connects, so that a wrong address or token is told before the terminal is
// taken. The line ends with ctx and is the caller's to close.
func (a *app) openMapLine(ctx context.Context, area client.Area) (*mapLine, error) {
	quiet, err := a.settled()
	if err != nil {
		return nil, err
	}
	l := &mapLine{app: quiet, area: area}
	if err := l.open(ctx, a); err != nil {
		return nil, err
	}
	return l, nil
}

// settled is the app with the server and the context that it has now, whichever becomes
// the current one in another shell, and with nothing to say: somebody else has the
// terminal.
func (a *app) settled() (*app, error) {
	t, err := a.target()
	if err != nil {
		return nil, err
	}
	c, err := loadContexts()
	if err != nil {
		return nil, err
	}
	s := *a
	s.server, s.contextName, s.err = t.Server, first(a.contextName, os.Getenv("TRACK_CONTEXT"), c.Current), io.Discard
	s.resolved, s.conns = nil, nil
	return &s, nil
}

// open connects with what an app knows, or finds out if it does not.
func (l *mapLine) open(ctx context.Context, as *app) error {
	conn, err := as.connect()
	if err != nil {
		return err
	}
	tooLong := time.AfterFunc(firstAnswer, conn.Close)
	watch, err := conn.Watch(ctx, l.area)
	if !tooLong.Stop() {
		err = fmt.Errorf("%w %s: no answer within %v", client.ErrUnreachable, conn.Server(), firstAnswer)
	}
	advice := l.app.renewal()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.closed {
		err = fmt.Errorf("the map: %w", track.ErrClosed)
	}
	l.advice = advice
	if err != nil {
		conn.Close()
		return err
	}
	if l.conn != nil {
		l.conn.Close()
	}
	l.as, l.conn, l.watch = as, conn, watch
	return nil
}

// current is the connection and the watch of the moment.
func (l *mapLine) current() (*client.Conn, *client.Watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn, l.watch
}

// asker is the app that knows the server and the token of the moment. Nobody changes it.
func (l *mapLine) asker() *app {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.as
}

// Again reads the token anew: another shell may have changed it.
func (l *mapLine) Again(ctx context.Context) (tui.Feed, error) {
	anew := *l.app
	if err := l.open(ctx, &anew); err != nil {
		return nil, err
	}
	return l.feed(), nil
}

// feed takes what the watch of the moment tells.
func (l *mapLine) feed() tui.Feed {
	_, watch := l.current()
	return tuifleet.FromWatch(watch)
}

func (l *mapLine) Hurry() {
	_, watch := l.current()
	watch.Hurry()
}

func (l *mapLine) Advice() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.advice
}

// Window asks for history on the connection of the moment.
func (l *mapLine) Window(ctx context.Context, devices []track.DeviceID, from, to time.Time, yield func([]client.Fix) error) error {
	conn, _ := l.current()
	return past.FromConn(conn, pastStreams).Window(ctx, devices, from, to, yield)
}

// Close ends the watch and closes the connection.
func (l *mapLine) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.watch.Close()
	l.conn.Close()
}

// renewal says how somebody gives this app another token while it runs, as far as that is
// possible.
func (a *app) renewal() string {
	file := first(a.tokenFile, os.Getenv("TRACK_TOKEN_FILE"))
	switch {
	case a.token != "":
		return "quit to give another --token"
	case a.tokenFile == "" && os.Getenv("TRACK_TOKEN") != "":
		return "quit to give another TRACK_TOKEN"
	case file != "":
		return "another token goes into " + file
	}
	saved, err := a.savedContext()
	switch {
	case err == nil && saved.TokenFile != "":
		return "another token goes into " + saved.TokenFile
	case err == nil && a.contextName != "":
		return "another token: trackctl context add " + a.contextName + " --server " + a.server + " --token -"
	}
	return "a token: trackctl context add NAME --server " + a.server + " --token -"
}
