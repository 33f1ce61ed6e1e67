package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"net"
	"os"
	"runtime/debug"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

const (
	suspectAfter = 2 * time.Minute // ahead of us: the fix is kept, flagged
	futureAfter  = 24 * time.Hour  // ahead of us: refused
	clockOff     = time.Minute     // either way: the ack says so

	steerByte = 6 // of a datagram: the last of its id

	// wantsAck is the bit of a body's first byte that asks for an ack. It must be known
	// of bodies that are not decoded, too.
	wantsAck = 1 << 7
)

// reader takes the datagrams of one socket the whole way. Everything in it belongs
// to the goroutine of run, except what tally publishes.
type reader struct {
	in     *Ingest
	engine Engine
	socket socket
	index  int // of all readers
	rate   rate

	records    *table // of each wire id: its newest session
	older      *table // and the one before, where there is one
	aliases    map[track.DeviceID]alias
	swings     map[track.DeviceID]swing
	answers    map[track.DeviceID]answers
	generation uint32 // of the engine, as far as it is known here
	swept      uint32

	kdf, ackBudget budget
	sources        *sketch
	shield         shield

	// The batch in hand.
	start   time.Time
	now     int64 // ticks since start, monotonic
	wall    int64 // unix milliseconds
	guesses [batchLen]uint32
	hashes  [batchLen]uint64
	touched uint64 // keeps the compiler from leaving the touch pass out
	batch   track.Batch
	several bool // it has fixes of devices that another reader may have, too
	opener  seal.Opener
	plain   [seal.MaxDatagram]byte
	ack     [seal.AckLen]byte

	// Derivation: what for, and the outcome. deriveKeys is made once, as a closure a
	// call would be an allocation that strangers can ask for.
	wanted     seal.Header
	keys       seal.Keys
	deriveKeys func(*seal.Root)

	failing  bool // the last read did
	lastTend int64
	tally    tally
}

// datagram is one that is being asked questions.
type datagram struct {
	i    int // in its batch
	pkt  []byte
	head seal.Header
	rec  *record // of its wire id
	slot *record // of its session: rec, or the one in reader.older
	body []byte
}

func newReader(in *Ingest, s socket, index int) *reader {
	r := &reader{
		in: in, engine: in.engine, socket: s, index: index, rate: newRate(in.cfg.Rate),
		records: newTable(), older: newTable(),
		aliases: map[track.DeviceID]alias{}, swings: map[track.DeviceID]swing{}, answers: map[track.DeviceID]answers{},
		generation: in.engine.Generation(),
		kdf:        newBudget(in.cfg.Rate.Derivations),
		ackBudget:  newBudget(in.cfg.Rate.Acks / float64(len(in.sockets))),
		sources:    newSketch(),
		start:      in.cfg.Now(),
	}
	r.deriveKeys = func(root *seal.Root) {
		r.keys = seal.Derive(root, r.wanted.Suite, r.wanted.Device, r.wanted.Epoch)
	}
	return r
}

func (r *reader) run(ctx context.Context) error {
	defer r.release()
	for {
		pkts, err := r.socket.receive(true)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			r.drain()
			return nil
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			r.readError(ctx, err)
		default:
			r.failing = false
			r.handle(pkts)
		}
	}
}

// drain takes what had arrived when the door was asked to close; for a second at
// most, as more may keep coming.
func (r *reader) drain() {
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		pkts, err := r.socket.receive(false)
		if err != nil || len(pkts) == 0 {
			return
		}
		r.handle(pkts)
	}
}

// readError counts and goes on: whatever a network does to a socket, the next
// datagram may be fine. Only a second error in a row makes it wait a moment.
func (r *reader) readError(ctx context.Context, err error) {
	r.tally.count(readErrors)
	r.tally.publish()
	if r.in.mayComplain(r.in.cfg.Now().Unix()) {
		r.in.log.Warn("reading datagrams", "err", err)
	}
	if !r.failing {
		r.failing = true
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Millisecond):
	}
}

func (r *reader) release() {
	r.records.release()
	r.older.release()
	clear(r.answers)
	r.keys, r.plain = seal.Keys{}, [seal.MaxDatagram]byte{}
}

// handle takes a batch the whole way: out of it, through the river, and the answers
// on their way back.
func (r *reader) handle(pkts [][]byte) {
	r.tell(r.in.cfg.Now())
	r.refresh()
	r.touch(pkts)
	for next := 0; next < len(pkts); {
		next = r.receiveFrom(next, pkts)
	}
	r.apply()
	sent, failed := r.socket.flush()
	r.tally.now[acksSent] += uint64(sent)
	r.tally.now[acksFailed] += uint64(failed)
	r.tally.count(batches)
	r.tally.publish()
	r.tend()
}

