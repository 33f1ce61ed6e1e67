package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// A child process stores numbered fixes, says how far it got, and is
// killed in the middle of it.

const crashDir = "TRACK_STORE_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		os.Exit(3) // it is to be killed before
	}
	os.Exit(m.Run())
}

// crashConfig makes runs of a few thousand fixes, and three days of a second, so that
// every kill falls into the middle of something.
func crashConfig(dir string) Config {
	origin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return Config{
		Dir: dir, OpenBytes: 6000 * fixSize, CommitEvery: 2 * time.Millisecond, CommitFixes: 500,
		Now: func() time.Time {
			ms := time.Now().UnixMilli() & 0xff_ffff // four hours and a half
			return origin.Add(time.Duration(ms) * 3 * 24 * time.Hour / 1000)
		},
	}
}

func crashChild(dir string) {
	db, err := Open(crashConfig(dir))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	go db.Run(ctx)
	var first int
	fmt.Scan(&first)
	for next := first; ; next += 250 {
		db.Append(numbered(next, next+250))
		if next/250%8 == 0 {
			if err := db.Flush(ctx); err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(next + 250)
		}
		time.Sleep(4 * time.Millisecond) // about 50,000 a second
	}
}

func TestKillLosesOnlyTheLastCommit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	next := 0
	rounds := 5
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		promised := killedAfter(t, dir, next, time.Duration(100+rng.IntN(300))*time.Millisecond)
		db := runStore(t, crashConfig(dir))
		got := storedNumbers(t, db)
		if len(got) < promised || !slices.Equal(got, upTo(len(got))) {
			t.Fatalf("round %d: %d fixes were durable, %d are there%s", round, promised, len(got), oddity(got))
		}
		if s := db.Status(); s.Corrupt != 0 {
			t.Errorf("round %d: %d fixes corrupt", round, s.Corrupt)
		}
		next = len(got)
		checkFloors(t, db, next)
		if round == 2 {
			compact(t, db)
			checkFloors(t, db, next)
		}
		stopStore(t, db)
	}

	// The whole traffic once more: only what is above the floors is new.
	db := runStore(t, crashConfig(dir))
	floors := make(map[track.DeviceID]uint32)
	if err := db.Floors(context.Background(), func(f store.Floor) error { floors[f.Credential] = f.MaxPID; return nil }); err != nil {
		t.Fatal(err)
	}
	again := numbered(0, next+777)
	again.Fixes = slices.DeleteFunc(again.Fixes, func(f track.Fix) bool { return f.PID <= floors[f.Wire] && f.PID < uint32(next) })
	if len(again.Fixes) != 777 {
		t.Errorf("%d fixes are above the floors, want 777", len(again.Fixes))
	}
	db.Append(again)
	if got := storedNumbers(t, db); !slices.Equal(got, upTo(next+777)) {
		t.Errorf("after all the traffic once more: %d fixes, want %d", len(got), next+777)
	}
}

// oddity describes the first fix that is missing or there twice.
func oddity(got []int) string {
	for i, n := range got {
		if n != i {
			return fmt.Sprintf(", number %d stands at %d", n, i)
		}
	}
	return ""
}

func checkFloors(t *testing.T, db *DB, n int) {
	t.Helper()
	want := make(map[track.DeviceID]uint32)
	for i := max(0, n-10); i < n; i++ {
		want[track.DeviceID(i%10+1)] = uint32(i)
	}
	got := make(map[track.DeviceID]uint32)
	err := db.Floors(context.Background(), func(f store.Floor) error { got[f.Credential] = f.MaxPID; return nil })
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("floors: %v\ngot  %v\nwant %v", err, got, want)
	}
	latest := make(map[track.DeviceID]uint32)
	err = db.Latest(context.Background(), func(f *track.Fix) error { latest[f.Device] = f.PID; return nil })
	if err != nil || !maps.Equal(latest, want) {
		t.Fatalf("latest: %v\ngot  %v\nwant %v", err, latest, want)
	}
}

// killedAfter runs a child for a while and returns how far it said that it had got.
func killedAfter(t *testing.T, dir string, first int, d time.Duration) (promised int) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), crashDir+"="+dir)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, first)
	lines := bufio.NewScanner(out)
	promised = first
	kill := time.AfterFunc(time.Hour, func() { child.Process.Kill() })
	for n := 0; lines.Scan(); n++ {
		if _, err := fmt.Sscan(lines.Text(), &promised); err != nil {
			t.Errorf("child says: %s", lines.Text())
		}
		if n == 0 {
			kill.Reset(d) // it is at work
		}
	}
	kill.Stop()
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("child: %v", err)
	}
	return promised
}

