package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const lockHead = `# What is on the wire, for ever: services, methods and updates by number, fields by
# slot, structs byte by byte. Made by rpcgen, which refuses a schema that breaks it.
# What is new is taken in with
#
#   scripts/generate -accept
#
# A line that is here stays. To get rid of a field, mark it deprecated; to change one,
# add another at the end of its table; to change a method, add another.
`

// locked is one service, enum, struct or table as rpc.lock has it.
type locked struct {
	kind, name, head string
	entries          []entry
}

// entry is a method, a value or a field.
type entry struct {
	id         int
	name, what string
	twice      bool // of a method: callers send it again when they have no answer
}

// idempotent stands behind what a method is. It is a promise and nothing on the wire.
const idempotent = ", idempotent"

// words says how people call the parts of a kind.
var words = map[string]struct{ entry, id string }{
	"service": {"method", "id"},
	"enum":    {"value", "number"},
	"struct":  {"field", "offset"},
	"table":   {"field", "slot"},
}

// lockOf is what has to stay of s.
func lockOf(s *Schema) []locked {
	var all []locked
	for _, svc := range s.Services {
		l := locked{kind: "service", name: svc.Name, head: strconv.Itoa(svc.ID)}
		for _, m := range svc.Methods {
			what := fmt.Sprintf("(%s): %s", m.Request.Name, m.Response.Name)
			if m.Event != nil {
				what += fmt.Sprintf(", update %d %s", m.EventID, m.Event.Name)
			}
			l.entries = append(l.entries, entry{m.ID, m.Name, what, m.Idempotent})
		}
		all = append(all, l)
	}
	for _, e := range s.Enums {
		l := locked{kind: "enum", name: e.Name, head: strings.ToLower(e.Base.String())}
		for _, v := range e.Values {
			l.entries = append(l.entries, entry{id: int(v.Value), name: v.Name})
		}
		all = append(all, l)
	}
	for _, o := range s.objects() {
		all = append(all, lockObject(o))
	}
	return all
}

func lockObject(o *Object) locked {
	l := locked{kind: o.kind(), name: o.Name}
	if o.Struct {
		l.head = fmt.Sprintf("%d bytes, aligned to %d", o.Size, o.Align)
	}
	for _, f := range o.Fields {
		e := entry{id: f.Slot, name: f.Name, what: f.Type.String()}
		if o.Struct {
			e.id = f.Offset
		} else if f.Default != "" && !f.Type.Vector {
			e.what += " = " + f.Default
		}
		if f.Required {
			e.what += " required"
		}
		l.entries = append(l.entries, e)
	}
	return l
}

func lockText(all []locked) []byte {
	var t text
	t.WriteString(lockHead)
	for _, l := range all {
		t.p("\n%s", strings.TrimSpace(l.kind+" "+l.name+" "+l.head))
		for _, e := range l.entries {
			what := e.what
			if e.twice {
				what += idempotent
			}
			t.p("  %s", strings.TrimSpace(fmt.Sprintf("%d %s %s", e.id, e.name, what)))
		}
	}
	return t.Bytes()
}

// wireHash is a number for everything that rpc.lock would say of what is on the wire.
func wireHash(s *Schema) uint64 {
	all := lockOf(s)
	for _, l := range all {
		for i := range l.entries {
			l.entries[i].twice = false
		}
	}
	sum := sha256.Sum256(lockText(all))
	return binary.LittleEndian.Uint64(sum[:])
}

func parseLock(b []byte) ([]locked, error) {
	var all []locked
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		words := strings.SplitN(strings.TrimSpace(line), " ", 3)
		words = append(words, "", "")
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		case !strings.HasPrefix(line, " "):
			all = append(all, locked{kind: words[0], name: words[1], head: words[2]})
		default:
			id, err := strconv.Atoi(words[0])
			if err != nil || len(all) == 0 {
				return nil, fmt.Errorf("read rpc.lock: line %d: %q is not an entry", n, line)
			}
			last := &all[len(all)-1]
			what, twice := words[2], false
			if last.kind == "service" {
				what, twice = strings.CutSuffix(what, idempotent)
			}
			last.entries = append(last.entries, entry{id, words[1], what, twice})
		}
	}
	return all, lines.Err()
}

