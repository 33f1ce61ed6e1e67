package sqlite

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tracker/pkg/track"
)

// A day file holds the fixes that arrived on one day (UTC): the tails that they were
// committed to, and the runs that they were sorted into.
//
// A run is listed in the table run by the same transaction that empties the tail it
// was made from, or that drops the runs it was merged from. Until then its blocks do
// not count, so a crash in between leaves garbage, never a fix twice or none.
//
// Block ids are run<<runShift | position: a run's blocks lie together, in the order
// (device, first time).
//
// A table cover(cell, t0, run, device), the geo.Cells that a chunk touches, is to
// stand beside block once somebody asks who was inside a fence yesterday. It is
// filled where blocks are written and emptied where runs are dropped.
var dayLayout = layout{page: 8192, schema: `
CREATE TABLE tail0 (seq INTEGER PRIMARY KEY, n INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE tail1 (seq INTEGER PRIMARY KEY, n INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE run (
	id    INTEGER PRIMARY KEY,
	level INTEGER NOT NULL, -- how often its fixes were merged
	first INTEGER NOT NULL, -- lowest and
	upto  INTEGER NOT NULL, -- highest sequence number in it
	n     INTEGER NOT NULL, -- fixes
	t0    INTEGER NOT NULL, -- first and
	t1    INTEGER NOT NULL, -- last fix time
	holds BLOB NOT NULL     -- on which days its fixes were made
);
CREATE TABLE block (
	id     INTEGER PRIMARY KEY,
	run    INTEGER NOT NULL,
	device INTEGER NOT NULL, -- first and
	last   INTEGER NOT NULL, -- last device in it
	t0     INTEGER NOT NULL,
	t1     INTEGER NOT NULL,
	n      INTEGER NOT NULL,
	data   BLOB NOT NULL
);
CREATE INDEX block_device ON block (run, device, last, t0, t1);
`}

const runShift = 32

const dayMillis = 24 * 60 * 60 * 1000

// dayOf is the day of a time in unix milliseconds, counted from 1970.
func dayOf(ms int64) int32 {
	d := ms / dayMillis
	if ms < d*dayMillis {
		d--
	}
	return int32(d)
}

func dayName(date int32) string {
	return "fixes-" + time.Unix(int64(date)*86400, 0).UTC().Format(time.DateOnly) + ".db"
}

// parseDayName is the opposite of dayName.
func parseDayName(name string) (date int32, ok bool) {
	s, ok := strings.CutPrefix(name, "fixes-")
	if !ok {
		return 0, false
	}
	s, ok = strings.CutSuffix(s, ".db")
	if !ok {
		return 0, false
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, false
	}
	return dayOf(t.UnixMilli()), true
}

type day struct {
	date int32
	path string
	tail int   // the tail that takes commits; the writer's
	file *file // nil for a day that was sealed before the start, see shelf

	// Guarded by DB.mu.
	over   bool // takes no more fixes
	sealed bool // merged, and never written again

	// Guarded by the turn, see DB.takeTurn.
	stated uint64 // the state has seen its fixes up to here
	rest   rest

	mu      sync.Mutex
	holds   dates // on which days its fixes were made
	lastRun int64
}

// newRunID is an id that no run of the day has had.
func (d *day) newRunID() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastRun++
	return d.lastRun
}

// hold notes on which days the fixes of a run were made, before it is listed.
func (d *day) hold(r *run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, date := range r.holds {
		d.holds = d.holds.add(date)
	}
}

// dates is a sorted set of days.
type dates []int32

func (d dates) add(date int32) dates {
	i, found := slices.BinarySearch(d, date)
	if found {
		return d
	}
	return slices.Insert(d, i, date)
}

// from is the first day in the set that is not before date.
func (d dates) from(date int32) (int32, bool) {
	i, _ := slices.BinarySearch(d, date)
	if i == len(d) {
		return 0, false
	}
	return d[i], true
}

func (d dates) append(dst []byte) []byte {
	prev := int32(0)
	for _, date := range d {
		dst = binary.AppendVarint(dst, int64(date-prev))
		prev = date
	}
	return dst
}

func parseDates(src []byte) (dates, error) {
	var d dates
	prev := int64(0)
	for len(src) > 0 {
		v, k := binary.Varint(src)
		if k <= 0 {
			return nil, errDamaged
		}
		src = src[k:]
		prev += v
		d = d.add(int32(prev))
	}
	return d, nil
}

// run is a line of the table run.
type run struct {
	id    int64
	level int
	first uint64
	upto  uint64
	span
	holds dates
}

