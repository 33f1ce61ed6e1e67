package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// lines is about what a door does: some 130 bytes a fix.
var lines = NewEncoding("lines", func(dst []byte, f *Frame) []byte {
	for i := range f.Fixes {
		x := &f.Fixes[i]
		dst, _ = x.Device.AppendText(append(dst, `{"device":"`...))
		dst = strconv.AppendInt(append(dst, `","time":`...), x.Time, 10)
		dst = strconv.AppendFloat(append(dst, `,"lat":`...), x.At.LatDeg(), 'f', 7, 64)
		dst = strconv.AppendFloat(append(dst, `,"lon":`...), x.At.LonDeg(), 'f', 7, 64)
		dst = append(dst, "}\n"...)
	}
	return dst
})

func batchOf(n int) ([]track.Fix, []track.Move) {
	fixes, moves := make([]track.Fix, n), make([]track.Move, n)
	for i := range fixes {
		fixes[i] = fix(track.DeviceID(i+1), 1, 48+float64(i)/1000, 11)
		moves[i] = track.Move{From: fixes[i].At, Had: true, Fresh: true}
	}
	return fixes, moves
}

func publishTo(h *Hub, fixes []track.Fix, moves []track.Move) {
	p := h.Enter()
	p.Publish(fixes, moves)
	p.Leave()
}

// BenchmarkFanOut makes a frame of every batch and waits until each viewer has its
// bytes; ns/op is the time of one fix for one viewer.
func BenchmarkFanOut(b *testing.B) {
	for _, viewers := range []int{1, 100, 1000} {
		for _, fixes := range []int{1, 20, 100} {
			b.Run(fmt.Sprintf("viewers=%d/fixes=%d", viewers, fixes), func(b *testing.B) {
				fanOut(b, viewers, fixes)
			})
		}
	}
}

