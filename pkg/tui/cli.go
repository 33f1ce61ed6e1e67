package tui

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// CLI is what the palette can be told besides the map's own words: the commands of the
// program that shows the map, with the words and flags that they have in a shell.
type CLI struct {
	Verbs []Verb
	// Run runs a command and writes what it says to out. It ends soon after ctx is done,
	// or after a write has failed. What went wrong is an error that is shown as it is,
	// line by line. Several may run at a time: one that was told to stop may take a moment.
	Run func(ctx context.Context, words []string, out io.Writer) error
}

// Verb is a command, or a word with others below it.
type Verb struct {
	Name   string
	Args   string // what follows it: DEVICE NAME, or MAP DEVICE...
	Help   string // one line
	Flags  []Flag
	Verbs  []Verb
	Not    string // why it is not run from the map; empty if it is
	Public bool   // tells nothing of devices, and so may be shown while those are masked
}

// Flag is an option of a command.
type Flag struct {
	Name  string // without its dashes
	Value string // what it takes; empty if it takes nothing
	Help  string
}

// verbNamed is one of a list, or nil.
func verbNamed(all []Verb, name string) *Verb {
	if i := slices.IndexFunc(all, func(v Verb) bool { return v.Name == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

// verb is a command at the top, or nil. A nil CLI has none.
func (c *CLI) verb(name string) *Verb {
	if c == nil {
		return nil
	}
	return verbNamed(c.Verbs, name)
}

// find follows words down to a command. left are those that it is given.
func (c *CLI) find(words []string) (v *Verb, left []string) {
	if c == nil {
		return nil, words
	}
	at := c.Verbs
	for i, word := range words {
		next := verbNamed(at, word)
		if next == nil {
			return v, words[i:]
		}
		v, at = next, next.Verbs
	}
	return v, nil
}

// check tells what is wrong with words before anything is run.
func (c *CLI) check(words []string) (*Verb, error) {
	v, left := c.find(words)
	for i := range words[:len(words)-len(left)] {
		if on, _ := c.find(words[:i+1]); on.Not != "" {
			return nil, fmt.Errorf("%s: %s", on.Name, on.Not)
		}
	}
	if len(v.Verbs) > 0 && len(left) > 0 && !strings.HasPrefix(left[0], "-") {
		return nil, unknown(v.Name+" has no", left[0], namesOf(v.Verbs))
	}
	return v, nil
}

// namesOf are the names of verbs that can be run.
func namesOf(all []Verb) []string {
	var names []string
	for _, v := range all {
		if v.Not == "" {
			names = append(names, v.Name)
		}
	}
	return names
}

// usage is a verb with what follows it.
func (v *Verb) usage() string {
	switch {
	case len(v.Verbs) > 0:
		return v.Name + " " + strings.Join(namesOf(v.Verbs), "|")
	case v.Args != "":
		return v.Name + " " + v.Args
	}
	return v.Name
}

// flag is the flag that a word is, or nil.
func (v *Verb) flag(word string) *Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if !strings.HasPrefix(word, "-") {
		return nil
	}
	if i := slices.IndexFunc(v.Flags, func(f Flag) bool { return f.Name == name }); i >= 0 {
		return &v.Flags[i]
	}
	return nil
}

// pending is the flag whose value comes next, or nil; and how many arguments came before.
func (v *Verb) pending(left []string) (f *Flag, args int) {
	for _, word := range left {
		switch {
		case f != nil:
			f = nil
		case strings.HasPrefix(word, "-"):
			if f = v.flag(word); f != nil && (f.Value == "" || strings.Contains(word, "=")) {
				f = nil
			}
		default:
			args++
		}
	}
	return f, args
}

// argument is what the argument of a number is called; empty if there is none.
func (v *Verb) argument(n int) string {
	names := strings.Fields(v.Args)
	if last := len(names) - 1; n > last && last >= 0 && strings.HasSuffix(names[last], "...") {
		n = last
	}
	if n >= len(names) {
		return ""
	}
	return strings.TrimSuffix(names[n], "...")
}

// typedWords is a line as a shell would take it: blanks part words, quotes hold them
// together, and a backslash takes the meaning of what follows, but not within '.
type typedWords struct {
	words []string // those that are complete
	last  string   // the one that is being typed, if the line does not end between two
	begun bool     // there is such a one
	quote rune     // that still holds it together; 0 if none does
}

func splitLine(line string) typedWords {
	var t typedWords
	var b strings.Builder
	escaped := false
	for _, r := range line {
		switch {
		case escaped:
			escaped = false
			b.WriteRune(r)
		case r == '\\' && t.quote != '\'':
			escaped, t.begun = true, true
		case t.quote != 0 && r == t.quote:
			t.quote = 0
		case t.quote != 0:
			b.WriteRune(r)
		case r == '\'' || r == '"':
			t.quote, t.begun = r, true
		case unicode.IsSpace(r):
			if t.begun {
				t.words, t.begun = append(t.words, b.String()), false
				b.Reset()
			}
		default:
			t.begun = true
			b.WriteRune(r)
		}
	}
	t.last = b.String()
	return t
}

// all are the words of a line that is complete.
func (t typedWords) all() ([]string, error) {
	switch {
	case t.quote != 0:
		return nil, fmt.Errorf("there is no second %c", t.quote)
	case t.begun:
		return append(t.words, t.last), nil
	}
	return t.words, nil
}
