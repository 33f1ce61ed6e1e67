package filter

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error is a mistake in a filter.
type Error struct {
	Text string // the filter
	At   int    // byte offset of the mistake
	Msg  string
	Want string // what would have been right there; may be empty
}

func fail(text string, at int, want, format string, args ...any) error {
	return &Error{Text: text, At: at, Msg: fmt.Sprintf(format, args...), Want: want}
}

// Error quotes the filter with a caret under the mistake. Of a long filter it quotes
// what is near the mistake. The quote is one line and harmless, whatever the filter is.
func (e *Error) Error() string {
	msg := e.Msg
	if e.Want != "" {
		msg += ": want " + e.Want
	}
	at := min(max(e.At, 0), len(e.Text))
	before, after := tail(e.Text[:at]), head(e.Text[at:])
	return fmt.Sprintf("%s\n  %s%s\n  %s^", msg, before, after, strings.Repeat(" ", utf8.RuneCountInString(before)))
}

// quoted is how much of a filter is quoted on each side of a mistake, in characters.
const quoted = 60

func head(s string) string {
	end := 0
	for range quoted {
		_, n := utf8.DecodeRuneInString(s[end:])
		end += n
	}
	if end < len(s) {
		return printable(s[:end]) + "…"
	}
	return printable(s)
}

func tail(s string) string {
	begin := len(s)
	for range quoted {
		_, n := utf8.DecodeLastRuneInString(s[:begin])
		begin -= n
	}
	if begin > 0 {
		return "…" + printable(s[begin:])
	}
	return printable(s)
}

// printable keeps one character for each, so that the caret stays where it belongs.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}
