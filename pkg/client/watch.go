package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"tracker/pkg/track"
)

// EventKind says what an event of a watch is.
type EventKind uint8

const (
	// Snapshot is the present of what is watched, in one or more events: the one with
	// First set makes void what was known before, the one without More is the last.
	Snapshot EventKind = iota + 1
	// Fixes are new fixes, and in Left who is not in view any more.
	Fixes
	// Resync follows when this side was too slow: the newest fix of each device that
	// changed meanwhile. Skipped fixes were not delivered and will not be. With First
	// it makes void what was known before, as a snapshot does.
	Resync
	// Disconnected: the line broke, or the server went away. The watch tries again
	// after RetryIn, during the next call of Next.
	Disconnected
	// Resumed: connected again, and nothing was missed.
	Resumed
	// Refused: a call of Move was not accepted; the watch goes on as before.
	Refused
)

func (k EventKind) String() string {
	names := [...]string{"none", "snapshot", "fixes", "resync", "disconnected", "resumed", "refused"}
	if int(k) < len(names) {
		return names[k]
	}
	return "event_" + strconv.Itoa(int(k))
}

// Event is something that a watch tells. Fixes and Left stand until the next call of
// Next.
type Event struct {
	Kind    EventKind
	First   bool // of a Snapshot, or of a Resync that is complete
	More    bool // of a Snapshot or Resync: it goes on in the next event
	Fixes   []Fix
	Left    []track.DeviceID
	Skipped uint64
	Err     error         // of Disconnected and Refused
	RetryIn time.Duration // of Disconnected
}

// Watch is a live view of some area. It connects again by itself, with growing and
// random pauses, and takes up where it was if the server still can; otherwise a
// snapshot comes. A gap in the numbers of the fixes counts as a broken line.
//
// Nothing is read ahead: whoever calls Next slowly makes the server skip fixes for
// this watch, and a Resync says so. One goroutine calls Next; Move may be called from
// any.
type Watch struct {
	conn *Conn
	ctx  context.Context // the caller's
	life context.Context // ends with ctx, and when the watch is closed
	kill context.CancelCauseFunc
	stop func()

	moving sync.Mutex // held while a request for an area is on its way out

	mu        sync.Mutex
	feed      feed   // nil while there is no connection
	area      Area   // what was asked for last
	asked     []Area // on this connection and not answered yet, in this order
	confirmed Area   // what the server said yes to last
	moved     bool   // area is not the confirmed one: what is known of the stream is of another
	moves     int    // calls of Move
	closed    bool
	pause     chan struct{} // closed ends the pause before the next try; nil: there is none

	// Below belongs to the goroutine of Next.
	f        frame
	stream   uint64
	epoch    string
	seq      uint64
	began    bool // the server said yes once
	complete bool // the view is whole, so that it can be resumed
	failures int
	retryAt  time.Time
	goodbye  error // what the server said before it closed
}

// Watch connects and begins to watch. It returns an error if that does not work the
// first time; after that, only a refusal ends a watch early. The watch ends with ctx.
func (c *Conn) Watch(ctx context.Context, area Area) (*Watch, error) {
	w := &Watch{conn: c, ctx: ctx, area: area}
	w.life, w.kill = context.WithCancelCause(ctx)
	ended, gone := context.AfterFunc(ctx, w.hangUp), context.AfterFunc(c.life, w.end)
	w.stop = func() {
		ended()
		gone()
	}
	if err := w.connect(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Close ends the watch; Next then returns track.ErrClosed.
func (w *Watch) Close() {
	w.stop()
	w.end()
}

func (w *Watch) end() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.kill(w.conn.line.errClosed())
	w.hangUp()
}

// hangUp closes the connection, which wakes a Next that reads from it.
func (w *Watch) hangUp() {
	w.mu.Lock()
	f := w.feed
	w.feed = nil
	w.mu.Unlock()
	if f != nil {
		f.close()
	}
}

// Move points the watch at another area. A Snapshot of it follows, on the same
// connection. While there is no connection, the next one begins with it.
func (w *Watch) Move(area Area) error {
	w.moving.Lock()
	defer w.moving.Unlock()
	w.mu.Lock()
	f, closed := w.feed, w.closed
	w.area, w.moved = area, true
	w.moves++
	if f != nil {
		w.asked = append(w.asked, area)
	}
	w.mu.Unlock()
	if closed {
		return fmt.Errorf("watch: %w", track.ErrClosed)
	}
	if f != nil {
		// A line that is broken is found by Next, which connects again and begins
		// with area.
		f.move(area)
	}
	return nil
}

// Hurry ends the pause before the watch connects again, so that it tries at once. What it
// does at any other time, while there is a connection or one is being made, is nothing. Any
// goroutine may call it.
func (w *Watch) Hurry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pause != nil {
		close(w.pause)
		w.pause = nil
	}
}

