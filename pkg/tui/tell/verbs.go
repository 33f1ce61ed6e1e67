package tell

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/words"
	"tracker/pkg/tui/world"
)

// verb is something that can be asked.
type verb struct {
	name, args string
	help       string
	do         func(t *teller, arg string) ([]string, error)
}

func verbs() []verb {
	return []verb{
		{"where", "NAME", "where a device is", (*teller).where},
		{"near", "PLACE", "who is near a city, a device, or latitude and longitude", (*teller).near},
		{"list", "FILTER", "who there is, those that need you first; the filter may be left out", (*teller).list},
		{"follow", "NAME", "news of one device only; without a name, of all again", (*teller).follow},
		{"filter", "FILTER", "news of some devices only; without a filter, of all again", (*teller).filterNews},
		{"summary", "", "how many devices there are, and how they are", (*teller).sum},
		{"events", "", "the last things that happened", (*teller).events},
		{"ack", "", "all alerts so far are heard", (*teller).ack},
		{"hold", "", "no news until you go on, so that you can type; Enter alone does both", (*teller).hold},
		{"go", "", "news again", (*teller).goOn},
		{"help", "", "this", (*teller).help},
		{"quit", "", "the end", (*teller).quit},
	}
}

const (
	promptSign = "> " // only while news is held, where nothing else is written
	listMax    = 20
	nearMax    = 10
)

// answer does what was asked for, at once.
func (t *teller) answer(q question) error {
	t.sign = false // whoever typed pressed Enter
	lines, err := t.reply(q)
	for i, line := range lines {
		lines[i] = stopped(line)
	}
	if len(lines) > 0 {
		err = errors.Join(err, t.say(strings.Join(lines, "\n")))
	}
	if err != nil || !q.end {
		return err
	}
	return errQuit
}

func (t *teller) reply(q question) ([]string, error) {
	switch {
	case q.long:
		return []string{"That is too long for a question"}, nil
	case q.text == "" && q.end:
		return nil, nil
	case q.text == "" && t.held:
		return t.goOn("")
	case q.text == "":
		return t.hold("")
	}
	t.refresh()
	name, arg, _ := strings.Cut(q.text, " ")
	v, ok := verbOf(strings.ToLower(name))
	if !ok {
		return []string{quoted(name) + " is not something to ask; try help"}, nil
	}
	return v.do(t, strings.TrimSpace(arg))
}

// verbOf finds a verb by its name, or by as much of it as is no other's.
func verbOf(name string) (found verb, ok bool) {
	for _, v := range verbs() {
		switch {
		case v.name == name:
			return v, true
		case !strings.HasPrefix(v.name, name):
		case ok:
			return verb{}, false
		default:
			found, ok = v, true
		}
	}
	return found, ok
}

// quoted is what somebody typed, fit to be said.
func quoted(s string) string { return `"` + canvas.Truncate(voice(s), 40) + `"` }

func (t *teller) where(arg string) ([]string, error) {
	i, sorry := t.find(arg)
	if sorry != "" {
		return []string{sorry}, nil
	}
	fix, name, _ := t.store.Info(i)
	return []string{t.describe(&fix, name, int(i))}, nil
}

// each walks over the devices of the frame.
func (t *teller) each(visit func(i int32, f *client.Fix, name string)) {
	for i := range int32(len(t.frame.Points)) {
		if fix, name, ok := t.store.Info(i); ok && t.frame.Points[i].Alive() {
			visit(i, &fix, t.name(fix.Device, name))
		}
	}
}

