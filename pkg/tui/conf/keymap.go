package conf

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"tracker/pkg/tui/canvas"
)

// Action is something that a key can do.
type Action struct {
	Name    string   // for the file of settings and the palette
	Help    string   // a row of the help; an action without it is told by the next one that has it
	Hint    string   // one word for the line at the bottom, if it belongs there
	Rank    int      // the higher the sooner the hint makes room
	Default []string // keys, as the terminal names them
}

// Keymap says which key does what. It is immutable.
type Keymap struct {
	actions []Action
	keys    map[string][]string // by action
	action  map[string]string   // by key
	rows    []Row               // a line of hints is made of them in every frame
}

// quit is the action that has to have a key: nobody should be caught.
const quit = "quit"

// NewKeymap gives every action its default keys.
func NewKeymap(actions []Action) (*Keymap, error) { return (&Config{}).Keymap(actions) }

// Keymap gives every action its keys: those of the settings, or its own. It reports
// every mistake at once. Load has done it already.
func (c *Config) Keymap(actions []Action) (*Keymap, error) {
	k, mistakes := c.keymap(actions)
	if err := joined(c.file(), mistakes); err != nil {
		return nil, err
	}
	return k, nil
}

func (c *Config) file() string {
	if c.from == nil {
		return ""
	}
	return c.from.file
}

func (c *Config) keymap(actions []Action) (*Keymap, []*Mistake) {
	k := &Keymap{actions: actions, keys: map[string][]string{}, action: map[string]string{}}
	var wrong []*Mistake
	for _, a := range actions {
		if _, twice := k.keys[a.Name]; twice {
			wrong = append(wrong, &Mistake{Msg: "action " + quoted(a.Name) + " is there twice"})
		}
		keys, set := c.Keys[a.Name]
		if !set {
			keys = a.Default
		}
		k.keys[a.Name] = keys
	}
	wrong = append(wrong, c.unknownActions(k)...)
	wrong = append(wrong, c.wrongKeys(k)...)
	wrong = append(wrong, c.bind(k)...)
	if keys, is := k.keys[quit]; is && len(keys) == 0 {
		wrong = append(wrong, c.from.mistake("no key quits: bind "+quoted(quit)+" to one", "keys", quit))
	}
	k.rows = k.tell()
	return k, wrong
}

func (c *Config) unknownActions(k *Keymap) (wrong []*Mistake) {
	for _, name := range sortedKeys(c.Keys) {
		if _, known := k.keys[name]; !known {
			wrong = append(wrong, c.from.mistake("no action is called "+quoted(name)+guess(name, sortedKeys(k.keys)), "keys", name))
		}
	}
	return wrong
}

func (c *Config) wrongKeys(k *Keymap) (wrong []*Mistake) {
	for _, name := range sortedKeys(k.keys) {
		for i, key := range k.keys[name] {
			if msg := wrongKey(key); msg != "" {
				wrong = append(wrong, c.from.mistake("key "+quoted(key)+msg, "keys", name, strconv.Itoa(i)))
			}
		}
	}
	return wrong
}

// bind says which key does what. Where two actions want one key, the mistake is with the
// one of them that was set, since defaults do not clash.
func (c *Config) bind(k *Keymap) (wrong []*Mistake) {
	clash := func(key, name, other string, i int) {
		msg := fmt.Sprintf("key %s is bound to %s", quoted(key), quoted(other, name))
		if other == name {
			msg = fmt.Sprintf("key %s is there twice", quoted(key))
		} else if _, set := c.Keys[other]; !set {
			msg += "; " + quoted(other) + " has it unless it is given others"
		}
		wrong = append(wrong, c.from.mistake(msg, "keys", name, strconv.Itoa(i)))
	}
	bindAll := func(set bool) {
		for _, a := range k.actions {
			if _, its := c.Keys[a.Name]; its != set {
				continue
			}
			for i, key := range k.keys[a.Name] {
				if other, taken := k.action[key]; taken {
					clash(key, a.Name, other, i)
					continue
				}
				k.action[key] = a.Name
			}
		}
	}
	bindAll(false)
	bindAll(true)
	return wrong
}

// Names of keys that are not letters, as terminals' drivers write them.
var keyNames = append(strings.Fields("enter tab backspace esc space up down left right begin insert delete home end pgup pgdown"), functionKeys()...)

func functionKeys() (names []string) {
	for i := range 24 {
		names = append(names, "f"+strconv.Itoa(i+1))
	}
	return names
}

