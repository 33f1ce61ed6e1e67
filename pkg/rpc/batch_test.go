package rpc

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is a peer on a net.Pipe that has shaken hands: what it says in one write is
// one batch of the reader, up to 1 KiB.
func (h *house) pipe(t *testing.T) *script {
	t.Helper()
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); h.ServeConn(context.Background(), there) }()
	s := &script{tb: t, nc: here, in: parser{limit: maxBody}, frames: make(chan Frame, 1000)}
	read := make(chan struct{})
	go func() { // a pipe holds nothing, and the server must not wait for the test
		defer close(read)
		defer close(s.frames)
		in := parser{limit: maxBody}
		for f := (Frame{}); ; {
			ok, e := in.next(&f)
			if ok {
				f.Body = append([]byte(nil), f.Body...)
				s.frames <- f
				continue
			}
			if _, err := in.fill(here); e != nil || err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { here.Close(); <-done; <-read })
	here.Write(helloFrame())
	if f := s.next(); f.Kind != KindWelcome {
		t.Fatal(f)
	}
	pings := make([]Frame, 1000/(HeaderSize+8)) // which need a buffer of 1 KiB
	for i := range pings {
		pings[i] = Frame{Kind: KindPing, Body: make([]byte, 8)}
	}
	s.say(pings...)
	for range pings {
		s.next()
	}
	return s
}

// Requests of a group run one after the other, in their order; one that waits holds up
// those behind it and no other group; one that panics or was cancelled, nobody.
func TestBatchesShareAWorkersTurn(t *testing.T) {
	checkNoGoroutines(t)
	const mGroup, n, first = 100, 3*maxGroup + 1, 48
	h := newHouse(Config{})
	gate, waits := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var ran []uint32
	h.Handle(mGroup, Method{Name: "Group", Batch: true, Handle: func(r *Request, out []byte) ([]byte, error) {
		mu.Lock()
		ran = append(ran, r.ID)
		mu.Unlock()
		switch r.ID {
		case 3:
			panic("oh")
		case 5:
			close(waits)
			<-gate
		}
		return out, nil
	}})
	s := h.pipe(t)
	var all []Frame
	for id := range uint32(n) {
		f := req(id+1, mGroup, nil)
		if id == maxGroup { // another method does not end a group
			all = append(all, req(1000, mFail, nil))
		}
		all = append(all, f)
	}
	s.say(all[:first+1]...)
	<-waits
	s.say(append(all[first+1:], Frame{Kind: KindCancel, ID: 7})...)
	var held []uint32
	got := map[uint32]Status{}
	take := func(n int) {
		for range n {
			f := s.next()
			got[f.ID] = Status(f.Code)
			if f.ID >= 5 && f.ID <= maxGroup {
				held = append(held, f.ID)
			}
		}
	}
	take(n + 1 - (maxGroup - 4))
	if len(held) != 0 {
		t.Errorf("%v did not wait", held)
	}
	close(gate)
	take(maxGroup - 4)
	for i, id := range held {
		if id != uint32(i)+5 {
			t.Fatalf("the held ones were answered in the order %v", held)
		}
	}
	for id, status := range got {
		want := map[uint32]Status{3: Internal, 7: Canceled, 1000: NotFound}[id]
		if status != want {
			t.Errorf("request %d: %v, want %v", id, status, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	places := map[uint32]int{}
	for i, id := range ran {
		places[id] = i + 1
	}
	if places[7] != 0 {
		t.Error("a request ran that was cancelled before its turn")
	}
	group := func(id uint32) uint32 { // a write ends one, and 32 of them do
		if id <= first {
			return (id - 1) / maxGroup
		}
		return 10 + (id-1-first)/maxGroup
	}
	for id := uint32(1); id < n; id++ {
		if a, b := places[id], places[id+1]; group(id) == group(id+1) && a != 0 && b != 0 && a > b {
			t.Errorf("%d ran after %d", id, id+1)
		}
	}
}

func TestMethodsThatCannotBeDeclared(t *testing.T) {
	handle := func(_ *Request, out []byte) ([]byte, error) { return out, nil }
	stream := func(*Request, *Subscription) error { return nil }
	for name, m := range map[string]Method{
		"neither":                 {},
		"both":                    {Handle: handle, Stream: stream},
		"keyed without a key":     {Exec: Keyed, Handle: handle},
		"a key for nothing":       {Key: func(*Request) uint64 { return 0 }, Handle: handle},
		"a subscription inline":   {Exec: Inline, Stream: stream},
		"a batch of subscription": {Batch: true, Stream: stream},
		"a batch inline":          {Batch: true, Exec: Inline, Handle: handle},
		"id taken":                {Handle: handle, Name: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewServer(Config{})
			if name == "id taken" {
				s.Handle(1, m)
			}
			defer func() {
				if recover() == nil {
					t.Error("it was registered")
				}
			}()
			s.Handle(1, m)
		})
	}
}

// An inline request whose time passed while its batch waited in the reader is answered
// so and does not run; others of the batch do.
func TestInlineDeadlinePassesInTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mSlow, mQuick = 100, 101
		h := newHouse(Config{})
		h.Handle(mSlow, Method{Name: "Slow", Exec: Inline, Handle: func(_ *Request, out []byte) ([]byte, error) {
			time.Sleep(100 * time.Millisecond)
			return out, nil
		}})
		ran := map[uint32]bool{}
		h.Handle(mQuick, Method{Name: "Quick", Exec: Inline, Timeout: 50 * time.Millisecond, Handle: func(r *Request, out []byte) ([]byte, error) {
			ran[r.ID] = true
			return out, nil
		}})
		s := h.pipe(t)
		quick := func(id uint32, aux uint16) Frame { return Frame{Kind: KindReq, ID: id, Code: mQuick, Aux: aux} }
		s.say(quick(1, 1), req(2, mSlow, nil), quick(3, 70), quick(4, 1000), quick(5, 0), quick(6, NoTimeout), quick(7, 100),
			Frame{Kind: KindNotify, Code: mQuick, Aux: 1})
		for id := uint32(1); id <= 7; id++ {
			f := s.next()
			late := id == 3 || id == 5
			if f.ID != id || late != (f.Kind == KindErr) {
				t.Errorf("place %d has %v", id, f)
			}
			if late && (Status(f.Code) != DeadlineExceeded || !parseError(Status(f.Code), f.Body).NotRun) {
				t.Errorf("request %d got %v", id, f)
			}
			if id != 2 && ran[id] == late {
				t.Errorf("request %d: ran %v", id, ran[id])
			}
		}
		s.say(quick(8, 10)) // a batch of its own
		if f := s.next(); f.Kind != KindRsp {
			t.Errorf("got %v", f)
		}
		if n := h.Stats().Deadlines; n != 3 || ran[0] {
			t.Errorf("%d deadlines counted, want 3; the notify ran: %v", n, ran[0])
		}
		s.nc.Close()
	})
}
