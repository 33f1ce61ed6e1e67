package web

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"tracker/pkg/fault"
	"tracker/pkg/hub"
	"tracker/pkg/sock"
	"tracker/pkg/track"
)

// writer is the half of a session that owns its watches and what is written. No goroutine
// belongs to it. Whoever comes with something, a frame, an answer, a ping, takes the pen
// and writes, as long as that takes no waiting; if somebody has the pen, that somebody
// looks once more before laying it down.
//
//	worker of the hub ─┐            free
//	reader ────────────┼─► wake ──► pen ──► visit: whatever takes no waiting
//	sweeper ───────────┘             │        │ the line is full, or TLS; a view is to be made
//	                                 │        ▼
//	                                 │      labour: a goroutine, until nothing is left
//	                                 │        │ the session has ended
//	                                 │        ▼
//	                                 └──────  leave: says why, and keeps the pen
//
// So frames are written where the hub calls, without a switch of goroutines, and a client
// that takes nothing costs a goroutine of its own and nobody else anything.
type writer struct {
	tcp    *net.TCPConn // nil where something in between has to see every byte, such as TLS
	direct *sock.Writer // nil like tcp

	mu    sync.Mutex // guards what follows; never held while anything is written or the hub is asked
	taken bool       // somebody has the pen
	again bool       // something has come up since that somebody looked
	left  bool       // the last words are said
	asks  []ask      // to be carried out
	doing bool       // some that were among them are
	said  *words     // to be written
	room  sync.Cond  // for whoever waits until asks are done and said is taken, or it has left

	// The pen's own.
	watches []*watch
	turn    int  // who was asked last, so that nobody starves
	armed   bool // the connection has a deadline for writes
	torn    bool // a write failed: what follows would be read as its rest
}

// watch is one subscription of a session.
type watch struct {
	id     int64
	viewer *hub.Viewer
	ready  atomic.Bool // may have frames; cleared by the pen, set by the hub
	over   error       // why the hub has no more for it
}

const (
	framesATurn = 8         // of one watch, before the next has its turn
	bytesATurn  = 256 << 10 // in one write, so that a slow line holds on to no more
	maxAsks     = 8         // not carried out yet, before the reader waits
	maxSaid     = 8 << 10   // bytes of our own, not written yet, before the reader waits
	visitTurns  = 4         // of one visit: others wait for the goroutine that it is on
)

func (w *writer) init(c *conn) {
	w.tcp, w.direct = sock.TCPOf(c.Conn), sock.NewWriter(c.Conn)
	w.room.L = &w.mu
}

// words are messages of our own, whole frames of the WebSocket. They are lent: a session
// that has nothing to say has none.
type words struct{ b []byte }

const keptWords = 16 << 10

var (
	allWords = sync.Pool{New: func() any { return new(words) }}
	loads    = sync.Pool{New: func() any { return new(load) }}
)

func (o *words) free() {
	if o.b = o.b[:0]; cap(o.b) <= keptWords {
		allWords.Put(o)
	}
}

// load is what the pen is about to write: words, and frames behind them. It is lent, too.
type load struct {
	own    *words
	rest   net.Buffers // not written yet
	store  [32][]byte  // what rest lies in, unless it is more
	frames int
	size   int
	got    [framesATurn]*hub.Frame
}

func (l *load) add(b []byte) {
	if len(l.rest) == 0 {
		l.rest = l.store[:0]
	}
	l.rest = append(l.rest, b)
	l.size += len(b)
}

func (l *load) empty() bool { return len(l.rest) == 0 }

// wrote takes off what has been written.
func (l *load) wrote(n int) {
	l.size -= n
	for n > 0 {
		if n < len(l.rest[0]) {
			l.rest[0] = l.rest[0][n:]
			return
		}
		n -= len(l.rest[0])
		l.rest = l.rest[1:]
	}
}

// done lets go of what was written, or never will be.
func (l *load) done() {
	if l.own != nil {
		l.own.free()
	}
	*l = load{}
}

func (l *load) free() {
	l.done()
	loads.Put(l)
}

// wake is called when there may be something to write. It does not wait, and whoever
// calls it holds no lock that pulling a frame could need.
func (s *session) wake(mayAsk bool) {
	s.mu.Lock()
	if s.taken {
		s.again = true
		s.mu.Unlock()
		return
	}
	s.taken = true
	s.mu.Unlock()
	s.visit(mayAsk)
}

// rest lays the pen down, unless something has come up meanwhile.
func (s *session) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again || s.said != nil || len(s.asks) > 0 {
		s.again = false
		return false
	}
	s.taken = false
	return true
}

