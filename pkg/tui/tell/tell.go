// Package tell is the map for people without a map: sentences for screen readers, logs
// and terminals that cannot show one, and lines of JSON for programs.
//
//	Store ── Frame, Log ──► narrator ── the next thing worth saying ──┐
//	                                                                  ├─► lines
//	somebody's questions ── verbs ── what they ask for ───────────────┘
//	client.Watch ── every fix, every event ── JSONL ──────────────────► lines
//
// What is told is only ever added to: nothing is written twice or taken back, nothing is
// drawn, and every line is a sentence. There is one a second at most, and none before a
// voice has read the one before, but what somebody has to hear at once is told at once,
// and a question is answered when it is asked. Only what changed is told.
package tell

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"
	"unicode/utf8"

	"tracker/pkg/filter"
	"tracker/pkg/tui/fleet"
)

// Options say what to tell.
type Options struct {
	// Complete is closed when nothing more will come into the store: then a last
	// summary is told. It may be nil.
	Complete <-chan struct{}

	Filter *filter.Filter // whom the news is of; nil is everybody. Calls for help are always told.

	// Parse reads a filter that somebody types; nil is filter.Parse.
	Parse func(text string) (*filter.Filter, error)

	Mask *fleet.Mask // nil tells names and places as they are
}

const (
	lookEvery = 100 * time.Millisecond // for alerts
	newsEvery = time.Second
	alertsMax = 3  // a second, in their order
	readsRate = 20 // letters a second, of a voice in a hurry
)

// Plain tells of a store in sentences, until ctx is done, the store is complete, or
// nobody reads w any more.
//
// Where in is not nil, somebody asks questions there, a line each, and is answered. The
// end of in is the end, as "quit" is. A terminal is right for it: no key is read before
// Enter. The goroutine that reads in ends with in; if in can be given a deadline, that
// is when Plain returns, else it may wait for one more line.
func Plain(ctx context.Context, in io.Reader, w io.Writer, s *fleet.Store, o Options) error {
	t := newTeller(w, s, &o)
	var questions <-chan question
	if in != nil {
		asking, stop := ask(in)
		defer stop()
		questions, t.asked = asking, true
		if err := t.say("Ask a question and press Enter, or ask for help. Enter alone holds the news."); err != nil {
			return hungUp(err)
		}
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-tick.C:
			err = t.look()
		case q := <-questions:
			err = t.answer(q)
		case <-o.Complete:
			return hungUp(t.farewell())
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return hungUp(err)
		}
	}
}

// errQuit says that somebody has heard enough.
var errQuit = errors.New("quit")

// hungUp takes the ends that are nobody's failure for what they are: the reader of a
// pipe may have had enough, and a person may say so.
func hungUp(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, errQuit) {
		return nil
	}
	return err
}

// teller writes what there is to say, when it is due.
type teller struct {
	narrator
	w     io.Writer
	parse func(text string) (*filter.Filter, error)

	quiet  time.Time // until then the last line is being read
	second time.Time // since when alerts are counted
	urged  int       // alerts in that second
	held   bool      // news has to wait, so that somebody can type
	sign   bool      // the last thing written is the sign that a question may be asked
}

func newTeller(w io.Writer, s *fleet.Store, o *Options) *teller {
	t := &teller{w: w, parse: o.Parse, narrator: narrator{store: s, filter: o.Filter, mask: o.Mask, alarmed: alarmTimes{}}}
	if t.parse == nil {
		t.parse = filter.Parse
	}
	return t
}

// look tells what is due.
func (t *teller) look() error {
	now := time.Now() // pace is a matter of the listener, not of the store
	if err := t.alert(now); err != nil {
		return err
	}
	if t.held || now.Before(t.quiet) {
		return nil
	}
	return t.tell(now, t.news())
}

// alert tells at once what a person has to hear, as fast as one can listen.
func (t *teller) alert(now time.Time) error {
	if now.Sub(t.second) >= newsEvery {
		t.second, t.urged = now, 0
	}
	for ; t.urged < alertsMax; t.urged++ {
		line := t.urgent()
		if line == "" {
			return nil
		}
		if err := t.tell(now, line); err != nil {
			return err
		}
	}
	return nil
}

// farewell is the last summary, for whoever comes back to it.
func (t *teller) farewell() error {
	t.held = false
	t.refresh()
	return t.say(t.summary())
}

func (t *teller) tell(now time.Time, line string) error {
	if line == "" {
		return nil
	}
	t.reading(now, line)
	return t.say(line)
}

// reading keeps news back while a voice reads.
func (t *teller) reading(now time.Time, line string) {
	t.quiet = now.Add(max(newsEvery, time.Duration(utf8.RuneCountInString(line))*time.Second/readsRate))
}

// say writes a line, or several at once, and the sign behind them while news is held.
func (t *teller) say(line string) error {
	if t.sign {
		line = "\n" + line
	}
	t.sign = t.held
	line += "\n"
	if t.sign {
		line += promptSign
	}
	_, err := io.WriteString(t.w, line)
	return err
}
