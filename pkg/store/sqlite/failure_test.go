package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// numbered makes fixes of ten devices, numbered from first to before end: the number
// says which device, and is the packet id.
func numbered(first, end int) *track.Batch {
	b := &track.Batch{}
	for i := first; i < end; i++ {
		id := track.DeviceID(i%10 + 1)
		b.Fixes = append(b.Fixes, track.Fix{
			Device: id, Wire: id, Time: 1_764_000_000_000 + int64(i), Arrived: 1_764_000_000_000 + int64(i),
			PID: uint32(i), Epoch: 1, Has: track.HasPos,
		})
	}
	return b
}

// storedNumbers gives back which of the numbered fixes are in the store. One that is there
// twice is there twice.
func storedNumbers(t testing.TB, s store.Store) []int {
	t.Helper()
	var got []int
	for id := track.DeviceID(1); id <= 10; id++ {
		err := s.History(context.Background(), store.Query{Device: id}, func(f *track.Fix, _ []byte) error {
			got = append(got, int(f.PID))
			return nil
		})
		if err != nil {
			t.Fatalf("history of %s: %v", id, err)
		}
	}
	slices.Sort(got)
	return got
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func flush(t testing.TB, db *DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := db.Flush(ctx); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

// logbook is a log that tests can read.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func TestOverflowDropsTheOldestAndCounts(t *testing.T) {
	db, err := Open(Config{Dir: t.TempDir(), RingBytes: 1000 * fixSize, OpenBytes: 1000 * fixSize})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i := 0; i < 5000; i += 100 {
		db.Append(numbered(i, i+100))
	}
	s := db.Status()
	if s.Lost+uint64(s.Pending) != 5000 || s.Pending > 1000 || s.Pending < 800 {
		t.Errorf("lost %d, pending %d: want 5000 together, and nearly 1000 pending", s.Lost, s.Pending)
	}
	if got, want := storedNumbers(t, db), upTo(5000)[s.Lost:]; !slices.Equal(got, want) {
		t.Errorf("got %d fixes from %d, want %d from %d", len(got), got[0], len(want), want[0])
	}
	db.Append(numbered(5000, 50_000)) // one batch, fifty times the ring
	if got := storedNumbers(t, db); got[len(got)-1] != 49_999 || len(got) != db.Status().Pending {
		t.Errorf("after a batch bigger than the ring: %d fixes, the last is %d", len(got), got[len(got)-1])
	}
}

// TestLockedDatabase: another program holds a lock. Fixes wait, are counted as lost
// when there is no more room, and storing resumes by itself.
func TestLockedDatabase(t *testing.T) {
	t.Parallel()
	var book logbook
	db := runStore(t, Config{
		Dir: t.TempDir(), RingBytes: 3000 * fixSize, Busy: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&book, nil)),
	})
	db.Append(numbered(0, 100))
	flush(t, db)

	other, err := sql.Open("sqlite", "file:"+db.openDays()[0].path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	exec := func(q string) {
		t.Helper()
		if _, err := other.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	exec("BEGIN IMMEDIATE")
	db.Append(numbered(100, 200))
	eventually(t, "degraded", func() bool { return db.Status().State == store.Degraded })
	if s := db.Status(); !strings.Contains(s.Reason, "locked") || s.Pending != 100 || s.Lost != 0 || s.Stored != 100 {
		t.Errorf("while locked: %+v", s)
	}
	if got := storedNumbers(t, db); !slices.Equal(got, upTo(200)) {
		t.Errorf("while locked: history has %d fixes, want 200", len(got))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := db.Flush(ctx); !errors.Is(err, track.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush while locked: got %v", err)
	}
	for i := 200; i < 6000; i += 100 {
		db.Append(numbered(i, i+100))
	}
	eventually(t, "some more attempts", func() bool { return db.Status().Failures > 3 })
	lost := int(db.Status().Lost)
	if lost < 2500 || lost > 3500 {
		t.Errorf("lost %d of 6000 with room for 3000", lost)
	}

	exec("ROLLBACK")
	flush(t, db)
	s := db.Status()
	if s.State != store.OK || s.Reason != "" || s.Pending != 0 || int(s.Stored)+lost != 6000 || int(s.Lost) != lost {
		t.Errorf("after the lock: %+v", s)
	}
	got := storedNumbers(t, db)
	if len(got) != int(s.Stored) || !slices.Equal(got, slices.Compact(slices.Clone(got))) {
		t.Errorf("history has %d fixes, %d are stored", len(got), s.Stored)
	}
	if n := book.count("storing is degraded"); n != 1 {
		t.Errorf("degraded was logged %d times in one period", n)
	}
	if n := book.count("storing resumed"); n != 1 {
		t.Errorf("resumed was logged %d times", n)
	}
}

func TestTroubleIsLoggedOncePerPeriod(t *testing.T) {
	var book logbook
	clock := newClock(time.Unix(1_764_000_000, 0))
	var h health
	h.start(slog.New(slog.NewTextHandler(&book, nil)), clock.now)
	status := func() store.Status { return store.Status{} }
	for range 100 { // 35 s
		h.failed(committing, errors.New("no luck"), status)
		clock.pass(350 * time.Millisecond)
	}
	if n := book.count("storing is degraded"); n != 4 {
		t.Errorf("logged %d times in 35 s, want 4", n)
	}
	h.failed(sorting, errors.New("nor here"), status)
	h.succeeded(committing, status)
	if n := book.count("resumed"); n != 0 {
		t.Error("resumed while sorting fails")
	}
	h.succeeded(sorting, status)
	h.succeeded(sorting, status)
	if n := book.count("resumed"); n != 1 {
		t.Errorf("resumed was logged %d times, want 1", n)
	}
}

// TestFullDatabase limits the pages of the day file, which fails as a full disk does.
func TestFullDatabase(t *testing.T) {
	t.Parallel()
	db := runStore(t, Config{Dir: t.TempDir(), RingBytes: 20_000 * fixSize})
	db.Append(numbered(0, 1000))
	flush(t, db)
	limit := func(pages int) {
		t.Helper()
		err := db.openDays()[0].file.update(func(c *conn) error {
			var n int
			return c.row(&n)(fmt.Sprintf("PRAGMA max_page_count = %d", pages))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // as many as there are
	next := 1000
	more := func(n int) {
		for range n {
			db.Append(numbered(next, next+1000))
			next += 1000
		}
	}
	more(10)
	eventually(t, "degraded", func() bool { return db.Status().State == store.Degraded })
	if s := db.Status(); !strings.Contains(s.Reason, "disk is full") {
		t.Errorf("reason %q", s.Reason)
	}
	more(30)
	lost := db.Status().Lost
	if lost == 0 {
		t.Error("nothing lost although there was no room")
	}
	limit(1 << 30)
	flush(t, db)
	if s := db.Status(); s.State != store.OK || s.Lost != lost || s.Stored+s.Lost != uint64(next) {
		t.Errorf("with room again, %d appended: %+v", next, s)
	}
	if got := storedNumbers(t, db); uint64(len(got)) != uint64(next)-lost || !slices.Equal(got, slices.Compact(slices.Clone(got))) {
		t.Errorf("history has %d fixes, want %d", len(got), uint64(next)-lost)
	}
}

// TestFullWhileSorting: commits still find room, runs do not. The store must not take
// more memory than it was given, and nothing may be doubled when it resumes.
func TestFullWhileSorting(t *testing.T) {
	t.Parallel()
	db := runStore(t, Config{Dir: t.TempDir(), RingBytes: 4000 * fixSize, OpenBytes: 4000 * fixSize, Busy: time.Millisecond})
	db.Append(numbered(0, 100))
	flush(t, db)
	path := db.openDays()[0].path
	edit(t, path, "CREATE TRIGGER refuse BEFORE INSERT ON block BEGIN SELECT RAISE(ABORT, 'no room for runs'); END")
	next := 100
	more := func(n int) {
		for range n {
			db.Append(numbered(next, next+100))
			next += 100
			if next%1000 == 0 {
				eventually(t, "room", func() bool { return db.Status().Pending < 2000 || db.Status().State == store.Degraded })
			}
		}
	}
	more(200)
	eventually(t, "degraded", func() bool { return db.Status().State == store.Degraded })
	open, all := db.ring.kept()
	if all > 5000*fixSize+10_000 {
		t.Errorf("%d bytes open, %d with what is frozen, of %d", open, all, db.cfg.OpenBytes)
	}
	s := db.Status()
	if !strings.Contains(s.Reason, "no room for runs") || s.Lost == 0 {
		t.Errorf("status %+v", s)
	}
	edit(t, path, "DROP TRIGGER refuse")
	flush(t, db)
	eventually(t, "resumed", func() bool { return db.Status().State == store.OK })
	got := storedNumbers(t, db)
	if uint64(len(got)) != uint64(next)-db.Status().Lost || !slices.Equal(got, slices.Compact(slices.Clone(got))) {
		t.Errorf("history has %d fixes, want %d", len(got), uint64(next)-db.Status().Lost)
	}
}

// runningStores are the ends of the stores that runStore runs.
var runningStores sync.Map

// runStore opens a store and runs it until the test is over, or stopStore.
func runStore(t testing.TB, cfg Config) *DB {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	db, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	runningStores.Store(db, func() error {
		cancel()
		return errors.Join(<-ended, db.Close())
	})
	t.Cleanup(func() { stopStore(t, db) })
	return db
}

// stopStore ends what runStore began; once is enough.
func stopStore(t testing.TB, db *DB) {
	t.Helper()
	if stop, ok := runningStores.LoadAndDelete(db); ok {
		if err := stop.(func() error)(); err != nil {
			t.Error(err)
		}
	}
}

// clock is a clock that tests move.
type clock struct{ ms atomic.Int64 }

func newClock(t time.Time) *clock {
	c := new(clock)
	c.ms.Store(t.UnixMilli())
	return c
}

func (c *clock) now() time.Time       { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) pass(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// filled runs a store, lets use have it, and stops it.
func filled(t testing.TB, cfg Config, use func(db *DB)) {
	t.Helper()
	db := runStore(t, cfg)
	use(db)
	stopStore(t, db)
}

func dayFile(t testing.TB, dir string) string {
	t.Helper()
	days, err := filepath.Glob(filepath.Join(dir, "fixes-*.db"))
	if err != nil || len(days) != 1 {
		t.Fatalf("day files: %v, %v", days, err)
	}
	return days[0]
}

func compact(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Compact(context.Background()); err != nil {
		t.Fatalf("compact: %v", err)
	}
}

func TestDamagedTailRecordIsSkippedAndCounted(t *testing.T) {
	t.Parallel()
	for _, damage := range []string{"substr(data, 1, length(data) / 2)", "randomblob(length(data))", "x''"} {
		t.Run(damage, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir()}
			filled(t, cfg, func(db *DB) {
				for i := range 3 {
					db.Append(numbered(i*100, i*100+100))
					flush(t, db)
				}
			})
			edit(t, dayFile(t, cfg.Dir), "UPDATE tail0 SET data = "+damage+" WHERE seq = (SELECT min(seq) FROM tail0)")
			db := runStore(t, cfg)
			if s := db.Status(); s.Corrupt != 100 {
				t.Errorf("corrupt %d, want 100", s.Corrupt)
			}
			db.Append(numbered(300, 400))
			for range 2 {
				if got, want := storedNumbers(t, db), upTo(400)[100:]; !slices.Equal(got, want) {
					t.Errorf("got %d fixes from %d, want %d from 100", len(got), got[0], len(want))
				}
				compact(t, db)
			}
		})
	}
}

func TestDamagedBlockIsSkippedAndCounted(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	cfg := Config{Dir: t.TempDir(), Now: clock.now}
	const fixes = 50_000
	filled(t, cfg, func(db *DB) {
		db.Append(numbered(0, fixes))
		compact(t, db)
	})
	edit(t, dayFile(t, cfg.Dir), "UPDATE block SET data = randomblob(length(data)) WHERE id = (SELECT max(id) FROM block)")
	edit(t, filepath.Join(cfg.Dir, "track.db"), "UPDATE state SET data = randomblob(length(data))")
	filled(t, cfg, func(db *DB) {
		got := len(storedNumbers(t, db))
		if missing := int(db.Status().Corrupt); missing == 0 || got+missing != fixes {
			t.Errorf("got %d fixes, %d are corrupt, want %d together", got, missing, fixes)
		}
		clock.pass(24 * time.Hour)
		compact(t, db) // the day is sealed without them
		if again := len(storedNumbers(t, db)); again != got {
			t.Errorf("got %d fixes from the sealed day, want %d", again, got)
		}
		if err := db.Latest(context.Background(), func(*track.Fix) error { return nil }); err != nil {
			t.Errorf("latest: %v", err)
		}
	})
}

// edit changes a database behind the store's back.
func edit(t testing.TB, path, statement string) {
	t.Helper()
	other, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(20000)")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// TestOpenSaysWhatIsWrong: one clear sentence and a next step for each.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	made := func(t *testing.T) string {
		dir := t.TempDir()
		filled(t, Config{Dir: dir}, func(db *DB) { db.Append(numbered(0, 10)) })
		return dir
	}
	for _, row := range []struct {
		name string
		dir  func(t *testing.T) string
		kind error
		want []string
	}{
		{"settings", func(*testing.T) string { return "" }, track.ErrInvalid, []string{"Dir", "RingBytes -1"}},
		{"a file is in the way", func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}, track.ErrUnavailable, []string{"data directory", "not a directory"}},
		{"newer registry", func(t *testing.T) string {
			dir := made(t)
			edit(t, filepath.Join(dir, "track.db"), "PRAGMA user_version = 99")
			return dir
		}, track.ErrInvalid, []string{"track.db", "newer version", "schema 99", "another data directory"}},
		{"newer day", func(t *testing.T) string {
			dir := made(t)
			edit(t, dayFile(t, dir), "PRAGMA user_version = 99")
			return dir
		}, track.ErrInvalid, []string{"fixes-", "newer version", "schema 99"}},
		{"not a database", func(t *testing.T) string {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "track.db"), bytes.Repeat([]byte("nonsense"), 1000), 0o600); err != nil {
				t.Fatal(err)
			}
			return dir
		}, track.ErrUnavailable, []string{"track.db", "not a sound database", "backup"}},
		{"in use", func(t *testing.T) string {
			dir := t.TempDir()
			runStore(t, Config{Dir: dir})
			return dir
		}, track.ErrUnavailable, []string{"in use by another process", fmt.Sprint(os.Getpid()), "stop it"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := Config{Dir: row.dir(t)}
			if cfg.Dir == "" {
				cfg.RingBytes = -1
			}
			db, err := Open(cfg)
			if err == nil {
				db.Close()
				t.Fatal("no error")
			}
			if !errors.Is(err, row.kind) {
				t.Errorf("%v: want %v", err, row.kind)
			}
			for _, word := range row.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%v: does not say %q", err, word)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: more than one line", err)
			}
		})
	}
}

// TestUpgradeFromTheFirstSchema opens what the program wrote before there were maps.
func TestUpgradeFromTheFirstSchema(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := db.SaveDevices(ctx, []store.Device{{ID: 1, Name: "van"}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(dir, "track.db"), "DROP TABLE map; DROP TABLE map_member; DROP TABLE map_viewer; PRAGMA user_version = 1")
	for round := range 2 {
		if db, err = Open(Config{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if err := errors.Join(db.SaveMap(ctx, store.Map{ID: 5, Name: "harbour"}), db.JoinMap(ctx, 5, []track.DeviceID{1})); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		err := errors.Join(
			db.Devices(ctx, func(d *store.Device) error { got = append(got, d.Name); return nil }),
			db.MapMembers(ctx, func(m track.MapID, d track.DeviceID) error { got = append(got, fmt.Sprint(m, d)); return nil }))
		if want := []string{"van", "0000000000000005 000000000001"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("round %d: got %q, %v, want %q", round, got, err, want)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
