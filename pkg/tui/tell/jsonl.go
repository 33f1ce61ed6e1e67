package tell

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"strings"
	"sync"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
)

// Feed is what a client.Watch is to JSONL.
type Feed interface {
	Events() iter.Seq2[client.Event, error]
	Close() // wakes whoever waits for an event; may be called more than once
}

var _ Feed = (*client.Watch)(nil)

// Only says which fixes JSONL writes; the zero one means all of them.
type Only struct {
	Wants func(*client.Fix) bool
	Gone  func(track.DeviceID) // is told of devices that are no longer watched
}

// JSONL writes what a watch tells for programs, an object a line, and feeds the store on
// the way. A fix is the object that "trackctl watch" writes of it, of the type fix:
//
//	{"type":"fix","device":"…","name":"…","time":"…","lat":48.1,"lon":11.6}
//
// What happened to a device or to the link is of another type: silent back low_battery
// sos tamper jump new resumed resynced disconnected denied.
//
//	{"type":"silent","n":17,"time":"…","device":"…","name":"…","text":"…","times":1}
//
// An event follows the fixes that it came with. When it goes on, as a silence that becomes
// a loss, or a line for many that becomes one for more, it is written again with the same
// n, a second later at the soonest. A fix that was written is not written again when a
// line that broke is taken up. All of it is published as
// docs/schema/trackctl.map.jsonl-1.json.
//
// It ends with ctx, with the watch, or when nobody reads w any more; only what ends the
// watch otherwise is an error. The watch is closed then.
func JSONL(ctx context.Context, w io.Writer, feed Feed, s *fleet.Store, only Only) error {
	l := &lineWriter{
		w: bufio.NewWriter(w), store: s, only: only, newest: map[track.DeviceID]newest{}, written: map[uint64]goings{},
	}

	ticking, stop := context.WithCancel(ctx)
	var clock sync.WaitGroup
	clock.Go(func() {
		l.tick(ticking)
		feed.Close() // ctx is done, nobody reads, or the watch is over anyway
	})
	err := l.follow(feed)
	stop()
	clock.Wait()
	switch {
	case l.broken() != nil:
		return hungUp(l.broken())
	case ctx.Err() != nil, errors.Is(err, track.ErrClosed):
		return nil
	}
	return err
}

// lineWriter writes fixes as they come and events when they are found. Two goroutines use
// it: that of the watch, and a clock for what happens while nothing comes.
type lineWriter struct {
	store *fleet.Store
	only  Only

	// These belong to the goroutine of the watch.
	newest  map[track.DeviceID]newest
	gen     uint32 // of the last snapshot begun
	voiding bool   // it makes void what it does not name

	mu      sync.Mutex
	w       *bufio.Writer
	err     error // the first one of w
	line    []byte
	heard   uint64            // the last event that was found
	written map[uint64]goings // of the events that the log still keeps
	version uint64            // of the log, when those were looked at last
	scratch []fleet.Event
}

// newest is what was written of a device last.
type newest struct {
	time time.Time
	gen  uint32 // of the snapshot since which it was named
}

// goings is what becomes another when an event goes on.
type goings struct {
	times int
	text  string
}

func (l *lineWriter) broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// follow writes until the watch ends or the writer does.
func (l *lineWriter) follow(feed Feed) error {
	for e, err := range feed.Events() {
		if err != nil {
			return err
		}
		if err := l.take(&e); err != nil {
			return err
		}
	}
	return nil
}

func (l *lineWriter) take(e *client.Event) error {
	l.store.Take(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	again := e.Kind == client.Snapshot || e.Kind == client.Resync
	if again && e.First {
		l.gen++
		l.voiding = true
	}
	for i := range e.Fixes {
		l.fix(&e.Fixes[i], again)
	}
	if again && !e.More && l.voiding {
		l.whole()
	}
	for _, id := range e.Left {
		l.forget(id)
	}
	l.events()
	return l.flush()
}

// whole ends a snapshot: who is not in it has left while the line was broken.
func (l *lineWriter) whole() {
	for id, n := range l.newest {
		if n.gen != l.gen {
			l.forget(id)
		}
	}
	l.voiding = false
}

// forget is for a device that may come back, and then is new.
func (l *lineWriter) forget(id track.DeviceID) {
	delete(l.newest, id)
	if l.only.Gone != nil {
		l.only.Gone(id)
	}
}

// fix writes one fix. The present is told again after a broken line: then only what is
// newer than what was written is news.
func (l *lineWriter) fix(f *client.Fix, again bool) {
	known, ok := l.newest[f.Device]
	news := f.Time.After(known.time)
	if known.gen = l.gen; news {
		known.time = f.Time
	}
	l.newest[f.Device] = known
	if again && ok && !news {
		return
	}
	if l.only.Wants == nil || l.only.Wants(f) {
		const head = `{"type":"fix"`
		l.line = append(f.AppendJSON(append(l.line[:0], head...)), '\n')
		l.line[len(head)] = ',' // in the place of the brace
		l.put()
	}
}

// tick finds what happens by the clock alone, such as a silence.
func (l *lineWriter) tick(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
		}
		l.store.Tick()
		l.mu.Lock()
		l.goneOn()
		l.events()
		err := l.flush()
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// eventLine is an event as an object.
type eventLine struct {
	Type   string    `json:"type"`
	N      uint64    `json:"n"`
	Time   time.Time `json:"time"`
	Device string    `json:"device,omitempty"`
	Name   string    `json:"name,omitempty"`
	Text   string    `json:"text,omitempty"`
	Times  int       `json:"times"`
	Muted  bool      `json:"muted,omitempty"`
}

// events writes those that are new.
func (l *lineWriter) events() {
	l.scratch = l.store.Events().Since(l.scratch[:0], l.heard)
	for i := range l.scratch {
		l.heard = l.scratch[i].N
		l.event(&l.scratch[i])
	}
}

// goneOn writes those again that became other ones.
func (l *lineWriter) goneOn() {
	log := l.store.Events()
	version := log.Version()
	if version == l.version {
		return
	}
	l.version = version
	l.scratch = log.Since(l.scratch[:0], 0)
	if len(l.scratch) == 0 {
		return
	}
	for i := range l.scratch {
		e := &l.scratch[i]
		if was, ok := l.written[e.N]; ok && was != (goings{e.Times, e.Text}) {
			l.event(e)
		}
	}
	maps.DeleteFunc(l.written, func(n uint64, _ goings) bool { return n < l.scratch[0].N })
}

func (l *lineWriter) event(e *fleet.Event) {
	l.written[e.N] = goings{e.Times, e.Text}
	line := eventLine{
		Type: typeOf(e.Kind), N: e.N, Time: e.At.UTC().Truncate(time.Millisecond), Name: e.Name, Text: e.Text, Times: max(e.Times, 1), Muted: e.Muted,
	}
	if e.Device != 0 {
		line.Device = e.Device.String()
	}
	text, err := json.Marshal(line)
	if err != nil {
		return // a time beyond the year 9999 is no event
	}
	l.line = append(append(l.line[:0], text...), '\n')
	l.put()
}

// typeOf is what an event is called in JSON.
func typeOf(k fleet.Kind) string { return strings.ReplaceAll(k.String(), " ", "_") }

func (l *lineWriter) put() {
	if l.err == nil {
		_, l.err = l.w.Write(l.line)
	}
}

func (l *lineWriter) flush() error {
	if l.err == nil {
		l.err = l.w.Flush()
	}
	return l.err
}
