package rpc

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A request right behind the HELLO has its whole time, however long the server runs.
func TestRequestBehindTheHelloHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(Config{})
		first := h.pipe(t)
		time.Sleep(50 * time.Second)
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); h.ServeConn(context.Background(), there) }()
		go here.Write(append(helloFrame(), frames(req(1, mSum, sumBody(1, 2)))...))
		s := &script{tb: t, nc: here, in: parser{limit: maxBody}}
		s.next() // WELCOME
		if f := s.next(); f.Kind != KindRsp {
			t.Errorf("got %v: %v", f, f.Failure())
		}
		here.Close()
		<-done
		first.nc.Close()
	})
}

// A request's time runs from when it was read, also while its batch waits for what
// stands before it.
func TestDeadlineCountsFromTheRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mSlow, mLook = 100, 101
		h := newHouse(Config{})
		h.Handle(mSlow, Method{Name: "Slow", Exec: Inline, Handle: func(_ *Request, out []byte) ([]byte, error) {
			time.Sleep(time.Second)
			return out, nil
		}})
		left := make(chan time.Duration, 2)
		h.Handle(mLook, Method{Name: "Look", Handle: func(r *Request, out []byte) ([]byte, error) {
			until, _ := r.Context().Deadline()
			left <- time.Until(until)
			<-r.Context().Done()
			return nil, r.Context().Err()
		}})
		s := h.pipe(t)
		began := time.Now()
		ask := func(id uint32, ms uint16) Frame { return Frame{Kind: KindReq, ID: id, Code: mLook, Aux: ms} }
		s.say(req(1, mSlow, nil), ask(2, 300), ask(3, 1500))
		for range 3 {
			f := s.next()
			took := time.Since(began)
			if f.ID != 1 && Status(f.Code) != DeadlineExceeded {
				t.Errorf("got %v", f)
			}
			if f.ID == 3 && (took < 1500*time.Millisecond || took > 1530*time.Millisecond) {
				t.Errorf("request 3 ended after %v", took)
			}
			if f.ID == 2 && took > 1030*time.Millisecond {
				t.Errorf("request 2 ended after %v", took)
			}
		}
		for len(left) > 0 {
			if d := <-left; d < -720*time.Millisecond || d > 520*time.Millisecond {
				t.Errorf("a handler was told of %v", d)
			}
		}
		s.nc.Close()
	})
}

// A client whose process stood still for an hour finds its answers unread, and the server
// alive; one whose server is gone learns it in twice the idle time.
func TestClientThatStoodStillAsksFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(Config{Idle: time.Minute})
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); h.ServeConn(context.Background(), far) }()
		c, err := NewClient(context.Background(), near, ClientConfig{})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			c.mu.Lock()
			c.heard = c.heard.Add(-time.Hour)
			c.mu.Unlock()
			time.Sleep(time.Minute)
			if err := c.Err(); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		<-done
	})
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		went := make(chan struct{})
		go func() { // welcomes, and reads, and says nothing more
			defer close(went)
			go io.Copy(io.Discard, far)
			far.Write(AppendFrame(nil, Frame{Kind: KindWelcome, Body: appendWelcome(nil, &Welcome{
				Proto: 1, MaxFrame: minFrame, MaxInflight: 1, Idle: time.Minute,
			})}))
		}()
		began := time.Now()
		c, err := NewClient(context.Background(), near, ClientConfig{})
		if err != nil {
			t.Fatal(err)
		}
		<-c.done
		if took := time.Since(began); took < 2*time.Minute || took > 3*time.Minute {
			t.Errorf("%v after %v", c.Err(), took)
		}
		c.Close()
		far.Close()
		<-went
	})
}
