package sqlite

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tracker/pkg/store"
	"tracker/pkg/store/storetest"
	"tracker/pkg/track"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(dir string, o storetest.Options) (store.Store, error) {
		return Open(Config{Dir: dir, Now: o.Now, RetentionDays: o.RetentionDays})
	})
}

// With this little memory a few hundred fixes fill a tail, and everything that
// otherwise happens in a day of load happens in a second.
func TestStoreWithLittleMemory(t *testing.T) {
	storetest.Run(t, func(dir string, o storetest.Options) (store.Store, error) {
		return Open(Config{Dir: dir, Now: o.Now, RetentionDays: o.RetentionDays, OpenBytes: 64 << 10})
	})
}

func TestAppendDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	db, err := Open(Config{Dir: t.TempDir(), RingBytes: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	b := newFleet(1000).fill(256)
	b.Ext = []byte("\x03\x01\x01\x02\x01\x09")
	b.Fixes[3].ExtLen = 6
	for range 200 {
		db.Append(b) // until the ring turns over
	}
	if n := testing.AllocsPerRun(1000, func() { db.Append(b) }); n != 0 {
		t.Errorf("%v allocations a batch, want 0", n)
	}
}

func TestFilesAreNobodyElsesBusiness(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	db := runStore(t, Config{Dir: dir})
	db.Append(numbered(0, 100))
	flush(t, db)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 3 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

// TestManyRuns makes hundreds of runs and lets them be merged twice over, while
// somebody reads.
func TestManyRuns(t *testing.T) {
	t.Parallel()
	const fixes = 60_000
	db := runStore(t, Config{OpenBytes: 400 * fixSize, CommitFixes: 100})
	levels := func() (levels [topLevel + 1]int) {
		runs, err := db.runs(db.openDays()[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			levels[r.level]++
		}
		return levels
	}
	for i := 0; i < fixes; i += 100 {
		db.Append(numbered(i, i+100))
		if i%2000 != 0 {
			continue
		}
		flush(t, db)
		n := 0
		from := time.UnixMilli(1_764_000_000_000)
		q := store.Query{Device: 4, From: from, To: from.Add(time.Duration(i) * time.Millisecond)}
		err := db.History(context.Background(), q, func(*track.Fix, []byte) error { n++; return nil })
		if err != nil || n != i/10 {
			t.Fatalf("after %d: %d fixes of device 4, want %d, %v", i, n, i/10, err)
		}
		eventually(t, "merged", func() bool { l := levels(); return l[0] < mergeRuns && l[1] < mergeRuns })
	}
	if l := levels(); l[topLevel] == 0 {
		t.Errorf("runs by level: %v", l)
	}
	if got := storedNumbers(t, db); !slices.Equal(got, upTo(fixes)) {
		t.Errorf("%d fixes, want %d%s", len(got), fixes, oddity(got))
	}
}

// TestManyDays reads across more sealed days than stay open.
func TestManyDays(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	cfg := Config{Dir: t.TempDir(), Now: clock.now}
	const days = shelfRoom + 4
	filled(t, cfg, func(db *DB) {
		for i := range days {
			b := numbered(i*10, i*10+10)
			for j := range b.Fixes {
				b.Fixes[j].Time += int64(i) * dayMillis
			}
			db.Append(b)
			flush(t, db)
			clock.pass(24 * time.Hour)
			compact(t, db)
		}
	})
	db := runStore(t, cfg)
	for range 2 {
		if got := storedNumbers(t, db); !slices.Equal(got, upTo(days*10)) {
			t.Errorf("%d fixes, want %d%s", len(got), days*10, oddity(got))
		}
		if n := len(db.shelf.open); n > shelfRoom {
			t.Errorf("%d sealed files are open, want at most %d", n, shelfRoom)
		}
	}
	if n := len(db.openDays()); n != 0 {
		t.Errorf("%d days are not sealed", n)
	}
}

// TestDaysGoByUnderLoad: days are left, sorted and sealed while fixes come in.
func TestDaysGoByUnderLoad(t *testing.T) {
	t.Parallel()
	const fixes = 20_000
	clock := newClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	db := runStore(t, Config{Now: clock.now, OpenBytes: 400 * fixSize, CommitFixes: 50, CommitEvery: time.Millisecond})
	for i := 0; i < fixes; i += 50 {
		db.Append(numbered(i, i+50))
		clock.pass(5 * time.Hour)
		for db.Status().Pending > 200 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	flush(t, db)
	clock.pass(48 * time.Hour)
	compact(t, db)
	if got := storedNumbers(t, db); !slices.Equal(got, upTo(fixes)) {
		t.Errorf("%d fixes, want %d%s", len(got), fixes, oddity(got))
	}
	if s := db.Status(); s.State != store.OK {
		t.Errorf("status %+v", s)
	}
}

// TestClockSetBack: the day that the clock returns to is sealed already.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC))
	cfg := Config{Dir: t.TempDir(), Now: clock.now}
	next := 0
	for _, hours := range []int{0, 24, 24, -48, -24, 72, -10 * 24, 10 * 24} {
		clock.pass(time.Duration(hours) * time.Hour)
		filled(t, cfg, func(db *DB) {
			db.Append(numbered(next, next+100))
			next += 100
			if hours%48 == 0 {
				compact(t, db)
			}
			if got := storedNumbers(t, db); !slices.Equal(got, upTo(next)) {
				t.Fatalf("at %v: %d fixes, want %d%s", clock.now(), len(got), next, oddity(got))
			}
		})
	}
}

// TestOtherProgramHoldsASealedDay: a day is not replaced under the feet of a program
// that reads it, but later.
func TestOtherProgramHoldsADay(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC))
	db := runStore(t, Config{Dir: t.TempDir(), Now: clock.now})
	db.Append(numbered(0, 100))
	flush(t, db)
	release := hold(t, dayFile(t, db.cfg.Dir))
	clock.pass(24 * time.Hour)
	if err := db.Compact(context.Background()); err == nil {
		t.Error("a day was sealed that another program has open")
	}
	if got := storedNumbers(t, db); !slices.Equal(got, upTo(100)) {
		t.Errorf("%d fixes, want 100", len(got))
	}
	release()
	compact(t, db)
	if n := len(db.openDays()); n != 0 {
		t.Errorf("%d days are not sealed", n)
	}
	if got := storedNumbers(t, db); !slices.Equal(got, upTo(100)) {
		t.Errorf("%d fixes in the sealed day, want 100", len(got))
	}
}

// hold opens a database as another program would, and reads.
func hold(t *testing.T, path string) (release func()) {
	t.Helper()
	f, err := openFile(path, dayLayout, time.Second, writing)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.read(func(c *conn) error { _, err := runsOf(c); return err }); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}
}

