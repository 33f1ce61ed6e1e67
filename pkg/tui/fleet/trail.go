package fleet

import "tracker/pkg/tui/world"

// Crumb is one point of a trail.
type Crumb struct {
	Pos   world.Pos
	At    int64 // the store's clock, unix milliseconds
	Start bool  // no line leads here from the crumb before
}

// Sample is what a device reported of itself at one moment.
type Sample struct {
	At    int64  // the store's clock, unix milliseconds
	Speed uint16 // cm/s
	Bat   uint8  // percent
}

// MaxTrail is how many crumbs of a device are kept at most.
const MaxTrail = 64

const (
	trailBudget = 1 << 20 // crumbs in all
	minTrail    = 8
	crumbApart  = 3000 // steps of the projection: 28 m on the equator
)

// Trail appends the last n crumbs of a device, oldest first.
func (s *Store) Trail(dst []Crumb, i int32, n int) []Crumb {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i < 0 || int(i) >= len(s.devices) {
		return dst
	}
	t := s.devices[i].trail
	return append(dst, t[max(0, len(t)-n):]...)
}

// Spark appends what a device reported since a moment, oldest first. So far nothing is
// kept of it.
func (s *Store) Spark(dst []Sample, _ int32, _ int64) []Sample { return dst }

// drop leaves a crumb where a device went.
func (s *Store) drop(d *device, pos world.Pos, at int64, jump bool) {
	n := len(d.trail)
	if n > 0 && apart(d.trail[n-1].Pos, pos) < crumbApart {
		return
	}
	room := min(max(trailBudget/max(len(s.index), 1), minTrail), s.trailMax)
	if n >= room {
		s.trailed -= n
		d.trail = thin(d.trail)
		s.trailed += len(d.trail)
	}
	d.trail = append(d.trail, Crumb{pos, at, jump})
	s.trailed++
}

// thin leaves out every other crumb of the older half: what is recent keeps its
// detail and what is long ago becomes an outline.
func thin(trail []Crumb) []Crumb {
	half := len(trail) / 2
	kept := trail[:0]
	jumped := false
	for i, c := range trail {
		if i < half && i%2 == 1 {
			jumped = jumped || c.Start
			continue
		}
		c.Start = c.Start || jumped
		jumped = false
		kept = append(kept, c)
	}
	return kept
}

// apart is the larger of the two distances between two places, in steps.
func apart(a, b world.Pos) uint32 {
	abs := func(v int32) uint32 {
		if v < 0 {
			return uint32(-int64(v))
		}
		return uint32(v)
	}
	return max(abs(int32(a.X-b.X)), abs(int32(a.Y-b.Y)))
}
