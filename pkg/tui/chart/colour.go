package chart

import (
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
)

// rank is what the colour of a device tells, in the order of how much somebody should
// look at it. Of several in one place the highest one gives the colour, because the
// colour of a cell must not depend on the order in which devices happen to be stored.
// By state it is the state; else 0 is not known, 1 to 5 are the ramp, 6 is an alert.
type rank uint8

const (
	unknown rank = iota
	firstStep
	alert = firstStep + rank(steps)
)

const steps = 5 // of a ramp

// Where the steps of the ramps end.
var (
	ageSteps   = [steps - 1]int64{10_000, 60_000, 300_000, 900_000} // ms
	speedSteps = [steps - 1]int64{30, 60, 90, 120}                  // km/h
	emptySteps = [steps - 1]int64{21, 51, 71, 86}                   // percent missing
)

// rankOf is the rank of a device. Alerts are alerts in every colour.
func rankOf(by look.ColourBy, p *fleet.Point, st filter.State, now int64) rank {
	switch {
	case by == look.ByState:
		return rank(st)
	case st == filter.Alert:
		return alert
	case by == look.ByAge:
		return climb(now-p.Heard, &ageSteps)
	case by == look.BySpeed && p.Has&track.HasVel != 0:
		return climb(int64(p.Speed)*36/1000, &speedSteps)
	case by == look.ByBattery && p.Has&track.HasBat != 0:
		return climb(100-int64(p.Bat), &emptySteps)
	}
	return unknown
}

// climb is the step that a value is on, each ending before its limit.
func climb(v int64, limits *[steps - 1]int64) rank {
	r := firstStep
	for _, limit := range limits {
		if v >= limit {
			r++
		}
	}
	return r
}

// style is the colour of a rank.
func (r rank) style(by look.ColourBy) canvas.Style {
	switch {
	case by == look.ByState:
		return look.OfState[r]
	case r == unknown:
		return look.Dim
	case r == alert:
		return look.Alert
	}
	return look.Ramp(int(r - firstStep))
}

// sign says what the colour of several devices says where somebody ought to look, else 0.
func (r rank) sign(by look.ColourBy) rune {
	switch {
	case by == look.ByState && filter.State(r) > filter.Moving:
		return look.Glyph[r]
	case by != look.ByState && r == alert, by == look.ByBattery && r == alert-1:
		return look.Glyph[filter.Alert]
	}
	return 0
}

// mute tells whether the theme has no colours, so that shapes have to say everything.
func (c *Chart) mute() bool { return c.scene.Theme.Alike(look.Ramp(0), look.Ramp(steps-1)) }

// glyph is the shape of a device. It says its state whatever the colours tell, and that
// its battery is low where they tell batteries.
func glyph(by look.ColourBy, p *fleet.Point, st filter.State, r rank) rune {
	switch {
	case by == look.ByBattery && r == alert-1:
		return look.Glyph[filter.Alert]
	case st != filter.Moving:
		return look.Glyph[st]
	case p.Has&track.HasVel == 0:
		return '•'
	}
	return look.Arrow(p.Course)
}

// LegendPart is one shape or colour and what it means.
type LegendPart struct {
	Glyph rune
	Style canvas.Style
	Text  string
}

var rampLegends = map[look.ColourBy][steps]string{
	look.ByAge:     {"<10s", "<1m", "<5m", "<15m", "older"},
	look.BySpeed:   {"<30", "<60", "<90", "<120", "120 km/h"},
	look.ByBattery: {"80%", "50%", "30%", "15%", "less"},
}

// Legend tells what the colours of the last picture mean, or the shapes if there are no
// colours to tell it.
func (c *Chart) Legend() []LegendPart {
	by := c.scene.Colour
	if c.mute() || by == look.ByState {
		parts := make([]LegendPart, 0, filter.States)
		for s := range filter.States {
			parts = append(parts, LegendPart{look.Glyph[s], look.OfState[s], s.String()})
		}
		if by == look.ByBattery {
			parts[filter.Alert].Text = "alert, <15%"
		}
		return parts
	}
	parts := make([]LegendPart, 0, steps+2)
	for i, text := range rampLegends[by] {
		parts = append(parts, LegendPart{'●', look.Ramp(i), text})
	}
	if by == look.ByBattery {
		parts[steps-1].Glyph = look.Glyph[filter.Alert]
	}
	if by != look.ByAge { // everybody has an age
		parts = append(parts, LegendPart{'●', look.Dim, "not known"})
	}
	return append(parts, LegendPart{look.Glyph[filter.Alert], look.Alert, filter.Alert.String()})
}

// WriteLegend writes a legend into a row of dst, from column x on and at most w columns
// wide, and returns the column after it. Parts that do not fit are left out.
func WriteLegend(dst *canvas.Canvas, parts []LegendPart, x, y, w int) int {
	end := x + w
	for _, p := range parts {
		if x+2+canvas.Width(p.Text) > end {
			break
		}
		dst.Rune(x, y, p.Glyph, p.Style, look.OnTop)
		x = dst.Text(x+1, y, " "+p.Text, look.Dim, look.OnTop) + 1
	}
	return min(x, end)
}
