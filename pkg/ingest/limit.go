package ingest

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// tick is the unit in which credit is kept: 40 bits of it are three and a half
// years, and a device may send ten thousand datagrams a second before it is too
// coarse.
const tick = 100 * time.Microsecond

func ticks(d time.Duration) int64 { return int64(d / tick) }

// rate is what one device may send. Each device has one account in time: a datagram
// costs a while, each fix in it a shorter while, whichever is more, and the account
// may be overdrawn by no more than depth. The balance is one number, the tick at
// which all is paid, so an idle device needs no upkeep.
type rate struct {
	datagram int64 // ticks a datagram costs
	fix      int64 // ticks a fix costs
	depth    int64 // how far due may lie ahead
}

func newRate(c Rate) rate {
	r := rate{
		datagram: int64(float64(ticks(time.Second)) / c.Datagrams),
		fix:      int64(float64(ticks(time.Second)) / c.Fixes),
	}
	r.depth = r.datagram * int64(c.Burst)
	return r
}

// allow tells whether a device that has paid until due may send one more datagram,
// and until when it then has to pay. A due further ahead than any account can be
// overdrawn comes from a clock that was set back; it is forgiven.
func (r *rate) allow(due, now int64) (next int64, ok bool) {
	if due <= now || due > now+2*r.depth+maxFixes*r.fix {
		due = now
	}
	if due+r.datagram > now+r.depth {
		return due, false
	}
	return due + r.datagram, true
}

// maxFixes is how many one datagram can carry.
const maxFixes = 256

// surcharge is what a datagram of n fixes costs beyond its base price. It is asked
// for afterwards, since only an opened body tells: a big trail is taken as long as
// there is credit at all, and paid off before the next one.
func (r *rate) surcharge(n int) int64 { return max(0, int64(n)*r.fix-r.datagram) }

// budget is a token bucket for work that a whole reader shares. It holds at most a
// tenth of a second's worth, so that a burst never stalls the socket for long.
type budget struct {
	perTick float64
	most    float64
	level   float64
	last    int64
}

func newBudget(perSecond float64) budget {
	most := max(1, perSecond/10)
	return budget{perTick: perSecond / float64(ticks(time.Second)), most: most, level: most}
}

func (b *budget) refill(now int64) {
	if now > b.last {
		b.level = min(b.most, b.level+float64(now-b.last)*b.perTick)
	}
	b.last = now
}

// has tells whether a unit can be spent that leaves at least keep, a share of the
// whole, for others.
func (b *budget) has(now int64, keep float64) bool {
	b.refill(now)
	return b.level-1 >= keep*b.most
}

// take spends one unit, if it is there.
func (b *budget) take(now int64, keep float64) bool {
	if !b.has(now, keep) {
		return false
	}
	b.level--
	return true
}

// sketch estimates how often each source network failed, in memory that no flood
// can grow. It is a count-min sketch: never too low, too high where networks
// collide in all rows. Forgetting halves everything.
type sketch struct {
	rows   [4][1024]uint32
	seeds  [4]uint64
	halved int64
}

const sketchHalfLife = time.Minute

func newSketch() *sketch {
	s := new(sketch)
	for i := range s.seeds {
		s.seeds[i] = rand.Uint64() // strangers must not choose whom they collide with
	}
	return s
}

// add counts one failure and returns the estimate for its network.
func (s *sketch) add(source netip.Addr, now int64) uint32 {
	s.forget(now)
	key := networkKey(source)
	least := ^uint32(0)
	for i := range s.rows {
		n := &s.rows[i][mix(key^s.seeds[i])%uint64(len(s.rows[i]))]
		if *n != ^uint32(0) {
			*n++
		}
		least = min(least, *n)
	}
	return least
}

func (s *sketch) forget(now int64) {
	if now-s.halved < ticks(sketchHalfLife) {
		return
	}
	s.halved = now
	for i := range s.rows {
		for j := range s.rows[i] {
			s.rows[i][j] /= 2
		}
	}
}

// network is what one subscriber can usually choose addresses from.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits) // an invalid address gives the zero prefix, which is fine here
	return p
}

func networkKey(a netip.Addr) uint64 {
	b := network(a).Addr().As16()
	var key uint64
	for _, x := range b[:6] {
		key = key<<8 | uint64(x)
	}
	if a.Unmap().Is4() { // mapped: the network is in bytes 12 to 14
		key = 1<<48 | uint64(b[12])<<16 | uint64(b[13])<<8 | uint64(b[14])
	}
	return key
}
