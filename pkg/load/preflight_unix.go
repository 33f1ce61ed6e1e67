//go:build unix

package load

import "syscall"

// fileLimits are how many files this process may have open, and how many it may let
// itself have.
func fileLimits() (soft, hard int64, known bool) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0, 0, false
	}
	return whole(lim.Cur), whole(lim.Max), true
}

func setSoftFiles(n int64) error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	put(&lim.Cur, n)
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
}

// whole reads a limit; no limit is the largest number there is.
func whole[T int64 | uint64](v T) int64 {
	const most = 1<<63 - 1
	if uint64(v) > most {
		return most
	}
	return int64(v)
}

// put sets a limit, whose type is not the same on every system.
func put[T int64 | uint64](to *T, v int64) { *to = T(v) }
