package fleet

import "tracker/pkg/filter"

// Frame is the store at one moment, for everybody who draws it. It belongs to the
// goroutine that refreshes it.
type Frame struct {
	Points []Point
	Marks  []Mark // of each point
	At     int64  // the store's clock, unix milliseconds
	Status Status
	Counts [filter.States]int // devices, seen or not

	Matched int // devices that the filter means
	Visible int // devices that the chart shows, which fills it in

	before  []Point // of the frame before, and the memory of the next one
	subject filter.Subject
}

// Mark is what a frame knows of a point beyond the point itself.
type Mark uint8

const (
	MarkState   Mark = 7      // a filter.State
	MarkMatches Mark = 1 << 3 // the filter means it
	MarkNew     Mark = 1 << 4 // it changed since the frame before
)

// State is how the device is.
func (m Mark) State() filter.State { return filter.State(m & MarkState) }

// Matches tells whether the filter means the device.
func (m Mark) Matches() bool { return m&MarkMatches != 0 }

// Refresh brings the frame up to the store. A nil filter means all devices.
func (f *Frame) Refresh(s *Store, flt *filter.Filter) {
	f.At = s.now().UnixMilli()
	f.before, f.Points = f.Points, f.before
	s.mu.RLock()
	f.Status = s.status()
	f.Points = append(f.Points[:0], s.points...)
	f.match(s, flt)
	s.mu.RUnlock()
	f.Counts, f.Matched = [filter.States]int{}, 0
	for i := range f.Points {
		f.mark(s, i)
	}
}

// match fills Marks with who is meant. It is called under the store's lock.
func (f *Frame) match(s *Store, flt *filter.Filter) {
	f.Marks = f.Marks[:0]
	for i := range f.Points {
		m := Mark(0)
		if f.Points[i].Alive() && (flt == nil || flt.Match(f.fill(s, int32(i)))) {
			m = MarkMatches
		}
		f.Marks = append(f.Marks, m)
	}
}

// mark adds the state of a device to its mark, and counts it.
func (f *Frame) mark(s *Store, i int) {
	p, m := &f.Points[i], &f.Marks[i]
	if !p.Alive() {
		return
	}
	st := p.State(f.At, s.ages)
	f.Counts[st]++
	*m |= Mark(st)
	if i >= len(f.before) || f.before[i].Seq != p.Seq {
		*m |= MarkNew
	}
	if m.Matches() {
		f.Matched++
	}
}

// fill makes a device the subject of a filter.
func (f *Frame) fill(s *Store, i int32) *filter.Subject {
	p, d := &f.Points[i], &s.devices[i]
	x := &d.fix
	f.subject = filter.Subject{
		ID: x.Device, Name: d.name, State: p.State(f.At, s.ages), Age: p.Age(f.At), At: x.At, Has: x.Has,
		Speed: x.Speed, Course: x.Course, Alt: x.Alt, Battery: x.Battery, Accuracy: x.Accuracy,
		Power: x.Power, Jump: x.Jump, Suspect: x.Suspect, Late: x.Late, Event: x.Event,
	}
	return &f.subject
}
