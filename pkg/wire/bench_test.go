package wire

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// walkers are synthetic tracks: a speed in m/s that varies, a course that wanders,
// a fix each interval, newest first.
var walkers = []struct {
	name     string
	speed    float64
	interval float64 // seconds
	wander   float64 // degrees a second
}{
	{"walk 1 Hz", 1.4, 1, 12},
	{"car 1 Hz", 14, 1, 4},
	{"car 10 s", 14, 10, 4},
	{"car 10 Hz", 14, 0.1, 4},
}

func track100(speed, interval, wander float64, sub bool) []track.Fix {
	r := rand.New(rand.NewPCG(5, 6))
	fixes := make([]track.Fix, 100)
	at, course, v, alt := geo.Deg(52.52, 13.405), 77.0, speed, 34.0
	for i := len(fixes) - 1; i >= 0; i-- {
		course = math.Mod(course+r.NormFloat64()*wander*math.Sqrt(interval)+360, 360)
		v = max(0, v+r.NormFloat64()*0.04*speed*math.Sqrt(interval))
		v += (speed - v) * 0.05
		alt += r.NormFloat64() * 0.3 * math.Sqrt(interval)
		at = geo.Travel(at, course, geo.Meters(v*interval))
		ms := float64(len(fixes)-1-i) * interval * 1000
		fixes[i] = track.Fix{
			Time: 1700000000000 + int64(ms), At: at, Alt: int16(math.Round(alt)),
			Speed: uint16(v * 100), Course: uint16(course*100) % maxCourse, Acc: AccuracyCode(300 + 40*r.Float64()),
			Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc,
		}
	}
	return fixes
}

// TestTrailSizes holds the table of docs/protocol.md: bytes a fix, and how many fit.
func TestTrailSizes(t *testing.T) {
	t.Logf("%-10s %8s %8s %8s   fixes in 140/222/508/1200 B", "track", "place", "+alt,vel", "+acc")
	for _, w := range walkers {
		sub := w.interval < 1
		fixes := track100(w.speed, w.interval, w.wander, sub)
		size := func(n int, parts track.Has) int {
			body, err := AppendBody(nil, &Body{Fixes: fixes[:n], TrailParts: parts, Sub: sub, TrailSub: sub})
			if err != nil {
				t.Fatal(err)
			}
			return len(body)
		}
		perFix := func(parts track.Has) float64 {
			return float64(size(100, parts)-size(2, parts)) / 98
		}
		place, more, all := perFix(0), perFix(track.HasAlt|track.HasVel), perFix(track.HasAlt|track.HasVel|track.HasAcc)
		fit := func(datagram int) int {
			n := 1
			for n < 100 && size(n+1, track.HasAlt|track.HasVel)+30 <= datagram {
				n++
			}
			return n
		}
		t.Logf("%-10s %8.1f %8.1f %8.1f   %d / %d / %d / %d", w.name, place, more, all, fit(140), fit(222), fit(508),
			int((1200-30-22)/more))
		if place > 7 || more > 12 || all > 13 {
			t.Errorf("%s: %.1f, %.1f, %.1f bytes a fix", w.name, place, more, all)
		}
	}
}

func BenchmarkDecodeBody(b *testing.B) {
	for _, name := range []string{"minimal", "full", "heartbeat", "trail"} {
		b.Run(name, func(b *testing.B) {
			body := unhex(b, published[name])
			var batch track.Batch
			b.ReportAllocs()
			for b.Loop() {
				batch.Reset()
				if _, err := DecodeBody(&batch, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTrailOf100(b *testing.B) {
	w := walkers[1]
	m := &Body{Fixes: track100(w.speed, w.interval, w.wander, false)}
	for _, parts := range []track.Has{0, track.HasAlt | track.HasVel | track.HasAcc} {
		m.TrailParts = parts
		body, err := AppendBody(nil, m)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("decode/parts=%05b", parts), func(b *testing.B) {
			var batch track.Batch
			b.ReportAllocs()
			for b.Loop() {
				batch.Reset()
				if _, err := DecodeBody(&batch, body); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("encode/parts=%05b", parts), func(b *testing.B) {
			buf := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := AppendBody(buf, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAccuracyCode(b *testing.B) {
	for b.Loop() {
		AccuracyCode(480)
	}
}
