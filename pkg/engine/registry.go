package engine

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"tracker/pkg/seal"
	"tracker/pkg/store"
	"tracker/pkg/track"
)

// registry knows every device and every credential by heart, in records without
// pointers, so that a million of them are one thing to the garbage collector and
// no datagram ever waits for the database. Whoever calls it holds Engine.mu.
//
//	wire id ──► creds[i] ──► devices[j] ──► names[...]
//
// Roots are kept wrapped, as the database has them; see Engine.WithRoot.
type registry struct {
	devices segments[deviceRec]
	creds   segments[credRec]
	names   []byte // what deviceRec.name points into
	dead    int    // bytes of names that no device uses any more

	byID   index // stable id -> devices
	byWire index // provisioned wire id -> creds
	byName index // name -> devices, unless revoked

	// alias holds the wire ids of credentials with rotating ids, for the windows
	// around now; see rotating.go.
	alias map[track.DeviceID]uint32
	shown map[uint32][]track.DeviceID // credential -> its ids in alias

	// denied holds the epochs that an operator struck out, by credential. A list is
	// replaced, never changed: sessions share it.
	denied map[track.DeviceID][]uint32

	freeCreds []uint32
	active    int
	seed      maphash.Seed
}

type deviceRec struct {
	id      track.DeviceID
	name    uint32 // offset in names
	nameLen uint16
	alarms  AlarmSet
	created uint32 // unix seconds
	revoked uint32 // unix seconds, 0 = not
	cred    uint32 // newest credential + 1, 0 = none
	reports bool   // its fixes also come in by another way than datagrams
}

type credRec struct {
	id      track.DeviceID
	device  uint32
	next    uint32 // next older credential of the device + 1, 0 = last
	created uint32
	expires uint32 // 0 = never
	floor   uint32 // lowest epoch that may open a new session
	live    [2]Live
	wrapped [48]byte
	suite   seal.Suite
	flags   seal.EnrolFlags
	used    bool
}

// Live is what the store remembers of one epoch: the highest packet id that was
// kept. Known tells it from an epoch 0 that never was.
type Live struct {
	Epoch, MaxPID uint32
	Known         bool
}

func newRegistry() *registry {
	r := &registry{
		alias:  map[track.DeviceID]uint32{},
		shown:  map[uint32][]track.DeviceID{},
		denied: map[track.DeviceID][]uint32{},
		seed:   maphash.MakeSeed(),
	}
	r.byID.hash = func(i uint32) uint64 { return mix(uint64(r.devices.at(i).id)) }
	r.byWire.hash = func(i uint32) uint64 { return mix(uint64(r.creds.at(i).id)) }
	r.byName.hash = func(i uint32) uint64 { return maphash.Bytes(r.seed, r.nameOf(r.devices.at(i))) }
	return r
}

// deviceAt finds the record of a device.
func (r *registry) deviceAt(id track.DeviceID) (uint32, bool) {
	return r.byID.find(mix(uint64(id)), func(i uint32) bool { return r.devices.at(i).id == id })
}

// credAt finds the record of a credential by its provisioned wire id.
func (r *registry) credAt(id track.DeviceID) (uint32, bool) {
	return r.byWire.find(mix(uint64(id)), func(i uint32) bool { return r.creds.at(i).id == id })
}

func (r *registry) addDevice(d *store.Device) {
	i := r.devices.push(deviceRec{id: d.ID, created: seconds(d.Created), revoked: seconds(d.Revoked)})
	r.byID.add(i)
	rec := r.devices.at(i)
	r.setName(rec, d.Name)
	if rec.revoked == 0 {
		r.active++
		r.byName.add(i)
	}
}

func (r *registry) addCred(c *store.Credential) error {
	dev, ok := r.deviceAt(c.Device)
	if !ok {
		return fmt.Errorf("credential %s: device %s: %w", c.ID, c.Device, track.ErrNotFound)
	}
	d := r.devices.at(dev)
	rec := credRec{
		id: c.ID, device: dev, created: seconds(c.Created), expires: seconds(c.Expires),
		floor: c.MinEpoch, wrapped: c.Wrapped, suite: seal.Suite(c.Suite), flags: seal.EnrolFlags(c.Flags), used: true,
	}
	var i uint32
	if n := len(r.freeCreds); n > 0 {
		i, r.freeCreds = r.freeCreds[n-1], r.freeCreds[:n-1]
		*r.creds.at(i) = rec
	} else {
		i = r.creds.push(rec)
	}
	r.byWire.add(i)
	// Newest first: the one that does not expire, then by how long each still is good.
	link := &d.cred
	for *link != 0 && rec.expires != 0 {
		next := r.creds.at(*link - 1)
		if next.expires != 0 && next.expires < rec.expires {
			break
		}
		link = &next.next
	}
	r.creds.at(i).next, *link = *link, i+1
	return nil
}

