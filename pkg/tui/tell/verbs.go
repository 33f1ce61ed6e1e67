package tell

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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

// verbs are in the order in which they are told. Of two that begin alike, the letters
// that they share are the first one's.
func verbs() []verb {
	return []verb{
		{"where", "NAME", "where a device is, and how", (*teller).where},
		{"near", "PLACE", "who is near a city, a device, or latitude and longitude", (*teller).near},
		{"who", "FILTER", "who there is, those that need you first; without a filter, of all", (*teller).who},
		{"alerts", "", "who calls for help, or reports tampering", (*teller).alerts},
		{"ack", "", "you have heard all alerts", (*teller).ack},
		{"follow", "NAME", "news of one device only", (*teller).follow},
		{"filter", "FILTER", "news of some devices only, such as state:moving", (*teller).filterNews},
		{"stop", "", "follow and filter no more: news of all", (*teller).stop},
		{"summary", "", "how many devices there are, and how they are", (*teller).sum},
		{"events", "", "the last things that happened", (*teller).events},
		{"help", "", "this", (*teller).help},
		{"hold", "", "no news until you go on, so that you can type; Enter alone does both", (*teller).hold},
		{"go", "", "news again", (*teller).goOn},
		{"quit", "", "the end", (*teller).quit},
	}
}

// also are other words for the same.
var also = map[string]string{"list": "who", "exit": "quit", "unfollow": "stop", "locate": "where", "?": "help"}

const (
	promptSign = "> " // only while news is held, where nothing else is written
	listMax    = 10
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
		t.reading(time.Now(), strings.Join(lines, " "))
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
	if ok {
		return v.do(t, strings.TrimSpace(arg))
	}
	if i, sorry := t.find(q.text); sorry == "" {
		return t.full(i), nil // a name is question enough
	}
	return []string{quoted(name) + " is not something to ask", "Ask where, near, who, alerts, follow; or help for the rest"}, nil
}

// verbOf finds a verb by its name, or by how that begins.
func verbOf(name string) (verb, bool) {
	if other, ok := also[name]; ok {
		name = other
	}
	all := verbs()
	i := slices.IndexFunc(all, func(v verb) bool { return v.name == name })
	if i < 0 && name != "" {
		i = slices.IndexFunc(all, func(v verb) bool { return strings.HasPrefix(v.name, name) })
	}
	if i < 0 {
		return verb{}, false
	}
	return all[i], true
}

// typed is a name as one may type it: in small letters, without accents.
func typed(name string) string { return canvas.Unaccented(strings.ToLower(name)) }

// quoted is what somebody typed, fit to be said.
func quoted(s string) string { return `"` + canvas.Truncate(voice(s), 40) + `"` }

func (t *teller) where(arg string) ([]string, error) {
	i, sorry := t.find(arg)
	if sorry != "" {
		return []string{sorry}, nil
	}
	return t.full(i), nil
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
	want := typed(voice(arg))
	var hits [3][]int32 // the whole name, its beginning, a part of it
	var names []string
	t.each(func(i int32, f *client.Fix, name string) {
		folded := typed(name)
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
			return fleet.Nobody, ambiguous(arg, hits, names)
		}
	}
	if !t.frame.Status.Loaded {
		return fleet.Nobody, "No device is called " + quoted(arg) + " yet; not all are here"
	}
	return fleet.Nobody, "No device is called " + quoted(arg)
}

func ambiguous(arg string, hits [3][]int32, names []string) string {
	if n := len(hits[0]); n > 1 {
		return fmt.Sprintf("%d devices are called %s; say the id of one", n, quoted(arg))
	}
	slices.Sort(names)
	return fmt.Sprintf("%s are called something like %s: %s; say more of the name",
		words.Plural(len(names), "device"), quoted(arg), words.All(names, namesMax, len(names)))
}

// near lists who is close to a place.
func (t *teller) near(arg string) ([]string, error) {
	at, self, sorry := t.placeOf(arg)
	if sorry != "" {
		return []string{sorry, "A large city will do as well, or a place such as 48.1,11.6"}, nil
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
		lines = append(lines, fmt.Sprintf("%s: %s, %v", n.name, apart(at, n.at, n.away), t.state(n.i)))
	}
	return lines, nil
}

