package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// BeaconConfig is what one device needs.
type BeaconConfig struct {
	Enrolment seal.Enrolment
	// Addr is where to send, HOST:PORT; empty: where the enrolment says.
	Addr string
	// Epochs remembers which epochs were used, see EpochFile. nil: the device has no
	// storage, and needs a clock that never goes back.
	Epochs seal.EpochStore
	// Clock is as in seal.SenderConfig.
	Clock func() (now time.Time, trusted bool)
	// Acks asks the server for an ack from time to time, and sends again what the ack
	// shows to be missing. When it goes quiet before an ack has spoken of everything, a
	// heartbeat asks for one more. Off: the device never listens.
	Acks bool
	// OnAck is told of every ack that verified, from the goroutine of Run.
	OnAck func(seal.Ack)
	// QueueLimit is how many fixes wait while nothing can be sent. 0: 10,000. When
	// it is reached, the oldest go.
	QueueLimit int
}

// BeaconStats count since the beacon was made.
type BeaconStats struct {
	Queued    int    // fixes that wait
	Unacked   int    // datagrams that an ack may still come for
	Datagrams uint64 // sent, repetitions included
	Fixes     uint64 // sent
	Repeated  uint64 // datagrams sent again, byte for byte
	Acks      uint64 // that verified
	Refused   uint64 // fixes that the server did not take and that were queued again
	Dropped   uint64 // fixes that did not fit the queue
	Failed    uint64 // attempts to send that failed
}

// Beacon is the reference device: what a tracker in a car or a phone should do, and
// no more. It speaks UDP only.
//
//	Send ──► queue ──► newest first, older ones as its trail ──► Sender ──► socket
//	           ▲                                                   │
//	           └── not taken: epoch old, rate limited ◄── ack ◄────┘
//
// It keeps to the server's limits by itself: at most four datagrams a second, and
// fixes that come faster travel together.
type Beacon struct {
	cfg    BeaconConfig
	sender *seal.Sender
	addr   string
	wake   chan struct{} // holds one: the queue has something new
	idle   chan struct{} // holds one: the queue went empty

	mu     sync.Mutex
	queue  []track.Fix // oldest first, by time
	inHand int         // fixes off the queue that are just being sent
	stats  BeaconStats

	// Below belongs to the goroutine of Run.
	pack     packer
	fixes    []track.Fix // scratch, newest first
	unacked  []sent      // oldest first
	lastSend time.Time
	lastAsk  time.Time
	asked    int       // acks asked for since one came
	probes   int       // heartbeats among them
	newest   int64     // time of the newest fix that was sent
	paid     time.Time // until when what was sent is paid for, by the server's account
	holdOff  time.Time // the server asked for silence until then
}

// sent is a datagram that may have to be sent again.
type sent struct {
	pkt    []byte
	head   seal.Header
	fixes  []track.Fix
	at     time.Time
	repeat int
	lost   bool // an ack did not show it: it is due again
}

// The limits that a server sets each device, and what the beacon makes of them.
const (
	datagramCost = time.Second / 4  // four a second
	fixCost      = time.Second / 50 // fifty a second
	minGap       = datagramCost
	askEvery     = time.Second // no server answers more often
	askSlack     = 100 * time.Millisecond
	answerTime   = 2 * time.Second         // after which an ack does not come any more
	quietTime    = 1500 * time.Millisecond // after which no report asks for one by itself
	maxRepeats   = 3                       // of a datagram, and heartbeats in vain
	beatStep     = 4                       // milliseconds, the finest that a datagram can say
	deafAfter    = 8                       // acks that did not come: then the line is taken for one-way
	maxUnacked   = 16                      // what the bitmap of one ack covers
	rateHoldOff  = 2 * time.Second
	retryAfter   = 2 * time.Second // after the socket failed
)

// NewBeacon makes a device. It sends nothing before Run.
func NewBeacon(cfg BeaconConfig) (*Beacon, error) {
	sender, err := seal.NewSender(seal.SenderConfig{Enrolment: cfg.Enrolment, Epochs: cfg.Epochs, Clock: cfg.Clock})
	if err != nil {
		return nil, err
	}
	if cfg.QueueLimit == 0 {
		cfg.QueueLimit = 10_000
	}
	b := &Beacon{cfg: cfg, sender: sender, addr: cfg.Addr, wake: make(chan struct{}, 1), idle: make(chan struct{}, 1)}
	if b.addr == "" {
		b.addr = cfg.Enrolment.Addr()
	}
	return b, nil
}