// runs lists the runs of a day, oldest first.
func runsOf(c *conn) ([]run, error) {
	var list []run
	var r run
	var holds sql.RawBytes
	err := c.rows(&r.id, &r.level, &r.first, &r.upto, &r.n, &r.t0, &r.t1, &holds)(func() (err error) {
		r.holds, err = parseDates(holds)
		list = append(list, r)
		return err
	}, "SELECT id, level, first, upto, n, t0, t1, holds FROM run ORDER BY upto, id")
	return list, err
}

func (r *run) list(c *conn) error {
	return c.exec("INSERT OR REPLACE INTO run (id, level, first, upto, n, t0, t1, holds) VALUES (?,?,?,?,?,?,?,?)",
		r.id, r.level, int64(r.first), int64(r.upto), r.n, r.t0, r.t1, r.holds.append(nil))
}

// dropSlice is how many blocks one transaction takes away.
const dropSlice = 512

// dropRun takes away the blocks of a run that is not listed any more.
func dropRun(f *file, id int64) error {
	var last sql.NullInt64
	err := f.read(func(c *conn) error {
		return c.row(&last)("SELECT max(id) FROM block WHERE id < ?", (id+1)<<runShift)
	})
	if err != nil {
		return err
	}
	for at := id << runShift; at <= last.Int64; at += dropSlice {
		if err := f.update(func(c *conn) error { return dropBlocks(c, at, at+dropSlice) }); err != nil {
			return err
		}
	}
	return nil
}

func dropBlocks(c *conn, from, to int64) error {
	return c.exec("DELETE FROM block WHERE id >= ? AND id < ?", from, to)
}

// lastRun is the highest id that a run or a block has had.
func lastRun(c *conn) (int64, error) {
	var byRun, byBlock sql.NullInt64
	if err := c.row(&byRun)("SELECT max(id) FROM run"); err != nil {
		return 0, err
	}
	if err := c.row(&byBlock)("SELECT max(id) FROM block"); err != nil {
		return 0, err
	}
	return max(byRun.Int64, byBlock.Int64>>runShift), nil
}

// sweep deletes the blocks that belong to no run.
func sweep(c *conn) error {
	listed := make(map[int64]bool)
	var id int64
	err := c.rows(&id)(func() error { listed[id] = true; return nil }, "SELECT id FROM run")
	id = 0
	for err == nil {
		var next sql.NullInt64
		if err = c.row(&next)("SELECT min(run) FROM block WHERE run > ?", id); err != nil || !next.Valid {
			return err
		}
		if id = next.Int64; !listed[id] {
			err = dropBlocks(c, id<<runShift, (id+1)<<runShift)
		}
	}
	return err
}

// dayFiles lists the day files of a directory, oldest first, and removes what a
// crash left half made.
func dayFiles(dir string) ([]int32, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []int32
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), unfinished) {
			if err := removeFile(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("clean up: %w", err)
			}
			continue
		}
		if date, ok := parseDayName(e.Name()); ok {
			list = append(list, date)
		}
	}
	slices.Sort(list)
	return list, nil
}

// unfinished ends the name of a file that is still being made.
const unfinished = ".new"

func tailTable(tail int) string { return "tail" + string(rune('0'+tail)) }

// appendToTail stores pieces in a tail. A piece that an earlier attempt left there
// is replaced.
func appendToTail(c *conn, tail int, pieces []piece, buf []byte) ([]byte, error) {
	for _, p := range pieces {
		buf = appendTail(buf[:0], p.fixes, p.ext)
		err := c.exec("INSERT OR REPLACE INTO "+tailTable(tail)+" (seq, n, data) VALUES (?,?,?)",
			int64(p.first), len(p.fixes), buf)
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// tailEmpty tells whether a tail holds nothing.
func tailEmpty(c *conn, tail int) (bool, error) {
	var n int
	err := c.row(&n)("SELECT count(*) FROM (SELECT 1 FROM " + tailTable(tail) + " LIMIT 1)")
	return n == 0, err
}

// tailRecord is one record of a tail that was read back.
type tailRecord struct {
	seq   uint64
	n     int
	fixes []track.Fix
	ext   []byte
	err   error
}

// readTail gives each the records of a tail in order. What it gives is good during
// the call.
func readTail(c *conn, tail int, each func(*tailRecord) error) error {
	var rec tailRecord
	var buf part
	var data sql.RawBytes
	return c.rows(&rec.seq, &rec.n, &data)(func() error {
		fixes, ext, err := parseTail(data, buf.fixes[:0], buf.ext[:0])
		buf = part{fixes, ext}
		rec.fixes, rec.ext, rec.err = fixes, ext, err
		return each(&rec)
	}, "SELECT seq, n, data FROM "+tailTable(tail)+" ORDER BY seq")
}
