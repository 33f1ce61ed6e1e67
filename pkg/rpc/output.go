package rpc

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"sync"
	"time"

	"tracker/pkg/fault"
)

// fewBytes of output are few enough that a writer yields first.
const fewBytes = 1000

// put sends the reader's output, with whatever else is pending. It is where reading
// stops when the peer does not read.
func (c *conn) put() {
	c.submit() // first: writing may block, and others may wait for the key of a request
	c.mu.Lock()
	if !c.leaving && !c.broken {
		c.pending = append(c.pending, c.out...)
	}
	idle := len(c.pending) == 0
	c.mu.Unlock()
	if cap(c.out) > 2*bigBuffer {
		c.out = nil
	}
	c.out = c.out[:0]
	if idle {
		return
	}
	c.flush()
	c.mu.Lock()
	for len(c.pending) > c.s.cfg.MaxOutput/4 && !c.broken && !c.leaving {
		c.wait()
	}
	c.mu.Unlock()
}

// finish answers r and forgets it. r is still the caller's, its connection not.
func (c *conn) finish(r *Request, out []byte, err error) {
	c.s.wheel.remove(r)
	kind, code := KindRsp, OK
	var aux uint16
	var e *Error
	if err != nil {
		kind, e = KindErr, r.failure(err)
		code = e.Status
	} else if len(out) < HeaderSize && r.sub == nil {
		kind, e = KindErr, c.failure(r.m, errNoAnswer)
	}
	if e == nil && r.sub == nil && !r.notify {
		out = c.sendParts(r, out)
	}
	c.mu.Lock()
	if s := r.sub; s != nil {
		aux = s.finish()
		if s.accepted || e == nil {
			kind = KindEnd
		}
		c.subs--
		c.s.stats.subs.Add(-1)
	}
	if e != nil {
		c.s.stats.failed.Add(1)
	}
	if !r.notify {
		c.open.remove(r)
		c.append(kind, r.ID, code, aux, out, e)
	}
	r.mu.Lock()
	if r.cancel != nil { // after the end is marked: a publisher that waits looks again
		r.cancel(nil)
	}
	r.mu.Unlock()
	c.running--
	c.bytes -= len(r.keep)
	if r.room > 0 {
		c.parked.Add(-r.room)
	}
	c.s.stats.inflight.Add(-1)
	if r.out = out; out == nil {
		r.out = nil
	}
	kick := c.kick()
	c.tell()
	c.mu.Unlock()
	if kick {
		c.s.pool.flush(c)
	}
}

// append adds the frame that ends a request. mu is held.
func (c *conn) append(k Kind, id uint32, code Status, aux uint16, out []byte, e *Error) {
	if c.broken || c.leaving {
		return
	}
	at := len(c.pending)
	switch {
	case e != nil:
		c.pending = appendErrFrame(c.pending, k, id, e)
		binary.LittleEndian.PutUint16(c.pending[at+10:], aux)
	case k == KindEnd:
		c.pending = appendHeader(c.pending, k, 0, 0, id, uint16(code), aux)
	default:
		putHeader(out, k, 0, len(out)-HeaderSize, id, uint16(code), aux)
		c.pending = append(c.pending, out...)
	}
	c.bound()
}

// sendParts sends all but the last part of a long answer, each when there is room, so
// that shorter ones get between them.
func (c *conn) sendParts(r *Request, out []byte) []byte {
	limit := min(chunk, c.limit)
	body := out[HeaderSize:]
	if len(body) <= limit {
		return out
	}
	parked := c.park(r, int64(cap(out)))
	defer c.unpark(parked)
	for len(body) > limit {
		c.mu.Lock()
		for len(c.pending) > 4*chunk && !c.broken && !c.leaving {
			c.wait()
		}
		if !c.broken && !c.leaving {
			c.pending = AppendFrame(c.pending, Frame{Kind: KindRsp, Flags: FlagMore, ID: r.ID, Body: body[:limit]})
		}
		kick := c.kick()
		c.mu.Unlock()
		if kick {
			c.s.pool.flush(c)
		}
		body = body[limit:]
	}
	return append(out[:HeaderSize], body...)
}

