package hub

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// The nth fix of a device has the time n and a place that n alone decides, so that a
// viewer can tell which fix must come next.
func nth(id track.DeviceID, n int64) track.Fix {
	f := track.Fix{Device: id, Time: n, Has: track.HasPos}
	f.At.Lat = int32((int64(id)*7 + n*3) % 20 * geo.CellSize / 2) // 0 to 0.95 degrees
	f.At.Lon = int32((int64(id)*5+n)%12*geo.CellSize) - 5*geo.CellSize
	return f
}

// order checks that a viewer gets exactly the fixes of a device that follow what it
// has, none twice and none left out.
type order struct {
	q    Query
	last map[track.DeviceID]int64
}

func (o *order) live(f *track.Fix) error {
	last, known := o.last[f.Device]
	if !known && (o.q.Kind == KindBox || o.q.Kind == KindMap) {
		return nil // it may have been in and out before, or have joined with this one
	}
	for n := last + 1; ; n++ {
		if g := nth(f.Device, n); !sees(&o.q, &g) {
			continue
		}
		if n != f.Time {
			return fmt.Errorf("device %v: fix %d after %d, want %d", f.Device, f.Time, last, n)
		}
		return nil
	}
}

// TestViewersAtAnySpeed lets publishers, fast viewers and slow ones run against each
// other, with a chain so short that the slow ones fall behind all the time. Whatever
// happens: positions add up, no device goes back, after a snapshot or resync exactly
// the next fix of each device follows, and in the end everybody sees the present.
func TestViewersAtAnySpeed(t *testing.T) {
	for seed := range uint64(4) {
		for _, dirty := range []bool{false, true} {
			name := fmt.Sprintf("%d/dirty=%v", seed, dirty)
			t.Run("flat out/"+name, func(t *testing.T) {
				anySpeed(t, seed, dirty, func(r *rand.Rand, slow int) {
					for range r.IntN(1 + slow*slow*60) {
						runtime.Gosched()
					}
				})
			})
			t.Run("paced/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					anySpeed(t, seed, dirty, func(r *rand.Rand, slow int) {
						time.Sleep(time.Duration(r.IntN(1+slow*slow*1000)) * time.Microsecond)
					})
				})
			})
		}
	}
}

type watcher struct {
	v *Viewer
	w *view
	q Query
}

func anySpeed(t *testing.T, seed uint64, dirty bool, pause func(r *rand.Rand, slow int)) {
	r := newRiver(Config{Tick: 5 * time.Millisecond, MaxFrame: 7, QueueBytes: 12 << 10, Linger: time.Hour})
	r.between = runtime.Gosched
	queries := []Query{
		All(),
		Devices(1, 2, 3, 33, 41, 60),
		Box(geo.Box{South: 2_000_000, North: 6_400_000, West: -2_000_000, East: 3_500_000}),
		Box(geo.Box{South: 0, North: 30_000_000, West: -geo.MaxLon, East: geo.MaxLon}),
		Map(joined),
		Map(regrouped),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run, writers, readers sync.WaitGroup
	run.Go(func() { r.Run(ctx) })
	for p := range 3 {
		writers.Go(func() { publish(r, rand.New(rand.NewPCG(seed, uint64(p))), p, dirty, pause) })
	}
	writers.Go(func() { regroup(r, rand.New(rand.NewPCG(seed, 99)), pause) })
	var watchers []*watcher
	for i := range 3 * len(queries) {
		q := queries[i%len(queries)]
		v, err := r.Watch(q, Options{})
		if err != nil {
			t.Fatal(err)
		}
		x := &watcher{v, newView(), q}
		if !dirty && q.Map != regrouped {
			x.w.order = &order{q, map[track.DeviceID]int64{}}
		}
		watchers = append(watchers, x)
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 100+uint64(i)))
			if err := x.w.follow(v, func() { pause(rnd, i/len(queries)*3) }); err != nil {
				t.Errorf("viewer %d of %v: %v", i, q.Kind, err)
				v.Close()
			}
		})
	}
	writers.Wait()
	for _, x := range watchers {
		for rnd := rand.New(rand.NewPCG(1, 1)); !x.v.atEnd() && !t.Failed(); {
			pause(rnd, 2)
			runtime.Gosched()
		}
	}
	for _, x := range watchers {
		x.v.Close()
	}
	readers.Wait()
	var resyncs int
	for i, x := range watchers {
		if want := r.present(x.q); !t.Failed() && !maps.Equal(x.w.fixes, want) {
			t.Errorf("viewer %d of %v sees %d devices, want %d\n got %v\nwant %v", i, x.q.Kind, len(x.w.fixes), len(want), x.w.fixes, want)
		}
		resyncs += x.w.resyncs
	}
	st := r.Stats()
	if st.Viewers != 0 || int(st.Resyncs) != resyncs {
		t.Errorf("stats %+v, want no viewers and %d resyncs", st, resyncs)
	}
	t.Logf("%d resyncs, %d fixes out, %d skipped", resyncs, st.FixesOut, st.Skipped)
	cancel()
	run.Wait()
}

// publish sends batches of its own twenty devices. Dirt is heartbeats, late fixes,
// two fixes of the same time, and devices that are removed and come again.
func publish(r *river, rnd *rand.Rand, p int, dirty bool, pause func(*rand.Rand, int)) {
	count := map[track.DeviceID]int64{}
	for range 700 {
		var batch []track.Fix
		for range 1 + rnd.IntN(12) {
			id := track.DeviceID(1 + p*20 + rnd.IntN(20))
			count[id]++
			f := nth(id, count[id])
			if dirty {
				switch rnd.IntN(12) {
				case 0:
					f.Has, f.Bat = track.HasBat, uint8(rnd.IntN(100))
				case 1:
					f.Time -= int64(rnd.IntN(5))
				}
			}
			batch = append(batch, f)
		}
		r.apply(batch...)
		if dirty && rnd.IntN(20) == 0 {
			r.remove(batch[0].Device)
			count[batch[0].Device] += 10 // it does not come back in the past
		}
		pause(rnd, 2)
	}
}

// atEnd tells whether the viewer has all there is.
func (v *Viewer) atEnd() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	return v.catch == nil && v.cur.Load() == v.s.last && len(v.s.pending) == 0 && len(v.s.left) == 0
}
