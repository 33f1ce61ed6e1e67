package main

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tracker/pkg/rpc/rpcgen/reflection"
)

const goEncodeHead = goHeader + `package %s

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// The encoders write front to back into what they are given: a constant block with the
// vtable and the numbers of a table, patched in place, then what its offsets point to.
// Nothing is allocated but room in dst. All numbers are written, whatever their
// default. Everything is aligned relative to the first byte of the buffer.
//
// What an encoder writes is valid, unless a table or a struct that is required is
// nil. Text that is not UTF-8 has its bad bytes replaced.

// pad makes the length of what follows base leave rest when divided by to.
func pad(dst []byte, base, to, rest int) []byte {
	for (len(dst)-base)%%to != rest {
		dst = append(dst, 0)
	}
	return dst
}

// link has the offset at field point to the end of dst.
func link(dst []byte, field int) {
	binary.LittleEndian.PutUint32(dst[field:], uint32(len(dst)-field))
}

// absent takes a field out of the vtable whose entry for it stands at entry.
func absent(dst []byte, entry int) {
	binary.LittleEndian.PutUint16(dst[entry:], 0)
}

func putText(dst []byte, base, field int, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	dst = pad(dst, base, 4, 0)
	link(dst, field)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s)))
	dst = append(dst, s...)
	return append(dst, 0)
}

func putTexts(dst []byte, base, field int, texts []string) []byte {
	dst, at := putRefs(dst, base, field, len(texts))
	for i, s := range texts {
		dst = putText(dst, base, at+4*i, s)
	}
	return dst
}

// putRefs writes a vector of n offsets that begins at at and is filled in later.
func putRefs(dst []byte, base, field, n int) (out []byte, at int) {
	dst = pad(dst, base, 4, 0)
	link(dst, field)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	at = len(dst)
	dst = slices.Grow(dst, 4*n)
	return dst[:at+4*n], at
}

// putVector writes a vector of n elements of size bytes that begins at at and has to
// be filled in.
func putVector(dst []byte, base, field, n, size, align int) (out []byte, at int) {
	dst = pad(dst, base, max(align, 4), (max(align, 4)-4)%%max(align, 4))
	link(dst, field)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	at = len(dst)
	dst = slices.Grow(dst, n*size)
	return dst[:at+n*size], at
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}
`

// layout is how a table is written: its vtable and its inline part as one block.
type layout struct {
	block  []byte
	vtable int         // length
	at     map[int]int // by slot: offset of the field in the table
	align  int         // 4 or 8
	phase  int         // what the table's position leaves divided by align
}

// layoutOf puts the wide fields first. A table with numbers of eight bytes begins
// four before a multiple of eight, so that they follow its first offset without a gap.
func layoutOf(o *Object) layout {
	l := layout{vtable: 4 + 2*len(o.Fields), at: map[int]int{}, align: 4}
	fields := make([]*Field, 0, len(o.Fields))
	for _, f := range o.Fields {
		if f.Deprecated {
			continue
		}
		fields = append(fields, f)
		if _, align := f.Type.inline(); align > 4 {
			l.align, l.phase = 8, 4
		}
	}
	slices.SortStableFunc(fields, func(a, b *Field) int {
		_, x := a.Type.inline()
		_, y := b.Type.inline()
		return cmp.Compare(y, x)
	})
	end := 4
	for _, f := range fields {
		size, align := f.Type.inline()
		for (l.phase+end)%align != 0 {
			end++
		}
		l.at[f.Slot] = end
		end += size
	}
	l.block = make([]byte, l.vtable+end)
	binary.LittleEndian.PutUint16(l.block, uint16(l.vtable))
	binary.LittleEndian.PutUint16(l.block[2:], uint16(end))
	for slot, at := range l.at {
		binary.LittleEndian.PutUint16(l.block[4+2*slot:], uint16(at))
	}
	binary.LittleEndian.PutUint32(l.block[l.vtable:], uint32(l.vtable))
	return l
}

// lead is how many bytes stand between the first offset of a buffer and the block.
func (l layout) lead() int {
	n := 4
	for (n+l.vtable)%l.align != l.phase {
		n++
	}
	return n - 4
}

// flat says that nothing in o is an offset.
func flat(o *Object) bool {
	return !slices.ContainsFunc(o.Fields, func(f *Field) bool { return !f.Deprecated && f.Type.isRef() })
}

