//go:build unix

package sqlite

import (
	"os"
	"syscall"
)

// tryLock takes a lock that the system gives back when the process ends, however it
// ends.
func tryLock(f *os.File) (held bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK {
		return true, err
	}
	return false, err
}
