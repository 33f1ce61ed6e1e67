package tui

import (
	"runtime"
	"testing"
	"time"

	"tracker/pkg/tui/tuitest"
)

// A million fixes within a second: each is counted, and neither the number of fixes nor
// that of frames shows in what is allocated, once the map knows its devices.
func TestAMillionFixesInASecond(t *testing.T) {
	const devices, batch, fixes = 10_000, 1000, 1_000_000
	r := newRig(t, 120, 40, "dark")
	f := tuitest.NewFleet(devices, 3, tuitest.World)
	r.load(f.Step(time.Second, 1)...)
	flood := func(n int) {
		for done := 0; done < n; done += batch {
			if done%devices == 0 {
				f.Clock = f.Clock.Add(time.Millisecond)
				for i := range f.Fixes {
					x := &f.Fixes[i]
					x.Time, x.Received = f.Clock, r.clock.At
					x.At.Lon += 4000 // 28 m and more: a crumb of the trail
				}
			}
			at := done % devices
			r.store.Apply(f.Fixes[at : at+batch])
			if done%(n/10) == 0 { // ten frames a second
				r.clock.Advance(100 * time.Millisecond)
				if !r.Due(r.clock.At) {
					t.Error("no frame is due")
				}
				r.screen.Draw(r.clock.At)
			}
		}
	}
	flood(fixes * 7 / 10) // whatever is made once, and trails as long as they get
	before := r.store.Status().Fixes
	var was, is runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&was)
	flood(fixes)
	runtime.ReadMemStats(&is)
	if got := r.store.Status().Fixes - before; got != fixes {
		t.Errorf("%d fixes were counted of %d", got, fixes)
	}
	if got := is.Mallocs - was.Mallocs; got > fixes/200 {
		t.Errorf("%d things were allocated for a million fixes and ten frames", got)
	}
	runtime.GC()
	runtime.ReadMemStats(&is)
	if grown := int64(is.HeapAlloc) - int64(was.HeapAlloc); grown > 1<<20 {
		t.Errorf("a second of a million fixes keeps %d bytes", grown)
	}
	r.clock.Advance(time.Second)
	r.compose()
	r.shows("10,000 dev", "fix/s")
	for i := range f.Fixes {
		last, _, _ := r.store.Info(r.store.Find(f.Fixes[i].Device))
		if !last.Time.Equal(f.Fixes[i].Time) {
			t.Fatalf("%s is at %v, want %v", f.Fixes[i].Name, last.Time, f.Fixes[i].Time)
		}
	}
}
