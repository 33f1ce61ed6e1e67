package gateway

import (
	"sync/atomic"

	"tracker/pkg/hub"
	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// pump takes frames of one watch from the hub to its subscription. It has no goroutine:
// whoever finds that there may be something to do has a turn, and one at a time does it.
//
//	hub's worker: there are frames ─┐                  live: frames go out here
//	rpc's worker: there is credit  ─┴─► tell ─► turn ─┤
//	                                                   └ not: a goroutine, until it is
//
// A frame is pulled only when it can be sent, so that none grows old between the hub and
// the socket: what a client does not take stays the hub's to conflate.
type pump struct {
	calls  atomic.Int32 // of tell that no turn has looked after yet
	number uint32       // of the watch
	to     trk.WatchOpenPublisher
	viewer *hub.Viewer
	enc    *hub.Encoding
	got    [1]*hub.Frame
	s      *session
}

// tell is called when there may be something to do. Who finds a turn under way leaves it
// to that one, which looks once more.
func (p *pump) tell() {
	defer p.to.Guard()
	if p.calls.Add(1) == 1 {
		p.turn(false)
	}
}

// turn works until nobody has called meanwhile. A turn that may not wait hands over to
// one that may when the viewer has to catch up first.
func (p *pump) turn(mayWait bool) {
	for calls := p.calls.Load(); calls != 0; calls = p.calls.Add(-calls) {
		if !p.run(mayWait) {
			p.to.Go(func() { p.turn(true) })
			return
		}
	}
}

// run sends until there is no credit, or nothing more. It returns false if it would have
// to wait and may not.
func (p *pump) run(mayWait bool) bool {
	for {
		if able, err := p.to.Able(); !able || err != nil {
			if why := p.viewer.Ended(); why != nil {
				p.to.End(why) // credit may never come
			}
			return true // told again with credit, or it is over
		}
		frames, turn, err := p.viewer.Pull(p.got[:0])
		if turn == hub.Behind {
			if !mayWait {
				return false
			}
			frames, err = p.viewer.TryNext(p.got[:0])
			turn = hub.More
		}
		if err != nil {
			p.to.End(err)
			return true
		}
		if len(frames) == 0 {
			return true
		}
		f := frames[0]
		err = p.to.Emit(f.Skipped, trk.WatchOpenEvent, f.Bytes(p.enc))
		p.got[0] = nil // a quiet watch holds on to no frame
		if err != nil || turn == hub.Waits {
			return true
		}
	}
}

// end is called when the subscription is over.
func (p *pump) end() { p.s.closeWatch(p) }

// open makes the pump of a watch and lets it outlive the call that opens it.
func (g watch) open(r *rpc.Request, to trk.WatchOpenPublisher, q hub.Query, o hub.Options) (err error) {
	p := &pump{s: sessionOf(r), to: to, enc: g.enc}
	p.calls.Store(1) // nobody has a turn before there is a viewer
	o.Notify = p.tell
	if err := p.s.openWatch(p, q, o); err != nil {
		return err
	}
	detached := false
	defer func() {
		if !detached {
			p.end()
		}
	}()
	if err := to.Answer(watchAck(p.number, p.viewer)); err != nil {
		return err
	}
	to.Detach(p.tell, p.end)
	p.turn(false)
	detached = true
	return nil
}
