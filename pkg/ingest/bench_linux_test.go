package ingest

import (
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tracker/pkg/engine"
	"tracker/pkg/seal"
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

// benchDrain measures a reader on a real socket.
func benchDrain(b *testing.B, f *benchFleet, e Engine) {
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
	r := in.readers[0]
	defer r.release()
	r.kdf = newBudget(1e9)
	for i := range f.ids { // everybody opens a session
		r.handle([][]byte{f.next(f.pkts[0][:0], i)})
	}
	to, err := net.DialUDP("udp", nil, in.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = to.Close() }()

	b.ReportAllocs()
	b.ResetTimer()
	var cpu time.Duration
	done := 0
	for done < b.N {
		for _, pkt := range f.burst() {
			if _, err := to.Write(pkt); err != nil {
				b.Fatal(err)
			}
		}
		start := threadCPU()
		for left := benchBurst; left > 0; {
			pkts, err := r.socket.receive(true)
			if err != nil {
				b.Fatal(err)
			}
			r.handle(pkts)
			left -= len(pkts)
		}
		cpu += threadCPU() - start
		done += benchBurst
	}
	b.StopTimer()
	if s := in.Stats(); s.OK != uint64(done+len(f.ids)) {
		b.Fatalf("not all datagrams were taken: %+v", s)
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(done), "ns-cpu/datagram")
	b.ReportMetric(0, "ns/op") // would be the sender's, mostly
}

func threadCPU() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}
