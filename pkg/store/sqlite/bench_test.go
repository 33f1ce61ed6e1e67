package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/store"
	"tracker/pkg/track"
)

// fleet makes batches of a fleet that moves: each device sends once per lap, one lap
// is a second of its clock, and the order of devices is as random as their ids.
type fleet struct {
	rng   *rand.Rand
	cars  []car
	next  int
	clock int64
	batch track.Batch
}

type car struct {
	id                  track.DeviceID
	epoch, pid          uint32
	lat, lon            float64
	course, speed, alt  float64
	delay               int64
	dlat, dlon, batfull float64
}

func newFleet(n int) *fleet {
	f := &fleet{rng: rand.New(rand.NewPCG(1, uint64(n))), cars: make([]car, n), clock: 1_764_000_000_000}
	for i := range f.cars {
		f.cars[i] = car{
			id: track.DeviceID(f.rng.Uint64()>>16 | 1), epoch: 1_763_900_000 + f.rng.Uint32N(80_000), pid: f.rng.Uint32N(50_000),
			lat: f.rng.Float64()*120 - 60, lon: f.rng.Float64()*360 - 180, course: f.rng.Float64() * 360,
			speed: 5 + f.rng.Float64()*25, alt: f.rng.Float64() * 800, delay: 30 + f.rng.Int64N(100), batfull: 20 + f.rng.Float64()*80,
		}
	}
	return f
}

// fill makes the next n fixes, cheaply: the benchmark is not to measure the weather.
func (f *fleet) fill(n int) *track.Batch {
	b := &f.batch
	b.Reset()
	for range n {
		c := &f.cars[f.next]
		if f.next++; f.next == len(f.cars) {
			f.next = 0
			f.clock += 1000
		}
		r := f.rng.Uint64()
		if r>>60 == 0 || c.dlat == 0 {
			c.course += float64(int64(r&63)-31) / 2
			if c.course < 0 {
				c.course += 360
			} else if c.course >= 360 {
				c.course -= 360
			}
			p := geo.Travel(geo.Deg(0, 0), c.course, geo.Meters(c.speed))
			c.dlat, c.dlon = p.LatDeg(), p.LonDeg()
		}
		c.lat, c.lon = c.lat+c.dlat, c.lon+c.dlon
		// Two metres of noise in the place, and some in everything else.
		noise := func(shift, spread int) int64 {
			return int64(r>>shift&0xf+r>>(shift+4)&0xf+r>>(shift+8)&0xf-22) * int64(spread) / 10
		}
		c.pid++
		b.Fixes = append(b.Fixes, track.Fix{
			Device: c.id, Wire: c.id, Time: f.clock, Arrived: f.clock + c.delay + int64(r>>6&15), Epoch: c.epoch, PID: c.pid,
			At:    geo.Point{Lat: int32(c.lat*geo.E7) + int32(noise(10, 300)), Lon: int32(c.lon*geo.E7) + int32(noise(22, 300))},
			Alt:   int16(c.alt) + int16(noise(34, 3)),
			Speed: uint16(c.speed*100) + uint16(noise(38, 40)+60), Course: uint16(int64(c.course*100)+noise(44, 200)+720) % 36000,
			Acc: uint8(0x85 + r>>56&3), Bat: uint8(c.batfull),
			Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat,
		})
	}
	return b
}

