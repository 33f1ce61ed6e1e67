package past

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
)

// archive is a Source that remembers what it was asked.
type archive struct {
	fixes map[track.DeviceID][]client.Fix // by time

	mu      sync.Mutex
	asked   []question
	running int
	most    int
	slow    time.Duration         // for each question
	fail    func(*question) error // asked when half of the answer has been given
}

type question struct {
	n        int // from 1
	ids      []track.DeviceID
	from, to time.Time
}

func (a *archive) Window(ctx context.Context, ids []track.DeviceID, from, to time.Time, yield func([]client.Fix) error) error {
	q := a.begin(ids, from, to)
	defer a.end()
	if a.slow > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(a.slow):
		}
	}
	for i, id := range ids {
		if a.fail != nil && i == len(ids)/2 {
			if err := a.fail(&q); err != nil {
				return err
			}
		}
		part := slices.DeleteFunc(slices.Clone(a.fixes[id]), func(f client.Fix) bool { return f.Time.Before(from) || !f.Time.Before(to) })
		for some := range slices.Chunk(part, 100) {
			if err := yield(some); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (a *archive) begin(ids []track.DeviceID, from, to time.Time) question {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := question{len(a.asked) + 1, slices.Clone(ids), from, to}
	a.asked = append(a.asked, q)
	a.running++
	a.most = max(a.most, a.running)
	return q
}

func (a *archive) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
}

// questions are what was asked so far.
func (a *archive) questions() []question {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

// recorded makes the history of n devices of two hours up to epoch: fixes and heartbeats,
// some of it late, and silences of every length.
func recorded(n int, seed uint64) *archive {
	rng := rand.New(rand.NewPCG(seed, 2))
	a := &archive{fixes: map[track.DeviceID][]client.Fix{}}
	for id := track.DeviceID(1); id <= track.DeviceID(n); id++ {
		at, place := epoch.Add(-2*time.Hour), geo.Deg(rng.Float64()*100-50, rng.Float64()*300-150)
		for {
			at = at.Add(time.Duration(5000+rng.IntN(55_000)) * time.Millisecond)
			if rng.IntN(40) == 0 {
				at = at.Add(time.Duration(rng.IntN(40)) * time.Minute)
			}
			if !at.Before(epoch) {
				break
			}
			place = geo.Travel(place, rng.Float64()*360, 200)
			f := client.Fix{
				Device: id, Name: fmt.Sprintf("van-%d", id), Time: at, Received: at.Add(time.Second), At: place, Battery: rng.IntN(101),
				Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat, Alt: rng.IntN(900) - 100,
				Speed: float64(rng.IntN(6000)) / 100, Course: float64(rng.IntN(36000)) / 100, Accuracy: geo.Meters(rng.IntN(507904)) / 100,
				Late: rng.IntN(5) == 0, Power: rng.IntN(2) == 0, Jump: rng.IntN(50) == 0,
			}
			if rng.IntN(10) == 0 {
				f = client.Fix{Device: id, Name: f.Name, Time: at, Received: f.Received, Has: track.HasBat, Battery: f.Battery}
			}
			if rng.IntN(30) == 0 {
				f.Event = "motion_start"
			}
			a.fixes[id] = append(a.fixes[id], f)
		}
	}
	return a
}

// present is a live store with the last fix of everybody.
func (a *archive) present() *fleet.Store {
	live := fleet.New(fleet.Config{})
	var last []client.Fix
	for _, fixes := range a.fixes {
		f := fixes[len(fixes)-1]
		f.Late = false
		last = append(last, f)
	}
	live.Snapshot(last, true, false)
	return live
}

// newest is the time of the last fix of all.
func (a *archive) newest() (at time.Time) {
	for _, fixes := range a.fixes {
		if last := fixes[len(fixes)-1].Time; last.After(at) {
			at = last
		}
	}
	return at
}

// returns counts those who came to the map between two moments.
func (a *archive) returns(from, to time.Time) (n int) {
	for _, fixes := range a.fixes {
		for i, f := range fixes {
			away := i == 0 || f.Time.Sub(fixes[i-1].Time) > minLookback
			if away && f.Time.After(from) && !f.Time.After(to) {
				n++
			}
		}
	}
	return n
}

// seen is what a store shows of a device.
type seen struct {
	Fix   client.Fix
	Heard int64
}

// picture is what a store shows.
func picture(s *fleet.Store) map[track.DeviceID]seen {
	var f fleet.Frame
	f.Refresh(s, nil)
	out := map[track.DeviceID]seen{}
	for i := range f.Points {
		if fix, _, ok := s.Info(int32(i)); ok {
			out[fix.Device] = seen{fix, f.Points[i].Heard}
		}
	}
	return out
}

// then is the slow obvious answer to what a picture of a moment shows.
func (a *archive) then(at time.Time) map[track.DeviceID]seen {
	out := map[track.DeviceID]seen{}
	for id, fixes := range a.fixes {
		var sum client.Fix
		for _, f := range fixes {
			if f.Time.After(at) {
				break
			}
			if f.Time.Sub(sum.Time) > minLookback {
				sum = client.Fix{} // so long forgotten
			}
			if !f.HasPos() {
				f.At, f.Has = sum.At, f.Has|sum.Has&track.HasPos
			}
			sum = f
		}
		if sum.Device == 0 || at.Sub(sum.Time) > minLookback {
			continue
		}
		sum.Late, sum.Received = false, time.Time{}
		out[id] = seen{sum, sum.Time.UnixMilli()}
	}
	return out
}

func compare(t *testing.T, what string, got, want map[track.DeviceID]seen) {
	t.Helper()
	wrong := 0
	for id := track.DeviceID(1); id < 1000 && wrong < 3; id++ {
		g, have := got[id]
		w, should := want[id]
		if have != should || !reflect.DeepEqual(g, w) {
			t.Errorf("%s: device %d\n got %v %+v\nwant %v %+v", what, id, have, g, should, w)
			wrong++
		}
	}
}

// journey runs a player in a bubble until the test ends.
func journey(t *testing.T, a *archive, test func(t *testing.T, p *Player, live *fleet.Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		live := a.present()
		p := New(a, live, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		test(t, p, live)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// settled waits until everything is loaded that will be.
func settled(t *testing.T, p *Player) State {
	t.Helper()
	for range 1000 {
		synctest.Wait()
		if s := p.State(); s.Live || !s.Loading {
			return s
		}
		time.Sleep(quiet)
	}
	t.Fatalf("never settles: %+v", p.State())
	return State{}
}
