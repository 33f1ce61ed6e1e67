package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/track"
)

// mapsOf is Config.Maps of a river.
func (r *river) mapsOf(id track.DeviceID) []track.MapID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ms []track.MapID
	for m, members := range r.maps {
		if members[id] {
			ms = append(ms, m)
		}
	}
	return ms
}

// group puts a device on a map, or takes it off.
func (r *river) group(m track.MapID, id track.DeviceID, join bool) {
	r.Members(m, func(bool) (joined []track.Fix, parted []track.DeviceID) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.maps[m] == nil {
			r.maps[m] = map[track.DeviceID]bool{}
		}
		if r.maps[m][id] == join {
			return nil, nil
		}
		r.maps[m][id] = join
		d, ok := r.devices[id]
		switch {
		case ok && join:
			joined = append(joined, d.fix)
		case ok:
			parted = append(parted, id)
		}
		return joined, parted
	})
}

// Devices join the first map of the model one after the other and stay: who watches it
// can tell which fix must follow. On the second they come and go.
const joined, regrouped track.MapID = 1, 1 << 63

func regroup(r *river, rnd *rand.Rand, pause func(*rand.Rand, int)) {
	ids := rnd.Perm(70)
	for n := range 700 {
		if n%10 == 0 {
			r.group(joined, track.DeviceID(1+ids[n/10]), true)
		}
		r.group(regrouped, track.DeviceID(1+rnd.IntN(60)), rnd.IntN(2) == 0)
		pause(rnd, 2)
	}
}

func TestMapShowsWhoJoinsAndWhoParts(t *testing.T) {
	r := newRiver(Config{})
	r.apply(fix(1, 1, 1, 1), fix(2, 1, 2, 2), fix(3, 1, 3, 3))
	r.group(5, 1, true)
	v, w := watch(t, r, Map(5)), newView()
	w.drain(t, v)
	want := func(when string, live uint64, ids ...track.DeviceID) {
		t.Helper()
		w.drain(t, v)
		var got []track.DeviceID
		for id := range w.fixes {
			got = append(got, id)
		}
		slices.Sort(got)
		if !slices.Equal(got, ids) || w.live != live {
			t.Errorf("%s: sees %v after %d fixes, want %v after %d", when, got, w.live, ids, live)
		}
	}
	want("begun", 0, 1)
	r.apply(fix(1, 2, 1, 1), fix(2, 2, 2, 2))
	want("both moved", 1, 1)
	r.group(5, 2, true)
	want("2 joined", 2, 1, 2)
	r.group(5, 9, true) // which has no present
	want("9 joined", 2, 1, 2)
	r.apply(fix(9, 1, 1, 1), fix(3, 2, 1, 1), fix(2, 3, 2, 2))
	want("9 came", 4, 1, 2, 9)
	r.group(6, 3, true)
	r.apply(fix(3, 3, 1, 1))
	want("3 joined another map", 4, 1, 2, 9)
	r.group(5, 1, false)
	r.group(5, 3, false)
	r.apply(fix(1, 3, 1, 1))
	want("1 parted", 4, 2, 9)
	r.remove(2)
	want("2 was removed", 4, 9)
	if maps, err := r.Watch(Map(0), Options{}); !errors.Is(err, track.ErrInvalid) {
		t.Errorf("a map without an id: got %v, %v", maps, err)
	}
}

// TestWhoIsBehindSeesWhoJoined lets a viewer miss the frame of a device that joins and
// has not moved for long: looking for what has changed does not find it.
func TestWhoIsBehindSeesWhoJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{QueueBytes: 2000})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		defer func() { cancel(); <-done }()
		r.apply(fix(1, 1, 1, 1), fix(2, 1, 2, 2), fix(3, 1, 3, 3))
		r.group(5, 1, true)
		v, w := watch(t, r, Map(5)), newView()
		w.drain(t, v)
		time.Sleep(time.Second)
		r.apply(fix(1, 2, 1, 1)) // a frame that bears a stamp later than the fix of 2
		w.drain(t, v)
		r.group(5, 2, true)
		for n := range 200 {
			r.apply(fix(1, int64(3+n), 1, 1))
			time.Sleep(10 * time.Millisecond)
		}
		w.drain(t, v)
		if _, ok := w.fixes[2]; !ok || len(w.fixes) != 2 || w.resyncs != 1 {
			t.Errorf("sees %v after %d resyncs", w.fixes, w.resyncs)
		}
	})
}