// apart is how far and in which direction somebody is.
func apart(from, to geo.Point, away geo.Meters) string {
	if away < 1 {
		return "here"
	}
	return words.SpokenLength(away) + " " + words.Direction(geo.Bearing(from, to))
}

// placeOf is what somebody means by a place. self is the device that it is the place of.
func (t *teller) placeOf(arg string) (at geo.Point, self int32, sorry string) {
	if p, err := geo.ParsePoint(arg); err == nil {
		return p, fleet.Nobody, ""
	}
	for _, c := range world.Cities() {
		if typed(c.Name) == typed(arg) {
			return c.Pos.Point(), fleet.Nobody, ""
		}
	}
	i, sorry := t.find(arg)
	if sorry != "" {
		return at, i, sorry
	}
	fix, name, _ := t.store.Info(i)
	if !fix.HasPos() {
		return at, i, "Nobody knows where " + t.name(fix.Device, name) + " is"
	}
	return t.mask.Round(fix.At), i, ""
}

// who names who there is: those that want to be seen first.
func (t *teller) who(arg string) ([]string, error) {
	flt, sorry := t.parseFilter(arg)
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
		if line := t.brief(r.i); line != "" {
			lines = append(lines, line)
		}
	}
	if more := len(rows) - listMax; more > 0 {
		lines = append(lines, fmt.Sprintf("And %s more; a filter such as who state:lost leaves some out", words.Thousands(more)))
	}
	return lines, nil
}

func (t *teller) parseFilter(arg string) (f *filter.Filter, sorry string) {
	if arg == "" {
		return nil, ""
	}
	f, err := t.parse(arg)
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

// alerts tells who needs somebody, and since when.
func (t *teller) alerts(string) ([]string, error) {
	at := t.alarms()
	if len(at) == 0 {
		return []string{"No alerts"}, nil
	}
	slices.SortStableFunc(at, func(a, b int32) int {
		return -cmp.Compare(t.frame.Points[a].AlarmAt(), t.frame.Points[b].AlarmAt())
	})
	lines := []string{words.Plural(len(at), "alert")}
	for _, i := range at[:min(len(at), listMax)] {
		since := time.Duration(t.frame.At-t.frame.Points[i].AlarmAt()) * time.Millisecond
		lines = append(lines, t.brief(i)+", "+ago(since))
	}
	if more := len(at) - listMax; more > 0 {
		lines = append(lines, fmt.Sprintf("And %s more before", words.Thousands(more)))
	}
	return lines, nil
}

func (t *teller) follow(arg string) ([]string, error) {
	if arg == "" {
		return t.stop("")
	}
	i, sorry := t.find(arg)
	if sorry != "" {
		return []string{sorry}, nil
	}
	fix, _, _ := t.store.Info(i)
	t.followed = fix.Device
	t.told[i] = telling{of: fix.Device, at: t.store.Now(), seq: t.frame.Points[i].Seq} // which is the answer
	return []string{"Following " + t.brief(i)}, nil
}

// stop undoes follow and filter.
func (t *teller) stop(string) ([]string, error) {
	t.followed = 0
	return t.filterNews("")
}

func (t *teller) filterNews(arg string) ([]string, error) {
	flt, sorry := t.parseFilter(arg)
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
		return []string{"Nothing happened since the beginning"}, nil
	}
	var lines []string
	for i := range log[max(0, len(log)-nearMax):] {
		e := &log[max(0, len(log)-nearMax)+i]
		line := e.At.UTC().Format("15:04:05 ") + t.single(e)
		if e.Times > 1 && e.Device != 0 && !strings.Contains(line, " times") {
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
	open, n := t.store.Events().Alerting(), len(t.alarms()) // one may be a line for many
	t.store.Events().AckAll()
	t.hush(t.alarms())
	t.pending = slices.DeleteFunc(t.pending, func(h happening) bool { return h.Kind == fleet.LowBattery })
	if open == 0 {
		return []string{"All alerts are heard"}, nil
	}
	return []string{words.Plural(max(open, n), "alert") + " acknowledged"}, nil
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
	lines := []string{"Ask one of these; a letter or two will do, and so will the beginning of a name"}
	for _, v := range verbs() {
		lines = append(lines, strings.TrimSuffix(v.name+" "+v.args, " ")+": "+v.help)
	}
	return lines, nil
}

func (t *teller) quit(string) ([]string, error) { return nil, errQuit }
