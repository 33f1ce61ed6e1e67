package chart

import (
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
)

// TrailMode is whose trails are drawn.
type TrailMode uint8

const (
	TrailsSelected TrailMode = iota
	TrailsAll
	TrailsOff
	TrailModes
)

func (m TrailMode) String() string { return [...]string{"selected", "all", "off"}[m] }

const trailPoints = 20_000 // crumbs drawn in a frame

// drawTrails draws where the selected device went, or all visible ones.
func (c *Chart) drawTrails(s *Scene) {
	switch {
	case s.Trails == TrailsOff:
	case s.Trails == TrailsSelected || len(c.seen) == 0:
		if s.point(s.Selected) != nil {
			c.drawTrail(s, s.Selected, fleet.MaxTrail)
		}
	default:
		n := min(max(trailPoints/len(c.seen), 2), fleet.MaxTrail)
		budget := trailPoints
		for i := range c.seen {
			if budget <= 0 {
				return
			}
			budget -= c.drawTrail(s, c.seen[i].point, n)
		}
	}
}

// drawTrail draws up to n crumbs in three ages and returns how many there were.
func (c *Chart) drawTrail(s *Scene, i int32, n int) int {
	c.crumbs = s.Store.Trail(c.crumbs[:0], i, n)
	if len(c.crumbs) == 0 {
		return 0
	}
	c.crumbs = append(c.crumbs, fleet.Crumb{Pos: s.Frame.Points[i].Pos})
	for j := range c.crumbs {
		c.crumbs[j].Pos = s.place(c.crumbs[j].Pos)
	}
	// From the device backwards, the short way from crumb to crumb even if it leads
	// over the date line: where the device shows, its trail ends.
	last := len(c.crumbs) - 1
	x1, y1 := c.m.Dot(c.crumbs[last].Pos)
	for j := last - 1; j >= 0; j-- {
		here, next := &c.crumbs[j], &c.crumbs[j+1]
		x0 := x1 - c.m.Dots(int32(next.Pos.X-here.Pos.X))
		_, y0 := c.m.Dot(here.Pos)
		if !next.Start {
			c.segment(s, x0, y0, x1, y1, j, last)
		}
		x1, y1 = x0, y0
	}
	return last
}

// segment draws one piece of a trail, and again on the other side of the world if it
// left the view there.
func (c *Chart) segment(s *Scene, x0, y0, x1, y1 float64, i, n int) {
	style, prio := trailAge(i, n)
	c.out.Line(x0, y0, x1, y1, style, prio)
	around := s.View.Scale()
	switch wide := float64(2 * c.out.W); {
	case x0 < 0 || x1 < 0:
		c.out.Line(x0+around, y0, x1+around, y1, style, prio)
	case x0 > wide || x1 > wide:
		c.out.Line(x0-around, y0, x1-around, y1, style, prio)
	}
}

func trailAge(i, n int) (canvas.Style, uint8) {
	switch {
	case 3*i < n:
		return look.TrailOld, look.OnTrail
	case 3*i < 2*n:
		return look.TrailMid, look.OnTrail + 1
	}
	return look.TrailNew, look.OnTrail + 2
}
