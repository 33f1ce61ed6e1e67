package trk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"

	"tracker/pkg/rpc"
)

// seeds are buffers of k, from our encoder and from flatc's builder.
func seeds(r *rand.Rand, k tableKind, n int) [][]byte {
	var all [][]byte
	for i := range n {
		v := k.value()
		fill(r, reflect.ValueOf(v).Elem(), i%2 == 0)
		b := flatbuffers.NewBuilder(0)
		b.Finish(k.pack(b, v))
		all = append(all, k.encode(nil, v), bytes.Clone(b.FinishedBytes()))
	}
	return all
}

// mustWalk reads everything in b if it verifies, and holds it against itself after
// another trip through the encoder.
func mustWalk(t *testing.T, k tableKind, b []byte) (valid bool) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("%s: %v\n%x", k.name, p, b)
		}
	}()
	v, err := k.read(b)
	if err != nil {
		return false
	}
	once := k.encode(nil, v)
	again, err := k.read(once)
	if err != nil {
		t.Fatalf("%s: what was read does not verify when it is written: %v\n%x", k.name, err, b)
	}
	if twice := k.encode(nil, again); !bytes.Equal(once, twice) {
		t.Fatalf("%s: read back differently\n%x\n%x", k.name, once, twice)
	}
	return true
}

func TestWhatVerifiesCanBeReadWhateverWasDoneToIt(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	rounds := 400
	if testing.Short() {
		rounds = 40
	}
	accepted, refused := 0, 0
	for _, k := range tableKinds {
		for _, seed := range seeds(r, k, 3) {
			if !mustWalk(t, k, seed) {
				t.Fatalf("%s: refused as it came: %x", k.name, seed)
			}
			for range rounds {
				if mustWalk(t, k, mutate(r, seed)) {
					accepted++
				} else {
					refused++
				}
			}
		}
	}
	if accepted == 0 || refused == 0 {
		t.Fatalf("%d accepted, %d refused: the mutations show nothing", accepted, refused)
	}
}

// mutate damages a few places, mostly as offsets and lengths would be.
func mutate(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(3) {
		if len(b) < 5 {
			return b
		}
		at := r.IntN(len(b) - 4)
		switch r.IntN(6) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = byte(r.Uint32())
		case 2:
			binary.LittleEndian.PutUint32(b[at&^3:], r.Uint32N(uint32(2*len(b))))
		case 3:
			binary.LittleEndian.PutUint32(b[at&^3:], -r.Uint32N(uint32(2*len(b))))
		case 4:
			binary.LittleEndian.PutUint16(b[at&^1:], uint16(r.Uint32N(64)))
		case 5:
			b = b[:r.IntN(len(b))]
		}
	}
	return b
}

func TestVerifyRefusesEveryTruncation(t *testing.T) {
	b := AppendWatchFrame(nil, frameOf(3))
	for n := range b {
		if VerifyWatchFrame(b[:n]) {
			t.Errorf("%d of %d bytes verify", n, len(b))
		}
	}
}

// FuzzVerify takes a table's number and a buffer.
func FuzzVerify(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for i, k := range tableKinds {
		for _, b := range seeds(r, k, 1) {
			f.Add(byte(i), b)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		mustWalk(t, tableKinds[int(which)%len(tableKinds)], b)
	})
}

func TestVerifyRefuses(t *testing.T) {
	good := AppendSubReq(nil, &SubReqT{Topic: "abc"})
	at := bytes.Index(good, []byte("abc"))
	damage := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	root := binary.LittleEndian.Uint32(good)
	vt := root - binary.LittleEndian.Uint32(good[root:])
	for name, b := range map[string][]byte{
		"nothing":                     nil,
		"only an offset":              good[:4],
		"a root outside":              damage(func(b []byte) { binary.LittleEndian.PutUint32(b, uint32(len(b))) }),
		"a root at itself":            damage(func(b []byte) { binary.LittleEndian.PutUint32(b, 0) }),
		"a vtable before the buffer":  damage(func(b []byte) { binary.LittleEndian.PutUint32(b[root:], root+4) }),
		"a vtable behind the buffer":  damage(func(b []byte) { binary.LittleEndian.PutUint32(b[root:], -uint32(len(b))) }),
		"a vtable of odd length":      damage(func(b []byte) { b[vt] = 5 }),
		"a vtable of no length":       damage(func(b []byte) { b[vt] = 0 }),
		"a vtable too long":           damage(func(b []byte) { b[vt], b[vt+1] = 0, 1 }),
		"a field in the vtable's way": damage(func(b []byte) { b[vt+4] = 2 }),
		"a field outside":             damage(func(b []byte) { b[vt+4] = 200 }),
		"text outside":                damage(func(b []byte) { b[root+4] = 200 }),
		"text too long":               damage(func(b []byte) { b[at-4] = 200 }),
		"text of most of 4 GiB":       damage(func(b []byte) { binary.LittleEndian.PutUint32(b[at-4:], 0xffffffff) }),
		"text that does not end":      damage(func(b []byte) { b[at+3] = 1 }),
		"text that is not UTF-8":      damage(func(b []byte) { b[at] = 0xff }),
		"no text where it must be":    damage(func(b []byte) { b[vt+4] = 0 }),
	} {
		if VerifySubReq(b) {
			t.Errorf("%s: accepted: %x", name, b)
		}
	}
	if !VerifySubReq(good) {
		t.Errorf("refused: %x", good)
	}
}

