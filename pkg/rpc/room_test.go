package rpc

import (
	"context"
	"testing"
	"time"
)

// What a subscription takes it takes as long as it lives. A body that has no room beside
// it never will, and is told so, instead of waiting and holding up those behind it.
func TestWhatNeverHasRoomBesideASubscriptionIsToldSo(t *testing.T) {
	checkNoGoroutines(t)
	c, s := played(t, Welcome{MaxInflightBytes: 100})
	opened := make(chan *Stream)
	go func() {
		st, err := c.Subscribe(t.Context(), 9, make([]byte, 20))
		if err != nil {
			t.Error(err)
		}
		opened <- st
	}()
	sub := s.next()
	s.say(Frame{Kind: KindRsp, ID: sub.ID})
	<-opened
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := c.Call(ctx, 9, make([]byte, 90)); StatusOf(err) != ResourceExhausted || !notRunOf(err) {
		t.Errorf("no room: %v", err)
	}
	answered := make(chan error)
	call := func(n int) {
		_, err := c.Call(ctx, 9, make([]byte, n))
		answered <- err
	}
	go call(80) // has
	s.next()    // CREDIT
	f := s.next()
	s.say(Frame{Kind: KindRsp, ID: f.ID}, Frame{Kind: KindEnd, ID: sub.ID})
	if err := <-answered; err != nil {
		t.Error(err)
	}
	eventually(t, "the subscription ends", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.calls) == 0
	})
	go call(100)
	f = s.next()
	s.say(Frame{Kind: KindRsp, ID: f.ID})
	if err := <-answered; err != nil {
		t.Errorf("without the subscription: %v", err)
	}
}
