package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tracker/pkg/engine"
	"tracker/pkg/live"
	"tracker/pkg/seal"
	"tracker/pkg/store/sqlite"
	"tracker/pkg/track"
)

// The door is measured in one process: a burst of 512 datagrams of random devices is
// sealed and sent, then one locked thread drains it, and only the CPU time of the
// drain counts (CLOCK_THREAD_CPUTIME_ID). Over loopback the kernel does its share of
// receiving in the sender's call, so the figure is the cost of the application:
// system call, look-up, cipher, window, body, and what comes behind.
const benchBurst = 512

// benchDevices is a fleet that does not fit a cache, unless there is no time for one.
func benchDevices() int {
	if testing.Short() {
		return 20_000
	}
	return 1_000_000
}

// benchFleet is the senders' side: what a million devices know.
type benchFleet struct {
	ids  []track.DeviceID
	keys []seal.Keys
	pids []uint32
	rng  *rand.Rand
	body []byte
	pkts [benchBurst][]byte
}

func benchRoot(id track.DeviceID) *seal.Root {
	var r seal.Root
	id.PutWire(r[:])
	return &r
}

const benchEpoch = 1_700_000_000

var benchTime = time.Unix(benchEpoch+60, 0)

// benchPlain is built once: deriving a million keys takes seconds.
var benchPlain = sync.OnceValue(func() *benchFleet {
	f := newBenchFleet(benchDevices())
	for i := range f.ids {
		f.ids[i] = track.DeviceID(i + 1)
		f.keys[i] = seal.Derive(benchRoot(f.ids[i]), seal.ChaCha20Poly1305, f.ids[i], benchEpoch)
	}
	return f
})

func newBenchFleet(n int) *benchFleet {
	return &benchFleet{
		ids: make([]track.DeviceID, n), keys: make([]seal.Keys, n), pids: make([]uint32, n),
		rng: rand.New(rand.NewPCG(1, 2)), body: bodyOf(benchTime, 1, false),
	}
}

// next seals the next datagram of device i.
func (f *benchFleet) next(dst []byte, i int) []byte {
	pkt, err := seal.Seal(dst, seal.Header{Suite: seal.ChaCha20Poly1305, Device: f.ids[i], Epoch: benchEpoch, PID: f.pids[i]}, &f.keys[i], f.body)
	if err != nil {
		panic(err)
	}
	f.pids[i]++
	return pkt
}

func (f *benchFleet) burst() [][]byte {
	for k := range f.pkts {
		f.pkts[k] = f.next(f.pkts[k][:0], f.rng.IntN(len(f.ids)))
	}
	return f.pkts[:]
}

// directory knows the devices 1..n and what their roots are, and keeps nothing.
type directory struct{ n track.DeviceID }

func (d directory) Session(id track.DeviceID) (engine.Session, bool) {
	return engine.Session{Device: id, Cred: id, Suite: seal.ChaCha20Poly1305}, id <= d.n
}

func (d directory) WithRoot(cred track.DeviceID, fn func(*seal.Root)) error {
	fn(benchRoot(cred))
	return nil
}

func (directory) Generation() uint32                                 { return 0 }
func (directory) Changed(uint32) ([]track.DeviceID, uint32)          { return nil, 0 }
func (directory) RaiseAlarm(engine.AlarmSet, track.DeviceID, uint32) {}
func (directory) Apply(*track.Batch)                                 {}

// BenchmarkBarePipeline is recvmmsg, look-up among a million records, ChaCha20-
// Poly1305, window and body, and no river behind it.
func BenchmarkBarePipeline(b *testing.B) {
	f := benchPlain()
	benchDrain(b, f, directory{track.DeviceID(len(f.ids))})
}

// BenchmarkRiver goes on to the present: the same, applied to live with a million
// devices in it. "engine" is the whole of engine.Apply, with a hub that nobody
// watches and a store that writes to disk beside it.
func BenchmarkRiver(b *testing.B) {
	b.Run("live", func(b *testing.B) {
		f := benchPlain()
		benchDrain(b, f, &presentOnly{directory: directory{track.DeviceID(len(f.ids))}, live: live.New(live.Config{})})
	})
	fleet, e := benchHouse(b)
	b.Run("engine", func(b *testing.B) { benchDrain(b, fleet(), e()) })
}

// benchHouse opens a store and an engine, and enrols a fleet by the front door, once
// somebody asks; with a million devices that takes a minute.
func benchHouse(b *testing.B) (func() *benchFleet, func() Engine) {
	open := sync.OnceValue(func() *engine.Engine {
		db, err := sqlite.Open(sqlite.Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- db.Run(ctx) }()
		b.Cleanup(func() {
			cancel()
			if err := errors.Join(<-done, db.Close()); err != nil {
				b.Error(err)
			}
		})
		e, err := engine.New(ctx, engine.Config{Now: func() time.Time { return benchTime }}, db)
		if err != nil {
			b.Fatal(err)
		}
		return e
	})
	fleet := sync.OnceValue(func() *benchFleet { return benchEnrolled(b, open()) })
	return fleet, func() Engine { return open() }
}

