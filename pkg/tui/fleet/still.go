package fleet

import (
	"maps"
	"slices"
	"time"
)

// Still is a copy of the store whose clock stands at this moment: what to draw while a
// picture is paused. It shares nothing with the store, keeps every index, and takes the
// time of copying as much: some milliseconds for ten thousand devices. Nobody feeds it.
func (s *Store) Still() *Store {
	now := s.now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := &Store{
		now: func() time.Time { return now }, byFixTime: s.byFixTime, trailMax: s.trailMax, ready: s.ready, rules: s.rules,
		index: maps.Clone(s.index), points: slices.Clone(s.points), seqs: slices.Clone(s.seqs), told: slices.Clone(s.told),
		devices: s.devices.clone(), free: slices.Clone(s.free), crumbs: s.crumbs.clone(),
		gen: s.gen, loaded: s.loaded, version: s.version, named: s.named, fixes: s.fixes, skipped: s.skipped,
		lag: s.lag, link: s.link, changes: s.changes, ticked: now, resync: s.resync, resyncs: s.resyncs,
	}
	s.log.into(&c.log)
	c.log.flag = c.flagMuted
	return c
}

// into copies the log to an empty one.
func (l *Log) into(to *Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to.last, to.changes, to.ring, to.muted, to.storms = l.last, l.changes, slices.Clone(l.ring), maps.Clone(l.muted), l.storms
}

func (s *shelf) clone() shelf {
	c := shelf{n: s.n}
	for _, b := range s.boards {
		board := *b
		c.boards = append(c.boards, &board)
	}
	return c
}

func (c *crumbs) clone() crumbs {
	to := crumbs{made: c.made, free: c.free}
	for _, b := range c.chunks {
		chunk := *b
		to.chunks = append(to.chunks, &chunk)
	}
	return to
}
