package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// Map is what a server tells of a map: devices that are shown together to those who may
// see it.
type Map struct {
	ID      track.MapID `json:"id"`
	Name    string      `json:"name"`
	Created time.Time   `json:"created"`
	Members int         `json:"members"` // devices that have joined
}

// MapDetail is a map and who belongs to it.
type MapDetail struct {
	Map
	Devices []MapMember `json:"devices"`           // that have joined, by ascending id
	Viewers []Token     `json:"viewers,omitempty"` // that were granted it; told to admins
}

// MapMember is a device on a map.
type MapMember struct {
	ID   track.DeviceID `json:"id"`
	Name string         `json:"name"`
}

// CreateMap makes an empty map.
func (c *Conn) CreateMap(ctx context.Context, name string) (Map, error) {
	return c.wire.createMap(ctx, name)
}

// Maps walks the maps that the caller sees and whose names contain match, by ascending
// id: an admin or viewer sees all, a member those that were granted, a device those that
// it has joined.
func (c *Conn) Maps(ctx context.Context, match string) iter.Seq2[Map, error] {
	return pages(func(after string) ([]Map, string, error) { return c.wire.maps(ctx, match, after) })
}

// ShowMap tells who belongs to a map. Here and below, ref is its id or its name.
func (c *Conn) ShowMap(ctx context.Context, ref string) (MapDetail, error) {
	if err := checkMap(ref); err != nil {
		return MapDetail{}, err
	}
	return c.wire.showMap(ctx, ref)
}

// DeleteMap deletes a map. Watches of it end; devices and their history stay.
func (c *Conn) DeleteMap(ctx context.Context, ref string) error {
	if err := checkMap(ref); err != nil {
		return err
	}
	return c.wire.deleteMap(ctx, ref)
}

// JoinMap puts up to MaxBatch devices, by id or name, on a map, all or none. Those that
// are there stay there.
func (c *Conn) JoinMap(ctx context.Context, ref string, devices ...string) (Map, error) {
	if err := checkMembers(ref, devices); err != nil {
		return Map{}, err
	}
	return c.wire.changeMap(ctx, ref, devices, true)
}

// PartMap takes devices off a map, as JoinMap puts them there.
func (c *Conn) PartMap(ctx context.Context, ref string, devices ...string) (Map, error) {
	if err := checkMembers(ref, devices); err != nil {
		return Map{}, err
	}
	return c.wire.changeMap(ctx, ref, devices, false)
}

// GrantMap lets a member's token, by its id, see a map.
func (c *Conn) GrantMap(ctx context.Context, ref, token string) error {
	if err := checkGrant(ref, token); err != nil {
		return err
	}
	return c.wire.grantMap(ctx, ref, token, true)
}

// RevokeMapViewer ends that, and the token's watches of the map.
func (c *Conn) RevokeMapViewer(ctx context.Context, ref, token string) error {
	if err := checkGrant(ref, token); err != nil {
		return err
	}
	return c.wire.grantMap(ctx, ref, token, false)
}

// checkMap stops an empty ref, which in a path would mean all maps.
func checkMap(ref string) error {
	if ref == "" {
		return fmt.Errorf("map %q: want an id or a name: %w", ref, track.ErrInvalid)
	}
	return nil
}

func checkMembers(ref string, devices []string) error {
	if len(devices) == 0 || len(devices) > MaxBatch {
		return fmt.Errorf("devices: want 1..%d of them: %w", MaxBatch, track.ErrInvalid)
	}
	return checkMap(ref)
}

func checkGrant(ref, token string) error {
	if token == "" {
		return fmt.Errorf("token %q: want the id of a token: %w", token, track.ErrInvalid)
	}
	return checkMap(ref)
}

// ---- over HTTP

func mapPath(ref, rest string) string { return "/v1/maps/" + url.PathEscape(ref) + rest }

func (c *overHTTP) createMap(ctx context.Context, name string) (Map, error) {
	order := struct {
		Name string `json:"name"`
	}{name}
	return ask[Map](ctx, c, http.MethodPost, "/v1/maps", nil, order)
}

func (c *overHTTP) maps(ctx context.Context, match, after string) ([]Map, string, error) {
	q := url.Values{"limit": {"1000"}}
	if match != "" {
		q.Set("q", match)
	}
	if after != "" {
		q.Set("after", after)
	}
	page, err := ask[struct {
		Maps []Map  `json:"maps"`
		Next string `json:"next"`
	}](ctx, c, http.MethodGet, "/v1/maps", q, nil)
	return page.Maps, page.Next, err
}

func (c *overHTTP) showMap(ctx context.Context, ref string) (MapDetail, error) {
	return ask[MapDetail](ctx, c, http.MethodGet, mapPath(ref, ""), nil, nil)
}

func (c *overHTTP) deleteMap(ctx context.Context, ref string) error {
	return c.call(ctx, http.MethodDelete, mapPath(ref, ""), nil, nil, nil)
}

