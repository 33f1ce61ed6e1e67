package rpc

import "container/list"

// room is what a client may still have in flight, as the server announced it. Who
// finds none waits in a queue, so that a long body gets its turn among short ones.
type room struct {
	calls, bytes int
	queue        list.List // of *turn
	most         int       // bytes there are
	lasting      int       // bytes of subscriptions, open or in the queue: they stay taken
}

// turn is a place in the queue.
type turn struct {
	p  *call
	ok chan struct{} // closed when p has got its room
}

func (r *room) fits(p *call) bool { return p.calls <= r.calls && p.bytes <= r.bytes }

// never says whether p would wait for as long as the subscriptions live.
func (r *room) never(p *call) bool { return p.bytes > r.most-r.lasting }

// take gives p room, or a place in the queue.
func (r *room) take(p *call) *list.Element {
	if p.stream != nil {
		r.lasting += p.bytes
	}
	if r.queue.Len() > 0 || !r.fits(p) {
		return r.queue.PushBack(&turn{p, make(chan struct{})})
	}
	r.calls -= p.calls
	r.bytes -= p.bytes
	return nil
}

// free takes back what p had, and serves the queue.
func (r *room) free(p *call) {
	r.leave(p)
	r.calls += p.calls
	r.bytes += p.bytes
	r.serve()
}

func (r *room) leave(p *call) {
	if p.stream != nil {
		r.lasting -= p.bytes
	}
}

func (r *room) serve() {
	for at := r.queue.Front(); at != nil; at = r.queue.Front() {
		t := at.Value.(*turn)
		if !r.fits(t.p) {
			return
		}
		r.calls -= t.p.calls
		r.bytes -= t.p.bytes
		r.queue.Remove(at)
		close(t.ok)
	}
}

// giveUp leaves the queue, with or without having got room.
func (r *room) giveUp(at *list.Element) {
	t := at.Value.(*turn)
	select {
	case <-t.ok:
		r.free(t.p)
	default:
		r.queue.Remove(at)
		r.leave(t.p)
		r.serve() // it may have been in the way
	}
}
