package conf

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"tracker/pkg/filter"
	"tracker/pkg/tui/look"
)

// setting is one thing that can be set: how it is read, printed and described.
type setting struct {
	path  []string
	help  string
	read  func(*document, value)
	print func(*Config) string // as TOML
	shape map[string]any       // of the schema
}

// settings are all that have a name of their own. Below the tables filters, keys and
// themes people, or actions, give the names. Those at the top come first: TOML has it so.
var settings = makeSettings()

func makeSettings() []setting {
	return []setting{
		choice("theme", "Colours: "+list(look.Names)+", or a theme of your own, see [themes].", nil,
			func(c *Config) *string { return &c.Theme }),
		choice("glyphs", "What the font is trusted with: "+list(look.GlyphNames)+".", look.GlyphNames,
			func(c *Config) *string { return &c.Glyphs }),
		choice("layout", "Panes: "+list(layouts)+"; auto is what fits.", layouts,
			func(c *Config) *string { return &c.Layout }),
		number("fps", "Frames a second at most, 1 to 30. A slow link has fewer.", 1, 30,
			func(c *Config) *int { return &c.FPS }),
		span("stale", "A device that has been silent for so long is stale.", time.Second, year,
			func(c *Config) *time.Duration { return &c.Stale }),
		span("lost", "And after so long it is lost.", time.Second, year,
			func(c *Config) *time.Duration { return &c.Lost }),
		choice("colour", "What colours tell at the start: "+list(colours)+".", colours,
			func(c *Config) *string { return &c.Colour }),
		choice("trails", "Whose trails are drawn at the start: "+list(trails)+".", trails,
			func(c *Config) *string { return &c.Trails }),
		{
			path: []string{"mouse"}, help: "Take the mouse: drag, wheel and click. false leaves it to the terminal.",
			read:  func(d *document, v value) { d.truth(v, &d.config.Mouse) },
			print: func(c *Config) string { return strconv.FormatBool(c.Mouse) },
			shape: map[string]any{"type": "boolean"},
		},
		{
			path: []string{"overlays"}, help: "GeoJSON files to draw on the map, beside this file if their names are not absolute.",
			read:  func(d *document, v value) { d.overlays(v) },
			print: func(c *Config) string { return tomlList(c.Overlays) },
			shape: map[string]any{"type": "array", "items": map[string]any{"type": "string", "minLength": 1}, "maxItems": maxOverlays},
		},
		{
			path: []string{"open"}, help: "What the key of \"open\" leads to, with {lat} {lon} {z} {id}: \"https://example.org/#{z}/{lat}/{lon}\".",
			read:  func(d *document, v value) { d.template(v) },
			print: func(c *Config) string { return tomlString(c.Open) },
			shape: map[string]any{"type": "string", "pattern": "^(https?://.*)?$"},
		},
		span("time.step", "How far one step goes back or forward in time.", time.Second, 24*time.Hour,
			func(c *Config) *time.Duration { return &c.Time.Step }),
		number("battery.low", "Percent below which a battery is low, 1 to 99.", 1, 99,
			func(c *Config) *int { return &c.Battery.Low }),
	}
}

var (
	colours = colourNames()
	layouts = []string{"auto", "panes", "compact", "list"}
	trails  = []string{"selected", "all", "off"}
)

const (
	year        = 365 * 24 * time.Hour
	maxOverlays = 32
)

func colourNames() (names []string) {
	for c := range look.Colours {
		names = append(names, c.String())
	}
	return names
}

