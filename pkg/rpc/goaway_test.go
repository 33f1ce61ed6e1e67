package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func welcomeFrame(w Welcome) []byte {
	w.Proto, w.MaxFrame, w.Idle = 1, 1<<20, time.Hour
	for _, at := range []*uint32{&w.MaxInflight, &w.MaxInflightBytes, &w.MaxSubs, &w.MaxCredit, &w.MaxMessage} {
		if *at == 0 {
			*at = 1 << 20
		}
	}
	return frames(Frame{Kind: KindWelcome, Body: appendWelcome(nil, &w)})
}

// script is a server that a test plays frame by frame.
type script struct {
	tb testing.TB
	nc net.Conn
	in parser

	frames chan Frame // where somebody else reads
}

// played is a client and the server it talks to.
func played(t *testing.T, w Welcome) (*Client, *script) {
	t.Helper()
	near, far := tcpPair(t)
	t.Cleanup(func() { far.Close() })
	s := &script{tb: t, nc: far, in: parser{limit: maxBody}}
	made := make(chan *Client)
	go func() {
		c, err := NewClient(context.Background(), near, ClientConfig{})
		if err != nil {
			t.Error(err)
		}
		made <- c
	}()
	var greeting [len(Preamble)]byte
	io.ReadFull(far, greeting[:])
	s.next()
	far.Write(welcomeFrame(w))
	c := <-made
	t.Cleanup(func() { c.Close() })
	return c, s
}

func (s *script) next() Frame {
	s.tb.Helper()
	if s.frames != nil {
		f, ok := <-s.frames
		if !ok {
			s.tb.Fatal("the connection has ended")
		}
		return f
	}
	for f := (Frame{}); ; {
		if ok, e := s.in.next(&f); e != nil {
			s.tb.Fatal(e)
		} else if ok {
			f.Body = append([]byte(nil), f.Body...)
			return f
		}
		if _, err := s.in.fill(s.nc); err != nil {
			s.tb.Fatal(err)
		}
	}
}

func (s *script) say(fs ...Frame) { s.nc.Write(frames(fs...)) }

func goAway(code Status, last uint32, notRun bool) Frame {
	return Frame{Kind: KindGoAway, Code: uint16(code), Body: appendGoAway(nil, last, &Error{Status: code, Reason: "r", NotRun: notRun})}
}

func notRunOf(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.NotRun
}

// GOAWAY comes when the end begins, with the cause; what is in flight is answered,
// what comes later is refused without effect, and the last frame is an answer.
func TestGoAwayComesWhenTheEndBegins(t *testing.T) {
	checkNoGoroutines(t)
	h := newHouse(Config{})
	ctx, cancel := context.WithCancelCause(t.Context())
	near, far := tcpPair(t)
	done := make(chan struct{})
	go func() { defer close(done); h.ServeConn(ctx, far) }()
	s := &script{tb: t, nc: near, in: parser{limit: maxBody}}
	near.Write(helloFrame())
	s.next()
	s.say(req(1, mDeaf, nil), req(2, mSum, sumBody(1, 2)), req(3, mLatest, nil))
	for range 2 {
		s.next()
	}
	eventually(t, "both run", func() bool { return h.Stats().Inflight == 2 })
	cancel(&Error{Status: Unauthenticated, Reason: "expired"})
	seen := map[string]bool{}
	for range 2 {
		f := s.next()
		switch f.Kind {
		case KindGoAway:
			last, e := parseGoAway(Status(f.Code), f.Body)
			seen[fmt.Sprint(last, *e)] = true
		case KindEnd:
			seen[fmt.Sprint("end ", f.ID, " ", Status(f.Code))] = true
		}
	}
	if want := fmt.Sprint(uint32(3), Error{Status: Unauthenticated, Reason: "expired", NotRun: true}); !seen[want] || !seen["end 3 unauthenticated"] {
		t.Errorf("got %v, want %q", seen, want)
	}
	for id, m := range map[uint32]uint16{4: mSum, 5: mEcho, 6: mDrop} {
		s.say(req(id, m, sumBody(1, 2)))
		f := s.next()
		if e := parseError(Status(f.Code), f.Body); f.Kind != KindErr || f.ID != id || e.Status != Unavailable || !e.NotRun {
			t.Errorf("request %d got %v", id, f)
		}
	}
	close(h.deaf)
	rest := readFrames(t, near)
	if len(rest) != 1 || rest[0].Kind != KindRsp || rest[0].ID != 1 {
		t.Errorf("the rest is %v", rest)
	}
	<-done
}

