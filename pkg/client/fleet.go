package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// FleetConfig says how a fleet sends.
type FleetConfig struct {
	// Addr is where all devices send to, HOST:PORT; empty: where the enrolment of the
	// first one says.
	Addr string
	// Sockets to send from, each with a goroutine of its own. 0: 1.
	Sockets int
	// QueueLimit is how many fixes of one device wait before Send blocks. 0: 4096.
	QueueLimit int
	// Confirm asks for acks, and sends again what they show to be missing: for when
	// every fix has to arrive, and the line answers.
	Confirm bool
	// Unlimited sends every fix at once in a datagram of its own, and leaves the limits
	// to the server. For measuring.
	Unlimited bool
}

// FleetStats count since the fleet was made.
type FleetStats struct {
	Datagrams uint64
	Fixes     uint64 // sent in them
	Bytes     uint64 // of datagrams, without IP and UDP
	Failed    uint64 // datagrams that the socket did not take; their fixes were sent again
	Queued    uint64 // fixes that wait now

	// With Confirm:
	Acks        uint64 // that verified
	Confirmed   uint64 // datagrams that an ack spoke of
	Resent      uint64 // datagrams sent again
	Unconfirmed uint64 // datagrams given up: most likely only their acks were lost
	Waiting     uint64 // datagrams that an ack may still come for
	Refused     uint64 // fixes that the server did not take, and that were queued again
}

// Fleet is many devices in one process, for replaying, simulating and measuring: the
// sealing of a Beacon without its storage, in 128 bytes a device.
//
//	Send(i, fix) ──► queue of device i ──► wheel: when may it send? ──► seal ──► sendmmsg
//
// A lone fix leaves at once; those that come within the quarter of a second that the
// server grants each datagram travel together, in the order of Send, oldest first.
//
// A fleet has no storage, so it needs a clock that does not go back: all devices
// share an epoch, which begins with the first full second after Run.
type Fleet struct {
	cfg    FleetConfig
	addr   string
	shards []*fleetShard
	n      atomic.Uint32
	adding sync.Mutex
}

// fleetShard is the devices of one socket: device i of the fleet is number
// i/len(shards) of shard i%len(shards).
type fleetShard struct {
	f    *Fleet
	wake chan struct{} // holds one: something is due earlier than it was

	mu      sync.Mutex
	space   *sync.Cond // a queue grew shorter, or the run ended
	devices []fleetDevice
	slab    []queuedFix // all queues, as linked lists
	free    uint32      // head of the list of free slab entries + 1
	ready   []uint32    // devices that may send, first come first served
	wheel   [wheelSlots][]uint32
	turn    int64  // the slot that was looked at last: unix milliseconds / slotMillis
	queued  uint64 // fixes that were not sent yet
	closed  bool
	epoch   uint32
	began   time.Time  // of the epoch
	confirm *confirmer // nil without Confirm

	datagrams, fixes, bytes, failed atomic.Uint64
}

// fleetDevice is one device, without pointers.
type fleetDevice struct {
	root       seal.Root
	up         [32]byte // the key of its epoch
	id, wire   track.DeviceID
	asked      int64  // when it last asked for an ack, in unix milliseconds
	paid       int64  // until when what it sent is paid for, in unix milliseconds
	epoch, pid uint32 // epoch 0: none yet
	head, tail uint32 // slab entries + 1
	queued     uint32
	suite      seal.Suite
	flags      seal.EnrolFlags
	waiting    bool // it is in the wheel
}

type queuedFix struct {
	fix  track.Fix
	next uint32 // + 1
}

const (
	wheelSlots = 64
	slotMillis = 20
	epochLife  = 16 * time.Hour
	batchSize  = 64
)

// NewFleet makes an empty fleet.
func NewFleet(cfg FleetConfig) *Fleet {
	if cfg.Sockets <= 0 {
		cfg.Sockets = 1
	}
	if cfg.QueueLimit == 0 {
		cfg.QueueLimit = 4096
	}
	f := &Fleet{cfg: cfg, addr: cfg.Addr}
	for range cfg.Sockets {
		s := &fleetShard{f: f, wake: make(chan struct{}, 1)}
		s.space = sync.NewCond(&s.mu)
		if cfg.Confirm {
			s.confirm = newConfirmer()
		}
		f.shards = append(f.shards, s)
	}
	return f
}

// Add enrols a device in the fleet and returns its number: 0, 1, 2 and so on.
func (f *Fleet) Add(e seal.Enrolment) (int, error) {
	if !e.Suite.Valid() || e.Device == 0 {
		return 0, fmt.Errorf("fleet: enrolment without suite or id: %w", track.ErrInvalid)
	}
	f.adding.Lock()
	defer f.adding.Unlock()
	if f.addr == "" {
		f.addr = e.Addr()
	}
	i := int(f.n.Load())
	s := f.shards[i%len(f.shards)]
	s.mu.Lock()
	s.devices = append(s.devices, fleetDevice{root: e.Root, id: e.Device, suite: e.Suite, flags: e.Flags})
	s.mu.Unlock()
	f.n.Add(1)
	return i, nil
}

