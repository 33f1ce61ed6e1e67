package sqlite

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/store"
	"tracker/pkg/track"
)

// track1Hz is a car with a phone: every field set, honest noise in all of them.
func track1Hz(rng *rand.Rand, device track.DeviceID, n int) []track.Fix {
	const start = 1_764_000_000_000
	lat, lon := 48.1+rng.Float64(), 11.5+rng.Float64()
	course, speed, alt := rng.Float64()*360, 14.0, 500.0
	fixes := make([]track.Fix, n)
	for i := range fixes {
		speed = max(0, speed+rng.NormFloat64()*0.4)
		course = math.Mod(course+rng.NormFloat64()*2+360, 360)
		alt += rng.NormFloat64() * 0.5
		p := geo.Travel(geo.Deg(lat, lon), course, geo.Meters(speed))
		lat, lon = p.LatDeg(), p.LonDeg()
		noisy := geo.Deg(lat+rng.NormFloat64()*1.5/111_111, lon+rng.NormFloat64()*1.5/74_000)
		fixes[i] = track.Fix{
			Device: device, Wire: device, Time: start + int64(i)*1000, Arrived: start + int64(i)*1000 + 40 + int64(rng.ExpFloat64()*15),
			At: noisy, Epoch: 1_763_990_000, PID: uint32(i), Alt: int16(alt + rng.NormFloat64()),
			Speed:  uint16(max(0, speed+rng.NormFloat64()*0.2) * 100),
			Course: uint16(math.Mod(course+rng.NormFloat64()*1.5+720, 360) * 100),
			Acc:    uint8(0x85 + rng.IntN(4)), Bat: uint8(90 - i*20/max(n, 1)),
			Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat,
		}
	}
	return fixes
}

// anyFixes are fixes of one device with whatever in every field, and their TLVs, in
// order.
func anyFixes(rng *rand.Rand, n int) ([]track.Fix, []byte) {
	device := track.DeviceID(rng.Uint64() >> 16)
	fixes := make([]track.Fix, n)
	for i := range fixes {
		fixes[i] = track.Fix{
			Device: device, Wire: track.DeviceID(rng.Uint64() >> 16), Time: int64(rng.Uint64()), Arrived: int64(rng.Uint64()),
			At:    geo.Point{Lat: int32(rng.Uint32()), Lon: int32(rng.Uint32())},
			Epoch: rng.Uint32(), PID: rng.Uint32(), Alt: int16(rng.Uint32()), Speed: uint16(rng.Uint32()), Course: uint16(rng.Uint32()),
			Acc: uint8(rng.Uint32()), Bat: uint8(rng.Uint32()), Has: track.Has(rng.Uint32()), Flags: track.Flags(rng.Uint32()),
			Event: track.Event(rng.Uint32()), Sub: uint8(rng.Uint32()), ExtLen: uint16(rng.IntN(9)),
		}
	}
	slices.SortFunc(fixes, func(a, b track.Fix) int { return store.Compare(&a, &b) })
	var ext []byte
	for i := range fixes {
		fixes[i].Ext = uint32(len(ext))
		for range fixes[i].ExtLen {
			ext = append(ext, byte(rng.Uint32()))
		}
	}
	return fixes, ext
}

