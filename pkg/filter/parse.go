package filter

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"tracker/pkg/track"
)

// What a filter may cost. People paste things, and every device is held against all of it.
const (
	maxText     = 64 << 10 // bytes
	maxDepth    = 64       // parentheses within one another
	maxTests    = 256      // things that a device is compared with; ids are looked up, and free
	maxPatterns = 16       // of them regular expressions
)

// Parse understands a filter, or returns an *Error that says where it does not. A text of
// nothing means all devices.
//
//	or   = and { "|" and }
//	and  = term { term }
//	term = { "!" } ( "(" or ")" | test | text )
//	test = key ( ":" | "=" | "!=" | "<" | "<=" | ">" | ">=" ) value { "," value }
//	text = word | "quoted" | /regular expression/
func Parse(s string) (*Filter, error) {
	if err := admit(s); err != nil {
		return nil, err
	}
	p := parser{text: s}
	if p.space(); p.at == len(s) {
		return &Filter{}, nil
	}
	tree, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.at < len(s) {
		return nil, p.fail(p.at, "", "there is no ( for this )")
	}
	return compile(tree), nil
}

// admit refuses what no filter has.
func admit(s string) error {
	if len(s) > maxText {
		return fail(s, 0, "at most 65,536 bytes", "this filter is too long")
	}
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			return fail(s, i, "", "this is not UTF-8")
		}
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return fail(s, i, "", "a control character cannot be looked for")
		}
	}
	return nil
}

// parser reads a text from left to right. Its methods leave it behind what they read.
type parser struct {
	text     string
	at       int
	depth    int
	tests    int
	patterns int
}

func (p *parser) fail(at int, want, format string, args ...any) error {
	return fail(p.text, at, want, format, args...)
}

// peek is the next byte, or 0 at the end: admit saw to it that there is no other 0.
func (p *parser) peek() byte {
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

// take reads a byte if it is next.
func (p *parser) take(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.at++
	return true
}

// space reads blanks, if there are any.
func (p *parser) space() {
	rest := strings.TrimLeftFunc(p.text[p.at:], unicode.IsSpace)
	p.at = len(p.text) - len(rest)
}

func (p *parser) or() (*expr, error) {
	var kids []*expr
	for {
		kid, err := p.and()
		if err != nil {
			return nil, err
		}
		kids = append(kids, kid)
		if !p.take('|') {
			return joined(or, kids), nil
		}
	}
}

func (p *parser) and() (*expr, error) {
	var kids []*expr
	for {
		p.space()
		if c := p.peek(); len(kids) > 0 && (c == 0 || c == ')' || c == '|') {
			return joined(and, kids), nil
		}
		kid, err := p.term()
		if err != nil {
			return nil, err
		}
		kids = append(kids, kid)
	}
}

func (p *parser) term() (*expr, error) {
	odd := false
	for p.take('!') {
		odd = !odd
		p.space()
	}
	x, err := p.operand()
	if err == nil && odd {
		x = negated(x)
	}
	return x, err
}

func (p *parser) operand() (*expr, error) {
	switch p.peek() {
	case 0, ')', '|':
		return nil, p.fail(p.at, "a word, key:value or (", "something is missing here")
	case '(':
		return p.group()
	case '"', '/':
		return p.freeText()
	}
	if name, op := p.key(); op != "" {
		return p.clause(name, op)
	}
	return p.freeText()
}

func (p *parser) group() (*expr, error) {
	begin := p.at
	p.at++
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail(begin, "", "there are more than %d parentheses within one another", maxDepth)
	}
	x, err := p.or()
	if err != nil {
		return nil, err
	}
	p.depth--
	if !p.take(')') {
		return nil, p.fail(begin, "", "there is no ) for this (")
	}
	return x, nil
}

// ops are the operators, longer ones before those that they begin with.
var ops = []string{"!=", "<=", ">=", ":", "=", "<", ">"}

// key tells whether a key and an operator are next, and reads nothing.
func (p *parser) key() (name, op string) {
	rest := p.text[p.at:]
	word := rest[:len(rest)-len(strings.TrimLeftFunc(rest, isLetter))]
	if word == "" {
		return "", ""
	}
	for _, op := range ops {
		if strings.HasPrefix(rest[len(word):], op) {
			return word, op
		}
	}
	return "", ""
}

func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// clause is a test as it was typed.
type clause struct {
	filter string // all of it
	key    string
	op     string
	opAt   int
	values []value
}

func (c *clause) fail(at int, want, format string, args ...any) error {
	return fail(c.filter, at, want, format, args...)
}

// equality tells whether the clause asks for something to be one of its values, or none.
func (c *clause) equality() bool { return c.op == ":" || c.op == "=" || c.op == "!=" }

func (p *parser) clause(name, op string) (*expr, error) {
	begin := p.at
	k := keyNamed(strings.ToLower(name))
	if k == nil {
		return nil, p.fail(begin, "one of "+keyNames()+`, or "quotes" around text`, "there is no key %q", name)
	}
	c := &clause{filter: p.text, key: k.Name, op: op, opAt: begin + len(name)}
	p.at = c.opAt + len(op)
	if err := p.values(c, k); err != nil {
		return nil, err
	}
	if !k.numeric && !c.equality() {
		return nil, c.fail(c.opAt, k.Name+": or "+k.Name+"!=", "%s cannot be compared by %s", k.Name, op)
	}
	t, err := k.parse(c)
	if err != nil {
		return nil, err
	}
	return &expr{test: t, text: c.String(), uses: k.uses}, nil
}

