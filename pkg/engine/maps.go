package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/hub"
	"tracker/pkg/store"
	"tracker/pkg/track"
)

// How large maps may be. A door takes up to MaxMembers devices at once.
const (
	MaxMaps    = 10_000 // of a server
	MaxMembers = 10_000 // devices on one map
	MaxMapsOf  = 64     // maps of one device

	MapPage    = 100
	MaxMapPage = 1000
)

// Map is what people see of a map.
type Map struct {
	ID      track.MapID
	Name    string
	Created time.Time
	Members int // devices that have joined
}

// MapDetail is a map and who belongs to it.
type MapDetail struct {
	Map
	Devices []track.DeviceID // that have joined, ascending
	Viewers []Token          // of members that were granted it, oldest first; for admins only
}

// CreateMap makes an empty map and returns when it is durable.
func (e *Engine) CreateMap(ctx context.Context, name string) (Map, error) {
	if err := checkMapName(name); err != nil {
		return Map{}, err
	}
	e.enrolling.Lock()
	defer e.enrolling.Unlock()
	id, err := e.maps.fresh(name)
	if err != nil {
		return Map{}, err
	}
	m := store.Map{ID: id, Name: name, Created: e.now().UTC().Truncate(time.Second)}
	if err := e.store.SaveMap(ctx, m); err != nil {
		return Map{}, fmt.Errorf("create map: %w", err)
	}
	return e.maps.add(&m).view(), nil
}

func checkMapName(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := track.ParseMapID(name); err == nil {
		return fmt.Errorf("name %q looks like a map id: %w", name, track.ErrInvalid)
	}
	return nil
}

// DeleteMap deletes a map: nobody sees it, and nobody watches it, when it returns.
func (e *Engine) DeleteMap(ctx context.Context, ref string) (track.MapID, error) {
	e.enrolling.Lock()
	defer e.enrolling.Unlock()
	c, err := e.maps.find(ref)
	if err != nil {
		return 0, err
	}
	if err := e.store.DeleteMap(ctx, c.id); err != nil {
		return 0, fmt.Errorf("delete map %s: %w", c.id, err)
	}
	e.maps.remove(c.id)
	e.hub.Recheck(c.id)
	for ids := range slices.Chunk(c.members, regroupOnce) {
		e.hub.Members(c.id, func(bool) ([]track.Fix, []track.DeviceID) {
			e.maps.part(c.id, ids)
			return nil, nil // nobody is left to be told
		})
	}
	return c.id, nil
}

// JoinMap puts devices on a map, all or none, and returns when that is durable and who
// watches the map is told. Those that are there stay there.
func (e *Engine) JoinMap(ctx context.Context, ref string, devices []string) (Map, error) {
	return e.changeMembers(ctx, ref, devices, true)
}

// PartMap takes devices off a map, as JoinMap puts them there.
func (e *Engine) PartMap(ctx context.Context, ref string, devices []string) (Map, error) {
	return e.changeMembers(ctx, ref, devices, false)
}

// regroupOnce is how many devices join or part at one moment: the river stands still for
// as long as that takes, about a tenth of a millisecond.
const regroupOnce = 256

func (e *Engine) changeMembers(ctx context.Context, ref string, devices []string, join bool) (Map, error) {
	e.enrolling.Lock()
	defer e.enrolling.Unlock()
	c, err := e.maps.find(ref)
	if err != nil {
		return Map{}, err
	}
	ids, err := e.resolveAll(devices)
	if err != nil {
		return Map{}, err
	}
	there := func(id track.DeviceID) bool { _, ok := slices.BinarySearch(c.members, id); return ok }
	ids = slices.DeleteFunc(ids, func(id track.DeviceID) bool { return there(id) == join })
	if len(ids) == 0 {
		return c.view(), nil
	}
	if join {
		err = e.mayJoin(&c, ids)
	}
	if err != nil {
		return Map{}, err
	}
	if err := e.storeMembers(ctx, c.id, ids, join); err != nil {
		return Map{}, err
	}
	if join {
		e.hub.Seal(c.id)
	}
	for some := range slices.Chunk(ids, regroupOnce) {
		e.regroup(c.id, some, join)
	}
	if !join {
		e.hub.Recheck(c.id) // devices watch what they are on
	}
	c, err = e.maps.find(c.id.String())
	return c.view(), err
}

