package live

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

const million = 1_000_000

// fleet is a million devices with random ids: half in five hundred towns, half
// anywhere on the globe.
type fleet struct {
	live  *Live
	ids   []track.DeviceID
	at    []geo.Point
	bytes float64
}

var fleetOnce = sync.OnceValue(func() *fleet {
	r := rand.New(rand.NewPCG(1, 2))
	fl := &fleet{ids: make([]track.DeviceID, million), at: make([]geo.Point, million)}
	for i := range fl.ids {
		fl.ids[i] = track.DeviceID(r.Uint64()) & track.MaxDeviceID
		if i%2 == 0 {
			town := rand.New(rand.NewPCG(uint64(r.IntN(500)), 0))
			fl.at[i] = geo.Deg(-55+town.Float64()*120+r.Float64()/4, -180+town.Float64()*359+r.Float64()/4)
		} else {
			fl.at[i] = geo.Deg(-90+r.Float64()*180, -180+r.Float64()*360)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	fl.live = New(Config{})
	for i := range fl.ids {
		fl.live.Apply(fl.fix(i, 0))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	fl.bytes = float64(after.HeapAlloc-before.HeapAlloc) / million
	return fl
})

func (fl *fleet) fix(i int, ms int64) *track.Fix {
	return &track.Fix{
		Device: fl.ids[i], Wire: fl.ids[i], Time: ms, Arrived: ms, At: fl.at[i],
		Has: track.HasPos | track.HasVel, Epoch: 7, PID: 9,
	}
}

// walk makes n batches of 64 random devices, each a little way on from where it is.
func (fl *fleet) walk(r *rand.Rand, n, batch int) [][]track.Fix {
	batches := make([][]track.Fix, n)
	for b := range batches {
		for range batch {
			i := r.IntN(million)
			f := fl.fix(i, 1)
			f.At.Lat = max(-geo.MaxLat, min(geo.MaxLat, f.At.Lat+int32(r.IntN(10_000))-5_000))
			batches[b] = append(batches[b], *f)
		}
	}
	return batches
}

func TestMillionDevicesFitTheirMemory(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("a million devices")
	}
	if got := fleetOnce().bytes; got > 110 {
		t.Errorf("%.1f bytes a device, want at most 110", got)
	}
}

func BenchmarkApply(b *testing.B) {
	const batch = 64
	run := func(b *testing.B, apply func(l *Live, fixes []track.Fix)) {
		fl := fleetOnce()
		batches := fl.walk(rand.New(rand.NewPCG(5, 5)), 4096, batch)
		b.ReportAllocs()
		b.ResetTimer()
		for i := 0; i < b.N; i += batch {
			fixes := batches[i/batch%len(batches)]
			for k := range fixes {
				fixes[k].Time += 1000
			}
			apply(fl.live, fixes)
		}
		b.ReportMetric(fl.bytes, "B/device")
	}
	b.Run("1M/one", func(b *testing.B) {
		run(b, func(l *Live, fixes []track.Fix) {
			for k := range fixes {
				l.Apply(&fixes[k])
			}
		})
	})
	b.Run("1M/batch64", func(b *testing.B) {
		moves := make([]track.Move, 0, batch)
		run(b, func(l *Live, fixes []track.Fix) { moves = l.ApplyBatch(fixes, moves[:0]) })
	})
	b.Run("hot", func(b *testing.B) {
		l := New(Config{})
		fixes := make([]track.Fix, batch)
		for i := range fixes {
			fixes[i] = at(track.DeviceID(i+1)*0x9e3779b9, 0, 48, 11)
		}
		moves := make([]track.Move, 0, batch)
		b.ReportAllocs()
		for i := 0; i < b.N; i += batch {
			for k := range fixes {
				fixes[k].Time += 1000
			}
			moves = l.ApplyBatch(fixes, moves[:0])
		}
	})
	b.Run("hot/new-cell", func(b *testing.B) {
		l := New(Config{})
		fixes := make([]track.Fix, batch)
		for i := range fixes {
			fixes[i] = at(track.DeviceID(i+1)*0x9e3779b9, 0, 48, 11)
		}
		moves := make([]track.Move, 0, batch)
		b.ReportAllocs()
		for i := 0; i < b.N; i += batch {
			for k := range fixes {
				fixes[k].Time += 1e6
				fixes[k].At.Lat ^= geo.CellSize
			}
			moves = l.ApplyBatch(fixes, moves[:0])
		}
	})
}

func BenchmarkApplyParallel(b *testing.B) {
	fl := fleetOnce()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		batches := fl.walk(rand.New(rand.NewPCG(rand.Uint64(), 5)), 512, 64)
		moves := make([]track.Move, 0, 64)
		for i := 0; pb.Next(); i++ {
			if i%64 == 0 {
				moves = fl.live.ApplyBatch(batches[i/64%len(batches)], moves[:0])
			}
		}
	})
}

func BenchmarkGet(b *testing.B) {
	fl := fleetOnce()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		fl.live.Get(fl.ids[i*7919%million])
	}
}

func BenchmarkNear(b *testing.B) {
	fl := fleetOnce()
	for _, c := range []struct {
		name   string
		at     geo.Point
		within geo.Meters
		limit  int
	}{
		{"town/20", fl.at[0], 0, 20},
		{"anywhere/20", geo.Deg(-60, -120), 0, 20},
		{"town/5km", fl.at[0], 5_000, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var hits int
			for b.Loop() {
				hits = len(fl.live.Near(c.at, c.within, c.limit))
			}
			b.ReportMetric(float64(hits), "hits")
		})
	}
}

func BenchmarkScan(b *testing.B) {
	fl := fleetOnce()
	count := func(b *testing.B, scan func(func(*track.Fix) bool)) {
		b.ReportAllocs()
		var n int
		for b.Loop() {
			n = 0
			scan(func(*track.Fix) bool { n++; return true })
		}
		b.ReportMetric(float64(n), "fixes")
	}
	b.Run("all", func(b *testing.B) { count(b, func(y func(*track.Fix) bool) { fl.live.All(0, y) }) })
	b.Run("none-since", func(b *testing.B) {
		since := fl.live.Stamp()
		count(b, func(y func(*track.Fix) bool) { fl.live.All(since, y) })
	})
	town := geo.Around(fl.at[0], 20_000)
	b.Run("town", func(b *testing.B) { count(b, func(y func(*track.Fix) bool) { fl.live.InBox(town, 0, y) }) })
	europe, _ := geo.BoxDeg(35, -10, 60, 30)
	b.Run("europe", func(b *testing.B) { count(b, func(y func(*track.Fix) bool) { fl.live.InBox(europe, 0, y) }) })
}
