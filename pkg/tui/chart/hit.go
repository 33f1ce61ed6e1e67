package chart

import (
	"strings"

	"tracker/pkg/geo"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/words"
	"tracker/pkg/tui/world"
)

// Hit is what there is at a cell of the last picture.
type Hit struct {
	Device  int32      // by its name, or the nearest within two cells; fleet.Nobody if there is none
	Cluster ClusterKey // of a badge, if Count is not 0
	Count   int        // devices in the cluster
}

// reach is how far a pointer may be off, in dots.
const reach = 6.0

// At tells what a cell of the last picture shows. In a cluster that is the cluster and
// the nearest of its devices.
func (c *Chart) At(x, y int) Hit {
	hit := Hit{Device: fleet.Nobody}
	if c.scene.Frame == nil || x < 0 || y < 0 || x >= c.out.W || y >= c.out.H {
		return hit
	}
	if i := c.badgeAt(x, y); i >= 0 {
		hit.Cluster, hit.Count = c.grid.key(i), int(c.grid.blocks[i].count)
	}
	for _, w := range c.words {
		if w.point != fleet.Nobody && y == w.y && x >= w.x && x < w.x+w.w {
			hit.Device = w.point
			return hit
		}
	}
	hit.Device = c.nearest(2*x+1, 4*y+2)
	return hit
}

// badgeAt is the block whose badge is written on a cell, else the one that the cell
// belongs to if it has a badge, else -1.
func (c *Chart) badgeAt(x, y int) int {
	for i := range c.grid.blocks {
		if b := &c.grid.blocks[i]; y == int(b.y) && x >= int(b.x) && x < int(b.x+b.w) {
			return i
		}
	}
	// The last dot of a cell, not the first: that is where badges begin, see place.
	if i := c.grid.block(int64(2*x+1), int64(4*y+3)); c.grid.blocks[i].w > 0 {
		return int(i)
	}
	return -1
}

// nearest is the device nearest to a dot within reach. One that the filter means comes
// before one that it does not.
func (c *Chart) nearest(x, y int) int32 {
	s := &c.scene
	found, meant := fleet.Nobody, false
	best := reach * reach
	for i := range s.Frame.Points {
		p := &s.Frame.Points[i]
		if !p.Alive() || !p.Placed() {
			continue
		}
		px, py := c.m.Dot(s.place(p.Pos))
		dx, dy := px-float64(x), py-float64(y)
		d := dx*dx + dy*dy
		means := !s.Filtering || s.Frame.Marks[i].Matches()
		if d < reach*reach && (means && !meant || means == meant && d < best) {
			found, meant, best = int32(i), means, d
		}
	}
	return found
}

// Members appends the devices of a cluster of the last picture. A cluster is gone when
// the zoom changes.
func (c *Chart) Members(dst []int32, k ClusterKey) []int32 {
	for i := range c.seen {
		if d := &c.seen[i]; c.grid.key(int(d.block)) == k {
			dst = append(dst, d.point)
		}
	}
	return dst
}

// ScaleBar is a round length on the ground that is at most room cells long.
func ScaleBar(perDot geo.Meters, room int) (cells int, label string) {
	longest := float64(perDot) * 2 * float64(room)
	best := 1.0
	for step := 1.0; step <= longest; step *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if step*m <= longest {
				best = step * m
			}
		}
	}
	return int(best / (2 * float64(perDot))), words.Length(geo.Meters(best))
}

// Corners writes the scale bar and the credits into a row of dst, from column x on and w
// columns wide: the lowest row of a map. note follows the bar.
func Corners(dst *canvas.Canvas, v *world.View, x, y, w int, note string) {
	cells, label := ScaleBar(v.MetersPerDot(), w/4)
	bar := "├" + strings.Repeat("─", max(cells-2, 0)) + "┤ " + label + note
	if v.Zoom >= world.DetailEnds {
		bar += "  base map detail ends at z 9"
	}
	end := dst.Text(x, y, bar+" ", look.Dim, look.OnTop)
	credits := " " + world.Credits
	if at := x + w - canvas.Width(credits); at > end {
		dst.Text(at, y, credits, look.Dim, look.OnTop)
	}
}
