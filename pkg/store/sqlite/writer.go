package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

const (
	commitSlabs = 16 // a commit takes at most so many slabs: this bounds it when the disk is slow
	retryFirst  = 50 * time.Millisecond
	retryMost   = time.Second
	lastTries   = 3 // of the commit when Run ends
)

// Run implements store.Store.
func (d *DB) Run(ctx context.Context) error {
	var others sync.WaitGroup
	others.Go(func() { d.sort(ctx) })
	others.Go(func() { d.keeper(ctx) })
	err := d.write(ctx)
	others.Wait()
	return err
}

// Flush implements store.Store.
func (d *DB) Flush(ctx context.Context) error {
	if err := d.usable(); err != nil {
		return err
	}
	seq := d.ring.nextSeq()
	raise(&d.urgent, seq)
	token(d.asks)
	for {
		moved, waiting := d.ring.waitingBefore(seq)
		if !waiting {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return d.impatient(ctx)
		}
	}
}

// impatient is the error of a caller who stopped waiting.
func (d *DB) impatient(ctx context.Context) error {
	if s := d.Status(); s.State != store.OK {
		return fmt.Errorf("store is degraded: %s: %w: %w", s.Reason, track.ErrUnavailable, ctx.Err())
	}
	return ctx.Err()
}

// write is the writer: it commits what waits until ctx ends, and then the rest.
func (d *DB) write(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	retry := retryFirst
	for ctx.Err() == nil {
		d.gather(ctx, timer)
		err := d.commit(false)
		switch {
		case err == nil:
			retry = retryFirst
			d.health.succeeded(committing, d.Status)
		case errors.Is(err, errFull):
			wait(ctx, timer, retryMost, d.thawed)
		default:
			d.health.failed(committing, err, d.Status)
			wait(ctx, timer, retry, nil)
			retry = min(2*retry, retryMost)
		}
	}
	return d.commitRest()
}

// gather waits until a commit is worth it: for a first fix, and then for company.
func (d *DB) gather(ctx context.Context, timer *time.Timer) {
	for d.ring.pendingFixes() == 0 && !d.hurried() {
		select {
		case <-d.ring.wake:
		case <-d.asks:
		case <-ctx.Done():
			return
		}
	}
	timer.Reset(d.cfg.CommitEvery)
	for d.ring.pendingFixes() < d.cfg.CommitFixes && !d.hurried() {
		select {
		case <-d.ring.wake:
		case <-d.asks:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// hurried tells whether there is a reason to act now: somebody waits for a commit or
// for a run, or the day is over.
func (d *DB) hurried() bool {
	if d.ring.waitsBefore(d.urgent.Load()) || d.dayOver() {
		return true
	}
	return d.ring.openBefore(d.freeze.Load()) && !d.otherTailBusy()
}

func (d *DB) dayOver() bool {
	return d.current != nil && d.current.date != d.today().date
}

func (d *DB) otherTailBusy() bool {
	_, busy := d.ring.pilesOf(d.current)
	return busy[1-d.current.tail]
}

func wait(ctx context.Context, timer *time.Timer, most time.Duration, until chan struct{}) {
	timer.Reset(most)
	select {
	case <-timer.C:
	case <-until:
	case <-ctx.Done():
	}
}

// errFull means that the sorter has to finish a pile first.
var errFull = errors.New("the sorting of fixes does not keep up")

// commit puts the oldest waiting fixes into the tail of today. The last commit takes
// no heed of how much is waiting to be sorted.
func (d *DB) commit(last bool) error {
	if d.dayOver() {
		d.leave()
	}
	if d.current == nil {
		if d.ring.pendingFixes() == 0 {
			return nil
		}
		if err := d.enter(); err != nil {
			return err
		}
	}
	if err := d.turn(); err != nil && !last {
		return err
	}
	return d.commitPieces()
}

func (d *DB) commitPieces() error {
	d.pieces = d.ring.take(d.pieces[:0])
	if len(d.pieces) == 0 {
		return nil
	}
	start := time.Now()
	err := d.current.file.update(func(c *conn) (err error) {
		d.record, err = appendToTail(c, d.current.tail, d.pieces, d.record)
		return err
	})
	d.ring.settle(d.pieces, err == nil)
	clear(d.pieces)
	if err != nil {
		return err
	}
	d.took.Store(int64(time.Since(start)))
	d.commits.Add(1)
	return nil
}

// turn goes on with the other tail when the one in use has grown enough.
func (d *DB) turn() error {
	open, all := d.ring.kept()
	if open >= d.cfg.OpenBytes/2 || d.ring.openBefore(d.freeze.Load()) {
		if !d.otherTailBusy() {
			d.pile()
			return nil
		}
	}
	if all >= d.cfg.OpenBytes {
		return errFull
	}
	return nil
}

// pile freezes what is open, and turns to the other tail.
func (d *DB) pile() {
	d.ring.freeze(d.current, d.current.tail)
	d.current.tail = 1 - d.current.tail
	token(d.frozen)
}

// today is the day that fixes arrive on. A day that was over already, which a clock
// that was set back can lead to, takes none: the next one does.
func (d *DB) today() *day {
	date := dayOf(d.cfg.Now().UnixMilli())
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		day := d.days[date]
		if day == nil {
			return d.newDay(date)
		}
		if !day.over && !day.sealed {
			return day
		}
		date++
	}
}

// enter begins to commit to today, whose file it makes if it has to.
func (d *DB) enter() error {
	day := d.today()
	if day.file == nil {
		if err := d.openDay(day); err != nil {
			return err
		}
		d.mu.Lock()
		d.days[day.date] = day
		d.mu.Unlock()
	}
	_, busy := d.ring.pilesOf(day)
	switch {
	case !busy[0]:
		day.tail = 0
	case !busy[1]:
		day.tail = 1
	default:
		return errFull
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if day.over {
		return errFull // just now
	}
	d.current = day
	return nil
}

// leave ends the commits to a day that is over.
func (d *DB) leave() {
	d.pile()
	d.mu.Lock()
	d.current = nil
	d.mu.Unlock()
	token(d.keep)
}

// commitRest commits all that waits when Run ends.
func (d *DB) commitRest() error {
	var err error
	for range lastTries {
		for err = nil; err == nil && d.ring.pendingFixes() > 0; {
			err = d.commit(true)
		}
		if err == nil {
			return nil
		}
		time.Sleep(retryFirst)
	}
	n := d.ring.giveUp()
	d.log.Error("the last fixes are lost", "lost", n, "err", err)
	return fmt.Errorf("store the last %d fixes: %w", n, err)
}

// raise lifts v to at least n.
func raise(v *atomic.Uint64, n uint64) {
	for {
		old := v.Load()
		if old >= n || v.CompareAndSwap(old, n) {
			return
		}
	}
}
