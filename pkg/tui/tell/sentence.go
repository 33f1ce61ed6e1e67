package tell

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/words"
)

// brief is a device in one sentence: what it does and where, without degrees.
func (n *narrator) brief(i int32) string {
	fix, name, ok := n.store.Info(i)
	if !ok {
		return ""
	}
	name = n.name(fix.Device, name)
	st := n.state(i)
	if st == filter.Alert {
		return name + " " + calls(fix.Event) + n.going(&fix) + ", " + n.about(&fix)
	}
	return name + ": " + n.doing(&fix, st, n.age(i)) + ", " + n.about(&fix)
}

// full is all there is to say of a device, in the lines of an answer.
func (n *narrator) full(i int32) []string {
	fix, _, ok := n.store.Info(i)
	if !ok {
		return nil
	}
	var facts []string
	if _, near := n.nearest(&fix); near && fix.HasPos() {
		facts = append(facts, words.Place(fix.At)) // else it was said
	}
	if fix.Has&track.HasBat != 0 {
		facts = append(facts, fmt.Sprintf("Battery %d percent", fix.Battery))
	}
	if event := voice(plainly(fix.Event)); event != "" && n.state(i) != filter.Alert {
		facts = append(facts, "Reports "+event)
	}
	facts = append(facts, "Heard "+ago(n.age(i)))
	return []string{n.brief(i), strings.Join(facts, ". ")}
}

func ago(d time.Duration) string {
	if d < time.Second {
		return "just now"
	}
	return words.Spoken(d) + " ago"
}

// doing says what a device does that needs nobody.
func (n *narrator) doing(f *client.Fix, st filter.State, age time.Duration) string {
	switch st {
	case filter.Moving:
		if going := n.going(f); going != "" {
			return strings.TrimPrefix(going, ", ")
		}
	case filter.Stale, filter.Lost:
		return st.String() + ", not heard for " + words.Spoken(age)
	}
	return st.String()
}

// going is a course and a speed, if they are known and it is one.
func (n *narrator) going(f *client.Fix) string {
	if f.Has&track.HasVel == 0 || f.Speed < filter.MovingFrom {
		return ""
	}
	return ", moving " + words.Direction(f.Course) + " at " + words.SpokenSpeed(f.Speed)
}

// calls is what a device does that needs somebody.
func calls(event string) string {
	switch event {
	case "sos":
		return "calls for help"
	case "tamper":
		return "reports tampering"
	}
	return "raised an alarm"
}

// about is a place in few words: by the nearest city if there is one, or only to a tenth
// of a degree where places are to be hidden.
func (n *narrator) about(f *client.Fix) string {
	near, ok := n.nearest(f)
	switch {
	case ok:
		return voice(near.Spoken())
	case !f.HasPos():
		return "no place known"
	case n.masked():
		return words.Roughly(n.mask.Round(f.At))
	}
	return words.Place(f.At)
}

// nearest is the closest city, not ok if there is none or it may not be told.
func (n *narrator) nearest(f *client.Fix) (near words.Nearby, ok bool) {
	if !f.HasPos() || n.masked() {
		return near, false
	}
	return words.Nearest(f.At)
}

func (n *narrator) masked() bool { return n.mask != nil && n.mask.On }

// name is what to call a device aloud.
func (n *narrator) name(id track.DeviceID, name string) string {
	if spoken := voice(n.mask.Name(id, name)); spoken != "" {
		return spoken
	}
	return n.mask.Name(id, id.String())
}

func (n *narrator) state(i int32) filter.State {
	if i < 0 || int(i) >= len(n.frame.Marks) {
		return filter.Idle // it came after the frame
	}
	return n.frame.Marks[i].State()
}

func (n *narrator) age(i int32) time.Duration {
	if i < 0 || int(i) >= len(n.frame.Points) {
		return 0
	}
	return n.frame.Points[i].Age(n.frame.At)
}

// single says what happened to one device, or to the feed. The log's own words name
// nobody and no place.
func (n *narrator) single(e *fleet.Event) string {
	what := voice(spelled(e.Text))
	switch {
	case e.Kind == fleet.Disconnected:
		return "link lost: " + what
	case e.Kind == fleet.Refused:
		return "not allowed any more: " + what
	case e.Device == 0:
		return what
	}
	switch says := sayings[e.Kind]; {
	case e.Kind == fleet.Appeared || what == "":
		what = says.one
	case e.Kind == fleet.Silent:
		what = strings.Replace("has been "+what, "has been lost, silent", "is lost, silent", 1)
		what = strings.Replace(what, ", usually every ", "; it usually reports every ", 1)
	case e.Kind == fleet.Back:
		what = "is " + what
	case e.Kind == fleet.SOS, e.Kind == fleet.Tamper:
		what = strings.Replace(what, "reports sos", says.one, 1)
	case e.Kind == fleet.LowBattery:
		what = "is low on battery" + strings.TrimPrefix(what, "battery low")
	}
	return n.name(e.Device, e.Name) + " " + what
}

// saying is what happened to one, and to many.
type saying struct{ one, many string }

var sayings = map[fleet.Kind]saying{
	fleet.Silent:     {"has gone silent", "have gone silent"},
	fleet.Back:       {"is back", "are back"},
	fleet.LowBattery: {"is low on battery", "are low on battery"},
	fleet.SOS:        {"calls for help", "call for help"},
	fleet.Tamper:     {"reports tampering", "report tampering"},
	fleet.Jump:       {"jumped", "jumped"},
	fleet.Appeared:   {"was seen for the first time", "were seen for the first time"},
}

// stopped makes a sentence of words: one line with a full stop, whatever they come from.
func stopped(line string) string {
	line = strings.TrimRight(strings.ReplaceAll(line, "\n", " "), ". ")
	if strings.HasSuffix(line, "?") {
		return line
	}
	return line + "."
}

// plainly is an event of a device as words.
func plainly(event string) string { return strings.ReplaceAll(event, "_", " ") }

var (
	brevity = regexp.MustCompile(`\b(\d+)(\.\d+)?( ?)(m|km|s|h|d)\b`)
	units   = map[string]string{"s": "second", "m": "minute", "h": "hour", "d": "day", " m": "metre", " km": "kilometre"}
)

// spelled writes the short forms of the log as words: 4m is 4 minutes, 4 m is 4 metres,
// 12% is 12 percent. What is less than a whole is not worth a word.
func spelled(s string) string {
	s = brevity.ReplaceAllStringFunc(s, func(short string) string {
		m := brevity.FindStringSubmatch(short)
		unit, ok := units[m[3]+m[4]]
		if !ok {
			return short
		}
		if m[1] == "0" && m[2] != "" {
			return "less than 1 " + unit
		}
		if m[1] != "1" {
			unit += "s"
		}
		return m[1] + " " + unit
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
