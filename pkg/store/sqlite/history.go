package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// pageFixes is how many fixes of a long answer are in memory at once, or a few times
// as many. Between two pages no lock and no transaction is held.
const pageFixes = 8192

// History implements store.Store.
func (d *DB) History(ctx context.Context, q store.Query, yield func(f *track.Fix, ext []byte) error) error {
	if err := d.usable(); err != nil {
		return err
	}
	p := pages.Get().(*page)
	defer pages.Put(p)
	p.query, p.from, p.to = q, math.MinInt64, math.MaxInt64
	if !q.From.IsZero() {
		p.from = q.From.UnixMilli()
		if q.From.After(time.UnixMilli(p.from)) {
			p.from++ // half a millisecond later is the next one
		}
	}
	if !q.To.IsZero() {
		p.to = q.To.UnixMilli()
		if q.To.After(time.UnixMilli(p.to)) {
			p.to++
		}
	}
	left := q.Limit
	for {
		p.most = pageFixes
		if q.Limit > 0 {
			p.most = min(p.most, left)
		}
		more, err := d.readPage(ctx, p)
		if err != nil {
			return err
		}
		for i := range p.fixes {
			if err := yield(&p.fixes[i], extOf(&p.fixes[i], p.ext)); err != nil {
				return err
			}
		}
		left -= len(p.fixes)
		if !more || q.Limit > 0 && left <= 0 {
			return nil
		}
		p.query.After = store.Behind(&p.fixes[len(p.fixes)-1])
	}
}

// page collects the first fixes of a query, at most so many.
type page struct {
	query    store.Query
	from, to int64 // of the query, in milliseconds
	most     int

	fixes   []track.Fix
	ext     []byte
	ordered bool
	bound   store.Cursor // set: what is behind it does not belong to the page

	coder   chunkCoder
	scratch []track.Fix
	tlvs    []byte
}

var pages = sync.Pool{New: func() any { return new(page) }}

func (p *page) reset() {
	p.fixes, p.ext, p.ordered, p.bound = p.fixes[:0], p.ext[:0], true, store.Cursor{}
}

// wants tells whether fixes made between two times can belong to the page.
func (p *page) wants(t0, t1 int64) bool {
	return t1 >= p.begin() && t0 < p.to && (p.bound.IsZero() || t0 <= p.bound.Time())
}

// begin is the first time that can belong to the page.
func (p *page) begin() int64 {
	if p.query.After.IsZero() {
		return p.from
	}
	return max(p.from, p.query.After.Time())
}

// add takes f if it belongs to the page, as far as one can tell.
func (p *page) add(f *track.Fix, ext []byte) {
	switch {
	case f.Device != p.query.Device, f.Time < p.from, f.Time >= p.to,
		f.Has&track.HasPos == 0 && !p.query.Heartbeats,
		p.query.After.Passed(f),
		!p.bound.IsZero() && !p.bound.Passed(f):
		return
	}
	g := *f
	g.Ext = uint32(len(p.ext))
	p.ext = append(p.ext, extOf(f, ext)...)
	if n := len(p.fixes); p.ordered && n > 0 {
		p.ordered = store.Compare(&p.fixes[n-1], &g) <= 0
	}
	p.fixes = append(p.fixes, g)
	if len(p.fixes) >= 2*p.most+16 {
		p.cut()
	}
}

// cut brings the page into order and lets go of what is too much.
func (p *page) cut() {
	if !p.ordered {
		sortFixes(p.fixes)
		p.ordered = true
	}
	if len(p.fixes) <= p.most {
		return
	}
	p.fixes = p.fixes[:p.most]
	p.ext = repack(p.fixes, p.ext)
	p.bound = store.Behind(&p.fixes[p.most-1])
}

// complete tells whether the page is full of fixes made before that time.
func (p *page) complete(before int64) bool {
	if len(p.fixes) < p.most {
		return false
	}
	n := 0
	for i := range p.fixes {
		if p.fixes[i].Time < before {
			n++
		}
	}
	return n >= p.most
}

// errMoved means that fixes went from memory into a run and on into a bigger one, or
// a day was sealed, in the middle of a page.
var errMoved = errors.New("history moved")

// readPage fills the page, and tells whether there may be more behind it.
func (d *DB) readPage(ctx context.Context, p *page) (more bool, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if more, err = d.tryPage(ctx, p); !errors.Is(err, errMoved) {
			return more, err
		}
	}
}

// tryPage first pins what is in memory, and then reads the runs of what is older
// than that: a fix that moves meanwhile is found exactly once.
func (d *DB) tryPage(ctx context.Context, p *page) (more bool, err error) {
	v := d.ring.view()
	defer v.release()
	p.reset()
	from := p.begin()
	for date := dayOf(max(from, math.MinInt32*dayMillis)); ; date++ {
		days := d.daysHolding(&date)
		if len(days) == 0 || int64(date)*dayMillis >= p.to || p.complete(int64(date)*dayMillis) {
			break
		}
		begin := int64(date) * dayMillis
		for _, day := range days {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			if err := d.readDay(day, p, max(begin, from), min(begin+dayMillis, p.to), v.first); err != nil {
				return false, err
			}
		}
	}
	v.find(p.query.Device, p.wants, p.add)
	p.cut()
	return len(p.fixes) == p.most, nil
}

