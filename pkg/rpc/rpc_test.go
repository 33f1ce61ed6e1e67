package rpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The methods of the tests.
const (
	mSum uint16 = iota + 1
	mSleep
	mWait // until its context ends
	mFail
	mPanic
	mPanicInline
	mKeyed
	mLatest
	mBlock
	mDrop
	mEcho
	mEchoInline
	mDeaf // waits for a channel and not for its context
	mBatch
	mPull
)

func TestMain(m *testing.M) {
	if os.Getenv("RPC_BENCH_SERVER") != "" {
		benchServer()
		return
	}
	os.Exit(m.Run())
}

func addSum(r *Request, out []byte) ([]byte, error) {
	if len(r.Body) != 16 {
		return nil, &Error{Status: BadBody}
	}
	a, b := binary.LittleEndian.Uint64(r.Body), binary.LittleEndian.Uint64(r.Body[8:])
	return binary.LittleEndian.AppendUint64(out, a+b), nil
}

func sumBody(a, b uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, a), b)
}

// house is a server with the methods above.
type house struct {
	*Server
	deaf   chan struct{}
	subs   chan *Subscription
	mu     sync.Mutex
	byKey  map[byte][]uint64
	inside map[byte]bool
	broken string

	keyedWaits chan struct{} // if it is there
}

func newHouse(cfg Config) *house {
	h := &house{Server: NewServer(cfg), deaf: make(chan struct{}), subs: make(chan *Subscription, 1024),
		byKey: map[byte][]uint64{}, inside: map[byte]bool{}}
	echo := func(r *Request, out []byte) ([]byte, error) { return append(out, r.Body...), nil }
	h.Handle(mSum, Method{Name: "Sum", Exec: Inline, Handle: addSum})
	h.Handle(mEcho, Method{Name: "Echo", Handle: echo})
	h.Handle(mEchoInline, Method{Name: "EchoInline", Exec: Inline, Handle: echo})
	h.Handle(mSleep, Method{Name: "Sleep", Handle: func(r *Request, out []byte) ([]byte, error) {
		time.Sleep(time.Millisecond)
		return append(out, r.Body...), nil
	}})
	h.Handle(mWait, Method{Name: "Wait", Handle: func(r *Request, out []byte) ([]byte, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}})
	h.Handle(mDeaf, Method{Name: "Deaf", Handle: func(r *Request, out []byte) ([]byte, error) {
		<-h.deaf
		return out, nil
	}})
	h.Handle(mFail, Method{Name: "Fail", Handle: func(r *Request, out []byte) ([]byte, error) {
		return nil, &Error{Status: NotFound, Reason: "no_device", Message: "no such device", Field: "id"}
	}})
	h.Handle(mPanic, Method{Name: "Panic", Handle: func(*Request, []byte) ([]byte, error) { panic("oh") }})
	h.Handle(mPanicInline, Method{Name: "PanicInline", Exec: Inline, Handle: func(_ *Request, out []byte) ([]byte, error) {
		_ = append(out, "half an answer"...)
		panic("oh")
	}})
	h.Handle(mKeyed, Method{Name: "Keyed", Exec: Keyed, Key: func(r *Request) uint64 { return uint64(r.Body[0]) }, Handle: h.keyed})
	h.Handle(mBatch, Method{Name: "Batch", Batch: true, Handle: echo})
	for id, p := range map[uint16]Policy{mLatest: Latest, mBlock: Block, mDrop: Drop, mPull: Pull} {
		h.Handle(id, Method{Name: "Sub", Policy: p, Stream: func(r *Request, s *Subscription) error {
			s.Accept(r.Body)
			h.subs <- s
			<-r.Context().Done()
			return r.Context().Err()
		}})
	}
	return h
}

func (h *house) keyed(r *Request, out []byte) ([]byte, error) {
	key, n := r.Body[0], binary.LittleEndian.Uint64(r.Body[1:])
	h.mu.Lock()
	if h.inside[key] {
		h.broken = fmt.Sprintf("two of key %d at once", key)
	}
	h.inside[key] = true
	h.byKey[key] = append(h.byKey[key], n)
	h.mu.Unlock()
	if h.keyedWaits != nil {
		<-h.keyedWaits
	}
	if n%7 == 0 {
		runtime.Gosched()
	}
	h.mu.Lock()
	h.inside[key] = false
	h.mu.Unlock()
	return append(out, r.Body...), nil
}

// dial connects over loopback TCP; the connection is served until the test ends.
func (h *house) dial(tb testing.TB) net.Conn {
	tb.Helper()
	near, far := tcpPair(tb)
	h.serve(tb, far)
	return near
}

