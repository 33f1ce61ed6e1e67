package gateway

import (
	"tracker/pkg/engine"
	"tracker/pkg/hub"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// mapService is devices that are shown together, and who may see them.
type mapService struct{ *Gateway }

var _ trk.MapsServer = mapService{}

func (g mapService) Create(r *rpc.Request, in trk.NewMap, out []byte) ([]byte, error) {
	m, err := g.engine.CreateMap(r.Context(), string(in.Name()))
	if err != nil {
		return nil, err
	}
	g.noteMap(r, "map created", m.ID)
	return trk.AppendMapInfo(out, mapTable(&m)), nil
}

func (g mapService) List(r *rpc.Request, in trk.ListMapsReq, out []byte) ([]byte, error) {
	most, err := engine.Limit(limit(in.Limit()), engine.MapPage, engine.MaxMapPage)
	if err != nil {
		return nil, err
	}
	after, err := engine.AfterMap(string(in.After()))
	if err != nil {
		return nil, err
	}
	found := g.engine.Maps(identityOf(r), string(in.Match()), after, most+1)
	var page trk.MapListT
	if len(found) > most {
		found = found[:most]
		page.Next = found[most-1].ID.String()
	}
	page.Maps = make([]*trk.MapInfoT, len(found))
	for i := range found {
		page.Maps[i] = mapTable(&found[i])
	}
	return trk.AppendMapList(out, &page), nil
}

func (g mapService) Show(r *rpc.Request, in trk.MapRef, out []byte) ([]byte, error) {
	d, err := g.engine.ShowMap(identityOf(r), string(in.MapRef()))
	if err != nil {
		return nil, err
	}
	reply := trk.MapDetailT{Info: mapTable(&d.Map), Members: make([]*trk.MapMemberT, len(d.Devices)), Viewers: make([]*trk.TokenT, len(d.Viewers))}
	for i, id := range d.Devices {
		reply.Members[i] = &trk.MapMemberT{Device: id.String(), Name: string(g.engine.AppendName(nil, id))}
	}
	for i := range d.Viewers {
		reply.Viewers[i] = tokenTable(&d.Viewers[i])
	}
	return trk.AppendMapDetail(out, &reply), nil
}

func (g mapService) Delete(r *rpc.Request, in trk.MapRef, out []byte) ([]byte, error) {
	id, err := g.engine.DeleteMap(r.Context(), string(in.MapRef()))
	if err != nil {
		return nil, err
	}
	g.noteMap(r, "map deleted", id)
	return trk.AppendEmpty(out, &trk.EmptyT{}), nil
}

func (g mapService) Join(r *rpc.Request, in trk.MembersReq, out []byte) ([]byte, error) {
	m, err := g.engine.JoinMap(r.Context(), string(in.MapRef()), membersOf(&in))
	if err != nil {
		return nil, err
	}
	g.noteMembers(r, "devices joined a map", m.ID, &in)
	return trk.AppendMapInfo(out, mapTable(&m)), nil
}

func (g mapService) Part(r *rpc.Request, in trk.MembersReq, out []byte) ([]byte, error) {
	m, err := g.engine.PartMap(r.Context(), string(in.MapRef()), membersOf(&in))
	if err != nil {
		return nil, err
	}
	g.noteMembers(r, "devices left a map", m.ID, &in)
	return trk.AppendMapInfo(out, mapTable(&m)), nil
}

// membersOf is the devices of a request; one too many is refused as such.
func membersOf(in *trk.MembersReq) []string {
	refs := make([]string, min(in.DevicesLength(), engine.MaxMembers+1))
	for i := range refs {
		refs[i] = string(in.Devices(i))
	}
	return refs
}

func (g mapService) Grant(r *rpc.Request, in trk.GrantReq, out []byte) ([]byte, error) {
	if err := g.engine.GrantMap(r.Context(), string(in.MapRef()), string(in.Token())); err != nil {
		return nil, err
	}
	g.noteGrant(r, "map granted", &in)
	return trk.AppendEmpty(out, &trk.EmptyT{}), nil
}

func (g mapService) Revoke(r *rpc.Request, in trk.GrantReq, out []byte) ([]byte, error) {
	if err := g.engine.UngrantMap(r.Context(), string(in.MapRef()), string(in.Token())); err != nil {
		return nil, err
	}
	g.noteGrant(r, "map ungranted", &in)
	return trk.AppendEmpty(out, &trk.EmptyT{}), nil
}

func (g mapService) noteMap(r *rpc.Request, what string, id track.MapID) {
	g.log.Info(what, "map", id.String(), "by", identityOf(r).Name, "conn", r.ConnID())
}

func (g mapService) noteMembers(r *rpc.Request, what string, id track.MapID, in *trk.MembersReq) {
	g.log.Info(what, "map", id.String(), "count", in.DevicesLength(), "by", identityOf(r).Name, "conn", r.ConnID())
}

func (g mapService) noteGrant(r *rpc.Request, what string, in *trk.GrantReq) {
	g.log.Info(what, "map", string(in.MapRef()), "token", string(in.Token()), "by", identityOf(r).Name, "conn", r.ConnID())
}

func mapTable(m *engine.Map) *trk.MapInfoT {
	return &trk.MapInfoT{Id: m.ID.String(), Name: m.Name, Created: millis(m.Created), Members: uint32(m.Members)}
}

// become swaps the identity of a connection, and ends the watches that the new one may
// not have. Those that begin or move meanwhile, and were allowed to the old one, are
// entrusted to it by who began them.
func (s *session) become(who *engine.Identity) {
	s.mu.Lock()
	s.who.Store(who)
	viewers := make([]*hub.Viewer, 0, len(s.watches))
	for _, p := range s.watches {
		viewers = append(viewers, p.viewer)
	}
	s.mu.Unlock()
	for _, v := range viewers {
		s.g.engine.Entrust(v, who)
	}
}
