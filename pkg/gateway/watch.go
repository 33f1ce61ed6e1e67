package gateway

import (
	"fmt"
	"math"
	"slices"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/hub"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// watch tells what moves.
type watch struct{ *Gateway }

var _ trk.WatchServer = watch{}

// Open sends frames of the hub as the client gives credit for them: what a client does
// not take stays the hub's to conflate, and costs nothing here. See pump.
func (g watch) Open(r *rpc.Request, in trk.WatchReq, p trk.WatchOpenPublisher) error {
	var area trk.Area
	q, err := g.query(identityOf(r), in.Area(&area))
	if err != nil {
		return err
	}
	var o hub.Options
	if o.ResumeEpoch, o.ResumeSeq, err = resumption(&in); err != nil {
		return err
	}
	if err := sessionOf(r).pace(r); err != nil {
		return err
	}
	return g.open(r, p, q, o)
}

// Move points a watch at another area, in place.
func (g watch) Move(r *rpc.Request, in trk.MoveReq, out []byte) ([]byte, error) {
	var area trk.Area
	q, err := g.query(identityOf(r), in.Area(&area))
	if err != nil {
		return nil, err
	}
	s := sessionOf(r)
	if err := s.pace(r); err != nil {
		return nil, err
	}
	viewer, ok := s.watch(in.Watch())
	if !ok {
		return nil, fmt.Errorf("watch %d: %w", in.Watch(), track.ErrNotFound)
	}
	if err := viewer.Retarget(q); err != nil {
		return nil, err
	}
	g.engine.Entrust(viewer, s.who.Load())
	return trk.AppendWatchAck(out, watchAck(in.Watch(), viewer)), nil
}

func watchAck(number uint32, viewer *hub.Viewer) *trk.WatchAckT {
	stream, epoch, resumed := viewer.Stream()
	return &trk.WatchAckT{Watch: number, Stream: stream, Epoch: hex64(epoch), Resumed: resumed}
}

// query reads what somebody wants to watch: exactly one of all, devices, box and map.
func (g watch) query(who *engine.Identity, in *trk.Area) (hub.Query, error) {
	q, err := g.areaOf(who, in)
	if err != nil || q.Kind == hub.KindMap {
		return q, err
	}
	return q, g.engine.MayWatch(who, &q)
}

func (g watch) areaOf(who *engine.Identity, in *trk.Area) (hub.Query, error) {
	var b trk.Box
	hasBox, n, shared := in.Box(&b) != nil, in.DevicesLength(), in.MapRef()
	ways := 0
	for _, given := range []bool{in.All(), n > 0, hasBox, len(shared) > 0} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		return hub.Query{}, fmt.Errorf("want one of all, devices, box and map: %w", track.ErrInvalid)
	case len(shared) > 0:
		return g.engine.MapQuery(who, string(shared))
	case in.All():
		return hub.All(), nil
	case hasBox:
		area, err := box(&b)
		return hub.Box(area), err
	}
	refs := make([]string, min(n, g.cfg.MaxDevices+1)) // one too many is refused as such
	for i := range refs {
		refs[i] = string(in.Devices(i))
	}
	return g.engine.DevicesQuery(refs, g.cfg.MaxDevices)
}

// resumption reads where an earlier watch stood.
func resumption(in *trk.WatchReq) (epoch, seq uint64, err error) {
	if len(in.ResumeEpoch()) == 0 {
		return 0, 0, nil
	}
	at := in.ResumePosition()
	if !(at >= 0 && at <= maxMillis) || at != math.Trunc(at) {
		return 0, 0, invalid("resume_position", "%v: want a whole number", at)
	}
	epoch, err = engine.StreamEpoch(string(in.ResumeEpoch()))
	return epoch, uint64(at), err
}

// pace lets a request wait for its turn, when its connection asks for views faster than
// it may.
func (s *session) pace(r *rpc.Request) error {
	wait := s.reserve(s.g.cfg.Now())
	switch {
	case wait > maxTurn:
		return &rpc.Error{Status: rpc.ResourceExhausted, Reason: "rate_limited", Message: "too many views are asked for",
			RetryAfter: wait, NotRun: true}
	case wait > 0:
		return sleep(r, wait)
	}
	return nil
}

// maxTurn is how far off a turn may be: who waits for it holds a goroutine.
const maxTurn = 5 * time.Second

// reserve takes the next turn of the connection, unless it is too far off, and tells how
// far that is.
func (s *session) reserve(now time.Time) time.Duration {
	const each = time.Second / engine.AskPerSec
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turn.Before(now) {
		s.turn = now
	}
	next := s.turn.Add(each)
	wait := next.Sub(now) - engine.AskBurst*each
	if wait <= maxTurn {
		s.turn = next
	}
	return wait
}

// openWatch adds the watch of a pump, if the connection may have one more.
func (s *session) openWatch(p *pump, q hub.Query, o hub.Options) error {
	most := s.g.cfg.MaxWatches
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.watches) >= most {
		return &rpc.Error{Status: rpc.Status(trk.AppErrorTooManyWatches), Reason: "rate_limited",
			Message: fmt.Sprintf("too many watches: %d on one connection", len(s.watches)), NotRun: true}
	}
	viewer, err := s.g.engine.Watch(q, o)
	if err != nil {
		return err
	}
	s.last++
	for s.find(s.last) >= 0 || s.last == 0 { // numbers wrap
		s.last++
	}
	p.number, p.viewer = s.last, viewer
	s.watches = append(s.watches, p)
	s.g.engine.Entrust(viewer, s.who.Load()) // who may have been refreshed since query
	return nil
}

func (s *session) closeWatch(p *pump) {
	s.mu.Lock()
	if i := slices.Index(s.watches, p); i >= 0 {
		s.watches = slices.Delete(s.watches, i, i+1)
	}
	s.mu.Unlock()
	p.viewer.Close()
}

// find tells which of watches has that number, or -1. mu is held.
func (s *session) find(number uint32) int {
	return slices.IndexFunc(s.watches, func(p *pump) bool { return p.number == number })
}

func (s *session) watch(number uint32) (*hub.Viewer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(number); i >= 0 {
		return s.watches[i].viewer, true
	}
	return nil, false
}
