package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tracker/pkg/track"
)

const (
	keepEvery = 5 * time.Second

	// So many runs of a level are merged into one of the next. Runs of the top level
	// stay until their day is over: another merge would cost more than it saves.
	mergeRuns = 8
	topLevel  = 2
)

// keeper merges, seals, removes and measures until ctx ends.
func (d *DB) keeper(ctx context.Context) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		d.tidy(ctx)
		select {
		case <-d.keep:
		case <-ticker.C:
			d.measure()
			d.ring.trim()
			d.health.overflow(d.Status().Lost)
			token(d.asks) // is the day over?
		case <-ctx.Done():
		}
	}
}

// rest is how long a day is left alone after trouble with it: what the keeper does is
// big, and nothing is lost when it is done later.
type rest struct {
	until time.Time
	last  time.Duration
}

const (
	restFirst = 5 * time.Second
	restMost  = 5 * time.Minute
)

func (r *rest) begin() {
	r.last = min(max(restFirst, 2*r.last), restMost)
	r.until = time.Now().Add(r.last)
}

// takeTurn waits until nobody else merges, seals or removes, or walks along the state.
func (d *DB) takeTurn(ctx context.Context) error {
	select {
	case d.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *DB) endTurn() { <-d.turns }

// tidy does what there is to do. Trouble with one day does not keep it from the
// others.
func (d *DB) tidy(ctx context.Context) {
	if d.takeTurn(ctx) != nil {
		return
	}
	defer d.endTurn()
	for _, day := range d.openDays() {
		if time.Now().Before(day.rest.until) {
			continue
		}
		err := d.tidyDay(ctx, day)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			day.rest.begin()
			d.log.Warn("day not tidied", "file", filepath.Base(day.path), "err", err, "again_in", day.rest.last)
		default:
			day.rest = rest{}
		}
	}
	if err := d.retire(); err != nil {
		d.log.Warn("old days not removed", "err", err)
	}
}

func (d *DB) tidyDay(ctx context.Context, day *day) error {
	if d.isOver(day) {
		return d.seal(ctx, day)
	}
	return d.mergeLevels(ctx, day)
}

// isOver tells whether a day takes no more fixes, and has none left to sort.
func (d *DB) isOver(day *day) bool {
	d.mu.Lock()
	if d.current != day && day.date != dayOf(d.cfg.Now().UnixMilli()) {
		day.over = true
	}
	over := day.over
	d.mu.Unlock()
	// Asked only now: from the moment that it is over there can be but fewer. (Asked
	// before, the writer could leave the day in between, and its last pile was lost.)
	piles, _ := d.ring.pilesOf(day)
	return over && piles == 0
}