// With nothing in flight the connection ends at once, in the handshake too.
func TestGoAwayToIdleAndUnknown(t *testing.T) {
	checkNoGoroutines(t)
	type key struct{}
	for name, greet := range map[string][]byte{"idle": helloFrame(), "silent": nil, "half a hello": helloFrame()[:9], "being asked": helloFrame()} {
		t.Run(name, func(t *testing.T) {
			asking := make(chan struct{})
			h := newHouse(Config{Authenticate: func(ctx context.Context, _ *Hello, _ net.Addr) (any, error) {
				if ctx.Value(key{}) != "v" {
					t.Error("the context's values are not visible")
				}
				if name == "being asked" {
					close(asking)
					<-ctx.Done()
				}
				return nil, ctx.Err()
			}})
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
			near, far := tcpPair(t)
			done := make(chan struct{})
			go func() { defer close(done); h.ServeConn(ctx, far) }()
			near.Write(greet)
			switch name {
			case "idle":
				eventually(t, "it is known", func() bool { return h.Stats().Accepted == 1 })
			case "being asked":
				<-asking
			}
			cancel()
			got := readFrames(t, near)
			<-done
			last := got[len(got)-1]
			if e := parseError(Status(last.Code), last.Body[4:]); last.Kind != KindGoAway || *e != (Error{Status: Unavailable, Message: "the server is stopping", NotRun: true}) {
				t.Errorf("got %v", e)
			}
			for _, f := range Faults() {
				if s := h.Stats(); s.Fault(f) != 0 {
					t.Errorf("counted as %v", f)
				}
			}
		})
	}
}

func TestGraceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(Config{})
		ctx, cancel := context.WithCancel(t.Context())
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); h.ServeConn(ctx, there) }()
		go here.Write(append(helloFrame(), frames(req(1, mWait, nil))...))
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if kinds := readKinds(t, here); fmt.Sprint(kinds) != "[1 12]" {
			t.Errorf("got kinds %v", kinds)
		}
		<-done
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("ended after %v", took)
		}
	})
}

// A peer that takes its answers slowly does not keep the server from stopping: behind
// the grace there is the time of the last word, and no more.
func TestGraceEndsForAPeerThatReadsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mBig = 100
		h := newHouse(Config{})
		h.Handle(mBig, Method{Name: "Big", Exec: Inline, Handle: func(_ *Request, out []byte) ([]byte, error) {
			return append(out, make([]byte, 50_000)...), nil
		}})
		ctx, cancel := context.WithCancel(t.Context())
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); h.ServeConn(ctx, there) }()
		var many []byte
		for id := range uint32(5000) {
			many = AppendFrame(many, req(id+1, mBig, nil))
		}
		go here.Write(append(helloFrame(), many...))
		read := make(chan struct{})
		go func() { // 200 kB a second
			defer close(read)
			for b := make([]byte, 20_000); ; time.Sleep(100 * time.Millisecond) {
				if _, err := here.Read(b); err != nil {
					return
				}
			}
		}()
		time.Sleep(20 * time.Second)
		cancel()
		began := time.Now()
		<-done
		<-read
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("ended after %v", took)
		}
	})
}

