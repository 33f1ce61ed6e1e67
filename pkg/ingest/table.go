package ingest

import (
	"unsafe"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// record is all that a reader must know of a wire id to take the next datagram: one
// cache line, no pointer. The second live epoch of a device is another record, in
// another table, because hardly a datagram needs it.
//
//	 0        8                24                              56   60 61 62   64
//	┌────────┬────────────────┬───────────────────────────────┬────┬──┬──┬─────┐
//	│ id·hint│ window         │ key                           │ due│dh│fl│fails│
//	└────────┴────────────────┴───────────────────────────────┴────┴──┴──┴─────┘
type record struct {
	name    uint64      // wire id below, above it the tag hint of datagram win.Max-1
	win     seal.Window // empty: no session yet
	key     [32]byte    // of win.Epoch, if keyed
	dueLow  uint32      // see due
	dueHigh uint8
	flags   recordFlags
	fails   uint16 // forgeries on this session, saturating
}

type recordFlags uint8

const (
	keyed    recordFlags = 1 << iota // key is there
	suiteTwo                         // seal.AES128GCM
	hasOlder                         // there is a second live epoch
	swung                            // the last datagram came in the older epoch
	bearers                          // two live epochs are normal
	aliased                          // what it is called elsewhere is in reader.aliases
)

const recordSize = 64

var _ [recordSize]byte = [unsafe.Sizeof(record{})]byte{}

const (
	idBits = 48
	idMask = 1<<idBits - 1
)

func (r *record) id() track.DeviceID { return track.DeviceID(r.name & idMask) }

// hintOf never gives 0, which in a record means that no tag is known.
func hintOf(pkt []byte) uint64 { return uint64(max(1, seal.TagHint(pkt))) }

func (r *record) hint() uint64        { return r.name >> idBits }
func (r *record) setHint(hint uint64) { r.name = r.name&idMask | hint<<idBits }

func (r *record) suite() seal.Suite {
	if r.flags&suiteTwo != 0 {
		return seal.AES128GCM
	}
	return seal.ChaCha20Poly1305
}

// due is the tick at which the device has paid for what it sent, see rate.
func (r *record) due() int64 { return int64(r.dueHigh)<<32 | int64(r.dueLow) }

func (r *record) setDue(t int64) { r.dueLow, r.dueHigh = uint32(t), uint8(t>>32) }

// session copies what belongs to the epoch, and not to the device.
func (r *record) session(from *record) {
	r.win, r.key = from.win, from.key
	r.setHint(from.hint())
	r.flags = r.flags&^keyed | from.flags&keyed
}

// endSession forgets the epoch and its key.
func (r *record) endSession() {
	r.win, r.key = seal.Window{}, [32]byte{}
	r.setHint(0)
	r.flags &^= keyed
}

// table finds records by wire id. It belongs to one goroutine.
//
//	hash ─► part ─► slot: hash tag │ ref ─► slab ─► record
//
// Records lie densely in slabs outside the Go heap and never move. The index before
// them is open addressing on 8-byte slots, so that a million devices need 64 MB of
// records and at most 22 MB of index, and a stranger costs one cache line of the
// index and touches no record. It is cut into parts that grow one at a time: no
// datagram waits for more than a few thousand slots to be moved.
type table struct {
	parts [parts]part
	slabs [][]record
	unmap []func()
	free  []uint32 // refs of removed records
	used  uint32   // refs given out so far
}

type part struct {
	slots []uint64 // 0 is empty; else hash tag in the upper half, ref+1 in the lower
	n     int
}

const (
	partBits  = 6
	parts     = 1 << partBits
	firstPart = 16

	slabBits = 15
	slabLen  = 1 << slabBits // 2 MiB of records
)

func newTable() *table {
	t := new(table)
	for i := range t.parts {
		t.parts[i].slots = make([]uint64, firstPart)
	}
	return t
}

// mix spreads an id over 64 bits; the finisher of MurmurHash3. Ids are random and
// chosen by the server, so nobody can aim at a slot.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

const tagMask = 0xffffffff << 32

// tagOf uses hash bits that choose neither part nor slot.
func tagOf(hash uint64) uint64 { return hash << (64 - partBits - 32) & tagMask }

func (t *table) part(hash uint64) *part { return &t.parts[hash>>(64-partBits)] }

func (t *table) at(ref uint32) *record {
	return &t.slabs[ref>>slabBits][ref&(slabLen-1)]
}

// firstSlot is where the search for a hash starts.
func (t *table) firstSlot(hash uint64) uint64 {
	p := t.part(hash)
	return p.slots[hash&uint64(len(p.slots)-1)]
}

// guess returns the ref of the record that the id most likely has, without touching
// any record.
func (t *table) guess(hash uint64) (ref uint32, ok bool) {
	p, tag := t.part(hash), tagOf(hash)
	mask := uint64(len(p.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		switch slot := p.slots[i]; {
		case slot == 0:
			return 0, false
		case slot&tagMask == tag:
			return uint32(slot) - 1, true
		}
	}
}

// find returns the record of an id, or nil. It is valid until the id is removed.
func (t *table) find(id track.DeviceID) *record {
	_, r := t.search(id)
	return r
}

func (t *table) search(id track.DeviceID) (slot uint64, r *record) {
	hash := mix(uint64(id))
	p, tag := t.part(hash), tagOf(hash)
	mask := uint64(len(p.slots) - 1)
	for i := hash & mask; p.slots[i] != 0; i = (i + 1) & mask {
		if p.slots[i]&tagMask != tag {
			continue
		}
		if r := t.at(uint32(p.slots[i]) - 1); r.id() == id {
			return i, r
		}
	}
	return 0, nil
}

// insert adds an empty record for an id that the table does not hold.
func (t *table) insert(id track.DeviceID) *record {
	ref := t.take()
	hash := mix(uint64(id))
	p := t.part(hash)
	if (p.n+1)*4 > len(p.slots)*3 {
		t.grow(p)
	}
	p.put(hash, uint64(ref+1))
	p.n++
	r := t.at(ref)
	r.name = uint64(id)
	return r
}

func (p *part) put(hash, value uint64) {
	mask := uint64(len(p.slots) - 1)
	i := hash & mask
	for p.slots[i] != 0 {
		i = (i + 1) & mask
	}
	p.slots[i] = tagOf(hash) | value
}

func (t *table) take() uint32 {
	if n := len(t.free); n > 0 {
		ref := t.free[n-1]
		t.free = t.free[:n-1]
		return ref
	}
	if int(t.used) == len(t.slabs)*slabLen {
		slab, unmap := newSlab()
		t.slabs, t.unmap = append(t.slabs, slab), append(t.unmap, unmap)
	}
	t.used++
	return t.used - 1
}

// hashAt is the whole hash of the id in a slot, read from its record.
func (t *table) hashAt(slot uint64) uint64 { return mix(uint64(t.at(uint32(slot) - 1).id())) }

func (t *table) grow(p *part) {
	old := p.slots
	p.slots = make([]uint64, 2*len(old))
	for _, slot := range old {
		if slot != 0 {
			p.put(t.hashAt(slot), uint64(uint32(slot)))
		}
	}
}

// remove wipes the record of an id, key and all.
func (t *table) remove(id track.DeviceID) {
	i, r := t.search(id)
	if r == nil {
		return
	}
	p := t.part(mix(uint64(id)))
	t.free = append(t.free, uint32(p.slots[i])-1)
	t.closeGap(p, i)
	p.n--
	*r = record{}
}

// closeGap takes slot i out and moves back what had to step over it, so that no
// search ever meets a hole it should have crossed.
func (t *table) closeGap(p *part, i uint64) {
	mask := uint64(len(p.slots) - 1)
	for j := (i + 1) & mask; p.slots[j] != 0; j = (j + 1) & mask {
		home := t.hashAt(p.slots[j]) & mask
		if (j-home)&mask >= (j-i)&mask {
			p.slots[i] = p.slots[j]
			i = j
		}
	}
	p.slots[i] = 0
}

// len is how many ids the table holds.
func (t *table) len() int { return int(t.used) - len(t.free) }

// sweep calls yield for up to n records from a cursor on and returns the next
// cursor; it starts over at the end. yield may remove the record it is given.
func (t *table) sweep(cursor uint32, n int, yield func(*record)) uint32 {
	for range min(n, int(t.used)) {
		if cursor >= t.used {
			cursor = 0
		}
		if r := t.at(cursor); r.name != 0 {
			yield(r)
		}
		cursor++
	}
	return cursor
}

// release wipes the keys and gives the memory back. The table must not be used
// afterwards.
func (t *table) release() {
	for i, slab := range t.slabs {
		clear(slab[:min(slabLen, int(t.used)-i*slabLen)])
		t.unmap[i]()
	}
	t.slabs, t.unmap = nil, nil
}
