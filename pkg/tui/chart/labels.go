package chart

import (
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/world"
)

const (
	maxLabels = 60   // of devices
	maxSlots  = 8192 // that are remembered
	nameWidth = 24
	onCity    = look.OnTrail - 1
)

// labelKey names what a label belongs to for as long as it lives: devices by id, since an
// index is given to another device when one leaves.
type labelKey struct {
	of of
	id uint64
}

type of uint8

const (
	ofDevice of = iota
	ofZone
	ofCity
)

// word is a label that was written into the last picture.
type word struct {
	x, y, w int
	name    string
	point   int32 // that it belongs to, or fleet.Nobody
}

// drawLabels writes the names that nobody has to see, the more important ones first.
func (c *Chart) drawLabels(s *Scene) {
	if s.Layers&Labels != 0 && s.Filtering {
		c.drawNames(s)
	}
	if s.Layers&Overlays != 0 {
		c.drawZones()
	}
	if s.Layers&Cities != 0 {
		c.drawCities(s)
	}
	if s.Layers&Labels != 0 && !s.Filtering {
		c.drawNames(s)
	}
	for i := range c.degrees {
		if w := &c.degrees[i]; c.room(w, onCity, anything) {
			c.write(w, look.Dim, onCity)
		}
	}
}

func (c *Chart) drawZones() {
	for i := range c.zones {
		z := &c.zones[i]
		c.label(z.key, word{x: z.x, y: z.y, name: z.name, point: fleet.Nobody}, 2, look.Zone, onCity, anything)
	}
}

// nameDevice writes the name of a device beside its cell.
func (c *Chart) nameDevice(s *Scene, i int32, x, y, gap int, style canvas.Style, prio, avoid uint8) {
	fix, name, ok := s.Store.Info(i)
	if !ok {
		return
	}
	if s.masked() {
		name = s.Mask.Name(fix.Device, name)
	}
	key, w := labelKey{ofDevice, uint64(fix.Device)}, word{x: x, y: y, name: canvas.Truncate(name, nameWidth), point: i}
	// Those who are watched would rather hide others than have no name.
	if c.label(key, w, gap, style, prio, anything) || avoid != anything && c.label(key, w, gap, style, prio, avoid) {
		c.named++
	}
}

// label writes a name beside the cell of w: where it was in the last frame if there still
// is room, else right of it, left, above, below, or not at all.
func (c *Chart) label(key labelKey, w word, gap int, style canvas.Style, prio, avoid uint8) bool {
	w.w = canvas.Width(w.name)
	if w.w == 0 {
		return false
	}
	places := [4][2]int{{w.x + gap, w.y}, {w.x - gap - w.w + 1, w.y}, {w.x - w.w/2, w.y - 1}, {w.x - w.w/2, w.y + 1}}
	first := c.slots[key]
	for i := range uint8(len(places)) {
		slot := (first + i) % uint8(len(places))
		w.x, w.y = places[slot][0], places[slot][1]
		if !c.room(&w, prio, avoid) {
			continue
		}
		c.write(&w, style, prio)
		if slot != first {
			c.slots[key] = slot
		}
		return true
	}
	return false
}

// room tells whether a word fits with a blank on either side, and whether nothing is
// there that would cut it.
func (c *Chart) room(w *word, prio, avoid uint8) bool {
	if !c.free(w.x, w.y, w.w, avoid) || w.x > 0 && !c.free(w.x-1, w.y, 1, avoid) || w.x+w.w < c.out.W && !c.free(w.x+w.w, w.y, 1, avoid) {
		return false
	}
	for i := range w.w {
		if c.out.At(w.x+i, w.y).Prio > prio {
			return false
		}
	}
	return true
}

func (c *Chart) write(w *word, style canvas.Style, prio uint8) {
	c.take(w.x, w.y, w.w, text)
	c.out.Text(w.x, w.y, w.name, style, prio)
	c.space(w.x-1, w.y, prio)
	c.space(w.x+w.w, w.y, prio)
	c.words = append(c.words, *w)
}

// space keeps a coast from running into a word.
func (c *Chart) space(x, y int, prio uint8) {
	if cell := c.out.At(x, y); cell != nil && cell.Prio < look.OnDevice && c.taken[y*c.out.W+x]&anything == 0 {
		c.out.Rune(x, y, ' ', look.City, prio)
		c.take(x, y, 1, gap)
	}
}

// drawCities writes the largest cities that fit, never over a device.
func (c *Chart) drawCities(s *Scene) {
	cities := world.Cities()
	cities = cities[:min(len(cities), citiesAt(s.View.Zoom))]
	room := c.out.W * c.out.H / 120
	for i := range cities {
		dx, dy := c.m.Cell(cities[i].Pos)
		if room == 0 || !c.inside(dx, dy) {
			continue
		}
		x, y := int(dx/2), int(dy/4)
		if !c.free(x, y, 1, anything) || !c.label(labelKey{ofCity, uint64(i)}, word{x: x, y: y, name: cities[i].Name, point: fleet.Nobody}, 1, look.City, onCity, anything) {
			continue
		}
		c.out.Rune(x, y, '·', look.City, onCity)
		c.take(x, y, 1, text)
		room--
	}
}

// citiesAt is how far down the list of cities a zoom goes: a name must not come and
// go while the view is panned.
func citiesAt(zoom float64) int {
	n := 16.0
	for ; zoom >= 0.5; zoom -= 0.5 {
		n *= 1.75
	}
	return int(min(n, 1e6))
}
