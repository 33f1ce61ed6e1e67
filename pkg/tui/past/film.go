package past

import (
	"slices"
	"sort"

	"tracker/pkg/track"
)

// film is what is loaded of a stretch of time.
//
//	from                dense                    at              edge          to
//	 │  enough to begin   │  everything            │  everything    │  to come   │
//	 └──── lookback ──────┴──────── reach ─────────┴──────────── reach ──────────┘
//
// Any moment from dense to edge can be shown. It belongs to the goroutine of Run.
type film struct {
	span
	edge   int64
	strips []strip
	index  map[track.DeviceID]int
	kept   int // records
}

// span is a stretch of time, in unix milliseconds, and what is kept of it.
type span struct {
	from, dense, to int64
	lookback        int64 // from before dense, and the age of the oldest fix that is shown
	gap             int64 // before dense one record in a gap is enough
}

// strip is what is loaded of one device.
type strip struct {
	id    track.DeviceID
	name  string
	recs  []record // by time
	to    int64    // loaded up to here; 0 nothing yet
	queue queue
	next  int  // as many records the reel has been given, or would have
	shown bool // the reel has the device
}

// queue is where a strip stands of which something is missing.
type queue uint8

const (
	wanted queue = iota
	asked
	later // asking failed, others go first
)

const (
	maxReach = 10 * 60 * 1000 // milliseconds
	minReach = 30 * 1000

	outline = 16 // records of a device before dense, if it has said no more than usual
)

// around is the span to load for a moment, in a world that ends with latest.
func around(at, latest, reach, lookback int64) span {
	s := span{dense: at - reach, to: max(min(at+reach, latest+1), at+1), lookback: lookback}
	s.from = s.dense - lookback
	s.gap = lookback / max(outline*reach/maxReach, 1)
	return s
}

func newFilm(s span, who []device) *film {
	f := &film{span: s, edge: s.to, strips: make([]strip, 0, len(who)), index: make(map[track.DeviceID]int, len(who))}
	f.welcome(who)
	return f
}

// welcome adds devices that the film does not know yet.
func (f *film) welcome(who []device) {
	for _, d := range who {
		if _, known := f.index[d.id]; !known {
			f.index[d.id] = len(f.strips)
			f.strips = append(f.strips, strip{id: d.id, name: d.name})
		}
	}
}

// covers tells whether a moment can be shown.
func (f *film) covers(at int64) bool { return at >= f.dense && at < f.edge }

// keep appends a record to the older ones of a device if it is needed. From before
// dense, where nobody looks at the map, that is what pictures of later are made of: the
// last record with a place and the last without, whatever happened, and an outline for
// the trail.
func (s *span) keep(recs []record, r record) []record {
	if r.at < s.from || r.at >= s.to {
		return recs
	}
	n := len(recs)
	if n >= 2 && r.at < s.dense && s.spare(&recs[n-2], &recs[n-1], &r) {
		recs[n-1] = r
		return recs
	}
	return append(recs, r)
}

// spare tells whether a record says nothing that its neighbours do not.
func (s *span) spare(before, r, after *record) bool {
	return r.at-before.at < s.gap && r.event == 0 && r.marks&jump == 0 && r.has&track.HasPos == after.has&track.HasPos
}

// piece is what came of one device.
type piece struct {
	id   track.DeviceID
	name string
	recs []record
}

// add takes pieces that reach up to a moment.
func (f *film) add(pieces []piece, to int64) {
	for i := range pieces {
		s := &f.strips[f.index[pieces[i].id]]
		s.recs = slices.Concat(s.recs, pieces[i].recs) // no larger than needed
		s.to, s.queue = to, wanted
		if pieces[i].name != "" {
			s.name = pieces[i].name
		}
		f.kept += len(pieces[i].recs)
	}
	if f.done() {
		f.edge = f.to
	}
}

// trim makes the film one of another span, for a reel that stands at a moment. What is
// before the span of now it does not bring back.
func (f *film) trim(to span, at int64) {
	to.from, to.dense = max(to.from, f.from), max(to.dense, f.dense)
	f.span, f.edge, f.kept = to, min(f.edge, to.to), 0
	for i := range f.strips {
		s := &f.strips[i]
		s.to = min(s.to, to.to)
		kept := s.recs[:0]
		for _, r := range s.recs {
			kept = f.keep(kept, r)
		}
		if len(kept) < len(s.recs) {
			s.recs = slices.Concat(kept) // gives the rest back
		}
		s.next = s.until(at)
		f.kept += len(s.recs)
	}
}

// until counts the records of up to a moment.
func (s *strip) until(at int64) int {
	return sort.Search(len(s.recs), func(i int) bool { return s.recs[i].at > at })
}

// missing picks up to n devices of which something is missing from one moment on, in
// the order of first as far as that goes, and tells which moment. They count as asked.
func (f *film) missing(n int, first []track.DeviceID) (ids []track.DeviceID, from int64) {
	take := func(s *strip) {
		begin := s.to
		if begin == 0 {
			begin = f.from
		}
		if s.to >= f.to || s.queue != wanted || len(ids) >= n || len(ids) > 0 && begin != from {
			return
		}
		s.queue, from = asked, begin
		ids = append(ids, s.id)
	}
	for _, id := range first {
		if i, known := f.index[id]; known {
			take(&f.strips[i])
		}
	}
	for i := range f.strips {
		take(&f.strips[i])
	}
	return ids, from
}

// requeue moves all strips from one place of the queue to another.
func (f *film) requeue(from, to queue) {
	for i := range f.strips {
		if f.strips[i].queue == from {
			f.strips[i].queue = to
		}
	}
}

// done tells whether nothing is missing.
func (f *film) done() bool {
	for i := range f.strips {
		if f.strips[i].to < f.to {
			return false
		}
	}
	return true
}

// loaded counts the devices that can be shown.
func (f *film) loaded() int {
	n := 0
	for i := range f.strips {
		if f.strips[i].to > 0 {
			n++
		}
	}
	return n
}

// due says which records bring the reel to a moment, and whether it has to forget the
// device before: because nothing was heard of it for the lookback, now or before what
// is due. So a reel that has rolled shows the same as one that was just made.
func (s *strip) due(at, lookback int64) (from, end int, forget bool) {
	for end = s.next; end < len(s.recs) && s.recs[end].at <= at; {
		end++
	}
	if end == 0 || s.recs[end-1].at < at-lookback {
		return end, end, s.shown
	}
	if s.shown && end == s.next {
		return end, end, false
	}
	for from = end - 1; from > 0 && s.recs[from].at-s.recs[from-1].at <= lookback; from-- {
		if s.shown && from == s.next {
			return from, end, false
		}
	}
	return from, end, s.shown
}
