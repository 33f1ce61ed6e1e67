package ingest

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// These are the attacks of the threat table in docs/protocol.md that end at the
// door, one test a row and named after it. Rows 1, 2, 7, 20 and 21 are package
// seal's and wire's; those that need the river behind the door are in river_test.go.

// Row 3: a recorded hour, played back in any order, adds nothing. What is taken and
// what is not agrees with a set that remembers every packet id.
func TestThreat03Replay(t *testing.T) {
	s := newStand(t, func(c *Config) { c.Rate = Rate{Datagrams: 1e4, Burst: 1e6, Fixes: 1e4} })
	var capture [][]byte
	for i := range track.DeviceID(20) {
		d := s.river.enroll(0x300+i, seal.ChaCha20Poly1305).start(seconds(s.now()))
		for range 100 {
			capture = append(capture, d.report(s.now()))
		}
	}
	rng := rand.New(rand.NewPCG(3, 3))
	type key struct {
		id  track.DeviceID
		pid uint32
	}
	seen, highest := map[key]bool{}, map[track.DeviceID]int{}
	for range 20_000 {
		// Near the front of each device, so that the window is at work.
		pkt := capture[rng.IntN(len(capture))]
		h, err := seal.ParseHeader(pkt)
		if err != nil {
			t.Fatal(err)
		}
		k, want := key{h.Device, h.PID}, "ok"
		top, began := highest[h.Device]
		switch {
		case began && int(h.PID) <= top-seal.WindowLen:
			want = "too_old"
		case seen[k]:
			want = "replay"
		default:
			seen[k] = true
			highest[h.Device] = max(top, int(h.PID))
		}
		s.want(want, pkt)
	}
	if got := len(s.river.fixes); got != len(seen) {
		t.Errorf("%d fixes of %d datagrams that were new", got, len(seen))
	}
	before := s.in.Stats()
	s.send(capture...)
	s.send(capture...)
	st := s.in.Stats()
	if got, most := st.OK-before.OK, uint64(len(capture)-len(seen)); got > most {
		t.Errorf("the replay added %d fixes, at most %d were never seen", got, most)
	}
	before = st
	s.send(capture...)
	if st := s.in.Stats(); st.OK != before.OK {
		t.Errorf("the second replay added %d fixes", st.OK-before.OK)
	}
}

// Row 5: a session that the device has left twice over does not come back.
func TestThreat05OldSession(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0x500, seal.ChaCha20Poly1305).start(seconds(s.now()))
	var recorded [][]byte
	for range 10 {
		recorded = append(recorded, d.report(s.now()))
	}
	s.want("ok:5", recorded[:5]...)
	for range 2 {
		s.sleep(time.Hour)
		s.want("ok", d.start(seconds(s.now())).report(s.now()))
	}
	s.want("epoch_old:10", recorded...)
}

// Row 8: two senders from one enrolment have two keys. The server keeps both alive,
// and within ten minutes says what it sees; a device that has two bearers is left
// alone, and so is one that merely restarted.
func TestThreat08CloneAlarm(t *testing.T) {
	for _, row := range []struct {
		name  string
		flags seal.EnrolFlags
		turns func(minute int) bool // does the older sender report in this minute?
		want  int
	}{
		{"clone", 0, func(int) bool { return true }, 1},
		{"slow clone", 0, func(m int) bool { return m%4 == 0 }, 1},
		{"two bearers", seal.TwoBearers, func(int) bool { return true }, 0},
		{"restart with stragglers", 0, func(m int) bool { return m < 2 }, 0},
		{"one late straggler", 0, func(m int) bool { return m == 15 }, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newStand(t)
			a := s.river.enroll(0x800, seal.ChaCha20Poly1305, func(e *engine.Session) { e.Flags = row.flags })
			b := *a
			a.start(seconds(s.now()))
			b.start(seconds(s.now()) + 1)
			if a.keys == b.keys {
				t.Fatal("two sessions share a key")
			}
			s.want("ok:2", a.report(s.now()), b.report(s.now()))
			for minute := range 20 {
				s.sleep(time.Minute)
				if row.turns(minute) {
					s.want("ok", a.report(s.now()))
				}
				s.want("ok", b.report(s.now()))
				if alarmed := len(s.river.alarms) > 0; alarmed && minute < 9 {
					t.Fatalf("alarm after %d minutes", minute+1)
				}
			}
			if got := len(s.river.alarms); got != row.want || int(s.in.Stats().CloneSuspected) != row.want {
				t.Errorf("%d alarms, want %d", got, row.want)
			}
		})
	}
}

