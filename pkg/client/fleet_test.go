package client

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// sink is the server's side of datagrams, in its simplest form: it opens, decodes and
// remembers, and answers as it is told to.
type sink struct {
	t      testing.TB
	conn   *net.UDPConn
	roots  map[track.DeviceID]seal.Enrolment
	answer func(h seal.Header, b *track.Batch) *seal.Ack // nil: silence
	lose   func(copies int, pid uint32) bool             // whether this copy of a datagram is lost, 1 the first

	mu        sync.Mutex
	cond      *sync.Cond
	arrived   int
	copies    map[string]int  // of each datagram
	nonces    map[string]bool // device, epoch, pid; across devices
	datagrams []datagram
	fixes     []track.Fix
}

type datagram struct {
	head  seal.Header
	fixes int
	at    time.Time
}

func newSink(t testing.TB, es ...seal.Enrolment) *sink {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadBuffer(4 << 20)
	s := &sink{t: t, conn: conn, roots: map[track.DeviceID]seal.Enrolment{}, nonces: map[string]bool{}, copies: map[string]int{}}
	s.cond = sync.NewCond(&s.mu)
	for _, e := range es {
		s.roots[e.Device] = e
	}
	done := make(chan struct{})
	go func() { defer close(done); s.run() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return s
}

// replies says how to answer, and which datagrams are lost on the way.
func (s *sink) replies(answer func(seal.Header, *track.Batch) *seal.Ack, lose func(copies int, pid uint32) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.lose = answer, lose
}

func (s *sink) addr() string { return s.conn.LocalAddr().String() }

func (s *sink) run() {
	buf := make([]byte, 2048)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if a := s.take(buf[:n]); a != nil {
			_, _ = s.conn.WriteToUDPAddrPort(a, from)
		}
	}
}

func (s *sink) take(pkt []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.cond.Broadcast()
	s.arrived++
	h, err := seal.ParseHeader(pkt)
	if err != nil {
		s.t.Errorf("header: %v", err)
		return nil
	}
	s.copies[string(pkt)]++
	if s.lose != nil && s.lose(s.copies[string(pkt)], h.PID) {
		return nil
	}
	e, ok := s.roots[h.Device]
	if !ok {
		s.t.Errorf("unknown device %s", h.Device)
		return nil
	}
	keys := seal.Derive(&e.Root, h.Suite, h.Device, h.Epoch)
	var o seal.Opener
	body, err := o.Open(nil, h.Suite, &keys.Up, pkt)
	if err != nil {
		s.t.Errorf("open: %v", err)
		return nil
	}
	nonce := fmt.Sprint(h.Device, h.Epoch, h.PID)
	if s.nonces[nonce] {
		return nil // a copy: the window drops it
	}
	s.nonces[nonce] = true
	var b track.Batch
	ask, err := wire.DecodeBody(&b, body)
	if err != nil {
		s.t.Errorf("body: %v", err)
		return nil
	}
	for i := range b.Fixes {
		b.Fixes[i].Device = h.Device
	}
	var a *seal.Ack
	if s.answer != nil {
		a = s.answer(h, &b)
	}
	if a == nil || a.Status != seal.AckEpochOld && a.Status != seal.AckRateLimited {
		s.fixes = append(s.fixes, b.Fixes...)
		s.datagrams = append(s.datagrams, datagram{h, len(b.Fixes), time.Now()})
	}
	if a == nil || !ask && a.Status != seal.AckEpochOld {
		return nil
	}
	return seal.AppendAck(nil, h, *a, &keys.Ack)
}

// await waits until the sink holds n fixes and returns what it has.
func (s *sink) await(n int) ([]track.Fix, []datagram) {
	s.t.Helper()
	stop := time.AfterFunc(10*time.Second, func() { s.cond.Broadcast() })
	defer stop.Stop()
	deadline := time.Now().Add(10 * time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.fixes) < n {
		if time.Now().After(deadline) {
			s.t.Fatalf("got %d fixes, want %d", len(s.fixes), n)
		}
		s.cond.Wait()
	}
	return append([]track.Fix(nil), s.fixes...), append([]datagram(nil), s.datagrams...)
}

func testEnrolment(i int) seal.Enrolment {
	e := seal.Enrolment{Host: "127.0.0.1:1", Device: track.DeviceID(0xa00000000000 + i), Suite: seal.ChaCha20Poly1305}
	if i%2 == 1 {
		e.Suite = seal.AES128GCM
	}
	e.Root = seal.NewRoot()
	return e
}

func testFix(i int) track.Fix {
	return track.Fix{Time: 1700000000000 + int64(i)*1000, At: geo.Deg(52+float64(i)/1e4, 13), Has: track.HasPos | track.HasVel, Speed: uint16(i), Course: 9000}
}