// daysHolding finds the first date from the given one on that a day file has fixes
// of, and the files that have.
func (d *DB) daysHolding(date *int32) []*day {
	d.mu.Lock()
	defer d.mu.Unlock()
	var days []*day
	first := int32(math.MaxInt32)
	for _, day := range d.days {
		day.mu.Lock()
		next, ok := day.holds.from(*date)
		day.mu.Unlock()
		switch {
		case !ok || next > first:
		case next < first:
			first = next
			days = append(days[:0], day)
		default:
			days = append(days, day)
		}
	}
	*date = first
	return days
}

// readDay adds the fixes of a day file that were made in [from, to) and are not in
// memory.
func (d *DB) readDay(day *day, p *page, from, to int64, inMemory uint64) error {
	if err := d.usable(); err != nil {
		return err
	}
	read := func(f *file) error {
		return f.read(func(c *conn) error { return d.readRuns(c, day, p, from, to, inMemory) })
	}
	there, sealed := d.whereabouts(day)
	switch {
	case !there:
		return errMoved
	case !sealed:
		err := read(day.file)
		if errors.Is(err, track.ErrClosed) {
			return errMoved // it was sealed just now, or the store closed
		}
		return err
	}
	err := d.shelf.borrow(day, read)
	if there, _ := d.whereabouts(day); !there {
		return errMoved
	}
	return err
}

// whereabouts tells whether a day is still kept, and whether it is sealed.
func (d *DB) whereabouts(of *day) (there, sealed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.days[of.date] == of, of.sealed
}

// place is where a block is, and what time it covers.
type place struct {
	id     int64
	t0, t1 int64
}

func (d *DB) readRuns(c *conn, day *day, p *page, from, to int64, inMemory uint64) error {
	var places []place
	var runs []int64
	var id, first, upto int64
	err := c.rows(&id, &first, &upto)(func() error {
		if uint64(first) < inMemory && uint64(upto) >= inMemory {
			return errMoved
		}
		if uint64(upto) < inMemory {
			runs = append(runs, id)
		}
		return nil
	}, "SELECT id, first, upto FROM run WHERE t0 < ? AND t1 >= ?", to, from)
	if err != nil {
		return err
	}
	for _, id := range runs {
		if places, err = findBlocks(c, id, p.query.Device, from, to, places); err != nil {
			return err
		}
	}
	// The oldest first: when the page is full, the rest is not even read.
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.t0, b.t0) })
	for _, b := range places {
		if !p.bound.IsZero() && b.t0 > p.bound.Time() {
			break
		}
		if err := d.readBlock(c, day, b.id, p, from, to); err != nil {
			return err
		}
	}
	return nil
}

var errEnough = errors.New("enough")

// findBlocks appends where a run has chunks of a device from that time: in blocks
// that begin with it, and at most in one that begins before it.
func findBlocks(c *conn, run int64, device track.DeviceID, from, to int64, places []place) ([]place, error) {
	var b place
	var first, last int64
	err := c.rows(&b.id, &first, &last, &b.t0, &b.t1)(func() error {
		if last >= int64(device) && b.t0 < to && b.t1 >= from {
			places = append(places, b)
		}
		if first < int64(device) {
			return errEnough
		}
		return nil
	}, "SELECT id, device, last, t0, t1 FROM block WHERE run = ? AND device <= ? ORDER BY device DESC, last DESC", run, int64(device))
	if err != nil && !errors.Is(err, errEnough) {
		return places, err
	}
	return places, nil
}

func (d *DB) readBlock(c *conn, day *day, id int64, p *page, from, to int64) error {
	var n int
	var data []byte
	err := c.row(&n, &data)("SELECT n, data FROM block WHERE id = ?", id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := openBlock(data)
	if err != nil {
		d.damaged(day, "block", id, n)
		return nil
	}
	for {
		ok, err := b.next()
		if err != nil {
			d.damaged(day, "block", id, 1)
		}
		if !ok || b.device > p.query.Device {
			return nil
		}
		if b.device != p.query.Device || b.t0 >= to || b.t1 < from {
			continue
		}
		if p.scratch, p.tlvs, err = p.coder.parse(b.chunk, b.device, b.t0, p.scratch[:0], p.tlvs[:0]); err != nil {
			d.damaged(day, "block", id, 1)
			continue
		}
		for i := range p.scratch {
			if t := p.scratch[i].Time; t >= from && t < to {
				p.add(&p.scratch[i], p.tlvs)
			}
		}
	}
}
