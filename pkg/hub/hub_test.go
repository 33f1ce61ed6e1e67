package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// running starts Run and stops it when the test is over.
func running(t *testing.T, r *river) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// arrival is a frame and when it came.
type arrival struct {
	at    time.Duration
	kind  FrameKind
	fixes int
}

// record notes the frames of v, from the time that it is called.
func record(t *testing.T, v *Viewer) func() []arrival {
	var mu sync.Mutex
	var got []arrival
	start := time.Now()
	go func() {
		w := newView()
		for {
			frames, err := v.Next(context.Background(), make([]*Frame, 0, 8))
			if err != nil {
				return
			}
			mu.Lock()
			for _, f := range frames {
				if err := w.take(f); err != nil {
					t.Error(err)
				}
				got = append(got, arrival{time.Since(start), f.Kind, len(f.Fixes)})
			}
			mu.Unlock()
		}
	}()
	return func() []arrival {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

func TestLoneFixLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		running(t, r)
		got := record(t, watch(t, r, All()))
		synctest.Wait()
		want := []arrival{{0, Snapshot, 0}}
		for i := range 100 { // ten milliseconds apart, over many ticks
			time.Sleep(10 * time.Millisecond)
			r.apply(fix(1, int64(i), 1, 1))
			synctest.Wait()
			want = append(want, arrival{time.Duration(i+1) * 10 * time.Millisecond, Fixes, 1})
		}
		if got := got(); !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

func TestBusyStreamSendsOneFrameATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		running(t, r)
		got := record(t, watch(t, r, All()))
		synctest.Wait()
		for i := range 1000 { // 4,000 a second for a second
			for k := range 4 {
				r.apply(fix(track.DeviceID(k+1), int64(i), 1, 1))
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		frames := got()[1:]
		sum := frames[0].fixes
		for i := 1; i < len(frames); i++ {
			sum += frames[i].fixes
			d := (frames[i].at - frames[i-1].at).Round(2 * time.Millisecond)
			if pace := frames[i-1].at > 100*time.Millisecond; d > r.c.Tick || pace && d < r.c.Tick {
				t.Errorf("%v between frames at %v", d, frames[i].at)
			}
		}
		if sum != 4000 || len(frames) > int(time.Second/r.c.Tick)+quietFixes+2 {
			t.Errorf("%d fixes in %d frames", sum, len(frames))
		}
	})
}

func TestStreamGrowsQuietAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		running(t, r)
		got := record(t, watch(t, r, All()))
		for i := range 100 {
			r.apply(fix(1, int64(i), 1, 1))
		}
		time.Sleep(time.Second)
		before := len(got())
		r.apply(fix(1, 1000, 1, 1))
		synctest.Wait()
		if n := len(got()); n != before+1 {
			t.Errorf("%d frames for a lone fix after a busy time", n-before)
		}
	})
}

func TestMaxFrameSplits(t *testing.T) {
	r := newRiver(Config{MaxFrame: 10})
	v, w := watch(t, r, All()), newView()
	w.drain(t, v)
	var batch []track.Fix
	for i := range 37 {
		batch = append(batch, fix(track.DeviceID(i+1), 1, 1, 1))
	}
	r.apply(batch...)
	frames, err := v.TryNext(make([]*Frame, 0, 9))
	var sizes []int
	for _, f := range frames {
		sizes = append(sizes, len(f.Fixes))
	}
	if !slices.Equal(sizes, []int{10, 10, 10}) || err != nil { // the rest waits for the tick
		t.Errorf("frames of %v, %v", sizes, err)
	}
}

// Streams that are all busy must not all send in the same moment.
func TestTicksAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		running(t, r)
		const streams, ticks = 100, 8
		var all []func() []arrival
		for id := range track.DeviceID(streams) {
			all = append(all, record(t, watch(t, r, Devices(id+1))))
		}
		synctest.Wait()
		for i := range 200 {
			for id := range track.DeviceID(streams) {
				for k := range 6 {
					r.apply(fix(id+1, int64(i*6+k), 1, 1))
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
		moments := map[time.Duration]int{}
		for _, got := range all {
			for _, f := range got() {
				if f.at > 10*r.c.Tick && f.at < (10+ticks)*r.c.Tick {
					moments[f.at]++
				}
			}
		}
		for at, n := range moments {
			if n > streams/wheelSlots {
				t.Errorf("%d streams send at %v", n, at)
			}
		}
		if len(moments) != ticks*wheelSlots-1 && len(moments) != ticks*wheelSlots {
			t.Errorf("frames at %d moments of %d ticks", len(moments), ticks)
		}
	})
}

