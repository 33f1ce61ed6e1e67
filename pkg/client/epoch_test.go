package client

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

func TestEpochFileNeverGivesAnEpochTwice(t *testing.T) {
	name := filepath.Join(t.TempDir(), "epoch")
	for _, tc := range []struct{ atLeast, want uint32 }{
		{0, 1}, {0, 2}, {100, 100}, {50, 101}, {101, 102}, {math.MaxUint32, math.MaxUint32},
	} {
		if got, err := EpochFile(name).Reserve(tc.atLeast); err != nil || got != tc.want {
			t.Errorf("at least %d: got %d, %v, want %d", tc.atLeast, got, err, tc.want)
		}
	}
	if _, err := EpochFile(name).Reserve(0); !errors.Is(err, seal.ErrNoEpoch) {
		t.Errorf("after the last one: got %v", err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(name), ".epoch-*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEpochFileIsSharedByTakingTurns(t *testing.T) {
	name := EpochFile(filepath.Join(t.TempDir(), "epoch"))
	var mu sync.Mutex
	seen := map[uint32]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				e, err := name.Reserve(0)
				mu.Lock()
				if err != nil || seen[e] {
					t.Errorf("got %d, %v (again: %v)", e, err, seen[e])
				}
				seen[e] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestBrokenEpochFileIsNotGuessedAt(t *testing.T) {
	name := filepath.Join(t.TempDir(), "epoch")
	for _, text := range []string{"", "abc", "-1", "4294967296", "12 13"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if e, err := EpochFile(name).Reserve(0); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%q: got %d, %v", text, e, err)
		}
	}
	if _, err := EpochFile(filepath.Join(t.TempDir(), "no", "such", "dir")).Reserve(0); err == nil {
		t.Error("got no error from a file that cannot be")
	}
}
