package load

import (
	"syscall"
	"time"
	"unsafe"
)

// schedClock in an id names the clock that the scheduler keeps of a process, and not the
// one that the timer's ticks are counted in.
const schedClock = 2

// mostPID is the highest id that Linux gives a process; a clock has no room for higher
// ones, and would be somebody else's.
const mostPID = 1 << 22

// cpuClock reads the clock of what a process has used of all processors, in nanoseconds.
// Linux makes the id of that clock from the id of the process, see clock_getcpuclockid(3).
func cpuClock(pid int) (time.Duration, bool) {
	if pid <= 0 || pid > mostPID { // 0 would be ourselves
		return 0, false
	}
	id := int32(^pid)<<3 | schedClock
	var ts syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}
