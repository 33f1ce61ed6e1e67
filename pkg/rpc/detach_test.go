package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/sock"
)

const mDetached uint16 = 200

// detached is the owner of a subscription that has no goroutine. Its source counts.
type detached struct {
	s      *Subscription
	newest atomic.Uint64
	calls  atomic.Int32
	sent   uint64
	ended  chan struct{}
	ends   atomic.Int32
}

// tell sends the newest, if there is credit. It may be called by anybody.
func (d *detached) tell() {
	if d.calls.Add(1) != 1 {
		return
	}
	for n := int32(1); n != 0; n = d.calls.Add(-n) {
		n = d.calls.Load()
		for now := d.newest.Load(); now != d.sent; now = d.newest.Load() {
			if able, err := d.s.Able(); !able || err != nil {
				break
			}
			if d.s.Emit(now-d.sent-1, 1, binary.LittleEndian.AppendUint64(nil, now)) != nil {
				break
			}
			d.sent = now
		}
	}
}

func (d *detached) set(n uint64) {
	d.newest.Store(n)
	d.tell()
}

func (d *detached) end() {
	d.ends.Add(1)
	close(d.ended)
}

// detachedHouse has a method whose subscriptions outlive their handlers.
func detachedHouse(cfg Config) (*house, <-chan *detached) {
	h := newHouse(cfg)
	all := make(chan *detached, 4096)
	h.Handle(mDetached, Method{Name: "Detached", Policy: Pull, Stream: func(r *Request, s *Subscription) error {
		d := &detached{s: s, ended: make(chan struct{})}
		s.Accept(nil)
		s.Detach(d.tell, d.end)
		all <- d
		return nil
	}})
	return h, all
}

