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

	deny   atomic.Pointer[denied]
	denyMu sync.Mutex    // changes of deny take turns
	turns  chan struct{} // holds a token while somebody has the turn, see takeTurn

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

var trackLayout = layout{page: 4096, schema: registrySchema + mapSchema + stateSchema + `
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE day (
	date   INTEGER PRIMARY KEY, -- days since 1970
	stated INTEGER NOT NULL,    -- the state holds its fixes up to this sequence number
	sealed INTEGER NOT NULL,
	holds  BLOB NOT NULL        -- on which days its fixes were made
);
`, upgrades: []string{mapSchema}}

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
	errs = append(errs, unlock(d.lock), d.lock.Close())
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