// Row 9: a clock in 1970. The floor refuses the session, and an ack with status 2
// tells the time, at most once a minute; with it, or once the device has found the
// time itself, it is back.
func TestThreat09Clock1970(t *testing.T) {
	s := newStand(t)
	sender := s.sender(0x900, 0, time.Unix(1_735_700_000, 0)) // trusted, and a year behind
	pkt := sender.seal(true)
	acks := s.send(pkt)
	if len(acks) != 1 {
		t.Fatalf("%d acks for an epoch below the floor, want 1", len(acks))
	}
	if got := s.became(sender.seal(true)); got != "epoch_old" || len(s.socket.answers) != 0 {
		t.Errorf("the second one became %q with %d acks, want silence for a minute", got, len(s.socket.answers))
	}
	_, a, err := sender.OpenAck(acks[0])
	if err != nil || a.Status != seal.AckEpochOld || a.Time != seconds(s.now()) {
		t.Fatalf("ack %+v, %v", a, err)
	}
	s.want("ok", sender.seal(false)) // with a downlink it has learnt the time

	deaf := s.sender(0x901, 0, time.Unix(1_735_700_000, 0))
	s.want("epoch_old", deaf.seal(false))
	deaf.clock = s.now() // without one it waits for its own
	deaf.Sender = newSender(t, deaf)
	s.want("ok", deaf.seal(false))
}

// Row 9: a clock in 2038. The session is taken, as only the device can have opened
// it, and raises an alarm; its fixes are refused; and the operator's reset lets the
// device back in, but never that session.
func TestThreat09Clock2038(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0x902, seal.ChaCha20Poly1305)
	good := d.start(seconds(s.now())).report(s.now())
	s.want("ok", good)
	ahead := time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC)
	bad := d.start(seconds(ahead))
	lost := bad.ask(ahead)
	acks := s.send(lost)
	if len(acks) != 1 || d.openAck(t, acks[0]).Status != seal.AckClock {
		t.Fatalf("the device is not told that its clock is off")
	}
	if st := s.in.Stats(); st.TimeFuture != 1 || st.EpochFuture != 1 || len(s.river.alarms) != 1 || s.river.alarms[0] != engine.AlarmEpochFuture {
		t.Fatalf("got %+v, alarms %v", st, s.river.alarms)
	}
	recorded := []([]byte){bad.report(s.now()), bad.report(s.now())}
	badEpoch := bad.epoch

	s.sleep(time.Hour)
	d.start(seconds(s.now()))
	s.want("epoch_old", d.report(s.now()))
	s.river.change(d.id, func(e *engine.Session) { e.Denied = []uint32{badEpoch} })
	s.want("ok", d.report(s.now()))
	s.want("epoch_old:3", append(recorded, lost)...)
	s.want("replay", good) // the session before is live again, as it was
	s.sleep(time.Hour)
	s.want("ok", d.start(seconds(s.now())).report(s.now()))
}

// Row 12: whatever comes in, less goes out; and nothing for what is not authentic.
func TestThreat12Amplification(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xc00, seal.ChaCha20Poly1305).start(seconds(s.now()))
	smallest := d.seal(append([]byte{wantsAck}, minimalBody(s.now())...))
	if len(smallest) != seal.MinDatagram {
		t.Fatalf("smallest report is %d bytes", len(smallest))
	}
	acks := s.send(smallest)
	if len(acks) != 1 || len(acks[0]) >= len(smallest) {
		t.Fatalf("%d acks of %d bytes for %d bytes", len(acks), len(acks[0]), len(smallest))
	}
	s.sleep(time.Minute)
	if acks := s.send(smallest, smallest, flip(smallest, 300), smallest[:42]); len(acks) != 0 {
		t.Errorf("%d acks for replays and forgeries", len(acks))
	}
	if acks := s.send(d.report(s.now())); len(acks) != 0 {
		t.Errorf("an ack that nobody asked for")
	}
}

