//go:build !unix

package load

import (
	"errors"
	"io/fs"
	"os"
)

// lockFile locks a file, or fails with ErrFleetBusy. Without flock the file's
// existence is the lock; one left behind by a crash has to be removed by hand.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrFleetBusy
	}
	if err != nil {
		return nil, err
	}
	_ = f.Close()
	return func() { _ = os.Remove(path) }, nil
}