func (c *overHTTP) changeMap(ctx context.Context, ref string, devices []string, join bool) (Map, error) {
	var order struct {
		Join []string `json:"join,omitempty"`
		Part []string `json:"part,omitempty"`
	}
	if order.Join = devices; !join {
		order.Join, order.Part = nil, devices
	}
	return ask[Map](ctx, c, http.MethodPost, mapPath(ref, "/devices:batch"), nil, order)
}

func (c *overHTTP) grantMap(ctx context.Context, ref, token string, grant bool) error {
	method := http.MethodPut
	if !grant {
		method = http.MethodDelete
	}
	return c.call(ctx, method, mapPath(ref, "/viewers/"+url.PathEscape(token)), nil, nil, nil)
}

// ---- over RPC

// onMap asks a question whose answer is a map.
func (c *overRPC) onMap(ctx context.Context, method uint16, call func(context.Context, trk.MapsClient) (trk.MapInfo, error)) (Map, error) {
	m, err := question(ctx, c, method, func(ctx context.Context, to rpc.Caller) (trk.MapInfo, error) {
		return call(ctx, trk.MapsClient{Caller: to})
	})
	if err != nil {
		return Map{}, err
	}
	return c.asMap(&m)
}

func (c *overRPC) asMap(m *trk.MapInfo) (Map, error) {
	id, err := track.ParseMapID(string(m.Id()))
	if err != nil {
		return Map{}, c.strange(err)
	}
	return Map{ID: id, Name: string(m.Name()), Created: moment(m.Created()), Members: int(m.Members())}, nil
}

func (c *overRPC) createMap(ctx context.Context, name string) (Map, error) {
	return c.onMap(ctx, trk.MapsCreateID, func(ctx context.Context, to trk.MapsClient) (trk.MapInfo, error) {
		return to.Create(ctx, &trk.NewMapT{Name: name})
	})
}

func (c *overRPC) maps(ctx context.Context, match, after string) ([]Map, string, error) {
	page, err := question(ctx, c, trk.MapsListID, func(ctx context.Context, to rpc.Caller) (trk.MapList, error) {
		return trk.MapsClient{Caller: to}.List(ctx, &trk.ListMapsReqT{Match: match, After: after, Limit: 1000})
	})
	if err != nil {
		return nil, "", err
	}
	list := make([]Map, page.MapsLength())
	for i := range list {
		var m trk.MapInfo
		page.Maps(&m, i)
		if list[i], err = c.asMap(&m); err != nil {
			return nil, "", err
		}
	}
	return list, string(page.Next()), nil
}

func (c *overRPC) showMap(ctx context.Context, ref string) (MapDetail, error) {
	reply, err := question(ctx, c, trk.MapsShowID, func(ctx context.Context, to rpc.Caller) (trk.MapDetail, error) {
		return trk.MapsClient{Caller: to}.Show(ctx, &trk.MapRefT{MapRef: ref})
	})
	if err != nil {
		return MapDetail{}, err
	}
	var info trk.MapInfo
	if reply.Info(&info) == nil {
		return MapDetail{}, c.strange(fmt.Errorf("details of no map"))
	}
	d := MapDetail{Devices: make([]MapMember, reply.MembersLength())}
	if d.Map, err = c.asMap(&info); err != nil {
		return MapDetail{}, err
	}
	for i := range d.Devices {
		var m trk.MapMember
		reply.Members(&m, i)
		id, err := track.ParseDeviceID(string(m.Device()))
		if err != nil {
			return MapDetail{}, c.strange(err)
		}
		d.Devices[i] = MapMember{ID: id, Name: string(m.Name())}
	}
	for i := range reply.ViewersLength() {
		var t trk.Token
		reply.Viewers(&t, i)
		d.Viewers = append(d.Viewers, asToken(&t))
	}
	return d, nil
}

func (c *overRPC) deleteMap(ctx context.Context, ref string) error {
	return c.do(ctx, idempotent(trk.MapsDeleteID), func(ctx context.Context, to rpc.Caller) error {
		_, err := trk.MapsClient{Caller: to}.Delete(ctx, &trk.MapRefT{MapRef: ref})
		return err
	})
}

func (c *overRPC) changeMap(ctx context.Context, ref string, devices []string, join bool) (Map, error) {
	order := &trk.MembersReqT{MapRef: ref, Devices: devices}
	if join {
		return c.onMap(ctx, trk.MapsJoinID, func(ctx context.Context, to trk.MapsClient) (trk.MapInfo, error) { return to.Join(ctx, order) })
	}
	return c.onMap(ctx, trk.MapsPartID, func(ctx context.Context, to trk.MapsClient) (trk.MapInfo, error) { return to.Part(ctx, order) })
}

func (c *overRPC) grantMap(ctx context.Context, ref, token string, grant bool) error {
	order, method := &trk.GrantReqT{MapRef: ref, Token: token}, trk.MapsGrantID
	if !grant {
		method = trk.MapsRevokeID
	}
	return c.do(ctx, idempotent(method), func(ctx context.Context, to rpc.Caller) (err error) {
		if grant {
			_, err = trk.MapsClient{Caller: to}.Grant(ctx, order)
		} else {
			_, err = trk.MapsClient{Caller: to}.Revoke(ctx, order)
		}
		return err
	})
}