// compareLocks returns what now has that old has not; the error is what it breaks.
func compareLocks(old, now []locked) (added []string, broken error) {
	c := &comparison{}
	for _, was := range old {
		if is := findLocked(now, was.kind, was.name); is != nil {
			c.compare(was, *is)
			continue
		}
		c.breaks("%s %s is gone: put it back. What was on the wire once may come again from somebody older", was.kind, was.name)
	}
	for _, is := range now {
		if findLocked(old, is.kind, is.name) == nil {
			c.added = append(c.added, is.kind+" "+is.name)
		}
	}
	return c.added, errors.Join(c.errs...)
}

func findLocked(all []locked, kind, name string) *locked {
	i := slices.IndexFunc(all, func(l locked) bool { return l.kind == kind && l.name == name })
	if i < 0 {
		return nil
	}
	return &all[i]
}

type comparison struct {
	errs  []error
	added []string
}

func (c *comparison) breaks(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *comparison) compare(was, is locked) {
	at := was.kind + " " + was.name
	if was.head != is.head {
		c.breaks("%s was %q and is %q: put it back", at, was.head, is.head)
	}
	w := words[was.kind]
	for _, e := range was.entries {
		i := slices.IndexFunc(is.entries, func(x entry) bool { return x.name == e.name })
		switch {
		case i < 0:
			c.gone(at, w.entry, w.id, e, is)
		case is.entries[i].id != e.id:
			c.breaks("%s: %s %q moved from %s %d to %d: put it back%s", at, w.entry, e.name, w.id, e.id, is.entries[i].id, orderHint(was.kind))
		case is.entries[i].what != e.what:
			c.breaks("%s: %s %q was %q and is %q: put it back, and add another %s", at, w.entry, e.name, e.what, is.entries[i].what, w.entry)
		case e.twice && !is.entries[i].twice:
			c.breaks("%s: %s %q was idempotent and is not: put it back, and add another %s; whoever is older sends it again when no answer comes", at, w.entry, e.name, w.entry)
		case !e.twice && is.entries[i].twice:
			c.added = append(c.added, fmt.Sprintf("%s: %s %q is idempotent", at, w.entry, e.name))
		}
	}
	c.compareNew(at, was, is)
}

func orderHint(kind string) string {
	if kind == "table" {
		return "; new fields go to the end of their table"
	}
	return ""
}

func (c *comparison) gone(at, word, id string, e entry, is locked) {
	i := slices.IndexFunc(is.entries, func(x entry) bool { return x.id == e.id })
	hint := "put it back"
	if word == "field" {
		hint += ", and mark it (deprecated) if nobody needs it"
	}
	if i >= 0 {
		c.breaks("%s: %s %q is gone, and %q has its %s %d: %s; nothing is renamed and no %s used again", at, word, e.name, is.entries[i].name, id, e.id, hint, id)
		return
	}
	c.breaks("%s: %s %q (%s %d) is gone: %s", at, word, e.name, id, e.id, hint)
}

func (c *comparison) compareNew(at string, was, is locked) {
	w := words[was.kind]
	for _, e := range is.entries {
		if slices.ContainsFunc(was.entries, func(x entry) bool { return x.name == e.name }) {
			continue
		}
		switch {
		case was.kind == "struct":
			c.breaks("%s: field %q is new: structs never change; use a table, or another struct", at, e.name)
		case was.kind == "table" && strings.HasSuffix(e.what, " required"):
			c.breaks("%s: field %q is new and required: nobody older sends it; say what its absence means", at, e.name)
		default:
			c.added = append(c.added, fmt.Sprintf("%s: %s %q (%s %d)", at, w.entry, e.name, w.id, e.id))
		}
	}
}
