package hub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// puller is a door without a goroutine for each viewer: it pulls where it is told.
type puller struct {
	v     *Viewer
	calls atomic.Int32 // of tell that have not been looked after yet
	buf   [8]*Frame
	take  func(f *Frame)
}

// tell may be called while an earlier call still runs: that one looks once more.
func (p *puller) tell() {
	if p.calls.Add(1) != 1 {
		return
	}
	for n := int32(1); n != 0; n = p.calls.Add(-n) {
		n = p.calls.Load()
		for turn := More; turn == More; {
			var frames []*Frame
			frames, turn, _ = p.v.Pull(p.buf[:0])
			for _, f := range frames {
				p.take(f)
			}
		}
	}
}

// pull watches and has what the viewer begins with behind it.
func pull(t testing.TB, r *river, q Query, take func(f *Frame)) *puller {
	t.Helper()
	p := &puller{take: take}
	var err error
	if p.v, err = r.Watch(q, Options{Notify: p.tell}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.v.Close)
	for {
		frames, err := p.v.TryNext(p.buf[:0])
		if err != nil {
			t.Fatal(err)
		}
		if len(frames) == 0 {
			return p
		}
	}
}

// runHub runs the hub until the test ends.
func runHub(t testing.TB, h *Hub) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { h.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	for {
		h.fan.mu.Lock()
		running := h.fan.running
		h.fan.mu.Unlock()
		if running {
			return
		}
	}
}

// Ten thousand viewers get the same bytes, which are made once a frame.
func TestFrameForTenThousandIsMadeOnce(t *testing.T) {
	const viewers, rounds = 10_000, 20
	r := newRiver(Config{})
	runHub(t, r.Hub)
	var made atomic.Int64
	enc := NewEncoding("count", func(dst []byte, f *Frame) []byte {
		made.Add(1)
		return fmt.Appendf(dst, "to %d", f.Seq)
	})
	var got sync.WaitGroup
	var wrong atomic.Int64
	var shared [rounds + 1]atomic.Pointer[byte]
	for range viewers {
		seq := uint64(0)
		pull(t, r, All(), func(f *Frame) {
			b := f.Bytes(enc)
			if seq++; f.Seq != seq || string(b) != fmt.Sprintf("to %d", seq) {
				wrong.Add(1)
			}
			shared[seq].CompareAndSwap(nil, &b[0])
			if shared[seq].Load() != &b[0] {
				wrong.Add(1)
			}
			got.Done()
		})
	}
	for i := range rounds {
		got.Add(viewers)
		r.apply(fix(1, int64(i), 1, 1))
		got.Wait()
	}
	if wrong.Load() != 0 || made.Load() != rounds || r.Stats().Encodings != rounds {
		t.Errorf("%d frames were made %d times, counted %d; %d came wrong", rounds, made.Load(), r.Stats().Encodings, wrong.Load())
	}
}

// A publisher pays nothing for who watches: they are told by others, and only then.
func TestPublisherTellsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		runHub(t, r.Hub)
		hold := make(chan struct{})
		var told int
		pull(t, r, All(), func(*Frame) { <-hold; told++ })
		r.apply(fix(1, 1, 1, 1)) // would never return
		synctest.Wait()
		if told != 0 {
			t.Error("told by the publisher")
		}
		close(hold)
		synctest.Wait()
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}

// A stream of one viewer has its turn after one chunk of a stream of thousands.
func TestLongListLetsOthersPass(t *testing.T) {
	var f fan
	f.running, f.kick = true, make(chan struct{}, 1)
	list := func(n int) (head *waiter, all []*waiter) {
		for range n {
			head = &waiter{next: head}
			all = append(all, head)
		}
		slices.Reverse(all)
		return head, all
	}
	long, all := list(3*fanChunk + 1)
	lone, _ := list(1)
	f.hand(long)
	f.hand(lone)
	var got []*waiter
	for chunk := f.take(); chunk != nil; chunk = f.take() {
		n := 0
		for w := chunk; w != nil; w = w.next {
			if got = append(got, w); w == lone && len(got) > fanChunk+1 {
				t.Errorf("the lone one comes as number %d", len(got))
			}
			n++
		}
		if n > fanChunk {
			t.Errorf("a chunk of %d", n)
		}
	}
	got = slices.DeleteFunc(got, func(w *waiter) bool { return w == lone })
	if !slices.Equal(got, all) {
		t.Errorf("%d came of %d, or in another order", len(got), len(all))
	}
	if f.first != nil || f.last != nil {
		t.Error("a list is left")
	}
}

func TestViewersAreToldInTheOrderInWhichTheyCame(t *testing.T) {
	for n := range uint32(70) {
		numbers := rand.New(rand.NewPCG(1, uint64(n))).Perm(int(n))
		var list *waiter
		for _, k := range numbers {
			list = &waiter{number: uint32(k), next: list}
		}
		var got uint32
		for w := sortWaiters(list); w != nil; w = w.next {
			if w.number != got {
				t.Fatalf("of %d: number %d is told as %d", n, w.number, got)
			}
			got++
		}
		if got != n {
			t.Errorf("%d of %d", got, n)
		}
	}
}