// TestVerifyRefusesWhatReadsAsNegative is about numbers of 16 bits, which the runtime of
// TypeScript takes for signed: what it would read there nobody has looked at.
func TestVerifyRefusesWhatReadsAsNegative(t *testing.T) {
	far := func(field uint16) []byte {
		const table = 12
		b := make([]byte, 1<<16)
		binary.LittleEndian.PutUint32(b, table)
		binary.LittleEndian.PutUint16(b[4:], 6)
		binary.LittleEndian.PutUint16(b[8:], field)
		binary.LittleEndian.PutUint32(b[table:], table-4)
		binary.LittleEndian.PutUint32(b[table+int(field):], 4) // to a text of no bytes
		return b
	}
	if !VerifySubReq(far(1<<15 - 4)) {
		t.Error("a field at 32,764 is refused")
	}
	if VerifySubReq(far(1 << 15)) {
		t.Error("a field at 32,768 is accepted")
	}
	const at = 1 << 14 // of the vtable, behind its table
	long := make([]byte, at+1<<15)
	binary.LittleEndian.PutUint32(long, 4)
	binary.LittleEndian.PutUint32(long[4:], 1<<32-(at-4))
	binary.LittleEndian.PutUint16(long[at:], 1<<15)
	binary.LittleEndian.PutUint16(long[at+4:], 8)
	binary.LittleEndian.PutUint32(long[12:], 4)
	if VerifySubReq(long) {
		t.Error("a vtable of 32,768 bytes is accepted")
	}
	binary.LittleEndian.PutUint16(long[at:], 1<<15-2)
	if !VerifySubReq(long) {
		t.Error("a vtable of 32,766 bytes is refused")
	}
}

func TestVectorsAreBounded(t *testing.T) {
	good := AppendFixes(nil, &FixesT{Fixes: []*FixT{{Time: 1}, {Time: 2}}})
	size := bytes.LastIndex(good[:len(good)-96], []byte{2, 0, 0, 0})
	for _, n := range []uint32{3, 1 << 28, 0x05555556, 0xffffffff} { // 48 times the third is 32 more than 2^32
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[size:], n)
		if VerifyFixes(b) {
			t.Errorf("%d fixes verify in %d bytes", n, len(b))
		}
	}
}

// TestSharedPartsAreBounded is about small buffers that say much by saying the same
// again and again.
func TestSharedPartsAreBounded(t *testing.T) {
	text := strings.Repeat("x", 4000)
	shared := func(n int) []byte {
		b := flatbuffers.NewBuilder(0)
		s := b.CreateString(text)
		LatestReqStartDevicesVector(b, n)
		for range n {
			b.PrependUOffsetT(s)
		}
		v := b.EndVector(n)
		LatestReqStart(b)
		LatestReqAddDevices(b, v)
		b.Finish(LatestReqEnd(b))
		return b.FinishedBytes()
	}
	if !VerifyLatestReq(shared(5)) {
		t.Error("the same text five times is refused")
	}
	if VerifyLatestReq(shared(1000)) {
		t.Error("the same 4,000 bytes a thousand times are accepted")
	}
}

func TestReadNamesTheTable(t *testing.T) {
	_, err := ReadSumReq([]byte{1, 2, 3})
	var e *rpc.Error
	if !errors.As(err, &e) || e.Status != rpc.BadBody || !strings.HasPrefix(e.Message, "SumReq: ") {
		t.Errorf("got %v", err)
	}
	if _, err := ReadSumReq(nil); err == nil {
		t.Error("nothing is a SumReq")
	}
	if _, err := ReadEmpty(nil); err != nil {
		t.Errorf("nothing is not an Empty: %v", err)
	}
	if _, err := ReadEmpty([]byte{1}); err == nil {
		t.Error("one byte is an Empty")
	}
}

func TestUnalignedBuffersAreRead(t *testing.T) {
	want := frameOf(2)
	for shift := range 8 {
		b := AppendWatchFrame(make([]byte, shift), want)[shift:]
		got, err := ReadWatchFrame(append(make([]byte, 8-shift, 1024), b...)[8-shift:])
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.UnPack(), want) {
			t.Errorf("shifted by %d: got %+v", shift, got.UnPack())
		}
	}
}