// park counts a long answer, less what r has reserved.
func (c *conn) park(r *Request, size int64) (parked int64) {
	parked = max(size-r.room, 0)
	c.mu.Lock()
	c.longest = max(c.longest, size)
	c.parked.Add(parked)
	c.mu.Unlock()
	return parked
}

func (c *conn) unpark(n int64) {
	c.mu.Lock()
	c.parked.Add(-n)
	c.tell()
	c.mu.Unlock()
}

// makeRoom waits, before an answer is made, until the peer has taken enough of the long
// ones that wait for it. Each is held whole, and a request of a few bytes may ask for one.
// Who had to wait reserves as much as the longest took, or all who wait would find the
// same room.
func (c *conn) makeRoom(r *Request) {
	if c.parked.Load() <= int64(c.s.cfg.MaxOutput) {
		return
	}
	c.mu.Lock()
	for c.parked.Load() > int64(c.s.cfg.MaxOutput) && !c.broken && !c.leaving {
		c.wait()
	}
	r.room = c.longest
	c.parked.Add(r.room)
	c.mu.Unlock()
}

// owes says whether there is something to write. mu is held.
func (c *conn) owes() bool { return len(c.pending) > 0 || c.half != nil }

// kick says whether the caller has to find somebody to write, or to tell subscriptions
// that they may. mu is held.
func (c *conn) kick() bool {
	if !c.owes() && len(c.wants) == 0 || c.kicked || c.writing || c.broken {
		return false
	}
	c.kicked = true
	return true
}

// bound ends the connection of a peer that lets output pile up. mu is held.
func (c *conn) bound() {
	if len(c.pending) > c.s.cfg.MaxOutput && !c.leaving {
		c.s.stats.fault(FaultSlow)
		c.pending = c.pending[:0]
		c.goAway(0, &Error{Status: SlowConsumer, Message: "output over the limit"})
		c.callOff()
	}
}

// tooSlow says so to a peer that did not take out, of which n bytes left, in the time
// it had. What it may still take ends the frame that it has a part of. mu is held.
func (c *conn) tooSlow(out []byte, n int) {
	c.s.stats.fault(FaultSlow)
	end := 0
	for end < n {
		end += HeaderSize + int(binary.LittleEndian.Uint32(out[end:])&maxBody)
	}
	c.pending = append([]byte(nil), out[n:end]...)
	c.goAway(0, &Error{Status: SlowConsumer, Message: "a write took too long"})
	c.callOff()
}

// goAway makes GOAWAY the last frame. What e says about having no effect holds for
// the ids after last. mu is held.
func (c *conn) goAway(last uint32, e *Error) {
	c.pending = appendGoAwayFrame(c.pending, last, e)
	c.lastWords()
}

// lastWords are what is pending. mu is held.
func (c *conn) lastWords() {
	c.leaving = true
	c.writeBy = time.Now().Add(lastWord)
	c.nc.SetWriteDeadline(c.writeBy)
	c.tell()
}

// flushSoon is the worker's way: others that are about to finish go first.
func (c *conn) flushSoon() {
	c.mu.Lock()
	few := len(c.pending) < fewBytes
	c.mu.Unlock()
	if few {
		runtime.Gosched()
	}
	c.mu.Lock()
	c.kicked = false
	wants := c.wants
	c.wants = nil
	for _, s := range wants {
		s.called = false
	}
	c.errands++
	c.mu.Unlock()
	for _, s := range wants {
		s.tellReady()
	}
	c.flush()
	c.ranErrand()
}

func (c *conn) ranErrand() {
	c.mu.Lock()
	c.errands--
	c.tell()
	c.mu.Unlock()
}

