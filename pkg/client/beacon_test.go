package client

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

func newTestBeacon(t *testing.T, s *sink, change func(*BeaconConfig)) *Beacon {
	t.Helper()
	var e seal.Enrolment
	for _, e = range s.roots {
	}
	cfg := BeaconConfig{Enrolment: e, Addr: s.addr(), Epochs: EpochFile(filepath.Join(t.TempDir(), "epoch"))}
	if change != nil {
		change(&cfg)
	}
	b, err := NewBeacon(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func flush(t *testing.T, b *Beacon) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := b.Flush(ctx); err != nil {
		t.Fatalf("flush: %v, %+v", err, b.Stats())
	}
}

func TestBeaconSendsOneWay(t *testing.T) {
	s := newSink(t, testEnrolment(0))
	b := newTestBeacon(t, s, nil)
	start(t, b.Run)
	for i := range 40 {
		b.Send(testFix(i))
	}
	flush(t, b)
	fixes, datagrams := s.await(40)
	seen := map[int64]bool{}
	for _, f := range fixes {
		want := testFix(int(f.Time-1700000000000) / 1000)
		if f.At != want.At || f.Speed != want.Speed || seen[f.Time] {
			t.Errorf("got %+v, want %+v (again: %v)", f, want, seen[f.Time])
		}
		seen[f.Time] = true
	}
	if len(seen) != 40 || len(datagrams) > 3 {
		t.Errorf("got %d fixes in %d datagrams", len(seen), len(datagrams))
	}
	checkRate(t, datagrams)
	if st := b.Stats(); st.Acks != 0 || st.Repeated != 0 || st.Fixes != 40 {
		t.Errorf("got %+v", st)
	}
}

func TestBeaconSendsTheNewestFirst(t *testing.T) {
	s := newSink(t, testEnrolment(0))
	b := newTestBeacon(t, s, nil)
	for i := range 160 { // queued while offline
		b.Send(testFix(i))
	}
	start(t, b.Run)
	flush(t, b)
	fixes, datagrams := s.await(160)
	first := fixes[datagrams[0].fixes-1]
	if want := testFix(159); first.Time != want.Time {
		t.Errorf("the first datagram leads with %v, want %v", first.When(), want.When())
	}
	seen := map[int64]bool{}
	for _, f := range fixes {
		seen[f.Time] = true
	}
	if len(seen) != 160 || len(fixes) != 160 {
		t.Errorf("got %d fixes, %d of them distinct", len(fixes), len(seen))
	}
}

func TestBeaconQueueForgetsTheOldest(t *testing.T) {
	s := newSink(t, testEnrolment(0))
	b := newTestBeacon(t, s, func(c *BeaconConfig) { c.QueueLimit = 10 })
	for i := range 25 {
		b.Send(testFix(24 - i)) // in any order
	}
	if st := b.Stats(); st.Queued != 10 || st.Dropped != 15 {
		t.Errorf("got %+v", st)
	}
	start(t, b.Run)
	fixes, _ := s.await(10)
	for _, f := range fixes {
		if f.Time < testFix(15).Time {
			t.Errorf("got %v, which is one of the oldest", f.When())
		}
	}
}

func TestBeaconSendsAgainWhatAnAckMisses(t *testing.T) {
	t.Parallel()
	s := newSink(t, testEnrolment(1))
	var window seal.Window
	s.replies(func(h seal.Header, _ *track.Batch) *seal.Ack {
		window.Accept(h.PID)
		a := &seal.Ack{Time: uint32(time.Now().Unix())}
		a.Max, a.Bitmap = window.Seen()
		return a
	}, func(copies int, pid uint32) bool { return pid == 0 && copies == 1 })
	acks := make(chan seal.Ack, 100)
	b := newTestBeacon(t, s, func(c *BeaconConfig) { c.Acks = true; c.OnAck = func(a seal.Ack) { acks <- a } })
	start(t, b.Run)
	b.Send(testFix(0))
	s.awaitArrivals(1)
	b.Send(testFix(1))
	flush(t, b)
	fixes, _ := s.await(2)
	if n := places(fixes); n != 2 {
		t.Errorf("got %d fixes, want 2, each once", n)
	}
	if st := b.Stats(); st.Repeated != 1 || st.Acks == 0 || st.Unacked != 0 {
		t.Errorf("got %+v", st)
	}
	if a := <-acks; a.Status != seal.AckOK {
		t.Errorf("got %+v", a)
	}
}

// places counts the fixes that are no heartbeats.
func places(fixes []track.Fix) (n int) {
	for _, f := range fixes {
		if f.Has&track.HasPos != 0 {
			n++
		}
	}
	return n
}

func TestBeaconAsksOnceMoreInsteadOfSendingAgain(t *testing.T) {
	t.Parallel()
	s := newSink(t, testEnrolment(1))
	var window seal.Window
	var last time.Time
	s.replies(func(h seal.Header, _ *track.Batch) *seal.Ack {
		window.Accept(h.PID)
		if time.Since(last) < time.Second { // as a server does
			return nil
		}
		last = time.Now()
		a := &seal.Ack{Time: uint32(last.Unix())}
		a.Max, a.Bitmap = window.Seen()
		return a
	}, nil)
	b := newTestBeacon(t, s, func(c *BeaconConfig) { c.Acks = true })
	start(t, b.Run)
	for i := range 3 {
		b.Send(testFix(i))
		s.awaitArrivals(i + 1)
	}
	flush(t, b)
	fixes, datagrams := s.await(4)
	if places(fixes) != 3 || len(fixes) != 4 || fixes[3].Time != testFix(2).Time+beatStep {
		t.Errorf("got %+v", fixes)
	}
	checkRate(t, datagrams)
	if st := b.Stats(); st.Repeated != 0 || st.Acks != 2 || st.Unacked != 0 || st.Datagrams != 4 || st.Fixes != 3 {
		t.Errorf("got %+v", st)
	}
}

func TestBeaconGivesUpOnALineThatCarriesNothingBack(t *testing.T) {
	t.Parallel() // it waits, mostly
	s := newSink(t, testEnrolment(1))
	b := newTestBeacon(t, s, func(c *BeaconConfig) { c.Acks = true })
	start(t, b.Run)
	b.Send(testFix(0))
	flush(t, b)
	if st := b.Stats(); st.Repeated != 0 || st.Datagrams != 1+maxRepeats {
		t.Errorf("got %+v", st)
	}
}

func (s *sink) awaitArrivals(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.arrived < n {
		s.cond.Wait()
	}
}

func TestBeaconTakesTheServersTimeWhenItsEpochIsOld(t *testing.T) {
	e := testEnrolment(0)
	e.Flags = seal.CounterEpochs
	s := newSink(t, e)
	const floor = 1700000000
	s.replies(func(h seal.Header, _ *track.Batch) *seal.Ack {
		if h.Epoch < floor {
			return &seal.Ack{Status: seal.AckEpochOld, Time: floor + 1000}
		}
		return &seal.Ack{Max: h.PID, Bitmap: 1 << 15}
	}, nil)
	b := newTestBeacon(t, s, func(c *BeaconConfig) {
		c.Acks = true
		c.Clock = func() (time.Time, bool) { return time.Unix(3600, 0), false } // 1970
	})
	start(t, b.Run)
	b.Send(testFix(0))
	flush(t, b)
	fixes, datagrams := s.await(1)
	if len(fixes) != 1 || datagrams[0].head.Epoch < floor {
		t.Errorf("got %d fixes, %+v", len(fixes), datagrams)
	}
	if st := b.Stats(); st.Refused != 1 {
		t.Errorf("got %+v", st)
	}
}

func TestBeaconIgnoresForgedAcks(t *testing.T) {
	s := newSink(t, testEnrolment(0))
	var forged []byte
	s.replies(func(h seal.Header, _ *track.Batch) *seal.Ack {
		forged = seal.AppendAck(nil, h, seal.Ack{Status: seal.AckEpochOld, Time: 1}, new([32]byte))
		return nil
	}, nil)
	b := newTestBeacon(t, s, func(c *BeaconConfig) { c.Acks = true })
	b.Send(testFix(0))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	s.await(1)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.acked(forged)
	b.acked(forged[:20])
	b.acked(make([]byte, seal.AckLen))
	if st := b.Stats(); st.Acks != 0 || st.Refused != 0 || st.Queued != 0 {
		t.Errorf("got %+v", st)
	}
}

func TestBeaconWithoutClockOrStorageStaysSilent(t *testing.T) {
	s := newSink(t, testEnrolment(0))
	b := newTestBeacon(t, s, func(c *BeaconConfig) {
		c.Epochs = nil
		c.Clock = func() (time.Time, bool) { return time.Unix(0, 0), false }
	})
	b.Send(testFix(0))
	if err := b.Run(t.Context()); err == nil {
		t.Error("got no error")
	}
	if st := b.Stats(); st.Datagrams != 0 || st.Queued != 1 {
		t.Errorf("got %+v", st)
	}
}

func TestBeaconOutlivesAServerThatIsNotThere(t *testing.T) {
	s := newSink(t, testEnrolment(0))
	addr := s.addr()
	b := newTestBeacon(t, s, func(c *BeaconConfig) { c.Addr = addr })
	start(t, b.Run)
	b.Send(testFix(0))
	flush(t, b)
	s.await(1)
	_ = s.conn.Close() // from here on the kernel answers with ICMP errors
	b.Send(testFix(1))
	b.Send(testFix(2))
	deadline := time.Now().Add(10 * time.Second)
	for b.Stats().Datagrams < 2 && b.Stats().Failed == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("got %+v", b.Stats())
		}
		time.Sleep(5 * time.Millisecond) // nothing tells when a send failed
	}
}