// A hub with very many quiet streams is busy all the same.
func TestHurryIsRationed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{Linger: time.Hour})
		for id := range track.DeviceID(3 * hurryPerTick) {
			watch(t, r, Devices(id+1))
		}
		for id := range track.DeviceID(3 * hurryPerTick) {
			r.apply(fix(id+1, 1, 1, 1))
		}
		if n := r.Stats().Frames; n != hurryPerTick {
			t.Errorf("%d frames in no time, want %d", n, hurryPerTick)
		}
	})
}

func TestFrameIsEncodedOnceForAll(t *testing.T) {
	r := newRiver(Config{})
	var calls atomic.Int64
	enc := NewEncoding("count", func(dst []byte, f *Frame) []byte {
		calls.Add(1)
		return fmt.Appendf(dst, "%d fixes to %d", len(f.Fixes), f.Seq)
	})
	other := NewEncoding("other", func(dst []byte, f *Frame) []byte { return append(dst, "other"...) })
	const viewers = 50
	var vs []*Viewer
	for range viewers {
		v := watch(t, r, All())
		newView().drain(t, v)
		vs = append(vs, v)
	}
	r.apply(fix(1, 1, 1, 1))
	var wg sync.WaitGroup
	var first [viewers]*byte
	for i, v := range vs {
		wg.Go(func() {
			frames, _ := v.TryNext(nil)
			b := frames[0].Bytes(enc)
			if string(b) != "1 fixes to 1" || string(frames[0].Bytes(other)) != "other" {
				t.Errorf("bytes %q", b)
			}
			first[i] = &b[0]
		})
	}
	wg.Wait()
	for _, p := range first {
		if p != first[0] {
			t.Fatal("viewers have bytes of their own")
		}
	}
	if calls.Load() != 1 || r.Stats().Encodings != 2 {
		t.Errorf("encoded %d times, counted %d", calls.Load(), r.Stats().Encodings)
	}
}

func TestPrivateFramesAreEncodedAnew(t *testing.T) {
	r := newRiver(Config{MaxFrame: 2})
	for id := range track.DeviceID(5) {
		r.apply(fix(id+1, 1, 1, 1))
	}
	enc := NewEncoding("ids", func(dst []byte, f *Frame) []byte {
		for i := range f.Fixes {
			dst = fmt.Append(dst, f.Fixes[i].Device, " ")
		}
		return dst
	})
	v := watch(t, r, All())
	var got []string
	for range 3 {
		frames, err := v.TryNext(nil)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(frames[0].Bytes(enc)))
	}
	want := []string{"000000000001 000000000002 ", "000000000003 000000000004 ", "000000000005 "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSnapshotNamesEachDeviceOnce(t *testing.T) {
	for _, n := range []int{0, 1, 9, 10, 11, 95} {
		r := newRiver(Config{MaxFrame: 10})
		for id := range track.DeviceID(n) {
			r.apply(fix(id+1, 1, 1, 1))
		}
		v := watch(t, r, All())
		seen := map[track.DeviceID]bool{}
		for i := 0; ; i++ {
			frames, err := v.TryNext(nil)
			if err != nil || len(frames) != 1 {
				t.Fatal(frames, err)
			}
			f := frames[0]
			if f.Kind != Snapshot || f.Fresh != (i == 0) || len(f.Fixes) > 10 {
				t.Errorf("%d devices: frame %d: %v of %d, fresh %v", n, i, f.Kind, len(f.Fixes), f.Fresh)
			}
			for _, fix := range f.Fixes {
				if seen[fix.Device] {
					t.Errorf("%d devices: %v twice", n, fix.Device)
				}
				seen[fix.Device] = true
			}
			if !f.More {
				break
			}
		}
		if len(seen) != n {
			t.Errorf("%d devices seen, want %d", len(seen), n)
		}
	}
}

// The hard moment: a batch is in the present but not yet in the hub when a snapshot
// is taken, and another comes while it is taken.
func TestSnapshotAmongBatchesHasNoGapAndNoDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		r.apply(fix(1, 1, 1, 1), fix(2, 1, 1, 1))
		applied, goOn := make(chan bool), make(chan bool)
		r.between = func() {
			r.between = nil
			applied <- true
			<-goOn
		}
		go r.apply(fix(1, 2, 1, 1)) // stops half way
		<-applied
		r.scanned = func() {
			r.scanned = nil
			r.apply(fix(1, 3, 1, 1), fix(2, 3, 1, 1)) // overtakes, once device 1 is scanned
		}
		// Device 1 would be published out of order by two passes; here that is the point
		// of the gate, not of the order, so the overtaking fix is the newest anyway.
		v := watch(t, r, All())
		got := make(chan *Frame)
		go func() {
			frames, err := v.TryNext(nil)
			if err != nil {
				t.Error(err)
			}
			got <- frames[0]
		}()
		synctest.Wait()
		select {
		case f := <-got:
			t.Fatalf("a snapshot to %d without waiting for the batch half way", f.Seq)
		default:
		}
		close(goOn)
		f := <-got
		if f.More || f.Seq != 3 || len(f.Fixes) != 2 || f.Fixes[0].Time != 3 || f.Fixes[1].Time != 3 {
			t.Errorf("snapshot to %d: %+v", f.Seq, f.Fixes)
		}
		if frames, _ := v.TryNext(nil); len(frames) != 0 {
			t.Errorf("%d frames after the snapshot", len(frames))
		}
		synctest.Wait()
	})
}

