package rpc

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// A server that dies at any frame boundary, or inside of a frame, ends every call and
// subscription of the client, once, and leaves nothing.
func TestServerKilledAnywhere(t *testing.T) {
	checkNoGoroutines(t)
	times := 2000
	if testing.Short() {
		times = 200
	}
	script := []Frame{
		{Kind: KindRsp, ID: 1, Body: []byte("one")}, {Kind: KindRsp, ID: 4}, {Kind: KindPing, Body: make([]byte, 8)},
		{Kind: KindEvent, ID: 4, Body: make([]byte, 8)}, {Kind: KindErr, ID: 2, Code: uint16(NotFound)},
		{Kind: KindRsp, Flags: FlagMore, ID: 3, Body: []byte("ha")}, {Kind: KindPong, Body: make([]byte, 8)},
		{Kind: KindRsp, ID: 3, Body: []byte("lf")}, goAway(Unavailable, 4, true), {Kind: KindEnd, ID: 4},
	}
	cuts := [][]byte{nil}
	for i := range script {
		cuts = append(cuts, frames(script[:i+1]...))
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range times {
		out := cuts[i%len(cuts)]
		if i/len(cuts)%2 == 1 && len(out) > 0 {
			out = out[:rng.IntN(len(out))]
		}
		near, far := net.Pipe()
		if i/len(cuts)%8 == 7 {
			near, far = tcpPair(t)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			defer far.Close()
			in := parser{limit: maxBody}
			greeted := false
			for reqs := 0; reqs < 4; {
				if !greeted && in.w >= len(Preamble) {
					greeted = true
					in.r = len(Preamble)
				}
				f := Frame{}
				if ok, _ := in.next(&f); greeted && ok {
					switch f.Kind {
					case KindHello:
						far.Write(welcomeFrame(Welcome{}))
					case KindReq:
						reqs++
					}
					continue
				}
				if _, err := in.fill(far); err != nil {
					return
				}
			}
			far.Write(out)
		}()
		c, err := NewClient(context.Background(), near, ClientConfig{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Add(1)
			if err := c.Go(context.Background(), 9, nil, func([]byte, error) { wg.Done() }); err != nil {
				t.Fatal(err)
			}
		}
		wg.Go(func() {
			s, err := c.Subscribe(context.Background(), 9, nil)
			for err == nil {
				_, err = s.Next(context.Background())
			}
		})
		wg.Wait()
		<-c.Done()
		if c.Err() == nil {
			t.Fatal("it ended without a reason")
		}
		c.Close()
		<-served
		c.mu.Lock()
		if len(c.calls) != 0 || c.room.queue.Len() != 0 {
			t.Fatalf("%d calls are left, %d wait", len(c.calls), c.room.queue.Len())
		}
		c.mu.Unlock()
	}
}