// find looks a device up by its name or id, by how its name begins, or by a part of it,
// as long as that is only one's. Otherwise it says why there is none.
func (t *teller) find(arg string) (at int32, sorry string) {
	if arg == "" {
		return fleet.Nobody, "Say the name of a device"
	}
	want := strings.ToLower(voice(arg))
	var hits [3][]int32 // the whole name, its beginning, a part of it
	var names []string
	t.each(func(i int32, f *client.Fix, name string) {
		folded := strings.ToLower(name)
		switch {
		case folded == want, !t.masked() && f.Device.String() == want:
			hits[0] = append(hits[0], i)
		case strings.HasPrefix(folded, want):
			hits[1] = append(hits[1], i)
			names = append(names, name)
		case strings.Contains(folded, want):
			hits[2] = append(hits[2], i)
			names = append(names, name)
		}
	})
	for _, h := range hits {
		if len(h) == 1 {
			return h[0], ""
		}
		if len(h) > 1 {
			return fleet.Nobody, several(arg, hits, names)
		}
	}
	if !t.frame.Status.Loaded {
		return fleet.Nobody, "No device is called " + quoted(arg) + " so far; not all are here yet"
	}
	return fleet.Nobody, "No device is called " + quoted(arg)
}

func several(arg string, hits [3][]int32, names []string) string {
	if n := len(hits[0]); n > 1 {
		return fmt.Sprintf("%d devices are called %s; say the id of one", n, quoted(arg))
	}
	slices.Sort(names)
	line := fmt.Sprintf("%d devices are called something like %s: %s", len(names), quoted(arg), strings.Join(names[:min(len(names), 3)], ", "))
	if len(names) > 3 {
		line += fmt.Sprintf(" and %d more", len(names)-3)
	}
	return line + "; say more of the name"
}

// near lists who is close to a place.
func (t *teller) near(arg string) ([]string, error) {
	at, self, sorry := t.placeOf(arg)
	if sorry != "" {
		return []string{sorry}, nil
	}
	type neighbour struct {
		i    int32
		name string
		at   geo.Point
		away geo.Meters
	}
	var all []neighbour
	t.each(func(i int32, f *client.Fix, name string) {
		if !f.HasPos() || i == self || !t.frame.Marks[i].Matches() {
			return
		}
		here := t.mask.Round(f.At)
		all = append(all, neighbour{i, name, here, geo.Distance(at, here)})
	})
	if len(all) == 0 {
		return []string{"Nobody is anywhere near"}, nil
	}
	slices.SortFunc(all, func(a, b neighbour) int { return cmp.Or(cmp.Compare(a.away, b.away), cmp.Compare(a.i, b.i)) })
	var lines []string
	for _, n := range all[:min(len(all), nearMax)] {
		lines = append(lines, fmt.Sprintf("%s: %s %s, %v", n.name, words.Length(n.away), words.Direction(geo.Bearing(at, n.at)), t.frame.Marks[n.i].State()))
	}
	return lines, nil
}

// placeOf is what somebody means by a place. self is the device that it is the place of.
func (t *teller) placeOf(arg string) (at geo.Point, self int32, sorry string) {
	if p, err := geo.ParsePoint(arg); err == nil {
		return p, fleet.Nobody, ""
	}
	for _, c := range world.Cities() {
		if strings.EqualFold(c.Name, arg) {
			return c.Pos.Point(), fleet.Nobody, ""
		}
	}
	i, sorry := t.find(arg)
	if sorry != "" {
		return at, i, sorry + ". A city, or a place such as 48.1,11.6, will do as well"
	}
	fix, name, _ := t.store.Info(i)
	if !fix.HasPos() {
		return at, i, "Nobody knows where " + t.name(fix.Device, name) + " is"
	}
	return t.mask.Round(fix.At), i, ""
}