// Row 13: an ack that comes back to a server, its own or another's, ends there.
func TestThreat13AckLoop(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xd00, seal.ChaCha20Poly1305).start(seconds(s.now()))
	acks := s.send(d.ask(s.now()))
	s.want("bad_len", acks...)
	padded := append(acks[0], make([]byte, 20)...)
	for vt := byte(0x18); vt <= 0x1f; vt++ {
		padded[0] = vt
		s.want("bad_version", padded)
	}
	if len(s.socket.answers) != 0 {
		t.Error("the server answers acks")
	}
}

// Row 14: a million datagrams of noise, half of them with a report's length and
// version, leave the heap as it was and no trace but counters.
func TestThreat14JunkFlood(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xe00, seal.ChaCha20Poly1305).start(seconds(s.now()))
	s.want("ok", d.report(s.now()))
	n := 1_000_000
	if testing.Short() || raceEnabled {
		n = 50_000
	}
	rng := rand.NewChaCha8([32]byte{14})
	batch := make([][]byte, batchLen)
	var room [batchLen][1400]byte
	before := heapInUse()
	for sent := 0; sent < n; sent += batchLen {
		for i := range batch {
			batch[i] = room[i][:rng.Uint64()%uint64(len(room[i]))]
			_, _ = rng.Read(batch[i])
			if i%2 == 0 {
				batch[i] = room[i][:51]
				_, _ = rng.Read(batch[i])
				batch[i][0] = 0x11
			}
		}
		s.sleep(time.Millisecond)
		s.handle(batch)
	}
	if grown := int64(heapInUse()) - int64(before); grown > 64<<10 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if st := s.in.Stats(); st.OK != 1 || st.Devices != 1 || s.socket.sent != 0 || len(s.river.fixes) != 1 || s.river.unwraps != 1 {
		t.Errorf("got %+v, %d acks, %d fixes, %d roots lent", st, s.socket.sent, len(s.river.fixes), s.river.unwraps)
	}
	s.want("ok", d.report(s.now()))
}

// Row 14 on the wire: reports at an even pace get through a flood of junk.
func TestThreat14ReportsGetThroughAFlood(t *testing.T) {
	if testing.Short() || raceEnabled || runtime.GOOS != "linux" {
		t.Skip("measures loss, which needs the machine for itself")
	}
	river := newBareRiver()
	var fleet []*device
	for i := range track.DeviceID(100) {
		fleet = append(fleet, river.enroll(0xe100+i, seal.ChaCha20Poly1305).start(seconds(time.Now())))
	}
	d := openDoor(t, river, Config{Readers: 1})
	flood, good := d.dial(d.Addr().String()), d.dial(d.Addr().String())
	junk := make([]byte, 51)
	const reports = 2000
	for i := range reports {
		for range 20 {
			d.write(flood, junk)
		}
		d.write(good, fleet[i%len(fleet)].report(time.Now()))
	}
	s := d.await("99 % of the reports", func(s Stats) bool { return s.OK >= reports*99/100 })
	if s.Filtered == 0 {
		t.Errorf("the kernel dropped nothing: %+v", s)
	}
}

// Row 15: forgeries for a device that exists cost a decryption each and nothing
// else; the device is served throughout.
func TestThreat15FloodOnAKnownID(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xf00, seal.ChaCha20Poly1305).start(seconds(s.now()))
	s.want("ok", d.report(s.now()))
	lent := s.river.unwraps
	for i := range uint32(100) {
		var batch [][]byte
		for k := range uint32(63) {
			batch = append(batch, setHeader(flip(d.report(s.now()), 200), d.epoch, 1<<20+i*64+k))
			d.pid--
		}
		s.sleep(time.Second)
		s.want("ok auth_fail:63", append(batch, d.report(s.now()))...)
	}
	if s.river.unwraps != lent {
		t.Errorf("forgeries cost %d derivations", s.river.unwraps-lent)
	}
	if n := s.sources.add(netip.MustParseAddr("192.0.2.99"), s.reader.now); n < 1000 {
		t.Errorf("the network of the flood stands at %d", n)
	}
}