// Len is the number of devices.
func (f *Fleet) Len() int { return int(f.n.Load()) }

// Send queues one fix of device i; see Beacon.Send for what of it counts. It waits
// while the queue of the device is full.
func (f *Fleet) Send(ctx context.Context, i int, fix *track.Fix) error {
	if i < 0 || i >= f.Len() {
		return fmt.Errorf("fleet: no device %d: %w", i, track.ErrInvalid)
	}
	s := f.shards[i%len(f.shards)]
	s.mu.Lock()
	defer s.mu.Unlock()
	dev := uint32(i / len(f.shards))
	if s.devices[dev].queued >= uint32(f.cfg.QueueLimit) {
		if err := s.waitForSpace(ctx, dev); err != nil {
			return err
		}
	}
	if s.closed {
		return fmt.Errorf("fleet: %w", track.ErrClosed)
	}
	s.enqueue(dev, fix)
	return nil
}

func (s *fleetShard) waitForSpace(ctx context.Context, dev uint32) error {
	stop := context.AfterFunc(ctx, s.wakeWaiters)
	defer stop()
	for s.devices[dev].queued >= uint32(s.f.cfg.QueueLimit) && !s.closed {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.space.Wait()
	}
	return ctx.Err()
}

// wakeWaiters takes the lock, so that nobody who is about to wait misses it.
func (s *fleetShard) wakeWaiters() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.space.Broadcast()
}

// enqueue appends a fix to a device's queue and plans the device. Caller holds mu.
func (s *fleetShard) enqueue(dev uint32, fix *track.Fix) {
	d := &s.devices[dev]
	at := s.take()
	s.slab[at-1] = queuedFix{fix: *fix}
	if d.tail != 0 {
		s.slab[d.tail-1].next = at
	} else {
		d.head = at
	}
	d.tail = at
	d.queued++
	s.queued++
	if !d.waiting {
		s.plan(dev, time.Now().UnixMilli())
		signal(s.wake) // it may be due before anything that the run waits for
	}
}

// take finds a free slab entry and returns its number + 1.
func (s *fleetShard) take() uint32 {
	if s.free == 0 {
		s.slab = append(s.slab, queuedFix{})
		return uint32(len(s.slab))
	}
	at := s.free
	s.free = s.slab[at-1].next
	return at
}

// plan says when a device sends next: now if what it sent is paid for, else in the
// slot of the wheel in which it will be. What is further off than the wheel goes once
// around and is planned again. Caller holds mu.
func (s *fleetShard) plan(dev uint32, now int64) {
	d := &s.devices[dev]
	d.waiting = true
	if d.paid <= now || s.f.cfg.Unlimited {
		s.ready = append(s.ready, dev)
		signal(s.wake)
		return
	}
	slot := (d.paid + slotMillis - 1) / slotMillis
	slot = max(s.turn+1, min(slot, s.turn+wheelSlots-1))
	i := slot % wheelSlots
	s.wheel[i] = append(s.wheel[i], dev)
}

// advance makes ready who waited in the slots that have passed. Caller holds mu.
func (s *fleetShard) advance(now int64) {
	last := now / slotMillis
	if s.turn == 0 || last-s.turn > wheelSlots {
		s.turn = last - wheelSlots // at the start, or after a long sleep: every slot once
	}
	for ; s.turn < last; s.turn++ {
		i := (s.turn + 1) % wheelSlots
		due := s.wheel[i]
		s.wheel[i] = nil
		for _, dev := range due {
			if s.devices[dev].paid > now {
				s.plan(dev, now)
			} else {
				s.ready = append(s.ready, dev)
			}
		}
		if s.wheel[i] == nil {
			s.wheel[i] = due[:0]
		}
	}
}

// Flush waits until everything queued so far, and while it waits, was sent and, with
// Confirm, confirmed or given up.
func (f *Fleet) Flush(ctx context.Context) error {
	for _, s := range f.shards {
		stop := context.AfterFunc(ctx, s.wakeWaiters)
		s.mu.Lock()
		for (s.queued > 0 || s.confirm != nil && s.confirm.count > 0) && !s.closed && ctx.Err() == nil {
			s.space.Wait()
		}
		s.mu.Unlock()
		stop()
	}
	return ctx.Err()
}

