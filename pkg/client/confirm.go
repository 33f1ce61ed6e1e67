package client

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// confirmer is what a shard of a fleet with Confirm knows of its datagrams that no ack
// has spoken of yet. One datagram a second of each device asks for an ack; the bitmap
// of that ack tells of the fifteen before it. What is missing is sent again byte for
// byte, so that the server's replay window keeps the fixes single whatever was lost,
// the datagram or the ack.
//
//	sent ──► waiting ──► ack says yes: done
//	            │ ack says no, or none came in time
//	            └──► sent again, at most maxTries times, then counted as unconfirmed
//
// All of it is guarded by the shard's mutex, but for the counters.
type confirmer struct {
	byWire  map[track.DeviceID]uint32 // wire id -> device
	waiting map[uint32][]unconfirmed  // by device, oldest first
	reviews []review                  // in the order in which they are due
	again   []unconfirmed             // to be sent with the next batch
	count   int                       // datagrams in waiting and again
	open    seal.Opener

	asked, acks, confirmed, resent, gaveUp, refused atomic.Uint64
}

// unconfirmed is one datagram.
type unconfirmed struct {
	dev   uint32
	pid   uint32
	epoch uint32
	tries uint8
	pkt   []byte
}

// review is when to look at a datagram again.
type review struct {
	due   int64 // unix milliseconds
	dev   uint32
	pid   uint32
	epoch uint32
}

const (
	askMillis    = 1000 // a server answers a device once a second
	reviewMillis = 2500
	maxTries     = 3
	deafSample   = 2000 // asks after which a fleet that got hardly any ack stops sending again
)

func newConfirmer() *confirmer {
	return &confirmer{byWire: map[track.DeviceID]uint32{}, waiting: map[uint32][]unconfirmed{}}
}

// deaf tells whether nothing comes back on this line: then sending again only adds
// load.
func (c *confirmer) deaf() bool {
	asked := c.asked.Load()
	return asked > deafSample && c.acks.Load() < asked/10
}

// sent remembers a datagram.
func (c *confirmer) sent(dev uint32, d *fleetDevice, pkt []byte, now int64) {
	c.wait(unconfirmed{dev: dev, pid: d.pid - 1, epoch: d.epoch, pkt: append([]byte(nil), pkt...)}, now)
}

func (c *confirmer) wait(u unconfirmed, now int64) {
	c.waiting[u.dev] = append(c.waiting[u.dev], u)
	c.reviews = append(c.reviews, review{due: now + reviewMillis, dev: u.dev, pid: u.pid, epoch: u.epoch})
	c.count++
}

// take removes a datagram from those that wait.
func (c *confirmer) take(dev, epoch, pid uint32) (u unconfirmed, ok bool) {
	list := c.waiting[dev]
	for i := range list {
		if list[i].pid != pid || list[i].epoch != epoch {
			continue
		}
		u = list[i]
		if len(list) == 1 {
			delete(c.waiting, dev)
		} else {
			c.waiting[dev] = append(list[:i], list[i+1:]...)
		}
		c.count--
		return u, true
	}
	return u, false
}

// retry sends a datagram again, unless it was sent often enough.
func (c *confirmer) retry(u unconfirmed) {
	if u.tries >= maxTries || c.deaf() {
		c.gaveUp.Add(1)
		return
	}
	u.tries++
	c.again = append(c.again, u)
	c.count++
}

// reviewDue looks at the datagrams whose time has come, and returns when the next is
// due.
func (c *confirmer) reviewDue(now int64) (next int64) {
	done := 0
	for done < len(c.reviews) && c.reviews[done].due <= now {
		r := c.reviews[done]
		done++
		if u, ok := c.take(r.dev, r.epoch, r.pid); ok {
			c.retry(u)
		}
	}
	c.reviews = append(c.reviews[:0], c.reviews[done:]...)
	if len(c.reviews) > 0 {
		return c.reviews[0].due
	}
	return now + reviewMillis
}

