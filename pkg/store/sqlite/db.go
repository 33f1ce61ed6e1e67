package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"tracker/pkg/track"
)

// readersKept is how many idle reading connections a file keeps.
const readersKept = 4

// file is one SQLite database: a writing connection that takes turns, and reading
// connections that never wait for it (WAL).
//
// Transactions here are short by design, milliseconds: a reader that stayed in one
// would keep the WAL from being reset, a writer would hold up the commits of the
// tail.
type file struct {
	path string
	page int           // bytes of a page, if the file is new
	busy time.Duration // how long to wait for another program's lock

	use sync.RWMutex // held shared while connections are used, exclusively to swap the file
	db  *sql.DB      // guarded by use

	wmu    sync.Mutex // the writer's turn
	writer *conn      // guarded by wmu; nil after an error, to be opened again

	rmu     sync.Mutex
	readers []*conn // idle
}

// conn is a connection and its prepared statements. One goroutine at a time.
type conn struct {
	c     *sql.Conn
	stmts map[string]*sql.Stmt
}

// mode is what a file is opened for.
type mode int

const (
	writing mode = iota // made if it is not there
	reading             // never written again: without locks or WAL
	making              // nobody else looks: without journal or sync, see syncFile
)

// layout is what a file looks like inside. Small pages suit rows that lie anywhere,
// bigger ones blobs that lie one behind the other.
type layout struct {
	schema string
	page   int
	// upgrades[i] makes a file of version i+1 one of version i+2; schema is what a file
	// looks like after all of them. The version is in the header of every file (PRAGMA
	// user_version).
	upgrades []string
}

func (l *layout) version() int { return 1 + len(l.upgrades) }

// openFile opens or makes a database.
func openFile(path string, l layout, busy time.Duration, m mode) (*file, error) {
	f := &file{path: path, page: l.page, busy: busy}
	if m != reading {
		if err := makePrivate(path); err != nil {
			return nil, err
		}
	}
	if err := f.open(m); err != nil {
		return nil, f.explain("open", err)
	}
	var err error
	if m == reading {
		err = f.read(func(c *conn) error {
			_, err := l.check(c, path)
			return err
		})
	} else {
		err = f.update(func(c *conn) error { return l.bring(c, path) })
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// makePrivate makes sure that there is a file, and that a new one is nobody else's
// business. What SQLite puts beside it gets the same rights.
func makePrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return explainDir(filepath.Dir(path), err)
	}
	return f.Close()
}

