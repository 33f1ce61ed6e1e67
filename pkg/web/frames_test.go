package web

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gobwas/ws"

	"tracker/pkg/hub"
	"tracker/pkg/track"
)

func sampleFrames() []*hub.Frame {
	fixes := []track.Fix{sampleFixes[0].fix, sampleFixes[1].fix}
	return []*hub.Frame{
		{Kind: hub.Snapshot, Fresh: true, More: true, Stream: 7, Epoch: 0xfedcba9876543210, Fixes: fixes},
		{Kind: hub.Snapshot, Stream: 7, Epoch: 1, Seq: 1 << 60},
		{Kind: hub.Fixes, Stream: 7, Seq: 12, Fixes: fixes, Left: []track.DeviceID{1, track.MaxDeviceID}},
		{Kind: hub.Fixes, Stream: 7, Seq: 12, Left: []track.DeviceID{1}},
		{Kind: hub.Resync, More: true, Stream: 7, Seq: 99, Skipped: 80, Fixes: fixes[:1]},
		{Kind: hub.Resync, Fresh: true, Stream: 7, Seq: 99, Fixes: fixes[:1]},
	}
}

func TestFramesGolden(t *testing.T) {
	var got []byte
	for _, f := range sampleFrames() {
		got = append(appendFrame(got, f, named("van")), '\n')
	}
	golden(t, "frames.jsonl", got)
}

func TestEncodedFrameIsAWholeWebSocketFrame(t *testing.T) {
	for _, fixes := range []int{0, 1, 3, 300, 1000} {
		f := hub.Frame{Kind: hub.Fixes, Seq: 1}
		for range fixes {
			f.Fixes = append(f.Fixes, sampleFixes[0].fix)
		}
		for _, before := range []string{"", "what stood here before"} {
			b := frameEncoder(named("van"))([]byte(before), &f)
			b, ok := bytes.CutPrefix(b, []byte(before))
			if !ok {
				t.Fatal("what stood before is gone")
			}
			want := ws.MustCompileFrame(ws.NewTextFrame(appendFrame(nil, &f, named("van"))))
			if !bytes.Equal(b, want) {
				t.Errorf("%d fixes: got %d bytes %.40q, want %d bytes %.40q", fixes, len(b), b, len(want), want)
			}
		}
	}
}

func BenchmarkEncodeFrame(b *testing.B) {
	for _, n := range []int{1, 32, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := hub.Frame{Kind: hub.Fixes, Stream: 1}
			for range n {
				f.Fixes = append(f.Fixes, sampleFixes[0].fix)
			}
			enc := frameEncoder(named("van-1"))
			buf := make([]byte, 0, 1<<18)
			b.ReportAllocs()
			for b.Loop() {
				buf = enc(buf[:0], &f)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/fix")
		})
	}
}