// values reads what a key is compared with.
func (p *parser) values(c *clause, k *key) error {
	for {
		v, err := p.value(true)
		if err != nil {
			return err
		}
		if v.text == "" && !v.quoted && !v.pattern {
			return p.fail(v.at, k.want, "there is nothing to compare %s with", k.Name)
		}
		if v.pattern && !k.patterns {
			return p.fail(v.at, k.want, "%s cannot be a regular expression", k.Name)
		}
		if err := p.charge(v, k.free); err != nil {
			return err
		}
		c.values = append(c.values, v)
		if !p.take(',') {
			return nil
		}
	}
}

// charge counts what is compared.
func (p *parser) charge(v value, free bool) error {
	if v.pattern {
		p.patterns++
	}
	if !free {
		p.tests++
	}
	if p.patterns > maxPatterns {
		return p.fail(v.at, "", "there are more than %d regular expressions", maxPatterns)
	}
	if p.tests > maxTests {
		return p.fail(v.at, "", "this asks for more than %d things", maxTests)
	}
	return nil
}

// String is the clause in its canonical form.
func (c *clause) String() string {
	var b strings.Builder
	b.WriteString(c.key)
	if c.op == "=" {
		b.WriteByte(':')
	} else {
		b.WriteString(c.op)
	}
	for i, v := range c.values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(v.String())
	}
	return b.String()
}

func (p *parser) freeText() (*expr, error) {
	v, err := p.value(false)
	if err != nil {
		return nil, err
	}
	if err := p.charge(v, false); err != nil {
		return nil, err
	}
	t, err := p.named(v)
	return &expr{test: t, text: v.String(), uses: Names}, err
}

// named looks for text in the name.
func (p *parser) named(v value) (test, error) {
	t := &text{matcher: part(folded(v.text))}
	switch {
	case v.pattern:
		m, mistake := newPattern(v.text)
		if mistake != "" {
			return nil, p.fail(v.at, "", "%s", mistake)
		}
		t.matcher = m
	case v.quoted:
	case isGlob(v.text):
		t.matcher = newGlob("*" + v.text + "*")
	default:
		id, err := track.ParseDeviceID(strings.ToLower(v.text))
		t.id, t.isID = id, err == nil
	}
	return t, nil
}

// value is a word, a quoted text or a regular expression.
type value struct {
	text    string
	at      int
	quoted  bool
	pattern bool
}

// String is the value so that it is read as the same again. A word is written as it was
// typed; a quoted text loses quotes that change nothing.
func (v value) String() string {
	switch {
	case v.pattern:
		return "/" + v.text + "/"
	case v.quoted && !plain(v.text):
		return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(v.text) + `"`
	}
	return v.text
}

// plain tells whether a text means the same without quotes.
func plain(s string) bool {
	if _, err := track.ParseDeviceID(strings.ToLower(s)); err == nil {
		return false
	}
	odd := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' && r != '.'
	}
	return s != "" && !strings.ContainsFunc(s, odd)
}

// value reads what is next, one of several or alone.
func (p *parser) value(several bool) (value, error) {
	v, err := value{}, error(nil)
	switch p.peek() {
	case '"':
		v, err = p.enclosed('"', "there is no second \" for this one")
		v.text, v.quoted = unquoted(v.text), true
	case '/':
		v, err = p.enclosed('/', "there is no second / for this regular expression")
		v.pattern = true
	default:
		return p.word(several)
	}
	if err != nil || p.atEnd(several) {
		return v, err
	}
	return v, p.fail(p.at, "a blank", "this follows too close")
}

// word reads up to what ends a word. It may be empty.
func (p *parser) word(several bool) (value, error) {
	v := value{at: p.at}
	switch c := p.peek(); {
	case several && strings.IndexByte("=<>:!", c) >= 0:
		return v, p.fail(p.at, `a value, in "quotes" if it begins like this`, "this is no operator")
	case !several && strings.IndexByte("=<>:", c) >= 0:
		return v, p.fail(p.at, `key>value without blanks, or "quotes" around text`, "there is no key right before this")
	}
	for !p.atEnd(several) {
		_, n := utf8.DecodeRuneInString(p.text[p.at:])
		p.at += n
	}
	v.text = p.text[v.at:p.at]
	return v, nil
}

// atEnd tells whether a word is over: a comma ends one of several.
func (p *parser) atEnd(several bool) bool {
	switch p.peek() {
	case 0, '(', ')', '|':
		return true
	case ',':
		return several
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.at:])
	return unicode.IsSpace(r)
}

// enclosed reads what is between two marks; a backslash takes the meaning of the next
// character, and stays.
func (p *parser) enclosed(mark byte, unfinished string) (value, error) {
	v := value{at: p.at}
	for i := p.at + 1; i < len(p.text); i++ {
		switch p.text[i] {
		case '\\':
			i++
		case mark:
			v.text, p.at = p.text[v.at+1:i], i+1
			return v, nil
		}
	}
	return v, p.fail(v.at, "", "%s", unfinished)
}

func unquoted(s string) string { return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s) }
