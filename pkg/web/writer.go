package web

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"tracker/pkg/hub"
	"tracker/pkg/track"
)

// writer is the half of a session that owns its watches and its connection. All of it
// runs on one goroutine.
type writer struct {
	*session
	watches []*watch // in the order of their first watch
	turn    int      // who is asked first, so that nobody starves
	outbox  []byte   // small frames of our own, before those of the hub
	frames  net.Buffers
	tcp     *net.TCPConn // for writev; nil behind TLS
	torn    bool         // a write failed: what follows would be read as its rest
}

// watch is one subscription of a session.
type watch struct {
	id     int64
	viewer *hub.Viewer
	ready  atomic.Bool // may have frames; cleared by the writer, set by the hub
	got    [framesATurn]*hub.Frame
}

const (
	framesATurn = 8         // of one watch, before the next has its turn
	bytesATurn  = 256 << 10 // in one write, or a slow line could take a write's whole time for it
)

func newWriter(s *session) *writer { return &writer{session: s, tcp: tcpOf(s.c)} }

// run writes until the session ends, and then says why it ended.
func (w *writer) run() {
	defer w.closeWatches()
	for w.ctx.Err() == nil {
		w.carryOut()
		if w.pingDue.Swap(false) {
			w.outbox = append(w.outbox, pingFrame...)
		}
		w.gather()
		if len(w.outbox) == 0 && len(w.frames) == 0 {
			w.rest()
			continue
		}
		if err := w.flush(); err != nil {
			w.torn = true
			w.end(lineClosing(err))
		}
	}
	w.sayWhy()
}

// rest waits until there is something to do.
func (w *writer) rest() {
	select {
	case a := <-w.asks:
		w.do(a)
	case <-w.wake:
	case <-w.ctx.Done():
	}
}

// carryOut does what was asked for meanwhile.
func (w *writer) carryOut() {
	for {
		select {
		case a := <-w.asks:
			w.do(a)
		default:
			return
		}
	}
}

func (w *writer) do(a ask) {
	if a.err == nil {
		a.err = w.try(a)
	}
	if a.err != nil {
		w.tellError(a)
	}
}

func (w *writer) try(a ask) error {
	switch a.op {
	case "pong":
		w.outbox = appendControl(w.outbox, ws.OpPong, a.payload)
	case "ping":
		w.tell(`{"type":"pong"}`)
	case "watch":
		return w.watch(a)
	case "area":
		return w.area(a)
	case "unwatch":
		return w.unwatch(a)
	}
	return nil
}

func (w *writer) find(id int64) int {
	for i, x := range w.watches {
		if x.id == id {
			return i
		}
	}
	return -1
}

func (w *writer) watch(a ask) error {
	if w.find(a.id) >= 0 {
		return fmt.Errorf("watch %d is open: change it with area: %w", a.id, track.ErrExists)
	}
	if len(w.watches) >= w.w.cfg.MaxWatches {
		return fmt.Errorf("%w watches: %d on one connection", errTooMany, len(w.watches))
	}
	x := &watch{id: a.id}
	x.ready.Store(true)
	v, err := w.w.engine.Watch(a.query, hub.Options{
		ResumeEpoch: a.resume.epoch, ResumeSeq: a.resume.seq,
		Notify: func() { x.ready.Store(true); w.poke() },
	})
	if err != nil {
		return err
	}
	x.viewer = v
	w.watches = append(w.watches, x)
	w.tellWatching(x)
	return nil
}

// area points a watch elsewhere. The frames that follow carry the new stream's number.
func (w *writer) area(a ask) error {
	i := w.find(a.id)
	if i < 0 {
		return fmt.Errorf("watch %d: %w", a.id, track.ErrNotFound)
	}
	x := w.watches[i]
	if err := x.viewer.Retarget(a.query); err != nil {
		return err
	}
	x.ready.Store(true)
	w.tellWatching(x)
	return nil
}

func (w *writer) unwatch(a ask) error {
	i := w.find(a.id)
	if i < 0 {
		return fmt.Errorf("watch %d: %w", a.id, track.ErrNotFound)
	}
	w.watches[i].viewer.Close()
	w.watches = append(w.watches[:i], w.watches[i+1:]...)
	w.tell(fmt.Sprintf(`{"type":"unwatched","id":%d}`, a.id))
	return nil
}

func (w *writer) tellWatching(x *watch) {
	stream, epoch, resumed := x.viewer.Stream()
	more := ""
	if resumed {
		more = `,"resumed":true`
	}
	w.tell(fmt.Sprintf(`{"type":"watching","id":%d,"stream":%d,"epoch":"%016x"%s}`, x.id, stream, epoch, more))
}

