//go:build unix

package load

import (
	"syscall"
	"time"
)

// processCPU is the CPU time that this process has used, user and system.
func processCPU() (time.Duration, bool) { return rusage(syscall.RUSAGE_SELF) }

// childrenCPU is that of children that were waited for.
func childrenCPU() (time.Duration, bool) { return rusage(syscall.RUSAGE_CHILDREN) }

func rusage(who int) (time.Duration, bool) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(who, &ru); err != nil {
		return 0, false
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), true
}

// openFiles is how many files this process may have open.
func openFiles() *int64 {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return nil
	}
	n := int64(lim.Cur)
	return &n
}
