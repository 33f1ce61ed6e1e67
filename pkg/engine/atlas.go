package engine

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// atlas is all maps, both ways: who belongs to a map, for people and for snapshots, and
// which maps a device is on, which the hub asks for every fix while a map is watched.
// Lists are replaced, never changed: whoever has one may keep it.
type atlas struct {
	mu     sync.RWMutex
	charts map[track.MapID]*chart
	names  map[string]track.MapID

	byDevice [64]mapsOfSome
}

// mapsOfSome is a part of the devices: readers of the river rarely meet at one lock.
type mapsOfSome struct {
	mu sync.RWMutex
	of map[track.DeviceID][]track.MapID
	_  [32]byte // the next lock is on another cache line
}

// chart is one map. Copies are for those who hold no lock.
type chart struct {
	id      track.MapID
	name    string
	created time.Time
	members []track.DeviceID // ascending
	viewers []uint64         // tokens
}

func (c *chart) view() Map {
	return Map{ID: c.id, Name: c.name, Created: c.created, Members: len(c.members)}
}

func (a *atlas) init() {
	a.charts, a.names = map[track.MapID]*chart{}, map[string]track.MapID{}
	for i := range a.byDevice {
		a.byDevice[i].of = map[track.DeviceID][]track.MapID{}
	}
}

// of is the maps that a device is on. It is asked for every fix: it allocates nothing.
func (a *atlas) of(id track.DeviceID) []track.MapID {
	s := a.some(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.of[id]
}

func (a *atlas) some(id track.DeviceID) *mapsOfSome {
	return &a.byDevice[mix(uint64(id))>>32%uint64(len(a.byDevice))]
}

// find resolves what a person types: the 16 digits of an id, or a name.
func (a *atlas) find(ref string) (chart, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	id, err := track.ParseMapID(ref)
	if err != nil {
		id = a.names[ref]
	}
	if c := a.charts[id]; c != nil {
		return *c, nil
	}
	return chart{}, fmt.Errorf("map %q: %w", ref, track.ErrNotFound)
}

// fresh finds an id for another map, if there may be one and its name is free.
func (a *atlas) fresh(name string) (track.MapID, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if _, taken := a.names[name]; taken {
		return 0, fmt.Errorf("map %q: %w", name, track.ErrExists)
	}
	if len(a.charts) >= MaxMaps {
		return 0, fmt.Errorf("there are %d maps, want up to %d: %w", len(a.charts), MaxMaps, track.ErrInvalid)
	}
	return freshMapID(func(id track.MapID) bool { return a.charts[id] != nil }), nil
}

func (a *atlas) add(m *store.Map) *chart {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &chart{id: m.ID, name: m.Name, created: m.Created}
	a.charts[c.id], a.names[c.name] = c, c.id
	return c
}

// remove takes a map out; its members are to be parted.
func (a *atlas) remove(id track.MapID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.names, a.charts[id].name)
	delete(a.charts, id)
}

// list is all maps by ascending id.
func (a *atlas) list() []chart {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := make([]chart, 0, len(a.charts))
	for _, c := range a.charts {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b chart) int { return cmp.Compare(a.id, b.id) })
	return out
}

func (a *atlas) membersOf(id track.MapID) []track.DeviceID {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if c := a.charts[id]; c != nil {
		return c.members
	}
	return nil
}

func (a *atlas) viewersOf(id track.MapID) (tokens []uint64, ok bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	c := a.charts[id]
	if c == nil {
		return nil, false
	}
	return c.viewers, true
}

// join adds devices, ascending and not there yet, to a map.
func (a *atlas) join(m track.MapID, ids []track.DeviceID) {
	a.mu.Lock()
	if c := a.charts[m]; c != nil {
		c.members = union(c.members, ids)
	}
	a.mu.Unlock()
	for _, id := range ids {
		s := a.some(id)
		s.mu.Lock()
		s.of[id] = append(slices.Clone(s.of[id]), m)
		s.mu.Unlock()
	}
}

// union is what is in a or in b, which are ascending and have nothing in common.
func union(a, b []track.DeviceID) []track.DeviceID {
	out := make([]track.DeviceID, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] < b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// without is what is in a and not in b, which are ascending.
func without(a, b []track.DeviceID) []track.DeviceID {
	out := make([]track.DeviceID, 0, len(a))
	for _, id := range a {
		for len(b) > 0 && b[0] < id {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != id {
			out = append(out, id)
		}
	}
	return out
}

// part takes devices, ascending, off a map.
func (a *atlas) part(m track.MapID, ids []track.DeviceID) {
	a.mu.Lock()
	if c := a.charts[m]; c != nil {
		c.members = without(c.members, ids)
	}
	a.mu.Unlock()
	for _, id := range ids {
		s := a.some(id)
		s.mu.Lock()
		left := slices.DeleteFunc(slices.Clone(s.of[id]), func(o track.MapID) bool { return o == m })
		if s.of[id] = left; len(left) == 0 {
			delete(s.of, id)
		}
		s.mu.Unlock()
	}
}

func (a *atlas) grant(m track.MapID, token uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.charts[m]; c != nil && !slices.Contains(c.viewers, token) {
		c.viewers = append(slices.Clone(c.viewers), token)
	}
}

func (a *atlas) ungrant(m track.MapID, token uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.charts[m]; c != nil {
		c.viewers = slices.DeleteFunc(slices.Clone(c.viewers), func(o uint64) bool { return o == token })
	}
}
