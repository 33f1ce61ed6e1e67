package canvas

import (
	"fmt"
	"strings"
)

// Theme gives colours to styles. A style used as a foreground and one used as a
// background are looked up in two tables, so that styles can serve as both.
//
// Foregrounds and backgrounds are the parameters of an SGR sequence, such as "1;36"
// or "48;5;235"; empty is the terminal's own colour.
type Theme struct {
	Name   string
	styles int
	sgr    []string // by pair, each complete: it does not depend on what was before
	first  []int    // of each pair, the first one that looks the same
	bgs    []bool   // which styles have a background
	under  []bool   // which foregrounds show on a blank: reversed, underlined, with a background of their own
}

// NewTheme makes a theme out of two tables of equal length.
func NewTheme(name string, fg, bg []string) *Theme {
	if len(fg) != len(bg) || len(fg) > 256 {
		panic(fmt.Sprintf("canvas: theme %q has %d foregrounds and %d backgrounds", name, len(fg), len(bg)))
	}
	n := len(fg)
	t := &Theme{Name: name, styles: n, sgr: make([]string, n*n), first: make([]int, n*n), bgs: make([]bool, n), under: make([]bool, n)}
	for i := range n {
		t.bgs[i] = bg[i] != ""
		t.under[i] = showsOnBlank(fg[i])
	}
	for b := range n {
		for f := range n {
			s := "\x1b[0"
			for _, p := range []string{bg[b], fg[f]} { // a foreground with a ground of its own has it
				if p != "" {
					s += ";" + p
				}
			}
			if s == "\x1b[0" {
				s = "\x1b["
			}
			t.sgr[b*n+f] = s + "m"
		}
	}
	first := make(map[string]int, n)
	for i, s := range t.sgr {
		if _, known := first[s]; !known {
			first[s] = i
		}
		t.first[i] = first[s]
	}
	return t
}

func showsOnBlank(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		if p == "7" || p == "4" || p == "48" || len(p) == 2 && p[0] == '4' && p[1] < '8' {
			return true
		}
	}
	return false
}

// pair is the index of a foreground on a background. Pairs that look alike have one
// index, so that nothing is sent between them.
func (t *Theme) pair(fg, bg Style) int {
	f, b := int(fg), int(bg)
	if f >= t.styles {
		f = 0
	}
	if b >= t.styles {
		b = 0
	}
	return t.first[b*t.styles+f]
}

// pairOnBlank is the pair for a cell without ink: it keeps the foreground in force if
// the background is right, since nobody can see the difference.
func (t *Theme) pairOnBlank(cur int, fg, bg Style) int {
	want := t.pair(fg, bg)
	curFg := cur % t.styles
	if cur/t.styles == want/t.styles && !t.under[curFg] && !t.under[want%t.styles] {
		return cur
	}
	return want
}

// Alike tells whether two styles look the same in the foreground.
func (t *Theme) Alike(a, b Style) bool { return t.pair(a, 0) == t.pair(b, 0) }

// unseen tells whether a blank in these styles looks like nothing at all.
func (t *Theme) unseen(fg, bg Style) bool {
	return (int(bg) >= t.styles || !t.bgs[bg]) && (int(fg) >= t.styles || !t.under[fg])
}
