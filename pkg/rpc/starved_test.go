package rpc

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// heap is what is in use after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// pull sends the newest of a source that counts, for as long as the subscription lives.
func pull(s *Subscription, newest *atomic.Uint64, changed <-chan struct{}) error {
	sent := uint64(0)
	for {
		if err := s.Ready(context.Background()); err != nil {
			return err
		}
		now := newest.Load()
		if now == sent {
			if _, ok := <-changed; !ok {
				return nil
			}
			continue
		}
		if err := s.Emit(now-sent-1, 1, binary.LittleEndian.AppendUint64(nil, now)); err != nil {
			return err
		}
		sent = now
	}
}

// 100,000 updates for one who gives no credit: the heap stays within what MaxKeys says,
// another subscriber gets all of them, and with credit come exactly the newest and the
// count of the rest.
func TestStarvedSubscriberCostsNobodyAnything(t *testing.T) {
	const updates, keys, maxKeys, size = 100_000, 3000, 1000, 256
	for name, row := range map[string]struct {
		method uint16
		events int // that come with credit
		bound  int64
	}{
		"latest": {mLatest, maxKeys, maxKeys * (size + 256)},
		"drop":   {mDrop, 1, 0},
		"pull":   {mPull, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			checkNoGoroutines(t)
			h := newHouse(Config{MaxKeys: maxKeys})
			reader := h.client(t, ClientConfig{})
			all, err := reader.Subscribe(t.Context(), mBlock, nil)
			if err != nil {
				t.Fatal(err)
			}
			toReader := <-h.subs
			s := &script{tb: t, nc: h.dial(t), in: parser{limit: maxBody}}
			s.nc.Write(append(helloFrame(), frames(req(1, row.method, nil))...))
			s.next() // WELCOME
			s.next() // RSP
			starved := <-h.subs
			var newest atomic.Uint64
			changed, pulled := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(pulled)
				if row.method == mPull {
					pull(starved, &newest, changed)
				}
			}()
			got := make(chan uint64, 1)
			go func() {
				for n := uint64(0); ; n++ {
					e, err := all.Next(context.Background())
					if err != nil || e.Skipped != 0 || e.Seq != n+1 {
						got <- n
						return
					}
					if e.Seq == updates {
						got <- updates
						return
					}
				}
			}()
			body := make([]byte, size)
			before := heap()
			for i := range uint64(updates) {
				newest.Store(i + 1)
				if row.method != mPull {
					if err := starved.Publish(i%keys, 1, body); err != nil {
						t.Fatal(err)
					}
				}
				if toReader.Publish(0, 1, body) != nil {
					break
				}
			}
			if n := <-got; n != updates {
				t.Errorf("the other got %d updates of %d", n, updates)
			}
			if more := heap() - before; more > row.bound+1<<20 {
				t.Errorf("the heap grew by %d bytes, more than %d and 1 MiB", more, row.bound)
			}
			s.say(Frame{Kind: KindCredit, ID: 1, Body: []byte{0, 16, 0, 0}})
			want := uint64(updates)
			if row.method == mDrop { // nothing was kept; what comes next says so
				eventually(t, "credit came", func() bool {
					starved.c.mu.Lock()
					defer starved.c.mu.Unlock()
					return starved.credit > 0
				})
				starved.Publish(0, 1, body)
				want++
			}
			last, skipped := uint64(0), uint64(0)
			for n := 1; last < want; n++ {
				f := s.next()
				seq := binary.LittleEndian.Uint64(f.Body)
				gap := seq - last - 1
				if f.Kind != KindEvent || seq <= last || f.Aux != uint16(min(gap, math.MaxUint16)) {
					t.Fatalf("after %d came %v %d, of seq %d with aux %d", last, f.Kind, f.ID, seq, f.Aux)
				}
				last, skipped = seq, skipped+gap
				if last == want && n != row.events || n > row.events {
					t.Errorf("%d events, the last %d", n, last)
				}
			}
			if n := h.Stats().Skipped; n != skipped || skipped != want-uint64(row.events) {
				t.Errorf("%d were skipped on the wire, %d are counted", skipped, n)
			}
			s.nc.Close()
			close(changed)
			<-pulled
		})
	}
}

