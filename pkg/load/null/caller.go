package null

import (
	"encoding/binary"
	"net"
	"sync"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// caller is one connection of frames. Its reader answers; the hub writes updates.
type caller struct {
	s    *Server
	nc   net.Conn
	echo echo
	out  []byte

	mu      sync.Mutex // of writing, and of what follows
	credit  int
	granted sync.Cond
	closed  bool
}

func newCaller(s *Server, nc net.Conn) *caller {
	c := &caller{s: s, nc: nc}
	c.granted.L = &c.mu
	return c
}

const (
	readSize  = 256 << 10
	mostFrame = 1 << 20
)

// run reads until the connection ends.
func (c *caller) run() {
	defer c.leave()
	b := make([]byte, readSize)
	in := newLooker(c.nc, c.s.alone)
	r, w := 0, 0
	for {
		if w == len(b) {
			if r == 0 {
				return // a frame longer than any that is answered
			}
			w = copy(b, b[r:w])
			r = 0
		}
		n, err := in.Read(b[w:])
		w += n
		for {
			used, ok := c.frame(b[r:w])
			if !ok {
				return
			}
			if used == 0 {
				break
			}
			r += used
		}
		if r == w {
			r, w = 0, 0
		}
		if c.flush() != nil || err != nil {
			return
		}
	}
}

func (c *caller) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

// frame takes the first frame of b, if it is whole.
func (c *caller) frame(b []byte) (used int, ok bool) {
	if len(b) < rpc.HeaderSize {
		return 0, true
	}
	word := binary.LittleEndian.Uint32(b)
	used = rpc.HeaderSize + int(word&(1<<24-1))
	if used > mostFrame {
		return 0, false
	}
	if len(b) < used {
		return 0, true
	}
	f := rpc.Frame{Kind: rpc.Kind(word >> 24 & 15), ID: binary.LittleEndian.Uint32(b[idAt:]), Code: binary.LittleEndian.Uint16(b[8:]), Body: b[rpc.HeaderSize:used]}
	switch f.Kind {
	case rpc.KindReq:
		return used, c.request(&f)
	case rpc.KindHello:
		c.out = welcome(c.out)
	case rpc.KindPing:
		c.out = rpc.AppendFrame(c.out, rpc.Frame{Kind: rpc.KindPong, ID: f.ID, Body: f.Body})
	case rpc.KindCredit:
		if len(f.Body) == 4 {
			c.grant(int(binary.LittleEndian.Uint32(f.Body)))
		}
	case rpc.KindCancel:
		c.s.hub.leave(c)
		c.out = rpc.AppendFrame(c.out, rpc.Frame{Kind: rpc.KindEnd, ID: f.ID})
	}
	return used, true
}

func (c *caller) request(f *rpc.Frame) bool {
	ok := true
	r := c.s.ready
	switch f.Code {
	case trk.ExampleSumID, trk.ExampleAsyncSumID:
		c.out, ok = r.add(c.out, &r.sum, f)
	case trk.ExampleSleepID:
		c.out, ok = r.add(c.out, &r.sleep, f)
	case trk.ExampleEchoID:
		c.out, ok = c.echo.add(c.out, f)
	case trk.PublishReportID:
		if ok = c.s.hub.report(f.Body); ok {
			c.out = put(c.out, r.ack, f.ID)
		}
	case trk.WatchOpenID:
		c.out = put(c.out, r.watch, f.ID)
		if c.flush() != nil {
			return false
		}
		c.s.hub.join(c)
	default:
		c.out = rpc.AppendFrame(c.out, rpc.Frame{Kind: rpc.KindErr, ID: f.ID, Code: uint16(rpc.Unimplemented)})
	}
	if !ok {
		c.out = rpc.AppendFrame(c.out, rpc.Frame{Kind: rpc.KindErr, ID: f.ID, Code: uint16(rpc.BadBody)})
	}
	return true
}

// mostCredit is what a WELCOME allows.
const mostCredit = 1 << 16

// welcome appends the WELCOME: nothing is limited that a client might want.
func welcome(dst []byte) []byte {
	le := binary.LittleEndian
	body := le.AppendUint16(nil, 1)
	body = le.AppendUint16(body, 0)
	body = le.AppendUint32(body, mostFrame)
	body = le.AppendUint64(body, 1) // connection
	body = le.AppendUint64(body, 1) // epoch
	for _, v := range []uint32{1 << 20, 1 << 30, 1 << 10, mostCredit, 16 << 20, 3_600_000, 0, 0} {
		body = le.AppendUint32(body, v)
	}
	body = le.AppendUint64(body, uint64(time.Now().UnixMilli()))
	return rpc.AppendFrame(dst, rpc.Frame{Kind: rpc.KindWelcome, Body: body})
}

func (c *caller) grant(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.credit = min(c.credit+n, mostCredit)
	c.granted.Signal()
}

// patience is how long a watcher may take nothing before it is one no more.
const patience = 20 * time.Second

// update writes a frame, and waits for credit and for room: what a client takes is what
// is measured.
func (c *caller) update(f *encoded) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.credit == 0 && !c.closed {
		c.granted.Wait()
	}
	if c.closed {
		return false
	}
	c.credit--
	_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.nc.Write(f.event)
	return err == nil
}

func (c *caller) leave() {
	c.mu.Lock()
	c.closed = true
	c.granted.Signal()
	c.mu.Unlock()
	c.s.hub.leave(c)
}