func list(names []string) string {
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// choice is a setting that takes one of some names; nil leaves it to check.
func choice(path, help string, of []string, field func(*Config) *string) setting {
	shape := map[string]any{"type": "string"}
	if of != nil {
		shape["enum"] = of
	}
	return setting{
		path: strings.Split(path, "."), help: help, shape: shape,
		read:  func(d *document, v value) { d.oneOf(v, of, field(d.config)) },
		print: func(c *Config) string { return tomlString(*field(c)) },
	}
}

func number(path, help string, least, most int, field func(*Config) *int) setting {
	return setting{
		path: strings.Split(path, "."), help: help,
		read:  func(d *document, v value) { d.number(v, least, most, field(d.config)) },
		print: func(c *Config) string { return strconv.Itoa(*field(c)) },
		shape: map[string]any{"type": "integer", "minimum": least, "maximum": most},
	}
}

func span(path, help string, least, most time.Duration, field func(*Config) *time.Duration) setting {
	return setting{
		path: strings.Split(path, "."), help: help,
		read:  func(d *document, v value) { d.span(v, least, most, field(d.config)) },
		print: func(c *Config) string { return tomlString(short(*field(c))) },
		shape: map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]*)?(h|m|s|ms))+$`},
	}
}

// short is a time without the zeros that time.Duration writes: "2m", not "2m0s".
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// find is the setting of a path, or nil.
func find(path []string) *setting {
	for i := range settings {
		if slices.Equal(settings[i].path, path) {
			return &settings[i]
		}
	}
	return nil
}

// free tells whether the names below a table are people's, or actions'.
func free(path []string) bool {
	return len(path) == 1 && (path[0] == "filters" || path[0] == "keys" || path[0] == "themes")
}

// isTable tells whether a path has settings below it.
func isTable(path []string) bool {
	if free(path) || len(path) == 2 && path[0] == "themes" {
		return true
	}
	return slices.ContainsFunc(settings, func(s setting) bool {
		return len(s.path) > len(path) && slices.Equal(s.path[:len(path)], path)
	})
}

// below are the names that may follow a path.
func below(path []string) (names []string) {
	if len(path) == 0 {
		names = []string{"filters", "keys", "themes"}
	}
	for _, s := range settings {
		if len(s.path) > len(path) && slices.Equal(s.path[:len(path)], path) {
			names = append(names, s.path[len(path)])
		}
	}
	return names
}

// kinds are the kinds of values, in the words of messages.
var kinds = map[unstable.Kind]string{
	unstable.Array: "a list", unstable.InlineTable: "a table", unstable.String: "a string",
	unstable.Bool: "true or false", unstable.Float: "a number with a point", unstable.Integer: "a number",
	unstable.LocalDate: "a date", unstable.LocalTime: "a time of day", unstable.LocalDateTime: "a date", unstable.DateTime: "a date",
}

// is holds a value against the kind that is wanted.
func (d *document) is(v value, kind unstable.Kind, want string) bool {
	if v.kind != kind {
		d.fault(v.at, "want %s, not %s", want, kinds[v.kind])
	}
	return v.kind == kind
}

func (d *document) text(v value) (string, bool) {
	return v.text, d.is(v, unstable.String, kinds[unstable.String])
}

func (d *document) truth(v value, to *bool) {
	if d.is(v, unstable.Bool, kinds[unstable.Bool]) {
		*to = v.text == "true"
	}
}

func (d *document) oneOf(v value, of []string, to *string) {
	name, ok := d.text(v)
	if !ok {
		return
	}
	if of != nil && !slices.Contains(of, name) {
		d.fault(v.at, "%s is not one of %s%s", quoted(name), strings.Join(of, ", "), guess(name, of))
		return
	}
	*to = name
}

func (d *document) number(v value, least, most int, to *int) {
	if !d.is(v, unstable.Integer, "a whole number") {
		return
	}
	n, err := strconv.ParseInt(v.text, 0, 64)
	if err != nil || n < int64(least) || n > int64(most) {
		d.fault(v.at, "%s is not in %d..%d", v.text, least, most)
		return
	}
	*to = int(n)
}

func (d *document) span(v value, least, most time.Duration, to *time.Duration) {
	if !d.is(v, unstable.String, `a time such as "90s" or "15m"`) {
		return
	}
	t, err := time.ParseDuration(v.text)
	if err != nil {
		d.fault(v.at, `%s is not a time such as "90s" or "15m"`, quoted(v.text))
		return
	}
	if t < least || t > most {
		d.fault(v.at, "%s is not in %s..%s", quoted(v.text), short(least), short(most))
		return
	}
	*to = t
}

// texts is a list of strings that say something, or one that stands for a list of one.
func (d *document) texts(v value, want string) ([]value, bool) {
	if v.kind == unstable.String {
		v = value{list: []value{v}}
	} else if !d.is(v, unstable.Array, want) {
		return nil, false
	}
	ok := true
	for _, item := range v.list {
		if text, is := d.text(item); !is {
			ok = false
		} else if text == "" {
			d.fault(item.at, "an empty string is nothing here")
			ok = false
		}
	}
	return v.list, ok
}

func (d *document) overlays(v value) {
	items, ok := d.texts(v, "a list of files")
	if !ok {
		return
	}
	if len(items) > maxOverlays {
		d.fault(items[maxOverlays].at, "more than %d overlays", maxOverlays)
		return
	}
	d.config.Overlays = nil
	for _, item := range items {
		file, err := d.resolve(item.text)
		if err != nil {
			d.fault(item.at, "%s: %v", quoted(item.text), err)
			continue
		}
		d.config.Overlays = append(d.config.Overlays, file)
	}
}

// resolve finds a file that is named in the file of settings: from there, or from the
// home directory.
func (d *document) resolve(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", errors.New("no file can be called that")
	}
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, err := os.UserHomeDir()
		return filepath.Join(home, rest), err
	}
	if filepath.IsAbs(name) {
		return filepath.Clean(name), nil
	}
	file := filepath.Join(filepath.Dir(d.config.from.file), name)
	if strings.HasPrefix(file, "~/") {
		file = "./" + file // a directory of that name: printed, it must not read as home
	}
	return file, nil
}

var places = regexp.MustCompile(`\{[^{}]*\}`)

func (d *document) template(v value) {
	text, ok := d.text(v)
	if !ok {
		return
	}
	for _, at := range places.FindAllStringIndex(text, -1) {
		if p := text[at[0]:at[1]]; !slices.Contains([]string{"{lat}", "{lon}", "{z}", "{id}"}, p) {
			d.fault(v.inside(at[0]), "%s is not one of {lat}, {lon}, {z}, {id}", quoted(p))
			return
		}
	}
	u, err := url.Parse(places.ReplaceAllString(text, "1"))
	if text != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		d.fault(v.at, "%s is not an address such as \"https://example.org/#{z}/{lat}/{lon}\"", quoted(text))
		return
	}
	d.config.Open = text
}

// inside is where a byte of a string is in the file, as well as that can be told.
func (v value) inside(i int) int {
	if !v.same {
		return v.at
	}
	return v.at + 1 + i
}

func (d *document) setFilter(key []part, v value) {
	text, ok := d.text(v)
	if !d.named(key[1]) || !ok {
		return
	}
	f, err := filter.Parse(text)
	if err != nil {
		at, msg := v.at, err.Error()
		var wrong *filter.Error
		if errors.As(err, &wrong) {
			at, msg = v.inside(wrong.At), said(wrong)
		}
		d.fault(at, "filter: %s", msg)
		return
	}
	if all := refs(text); len(all) > 0 {
		d.fault(v.inside(all[0].at), "filter: one that has a name cannot name another")
		return
	}
	if f.Uses()&filter.Registry != 0 {
		d.fault(v.at, "filter: status and alarm are in the registry, and not on the map")
		return
	}
	put(&d.config.Filters, key[1].name, text)
}

// said is a mistake in a filter without its quotation: the file is its quotation.
func said(e *filter.Error) string {
	if e.Want == "" {
		return e.Msg
	}
	return fmt.Sprintf("%s: want %s", e.Msg, e.Want)
}

func (d *document) setKeys(key []part, v value) {
	action := key[1].name
	d.config.from.note(key[1].at, "keys", action)
	items, ok := d.texts(v, "a key or a list of keys")
	if !ok {
		return
	}
	keys := []string{} // an empty list takes all keys away
	for i, item := range items {
		d.config.from.note(item.at, "keys", action, strconv.Itoa(i))
		keys = append(keys, item.text)
	}
	put(&d.config.Keys, action, keys)
}

func (d *document) setStyle(key []part, v value) {
	text, ok := d.text(v)
	if !ok || !d.begin(key[:2]) {
		return
	}
	d.config.from.note(v.at, names(key)...)
	d.config.from.note(key[2].at, "themes", key[1].name, key[2].name, "key")
	d.config.Themes[key[1].name][key[2].name] = text
}

// check holds settings against each other, once all are known.
func (d *document) check() {
	c := d.config
	if c.Lost < c.Stale {
		about := "stale"
		if _, set := c.from.offset("lost"); set {
			about = "lost"
		}
		d.mistakes = append(d.mistakes, c.from.mistake(fmt.Sprintf("lost %q comes before stale %q", short(c.Lost), short(c.Stale)), about))
	}
	for name := range c.Themes {
		_, wrong := c.theme(name)
		for _, w := range wrong {
			d.mistakes = append(d.mistakes, c.from.mistake(w.msg, w.path...))
		}
	}
	all := slices.Concat(look.Names, sortedKeys(c.Themes))
	if !slices.Contains(all, c.Theme) {
		msg := fmt.Sprintf("theme %s is not one of %s%s", quoted(c.Theme), strings.Join(all, ", "), guess(c.Theme, all))
		d.mistakes = append(d.mistakes, c.from.mistake(msg, "theme"))
	}
}