func TestBoxTellsWhoLeft(t *testing.T) {
	box, _ := geo.BoxDeg(10, 10, 20, 20)
	r := newRiver(Config{})
	r.apply(fix(1, 1, 15, 15))
	v, w := watch(t, r, Box(box)), newView()
	w.drain(t, v)
	type step struct {
		name  string
		do    func()
		fixes []int64 // times
		left  []track.DeviceID
	}
	beat := track.Fix{Device: 1, Time: 5, Has: track.HasBat, Bat: 50}
	late := fix(1, 2, 16, 16)
	for _, s := range []step{
		{"moves inside", func() { r.apply(fix(1, 2, 15.1, 15)) }, []int64{2}, nil},
		{"leaves", func() { r.apply(fix(1, 3, 25, 15)) }, nil, []track.DeviceID{1}},
		{"moves outside", func() { r.apply(fix(1, 4, 26, 15)) }, nil, nil},
		{"heartbeat outside", func() { r.apply(beat) }, nil, nil},
		{"late, inside", func() { r.apply(late) }, []int64{2}, nil},
		{"comes back", func() { r.apply(fix(1, 6, 20, 20)) }, []int64{6}, nil},
		{"heartbeat inside", func() { beat.Time = 7; r.apply(beat) }, []int64{7}, nil},
		{"late, outside", func() { r.apply(fix(1, 3, 25, 15)) }, nil, nil},
		{"out and in at once", func() { r.apply(fix(1, 8, 30, 30), fix(1, 9, 15, 15)) }, []int64{9}, nil},
		{"in and out at once", func() { r.apply(fix(2, 1, 12, 12), fix(2, 2, 30, 30)) }, []int64{1}, []track.DeviceID{2}},
		{"removed", func() { r.remove(1) }, nil, []track.DeviceID{1}},
	} {
		s.do()
		frames, err := v.TryNext(nil)
		if err != nil {
			t.Fatal(err)
		}
		var fixes []int64
		var left []track.DeviceID
		for _, f := range frames {
			if err := w.take(f); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
			for _, x := range f.Fixes {
				fixes = append(fixes, x.Time)
			}
			left = append(left, f.Left...)
		}
		if !slices.Equal(fixes, s.fixes) || !slices.Equal(left, s.left) {
			t.Errorf("%s: fixes %v, left %v; want %v, %v", s.name, fixes, left, s.fixes, s.left)
		}
	}
	if len(w.fixes) != 0 {
		t.Errorf("in view at the end: %v", w.fixes)
	}
}

func TestHiddenDeviceIsOnlyShownToWhoNamesIt(t *testing.T) {
	r := newRiver(Config{Hidden: func(id track.DeviceID) bool { return id == 7 }})
	r.apply(fix(7, 1, 1, 1), fix(8, 1, 1, 1))
	views := map[Kind]*view{}
	viewers := map[Kind]*Viewer{}
	for _, q := range []Query{All(), Devices(7), Box(geo.World)} {
		viewers[q.Kind], views[q.Kind] = watch(t, r, q), newView()
		views[q.Kind].drain(t, viewers[q.Kind])
	}
	r.apply(fix(7, 2, 1, 1), fix(8, 2, 1, 1))
	r.remove(7)
	for kind, w := range views {
		w.drain(t, viewers[kind])
		_, sees7 := w.fixes[7]
		_, sees8 := w.fixes[8]
		if sees7 || sees8 == (kind == KindDevices) {
			t.Errorf("kind %v: in the end sees 7: %v, 8: %v", kind, sees7, sees8)
		}
		if want := uint64(1); w.live != want {
			t.Errorf("kind %v: %d live fixes, want %d", kind, w.live, want)
		}
	}
}