// BenchmarkAppend is what a caller of Append pays.
func BenchmarkAppend(b *testing.B) {
	db, err := Open(Config{Dir: b.TempDir(), RingBytes: 8 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	batch := newFleet(10_000).fill(256)
	b.ReportAllocs()
	for b.Loop() {
		db.Append(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/fix")
}

// BenchmarkStore is the whole store, synchronous=FULL: fixes per second until the
// last is committed, and the processor time of everything that was done about them,
// the making of them left out.
func BenchmarkStore(b *testing.B) {
	for _, devices := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			f := newFleet(devices)
			db := runStore(b, Config{})
			const chunk = 512
			var feeding time.Duration
			cpu := cpuTime()
			b.ReportAllocs()
			b.ResetTimer()
			fixes := 0
			for b.Loop() {
				begin := time.Now()
				batch := f.fill(chunk)
				feeding += time.Since(begin)
				for db.ring.pendingFixes() > 400_000 { // never lose any: this is about what it can do
					time.Sleep(time.Millisecond)
				}
				db.Append(batch)
				fixes += chunk
			}
			if err := db.Flush(context.Background()); err != nil {
				b.Fatal(err)
			}
			wall := b.Elapsed()
			b.ReportMetric(float64(fixes)/wall.Seconds(), "fixes/s")
			b.ReportMetric(float64((cpuTime()-cpu-feeding).Nanoseconds())/float64(fixes), "cpu-ns/fix")
			if s := db.Status(); s.Lost != 0 {
				b.Fatalf("lost %d fixes", s.Lost)
			}
		})
	}
}

// BenchmarkCompacted reports the bytes on disk of a fix once its day is over: the
// file and everything in it.
func BenchmarkCompacted(b *testing.B) {
	clock := newClock(time.UnixMilli(1_764_000_000_000))
	db := runStore(b, Config{Now: clock.now})
	f := newFleet(1000)
	const fixes = 1_000_000
	for range b.N {
		for range fixes / 1000 {
			for db.ring.pendingFixes() > 400_000 {
				time.Sleep(time.Millisecond)
			}
			db.Append(f.fill(1000))
		}
	}
	if err := db.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	name := filepath.Join(db.cfg.Dir, dayName(dayOf(clock.now().UnixMilli())))
	clock.pass(24 * time.Hour)
	if err := db.Compact(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(fileSize(name))/fixes/float64(b.N), "bytes/fix")
}

// BenchmarkHistory reads 360 fixes, six minutes of one device out of an hour of 1,000,
// from runs as they come and from a compacted day.
func BenchmarkHistory(b *testing.B) {
	for _, compacted := range []bool{false, true} {
		b.Run(fmt.Sprintf("compacted=%v", compacted), func(b *testing.B) {
			db := runStore(b, Config{})
			f := newFleet(1000)
			for range 3600 {
				for db.ring.pendingFixes() > 400_000 {
					time.Sleep(time.Millisecond)
				}
				db.Append(f.fill(1000))
			}
			ctx := context.Background()
			if err := db.Flush(ctx); err != nil {
				b.Fatal(err)
			}
			if compacted {
				if err := db.Compact(ctx); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				from := time.UnixMilli(1_764_000_000_000 + f.rng.Int64N(3200)*1000)
				n := 0
				q := store.Query{Device: f.cars[f.rng.IntN(1000)].id, From: from, To: from.Add(360 * time.Second)}
				err := db.History(ctx, q, func(*track.Fix, []byte) error { n++; return nil })
				if err != nil || n != 360 {
					b.Fatalf("%d fixes, %v", n, err)
				}
			}
		})
	}
}

// BenchmarkStart opens a store with a million devices and loads all that the engine
// asks for.
func BenchmarkStart(b *testing.B) {
	const devices = 1_000_000
	dir := b.TempDir()
	f := newFleet(devices)
	db, err := Open(Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	for from := 0; from < devices; from += 10_000 {
		d, c := make([]store.Device, 10_000), make([]store.Credential, 10_000)
		for i := range d {
			id := f.cars[from+i].id
			d[i] = store.Device{ID: id, Name: fmt.Sprintf("vehicle-%d", from+i), Created: time.UnixMilli(1_764_000_000_000)}
			c[i] = store.Credential{ID: id, Device: id, Suite: 1, Created: d[i].Created}
		}
		if err := db.SaveDevices(ctx, d, c); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	func() {
		db, err := Open(Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		run, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- db.Run(run) }()
		for range devices / 1000 {
			for db.ring.pendingFixes() > 400_000 {
				time.Sleep(time.Millisecond)
			}
			db.Append(f.fill(1000))
		}
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		db.Close()
	}()
	runtime.GC()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		start := time.Now()
		db, err := Open(Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "open-s")
		counts := [4]int{}
		steps := []struct {
			name string
			load func() error
		}{
			{"devices-s", func() error { return db.Devices(ctx, func(*store.Device) error { counts[0]++; return nil }) }},
			{"credentials-s", func() error { return db.Credentials(ctx, func(*store.Credential) error { counts[1]++; return nil }) }},
			{"latest-s", func() error { return db.Latest(ctx, func(*track.Fix) error { counts[2]++; return nil }) }},
			{"floors-s", func() error { return db.Floors(ctx, func(store.Floor) error { counts[3]++; return nil }) }},
		}
		for i, s := range steps {
			start := time.Now()
			if err := s.load(); err != nil || counts[i] < devices*99/100 {
				b.Fatalf("%s: %d, %v", s.name, counts[i], err)
			}
			b.ReportMetric(time.Since(start).Seconds(), s.name)
		}
		db.Close()
	}
}
