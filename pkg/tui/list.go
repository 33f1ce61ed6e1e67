package tui

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tracker/pkg/track"
)

// order is what the list of devices is sorted by.
type order uint8

const (
	byState order = iota
	byName
	bySpeed
	byAge
	byBattery
	orders
)

func (o order) String() string {
	return [...]string{"state", "name", "speed", "age", "battery"}[o]
}

// list is all devices in order. Sorting a hundred thousand takes longer than a frame
// may, so the order is renewed at most once a second and kept in between.
type list struct {
	by      order
	reverse bool
	top     int // first row shown

	rows  []int32 // points in order
	rank  []int32 // of each point, by name
	named []int32 // points by name
	keys  []uint64
	names []string

	sortedAt time.Time
	namedAs  uint64 // store's count of names when rank was made
	namedAt  time.Time
	dirty    bool
}

const (
	sortEvery = time.Second
	nameEvery = 3 * time.Second // for the ranks, which cost the most
)

// renew sorts again if it is time to.
func (l *list) renew(s *Store, st status, points []point, a *ages, now time.Time) {
	if !l.dirty && len(l.rows) > 0 && now.Sub(l.sortedAt) < sortEvery {
		return
	}
	if l.namedAs != st.named && (now.Sub(l.namedAt) >= nameEvery || len(l.rank) < len(points)) || l.rank == nil {
		l.rankNames(s, len(points))
		l.namedAs, l.namedAt = st.named, now
	}
	l.sort(points, a, now.UnixMilli())
	l.sortedAt, l.dirty = now, false
}

// rankNames gives every point its place in the alphabet.
func (l *list) rankNames(s *Store, n int) {
	l.names = s.names(l.names[:0])
	l.named = l.named[:0]
	for i := range int32(len(l.names)) {
		l.named = append(l.named, i)
	}
	slices.SortFunc(l.named, func(a, b int32) int {
		return cmp.Or(strings.Compare(l.names[a], l.names[b]), cmp.Compare(a, b))
	})
	l.rank = slices.Grow(l.rank[:0], max(len(l.names), n))[:max(len(l.names), n)]
	for r, i := range l.named {
		l.rank[i] = int32(r)
	}
}

// sort orders by packed keys, which is several times faster than by a function: the
// column in the upper half, the rank of the name in the lower.
func (l *list) sort(points []point, a *ages, now int64) {
	l.keys = l.keys[:0]
	for i := range min(len(points), len(l.names)) {
		if p := &points[i]; p.alive {
			column := l.column(p, a, now)
			if l.reverse {
				column = ^column
			}
			l.keys = append(l.keys, uint64(column)<<32|uint64(uint32(l.rank[i])))
		}
	}
	slices.Sort(l.keys)
	if l.reverse && l.by == byName {
		slices.Reverse(l.keys)
	}
	l.rows = l.rows[:0]
	for _, k := range l.keys {
		l.rows = append(l.rows, l.named[uint32(k)])
	}
}

// column is what a point is sorted by: small comes first.
func (l *list) column(p *point, a *ages, now int64) uint32 {
	switch l.by {
	case byState:
		return uint32(stateCount - p.state(now, a))
	case bySpeed:
		return ^uint32(p.speed)
	case byAge:
		return uint32(min(max(now-p.heard, 0), 1<<31))
	case byBattery:
		if p.has&track.HasBat == 0 {
			return 101
		}
		return uint32(p.bat)
	}
	return 0
}

// row is where a point stands in the list, -1 if it does not.
func (l *list) row(point int32) int { return slices.Index(l.rows, point) }

// show scrolls so that a row can be seen in a window of h rows.
func (l *list) show(row, h int) {
	l.top = min(max(l.top, row-h+1), row)
	l.clamp(h)
}

func (l *list) clamp(h int) { l.top = max(min(l.top, len(l.rows)-h), 0) }
