package filter

import (
	"slices"
	"strings"
)

// A test is one question about a device.
type test interface{ holds(*Subject) bool }

// opposite is the other answer.
type opposite struct{ test }

func (o opposite) holds(s *Subject) bool { return !o.test.holds(s) }

// expr is a node of the tree that a text is parsed to.
type expr struct {
	join kind
	kids []*expr // of all but a leaf; one of a not, two or more of the others
	test test    // of a leaf
	text string  // of a leaf, canonical
	uses Parts   // of a leaf
}

type kind uint8

const (
	leaf kind = iota
	not
	and
	or
)

// joined makes one node of several. What is nested without need is not nested after it,
// so that equal filters have one form.
func joined(join kind, kids []*expr) *expr {
	if len(kids) == 1 {
		return kids[0]
	}
	all := make([]*expr, 0, len(kids))
	for _, k := range kids {
		if k.join == join {
			all = append(all, k.kids...)
		} else {
			all = append(all, k)
		}
	}
	return &expr{join: join, kids: all}
}

func negated(x *expr) *expr {
	if x.join == not {
		return x.kids[0]
	}
	return &expr{join: not, kids: []*expr{x}}
}

func (x *expr) write(b *strings.Builder) {
	switch x.join {
	case leaf:
		b.WriteString(x.text)
	case not:
		b.WriteByte('!')
		x.kids[0].operand(b, leaf)
	case and:
		x.list(b, " ", not)
	case or:
		x.list(b, " | ", and)
	}
}

func (x *expr) list(b *strings.Builder, between string, loosest kind) {
	for i, k := range x.kids {
		if i > 0 {
			b.WriteString(between)
		}
		k.operand(b, loosest)
	}
}

// operand writes a node, in parentheses if it binds less than what is allowed bare.
func (x *expr) operand(b *strings.Builder, loosest kind) {
	if x.join <= loosest {
		x.write(b)
		return
	}
	b.WriteByte('(')
	x.write(b)
	b.WriteByte(')')
}

// step is one question and where its answers lead: to another step, in or out.
type step struct {
	test    test
	yes, no int
}

const (
	in  = -1
	out = -2
)

// emit adds the steps of a node before those that its answers lead to, and returns where
// they begin. A not only swaps the ways.
func (f *Filter) emit(x *expr, yes, no int) int {
	switch x.join {
	case not:
		return f.emit(x.kids[0], no, yes)
	case and:
		for _, k := range slices.Backward(x.kids) {
			yes = f.emit(k, yes, no)
		}
		return yes
	case or:
		for _, k := range slices.Backward(x.kids) {
			no = f.emit(k, yes, no)
		}
		return no
	}
	f.steps = append(f.steps, step{x.test, yes, no})
	f.uses |= x.uses
	return len(f.steps) - 1
}

func compile(x *expr) *Filter {
	f := &Filter{}
	f.first = f.emit(x, in, out)
	var b strings.Builder
	x.write(&b)
	f.text = b.String()
	return f
}