func (r *reader) tell(now time.Time) {
	r.now, r.wall = ticks(now.Sub(r.start)), now.UnixMilli()
}

// touch loads the index slot and then the record of every datagram, before any is
// needed. Each load alone would stall for a miss of the cache; side by side they
// take little more than one.
func (r *reader) touch(pkts [][]byte) {
	sum := uint64(0)
	for i, pkt := range pkts {
		r.hashes[i] = 0
		if len(pkt) >= seal.MinDatagram {
			r.hashes[i] = mix(binary.BigEndian.Uint64(pkt) >> 8 & idMask)
		}
		sum += r.records.firstSlot(r.hashes[i])
	}
	for i := range pkts {
		r.guesses[i] = 0
		if ref, found := r.records.guess(r.hashes[i]); found {
			r.guesses[i] = ref + 1
			sum += r.records.at(ref).name
		}
	}
	r.touched = sum
}

// receiveFrom asks each datagram its questions. A panic is a bug of ours: it costs
// the datagram that met it, and the next call goes on behind that one.
func (r *reader) receiveFrom(first int, pkts [][]byte) (next int) {
	next = first
	fixes, ext := 0, 0
	defer func() {
		if p := recover(); p != nil {
			r.cut(fixes, ext)
			r.broken(p)
			next++
		}
	}()
	for ; next < len(pkts); next++ {
		fixes, ext = len(r.batch.Fixes), len(r.batch.Ext)
		r.tally.count(r.receive(next, pkts[next]))
	}
	return next
}

func (r *reader) broken(p any) {
	r.tally.count(broken)
	r.in.log.Error("bug", "panic", p, "stack", string(debug.Stack()))
}

// cut takes back what was decoded beyond these lengths.
func (r *reader) cut(fixes, ext int) {
	r.batch.Fixes, r.batch.Ext = r.batch.Fixes[:fixes], r.batch.Ext[:ext]
}

// apply gives the batch to the river, which wants the fixes of one device one batch
// at a time. A wire id has one reader, but a device that was just rotated, or changes
// its id with the time, may for a moment be read by two, and one that reports over a
// connection too comes in by another door: such batches wait for each other.
func (r *reader) apply() {
	defer r.batch.Reset()
	if len(r.batch.Fixes) == 0 {
		return
	}
	if r.several {
		r.several = false
		crossing := r.in.shared()
		crossing.Lock()
		defer crossing.Unlock()
	}
	r.engine.Apply(&r.batch)
}

// receive asks the questions in order, cheap ones first, and says which one the
// datagram failed. Nothing is written to a session before the tag has verified.
func (r *reader) receive(i int, pkt []byte) counter {
	head, err := seal.ParseHeader(pkt)
	if err != nil {
		return r.junk(err)
	}
	if r.isMisrouted(head.Device) {
		return misrouted
	}
	d := datagram{i: i, pkt: pkt, head: head, rec: r.lookUp(i, head.Device)}
	if d.rec == nil {
		return unknownID
	}
	if d.rec.suite() != head.Suite {
		return badSuite
	}
	var c counter
	switch r.place(&d) {
	case seal.SlotOld:
		return r.refuseOld(&d)
	case seal.SlotNew:
		c = r.openSession(&d)
	default:
		c = r.open(&d)
	}
	if c != fine {
		return c
	}
	r.watchForClone(&d)
	return r.take(&d)
}

func (r *reader) junk(err error) counter {
	r.shieldFrom()
	if err == seal.ErrLength {
		return badLen
	}
	return badVersion
}

// isMisrouted: until the steering stood, the kernel spread datagrams by address. To
// take one here would be to know nothing of what its own reader has seen.
func (r *reader) isMisrouted(id track.DeviceID) bool {
	return int(id&0xff)%len(r.in.sockets) != r.index
}

// lookUp finds the record of a device, or makes one when it shows up for the first
// time. Strangers get none.
func (r *reader) lookUp(i int, id track.DeviceID) *record {
	if g := r.guesses[i]; g != 0 {
		if rec := r.records.at(g - 1); rec.id() == id {
			return rec
		}
	}
	if rec := r.records.find(id); rec != nil {
		return rec
	}
	return r.admit(id)
}

// open asks the last two questions of a datagram of a live session: is it new, and
// is it authentic.
func (r *reader) open(d *datagram) counter {
	slot := d.slot
	if err := slot.win.Check(d.head.PID); err != nil {
		return r.refuseSeen(d, err)
	}
	if c := r.needKey(d); c != fine {
		return c
	}
	if !r.verify(d, &slot.key) {
		return authFail
	}
	slot.accept(d)
	return fine
}

