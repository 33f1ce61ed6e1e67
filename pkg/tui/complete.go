package tui

import (
	"slices"
	"strings"
)

// offers are completions for what is typed: of the word before the cursor, given what is
// before it.
func (s *screen) offers() func(before, word string) []string {
	switch s.prompt.purpose {
	case forFilter:
		return func(before, word string) []string { return behind(before, s.filtersLike(before+word)) }
	case forCommand:
		return s.offered
	case forPlace:
		return func(before, word string) []string { return behind(before, s.placesLike(before+word)) }
	}
	return func(string, string) []string { return nil }
}

// behind is what follows a beginning that all have.
func behind(beginning string, all []string) []string {
	out := make([]string, len(all))
	for i, text := range all {
		out[i] = text[len(beginning):]
	}
	return out
}

// offered are completions for the palette.
func (s *screen) offered(before, word string) []string {
	name, typed, argument := strings.Cut(strings.TrimLeft(before+word, " "), " ")
	if !argument {
		return thatBegin(s.paletteNames(), word)
	}
	own := ownVerb(name)
	if own == nil {
		return s.offeredCLI(before, word)
	}
	typed = strings.TrimLeft(typed, " ")
	if own.offers == nil || len(word) > len(typed) {
		return nil
	}
	return behind(typed[:len(typed)-len(word)], own.offers(s, typed))
}

// offeredCLI are completions for a command of the program: verbs, flags, and values as far
// as the map knows them.
func (s *screen) offeredCLI(before, word string) []string {
	now, head := splitLine(before+word), splitLine(before)
	v, left := s.cli().find(now.words)
	if v == nil || v.Not != "" {
		return nil
	}
	if flag, value, ok := strings.Cut(now.last, "="); ok && v.flag(flag) != nil {
		return behind(head.last, prefixed(flag+"=", s.values(v.flag(flag).Value, value)))
	}
	pending, args := v.pending(left)
	switch {
	case pending != nil:
		return now.quoted(head.last, pending.Value, s.values(pending.Value, now.last))
	case strings.HasPrefix(now.last, "-"):
		return thatBegin(flagsOf(v), now.last)
	case len(v.Verbs) > 0:
		return thatBegin(namesOf(v.Verbs), now.last)
	}
	if v.argument(args) == "COMMAND" {
		all := s.cli().Verbs
		if on, _ := s.cli().find(left); on != nil {
			all = on.Verbs
		}
		return thatBegin(namesOf(all), now.last)
	}
	found := now.quoted(head.last, v.argument(args), s.values(v.argument(args), now.last))
	if now.last == "" {
		found = append(found, flagsOf(v)...)
	}
	return found
}

// values are those that a thing may have, by what it is called.
func (s *screen) values(kind, typed string) []string {
	switch kind {
	case "filter":
		return s.filtersLike(typed)
	case "DEVICE", "name or id":
		return s.devicesLike(typed)
	}
	return nil
}

func flagsOf(v *Verb) []string {
	var all []string
	for _, f := range v.Flags {
		all = append(all, "--"+f.Name)
	}
	slices.Sort(all)
	return all
}

func prefixed(with string, all []string) []string {
	for i := range all {
		all[i] = with + all[i]
	}
	return all
}

// quoted writes values of a kind so that they replace the word before the cursor: without
// what was typed of them before it, and in the quotes that are open or that they need. A
// filter may go on, and its quotes stay open.
func (t typedWords) quoted(before, kind string, all []string) []string {
	out := make([]string, 0, len(all))
	for _, v := range all {
		rest, quote := v[min(len(before), len(v)):], string(t.quote)
		switch {
		case t.quote == 0 && !strings.ContainsAny(v, ` '"\`):
			quote = ""
		case t.quote == 0:
			rest, quote = "'"+strings.ReplaceAll(rest, "'", `'\''`), "'"
		case before == "":
			rest = quote + rest
		}
		if kind == "filter" {
			quote = ""
		}
		out = append(out, rest+quote)
	}
	return out
}

// tip tells of what is typed into the palette, so that people find what there is.
func (s *screen) tip(text string) string {
	name, rest, argument := strings.Cut(strings.TrimLeft(text, " "), " ")
	if !argument {
		return s.tipOfName(name)
	}
	if own := ownVerb(name); own != nil {
		return own.args + ": " + own.help
	}
	t := splitLine(text)
	v, left := s.cli().find(t.words)
	switch {
	case v == nil:
		return ""
	case v.Not != "":
		return v.Not
	case len(v.Verbs) > 0 && len(left) == 0:
		return tipOf(v.Verbs, t.last, v.Help)
	case strings.HasPrefix(t.last, "-"):
		if f := v.flag(t.last); f != nil {
			return f.Help
		}
		return strings.Join(thatBegin(flagsOf(v), t.last), " ")
	}
	if f, _ := v.pending(left); f != nil {
		return f.Value + ": " + f.Help
	}
	if strings.TrimSpace(rest) == "" || v.Args == "" {
		return strings.TrimSpace(v.Args + " " + strings.Join(flagsOf(v), " "))
	}
	return v.usage() + ": " + v.Help
}

// tipOfName tells of the word that a line begins with.
func (s *screen) tipOfName(name string) string {
	if name == "" {
		return "tab shows what there is"
	}
	like := thatBegin(s.paletteNames(), name)
	if len(like) > 1 && !slices.Contains(like, name) {
		return strings.Join(like, " ")
	}
	if len(like) == 0 {
		if v := s.cli().verb(name); v != nil {
			return v.Not
		}
		return ""
	}
	name = like[0]
	if own := ownVerb(name); own != nil {
		return own.name + " " + own.args + ": " + own.help
	}
	if v := s.cli().verb(name); v != nil && s.does[name] == nil {
		return v.usage() + ": " + v.Help
	}
	return s.keyFor(name) + ": " + actionHelp(name)
}

// actionHelp is what an action does: its own help, or that of the next one which tells of
// both.
func actionHelp(name string) string {
	all := actions()
	i := slices.IndexFunc(all, func(a action) bool { return a.Name == name })
	for ; i >= 0 && i < len(all); i++ {
		if all[i].Help != "" {
			return all[i].Help
		}
	}
	return name
}

// tipOf tells of the verbs that begin with what was typed: one at length, some by name.
func tipOf(verbs []Verb, typed, help string) string {
	like := thatBegin(namesOf(verbs), typed)
	if typed != "" && (len(like) == 1 || slices.Contains(like, typed)) {
		v := verbNamed(verbs, like[0])
		return v.usage() + ": " + v.Help
	}
	if v := verbNamed(verbs, typed); v != nil {
		return v.Not
	}
	if len(like) == 0 {
		return help
	}
	return strings.Join(like, " ")
}
