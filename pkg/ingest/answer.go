package ingest

import (
	"time"

	"tracker/pkg/seal"
)

// answers are what a device has been told, kept only for devices that ask.
type answers struct {
	key     [32]byte // ack key of epoch
	epoch   uint32
	keyed   bool
	next    int64 // tick of the next ack
	nextOld int64 // tick of the next one that says "epoch too old"
}

const (
	ackEvery    = time.Second
	ackSlack    = 100 * time.Millisecond // of a device that reports once a second, give or take
	ackOldEvery = time.Minute
)

// answer leaves an ack for an authentic, new datagram that asks for one. It goes to
// where the datagram came from and nowhere else, ever: 40 bytes for at least 43, so
// that nobody gains by asking in another's name.
func (r *reader) answer(d *datagram, status seal.AckStatus) {
	if d.body[0]&wantsAck == 0 {
		return
	}
	a := r.answers[d.rec.id()]
	if r.now+ticks(ackSlack) < a.next || !r.ackBudget.take(r.now, 0) {
		r.tally.count(acksSuppressed)
		return
	}
	if !a.keyed || a.epoch != d.head.Epoch {
		if r.derive(d) != fine {
			r.tally.count(acksSuppressed)
			return
		}
		a.key, a.epoch, a.keyed = r.keys.Ack, d.head.Epoch, true
	}
	a.next = max(a.next, r.now) + ticks(ackEvery)
	r.answers[d.rec.id()] = a
	highest, bitmap := d.slot.win.Seen()
	r.send(d, seal.Ack{Status: status, Max: highest, Bitmap: bitmap}, &a.key)
}

// refuseOld refuses a datagram of an epoch that is not live any more. If it is
// authentic and asks, it is the one refusal that is answered, once a minute: a
// device whose clock went back must hear about it to repair itself. The derivation
// comes from the lower half of the budget.
func (r *reader) refuseOld(d *datagram) counter {
	a := r.answers[d.rec.id()]
	if r.now < a.nextOld || !r.kdf.has(r.now, lowerHalf) || r.derive(d) != fine || !r.verify(d, &r.keys.Up) {
		return epochOld
	}
	if d.body[0]&wantsAck == 0 {
		return epochOld
	}
	if !r.ackBudget.take(r.now, 0) {
		r.tally.count(acksSuppressed)
		return epochOld
	}
	a.nextOld = r.now + ticks(ackOldEvery)
	r.answers[d.rec.id()] = a
	r.send(d, seal.Ack{Status: seal.AckEpochOld}, &r.keys.Ack)
	return epochOld
}

func (r *reader) send(d *datagram, a seal.Ack, key *[32]byte) {
	a.Time = uint32(r.wall / 1000)
	r.socket.answer(d.i, seal.AppendAck(r.ack[:0], d.head, a, key))
}
