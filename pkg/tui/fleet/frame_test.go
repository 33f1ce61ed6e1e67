package fleet

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/tuitest"
)

func TestFrameMarksWhatItCopies(t *testing.T) {
	s, c := clockedStore()
	sos := fixOf(3, "c", c.At, 3, 3)
	sos.Event = "sos"
	s.Snapshot([]client.Fix{fixOf(1, "a", c.At, 1, 1), fixOf(2, "b", c.At.Add(-time.Hour), 2, 2), sos}, true, false)
	var f Frame
	f.Refresh(s, nil)
	if want := [filter.States]int{filter.Idle: 1, filter.Lost: 1, filter.Alert: 1}; f.Counts != want || f.Matched != 3 || f.At != c.At.UnixMilli() {
		t.Errorf("counts %v, matched %d, at %d", f.Counts, f.Matched, f.At)
	}
	for i, m := range f.Marks {
		if m&MarkNew == 0 || !m.Matches() || m.State() != f.Points[i].State(f.At, s.Ages()) {
			t.Errorf("mark %d is %b", i, m)
		}
	}
	s.Left([]track.DeviceID{2})
	c.Advance(time.Second)
	s.Apply([]client.Fix{fixOf(1, "a", c.At, 1, 1.1)})
	all, _ := filter.Parse("")
	f.Refresh(s, all)
	one, two, three := f.Marks[s.Find(1)], f.Marks[1], f.Marks[s.Find(3)]
	if one&MarkNew == 0 || one.State() != filter.Moving || two != 0 || three&MarkNew != 0 || f.Matched != 2 || f.Status.Devices != 2 {
		t.Errorf("after a step: %b %b %b, matched %d of %d", one, two, three, f.Matched, f.Status.Devices)
	}
}

func TestClockOfFixesLivesInThePast(t *testing.T) {
	c := tuitest.NewClock()
	s := New(Config{Now: c.Now, ByFixTime: true})
	old := fixOf(1, "a", c.At.Add(-3*time.Minute), 1, 1)
	old.Received = c.At
	s.Apply([]client.Fix{old})
	if p := s.point(1); p.Age(c.At.UnixMilli()) != 3*time.Minute {
		t.Errorf("heard %v ago, want 3m", p.Age(c.At.UnixMilli()))
	}
}

func TestDeniedIsToldShortly(t *testing.T) {
	s, _ := clockedStore()
	s.Take(&client.Event{Kind: client.Disconnected, Err: track.ErrDenied, RetryIn: time.Second})
	if got := s.Status().Link.Note; got != "not allowed, again in 1s" {
		t.Errorf("note %q", got)
	}
}

// slower, called and older are filters of one kind each.
type (
	slower float64
	called string
	older  time.Duration
)

func (v slower) Match(s *filter.Subject) bool {
	return s.Has&track.HasVel != 0 && s.Speed < float64(v)
}
func (slower) Uses() filter.Parts             { return filter.Numbers }
func (v called) Match(s *filter.Subject) bool { return s.Name == string(v) }
func (called) Uses() filter.Parts             { return filter.Names }
func (v older) Match(s *filter.Subject) bool  { return s.Age >= time.Duration(v) }
func (older) Uses() filter.Parts              { return filter.Clock }

// check holds a frame against the store, looked at in the obvious way.
func (f *Frame) check(t *testing.T, s *Store, flt matcher, before []Point) {
	t.Helper()
	if !slices.Equal(f.Points, s.points) || len(f.Marks) != len(f.Points) || f.At != s.now().UnixMilli() {
		t.Fatalf("%d points, %d marks of %d, at %d", len(f.Points), len(f.Marks), len(s.points), f.At)
	}
	var counts [filter.States]int
	matched := 0
	for i := range f.Points {
		p, want := &f.Points[i], Mark(0)
		if p.Alive() {
			st := s.Ages().StateOf(p.Age(f.At), p.Alarmed(f.At), p.Moving())
			want = MarkAlive | Mark(st)
			counts[st]++
			x := filter.Subject{State: st, Age: p.Age(f.At)}
			fix, name, _ := s.Info(int32(i))
			x.Name, x.Has, x.Speed = name, fix.Has, fix.Speed
			if flt == nil || flt.Match(&x) {
				want |= MarkMatches
				matched++
			}
			if i >= len(before) || before[i].Seq != p.Seq {
				want |= MarkNew
			}
		}
		if f.Marks[i] != want {
			t.Fatalf("point %d, %+v: mark %b, want %b", i, *p, f.Marks[i], want)
		}
	}
	if f.Counts != counts || f.Matched != matched || f.Status != s.Status() {
		t.Fatalf("counts %v, want %v; matched %d, want %d; %+v", f.Counts, counts, f.Matched, matched, f.Status)
	}
}

// A frame that is kept up says what one that looks at everything would say, whatever
// happens to store, filter and clock.
func TestFrameKeepsUp(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 2))
	s, c := clockedStore()
	filters := []matcher{nil, slower(5), slower(15), called("van-3"), older(time.Minute), older(5 * time.Minute)}
	flt := filters[0]
	var f Frame
	for range 2000 {
		before := slices.Clone(f.Points)
		switch r.IntN(12) {
		case 0:
			flt = filters[r.IntN(len(filters))]
		case 1:
			s.Left([]track.DeviceID{track.DeviceID(1 + r.IntN(60))})
		case 2:
			c.Advance(time.Duration(r.IntN(20)) * time.Minute)
		case 3:
			c.Advance(-time.Duration(r.IntN(100)) * time.Second)
		case 4:
			s.Events().Mute(track.DeviceID(1+r.IntN(60)), r.IntN(2) == 0)
		case 5:
			if r.IntN(20) == 0 { // the past, or another map
				s = New(Config{Now: c.Now, Ages: filter.Ages{Stale: time.Minute, Lost: 90 * time.Second}})
				before = nil
			}
		default:
			s.Apply(someFixes(r, c.At))
		}
		c.Advance(time.Second) // so that ages are looked at again
		f.refresh(s, flt)
		f.check(t, s, flt, before)
	}
}

