package chart

import (
	"math"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/world"
)

const (
	maxGhosts = 2000 // visible devices; beyond, all would move in every frame
	ghostFor  = time.Minute
	ghostStep = int64(1000) // ms between two places of one ghost
	phases    = 10          // in which devices take their turn
)

// drawGhosts draws a dim dot where a moving device ought to be by now. It is drawn beside
// the true place, last, and only where nothing else is: badges and counts never hear of
// it.
func (c *Chart) drawGhosts(s *Scene) {
	if len(c.seen) > maxGhosts || s.masked() {
		return
	}
	for i := range c.seen {
		d := &c.seen[i]
		pos, ok := reckon(&s.Frame.Points[d.point], turnOf(s.Frame.At, d.point))
		if !ok {
			continue
		}
		x, y := c.m.Cell(pos)
		if c.inside(x, y) && c.taken[int(y>>2)*c.out.W+int(x>>1)] == 0 {
			c.out.Dot(int(x), int(y), look.Ghost, look.OnGhost)
		}
	}
}

// turnOf is the last moment at which it was the turn of a device to move its ghost: once a
// second, a tenth of them at a time, so that a frame has a tenth of the changes to send.
func turnOf(now int64, point int32) int64 {
	phase := int64(point) % phases * (ghostStep / phases)
	return now - floorMod(now-phase, ghostStep)
}

// reckon is where a device is at a moment if it went on as it was going. Not ok is one
// that stands, or of which nobody can tell, or that should have reported again since.
func reckon(p *fleet.Point, now int64) (pos world.Pos, ok bool) {
	age := now - p.Heard
	limit := min(2*int64(p.Every)*100, ghostFor.Milliseconds())
	still := p.Has&track.HasVel == 0 || p.Speed < fleet.MovingFrom
	if still || p.Flags&(fleet.Jumped|fleet.Suspect) != 0 || age <= 0 || age > limit {
		return p.Pos, false
	}
	metres := float64(p.Speed) / 100 * float64(age) / 1000
	sin, cos := math.Sincos(float64(p.Course) / 100 * math.Pi / 180)
	steps := metres * stepsPerMetre(p.Pos.Y)
	y := math.Round(float64(p.Pos.Y) - steps*cos)
	return world.Pos{X: p.Pos.X + uint32(int64(math.Round(steps*sin))), Y: uint32(min(max(y, 0), math.MaxUint32))}, true
}

// stepsPerMetre is how far a metre is on the projection, in either direction. It grows
// towards the poles.
func stepsPerMetre(y uint32) float64 {
	const square = 1 << 32
	return square / (2 * math.Pi * float64(geo.EarthRadius)) * math.Cosh(math.Pi*(1-2*float64(y)/square))
}
