// Package sqlite is the store in SQLite files: one directory, nothing to install.
//
//	                Append
//	                  │ copy
//	                  ▼
//	┌───────────────────────── ring ─────────────────────────┐
//	│   frozen        │       open        │     waiting      │   fixes in memory
//	└───────┬─────────┴─────────▲─────────┴────────┬─────────┘
//	 sorter │                   └──── writer ──────┘ one transaction per 50 ms
//	        ▼                            ▼           or 5,000 fixes
//	     a new run   ◄─ replaces ─   tail0 / tail1    records as they came
//	        │ keeper
//	        ▼
//	   bigger runs ──► the state: newest fix and epochs of every device
//
// A day file (fixes-2026-11-21.db) holds what arrived on that day. The writer appends
// each batch as one record to a tail table and syncs: now it is durable. What a tail
// holds stays in memory as well; when it has grown to half of Config.OpenBytes, the
// writer turns to the other tail and the sorter makes a run of it: all its fixes by
// device and time, in compressed chunks (chunk.go), in a few sequential transactions,
// the last of which lists the run and empties the tail. So everything is in exactly
// one place at every moment, and a start after a crash only has to read the tails
// back.
//
// The keeper merges runs into bigger ones, folds them into the state, makes one sealed
// run of each day that is over, and removes days that have become too old.
//
// The registry and the state are in track.db.
package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// Config says where and how to store. The zero value of every field but Dir is a
// good choice.
type Config struct {
	Dir           string        // made if it is not there
	RingBytes     int           // fixes that wait for a commit; beyond it the oldest are lost. 64 MiB
	OpenBytes     int           // committed fixes that are not in a run yet. 64 MiB
	CommitEvery   time.Duration // a fix waits at most so long. 50 ms
	CommitFixes   int           // so many do not wait. 5000
	RetentionDays int           // days, by arrival, that are kept; 0: for ever
	Busy          time.Duration // how long one attempt waits for another program's lock. 1 s
	Logger        *slog.Logger
	Now           func() time.Time
}

