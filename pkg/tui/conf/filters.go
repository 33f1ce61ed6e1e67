package conf

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"tracker/pkg/filter"
)

// ParseFilter understands a filter in which @NAME stands for the one that has that name:
//
//	@depot speed>50  →  (near:48.1,11.6,2km) speed>50
//
// What is wrong is a *filter.Error about the text as it was typed. In quotes, and within a
// word, @ is like any other character.
func ParseFilter(text string, named map[string]string) (*filter.Filter, error) {
	var b strings.Builder
	var puts []stand
	at := 0
	for _, r := range refs(text) {
		expr, ok := named[r.name]
		switch {
		case !r.whole:
			return nil, &filter.Error{Text: text, At: r.end, Msg: "this follows too close", Want: "a blank"}
		case !ok:
			return nil, &filter.Error{Text: text, At: r.at, Msg: unnamed(r.name, named)}
		}
		b.WriteString(text[at:r.at])
		p := stand{ref: r, begin: b.Len()}
		b.WriteString(inParentheses(expr))
		p.finish = b.Len()
		puts, at = append(puts, p), r.end
		if p.finish > mostExpanded {
			return nil, &filter.Error{Text: text, At: r.at, Msg: "with what the names stand for, this filter is too long"}
		}
	}
	b.WriteString(text[at:])
	f, err := filter.Parse(b.String())
	var wrong *filter.Error
	if errors.As(err, &wrong) {
		return nil, &filter.Error{Text: text, At: typedAt(puts, wrong.At), Msg: wrong.Msg, Want: wrong.Want}
	}
	return f, err
}

// mostExpanded is what a filter may have of bytes at all.
const mostExpanded = 64 << 10

// CheckName holds a name that people give against what can be written and shown everywhere.
func CheckName(name string) error {
	if name == "" || len(name) > 32 || strings.Trim(name, letters) != "" {
		return fmt.Errorf("name %q: want up to 32 letters, digits, - and _", name)
	}
	return nil
}

// FilterLine is the line that names a filter in a file of settings, below [filters].
func FilterLine(name, expr string) string { return bare(name) + " = " + tomlString(expr) }

// stand is a reference, and where what it stands for is in the longer text.
type stand struct {
	ref
	begin, finish int
}

// typedAt is where a byte of the longer text was typed.
func typedAt(puts []stand, at int) int {
	for i := len(puts) - 1; i >= 0; i-- {
		switch p := puts[i]; {
		case at >= p.finish:
			return p.end + at - p.finish
		case at >= p.begin:
			return p.at
		}
	}
	return at
}

// inParentheses is a filter as a part of another. One of nothing means all.
func inParentheses(expr string) string {
	if strings.TrimSpace(expr) == "" {
		return "(name:*)"
	}
	return "(" + expr + ")"
}

// unnamed says that there is no filter of a name.
func unnamed(name string, named map[string]string) string {
	msg := "no filter is named @" + name
	if name == "" {
		msg = "behind @ comes the name of a filter"
	}
	all := sortedKeys(named)
	if near := Nearest(name, all); near != "" {
		return msg + "; did you mean @" + near + "?"
	}
	if len(all) == 0 {
		return msg + `; the file of settings names them, or "quotes" make it text`
	}
	return msg + "; there are @" + strings.Join(all[:min(len(all), 5)], ", @")
}

// ref is a name that stands for a filter, in a text.
type ref struct {
	name    string
	at, end int  // bytes, from the @
	whole   bool // what follows may follow it
}

// refs finds them where a term may begin.
func refs(text string) (all []ref) {
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRuneInString(text[at:])
		switch {
		case unicode.IsSpace(r) || strings.ContainsRune("()|!", r):
			at += n
		case r == '@':
			name := text[at+1:]
			name = name[:len(name)-len(strings.TrimLeft(name, letters))]
			found := ref{name: name, at: at, end: at + 1 + len(name)}
			found.whole = termEnds(text[found.end:])
			all = append(all, found)
			at = skipTerm(text, found.end)
		default:
			at = skipTerm(text, at)
		}
	}
	return all
}

func termEnds(rest string) bool {
	r, n := utf8.DecodeRuneInString(rest)
	return n == 0 || unicode.IsSpace(r) || strings.ContainsRune("()|", r)
}

// skipTerm is where the term ends that goes on at a byte: with what is in its quotes and in
// its regular expressions, where values begin.
func skipTerm(text string, at int) int {
	begins := true
	for at < len(text) && !termEnds(text[at:]) {
		r, n := utf8.DecodeRuneInString(text[at:])
		at += n
		if begins && (r == '"' || r == '/') {
			at = skipQuoted(text, at, byte(r))
		}
		begins = strings.ContainsRune(":=<>,", r)
	}
	return at
}

// skipQuoted is behind the next mark that no backslash stands before, or the end.
func skipQuoted(text string, at int, mark byte) int {
	for ; at < len(text); at++ {
		switch text[at] {
		case '\\':
			at++
		case mark:
			return at + 1
		}
	}
	return len(text)
}
