//go:build unix

package load

import (
	"errors"
	"os"
	"syscall"
)

// TryLock locks an open file, or fails with ErrLocked. The lock ends with unlock, when f
// is closed, and with the process, however that ends.
func TryLock(f *os.File) (unlock func(), err error) {
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	switch {
	case err == nil:
		return func() { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, ErrLocked
	}
	return nil, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
}