// Events walks Next until it fails.
func (w *Watch) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			e, err := w.Next()
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Next waits for the next event. An error is the end: that of the context,
// track.ErrClosed, or what the server refused the watch with, such as an *Error.
func (w *Watch) Next() (Event, error) {
	for {
		if err := w.over(); err != nil {
			return Event{}, err
		}
		f := w.connected()
		if f == nil {
			if e, again, err := w.reconnect(); err != nil || !again {
				return e, err
			}
			continue
		}
		e, ok, err := w.receive(f)
		if err != nil {
			if e, err = w.broken(err); err != nil {
				return Event{}, err
			}
			return e, nil
		}
		if ok {
			return e, nil
		}
	}
}

func (w *Watch) over() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.closed || w.conn.life.Err() != nil {
		return fmt.Errorf("watch: %w", track.ErrClosed)
	}
	return nil
}

func (w *Watch) connected() feed {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.feed
}

// connect asks for the area, from where the watch stood if that is known.
func (w *Watch) connect() error {
	area, from, moves := w.request()
	f, err := w.conn.wire.watch(w.life, area, from)
	if err != nil {
		return err
	}
	w.moving.Lock()
	defer w.moving.Unlock()
	w.stream, w.goodbye = 0, nil
	area, late, ok := w.begin(f, area, moves)
	if !ok {
		f.close()
		return fmt.Errorf("watch: %w", track.ErrClosed)
	}
	if late {
		f.move(area)
	}
	return nil
}

// request is what to ask for, and after how many moves that was so.
func (w *Watch) request() (a Area, from mark, moves int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.complete && !w.moved {
		from = mark{w.epoch, w.seq}
	}
	return w.area, from, w.moves
}

// begin takes a feed of an area into use. late tells that the watch was moved while it
// was asked for, and area then where to. Not ok: the watch is over.
func (w *Watch) begin(f feed, a Area, moves int) (area Area, late, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.ctx.Err() != nil {
		return a, false, false
	}
	w.feed, w.asked = f, append(w.asked[:0], a)
	if late = w.moves != moves; late {
		w.asked = append(w.asked, w.area)
	}
	return w.area, late, true
}

// reconnect waits until it is time and tries. again is true if it worked.
func (w *Watch) reconnect() (e Event, again bool, err error) {
	if !w.rest() {
		return Event{}, false, w.over()
	}
	if err := w.connect(); err != nil {
		e, err = w.broken(err)
		return e, false, err
	}
	return Event{}, true, nil
}

// rest waits until it is time to try, or somebody is in a hurry; not ok: the watch is over.
func (w *Watch) rest() (ok bool) {
	w.mu.Lock()
	hurry := w.pause
	w.mu.Unlock()
	if hurry == nil {
		return w.life.Err() == nil
	}
	t := time.NewTimer(time.Until(w.retryAt))
	defer t.Stop()
	select {
	case <-t.C:
	case <-hurry:
	case <-w.life.Done():
		return false
	}
	w.mu.Lock()
	w.pause = nil
	w.mu.Unlock()
	return true
}

// broken decides what an error means: an end, or another try.
func (w *Watch) broken(err error) (Event, error) {
	w.hangUp()
	if over := w.over(); over != nil {
		return Event{}, over
	}
	var refused *Error
	if final(err) || !w.began && errors.As(err, &refused) {
		return Event{}, err
	}
	why := w.goodbye
	if why == nil {
		why = err
	}
	if !errors.Is(why, ErrUnreachable) {
		why = w.conn.line.lineError(w.ctx, why)
	}
	w.goodbye = nil
	wait := w.backoff()
	w.retryAt = time.Now().Add(wait)
	w.mu.Lock()
	w.pause = make(chan struct{})
	w.mu.Unlock()
	return Event{Kind: Disconnected, Err: why, RetryIn: wait}, nil
}

