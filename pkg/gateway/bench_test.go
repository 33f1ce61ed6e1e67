package gateway

import (
	"strconv"
	"testing"

	"tracker/pkg/hub"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// fullFrame is as many fixes as a frame of a busy stream has.
func fullFrame() *hub.Frame {
	f := &hub.Frame{Kind: hub.Fixes, Stream: 7, Epoch: 1 << 60, Seq: 1000}
	for i := range 448 {
		fix := fixAt(track.DeviceID(i+1), i, 50, 10)
		fix.Has, fix.Acc, fix.Speed = 31, 77, 1234
		f.Fixes = append(f.Fixes, fix)
	}
	return f
}

func nameFor(dst []byte, id track.DeviceID) []byte {
	return strconv.AppendUint(append(dst, "van-"...), uint64(id), 10)
}

// A frame is encoded once for all, so what it may cost is little more than the memory of
// its names: one string for all of them, and the epoch.
func TestFrameIsEncodedWithoutAnAllocationAFix(t *testing.T) {
	if raceEnabled {
		t.Skip("skip: the race detector lets pools drop what they hold")
	}
	f, encode := fullFrame(), frameEncoder(nameFor)
	buf := encode(nil, f)
	if !trk.VerifyWatchFrame(buf) {
		t.Fatal("not a frame")
	}
	if n := testing.AllocsPerRun(50, func() { buf = encode(buf[:0], f) }); n > 4 {
		t.Errorf("%v allocations for %d fixes", n, len(f.Fixes))
	}
}

func BenchmarkFrame(b *testing.B) {
	f, encode := fullFrame(), frameEncoder(nameFor)
	buf := encode(nil, f)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = encode(buf[:0], f)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/448, "ns/fix")
}
