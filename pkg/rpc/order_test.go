package rpc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"sync"
	"testing"
	"time"
)

// ledger holds a server to the rules of order, frame by frame: what was asked is put
// in, what comes back is taken off.
type ledger struct {
	broken string // the first rule that was
	open   map[uint32]*entry
	inline []uint32          // as they were sent
	keyed  map[byte][]uint32 // of each key, as they were sent
	events int
	ended  int // by CANCEL
}

type entry struct {
	method   uint16
	body     []byte
	accepted bool
	seq      uint64
	credit   int
	canceled bool
}

func newLedger() *ledger {
	return &ledger{open: map[uint32]*entry{}, keyed: map[byte][]uint32{}}
}

func (l *ledger) breaks(format string, args ...any) {
	if l.broken == "" {
		l.broken = fmt.Sprintf(format, args...)
	}
}

// ask notes f, which is about to be sent.
func (l *ledger) ask(f Frame) Frame {
	switch f.Kind {
	case KindReq:
		l.open[f.ID] = &entry{method: f.Code, body: f.Body}
		switch f.Code {
		case mSum, mPanicInline, mEchoInline:
			l.inline = append(l.inline, f.ID)
		case mKeyed:
			l.keyed[f.Body[0]] = append(l.keyed[f.Body[0]], f.ID)
		}
	case KindCancel:
		if e := l.open[f.ID]; e != nil {
			e.canceled = true
		}
	case KindCredit:
		if e := l.open[f.ID]; e != nil {
			e.credit += int(binary.LittleEndian.Uint32(f.Body))
		}
	}
	return f
}

// answered takes f off.
func (l *ledger) answered(f Frame) {
	e := l.open[f.ID]
	if e == nil {
		l.breaks("%v belongs to nothing, or came behind the last frame of its id", f)
		return
	}
	if e.method >= mLatest && e.method <= mDrop || e.method == mPull {
		l.update(e, f)
	} else {
		l.answer(e, f)
	}
}

func (l *ledger) update(e *entry, f Frame) {
	switch f.Kind {
	case KindRsp:
		if e.accepted {
			l.breaks("%d was accepted twice", f.ID)
		}
		e.accepted = true
	case KindEvent:
		seq := binary.LittleEndian.Uint64(f.Body)
		if !e.accepted || seq <= e.seq || f.Aux != uint16(min(seq-e.seq-1, math.MaxUint16)) {
			l.breaks("%d, accepted %v, after %d has %v", f.ID, e.accepted, e.seq, f)
		}
		if e.credit--; e.credit < 0 {
			l.breaks("%d has an event without credit", f.ID)
		}
		e.seq = seq
		l.events++
	case KindEnd, KindErr:
		if (f.Kind == KindEnd) != e.accepted || !e.canceled || Status(f.Code) != Canceled {
			l.breaks("%d, accepted %v, canceled %v, ended with %v", f.ID, e.accepted, e.canceled, f)
		}
		l.ended++
		delete(l.open, f.ID)
	}
}

func (l *ledger) answer(e *entry, f Frame) {
	want, body := OK, e.body
	switch e.method {
	case mSum:
		body = binary.LittleEndian.AppendUint64(nil, binary.LittleEndian.Uint64(e.body)+binary.LittleEndian.Uint64(e.body[8:]))
	case mFail:
		want = NotFound
	case mPanic, mPanicInline:
		want = Internal
	case mWait:
		want = Canceled
	}
	if Status(f.Code) != want || (f.Kind == KindErr) != (want != OK) || want == OK && !bytes.Equal(f.Body, body) {
		l.breaks("request %d of method %d with %x has %v", f.ID, e.method, e.body, f)
	}
	first := func(line *[]uint32) {
		if (*line)[0] != f.ID {
			l.breaks("%d was answered before %d", f.ID, (*line)[0])
		}
		*line = (*line)[1:]
	}
	switch e.method {
	case mSum, mPanicInline, mEchoInline:
		first(&l.inline)
	case mKeyed:
		line := l.keyed[e.body[0]]
		first(&line)
		l.keyed[e.body[0]] = line
	case mWait:
		l.ended++
	}
	delete(l.open, f.ID)
}

