package ingest

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// bareRiver is a directory of keys and a bed for fixes: the door without a house
// behind it, for benchmarks of the door alone and for tests of single questions.
type bareRiver struct {
	mu       sync.Mutex
	sessions map[track.DeviceID]engine.Session
	roots    map[track.DeviceID]*seal.Root // by credential
	changes  []track.DeviceID
	fixes    []track.Fix
	alarms   []engine.AlarmSet
	asked    int  // look-ups
	unwraps  int  // roots lent
	forget   bool // count fixes only
	applied  int
}

func newBareRiver() *bareRiver {
	return &bareRiver{sessions: map[track.DeviceID]engine.Session{}, roots: map[track.DeviceID]*seal.Root{}}
}

func (b *bareRiver) Session(wire track.DeviceID) (engine.Session, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	s, known := b.sessions[wire]
	return s, known
}

func (b *bareRiver) WithRoot(cred track.DeviceID, fn func(*seal.Root)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	root, known := b.roots[cred]
	if !known {
		return track.ErrNotFound
	}
	b.unwraps++
	fn(root)
	return nil
}

func (b *bareRiver) Generation() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return uint32(len(b.changes))
}

func (b *bareRiver) Changed(since uint32) ([]track.DeviceID, uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.changes[since:]), uint32(len(b.changes))
}

func (b *bareRiver) RaiseAlarm(kind engine.AlarmSet, _ track.DeviceID, _ uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alarms = append(b.alarms, kind)
}

func (b *bareRiver) Apply(batch *track.Batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.applied += len(batch.Fixes)
	if !b.forget {
		b.fixes = append(b.fixes, batch.Fixes...)
	}
}

// change edits the session of a wire id, as a command to the engine would.
func (b *bareRiver) change(id track.DeviceID, edit func(*engine.Session)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[id]
	edit(&s)
	b.sessions[id] = s
	b.changes = append(b.changes, id)
}

func (b *bareRiver) revoke(id track.DeviceID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.sessions, id)
	b.changes = append(b.changes, id)
}

// device is a sender that does what it is told, right or wrong.
type device struct {
	id    track.DeviceID // on the wire
	root  seal.Root
	suite seal.Suite
	epoch uint32
	pid   uint32
	keys  seal.Keys
}

// enroll adds a device to the river.
func (b *bareRiver) enroll(id track.DeviceID, suite seal.Suite, edit ...func(*engine.Session)) *device {
	d := &device{id: id, root: seal.Root{byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24), 0xaa}, suite: suite}
	s := engine.Session{Device: id, Cred: id, Suite: suite}
	for _, e := range edit {
		e(&s)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions[id], b.roots[s.Cred] = s, &d.root
	return d
}

// start begins a session.
func (d *device) start(epoch uint32) *device {
	d.epoch, d.pid, d.keys = epoch, 0, seal.Derive(&d.root, d.suite, d.id, epoch)
	return d
}

func (d *device) seal(body []byte) []byte {
	pkt, err := seal.Seal(nil, seal.Header{Suite: d.suite, Device: d.id, Epoch: d.epoch, PID: d.pid}, &d.keys, body)
	if err != nil {
		panic(err)
	}
	d.pid++
	return pkt
}

// report seals one fix of that time.
func (d *device) report(at time.Time) []byte { return d.seal(bodyOf(at, 1, false)) }

// ask seals one fix of that time and asks for an ack.
func (d *device) ask(at time.Time) []byte { return d.seal(bodyOf(at, 1, true)) }

// bodyOf makes a body with n fixes, a second apart, the newest of time at.
func bodyOf(at time.Time, n int, ack bool) []byte {
	m := wire.Body{Ack: ack}
	for i := range n {
		m.Fixes = append(m.Fixes, track.Fix{
			Time: at.Add(-time.Duration(i) * time.Second).UnixMilli(), At: geo.Deg(52.5, 13.4),
			Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat, Alt: 34, Speed: 1389, Course: 27015, Acc: 0x5e, Bat: 87,
		})
	}
	body, err := wire.AppendBody(nil, &m)
	if err != nil {
		panic(err)
	}
	return body
}

// stand is one reader on a socket of memory, with a clock that is set by hand.
type stand struct {
	t      testing.TB
	clock  handClock
	river  *bareRiver
	socket *memorySocket
	in     *Ingest
	*reader
}

