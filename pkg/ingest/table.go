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
//	hash ─► part ─► slot: hash │ ref ─► slab ─► record
//
// Records lie densely in slabs outside the Go heap and never move. The index before
// them is open addressing on 8-byte slots, so that a million devices need 64 MB of
// records and 11 to 22 MB of index, and a stranger costs one cache line of the index
// and touches no record. It is cut into parts that grow one at a time, without a
// look at the records: no datagram waits for more than a million slots to be moved,
// which is some milliseconds for a fleet of ten million.
type table struct {
	parts [parts]part
	slabs [][]record
	unmap []func() // of each slab
	free  []uint32 // refs of removed records
	used  uint32   // refs given out so far
}

type part struct {
	slots []uint64 // 0 is empty; else lower half of the hash, and below it ref+1
	n     int
	unmap func()
}

const (
	partBits  = 2
	parts     = 1 << partBits
	firstPart = 64

	hugePage = 2 << 20
	slabBits = 15
	slabLen  = 1 << slabBits // 2 MiB of records
)

func newTable() *table {
	t := new(table)
	for i := range t.parts {
		t.parts[i].resize(firstPart)
	}
	return t
}

// resize makes n empty slots, in huge pages once they fill one.
func (p *part) resize(n int) {
	if n*8 < hugePage {
		p.slots, p.unmap = make([]uint64, n), func() {}
		return
	}
	p.slots, p.unmap = newPages[uint64](n)
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

func (t *table) part(hash uint64) *part { return &t.parts[hash>>(64-partBits)] }

func (t *table) at(ref uint32) *record {
	return &t.slabs[ref>>slabBits][ref&(slabLen-1)]
}

// home is where the search for the hash in a slot starts.
func (p *part) home(slot uint64) uint64 { return slot >> 32 & uint64(len(p.slots)-1) }

// firstSlot is what stands where the search for a hash starts.
func (t *table) firstSlot(hash uint64) uint64 {
	p := t.part(hash)
	return p.slots[p.home(hash<<32)]
}

// guess returns the ref of the record that a hash most likely belongs to, without
// touching any record.
func (t *table) guess(hash uint64) (ref uint32, found bool) {
	p, mask := t.part(hash), uint64(len(t.part(hash).slots)-1)
	for i := p.home(hash << 32); ; i = (i + 1) & mask {
		switch slot := p.slots[i]; {
		case slot == 0:
			return 0, false
		case uint32(slot>>32) == uint32(hash):
			return uint32(slot) - 1, true
		}
	}
}

// find returns the record of an id, or nil. It is valid until the id is removed.
func (t *table) find(id track.DeviceID) *record {
	_, r := t.search(id)
	return r
}

func (t *table) search(id track.DeviceID) (at uint64, r *record) {
	hash := mix(uint64(id))
	p, mask := t.part(hash), uint64(len(t.part(hash).slots)-1)
	for i := p.home(hash << 32); p.slots[i] != 0; i = (i + 1) & mask {
		if uint32(p.slots[i]>>32) != uint32(hash) {
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
		p.grow()
	}
	p.put(hash<<32 | uint64(ref+1))
	p.n++
	r := t.at(ref)
	r.name = uint64(id)
	return r
}

func (p *part) put(slot uint64) {
	mask := uint64(len(p.slots) - 1)
	i := p.home(slot)
	for p.slots[i] != 0 {
		i = (i + 1) & mask
	}
	p.slots[i] = slot
}

func (p *part) grow() {
	old, unmap := p.slots, p.unmap
	p.resize(2 * len(old))
	for _, slot := range old {
		if slot != 0 {
			p.put(slot)
		}
	}
	unmap()
}

func (t *table) take() uint32 {
	if n := len(t.free); n > 0 {
		ref := t.free[n-1]
		t.free = t.free[:n-1]
		return ref
	}
	if int(t.used) == len(t.slabs)*slabLen {
		slab, unmap := newPages[record](slabLen)
		t.slabs, t.unmap = append(t.slabs, slab), append(t.unmap, unmap)
	}
	t.used++
	return t.used - 1
}

// remove wipes the record of an id, key and all.
func (t *table) remove(id track.DeviceID) {
	i, r := t.search(id)
	if r == nil {
		return
	}
	p := t.part(mix(uint64(id)))
	t.free = append(t.free, uint32(p.slots[i])-1)
	p.closeGap(i)
	p.n--
	*r = record{}
}

// closeGap takes slot i out and moves back what had to step over it, so that no
// search ever meets a hole it should have crossed.
func (p *part) closeGap(i uint64) {
	mask := uint64(len(p.slots) - 1)
	for j := (i + 1) & mask; p.slots[j] != 0; j = (j + 1) & mask {
		if (j-p.home(p.slots[j]))&mask >= (j-i)&mask {
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
	for i := range t.parts {
		t.parts[i].unmap()
		t.parts[i] = part{}
	}
	t.slabs, t.unmap = nil, nil
}
