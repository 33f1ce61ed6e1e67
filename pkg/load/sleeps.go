package load

import "time"

// Sleep is how much longer than it should a thread sleeps, and how much a goroutine does:
// the reason why the pacer sleeps in the kernel.
type Sleep struct {
	Length    int64   `json:"length_ns"`
	Kernel    Summary `json:"kernel"`
	GoRuntime Summary `json:"go_runtime"`
}

// Sleeps measures the oversleeping of sleeps of several lengths, in about two seconds.
func Sleeps() []Sleep {
	const each = 100
	var all []Sleep
	for _, d := range []time.Duration{50 * time.Microsecond, 200 * time.Microsecond, time.Millisecond, 5 * time.Millisecond} {
		all = append(all, Sleep{int64(d), oversleep(d, each, kernelSleep), oversleep(d, each, time.Sleep)})
	}
	return all
}

func oversleep(d time.Duration, times int, sleep func(time.Duration)) Summary {
	r := NewRecorder()
	for range times {
		before := time.Now()
		sleep(d)
		r.Record(max(0, time.Since(before)-d))
	}
	return r.Summary()
}