// TestStateWriterMatchesAMap folds entries in again and again, few and many, and
// compares with a map.
func TestStateWriterMatchesAMap(t *testing.T) {
	t.Parallel()
	f, err := openFile(filepath.Join(t.TempDir(), "state.db"), layout{page: 4096, schema: stateSchema}, time.Second, writing)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	rng := rand.New(rand.NewPCG(1, 1))
	want := make(map[track.DeviceID]track.Fix)
	for round, n := range []int{1, 3, 20_000, 5, 300, 20_000, 1, 7000} {
		fresh := make(map[track.DeviceID]track.Fix)
		for range n {
			id := track.DeviceID(rng.Uint64N(60_000) + 1)
			if n > 10_000 {
				id <<= rng.IntN(20)
			}
			fresh[id] = track.Fix{Device: id, Wire: id, Time: int64(rng.IntN(100)), Epoch: uint32(round), PID: rng.Uint32N(1000), Has: track.HasPos}
		}
		w := newStateWriter(f, nil)
		for _, id := range slices.Sorted(maps.Keys(fresh)) {
			var e entry
			e.reset(id)
			fix := fresh[id]
			e.see([]track.Fix{fix}, nil)
			if err := w.add(&e); err != nil {
				t.Fatal(err)
			}
			if old, ok := want[id]; !ok || store.Compare(&fix, &old) > 0 {
				want[id] = fix
			}
		}
		if err := w.finish(nil); err != nil {
			t.Fatal(err)
		}
		got := make(map[track.DeviceID]track.Fix)
		r := stateReader{file: f, at: -1}
		last := track.DeviceID(0)
		err := r.before(context.Background(), track.MaxDeviceID, func(e *entry) error {
			if e.device <= last {
				return fmt.Errorf("device %v after %v", e.device, last)
			}
			last = e.device
			got[e.device] = e.place
			return nil
		})
		if err != nil || !maps.Equal(got, want) {
			t.Fatalf("round %d: %v: got %d entries, want %d", round, err, len(got), len(want))
		}
	}
}

func FuzzStateEntry(f *testing.F) {
	rng := rand.New(rand.NewPCG(2, 2))
	for n := range 4 {
		fixes, _ := anyFixes(rng, n*3+1)
		var e entry
		e.reset(fixes[0].Device)
		e.see(fixes, nil)
		f.Add(e.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again entry
		if e.parse(5, b) != nil {
			return
		}
		if err := again.parse(5, e.append(nil)); err != nil || fmt.Sprint(e) != fmt.Sprint(again) {
			t.Fatalf("%v\ngot  %v\nwant %v", err, again, e)
		}
	})
}