// dropCred forgets a credential: its datagrams are those of a stranger from now on.
func (r *registry) dropCred(i uint32) {
	c := r.creds.at(i)
	link := &r.devices.at(c.device).cred
	for *link != 0 && *link-1 != i {
		link = &r.creds.at(*link - 1).next
	}
	if *link != 0 {
		*link = c.next
	}
	r.byWire.remove(i)
	delete(r.denied, c.id)
	r.dropAliases(i)
	*c = credRec{}
	r.freeCreds = append(r.freeCreds, i)
}

// credsOf calls fn for the credentials of a device, newest first.
func (r *registry) credsOf(d *deviceRec, fn func(i uint32, c *credRec)) {
	for link := d.cred; link != 0; {
		i := link - 1
		c := r.creds.at(i)
		link = c.next
		fn(i, c)
	}
}

func (r *registry) device(id track.DeviceID) (*deviceRec, error) {
	i, ok := r.deviceAt(id)
	if !ok {
		return nil, fmt.Errorf("device %s: %w", id, track.ErrNotFound)
	}
	return r.devices.at(i), nil
}

// find resolves what a person types: the 12 digits of an id, or a name.
func (r *registry) find(ref string) (*deviceRec, error) {
	// Looked at before it is parsed, because a refusal to parse allocates its words.
	if len(ref) == 12 && strings.Trim(ref, "0123456789abcdef") == "" {
		if id, err := track.ParseDeviceID(ref); err == nil {
			if i, ok := r.deviceAt(id); ok {
				return r.devices.at(i), nil
			}
		}
	}
	if i, ok := r.lookupName(ref); ok {
		return r.devices.at(i), nil
	}
	return nil, fmt.Errorf("device %q: %w", ref, track.ErrNotFound)
}

func (r *registry) nameOf(d *deviceRec) []byte {
	return r.names[d.name : d.name+uint32(d.nameLen)]
}

func (r *registry) setName(d *deviceRec, name string) {
	r.dead += int(d.nameLen)
	d.name, d.nameLen = uint32(len(r.names)), uint16(len(name))
	r.names = append(r.names, name...)
	if r.dead > 1<<20 && r.dead > len(r.names)/2 {
		r.packNames()
	}
}

func (r *registry) packNames() {
	packed := make([]byte, 0, len(r.names)-r.dead)
	for i := range r.devices.len() {
		d := r.devices.at(uint32(i))
		name := r.nameOf(d)
		d.name = uint32(len(packed))
		packed = append(packed, name...)
	}
	r.names, r.dead = packed, 0
}

func (r *registry) lookupName(name string) (uint32, bool) {
	return r.byName.find(maphash.String(r.seed, name), func(i uint32) bool {
		return string(r.nameOf(r.devices.at(i))) == name
	})
}

// segments is a slice that grows without copying: record i stays where it is.
type segments[T any] struct {
	segs [][]T
	n    int
}

const segmentLen = 1 << 13 // records, some hundred kilobytes

func (s *segments[T]) push(v T) uint32 {
	if s.n%segmentLen == 0 {
		s.segs = append(s.segs, make([]T, 0, segmentLen))
	}
	last := &s.segs[len(s.segs)-1]
	*last = append(*last, v)
	s.n++
	return uint32(s.n - 1)
}

func (s *segments[T]) at(i uint32) *T { return &s.segs[i/segmentLen][i%segmentLen] }
func (s *segments[T]) len() int       { return s.n }

func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(t.Unix())
}

func fromSeconds(s uint32) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

// sortedIDs are the stable ids in order, for paging.
func (r *registry) sortedIDs() []track.DeviceID {
	ids := make([]track.DeviceID, 0, r.devices.len())
	for i := range r.devices.len() {
		ids = append(ids, r.devices.at(uint32(i)).id)
	}
	slices.Sort(ids)
	return ids
}
