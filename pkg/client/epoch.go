package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// EpochFile remembers in a file which epochs a device has used. It is all that stands
// between a device whose clock goes back and a key that is used twice, so the number
// is on the disk before anything is sent under it, and two processes with one file
// take turns.
type EpochFile string

var _ seal.EpochStore = EpochFile("")

// Reserve implements seal.EpochStore.
func (f EpochFile) Reserve(atLeast uint32) (uint32, error) {
	unlock, err := lockFile(string(f) + ".lock")
	if err != nil {
		return 0, fmt.Errorf("epoch file: %w", err)
	}
	defer unlock()
	stored, err := f.read()
	if err != nil {
		return 0, err
	}
	epoch, err := seal.NextEpoch(stored, atLeast)
	if err != nil {
		return 0, err
	}
	if err := f.write(epoch); err != nil {
		return 0, fmt.Errorf("epoch file: %w", err)
	}
	return epoch, nil
}

func (f EpochFile) read() (uint32, error) {
	b, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("epoch file: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil {
		// A guess could be an epoch that was used.
		return 0, fmt.Errorf("epoch file %q holds no number; enrol the device anew: %w", string(f), track.ErrInvalid)
	}
	return uint32(n), nil
}

// write replaces the file, whole or not at all, and is durable when it returns.
func (f EpochFile) write(epoch uint32) error {
	dir := filepath.Dir(string(f))
	tmp, err := os.CreateTemp(dir, ".epoch-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = fmt.Fprintln(tmp, epoch)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), string(f)); err != nil {
		return err
	}
	return syncDir(dir)
}