// verify opens the datagram, or blames its sender.
func (r *reader) verify(d *datagram, key *[32]byte) bool {
	body, err := r.opener.Open(r.plain[:0], d.head.Suite, key, d.pkt)
	if err != nil {
		r.forged(d)
		return false
	}
	d.body = body
	return true
}

func (s *record) accept(d *datagram) {
	s.win.Accept(d.head.PID)
	if d.head.PID == s.win.Max-1 {
		s.setHint(hintOf(d.pkt))
	}
}

// refuseSeen refuses a packet id that was seen. If it is the newest one with another
// tag than it had, this is no copy; should it be authentic, two senders share one
// key stream, which is the worst that can happen to a device.
func (r *reader) refuseSeen(d *datagram, err error) counter {
	s := d.slot
	if err == seal.ErrTooOld {
		return tooOld
	}
	if d.head.PID != s.win.Max-1 || s.hint() == 0 || s.hint() == hintOf(d.pkt) || s.flags&keyed == 0 {
		return replay
	}
	if !r.verify(d, &s.key) {
		return authFail
	}
	r.engine.RaiseAlarm(engine.AlarmNonceReuse, r.credential(d.rec), d.head.Epoch)
	return nonceReuse
}

// take is for datagrams that are authentic and new: rate, body, time.
func (r *reader) take(d *datagram) counter {
	due, hasCredit := r.rate.allow(d.rec.due(), r.now)
	if !hasCredit {
		r.answer(d, seal.AckRateLimited)
		return rateLimited
	}
	fixes, ext := len(r.batch.Fixes), len(r.batch.Ext)
	if _, err := wire.DecodeBody(&r.batch, d.body); err != nil {
		d.rec.setDue(due)
		return malformed
	}
	got := r.batch.Fixes[fixes:]
	d.rec.setDue(due + r.rate.surcharge(len(got)))
	ahead := time.Duration(got[len(got)-1].Time-r.wall) * time.Millisecond
	if ahead > futureAfter {
		r.cut(fixes, ext)
		r.answer(d, seal.AckClock)
		return timeFuture
	}
	r.stamp(d, got, ahead)
	r.answer(d, r.verdict(d, ahead))
	return fine
}

// stamp writes on the fixes of a datagram what the server knows of them.
func (r *reader) stamp(d *datagram, got []track.Fix, ahead time.Duration) {
	a := r.names(d.rec)
	r.several = r.several || a.several
	for k := range got {
		f := &got[k]
		f.Device, f.Wire, f.Arrived, f.Epoch, f.PID = a.device, a.cred, r.wall, d.head.Epoch, d.head.PID
		if f.Time-r.wall > suspectAfter.Milliseconds() {
			f.Flags |= track.Suspect
		}
	}
	r.tally.now[fixesTaken] += uint64(len(got))
	if ahead > suspectAfter {
		r.tally.count(timeSuspect)
	}
}

// verdict is what the ack for a datagram that was taken says.
func (r *reader) verdict(d *datagram, ahead time.Duration) seal.AckStatus {
	switch {
	case ahead > clockOff || ahead < -clockOff:
		return seal.AckClock
	case d.rec.flags&aliased != 0 && r.aliases[d.rec.id()].retiring:
		return seal.AckReprovision
	}
	return seal.AckOK
}

// forged counts a datagram that did not open: for its device, for the network that
// it claims to come from, and for all. It never locks anybody out: the sender of a
// forgery is whoever it likes to be.
func (r *reader) forged(d *datagram) {
	if d.rec.fails < math.MaxUint16 {
		d.rec.fails++
	}
	from := r.socket.sender(d.i)
	estimate := r.sources.add(from.Addr(), r.now)
	total := r.tally.published[authFail].Load()
	if total >= forgeryLimit && d.rec.fails == math.MaxUint16 {
		r.engine.RaiseAlarm(engine.AlarmAuthFlood, r.credential(d.rec), d.head.Epoch)
	}
	if r.in.mayComplain(r.wall / 1000) {
		r.in.log.LogAttrs(context.Background(), slog.LevelWarn, "datagrams that do not open",
			slog.String("device", d.head.Device.String()), slog.String("remote", from.String()),
			slog.String("network", network(from.Addr()).String()), slog.Uint64("from_network", uint64(estimate)),
			slog.Uint64("of_device", uint64(d.rec.fails)), slog.Uint64("of_reader", total+1))
	}
}

// forgeryLimit is how many forgeries an epoch's key may see (RFC 9147, 4.5.3). All
// that this reader has ever seen are at least as many as those of any one session.
const forgeryLimit = 1 << 36

// mayComplain lets one line a second into the log, whoever asks.
func (in *Ingest) mayComplain(second int64) bool {
	last := in.complaint.Load()
	return last != second && in.complaint.CompareAndSwap(last, second)
}