func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{QueueBytes: 4000, Linger: 30 * time.Second})
		running(t, r)
		v, w := watch(t, r, All()), newView()
		w.drain(t, v)
		n := int64(0)
		more := func(k int) {
			for range k {
				n++
				r.apply(fix(1, n, 1, 1))
				time.Sleep(10 * time.Millisecond)
			}
		}
		more(5)
		w.drain(t, v)
		_, epoch, _ := v.Stream()
		v.Close()

		resume := func(name string, epoch uint64, seq uint64, want bool) *Viewer {
			t.Helper()
			v, err := r.Watch(All(), Options{ResumeEpoch: epoch, ResumeSeq: seq})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, got := v.Stream(); got != want {
				t.Errorf("%s: resumed %v, want %v", name, got, want)
			}
			return v
		}
		more(3)
		time.Sleep(r.c.Tick)
		v = resume("soon after", epoch, w.at, true)
		w.drain(t, v)
		if w.live != 8 || w.skipped != 0 {
			t.Errorf("after resuming %d live, %d skipped", w.live, w.skipped)
		}
		v.Close()
		resume("another epoch", epoch+1, w.at, false).Close()
		resume("from the future", epoch, w.at+1, false).Close()

		more(100) // more than the chain holds
		resume("too long ago", epoch, w.at, false).Close()

		time.Sleep(25 * time.Second)
		resume("from the end, within Linger", epoch, uint64(n), true).Close()
		time.Sleep(40 * time.Second)
		if st := r.Stats(); st.Streams != 0 || st.Bytes != 0 {
			t.Errorf("after Linger: %+v", st)
		}
		v = resume("after Linger", epoch, uint64(n), false)
		if _, e, _ := v.Stream(); e == epoch {
			t.Error("a new stream has the old epoch")
		}
		v.Close()
	})
}

func TestRetargetFollowsTheNewArea(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		west, _ := geo.BoxDeg(0, 0, 10, 10)
		east, _ := geo.BoxDeg(0, 20, 10, 30)
		r.apply(fix(1, 1, 5, 5), fix(2, 1, 5, 25))
		v, w := watch(t, r, Box(west)), newView()
		w.drain(t, v)
		old, _, _ := v.Stream()

		woken := make(chan error, 1)
		go func() {
			frames, err := v.Next(context.Background(), nil)
			if err == nil {
				err = w.take(frames[0])
			}
			woken <- err
		}()
		synctest.Wait()
		if err := v.Retarget(Box(east)); err != nil {
			t.Fatal(err)
		}
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
		now, _, _ := v.Stream()
		if want := r.present(Box(east)); !maps.Equal(w.fixes, want) || now == old {
			t.Errorf("stream %d after %d, in view %v, want %v", now, old, w.fixes, want)
		}
		r.apply(fix(1, 2, 5, 5), fix(2, 2, 5, 26))
		w.drain(t, v)
		if want := r.present(Box(east)); !maps.Equal(w.fixes, want) || w.live != 1 {
			t.Errorf("%d live, in view %v, want %v", w.live, w.fixes, want)
		}
		if st := r.Stats(); st.Streams != 1 {
			t.Errorf("%d streams: the area before lingers", st.Streams)
		}
		if err := v.Retarget(Box(geo.Box{South: 1})); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("a box upside down: %v", err)
		}
	})
}

