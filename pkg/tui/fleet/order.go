package fleet

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tracker/pkg/filter"
	"tracker/pkg/track"
)

// Column is what a list of devices is sorted by.
type Column uint8

const (
	ByState Column = iota
	ByName
	BySpeed
	ByAge
	ByBattery
	Columns
)

func (c Column) String() string {
	return [...]string{"state", "name", "speed", "age", "battery"}[c]
}

// Order is all devices in the order of a list. Sorting a hundred thousand takes longer
// than a frame may, so the order is renewed at most once a second and kept in between.
// It belongs to one goroutine.
type Order struct {
	store   *Store
	by      Column
	reverse bool

	rows  []int32 // points in order
	rank  []int32 // of each point, by name
	named []int32 // points by name
	keys  []uint64
	names []string

	sortedAt time.Time
	namedAs  uint64 // the store's count of names when rank was made
	namedAt  time.Time
}

const (
	sortEvery = time.Second
	nameEvery = 3 * time.Second // for the ranks, which cost the most
)

// NewOrder makes the order of a store's devices, empty until it is asked for.
func NewOrder(s *Store) *Order { return &Order{store: s} }

// Rows are the points of the frame in order, as of the last time that they were
// sorted: some may be gone since.
func (o *Order) Rows() []int32 { return o.rows }

// Row is where a point stands in the order, -1 if it does not.
func (o *Order) Row(point int32) int { return slices.Index(o.rows, point) }

// Ask brings the order up to a frame, at once if another order is wanted than before,
// else when it is old enough.
func (o *Order) Ask(by Column, reverse bool, f *Frame) {
	now := time.UnixMilli(f.At)
	same := by == o.by && reverse == o.reverse
	if same && len(o.rows) > 0 && now.Sub(o.sortedAt) < sortEvery {
		return
	}
	named := o.namedAs != f.Status.Named && (now.Sub(o.namedAt) >= nameEvery || len(o.rank) < len(f.Points))
	if named || o.rank == nil {
		o.rankNames(len(f.Points))
		o.namedAs, o.namedAt = f.Status.Named, now
	}
	o.by, o.reverse = by, reverse
	o.sort(f)
	o.sortedAt = now
}

// rankNames gives every point its place in the alphabet.
func (o *Order) rankNames(n int) {
	o.names = o.store.names(o.names[:0])
	o.named = o.named[:0]
	for i := range int32(len(o.names)) {
		o.named = append(o.named, i)
	}
	slices.SortFunc(o.named, func(a, b int32) int {
		return cmp.Or(strings.Compare(o.names[a], o.names[b]), cmp.Compare(a, b))
	})
	o.rank = slices.Grow(o.rank[:0], max(len(o.names), n))[:max(len(o.names), n)]
	for r, i := range o.named {
		o.rank[i] = int32(r)
	}
}

// sort orders by packed keys, which is several times faster than by a function: the
// column in the upper half, the rank of the name in the lower.
func (o *Order) sort(f *Frame) {
	o.keys = o.keys[:0]
	for i := range min(len(f.Points), len(o.names)) {
		if p := &f.Points[i]; p.Alive() {
			column := o.column(p, f.Marks[i].State(), f.At)
			if o.reverse {
				column = ^column
			}
			o.keys = append(o.keys, uint64(column)<<32|uint64(uint32(o.rank[i])))
		}
	}
	slices.Sort(o.keys)
	if o.reverse && o.by == ByName {
		slices.Reverse(o.keys)
	}
	o.rows = o.rows[:0]
	for _, k := range o.keys {
		o.rows = append(o.rows, o.named[uint32(k)])
	}
}

// column is what a point is sorted by: small comes first.
func (o *Order) column(p *Point, st filter.State, now int64) uint32 {
	switch o.by {
	case ByState:
		return uint32(filter.States - st)
	case BySpeed:
		return ^uint32(p.Speed)
	case ByAge:
		return uint32(min(max(now-p.Heard, 0), 1<<31))
	case ByBattery:
		if p.Has&track.HasBat == 0 {
			return 101
		}
		return uint32(p.Bat)
	}
	return 0
}
