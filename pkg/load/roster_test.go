package load

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func openRoster(t *testing.T, path string) *Roster {
	t.Helper()
	r, err := OpenRoster(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func callUp(t *testing.T, h *house, r *Roster, n int) ([]Member, Mustered) {
	t.Helper()
	members, how, err := r.Muster(t.Context(), h.conn, names(n), nil)
	if err != nil {
		t.Fatal(err)
	}
	return members, how
}

func closeRoster(t *testing.T, r *Roster) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRosterRemembersItsFleet(t *testing.T) {
	for _, n := range []int{3, few + 3} { // asked for one by one, and by walking through all
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			h := newHouse(t)
			path := filepath.Join(t.TempDir(), "a", "b", "fleet.json")
			r := openRoster(t, path)
			first, how := callUp(t, h, r, n)
			if how != (Mustered{Enrolled: n}) || !first[0].Fresh || first[n-1].Name != names(n)[n-1] {
				t.Fatalf("first: %+v", how)
			}
			closeRoster(t, r)
			if runtime.GOOS != "windows" {
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("the keys' file: %v %v", info.Mode(), err)
				}
			}

			r = openRoster(t, path)
			second, how := callUp(t, h, r, n+1) // one more than before
			if how != (Mustered{Reused: n, Enrolled: 1}) || second[0].Fresh {
				t.Errorf("second: %+v", how)
			}
			for i := range first {
				if first[i].Enrolment != second[i].Enrolment || first[i].ID != second[i].ID {
					t.Errorf("%s is another device now", first[i].Name)
				}
			}
			closeRoster(t, r)

			// Without the file the devices stay who they are, with new keys.
			r = openRoster(t, filepath.Join(t.TempDir(), "other.json"))
			third, how := callUp(t, h, r, n)
			if how != (Mustered{Rotated: n}) || third[0].ID != first[0].ID || third[0].Enrolment == first[0].Enrolment || third[0].Fresh {
				t.Errorf("third: %+v", how)
			}
			closeRoster(t, r)

			// And the first file knows that its keys are no longer the newest.
			r = openRoster(t, path)
			if _, how = callUp(t, h, r, n); how != (Mustered{Rotated: n}) {
				t.Errorf("fourth: %+v", how)
			}
			closeRoster(t, r)
		})
	}
}

func TestRosterOfAnotherDatabaseBeginsAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.json")
	r := openRoster(t, path)
	callUp(t, newHouse(t), r, 2)
	closeRoster(t, r)
	r = openRoster(t, path)
	if _, how := callUp(t, newHouse(t), r, 2); how != (Mustered{Enrolled: 2}) {
		t.Errorf("got %+v", how)
	}
	closeRoster(t, r)
}

func TestRosterRevokedDeviceIsEnrolledAgain(t *testing.T) {
	h := newHouse(t)
	path := filepath.Join(t.TempDir(), "fleet.json")
	r := openRoster(t, path)
	before, _ := callUp(t, h, r, 2)
	if err := h.conn.Revoke(t.Context(), before[1].Name); err != nil {
		t.Fatal(err)
	}
	after, how := callUp(t, h, r, 2)
	if how != (Mustered{Reused: 1, Enrolled: 1}) || after[1].ID == before[1].ID {
		t.Errorf("got %+v", how)
	}
	closeRoster(t, r)
}

// An epoch that comes twice with one key would repeat nonces: a clock that went back
// costs the fleet its keys.
func TestRosterGivesNewKeysWhenTheClockWentBack(t *testing.T) {
	h := newHouse(t)
	path := filepath.Join(t.TempDir(), "fleet.json")
	r := openRoster(t, path)
	callUp(t, h, r, 2)
	r.file.Played = time.Now().Add(time.Hour)
	if err := r.save(); err != nil {
		t.Fatal(err)
	}
	if _, how := callUp(t, h, r, 2); how != (Mustered{Rotated: 2}) {
		t.Errorf("got %+v", how)
	}
	if _, how := callUp(t, h, r, 2); how != (Mustered{Reused: 2}) {
		t.Errorf("with the clock right again: %+v", how)
	}
	closeRoster(t, r)
}

func TestRosterIsPlayedByOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.json")
	r := openRoster(t, path)
	if _, err := OpenRoster(path); !errors.Is(err, ErrFleetBusy) {
		t.Errorf("got %v", err)
	}
	closeRoster(t, r)
	closeRoster(t, r) // again is harmless
	closeRoster(t, openRoster(t, path))
}

func TestRosterRefusesADamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.json")
	if err := os.WriteFile(path, []byte(`{"devices":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRoster(path); err == nil {
		t.Error("took half a file")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	closeRoster(t, openRoster(t, path)) // the lock was given back
}
