package chart

import (
	"math"
	"slices"
	"strconv"

	"tracker/pkg/geo"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/world"
)

// gridFrom is the zoom from which on there is a graticule.
const gridFrom = 6.5

// baseKey is what the base depends on, beside overlays.
type baseKey struct {
	view   world.View
	theme  *canvas.Theme
	layers Layers
	drawn  bool
}

// zone is a name out of an overlay that is in sight.
type zone struct {
	key  labelKey
	name string
	x, y int // cell
}

func (c *Chart) drawBase(s *Scene) {
	key := baseKey{s.View, s.Theme, s.Layers & (Fill | Borders | Grid | Overlays), true}
	if key == c.key && slices.Equal(c.overlays, s.Overlays) {
		return
	}
	c.key, c.overlays = key, append(c.overlays[:0], s.Overlays...)
	level := world.For(s.View.Zoom)
	c.base.Resize(s.View.W/2, s.View.H/4)
	if s.Layers&Fill != 0 {
		c.area.Begin(&c.base)
		level.Land(&s.View, c.area.Edge)
		c.area.Fill(&c.base, look.Land)
	}
	c.degrees = c.degrees[:0]
	if s.Layers&Grid != 0 {
		c.graticule(&s.View)
	}
	level.Lines(&s.View, func(k world.Kind, x0, y0, x1, y1 float64) {
		switch {
		case k == world.Coast:
			c.base.Line(x0, y0, x1, y1, look.Coast, look.OnCoast)
		case s.Layers&Borders != 0:
			c.base.Line(x0, y0, x1, y1, look.Border, look.OnBorder)
		}
	})
	c.zones = c.zones[:0]
	if s.Layers&Overlays != 0 {
		c.drawOverlays(&s.View)
	}
}

// drawOverlays draws people's own lines, outlines and places, and notes the names to be
// written. Names come out of files, so they are made harmless here.
func (c *Chart) drawOverlays(v *world.View) {
	for i, o := range c.overlays {
		if o.Level != nil {
			o.Level.Lines(v, c.overlayLine)
		}
		for j, l := range o.Labels {
			x, y := c.m.Cell(l.Pos)
			name := canvas.Truncate(canvas.Clean(l.Name), nameWidth)
			if name == "" || x < 0 || y < 0 || x >= int64(v.W) || y >= int64(v.H) {
				continue
			}
			key := labelKey{ofZone, uint64(i)<<32 | uint64(j)}
			c.zones = append(c.zones, zone{key, name, int(x / 2), int(y / 4)})
		}
	}
}

func (c *Chart) overlayLine(k world.Kind, x0, y0, x1, y1 float64) {
	switch k {
	case world.Place:
		if x0 >= 0 && y0 >= 0 && x0 < float64(2*c.base.W) && y0 < float64(4*c.base.H) {
			c.base.Rune(int(x0)/2, int(y0)/4, '+', look.Route, look.OnZone)
		}
	case world.Route:
		c.base.Line(x0, y0, x1, y1, look.Route, look.OnZone)
	default:
		c.base.Line(x0, y0, x1, y1, look.Zone, look.OnZone)
	}
}

// graticule draws dotted meridians and parallels at round degrees, and notes which to be
// written, where the view is so close that there may be no coast in it to go by. Its dots
// are on the grid of the world too.
func (c *Chart) graticule(v *world.View) {
	if v.Zoom < gridFrom {
		return
	}
	nw, se := v.At(0, 0).Point(), v.At(float64(v.W), float64(v.H)).Point()
	west, east := nw.LonDeg(), se.LonDeg()
	if east < west {
		east += 360
	}
	ox, oy := v.Origin()
	perDegree := v.Scale() / 360
	step := gridStep(perDegree)
	for i := math.Ceil(west / step); i*step <= east; i++ {
		lon := geo.WrapLon(i * step)
		x, _ := v.Dot(world.Project(geo.Deg(0, lon)))
		for y := int(floorMod(-oy, 4)); y < v.H; y += 4 {
			c.base.Dot(int(math.Floor(x)), y, look.Border, look.OnGrid)
		}
		c.note(int(x)/2+1, 0, degrees(lon, step, 'E', 'W'))
	}
	step = gridStep(perDegree / math.Cos(v.Centre.Point().LatDeg()*math.Pi/180))
	for i := math.Ceil(se.LatDeg() / step); i*step <= nw.LatDeg(); i++ {
		_, y := v.Dot(world.Project(geo.Deg(i*step, 0)))
		for x := int(floorMod(-ox, 4)); x < v.W; x += 4 {
			c.base.Dot(x, int(math.Floor(y)), look.Border, look.OnGrid)
		}
		c.note(0, int(y)/4, degrees(i*step, step, 'N', 'S'))
	}
}

func (c *Chart) note(x, y int, name string) {
	c.degrees = append(c.degrees, word{x: x, y: y, w: canvas.Width(name), name: name, point: fleet.Nobody})
}

// gridStep is the smallest round number of degrees that is at least forty dots wide:
// twenty columns, ten rows.
func gridStep(perDegree float64) float64 {
	for ten := 1e-5; ; ten *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if ten*m*perDegree >= 40 {
				return ten * m
			}
		}
	}
}

// degrees writes 11.25°E with as many decimals as the step of the grid has.
func degrees(v, step float64, positive, negative rune) string {
	side := positive
	if v < 0 {
		side = negative
	}
	decimals := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	return strconv.FormatFloat(math.Abs(v), 'f', decimals, 64) + "°" + string(side)
}

// floorMod is what is left of a by b, never negative.
func floorMod(a, b int64) int64 {
	if m := a % b; m >= 0 {
		return m
	}
	return a%b + b
}
