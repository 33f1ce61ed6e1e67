package fan

import (
	"net"
	"sync"
	"time"
)

const (
	firstBuffer = 8 << 10
	keepBuffer  = 32 << 10 // what a snapshot grew beyond this is given back
	mostBuffer  = 16 << 20 // the longest frame that is taken
	writeLimit  = 20 * time.Second
)

// wire is a transport: how what is asked and answered looks on it.
type wire interface {
	// take hands the whole messages at the start of b to s. It tells how many bytes
	// they were, and how many there must be for the next one; 0 if that is not known.
	take(l *Line, b []byte, s Sink) (used, want int, err error)
	watch(dst []byte, a Area) []byte
	unwatch(dst []byte) []byte
	ping(dst []byte, n uint32) []byte
}

// Line is one connection to a server. Read and Take belong to one goroutine; what
// sends may be called by another one at the same time, and never waits for the peer.
type Line struct {
	nc   net.Conn
	wire wire
	now  func() time.Duration

	buf  []byte
	r, w int
	lean bool // the last read needed little of the buffer

	mu       sync.Mutex // guards what follows
	raw      *rawWriter // nil: a write might wait, so another goroutine does it
	pending  []byte     // what the peer did not take yet
	spare    []byte
	flushing bool
	broken   error
}

func newLine(nc net.Conn, w wire) *Line {
	began := time.Now()
	return &Line{
		nc: nc, wire: w, raw: newRawWriter(nc), buf: make([]byte, firstBuffer),
		now: func() time.Duration { return time.Since(began) },
	}
}

// Clock sets what Read tells the time by.
func (l *Line) Clock(now func() time.Duration) { l.now = now }

// Conn is what the line runs on.
func (l *Line) Conn() net.Conn { return l.nc }

// Close ends the connection at once.
func (l *Line) Close() error { return l.nc.Close() }

// Read reads once, and looks at the clock once.
func (l *Line) Read() (now time.Duration, err error) {
	n, err := l.nc.Read(l.room())
	l.got(n)
	if n > 0 {
		err = nil // whatever it was, the next read says it again
	}
	return l.now(), err
}

// Serve reads until step returns an error, which it passes on. step is called after each
// read, with the one look at the clock that belongs to it, and takes what came.
func (l *Line) Serve(step func(now time.Duration) error) error {
	var failed error
	handled, err := reading(l.nc, l.room, func(n int, err error) bool {
		l.got(n)
		if failed = err; err == nil {
			failed = step(l.now())
		}
		return failed == nil
	})
	for !handled && failed == nil {
		var now time.Duration
		if now, failed = l.Read(); failed == nil {
			failed = step(now)
		}
	}
	if failed == nil {
		failed = err
	}
	return failed
}

// room is where the next read goes to.
func (l *Line) room() []byte {
	switch {
	case l.r == l.w:
		l.r, l.w = 0, 0
		if len(l.buf) > keepBuffer && l.lean {
			l.buf = make([]byte, keepBuffer)
		}
	case l.r > 0:
		l.w = copy(l.buf, l.buf[l.r:l.w])
		l.r = 0
	}
	if l.w == len(l.buf) {
		l.grow(2 * len(l.buf))
	}
	return l.buf[l.w:]
}

// got notes that a read brought n bytes.
func (l *Line) got(n int) {
	l.w += n
	l.lean = l.w <= keepBuffer/2
}

func (l *Line) grow(size int) {
	grown := make([]byte, min(size, mostBuffer))
	l.w = copy(grown, l.buf[l.r:l.w])
	l.buf, l.r = grown, 0
}

// Take hands everything whole that was read to s.
func (l *Line) Take(s Sink) error {
	used, want, err := l.wire.take(l, l.buf[l.r:l.w], s)
	l.r += used
	if err != nil {
		return err
	}
	if want > mostBuffer {
		return protocol("a frame of %d bytes", want)
	}
	if want > len(l.buf) {
		l.grow(want + want/4)
	}
	return nil
}

// Watch asks for an area. The answer and the frames come to the Sink.
func (l *Line) Watch(a Area) error { return l.say(l.wire.watch(nil, a)) }

// Unwatch ends what Watch began.
func (l *Line) Unwatch() error { return l.say(l.wire.unwatch(nil)) }

// Ping asks for a Pong with the same number.
func (l *Line) Ping(n uint32) error { return l.say(l.wire.ping(nil, n)) }

func (l *Line) say(b []byte) error {
	_, err := l.Send(b)
	return err
}

// Send writes b, whole messages. What the peer does not take at once is kept and sent
// later by a goroutine that lives as long as there is some; clear tells that nothing
// had to be. b may be used again when Send returns.
func (l *Line) Send(b []byte) (clear bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return false, l.broken
	}
	if l.raw != nil && !l.flushing {
		n, err := l.raw.try(b)
		if err != nil {
			l.broken = err
			return false, err
		}
		b = b[n:]
	}
	if len(b) == 0 {
		return true, nil
	}
	l.pending = append(l.pending, b...)
	if !l.flushing {
		l.flushing = true
		go l.flush() // ends when all is written or the connection breaks
	}
	return l.raw == nil, nil
}

func (l *Line) flush() {
	for {
		l.mu.Lock()
		if len(l.pending) == 0 || l.broken != nil {
			l.flushing = false
			l.mu.Unlock()
			return
		}
		out := l.pending
		l.pending = l.spare[:0]
		l.mu.Unlock()
		_ = l.nc.SetWriteDeadline(time.Now().Add(writeLimit))
		_, err := l.nc.Write(out)
		l.mu.Lock()
		l.spare = out[:0]
		if err != nil {
			l.broken = err
		}
		l.mu.Unlock()
	}
}