// Row 16: made-up epochs for devices that exist would each cost a derivation. The
// budget ends that: live sessions go on, and so do new ones of other devices.
func TestThreat16KDFBudget(t *testing.T) {
	s := newStand(t)
	victim := s.river.enroll(0x1600, seal.ChaCha20Poly1305).start(seconds(s.now()))
	bystander := s.river.enroll(0x1601, seal.ChaCha20Poly1305).start(seconds(s.now()))
	s.want("ok:2", victim.report(s.now()), bystander.report(s.now()))
	forged := victim.report(s.now())
	lent := s.river.unwraps
	epoch := seconds(s.now())
	for second := range uint32(2) {
		for range 3125 { // batches of 64: 200,000 in this second
			var batch [][]byte
			for range batchLen {
				epoch++
				batch = append(batch, setHeader(forged, epoch, 0))
			}
			s.sleep(320 * time.Microsecond)
			s.handle(batch)
		}
		s.want("ok:2", victim.report(s.now()), bystander.report(s.now()))
		fresh := s.river.enroll(0x1610+track.DeviceID(second), seal.ChaCha20Poly1305).start(seconds(s.now()))
		s.want("ok", fresh.report(s.now()))
	}
	st := s.in.Stats()
	if got := s.river.unwraps - lent; got > 2*50_000+5_000 || st.KDFBudget < 290_000 {
		t.Errorf("%d derivations in two seconds, %d refused", got, st.KDFBudget)
	}
}

// Row 17: there is no number of forgeries after which a device is shut out.
func TestThreat17NoLockOut(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0x1700, seal.ChaCha20Poly1305).start(seconds(s.now()))
	s.want("ok", d.report(s.now()))
	n := 1_000_000
	if testing.Short() || raceEnabled {
		n = 70_000 // more than the counter of the record holds
	}
	forged := flip(d.report(s.now()), 51*8-1)
	batch := slices.Repeat([][]byte{forged}, batchLen)
	for sent := 0; sent < n; sent += batchLen {
		s.handle(batch)
	}
	if f := s.records.find(d.id).fails; f != 65535 {
		t.Errorf("counted %d forgeries, want them to stay at 65535", f)
	}
	if len(s.river.alarms) != 0 {
		t.Errorf("alarms %v", s.river.alarms)
	}
	s.tally.published[authFail].Store(forgeryLimit) // what takes a day at a million a second
	s.want("auth_fail", forged)
	if len(s.river.alarms) != 1 || s.river.alarms[0] != engine.AlarmAuthFlood {
		t.Errorf("alarms %v at the limit of the cipher", s.river.alarms)
	}
	s.want("ok", d.report(s.now()))
}

// Row 18: each datagram from another address. All are taken, each ack goes to where
// its report came from, and no address is remembered.
func TestThreat18Roaming(t *testing.T) {
	river := newBareRiver()
	dev := river.enroll(0x1800, seal.ChaCha20Poly1305).start(seconds(time.Now()))
	d := openDoor(t, river, Config{Readers: 2, Now: ticking()})
	for i := range 10 {
		c := d.dial(d.Addr().String())
		d.write(c, dev.ask(time.Now()))
		if a := dev.openAck(t, receive(t, c)); a.Max != uint32(i) {
			t.Errorf("ack of %d, want %d", a.Max, i)
		}
		_ = c.Close()
	}
	d.await("ten reports", func(s Stats) bool { return s.OK == 10 && s.Acks == 10 })
}

