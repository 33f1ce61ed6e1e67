//go:build !unix

package load

import (
	"errors"
	"io/fs"
	"os"
)

// TryLock locks an open file, or fails with ErrLocked. Without flock the existence of a
// file beside it is the lock; one left behind by a crash has to be removed by hand.
func TryLock(f *os.File) (unlock func(), err error) {
	path := f.Name() + ".lock"
	l, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, err
	}
	_ = l.Close()
	return func() { _ = os.Remove(path) }, nil
}
