package hub

import (
	"encoding/binary"
	"fmt"
	"slices"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Kind of a query.
type Kind uint8

const (
	KindAll Kind = iota + 1
	KindDevices
	KindBox
	KindMap
)

// Query is what a viewer watches. Equal queries share a stream.
type Query struct {
	Kind    Kind
	Devices []track.DeviceID // of KindDevices, in any order
	Box     geo.Box          // of KindBox
	Map     track.MapID      // of KindMap

	// May tells whether the viewer may still watch this; nil: as long as it likes. It is
	// asked when the watch begins, and again by Recheck. It must not call the hub, and
	// has no part in what makes queries equal.
	May func() error
}

// All devices, but hidden ones.
func All() Query { return Query{Kind: KindAll} }

// Devices by id, hidden or not.
func Devices(ids ...track.DeviceID) Query { return Query{Kind: KindDevices, Devices: ids} }

// Box is every device, but hidden ones, whose place is in b.
func Box(b geo.Box) Query { return Query{Kind: KindBox, Box: b} }

// Map is every device that has joined the map with that id.
func Map(id track.MapID) Query { return Query{Kind: KindMap, Map: id} }

// canonical checks the query and brings it into the one form that equal queries
// share, with a key for it.
func (q Query) canonical() (Query, string, error) {
	switch q.Kind {
	case KindAll:
		return All(), "a", nil
	case KindDevices:
		ids := slices.Clone(q.Devices)
		slices.Sort(ids)
		ids = slices.Compact(ids)
		if len(ids) == 0 || ids[0] == 0 || ids[len(ids)-1] > track.MaxDeviceID {
			return q, "", fmt.Errorf("watch devices: none, or not an id: %w", track.ErrInvalid)
		}
		key := append(make([]byte, 0, 1+8*len(ids)), 'd')
		for _, id := range ids {
			key = binary.BigEndian.AppendUint64(key, uint64(id))
		}
		return Devices(ids...), string(key), nil
	case KindBox:
		b := q.Box
		sw, ne := geo.Point{Lat: b.South, Lon: b.West}, geo.Point{Lat: b.North, Lon: b.East}
		if !sw.Valid() || !ne.Valid() || b.South > b.North {
			return q, "", fmt.Errorf("watch box %v: not on the globe: %w", b, track.ErrInvalid)
		}
		key := []byte{'b'}
		for _, v := range []int32{b.South, b.West, b.North, b.East} {
			key = binary.BigEndian.AppendUint32(key, uint32(v))
		}
		return Box(b), string(key), nil
	case KindMap:
		if q.Map == 0 {
			return q, "", fmt.Errorf("watch map %s: not an id: %w", q.Map, track.ErrInvalid)
		}
		return Map(q.Map), string(binary.BigEndian.AppendUint64([]byte{'m'}, uint64(q.Map))), nil
	}
	return q, "", fmt.Errorf("watch: no such kind of query %d: %w", q.Kind, track.ErrInvalid)
}

const (
	coarseCells = 32 // cells along the edge of a coarse one: 3.2 degrees
	maxCells    = 64 // of a box at one level; larger boxes go one level up
)

// index finds the streams that a fix concerns. What it costs grows with the streams
// that are near the fix, not with all of them: boxes stand in the lists of the cells
// that they touch, larger ones in those of coarse cells, and only boxes larger than
// a continent in one list for all, which is a comparison of four numbers each.
type index struct {
	all     *stream
	devices map[track.DeviceID][]*stream
	maps    map[track.MapID]*stream
	mapsOf  func(track.DeviceID) []track.MapID // Config.Maps
	fine    map[geo.Cell][]boxed
	coarse  map[uint32][]boxed
	wide    []boxed
}

// boxed keeps the box beside the stream, so that a miss touches no stream.
type boxed struct {
	box geo.Box
	s   *stream
}

func (x *index) init() {
	x.devices = map[track.DeviceID][]*stream{}
	x.maps = map[track.MapID]*stream{}
	x.fine = map[geo.Cell][]boxed{}
	x.coarse = map[uint32][]boxed{}
}

func (x *index) add(s *stream) {
	switch s.query.Kind {
	case KindAll:
		x.all = s
	case KindDevices:
		for _, id := range s.query.Devices {
			x.devices[id] = append(x.devices[id], s)
		}
	case KindMap:
		x.maps[s.query.Map] = s
	case KindBox:
		b := boxed{s.query.Box, s}
		cells, coarse := levels(b.box)
		switch {
		case cells != nil:
			cells.All(func(c geo.Cell) bool { x.fine[c] = append(x.fine[c], b); return true })
		case coarse != nil:
			for _, c := range coarse {
				x.coarse[c] = append(x.coarse[c], b)
			}
		default:
			x.wide = append(x.wide, b)
		}
	}
}

func (x *index) remove(s *stream) {
	switch s.query.Kind {
	case KindAll:
		x.all = nil
	case KindDevices:
		for _, id := range s.query.Devices {
			without(x.devices, id, func(o *stream) bool { return o == s })
		}
	case KindMap:
		delete(x.maps, s.query.Map)
	case KindBox:
		is := func(b boxed) bool { return b.s == s }
		cells, coarse := levels(s.query.Box)
		switch {
		case cells != nil:
			cells.All(func(c geo.Cell) bool { without(x.fine, c, is); return true })
		case coarse != nil:
			for _, c := range coarse {
				without(x.coarse, c, is)
			}
		default:
			x.wide = slices.DeleteFunc(x.wide, is)
		}
	}
}

func without[K comparable, V any](m map[K][]V, k K, is func(V) bool) {
	if left := slices.DeleteFunc(m[k], is); len(left) > 0 {
		m[k] = left
	} else {
		delete(m, k)
	}
}

// levels says where a box stands in the index: in its cells, in its coarse cells, or,
// both nil, in the list of wide ones.
func levels(b geo.Box) (*geo.Cells, []uint32) {
	cells := geo.CellsIn(b)
	if cells.Len() <= maxCells {
		return &cells, nil
	}
	row0, row1, col0, cols := cells.Span()
	if (row1/coarseCells-row0/coarseCells+1)*(cols/coarseCells+1) > maxCells {
		return nil, nil
	}
	var coarse []uint32
	for row := row0 / coarseCells; row <= row1/coarseCells; row++ {
		for i := uint32(0); i < cols; {
			col := (col0 + i) % geo.CellCols
			coarse = append(coarse, coarseOf(row*coarseCells, col))
			i += min(coarseCells-col%coarseCells, geo.CellCols-col)
		}
	}
	slices.Sort(coarse) // a belt around the globe meets its first cell again
	return nil, slices.Compact(coarse)
}

func coarseOf(row, col uint32) uint32 { return row/coarseCells<<16 | col/coarseCells }

// whoSees returns the streams that have shown a device at that place.
func (x *index) whoSees(id track.DeviceID, at geo.Point, had, hidden bool) []*stream {
	ss := slices.Clone(x.devices[id])
	if len(x.maps) > 0 {
		for _, m := range x.mapsOf(id) {
			if s := x.maps[m]; s != nil {
				ss = append(ss, s)
			}
		}
	}
	if hidden {
		return ss
	}
	if x.all != nil {
		ss = append(ss, x.all)
	}
	if !had {
		return ss
	}
	c := geo.CellOf(at)
	for _, list := range [][]boxed{x.fine[c], x.coarse[coarseOf(c.Split())], x.wide} {
		for _, b := range list {
			if b.box.Contains(at) {
				ss = append(ss, b.s)
			}
		}
	}
	return ss
}

// match appends what the batch has for streams of devices, maps and boxes.
func (x *index) match(ms []match, fixes []track.Fix, moves []track.Move, hidden []bool) []match {
	if len(x.devices) > 0 {
		for i := range fixes {
			for _, s := range x.devices[fixes[i].Device] {
				ms = append(ms, matchOf(s, i, false))
			}
		}
	}
	if len(x.maps) > 0 {
		ms = x.matchMaps(ms, fixes)
	}
	if len(x.fine) == 0 && len(x.coarse) == 0 && len(x.wide) == 0 {
		return ms
	}
	for i := range fixes {
		if hidden == nil || !hidden[i] {
			ms = x.matchBoxes(ms, i, &fixes[i], &moves[i])
		}
	}
	return ms
}

// matchMaps appends the maps that the devices have joined.
func (x *index) matchMaps(ms []match, fixes []track.Fix) []match {
	for i := range fixes {
		for _, m := range x.mapsOf(fixes[i].Device) {
			if s := x.maps[m]; s != nil {
				ms = append(ms, matchOf(s, i, false))
			}
		}
	}
	return ms
}

// matchBoxes appends the boxes that the fix is in, and those that its device left. A
// heartbeat is where its device was before.
func (x *index) matchBoxes(ms []match, fix int, f *track.Fix, m *track.Move) []match {
	at := f.At
	if f.Has&track.HasPos == 0 {
		if !m.Had {
			return ms
		}
		at = m.From
	}
	moved := m.Had && m.Fresh && m.From != at
	c, from := geo.CellOf(at), geo.CellOf(m.From)
	coarse, fromCoarse := coarseOf(c.Split()), coarseOf(from.Split())

	// A list of the same cell tells who is in and who left; if the cell is another,
	// the list of the old one tells who left.
	ms = in(ms, x.fine[c], fix, at, m.From, moved && c == from)
	ms = in(ms, x.coarse[coarse], fix, at, m.From, moved && coarse == fromCoarse)
	ms = in(ms, x.wide, fix, at, m.From, moved)
	if moved && c != from {
		ms = out(ms, x.fine[from], fix, at, m.From)
	}
	if moved && coarse != fromCoarse {
		ms = out(ms, x.coarse[fromCoarse], fix, at, m.From)
	}
	return ms
}

func in(ms []match, list []boxed, fix int, at, from geo.Point, left bool) []match {
	for i := range list {
		if b := &list[i]; b.box.Contains(at) {
			ms = append(ms, matchOf(b.s, fix, false))
		} else if left && b.box.Contains(from) {
			ms = append(ms, matchOf(b.s, fix, true))
		}
	}
	return ms
}

func out(ms []match, list []boxed, fix int, at, from geo.Point) []match {
	for i := range list {
		if b := &list[i]; b.box.Contains(from) && !b.box.Contains(at) {
			ms = append(ms, matchOf(b.s, fix, true))
		}
	}
	return ms
}
