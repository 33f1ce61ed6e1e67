package sqlite

import (
	"container/heap"
	"database/sql"
	"math"
	"slices"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// A run is a piece of a day in order: blocks of chunks by device and time, written
// front to back and never changed. Looking up a device is one search in each run that
// may hold the time in question; many runs are merged into one so that these stay
// few. (An index over all chunks of a day would find them in one search, but cost a
// random page for every chunk written: four times all other work together.)

// sliceBytes is how much one transaction of a run writes: ten milliseconds or so,
// in which no commit of the tail can happen.
const sliceBytes = 1 << 20

// runWriter writes one run. It is not listed before finish, and so not there after a
// crash. After an error, abandon it.
type runWriter struct {
	file  *file
	run   run
	pos   int64
	block blockWriter
	rows  []blockRow
	buf   []byte // holds the data of rows
}

type blockRow struct {
	device, last track.DeviceID
	span
	from, to int // data in buf
}

// add writes fixes of one device. Calls come in the order of a run, with at most
// chunkMax fixes.
func (w *runWriter) add(fixes []track.Fix, ext []byte) error {
	w.run.add(fixes[0].Time, fixes[len(fixes)-1].Time, len(fixes))
	for date, last := dayOf(fixes[0].Time), dayOf(fixes[len(fixes)-1].Time); ; {
		w.run.holds = w.run.holds.add(date)
		if date == last {
			break
		}
		i, _ := slices.BinarySearchFunc(fixes, date+1, func(f track.Fix, d int32) int { return int(dayOf(f.Time)) - int(d) })
		date = dayOf(fixes[i].Time)
	}
	w.block.add(fixes, ext)
	if !w.block.full() {
		return nil
	}
	w.endBlock()
	if len(w.buf) < sliceBytes {
		return nil
	}
	if err := w.file.update(w.insert); err != nil {
		return err
	}
	w.pos += int64(len(w.rows))
	w.rows, w.buf = w.rows[:0], w.buf[:0]
	return nil
}

func (w *runWriter) endBlock() {
	if w.block.count == 0 {
		return
	}
	row := blockRow{device: w.block.first, last: w.block.last, span: w.block.span, from: len(w.buf)}
	w.buf = w.block.take(w.buf)
	row.to = len(w.buf)
	w.rows = append(w.rows, row)
}

func (w *runWriter) insert(c *conn) error {
	for i, r := range w.rows {
		err := c.exec("INSERT OR REPLACE INTO block (id, run, device, last, t0, t1, n, data) VALUES (?,?,?,?,?,?,?,?)",
			w.run.id<<runShift|(w.pos+int64(i)), w.run.id, int64(r.device), int64(r.last), r.t0, r.t1, r.n, w.buf[r.from:r.to])
		if err != nil {
			return err
		}
	}
	return nil
}

// finish writes what is left and lists the run, in one transaction with also. A run
// without fixes is not listed.
func (w *runWriter) finish(also func(c *conn) error) error {
	w.endBlock()
	return w.file.update(func(c *conn) error {
		if err := w.insert(c); err != nil {
			return err
		}
		if w.run.n > 0 {
			if err := w.run.list(c); err != nil {
				return err
			}
		}
		return also(c)
	})
}

// abandon takes away what was written. If that fails too, the next start does it. A
// run that is listed after all stays, see sortPile.
func (w *runWriter) abandon() {
	var listed int
	err := w.file.read(func(c *conn) error {
		return c.row(&listed)("SELECT count(*) FROM run WHERE id = ?", w.run.id)
	})
	if err == nil && listed == 0 {
		_ = dropRun(w.file, w.run.id)
	}
}

// merger reads runs as if they were one.
type merger struct {
	file    *file
	cursors cursors
	coder   chunkCoder
	fixes   []track.Fix
	ext     []byte
	ordered bool
	damaged func(block int64, fixes int) // told of what could not be read
}

// each calls emit with the fixes of one device after the other, in pieces of at most
// chunkMax, which are good during the call. A device's pieces come in order.
func (m *merger) each(runs []run, emit func(fixes []track.Fix, ext []byte) error) error {
	for _, r := range runs {
		c := &cursor{file: m.file, at: r.id<<runShift - 1, end: (r.id + 1) << runShift, damaged: m.damaged}
		ok, err := c.next()
		if err != nil {
			return err
		}
		if ok {
			m.cursors = append(m.cursors, c)
		}
	}
	heap.Init(&m.cursors)
	m.ordered = true
	for len(m.cursors) > 0 {
		c := m.cursors[0]
		if err := m.make(c, emit); err != nil {
			return err
		}
		m.read(c)
		ok, err := c.next()
		if err != nil {
			return err
		}
		if ok {
			heap.Fix(&m.cursors, 0)
		} else {
			heap.Pop(&m.cursors)
		}
	}
	return m.emit(math.MaxInt64, emit)
}

// make emits what c's chunk can no longer get in front of, before it is read.
func (m *merger) make(c *cursor, emit func([]track.Fix, []byte) error) error {
	switch {
	case len(m.fixes) == 0:
		return nil
	case m.fixes[0].Device != c.block.device:
		return m.emit(math.MaxInt64, emit)
	case len(m.fixes) >= 2*chunkMax:
		return m.emit(c.block.t0, emit)
	}
	return nil
}

// read appends the fixes of the chunk that c stands at.
func (m *merger) read(c *cursor) {
	n := len(m.fixes)
	var err error
	m.fixes, m.ext, err = m.coder.parse(c.block.chunk, c.block.device, c.block.t0, m.fixes, m.ext)
	if err != nil {
		// The block's checksum was right, so this was written wrong.
		m.damaged(c.block.id, 1)
		return
	}
	if n > 0 && store.Compare(&m.fixes[n-1], &m.fixes[n]) > 0 {
		m.ordered = false
	}
}

// emit lets go of the fixes before t0: all of them, or as many as make full pieces.
func (m *merger) emit(t0 int64, emit func([]track.Fix, []byte) error) error {
	if !m.ordered {
		sortFixes(m.fixes)
		m.ordered = true
	}
	n := len(m.fixes)
	if t0 != math.MaxInt64 {
		n, _ = slices.BinarySearchFunc(m.fixes, t0, func(f track.Fix, t int64) int {
			if f.Time < t {
				return -1
			}
			return 1
		})
		n -= n % chunkMax
	}
	if err := emitPieces(m.fixes[:n], m.ext, emit); err != nil {
		return err
	}
	rest := copy(m.fixes, m.fixes[n:])
	m.fixes = m.fixes[:rest]
	if rest == 0 {
		m.ext = m.ext[:0]
	} else if len(m.ext) > slabExt {
		m.ext = repack(m.fixes, m.ext)
	}
	return nil
}

// repack copies the TLVs of fixes into memory of their own.
func repack(fixes []track.Fix, ext []byte) []byte {
	var dst []byte
	for i := range fixes {
		tlvs := extOf(&fixes[i], ext)
		fixes[i].Ext = uint32(len(dst))
		dst = append(dst, tlvs...)
	}
	return dst
}

func sortFixes(fixes []track.Fix) {
	slices.SortFunc(fixes, func(a, b track.Fix) int { return store.Compare(&a, &b) })
}

// cursor walks the chunks of a run. It reads a few blocks at a time and is in no
// transaction in between: nobody but the one who merges takes runs away.
type cursor struct {
	file    *file
	at, end int64 // block ids: last read, first behind the run
	blocks  []fetched
	block   current
	damaged func(block int64, fixes int)
}

// current is the block that a cursor is in.
type current struct {
	blockReader
	id int64
}

type fetched struct {
	id   int64
	n    int
	data []byte
}

const fetchBlocks = 16

// next moves to the next chunk; false at the end of the run.
func (c *cursor) next() (bool, error) {
	for {
		ok, err := c.block.next()
		if ok {
			return true, nil
		}
		if err != nil {
			c.damaged(c.block.id, 1)
		}
		c.block = current{}
		if len(c.blocks) == 0 {
			if err := c.fetch(); err != nil || len(c.blocks) == 0 {
				return false, err
			}
		}
		b := c.blocks[0]
		c.blocks = c.blocks[1:]
		c.block.id = b.id
		if c.block.blockReader, err = openBlock(b.data); err != nil {
			c.damaged(b.id, b.n)
			c.block = current{}
		}
	}
}

func (c *cursor) fetch() error {
	var n int
	var data sql.RawBytes
	return c.file.read(func(conn *conn) error {
		return conn.rows(&c.at, &n, &data)(func() error {
			c.blocks = append(c.blocks, fetched{c.at, n, slices.Clone(data)})
			return nil
		}, "SELECT id, n, data FROM block WHERE id > ? AND id < ? ORDER BY id LIMIT ?", c.at, c.end, fetchBlocks)
	})
}

// cursors is a heap, the one with the least (device, first time) on top.
type cursors []*cursor

func (h cursors) Len() int      { return len(h) }
func (h cursors) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h cursors) Less(i, j int) bool {
	a, b := &h[i].block, &h[j].block
	return a.device < b.device || a.device == b.device && a.t0 < b.t0
}
func (h *cursors) Push(x any) { *h = append(*h, x.(*cursor)) }
func (h *cursors) Pop() any {
	old := *h
	c := old[len(old)-1]
	*h = old[:len(old)-1]
	return c
}