func TestChunkGivesBackEveryField(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var enc, dec chunkCoder
	check := func(name string, fixes []track.Fix, ext []byte) {
		t.Helper()
		b := enc.append(nil, fixes, ext)
		got, gotExt, err := dec.parse(b, fixes[0].Device, fixes[0].Time, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(got, fixes) || !bytes.Equal(gotExt, ext) {
			t.Fatalf("%s:\ngot  %+v\nwant %+v", name, got, fixes)
		}
	}
	for _, n := range []int{1, 2, 3, 60, chunkMax} {
		fixes, ext := anyFixes(rng, n)
		check("anything", fixes, ext)
		check("car", track1Hz(rng, 7, n), nil)
	}
	for range 300 {
		// One column that jumps now and then between the edges of its range.
		fixes := track1Hz(rng, 9, 1+rng.IntN(80))
		for i := range fixes {
			if rng.IntN(10) == 0 {
				fixes[i].Course = []uint16{0, 35999, 36000, 65535}[rng.IntN(4)]
				fixes[i].At.Lon = []int32{-geo.MaxLon, geo.MaxLon}[rng.IntN(2)]
				fixes[i].Arrived = math.MaxInt64 - rng.Int64N(2)
			}
		}
		check("jumps", fixes, nil)
	}
}

func TestChunkRefusesDamage(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var c chunkCoder
	good := c.append(nil, track1Hz(rng, 7, 60), nil)
	for i := range good {
		if _, _, err := c.parse(good[:i], 7, 0, nil, nil); !errors.Is(err, errDamaged) {
			t.Fatalf("cut at %d: got %v", i, err)
		}
	}
	if _, _, err := c.parse(append(slices.Clone(good), 0), 7, 0, nil, nil); !errors.Is(err, errDamaged) {
		t.Fatalf("a byte too much: got %v", err)
	}
}

func TestTailRecordGivesBackEveryField(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for n := range 40 {
		fixes, ext := anyFixes(rng, n)
		for i := range fixes {
			fixes[i].Device = track.DeviceID(rng.Uint64() >> 16)
		}
		rec := appendTail([]byte("before"), fixes, ext)[6:]
		got, gotExt, err := parseTail(rec, nil, nil)
		if err != nil || !slices.Equal(got, fixes) || !bytes.Equal(gotExt, ext) {
			t.Fatalf("%d fixes: %v\ngot  %+v\nwant %+v", n, err, got, fixes)
		}
		for i := range rec {
			bad := slices.Clone(rec)
			bad[i] ^= 1 << rng.IntN(8)
			if got, _, err := parseTail(bad, nil, nil); !errors.Is(err, errDamaged) || len(got) != 0 {
				t.Fatalf("byte %d changed: got %d fixes, %v", i, len(got), err)
			}
			if _, _, err := parseTail(rec[:i], nil, nil); !errors.Is(err, errDamaged) {
				t.Fatalf("cut at %d: got %v", i, err)
			}
		}
	}
}

func TestBlockGivesBackItsChunks(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	var w blockWriter
	var want [][]track.Fix
	for range 2 { // the second time in used memory
		want = want[:0]
		for d := range 50 {
			fixes := track1Hz(rng, track.DeviceID(d*d*1000), 1+rng.IntN(5))
			w.add(fixes, nil)
			want = append(want, fixes)
		}
		if w.first != 0 || w.last != 49*49*1000 {
			t.Fatalf("first %v, last %v", w.first, w.last)
		}
		b, err := openBlock(w.take(nil))
		if err != nil {
			t.Fatal(err)
		}
		var c chunkCoder
		for i := range want {
			if ok, err := b.next(); !ok || err != nil {
				t.Fatalf("chunk %d: %v, %v", i, ok, err)
			}
			got, _, err := c.parse(b.chunk, b.device, b.t0, nil, nil)
			if err != nil || !slices.Equal(got, want[i]) || b.t1 != want[i][len(want[i])-1].Time {
				t.Fatalf("chunk %d: %v\ngot  %+v\nwant %+v", i, err, got, want[i])
			}
		}
		if ok, err := b.next(); ok || err != nil {
			t.Fatalf("after the last: %v, %v", ok, err)
		}
	}
}

func TestNoisyTrackTakesFewBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	var c chunkCoder
	for _, row := range []struct {
		n    int
		most float64
	}{{1, 50}, {10, 16}, {60, 11}, {chunkMax, 10}} {
		size := 0
		for d := range 20 {
			size += len(c.append(nil, track1Hz(rng, track.DeviceID(d), row.n), nil))
		}
		got := float64(size) / 20 / float64(row.n)
		t.Logf("%4d fixes a chunk: %.2f bytes a fix", row.n, got)
		if got > row.most {
			t.Errorf("%d fixes a chunk: %.2f bytes a fix, want at most %.0f", row.n, got, row.most)
		}
	}
}

