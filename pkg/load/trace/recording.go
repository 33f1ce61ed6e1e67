package trace

import (
	"errors"
	"io"
	"slices"
	"time"

	"tracker/pkg/geo"
)

// Recording is a whole file, ready to be played.
type Recording struct {
	Format   string
	Vehicles []string // by Row.Vehicle
	Rows     []Row    // by time; rows of one time in the order of the file
	Counts   Counts
}

// Options are what Load may be told.
type Options struct {
	Newest   time.Time       // rows after it are InFuture; the zero time takes all
	OnReject func(Rejection) // sees every rejection
}

// Load reads r to its end, puts the rows in order of time and completes their
// courses and speeds. The memory is some 150 bytes a row.
func Load(r io.Reader, o Options) (*Recording, error) {
	rd, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	if !o.Newest.IsZero() {
		rd.Newest = o.Newest.UnixMilli()
	}
	rd.OnReject = o.OnReject
	rec := &Recording{Format: rd.Format()}
	for {
		row, err := rd.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		rec.Rows = append(rec.Rows, row)
	}
	rec.Vehicles, rec.Counts = rd.Vehicles(), rd.Counts()
	slices.SortStableFunc(rec.Rows, func(a, b Row) int { return int(sign(a.Time - b.Time)) })
	rec.completeVelocity()
	return rec, nil
}

func sign(v int64) int64 { return max(-1, min(1, v)) }

// Span is the time from the first row to the last.
func (r *Recording) Span() time.Duration {
	if len(r.Rows) == 0 {
		return 0
	}
	return time.Duration(r.Rows[len(r.Rows)-1].Time-r.Rows[0].Time) * time.Millisecond
}

const (
	// steady is the least movement that has a direction worth telling, beyond the
	// noise of a receiver at rest.
	steady geo.Meters = 10
	// maxLeg is the longest pause over which a mean speed still says something.
	maxLeg = 5 * time.Minute
	// maxMean is the fastest mean speed to believe; beyond it the place jumped.
	maxMean = 100
)

// completeVelocity fills the half that a recording leaves out. A datagram carries
// speed and course together or not at all, and buses record only the one or only the
// other: a missing course becomes the direction in which the vehicle last moved, a
// missing speed the mean since its previous row. Where neither is recorded, and where
// the movement does not tell, nothing is invented.
func (r *Recording) completeVelocity() {
	last := make([]*motion, len(r.Vehicles))
	for i := range r.Rows {
		row := &r.Rows[i]
		m := last[row.Vehicle]
		if m == nil {
			m = &motion{from: *row, course: Unknown}
			last[row.Vehicle] = m
		}
		m.to(row)
		if !Known(row.Course) && Known(row.Speed) {
			row.Course = m.course
		}
		if !Known(row.Speed) && Known(row.Course) {
			row.Speed = m.speed
		}
	}
}

// motion follows one vehicle from row to row.
type motion struct {
	prev   Row
	from   Row // where the present direction was measured from
	course float32
	speed  float32
}

func (m *motion) to(row *Row) {
	if geo.Distance(m.from.At, row.At) >= steady {
		m.course = course(float32(geo.Bearing(m.from.At, row.At)))
		m.from = *row
	}
	m.speed = Unknown
	if dt := row.When().Sub(m.prev.When()); m.prev.Line != 0 && dt > 0 && dt <= maxLeg {
		m.speed = within(float32(float64(geo.Distance(m.prev.At, row.At))/dt.Seconds()), 0, maxMean)
	}
	m.prev = *row
}
