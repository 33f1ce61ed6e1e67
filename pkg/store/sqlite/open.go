package sqlite

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

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
		var date int32
		var stated uint64
		var sealed bool
		var holds sql.RawBytes
		return c.rows(&date, &stated, &sealed, &holds)(func() error {
			d.ring.next = max(d.ring.next, stated+1)
			day := d.days[date]
			if day == nil {
				return nil // its file is gone
			}
			var err error
			day.stated, day.sealed = stated, sealed
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
	slices.SortFunc(tails, func(a, b tail) int { return cmp.Compare(a.first, b.first) })
	var end uint64
	for _, t := range tails {
		if d.current != nil {
			d.ring.freeze(d.current, d.current.tail)
		}
		d.current = t.day
		t.day.tail = t.n
		if err := d.readTail(t.day, t.n, &end); err != nil {
			return err
		}
	}
	return nil
}

// readTail brings the fixes of a tail back. end is behind the last sequence number
// that was read: a commit that seemed to fail, and was repeated in another tail, may
// have left the same fixes in two.
func (d *DB) readTail(day *day, n int, end *uint64) error {
	return day.file.read(func(c *conn) error {
		return readTail(c, n, func(rec *tailRecord) error {
			if rec.err != nil {
				d.damaged(day, "record", int64(rec.seq), rec.n)
				return nil
			}
			if rec.seq < *end {
				again := min(int(*end-rec.seq), len(rec.fixes))
				rec.seq += uint64(again)
				rec.fixes = rec.fixes[again:]
			}
			*end = max(*end, rec.seq+uint64(len(rec.fixes)))
			d.ring.restore(rec.seq, rec.fixes, rec.ext)
			return nil
		})
	})
}