// Workers, viewers and publishers at full speed: each viewer has every fix, in order.
func TestFanLosesNothing(t *testing.T) {
	const viewers, rounds = 200, 2000
	r := newRiver(Config{Tick: 1, QueueBytes: 1 << 30})
	runHub(t, r.Hub)
	ends := make([]uint64, viewers)
	var wrong atomic.Int64
	for i := range viewers {
		q := All()
		if i%2 == 1 {
			q = Box(geo.World)
		}
		pull(t, r, q, func(f *Frame) {
			if ends[i]+uint64(len(f.Fixes)) != f.Seq {
				wrong.Add(1)
			}
			ends[i] = f.Seq
		})
	}
	done := make(chan struct{})
	last := pull(t, r, Devices(2), func(*Frame) { close(done) })
	for i := range rounds {
		r.apply(fix(1, int64(i), 1, 1))
	}
	for v := range r.viewers {
		for v != last.v && !v.atEnd() {
			v.s.flush(false)
		}
	}
	r.apply(fix(2, 1, 1, 1))
	<-done
	if wrong.Load() != 0 {
		t.Errorf("%d frames came out of order", wrong.Load())
	}
}

// Who is told that the hub, or the viewer, has closed may close it again.
func TestEndIsToldWithoutALock(t *testing.T) {
	r := newRiver(Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var v *Viewer
	var errs []error
	v, err := r.Watch(All(), Options{Notify: func() {
		_, err := v.TryNext(nil)
		errs = append(errs, err)
		v.Close()
	}})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	r.Run(ctx)
	if len(errs) == 0 || errs[0] != track.ErrClosed {
		t.Errorf("told %v", errs)
	}
}

func TestLiveTellsWhoMayPullAnywhere(t *testing.T) {
	r := newRiver(Config{MaxFrame: 2, QueueBytes: 1})
	for id := range track.DeviceID(3) {
		r.apply(fix(id+1, 1, 1, 1))
	}
	v := watch(t, r, All())
	buf := make([]*Frame, 0, 1)
	check := func(want bool, when string) {
		t.Helper()
		frames, live, err := v.TryLive(buf)
		if v.Live() != want || live != want || len(frames) != 0 || err != nil {
			t.Errorf("%s: live %v and %v, want %v; %d frames, %v", when, v.Live(), live, want, len(frames), err)
		}
		frames, turn, err := v.Pull(buf)
		if (turn == Waits) != want || turn == More || len(frames) != 0 || err != nil {
			t.Errorf("%s: turn %v, %d frames, %v", when, turn, len(frames), err)
		}
	}
	next := func() {
		t.Helper()
		if _, err := v.TryNext(buf); err != nil {
			t.Fatal(err)
		}
	}
	check(false, "before the snapshot")
	next()
	check(false, "in the snapshot")
	next()
	check(true, "after the snapshot")
	for i := range 3 { // of which the chain keeps one
		r.apply(fix(1, int64(i+2), 1, 1), fix(2, int64(i+2), 1, 1))
	}
	check(false, "behind")
	next()
	check(false, "in the resync")
	next()
	check(true, "after the resync")
	if err := v.Retarget(Devices(1)); err != nil {
		t.Fatal(err)
	}
	check(false, "retargeted")
	next()
	check(true, "there")
}

// broadcast publishes batches to viewers that pull where they are told, and asks for
// the bytes, until each has had n of them.
func broadcast(t testing.TB, viewers, fixes int) (publish func()) {
	r := newRiver(Config{MaxFrame: fixes, QueueBytes: 1 << 20})
	runHub(t, r.Hub)
	enc := NewEncoding("lines", lines.encode)
	var left atomic.Int64
	all := make(chan struct{}, 1)
	for range viewers {
		pull(t, r, All(), func(f *Frame) {
			f.Bytes(enc)
			if left.Add(-1) == 0 {
				all <- struct{}{}
			}
		})
	}
	batch, moves := batchOf(fixes)
	return func() {
		left.Store(int64(viewers))
		publishTo(r.Hub, batch, moves)
		<-all
	}
}

// The whole of a broadcast, its frame and its bytes and telling a thousand viewers, is
// a handful of allocations at most; no viewer costs one.
func TestBroadcastAllocatesAtMostTwice(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, fixes := range []int{1, 20} {
		publish := broadcast(t, 1000, fixes)
		for range 100 {
			publish()
		}
		// AllocsPerRun rounds down: a hundred broadcasts a run show the fraction.
		if n := testing.AllocsPerRun(5, func() {
			for range 100 {
				publish()
			}
		}); n > 200 {
			t.Errorf("%v allocations for 100 broadcasts of %d fixes", n, fixes)
		} else {
			t.Logf("%v allocations for 100 broadcasts of %d fixes", n, fixes)
		}
	}
}

// BenchmarkBroadcast1000 is one frame for a thousand viewers, pulled and encoded where
// they are told. ns/op and allocs/op are for all of them.
func BenchmarkBroadcast1000(b *testing.B) {
	for _, fixes := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("fixes=%d", fixes), func(b *testing.B) {
			publish := broadcast(b, 1000, fixes)
			b.ReportAllocs()
			for b.Loop() {
				publish()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/viewer")
		})
	}
}
