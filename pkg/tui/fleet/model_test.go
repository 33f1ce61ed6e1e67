package fleet

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

// reference is a store as one would write it down: a map, and nothing else.
type reference struct {
	fixes map[track.DeviceID]client.Fix
	alarm map[track.DeviceID]time.Time
	named map[track.DeviceID]bool // by the snapshot under way; nil if none makes void
}

func (m *reference) put(f client.Fix, heard time.Time) {
	if f.Late {
		return
	}
	if m.named != nil {
		m.named[f.Device] = true
	}
	was, known := m.fixes[f.Device]
	if known && f.Time.Before(was.Time) {
		return
	}
	if !known {
		delete(m.alarm, f.Device)
	}
	if filter.Alarming(f.Event) {
		m.alarm[f.Device] = heard.Truncate(time.Second)
	}
	if since, ok := m.alarm[f.Device]; ok && heard.Sub(since) < filter.AlarmFor && !filter.Alarming(f.Event) {
		f.Event = was.Event
	}
	if !f.HasPos() {
		f.At, f.Has = was.At, f.Has|was.Has&track.HasPos
	}
	m.fixes[f.Device] = f
}

func (m *reference) snapshot(fixes []client.Fix, first, more bool, now time.Time) {
	if first {
		m.named = map[track.DeviceID]bool{}
	}
	for _, f := range fixes {
		heard := now
		if f.Received.Before(now) {
			heard = f.Received
		}
		m.put(f, heard)
	}
	if more {
		return
	}
	for id := range m.fixes {
		if m.named != nil && !m.named[id] {
			delete(m.fixes, id)
		}
	}
	m.named = nil
}

// holds compares all that a store says of its devices with the reference.
func (m *reference) holds(t *testing.T, s *Store) {
	t.Helper()
	if got := s.Status().Devices; got != len(m.fixes) {
		t.Fatalf("%d devices, want %d", got, len(m.fixes))
	}
	for id, want := range m.fixes {
		i := s.Find(id)
		got, name, ok := s.Info(i)
		if !ok || got != want || name != want.Name || s.Name(i) != name {
			t.Fatalf("%v is %q, %v\n%+v, want\n%+v", id, name, ok, got, want)
		}
		p := &s.points[i]
		if p.Placed() != want.HasPos() || p.Placed() && p.Pos != world.Project(want.At) || s.seqs[i] != p.Seq {
			t.Fatalf("point %+v of %+v", *p, want)
		}
	}
}

func TestStoreHoldsWhatAMapWould(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 8))
		s, c := clockedStore()
		m := &reference{fixes: map[track.DeviceID]client.Fix{}, alarm: map[track.DeviceID]time.Time{}}
		for range 500 {
			c.Advance(time.Duration(r.IntN(40_000)) * time.Millisecond)
			fixes := someFixes(r, c.At.Add(-time.Duration(r.IntN(2000))*time.Millisecond))
			for i := range fixes {
				fixes[i].Late, fixes[i].Alt, fixes[i].Jump = r.IntN(20) == 0, r.IntN(5000), r.IntN(20) == 0
			}
			switch r.IntN(8) {
			case 0:
				first, more := r.IntN(2) == 0, r.IntN(2) == 0
				s.Snapshot(fixes, first, more)
				m.snapshot(fixes, first, more, c.At)
			case 1:
				id := track.DeviceID(1 + r.IntN(60))
				s.Left([]track.DeviceID{id})
				delete(m.fixes, id)
			default:
				s.Apply(fixes)
				for _, f := range fixes {
					m.put(f, c.At)
				}
			}
			m.holds(t, s)
		}
	}
}

func TestInfoGivesBackTheWholeFix(t *testing.T) {
	s, c := clockedStore()
	want := client.Fix{
		Device: 7, Name: "van", Time: c.At.Add(time.Millisecond), Received: c.At, At: geo.Deg(-48.1234567, 11.7654321),
		Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat, Alt: -431, Speed: 12.34, Course: 359.99,
		Accuracy: 5079.04, Battery: 100, Power: true, Event: "power_lost", Suspect: true, Jump: true,
	}
	s.Apply([]client.Fix{want})
	if got, _, _ := s.Info(0); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	bare := client.Fix{Device: 8}
	s.Apply([]client.Fix{bare})
	if got, name, _ := s.Info(1); got != bare || name != "000000000008" {
		t.Errorf("%q: %+v", name, got)
	}
}

func TestNonsenseIsNotDangerous(t *testing.T) {
	s, c := clockedStore()
	for i, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 1e300} {
		f := fixOf(track.DeviceID(i), "x", c.At, 48, 11)
		f.Has |= track.HasVel | track.HasBat | track.HasAlt
		f.Speed, f.Course, f.Accuracy, f.Battery, f.Alt = v, v, geo.Meters(v), math.MinInt, math.MaxInt
		f.Time = []time.Time{{}, time.Unix(1<<40, 0), time.Unix(-1<<40, 0), c.At, c.At.Add(1e6 * time.Hour)}[i]
		f.At = geo.Point{Lat: math.MinInt32, Lon: math.MaxInt32}
		s.Apply([]client.Fix{f, f})
		f.Time, f.Jump = f.Time.Add(time.Hour), true
		s.Apply([]client.Fix{f})
	}
	var f Frame
	f.Refresh(s, nil)
	for _, p := range f.Points {
		if p.Course >= 36000 || p.Bat > 100 {
			t.Errorf("%+v", p)
		}
	}
	o := NewOrder(s)
	for by := range Columns {
		o.Ask(by, true, &f)
		if len(o.Rows()) != 5 {
			t.Errorf("by %v: %v", by, o.Rows())
		}
	}
	lines(s.Events())
}