// start runs fn until the test ends, and fails the test if it fails.
func start(t testing.TB, fn func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func TestFleetSendsEveryFixOnceAndInOrder(t *testing.T) {
	const devices, each = 20, 30
	var es []seal.Enrolment
	for i := range devices {
		es = append(es, testEnrolment(i))
	}
	s := newSink(t, es...)
	f := NewFleet(FleetConfig{Addr: s.addr(), Sockets: 2})
	for _, e := range es {
		if _, err := f.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	start(t, f.Run)
	for n := range each {
		for i := range devices {
			fix := testFix(n)
			if err := f.Send(t.Context(), i, &fix); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	fixes, datagrams := s.await(devices * each)
	next := map[track.DeviceID]int{}
	for _, got := range fixes {
		want := testFix(next[got.Device])
		want.Device = got.Device
		next[got.Device]++
		got.Sub, got.PID = 0, 0
		if got != want {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	}
	if len(fixes) != devices*each {
		t.Errorf("got %d fixes, want %d", len(fixes), devices*each)
	}
	checkRate(t, datagrams)
	if st := f.Stats(); st.Fixes != devices*each || st.Queued != 0 || int(st.Datagrams) != len(datagrams) {
		t.Errorf("got %+v for %d datagrams", st, len(datagrams))
	}
}

// checkRate holds what arrived against what a server grants a device: four datagrams
// a second, with room for a loaded machine.
func checkRate(t *testing.T, datagrams []datagram) {
	t.Helper()
	per := map[track.DeviceID][]datagram{}
	for _, d := range datagrams {
		per[d.head.Device] = append(per[d.head.Device], d)
	}
	for id, ds := range per {
		// The datagrams after the first cost a quarter of a second each, or 20 ms a fix.
		var paid time.Duration
		for _, d := range ds[:len(ds)-1] {
			paid += max(datagramCost, time.Duration(d.fixes)*fixCost)
		}
		if took := ds[len(ds)-1].at.Sub(ds[0].at); took < paid*8/10 {
			t.Errorf("%s: %d datagrams in %v, want at least %v", id, len(ds), took, paid)
		}
	}
}

// TestConfirmedFleetLosesNothing drops the first copy of a third of the datagrams, two
// copies of another third, and a third of the acks.
func TestConfirmedFleetLosesNothing(t *testing.T) {
	const devices, each = 10, 8
	var es []seal.Enrolment
	for i := range devices {
		es = append(es, testEnrolment(i))
	}
	s := newSink(t, es...)
	windows := map[track.DeviceID]*seal.Window{}
	acks := 0
	s.replies(func(h seal.Header, _ *track.Batch) *seal.Ack {
		w := windows[h.Device]
		if w == nil {
			w = &seal.Window{}
			windows[h.Device] = w
		}
		w.Accept(h.PID)
		if acks++; acks%3 == 0 {
			return nil
		}
		a := &seal.Ack{}
		a.Max, a.Bitmap = w.Seen()
		return a
	}, func(copies int, pid uint32) bool { return copies <= int(pid%3) })
	f := NewFleet(FleetConfig{Addr: s.addr(), Confirm: true})
	for _, e := range es {
		if _, err := f.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	start(t, f.Run)
	for n := range each {
		for i := range devices {
			fix := testFix(n)
			if n%4 == 3 {
				fix.Event = track.EventMotionStop // leads a datagram of its own
			}
			if err := f.Send(t.Context(), i, &fix); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	fixes, _ := s.await(devices * each)
	if len(fixes) != devices*each {
		t.Errorf("got %d fixes, want %d, each once", len(fixes), devices*each)
	}
	st := f.Stats()
	if st.Resent == 0 || st.Waiting != 0 || st.Fixes != devices*each {
		t.Errorf("got %+v", st)
	}
}

func TestRateLimitedFixesAreSentAgainLater(t *testing.T) {
	e := testEnrolment(0)
	s := newSink(t, e)
	refusals := 0
	s.replies(func(h seal.Header, _ *track.Batch) *seal.Ack {
		if refusals == 0 {
			refusals++
			return &seal.Ack{Status: seal.AckRateLimited}
		}
		return &seal.Ack{Max: h.PID, Bitmap: 1 << 15}
	}, nil)
	f := NewFleet(FleetConfig{Addr: s.addr(), Confirm: true})
	if _, err := f.Add(e); err != nil {
		t.Fatal(err)
	}
	start(t, f.Run)
	fix := testFix(0)
	if err := f.Send(t.Context(), 0, &fix); err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fixes, _ := s.await(1); len(fixes) != 1 {
		t.Errorf("got %d fixes", len(fixes))
	}
	if st := f.Stats(); st.Refused != 1 {
		t.Errorf("got %+v", st)
	}
}

func TestFleetBlocksAtTheQueueLimit(t *testing.T) {
	e := testEnrolment(0)
	f := NewFleet(FleetConfig{Addr: "127.0.0.1:9", QueueLimit: 3})
	if _, err := f.Add(e); err != nil {
		t.Fatal(err)
	}
	fix := testFix(0)
	for range 3 {
		if err := f.Send(t.Context(), 0, &fix); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Send(ctx, 0, &fix); err == nil {
		t.Error("got no error from a full queue")
	}
	if st := f.Stats(); st.Queued != 3 {
		t.Errorf("got %d queued, want 3", st.Queued)
	}
}

func TestFleetDeviceIsSmall(t *testing.T) {
	if n := sizeofFleetDevice; n > 128 {
		t.Errorf("got %d bytes a device, want at most 128", n)
	}
}

func TestTrailCarriesOnlyWhatItCanSay(t *testing.T) {
	at := func(i int, change func(*track.Fix)) track.Fix {
		f := testFix(i)
		if change != nil {
			change(&f)
		}
		return f
	}
	for name, tc := range map[string]struct {
		newestFirst []track.Fix
		want        int
	}{
		"alike":              {[]track.Fix{at(3, nil), at(2, nil), at(1, nil)}, 3},
		"event leads":        {[]track.Fix{at(3, func(f *track.Fix) { f.Event = track.EventSOS }), at(2, nil)}, 2},
		"event behind":       {[]track.Fix{at(3, nil), at(2, func(f *track.Fix) { f.Event = track.EventSOS })}, 1},
		"other parts":        {[]track.Fix{at(3, nil), at(2, func(f *track.Fix) { f.Has |= track.HasAlt })}, 1},
		"heartbeat leads":    {[]track.Fix{at(3, func(f *track.Fix) { f.Has = 0 }), at(2, nil)}, 1},
		"heartbeat behind":   {[]track.Fix{at(3, nil), at(2, func(f *track.Fix) { f.Has = 0 })}, 1},
		"older before newer": {[]track.Fix{at(2, nil), at(3, nil)}, 1},
		"same second":        {[]track.Fix{at(2, nil), at(2, nil)}, 2},
	} {
		if got := bundle(tc.newestFirst); got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
}

func TestPackFitsADatagramAndLosesNothing(t *testing.T) {
	var newestFirst []track.Fix
	for i := range maxBundle {
		f := testFix(maxBundle - i)
		f.Time += int64(i%250) * 4
		f.At = geo.Deg(float64(i%2)*90-45, float64(i%2)*340-170) // the widest deltas
		f.Has |= track.HasAlt | track.HasAcc
		f.Alt = int16(i%2*60000 - 30000)
		newestFirst = append(newestFirst, f)
	}
	var p packer
	total := 0
	for left := newestFirst; len(left) > 0; {
		body, n, err := p.pack(left, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		if len(body) > seal.MaxBody {
			t.Fatalf("got a body of %d bytes", len(body))
		}
		var b track.Batch
		if _, err := wire.DecodeBody(&b, body); err != nil {
			t.Fatal(err)
		}
		for i, got := range b.Fixes {
			want := left[n-1-i]
			got.Sub, got.Ext, got.ExtLen = 0, 0, 0
			if got != want {
				t.Fatalf("got  %+v\nwant %+v", got, want)
			}
		}
		left, total = left[n:], total+n
	}
	if total != maxBundle {
		t.Errorf("got %d fixes, want %d", total, maxBundle)
	}
}

func BenchmarkFleetSeal(b *testing.B) {
	f := NewFleet(FleetConfig{Addr: "127.0.0.1:9", Unlimited: true})
	const devices = 10_000
	for i := range devices {
		if _, err := f.Add(testEnrolment(i * 2)); err != nil {
			b.Fatal(err)
		}
	}
	s := f.shards[0]
	now := time.Now()
	s.nextEpoch(now)
	batch := &fleetBatch{}
	for i := range batch.pkts {
		batch.pkts[i] = make([]byte, 0, seal.MaxDatagram)
		batch.msgs[i].Buffers = make([][]byte, 1)
	}
	fix := testFix(1)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := f.Send(b.Context(), n%devices, &fix); err != nil {
			b.Fatal(err)
		}
		if n++; n%batchSize == 0 {
			s.fill(batch, now)
			s.queued -= uint64(batch.fixes)
			batch.n = 0
		}
	}
}
