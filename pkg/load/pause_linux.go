package load

import (
	"syscall"
	"time"
)

// kernelSleep sleeps in nanosleep(2), which oversleeps by some 60 us where the Go
// runtime's timers oversleep by 1 ms. A signal ends it early; callers look at the
// clock anyway.
func kernelSleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil)
}
