//go:build unix

package trend

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks an open file, or fails with errBusy. The lock ends with the process,
// however that ends.
func tryLock(f *os.File) (unlock func(), err error) {
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
		return nil, errBusy
	}
	return nil, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
}