// someFixes are fixes of some of sixty devices.
func someFixes(r *rand.Rand, at time.Time) (fixes []client.Fix) {
	for range r.IntN(8) {
		f := fixOf(track.DeviceID(1+r.IntN(60)), "van-"+string(rune('0'+r.IntN(10))), at.Add(time.Duration(r.IntN(100))*time.Millisecond), r.Float64()*80, r.Float64()*180)
		f.Has |= track.HasVel
		f.Speed = float64(r.IntN(20))
		if r.IntN(10) == 0 {
			f.Event = "sos"
		}
		if r.IntN(10) == 0 {
			f.Has = 0
		}
		fixes = append(fixes, f)
	}
	return fixes
}

// Ages are looked at in every frame, but all of them only within a second.
func TestFilterOfAgesIsAtMostASecondOld(t *testing.T) {
	s, c := clockedStore()
	var fixes []client.Fix
	for i := range 1000 {
		fixes = append(fixes, fixOf(track.DeviceID(i+1), "x", c.At, 1, 1))
	}
	s.Apply(fixes)
	var f Frame
	flt := older(10 * time.Second)
	f.refresh(s, flt)
	c.Advance(9 * time.Second)
	f.refresh(s, flt)
	c.Advance(time.Second) // all at once
	f.At, f.sweptAt = c.At.UnixMilli(), c.At.UnixMilli()
	for i := range 10 {
		c.Advance(100 * time.Millisecond)
		f.refresh(s, flt)
		if want := 100 * (i + 1); f.Matched != want {
			t.Errorf("%d of 1000 looked at after %d frames, want %d", f.Matched, i+1, want)
		}
	}
}

func TestRefreshAllocatesNothing(t *testing.T) {
	s, c := clockedStore()
	fleet := tuitest.NewFleet(5000, 1, tuitest.Europe)
	s.Snapshot(fleet.Step(time.Second, 1), true, false)
	some := slices.Clone(fleet.Step(time.Second, 0.1))
	var f Frame
	flt := older(time.Second)
	step := func() {
		c.Advance(100 * time.Millisecond)
		for i := range some {
			some[i].Time = some[i].Time.Add(time.Second)
		}
		s.Apply(some)
		f.refresh(s, flt)
	}
	for range 100 {
		step()
	}
	if got := testing.AllocsPerRun(50, step); got > 0 {
		t.Errorf("%v allocations for 500 fixes and a frame of 5000 devices", got)
	}
}

func BenchmarkRefresh(b *testing.B) {
	for _, bench := range []struct {
		name  string
		share float64
		flt   matcher
	}{
		{"still", 0, nil}, {"tenth", 0.1, nil}, {"all", 1, nil}, {"tenth/numbers", 0.1, slower(5)}, {"tenth/clock", 0.1, older(time.Minute)},
	} {
		b.Run("100000/"+bench.name, func(b *testing.B) {
			s, c := clockedStore()
			fleet := tuitest.NewFleet(100_000, 1, tuitest.Europe)
			s.Snapshot(fleet.Step(time.Second, 1), true, false)
			some := slices.Clone(fleet.Step(time.Second, bench.share))
			var f Frame
			f.refresh(s, bench.flt)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				c.Advance(100 * time.Millisecond)
				for i := range some {
					some[i].Time = some[i].Time.Add(time.Second)
				}
				s.Apply(some)
				b.StartTimer()
				f.refresh(s, bench.flt)
			}
		})
	}
}

// What a frame shows at an index is told of that device, whoever has the slot by now.
func TestAFrameKnowsWhoLeftSince(t *testing.T) {
	s, _ := clockedStore()
	var f Frame
	if _, ok := f.Device(0); ok {
		t.Error("a frame of nothing has a device")
	}
	for round := range track.DeviceID(8) {
		old, other := 100+round, 200+round
		s.Apply([]client.Fix{fixOf(old, "old", epoch, 1, 1), fixOf(1, "stays", epoch.Add(time.Duration(round)*time.Second), 2, 2)})
		f.Refresh(s, nil)
		i, stays := s.Find(old), s.Find(1)
		if id, ok := f.Device(i); !ok || id != old {
			t.Errorf("round %d: %d %v, want %d", round, id, ok, old)
		}
		s.Left([]track.DeviceID{old})
		if id, ok := f.Device(i); ok {
			t.Errorf("round %d: %d has left", round, id)
		}
		s.Apply([]client.Fix{fixOf(other, "other", epoch, 3, 3), fixOf(1, "stays", epoch.Add(time.Hour), 2, 3)})
		if id, ok := f.Device(i); ok || s.Find(other) != i {
			t.Errorf("round %d: %d came since", round, id)
		}
		if id, ok := f.Device(stays); !ok || id != 1 {
			t.Errorf("round %d: %d %v, want the one that stays", round, id, ok)
		}
		s.Left([]track.DeviceID{other})
	}
}