func TestApplyAllocatesNothing(t *testing.T) {
	s, c := clockedStore()
	f := tuitest.NewFleet(1000, 1, tuitest.Europe)
	s.Snapshot(f.Step(time.Second, 1), true, false)
	batch := slices.Clone(f.Step(time.Second, 1))
	step := func() {
		c.Advance(time.Second)
		for i := range batch {
			batch[i].Time = batch[i].Time.Add(time.Second)
			batch[i].At = geo.Travel(batch[i].At, 90, 100)
		}
		s.Apply(batch)
	}
	for range 100 { // until the trails have their room
		step()
	}
	if got := testing.AllocsPerRun(20, step); got > 0 {
		t.Errorf("%v allocations for a thousand fixes", got)
	}
}

// TestMemoryOfAFleet counts what stays: store, trails and one frame.
func TestMemoryOfAFleet(t *testing.T) {
	for _, tt := range []struct{ devices, crumbs, most int }{{10_000, MaxTrail, 12 << 20}, {100_000, minTrail, 60 << 20}} {
		before := heap()
		s, c := clockedStore()
		fill(s, c, tt.devices, tt.crumbs+2)
		var f Frame
		f.Refresh(s, nil)
		took := int(heap() - before)
		t.Logf("%d devices with %d crumbs: %.1f MB, %d bytes a device", tt.devices, tt.crumbs, float64(took)/1e6, took/tt.devices)
		if took > tt.most {
			t.Errorf("%d devices take %d bytes, budget %d", tt.devices, took, tt.most)
		}
		if n := len(s.Trail(nil, 0, MaxTrail)); n < tt.crumbs*3/4 {
			t.Errorf("%d crumbs", n)
		}
		runtime.KeepAlive(&f)
	}
}

// fill drives n devices on for some rounds.
func fill(s *Store, c *tuitest.Clock, n, rounds int) {
	fixes := make([]client.Fix, n)
	for round := range rounds {
		c.Advance(time.Second)
		for i := range fixes {
			name := fixes[i].Name
			if name == "" {
				name = fmt.Sprintf("van-%05d", i)
			}
			fixes[i] = fixOf(track.DeviceID(i+1), name, c.At, 10, float64(round)*0.01)
			fixes[i].Has |= track.HasVel | track.HasBat
			fixes[i].Battery = 80
		}
		s.Snapshot(fixes, round == 0, false)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Feed, screen, list, events and a person's keys, all at once.
func TestManyHandsOnAStore(t *testing.T) {
	var clock atomic.Int64
	clock.Store(epoch.UnixMilli())
	s := New(Config{Now: func() time.Time { return time.UnixMilli(clock.Load()).UTC() }})
	ctx, done := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer done()
		f := tuitest.NewFleet(atOnce+500, 3, tuitest.Europe)
		s.Take(&client.Event{Kind: client.Snapshot, First: true, Fixes: f.Step(time.Second, 1)})
		for i := range 60 {
			clock.Add(300)
			fixes := slices.Clone(f.Step(time.Second, 0.2))
			for j := range fixes {
				fixes[j].Name = fmt.Sprintf("van-%d", (i+j)%500)
				fixes[j].Jump = j%7 == 0
			}
			s.Take(&client.Event{Kind: client.Fixes, Fixes: fixes, Left: []track.DeviceID{track.DeviceID(1000 + i)}})
			if i%20 == 10 {
				s.Take(&client.Event{Kind: client.Disconnected, Err: track.ErrClosed})
				s.Take(&client.Event{Kind: client.Resync, Skipped: 3})
			}
		}
	})
	screen := func(flt matcher) {
		var f Frame
		o := NewOrder(s)
		var crumbs []Crumb
		var spark []int
		for ctx.Err() == nil {
			f.refresh(s, flt)
			o.Ask(ByAge, false, &f)
			for _, i := range o.Rows()[:min(len(o.Rows()), 20)] {
				s.Info(i)
				crumbs = s.Trail(crumbs[:0], i, MaxTrail)
				spark = s.Spark(spark[:0], i, OfSpeed)
			}
			runtime.Gosched()
		}
		o.Wait()
	}
	wg.Go(func() { screen(nil) })
	wg.Go(func() { screen(older(time.Second)) })
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			s.Events().Mute(track.DeviceID(1000+i%2000), i%3 == 0)
			s.Events().AckLast()
			s.Tick()
			s.Status()
			runtime.Gosched()
		}
	})
	wg.Wait()
	var f Frame
	f.refresh(s, nil)
	f.check(t, s, nil, nil)
}

func BenchmarkApply(b *testing.B) {
	s := New(Config{})
	f := tuitest.NewFleet(10_000, 1, tuitest.Europe)
	s.Snapshot(f.Step(time.Second, 1), true, false)
	batch := append([]client.Fix(nil), f.Step(time.Second, 0.1)...)
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			batch[i].Time = batch[i].Time.Add(time.Second)
		}
		s.Apply(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/fix")
}