func (c *Config) complete() error {
	var wrong []string
	check := func(ok bool, setting string, v any, want string) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s %v: want %s", setting, v, want))
		}
	}
	check(c.Dir != "", "Dir", `""`, "a directory")
	check(c.RingBytes >= 0, "RingBytes", c.RingBytes, "0 or more")
	check(c.OpenBytes >= 0, "OpenBytes", c.OpenBytes, "0 or more")
	check(c.CommitEvery >= 0, "CommitEvery", c.CommitEvery, "0 or more")
	check(c.CommitFixes >= 0, "CommitFixes", c.CommitFixes, "0 or more")
	check(c.RetentionDays >= 0, "RetentionDays", c.RetentionDays, "0 or more")
	check(c.Busy >= 0, "Busy", c.Busy, "0 or more")
	if wrong != nil {
		return fmt.Errorf("store: %s: %w", strings.Join(wrong, "; "), track.ErrInvalid)
	}
	setDefault(&c.RingBytes, 64<<20)
	setDefault(&c.OpenBytes, 64<<20)
	setDefault(&c.CommitEvery, 50*time.Millisecond)
	setDefault(&c.CommitFixes, 5000)
	setDefault(&c.Busy, time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// DB is a store.Store.
type DB struct {
	cfg     Config
	log     *slog.Logger
	lock    *os.File
	reg     *file // track.db
	lineage uint64
	ring    *ring
	health  health

	// The writer's. Others may read current with mu held.
	current *day // whose tail takes commits; nil when there is nothing to commit
	pieces  []piece
	record  []byte

	// What the writer, the sorter and the keeper tell each other. The channels hold
	// one token: look again.
	asks   chan struct{} // to the writer: urgent or freeze was raised, or the day is over
	urgent atomic.Uint64 // commit now what came before this sequence number
	freeze atomic.Uint64 // and sort it now
	frozen chan struct{} // to the sorter: there is a pile
	thawed chan struct{} // to the writer: there is one pile less
	keep   chan struct{} // to the keeper: there is a new run, or a day is over

	deny    atomic.Pointer[denied]
	denyMu  sync.Mutex    // changes of deny take turns
	stateMu sync.Mutex    // one walk along the state at a time
	turns   chan struct{} // holds a token while somebody has the turn, see takeTurn

	shelf shelf

	mu     sync.Mutex
	days   map[int32]*day
	known  map[damage]bool
	closed bool

	bytes   atomic.Int64
	corrupt atomic.Uint64
	commits atomic.Uint64
	took    atomic.Int64
}

var _ store.Store = (*DB)(nil)

var trackLayout = layout{page: 4096, schema: registrySchema + stateSchema + `
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE day (
	date   INTEGER PRIMARY KEY, -- days since 1970
	stated INTEGER NOT NULL,    -- the state holds its fixes up to this sequence number
	sealed INTEGER NOT NULL,
	holds  BLOB NOT NULL        -- on which days its fixes were made
);
`}

// Open opens the store in Config.Dir, or makes it, and brings back what was in
// memory when it was last used. One process at a time may have it open.
func Open(cfg Config) (_ *DB, err error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	d := &DB{
		cfg:    cfg,
		log:    cfg.Logger.With("room", "store"),
		lock:   lock,
		ring:   newRing(cfg.RingBytes, cfg.OpenBytes, cfg.CommitFixes),
		asks:   make(chan struct{}, 1),
		frozen: make(chan struct{}, 1),
		thawed: make(chan struct{}, 1),
		keep:   make(chan struct{}, 1),
		turns:  make(chan struct{}, 1),
		days:   make(map[int32]*day),
	}
	d.shelf.busy = cfg.Busy
	d.health.start(d.log, cfg.Now)
	defer func() {
		if err != nil {
			d.Close()
			err = fmt.Errorf("open store %q: %w", cfg.Dir, err)
		}
	}()
	if d.reg, err = openFile(filepath.Join(cfg.Dir, "track.db"), trackLayout, cfg.Busy, writing); err != nil {
		return nil, err
	}
	if err := d.loadMeta(); err != nil {
		return nil, err
	}
	if err := d.loadDays(); err != nil {
		return nil, err
	}
	if err := d.readTails(); err != nil {
		return nil, err
	}
	for _, day := range d.openDays() {
		if err := d.mergeState(context.Background(), day); err != nil {
			return nil, err
		}
	}
	d.measure()
	return d, nil
}

// loadMeta reads the lineage, which it makes for a new database, and what is denied.
func (d *DB) loadMeta() error {
	err := d.reg.update(func(c *conn) error {
		var lineage int64
		err := c.row(&lineage)("SELECT value FROM meta WHERE key = 'lineage'")
		if errors.Is(err, sql.ErrNoRows) {
			var b [8]byte
			rand.Read(b[:])
			lineage = int64(binary.LittleEndian.Uint64(b[:]) | 1)
			err = c.exec("INSERT INTO meta (key, value) VALUES ('lineage', ?)", lineage)
		}
		d.lineage = uint64(lineage)
		return err
	})
	if err != nil {
		return err
	}
	return d.reg.read(func(c *conn) error {
		var next sql.NullInt64
		if err := c.row(&next)("SELECT max(value) FROM meta WHERE key = 'next'"); err != nil {
			return err
		}
		d.ring.next = max(d.ring.next, uint64(next.Int64))
		return d.loadDenied(c)
	})
}

// loadDays finds the day files, and opens those that are not sealed.
func (d *DB) loadDays() error {
	dates, err := dayFiles(d.cfg.Dir)
	if err != nil {
		return err
	}
	for _, date := range dates {
		d.days[date] = d.newDay(date)
	}
	err = d.reg.read(func(c *conn) error {
		var row day
		var holds sql.RawBytes
		return c.rows(&row.date, &row.stated, &row.sealed, &holds)(func() error {
			d.ring.next = max(d.ring.next, row.stated+1)
			day := d.days[row.date]
			if day == nil {
				return nil // its file is gone
			}
			var err error
			day.stated, day.sealed = row.stated, row.sealed
			day.holds, err = parseDates(holds)
			return err
		}, "SELECT date, stated, sealed, holds FROM day")
	})
	if err != nil {
		return err
	}
	for _, day := range d.openDays() {
		if err := d.openDay(day); err != nil {
			return err
		}
	}
	return nil
}

func (d *DB) newDay(date int32) *day {
	return &day{date: date, path: filepath.Join(d.cfg.Dir, dayName(date))}
}

// openDay opens a day file that is to be written.
func (d *DB) openDay(day *day) error {
	f, err := openFile(day.path, dayLayout, d.cfg.Busy, writing)
	if err != nil {
		return err
	}
	var runs []run
	err = f.update(func(c *conn) error {
		if err := sweep(c); err != nil {
			return err
		}
		if runs, err = runsOf(c); err != nil {
			return err
		}
		day.lastRun, err = lastRun(c)
		return err
	})
	if err != nil {
		f.close()
		return err
	}
	for _, r := range runs {
		for _, date := range r.holds {
			day.holds = day.holds.add(date)
		}
		d.ring.next = max(d.ring.next, r.upto+1)
	}
	day.file = f
	return nil
}

// readTails brings the fixes of all tails back into the ring. All but the newest tail
// are frozen; that one goes on being used, if its day has not passed.
func (d *DB) readTails() error {
	type tail struct {
		day   *day
		n     int
		first uint64
	}
	var tails []tail
	for _, day := range d.openDays() {
		err := day.file.read(func(c *conn) error {
			for n := range 2 {
				var first sql.NullInt64
				if err := c.row(&first)("SELECT min(seq) FROM " + tailTable(n)); err != nil {
					return err
				}
				if first.Valid {
					tails = append(tails, tail{day, n, uint64(first.Int64)})
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.SortFunc(tails, func(a, b tail) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	for _, t := range tails {
		if d.current != nil {
			d.ring.freeze(d.current, d.current.tail)
		}
		d.current = t.day
		t.day.tail = t.n
		if err := d.readTail(t.day, t.n); err != nil {
			return err
		}
	}
	return nil
}

func (d *DB) readTail(day *day, n int) error {
	return day.file.read(func(c *conn) error {
		return readTail(c, n, func(rec *tailRecord) error {
			if rec.err != nil {
				d.damaged(day, "record", int64(rec.seq), rec.n)
				return nil
			}
			d.ring.restore(rec.seq, rec.fixes, rec.ext)
			return nil
		})
	})
}

// damaged counts fixes that could not be read back: of a tail record, by its sequence
// number, or of a block. It counts each only once, however often it is read.
func (d *DB) damaged(day *day, what string, id int64, fixes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := damage{day.date, what, id}
	if d.known[key] {
		return
	}
	if d.known == nil {
		d.known = make(map[damage]bool)
	}
	d.known[key] = true
	d.corrupt.Add(uint64(max(fixes, 1)))
	d.log.Error("damaged "+what+" skipped", "file", filepath.Base(day.path), "id", id, "fixes", fixes)
}

// damage is where something could not be read.
type damage struct {
	date int32
	what string
	id   int64
}

// openDays are the days that are not sealed, oldest first.
func (d *DB) openDays() []*day {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*day
	for _, day := range d.days {
		if !day.sealed {
			list = append(list, day)
		}
	}
	slices.SortFunc(list, func(a, b *day) int { return int(a.date) - int(b.date) })
	return list
}

// usable fails once the store is closed.
func (d *DB) usable() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("store: %w", track.ErrClosed)
	}
	return nil
}

// Append implements store.Store.
func (d *DB) Append(b *track.Batch) { d.ring.append(b) }

// Lineage implements store.Store.
func (d *DB) Lineage() uint64 { return d.lineage }

// Status implements store.Store.
func (d *DB) Status() store.Status {
	s := store.Status{
		Corrupt:    d.corrupt.Load(),
		Commits:    d.commits.Load(),
		LastCommit: time.Duration(d.took.Load()),
		Bytes:      d.bytes.Load(),
	}
	d.health.fill(&s)
	d.ring.fill(&s)
	return s
}

// Close implements store.Store.
func (d *DB) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	days := d.days
	d.mu.Unlock()

	var errs []error
	for _, day := range days {
		if day.file != nil {
			errs = append(errs, day.file.close())
		}
	}
	d.shelf.close()
	if d.reg != nil {
		errs = append(errs, d.reg.close())
	}
	errs = append(errs, d.lock.Close())
	return errors.Join(errs...)
}

// measure finds out how much disk the store takes.
func (d *DB) measure() {
	size := fileSize(d.reg.path)
	d.mu.Lock()
	days := make([]*day, 0, len(d.days))
	for _, day := range d.days {
		days = append(days, day)
	}
	d.mu.Unlock()
	for _, day := range days {
		size += fileSize(day.path)
	}
	d.bytes.Store(size)
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is there
	}
}
