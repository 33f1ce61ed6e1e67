package tui

import (
	"fmt"
	"strings"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/words"
)

// whereCache spares looking up the nearest city for a device that has not moved.
type whereCache struct {
	at   geo.Point
	text string
}

func (s *screen) drawDetails() {
	if !s.lay.detailBox.empty() {
		s.drawDetailBox(s.lay.detailBox)
	} else if s.lay.detail >= 0 {
		s.drawDetailLine(s.lay.detail)
	}
}

// selected is what is known of the selected device.
func (s *screen) selected() (fix client.Fix, name string, p *fleet.Point, ok bool) {
	if s.selIndex == fleet.Nobody {
		return client.Fix{}, "", nil, false
	}
	fix, name, ok = s.store.Info(s.selIndex)
	return s.mask.Fix(fix), s.mask.Name(fix.Device, name), &s.frame.Points[s.selIndex], ok
}

func (s *screen) drawDetailBox(r rect) {
	fix, name, p, ok := s.selected()
	in := r.inner()
	if !ok {
		s.frameBox(r, "No device selected", false)
		for i, line := range []string{"n selects the next one, a click", "the one that is clicked."} {
			s.c.Text(in.x+1, in.y+i, canvas.Truncate(line, in.w-1), look.Dim, look.OnTop)
		}
		return
	}
	heading := canvas.Truncate(name, in.w-14)
	if s.follow {
		heading += " · following"
	}
	s.frameBox(r, heading, s.follow)
	for i, f := range s.fields(&fix, p) {
		if i >= in.h {
			break
		}
		s.c.Text(in.x+1, in.y+i, f.name, look.Dim, look.OnTop)
		s.c.Text(in.x+9, in.y+i, canvas.Truncate(f.value, in.w-9), f.style, look.OnTop)
	}
}

type field struct {
	name, value string
	style       canvas.Style
}

func (s *screen) fields(f *client.Fix, p *fleet.Point) []field {
	st := s.frame.Marks[s.selIndex].State()
	fs := []field{{"state", st.String() + ", heard " + words.Ago(p.Age(s.frame.At)), look.OfState[st]}}
	if f.HasPos() {
		fs = append(fs, field{"place", f.At.String() + accuracy(f), look.Bright}, field{"", s.whereabouts(f.At), look.Text})
	} else {
		fs = append(fs, field{"place", "not known", look.Text})
	}
	if f.Has&track.HasVel != 0 {
		fs = append(fs, field{"speed", fmt.Sprintf("%s km/h %s %.0f°", words.KMH(f.Speed), string(look.Arrow(p.Course)), f.Course), look.Text})
	}
	if f.Has&track.HasAlt != 0 {
		fs = append(fs, field{"height", fmt.Sprintf("%d m", f.Alt), look.Text})
	}
	if f.Has&track.HasBat != 0 {
		fs = append(fs, field{"battery", battery(f), look.Text})
	}
	if f.Event != "" {
		fs = append(fs, field{"event", canvas.Clean(f.Event), look.Alert})
	}
	fs = append(fs,
		field{"fix", f.Time.UTC().Format("2006-01-02 15:04:05Z"), look.Text},
		field{"id", s.mask.ID(f.Device), look.Dim})
	return append(fs, s.sparklines()...)
}

// sparklines are how fast the selected device was in the last half hour, and how full its
// battery in the last day, as far as the map has seen it.
func (s *screen) sparklines() (fs []field) {
	for _, m := range []struct {
		name string
		of   fleet.Measure
	}{{"speed", fleet.OfSpeed}, {"battery", fleet.OfBattery}} {
		s.slots = s.store.Spark(s.slots[:0], s.selIndex, m.of)
		seen := 0
		for _, v := range s.slots {
			if v != fleet.Nothing {
				seen++
			}
		}
		if seen < 2 {
			continue
		}
		span := words.Age(time.Duration(len(s.slots)) * m.of.Slot())
		fs = append(fs, field{m.name, spark(s.slots, 20) + " " + span, look.Text})
	}
	return fs
}

func accuracy(f *client.Fix) string {
	if f.Has&track.HasAcc == 0 {
		return ""
	}
	return " ±" + words.Length(f.Accuracy)
}

func battery(f *client.Fix) string {
	full := min(max(f.Battery, 0), 100) / 10
	s := strings.Repeat("▇", full) + strings.Repeat("░", 10-full) + fmt.Sprintf(" %d%%", f.Battery)
	if f.Power {
		s += " charging"
	}
	return s
}

func (s *screen) whereabouts(p geo.Point) string {
	if s.where.text == "" || s.where.at != p {
		s.where = whereCache{p, words.Near(p)}
	}
	return s.where.text
}

// drawDetailLine is the box in one line.
func (s *screen) drawDetailLine(y int) {
	fix, name, p, ok := s.selected()
	if !ok {
		s.c.Text(1, y, canvas.Truncate(s.summary(), s.w-2), look.Dim, look.OnTop)
		return
	}
	if s.follow {
		name += " · following"
	}
	x := s.c.Text(1, y, canvas.Truncate(name, s.w/3), look.Title, look.OnTop)
	for _, f := range s.fields(&fix, p) {
		if f.name == "id" {
			break // what follows is for the box
		}
		if f.name == "fix" || f.value == "" {
			continue
		}
		if x+2+canvas.Width(f.value) > s.w {
			break
		}
		x = s.c.Text(x+2, y, f.value, f.style, look.OnTop)
	}
}

func (s *screen) summary() string {
	if s.frame.Status.Devices == 0 {
		return s.empty()
	}
	return fmt.Sprintf("%s of %s devices in view, trails %s", words.Thousands(s.frame.Visible), words.Thousands(s.frame.Status.Devices), s.trails)
}
