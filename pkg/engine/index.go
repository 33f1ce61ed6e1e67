package engine

// index finds records by a key that stands in the record itself: open addressing
// with linear probing over record numbers, four bytes a slot, at most three quarters
// full. A map would keep every key a second time; for a million devices that is 30 MB
// a key.
type index struct {
	slots []uint32 // record number + 1; 0 = free, gone = a record was here
	used  int      // slots that are not free
	live  int
	hash  func(i uint32) uint64 // of the key of a record
}

const gone = ^uint32(0)

// find returns the record with that hash for which same is true.
func (x *index) find(h uint64, same func(i uint32) bool) (uint32, bool) {
	if len(x.slots) == 0 {
		return 0, false
	}
	mask := uint64(len(x.slots) - 1)
	for at := h & mask; ; at = (at + 1) & mask {
		switch s := x.slots[at]; {
		case s == 0:
			return 0, false
		case s != gone && same(s-1):
			return s - 1, true
		}
	}
}

// add files a record under its key, which must not be there yet.
func (x *index) add(i uint32) {
	if 4*(x.used+1) > 3*len(x.slots) {
		x.rebuild()
	}
	x.place(x.hash(i), i)
	x.live++
}

func (x *index) place(h uint64, i uint32) {
	mask := uint64(len(x.slots) - 1)
	at := h & mask
	for x.slots[at] != 0 {
		at = (at + 1) & mask
	}
	x.slots[at] = i + 1
	x.used++
}

// remove takes a record out. Its key must still be what it was filed under.
func (x *index) remove(i uint32) {
	if len(x.slots) == 0 {
		return
	}
	mask := uint64(len(x.slots) - 1)
	for at := x.hash(i) & mask; x.slots[at] != 0; at = (at + 1) & mask {
		if x.slots[at] == i+1 {
			x.slots[at] = gone
			x.live--
			return
		}
	}
}

// rebuild drops the slots of removed records and makes room for as many again.
func (x *index) rebuild() {
	size := 64
	for size < 2*(x.live+1) {
		size *= 2
	}
	old := x.slots
	x.slots, x.used = make([]uint32, size), 0
	for _, s := range old {
		if s != 0 && s != gone {
			x.place(x.hash(s-1), s-1)
		}
	}
}

// mix spreads an id over 64 bits. Ids are random already, but only their low bits
// would count, and one reader's devices share those.
func mix(id uint64) uint64 {
	id *= 0x9e3779b97f4a7c15 // 2^64 / golden ratio
	return id ^ id>>32
}
