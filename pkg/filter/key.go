package filter

import (
	"cmp"
	"slices"
	"strings"

	"tracker/pkg/track"
)

// Key is a word before a colon. Help, completion and documentation are made of these.
type Key struct{ Name, Help, Example string }

// Keys are the keys there are.
var Keys = exported()

// key is a Key with what it takes to understand it.
type key struct {
	Key
	parse    func(*clause) (test, error)
	uses     Parts
	want     string   // what a value is
	values   []string // all of them, if they are few
	numeric  bool     // may be less or more
	patterns bool     // may be a regular expression
	free     bool     // costs the same however many values there are
}

var keys = []key{
	{
		Key:   Key{"name", "the whole name, whatever the case; * is any text, ? any one character", "name:van-*,bus-7"},
		parse: parseName, uses: Names, want: "a name such as van-*", patterns: true,
	},
	{
		Key:   Key{"id", "the id, or how it begins", "id:09c4f1d2e3a4 or id:09c4*"},
		parse: parseID, uses: Names, want: wantID, free: true,
	},
	{
		Key:   Key{"state", "how it is: idle, moving, stale, lost or alert", "state:moving,idle"},
		parse: parseState, uses: Numbers | Clock, want: listed(stateNames[:]), values: stateNames[:],
	},
	numeric("speed", "in km/h, or with mps, kn or mph", "speed>90", &speed, Numbers),
	numeric("age", "how long ago it was heard: s, m, h or d", "age>30s", &age, Numbers|Clock),
	numeric("battery", "in percent", "battery<20", &battery, Numbers),
	numeric("alt", "height above the sea in m, or with km or ft", "alt>3000ft", &alt, Numbers),
	numeric("acc", "how far off its place may be, in m, or with km or ft", "acc<=20", &accuracy, Numbers),
	numeric("course", "where it heads, in degrees clockwise from north", "course:315..45", &course, Numbers),
	{
		Key:   Key{"event", "what it reported with its latest fix; * is anything", "event:sos,tamper"},
		parse: parseEvent, uses: Numbers, want: listed(eventNames) + ", or *", values: slices.Concat(eventNames, []string{"*"}),
	},
	{
		Key:   Key{"power", "runs on external power: yes or no", "power:no"},
		parse: parsePower, uses: Numbers, want: "yes or no", values: []string{"yes", "no"},
	},
	numeric("lat", "latitude in degrees", "lat:47..49", &latitude, Numbers),
	numeric("lon", "longitude in degrees; may cross the antimeridian", "lon:170..-170", &longitude, Numbers),
	{
		Key:   Key{"bbox", "inside south, west, north, east in degrees; may cross the antimeridian", "bbox:47.2,5.8,55.1,15.1"},
		parse: parseBox, uses: Numbers, want: wantBox,
	},
	{
		Key:   Key{"near", "within a distance of a latitude and longitude: m, km, mi or nmi", "near:48.1,11.6,5km"},
		parse: parseNear, uses: Numbers, want: wantNear,
	},
	{
		Key:   Key{"is", "placed: it has a place; jump: that is impossible; suspect: its clock is ahead; late: history", "is:jump,suspect"},
		parse: parseIs, uses: Numbers, want: listed(flagNames), values: flagNames,
	},
	{
		Key:   Key{"status", "in lists of the registry: active or revoked", "status:active"},
		parse: parseStatus, uses: Registry, want: listed(statusNames), values: statusNames,
	},
	{
		Key:   Key{"alarm", "in lists of the registry: an alarm of its keys; * is any", "alarm:clone_suspected"},
		parse: parseAlarm, uses: Registry, want: "an alarm such as clone_suspected, or *", values: []string{"*"},
	},
}

func numeric(name, help, example string, q *quantity, uses Parts) key {
	return key{Key: Key{name, help, example}, parse: q.parse, uses: uses, want: q.want, numeric: true}
}

func exported() []Key {
	var out []Key
	for _, k := range keys {
		out = append(out, k.Key)
	}
	return out
}

func keyNamed(name string) *key {
	i := slices.IndexFunc(keys, func(k key) bool { return k.Name == name })
	if i < 0 {
		return nil
	}
	return &keys[i]
}

func keyNames() string {
	var names []string
	for _, k := range keys {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}

// listed is "a, b or c".
func listed(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// turned is a test, or the opposite of it where that is asked.
func turned(c *clause, t test) test {
	if c.op == "!=" {
		return opposite{t}
	}
	return t
}

func parseName(c *clause) (test, error) {
	var n named
	for _, v := range c.values {
		switch {
		case v.pattern:
			m, mistake := newPattern(v.text)
			if mistake != "" {
				return nil, c.fail(v.at, "", "%s", mistake)
			}
			n = append(n, m)
		case !v.quoted && isGlob(v.text):
			n = append(n, newGlob(v.text))
		default:
			n = append(n, whole(folded(v.text)))
		}
	}
	return turned(c, n), nil
}

const wantID = "12 hex digits, or some and a *"

// ids are ranges of ids, in order and apart from one another.
type ids []idRange

type idRange struct{ from, to track.DeviceID }

func (r ids) holds(s *Subject) bool {
	i, found := slices.BinarySearchFunc(r, s.ID, func(r idRange, id track.DeviceID) int { return cmp.Compare(r.from, id) })
	return found || i > 0 && s.ID <= r[i-1].to
}

func parseID(c *clause) (test, error) {
	var all ids
	for _, v := range c.values {
		r, ok := readID(strings.ToLower(v.text))
		if !ok {
			return nil, c.fail(v.at, wantID, "%q is no id", v.text)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b idRange) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to))
	})
	apart := all[:1]
	for _, r := range all[1:] {
		// Two beginnings are apart, or one is within the other, and then that came first.
		if r.from > apart[len(apart)-1].to {
			apart = append(apart, r)
		}
	}
	return turned(c, apart), nil
}