func (f *file) open(m mode) (err error) {
	// _pragma values are applied before the journal mode, which fixes the page size.
	q := url.Values{"_busy_timeout": {fmt.Sprint(f.busy.Milliseconds())}, "_pragma": {fmt.Sprintf("page_size(%d)", f.page)}}
	switch m {
	case writing:
		q.Set("_journal_mode", "WAL")
		q.Set("_synchronous", "FULL")
		q.Add("_pragma", "wal_autocheckpoint(1000)")
		q.Add("_pragma", "journal_size_limit(67108864)")
	case reading:
		q.Set("mode", "ro")
		q.Set("immutable", "1")
	case making:
		q.Set("_journal_mode", "OFF")
		q.Set("_synchronous", "OFF")
	}
	q.Add("_pragma", "cache_size(-4096)")
	q.Add("_pragma", "temp_store(memory)")
	path, err := filepath.Abs(f.path)
	if err != nil {
		return err
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	if f.db, err = sql.Open("sqlite", u.String()); err != nil {
		return err
	}
	f.db.SetMaxIdleConns(0) // the connections that are kept are kept here
	return nil
}

// check refuses what a newer program wrote.
func (l *layout) check(c *conn, path string) (version int, err error) {
	if err := c.row(&version)("PRAGMA user_version"); err != nil {
		return 0, err
	}
	if version > l.version() {
		return 0, fmt.Errorf("%q was written by a newer version of this program (schema %d, this one knows %d): run that version, or use another data directory: %w",
			path, version, l.version(), track.ErrInvalid)
	}
	return version, nil
}

// bring makes a new file, or one of an older program, look like the layout.
func (l *layout) bring(c *conn, path string) error {
	version, err := l.check(c, path)
	if err != nil || version == l.version() {
		return err
	}
	scripts := []string{l.schema}
	if version > 0 {
		scripts = l.upgrades[version-1:]
	}
	for _, script := range scripts {
		if err := c.script(script); err != nil {
			return err
		}
	}
	return c.script(fmt.Sprintf("PRAGMA user_version = %d", l.version()))
}

// update runs fn in one transaction: all of it is on disk when update returns nil,
// and none of it will be there otherwise.
func (f *file) update(fn func(c *conn) error) error {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	f.use.RLock()
	defer f.use.RUnlock()
	if f.db == nil {
		return fmt.Errorf("write %q: %w", filepath.Base(f.path), track.ErrClosed)
	}
	if f.writer == nil {
		c, err := f.connect()
		if err != nil {
			return f.explain("open", err)
		}
		f.writer = c
	}
	err := f.writer.transaction("BEGIN IMMEDIATE", fn)
	if err != nil && spoils(err) {
		f.writer.close()
		f.writer = nil
	}
	return f.explain("write", err)
}

// read runs fn in one reading transaction: everything it sees is of one moment.
func (f *file) read(fn func(c *conn) error) error {
	f.use.RLock()
	defer f.use.RUnlock()
	if f.db == nil {
		return fmt.Errorf("read %q: %w", filepath.Base(f.path), track.ErrClosed)
	}
	c, err := f.reader()
	if err != nil {
		return f.explain("open", err)
	}
	err = c.transaction("BEGIN", fn)
	f.rmu.Lock()
	defer f.rmu.Unlock()
	if primary(err) != 0 || len(f.readers) >= readersKept {
		c.close()
	} else {
		f.readers = append(f.readers, c)
	}
	return f.explain("read", err)
}

func (f *file) reader() (*conn, error) {
	f.rmu.Lock()
	if n := len(f.readers); n > 0 {
		c := f.readers[n-1]
		f.readers = f.readers[:n-1]
		f.rmu.Unlock()
		return c, nil
	}
	f.rmu.Unlock()
	return f.connect()
}

func (f *file) connect() (*conn, error) {
	c, err := f.db.Conn(context.Background())
	if err != nil {
		return nil, err
	}
	return &conn{c: c, stmts: make(map[string]*sql.Stmt)}, nil
}

// close waits for whoever is using the file. The last connection to leave puts what
// is in the WAL into the database and removes the WAL.
func (f *file) close() error {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	f.use.Lock()
	defer f.use.Unlock()
	return f.closeLocked()
}

// closeAnd closes the file and then calls fn, before anybody learns that it is closed.
// It fails, and leaves the file open, while another program has it open too.
func (f *file) closeAnd(fn func() error) error {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	f.use.Lock()
	defer f.use.Unlock()
	if err := f.closeLocked(); err != nil {
		return f.explain("close", err)
	}
	if _, err := os.Stat(f.path + "-wal"); err == nil {
		return errors.Join(
			fmt.Errorf("close %q: in use by another program: %w", filepath.Base(f.path), track.ErrUnavailable),
			f.open(writing))
	}
	return fn()
}

func (f *file) closeLocked() error {
	if f.db == nil {
		return nil
	}
	if f.writer != nil {
		f.writer.close()
		f.writer = nil
	}
	for _, c := range f.readers {
		c.close()
	}
	f.readers = nil
	err := f.db.Close()
	f.db = nil
	return err
}

func (c *conn) close() {
	for _, s := range c.stmts {
		s.Close()
	}
	c.c.Close()
}

func (c *conn) transaction(begin string, fn func(c *conn) error) error {
	if err := c.exec(begin); err != nil {
		return err
	}
	err := fn(c)
	if err == nil {
		err = c.exec("COMMIT")
	}
	if err != nil {
		// SQLite has often rolled back by itself already, and then this fails.
		_ = c.exec("ROLLBACK")
	}
	return err
}

func (c *conn) prepare(query string) (*sql.Stmt, error) {
	if s := c.stmts[query]; s != nil {
		return s, nil
	}
	s, err := c.c.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

// script runs statements that take no arguments.
func (c *conn) script(statements string) error {
	_, err := c.c.ExecContext(context.Background(), statements)
	return err
}

// exec runs a statement that gives no rows.
func (c *conn) exec(query string, args ...any) error {
	_, err := c.change(query, args...)
	return err
}

// change is exec, and says how many rows it touched.
func (c *conn) change(query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// row reads one row into dst: c.row(&a, &b)(query, args...). sql.ErrNoRows if there
// is none.
func (c *conn) row(dst ...any) func(query string, args ...any) error {
	return func(query string, args ...any) error {
		s, err := c.prepare(query)
		if err != nil {
			return err
		}
		return s.QueryRowContext(context.Background(), args...).Scan(dst...)
	}
}

// rows calls each after every row has been read into dst. What dst's sql.RawBytes
// hold is good until each returns.
func (c *conn) rows(dst ...any) func(each func() error, query string, args ...any) error {
	return func(each func() error, query string, args ...any) error {
		s, err := c.prepare(query)
		if err != nil {
			return err
		}
		rows, err := s.QueryContext(context.Background(), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := rows.Scan(dst...); err != nil {
				return err
			}
			if err := each(); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

func primary(err error) int {
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// spoils tells whether a connection is not to be trusted after this error.
func spoils(err error) bool {
	if errors.Is(err, sql.ErrConnDone) || errors.Is(err, driver.ErrBadConn) {
		return true
	}
	switch primary(err) {
	case 0, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL:
		return false
	}
	return true
}

// explain turns an error of SQLite into a sentence and a track error. Others it
// leaves alone.
func (f *file) explain(op string, err error) error {
	if err == nil || primary(err) == 0 {
		return err
	}
	why := err.Error()
	switch primary(err) {
	case sqlite3.SQLITE_FULL:
		why = "the disk is full"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		why = "locked by another program"
	case sqlite3.SQLITE_READONLY:
		why = "read-only"
	case sqlite3.SQLITE_CANTOPEN:
		why = "cannot be opened for writing: check that the directory exists, is writable and has space"
	case sqlite3.SQLITE_IOERR:
		why = "the disk reports an error (" + why + ")"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		why = "not a sound database: restore it from a backup, or move it away"
	}
	return fmt.Errorf("%s %q: %s: %w", op, filepath.Base(f.path), why, track.ErrUnavailable)
}

// size is the bytes that the file and its companions take.
func fileSize(path string) (size int64) {
	for _, suffix := range companions {
		if info, err := os.Stat(path + suffix); err == nil {
			size += info.Size()
		}
	}
	return size
}

var companions = []string{"", "-wal", "-shm"}

func removeFile(path string) error {
	var errs []error
	for _, suffix := range companions {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// syncFile makes a file, or the names in a directory, survive a power cut.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
