package main

import (
	"fmt"
	"strings"

	"tracker/pkg/rpc/rpcgen/reflection"
)

const goVerifyHead = goHeader + `package %s

import (
	"encoding/binary"
	"unicode/utf8"

	flatbuffers "github.com/google/flatbuffers/go"

	"tracker/pkg/rpc"
)

// A buffer that verifies can be read by the accessors of its table, whole, without a
// panic: every offset, length and vtable lies inside of it, text is UTF-8 with a zero
// behind it, and what is required is there. Numbers of an enum may be unknown, fields
// and whole slots may be missing or more than we know: that is how schemas grow.
// Alignment does not matter, for everything is read bytewise.
const (
	maxDepth = 64      // of tables in tables
	maxBody  = 1 << 28 // less than what an int of 32 bits can count
	// A buffer may point to the same table or text many times. That is bounded: what is
	// visited is at most this many times as long as the buffer.
	maxReuse = 8
	// Of a vtable, and of a field in its table: the runtime of TypeScript takes these
	// numbers for signed ones.
	maxNear = 1<<15 - 1
)

// check walks a buffer from somewhere else.
type check struct {
	b    []byte
	left int // bytes that may still be visited
	deep int
}

// table is one found in the buffer, its vtable inside, its fields not yet looked at.
type table struct {
	vt        []byte
	pos, room int // room: from the table to the end of the buffer
}

// root finds the root table.
func (c *check) root(b []byte) (pos int, ok bool) {
	if len(b) < 8 || len(b) > maxBody {
		return 0, false
	}
	c.b, c.left = b, maxReuse*len(b)
	return c.follow(0)
}

// follow takes the offset at at, which must be inside. Four bytes at pos are inside, too.
func (c *check) follow(at int) (pos int, ok bool) {
	off := uint(binary.LittleEndian.Uint32(c.b[at:]))
	if off == 0 || off > uint(len(c.b)-4-at) {
		return 0, false
	}
	return at + int(off), true
}

// spend counts n visited bytes.
func (c *check) spend(n int) bool {
	c.left -= n
	return c.left >= 0
}

func (c *check) table(pos int) (t table, ok bool) {
	b := c.b
	vt := pos - int(int32(binary.LittleEndian.Uint32(b[pos:])))
	if uint(vt) > uint(len(b)-4) {
		return t, false
	}
	// Beside its length a vtable says how long the table is. That may be wrong: the Go
	// builder shares a vtable between tables that differ in nothing else.
	n := int(binary.LittleEndian.Uint16(b[vt:]))
	if n < 4 || n&1 != 0 || n > maxNear || n > len(b)-vt {
		return t, false
	}
	t.vt, t.pos, t.room = b[vt:vt+n], pos, len(b)-pos
	return t, c.spend(8)
}

// field is where a field of size bytes stands in its table: 0 when it is absent.
func (t *table) field(slot, size int) (off int, ok bool) {
	if slot+2 > len(t.vt) {
		return 0, true
	}
	off = int(binary.LittleEndian.Uint16(t.vt[slot:]))
	return off, off == 0 || off >= 4 && off <= maxNear && off+size <= t.room
}

// number checks a number or a struct.
func (t *table) number(slot, size int) bool {
	_, ok := t.field(slot, size)
	return ok
}

func (t *table) must(slot, size int) bool {
	off, ok := t.field(slot, size)
	return ok && off != 0
}

// ref is what a field points to: 0 when it is absent.
func (c *check) ref(t *table, slot int, required bool) (pos int, ok bool) {
	off, ok := t.field(slot, 4)
	if !ok || off == 0 {
		return 0, ok && !required
	}
	return c.follow(t.pos + off)
}

func (c *check) text(t *table, slot int, required bool) bool {
	pos, ok := c.ref(t, slot, required)
	return ok && (pos == 0 || c.textAt(pos))
}

func (c *check) textAt(pos int) bool {
	n := uint(binary.LittleEndian.Uint32(c.b[pos:]))
	room := uint(len(c.b) - 4 - pos)
	if n >= room {
		return false
	}
	b := c.b[pos+4 : pos+5+int(n)]
	return c.spend(len(b)+4) && b[n] == 0 && utf8.Valid(b[:n])
}

// vector is the elements of a vector, each of size bytes.
func (c *check) vector(t *table, slot, size int, required bool) (at, n int, ok bool) {
	pos, ok := c.ref(t, slot, required)
	if !ok || pos == 0 {
		return 0, 0, ok
	}
	count := uint(binary.LittleEndian.Uint32(c.b[pos:]))
	if count > uint(len(c.b)-4-pos)/uint(size) {
		return 0, 0, false
	}
	n = int(count)
	return pos + 4, n, c.spend(n*size + 4)
}

func (c *check) numbers(t *table, slot, size int, required bool) bool {
	_, _, ok := c.vector(t, slot, size, required)
	return ok
}

func (c *check) texts(t *table, slot int, required bool) bool {
	at, n, ok := c.vector(t, slot, 4, required)
	if !ok {
		return false
	}
	for ; n > 0; n-- {
		pos, ok := c.follow(at)
		if !ok || !c.textAt(pos) {
			return false
		}
		at += 4
	}
	return true
}

func badBody(table string) error {
	return rpc.Errorf(rpc.BadBody, "%%s: the body is not a valid one", table)
}
`

