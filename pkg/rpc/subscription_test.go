package rpc

import (
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"testing"
	"time"
)

func TestSubscriberWithCreditGetsEverything(t *testing.T) {
	h := newHouse(Config{})
	c := h.client(t, ClientConfig{Window: 16})
	s, err := c.Subscribe(t.Context(), mBlock, []byte("watermark"))
	if err != nil || string(s.Answer()) != "watermark" {
		t.Fatalf("%q, %v", s.Answer(), err)
	}
	there := <-h.subs
	go func() {
		for i := range uint64(5000) {
			if there.Publish(0, 7, binary.LittleEndian.AppendUint64(nil, i)) != nil {
				return
			}
		}
	}()
	for i := range uint64(5000) {
		e, err := s.Next(t.Context())
		if err != nil || e.Type != 7 || e.Seq != i+1 || e.Skipped != 0 || binary.LittleEndian.Uint64(e.Body) != i {
			t.Fatalf("update %d: %+v, %v", i, e, err)
		}
	}
	s.Close()
	if _, err := s.Next(t.Context()); StatusOf(err) != Canceled {
		t.Errorf("ended with %v", err)
	}
	if err := there.Publish(0, 7, nil); err == nil {
		t.Error("published after the end")
	}
}

// Without credit: memory stays flat, others do not notice, and when credit comes the
// count of the skipped is exact.
func TestSubscriberWithoutCreditCostsNothing(t *testing.T) {
	const updates, keys = 100_000, 50
	for name, m := range map[string]uint16{"latest": mLatest, "drop": mDrop} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(Config{})
			c := h.client(t, ClientConfig{Window: 8})
			s, err := c.Subscribe(t.Context(), m, nil)
			if err != nil {
				t.Fatal(err)
			}
			there := <-h.subs
			eventually(t, "credit came", func() bool {
				there.c.mu.Lock()
				defer there.c.mu.Unlock()
				return there.credit == 8
			})
			body := make([]byte, 64)
			publish := func(from int) {
				for i := from; i < updates; i++ {
					if err := there.Publish(uint64(i%keys), 1, body); err != nil {
						t.Fatal(err)
					}
				}
			}
			publish(updates - 1000)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			publish(1000)
			runtime.ReadMemStats(&after)
			if n := after.Mallocs - before.Mallocs; n > 2000 {
				t.Errorf("%d allocations for %d updates", n, updates-1000)
			}
			if _, err := c.Call(t.Context(), mSum, sumBody(1, 1)); err != nil {
				t.Error(err)
			}
			want := uint64(updates)
			got, skipped, last := uint64(0), uint64(0), uint64(0)
			take := func() {
				e, err := s.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if e.Seq <= last || e.Skipped != uint16(min(e.Seq-last-1, 65535)) {
					t.Fatalf("update %d after %d says %d skipped", e.Seq, last, e.Skipped)
				}
				got, skipped, last = got+1, skipped+e.Seq-last-1, e.Seq
			}
			for range 8 {
				take()
			}
			if m == mDrop {
				eventually(t, "credit came again", func() bool {
					there.c.mu.Lock()
					defer there.c.mu.Unlock()
					return there.credit >= 4
				})
				there.Publish(0, 1, body)
				want++
			}
			for last < want {
				take()
			}
			if got+skipped != want {
				t.Errorf("%d got and %d skipped of %d", got, skipped, want)
			}
			if m == mLatest && got != 8+keys {
				t.Errorf("got %d updates, want 8 and one for each of %d keys", got, keys)
			}
			if n := h.Stats().Skipped; n != skipped {
				t.Errorf("counted %d skipped, want %d", n, skipped)
			}
		})
	}
}

func TestEndSaysWhatWasSkipped(t *testing.T) {
	h := newHouse(Config{})
	h.Handle(100, Method{Name: "Short", Policy: Drop, Stream: func(r *Request, s *Subscription) error {
		for range 10 {
			s.Publish(0, 1, nil)
		}
		return nil
	}})
	c := h.client(t, ClientConfig{Window: 3})
	s, err := c.Subscribe(t.Context(), 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	var last, n uint64
	for {
		e, err := s.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last, n = e.Seq, n+1
	}
	if n > 3 || uint64(s.Skipped()) != 10-last {
		t.Errorf("%d updates, the last %d, then %d skipped", n, last, s.Skipped())
	}
}

// A peer that grants credit and does not read is told and left; nobody else waits.
func TestPeerThatNeverReads(t *testing.T) {
	checkNoGoroutines(t)
	for name, m := range map[string]uint16{"updates": mLatest, "answers": mEcho} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(Config{Write: 300 * time.Millisecond, MaxOutput: 1 << 20})
			other := h.client(t, ClientConfig{})
			nc := h.dial(t)
			nc.Write(append(helloFrame(), AppendFrame(AppendFrame(nil,
				Frame{Kind: KindReq, ID: 1, Code: mLatest}),
				Frame{Kind: KindCredit, ID: 1, Body: []byte{0, 0, 1, 0}})...))
			there := <-h.subs
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				big := AppendFrame(nil, Frame{Kind: KindReq, ID: 2, Code: mEchoInline, Body: make([]byte, 60000)})
				for m == mEcho {
					if _, err := nc.Write(big); err != nil {
						return
					}
				}
				body := make([]byte, 4096)
				for i := uint64(0); ; i++ {
					if there.Publish(i%100, 1, body) != nil {
						return
					}
					select {
					case <-stop:
						return
					default:
						runtime.Gosched()
					}
				}
			}()
			eventually(t, "it is left", func() bool {
				if _, err := other.Call(t.Context(), mSum, sumBody(1, 1)); err != nil {
					t.Fatal(err)
				}
				s := h.Stats()
				return s.Fault(FaultSlow) == 1 && s.Conns == 1
			})
		})
	}
}

func TestWaitingPublisherLearnsOfTheEnd(t *testing.T) {
	for name, end := range map[string]func(s *Stream){
		"handler returns":   func(*Stream) {},
		"caller cancels":    (*Stream).Close,
		"connection is cut": func(s *Stream) { s.c.nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(Config{})
			told := make(chan error, 1)
			h.Handle(100, Method{Name: "Waits", Policy: Block, Stream: func(r *Request, s *Subscription) error {
				blocked := make(chan struct{})
				go func() {
					s.Publish(0, 1, nil)
					close(blocked)
					told <- s.Publish(0, 1, nil)
				}()
				<-blocked
				if name != "handler returns" {
					<-r.Context().Done()
				}
				return nil
			}})
			s, err := h.client(t, ClientConfig{Window: 1}).Subscribe(t.Context(), 100, nil)
			if err != nil {
				t.Fatal(err)
			}
			end(s)
			if err := <-told; err == nil {
				t.Error("published without credit")
			}
		})
	}
}
