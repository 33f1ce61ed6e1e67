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

// unlock gives the lock back even if a process that is being started from this one
// still holds a copy of the file.
func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