// TestRecheckEndsWhoMayNotAnyMore holds the right of a viewer at every moment.
// TestRecheckMeetsWhoBegins asks everybody while others begin to watch: whoever is counted
// can be asked, and nobody who may not any more is let in.
func TestRecheckMeetsWhoBegins(t *testing.T) {
	r := newRiver(Config{})
	var asked sync.WaitGroup
	over := make(chan struct{})
	asked.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				r.Recheck(joined)
			}
		}
	})
	defer asked.Wait()
	defer close(over)
	for range 2000 {
		v, err := r.Watch(Map(joined), Options{})
		if err != nil {
			t.Fatal(err)
		}
		v.Close()
	}
}

func TestRecheckEndsWhoMayNotAnyMore(t *testing.T) {
	r := newRiver(Config{})
	r.apply(fix(1, 1, 1, 1))
	r.group(5, 1, true)
	gone := errors.New("gone")
	var over atomic.Bool
	may := func() error {
		if over.Load() {
			return gone
		}
		return nil
	}
	guarded := Map(5)
	guarded.May = may
	other := Map(6)
	other.May = may
	var told atomic.Int32
	ended, err := r.Watch(guarded, Options{Notify: func() { told.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	defer ended.Close()
	waits := watch(t, r, guarded)
	free, elsewhere := watch(t, r, Map(5)), watch(t, r, other)
	newView().drain(t, waits)
	failed := make(chan error)
	go func() {
		_, err := waits.Next(context.Background(), nil)
		failed <- err
	}()
	r.Recheck(5)
	if n := told.Load(); n != 0 {
		t.Errorf("told %d times that nothing happened", n)
	}
	over.Store(true)
	r.Recheck(5)
	if err := <-failed; !errors.Is(err, gone) {
		t.Errorf("who waits: got %v", err)
	}
	if _, err := ended.TryNext(nil); !errors.Is(err, gone) || told.Load() != 1 {
		t.Errorf("who is told: got %v, told %d times", err, told.Load())
	}
	if err := ended.Retarget(All()); !errors.Is(err, gone) {
		t.Errorf("retargeted: got %v", err)
	}
	newView().drain(t, free)
	newView().drain(t, elsewhere) // of another map, and was not asked
	if _, err := r.Watch(guarded, Options{}); !errors.Is(err, gone) {
		t.Errorf("begins: got %v", err)
	}
	if err := free.Retarget(guarded); !errors.Is(err, gone) {
		t.Errorf("moves there: got %v", err)
	}
	elsewhere.Entrust(func(q Query) (func() error, error) { return nil, fmt.Errorf("map %v is %w", q.Map, gone) })
	if _, err := elsewhere.TryNext(nil); !errors.Is(err, gone) {
		t.Errorf("handed to who may not: got %v", err)
	}
	if n := r.Stats().Viewers; n != 4 {
		t.Errorf("%d viewers, want 4 to be closed", n)
	}
}

// mapHub is a hub with so many maps, each with a device of its own and one that is on
// all of them; the present is empty.
func mapHub(t testing.TB, maps int) (*Hub, []track.Fix, []track.Move) {
	t.Helper()
	of := map[track.DeviceID][]track.MapID{}
	for m := range maps {
		of[track.DeviceID(m+1)] = append(of[track.DeviceID(m+1)], track.MapID(m+1))
	}
	h := New(Config{
		Snapshot: func(*Query, uint64, func(*track.Fix) bool) {}, Stamp: func() uint64 { return 1 },
		Maps: func(id track.DeviceID) []track.MapID { return of[id] }, Tick: time.Hour,
	})
	fixes := make([]track.Fix, 64)
	for i := range fixes {
		fixes[i] = fix(track.DeviceID(i+1), 1, 1, 1)
	}
	return h, fixes, make([]track.Move, len(fixes))
}

func TestMapsCostNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h, fixes, moves := mapHub(t, 10)
	send := func() {
		p := h.Enter()
		p.Publish(fixes, moves)
		p.Leave()
	}
	if n := testing.AllocsPerRun(100, send); n != 0 {
		t.Errorf("no map is watched: %v allocations a batch", n)
	}
	v, err := h.Watch(Map(9999), Options{}) // of which no device is
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if n := testing.AllocsPerRun(100, send); n != 0 {
		t.Errorf("another map is watched: %v allocations a batch", n)
	}
}

// BenchmarkPublishMaps is 64 fixes while no, one, or many maps are watched.
func BenchmarkPublishMaps(b *testing.B) {
	for _, watched := range []int{0, 1, 1000} {
		b.Run(fmt.Sprintf("watched=%d", watched), func(b *testing.B) {
			h, fixes, moves := mapHub(b, 2000)
			for m := range watched {
				v, err := h.Watch(Map(track.MapID(m+1001)), Options{}) // of other devices
				if err != nil {
					b.Fatal(err)
				}
				defer v.Close()
			}
			b.ReportAllocs()
			for b.Loop() {
				p := h.Enter()
				p.Publish(fixes, moves)
				p.Leave()
			}
		})
	}
}