// otherNames are what people may call a key that has a name here.
var otherNames = map[string]string{
	" ": "space", "escape": "esc", "return": "enter", "pageup": "pgup", "pagedown": "pgdown",
	"page-up": "pgup", "page-down": "pgdown", "del": "delete", "ins": "insert", "bs": "backspace",
	"arrow-up": "up", "arrow-down": "down", "arrow-left": "left", "arrow-right": "right",
}

// sameByte are keys that send what another key sends, as terminals have always done.
var sameByte = map[string]string{"ctrl+i": "tab", "ctrl+m": "enter", "ctrl+[": "esc"}

var modifiers = []string{"ctrl+", "alt+", "shift+", "meta+", "hyper+", "super+"}

// wrongKey is what to say of the name of a key that no terminal sends. It is empty if
// one does.
func wrongKey(key string) string {
	rest, mods := key, ""
	for _, m := range modifiers {
		if r, ok := strings.CutPrefix(rest, m); ok && r != "" {
			rest, mods = r, mods+m
		}
	}
	r, n := utf8.DecodeRuneInString(rest)
	letter := n == len(rest) && n > 0
	switch {
	case sameByte[key] != "":
		return " is " + quoted(sameByte[key]) + " to a terminal"
	case otherNames[rest] != "":
		return ": want " + quoted(mods+otherNames[rest])
	case letter && mods == "shift+":
		return ": want what it makes, such as " + quoted(strings.ToUpper(rest))
	case letter && mods != "" && strings.ToLower(rest) != rest:
		return ": want " + quoted(mods+strings.ToLower(rest))
	case letter && r != utf8.RuneError && canvas.RuneWidth(r) > 0, slices.Contains(keyNames, rest):
		return ""
	case slices.Contains(modifiers, rest):
		return " has no key after " + quoted(rest)
	case slices.ContainsFunc(modifiers, func(m string) bool { return strings.HasPrefix(rest, m) }):
		return ": modifiers come once and in the order ctrl+alt+shift+"
	}
	return " is none" + guess(rest, slices.Concat(keyNames, modifiers))
}

// Action is what a key does.
func (k *Keymap) Action(key string) (name string, ok bool) {
	name, ok = k.action[key]
	return name, ok
}

// Keys are the keys of an action, the one to name first.
func (k *Keymap) Keys(name string) []string { return k.keys[name] }

// Row is a line of the help: some actions that are told together.
type Row struct {
	Label   string // the keys: "hjkl ←↓↑→", "+/-", "ctrl+l"
	Help    string
	Hint    string
	Rank    int
	Actions []string
}

// Rows are the lines of the help, in the order of the actions. Actions without keys
// are not in them. They belong to the Keymap.
func (k *Keymap) Rows() []Row { return slices.Clip(k.rows) }

func (k *Keymap) tell() (rows []Row) {
	for told := range k.told() {
		a := told[len(told)-1]
		var names []string
		for _, t := range told {
			if len(k.keys[t.Name]) > 0 {
				names = append(names, t.Name)
			}
		}
		if len(names) > 0 {
			rows = append(rows, Row{k.label(names), a.Help, a.Hint, a.Rank, names})
		}
	}
	return rows
}

// told yields the actions that are told together: some without help, and one with it.
func (k *Keymap) told() iter.Seq[[]Action] {
	return func(yield func([]Action) bool) {
		from := 0
		for i, a := range k.actions {
			if a.Help == "" {
				continue
			}
			if !yield(k.actions[from : i+1]) {
				return
			}
			from = i + 1
		}
	}
}

var arrows = map[string]string{"left": "←", "down": "↓", "up": "↑", "right": "→"}

// label writes the first keys of some actions, and their arrows if all have one.
func (k *Keymap) label(names []string) string {
	var first, arrow []string
	for _, name := range names {
		keys := k.keys[name]
		first = append(first, keys[0])
		if i := slices.IndexFunc(keys[1:], func(key string) bool { return arrows[key] != "" }); i >= 0 {
			arrow = append(arrow, arrows[keys[1+i]])
		}
	}
	label := joinedKeys(first)
	if len(arrow) == len(names) {
		label += " " + strings.Join(arrow, "")
	}
	return label
}

func joinedKeys(keys []string) string {
	long := slices.ContainsFunc(keys, func(key string) bool { return utf8.RuneCountInString(key) > 1 })
	if len(keys) > 2 && !long {
		return strings.Join(keys, "")
	}
	return strings.Join(keys, "/")
}
