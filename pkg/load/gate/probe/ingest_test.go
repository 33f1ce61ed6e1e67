package probe

import (
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tracker/pkg/load/rpcload"
)

var smallIngest = ingest{devices: 200, rate: 4000, length: 100 * time.Millisecond}

func TestIngestTellsWhatFixesCost(t *testing.T) {
	x := mustOpen(t, smallIngest, start(t))
	for range 3 {
		got, err := x.Slice(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.Ops != 400 {
			t.Errorf("got %d fixes, want 400", got.Ops)
		}
		tellsAll(t, smallIngest.Defs(), got.Costs)
	}
}

func TestFixedIngestCountsWhatAFixTakes(t *testing.T) {
	w := fixedIngest{devices: 100, datagrams: 4000}
	got, err := w.Count(t.Context(), start(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(w.Defs()) {
		t.Errorf("got %v for %d metrics", got, len(w.Defs()))
	}
	if b := got["alloc_bytes"]; b <= 0 || b > 1024 {
		t.Errorf("got %v bytes of heap for a fix, want what keeping one takes", b)
	}
	if n := got["allocs"]; n > 1 {
		t.Errorf("got %v objects for a fix, want hardly any", n)
	}
}

func TestIngestOfAServerThatDies(t *testing.T) {
	s := start(t)
	x := mustOpen(t, smallIngest, s)
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Slice(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
}

// A server that limits its devices to less than they send does not do the work.
func TestIngestNamesWhatBecameOfTheRest(t *testing.T) {
	s := start(t, "--device-rate", "1", "--device-burst", "2")
	f := mustFleet(t, s, s.UDP, 10)
	err := f.burst(t.Context(), 40)
	if !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), "of 40 datagrams it stored 1") || !strings.Contains(err.Error(), "rate_limited") {
		t.Errorf("got %v, want %v, with how many were rate_limited", err, ErrWrong)
	}
}

func mustFleet(t *testing.T, s *rpcload.Own, addr string, n int) *fleet {
	t.Helper()
	f, err := openFleet(t.Context(), s, addr, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	f.wait = 300 * time.Millisecond
	return f
}

func TestIngestFindsAFixThatIsMissing(t *testing.T) {
	s := start(t)
	f := mustFleet(t, s, newSieve(t, s.UDP, 77), 20)
	if err := f.burst(t.Context(), 40); err != nil { // after the 20 that opened sessions
		t.Fatal(err)
	}
	if err := f.burst(t.Context(), 40); !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), "of 40 datagrams it stored 39") {
		t.Errorf("got %v, want %v and 39 of 40", err, ErrWrong)
	}
}

// newSieve passes datagrams on to a server, but for the one with that number.
func newSieve(t *testing.T, server string, hole int) (addr string) {
	t.Helper()
	in, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = in.SetReadBuffer(4 << 20)
	out, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for b, n := make([]byte, 2048), 1; ; n++ {
			k, err := in.Read(b)
			if err != nil {
				return
			}
			if n == hole {
				continue
			}
			if _, err := out.Write(b[:k]); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { _ = in.Close(); _ = out.Close(); all.Wait() })
	return in.LocalAddr().String()
}

// What the system threw away is neither the server's fault nor a measurement.
func TestIngestTellsDropsOfTheSystemFromTheServers(t *testing.T) {
	s := start(t, "--recv-buffer", "64KiB")
	if _, ok := queueOf(s.UDP); !ok {
		t.Skip("this system does not tell what waits in sockets")
	}
	f := mustFleet(t, s, s.UDP, 100)
	goOn := stopped(t, s)
	if err := f.sealBurst(1000); err != nil {
		t.Fatal(err)
	}
	if err := f.volley.Send(1000); err != nil {
		t.Fatal(err)
	}
	goOn()
	if err := f.settled(t.Context(), 1000, plainly); !errors.Is(err, errDropped) || errors.Is(err, ErrWrong) {
		t.Errorf("got %v, want %v", err, errDropped)
	}
	if err := f.burst(t.Context(), 100); err != nil {
		t.Errorf("afterwards: got %v", err)
	}
}

const tableOfUDP = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            
  101: 0100007F:B3A2 00000000:0000 07 00000000:00000A00 00:00000000 00000000     0        0 17002 2 0000000000000000 5         
  101: 0100007F:B3A2 00000000:0000 07 00000000:00000100 00:00000000 00000000     0        0 17003 2 0000000000000000 2         
  245: 0100007F:0035 00000000:0000 07 00000000:00000B00 00:00000000 00000000     0        0 17004 2 0000000000000000 9         
`

func TestQueueIsThatOfAllSocketsOfAPort(t *testing.T) {
	got, ok := readQueue([]byte(tableOfUDP), 0xb3a2)
	if want := (queue{0xb00, 7}); got != want || !ok {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	if got, ok := readQueue([]byte(tableOfUDP), 1); ok {
		t.Errorf("a port that nobody has: got %+v", got)
	}
}

func FuzzReadQueue(f *testing.F) {
	f.Add([]byte(tableOfUDP), uint16(0xb3a2))
	f.Add([]byte("a:1 b:1\n"), uint16(1))
	f.Fuzz(func(t *testing.T, table []byte, port uint16) {
		if q, ok := readQueue(table, port); q.waiting < 0 || q.dropped < 0 || !ok && q != (queue{}) {
			t.Errorf("got %+v, %v", q, ok)
		}
	})
}