func tcpPair(tb testing.TB) (near, far net.Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	there, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	return nc, there
}

func (h *house) serve(tb testing.TB, nc net.Conn) (done chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	done = make(chan struct{})
	go func() { defer close(done); h.ServeConn(ctx, nc) }()
	tb.Cleanup(func() { cancel(); <-done })
	return done
}

func (h *house) client(tb testing.TB, cfg ClientConfig) *Client {
	tb.Helper()
	c, err := NewClient(context.Background(), h.dial(tb), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// eventually waits for what happens in another goroutine, without a fixed sleep.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for until := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			tb.Fatalf("never happened: %s", what)
		}
	}
}

func TestEveryAnswerFindsItsCall(t *testing.T) {
	checkNoGoroutines(t)
	h := newHouse(Config{MaxInflight: 20000, MaxInflightBytes: 64 << 20})
	c := h.client(t, ClientConfig{Timeout: time.Minute})
	const n = 10000
	var wg sync.WaitGroup
	var canceled atomic.Int64
	for i := range n {
		wg.Go(func() {
			body := sumBody(uint64(i), 1)
			var out []byte
			var err error
			switch i % 5 {
			case 0:
				out, err = c.Call(t.Context(), mSum, body)
				if err != nil || binary.LittleEndian.Uint64(out) != uint64(i)+1 {
					t.Errorf("sum %d: got %v, %v", i, out, err)
				}
				return
			case 1:
				out, err = c.Call(t.Context(), mSleep, body)
			case 2:
				out, err = c.Call(t.Context(), mEcho, body)
			case 3:
				if _, err = c.Call(t.Context(), mFail, body); StatusOf(err) != NotFound {
					t.Errorf("fail %d: got %v", i, err)
				}
				return
			case 4:
				ctx, cancel := context.WithCancel(t.Context())
				if i%2 == 0 {
					cancel()
				} else {
					time.AfterFunc(time.Millisecond, cancel)
				}
				if _, err = c.Call(ctx, mWait, body); !errors.Is(err, context.Canceled) {
					t.Errorf("wait %d: got %v", i, err)
				}
				canceled.Add(1)
				return
			}
			if err != nil || !bytes.Equal(out, body) {
				t.Errorf("echo %d: got %v, %v", i, out, err)
			}
		})
	}
	wg.Wait()
	eventually(t, "nothing in flight", func() bool { return h.Stats().Inflight == 0 })
	if s := h.Stats(); s.Cancels > uint64(canceled.Load()) {
		t.Errorf("%d cancels of %d", s.Cancels, canceled.Load())
	}
}

func TestInlineAnswersKeepTheOrder(t *testing.T) {
	h := newHouse(Config{})
	c := h.client(t, ClientConfig{})
	var got []uint64
	var wg sync.WaitGroup
	for i := range uint64(2000) {
		wg.Add(1)
		if i%10 == 0 {
			c.Go(t.Context(), mSleep, nil, func([]byte, error) {})
		}
		if err := c.Go(t.Context(), mSum, sumBody(i, 0), func(b []byte, err error) {
			got = append(got, binary.LittleEndian.Uint64(b))
			wg.Done()
		}); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	for i, v := range got {
		if v != uint64(i) {
			t.Fatalf("answer %d is of request %d", i, v)
		}
	}
}

func TestKeyedRequestsKeepTheOrderOfTheirKey(t *testing.T) {
	h := newHouse(Config{})
	c := h.client(t, ClientConfig{})
	var wg sync.WaitGroup
	answers := map[byte][]uint64{}
	for i := range uint64(4000) {
		wg.Add(1)
		body := binary.LittleEndian.AppendUint64([]byte{byte(i % 13)}, i)
		if err := c.Go(t.Context(), mKeyed, body, func(b []byte, err error) {
			if err != nil {
				t.Error(err)
			} else {
				answers[b[0]] = append(answers[b[0]], binary.LittleEndian.Uint64(b[1:]))
			}
			wg.Done()
		}); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if h.broken != "" {
		t.Error(h.broken)
	}
	for _, side := range []map[byte][]uint64{h.byKey, answers} {
		for key, ns := range side {
			for i, n := range ns {
				if want := uint64(key) + 13*uint64(i); n != want {
					t.Fatalf("key %d: place %d has %d, want %d", key, i, n, want)
				}
			}
		}
	}
	eventually(t, "all lanes are free", func() bool {
		left := 0
		for i := range h.lanes.shards {
			s := &h.lanes.shards[i]
			s.mu.Lock()
			left += len(s.last)
			s.mu.Unlock()
		}
		return left == 0
	})
}

func TestDeadlineEndsACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(Config{})
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); h.ServeConn(context.Background(), there) }()
		c, err := NewClient(context.Background(), here, ClientConfig{})
		if err != nil {
			t.Fatal(err)
		}
		answered := make(chan error, 1)
		ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
		defer cancel()
		began := time.Now()
		c.Go(ctx, mWait, nil, func(_ []byte, err error) { answered <- err })
		if err := <-answered; StatusOf(err) != DeadlineExceeded {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took < 250*time.Millisecond || took > 280*time.Millisecond {
			t.Errorf("ended after %v", took)
		}
		if n := h.Stats().Deadlines; n != 1 {
			t.Errorf("%d deadlines counted", n)
		}
		c.Close()
		<-done
	})
}

func TestSilentPeerIsPingedThenLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(Config{Idle: time.Minute})
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); h.ServeConn(context.Background(), there) }()
		go here.Write(helloFrame())
		began := time.Now()
		kinds := readKinds(t, here)
		<-done
		if want := "[1 10 12]"; fmt.Sprint(kinds) != want {
			t.Errorf("got kinds %v, want %v", kinds, want)
		}
		if took := time.Since(began); took < 2*time.Minute || took > 2*time.Minute+time.Second {
			t.Errorf("left after %v", took)
		}
		if n := h.Stats(); n.Fault(FaultIdle) != 1 {
			t.Errorf("counted %d", n.Fault(FaultIdle))
		}
	})
}

func TestSlowHandshakeIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, slow := range map[string]func(net.Conn){
			"never speaks": func(net.Conn) {},
			"one byte a second": func(nc net.Conn) {
				for _, b := range helloFrame() {
					time.Sleep(time.Second)
					if _, err := nc.Write([]byte{b}); err != nil {
						return
					}
				}
			},
		} {
			h := newHouse(Config{})
			here, there := net.Pipe()
			done := make(chan struct{})
			go func() { defer close(done); h.ServeConn(context.Background(), there) }()
			var wg sync.WaitGroup
			wg.Go(func() { slow(here) })
			began := time.Now()
			if kinds := readKinds(t, here); fmt.Sprint(kinds) != "[12]" {
				t.Errorf("%s: got kinds %v", name, kinds)
			}
			<-done
			if took := time.Since(began); took != 5*time.Second {
				t.Errorf("%s: %v", name, took)
			}
			if s := h.Stats(); s.Fault(FaultSlowHandshake) != 1 {
				t.Errorf("%s: not counted", name)
			}
			here.Close()
			wg.Wait()
		}
	})
}

func helloFrame() []byte {
	body := appendHello(nil, &Hello{ProtoMin: 1, ProtoMax: 1, MaxFrame: 1 << 20})
	return AppendFrame([]byte(Preamble), Frame{Kind: KindHello, Body: body})
}

// readFrames reads until the peer closes.
func readFrames(tb testing.TB, r io.Reader) []Frame {
	tb.Helper()
	in := &parser{limit: maxBody}
	var all []Frame
	for {
		var f Frame
		for {
			ok, e := in.next(&f)
			if e != nil {
				tb.Fatal(e)
			}
			if !ok {
				break
			}
			f.Body = bytes.Clone(f.Body)
			all = append(all, f)
		}
		if _, err := in.fill(r); err != nil {
			return all
		}
	}
}

func readKinds(tb testing.TB, r io.Reader) []Kind {
	var kinds []Kind
	for _, f := range readFrames(tb, r) {
		kinds = append(kinds, f.Kind)
	}
	return kinds
}