// Row 19: another suite or version than the device was given is refused before any
// cryptography.
func TestThreat19Downgrade(t *testing.T) {
	s := newStand(t)
	one := s.river.enroll(0x1900, seal.ChaCha20Poly1305).start(seconds(s.now()))
	two := s.river.enroll(0x1901, seal.AES128GCM).start(seconds(s.now()))
	s.want("ok:2", one.report(s.now()), two.report(s.now()))
	for _, d := range []*device{one, two} {
		other := *d
		other.suite = 3 - d.suite
		other.start(d.epoch)
		s.want("bad_suite", other.report(s.now()))
		s.want("bad_suite", other.start(d.epoch+1).report(s.now()))
	}
	zero := one.report(s.now())
	zero[0] = 0x01
	s.want("bad_version", zero)
	if s.river.unwraps != 2 {
		t.Errorf("%d roots lent", s.river.unwraps)
	}
}

// Row 22: a device that sends a thousand a second is held to four, and nobody else
// notices.
func TestThreat22RateLimit(t *testing.T) {
	s := newStand(t)
	mad := s.river.enroll(0x2200, seal.ChaCha20Poly1305).start(seconds(s.now()))
	calm := s.river.enroll(0x2201, seal.ChaCha20Poly1305).start(seconds(s.now()))
	for range 60 {
		for range 100 {
			batch := make([][]byte, 10)
			for i := range batch {
				batch[i] = mad.report(s.now())
			}
			s.handle(batch)
			s.sleep(10 * time.Millisecond)
		}
		s.want("ok", calm.report(s.now()))
	}
	st := s.in.Stats()
	if got, want := st.OK-60, uint64(120+4*60); got < want-2 || got > want+2 {
		t.Errorf("took %d datagrams of the mad device, want %d", got, want)
	}
	if st.RateLimited+st.OK != 60*1000+60 {
		t.Errorf("got %+v", st)
	}
	s.sleep(2 * time.Second)
	for s.became(mad.report(s.now())) == "ok" {
	}
	acks := s.send(mad.ask(s.now()))
	if len(acks) != 1 || mad.openAck(t, acks[0]).Status != seal.AckRateLimited {
		t.Errorf("the device is not told")
	}
}

// sender is a device that follows the rules for devices, with a clock of its own.
type clockedSender struct {
	*seal.Sender
	t     testing.TB
	enrol seal.Enrolment
	clock time.Time
}

func newSender(t testing.TB, c *clockedSender) *seal.Sender {
	s, err := seal.NewSender(seal.SenderConfig{Enrolment: c.enrol, Epochs: new(epochMemory), Clock: func() (time.Time, bool) { return c.clock, true }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sender enrols a device with the floor of one that was provisioned today.
func (s *stand) sender(id track.DeviceID, flags seal.EnrolFlags, clock time.Time) *clockedSender {
	d := s.river.enroll(id, seal.ChaCha20Poly1305, func(e *engine.Session) {
		e.Flags, e.Floor = flags, seconds(s.now().Add(-24*time.Hour))
	})
	c := &clockedSender{t: s.t, clock: clock, enrol: seal.Enrolment{Host: "localhost", Device: id, Root: d.root, Suite: d.suite, Flags: flags}}
	c.Sender = newSender(s.t, c)
	return c
}

func (c *clockedSender) seal(ack bool) []byte {
	c.t.Helper()
	pkt, _, err := c.Seal(nil, bodyOf(c.clock, 1, ack))
	if err != nil {
		c.t.Fatal(err)
	}
	return pkt
}

type epochMemory struct{ stored uint32 }

func (m *epochMemory) Reserve(atLeast uint32) (uint32, error) {
	next, err := seal.NextEpoch(m.stored, atLeast)
	m.stored = next
	return next, err
}

// minimalBody is the smallest body, less its first byte.
func minimalBody(at time.Time) []byte {
	body, err := wire.AppendBody(nil, &wire.Body{Fixes: []track.Fix{{Time: at.UnixMilli(), At: geo.Deg(1, 2), Has: track.HasPos}}})
	if err != nil {
		panic(err)
	}
	return body[1:]
}

// ticking is a clock that goes on by two seconds whenever somebody looks.
func ticking() func() time.Time {
	var looks atomic.Int64
	return func() time.Time { return time.Now().Add(time.Duration(looks.Add(2)) * time.Second) }
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
