package rpcload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/rpc"
)

// conn is one connection and the goroutine that fills it; in an open loop a second one
// issues what falls due, and mu keeps them apart.
type conn struct {
	nc    net.Conn
	run   *run
	books *books

	mu   sync.Mutex // open loop only: guards ledger, out, late and asked
	l    *ledger
	out  []byte
	late []time.Duration // due, and no slot was free

	buf  []byte
	r, w int
	runs []streak

	asked, parted bool // we sent a PING, and the server answered it

	sent, right atomic.Int64 // published once a batch, for whoever looks on
	err         error        // why it ended, if not because it was done; read after the run
}

// books are the times that connections share: one lock a read is less than a histogram
// for each of a thousand.
type books struct {
	mu                            sync.Mutex
	usual, sleeping, service, lag *load.Recorder
	late, pressed                 int64
	slice, serviceSlice, lagSlice *load.Recorder // of the present interval
	lateSlice                     int64
}

func newBooks() *books {
	b := &books{}
	for _, r := range []**load.Recorder{&b.usual, &b.sleeping, &b.service, &b.lag, &b.slice, &b.serviceSlice, &b.lagSlice} {
		*r = load.NewRecorder()
	}
	return b
}

// lateAfter is when a call counts as late.
const lateAfter = time.Millisecond

// enter files a streak. Caller holds mu.
func (b *books) enter(s *streak, open bool) {
	if s.sleeps {
		b.sleeping.RecordMany(s.d, s.n)
	} else {
		b.usual.RecordMany(s.d, s.n)
		b.slice.RecordMany(s.d, s.n)
	}
	if !open {
		return
	}
	b.service.RecordMany(s.after, s.n)
	b.serviceSlice.RecordMany(s.after, s.n)
	lag := max(0, s.d-s.after)
	b.lag.RecordMany(lag, s.n)
	b.lagSlice.RecordMany(lag, s.n)
	if lag > lateAfter {
		b.late += s.n
		b.lateSlice += s.n
		if s.waited {
			b.pressed += s.n
		}
	}
}

// streak is a time that several answers of one read share, as they left in one write.
type streak struct {
	d      time.Duration
	n      int64
	sleeps bool
	after  time.Duration // open loop: since it was written
	waited bool          // open loop: for a slot, before that
}

// run is what all connections of a run look at.
type run struct {
	cfg      *Config
	began    time.Time
	books    *books
	from     atomic.Int64 // when the measured part begins, since began; never while it is not known
	stopping atomic.Bool  // nothing more is issued
}

// never is later than any run.
const never = time.Duration(1<<63 - 1)

func (r *run) now() time.Duration { return time.Since(r.began) }

// measured says whether a call whose time counts from due is one of those that count.
func (r *run) measured(due time.Duration) bool {
	return int64(due) >= r.from.Load()
}

const (
	smallestRead = 4 << 10
	biggestRead  = 256 << 10
	perAnswer    = 48 // header and body of a sum, generously
)

func newConn(one *line, r *run, l *ledger) *conn {
	frame := len(l.usual.form.frame) + 64 // an answer is about as long as its request
	size := max(min(int(l.depth)*max(perAnswer, frame), biggestRead), smallestRead, 2*frame, 2*len(one.rest))
	c := &conn{nc: one.nc, run: r, l: l, books: r.books, buf: make([]byte, size)}
	c.w = copy(c.buf, one.rest)
	return c
}

// fill keeps the connection full until the run stops, and ends with the last answer.
func (c *conn) fill() error {
	for {
		if !c.run.stopping.Load() {
			for len(c.l.free) > 0 {
				c.out = c.l.issue(c.out, 0)
			}
		}
		if err := c.flush(true); err != nil {
			return err
		}
		if c.l.underway() == 0 {
			return c.partWays()
		}
		now, err := c.read()
		if err != nil {
			return err
		}
		if err := c.take(now); err != nil {
			return err
		}
		c.publish()
	}
}

// march makes so many batches of as many calls as may be under way, each when the last
// was answered.
func (c *conn) march(ctx context.Context, batches int) error {
	defer context.AfterFunc(ctx, func() { _ = c.nc.SetDeadline(time.Unix(1, 0)) })()
	for range batches {
		if err := c.nc.SetDeadline(time.Now().Add(c.run.cfg.Drain)); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil { // looked at now: its deadline may just have been undone
			return err
		}
		for len(c.l.free) > 0 {
			c.out = c.l.issue(c.out, 0)
		}
		if err := c.batch(); err != nil {
			return err
		}
	}
	return c.partWays()
}

