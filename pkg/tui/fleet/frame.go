package fleet

import (
	"math"

	"tracker/pkg/filter"
	"tracker/pkg/track"
)

// Frame is the store at one moment, for everybody who draws it. It belongs to the
// goroutine that refreshes it. The zero Frame is ready.
type Frame struct {
	Points []Point
	Marks  []Mark // of each point
	At     int64  // the store's clock, unix milliseconds
	Status Status
	Counts [filter.States]int // devices, seen or not

	Matched int // devices that the filter means
	Visible int // devices that the chart shows, which fills it in

	of      *Store
	filter  matcher
	asked   uint64   // another one after the store or the filter became another
	seqs    []uint32 // of Points, close together
	due     []int64  // when the state of each point changes by the clock alone
	fresh   []int32  // points with MarkNew
	doubt   []int32  // points to be held against the filter
	swept   int      // the point that a clock filter looks at next
	sweptAt int64
	subject filter.Subject
}

// Mark is what a frame knows of a point beyond the point itself. That of a slot without
// a device is 0.
type Mark uint8

const (
	MarkState   Mark = 7      // a filter.State
	MarkMatches Mark = 1 << 3 // the filter means it
	MarkNew     Mark = 1 << 4 // it changed since the frame before
	MarkAlive   Mark = 1 << 5 // there is a device
)

// State is how the device is.
func (m Mark) State() filter.State { return filter.State(m & MarkState) }

// Matches tells whether the filter means the device.
func (m Mark) Matches() bool { return m&MarkMatches != 0 }

// matcher is a filter.
type matcher interface {
	Match(*filter.Subject) bool
	Uses() filter.Parts
}

// Refresh brings the frame up to the store: to what changed in it, to the clock, and to
// the filter. A nil filter means all devices; keep the one that is in use, because a new
// one is held against every device. What a filter says of ages is at most a second old.
func (f *Frame) Refresh(s *Store, flt *filter.Filter) {
	if flt == nil {
		f.refresh(s, nil)
		return
	}
	f.refresh(s, flt)
}

func (f *Frame) refresh(s *Store, flt matcher) {
	s.Tick()
	if f.of != s {
		*f = Frame{
			of: s, asked: f.asked + 1, Points: f.Points[:0], Marks: f.Marks[:0], seqs: f.seqs[:0], due: f.due[:0],
			fresh: f.fresh[:0], doubt: f.doubt[:0],
		}
	}
	f.settle()
	now := s.now().UnixMilli()
	back := now < f.At
	f.At = now
	f.copy(s)
	f.restate(s.rules.ages, back)
	f.rematch(s, flt)
}

// Device is the one that a point of the frame is of, not ok if it has left since: its slot
// may be another's by now.
func (f *Frame) Device(i int32) (id track.DeviceID, ok bool) {
	s := f.of
	if s == nil || i < 0 || int(i) >= len(f.Points) || !f.Points[i].Alive() {
		return 0, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.devices.at(i).id, s.points[i].Tenant == f.Points[i].Tenant
}

// settle makes what was new in the frame before old.
func (f *Frame) settle() {
	for _, i := range f.fresh {
		f.Marks[i] &^= MarkNew
	}
	f.fresh, f.doubt = f.fresh[:0], f.doubt[:0]
}

// copy takes over the points that changed.
func (f *Frame) copy(s *Store) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f.Status = s.status()
	for len(f.Points) < len(s.points) {
		f.Points, f.Marks = append(f.Points, Point{}), append(f.Marks, 0)
		f.seqs, f.due = append(f.seqs, 0), append(f.due, 0)
	}
	for i, seq := range s.seqs {
		if f.seqs[i] != seq {
			f.seqs[i], f.Points[i] = seq, s.points[i]
			f.due[i] = math.MinInt64
			f.fresh = append(f.fresh, int32(i))
		}
	}
}

// restate finds the state of the points that changed, and of those whose state is over
// by the clock: of all of them if it was turned back.
func (f *Frame) restate(a filter.Ages, back bool) {
	for i, due := range f.due {
		if f.At < due && !back {
			continue
		}
		p := &f.Points[i]
		st, until := p.until(f.At, a)
		f.due[i] = until
		if !p.Alive() {
			f.mark(i, 0)
			continue
		}
		m := f.Marks[i]&MarkMatches | Mark(st) | MarkAlive
		if due == math.MinInt64 {
			m |= MarkNew
		}
		f.mark(i, m)
		f.doubt = append(f.doubt, int32(i))
	}
}

// mark puts a mark on a point and keeps the counts right.
func (f *Frame) mark(i int, m Mark) {
	f.count(f.Marks[i], -1)
	f.Marks[i] = m
	f.count(m, 1)
}

func (f *Frame) count(m Mark, by int) {
	if m&MarkAlive != 0 {
		f.Counts[m.State()] += by
	}
	if m.Matches() {
		f.Matched += by
	}
}

// matchStep is how many devices are held against a filter before the feed may go on.
const matchStep = 1024

// rematch asks the filter for the points whose answer may be another one now.
func (f *Frame) rematch(s *Store, flt matcher) {
	switch {
	case flt != f.filter:
		f.filter, f.sweptAt = flt, f.At
		f.asked++
		f.doubt = f.doubt[:0]
		for i := range f.Points {
			f.doubt = append(f.doubt, int32(i))
		}
	case flt != nil && flt.Uses()&filter.Clock != 0:
		f.sweep()
	}
	for rest := f.doubt; len(rest) > 0; {
		n := min(len(rest), matchStep)
		f.match(s, rest[:n])
		rest = rest[n:]
	}
}

// sweep doubts the share of the points for which the clock has come round: all of them
// once a second, some in each frame.
func (f *Frame) sweep() {
	n := int64(len(f.Points))
	part := min((n*(f.At-f.sweptAt)+999)/1000, n)
	f.sweptAt = f.At
	for range part {
		f.swept = (f.swept + 1) % int(n)
		f.doubt = append(f.doubt, int32(f.swept))
	}
}

// match holds some points against the filter. What it says of the names is the present
// of the store, which may be newer than the frame: the next one asks again then.
func (f *Frame) match(s *Store, some []int32) {
	if f.filter != nil {
		s.mu.RLock()
		defer s.mu.RUnlock()
	}
	for _, i := range some {
		m := f.Marks[i] &^ MarkMatches
		if m&MarkAlive != 0 && (f.filter == nil || f.filter.Match(f.fill(s, i))) {
			m |= MarkMatches
		}
		if m != f.Marks[i] {
			f.mark(int(i), m)
		}
	}
}

// fill makes a device the subject of a filter.
func (f *Frame) fill(s *Store, i int32) *filter.Subject {
	s.devices.at(i).subject(&f.subject)
	f.subject.State, f.subject.Age = f.Marks[i].State(), f.Points[i].Age(f.At)
	return &f.subject
}