// Stats are what the fleet counted.
func (f *Fleet) Stats() FleetStats {
	var st FleetStats
	for _, s := range f.shards {
		st.Datagrams += s.datagrams.Load()
		st.Fixes += s.fixes.Load()
		st.Bytes += s.bytes.Load()
		st.Failed += s.failed.Load()
		s.mu.Lock()
		st.Queued += s.queued
		if c := s.confirm; c != nil {
			st.Acks += c.acks.Load()
			st.Confirmed += c.confirmed.Load()
			st.Resent += c.resent.Load()
			st.Unconfirmed += c.gaveUp.Load()
			st.Refused += c.refused.Load()
			st.Waiting += uint64(c.count)
		}
		s.mu.Unlock()
	}
	return st
}

// Run sends until ctx ends, or a socket cannot be opened. Call it once.
func (f *Fleet) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(f.shards))
	var wg sync.WaitGroup
	for i, s := range f.shards {
		wg.Go(func() {
			defer cancel()
			defer s.close()
			errs[i] = s.run(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *fleetShard) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wakeWaiters()
}

func (s *fleetShard) run(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", s.f.addr)
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	defer func() { _ = conn.Close() }()
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return fmt.Errorf("fleet: %s is no UDP address: %w", s.f.addr, track.ErrInvalid)
	}
	_ = udp.SetWriteBuffer(4 << 20)
	if !s.awaitEpoch(ctx) {
		return nil
	}
	var reader sync.WaitGroup
	defer reader.Wait()
	defer func() { _ = conn.Close() }()
	if s.confirm != nil {
		reader.Go(func() { s.listen(conn) })
	}
	s.loop(ctx, newFleetBatch(udp))
	return nil
}

func (s *fleetShard) loop(ctx context.Context, b *fleetBatch) {
	for ctx.Err() == nil {
		wait := s.fill(b, time.Now())
		if s.confirm != nil && !s.sendAgain(ctx, b) {
			return
		}
		if b.n == 0 {
			s.rest(ctx, wait)
			continue
		}
		if !s.send(ctx, b) {
			return
		}
	}
}

// awaitEpoch lets the current second pass: an earlier process may have sent in it
// with the same keys.
func (s *fleetShard) awaitEpoch(ctx context.Context) bool {
	now := time.Now()
	next := now.Truncate(time.Second).Add(time.Second)
	s.mu.Lock()
	s.epoch, s.began = uint32(next.Unix()), next
	s.mu.Unlock()
	return sleep(ctx, next.Sub(now))
}

// rest waits for the next slot that somebody is in, or for a device that may send at
// once.
func (s *fleetShard) rest(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-s.wake:
	case <-t.C:
	}
}

// fleetBatch is one sendmmsg: datagrams and the buffers that they lie in.
type fleetBatch struct {
	n     int // datagrams
	fixes int
	pkts  [batchSize][]byte
	msgs  [batchSize]ipv4.Message // the same type as ipv6.Message
	write func([]ipv4.Message, int) (int, error)
	pack  packer
	trail []track.Fix // scratch, newest first
	keys  seal.Keys
}

func newFleetBatch(c *net.UDPConn) *fleetBatch {
	b := &fleetBatch{write: ipv4.NewPacketConn(c).WriteBatch}
	if a, ok := c.RemoteAddr().(*net.UDPAddr); ok && a.IP.To4() == nil {
		b.write = ipv6.NewPacketConn(c).WriteBatch
	}
	for i := range b.pkts {
		b.pkts[i] = make([]byte, 0, seal.MaxDatagram)
		b.msgs[i].Buffers = make([][]byte, 1)
	}
	return b
}

// fill seals what may leave now, and returns how long nothing else may.
func (s *fleetShard) fill(b *fleetBatch, now time.Time) time.Duration {
	b.n, b.fixes = 0, 0
	s.mu.Lock()
	defer s.mu.Unlock()
	ms := now.UnixMilli()
	s.advance(ms)
	if now.Sub(s.began) > epochLife {
		s.nextEpoch(now)
	}
	taken := 0
	for taken < len(s.ready) && b.n < batchSize {
		s.sealNext(b, s.ready[taken], now)
		taken++
	}
	s.ready = append(s.ready[:0], s.ready[taken:]...)
	most := time.Hour
	if s.confirm != nil {
		most = time.UnixMilli(s.confirm.reviewDue(ms)).Sub(now)
		s.space.Broadcast() // something may have been given up
	}
	for i := int64(1); i < wheelSlots; i++ {
		if len(s.wheel[(s.turn+i)%wheelSlots]) > 0 {
			return min(most, time.UnixMilli((s.turn+i)*slotMillis).Sub(now))
		}
	}
	return most
}

func (s *fleetShard) nextEpoch(now time.Time) {
	s.epoch, s.began = max(s.epoch+1, uint32(now.Unix())), now
}

