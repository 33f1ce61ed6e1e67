package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// mount puts a small file system of its own under a directory, for root.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// TestFullDisk fills a real one, down to the last byte, while fixes come in.
func TestFullDisk(t *testing.T) {
	dir := mount(t, "size=24m")
	db := runStore(t, Config{Dir: filepath.Join(dir, "data"), RingBytes: 30_000 * fixSize, OpenBytes: 30_000 * fixSize})
	next := 0
	more := func(n int) {
		db.Append(numbered(next, next+n))
		next += n
	}
	more(5000)
	flush(t, db)

	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = ballast.Write(make([]byte, size))
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	for range 100 {
		more(1000)
	}
	eventually(t, "degraded", func() bool { return db.Status().State == store.Degraded })
	if s := db.Status(); !strings.Contains(s.Reason, "full") && !strings.Contains(s.Reason, "space") {
		t.Errorf("reason %q", s.Reason)
	}
	more(50_000)
	lost := db.Status().Lost
	if lost == 0 {
		t.Error("nothing lost although there was no room")
	}
	if got := storedNumbers(t, db); got[0] != 0 || got[len(got)-1] != next-1 {
		t.Errorf("history on a full disk goes from %d to %d, want 0 to %d", got[0], got[len(got)-1], next-1)
	}

	if err := ballast.Truncate(0); err != nil {
		t.Fatal(err)
	}
	flush(t, db)
	compact(t, db)
	eventually(t, "resumed", func() bool { return db.Status().State == store.OK })
	s := db.Status()
	if s.Lost != lost || s.Stored+s.Lost != uint64(next) {
		t.Errorf("with room again, %d appended: %+v", next, s)
	}
	if got := storedNumbers(t, db); uint64(len(got)) != s.Stored || !slices.Equal(got, slices.Compact(slices.Clone(got))) {
		t.Errorf("history has %d fixes, %d are stored", len(got), s.Stored)
	}
}

func TestOpenReadOnlyDirectory(t *testing.T) {
	dir := mount(t, "size=8m")
	data := filepath.Join(dir, "data")
	filled(t, Config{Dir: data}, func(db *DB) { db.Append(numbered(0, 10)) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skip(err)
	}
	for _, d := range []string{data, filepath.Join(dir, "other")} {
		db, err := Open(Config{Dir: d})
		if err == nil {
			db.Close()
			t.Fatalf("%s: no error", d)
		}
		if !errors.Is(err, track.ErrUnavailable) || !strings.Contains(err.Error(), "read-only") || !strings.Contains(err.Error(), "another directory") {
			t.Errorf("%s: %v", d, err)
		}
	}
}
