package rpc

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Requests of a few bytes may each ask for a long answer, and the peer may read none of
// them: then only so many are made.
func TestLongAnswersWaitForThePeerToRead(t *testing.T) {
	const long = 512 << 10
	s := NewServer(Config{})
	made := make(chan struct{}, 1000)
	s.Handle(0x0101, Method{Name: "long", Handle: func(_ *Request, out []byte) ([]byte, error) {
		made <- struct{}{}
		return append(out, make([]byte, long)...), nil
	}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	here, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	served := make(chan struct{})
	go func() { defer close(served); s.ServeConn(context.Background(), there) }()
	if _, err := Greet(context.Background(), here, Hello{}); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for i := range 1000 {
		out = AppendFrame(out, Frame{Kind: KindReq, ID: uint32(i + 1), Code: 0x0101})
	}
	_ = here.SetDeadline(time.Time{})
	if _, err := here.Write(out); err != nil {
		t.Fatal(err)
	}
	// What was made before the first were parked, and what MaxOutput lets in.
	const most = 16<<20/long + 32 // and what the sockets swallow
	n := 0
	for quiet := false; !quiet; {
		select {
		case <-made:
			n++
		case <-time.After(300 * time.Millisecond):
			quiet = true
		}
	}
	if n > most {
		t.Errorf("%d were made", n)
	}
	_ = here.Close()
	<-served
}

// Those who wait for room do not all find the same: each takes what the longest answer
// took.
func TestRoomForOneAnswerIsNotRoomForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const asked = 200
		h := newHouse(Config{})
		var made atomic.Int64
		var at atomic.Pointer[conn]
		hold := make(chan struct{})
		h.Handle(100, Method{Name: "Long", Handle: func(r *Request, out []byte) ([]byte, error) {
			if made.Add(1) > 1 {
				<-hold
			}
			at.Store(r.c)
			return append(out, make([]byte, 512<<10)...), nil
		}})
		s := h.pipe(t)
		answered := func(n int) {
			for n > 0 {
				if f := s.next(); f.Kind == KindRsp && f.Flags&FlagMore == 0 {
					n--
				}
			}
		}
		s.say(req(1, 100, nil))
		answered(1)
		synctest.Wait()
		c, most := at.Load(), int64(h.cfg.MaxOutput)
		c.parked.Add(most + 1)
		for id := range uint32(asked) {
			s.say(req(id+2, 100, nil))
		}
		synctest.Wait()
		c.unpark(1)
		synctest.Wait()
		if n := made.Load() - 1; n != 1 {
			t.Errorf("%d were made where there was room for one", n)
		}
		close(hold)
		answered(asked)
		synctest.Wait()
		if n := c.parked.Load(); n != most {
			t.Errorf("%d bytes are parked for ever", n-most)
		}
		s.nc.Close()
	})
}