// resolveAll finds the devices that ids and names mean, each once, ascending.
func (e *Engine) resolveAll(refs []string) ([]track.DeviceID, error) {
	if len(refs) == 0 || len(refs) > MaxMembers {
		return nil, fmt.Errorf("devices: want 1..%d of them: %w", MaxMembers, track.ErrInvalid)
	}
	ids := make([]track.DeviceID, len(refs))
	for i, ref := range refs {
		id, err := e.Resolve(ref)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// mayJoin tells whether there is room, and whether the devices are still in use.
func (e *Engine) mayJoin(c *chart, ids []track.DeviceID) error {
	if n := len(c.members) + len(ids); n > MaxMembers {
		return fmt.Errorf("map %q would have %d devices, want up to %d: %w", c.name, n, MaxMembers, track.ErrInvalid)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, id := range ids {
		d, err := e.reg.device(id)
		switch {
		case err != nil:
			return err
		case d.revoked != 0:
			return revokedError(id)
		case len(e.maps.of(id)) >= MaxMapsOf:
			return fmt.Errorf("device %s is on %d maps, want up to %d: %w", id, MaxMapsOf, MaxMapsOf, track.ErrInvalid)
		}
	}
	return nil
}

func (e *Engine) storeMembers(ctx context.Context, id track.MapID, devices []track.DeviceID, join bool) error {
	what, change := "join", e.store.JoinMap
	if !join {
		what, change = "part from", e.store.PartMap
	}
	if err := change(ctx, id, devices); err != nil {
		return fmt.Errorf("%s map %s: %w", what, id, err)
	}
	return nil
}

// regroup makes it so, and tells who watches.
func (e *Engine) regroup(m track.MapID, ids []track.DeviceID, join bool) {
	e.hub.Members(m, func(watched bool) (joined []track.Fix, parted []track.DeviceID) {
		if join {
			e.maps.join(m, ids)
		} else {
			e.maps.part(m, ids)
		}
		for i := 0; watched && i < len(ids); i++ {
			f, seen := e.live.Get(ids[i])
			switch {
			case seen && join:
				f.Flags &^= track.Late
				joined = append(joined, f)
			case seen:
				parted = append(parted, ids[i])
			}
		}
		return joined, parted
	})
}

// GrantMap lets the token of a member see a map.
func (e *Engine) GrantMap(ctx context.Context, ref, token string) error {
	e.enrolling.Lock()
	defer e.enrolling.Unlock()
	c, err := e.maps.find(ref)
	if err != nil {
		return err
	}
	id, err := e.grantee(token)
	if err != nil {
		return err
	}
	if err := e.store.GrantMap(ctx, c.id, id); err != nil {
		return fmt.Errorf("grant map %s: %w", c.id, err)
	}
	if !slices.Contains(c.viewers, id) {
		e.hub.Seal(c.id)
		e.maps.grant(c.id, id)
	}
	return nil
}

// grantee finds a token that something can be granted to.
func (e *Engine) grantee(token string) (uint64, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, t := range e.tokens {
		if tokenID(t) != token {
			continue
		}
		if Role(t.Role) != RoleMember {
			return 0, fmt.Errorf("token %s is that of a %s, who sees every map: %w", token, t.Role, track.ErrInvalid)
		}
		return t.ID, nil
	}
	return 0, fmt.Errorf("token %q: %w", token, track.ErrNotFound)
}

// UngrantMap ends what GrantMap began: the token's watches of the map are over when it
// returns.
func (e *Engine) UngrantMap(ctx context.Context, ref, token string) error {
	e.enrolling.Lock()
	defer e.enrolling.Unlock()
	c, err := e.maps.find(ref)
	if err != nil {
		return err
	}
	id, ok := parseToken(token)
	if !ok || !slices.Contains(c.viewers, id) {
		return fmt.Errorf("token %q among the viewers of map %q: %w", token, c.name, track.ErrNotFound)
	}
	if err := e.store.UngrantMap(ctx, c.id, id); err != nil {
		return fmt.Errorf("ungrant map %s: %w", c.id, err)
	}
	e.maps.ungrant(c.id, id)
	e.hub.Recheck(c.id)
	return nil
}

// parseToken reads the id of a token.
func parseToken(id string) (uint64, bool) {
	n, err := strconv.ParseUint(id, 16, 64)
	return n, err == nil && len(id) == 16
}

// AfterMap reads the cursor of lists that go by map id.
func AfterMap(s string) (track.MapID, error) {
	if s == "" {
		return 0, nil
	}
	id, err := track.ParseMapID(s)
	if err != nil {
		return 0, fmt.Errorf("after %q: not a cursor of this list: %w", s, track.ErrInvalid)
	}
	return id, nil
}

// Maps returns up to limit of the maps that somebody sees and whose names contain match,
// by ascending id, starting behind after (zero: from the first).
func (e *Engine) Maps(who *Identity, match string, after track.MapID, limit int) []Map {
	out := []Map{}
	right := e.rightOf(who, 0)
	for _, c := range e.maps.list() {
		if len(out) == limit {
			break
		}
		if right.id = c.id; c.id <= after || right.check() != nil {
			continue
		}
		if match == "" || strings.Contains(c.name, match) || c.id.String() == match {
			out = append(out, c.view())
		}
	}
	return out
}

// ShowMap tells who belongs to a map, if somebody sees it. Only admins learn who else
// does.
func (e *Engine) ShowMap(who *Identity, ref string) (MapDetail, error) {
	c, err := e.seenBy(who, ref)
	if err != nil {
		return MapDetail{}, err
	}
	d := MapDetail{Map: c.view(), Devices: c.members}
	if who.Role != RoleAdmin {
		return d, nil
	}
	for _, t := range e.Tokens() {
		if id, _ := parseToken(t.ID); slices.Contains(c.viewers, id) {
			d.Viewers = append(d.Viewers, t)
		}
	}
	return d, nil
}

// MapQuery is the query for a map, by id or name, if somebody may watch it. It carries
// their right: the watch ends when that does.
func (e *Engine) MapQuery(who *Identity, ref string) (hub.Query, error) {
	c, err := e.seenBy(who, ref)
	if err != nil {
		return hub.Query{}, err
	}
	q := hub.Map(c.id)
	q.May = e.rightOf(who, c.id).check
	return q, nil
}

// seenBy finds a map that somebody sees. To members and devices those that they do not
// see are the same as those that do not exist.
func (e *Engine) seenBy(who *Identity, ref string) (chart, error) {
	c, err := e.maps.find(ref)
	if seesAll(who.Role) {
		return c, err
	}
	if err == nil {
		err = e.rightOf(who, c.id).check()
	}
	if err != nil {
		return chart{}, fmt.Errorf("map %q is not shown to %q: %w", ref, who.Name, track.ErrDenied)
	}
	return c, nil
}

func seesAll(role Role) bool { return role == RoleAdmin || role == RoleViewer }

// MayWatch tells whether somebody may watch what a query asks for, at this moment.
func (e *Engine) MayWatch(who *Identity, q *hub.Query) error {
	switch {
	case q.Kind == hub.KindMap:
		return e.rightOf(who, q.Map).check()
	case seesAll(who.Role):
		return nil
	}
	return fmt.Errorf("%q is a %s, and sees its maps only: %w", who.Name, who.Role, track.ErrDenied)
}

// Entrust hands a running watch to who somebody became. If they may not have it, it ends.
func (e *Engine) Entrust(v *hub.Viewer, who *Identity) {
	v.Entrust(func(q hub.Query) (may func() error, err error) {
		if q.Kind == hub.KindMap {
			may = e.rightOf(who, q.Map).check
		}
		return may, e.MayWatch(who, &q)
	})
}

// right is what a map query carries: who asks, without what of them may change.
type right struct {
	e      *Engine
	role   Role
	token  uint64
	device track.DeviceID
	id     track.MapID
}

func (e *Engine) rightOf(who *Identity, id track.MapID) *right {
	token, _ := parseToken(who.Token)
	return &right{e: e, role: who.Role, token: token, device: who.Device, id: id}
}

// check tells why the map is not to be seen, if it is not.
func (r *right) check() error {
	viewers, ok := r.e.maps.viewersOf(r.id)
	switch {
	case !ok:
		return fmt.Errorf("map %s: %w", r.id, track.ErrNotFound)
	case seesAll(r.role):
		return nil
	case r.role == RoleMember && slices.Contains(viewers, r.token):
		return nil
	case r.role == RoleDevice && slices.Contains(r.e.maps.of(r.device), r.id):
		return nil
	}
	return fmt.Errorf("map %s is not shown to you: %w", r.id, track.ErrDenied)
}

// loadMaps recalls what the store remembers of maps.
func (e *Engine) loadMaps(ctx context.Context) error {
	if err := e.store.Maps(ctx, func(m *store.Map) error { e.maps.add(m); return nil }); err != nil {
		return err
	}
	members := map[track.MapID][]track.DeviceID{}
	if err := e.store.MapMembers(ctx, func(m track.MapID, d track.DeviceID) error {
		members[m] = append(members[m], d)
		return nil
	}); err != nil {
		return err
	}
	for m, ids := range members {
		e.maps.join(m, ids)
	}
	return e.store.MapViewers(ctx, func(m track.MapID, token uint64) error {
		e.maps.grant(m, token)
		return nil
	})
}

// endMember takes a device that ended off its maps, which it watches no more. Who else does
// was told when it left the present. Caller holds enrolling.
func (e *Engine) endMember(id track.DeviceID) {
	ms := e.maps.of(id)
	for _, m := range ms {
		e.regroup(m, []track.DeviceID{id}, false)
	}
	e.hub.Recheck(slices.Clone(ms)...)
}

// endViewer takes a token that ended off its maps. Caller holds enrolling.
func (e *Engine) endViewer(token uint64) {
	var ms []track.MapID
	for _, c := range e.maps.list() {
		if slices.Contains(c.viewers, token) {
			e.maps.ungrant(c.id, token)
			ms = append(ms, c.id)
		}
	}
	e.hub.Recheck(ms...)
}

// freshMapID draws an id that is none yet.
func freshMapID(taken func(track.MapID) bool) track.MapID {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		if id := track.MapID(binary.BigEndian.Uint64(b[:])); id != 0 && !taken(id) {
			return id
		}
	}
}