// visit has the pen and does what takes no waiting. For the rest it leaves the pen to a
// goroutine.
func (s *session) visit(mayAsk bool) {
	defer s.catch()
	l := loads.Get().(*load)
	for range visitTurns {
		if !s.prepare(l, mayAsk) {
			break
		}
		if l.empty() {
			if s.rest() {
				l.free()
				return
			}
			continue
		}
		if !s.writeNow(l) {
			break
		}
		l.done()
	}
	go s.labour(l) // until nothing is left, or the session ends and the reader waits for it
}

// labour has the pen and does everything.
func (s *session) labour(l *load) {
	defer s.catch()
	for {
		s.flush(l)
		l.done()
		if s.ended() {
			l.free()
			s.leave()
			return
		}
		s.carryOut()
		s.takeWords(l)
		s.gather(l, false)
		if l.empty() {
			s.disarm()
			if s.rest() {
				l.free()
				return
			}
		}
	}
}

// catch ends the session, and only it, on a bug of ours under whoever has the pen.
func (s *session) catch() {
	if p := recover(); p != nil {
		s.torn = true // for all that is known
		s.broke(p)
		go s.leave() // the reader waits for it
	}
}

// prepare fills a load, and tells whether that was all: not if the rest takes waiting.
func (s *session) prepare(l *load, mayAsk bool) bool {
	switch {
	case s.ended():
		return false
	case mayAsk:
		s.carryOut()
	case s.hasAsks():
		return false
	}
	if s.direct == nil {
		return false
	}
	s.takeWords(l)
	return s.gather(l, true)
}

func (s *session) hasAsks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asks) > 0
}

// carryOut does what was asked for.
func (s *session) carryOut() {
	for {
		s.mu.Lock()
		asks, done := s.asks, s.doing
		s.asks, s.doing = nil, len(asks) > 0
		s.mu.Unlock()
		if done {
			s.room.Broadcast()
		}
		if len(asks) == 0 {
			return
		}
		for i := range asks {
			s.do(&asks[i])
		}
	}
}

// takeWords puts what was said into a load.
func (s *session) takeWords(l *load) {
	s.mu.Lock()
	l.own, s.said = s.said, nil
	s.mu.Unlock()
	if l.own != nil {
		l.add(l.own.b)
		s.room.Broadcast()
	}
}

// gather takes a turn of frames from each watch that may have some, in rotation. If quick
// it stops at one that has to make a view first, and tells that it is not through.
func (s *session) gather(l *load, quick bool) bool {
	for range s.watches {
		if l.size >= bytesATurn {
			return true // the others are first next time
		}
		next := (s.turn + 1) % len(s.watches)
		x := s.watches[next]
		if x.ready.Load() && !s.pull(x, l, quick) {
			return false
		}
		if s.turn = next; x.over != nil {
			s.drop(next)
			return true // and once more, for what that has to say
		}
	}
	return true
}

// drop ends a watch that may not go on.
func (s *session) drop(i int) {
	x := s.watches[i]
	x.viewer.Close()
	s.watches, s.turn = slices.Delete(s.watches, i, i+1), 0
	s.tellError(x.id, x.over)
}

// pull takes a turn of frames of one watch, and tells whether that could be done.
func (s *session) pull(x *watch, l *load, quick bool) bool {
	// Cleared before asking: a notice that comes in between is not lost.
	x.ready.Store(false)
	var frames []*hub.Frame
	var err error
	live := true
	if quick {
		frames, live, err = x.viewer.TryLive(l.got[:0])
	} else {
		frames, err = x.viewer.TryNext(l.got[:0])
	}
	switch {
	case errors.Is(err, track.ErrClosed):
		s.end(goingAway)
		return false
	case err != nil: // it may not be watched any more
		x.over = err
		return true
	}
	if len(frames) > 0 || !live {
		x.ready.Store(true)
	}
	for _, f := range frames {
		l.add(f.Bytes(s.w.enc))
	}
	l.frames += len(frames)
	return live
}

// ask hands something to the pen, in the order in which it was asked for. The reader
// waits while there is much of it.
func (s *session) ask(a ask) {
	s.mu.Lock()
	for len(s.asks) >= maxAsks && !s.ended() {
		s.room.Wait()
	}
	s.asks = append(s.asks, a)
	s.mu.Unlock()
	s.wake(true)
}

func (s *session) do(a *ask) {
	if a.err == nil {
		a.err = s.try(a)
	}
	if a.err != nil {
		s.tellError(a.id, a.err)
	}
}