// A watcher that stops reading: ten thousand devices, sixty fixes each.
func TestStalledViewerCostsNothingAndComesBack(t *testing.T) {
	const devices, rounds, queue = 10_000, 60, 2 << 20
	if testing.Short() {
		t.Skip("600,000 fixes")
	}
	r := newRiver(Config{QueueBytes: queue})
	stalled, w := watch(t, r, All()), newView()
	w.drain(t, stalled)
	reader, all := watch(t, r, All()), newView()
	all.drain(t, reader)
	at := w.at

	enc := NewEncoding("lines", lines.encode)
	batch := make([]track.Fix, 100)
	buf := make([]*Frame, 0, 8)
	moves := make([]track.Move, len(batch))
	publish := func(round int) {
		for d := 0; d < devices; d += len(batch) {
			for i := range batch {
				batch[i] = fix(track.DeviceID(d+i+1), int64(round), 1, 1)
			}
			p := r.Enter()
			r.mu.Lock()
			for i := range batch {
				moves[i] = r.set(&batch[i])
			}
			r.mu.Unlock()
			p.Publish(batch, moves)
			p.Leave()
			frames, err := reader.TryNext(buf)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range frames {
				f.Bytes(enc)
				if err := all.take(f); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	publish(1) // the present has its size
	before := heap()
	for round := 2; round <= rounds; round++ {
		publish(round)
	}
	if grown := heap() - before; grown > queue+8*devices+1<<20 {
		t.Errorf("the heap grew by %d KiB with a viewer that is stuck", grown>>10)
	}
	for reader.s.flush(false); !reader.atEnd(); {
		all.drain(t, reader)
	}
	if all.live != devices*rounds || all.skipped != 0 {
		t.Errorf("the other viewer got %d fixes, %d skipped", all.live, all.skipped)
	}
	if st := r.Stats(); st.Behind != 1 {
		t.Errorf("%d viewers behind, want 1", st.Behind)
	}

	w.drain(t, stalled)
	if want := r.present(All()); !maps.Equal(w.fixes, want) {
		t.Errorf("back with %d devices, want the present of %d", len(w.fixes), len(want))
	}
	if w.skipped != devices*rounds || w.live != 0 || w.at-at != w.skipped || w.resyncs != 1 {
		t.Errorf("back at %d from %d: %d skipped, %d live, %d resyncs", w.at, at, w.skipped, w.live, w.resyncs)
	}
	if st := r.Stats(); st.Behind != 0 || st.Skipped != w.skipped {
		t.Errorf("stats %+v", st)
	}
	r.apply(fix(1, rounds+1, 1, 1))
	stalled.s.flush(false)
	w.drain(t, stalled)
	if w.live != 1 {
		t.Errorf("%d live fixes after the resync, want 1", w.live)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A resync names what changed since, not the whole world.
func TestResyncNamesOnlyWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{QueueBytes: 2000, MaxFrame: 10})
		running(t, r)
		for id := range track.DeviceID(200) {
			r.apply(fix(id+1, 1, 1, 1))
		}
		v, w := watch(t, r, All()), newView()
		w.drain(t, v)
		time.Sleep(time.Second) // stamps pass
		r.apply(fix(1, 2, 1, 1))
		w.drain(t, v)
		time.Sleep(time.Second)
		for n := range int64(100) {
			r.apply(fix(5, 10+n, 1, 1), fix(6, 10+n, 1, 1))
		}
		time.Sleep(time.Second)
		frames, err := v.TryNext(nil)
		if err != nil {
			t.Fatal(err)
		}
		f := frames[0]
		// Device 1 is in doubt: it changed in the tick in which the viewer looked last.
		if f.Kind != Resync || f.More || f.Fresh || len(f.Fixes) > 3 || f.Skipped != 200 {
			t.Errorf("%v of %d fixes, more %v, fresh %v, %d skipped", f.Kind, len(f.Fixes), f.More, f.Fresh, f.Skipped)
		}
	})
}

// A viewer so slow that the chain is cut between any two of its calls still sees
// every device, again and again, and what it sees gets newer.
func TestSlowestViewerSeesEveryDevice(t *testing.T) {
	const devices = 100
	r := newRiver(Config{QueueBytes: 1, MaxFrame: 10})
	round := int64(0)
	everybody := func() {
		round++
		for id := range track.DeviceID(devices) {
			r.apply(fix(id+1, round, 1, 1))
		}
		r.index.all.flush(false)
	}
	everybodyBefore := func() {
		for id := range track.DeviceID(devices) {
			r.apply(fix(id+1, 0, 1, 1))
		}
	}
	everybodyBefore()
	v, w := watch(t, r, All()), newView()
	for range 100 {
		frames, err := v.TryNext(nil)
		if err != nil || len(frames) != 1 {
			t.Fatal(frames, err)
		}
		if err := w.take(frames[0]); err != nil {
			t.Fatal(err)
		}
		everybody()
	}
	oldest := round
	for _, f := range w.fixes {
		oldest = min(oldest, f.Time)
	}
	if len(w.fixes) != devices || round-oldest > 2*devices/10+2 {
		t.Errorf("after %d rounds of all devices it knows %d, the oldest of round %d", round, len(w.fixes), oldest)
	}
	w.drain(t, v)
	if want := r.present(All()); !maps.Equal(w.fixes, want) {
		t.Error("it does not come to the present")
	}
}

// Publisher and viewer in lockstep: a lost wake-up would stop them for ever.
func TestNoWakeUpIsLost(t *testing.T) {
	r := newRiver(Config{Tick: time.Nanosecond}) // every fix finds the stream quiet
	const viewers, rounds = 4, 3000
	var got sync.WaitGroup
	var readers sync.WaitGroup
	for range viewers {
		v := watch(t, r, All())
		newView().drain(t, v)
		readers.Go(func() {
			for range rounds {
				frames, err := v.Next(context.Background(), nil)
				if err != nil || len(frames) != 1 {
					t.Errorf("%d frames, %v", len(frames), err)
				}
				got.Done()
			}
		})
	}
	for i := range rounds {
		got.Add(viewers)
		r.apply(fix(1, int64(i), 1, 1))
		got.Wait()
	}
	readers.Wait()
}

func TestNotifyTellsWhoPolls(t *testing.T) {
	r := newRiver(Config{})
	var notified atomic.Int64
	v, err := r.Watch(All(), Options{Notify: func() { notified.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	w := newView()
	w.drain(t, v)
	for i := range 10 {
		r.apply(fix(1, int64(i), 1, 1))
		if n := notified.Load(); n != int64(i+1) {
			t.Fatalf("notified %d times after %d fixes", n, i+1)
		}
		w.drain(t, v)
	}
	r.apply(fix(1, 100, 1, 1))
	r.apply(fix(1, 101, 1, 1)) // not again: it has not looked since
	if n := notified.Load(); n != 11 {
		t.Errorf("notified %d times, want 11", n)
	}
	v.Close()
}

func TestEndOfViewerAndHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{MaxFrame: 1})
		r.apply(fix(1, 1, 1, 1), fix(2, 1, 1, 1))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()

		v := watch(t, r, All())
		if _, err := v.TryNext(nil); err != nil { // leaves the scan half way
			t.Fatal(err)
		}
		v.Close()
		v.Close()
		if _, err := v.Next(ctx, nil); !errors.Is(err, track.ErrClosed) {
			t.Errorf("Next after Close: %v", err)
		}
		if err := v.Retarget(All()); !errors.Is(err, track.ErrClosed) {
			t.Errorf("Retarget after Close: %v", err)
		}

		v, w := watch(t, r, All()), newView()
		w.drain(t, v)
		short, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if _, err := v.Next(short, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next with a deadline: %v", err)
		}
		ended := make(chan error)
		go func() { _, err := v.Next(context.Background(), nil); ended <- err }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := <-ended; !errors.Is(err, track.ErrClosed) {
			t.Errorf("Next at the end of the hub: %v", err)
		}
		if _, err := r.Watch(All(), Options{}); !errors.Is(err, track.ErrClosed) {
			t.Errorf("Watch at the end of the hub: %v", err)
		}
		r.apply(fix(1, 2, 1, 1)) // harmless
	})
}

