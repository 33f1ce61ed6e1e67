package gateway

import (
	"context"
	"math"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/rpc"
	"tracker/pkg/store"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// positions tells where devices are, and where they were.
type positions struct{ *Gateway }

var _ trk.PositionsServer = positions{}

func (g positions) Latest(_ *rpc.Request, in trk.LatestReq, out []byte) ([]byte, error) {
	n := in.DevicesLength()
	if n > engine.MaxFixPage {
		return nil, invalid("devices", "%d of them: give up to %d", n, engine.MaxFixPage)
	}
	refs := make([]string, n)
	for i := range refs {
		refs[i] = string(in.Devices(i))
	}
	fixes, err := g.engine.LatestOf(refs)
	if err != nil {
		return nil, err
	}
	return g.appendFixes(out, fixes, ""), nil
}

func (g *Gateway) appendFixes(out []byte, fixes []track.Fix, next string) []byte {
	p := pageOf(fixes, g.engine.AppendName)
	defer p.free()
	return trk.AppendFixes(out, &trk.FixesT{Fixes: p.list, Names: p.names, Next: next})
}

func (g positions) Near(_ *rpc.Request, in trk.NearReq, out []byte) ([]byte, error) {
	most, err := engine.Limit(limit(in.Limit()), engine.NearLimit, engine.MaxNear)
	if err != nil {
		return nil, err
	}
	var p trk.Point
	in.At(&p)
	at := geo.Point{Lat: p.Lat(), Lon: p.Lon()}
	if !at.Valid() {
		return nil, invalid("at", "%d,%d: not a place in 1e-7 degree", at.Lat, at.Lon)
	}
	within := in.WithinM()
	switch {
	case within == 0:
		within = float64(engine.NearDistance)
	case !(within > 0) || math.IsInf(within, 0):
		return nil, invalid("within_m", "%v: want metres above 0", within)
	}
	hits := g.engine.Near(at, geo.Meters(within), most)
	fixes, away := make([]track.Fix, len(hits)), make([]trk.DistanceT, len(hits))
	list := make([]*trk.DistanceT, len(hits))
	for i := range hits {
		fixes[i], list[i] = hits[i].Fix, &away[i]
		away[i].Metres, away[i].BearingDeg = engine.Away(at, &hits[i])
	}
	pg := pageOf(fixes, g.engine.AppendName)
	defer pg.free()
	return trk.AppendNearReply(out, &trk.NearReplyT{Fixes: pg.list, Names: pg.names, Distances: list}), nil
}

func (g positions) InBox(_ *rpc.Request, in trk.InBoxReq, out []byte) ([]byte, error) {
	most, err := engine.Limit(limit(in.Limit()), engine.FixPage, engine.MaxFixPage)
	if err != nil {
		return nil, err
	}
	after, err := engine.After(string(in.After()))
	if err != nil {
		return nil, err
	}
	area := geo.World
	var b trk.Box
	if in.Box(&b) != nil {
		if area, err = box(&b); err != nil {
			return nil, err
		}
	}
	fixes, more := g.engine.Positions(area, after, most)
	next := ""
	if more {
		next = fixes[len(fixes)-1].Device.String()
	}
	return g.appendFixes(out, fixes, next), nil
}

// box reads an area by the rules for one in degrees, which are exact for it.
func box(b *trk.Box) (geo.Box, error) {
	const e7 = geo.E7
	area, err := geo.BoxDeg(float64(b.South())/e7, float64(b.West())/e7, float64(b.North())/e7, float64(b.East())/e7)
	if err != nil {
		return geo.Box{}, invalid("box", "%v", err)
	}
	return area, nil
}

const (
	historyPage  = 1000 // fixes that the store gives in one go
	historyEvent = 500  // and that travel together
	historyTime  = 30 * time.Second
)

// History reads the store a page at a time, as fast as the client gives credit: one that
// takes nothing holds one page, and no cursor of the database.
func (g positions) History(r *rpc.Request, in trk.HistoryReq, p trk.PositionsHistoryPublisher) error {
	q, err := g.historyQuery(&in)
	if err != nil {
		return err
	}
	if err := p.Answer(&trk.HistoryAckT{Device: q.Device.String()}); err != nil {
		return err
	}
	var fixes []track.Fix
	left := q.Limit
	for {
		q.Limit = historyPage
		if left > 0 {
			q.Limit = min(historyPage, left)
		}
		if fixes, err = g.historyPage(r.Context(), q, fixes[:0]); err != nil {
			return err
		}
		ended := len(fixes) < q.Limit
		if len(fixes) > 0 {
			q.After = store.Behind(&fixes[len(fixes)-1])
		}
		if err := g.sendHistory(p, fixes, ended); err != nil {
			return err
		}
		if left -= len(fixes); ended || left == 0 {
			return nil
		}
	}
}

// sendHistory sends a page in pieces, each with the place to go on behind it, but for
// the very last: nothing is behind that.
func (g positions) sendHistory(p trk.PositionsHistoryPublisher, fixes []track.Fix, ended bool) error {
	for len(fixes) > 0 {
		n := min(len(fixes), historyEvent)
		next := ""
		if !ended || n < len(fixes) {
			next = store.Behind(&fixes[n-1]).String()
		}
		pg := pageOf(fixes[:n], g.engine.AppendName)
		err := p.Send(0, &trk.FixesT{Fixes: pg.list, Names: pg.names, Next: next})
		pg.free()
		if err != nil {
			return err
		}
		fixes = fixes[n:]
	}
	return nil
}

func (g positions) historyPage(ctx context.Context, q store.Query, fixes []track.Fix) ([]track.Fix, error) {
	ctx, cancel := context.WithTimeout(ctx, historyTime)
	defer cancel()
	return g.engine.HistoryPage(ctx, q, fixes)
}

func (g positions) historyQuery(in *trk.HistoryReq) (q store.Query, err error) {
	if q.Device, err = g.engine.Resolve(string(in.Device())); err != nil {
		return q, err
	}
	if q.From, err = moment("from", in.From()); err != nil {
		return q, err
	}
	if q.To, err = moment("to", in.To()); err != nil {
		return q, err
	}
	if q.After, err = store.ParseCursor(string(in.After())); err != nil {
		return q, err
	}
	q.Limit, q.Heartbeats = int(min(in.Limit(), math.MaxInt32)), in.Heartbeats()
	return q, nil
}