func TestServerEndsWithGrace(t *testing.T) {
	checkNoGoroutines(t)
	h := newHouse(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); h.ServeConn(ctx, there) }()
	c, err := NewClient(t.Context(), here, ClientConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	slow := make(chan error, 1)
	c.Go(t.Context(), mDeaf, nil, func(_ []byte, err error) { slow <- err })
	s, err := c.Subscribe(t.Context(), mLatest, nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both run", func() bool { return h.Stats().Inflight == 2 })
	cancel()
	if _, err := s.Next(t.Context()); StatusOf(err) != Unavailable {
		t.Errorf("subscription ended with %v", err)
	}
	if _, err := c.Call(t.Context(), mEcho, nil); StatusOf(err) != Unavailable || !Retryable(err, false) {
		t.Errorf("a new call: %v", err)
	}
	close(h.deaf)
	if err := <-slow; err != nil {
		t.Errorf("call in flight: %v", err)
	}
	<-done
	<-c.Done()
	if StatusOf(c.Err()) != Unavailable {
		t.Errorf("the connection ended with %v", c.Err())
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	h := newHouse(Config{})
	c := h.client(t, ClientConfig{})
	for _, m := range []uint16{mPanic, mPanicInline} {
		var e *Error
		if _, err := c.Call(t.Context(), m, nil); !errors.As(err, &e) || e.Status != Internal || e.Ref == "" || strings.Contains(e.Message, "oh") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := c.Call(t.Context(), mSum, sumBody(1, 2)); err != nil {
		t.Error(err)
	}
	if s := h.Stats(); s.Fault(FaultPanic) != 2 {
		t.Errorf("%d panics counted", s.Fault(FaultPanic))
	}
}

func TestErrorTravelsWhole(t *testing.T) {
	c := newHouse(Config{}).client(t, ClientConfig{})
	_, err := c.Call(t.Context(), mFail, nil)
	want := Error{Status: NotFound, Reason: "no_device", Message: "no such device", Field: "id", NotRun: true}
	var e *Error
	if !errors.As(err, &e) || *e != want {
		t.Errorf("got %+v, want %+v", e, want)
	}
}

func TestLongMessagesTravelInParts(t *testing.T) {
	h := newHouse(Config{MaxFrame: 4096})
	c := h.client(t, ClientConfig{MaxFrame: 2048})
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	var wg sync.WaitGroup
	for _, m := range []uint16{mEcho, mEchoInline, mEcho} {
		wg.Go(func() {
			if got, err := c.Call(t.Context(), m, body); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
		})
	}
	wg.Wait()
}

func TestOverTLS(t *testing.T) {
	checkNoGoroutines(t)
	lent := httptest.NewTLSServer(nil) // for its certificate
	defer lent.Close()
	h := newHouse(Config{Idle: 400 * time.Millisecond}) // on a busy machine a ping may take a while
	near, far := tcpPair(t)
	h.serve(t, tls.Server(far, lent.TLS))
	roots := x509.NewCertPool()
	roots.AddCert(lent.Certificate())
	c, err := NewClient(t.Context(), tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "example.com"}), ClientConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := bytes.Repeat([]byte("x"), 300_000)
	reads := h.Stats().Reads
	for range 3 {
		if got, err := c.Call(t.Context(), mEcho, body); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		now := h.Stats().Reads
		eventually(t, "pings go by", func() bool { return h.Stats().Reads > now+1 })
	}
	if h.Stats().Reads == reads || c.Err() != nil {
		t.Error(c.Err())
	}
}

// wholeFrames fails when a Write is not of whole frames, on which WebSocket relies.
type wholeFrames struct {
	net.Conn
	tb testing.TB
}

func (w wholeFrames) Write(b []byte) (int, error) {
	p := parser{buf: b, w: len(b), limit: maxBody}
	for f := (Frame{}); ; {
		if ok, e := p.next(&f); e != nil || !ok {
			break
		}
	}
	if p.r != p.w {
		w.tb.Errorf("%d bytes written behind the last whole frame", p.w-p.r)
	}
	return w.Conn.Write(b)
}

func TestWritesAreOfWholeFrames(t *testing.T) {
	h := newHouse(Config{})
	near, far := tcpPair(t)
	h.serve(t, wholeFrames{far, t})
	c, err := NewClient(t.Context(), near, ClientConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			m := []uint16{mSum, mEcho, mEchoInline, mSleep, mPanicInline}[i%5]
			c.Call(t.Context(), m, make([]byte, 16+i*100*(i%2)))
		})
	}
	wg.Wait()
}

func TestLimitsAnswerInsteadOfHanging(t *testing.T) {
	h := newHouse(Config{MaxInflight: 4, MaxSubs: 2})
	nc := h.dial(t)
	out := helloFrame()
	for id := range uint32(6) {
		out = AppendFrame(out, Frame{Kind: KindReq, ID: id + 1, Code: mDeaf})
	}
	for id := range uint32(3) {
		out = AppendFrame(out, Frame{Kind: KindReq, ID: id + 11, Code: mDrop})
	}
	out = AppendFrame(out, Frame{Kind: KindPing, Body: make([]byte, 8)})
	nc.Write(out)
	eventually(t, "refusals", func() bool {
		s := h.Stats()
		return s.Fault(FaultInflight) == 2 && s.Fault(FaultSubs) == 1 && s.Subs == 2
	})
	close(h.deaf)
	eventually(t, "the rest ends", func() bool { return h.Stats().Inflight == 2 })
	nc.(*net.TCPConn).CloseWrite()
	got := map[Kind]int{}
	for _, f := range readFrames(t, nc) {
		got[f.Kind]++
	}
	if got[KindRsp] != 4+2 || got[KindErr] != 3 || got[KindPong] != 1 {
		t.Errorf("got %v", got)
	}
}