// Backoff of reconnections: doubled each time, and each time a random part of it, so
// that a thousand clients of a server that restarts do not come at once.
const (
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 15 * time.Second
)

func (w *Watch) backoff() time.Duration {
	most := min(firstBackoff<<min(w.failures, 10), maxBackoff)
	w.failures++
	return most/2 + rand.N(most/2)
}

// final tells whether trying again could not help.
func final(err error) bool {
	var refused *Error
	if errors.As(err, &refused) {
		return refused.Status/100 == 4 && refused.Status != 429 && refused.Status != 408
	}
	return errors.Is(err, ErrUntrusted) || errors.Is(err, track.ErrDenied)
}

// receive reads one message; ok tells whether it makes an event.
func (w *Watch) receive(f feed) (e Event, ok bool, err error) {
	if err := f.next(&w.f); err != nil {
		return Event{}, false, err
	}
	return w.handle()
}

func (w *Watch) handle() (e Event, ok bool, err error) {
	f := &w.f
	switch f.kind {
	case "watching":
		return w.watching()
	case "error":
		refusal := f.problem.asError(0)
		if w.stream == 0 || !w.asking() { // nothing was asked: it is the end of the watch
			refusal.Status = httpStatus(refusal.Code)
			return Event{}, false, refusal
		}
		w.answered(false)
		return Event{Kind: Refused, Err: refusal}, true, nil
	case "goodbye":
		w.goodbye = errors.New(f.reason)
		return Event{}, false, nil
	case "snapshot", "fixes", "resync":
		if f.stream != w.stream {
			return Event{}, false, nil // of an area that was left
		}
		return w.advance()
	}
	return Event{}, false, nil // from a newer server
}

func (w *Watch) watching() (Event, bool, error) {
	w.failures, w.began = 0, true
	resumed := w.f.resumed && w.complete && w.f.epoch == w.epoch
	if !resumed {
		w.complete = false
	}
	w.stream, w.epoch = w.f.stream, w.f.epoch
	w.answered(true)
	return Event{Kind: Resumed}, resumed, nil
}

// asking tells whether an answer is to come.
func (w *Watch) asking() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked) > 0
}

// answered books the answer to the oldest question.
func (w *Watch) answered(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) == 0 {
		return // to a question that nobody asked
	}
	if yes {
		w.confirmed = w.asked[0]
	}
	w.asked = w.asked[1:]
	if len(w.asked) == 0 {
		w.area, w.moved = w.confirmed, false
	}
}

// advance checks the numbers of a frame and makes an event of it.
func (w *Watch) advance() (Event, bool, error) {
	f := &w.f
	e := Event{First: f.fresh, More: f.more, Fixes: f.fixes, Left: f.left, Skipped: f.skipped}
	switch f.kind {
	case "snapshot":
		e.Kind, w.epoch = Snapshot, f.epoch
	case "resync":
		e.Kind = Resync
	default:
		e.Kind = Fixes
	}
	if e.Kind != Snapshot && w.seq+f.n+f.skipped != f.seq {
		w.complete = false
		return Event{}, false, fmt.Errorf("the stream went from fix %d to %d with %d fixes and %d skipped", w.seq, f.seq, f.n, f.skipped)
	}
	w.seq = f.seq
	w.complete = !f.more
	return e, true, nil
}

// frame is one message of the server: "watching" answers the request for an area,
// "error" refuses it, "snapshot", "fixes" and "resync" are of a stream, "goodbye" comes
// before the server closes.
type frame struct {
	kind    string
	id      uint64
	stream  uint64
	epoch   string
	seq     uint64
	n       uint64
	skipped uint64
	fresh   bool
	more    bool
	resumed bool
	fixes   []Fix
	left    []track.DeviceID
	problem problem
	reason  string
}