// A peer that gives credit and does not read is told why it is left, at the next frame
// boundary, as soon as it reads again.
func TestSlowConsumerIsTold(t *testing.T) {
	for name, long := range map[string]bool{"updates": false, "a long answer": true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(Config{})
			here, there := net.Pipe()
			done := make(chan struct{})
			go func() { defer close(done); h.ServeConn(context.Background(), there) }()
			here.Write(helloFrame())
			in := parser{limit: maxBody}
			s := &script{tb: t, nc: here, in: in}
			s.next()
			s.say(req(1, mLatest, nil), Frame{Kind: KindCredit, ID: 1, Body: []byte{0, 0, 1, 0}})
			s.next()
			sub := <-h.subs
			if long {
				go here.Write(frames(req(2, mEcho, make([]byte, 200_000))))
			} else {
				for i := range uint64(1000) {
					sub.Publish(i, 1, make([]byte, 4000))
				}
			}
			time.Sleep(10*time.Second + 500*time.Millisecond)
			all := readFrames(t, here)
			<-done
			last := all[len(all)-1]
			if last.Kind != KindGoAway || Status(last.Code) != SlowConsumer {
				t.Errorf("%s: the last frame is of kind %d, code %d", name, last.Kind, last.Code)
			}
			if _, e := parseGoAway(Status(last.Code), last.Body); e.NotRun {
				t.Errorf("%s: it says that nothing had an effect", name)
			}
			if s := h.Stats(); s.Fault(FaultSlow) != 1 {
				t.Errorf("%s: counted %d times", name, s.Fault(FaultSlow))
			}
			checkNothingLeft(t, h.Server)
		})
	}
}

// Ready waits for credit and ends with whatever ends the subscription; Emit never waits.
func TestReadyAndEmit(t *testing.T) {
	checkNoGoroutines(t)
	h := newHouse(Config{})
	c := h.client(t, ClientConfig{Window: 2})
	open := func(m uint16) (*Stream, *Subscription) {
		t.Helper()
		s, err := c.Subscribe(t.Context(), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s, <-h.subs
	}
	_, latest := open(mLatest)
	if err := latest.Emit(0, 1, nil); StatusOf(err) != FailedPrecondition {
		t.Errorf("emit under Latest: %v", err)
	}
	s, there := open(mPull)
	for i := range 2 {
		if err := there.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := there.Emit(uint64(i)*100_000, 5, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := there.Emit(0, 5, nil); StatusOf(err) != ResourceExhausted {
		t.Errorf("without credit: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error)
	go func() { waits <- there.Ready(ctx) }()
	cancel()
	if err := <-waits; err != context.Canceled {
		t.Errorf("its context ended: %v", err)
	}
	go func() { waits <- there.Ready(t.Context()) }()
	for _, want := range []Event{{Type: 5, Seq: 1}, {Type: 5, Seq: 100_002, Skipped: math.MaxUint16}} {
		if e, err := s.Next(t.Context()); err != nil || e.Seq != want.Seq || e.Skipped != want.Skipped || e.Type != 5 {
			t.Errorf("got %+v, %v", e, err)
		}
	}
	if err := <-waits; err != nil { // what was taken gave credit
		t.Error(err)
	}
	for there.Emit(0, 5, nil) == nil {
	}
	go func() { waits <- there.Ready(t.Context()) }()
	s.Close()
	err := <-waits
	for err == nil { // credit for what was taken overtook the CANCEL
		for there.Emit(0, 5, nil) == nil {
		}
		err = there.Ready(t.Context())
	}
	if StatusOf(err) != Canceled {
		t.Errorf("after CANCEL: %v", err)
	}
	for {
		if _, err := s.Next(t.Context()); err != nil {
			break
		}
	}
	if err := there.Emit(0, 5, nil); err == nil {
		t.Error("emitted after the end")
	}
	_, there = open(mPull)
	for there.Ready(t.Context()) == nil && there.Emit(0, 5, make([]byte, 8)) == nil && there.seq < 2 {
	}
	go func() { waits <- there.Ready(t.Context()) }()
	c.nc.Close()
	if err := <-waits; err == nil {
		t.Error("ready on a connection that was cut")
	}
}