// The client's side: new calls fail at once, those behind the last id are given back,
// those before it are answered until the connection closes.
func TestClientGoesAway(t *testing.T) {
	checkNoGoroutines(t)
	for name, row := range map[string]struct {
		first, last uint32 // id that is given; accepted
		notRun      bool
		back        int // calls given back
	}{
		"between": {1, 2, true, 1}, "none": {1, 0, true, 3}, "all": {1, 3, true, 0},
		"over the wrap": {1<<32 - 1, 1, true, 1}, "before the wrap": {1<<32 - 2, 1<<32 - 2, true, 2},
		"nobody knows": {1, 0, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := played(t, Welcome{})
			c.mu.Lock()
			c.nextID = row.first - 1
			c.mu.Unlock()
			errs := make([]chan error, 3)
			ids := make([]uint32, 3)
			for i := range errs {
				errs[i] = make(chan error, 1)
				c.Go(t.Context(), 9, nil, func(_ []byte, err error) { errs[i] <- err })
				ids[i] = s.next().ID
			}
			s.say(goAway(Unavailable, row.last, row.notRun))
			<-c.Leaving()
			if _, err := c.Call(t.Context(), 9, nil); StatusOf(err) != Unavailable || !notRunOf(err) || !Retryable(err, false) {
				t.Errorf("a new call: %v", err)
			}
			if err := c.Notify(9, nil); !notRunOf(err) {
				t.Errorf("a notify: %v", err)
			}
			stay := len(errs) - row.back
			for i := stay; i < len(errs); i++ {
				if err := <-errs[i]; StatusOf(err) != Unavailable || !notRunOf(err) {
					t.Errorf("call %d: %v", ids[i], err)
				}
				s.say(Frame{Kind: KindErr, ID: ids[i], Code: uint16(Unavailable)}) // what the server says of it comes late
			}
			for i := range stay {
				if i > 0 && i == stay-1 {
					s.nc.Close() // of the last nobody knows
					if err := <-errs[i]; StatusOf(err) != Unavailable || notRunOf(err) {
						t.Errorf("call %d: %v", ids[i], err)
					}
				} else {
					s.say(Frame{Kind: KindRsp, ID: ids[i]})
					if err := <-errs[i]; err != nil {
						t.Errorf("call %d: %v", ids[i], err)
					}
				}
			}
			<-c.Done()
			if e := (*Error)(nil); !errors.As(c.Err(), &e) || e.Reason != "r" {
				t.Errorf("ended with %v", c.Err())
			}
		})
	}
}

// Calls wait for room by bytes, in their order, and give up with their context.
func TestCallsWaitForRoomByBytes(t *testing.T) {
	checkNoGoroutines(t)
	c, s := played(t, Welcome{MaxInflightBytes: 100, MaxInflight: 3})
	if _, err := c.Call(t.Context(), 9, make([]byte, 101)); StatusOf(err) != FrameTooLarge || !notRunOf(err) {
		t.Errorf("more than there ever is: %v", err)
	}
	var wg sync.WaitGroup
	call := func(ctx context.Context, n int, want Status) {
		wg.Go(func() {
			if _, err := c.Call(ctx, 9, make([]byte, n)); StatusOf(err) != want || err != nil && !notRunOf(err) {
				t.Errorf("%d bytes: %v", n, err)
			}
		})
	}
	waiting := func(n int) {
		t.Helper()
		eventually(t, "they wait", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.room.queue.Len() == n
		})
	}
	call(t.Context(), 60, OK)
	first := s.next()
	short, cancel := context.WithCancel(t.Context())
	call(short, 90, Canceled)
	waiting(1)
	call(t.Context(), 50, OK)
	waiting(2)
	call(t.Context(), 10, OK) // fits, but others came before
	waiting(3)
	cancel()
	waiting(2)
	s.say(Frame{Kind: KindRsp, ID: first.ID})
	for range 2 { // both have room now, and race to use it
		f := s.next()
		if len(f.Body) == 90 {
			t.Error("one who gave up was sent")
		}
		s.say(Frame{Kind: KindRsp, ID: f.ID})
	}
	for range 3 { // the count is bounded too
		call(t.Context(), 0, Unavailable)
		s.next()
	}
	call(t.Context(), 1, Unavailable)
	waiting(1)
	s.say(goAway(Unavailable, 0, true)) // gives all of them back
	wg.Wait()
}