func TestEqualQueriesShareAStream(t *testing.T) {
	box := geo.Box{South: 1, West: 2, North: 3, East: 4}
	same := [][2]Query{
		{All(), {Kind: KindAll, Devices: []track.DeviceID{3}}},
		{Devices(3, 1, 2, 1), Devices(1, 2, 3)},
		{Box(box), Box(box)},
	}
	r := newRiver(Config{})
	seen := map[uint32]bool{}
	for _, qs := range same {
		a, b := watch(t, r, qs[0]), watch(t, r, qs[1])
		ida, _, _ := a.Stream()
		idb, _, _ := b.Stream()
		if ida != idb || seen[ida] {
			t.Errorf("%v: streams %d and %d, seen before: %v", qs, ida, idb, seen[ida])
		}
		seen[ida] = true
	}
	for _, q := range []Query{
		{}, {Kind: 9}, Devices(), Devices(0), Devices(track.MaxDeviceID + 1),
		Box(geo.Box{South: 2, North: 1}), Box(geo.Box{West: geo.MaxLon + 1}),
	} {
		if _, err := r.Watch(q, Options{}); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("Watch(%+v): %v", q, err)
		}
	}
}

func TestForgottenStreamsAndFramesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{MaxLinger: 10, HistoryBytes: 50_000, Linger: 40 * time.Second})
		running(t, r)
		for id := range track.DeviceID(100) {
			watch(t, r, Devices(id+1)).Close()
		}
		if st := r.Stats(); st.Streams != 10 {
			t.Errorf("%d streams linger, want 10", st.Streams)
		}
		v := watch(t, r, All())
		go newView().follow(v, func() {})
		for i := range 3000 { // 35 seconds, within Linger
			r.apply(fix(1, int64(i), 1, 1))
			time.Sleep(11 * time.Millisecond)
		}
		// It is looked after once a second, in which some 35,000 come.
		if st := r.Stats(); st.Bytes > 100_000 || st.Bytes < 40_000 {
			t.Errorf("%d bytes of frames are kept, want about 50,000", st.Bytes)
		}
		time.Sleep(2 * time.Minute)
		if st := r.Stats(); st.Streams != 1 || st.Bytes != 0 || r.lingering != 0 || len(r.index.devices) != 0 {
			t.Errorf("after Linger: %+v, %d lingering, %d devices", st, r.lingering, len(r.index.devices))
		}
		v.Close()
		synctest.Wait()
	})
}

