package live

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// model is the present as one would write it down: a map, and a walk over all of it
// for every question.
type model struct {
	devices map[track.DeviceID]*modelDevice
	clock   uint64
}

type modelDevice struct {
	fix     track.Fix
	seen    int64 // time of the newest word of it
	changed uint64
}

func newModel() *model { return &model{devices: map[track.DeviceID]*modelDevice{}} }

func (m *model) apply(f track.Fix) (track.Fix, track.Move) {
	own := f.Time
	f.Time = f.Present()
	f, mv := m.put(f)
	f.Time = own
	return f, mv
}

func (m *model) put(f track.Fix) (track.Fix, track.Move) {
	f.Flags &^= track.Late | track.Jump
	d := m.devices[f.Device]
	if d == nil {
		kept := f
		kept.Ext, kept.ExtLen = 0, 0
		m.devices[f.Device] = &modelDevice{kept, f.Time, m.clock}
		return f, track.Move{Fresh: true}
	}
	var mv track.Move
	placed := d.fix.Has&track.HasPos != 0
	if placed {
		mv.Had, mv.From = true, d.fix.At
	}
	beat := f.Has&track.HasPos == 0
	if beat && f.Time < d.seen || !beat && placed && f.Time < d.fix.Time {
		f.Flags |= track.Late
		return f, mv
	}
	mv.Fresh, d.changed = true, m.clock
	switch {
	case beat && placed:
		d.fix.Beat(&f)
		d.seen = f.Time
	case f.Time < d.seen: // a place between the last one and a newer heartbeat
		f.Flags |= m.jump(d, placed, &f)
		old := d.fix
		d.fix = f
		d.fix.Event = old.Event
		if old.Has&track.HasBat != 0 {
			d.fix.Bat, d.fix.Has = old.Bat, d.fix.Has|track.HasBat
		}
	default:
		if !beat {
			f.Flags |= m.jump(d, placed, &f)
		}
		d.fix, d.seen = f, f.Time
	}
	d.fix.Ext, d.fix.ExtLen = 0, 0
	return f, mv
}

func (m *model) jump(d *modelDevice, placed bool, f *track.Fix) track.Flags {
	if !placed {
		return 0
	}
	seconds := max(float64(f.Time-d.fix.Time)/1000, 1)
	if float64(geo.Distance(d.fix.At, f.At))/seconds > 350 {
		return track.Jump
	}
	return 0
}

func (m *model) where(want func(*modelDevice) bool) []track.Fix {
	var out []track.Fix
	for _, d := range m.devices {
		if want(d) {
			out = append(out, d.fix)
		}
	}
	slices.SortFunc(out, byID)
	return out
}

func (m *model) near(p geo.Point, within geo.Meters, limit int) []Hit {
	var out []Hit
	for _, d := range m.devices {
		dist := geo.Distance(p, d.fix.At)
		if d.fix.Has&track.HasPos != 0 && (within <= 0 || dist <= within) {
			out = append(out, Hit{d.fix, dist})
		}
	}
	slices.SortFunc(out, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(a.Distance, b.Distance), byID(a.Fix, b.Fix))
	})
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out
}

func byID(a, b track.Fix) int { return cmp.Compare(a.Device, b.Device) }

// place makes up places that are hard: crowded cells, poles, both sides of the
// antimeridian, edges of cells, and everywhere else.
func place(r *rand.Rand) geo.Point {
	around := func(lat, lon, spread int32) geo.Point {
		p := geo.Point{
			Lat: lat + int32(r.Int64N(int64(2*spread)+1)) - spread,
			Lon: int32((int64(lon)+r.Int64N(int64(2*spread)+1)-int64(spread)+3*geo.MaxLon)%(2*geo.MaxLon) - geo.MaxLon),
		}
		p.Lat = max(-geo.MaxLat, min(geo.MaxLat, p.Lat))
		return p
	}
	switch r.IntN(8) {
	case 0:
		return around(geo.MaxLat, 0, 3_000_000)
	case 1:
		return geo.Point{Lat: -geo.MaxLat + int32(r.IntN(2_000_000)), Lon: int32(r.Int64N(2*geo.MaxLon+1) - geo.MaxLon)}
	case 2:
		return around(0, geo.MaxLon, 5_000_000)
	case 3:
		return geo.Point{Lat: int32(r.IntN(100)) * geo.CellSize, Lon: []int32{-geo.MaxLon, geo.MaxLon, 0}[r.IntN(3)]}
	case 4, 5:
		return around(481_370_000, 115_750_000, 2_000_000)
	default:
		return geo.Point{
			Lat: int32(r.Int64N(2*geo.MaxLat+1) - geo.MaxLat),
			Lon: int32(r.Int64N(2*geo.MaxLon+1) - geo.MaxLon),
		}
	}
}