func (s *session) try(a *ask) error {
	switch a.op {
	case "pong":
		s.say(func(b []byte) []byte { return appendControl(b, ws.OpPong, a.payload) })
	case "ping":
		s.tell(`{"type":"pong"}`)
	case "watch":
		return s.watch(a)
	case "area":
		return s.area(a)
	case "unwatch":
		return s.unwatch(a)
	}
	return nil
}

func (s *session) find(id int64) int {
	return slices.IndexFunc(s.watches, func(x *watch) bool { return x.id == id })
}

func (s *session) watch(a *ask) error {
	if s.find(a.id) >= 0 {
		return fmt.Errorf("watch %d is open: change it with area: %w", a.id, track.ErrExists)
	}
	if len(s.watches) >= s.w.cfg.MaxWatches {
		return fmt.Errorf("%w watches: %d on one connection", errTooMany, len(s.watches))
	}
	x := &watch{id: a.id}
	x.ready.Store(true)
	v, err := s.w.engine.Watch(a.query, hub.Options{
		ResumeEpoch: a.resume.epoch, ResumeSeq: a.resume.seq,
		Notify: func() { x.ready.Store(true); s.wake(false) },
	})
	if err != nil {
		return err
	}
	x.viewer = v
	s.watches = append(s.watches, x)
	s.tellWatching(x)
	return nil
}

// area points a watch elsewhere. The frames that follow carry the new stream's number.
func (s *session) area(a *ask) error {
	i := s.find(a.id)
	if i < 0 {
		return fmt.Errorf("watch %d: %w", a.id, track.ErrNotFound)
	}
	x := s.watches[i]
	if err := x.viewer.Retarget(a.query); err != nil {
		return err
	}
	x.ready.Store(true)
	s.tellWatching(x)
	return nil
}

func (s *session) unwatch(a *ask) error {
	i := s.find(a.id)
	if i < 0 {
		return fmt.Errorf("watch %d: %w", a.id, track.ErrNotFound)
	}
	s.watches[i].viewer.Close()
	s.watches = slices.Delete(s.watches, i, i+1)
	s.tell(fmt.Sprintf(`{"type":"unwatched","id":%d}`, a.id))
	return nil
}

func (s *session) tellWatching(x *watch) {
	stream, epoch, resumed := x.viewer.Stream()
	more := ""
	if resumed {
		more = `,"resumed":true`
	}
	s.tell(fmt.Sprintf(`{"type":"watching","id":%d,"stream":%d,"epoch":"%016x"%s}`, x.id, stream, epoch, more))
}

func (s *session) tellError(id int64, err error) {
	f, message, known := explain(err)
	if !known {
		s.w.log.Error("watch failed", "request", s.id, "err", err)
	}
	b := appendInt([]byte(`{"type":"error","id":`), id)
	b = appendProblem(append(b, `,"error":`...), f, message, s.id)
	s.tell(string(append(b, '}')))
}

// tell says a text message.
func (s *session) tell(text string) {
	s.say(func(b []byte) []byte { return appendText(b, text) })
}