func goEncode(s *Schema, pkg string) ([]byte, error) {
	t := &text{}
	t.p(goEncodeHead, pkg)
	for _, o := range s.Structs {
		goEncodeStruct(t, o)
	}
	inner := innerTables(s)
	for _, o := range s.Tables {
		if flat(o) {
			goEncodeFlat(t, o)
		} else {
			goEncodeRoot(t, o)
		}
		if inner[o] || !flat(o) {
			goEncodeInner(t, o)
		}
	}
	return t.gofmt()
}

// innerTables are those that stand in others.
func innerTables(s *Schema) map[*Object]bool {
	inner := map[*Object]bool{}
	for _, o := range s.Tables {
		for _, f := range o.Fields {
			if !f.Deprecated && f.Type.Object != nil && !f.Type.Object.Struct {
				inner[f.Type.Object] = true
			}
		}
	}
	return inner
}

func goEncodeStruct(t *text, o *Object) {
	t.p("// put%[1]s writes into b, which is as long as a %[1]s and zero.\nfunc put%[1]s(b []byte, t *%[1]sT) {\n_ = b[%[2]d]", o.Name, o.Size-1)
	for _, f := range o.Fields {
		t.p("%s", goPut("b", f.Offset, f.Type, "t."+camel(f.Name)))
	}
	t.p("}\n")
}

// goPut writes the number v at at of b.
func goPut(b string, at int, t Type, v string) string {
	return goPutAt(b, strconv.Itoa(at), t, v)
}

func goPutAt(b, at string, t Type, v string) string {
	switch t.Base {
	case reflection.BaseTypeBool:
		return fmt.Sprintf("%s[%s] = bit(%s)", b, at, v)
	case reflection.BaseTypeByte, reflection.BaseTypeUByte:
		return fmt.Sprintf("%s[%s] = byte(%s)", b, at, v)
	case reflection.BaseTypeFloat:
		v = "math.Float32bits(" + v + ")"
	case reflection.BaseTypeDouble:
		v = "math.Float64bits(" + v + ")"
	default:
		v = fmt.Sprintf("uint%d(%s)", 8*scalarSize[t.Base], v)
	}
	return fmt.Sprintf("binary.LittleEndian.PutUint%d(%s[%s:], %s)", 8*scalarSize[t.Base], b, at, v)
}

