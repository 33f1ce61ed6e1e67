package rpc

// requests are the open ones of a connection by their ids. Most connections have one, or
// none, for most of their time: the map is made for the second.
type requests struct {
	one  *Request
	more map[uint32]*Request // but one
}

func (o *requests) get(id uint32) *Request {
	if o.one != nil && o.one.ID == id {
		return o.one
	}
	return o.more[id]
}

func (o *requests) put(r *Request) {
	if o.one == nil {
		o.one = r
		return
	}
	if o.more == nil {
		o.more = map[uint32]*Request{}
	}
	o.more[r.ID] = r
}

func (o *requests) remove(r *Request) {
	if o.one == r {
		o.one = nil
		return
	}
	delete(o.more, r.ID)
}

func (o *requests) all(yield func(*Request) bool) {
	if o.one != nil && !yield(o.one) {
		return
	}
	for _, r := range o.more {
		if !yield(r) {
			return
		}
	}
}