var epoch0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newStand(t testing.TB, edit ...func(*Config)) *stand {
	s := &stand{t: t, river: newBareRiver(), socket: &memorySocket{from: netip.MustParseAddrPort("192.0.2.7:5000")}}
	cfg := Config{Now: s.now}
	for _, e := range edit {
		e(&cfg)
	}
	cfg.setDefaults()
	s.restart(cfg, s.river)
	t.Cleanup(s.release)
	return s
}

// restart puts a fresh reader in place, which knows what the engine tells it.
func (s *stand) restart(cfg Config, e Engine) {
	s.in = &Ingest{cfg: cfg, log: cfg.Logger, engine: e, sockets: []socket{s.socket}}
	s.reader = newReader(s.in, s.socket, 0)
	s.in.readers = []*reader{s.reader}
}

func (s *stand) now() time.Time { return s.clock.now() }

func (s *stand) sleep(d time.Duration) { s.clock.gone.Add(int64(d)) }

// handClock shows epoch0 until somebody moves it.
type handClock struct{ gone atomic.Int64 }

func (c *handClock) now() time.Time { return epoch0.Add(time.Duration(c.gone.Load())) }

// send brings datagrams to the reader, in batches, and returns the acks.
func (s *stand) send(pkts ...[]byte) [][]byte {
	s.socket.answers = nil
	for chunk := range slices.Chunk(pkts, batchLen) {
		s.socket.batch = chunk
		s.handle(chunk)
	}
	return s.socket.answers
}

// became sends datagrams and returns what they were counted as, in the order of the
// questions.
func (s *stand) became(pkts ...[]byte) string {
	before := s.in.Stats()
	s.send(pkts...)
	return outcome(before, s.in.Stats())
}

// outcome names the counters of the questions that moved, with how far.
func outcome(before, after Stats) string {
	was, out, i := map[string]uint64{}, "", 0
	for name, n := range before.All() {
		was[name] = n
	}
	for name, n := range after.All() {
		if i++; i > int(outcomes) {
			break
		}
		if n -= was[name]; n == 1 {
			out += " " + name
		} else if n > 1 {
			out += fmt.Sprintf(" %s:%d", name, n)
		}
	}
	if out == "" {
		return ""
	}
	return out[1:]
}

// want fails the test unless the datagrams become what they should.
func (s *stand) want(what string, pkts ...[]byte) {
	s.t.Helper()
	if got := s.became(pkts...); got != what {
		s.t.Fatalf("datagrams became %q, want %q", got, what)
	}
}

// memorySocket keeps the answers.
type memorySocket struct {
	batch    [][]byte
	from     netip.AddrPort
	queued   int
	answers  [][]byte
	shielded bool
	sent     int
}

func (m *memorySocket) receive(bool) ([][]byte, error) { return nil, net.ErrClosed }
func (m *memorySocket) sender(int) netip.AddrPort      { return m.from }
func (m *memorySocket) answer(_ int, ack []byte) {
	m.answers = append(m.answers, slices.Clone(ack))
	m.queued++
}
func (m *memorySocket) flush() (int, int) {
	n := m.queued
	m.queued = 0
	m.sent += n
	return n, 0
}
func (m *memorySocket) shield(on bool) bool            { m.shielded = on; return true }
func (m *memorySocket) drops() (full, filtered uint64) { return 0, 0 }
func (m *memorySocket) interrupt()                     {}
func (m *memorySocket) close() error                   { return nil }
func (m *memorySocket) udp() *net.UDPConn              { return nil }

// openAck verifies an ack against what the device sent.
func (d *device) openAck(t testing.TB, ack []byte) seal.Ack {
	t.Helper()
	h, a, err := seal.OpenAck(ack, func(h seal.Header) *[32]byte {
		if h.Device != d.id || h.Epoch != d.epoch {
			return nil
		}
		return &d.keys.Ack
	})
	if err != nil {
		t.Fatalf("ack of %+v: %v", h, err)
	}
	return a
}

func seconds(t time.Time) uint32 { return uint32(t.Unix()) }

func flip(pkt []byte, bit int) []byte {
	out := slices.Clone(pkt)
	out[bit/8] ^= 1 << (bit % 8)
	return out
}

// setHeader writes another epoch and packet id into a sealed datagram.
func setHeader(pkt []byte, epoch, pid uint32) []byte {
	out := slices.Clone(pkt)
	binary.BigEndian.PutUint32(out[7:], epoch)
	out[11], out[12], out[13] = byte(pid>>16), byte(pid>>8), byte(pid)
	return out
}

func testLogTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
