package fleet

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/tuitest"
)

// motley is a store of n devices with many ties, and some that left.
func motley(n int, seed uint64) (*Store, *tuitest.Clock) {
	s, c := clockedStore()
	r := rand.New(rand.NewPCG(seed, 1))
	fixes := make([]client.Fix, n)
	for i := range fixes {
		f := fixOf(track.DeviceID(i+1), fmt.Sprintf("van-%d", r.IntN(n)), c.At.Add(-time.Duration(r.IntN(2000))*time.Second), 48, 11)
		f.Speed, f.Battery = float64(r.IntN(40)), r.IntN(101)
		if f.Has |= track.HasVel; r.IntN(3) > 0 {
			f.Has |= track.HasBat
		}
		fixes[i] = f
	}
	s.Snapshot(fixes, true, false)
	for range n / 10 {
		s.Left([]track.DeviceID{track.DeviceID(1 + r.IntN(n))})
	}
	return s, c
}

// sorted is the order as one would write it down.
func sorted(s *Store, f *Frame, by Column, reverse bool) []int32 {
	var rows []int32
	for i := range f.Points {
		if f.Marks[i].Matches() {
			rows = append(rows, int32(i))
		}
	}
	key := func(i int32) int64 {
		p := &f.Points[i]
		switch {
		case by == ByState:
			return -int64(f.Marks[i].State())
		case by == BySpeed:
			return -int64(p.Speed)
		case by == ByAge:
			return f.At - p.Heard
		case by == ByBattery && p.Has&track.HasBat == 0:
			return 101
		case by == ByBattery:
			return int64(p.Bat)
		}
		return 0
	}
	slices.SortFunc(rows, func(a, b int32) int {
		column, name := cmp.Compare(key(a), key(b)), cmp.Or(strings.Compare(s.Name(a), s.Name(b)), cmp.Compare(a, b))
		if reverse && by == ByName {
			name = -name
		}
		if reverse {
			column = -column
		}
		return cmp.Or(column, name)
	})
	return rows
}

func TestOrderIsWhatSortingSays(t *testing.T) {
	for _, n := range []int{0, 1, 2, 300, atOnce + 4000} {
		s, _ := motley(n, uint64(n))
		o := NewOrder(s)
		for _, flt := range []matcher{nil, slower(20)} {
			var f Frame
			f.refresh(s, flt)
			for by := range Columns {
				for _, reverse := range []bool{false, true} {
					o.Ask(by, reverse, &f)
					o.Wait()
					want := sorted(s, &f, by, reverse)
					if !slices.Equal(o.Rows(), want) {
						t.Fatalf("%d devices by %v, reverse %v: %d rows differ from %d", n, by, reverse, len(o.Rows()), len(want))
					}
					for row, i := range want {
						if o.Row(i) != row {
							t.Fatalf("%d is in row %d, want %d", i, o.Row(i), row)
						}
					}
				}
			}
			for i := range f.Points {
				if !f.Marks[i].Matches() && o.Row(int32(i)) != -1 {
					t.Fatalf("%d is in row %d, and not meant", i, o.Row(int32(i)))
				}
			}
			if o.Row(Nobody) != -1 || o.Row(int32(len(f.Points))) != -1 {
				t.Error("nobody has a row")
			}
		}
	}
}

