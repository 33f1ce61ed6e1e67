package load

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// ClientUsage is what the measuring process itself used and suffered.
type ClientUsage struct {
	CPUSeconds   float64 `json:"cpu_s"`
	GCPauseMaxNS int64   `json:"gc_pause_max_ns"`
	SchedP99NS   int64   `json:"sched_latency_p99_ns"` // how long goroutines waited for a thread
	RSS          int64   `json:"rss"`
}

// Self watches the measuring process during a run: the machine's hiccups as a thread
// feels them that only sleeps, and what the process used.
type Self struct {
	hiccups *Recorder
	cpu     time.Duration
	gc      *metrics.Float64Histogram
	sched   *metrics.Float64Histogram
	stop    context.CancelFunc
	done    sync.WaitGroup
}

const (
	gcPauses     = "/sched/pauses/total/gc:seconds"
	schedLatency = "/sched/latencies:seconds"
)

// WatchSelf begins to watch; Stop ends it.
func WatchSelf() *Self {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Self{hiccups: NewRecorder(), stop: cancel}
	s.cpu, _ = processCPU()
	s.gc, s.sched = histogram(gcPauses), histogram(schedLatency)
	s.done.Go(func() { // ends with ctx, at the latest a nap later
		for ctx.Err() == nil {
			const nap = time.Millisecond
			before := time.Now()
			kernelSleep(nap)
			s.hiccups.Record(max(0, time.Since(before)-nap))
		}
	})
	return s
}

// Stop ends the watching and tells what was seen.
func (s *Self) Stop() (ClientUsage, Summary) {
	s.stop()
	s.done.Wait()
	cpu, _ := processCPU()
	u := ClientUsage{
		CPUSeconds:   (cpu - s.cpu).Seconds(),
		GCPauseMaxNS: int64(quantileSince(s.gc, histogram(gcPauses), 1) * 1e9),
		SchedP99NS:   int64(quantileSince(s.sched, histogram(schedLatency), 0.99) * 1e9),
	}
	if rss := number(second(line("/proc/self/statm"))); rss != nil {
		u.RSS = *rss * int64(pageSize)
	}
	return u, s.hiccups.Summary()
}

func histogram(name string) *metrics.Float64Histogram {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return nil
	}
	return sample[0].Value.Float64Histogram()
}

// quantileSince is a quantile of what was added between two readings, as the upper
// edge of its bucket.
func quantileSince(before, after *metrics.Float64Histogram, q float64) float64 {
	if before == nil || after == nil {
		return 0
	}
	var total uint64
	for i := range after.Counts {
		total += after.Counts[i] - before.Counts[i]
	}
	want, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
	for i := range after.Counts {
		seen += after.Counts[i] - before.Counts[i]
		if total > 0 && seen >= want {
			if edge := after.Buckets[i+1]; !math.IsInf(edge, 1) {
				return edge
			}
			return after.Buckets[i]
		}
	}
	return 0
}

// TimerOvershoot is how much too long the pacer's sleeps are, at the 99th percentile
// of 200.
func TimerOvershoot() time.Duration {
	r := NewRecorder()
	for range 200 {
		const nap = 50 * time.Microsecond
		before := time.Now()
		kernelSleep(nap)
		r.Record(max(0, time.Since(before)-nap))
	}
	return time.Duration(r.h.ValueAtQuantile(99))
}

// Quieten makes the collector of the measuring process run rarely, so that it does
// not measure itself; the limit keeps it from eating the machine. The result undoes
// it.
func Quieten(limit int64) func() {
	gogc, mem := debug.SetGCPercent(400), debug.SetMemoryLimit(limit)
	return func() {
		debug.SetGCPercent(gogc)
		debug.SetMemoryLimit(mem)
	}
}