// listen takes acks until the socket closes.
func (s *fleetShard) listen(conn net.Conn) {
	buf := make([]byte, 2*seal.AckLen)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n == seal.AckLen {
			s.acked(buf[:n])
		}
	}
}

// acked takes one ack, if it is one of ours.
func (s *fleetShard) acked(pkt []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.confirm
	var dev uint32
	h, a, err := seal.OpenAck(pkt, func(h seal.Header) *[32]byte {
		i, ok := c.byWire[h.Device]
		if !ok || s.devices[i].epoch != h.Epoch {
			return nil
		}
		dev = i
		keys := seal.Derive(&s.devices[i].root, h.Suite, h.Device, h.Epoch)
		return &keys.Ack
	})
	if err != nil {
		return
	}
	c.acks.Add(1)
	switch a.Status {
	case seal.AckEpochOld, seal.AckRateLimited:
		s.refused(dev, h)
	default:
		s.settle(dev, h, a)
	}
	s.space.Broadcast()
}

// settle compares what waits with what an ack shows.
func (s *fleetShard) settle(dev uint32, h seal.Header, a seal.Ack) {
	c := s.confirm
	list := append([]unconfirmed(nil), c.waiting[dev]...)
	for _, u := range list {
		if u.epoch != h.Epoch || u.pid > a.Max {
			continue
		}
		back := a.Max - u.pid
		if back >= maxUnacked && u.pid != h.PID {
			continue // the ack does not reach back to it; its review will come
		}
		c.take(u.dev, u.epoch, u.pid)
		if u.pid == h.PID || a.Bitmap&(1<<(15-back)) != 0 {
			c.confirmed.Add(1)
		} else {
			c.retry(u)
		}
	}
	if len(c.again) > 0 {
		signal(s.wake)
	}
}

// refused queues the fixes of a datagram again that the server read and did not take.
// Its packet id is used up, so they need another.
func (s *fleetShard) refused(dev uint32, h seal.Header) {
	c := s.confirm
	u, ok := c.take(dev, h.Epoch, h.PID)
	if !ok {
		return
	}
	keys := seal.Derive(&s.devices[dev].root, h.Suite, h.Device, h.Epoch)
	body, err := c.open.Open(nil, h.Suite, &keys.Up, u.pkt)
	if err != nil {
		return
	}
	var b track.Batch
	if _, err := wire.DecodeBody(&b, body); err != nil {
		return
	}
	c.refused.Add(uint64(len(b.Fixes)))
	s.devices[dev].paid = time.Now().Add(rateHoldOff).UnixMilli()
	for i := range b.Fixes {
		s.enqueue(dev, &b.Fixes[i])
	}
}

// wantsAck tells whether the next datagram of a device should ask for an ack.
func (s *fleetShard) wantsAck(d *fleetDevice, now int64) bool {
	if s.confirm == nil || now-d.asked < askMillis {
		return false
	}
	d.asked = now
	s.confirm.asked.Add(1)
	return true
}

// sendAgain gives the kernel what has to be sent once more.
func (s *fleetShard) sendAgain(ctx context.Context, b *fleetBatch) bool {
	for {
		s.mu.Lock()
		c := s.confirm
		n := min(len(c.again), batchSize)
		for i, u := range c.again[:n] {
			b.msgs[i].Buffers[0] = u.pkt
		}
		batch := append([]unconfirmed(nil), c.again[:n]...)
		c.again = append(c.again[:0], c.again[n:]...)
		s.mu.Unlock()
		if n == 0 {
			return true
		}
		if !s.push(ctx, b, n) {
			return false
		}
		c.resent.Add(uint64(n))
		s.mu.Lock()
		now := time.Now().UnixMilli()
		for _, u := range batch {
			c.count-- // wait counts it again
			c.wait(u, now)
		}
		s.mu.Unlock()
	}
}
