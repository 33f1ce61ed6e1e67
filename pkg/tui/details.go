package tui

import (
	"fmt"
	"math"
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
	ok = ok && fix.Device == s.sel // the slot may be another's since the frame was made
	return s.mask.Fix(fix), s.mask.Name(fix.Device, name), &s.frame.Points[s.selIndex], ok
}

func (s *screen) drawDetailBox(r rect) {
	fix, name, p, ok := s.selected()
	in := r.inner()
	if !ok {
		s.frameBox(r, "No device selected", false)
		for i, line := range []string{s.keyFor("next") + " selects the next one, a click", "the one that is clicked."} {
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

// field is a row of details. What is for the box only does not go into the line.
type field struct {
	name, value string
	style       canvas.Style
	box         bool
}

func (s *screen) fields(f *client.Fix, p *fleet.Point) []field {
	st := s.frame.Marks[s.selIndex].State()
	fs := []field{{"state", st.String() + ", heard " + words.Ago(p.Age(s.frame.At)), look.OfState[st], false}}
	if f.Event != "" {
		fs = append(fs, field{"event", canvas.Clean(f.Event), look.Alert, false})
	}
	fs = append(fs, doubts(f)...)
	if f.HasPos() {
		fs = append(fs, field{"place", s.mask.Point(f.At) + s.accuracy(f), look.Bright, false}, field{"", s.whereabouts(f.At), look.Text, false})
	} else {
		fs = append(fs, field{"place", "not known", look.Text, false})
	}
	if f.Has&track.HasVel != 0 {
		fs = append(fs, field{"speed", fmt.Sprintf("%s km/h %s %.0f°", words.KMH(f.Speed), string(look.Arrow(p.Course)), f.Course), look.Text, false})
	}
	fs = append(fs, s.sparkline(fleet.OfSpeed)...)
	if f.Has&track.HasBat != 0 {
		fs = append(fs, field{"battery", battery(f) + s.drain(), look.Text, false})
	}
	fs = append(fs, s.sparkline(fleet.OfBattery)...)
	if f.Power {
		fs = append(fs, field{"runs on", "external power", look.Text, false})
	}
	if f.Has&track.HasAlt != 0 {
		fs = append(fs, field{"height", fmt.Sprintf("%d m", f.Alt), look.Text, false})
	}
	fs = append(fs, field{"fix", f.Time.UTC().Format("2006-01-02 15:04:05Z"), look.Text, true})
	if came := arrival(f); came != "" {
		fs = append(fs, field{"", came, look.Warn, true})
	}
	if p.Flags&fleet.Muted != 0 {
		fs = append(fs, field{"events", "muted, " + s.keyFor("mute") + " lets them come", look.Dim, true})
	}
	return append(fs, field{"id", s.mask.ID(s.sel), look.Dim, true})
}

// doubts are what is wrong with a fix, in words.
func doubts(f *client.Fix) (fs []field) {
	if f.Jump {
		fs = append(fs, field{"doubt", "jumped too far to be true", look.Warn, false})
	}
	if f.Suspect {
		fs = append(fs, field{"doubt", "its clock runs ahead", look.Warn, false})
	}
	return fs
}

// notable is how much later than taken a fix has to arrive for that to be told.
const notable = 5 * time.Second

// arrival says how long after it was taken a fix came to the server, if that is long, or
// how long before.
func arrival(f *client.Fix) string {
	switch d := f.Received.Sub(f.Time); {
	case f.Received.IsZero() || d.Abs() < notable:
		return ""
	case d < 0:
		return "came " + words.Age(-d) + " before that"
	default:
		return "came " + words.Age(d) + " after that"
	}
}

// sparkline is how fast the selected device was in the last half hour, or how full its
// battery in the last day, as far as the map has seen it.
func (s *screen) sparkline(of fleet.Measure) []field {
	s.slots = s.store.Spark(s.slots[:0], s.selIndex, of)
	seen := 0
	for _, v := range s.slots {
		if v != fleet.Nothing {
			seen++
		}
	}
	if seen < 2 {
		return nil
	}
	line := spark(s.slots, 20)
	span := words.Age(time.Duration(len([]rune(line))) * of.Slot())
	return []field{{"", line + " " + span, look.Text, true}}
}

// drain is how fast the battery of the selected device empties or fills, in percent an
// hour over what was seen of the last day; empty if less than an hour was, or if that is
// less than one percent.
func (s *screen) drain() string {
	s.slots = s.store.Spark(s.slots[:0], s.selIndex, fleet.OfBattery)
	first, last := -1, -1
	for i, v := range s.slots {
		if v == fleet.Nothing {
			continue
		}
		if last = i; first < 0 {
			first = i
		}
	}
	if first == last {
		return ""
	}
	rate := math.Round(float64(s.slots[last]-s.slots[first]) / float64(last-first))
	switch {
	case rate < 0:
		return fmt.Sprintf(" −%.0f%%/h", -rate)
	case rate > 0:
		return fmt.Sprintf(" +%.0f%%/h", rate)
	}
	return ""
}

// accuracy is that of the place. A place that is rounded has none.
func (s *screen) accuracy(f *client.Fix) string {
	if f.Has&track.HasAcc == 0 || s.mask != nil {
		return ""
	}
	return " ±" + words.Length(f.Accuracy)
}

func battery(f *client.Fix) string {
	full := min(max(f.Battery, 0), 100) / 10
	return strings.Repeat("▇", full) + strings.Repeat("░", 10-full) + fmt.Sprintf(" %d%%", f.Battery)
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
		if f.box || f.value == "" {
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
	if s.lay.kind == listOnly {
		return fmt.Sprintf("%s of %s devices meet the filter", words.Thousands(s.frame.Matched), words.Thousands(s.frame.Status.Devices))
	}
	return fmt.Sprintf("%s of %s devices in view, trails %s", words.Thousands(s.frame.Visible), words.Thousands(s.frame.Status.Devices), s.trails)
}
