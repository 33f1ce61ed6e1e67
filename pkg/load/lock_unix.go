//go:build unix

package load

import (
	"errors"
	"os"
	"syscall"
)

// lockFile locks a file, or fails with ErrFleetBusy. The lock ends with the process,
// however that ends.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return func() { _ = f.Close() }, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, ErrFleetBusy
	}
	return nil, &os.PathError{Op: "lock", Path: path, Err: err}
}
