package conf

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Action is something that a key can do.
type Action struct {
	Name    string   // for the file of settings and the palette
	Help    string   // a row of the help; an action without it is told by the next one that has it
	Hint    string   // one word for the line at the bottom, if it belongs there
	Group   string   // heading of the help
	Rank    int      // the higher the sooner the hint makes room
	Default []string // keys, as the terminal names them
}

// Keymap says which key does what. It is immutable.
type Keymap struct {
	actions []Action
	keys    map[string][]string // by action
	action  map[string]string   // by key
}

// NewKeymap gives every action its default keys.
func NewKeymap(actions []Action) (*Keymap, error) { return (&Config{}).Keymap(actions) }

// Keymap gives every action its keys: those of the settings, or its own. It reports
// every mistake at once.
func (c *Config) Keymap(actions []Action) (*Keymap, error) {
	k := &Keymap{actions: actions, keys: map[string][]string{}, action: map[string]string{}}
	var mistakes []error
	for _, a := range actions {
		keys, set := c.Keys[a.Name]
		if !set {
			keys = a.Default
		}
		if _, twice := k.keys[a.Name]; twice {
			mistakes = append(mistakes, &Mistake{Msg: "action " + quoted([]string{a.Name}) + " is there twice"})
		}
		k.keys[a.Name] = keys
		mistakes = append(mistakes, k.bind(a.Name, keys)...)
	}
	for name := range c.Keys {
		if _, known := k.keys[name]; !known {
			mistakes = append(mistakes, &Mistake{Msg: "no action is called " + quoted([]string{name})})
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return k, nil
}

func (k *Keymap) bind(name string, keys []string) (mistakes []error) {
	for _, key := range keys {
		if other, taken := k.action[key]; taken {
			mistakes = append(mistakes, &Mistake{Msg: "key " + quoted([]string{key}) + " is bound to " + quoted([]string{other, name})})
			continue
		}
		k.action[key] = name
	}
	return mistakes
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
	Group   string
	Rank    int
	Actions []string
}

// Rows are the lines of the help, in the order of the actions. Actions without keys
// are not in them.
func (k *Keymap) Rows() []Row {
	var rows []Row
	var names []string
	for _, a := range k.actions {
		if len(k.keys[a.Name]) > 0 {
			names = append(names, a.Name)
		}
		if a.Help == "" {
			continue
		}
		if len(names) > 0 {
			rows = append(rows, Row{k.label(names), a.Help, a.Hint, a.Group, a.Rank, names})
		}
		names = nil
	}
	return rows
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
	label := joined(first)
	if len(arrow) == len(names) {
		label += " " + strings.Join(arrow, "")
	}
	return label
}

func joined(keys []string) string {
	long := slices.ContainsFunc(keys, func(key string) bool { return utf8.RuneCountInString(key) > 1 })
	if len(keys) > 2 && !long {
		return strings.Join(keys, "")
	}
	return strings.Join(keys, "/")
}

// Schema is the JSON schema of a file of settings. There is none so far.
func Schema([]Action) []byte { return nil }
