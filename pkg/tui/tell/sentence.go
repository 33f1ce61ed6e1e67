package tell

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
	"unicode"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/words"
)

// sentence says where a device is, for readers and listeners who have no map. Nothing
// in it is art.
func (n *narrator) sentence(name string, f *client.Fix, st filter.State, since time.Duration) string {
	s := name + ": " + n.place(f) + ", " + st.String()
	if f.Has&track.HasVel != 0 && f.Speed >= 0.5 {
		s += " " + words.KMH(f.Speed) + " km/h " + words.Direction(f.Course)
	}
	if f.Has&track.HasBat != 0 {
		s += fmt.Sprintf(", battery %d percent", f.Battery)
	}
	if event := voice(f.Event); event != "" {
		s += ", reports " + event
	}
	return s + ", fix " + words.Spoken(since) + " ago."
}

// place says where a fix is: in degrees and by the nearest city, or only to a tenth of a
// degree where that is to be hidden.
func (n *narrator) place(f *client.Fix) string {
	switch {
	case !f.HasPos():
		return "no place known"
	case n.masked():
		return roughly(n.mask.Round(f.At))
	}
	if near := voice(words.Near(f.At)); near != "" {
		return words.Place(f.At) + ", " + near
	}
	return words.Place(f.At)
}

func (n *narrator) masked() bool { return n.mask != nil && n.mask.On }

// roughly is a place to a tenth of a degree: 48.1 north, 11.6 east.
func roughly(p geo.Point) string {
	ns, ew := "north", "east"
	if p.Lat < 0 {
		ns = "south"
	}
	if p.Lon < 0 {
		ew = "west"
	}
	return fmt.Sprintf("about %.1f %s, %.1f %s", math.Abs(p.LatDeg()), ns, math.Abs(p.LonDeg()), ew)
}

// brief is a device in a list: what it does and where, without degrees.
func (n *narrator) brief(f *client.Fix, name string, i int) string {
	s := n.name(f.Device, name) + ": " + n.frame.Marks[i].State().String()
	if f.Has&track.HasVel != 0 && f.Speed >= 0.5 {
		s += " " + words.KMH(f.Speed) + " km/h " + words.Direction(f.Course)
	}
	if event := voice(f.Event); event != "" {
		s += ", reports " + event
	}
	return s + ", " + n.about(f) + "."
}

// about is a place in few words: by the nearest city, if there is one and it may be told.
func (n *narrator) about(f *client.Fix) string {
	if f.HasPos() && !n.masked() {
		if near := voice(words.Near(f.At)); near != "" {
			return near
		}
	}
	return n.place(f)
}

// eventWords says what happened to whom. The log's own words name nobody and no place.
func (n *narrator) eventWords(e *fleet.Event) string {
	what := voice(spelled(e.Text))
	if what == "" {
		what = kindWords(e.Kind)
	}
	if e.Device == 0 {
		return what
	}
	return n.name(e.Device, e.Name) + " " + what
}

var kindNames = [...]string{
	fleet.Silent: "silent", fleet.Back: "back", fleet.LowBattery: "low on battery", fleet.SOS: "reports sos", fleet.Tamper: "reports tampering",
	fleet.Jump: "jumped", fleet.Appeared: "first fix", fleet.Resumed: "resumed", fleet.Resynced: "some fixes were skipped",
	fleet.Disconnected: "disconnected", fleet.Refused: "denied",
}

func kindWords(k fleet.Kind) string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "unknown"
}

var (
	brevity = regexp.MustCompile(`\b(\d+(?:\.\d+)?)([smhd])\b`)
	units   = map[string]string{"s": "second", "m": "minute", "h": "hour", "d": "day"}
)

// spelled writes the short forms of the log as words: 4m is 4 minutes, 12% is 12 percent.
func spelled(s string) string {
	s = brevity.ReplaceAllStringFunc(s, func(short string) string {
		m := brevity.FindStringSubmatch(short)
		if m[1] == "1" {
			return m[1] + " " + units[m[2]]
		}
		return m[1] + " " + units[m[2]] + "s"
	})
	return strings.ReplaceAll(s, "%", " percent")
}

// voice makes foreign text fit to be read aloud, in one line: letters, digits and plain
// punctuation. Signs, which a voice would spell out or stumble over, become blanks.
func voice(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), r > ' ' && r <= '~':
			return r
		case r < 0x2190 && (unicode.IsPunct(r) || unicode.IsDigit(r)):
			return r
		}
		return ' '
	}, canvas.Clean(s))
	return strings.Join(strings.Fields(s), " ")
}
