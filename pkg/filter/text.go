package filter

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"

	"tracker/pkg/track"
)

// A matcher knows names. None of them allocates.
type matcher interface{ match(name string) bool }

// text is a word without a key: it is looked for in the name, and if it can be an id, it
// also means the device of that id.
type text struct {
	matcher
	id   track.DeviceID
	isID bool
}

func (t *text) holds(s *Subject) bool { return t.isID && t.id == s.ID || t.match(s.Name) }

// named is true of a device with one of some names.
type named []matcher

func (n named) holds(s *Subject) bool {
	for _, m := range n {
		if m.match(s.Name) {
			return true
		}
	}
	return false
}

// part is folded text that has to be somewhere in a name.
type part string

func (p part) match(name string) bool {
	for {
		if _, ok := begins(name, string(p)); ok || name == "" {
			return ok
		}
		_, n := utf8.DecodeRuneInString(name)
		name = name[n:]
	}
}

// whole is folded text that has to be all of a name.
type whole string

func (w whole) match(name string) bool {
	rest, ok := begins(name, string(w))
	return ok && rest == ""
}

// begins tells whether a name begins with folded text, and what follows that.
func begins(name, lead string) (rest string, ok bool) {
	for _, want := range lead {
		if name == "" {
			return "", false
		}
		r, n := letter(name)
		if r != want {
			return "", false
		}
		name = name[n:]
	}
	return name, true
}

// letter is the first character of a name, folded, and how many bytes it has. Most are
// ASCII.
func letter(name string) (r rune, n int) {
	if c := name[0]; c < utf8.RuneSelf {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return rune(c), 1
	}
	r, n = utf8.DecodeRuneInString(name)
	return fold(r), n
}

// fold gives all cases of a letter one rune: the least of them, and of ASCII the small
// letter.
func fold(r rune) rune {
	least := r
	if r >= utf8.RuneSelf {
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
	}
	if 'A' <= least && least <= 'Z' {
		return least + 'a' - 'A'
	}
	return least
}

func folded(s string) string { return strings.Map(fold, s) }

// glob is folded text in which * stands for any text and ? for any one character.
type glob []rune

// newGlob also brings runs of stars down to one.
func newGlob(s string) glob {
	var g glob
	for _, r := range folded(s) {
		if r != '*' || len(g) == 0 || g[len(g)-1] != '*' {
			g = append(g, r)
		}
	}
	return g
}

func isGlob(s string) bool { return strings.ContainsAny(s, "*?") }

// match needs only ever to go back to the last star: what an earlier one could take
// besides, the last one can take as well.
func (g glob) match(name string) bool {
	p, star := 0, -1     // the next of g, and what follows the last star
	at, from := name, "" // the rest of the name, and where what follows the star was tried
	for at != "" {
		if p < len(g) && g[p] == '*' {
			p++
			star, from = p, at
			continue
		}
		if star == len(g) {
			return true
		}
		r, n := letter(at)
		switch {
		case p < len(g) && (g[p] == '?' || g[p] == r):
			p, at = p+1, at[n:]
		case star >= 0:
			_, n = utf8.DecodeRuneInString(from)
			from = from[n:]
			p, at = star, from
		default:
			return false
		}
	}
	return p == len(g) || p == len(g)-1 && g[p] == '*'
}

// pattern is a regular expression that has to be somewhere in a name.
type pattern struct{ *regexp.Regexp }

func (p pattern) match(name string) bool { return p.MatchString(name) }

const (
	maxPattern = 1000 // bytes of a regular expression
	maxWeight  = 1000 // characters it is worth, with its repetitions written out
)

// newPattern looks at an expression before it is compiled: a few bytes with repetitions
// can ask for many megabytes.
func newPattern(src string) (m matcher, mistake string) {
	if len(src) > maxPattern {
		return nil, "this regular expression is too long"
	}
	tree, err := syntax.Parse(src, syntax.Perl|syntax.FoldCase)
	if err != nil {
		return nil, "this is no regular expression, " + reason(err)
	}
	if weight(tree) > maxWeight {
		return nil, "this regular expression repeats too much"
	}
	re, err := regexp.Compile("(?i)" + src)
	if err != nil {
		return nil, "this is no regular expression, " + reason(err)
	}
	return pattern{re}, ""
}

func reason(err error) string {
	var e *syntax.Error
	if errors.As(err, &e) {
		return e.Code.String()
	}
	return err.Error()
}

// weight is how many characters an expression asks about. The parser has limited how
// deep it is, and the product of the repetitions within one another.
func weight(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += weight(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}