func fanOut(b *testing.B, viewers, n int) {
	r := newRiver(Config{MaxFrame: n, QueueBytes: 64 << 20})
	fixes, moves := batchOf(n)
	var got, bytes atomic.Int64
	var ready, done sync.WaitGroup
	for range viewers {
		v := watch(b, r, All())
		ready.Add(1)
		done.Go(func() {
			buf := make([]*Frame, 0, 16)
			for first := true; ; first = false {
				frames, err := v.Next(context.Background(), buf)
				if errors.Is(err, track.ErrClosed) {
					return
				}
				if first { // the snapshot
					ready.Done()
					continue
				}
				for _, f := range frames {
					bytes.Add(int64(len(f.Bytes(lines))))
					got.Add(int64(len(f.Fixes)))
				}
			}
		})
	}
	ready.Wait()
	b.ReportAllocs()
	b.ResetTimer()
	sent := int64(0)
	for i := 0; i < b.N; i += n * viewers {
		publishTo(r.Hub, fixes, moves)
		sent += int64(n * viewers)
		for sent-got.Load() > int64(100*n*viewers) { // stay within the queue
			time.Sleep(10 * time.Microsecond)
		}
	}
	for got.Load() < sent {
		time.Sleep(10 * time.Microsecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(r.Stats().Encodings)/float64(r.Stats().Frames), "encodings/frame")
	for v := range r.viewers {
		defer v.Close()
	}
	close(r.done)
	for v := range r.viewers {
		v.rouse()
	}
	done.Wait()
}

// BenchmarkWake lets a thousand viewers wait for each frame; ns/op is for one of them:
// waking, switching to it, taking the frame, and waiting again.
func BenchmarkWake(b *testing.B) {
	const viewers = 1000
	r := newRiver(Config{MaxFrame: 1})
	ctx, cancel := context.WithCancel(context.Background())
	var got, done sync.WaitGroup
	got.Add(viewers)
	for range viewers {
		v := watch(b, r, All())
		done.Go(func() {
			buf := make([]*Frame, 0, 16)
			for {
				if _, err := v.Next(ctx, buf); err != nil {
					return
				}
				got.Done()
			}
		})
	}
	got.Wait()
	fixes, moves := batchOf(1)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += viewers {
		got.Add(viewers)
		publishTo(r.Hub, fixes, moves)
		got.Wait()
	}
	cancel()
	done.Wait()
}

// BenchmarkPublish is what the river pays; ns/op is for a batch of 64.
func BenchmarkPublish(b *testing.B) {
	run := func(b *testing.B, fixes []track.Fix, moves []track.Move, queries ...Query) {
		r := newRiver(Config{QueueBytes: 64 << 10})
		for _, q := range queries {
			watch(b, r, q)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx) })
		defer running.Wait()
		defer cancel()
		b.ReportAllocs()
		b.ResetTimer()
		for i := 0; b.Loop(); i++ {
			k := i * 64 % len(fixes)
			publishTo(r.Hub, fixes[k:k+64], moves[k:k+64])
		}
		b.ReportMetric(float64(r.Stats().Frames)/float64(b.N), "frames/op")
	}
	fixes, moves := batchOf(64)
	b.Run("nobody", func(b *testing.B) { run(b, fixes, moves) })
	b.Run("all", func(b *testing.B) { run(b, fixes, moves, All()) })

	var each []Query
	for id := range track.DeviceID(10_000) {
		each = append(each, Devices(id+1))
	}
	b.Run("10k devices, one each", func(b *testing.B) { run(b, fixes, moves, each...) })

	rnd := rand.New(rand.NewPCG(1, 1))
	var boxes []Query
	for range 10_000 {
		boxes = append(boxes, Box(geo.Around(geo.Deg(rnd.Float64()*120-60, rnd.Float64()*360-180), 20_000)))
	}
	spread := make([]track.Fix, 64*1000)
	steps := make([]track.Move, len(spread))
	for i := range spread {
		spread[i] = fix(track.DeviceID(i+1), 1, rnd.Float64()*120-60, rnd.Float64()*360-180)
		steps[i] = track.Move{From: geo.Travel(spread[i].At, 90, 100), Had: true, Fresh: true}
	}
	b.Run("10k boxes, fixes anywhere", func(b *testing.B) { run(b, spread, steps, boxes...) })
	for i := range spread { // each in about one box
		box := boxes[rnd.IntN(len(boxes))].Box
		spread[i].At = geo.Point{Lat: box.South + 1_000_000, Lon: box.West/2 + box.East/2}
		steps[i].From = geo.Travel(spread[i].At, 90, 100)
	}
	b.Run("10k boxes, fixes in them", func(b *testing.B) { run(b, spread, steps, boxes...) })
	var wide []Query
	for range 1000 {
		s, w := rnd.Float64()*40-60, rnd.Float64()*60-180
		box, _ := geo.BoxDeg(s, w, s+60, w+120)
		wide = append(wide, Box(box))
	}
	b.Run("1k boxes half a globe wide", func(b *testing.B) { run(b, spread, steps, wide...) })
}

func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{10, 10_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			fixes, _ := batchOf(n)
			h := New(Config{
				Stamp: func() uint64 { return 1 },
				Snapshot: func(_ *Query, _ uint64, yield func(*track.Fix) bool) {
					for i := range fixes {
						if !yield(&fixes[i]) {
							return
						}
					}
				},
			})
			b.ReportAllocs()
			for b.Loop() {
				v, err := h.Watch(All(), Options{})
				if err != nil {
					b.Fatal(err)
				}
				got := 0
				for more := true; more; {
					frames, err := v.TryNext(nil)
					if err != nil {
						b.Fatal(err)
					}
					got += len(frames[0].Fixes)
					more = frames[0].More
				}
				v.Close()
				if got != n {
					b.Fatalf("%d fixes, want %d", got, n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/fix")
		})
	}
}

func BenchmarkGate(b *testing.B) {
	h := New(Config{})
	b.ReportAllocs()
	for b.Loop() {
		h.Enter().Leave()
	}
}