// batch writes what was issued and reads until all of it was answered.
func (c *conn) batch() error {
	if err := c.flush(true); err != nil {
		return err
	}
	for c.l.underway() > 0 {
		now, err := c.read()
		if err == nil {
			err = c.take(now)
		}
		if err == nil {
			err = c.flush(true) // a sign of life that the server asked for
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// answers is the reading half of an open loop.
func (c *conn) answers() error {
	for {
		now, err := c.read()
		if err != nil {
			return err
		}
		c.mu.Lock()
		err = c.take(now)
		c.publish()
		for len(c.late) > 0 && len(c.l.free) > 0 {
			c.out = c.l.issue(c.out, c.late[0])
			c.l.waited()
			c.late = c.late[1:]
		}
		if err == nil {
			err = c.flush(false)
		}
		done := c.run.stopping.Load() && c.l.underway() == 0 && len(c.late) == 0
		c.mu.Unlock()
		if err != nil {
			return err
		}
		if done {
			return c.partWays()
		}
	}
}

// partWays asks for one more sign of life and reads up to it: whatever the server still
// had to say, such as an answer for the second time, comes before.
func (c *conn) partWays() error {
	c.mu.Lock()
	err := c.ask()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	for !c.parted {
		now, err := c.read()
		if err != nil {
			return err
		}
		if err := c.take(now); err != nil {
			return err
		}
	}
	return c.flush(true) // the server may have asked for a sign of life, too
}

// ask sends the PING, once. Caller holds mu.
func (c *conn) ask() error {
	if c.asked {
		return nil
	}
	c.asked = true
	_, err := c.nc.Write(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindPing, ID: 1, Body: make([]byte, 8)}))
	return err
}

// fallDue is the sending half: calls that fell due at these times.
func (c *conn) fallDue(due []time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range due {
		if len(c.late) > 0 || len(c.l.free) == 0 {
			c.late = append(c.late, at)
			continue
		}
		c.out = c.l.issue(c.out, at)
	}
	// What is under way is bounded so that the server always takes it, see mostUnderway.
	return c.flush(false)
}

func (c *conn) flush(closed bool) error {
	if len(c.out) == 0 {
		return nil
	}
	c.l.stamp(c.run.now(), closed)
	c.sent.Store(c.l.sent)
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

func (c *conn) read() (time.Duration, error) {
	if c.r > 0 {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		err = nil // the next read says it again
	}
	return c.run.now(), err
}

var errTooLong = errors.New("the server sent a frame that is longer than any answer")

// take settles every whole frame that was read.
func (c *conn) take(now time.Duration) error {
	var err error
	for err == nil && c.w-c.r >= rpc.HeaderSize {
		h := c.buf[c.r:]
		word := binary.LittleEndian.Uint32(h)
		n := rpc.HeaderSize + int(word&(1<<24-1))
		if n > len(c.buf) {
			err = errTooLong
			break
		}
		if c.w-c.r < n {
			break
		}
		f := rpc.Frame{
			Kind: rpc.Kind(word >> 24 & 15), Flags: uint8(word >> 28), ID: binary.LittleEndian.Uint32(h[4:]),
			Code: binary.LittleEndian.Uint16(h[8:]), Body: h[rpc.HeaderSize:n],
		}
		c.r += n
		if f.Kind == rpc.KindRsp && f.Flags == 0 && f.Code == 0 {
			c.time(c.l.settle(f.ID, f.Body), now)
			continue
		}
		err = c.other(&f)
	}
	c.record()
	return err
}

// other takes what is not an answer as it should be.
func (c *conn) other(f *rpc.Frame) error {
	switch f.Kind {
	case rpc.KindRsp:
		c.l.spoil(f.ID, fmt.Sprintf("an answer with flags %d and code %d", f.Flags, f.Code))
	case rpc.KindErr:
		c.l.refuse(f.ID, f.Failure())
	case rpc.KindPing:
		c.out = rpc.AppendFrame(c.out, rpc.Frame{Kind: rpc.KindPong, ID: f.ID, Body: f.Body})
	case rpc.KindPong:
		c.parted = true
	case rpc.KindGoAway:
		return fmt.Errorf("the server sent us away: %w", f.Failure())
	default:
		c.l.unknown++
		c.l.fault("frame of kind %d, flags %d, code %d for request %d: nobody asked for it", f.Kind, f.Flags, f.Code, f.ID)
	}
	return nil
}

// time notes how long a call took. Calls that left in one write come back in a row.
func (c *conn) time(s *slot, now time.Duration) {
	if s == nil || !c.run.measured(s.due) {
		return
	}
	next := streak{d: now - s.due, n: 1, sleeps: s.sleeps, after: now - s.at, waited: s.waited}
	if n := len(c.runs); n > 0 {
		last := &c.runs[n-1]
		if last.d == next.d && last.after == next.after && last.sleeps == next.sleeps && last.waited == next.waited {
			last.n++
			return
		}
	}
	c.runs = append(c.runs, next)
}

func (c *conn) record() {
	if len(c.runs) == 0 {
		return
	}
	open := c.run.cfg.open()
	c.books.mu.Lock()
	defer c.books.mu.Unlock()
	for i := range c.runs {
		c.books.enter(&c.runs[i], open)
	}
	c.runs = c.runs[:0]
}

func (c *conn) publish() { c.right.Store(c.l.right) }

// lost tells whether a connection ended before it was done, and why in words. That we
// ended it when the time for the last answers was over is no reason of its own.
func (c *conn) lost() error {
	switch {
	case c.err == nil, errors.Is(c.err, os.ErrDeadlineExceeded):
		return nil
	case errors.Is(c.err, io.EOF):
		return errors.New("the server closed the connection")
	}
	return c.err
}
