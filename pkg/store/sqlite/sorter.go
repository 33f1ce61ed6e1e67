package sqlite

import (
	"context"
	"time"
)

// sort is the sorter: it makes a run of one pile after the other until ctx ends.
func (d *DB) sort(ctx context.Context) {
	var s sorter
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	retry := retryFirst
	for ctx.Err() == nil {
		p := d.ring.oldestPile()
		if p == nil {
			select {
			case <-d.frozen:
			case <-ctx.Done():
			}
			continue
		}
		if err := d.sortPile(ctx, &s, p); err != nil {
			if ctx.Err() != nil {
				return
			}
			d.health.failed(sorting, err, d.Status)
			wait(ctx, timer, retry, nil)
			retry = min(2*retry, retryMost)
			continue
		}
		retry = retryFirst
		d.health.succeeded(sorting, d.Status)
		d.ring.sorted()
		token(d.thawed)
		token(d.asks)
		token(d.keep)
	}
}

// sortPile makes a run of what a tail holds, and empties the tail. A tail that is
// empty already is a run already: a commit may fail in its very last step, and then
// nobody knows but the disk.
func (d *DB) sortPile(ctx context.Context, s *sorter, p *pile) error {
	if p.tried {
		var done bool
		err := p.day.file.read(func(c *conn) (err error) {
			done, err = tailEmpty(c, p.tail)
			return err
		})
		if done || err != nil {
			return err
		}
	}
	p.tried = true
	parts := make([]part, len(p.slabs))
	for i, slab := range p.slabs {
		parts[i] = part{slab.fixes, slab.ext}
	}
	newest := p.slabs[len(p.slabs)-1]
	w := &runWriter{file: p.day.file, run: run{
		id:    p.run,
		first: p.slabs[0].first,
		upto:  newest.first + uint64(len(newest.fixes)) - 1,
	}}
	err := s.each(parts, untilDone(ctx, w.add))
	if err == nil {
		p.day.hold(&w.run)
		err = w.finish(func(c *conn) error { return c.exec("DELETE FROM " + tailTable(p.tail)) })
	}
	if err != nil {
		w.abandon()
	}
	return err
}