// flush writes until nothing is pending, unless somebody does already.
func (c *conn) flush() {
	c.mu.Lock()
	if c.writing {
		c.mu.Unlock()
		return
	}
	c.writing = true
	for c.owes() && !c.broken {
		c.renew()
		out, from := c.next()
		c.mu.Unlock()
		fault.Answers()
		n, err := c.nc.Write(out[from:])
		c.s.stats.writes.Add(1)
		c.s.stats.bytesWritten.Add(uint64(n))
		c.mu.Lock()
		if cap(out) <= 2*bigBuffer {
			c.spare = out[:0]
		}
		switch {
		case err == nil || c.broken:
		case errors.Is(err, os.ErrDeadlineExceeded) && !c.leaving:
			c.tooSlow(out, from+n)
		default:
			c.fail()
		}
		c.relieve()
		c.tell()
	}
	if !c.owes() && c.subs > 0 && c.running == c.subs {
		// Updates leave directly, and this was the exception. Who asks and is answered
		// all the time keeps its buffers.
		c.pending, c.spare = nil, nil
	}
	c.endWrite()
}

// next takes what is to be written, from that byte on: whole frames. mu is held.
func (c *conn) next() (out []byte, from int) {
	if c.half != nil {
		out, from = c.half, c.halfAt
		c.half, c.halfAt = nil, 0
		return out, from
	}
	out = c.pending
	c.pending, c.spare = c.spare[:0], nil
	return out, 0
}

// endWrite lets others write, finds somebody for what came meanwhile, and unlocks mu.
func (c *conn) endWrite() {
	c.writing = false
	kick := c.kick()
	c.tell()
	c.mu.Unlock()
	if kick {
		c.s.pool.flush(c)
	}
}

// direct says whether a frame may be written here and now, by who has it. mu is held.
func (c *conn) direct() bool { return c.sock != nil && !c.writing && !c.owes() && !c.broken }

// scratch is the memory of a direct write.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// writeDirect writes an update without waiting; what the kernel does not take is left to
// those who may wait. It is called with mu, when direct says so, and unlocks it.
func (c *conn) writeDirect(s *Subscription, event uint16, body []byte) {
	buf := scratch.Get().(*[]byte)
	out := s.emit((*buf)[:0], s.seq, event, body)
	c.writing = true
	c.mu.Unlock()
	n, err := c.sock.TryWrite(out)
	c.s.stats.writes.Add(1)
	c.s.stats.bytesWritten.Add(uint64(n))
	*buf = out[:0]
	c.mu.Lock()
	switch {
	case c.broken:
	case err != nil:
		c.fail()
	case n < len(out):
		c.half, c.halfAt = out, n
		*buf = nil
	}
	c.endWrite()
	if cap(*buf) <= bigBuffer {
		scratch.Put(buf)
	}
}

// renew moves the write deadline, after a quarter of it. mu is held.
func (c *conn) renew() {
	if c.leaving {
		return
	}
	now := time.Now()
	if c.writeBy.Sub(now) < c.s.cfg.Write*3/4 {
		c.writeBy = now.Add(c.s.cfg.Write)
		c.nc.SetWriteDeadline(c.writeBy)
	}
}

// fail gives up writing. The reader learns it by the close. The caller, who writes, holds
// mu; it is let go of meanwhile, as TLS takes up to five seconds to close on a peer that
// reads nothing, and whoever tells all viewers asks this one, too.
func (c *conn) fail() {
	c.broken = true
	c.pending, c.half = nil, nil
	c.mu.Unlock()
	c.nc.Close()
	c.cancel()
	c.mu.Lock()
}

// relieve goes on with subscriptions that waited for the peer to read. mu is held.
func (c *conn) relieve() {
	if len(c.congested) == 0 || len(c.pending) > c.s.cfg.MaxOutput/4 {
		return
	}
	again := c.congested
	c.congested = nil
	for _, s := range again {
		s.waits = false
		s.drain()
		s.nudge()
	}
}

func (c *conn) wait() {
	c.waiting++
	c.changed.Wait()
	c.waiting--
}

func (c *conn) tell() {
	if c.waiting > 0 {
		c.changed.Broadcast()
	}
}
