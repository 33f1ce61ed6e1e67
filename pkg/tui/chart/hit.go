package chart

import (
	"strings"

	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/words"
	"tracker/pkg/tui/world"
)

// Hit is what there is at a cell of the last picture.
type Hit struct {
	Device  int32      // the nearest one within two cells, fleet.Nobody if there is none
	Cluster ClusterKey // of a badge, if Count is not 0
	Count   int        // devices in the cluster
}

// reach is how far a pointer may be off, in dots.
const reach = 6.0

// At tells what a cell of the last picture shows.
func (c *Chart) At(x, y int) Hit {
	hit := Hit{Device: fleet.Nobody}
	s := &c.scene
	if s.Frame == nil {
		return hit
	}
	cx, cy := float64(2*x+1), float64(4*y+2)
	m := s.View.Mapper()
	best := reach * reach
	for i := range s.Frame.Points {
		p := &s.Frame.Points[i]
		if !p.Alive() || !p.Placed() {
			continue
		}
		dx, dy := m.Dot(p.Pos)
		if d := (dx-cx)*(dx-cx) + (dy-cy)*(dy-cy); d < best {
			best, hit.Device = d, int32(i)
		}
	}
	key := c.blockOf(&s.View, x, y)
	if b := c.blocks[key]; b != nil && b.badge {
		hit.Cluster, hit.Count = key, int(b.count)
	}
	return hit
}

// Members appends the devices of a cluster of the last picture.
func (c *Chart) Members(dst []int32, k ClusterKey) []int32 {
	s := &c.scene
	if s.Frame == nil {
		return dst
	}
	m := s.View.Mapper()
	for i := range s.Frame.Points {
		p := &s.Frame.Points[i]
		if !p.Alive() || !p.Placed() || !c.inside(&m, p) {
			continue
		}
		if x, y := m.Dot(p.Pos); c.blockOf(&s.View, int(x)/2, int(y)/4) == k {
			dst = append(dst, int32(i))
		}
	}
	return dst
}

// LegendPart is one shape or colour and what it means.
type LegendPart struct {
	Glyph rune
	Style canvas.Style
	Text  string
}

// Legend tells what the colours of the last picture mean.
func (c *Chart) Legend() []LegendPart {
	parts := make([]LegendPart, 0, filter.States)
	for s := range filter.States {
		parts = append(parts, LegendPart{look.Glyph[s], look.OfState[s], s.String()})
	}
	return parts
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
		bar += "  (coasts are true to 400 m)"
	}
	end := dst.Text(x, y, bar+" ", look.Dim, look.OnTop)
	credits := " " + world.Credits
	if at := x + w - canvas.Width(credits); at > end {
		dst.Text(at, y, credits, look.Dim, look.OnTop)
	}
}
