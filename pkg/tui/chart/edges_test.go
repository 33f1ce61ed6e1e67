package chart

import (
	"fmt"
	"math"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

var fonts = map[string]canvas.Glyphs{"braille": canvas.Braille, "block": canvas.Blocks, "ascii": canvas.ASCII}

// Where the map ends or begins anew, with devices on both sides of it, in every font.
// They were looked at.
func TestEdgeGoldens(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lat, lon float64
		zoom     float64
		w, h     int
		fixes    []client.Fix
	}{
		{"pacific", 0, 180, -9, 80, 24, swarm(6, 300, 0, 180, 4500)},
		{"bering-strait", 65, 180, 2.6, 80, 24, swarm(7, 45, 65.5, -172, 450)},
		{"north-pole", 90, 0, 1, 80, 24, swarm(8, 120, 90, 0, 900)},
		{"south-pole", -90, 0, 1, 80, 24, swarm(9, 120, -90, 0, 900)},
	} {
		s := sceneOf(t, tt.w, tt.h, tt.fixes).look(tt.lat, tt.lon, tt.zoom)
		s.Theme = themeOf("plain")
		c := &Chart{}
		out := c.Draw(s)
		checkWords(t, c)
		for font, glyphs := range fonts {
			tuitest.Golden(t, "edge-"+tt.name+"-"+font, string(out.Encode(nil, s.Theme, glyphs)))
		}
	}
}

// What colours tell, on a terminal without any, with the legend below.
func TestModesWithoutColourGoldens(t *testing.T) {
	for by := range look.Colours {
		fixes := swarm(4, 50, 48.1, 11.6, 25)
		for i := range fixes {
			switch i % 10 {
			case 0:
				fixes[i].Received = epoch.Add(-3 * time.Minute)
			case 1:
				fixes[i].Received = epoch.Add(-time.Hour)
			case 2:
				fixes[i].Event = "sos"
			}
		}
		s := sceneOf(t, 60, 19, fixes).look(48.1, 11.6, 8)
		s.Colour, s.Theme = by, themeOf("mono")
		c := &Chart{}
		c.Draw(s)
		out := canvas.New(78, 20)
		out.Blit(&c.out, 0, 0)
		WriteLegend(out, c.Legend(), 0, 19, 78)
		tuitest.Golden(t, fmt.Sprintf("mode-%v-mono", by), string(out.Encode(nil, s.Theme, canvas.Braille)))
		tuitest.Golden(t, fmt.Sprintf("mode-%v-ascii", by), string(out.Encode(nil, themeOf("plain"), canvas.ASCII)))
	}
}

// Wherever a device is on the globe it is drawn once, poles and the seam included, on a
// map of the whole world as on a part of it.
func TestEveryPlaceIsDrawnOnce(t *testing.T) {
	for _, lat := range []float64{90, world.MaxLat, 85, 0, -17, -85, -world.MaxLat, -90} {
		for _, lon := range []float64{-180, 180, math.Nextafter(180, 0), math.Nextafter(-180, 0), 179.99999, -179.99999, 0} {
			for _, zoom := range []float64{-9, 0, 0.37, 1, 2, 3.3, 7} {
				for _, centre := range []float64{lon, lon + 40, lon - 40} {
					if centre != lon && zoom > 0.4 {
						continue
					}
					s := sceneOf(t, 80, 40, []client.Fix{moving(1, lat, lon, 0, 0)}).look(lat, geo.WrapLon(centre), zoom)
					s.Layers, s.Dots = 0, 1
					c := &Chart{}
					c.Draw(s)
					dots := 0
					for _, cell := range c.out.Cells {
						if cell.Prio == look.OnDevice {
							dots += popcount(cell.Mask)
						}
					}
					if dots != 1 || s.Frame.Visible != 1 {
						t.Fatalf("%v, %v at zoom %v about %v: %d dots, %d visible", lat, lon, s.View.Zoom, centre, dots, s.Frame.Visible)
					}
				}
			}
		}
	}
}

func popcount(mask uint8) (n int) {
	for ; mask != 0; mask &= mask - 1 {
		n++
	}
	return n
}