// nextFix is a step of a device: mostly a little further, sometimes elsewhere, late,
// at the same time, or a heartbeat.
func nextFix(r *rand.Rand, m *model, id track.DeviceID) track.Fix {
	f := track.Fix{
		Device: id, Wire: id ^ 0xabc, Time: r.Int64N(1_000_000), Arrived: r.Int64N(1 << 41),
		At: place(r), Epoch: r.Uint32(), PID: r.Uint32N(1 << 24), Ext: 7, ExtLen: 3,
		Alt: int16(r.Uint32()), Speed: uint16(r.Uint32()), Course: uint16(r.IntN(36000)),
		Acc: uint8(r.Uint32()), Bat: uint8(r.Uint32()), Event: track.Event(r.IntN(7)), Sub: uint8(r.Uint32()),
		Has:   track.Has(r.Uint32N(32)) | track.HasPos,
		Flags: track.Flags(r.Uint32N(8)),
	}
	if d := m.devices[id]; d != nil {
		f.Time = d.fix.Time + r.Int64N(60_000)
		if r.IntN(4) > 0 {
			f.At.Lat = max(-geo.MaxLat, min(geo.MaxLat, d.fix.At.Lat+int32(r.IntN(40_000))-20_000))
			f.At.Lon = int32((int64(d.fix.At.Lon)+r.Int64N(40_000)-20_000+3*geo.MaxLon)%(2*geo.MaxLon) - geo.MaxLon)
		}
		switch r.IntN(10) {
		case 0:
			f.Time = d.fix.Time - 1 - r.Int64N(60_000)
		case 1:
			f.Time = d.fix.Time
		}
	}
	if r.IntN(8) == 0 {
		f.Has &^= track.HasPos
	}
	if f.Flags&track.Suspect != 0 { // its own clock is ahead, ours decides
		f.Arrived, f.Time = f.Time, f.Time+1+r.Int64N(80_000_000)
	}
	return f
}

func TestPresentAgreesWithModelOnRandomTracks(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			l, m := New(Config{Shards: 1 << seed}), newModel()
			devices := []int{3, 300, 1500, 6000}[seed]
			rounds := 40
			if raceEnabled {
				rounds = 8
			}
			for round := range rounds {
				since := l.Stamp()
				m.clock = since
				for range devices / 4 {
					step(t, r, l, m, devices)
				}
				checkScans(t, r, l, m, since)
				if round%4 == 0 {
					checkNear(t, r, l, m)
				}
			}
		})
	}
}

func anyID(r *rand.Rand, n int) track.DeviceID { return track.DeviceID(1+r.IntN(n)) * 0x1_0001_0001 }

func step(t *testing.T, r *rand.Rand, l *Live, m *model, devices int) {
	t.Helper()
	id := anyID(r, devices)
	if r.IntN(30) == 0 {
		got, ok := l.Remove(id)
		d, has := m.devices[id]
		delete(m.devices, id)
		if ok != has || has && got != d.fix {
			t.Fatalf("Remove(%v) = %+v, %v; want %+v, %v", id, got, ok, d, has)
		}
		return
	}
	var fixes, want []track.Fix
	var moves, wantMoves []track.Move
	for range 1 + r.IntN(3)*40 {
		f := nextFix(r, m, id)
		wf, wm := m.apply(f)
		fixes, want, wantMoves = append(fixes, f), append(want, wf), append(wantMoves, wm)
		id = anyID(r, devices)
	}
	if r.IntN(2) == 0 {
		moves = l.ApplyBatch(fixes, moves)
	} else {
		for i := range fixes {
			moves = append(moves, l.Apply(&fixes[i]))
		}
	}
	for i := range fixes {
		if fixes[i] != want[i] || moves[i] != wantMoves[i] {
			t.Fatalf("fix %d of %d\n got %+v\n     %+v\nwant %+v\n     %+v", i, len(fixes), fixes[i], moves[i], want[i], wantMoves[i])
		}
	}
}

