package chart

import (
	"slices"
	"sync"

	"tracker/pkg/geo"
	"tracker/pkg/tui/world"
)

// place is where to draw a place: where it is, or under a mask at the nearest tenth of a
// degree, as the mask itself would round it.
func (s *Scene) place(p world.Pos) world.Pos {
	if !s.masked() {
		return p
	}
	tenths := (uint64(p.X)*3600 + 1<<31) >> 32
	lat := parallels()
	row, _ := slices.BinarySearch(lat.between, p.Y)
	return world.Pos{X: uint32(tenths << 32 / 3600), Y: lat.at[row]}
}

// rows of the projection: where the tenths of a degree of latitude are, from the north,
// and half way between them.
type rows struct{ at, between []uint32 }

// parallels spares the logarithms: under a mask every device is rounded in every frame.
var parallels = sync.OnceValue(func() rows {
	y := func(lat float64) uint32 { return world.Project(geo.Deg(lat, 0)).Y }
	r := rows{at: []uint32{y(85.1)}}
	for tenth := 850; tenth >= -851; tenth-- {
		r.between = append(r.between, y(float64(tenth)/10+0.05))
		r.at = append(r.at, y(float64(tenth)/10))
	}
	return r
})