// TestShipsTakeFewBytes codes what receivers heard of ten thousand ships, about ten
// reports of each, where the recording is at hand.
func TestShipsTakeFewBytes(t *testing.T) {
	f, err := os.Open("../../../../shared/data/ais-us-2022-01-03.csv.gz")
	if err != nil {
		t.Skip("the recorded ships are not here")
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(6, 6))
	ships := make(map[string][]track.Fix)
	number := func(s string) float64 { v, _ := strconv.ParseFloat(s, 64); return v }
	for _, r := range rows[1:] { // MMSI, BaseDateTime, LAT, LON, SOG, COG
		at, err := time.Parse("2006-01-02T15:04:05", r[1])
		if err != nil {
			t.Fatal(err)
		}
		ships[r[0]] = append(ships[r[0]], track.Fix{
			Device: 1, Wire: 1, Time: at.UnixMilli(), Arrived: at.UnixMilli() + 20 + rng.Int64N(30),
			At: geo.Deg(number(r[2]), number(r[3])), Speed: uint16(number(r[4]) * 51.44), Course: uint16(number(r[5]) * 100),
			Epoch: 1_641_168_000, PID: uint32(len(ships[r[0]])), Has: track.HasPos | track.HasVel,
		})
	}
	var c chunkCoder
	size := 0
	for _, fixes := range ships {
		sortFixes(fixes)
		size += len(c.append(nil, fixes, nil))
	}
	got := float64(size) / float64(len(rows)-1)
	t.Logf("%d ships: %.2f bytes a fix", len(ships), got)
	if got > 9.5 {
		t.Errorf("%.2f bytes a fix, want at most 9.5", got)
	}
}

func FuzzChunk(f *testing.F) {
	rng := rand.New(rand.NewPCG(6, 6))
	var c chunkCoder
	f.Add(c.append(nil, track1Hz(rng, 7, 60), nil))
	for n := 1; n < 5; n++ {
		fixes, ext := anyFixes(rng, n)
		f.Add(c.append(nil, fixes, ext))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c chunkCoder
		fixes, ext, err := c.parse(b, 1, 2, nil, nil)
		if err != nil {
			return
		}
		again, extAgain, err := c.parse(c.append(nil, fixes, ext), 1, 2, nil, nil)
		if err != nil || !slices.Equal(again, fixes) || !bytes.Equal(extAgain, ext) {
			t.Fatalf("%v\ngot  %+v\nwant %+v", err, again, fixes)
		}
	})
}

// The fuzzers of sealed records put the right checksum on whatever they are given:
// what is behind it must hold by itself.

func FuzzTail(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 7))
	for n := range 5 {
		fixes, ext := anyFixes(rng, n)
		rec := appendTail(nil, fixes, ext)
		f.Add(rec[:len(rec)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fixes, ext, err := parseTail(seal(slices.Clone(b)), nil, nil)
		if err != nil {
			return
		}
		again, extAgain, err := parseTail(appendTail(nil, fixes, ext), nil, nil)
		if err != nil || !slices.Equal(again, fixes) || !bytes.Equal(extAgain, ext) {
			t.Fatalf("%v\ngot  %+v\nwant %+v", err, again, fixes)
		}
	})
}

func FuzzBlock(f *testing.F) {
	rng := rand.New(rand.NewPCG(8, 8))
	var w blockWriter
	for d := range 3 {
		w.add(track1Hz(rng, track.DeviceID(d), 3), nil)
		b := w.take(nil)
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := openBlock(seal(slices.Clone(b)))
		if err != nil {
			return
		}
		var c chunkCoder
		for {
			ok, err := r.next()
			if !ok || err != nil {
				return
			}
			_, _, _ = c.parse(r.chunk, r.device, r.t0, nil, nil)
		}
	})
}

func BenchmarkChunkAppend(b *testing.B) {
	fixes := track1Hz(rand.New(rand.NewPCG(9, 9)), 7, 60)
	var c chunkCoder
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = c.append(dst[:0], fixes, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/60, "ns/fix")
	b.ReportMetric(float64(len(dst))/60, "bytes/fix")
}

func BenchmarkChunkParse(b *testing.B) {
	var c chunkCoder
	src := c.append(nil, track1Hz(rand.New(rand.NewPCG(9, 9)), 7, 60), nil)
	var fixes []track.Fix
	b.ReportAllocs()
	for b.Loop() {
		fixes, _, _ = c.parse(src, 7, 0, fixes[:0], nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/60, "ns/fix")
}

func BenchmarkTailAppend(b *testing.B) {
	rng := rand.New(rand.NewPCG(9, 9))
	var fixes []track.Fix
	for d := range 1000 {
		fixes = append(fixes, track1Hz(rng, track.DeviceID(rng.Uint64()>>16), 1)...)
		fixes[d].Epoch -= rng.Uint32N(80_000)
		fixes[d].PID = rng.Uint32N(80_000)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = appendTail(dst[:0], fixes, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/fix")
	b.ReportMetric(float64(len(dst))/1000, "bytes/fix")
}