// Viewers that come and go on a silent stream must not pile up in its waiting list.
func TestSilentStreamForgetsWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		running(t, r)
		stays, w := watch(t, r, All()), newView()
		w.drain(t, stays)
		for range 100 {
			v := watch(t, r, All())
			newView().drain(t, v)
			v.Close()
		}
		time.Sleep(2 * time.Second)
		n := 0
		for x := stays.s.waiting.Load(); x != nil; x = x.next {
			n++
		}
		if n > 1 {
			t.Errorf("%d waiters of a stream with one viewer", n)
		}
		r.apply(fix(1, 1, 1, 1))
		w.drain(t, stays)
		if w.live != 1 {
			t.Error("the viewer that stays missed a fix")
		}
	})
}

// Whatever the size of the boxes, poles and antimeridian: who is in a box gets the
// fix, who left it is told once.
func TestIndexAgreesWithEveryBox(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 8))
	var x index
	x.init()
	var ss []*stream
	for i := range 400 {
		at := somewhere(rnd)
		box := geo.Around(at, geo.Meters(10)*geo.Meters(int(1)<<rnd.IntN(21)))
		switch rnd.IntN(10) {
		case 0:
			box = geo.World
		case 1:
			box.West, box.East = box.East, box.West // most of the globe
		}
		s := &stream{id: uint32(i + 1), query: Box(box)}
		ss = append(ss, s)
		x.add(s)
	}
	if len(x.fine) == 0 || len(x.coarse) == 0 || len(x.wide) == 0 {
		t.Fatalf("levels: %d, %d, %d", len(x.fine), len(x.coarse), len(x.wide))
	}
	for round := range 3000 {
		if round == 2000 {
			for _, s := range ss[:200] {
				x.remove(s)
			}
			ss = ss[200:]
		}
		from := somewhere(rnd)
		if rnd.IntN(2) == 0 { // in or near a box
			b := ss[rnd.IntN(len(ss))].query.Box
			from = geo.Travel(geo.Point{Lat: b.North, Lon: b.East}, rnd.Float64()*360, 1000)
		}
		at := from
		if rnd.IntN(4) > 0 {
			at = geo.Travel(from, rnd.Float64()*360, geo.Meters(10)*geo.Meters(int(1)<<rnd.IntN(21)))
		}
		f := track.Fix{Device: 1, At: at, Has: track.HasPos}
		m := track.Move{From: from, Had: rnd.IntN(5) > 0, Fresh: rnd.IntN(5) > 0}
		got := map[uint64]int{}
		for _, k := range x.match(nil, []track.Fix{f}, []track.Move{m}, nil) {
			got[k.key]++
		}
		want := map[uint64]int{}
		for _, s := range ss {
			if s.query.Box.Contains(at) {
				want[matchOf(s, 0, false).key]++
			} else if m.Had && m.Fresh && s.query.Box.Contains(from) {
				want[matchOf(s, 0, true).key]++
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("from %v to %v, %+v: %d matches, want %d", from, at, m, len(got), len(want))
		}
	}
	for _, s := range ss {
		x.remove(s)
	}
	if len(x.fine)+len(x.coarse)+len(x.wide) != 0 {
		t.Errorf("left behind: %d, %d, %d", len(x.fine), len(x.coarse), len(x.wide))
	}
}

func somewhere(r *rand.Rand) geo.Point {
	p := geo.Point{Lat: int32(r.Int64N(2*geo.MaxLat+1) - geo.MaxLat), Lon: int32(r.Int64N(2*geo.MaxLon+1) - geo.MaxLon)}
	switch r.IntN(6) {
	case 0:
		p.Lat = geo.MaxLat - int32(r.IntN(3_000_000))
	case 1:
		p.Lon = []int32{-geo.MaxLon, geo.MaxLon}[r.IntN(2)]
	}
	return p
}

