package main

import (
	"fmt"
	"strings"

	"tracker/pkg/rpc/rpcgen/reflection"
)

const tsVerifyHead = tsHeader + `// A buffer that verifies can be read by the classes of flatc, whole: every offset,
// length and vtable lies inside of it, text is UTF-8 with a zero behind it, and what is
// required is there. Numbers of an enum may be unknown, fields may be missing or more
// than we know: that is how schemas grow. Alignment does not matter, for everything is
// read bytewise.

const maxDepth = 64;
const maxBody = 1 << 28;
/** What is visited, shared tables and texts each time, in lengths of the buffer. */
const maxReuse = 8;
/** Of a vtable, and of a field in its table: the runtime takes these for signed numbers. */
const maxNear = 0x7fff;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Walks a buffer from somewhere else. Positions of -1 mean that it is bad. */
class Check {
  private readonly v: DataView;
  private left: number;
  deep = 0;
  // The table that was looked at last.
  private vt = 0;
  private vtLength = 0;
  private pos = 0;

  constructor(private readonly b: Uint8Array) {
    this.v = new DataView(b.buffer, b.byteOffset, b.byteLength);
    this.left = maxReuse * b.length;
  }

  root(): number {
    return this.b.length < 8 || this.b.length > maxBody ? -1 : this.follow(0);
  }

  /** Takes the offset at at, which must be inside. Four bytes behind it are, too. */
  follow(at: number): number {
    const off = this.v.getUint32(at, true);
    return off === 0 || off > this.b.length - 4 - at ? -1 : at + off;
  }

  private spend(n: number): boolean {
    this.left -= n;
    return this.left >= 0;
  }

  table(pos: number): boolean {
    const size = this.b.length;
    const vt = pos - this.v.getInt32(pos, true);
    if (vt < 0 || vt > size - 4) return false;
    // Beside its length a vtable says how long the table is. That may be wrong: Go's
    // builder shares a vtable between tables that differ in nothing else.
    const n = this.v.getUint16(vt, true);
    if (n < 4 || (n & 1) !== 0 || n > maxNear || n > size - vt) return false;
    this.vt = vt;
    this.vtLength = n;
    this.pos = pos;
    return this.spend(8);
  }

  /** Where a field of size bytes stands: 0 when it is absent. */
  private field(slot: number, size: number): number {
    if (slot + 2 > this.vtLength) return 0;
    const off = this.v.getUint16(this.vt + slot, true);
    if (off === 0) return 0;
    return off < 4 || off > maxNear || off + size > this.b.length - this.pos ? -1 : this.pos + off;
  }

  number(slot: number, size: number): boolean {
    return this.field(slot, size) >= 0;
  }

  must(slot: number, size: number): boolean {
    return this.field(slot, size) > 0;
  }

  /** What a field points to: 0 when it is absent. */
  ref(slot: number, required: boolean): number {
    const at = this.field(slot, 4);
    if (at > 0) return this.follow(at);
    return at === 0 && !required ? 0 : -1;
  }

  text(slot: number, required: boolean): boolean {
    const pos = this.ref(slot, required);
    return pos === 0 || (pos > 0 && this.textAt(pos));
  }

  textAt(pos: number): boolean {
    const n = this.v.getUint32(pos, true);
    if (n >= this.b.length - 4 - pos) return false;
    const end = pos + 4 + n;
    if (!this.spend(n + 5) || this.b[end] !== 0) return false;
    for (let i = pos + 4; i < end; i++) {
      if (this.b[i]! > 127) return this.wide(i, end);
    }
    return true;
  }

  private wide(from: number, to: number): boolean {
    try {
      utf8.decode(this.b.subarray(from, to));
      return true;
    } catch {
      return false;
    }
  }

  /** The length of a vector: 0 when it is absent, and -1. */
  count = 0;

  /** Where the elements of a vector begin, count of them. */
  vector(slot: number, size: number, required: boolean): number {
    this.count = 0;
    const pos = this.ref(slot, required);
    if (pos <= 0) return pos;
    const n = this.v.getUint32(pos, true);
    if (n * size > this.b.length - 4 - pos || !this.spend(n * size + 4)) return -1;
    this.count = n;
    return pos + 4;
  }

  numbers(slot: number, size: number, required: boolean): boolean {
    return this.vector(slot, size, required) >= 0;
  }

  texts(slot: number, required: boolean): boolean {
    const at = this.vector(slot, 4, required);
    if (at < 0) return false;
    for (let i = 0, n = this.count; i < n; i++) {
      const pos = this.follow(at + 4 * i);
      if (pos < 0 || !this.textAt(pos)) return false;
    }
    return true;
  }

  /** A table in a field; walk looks into it. Leaves this table to be looked at again. */
  child(slot: number, required: boolean, walk: (c: Check, pos: number) => boolean): boolean {
    const here = this.pos;
    const pos = this.ref(slot, required);
    return pos === 0 || (pos > 0 && walk(this, pos) && this.back(here));
  }

  children(slot: number, required: boolean, walk: (c: Check, pos: number) => boolean): boolean {
    const here = this.pos;
    const at = this.vector(slot, 4, required);
    if (at < 0) return false;
    for (let i = 0, n = this.count; i < n; i++) {
      const pos = this.follow(at + 4 * i);
      if (pos < 0 || !walk(this, pos)) return false;
    }
    return this.back(here);
  }

  private back(pos: number): boolean {
    this.left += 8;
    return this.table(pos);
  }
}

function whole(b: Uint8Array, walk: (c: Check, pos: number) => boolean): boolean {
  const c = new Check(b);
  const pos = c.root();
  return pos > 0 && walk(c, pos);
}
`

func tsVerify(s *Schema) []byte {
	t := &text{}
	t.p("%s", tsVerifyHead)
	for _, o := range s.Tables {
		tests := []string{"c.table(pos)"}
		if nests(o) {
			tests = append(tests, "++c.deep <= maxDepth")
		}
		for _, f := range o.fields() {
			tests = append(tests, tsVerifyField(f))
		}
		if nests(o) {
			tests = append(tests, "c.deep-- > 0")
		}
		t.p("function is%s(c: Check, pos: number): boolean {\n  return (\n    %s\n  );\n}\n", o.Name, strings.Join(tests, " &&\n    "))
		t.p("/** Whether b is a whole and valid %[1]s. */\nexport function verify%[1]s(b: Uint8Array): boolean {\n  return whole(b, is%[1]s);\n}\n", o.Name)
	}
	return t.Bytes()
}

func tsVerifyField(f *Field) string {
	size, _ := f.Type.inline()
	ty := f.Type
	isTable := ty.Object != nil && !ty.Object.Struct
	switch {
	case ty.Vector && ty.Base == reflection.BaseTypeString:
		return fmt.Sprintf("c.texts(%d, %t)", f.Offset, f.Required)
	case ty.Vector && isTable:
		return fmt.Sprintf("c.children(%d, %t, is%s)", f.Offset, f.Required, ty.Object.Name)
	case ty.Vector:
		return fmt.Sprintf("c.numbers(%d, %d, %t)", f.Offset, ty.element(), f.Required)
	case isTable:
		return fmt.Sprintf("c.child(%d, %t, is%s)", f.Offset, f.Required, ty.Object.Name)
	case ty.Base == reflection.BaseTypeString:
		return fmt.Sprintf("c.text(%d, %t)", f.Offset, f.Required)
	case f.Required:
		return fmt.Sprintf("c.must(%d, %d)", f.Offset, size)
	}
	return fmt.Sprintf("c.number(%d, %d)", f.Offset, size)
}
