package client

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// scan walks one JSON text without building anything: fixes arrive by the ten
// thousand a second, and encoding/json spends ten times what it costs to read them.
// It takes whatever is valid JSON, in any order and with members it has never heard
// of, and nothing else.
//
// An error sticks: the walk ends by itself, and err is looked at once, at the end.
type scan struct {
	b     []byte
	i     int
	depth int
	err   error
	text  []byte // where strings with escapes are written out
}

const maxDepth = 64

var errJSON = errors.New("not valid JSON")

// reset begins another text and keeps the memory of the last.
func (s *scan) reset(b []byte) { s.b, s.i, s.depth, s.err = b, 0, 0, nil }

func (s *scan) fail(what string) {
	if s.err == nil {
		s.err = fmt.Errorf("%w at byte %d: %s", errJSON, s.i, what)
	}
}

func (s *scan) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\r' || s.b[s.i] == '\t') {
		s.i++
	}
}

// peek is the first byte of the next token, 0 at the end or after an error.
func (s *scan) peek() byte {
	if s.err != nil {
		return 0
	}
	s.space()
	if s.i == len(s.b) {
		return 0
	}
	return s.b[s.i]
}

func (s *scan) expect(c byte) bool {
	if s.peek() != c {
		s.fail("want " + strconv.QuoteRune(rune(c)))
		return false
	}
	s.i++
	return true
}

// end checks that nothing follows.
func (s *scan) end() error {
	if s.space(); s.i < len(s.b) {
		s.fail("something follows")
	}
	return s.err
}

// open enters an object or an array.
func (s *scan) open(c byte) bool {
	if s.depth++; s.depth > maxDepth {
		s.fail("too deep")
	}
	return s.expect(c)
}

// more tells whether another member or element follows, and leaves the object or
// array, which ends with the byte closing, if none does. first says that this is the
// first question.
func (s *scan) more(first bool, closing byte) bool {
	switch s.peek() {
	case closing:
		s.i++
		s.depth--
		return false
	case ',':
		if first {
			s.fail("a comma too many")
			return false
		}
		s.i++
		return true
	}
	if !first {
		s.fail("want a comma")
	}
	return s.err == nil
}

// key reads the name of a member and the colon.
func (s *scan) key() []byte {
	k := s.str()
	s.expect(':')
	return k
}

// str reads a string. The bytes belong to the input or to the scan, and stand until
// the next string.
func (s *scan) str() []byte {
	if !s.expect('"') {
		return nil
	}
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[start : s.i-1]
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			s.fail("a control character in a string")
			return nil
		}
		s.i++
	}
	s.fail("a string without an end")
	return nil
}

func (s *scan) escaped(start int) []byte {
	s.text = append(s.text[:0], s.b[start:s.i]...)
	for s.i < len(s.b) {
		c := s.b[s.i]
		s.i++
		switch {
		case c == '"':
			return s.text
		case c < ' ':
			s.fail("a control character in a string")
			return nil
		case c != '\\':
			s.text = append(s.text, c)
		default:
			if !s.escape() {
				return nil
			}
		}
	}
	s.fail("a string without an end")
	return nil
}

func (s *scan) escape() bool {
	if s.i == len(s.b) {
		s.fail("a string without an end")
		return false
	}
	c := s.b[s.i]
	s.i++
	switch c {
	case '"', '\\', '/':
		s.text = append(s.text, c)
	case 'b':
		s.text = append(s.text, '\b')
	case 'f':
		s.text = append(s.text, '\f')
	case 'n':
		s.text = append(s.text, '\n')
	case 'r':
		s.text = append(s.text, '\r')
	case 't':
		s.text = append(s.text, '\t')
	case 'u':
		r, ok := s.hex4()
		if !ok {
			s.fail("want four hex digits")
			return false
		}
		s.text = utf8.AppendRune(s.text, s.pair(r))
	default:
		s.fail("an unknown escape")
		return false
	}
	return true
}

// pair joins a surrogate with the one that follows; a lone one is U+FFFD.
func (s *scan) pair(r rune) rune {
	if !utf16.IsSurrogate(r) {
		return r
	}
	was := s.i
	if s.i+1 < len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
		s.i += 2
		if low, ok := s.hex4(); ok {
			if joined := utf16.DecodeRune(r, low); joined != utf8.RuneError {
				return joined
			}
		}
	}
	s.i = was
	return utf8.RuneError
}