// 10,000 calls in flight on one connection, sleeping, cancelled, failing and keyed
// ones, with subscriptions and inline calls between: each gets its answer, once, and
// in the order that is promised.
func TestTenThousandInFlightKeepTheOrder(t *testing.T) {
	checkNoGoroutines(t)
	const calls = 10_000
	h := newHouse(Config{MaxInflight: 2 * calls, MaxInflightBytes: 64 << 20})
	h.keyedWaits = make(chan struct{})
	nc := h.dial(t)
	nc.Write(helloFrame())
	in := parser{limit: maxBody}
	for f := (Frame{}); ; { // WELCOME
		if ok, _ := in.next(&f); ok {
			break
		}
		if _, err := in.fill(nc); err != nil {
			t.Fatal(err)
		}
	}

	l := newLedger()
	var mu sync.Mutex // of l
	var id uint32
	send := func(fs ...Frame) {
		mu.Lock()
		var out []byte
		for _, f := range fs {
			out = AppendFrame(out, l.ask(f))
		}
		mu.Unlock()
		nc.Write(out)
	}
	next := func(m uint16, body []byte) Frame { id++; return req(id, m, body) }
	credit := func(id uint32, n uint32) Frame {
		return Frame{Kind: KindCredit, ID: id, Body: binary.LittleEndian.AppendUint32(nil, n)}
	}

	finished := make(chan struct{})
	go func() { // reads to the end; gives back credit as it goes
		defer close(finished)
		for {
			var f Frame
			for {
				ok, e := in.next(&f)
				if e != nil {
					t.Error(e)
				}
				if !ok {
					break
				}
				mu.Lock()
				l.answered(f)
				mu.Unlock()
				if f.Kind == KindEvent {
					send(credit(f.ID, 1))
				}
			}
			if _, err := in.fill(nc); err != nil {
				return
			}
		}
	}()

	stop := make(chan struct{})
	var publishers sync.WaitGroup
	var subs []uint32
	for i := range 16 {
		f := next([]uint16{mLatest, mBlock, mDrop, mLatest}[i%4], nil)
		subs = append(subs, f.ID)
		send(f, credit(f.ID, 8))
		s := <-h.subs
		publishers.Go(func() {
			for n := uint64(0); s.Publish(n%7, 1, []byte("update")) == nil; n++ {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Microsecond):
				}
			}
		})
	}

	var waits []Frame
	for i := range calls { // every one of these stays in flight until it is told
		var f Frame
		switch i % 10 {
		case 0, 1, 2, 3:
			f = next(mKeyed, binary.LittleEndian.AppendUint64([]byte{byte(i)}, uint64(i)))
		case 4, 5:
			f = next(mWait, nil)
			waits = append(waits, Frame{Kind: KindCancel, ID: f.ID})
		default:
			f = next(mDeaf, nil)
		}
		send(f)
		if i%7 == 0 {
			send(next([]uint16{mSum, mSum, mPanicInline}[i%3], sumBody(uint64(i), 1)), next(mEchoInline, []byte{byte(i)}))
		}
	}
	eventually(t, "all are in flight", func() bool { return h.Stats().Inflight == calls+16 })

	close(h.deaf)
	close(h.keyedWaits)
	for i, cancel := range waits {
		send(cancel)
		if i%3 == 0 {
			send(next([]uint16{mSleep, mFail, mEcho, mBatch, mPanic}[i%5], []byte{byte(i)}), next(mSum, sumBody(1, uint64(i))),
				next(mKeyed, binary.LittleEndian.AppendUint64([]byte{byte(i)}, uint64(i))))
		}
		if i == len(waits)/2 {
			for _, s := range subs[:8] {
				send(Frame{Kind: KindCancel, ID: s})
			}
		}
	}
	for _, s := range subs[8:] {
		send(Frame{Kind: KindCancel, ID: s})
	}
	eventually(t, "everything is answered", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(l.open) == 0 || l.broken != ""
	})
	close(stop)
	publishers.Wait()
	nc.(*net.TCPConn).CloseWrite()
	<-finished
	if l.broken != "" {
		t.Fatal(l.broken)
	}
	if l.events == 0 || l.ended != len(waits)+len(subs) {
		t.Errorf("%d events, %d cancelled of %d", l.events, l.ended, len(waits)+len(subs))
	}
	if h.broken != "" {
		t.Error(h.broken)
	}
}