func checkScans(t *testing.T, r *rand.Rand, l *Live, m *model, since uint64) {
	t.Helper()
	if l.Len() != len(m.devices) {
		t.Fatalf("Len = %d, want %d", l.Len(), len(m.devices))
	}
	for _, s := range []uint64{0, since} {
		compare(t, fmt.Sprintf("All since %d", s),
			gather(func(y func(*track.Fix) bool) { l.All(s, y) }),
			m.where(func(d *modelDevice) bool { return d.changed >= s }))
		a, b := place(r), place(r)
		box := geo.Box{South: min(a.Lat, b.Lat), North: max(a.Lat, b.Lat), West: a.Lon, East: b.Lon}
		if r.IntN(2) == 0 {
			box = geo.Around(a, geo.Meters(math.Exp(r.Float64()*14)))
		}
		compare(t, fmt.Sprintf("InBox %v since %d", box, s),
			gather(func(y func(*track.Fix) bool) { l.InBox(box, s, y) }),
			m.where(func(d *modelDevice) bool {
				return d.changed >= s && d.fix.Has&track.HasPos != 0 && box.Contains(d.fix.At)
			}))
	}
	for id, d := range m.devices {
		if got, ok := l.Get(id); !ok || got != d.fix {
			t.Fatalf("Get(%v) = %+v, %v, want %+v", id, got, ok, d.fix)
		}
		break
	}
}

func checkNear(t *testing.T, r *rand.Rand, l *Live, m *model) {
	t.Helper()
	for _, limit := range []int{0, 1, 10, 500} {
		for _, within := range []geo.Meters{0, 1, 5_000, 300_000, 30_000_000} {
			p := place(r)
			got, want := l.Near(p, within, limit), m.near(p, within, limit)
			if !slices.Equal(got, want) {
				t.Fatalf("Near(%v, %v, %d): %d hits, want %d\n got %v\nwant %v", p, within, limit, len(got), len(want), got, want)
			}
		}
	}
}

func gather(scan func(func(*track.Fix) bool)) []track.Fix {
	var out []track.Fix
	scan(func(f *track.Fix) bool { out = append(out, *f); return true })
	slices.SortFunc(out, byID)
	return out
}

func compare(t *testing.T, what string, got, want []track.Fix) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d fixes, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: fix %d\n got %+v\nwant %+v", what, i, got[i], want[i])
		}
	}
}

func at(id track.DeviceID, ms int64, lat, lon float64) track.Fix {
	return track.Fix{Device: id, Time: ms, At: geo.Deg(lat, lon), Has: track.HasPos}
}

func TestFlagsTellLateAndJump(t *testing.T) {
	tests := []struct {
		name  string
		first track.Fix
		then  track.Fix
		flags track.Flags
		fresh bool
	}{
		{"newer and near", at(1, 0, 48, 11), at(1, 1000, 48.001, 11), 0, true},
		{"older", at(1, 1000, 48, 11), at(1, 999, 48, 11), track.Late, false},
		{"same time", at(1, 1000, 48, 11), at(1, 1000, 48.0001, 11), 0, true},
		{"340 m in a second", at(1, 0, 48, 11), at(1, 1000, 48.00305, 11), 0, true},
		{"360 m in a second", at(1, 0, 48, 11), at(1, 1000, 48.00324, 11), track.Jump, true},
		{"340 m in no time", at(1, 0, 48, 11), at(1, 0, 48.00305, 11), 0, true},
		{"diagonal that only seems too long", at(1, 0, 0, 0), at(1, 1000, 0.002, 0.002), 0, true},
		{"across the antimeridian", at(1, 0, 10, 179.999), at(1, 1000, 10, -179.999), 0, true},
		{"over the pole", at(1, 0, 89.999, 0), at(1, 1000, 89.999, 180), 0, true},
		{"half the globe in an hour", at(1, 0, 0, 0), at(1, 3_600_000, 0, 180), track.Jump, true},
		{"half the globe in a day", at(1, 0, 0, 0), at(1, 86_400_000, 0, 180), 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := New(Config{})
			l.Apply(&tt.first)
			m := l.Apply(&tt.then)
			want := track.Move{From: tt.first.At, Had: true, Fresh: tt.fresh}
			if tt.then.Flags != tt.flags || m != want {
				t.Errorf("flags %03b, move %+v; want %03b, %+v", tt.then.Flags, m, tt.flags, want)
			}
		})
	}
}