func TestGateWaitsForWhatEntered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		g.init()
		for range 5 {
			g.wait() // nobody there
		}
		a, b := g.enter(), g.enter()
		var waited atomic.Int64
		for range 3 {
			go func() { g.wait(); waited.Add(1) }()
		}
		synctest.Wait()
		g.leave(a)
		later := g.enter() // need not be waited for by the first
		synctest.Wait()
		if n := waited.Load(); n != 0 {
			t.Errorf("%d did not wait for the second batch", n)
		}
		g.leave(b)
		synctest.Wait()
		if n := waited.Load(); n == 0 {
			t.Error("waits for a batch that came later")
		}
		g.leave(later)
		synctest.Wait()
		if n := waited.Load(); n != 3 {
			t.Errorf("%d of 3 are back", n)
		}
	})
}

// The stamp of a frame must be older than anything that is still on its way.
func TestStampWaitsForBatchesHalfWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		running(t, r)
		watch(t, r, All())
		time.Sleep(time.Second)
		p := r.Enter()
		synctest.Wait()
		before := r.stamp.Load()
		time.Sleep(time.Second)
		if got := r.stamp.Load(); got > before+1 {
			t.Errorf("the stamp went from %d to %d past an open pass", before, got)
		}
		p.Leave()
		time.Sleep(time.Second)
		if got := r.stamp.Load(); got < before+10 {
			t.Errorf("the stamp stays at %d", got)
		}
	})
}

func TestIDSetHoldsEachOnceInLittleMemory(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 9))
	var s idSet
	want := map[track.DeviceID]bool{}
	for range 100_000 {
		id := track.DeviceID(rnd.IntN(5000))
		s.add(id)
		want[id] = true
	}
	if c := cap(s.ids); c > 8000 {
		t.Errorf("room for %d ids in a set of 5000", c)
	}
	got := s.take()
	if !slices.Equal(got, slices.Sorted(maps.Keys(want))) || s.size() != 0 {
		t.Errorf("%d ids, want %d", len(got), len(want))
	}
}

func TestLagIsCountedByBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		v, w := watch(t, r, All()), newView()
		w.drain(t, v)
		for _, lag := range []time.Duration{0, 999 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, time.Hour} {
			r.apply(fix(1, 1, 1, 1))
			time.Sleep(lag)
			w.drain(t, v)
		}
		want := [lagBuckets]uint64{0: 2, 1: 1, 3: 1, lagBuckets - 1: 1}
		if st := r.Stats(); st.Lag != want || st.FixesOut != 5 || st.FixesIn != 5 || st.Frames != 5 {
			t.Errorf("stats %+v, want lag %v", st, want)
		}
	})
}

func TestPublishAllocatesNothingButFrames(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	fixes, moves := batchOf(64)
	r := newRiver(Config{})
	if n := testing.AllocsPerRun(500, func() { publishTo(r.Hub, fixes, moves) }); n != 0 {
		t.Errorf("%v allocations with no viewer", n)
	}
	var vs []*Viewer
	for range 100 {
		v := watch(t, r, All())
		newView().drain(t, v)
		vs = append(vs, v)
	}
	watch(t, r, Box(geo.World))
	watch(t, r, Devices(1, 2, 3))
	buf := make([]*Frame, 0, 8)
	// Each seventh batch fills a frame of two streams: frame, link, fixes.
	n := testing.AllocsPerRun(700, func() {
		publishTo(r.Hub, fixes, moves)
		for _, v := range vs {
			v.TryNext(buf)
		}
	})
	if n > 1.5 {
		t.Errorf("%v allocations a batch of 64 for 100 viewers", n)
	}
}

// To many viewers a stream is busy with fewer fixes: one frame a tick, not a lone fix
// and a frame in turn. A lone one after a pause leaves at once all the same.
func TestManyViewersMakeAStreamBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		running(t, r)
		for range 2 * hurryPerTick {
			newView().drain(t, watch(t, r, All()))
		}
		before := r.Stats().Frames
		r.apply(fix(1, 0, 1, 1))
		synctest.Wait()
		if n := r.Stats().Frames - before; n != 1 {
			t.Errorf("%d frames at once for a lone fix, want 1", n)
		}
		time.Sleep(time.Second)
		before = r.Stats().Frames
		for i := range 250 { // a second of them
			r.apply(fix(1, int64(i+1), 1, 1))
			time.Sleep(4 * time.Millisecond)
		}
		time.Sleep(time.Second)
		ticks := uint64(time.Second / r.c.Tick)
		if n := r.Stats().Frames - before; n < ticks || n > ticks+3 {
			t.Errorf("%d frames for 250 fixes a second, want %d", n, ticks)
		}
	})
}