func (s *scan) hex4() (rune, bool) {
	if s.i+4 > len(s.b) {
		return 0, false
	}
	var r rune
	for _, c := range s.b[s.i : s.i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	s.i += 4
	return r, true
}

// number reads a number as it stands.
func (s *scan) number() []byte {
	s.peek()
	if s.err != nil {
		return nil
	}
	start := s.i
	s.accept('-')
	if !s.accept('0') && !s.digits() {
		s.fail("want a number")
		return nil
	}
	if s.accept('.') && !s.digits() {
		s.fail("want digits")
		return nil
	}
	if s.accept('e') || s.accept('E') {
		_ = s.accept('+') || s.accept('-')
		if !s.digits() {
			s.fail("want digits")
			return nil
		}
	}
	return s.b[start:s.i]
}

func (s *scan) accept(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scan) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

// scaled reads a number times 10^decimals, rounded, within ±limit.
func (s *scan) scaled(decimals int, limit int64) int64 {
	num := s.number()
	if s.err != nil {
		return 0
	}
	v, ok := scaleDecimal(num, decimals)
	if !ok {
		f, err := strconv.ParseFloat(string(num), 64)
		f = math.Round(f * math.Pow10(decimals))
		if err != nil || math.Abs(f) > float64(limit) {
			s.fail("a number out of range")
			return 0
		}
		v = int64(f)
	}
	if v > limit || v < -limit {
		s.fail("a number out of range")
		return 0
	}
	return v
}

// scaleDecimal handles the plain case: few digits, not more decimals than asked for.
func scaleDecimal(num []byte, decimals int) (int64, bool) {
	if len(num) > 18 {
		return 0, false
	}
	neg := num[0] == '-'
	if neg {
		num = num[1:]
	}
	var v int64
	seen := -1
	for _, c := range num {
		switch {
		case c == '.':
			seen = 0
			continue
		case c < '0' || c > '9':
			return 0, false
		case seen >= 0:
			if seen++; seen > decimals {
				return 0, false
			}
		}
		v = v*10 + int64(c-'0')
	}
	for seen = max(seen, 0); seen < decimals; seen++ {
		if v > math.MaxInt64/10 {
			return 0, false
		}
		v *= 10
	}
	if neg {
		v = -v
	}
	return v, true
}

// uint reads a whole number that fits 64 bits.
func (s *scan) uint() uint64 {
	v, err := strconv.ParseUint(string(s.number()), 10, 64)
	if err != nil {
		s.fail("want a whole number")
	}
	return v
}

func (s *scan) bool() bool {
	switch s.peek() {
	case 't':
		s.word("true")
		return true
	default:
		s.word("false")
		return false
	}
}

func (s *scan) word(w string) {
	if s.peek(); s.err == nil && len(s.b)-s.i >= len(w) && string(s.b[s.i:s.i+len(w)]) == w {
		s.i += len(w)
		return
	}
	s.fail("want " + w)
}

// null takes a null if one stands here; it counts as a member that is absent.
func (s *scan) null() bool {
	if s.peek() != 'n' {
		return false
	}
	s.word("null")
	return true
}

// skip passes over one value of any kind.
func (s *scan) skip() {
	switch c := s.peek(); c {
	case '{':
		s.open('{')
		for first := true; s.more(first, '}'); first = false {
			s.key()
			s.skip()
		}
	case '[':
		s.open('[')
		for first := true; s.more(first, ']'); first = false {
			s.skip()
		}
	case '"':
		s.str()
	case 't', 'f':
		s.bool()
	case 'n':
		s.null()
	default:
		s.number()
	}
}

const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// time reads an RFC 3339 time.
func (s *scan) time() time.Time {
	b := s.str()
	if s.err != nil {
		return time.Time{}
	}
	if t, ok := parseMillis(b); ok {
		return t
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		s.fail("want a time such as 2026-01-02T03:04:05.678Z")
	}
	return t.UTC()
}

// parseMillis reads the one form that servers write: 2026-01-02T03:04:05.678Z.
func parseMillis(b []byte) (time.Time, bool) {
	const form = "0000-00-00T00:00:00.000Z"
	if len(b) != len(form) {
		return time.Time{}, false
	}
	for i := range len(form) {
		if form[i] == '0' {
			if b[i] < '0' || b[i] > '9' {
				return time.Time{}, false
			}
		} else if b[i] != form[i] {
			return time.Time{}, false
		}
	}
	two := func(i int) int { return int(b[i]-'0')*10 + int(b[i+1]-'0') }
	year, month, day := two(0)*100+two(2), two(5), two(8)
	hour, minute, sec := two(11), two(14), two(17)
	ms := two(20)*10 + int(b[22]-'0')
	if month < 1 || month > 12 || hour > 23 || minute > 59 || sec > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, sec, ms*1e6, time.UTC)
	if t.Day() != day { // a February 30
		return time.Time{}, false
	}
	return t, true
}