func TestHeartbeatKeepsPlace(t *testing.T) {
	l := New(Config{})
	f := at(1, 1000, 48, 11)
	l.Apply(&f)
	beat := track.Fix{Device: 1, Time: 9000, Arrived: 9100, Has: track.HasBat, Bat: 40, Event: track.EventSOS}
	m := l.Apply(&beat)
	old := track.Fix{Device: 1, Time: 8000, Arrived: 9200, Has: track.HasBat, Bat: 90}
	l.Apply(&old)

	want := f
	want.Arrived, want.Bat, want.Event, want.Has = 9100, 40, track.EventSOS, f.Has|track.HasBat
	if got, _ := l.Get(1); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if !m.Fresh || !m.Had || m.From != f.At || old.Flags&track.Late == 0 {
		t.Errorf("move %+v, flags of the older heartbeat %v", m, old.Flags)
	}
	if hits := l.Near(f.At, 1, 0); len(hits) != 1 {
		t.Errorf("near: %v", hits)
	}
}

// Every device paces up and down inside its own box, while queries run. Whatever
// they see must be whole, and never more than one of a device.
func TestQueriesAmongWriters(t *testing.T) {
	const devices, steps = 2000, 60
	l := New(Config{})
	home := func(id track.DeviceID) geo.Point {
		return geo.Point{Lat: int32(id%50) * 2_000_000, Lon: int32(id/50)*2_000_000 + geo.MaxLon - 40_000_000}
	}
	step := func(id track.DeviceID, n int) track.Fix {
		p := home(id)
		p.Lat += int32(n % 2 * 999_000) // every other cell
		if p.Lon > geo.MaxLon {
			p.Lon -= geo.MaxLon
			p.Lon -= geo.MaxLon
		}
		return track.Fix{Device: id, Wire: id, Time: int64(n) * 1e6, Arrived: int64(id), At: p, Has: track.HasPos, Epoch: uint32(n)}
	}
	var done atomic.Bool
	var writers, readers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			var moves []track.Move
			for n := range steps {
				var batch []track.Fix
				for id := track.DeviceID(1 + w); id <= devices; id += 2 {
					batch = append(batch, step(id, n))
				}
				moves = l.ApplyBatch(batch, moves[:0])
				if id := track.DeviceID(1 + w + n*2); n%7 == 0 {
					l.Remove(id)
				}
			}
		})
	}
	check := func(f *track.Fix) {
		if want := step(f.Device, int(f.Time/1e6)); *f != want {
			t.Errorf("torn fix %+v, want %+v", *f, want)
		}
	}
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				since := l.Stamp()
				l.All(since, func(f *track.Fix) bool { check(f); return true })
				l.InBox(geo.Around(home(777), 400_000), 0, func(f *track.Fix) bool { check(f); return true })
				seen := map[track.DeviceID]bool{}
				for _, h := range l.Near(home(1999), 0, 100) {
					check(&h.Fix)
					if seen[h.Fix.Device] {
						t.Errorf("device %v twice", h.Fix.Device)
					}
					seen[h.Fix.Device] = true
				}
				if f, ok := l.Get(5); ok {
					check(&f)
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	n := 0
	l.All(0, func(f *track.Fix) bool { n++; return true })
	if n != l.Len() {
		t.Errorf("All yields %d devices, Len is %d", n, l.Len())
	}
}

func TestScanStopsWhenAsked(t *testing.T) {
	l := New(Config{Shards: 1})
	for id := range track.DeviceID(1000) {
		f := at(id+1, 0, 10, 10)
		l.Apply(&f)
	}
	for name, scan := range map[string]func(func(*track.Fix) bool){
		"all": func(y func(*track.Fix) bool) { l.All(0, y) },
		"box": func(y func(*track.Fix) bool) { l.InBox(geo.Around(geo.Deg(10, 10), 1), 0, y) },
	} {
		n := 0
		scan(func(*track.Fix) bool { n++; return n < 300 })
		if n != 300 {
			t.Errorf("%s: yielded %d times, want 300", name, n)
		}
	}
}

func TestYieldMayCallBack(t *testing.T) {
	l := New(Config{Shards: 1})
	for id := range track.DeviceID(600) {
		f := at(id+1, 0, 10, 10)
		l.Apply(&f)
	}
	l.InBox(geo.Around(geo.Deg(10, 10), 1), 0, func(f *track.Fix) bool {
		g := *f
		g.At = geo.Deg(50, 50)
		l.Apply(&g)
		_, ok := l.Remove(f.Device)
		return ok
	})
	if l.Len() != 0 {
		t.Errorf("%d devices left", l.Len())
	}
}