func (w *writer) tellError(a ask) {
	f, message, known := explain(a.err)
	if !known {
		w.w.log.Error("watch failed", "request", w.id, "err", a.err)
	}
	b := appendInt([]byte(`{"type":"error","id":`), a.id)
	b = appendProblem(append(b, `,"error":`...), f, message, w.id)
	w.tell(string(append(b, '}')))
}

// tell puts a text message of our own into the outbox.
func (w *writer) tell(text string) {
	start := len(w.outbox)
	w.outbox = append(w.outbox, make([]byte, headerRoom)...)
	w.outbox = sealText(append(w.outbox, text...), start)
}

// gather takes a turn of frames from each watch that may have some, in rotation.
func (w *writer) gather() {
	size := 0
	for range w.watches {
		w.turn = (w.turn + 1) % len(w.watches)
		x := w.watches[w.turn]
		if size >= bytesATurn || !x.ready.Load() {
			continue
		}
		// Cleared before asking: a notice that comes in between is not lost.
		x.ready.Store(false)
		frames, err := x.viewer.TryNext(x.got[:0])
		if err != nil {
			w.end(goingAway)
			return
		}
		if len(frames) > 0 {
			x.ready.Store(true)
		}
		for _, f := range frames {
			b := f.Bytes(w.w.enc)
			w.frames = append(w.frames, b)
			size += len(b)
		}
	}
}

// flush writes the outbox and the frames gathered.
func (w *writer) flush() error {
	frames := len(w.frames)
	if len(w.outbox) > 0 {
		w.frames = append(w.frames, nil)
		copy(w.frames[1:], w.frames)
		w.frames[0] = w.outbox
	}
	var n int64
	var err error
	if w.tcp != nil {
		n, err = w.writev()
	} else {
		n, err = w.writeJoined()
	}
	w.w.stats.framesOut.Add(uint64(frames))
	w.w.stats.bytesOut.Add(uint64(n))
	clear(w.frames)
	w.frames, w.outbox = w.frames[:0], w.outbox[:0]
	if cap(w.outbox) > 4096 {
		w.outbox = nil
	}
	return err
}

// arm gives the next write its time. Whoever ends the session shortens it, so the
// end is looked for after the deadline is set.
func (w *writer) arm() error {
	err := w.c.Conn.SetWriteDeadline(time.Now().Add(w.w.cfg.StreamTimeout))
	if err == nil && w.ctx.Err() != nil {
		err = w.c.Conn.SetWriteDeadline(time.Now().Add(lastWords))
	}
	return err
}

// writev hands all slices to the kernel in one call; nothing is copied on the way.
func (w *writer) writev() (int64, error) {
	if err := w.arm(); err != nil {
		return 0, err
	}
	b := w.frames // WriteTo eats the slice header that it is given
	return b.WriteTo(w.tcp)
}

// joinBuffers serve connections that need whole records, such as TLS.
var joinBuffers = sync.Pool{New: func() any { return new([16 << 10]byte) }}

func (w *writer) writeJoined() (n int64, err error) {
	buf := joinBuffers.Get().(*[16 << 10]byte)
	defer joinBuffers.Put(buf)
	have := 0
	put := func() {
		if err = w.arm(); err == nil {
			_, err = w.c.Conn.Write(buf[:have])
		}
		n, have = n+int64(have), 0
	}
	for _, b := range w.frames {
		for len(b) > 0 && err == nil {
			k := copy(buf[have:], b)
			b, have = b[k:], have+k
			if have == len(buf) {
				put()
			}
		}
	}
	if have > 0 && err == nil {
		put()
	}
	return n, err
}

// lineClosing tells a client that took nothing from a line that broke.
func lineClosing(err error) *closing {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return tooSlow
	}
	return hungUp
}

// sayWhy sends the last words: a message for programs, a close frame for the protocol.
func (w *writer) sayWhy() {
	why := w.why()
	w.w.stats.sessionEnded(why)
	if w.torn || why == hungUp {
		return
	}
	w.outbox = w.outbox[:0]
	if why != clientLeft {
		w.tell(`{"type":"goodbye","reason":` + string(appendString(nil, why.reason)) + `}`)
	}
	w.outbox = appendControl(w.outbox, ws.OpClose, ws.NewCloseFrameBody(why.code, why.reason))
	_ = w.c.Conn.SetWriteDeadline(time.Now().Add(lastWords))
	_, _ = w.c.Conn.Write(w.outbox) // conn.Write would give it the full time
}

func (w *writer) closeWatches() {
	for _, x := range w.watches {
		x.viewer.Close()
	}
	w.watches = nil
}

var pingFrame = appendControl(nil, ws.OpPing, nil)

// appendControl appends a control frame; its payload is at most 125 bytes.
func appendControl(dst []byte, op ws.OpCode, payload []byte) []byte {
	dst = append(dst, 0x80|byte(op), byte(len(payload)))
	return append(dst, payload...)
}
