package client

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tracker/pkg/track"
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
