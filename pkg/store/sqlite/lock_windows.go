package sqlite

import (
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes a lock that the system gives back when the process ends, however it
// ends.
func tryLock(f *os.File) (held bool, err error) {
	// A byte far behind the end, so that others can still read who holds the lock.
	at := &windows.Overlapped{OffsetHigh: 1}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	return err == windows.ERROR_LOCK_VIOLATION, err
}

// unlock has nothing to do: closing the file does it.
func unlock(*os.File) error { return nil }