// sealNext makes one datagram of the fixes at the head of a device's queue.
func (s *fleetShard) sealNext(b *fleetBatch, dev uint32, now time.Time) {
	d := &s.devices[dev]
	d.waiting = false
	pkt, n, err := s.seal(b, dev, s.collect(b, d), now)
	if err != nil {
		n = 1 // no datagram can hold it: it goes, and is counted
		s.failed.Add(1)
		s.queued--
		s.space.Broadcast()
	} else {
		if s.confirm != nil {
			s.confirm.sent(dev, d, pkt, now.UnixMilli())
		}
		b.pkts[b.n] = pkt
		b.n++
		b.fixes += n
		cost := max(datagramCost, time.Duration(n)*fixCost).Milliseconds()
		d.paid = max(d.paid, now.UnixMilli()) + cost
	}
	s.discard(d, n)
	if d.queued > 0 {
		s.plan(dev, now.UnixMilli())
	}
}

// collect looks at the fixes at the head of a queue that can share a datagram, and
// lays them out newest first.
func (s *fleetShard) collect(b *fleetBatch, d *fleetDevice) int {
	most := maxBundle
	if s.f.cfg.Unlimited {
		most = 1
	}
	b.trail = b.trail[:0]
	for at := d.head; at != 0 && len(b.trail) < most; at = s.slab[at-1].next {
		f := &s.slab[at-1].fix
		if n := len(b.trail); n > 0 && !follows(f, f, &b.trail[n-1]) {
			break // f would lead the trail, and what came before cannot follow it
		}
		b.trail = append(b.trail, *f)
	}
	for i, j := 0, len(b.trail)-1; i < j; i, j = i+1, j-1 {
		b.trail[i], b.trail[j] = b.trail[j], b.trail[i]
	}
	return len(b.trail)
}

// seal encodes and seals the n oldest fixes that were laid out, or as many of them as
// fit, which it returns.
func (s *fleetShard) seal(b *fleetBatch, dev uint32, n int, now time.Time) ([]byte, int, error) {
	d := &s.devices[dev]
	if d.epoch != s.epoch || d.pid > seal.MaxPID {
		s.rekey(dev, d, now)
	}
	var body []byte
	ask := s.wantsAck(d, now.UnixMilli())
	for fit := 0; fit != n; {
		var err error
		if body, fit, err = b.pack.pack(b.trail[len(b.trail)-n:], 0, ask); err != nil {
			return nil, 0, err
		}
		if fit < n { // the newest wait instead of the oldest: a fleet keeps the order
			n, fit = fit, 0
		}
	}
	h := seal.Header{Suite: d.suite, Device: d.wire, Epoch: d.epoch, PID: d.pid}
	d.pid++ // before anything can fail
	b.keys.Up = d.up
	pkt, err := seal.Seal(b.pkts[b.n][:0], h, &b.keys, body)
	return pkt, n, err
}

// rekey brings a device into the epoch of the fleet, and the fleet into another if
// the device has used up its packet ids.
func (s *fleetShard) rekey(dev uint32, d *fleetDevice, now time.Time) {
	if d.epoch == s.epoch {
		s.nextEpoch(now)
	}
	d.epoch, d.pid, d.wire = s.epoch, 0, d.id
	if d.flags&seal.RotatingIDs != 0 {
		d.wire = seal.RotatingID(&d.root, s.epoch>>16)
	}
	d.up = seal.Derive(&d.root, d.suite, d.wire, d.epoch).Up
	if s.confirm != nil {
		s.confirm.byWire[d.wire] = dev
	}
}

// discard takes n fixes off the head of a queue.
func (s *fleetShard) discard(d *fleetDevice, n int) {
	for range n {
		at := d.head
		d.head = s.slab[at-1].next
		s.slab[at-1].next, s.free = s.free, at
	}
	d.queued -= uint32(n)
	if d.head == 0 {
		d.tail = 0
	}
}

// send gives a batch to the kernel.
func (s *fleetShard) send(ctx context.Context, b *fleetBatch) bool {
	for i := range b.n {
		b.msgs[i].Buffers[0] = b.pkts[i]
	}
	if !s.push(ctx, b, b.n) {
		return false
	}
	s.fixes.Add(uint64(b.fixes))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queued -= uint64(b.fixes)
	s.space.Broadcast()
	return true
}

// push sends the first n messages. What the socket refuses is offered again, byte for
// byte: the server's window drops what it has seen.
func (s *fleetShard) push(ctx context.Context, b *fleetBatch, n int) bool {
	for sent := 0; sent < n; {
		k, err := b.write(b.msgs[sent:n], 0)
		for _, m := range b.msgs[sent : sent+max(k, 0)] {
			s.bytes.Add(uint64(len(m.Buffers[0])))
		}
		s.datagrams.Add(uint64(max(k, 0)))
		sent += max(k, 0)
		if err != nil {
			s.failed.Add(1)
			if !sleep(ctx, 20*time.Millisecond) {
				return false
			}
		}
	}
	return true
}
