package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// BenchmarkLatency measures from applying a fix to reading it from a Watch, at a fixed
// rate whatever the other side does. One op is one fix.
func BenchmarkLatency(b *testing.B) {
	for _, rate := range []int{100, 10_000} {
		b.Run(fmt.Sprint(rate), func(b *testing.B) {
			h := newHouse(b, nil)
			es := h.enroll(1000)
			v := h.watch(Area{})
			v.until(wholeSnapshot)
			total := max(b.N, rate/2)
			due := make([]time.Time, total)
			begin := time.Now().Add(10 * time.Millisecond)
			for i := range due {
				due[i] = begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
			}
			b.ResetTimer()
			go func() {
				var batch []track.Fix
				for i := 0; i < total; {
					time.Sleep(time.Until(due[i]))
					batch = batch[:0]
					for now := time.Now(); i < total && !due[i].After(now); i++ {
						f := of(testFix(0), es[i%len(es)])
						f.Time = 1700000000000 + int64(i)
						batch = append(batch, f)
					}
					h.apply(batch...)
				}
			}()
			took := make([]time.Duration, 0, total)
			v.until(func(e Event) bool {
				now := time.Now()
				for i := range e.Fixes {
					took = append(took, now.Sub(due[e.Fixes[i].Time.UnixMilli()-1700000000000]))
				}
				return len(took) >= total
			})
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
		})
	}
}

// BenchmarkConnCall asks the smallest question there is through a Conn: one at a time,
// and as many together as there are goroutines.
func BenchmarkConnCall(b *testing.B) {
	for _, scheme := range []string{"", "ws://"} {
		h := newHouse(b, nil)
		h.scheme = scheme
		c := h.conn()
		if _, err := c.Status(b.Context()); err != nil {
			b.Fatal(err)
		}
		name := cmp.Or(strings.TrimSuffix(scheme, "://"), "tcp")
		b.Run(name+"/alone", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := sum(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/together", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := sum(b.Context(), c); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// sum adds 1 and 2 at the server, over whatever a Conn does for every call.
func sum(ctx context.Context, c *Conn) error {
	got, err := question(ctx, c.wire.(*overRPC), trk.ExampleSumID, func(ctx context.Context, to rpc.Caller) (trk.SumRsp, error) {
		return trk.ExampleClient{Caller: to}.Sum(ctx, &trk.SumReqT{A: 1, B: 2})
	})
	if err == nil && got.Sum() != 3 {
		return fmt.Errorf("1 + 2 = %d", got.Sum())
	}
	return err
}

// BenchmarkWatchNext reads frames of fixes as fast as they come. One op is one fix.
func BenchmarkWatchNext(b *testing.B) {
	for _, scheme := range schemes {
		b.Run(cmp.Or(strings.TrimSuffix(scheme, "://"), "tcp"), func(b *testing.B) {
			h := newHouse(b, nil)
			h.scheme = scheme
			const devices = 500
			es := h.enroll(devices)
			v := h.watch(Area{})
			v.until(wholeSnapshot)
			b.ReportAllocs()
			b.ResetTimer()
			ahead := make(chan bool, 40) // rounds that are not read yet
			var wg sync.WaitGroup
			wg.Go(func() {
				batch := make([]track.Fix, devices)
				for round := range (b.N + devices - 1) / devices {
					ahead <- true
					for i := range batch {
						batch[i] = of(testFix(0), es[i])
						batch[i].Time = 1_700_000_000_000 + int64(round)
					}
					h.apply(batch...)
				}
			})
			for got := 0; got < b.N; {
				e, err := v.w.Next()
				if err != nil {
					b.Fatal(err)
				}
				was := got / devices
				got += len(e.Fixes) + int(e.Skipped)
				for range got/devices - was {
					<-ahead
				}
			}
			wg.Wait()
		})
	}
}

// BenchmarkFrame reads one frame of 500 fixes, without a line. One op is one fix.
func BenchmarkFrame(b *testing.B) {
	body := frameOf(500)
	r := &rpcFeed{words: make(words, 4096)}
	var f frame
	b.SetBytes(int64(len(body) / 500))
	b.ReportAllocs()
	for i := 0; i < b.N; i += 500 {
		x, err := trk.ReadWatchFrame(body)
		if err != nil || r.read(&f, &x) != nil || len(f.fixes) != 500 {
			b.Fatal(err)
		}
	}
}

func frameOf(fixes int) []byte {
	t := &trk.WatchFrameT{Kind: trk.FrameKindFixes, Stream: 1, Epoch: "0123456789abcdef", Position: float64(fixes)}
	for i := range fixes {
		t.Fixes = append(t.Fixes, &trk.FixT{Time: 1_700_000_000_000, Received: 1_700_000_000_100, DeviceLo: uint32(i + 1), Has: 15, Lat: 481234567, Lon: 115712345, SpeedCmps: 1234, CourseCdeg: 27150})
		t.Names = append(t.Names, fmt.Sprintf("van-%d", i))
	}
	return trk.AppendWatchFrame(nil, t)
}

func TestReadingFramesOfKnownDevicesMakesNoGarbage(t *testing.T) {
	body := frameOf(100)
	r := &rpcFeed{words: make(words, 4096)}
	var f frame
	read := func() {
		x, err := trk.ReadWatchFrame(body)
		if err != nil || r.read(&f, &x) != nil {
			t.Fatal("a frame that cannot be read")
		}
	}
	read()
	if n := testing.AllocsPerRun(100, read); n > 2 { // what is read, and where it is
		t.Errorf("got %v allocations for 100 fixes", n)
	}
}
