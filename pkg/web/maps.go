package web

import (
	"context"
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"

	"tracker/pkg/engine"
	"tracker/pkg/hub"
	"tracker/pkg/track"
)

// mapJSON is the schema Map.
type mapJSON struct {
	ID      track.MapID `json:"id"`
	Name    string      `json:"name"`
	Created string      `json:"created"`
	Members int         `json:"members"`
}

// mapDetailJSON is the schema MapDetail.
type mapDetailJSON struct {
	mapJSON
	Devices []memberJSON `json:"devices"`
	Viewers []tokenJSON  `json:"viewers,omitempty"`
}

type memberJSON struct {
	ID   track.DeviceID `json:"id"`
	Name string         `json:"name"`
}

func asMapJSON(m engine.Map) mapJSON {
	return mapJSON{ID: m.ID, Name: m.Name, Created: stamp(m.Created), Members: m.Members}
}

func (w *Web) listMaps(rq *request) error {
	limit, err := rq.limit(engine.MapPage, engine.MaxMapPage)
	if err != nil {
		return err
	}
	after, err := engine.AfterMap(rq.query.Get("after"))
	if err != nil {
		return err
	}
	found := w.engine.Maps(&rq.who, rq.query.Get("q"), after, limit+1)
	page := struct {
		Maps []mapJSON `json:"maps"`
		Next string    `json:"next"`
	}{Maps: make([]mapJSON, 0, len(found))}
	if len(found) > limit {
		found = found[:limit]
		page.Next = found[limit-1].ID.String()
	}
	for _, m := range found {
		page.Maps = append(page.Maps, asMapJSON(m))
	}
	return rq.replyJSON(fasthttp.StatusOK, page)
}

func (w *Web) createMap(rq *request) error {
	var ask struct {
		Name string `json:"name"`
	}
	if err := rq.readJSON(&ask); err != nil {
		return err
	}
	m, err := w.engine.CreateMap(rq.ctx, ask.Name)
	if err != nil {
		return err
	}
	w.noteMap(rq, "map created", m.ID)
	return rq.replyJSON(fasthttp.StatusCreated, asMapJSON(m))
}

func (w *Web) showMap(rq *request) error {
	d, err := w.engine.ShowMap(&rq.who, rq.variable)
	if err != nil {
		return err
	}
	reply := mapDetailJSON{mapJSON: asMapJSON(d.Map), Devices: make([]memberJSON, len(d.Devices))}
	for i, id := range d.Devices {
		reply.Devices[i] = memberJSON{ID: id, Name: string(w.engine.AppendName(nil, id))}
	}
	for _, t := range d.Viewers {
		reply.Viewers = append(reply.Viewers, asTokenJSON(t))
	}
	return rq.replyJSON(fasthttp.StatusOK, reply)
}

func (w *Web) deleteMap(rq *request) error {
	id, err := w.engine.DeleteMap(rq.ctx, rq.variable)
	if err != nil {
		return err
	}
	w.noteMap(rq, "map deleted", id)
	rq.http.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// changeMembers puts many devices on a map, or takes them off it.
func (w *Web) changeMembers(rq *request) error {
	var ask struct {
		Join []string `json:"join"`
		Part []string `json:"part"`
	}
	if err := rq.readJSON(&ask); err != nil {
		return err
	}
	if (len(ask.Join) == 0) == (len(ask.Part) == 0) {
		return fmt.Errorf("want one of join and part: %w", track.ErrInvalid)
	}
	if len(ask.Join) > 0 {
		return w.members(rq, w.engine.JoinMap, "devices joined a map", ask.Join)
	}
	return w.members(rq, w.engine.PartMap, "devices left a map", ask.Part)
}

func (w *Web) joinMap(rq *request) error {
	return w.members(rq, w.engine.JoinMap, "devices joined a map", []string{rq.second})
}

func (w *Web) partMap(rq *request) error {
	return w.members(rq, w.engine.PartMap, "devices left a map", []string{rq.second})
}

// memberChange is engine.Engine.JoinMap or PartMap.
type memberChange func(ctx context.Context, ref string, devices []string) (engine.Map, error)

func (w *Web) members(rq *request, change memberChange, what string, devices []string) error {
	m, err := change(rq.ctx, rq.variable, devices)
	if err != nil {
		return err
	}
	w.log.Info(what, "map", m.ID.String(), "count", len(devices), "by", rq.who.Name, "request", rq.id)
	return rq.replyJSON(fasthttp.StatusOK, asMapJSON(m))
}

func (w *Web) grantMap(rq *request) error {
	if err := w.engine.GrantMap(rq.ctx, rq.variable, rq.second); err != nil {
		return err
	}
	return w.granted(rq, "map granted")
}

func (w *Web) ungrantMap(rq *request) error {
	if err := w.engine.UngrantMap(rq.ctx, rq.variable, rq.second); err != nil {
		return err
	}
	return w.granted(rq, "map ungranted")
}

func (w *Web) granted(rq *request, what string) error {
	w.log.Info(what, "map", rq.variable, "token", rq.second, "by", rq.who.Name, "request", rq.id)
	rq.http.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

func (w *Web) noteMap(rq *request, what string, id track.MapID) {
	w.log.Info(what, "map", id.String(), "by", rq.who.Name, "request", rq.id)
}

// isBatch tells whether a path takes a body with many devices.
func isBatch(path string) bool {
	return path == batchPath || strings.HasPrefix(path, "/v1/maps/") && strings.HasSuffix(path, "/devices:batch")
}

// allowed returns the query that somebody wants to watch, unless they may not. That of a
// map carries their right with it.
func (w *Web) allowed(who *engine.Identity, q hub.Query, err error) (hub.Query, error) {
	if err != nil || q.Kind == hub.KindMap {
		return q, err
	}
	return q, w.engine.MayWatch(who, &q)
}