// TestTornWAL cuts the last commits off at any byte, as a power cut may: what is left
// is everything up to some commit, each fix once.
func TestTornWAL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	db := runStore(t, Config{Dir: full})
	for i := range 40 {
		db.Append(numbered(i*50, i*50+50))
		flush(t, db)
	}
	// Nothing moves now: copies of the files are what a power cut would leave.
	rng := rand.New(rand.NewPCG(2, 2))
	wal := filepath.Base(dayFile(t, full)) + "-wal"
	info, err := os.Stat(filepath.Join(full, wal))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		cut := rng.Int64N(info.Size())
		torn := filepath.Join(dir, fmt.Sprint("torn", i))
		copyDir(t, full, torn)
		if err := os.Truncate(filepath.Join(torn, wal), cut); err != nil {
			t.Fatal(err)
		}
		filled(t, Config{Dir: torn}, func(db *DB) {
			got := storedNumbers(t, db)
			if len(got)%50 != 0 || !slices.Equal(got, upTo(len(got))) {
				t.Errorf("cut at %d of %d: %d fixes%s", cut, info.Size(), len(got), oddity(got))
			}
			db.Append(numbered(len(got), 2000))
			compact(t, db)
			if again := storedNumbers(t, db); !slices.Equal(again, upTo(2000)) {
				t.Errorf("cut at %d: %d fixes after it went on", cut, len(again))
			}
		})
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		src, err := os.Open(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		dst, err := os.Create(filepath.Join(to, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(dst, src); err != nil {
			t.Fatal(err)
		}
		src.Close()
		dst.Close()
	}
}

// TestStartAfterCrashInMerge leaves blocks of a run that was never listed, as a crash
// in the middle of a merge does.
func TestStartAfterCrashInMerge(t *testing.T) {
	t.Parallel()
	cfg := Config{Dir: t.TempDir()}
	filled(t, cfg, func(db *DB) {
		db.Append(numbered(0, 1000))
		compact(t, db)
	})
	edit(t, dayFile(t, cfg.Dir), fmt.Sprintf(`
		INSERT INTO block (id, run, device, last, t0, t1, n, data)
		SELECT id + ((77 - run) << %d), 77, device, last, t0, t1, n, data FROM block`, runShift))
	if err := os.WriteFile(dayFile(t, cfg.Dir)+unfinished, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := runStore(t, cfg)
	if got := storedNumbers(t, db); !slices.Equal(got, upTo(1000)) {
		t.Errorf("%d fixes, want 1000", len(got))
	}
	left := 0
	err := db.openDays()[0].file.read(func(c *conn) error { return c.row(&left)("SELECT count(*) FROM block WHERE run = 77") })
	if err != nil || left != 0 {
		t.Errorf("%d blocks of no run are left, %v", left, err)
	}
	if _, err := os.Stat(dayFile(t, cfg.Dir) + unfinished); !os.IsNotExist(err) {
		t.Errorf("the unfinished file is still there: %v", err)
	}
}

// TestCommitThatSeemedToFailIsReadOnce: the disk kept a record although the commit
// failed, the same fixes were committed again to the other tail, and then came the
// power cut.
func TestCommitThatSeemedToFailIsReadOnce(t *testing.T) {
	t.Parallel()
	cfg := Config{Dir: t.TempDir()}
	filled(t, cfg, func(db *DB) {
		for i := range 3 {
			db.Append(numbered(i*100, i*100+100))
			flush(t, db)
		}
	})
	edit(t, dayFile(t, cfg.Dir), "INSERT INTO tail1 SELECT * FROM tail0 WHERE seq = (SELECT max(seq) FROM tail0)")
	db := runStore(t, cfg)
	db.Append(numbered(300, 400))
	for range 2 {
		if got := storedNumbers(t, db); !slices.Equal(got, upTo(400)) {
			t.Errorf("%d fixes, want 400%s", len(got), oddity(got))
		}
		compact(t, db)
	}
}

// TestSortingAgainChangesNothing: the disk kept a run although listing it failed, and
// it may have been merged since.
func TestSortingAgainChangesNothing(t *testing.T) {
	t.Parallel()
	db, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.Append(numbered(0, 3000))
	if err := db.commit(false); err != nil {
		t.Fatal(err)
	}
	db.pile()
	var s sorter
	for range 2 {
		if err := db.sortPile(context.Background(), &s, db.ring.oldestPile()); err != nil {
			t.Fatal(err)
		}
		if got := storedNumbers(t, db); !slices.Equal(got, upTo(3000)) {
			t.Errorf("%d fixes, want 3000%s", len(got), oddity(got))
		}
	}
	runs, err := db.runs(db.current)
	if err != nil || len(runs) != 1 {
		t.Fatalf("runs %v, %v", runs, err)
	}
	if err := db.merge(context.Background(), db.current, runs, 1); err != nil {
		t.Fatal(err)
	}
	if err := db.sortPile(context.Background(), &s, db.ring.oldestPile()); err != nil {
		t.Fatal(err)
	}
	db.ring.sorted()
	if got := storedNumbers(t, db); !slices.Equal(got, upTo(3000)) {
		t.Errorf("%d fixes from the run, want 3000%s", len(got), oddity(got))
	}
}