// Send queues one fix, of which it takes Time, At, Alt, Speed, Course, Acc, Bat, Has
// and Event. It never blocks.
func (b *Beacon) Send(f track.Fix) {
	b.mu.Lock()
	b.put(f)
	b.mu.Unlock()
	signal(b.wake)
}

// put files a fix by its time. Caller holds mu.
func (b *Beacon) put(f track.Fix) {
	i := len(b.queue)
	for i > 0 && b.queue[i-1].Time > f.Time {
		i--
	}
	b.queue = slices.Insert(b.queue, i, f)
	if over := len(b.queue) - b.cfg.QueueLimit; over > 0 {
		b.queue = slices.Delete(b.queue, 0, over)
		b.stats.Dropped += uint64(over)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Stats are what the beacon counted.
func (b *Beacon) Stats() BeaconStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Queued = len(b.queue) + b.inHand
	return s
}

// Flush waits until everything queued was sent and, with Acks, answered or given up.
func (b *Beacon) Flush(ctx context.Context) error {
	for {
		if s := b.Stats(); s.Queued == 0 && s.Unacked == 0 {
			return nil
		}
		select {
		case <-b.idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Run sends until ctx ends. It returns early only if the device cannot send at all:
// no clock, no epoch left.
func (b *Beacon) Run(ctx context.Context) error {
	for {
		err := b.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var line *socketError
		if !errors.As(err, &line) {
			return err
		}
		if !sleep(ctx, retryAfter) {
			return nil
		}
	}
}

// socketError is an error that another socket may not have.
type socketError struct{ err error }

func (l *socketError) Error() string { return l.err.Error() }
func (l *socketError) Unwrap() error { return l.err }

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// session sends over one socket, until that fails. A new one looks the host up again.
func (b *Beacon) session(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", b.addr)
	if err != nil {
		return &socketError{err}
	}
	acks := make(chan []byte, 4)
	var reader sync.WaitGroup
	if b.cfg.Acks {
		reader.Go(func() { listen(conn, acks) })
	}
	defer reader.Wait()
	defer func() { _ = conn.Close() }()
	for {
		wait, err := b.step(conn)
		if err != nil {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case pkt := <-acks:
			b.acked(pkt)
		case <-b.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// listen passes on what may be an ack until the socket closes. Whatever it is, it
// costs at most a MAC.
func listen(conn net.Conn, acks chan<- []byte) {
	buf := make([]byte, 2*seal.AckLen)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != seal.AckLen {
			continue // such as an ICMP error for a datagram of ours
		}
		select {
		case acks <- slices.Clone(buf[:n]):
		default:
		}
	}
}

// step sends what may be sent now, and returns how long nothing needs to be done.
func (b *Beacon) step(conn net.Conn) (time.Duration, error) {
	const long = time.Hour
	now := time.Now()
	queued, lost := b.Stats().Queued > 0, b.lost()
	if !queued && len(b.unacked) == 0 {
		b.settle()
		return long, nil
	}
	if wait := b.maySend().Sub(now); wait > 0 {
		return wait, nil
	}
	if lost >= 0 {
		return 0, b.repeat(conn, now, lost)
	}
	if !queued {
		b.settle()
		if wait := b.mayProbe().Sub(now); wait > 0 {
			return wait, nil
		}
		return soon(b.probe(conn, now))
	}
	return soon(b.sendNewest(conn, now))
}

// soon turns an error that time mends into time.
func soon(err error) (time.Duration, error) {
	var soon *seal.TooSoonError
	if errors.As(err, &soon) {
		return soon.Wait, nil
	}
	return 0, err
}

// settle publishes that nothing waits.
func (b *Beacon) settle() {
	b.mu.Lock()
	b.stats.Unacked = len(b.unacked)
	b.mu.Unlock()
	if len(b.unacked) == 0 {
		signal(b.idle)
	}
}

// maySend is when the server's account allows another datagram.
func (b *Beacon) maySend() time.Time {
	at := b.lastSend.Add(minGap)
	if b.paid.After(at) {
		at = b.paid
	}
	if b.holdOff.After(at) {
		at = b.holdOff
	}
	return at
}

func (b *Beacon) sendNewest(conn net.Conn, now time.Time) error {
	fixes, left := b.takeNewest()
	defer b.handsFree()
	ask := b.cfg.Acks && now.Sub(b.lastAsk) >= askEvery
	body, n, err := b.pack.pack(fixes, left, ask)
	if err != nil {
		b.drop(fixes[:1]) // no datagram can say it, now or later
		b.giveBack(fixes[1:])
		return nil
	}
	b.giveBack(fixes[n:])
	pkt, head, err := b.sender.Seal(nil, body)
	if err != nil {
		b.giveBack(fixes[:n])
		return err
	}
	b.lastSend = now
	b.charge(now, n)
	if _, err := conn.Write(pkt); err != nil {
		b.giveBack(fixes[:n]) // a new packet id next time: this one is used up
		b.count(func(s *BeaconStats) { s.Failed++ })
		return &socketError{err}
	}
	if ask {
		b.lastAsk = now
		b.asked++
	}
	b.newest = max(b.newest, fixes[0].Time)
	b.count(func(s *BeaconStats) { s.Datagrams++; s.Fixes += uint64(n) })
	if b.cfg.Acks && b.asked <= deafAfter {
		b.remember(sent{pkt: pkt, head: head, fixes: slices.Clone(fixes[:n]), at: now})
	}
	return nil
}

// charge books a datagram with the account that the server keeps.
func (b *Beacon) charge(now time.Time, fixes int) {
	if b.paid.Before(now) {
		b.paid = now
	}
	b.paid = b.paid.Add(max(datagramCost, time.Duration(fixes)*fixCost))
}

func (b *Beacon) count(fn func(*BeaconStats)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fn(&b.stats)
}

// takeNewest takes the newest fixes off the queue, newest first.
func (b *Beacon) takeNewest() (newestFirst []track.Fix, left int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.queue), maxBundle)
	b.fixes = append(b.fixes[:0], b.queue[len(b.queue)-n:]...)
	slices.Reverse(b.fixes)
	b.queue = b.queue[:len(b.queue)-n]
	b.inHand = n
	return b.fixes, len(b.queue)
}

// handsFree says that every fix taken was sent, dropped or given back.
func (b *Beacon) handsFree() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inHand = 0
}

func (b *Beacon) giveBack(fixes []track.Fix) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(fixes) - 1; i >= 0; i-- {
		b.put(fixes[i])
	}
}

func (b *Beacon) drop(fixes []track.Fix) {
	b.count(func(s *BeaconStats) { s.Dropped += uint64(len(fixes)) })
}

func (b *Beacon) remember(s sent) {
	if len(b.unacked) == maxUnacked {
		b.unacked = slices.Delete(b.unacked, 0, 1) // no ack will speak of it any more
	}
	b.unacked = append(b.unacked, s)
	b.count(func(s *BeaconStats) { s.Unacked = len(b.unacked) })
}

// lost finds a datagram that has to be sent again; -1: there is none.
func (b *Beacon) lost() int {
	return slices.IndexFunc(b.unacked, func(s sent) bool { return s.lost })
}

// repeat sends a datagram again, byte for byte: if the server had it after all, its
// replay window drops the copy.
func (b *Beacon) repeat(conn net.Conn, now time.Time, i int) error {
	s := b.unacked[i]
	b.unacked = slices.Delete(b.unacked, i, i+1)
	if s.repeat == maxRepeats {
		b.settle()
		return nil
	}
	s.repeat++
	s.at, s.lost = now, false
	b.unacked = append(b.unacked, s)
	b.lastSend = now
	b.charge(now, len(s.fixes))
	b.count(func(st *BeaconStats) { st.Repeated++; st.Datagrams++ })
	return b.write(conn, s.pkt)
}

func (b *Beacon) write(conn net.Conn, pkt []byte) error {
	if _, err := conn.Write(pkt); err != nil {
		b.count(func(s *BeaconStats) { s.Failed++ })
		return &socketError{err}
	}
	return nil
}

// mayProbe is when to ask once more about what no ack has spoken of: a report sent
// after the last question was never asked about, and no answer comes to one asked too
// soon. A device that goes on reporting asks with its reports.
func (b *Beacon) mayProbe() time.Time {
	at := b.lastAsk.Add(answerTime)
	for i := range b.unacked {
		if b.unacked[i].at.After(b.lastAsk) {
			at = b.lastAsk.Add(askEvery + askSlack)
		}
	}
	if quiet := b.lastSend.Add(quietTime); quiet.After(at) {
		return quiet
	}
	return at
}

// probe sends a heartbeat for the sake of its ack, whose bitmap tells what of the rest
// arrived. On a line that carries nothing back, it gives up soon.
func (b *Beacon) probe(conn net.Conn, now time.Time) error {
	if b.probes == maxRepeats || b.asked > deafAfter {
		b.unacked = b.unacked[:0]
		b.settle()
		return nil
	}
	// A moment behind the newest fix: later than now, perhaps, by the device's clock,
	// but never later than the fix that comes next.
	body, err := b.pack.encode([]track.Fix{{Time: b.newest + beatStep}}, 0, true)
	if err != nil {
		return err
	}
	pkt, _, err := b.sender.Seal(nil, body)
	if err != nil {
		return err
	}
	b.newest += beatStep
	b.lastSend, b.lastAsk = now, now
	b.charge(now, 1)
	b.asked++
	b.probes++
	b.count(func(st *BeaconStats) { st.Datagrams++ })
	return b.write(conn, pkt)
}

// acked takes an ack, if it is one.
func (b *Beacon) acked(pkt []byte) {
	head, a, err := b.sender.OpenAck(pkt)
	if err != nil {
		return
	}
	b.asked, b.probes = 0, 0
	b.count(func(s *BeaconStats) { s.Acks++ })
	switch a.Status {
	case seal.AckEpochOld:
		// Nothing of this epoch was taken; the sender will open another.
		b.refuse(func(s *sent) bool { return s.head.Epoch == head.Epoch })
	case seal.AckRateLimited:
		b.holdOff = time.Now().Add(rateHoldOff)
		b.refuse(func(s *sent) bool { return s.head == head })
	default:
		b.unacked = slices.DeleteFunc(b.unacked, func(s sent) bool { return arrived(s.head, head, a) })
		for i := range b.unacked {
			s := &b.unacked[i]
			s.lost = s.lost || s.at.Before(b.lastAsk) && b.missed(s, head, a)
		}
	}
	b.count(func(s *BeaconStats) { s.Unacked = len(b.unacked) })
	if b.cfg.OnAck != nil {
		b.cfg.OnAck(a)
	}
}

// missed tells whether an ack shows that an earlier report did not arrive. One that lies
// too far back for any ack is sent a last time.
func (b *Beacon) missed(s *sent, head seal.Header, a seal.Ack) bool {
	if s.head.Epoch != head.Epoch || s.head.Device != head.Device || s.head.PID >= head.PID {
		return false
	}
	if a.Max-s.head.PID >= maxUnacked {
		s.repeat = max(s.repeat, maxRepeats-1)
	}
	return true
}

// refuse queues again what the server did not take. Another packet id is right here:
// the old one is not in the window.
func (b *Beacon) refuse(which func(*sent) bool) {
	for i := 0; i < len(b.unacked); {
		s := b.unacked[i]
		if !which(&s) {
			i++
			continue
		}
		b.unacked = slices.Delete(b.unacked, i, i+1)
		b.giveBack(s.fixes)
		b.lastAsk = time.Time{} // whether they are taken now is worth knowing
		b.count(func(st *BeaconStats) { st.Refused += uint64(len(s.fixes)) })
	}
}

// arrived tells whether an ack to one report shows that another one arrived, too.
func arrived(s, head seal.Header, a seal.Ack) bool {
	if s == head {
		return true
	}
	if s.Epoch != head.Epoch || s.Device != head.Device || s.PID > a.Max {
		return false
	}
	back := a.Max - s.PID
	return back < maxUnacked && a.Bitmap&(1<<(15-back)) != 0
}

// String says where the beacon sends, never its secret.
func (b *Beacon) String() string {
	return fmt.Sprintf("beacon %s to %s", b.cfg.Enrolment.Device, b.addr)
}