// readID reads an id, or the beginning of some with a star.
func readID(s string) (idRange, bool) {
	digits, some := strings.CutSuffix(s, "*")
	if some && len(digits) < 12 {
		from, err1 := track.ParseDeviceID(pad(digits, "0"))
		to, err2 := track.ParseDeviceID(pad(digits, "f"))
		return idRange{from, to}, err1 == nil && err2 == nil
	}
	id, err := track.ParseDeviceID(s)
	return idRange{id, id}, err == nil
}

func pad(digits, with string) string { return digits + strings.Repeat(with, 12-len(digits)) }

// states is a set of them.
type states uint8

func (x states) holds(s *Subject) bool { return x>>s.State&1 == 1 }

func parseState(c *clause) (test, error) {
	var x states
	for _, v := range c.values {
		st, err := ParseState(strings.ToLower(v.text))
		if err != nil {
			return nil, c.fail(v.at, stateWanted(v.text), "there is no state %q", v.text)
		}
		x |= 1 << st
	}
	return turned(c, x), nil
}

// stateWanted also helps those who mean what lists of the registry show.
func stateWanted(typed string) string {
	want := listed(stateNames[:])
	if typed = strings.ToLower(typed); slices.Contains(statusNames, typed) {
		want += "; or status:" + typed
	}
	return want
}

// words is true of devices with one of some words, or with any.
type words struct {
	of   func(*Subject) string
	list []string
	any  bool
}

func (w *words) holds(s *Subject) bool {
	have := w.of(s)
	return have != "" && (w.any || slices.Contains(w.list, have))
}

var eventNames = events()

func events() []string {
	var names []string
	for e := track.EventNone + 1; !strings.HasPrefix(e.String(), "event_"); e++ {
		names = append(names, e.String())
	}
	return names
}

func parseEvent(c *clause) (test, error) {
	w := &words{of: func(s *Subject) string { return s.Event }}
	for _, v := range c.values {
		name := strings.ToLower(v.text)
		// What has no name yet is called by its number.
		if name != "*" && !strings.HasPrefix(name, "event_") && !slices.Contains(eventNames, name) {
			return nil, c.fail(v.at, listed(eventNames)+", or *", "there is no event %q", v.text)
		}
		w.any = w.any || name == "*"
		w.list = append(w.list, name)
	}
	return turned(c, w), nil
}

var statusNames = []string{"active", "revoked"}

// parseStatus has no test of its own: that a device of which the registry said nothing
// is not active is told by Uses.
func parseStatus(c *clause) (test, error) {
	w := &words{of: func(s *Subject) string { return s.Status }}
	for _, v := range c.values {
		name := strings.ToLower(v.text)
		if !slices.Contains(statusNames, name) {
			return nil, c.fail(v.at, listed(statusNames), "there is no status %q", v.text)
		}
		w.list = append(w.list, name)
	}
	return turned(c, w), nil
}

// alarms is true of devices with one of some alarms. New kinds of them are made by
// servers, so any word may be one.
type alarms struct {
	list []string
	any  bool
}

func (a *alarms) holds(s *Subject) bool {
	for _, have := range s.Alarms {
		if a.any || slices.Contains(a.list, have) {
			return true
		}
	}
	return false
}

func parseAlarm(c *clause) (test, error) {
	a := &alarms{}
	for _, v := range c.values {
		name := strings.ToLower(v.text)
		a.any = a.any || name == "*"
		a.list = append(a.list, name)
	}
	return turned(c, a), nil
}

type power bool

func (p power) holds(s *Subject) bool { return s.Power == bool(p) }

func parsePower(c *clause) (test, error) {
	if len(c.values) > 1 {
		return nil, c.fail(c.values[1].at, "yes or no", "power is either")
	}
	switch v := c.values[0]; strings.ToLower(v.text) {
	case "yes":
		return turned(c, power(true)), nil
	case "no":
		return turned(c, power(false)), nil
	default:
		return nil, c.fail(v.at, "yes or no", "power cannot be %q", v.text)
	}
}

// flags are what is said of a place or fix.
type flags []func(*Subject) bool

func (f flags) holds(s *Subject) bool {
	for _, is := range f {
		if is(s) {
			return true
		}
	}
	return false
}

var flagNames = []string{"placed", "jump", "suspect", "late"}

var flagTests = map[string]func(*Subject) bool{
	"placed":  func(s *Subject) bool { return s.Has&track.HasPos != 0 },
	"jump":    func(s *Subject) bool { return s.Jump },
	"suspect": func(s *Subject) bool { return s.Suspect },
	"late":    func(s *Subject) bool { return s.Late },
}

func parseIs(c *clause) (test, error) {
	var f flags
	for _, v := range c.values {
		is := flagTests[strings.ToLower(v.text)]
		if is == nil {
			return nil, c.fail(v.at, listed(flagNames), "nothing is %q", v.text)
		}
		f = append(f, is)
	}
	return turned(c, f), nil
}