// quote writes a block as a Go string.
func quote(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\x%02x`, c)
	}
	return `"` + s.String() + `"`
}

// flatBlock is the whole buffer of a flat table without its numbers, which begin at head.
func flatBlock(o *Object) (whole []byte, head int) {
	l := layoutOf(o)
	start := 4 + l.lead()
	whole = append(make([]byte, start), l.block...)
	binary.LittleEndian.PutUint32(whole, uint32(start+l.vtable))
	return whole, start + l.vtable + 4
}

// goEncodeFlat is the encoder of a table of numbers and structs: one constant, patched.
func goEncodeFlat(t *text, o *Object) {
	l := layoutOf(o)
	start := 4 + l.lead()
	whole, _ := flatBlock(o)
	t.p("// Append%[1]s appends t as a whole buffer of %[2]d bytes. A nil t is a zero one.\nfunc Append%[1]s(dst []byte, t *%[1]sT) []byte {", o.Name, len(whole))
	t.p("dst = append(dst, %s...)", quote(whole))
	if len(l.at) > 0 {
		t.p("if t == nil {\nt = new(%sT)\n}", o.Name)
		t.p("b := dst[len(dst)-%d:]\n_ = b[%[2]d]", len(whole), len(whole)-1)
		goPatch(t, o, l, start, "b")
	}
	t.p("return dst\n}\n")
}

// goPatch writes the numbers and structs of a table whose block begins at start of b.
func goPatch(t *text, o *Object, l layout, start int, b string) {
	for _, f := range o.Fields {
		at := start + l.vtable + l.at[f.Slot]
		switch {
		case f.Deprecated || f.Type.isRef():
		case f.Type.Object != nil:
			t.p("if t.%[1]s != nil {\nput%[2]s(%[3]s[%[4]d:%[5]d], t.%[1]s)\n} else {\nabsent(%[3]s, %[6]d)\n}",
				camel(f.Name), f.Type.Object.Name, b, at, at+f.Type.Object.Size, start+f.Offset)
		default:
			t.p("%s", goPut(b, at, f.Type, "t."+camel(f.Name)))
		}
	}
}

func goEncodeRoot(t *text, o *Object) {
	t.p(`// Append%[1]s appends t as a whole buffer. A nil t is a zero one.
func Append%[1]s(dst []byte, t *%[1]sT) []byte {
	base := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	return put%[1]s(dst, base, base, t)
}
`, o.Name)
}

// goEncodeInner is the encoder of a table that the offset at field points to.
func goEncodeInner(t *text, o *Object) {
	l := layoutOf(o)
	t.p("func put%[1]s(dst []byte, base, field int, t *%[1]sT) []byte {", o.Name)
	if len(l.at) > 0 {
		t.p("if t == nil {\nt = new(%sT)\n}", o.Name)
	} else {
		t.p("_ = t")
	}
	rest := ((l.phase-l.vtable)%l.align + l.align) % l.align
	t.p("dst = pad(dst, base, %d, %d)\nat := len(dst)\ndst = append(dst, %s...)", l.align, rest, quote(l.block))
	t.p("binary.LittleEndian.PutUint32(dst[field:], uint32(at+%d-field))", l.vtable)
	if numbers(o) {
		t.p("b := dst[at:]\n_ = b[%d]", len(l.block)-1)
		goPatch(t, o, l, 0, "b")
	}
	for _, f := range o.Fields {
		if !f.Deprecated && f.Type.isRef() {
			goPutRef(t, f, l)
		}
	}
	t.p("return dst\n}\n")
}

func numbers(o *Object) bool {
	return slices.ContainsFunc(o.Fields, func(f *Field) bool { return !f.Deprecated && !f.Type.isRef() })
}

func goPutRef(t *text, f *Field, l layout) {
	v := "t." + camel(f.Name)
	at := fmt.Sprintf("at+%d", l.vtable+l.at[f.Slot])
	there := v + " != nil"
	if !f.Type.Vector && f.Type.Object == nil {
		there = v + ` != ""`
	}
	// A text or a vector that is required is there, if empty. A table is somebody's
	// mistake, which the other end will find.
	always := f.Required && (f.Type.Vector || f.Type.Object == nil)
	if always {
		t.p("{")
		goPutValue(t, f, v, at)
		t.p("}")
		return
	}
	t.p("if %s {", there)
	goPutValue(t, f, v, at)
	t.p("} else {\nabsent(dst, at+%d)\n}", f.Offset)
}

func goPutValue(t *text, f *Field, v, at string) {
	ty := f.Type
	i := strconv.Itoa(f.Slot)
	switch {
	case !ty.Vector && ty.Object == nil:
		t.p("dst = putText(dst, base, %s, %s)", at, v)
	case !ty.Vector:
		t.p("dst = put%s(dst, base, %s, %s)", ty.Object.Name, at, v)
	case ty.Base == reflection.BaseTypeString:
		t.p("dst = putTexts(dst, base, %s, %s)", at, v)
	case ty.Object != nil && !ty.Object.Struct:
		t.p("out, at%[1]s := putRefs(dst, base, %[2]s, len(%[3]s))\ndst = out\nfor i, e := range %[3]s {\ndst = put%[4]s(dst, base, at%[1]s+4*i, e)\n}", i, at, v, ty.Object.Name)
	case ty.Object != nil:
		size := ty.Object.Size
		t.p(`out, at%[1]s := putVector(dst, base, %[2]s, len(%[3]s), %[4]d, %[5]d)
dst = out
clear(dst[at%[1]s:])
for i, e := range %[3]s {
	if e != nil {
		put%[6]s(dst[at%[1]s+%[4]d*i:at%[1]s+%[4]d*(i+1)], e)
	}
}`, i, at, v, size, ty.Object.Align, ty.Object.Name)
	case ty.Base == reflection.BaseTypeUByte && ty.Enum == nil:
		t.p("out, at%[1]s := putVector(dst, base, %[2]s, len(%[3]s), 1, 1)\ndst = out\ncopy(dst[at%[1]s:], %[3]s)", i, at, v)
	default:
		size := scalarSize[ty.Base]
		t.p("out, at%[1]s := putVector(dst, base, %[2]s, len(%[3]s), %[4]d, %[4]d)\ndst = out\nfor i, e := range %[3]s {\n%[5]s\n}",
			i, at, v, size, goPutAt("dst", fmt.Sprintf("at%s+%d*i", i, size), ty, "e"))
	}
}