func TestIndexSurvivesComingAndGoing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	l, there := New(Config{Shards: 1}), map[track.DeviceID]bool{}
	for range 100_000 {
		id := track.DeviceID(1 + r.IntN(3000))
		if r.IntN(2) == 0 {
			f := at(id, 0, 1, 1)
			l.Apply(&f)
			there[id] = true
		} else {
			_, ok := l.Remove(id)
			if ok != there[id] {
				t.Fatalf("Remove(%v) = %v", id, ok)
			}
			delete(there, id)
		}
	}
	for id := track.DeviceID(1); id <= 3000; id++ {
		if _, ok := l.Get(id); ok != there[id] {
			t.Fatalf("Get(%v) = %v, want %v", id, ok, there[id])
		}
	}
	if got := l.shards[0].next; got > 3001 {
		t.Errorf("%d slots used for 3000 devices: they are not used again", got)
	}
}

// The record keeps Has and Flags in a byte each and times in 48 bits.
func TestRecordKeepsWholeFix(t *testing.T) {
	for _, ms := range []int64{0, -1, 1<<47 - 1, -1 << 47, 4294967295996} {
		f := track.Fix{
			Device: track.MaxDeviceID, Wire: track.MaxDeviceID, Time: ms, Arrived: ms,
			At: geo.Point{Lat: -geo.MaxLat, Lon: -geo.MaxLon}, Epoch: math.MaxUint32, PID: 1<<24 - 1,
			Alt: math.MinInt16, Speed: math.MaxUint16, Course: math.MaxUint16, Acc: 255, Bat: 255,
			Has: 255, Flags: track.Suspect, Event: 255, Sub: 255,
		}
		l := New(Config{})
		l.Stamp()
		l.Apply(&f)
		if got, _ := l.Get(f.Device); got != f {
			t.Errorf("got  %+v\nwant %+v", got, f)
		}
	}
}

func TestApplyAllocatesNothing(t *testing.T) {
	l := New(Config{})
	fixes, moves := make([]track.Fix, 64), make([]track.Move, 0, 64)
	n := 0
	if got := testing.AllocsPerRun(1000, func() {
		n++
		for i := range fixes {
			fixes[i] = at(track.DeviceID(i+1), int64(n), float64(n%80), float64(i))
		}
		moves = l.ApplyBatch(fixes, moves[:0])
		l.Apply(&fixes[0])
	}); got > 0.05 { // a block of the grid now and then
		t.Errorf("%v allocations", got)
	}
}

func TestSinceSeesOnlyWhatChanged(t *testing.T) {
	l := New(Config{})
	l.Apply(&track.Fix{Device: 1, Time: 1, Has: track.HasPos})
	l.Apply(&track.Fix{Device: 2, Time: 1, Has: track.HasPos})
	mark := l.Stamp()
	l.Apply(&track.Fix{Device: 2, Time: 2, Has: track.HasPos})
	if _, ok := l.Since(1, mark); ok {
		t.Error("device 1 did not change, but is shown")
	}
	if f, ok := l.Since(2, mark); !ok || f.Time != 2 {
		t.Errorf("device 2 changed to %+v, %v", f, ok)
	}
	if _, ok := l.Since(1, 0); !ok {
		t.Error("since ever leaves device 1 out")
	}
}

func TestClockThatRanAheadDoesNotFreezeTheDevice(t *testing.T) {
	l := New(Config{})
	const now = 1_700_000_000_000
	ahead := track.Fix{Device: 1, Time: now + 3_600_000, Arrived: now, At: geo.Deg(1, 1), Has: track.HasPos, Flags: track.Suspect}
	if m := l.Apply(&ahead); !m.Fresh || ahead.Time != now+3_600_000 {
		t.Fatalf("move %+v, fix %+v: its own time must stay as it was", m, ahead)
	}
	if f, _ := l.Get(1); f.Time != now || f.Flags&track.Suspect == 0 {
		t.Errorf("present %+v, want the time of arrival, marked", f)
	}
	right := track.Fix{Device: 1, Time: now + 10_000, Arrived: now + 10_000, At: geo.Deg(2, 2), Has: track.HasPos}
	if m := l.Apply(&right); !m.Fresh || right.Flags&track.Late != 0 {
		t.Errorf("the fix after the clock was put right: %+v, flags %v", m, right.Flags)
	}
}