type presentOnly struct {
	directory
	live  *live.Live
	moves []track.Move
}

func (p *presentOnly) Apply(b *track.Batch) { p.moves = p.live.ApplyBatch(b.Fixes, p.moves[:0]) }

func benchEnrolled(b *testing.B, e *engine.Engine) *benchFleet {
	f := newBenchFleet(benchDevices())
	for i := 0; i < len(f.ids); {
		ask := make([]engine.NewDevice, min(10_000, len(f.ids)-i))
		for k := range ask {
			ask[k] = engine.NewDevice{Name: fmt.Sprintf("van-%d", i+k)}
		}
		out, err := e.Enroll(context.Background(), ask)
		if err != nil {
			b.Fatal(err)
		}
		for _, o := range out {
			f.ids[i] = o.Enrolment.Device
			f.keys[i] = seal.Derive(&o.Enrolment.Root, o.Enrolment.Suite, o.Enrolment.Device, benchEpoch)
			i++
		}
	}
	return f
}

// BenchmarkReceive is the first part of it, recvmmsg alone: what the machine and its
// kernel ask before anything of ours runs.
func BenchmarkReceive(b *testing.B) {
	benchSocket(b, directory{}, func(b *testing.B, in *Ingest, to *net.UDPConn) {
		pkt := make([]byte, 51)
		var bursts []time.Duration
		for done := 0; done < b.N; done += benchBurst {
			for range benchBurst {
				if _, err := to.Write(pkt); err != nil {
					b.Fatal(err)
				}
			}
			bursts = append(bursts, drain(b, in, func([][]byte) {}))
		}
		reportBursts(b, bursts)
	})
}

// benchDrain measures a reader on a real socket.
func benchDrain(b *testing.B, f *benchFleet, e Engine) {
	benchSocket(b, e, func(b *testing.B, in *Ingest, to *net.UDPConn) {
		r := in.readers[0]
		r.kdf = newBudget(1e9)
		for i := range f.ids { // everybody opens a session, if he has not
			r.handle([][]byte{f.next(f.pkts[0][:0], i)})
		}
		b.ResetTimer()
		var bursts []time.Duration
		for done := 0; done < b.N; done += benchBurst {
			for _, pkt := range f.burst() {
				if _, err := to.Write(pkt); err != nil {
					b.Fatal(err)
				}
			}
			bursts = append(bursts, drain(b, in, r.handle))
		}
		b.StopTimer()
		if s := in.Stats(); s.OK != uint64(len(bursts)*benchBurst+len(f.ids)) {
			b.Fatalf("not all datagrams were taken: %+v", s)
		}
		reportBursts(b, bursts)
	})
}

// benchSocket opens a door with one reader, and a sender to it, on a locked thread.
func benchSocket(b *testing.B, e Engine, run func(*testing.B, *Ingest, *net.UDPConn)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	in, err := Listen(Config{
		Addr: "127.0.0.1:0", Readers: 1,
		Rate: Rate{Datagrams: 1e4, Burst: 1e6, Fixes: 1e4, Derivations: 1e6},
		Now:  func() time.Time { return benchTime },
	}, e)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	defer in.readers[0].release()
	to, err := net.DialUDP("udp", nil, in.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = to.Close() }()
	b.ReportAllocs()
	b.ResetTimer()
	run(b, in, to)
}

// drain reads one burst and returns what that cost the thread.
func drain(b *testing.B, in *Ingest, take func([][]byte)) time.Duration {
	start := threadCPU()
	for left := benchBurst; left > 0; {
		pkts, err := in.sockets[0].receive(true)
		if err != nil {
			b.Fatal(err)
		}
		take(pkts)
		left -= len(pkts)
	}
	return threadCPU() - start
}

// reportBursts gives the mean, and the tenth percentile: what a datagram costs while
// nobody else is at the caches.
func reportBursts(b *testing.B, bursts []time.Duration) {
	var sum time.Duration
	for _, d := range bursts {
		sum += d
	}
	slices.Sort(bursts)
	b.ReportMetric(float64(sum)/float64(len(bursts)*benchBurst), "ns-cpu/datagram")
	b.ReportMetric(float64(bursts[len(bursts)/10])/benchBurst, "ns-cpu-p10/datagram")
	b.ReportMetric(0, "ns/op") // would be the sender's, mostly
}

func threadCPU() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}