func goVerify(s *Schema, pkg string) ([]byte, error) {
	t := &text{}
	t.p(goVerifyHead, pkg)
	for _, o := range s.Tables {
		goVerifyTable(t, o)
	}
	return t.gofmt()
}

func goVerifyTable(t *text, o *Object) {
	t.p("// Verify%[1]s says whether b is a whole and valid %[1]s.\nfunc Verify%[1]s(b []byte) bool {", o.Name)
	if flat(o) {
		// All of it is numbers: what begins as Append writes it is as Append writes it.
		whole, head := flatBlock(o)
		t.p("if len(b) >= %d && string(b[:%d]) == %s {\nreturn true // as Append%s writes it\n}", len(whole), head, quote(whole[:head]), o.Name)
	}
	t.p("var c check\npos, ok := c.root(b)\nreturn ok && c.%s(pos)\n}\n", checker(o))
	if mayBeNothing(o) {
		t.p(`// Read%[1]s verifies b and returns its table, which reads from b. No bytes at all are
// an %[1]s, too.
func Read%[1]s(b []byte) (t %[1]s, err error) {
	if len(b) == 0 {
		b = zero%[1]s
	}`, o.Name)
	} else {
		t.p("// Read%[1]s verifies b and returns its table, which reads from b.\nfunc Read%[1]s(b []byte) (t %[1]s, err error) {", o.Name)
	}
	t.p(`if !Verify%[1]s(b) {
		return t, badBody(%[1]q)
	}
	t.Init(b, flatbuffers.GetUOffsetT(b))
	return t, nil
}
`, o.Name)
	if mayBeNothing(o) {
		t.p("var zero%[1]s = Append%[1]s(nil, nil)\n", o.Name)
	}
	if nests(o) {
		goVerifyNested(t, o)
		return
	}
	tests := make([]string, 0, len(o.Fields))
	for _, f := range o.Fields {
		if !f.Deprecated {
			tests = append(tests, goVerifyField(f))
		}
	}
	t.p("func (c *check) %s(pos int) bool {", checker(o))
	if len(tests) == 0 {
		t.p("_, ok := c.table(pos)\nreturn ok\n}\n")
		return
	}
	t.p("t, ok := c.table(pos)\nreturn ok &&\n%s\n}\n", strings.Join(tests, " &&\n"))
}

// mayBeNothing says that no bytes at all are a value, too. It goes by the name, for
// what is empty today may have fields tomorrow, and be asked by somebody of today.
func mayBeNothing(o *Object) bool { return o.Name == "Empty" }

func checker(o *Object) string { return "is" + o.Name }

// nests says that o has tables in it.
func nests(o *Object) bool {
	for _, f := range o.Fields {
		if !f.Deprecated && f.Type.Object != nil && !f.Type.Object.Struct {
			return true
		}
	}
	return false
}

// goVerifyField is the test of a field that has no table in it.
func goVerifyField(f *Field) string {
	size, _ := f.Type.inline()
	switch {
	case f.Type.Vector && f.Type.Base == reflection.BaseTypeString:
		return fmt.Sprintf("c.texts(&t, %d, %t)", f.Offset, f.Required)
	case f.Type.Vector:
		return fmt.Sprintf("c.numbers(&t, %d, %d, %t)", f.Offset, f.Type.element(), f.Required)
	case f.Type.Base == reflection.BaseTypeString:
		return fmt.Sprintf("c.text(&t, %d, %t)", f.Offset, f.Required)
	case f.Required:
		return fmt.Sprintf("t.must(%d, %d)", f.Offset, size)
	}
	return fmt.Sprintf("t.number(%d, %d)", f.Offset, size)
}

// element is the size of an element of a vector.
func (t Type) element() int {
	switch {
	case t.Object != nil && t.Object.Struct:
		return t.Object.Size
	case t.Object != nil || t.Base == reflection.BaseTypeString:
		return 4
	}
	return scalarSize[t.Base]
}

func goVerifyNested(t *text, o *Object) {
	t.p("func (c *check) %s(pos int) bool {\nt, ok := c.table(pos)", checker(o))
	t.p("if c.deep++; !ok || c.deep > maxDepth {\nreturn false\n}")
	for _, f := range o.Fields {
		if f.Deprecated {
			continue
		}
		switch {
		case f.Type.Object == nil || f.Type.Object.Struct:
			t.p("if !%s {\nreturn false\n}", goVerifyField(f))
		case f.Type.Vector:
			t.p(`at%[1]d, n%[1]d, ok := c.vector(&t, %[1]d, 4, %[2]t)
if !ok {
	return false
}
for ; n%[1]d > 0; n%[1]d-- {
	if pos, ok := c.follow(at%[1]d); !ok || !c.%[3]s(pos) {
		return false
	}
	at%[1]d += 4
}`, f.Offset, f.Required, checker(f.Type.Object))
		default:
			t.p("if pos, ok := c.ref(&t, %d, %t); !ok || pos != 0 && !c.%s(pos) {\nreturn false\n}", f.Offset, f.Required, checker(f.Type.Object))
		}
	}
	t.p("c.deep--\nreturn true\n}\n")
}