// say adds a whole frame to what is to be written. It does not wake anybody.
func (s *session) say(frame func(dst []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.said == nil {
		s.said = allWords.Get().(*words)
	}
	s.said.b = frame(s.said.b)
}

func appendText(dst []byte, text string) []byte {
	start := len(dst)
	dst = append(append(dst, make([]byte, headerRoom)...), text...)
	return sealText(dst, start)
}

// writeNow writes what the line takes at once, and tells whether that was all.
func (s *session) writeNow(l *load) bool {
	b := l.rest[0]
	if len(l.rest) > 1 {
		if l.size > joinRoom {
			return false // copying it would cost more than a goroutine
		}
		buf := joinBuffers.Get().(*[joinRoom]byte)
		defer joinBuffers.Put(buf)
		b = buf[:l.copyTo(buf[:])]
	}
	n, err := s.direct.TryWrite(b)
	s.w.stats.bytesDirect.Add(uint64(n))
	if err != nil {
		s.tear(err, l)
		return false
	}
	if n < len(b) {
		l.wrote(n)
		return false
	}
	s.w.stats.framesDirect.Add(uint64(l.frames))
	return true
}

// tear ends a session whose line broke in the middle of a load.
func (s *session) tear(err error, l *load) {
	s.torn = true
	s.end(lineClosing(err))
	l.done()
}

// flush writes a load, however long it takes, as long as the client takes something.
func (s *session) flush(l *load) {
	for idle := 0; !l.empty(); {
		var n int
		var err error
		if s.tcp != nil {
			n, err = s.writev(l)
		} else {
			n, err = s.writeRecord(l)
		}
		s.w.stats.bytesSlow.Add(uint64(n))
		if idle++; n > 0 {
			idle = 0
		}
		if err != nil && !s.patient(err, idle) {
			s.tear(err, l)
			return
		}
	}
	s.w.stats.framesSlow.Add(uint64(l.frames))
}

// looks is how often, within the time in which a client has to take something, the pen
// looks whether it did. TLS cannot go on after a write that was cut short.
const looks = 16

func (s *session) patient(err error, idle int) bool {
	return s.tcp != nil && idle < looks && errors.Is(err, os.ErrDeadlineExceeded) && !s.ended()
}

// arm gives the next write its time. Whoever ends the session shortens it, so the
// end is looked for after the deadline is set.
func (s *session) arm() error {
	s.armed = true
	d := s.w.cfg.StreamTimeout
	if s.tcp != nil {
		d /= looks
	}
	err := s.c.Conn.SetWriteDeadline(time.Now().Add(d))
	if err == nil && s.ended() {
		err = s.c.Conn.SetWriteDeadline(time.Now().Add(lastWords))
	}
	return err
}

// disarm takes the time back: nobody waits in a write any more, and what is written
// without waiting must not find that a time is over.
func (s *session) disarm() {
	if s.armed {
		s.armed = false
		_ = s.c.Conn.SetWriteDeadline(time.Time{})
	}
}

// writev hands all slices to the kernel in one call; nothing is copied on the way.
func (s *session) writev(l *load) (int, error) {
	if err := s.arm(); err != nil {
		return 0, err
	}
	begun := 0
	if at := fault.Split(l.size); at > 0 {
		first := l.rest[0]
		begun, _ = s.tcp.Write(first[:min(at, len(first))]) // what is wrong, the next write finds too
		l.wrote(begun)
	}
	n, err := l.rest.WriteTo(s.tcp)
	return begun + int(n), err
}

// joinBuffers are for several slices that have to go out as one.
var joinBuffers = sync.Pool{New: func() any { return new([joinRoom]byte) }}

const joinRoom = 16 << 10 // a record of TLS

func (l *load) copyTo(buf []byte) (n int) {
	for _, b := range l.rest {
		k := copy(buf[n:], b)
		if n += k; k < len(b) {
			break
		}
	}
	return n
}

// writeRecord writes a part of a load to a connection that needs whole records, such as
// TLS.
func (s *session) writeRecord(l *load) (int, error) {
	buf := joinBuffers.Get().(*[joinRoom]byte)
	defer joinBuffers.Put(buf)
	if err := s.arm(); err != nil {
		return 0, err
	}
	n, err := s.c.Conn.Write(buf[:l.copyTo(buf[:])])
	l.wrote(n)
	return n, err
}

// lineClosing tells a client that took nothing from a line that broke.
func lineClosing(err error) *closing {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return tooSlow
	}
	return hungUp
}

// leave is the end of a session under whoever has the pen, which is laid down no more.
func (s *session) leave() {
	defer func() {
		// Give the client a moment to answer.
		_ = s.c.SetReadDeadline(time.Now().Add(lingerTime))
		s.mu.Lock()
		s.left = true
		s.mu.Unlock()
		s.room.Broadcast()
	}()
	defer func() {
		if p := recover(); p != nil {
			s.broke(p)
		}
	}()
	s.sayWhy()
	for _, x := range s.watches {
		x.viewer.Close()
	}
	s.watches = nil
}

// sayWhy sends the last words: a message for programs, a close frame for the protocol.
func (s *session) sayWhy() {
	why := s.why()
	s.w.stats.sessionEnded(why)
	if s.torn || why == hungUp {
		return
	}
	var b []byte
	if why != clientLeft {
		b = appendText(b, `{"type":"goodbye","reason":`+string(appendString(nil, why.reason))+`}`)
	}
	b = appendControl(b, ws.OpClose, ws.NewCloseFrameBody(why.code, why.reason))
	_ = s.c.Conn.SetWriteDeadline(time.Now().Add(lastWords))
	_, _ = s.c.Conn.Write(b) // conn.Write would give it the full time
}

// stays waits until the last words are said.
func (s *session) stays() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.left {
		s.room.Wait()
	}
}

var pingFrame = appendControl(nil, ws.OpPing, nil)

// appendControl appends a control frame; its payload is at most 125 bytes.
func appendControl(dst []byte, op ws.OpCode, payload []byte) []byte {
	dst = append(dst, 0x80|byte(op), byte(len(payload)))
	return append(dst, payload...)
}
