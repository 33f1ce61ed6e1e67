package fan

import (
	"math/bits"

	"tracker/pkg/track"
)

// index finds a sender by its device. It is asked for every update of every viewer, so it
// is an open table and no map; it never changes once it is filled.
type index struct {
	keys  []track.DeviceID
	turns []int32
	shift uint
}

func newIndex(devices []track.DeviceID) *index {
	bit := uint(bits.Len(uint(4*len(devices) + 4)))
	x := &index{keys: make([]track.DeviceID, 1<<bit), turns: make([]int32, 1<<bit), shift: 64 - bit}
	for turn, id := range devices {
		at := x.slot(id)
		for x.keys[at] != 0 {
			at = (at + 1) & (len(x.keys) - 1)
		}
		x.keys[at], x.turns[at] = id, int32(turn)
	}
	return x
}

func (x *index) slot(id track.DeviceID) int {
	return int(uint64(id) * 0x9e3779b97f4a7c15 >> x.shift)
}

func (x *index) find(id track.DeviceID) (turn int, ok bool) {
	for at := x.slot(id); ; at = (at + 1) & (len(x.keys) - 1) {
		switch x.keys[at] {
		case id:
			return int(x.turns[at]), id != 0
		case 0:
			return 0, false
		}
	}
}

// cell is what a viewer knows of a sender.
type cell struct {
	next     uint32 // one more than the highest update seen
	lat, lon int32  // the place that it would show
}

// row is what a viewer knows of all senders. It belongs to the viewer's reader.
type row struct {
	cells []cell
	holes map[int32][]uint64 // by turn, only after a gap: the updates that were passed over

	received  int64 // each update once
	duplicate int64
	disorder  int64  // came after a newer one of the same sender
	strange   int64  // fixes of a sender that the plan does not have
	foreign   int64  // fixes of devices that are not ours
	worst     []Pair // strange ones
	odd       []Pair // the first that came twice or late
}

// Pair is one thing that went wrong between a sender and a viewer.
type Pair struct {
	Receiver string `json:"receiver"`
	Sender   string `json:"sender"`
	What     string `json:"what"`
	Want     string `json:"want"`
	Got      string `json:"got"`
}

const mostPairs = 5

// note files update seq of a sender, and says whether it is the first time that it came.
func (r *row) note(turn int, seq uint32) (fresh bool) {
	c := &r.cells[turn]
	switch {
	case seq == c.next:
		c.next++
	case seq > c.next:
		r.gap(int32(turn), c.next, seq)
		c.next = seq + 1
	case r.fill(int32(turn), seq):
		r.disorder++
	default:
		r.duplicate++
		return false
	}
	r.received++
	return true
}

func (r *row) gap(turn int32, from, to uint32) {
	if r.holes == nil {
		r.holes = map[int32][]uint64{}
	}
	set := r.holes[turn]
	for words := int(to/64 + 1); len(set) < words; {
		set = append(set, 0)
	}
	for ; from < to; from++ {
		set[from/64] |= 1 << (from % 64)
	}
	r.holes[turn] = set
}

// fill takes an update out of the holes, if it was in one.
func (r *row) fill(turn int32, seq uint32) bool {
	set := r.holes[turn]
	if int(seq/64) >= len(set) || set[seq/64]&(1<<(seq%64)) == 0 {
		return false
	}
	set[seq/64] &^= 1 << (seq % 64)
	return true
}

// missing tells how many updates of a sender were passed over, and the first of them.
func (r *row) missing(turn int) (n int64, first uint32) {
	for i, word := range r.holes[int32(turn)] {
		if n == 0 && word != 0 {
			first = uint32(64*i + bits.TrailingZeros64(word))
		}
		n += int64(bits.OnesCount64(word))
	}
	return n, first
}

// state is a number for what a viewer would show of all senders, in the order of their
// turns: equal for equal places, and for hardly anything else.
func (r *row) state(places ground) uint64 {
	h := stateSeed
	for turn, c := range r.cells {
		seq, ok := places.seq(turn, c.lat, c.lon)
		if !ok {
			seq = 1<<32 - 1
		}
		h = fold(h, turn, seq, c.lat, c.lon)
	}
	return h
}

const stateSeed = uint64(0xcbf29ce484222325)

// fold mixes as splitmix64 does.
func fold(h uint64, turn int, seq uint32, lat, lon int32) uint64 {
	for _, v := range [2]uint64{uint64(turn)<<32 | uint64(seq), uint64(uint32(lat))<<32 | uint64(uint32(lon))} {
		h += v + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// finalState is what every viewer must show after so many sends.
func (p *Plan) finalState(sends int64) uint64 {
	h := stateSeed
	for turn := range p.Senders {
		n := p.each(turn, sends)
		if n == 0 {
			h = fold(h, turn, 1<<32-1, 0, 0)
			continue
		}
		at := p.places.at(turn, n-1)
		h = fold(h, turn, n-1, at.Lat, at.Lon)
	}
	return h
}
