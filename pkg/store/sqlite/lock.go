package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"tracker/pkg/track"
)

// lockDir makes the directory if it is not there, and takes it for this process.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, explainDir(dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, explainDir(dir, err)
	}
	if held, err := tryLock(f); err != nil {
		defer f.Close()
		if held {
			return nil, fmt.Errorf("data directory %q is in use by another process%s: stop it, or use another directory: %w",
				dir, holder(f), track.ErrUnavailable)
		}
		return nil, fmt.Errorf("lock data directory %q: %v: %w", dir, err, track.ErrUnavailable)
	}
	// Only a courtesy to whoever finds the lock taken.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

// holder says which process wrote its number into the lock.
func holder(f *os.File) string {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		return " (" + pid + ")"
	}
	return ""
}

func explainDir(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return fmt.Errorf("data directory %q is read-only for this user: make it writable, or use another directory: %w", dir, track.ErrUnavailable)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("data directory %q: the disk is full: make room, or use another directory: %w", dir, track.ErrUnavailable)
	}
	return fmt.Errorf("data directory %q: %v: %w", dir, err, track.ErrUnavailable)
}
