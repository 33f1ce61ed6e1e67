package overlay

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// scanner reads JSON (RFC 8259) and nothing that is only nearly so. Objects are read in
// two goes, since the type of one may come after what it is the type of: members notes
// where the values are, and who wants one goes back to it.
//
// A mistake ends it with a panic, which document catches: that keeps the dozen small
// functions on top of it straight.
type scanner struct {
	file  string
	data  []byte
	at    int
	depth int
}

// space passes over blanks.
func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// start is where the next value begins.
func (s *scanner) start() int {
	s.space()
	return s.at
}

// next is the first byte of what comes next, 0 at the end.
func (s *scanner) next() byte {
	if s.space(); s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

// take passes over a byte if it comes next.
func (s *scanner) take(c byte) bool {
	if s.next() != c || s.at == len(s.data) {
		return false
	}
	s.at++
	return true
}

// want fails for what comes next, which is not what should.
func (s *scanner) want(what string) {
	if s.next(); s.at == len(s.data) {
		s.fail(s.at, "the file ends, want %s", what)
	}
	r, _ := utf8.DecodeRune(s.data[s.at:])
	s.fail(s.at, "%q, want %s", r, what)
}

func (s *scanner) deeper() {
	if s.depth++; s.depth > maxDepth {
		s.fail(s.at, "more than %d objects and lists within each other", maxDepth)
	}
}

// list reads a list, item by item.
func (s *scanner) list(what string, item func()) {
	if !s.take('[') {
		s.want(what)
	}
	s.deeper()
	for first := true; !s.take(']'); first = false {
		if !first && !s.take(',') {
			s.want("a comma or the end of the list")
		}
		item()
	}
	s.depth--
}

// object reads an object, member by member. The value of each is up to the caller.
func (s *scanner) object(what string, member func(key string, at int)) {
	if !s.take('{') {
		s.want(what)
	}
	s.deeper()
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			s.want("a comma or the end of the object")
		}
		at := s.start()
		key := s.text("a key")
		if !s.take(':') {
			s.want("a colon")
		}
		s.space()
		member(key, at)
	}
	s.depth--
}

// members passes over an object and tells where it began, and where the values are that
// the caller knows.
func (s *scanner) members(known ...string) (start int, o members) {
	start = s.start()
	o = make(members, len(known))
	s.object("an object", func(key string, at int) {
		for _, k := range known {
			if k != key {
				continue
			}
			if _, twice := o[key]; twice {
				s.fail(at, "%q is there twice", key)
			}
			o[key] = s.at
		}
		s.skip()
	})
	return start, o
}

// skip passes over a value, and holds it against the rules all the same.
func (s *scanner) skip() {
	switch c := s.next(); {
	case c == '{':
		s.object("", func(string, int) { s.skip() })
	case c == '[':
		s.list("", s.skip)
	case c == '"':
		s.text("")
	case c == '-' || c >= '0' && c <= '9':
		s.digits()
	case s.word("true"), s.word("false"), s.word("null"):
	default:
		s.want("a value")
	}
}

// word passes over a word if it comes next.
func (s *scanner) word(w string) bool {
	if end := s.start() + len(w); end <= len(s.data) && string(s.data[s.at:end]) == w {
		s.at = end
		return true
	}
	return false
}

func (s *scanner) null() bool { return s.word("null") }

// text reads a string.
func (s *scanner) text(what string) string {
	start := s.start()
	if !s.take('"') {
		s.want(what)
	}
	plain := true
	for ; ; s.at++ {
		if s.at == len(s.data) {
			s.fail(start, "a string without an end")
		}
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			return s.unquote(start, plain)
		case c == '\\' && s.at+1 < len(s.data):
			plain = false
			s.at++
		case c < ' ':
			s.fail(s.at, "a control character in a string")
		}
	}
}

// unquote is what the string says that has just been passed over.
func (s *scanner) unquote(start int, plain bool) string {
	raw := s.data[start:s.at]
	if !utf8.Valid(raw) {
		s.fail(start, "a string that is not UTF-8")
	}
	if plain {
		return string(raw[1 : len(raw)-1])
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		s.fail(start, "a string with an escape that is none")
	}
	return text
}

// maxNumber is how long a number may be.
const maxNumber = 128

// number reads a number. Beyond what fits it is infinite, and no place.
func (s *scanner) number() float64 {
	v, _ := strconv.ParseFloat(string(s.digits()), 64)
	return v
}

// digits passes over a number.
func (s *scanner) digits() []byte {
	start := s.start()
	s.is('-')
	ok := s.is('0') || s.run()
	if ok && s.is('.') {
		ok = s.run()
	}
	if ok && (s.is('e') || s.is('E')) {
		_ = s.is('+') || s.is('-')
		ok = s.run()
	}
	end := s.at
	for s.at < len(s.data) && isNumeric(s.data[s.at]) {
		s.at++
	}
	raw := s.data[start:s.at]
	if len(raw) == 0 {
		s.want("a number")
	}
	if !ok || s.at > end || len(raw) > maxNumber {
		s.fail(start, "%q is no number", shortened(string(raw)))
	}
	return raw
}

// is passes over a byte if it stands here.
func (s *scanner) is(c byte) bool {
	if s.at == len(s.data) || s.data[s.at] != c {
		return false
	}
	s.at++
	return true
}

// run passes over digits, and tells whether there was one.
func (s *scanner) run() bool {
	start := s.at
	for s.at < len(s.data) && s.data[s.at] >= '0' && s.data[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}

func isNumeric(c byte) bool {
	return c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}