// It gets what an owner with a goroutine would send: the newest whenever there is
// credit, and the count of what it was spared.
func TestDetachedSubscriptionPulls(t *testing.T) {
	checkNoGoroutines(t)
	h, all := detachedHouse(Config{})
	c := h.client(t, ClientConfig{Window: 4})
	s, err := c.Subscribe(t.Context(), mDetached, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := <-all
	const updates = 20_000
	var source sync.WaitGroup
	source.Go(func() {
		for n := range uint64(updates) {
			d.set(n + 1)
		}
	})
	last := uint64(0)
	for last < updates {
		e, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if now := binary.LittleEndian.Uint64(e.Body); now != e.Seq || e.Seq <= last || e.Skipped != uint16(min(e.Seq-last-1, 65535)) {
			t.Fatalf("after %d came %d of number %d, %d skipped", last, now, e.Seq, e.Skipped)
		}
		last = e.Seq
	}
	source.Wait()
	s.Close()
	if _, err := s.Next(t.Context()); StatusOf(err) != Canceled {
		t.Errorf("ended with %v", err)
	}
	<-d.ended
	if err := d.s.Emit(0, 1, nil); err == nil {
		t.Error("emitted after the end")
	}
	if d.s.Go(func() {}) {
		t.Error("an errand after the end")
	}
}

// However it ends, the owner learns it once, and nothing is left.
func TestDetachedSubscriptionEndsOnce(t *testing.T) {
	checkNoGoroutines(t)
	for name, row := range map[string]struct {
		end  func(d *detached, s *Stream, stop context.CancelFunc)
		want Status
	}{
		"caller cancels":    {func(_ *detached, s *Stream, _ context.CancelFunc) { s.Close() }, Canceled},
		"owner ends it":     {func(d *detached, _ *Stream, _ context.CancelFunc) { d.s.End(nil); d.s.End(errors.New("late")) }, OK},
		"owner fails":       {func(d *detached, _ *Stream, _ context.CancelFunc) { d.s.End(&Error{Status: NotFound}) }, NotFound},
		"owner panics":      {func(d *detached, _ *Stream, _ context.CancelFunc) { func() { defer d.s.Guard(); panic("oh") }() }, Internal},
		"its errand panics": {func(d *detached, _ *Stream, _ context.CancelFunc) { d.s.Go(func() { panic("oh") }) }, Internal},
		"cut":               {func(_ *detached, s *Stream, _ context.CancelFunc) { s.c.nc.Close() }, Unavailable},
		"server stops":      {func(_ *detached, _ *Stream, stop context.CancelFunc) { stop() }, Unavailable},
		"credit overflows": {func(_ *detached, s *Stream, _ context.CancelFunc) {
			s.c.mu.Lock()
			s.c.grant(s.id, 1<<20)
			s.c.poke()
			s.c.mu.Unlock()
		}, OutOfRange},
	} {
		t.Run(name, func(t *testing.T) {
			h, all := detachedHouse(Config{})
			near, far := tcpPair(t)
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			done := make(chan struct{})
			go func() { defer close(done); h.ServeConn(ctx, far) }()
			c, err := NewClient(t.Context(), near, ClientConfig{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s, err := c.Subscribe(t.Context(), mDetached, nil)
			if err != nil {
				t.Fatal(err)
			}
			d := <-all
			row.end(d, s, stop)
			<-d.ended
			for {
				if _, err = s.Next(t.Context()); err != nil {
					break
				}
			}
			if got := StatusOf(err); got != row.want && !(row.want == OK && err == io.EOF) {
				t.Errorf("the caller hears %v", err)
			}
			c.Close()
			stop()
			<-done
			if n := d.ends.Load(); n != 1 {
				t.Errorf("ended %d times", n)
			}
			checkNothingLeft(t, h.Server)
		})
	}
}

// What ends while the handler still runs ends when it has returned.
func TestDetachedWhileItEnds(t *testing.T) {
	checkNoGoroutines(t)
	h := newHouse(Config{})
	began, ended := make(chan *Subscription), make(chan struct{})
	h.Handle(mDetached, Method{Name: "Detached", Policy: Pull, Stream: func(r *Request, s *Subscription) error {
		s.Detach(func() {}, func() { close(ended) })
		began <- s
		<-r.Context().Done()
		return nil
	}})
	sc := &script{tb: t, nc: h.dial(t), in: parser{limit: maxBody}}
	sc.nc.Write(append(helloFrame(), frames(req(1, mDetached, nil))...))
	sc.next()
	<-began
	sc.say(Frame{Kind: KindCancel, ID: 1})
	<-ended
	if f := sc.next(); f.Kind != KindErr && f.Kind != KindEnd || Status(f.Code) != Canceled {
		t.Errorf("ended with kind %d, code %d", f.Kind, f.Code)
	}
}

// Ten thousand subscriptions cost no goroutine.
func TestDetachedSubscriptionsHaveNoGoroutines(t *testing.T) {
	h, all := detachedHouse(Config{MaxSubs: 2000, MaxInflight: 5000})
	sc := &script{tb: t, nc: h.dial(t), in: parser{limit: maxBody}}
	sc.nc.Write(helloFrame())
	sc.next()
	before := len(goroutines())
	const subs = 2000
	for i := range uint32(subs) {
		sc.say(req(i+1, mDetached, nil))
	}
	for range subs {
		<-all
	}
	for range subs {
		sc.next()
	}
	eventually(t, "all are subscribed", func() bool { return h.Stats().Subs == subs })
	// As many workers as were ever busy at once rest for a while; they belong to nobody.
	const few = 10
	eventually(t, "nothing but resting workers is left", func() bool {
		h.pool.mu.Lock()
		resting := len(h.pool.idle)
		h.pool.mu.Unlock()
		return len(goroutines())-before-resting < few
	})
}

// An update to one who reads leaves from where it was emitted; one that the kernel does
// not take is finished by a worker, whole and before what follows.
func TestDirectWritesKeepFramesWhole(t *testing.T) {
	checkNoGoroutines(t)
	h, all := detachedHouse(Config{MaxOutput: 64 << 20})
	near, far := tcpPair(t)
	sock.TCPOf(far).SetWriteBuffer(4 << 10)
	h.serve(t, far)
	sc := &script{tb: t, nc: near, in: parser{limit: maxBody}}
	sc.nc.Write(append(helloFrame(), frames(req(1, mDetached, nil), Frame{Kind: KindCredit, ID: 1, Body: []byte{0, 0, 1, 0}})...))
	sc.next() // WELCOME
	sc.next() // RSP
	d := <-all
	eventually(t, "credit came", func() bool { able, _ := d.s.Able(); return able })
	const updates = 300
	body := make([]byte, 30_000)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range updates {
			body[0], body[len(body)-1] = byte(i), byte(i)
			if err := d.s.Emit(0, 1, body[:1+i*37%len(body)]); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range updates {
		if i == 10 {
			sc.say(req(7, mEchoInline, []byte("between"))) // the reader answers beside
		}
		f := sc.next()
		if f.Kind == KindRsp {
			f = sc.next()
		}
		if seq := binary.LittleEndian.Uint64(f.Body); f.Kind != KindEvent || seq != uint64(i+1) || len(f.Body) != 9+i*37%len(body) || f.Body[8] != byte(i) {
			t.Fatalf("update %d: kind %d, number %d, %d bytes", i, f.Kind, seq, len(f.Body))
		}
	}
	<-sent
	near.Close()
	<-d.ended
}

// Emitters, answers and the peer's cancels at once: what arrives is whole frames.
func TestDirectWritesAmongAnswers(t *testing.T) {
	checkNoGoroutines(t)
	h, all := detachedHouse(Config{})
	c := h.client(t, ClientConfig{Window: 64})
	const subs, updates = 8, 500
	var done sync.WaitGroup
	for range subs {
		s, err := c.Subscribe(t.Context(), mDetached, nil)
		if err != nil {
			t.Fatal(err)
		}
		d := <-all
		done.Go(func() {
			for n := range uint64(updates) {
				d.set(n + 1)
			}
		})
		done.Go(func() {
			for last := uint64(0); last < updates; {
				e, err := s.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				last = e.Seq
			}
			s.Close()
			<-d.ended
		})
	}
	for i := range uint64(300) {
		m := mEcho
		if i%2 == 0 {
			m = mEchoInline
		}
		body := binary.LittleEndian.AppendUint64(nil, i)
		if got, err := c.Call(t.Context(), m, body); err != nil || string(got) != string(body) {
			t.Fatalf("%x, %v", got, err)
		}
	}
	done.Wait()
}

// A peer that gives credit and does not read is told at the boundary of the frame that a
// direct write left unfinished.
func TestSlowConsumerOfDirectWritesIsTold(t *testing.T) {
	checkNoGoroutines(t)
	h, all := detachedHouse(Config{Write: 200 * time.Millisecond})
	near, far := tcpPair(t)
	sock.TCPOf(far).SetWriteBuffer(4 << 10)
	h.serve(t, far)
	sc := &script{tb: t, nc: near, in: parser{limit: maxBody}}
	sc.nc.Write(append(helloFrame(), frames(req(1, mDetached, nil), Frame{Kind: KindCredit, ID: 1, Body: []byte{0, 0, 1, 0}})...))
	sc.next()
	sc.next()
	d := <-all
	eventually(t, "credit came", func() bool { able, _ := d.s.Able(); return able })
	body := make([]byte, 50_000)
	for able := true; able; able, _ = d.s.Able() {
		if err := d.s.Emit(0, 1, body); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "it is left", func() bool { s := h.Stats(); return s.Fault(FaultSlow) == 1 })
	frames := readFrames(t, near)
	<-d.ended
	if len(frames) == 0 {
		t.Fatal("nothing came")
	}
	last := frames[len(frames)-1]
	if last.Kind != KindGoAway || Status(last.Code) != SlowConsumer {
		t.Errorf("the last of %d frames is of kind %d, code %d", len(frames), last.Kind, last.Code)
	}
}

// An update to a peer that reads allocates nothing and wakes nobody.
func TestEmitAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h, all := detachedHouse(Config{})
	near := h.dial(t)
	sc := &script{tb: t, nc: near, in: parser{limit: maxBody}}
	sc.nc.Write(append(helloFrame(), frames(req(1, mDetached, nil), Frame{Kind: KindCredit, ID: 1, Body: []byte{0, 0, 1, 0}})...))
	sc.next()
	sc.next()
	d := <-all
	eventually(t, "credit came", func() bool { able, _ := d.s.Able(); return able })
	go drainConn(near)
	writes := h.Stats().Writes
	body := make([]byte, 1000)
	n := testing.AllocsPerRun(1000, func() {
		if err := d.s.Emit(0, 1, body); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := h.Stats().Writes - writes; n != 1001 {
		t.Errorf("%d writes for 1001 updates", n)
	}
}

// drainConn reads until the connection ends.
func drainConn(nc net.Conn) { io.Copy(io.Discard, nc) }

// slowToClose is a connection that breaks in a write, and takes its time to close: TLS
// waits up to five seconds for a peer that reads nothing to take its alert.
type slowToClose struct {
	net.Conn
	broken  atomic.Bool
	once    sync.Once
	closing chan struct{} // closed when it begins to
	release chan struct{}
}

func (c *slowToClose) Write(b []byte) (int, error) {
	if c.broken.Load() {
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(b)
}

func (c *slowToClose) Close() error {
	c.once.Do(func() { close(c.closing); <-c.release })
	return c.Conn.Close()
}

// The workers who tell all viewers ask each of them whether it is able: they must not be
// held up by one whose connection is being closed.
func TestNobodyWaitsForAConnectionToClose(t *testing.T) {
	checkNoGoroutines(t)
	h, all := detachedHouse(Config{})
	near, far := net.Pipe()
	nc := &slowToClose{Conn: far, closing: make(chan struct{}), release: make(chan struct{})}
	h.serve(t, nc)
	c, err := NewClient(t.Context(), near, ClientConfig{Window: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Subscribe(t.Context(), mDetached, nil); err != nil {
		t.Fatal(err)
	}
	d := <-all
	nc.broken.Store(true)
	d.set(1)
	<-nc.closing
	answered := make(chan error, 1)
	go func() {
		_, err := d.s.Able()
		answered <- err
	}()
	select {
	case err := <-answered:
		if err == nil {
			t.Error("able, on a connection that broke")
		}
	case <-time.After(10 * time.Second):
		t.Error("waits for the connection to close")
	}
	close(nc.release)
	<-d.ended
}