// mergeLevels merges the runs of each level that has enough of them.
func (d *DB) mergeLevels(ctx context.Context, day *day) error {
	for level := range topLevel {
		runs, err := d.runs(day)
		if err != nil {
			return err
		}
		runs = slices.DeleteFunc(runs, func(r run) bool { return r.level != level })
		if len(runs) < mergeRuns {
			continue
		}
		if err := d.merge(ctx, day, runs, level+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *DB) runs(day *day) (runs []run, err error) {
	err = day.file.read(func(c *conn) error {
		runs, err = runsOf(c)
		return err
	})
	return runs, err
}

// merge makes one run of several, and folds it into the state.
func (d *DB) merge(ctx context.Context, day *day, runs []run, level int) error {
	w := &runWriter{file: day.file, run: merged(runs, day.newRunID(), level)}
	m := d.newMerger(day)
	err := m.each(runs, d.politely(ctx, w.add))
	if err == nil {
		err = w.finish(func(c *conn) error {
			for _, r := range runs {
				if err := c.exec("DELETE FROM run WHERE id = ?", r.id); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		w.abandon()
		return err
	}
	for _, r := range runs {
		if err := dropRun(day.file, r.id); err != nil {
			return err
		}
	}
	return d.mergeState(ctx, day)
}

func (d *DB) newMerger(day *day) *merger {
	return &merger{file: day.file, damaged: func(block int64, fixes int) { d.damaged(day, "block", block, fixes) }}
}

func merged(runs []run, id int64, level int) run {
	r := run{id: id, level: level, first: runs[0].first, upto: runs[0].upto}
	for _, in := range runs {
		r.first, r.upto = min(r.first, in.first), max(r.upto, in.upto)
	}
	return r
}

// politely makes emit stop when ctx has ended, and pause while many fixes wait: what
// the keeper does can be done later, a commit cannot.
func (d *DB) politely(ctx context.Context, emit func([]track.Fix, []byte) error) func([]track.Fix, []byte) error {
	n := 0
	return untilDone(ctx, func(fixes []track.Fix, ext []byte) error {
		for n++; n%64 == 0 && d.ring.crowded(); {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return emit(fixes, ext)
	})
}

// untilDone makes emit stop when ctx has ended.
func untilDone(ctx context.Context, emit func([]track.Fix, []byte) error) func([]track.Fix, []byte) error {
	return func(fixes []track.Fix, ext []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return emit(fixes, ext)
	}
}

// mergeState folds the runs of a day that the state has not seen into it. Call it
// with the turn, as everything that reads whole runs or takes them away.
func (d *DB) mergeState(ctx context.Context, day *day) error {
	runs, err := d.runs(day)
	if err != nil {
		return err
	}
	stated := day.stated
	runs = slices.DeleteFunc(runs, func(r run) bool { return r.upto <= stated })
	if len(runs) == 0 {
		return nil
	}
	for _, r := range runs {
		stated = max(stated, r.upto)
	}
	deny := *d.deny.Load()
	w := newStateWriter(d.reg, deny)
	s := summary{deny: deny, emit: w.add}
	m := d.newMerger(day)
	if err := m.each(runs, d.politely(ctx, s.add)); err != nil {
		return err
	}
	if err := s.finish(); err != nil {
		return err
	}
	err = w.finish(func(c *conn) error { return noteDay(c, day.date, stated, false, nil) })
	if err == nil {
		day.stated = stated
	}
	return err
}

func noteDay(c *conn, date int32, stated uint64, sealed bool, holds dates) error {
	return c.exec("INSERT OR REPLACE INTO day (date, stated, sealed, holds) VALUES (?,?,?,?)",
		date, int64(stated), sealed, holds.append([]byte{}))
}

// seal merges a day that is over into one run, in a new file without tails and
// gaps, which takes the place of the old one.
func (d *DB) seal(ctx context.Context, day *day) error {
	if err := d.mergeState(ctx, day); err != nil {
		return err
	}
	runs, err := d.runs(day)
	if err != nil {
		return err
	}
	if len(runs) == 0 {
		return d.remove(day)
	}
	path := day.path + unfinished
	if err := d.writeSealed(ctx, day, runs, path); err != nil {
		return errors.Join(err, removeFile(path))
	}
	if err := d.replace(day, path); err != nil {
		return err
	}
	err = d.reg.update(func(c *conn) error { return noteDay(c, day.date, day.stated, true, day.holds) })
	d.log.Info("day sealed", "file", filepath.Base(day.path), "bytes", fileSize(day.path))
	return err
}

func (d *DB) writeSealed(ctx context.Context, day *day, runs []run, path string) error {
	if err := removeFile(path); err != nil {
		return err
	}
	f, err := openFile(path, dayLayout, d.cfg.Busy, making)
	if err != nil {
		return err
	}
	defer f.close()
	w := &runWriter{file: f, run: merged(runs, 1, topLevel)}
	m := d.newMerger(day)
	if err := m.each(runs, d.politely(ctx, w.add)); err != nil {
		return err
	}
	if err := w.finish(func(*conn) error { return nil }); err != nil {
		return err
	}
	if err := f.close(); err != nil {
		return err
	}
	return syncFile(path)
}

// replace puts the finished file at path in the place of the day's. Who reads the
// day meanwhile waits, and then finds the old file closed and the day sealed.
func (d *DB) replace(day *day, path string) error {
	return day.file.closeAnd(func() error {
		if err := os.Rename(path, day.path); err != nil {
			return err
		}
		d.mu.Lock()
		day.sealed = true
		d.mu.Unlock()
		return syncFile(d.cfg.Dir)
	})
}

// retire removes the days that are older than they are to be kept.
func (d *DB) retire() error {
	if d.cfg.RetentionDays == 0 {
		return nil
	}
	oldest := dayOf(d.cfg.Now().UnixMilli()) - int32(d.cfg.RetentionDays)
	d.mu.Lock()
	var old []*day
	for _, day := range d.days {
		if day.sealed && day.date < oldest {
			old = append(old, day)
		}
	}
	d.mu.Unlock()
	for _, day := range old {
		if err := d.remove(day); err != nil {
			return err
		}
		d.log.Info("day removed", "file", filepath.Base(day.path), "keep_days", d.cfg.RetentionDays)
	}
	return nil
}

// remove takes a day away. What the state learned from it stays.
func (d *DB) remove(day *day) error {
	err := d.reg.update(func(c *conn) error {
		// Its sequence numbers must not be given again.
		err := c.exec("INSERT INTO meta (key, value) VALUES ('next', ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
			int64(day.stated+1))
		if err != nil {
			return err
		}
		return c.exec("DELETE FROM day WHERE date = ?", day.date)
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.days, day.date)
	d.mu.Unlock()
	d.shelf.remove(day)
	if day.file != nil {
		if err := day.file.close(); err != nil {
			return err
		}
	}
	return removeFile(day.path)
}

// Compact implements store.Store.
func (d *DB) Compact(ctx context.Context) error {
	if err := d.Flush(ctx); err != nil {
		return err
	}
	if err := d.sortAll(ctx); err != nil {
		return err
	}
	if err := d.takeTurn(ctx); err != nil {
		return d.impatient(ctx)
	}
	defer d.endTurn()
	for _, day := range d.openDays() {
		if d.isOver(day) {
			if err := d.seal(ctx, day); err != nil {
				return err
			}
			continue
		}
		runs, err := d.runs(day)
		if err != nil {
			return err
		}
		if len(runs) < 2 {
			continue
		}
		if err := d.merge(ctx, day, runs, topLevel); err != nil {
			return err
		}
	}
	return d.retire()
}

// lingers tells whether the writer has still to leave a day that is over.
func (d *DB) lingers() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current != nil && d.current.date < dayOf(d.cfg.Now().UnixMilli())
}

// sortAll waits until everything committed so far is in runs.
func (d *DB) sortAll(ctx context.Context) error {
	seq := d.ring.nextSeq()
	raise(&d.freeze, seq)
	for d.ring.unsortedBefore(seq) || d.lingers() {
		token(d.asks)
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return d.impatient(ctx)
		}
	}
	return nil
}