func TestManyAreSortedAsideAndOnceASecond(t *testing.T) {
	s, c := motley(atOnce+1000, 7)
	o := NewOrder(s)
	var f Frame
	f.Refresh(s, nil)
	o.Ask(ByName, false, &f) // the very first are sorted at once
	first := slices.Clone(o.Rows())
	if o.spare == nil || !slices.Equal(first, sorted(s, &f, ByName, false)) {
		t.Fatal("the first order is not there")
	}
	o.Ask(BySpeed, false, &f)
	if o.spare != nil || !slices.Equal(o.Rows(), first) {
		t.Error("the frame waited for another order")
	}
	o.Wait()
	if !slices.Equal(o.Rows(), sorted(s, &f, BySpeed, false)) {
		t.Error("what was asked for is not shown when it is ready")
	}

	c.Advance(nameEvery)
	s.Apply([]client.Fix{fixOf(1, "renamed", c.At, 1, 1)})
	f.Refresh(s, nil)
	s.mu.Lock() // the sorter waits for the names
	o.Ask(ByBattery, false, &f)
	o.Ask(ByAge, false, &f)
	if o.Ready() {
		t.Error("the names were not looked at again")
	}
	s.mu.Unlock()
	o.Wait()
	if !slices.Equal(o.Rows(), sorted(s, &f, ByBattery, false)) {
		t.Error("what was asked for first is not shown")
	}
	o.Ask(ByAge, false, &f)
	o.Wait()
	if !slices.Equal(o.Rows(), sorted(s, &f, ByAge, false)) {
		t.Error("what was asked for meanwhile is forgotten")
	}
	c.Advance(999 * time.Millisecond)
	f.Refresh(s, nil)
	if o.Ask(ByAge, false, &f); o.spare == nil {
		t.Error("sorted again within a second")
	}
	c.Advance(time.Millisecond)
	f.Refresh(s, nil)
	if o.Ask(ByAge, false, &f); o.spare != nil {
		t.Error("not sorted again after a second")
	}
	o.Wait()
}

func TestOrderFollowsFilterStoreAndClock(t *testing.T) {
	s, c := motley(50, 1)
	o := NewOrder(s)
	var f Frame
	holds := func(what string, s *Store, by Column) {
		t.Helper()
		o.Ask(by, false, &f)
		if want := sorted(s, &f, by, false); !slices.Equal(o.Rows(), want) {
			t.Errorf("%s: %v, want %v", what, o.Rows(), want)
		}
	}
	holds("before the first frame", s, ByState)
	f.refresh(s, nil)
	holds("at first", s, ByState)
	f.refresh(s, slower(5))
	holds("with a filter", s, ByState)
	past, _ := motley(30, 2)
	f.refresh(past, nil)
	holds("of another store", past, ByName)
	f.refresh(s, nil)
	holds("back again", s, ByName)
	// Who is new is in the list a second later.
	for id := range track.DeviceID(9) {
		s.Apply([]client.Fix{fixOf(900+id, "new", c.At, 1, 1)})
	}
	c.Advance(sortEvery)
	f.refresh(s, nil)
	holds("after some arrived", s, ByState)
	c.Advance(-time.Hour)
	f.refresh(s, nil)
	holds("with the clock turned back", s, ByState)
	// Names are looked at again after three seconds.
	renamed := fixOf(1, "aaa", c.At.Add(2*time.Hour), 1, 1)
	s.Apply([]client.Fix{renamed})
	c.Advance(4 * time.Second)
	f.refresh(s, nil)
	holds("after one was renamed", s, ByName)
	if o.Rows()[0] != s.Find(1) {
		t.Error("aaa is not the first")
	}
}

func TestPanicOfTheSorterIsToldWhereSomebodyListens(t *testing.T) {
	s, _ := motley(3, 1)
	var f Frame
	f.Refresh(s, nil)
	o := NewOrder(nil)
	f.of = nil
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "sorting devices") {
			t.Errorf("recovered %v", p)
		}
		if o.spare == nil {
			t.Error("and nobody sorts any more")
		}
	}()
	o.Ask(ByName, false, &f)
}

func BenchmarkOrder(b *testing.B) {
	s, _ := motley(100_000, 1)
	var f Frame
	f.Refresh(s, nil)
	o := NewOrder(s)
	for by := range Columns {
		b.Run(by.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				o.at = time.Time{}
				o.Ask(by, false, &f)
				o.Wait()
			}
		})
	}
}

// Of the past, devices come in groups while the clock is held.
func TestOrderTakesInWhatComesWhileTheClockIsHeld(t *testing.T) {
	s, c := clockedStore()
	var f Frame
	o := NewOrder(s)
	for i := range track.DeviceID(3) {
		s.Apply([]client.Fix{fixOf(i+1, fmt.Sprintf("van-%d", i), c.At, 48, 11)})
		f.Refresh(s, nil)
		o.Ask(ByName, false, &f)
		o.Wait()
		if got := len(o.Rows()); got != int(i)+1 {
			t.Errorf("%d rows of %d devices", got, i+1)
		}
	}
	asked := o.shown
	o.Ask(ByName, false, &f)
	o.Wait()
	if o.shown != asked {
		t.Error("sorted once more what is the same")
	}
}
