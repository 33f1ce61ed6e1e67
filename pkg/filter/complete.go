package filter

import (
	"slices"
	"strings"
	"unicode"
)

// Complete lists what a text that is being typed may go on as. Each answer is the whole
// text with its last word made longer: a key with an operator, or a value of a key.
func Complete(text string) []string {
	if strings.Count(text, `"`)%2 == 1 {
		return nil // within quotes everything may follow
	}
	before := strings.TrimRightFunc(text, func(r rune) bool { return !unicode.IsSpace(r) && r != '(' && r != '|' })
	word := strings.TrimLeft(text[len(before):], "!")
	if op := strings.IndexAny(word, "!:="); op >= 0 {
		return completeValue(text, word[:op], strings.TrimLeft(word[op:], "!:="))
	}
	var out []string
	for _, k := range keys {
		if continues(k.Name, word) {
			out = append(out, k.begun(text[:len(text)-len(word)])...)
		}
	}
	return out
}

// continues tells whether a word begins with what was typed of it.
func continues(word, typed string) bool {
	return len(word) >= len(typed) && strings.EqualFold(word[:len(typed)], typed)
}

// begun is a text that goes on with a key.
func (k *key) begun(before string) []string {
	if k.numeric {
		return []string{before + k.Name + ">", before + k.Name + "<", before + k.Name + ":"}
	}
	return []string{before + k.Name + ":"}
}

// completeValue goes on with a value that is not there yet.
func completeValue(text, name, values string) []string {
	k := keyNamed(strings.ToLower(name))
	if k == nil {
		return nil
	}
	had := strings.Split(values, ",")
	typed := had[len(had)-1]
	before := text[:len(text)-len(typed)]
	var out []string
	for _, v := range k.values {
		if continues(v, typed) && !slices.Contains(had, v) {
			out = append(out, before+v)
		}
	}
	return out
}