// list names who there is: those that want to be seen first.
func (t *teller) list(arg string) ([]string, error) {
	flt, sorry := parseFilter(arg)
	if sorry != "" {
		return []string{sorry}, nil
	}
	var f fleet.Frame
	f.Refresh(t.store, flt)
	type row struct {
		i     int32
		state filter.State
		name  string
	}
	var rows []row
	for i, m := range f.Marks {
		if !m.Matches() || !f.Points[i].Alive() || i >= len(t.frame.Points) || arg == "" && !t.frame.Marks[i].Matches() {
			continue
		}
		fix, name, ok := t.store.Info(int32(i))
		if ok {
			rows = append(rows, row{int32(i), m.State(), t.name(fix.Device, name)})
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(-cmp.Compare(a.state, b.state), cmp.Compare(a.name, b.name)) })
	lines := []string{words.Plural(len(rows), "device")}
	for _, r := range rows[:min(len(rows), listMax)] {
		if fix, name, ok := t.store.Info(r.i); ok {
			lines = append(lines, t.brief(&fix, name, int(r.i)))
		}
	}
	if more := len(rows) - listMax; more > 0 {
		lines = append(lines, fmt.Sprintf("And %d more; a filter such as state:alert leaves some out", more))
	}
	return lines, nil
}

func parseFilter(arg string) (f *filter.Filter, sorry string) {
	if arg == "" {
		return nil, ""
	}
	f, err := filter.Parse(arg)
	if err == nil {
		return f, ""
	}
	if wrong := (*filter.Error)(nil); errors.As(err, &wrong) {
		at := len([]rune(wrong.Text[:min(max(wrong.At, 0), len(wrong.Text))])) + 1
		sorry = fmt.Sprintf("That filter is not right at character %d: %s", at, wrong.Msg)
		if wrong.Want != "" {
			sorry += ", want " + wrong.Want
		}
		return nil, voice(sorry)
	}
	return nil, "That filter is not right: " + voice(err.Error())
}

func (t *teller) follow(arg string) ([]string, error) {
	if arg == "" {
		t.followed = 0
		return []string{"News of all devices"}, nil
	}
	i, sorry := t.find(arg)
	if sorry != "" {
		return []string{sorry}, nil
	}
	fix, name, _ := t.store.Info(i)
	t.followed = fix.Device
	return []string{"Following " + t.describe(&fix, name, int(i))}, nil
}

func (t *teller) filterNews(arg string) ([]string, error) {
	flt, sorry := parseFilter(arg)
	if sorry != "" {
		return []string{sorry}, nil
	}
	t.filter = flt
	t.refresh()
	if flt == nil {
		return []string{"News of all devices: " + t.counted()}, nil
	}
	return []string{"News of " + t.counted() + "; calls for help are told of all"}, nil
}

func (t *teller) sum(string) ([]string, error) { return []string{t.summary()}, nil }

// events tells what happened last, oldest first.
func (t *teller) events(string) ([]string, error) {
	log := t.store.Events().Since(nil, 0)
	if len(log) == 0 {
		return []string{"Nothing happened so far"}, nil
	}
	var lines []string
	for i := range log[max(0, len(log)-nearMax):] {
		e := &log[max(0, len(log)-nearMax)+i]
		line := e.At.UTC().Format("15:04:05 ") + t.eventWords(e)
		if e.Times > 1 {
			line += fmt.Sprintf(", %d times", e.Times)
		}
		if e.Acked {
			line += ", acknowledged"
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func (t *teller) ack(string) ([]string, error) {
	n := t.store.Events().Alerting()
	t.store.Events().AckAll()
	t.hush()
	t.pending = slices.DeleteFunc(t.pending, func(e fleet.Event) bool { return e.Kind == fleet.LowBattery })
	if n == 0 {
		return []string{"All alerts are heard"}, nil
	}
	return []string{words.Plural(n, "alert") + " acknowledged"}, nil
}

func (t *teller) hold(string) ([]string, error) {
	t.held = true
	return []string{"The news waits. Ask, or press Enter to go on; alerts are told all the same"}, nil
}

func (t *teller) goOn(string) ([]string, error) {
	t.held = false
	return []string{"News again"}, nil
}

func (t *teller) help(string) ([]string, error) {
	var lines []string
	for _, v := range verbs() {
		lines = append(lines, strings.TrimSuffix(v.name+" "+v.args, " ")+": "+v.help)
	}
	return lines, nil
}

func (t *teller) quit(string) ([]string, error) { return nil, errQuit }
