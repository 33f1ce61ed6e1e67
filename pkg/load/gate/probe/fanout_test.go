package probe

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/fan"
	"tracker/pkg/load/rpcload"
	"tracker/pkg/rpc"
)

// smallFanout is quickly done, and has enough deliveries to tell one in a hundred.
var smallFanout = fanout{viewers: 40, devices: 3, rate: 252, length: 250 * time.Millisecond}

func mustOpen(t *testing.T, w Work, s *rpcload.Own) Session {
	t.Helper()
	x, err := w.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// tellsAll checks that there is a cost for every metric, and no other.
func tellsAll(t *testing.T, defs []Def, costs map[string]float64) {
	t.Helper()
	for _, d := range defs {
		if costs[d.Name] <= 0 {
			t.Errorf("%s is %v, want more than nothing", d.Name, costs[d.Name])
		}
	}
	if len(costs) != len(defs) {
		t.Errorf("got %v for %d metrics", costs, len(defs))
	}
}

func TestFanoutTellsWhatDeliveriesCost(t *testing.T) {
	x := mustOpen(t, smallFanout, start(t))
	for range 3 {
		got, err := x.Slice(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.Ops != 40*63 {
			t.Errorf("got %d deliveries, want %d", got.Ops, 40*63)
		}
		tellsAll(t, smallFanout.Defs(), got.Costs)
	}
}

func TestFixedFanoutCountsWhatOneDeliveryTakes(t *testing.T) {
	w := fixedFanout{viewers: 20, reports: 40}
	got, err := w.Count(t.Context(), start(t))
	if err != nil {
		t.Fatal(err)
	}
	tellsAll(t, w.Defs(), got)
	if got["frames"] != 1 || got["encodings"] != 2 {
		t.Errorf("got %v frames and %v encodings a report, want 1, and 2 of them: for RPC and for WebSockets", got["frames"], got["encodings"])
	}
	if w := got["writes"]; w < 1 || w > 1.5 {
		t.Errorf("got %v writes a delivery, want one, and few of the store's", w)
	}
}

func TestFanoutOfAServerThatDies(t *testing.T) {
	s := start(t)
	x := mustOpen(t, smallFanout, s)
	if _, err := x.Slice(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Slice(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
}

func TestFanoutOfAServerThatIsNotThere(t *testing.T) {
	s := start(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := smallFanout.Open(t.Context(), s); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
}

// stopped stops a server until the test ends. It is alive, and does nothing.
func stopped(t *testing.T, s *rpcload.Own) (goOn func()) {
	t.Helper()
	if err := syscall.Kill(s.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn = sync.OnceFunc(func() { _ = syscall.Kill(s.PID, syscall.SIGCONT) })
	t.Cleanup(goOn)
	return goOn
}

func TestFanoutOfAServerThatHangs(t *testing.T) {
	s := start(t)
	c, err := openCrowdAt(t.Context(), s, s.Target.Addr, shortPlan(fan.Schedule), 10, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	defer stopped(t, s)()
	if _, err := c.play(t.Context(), func() {}); !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), "250 lost") {
		t.Errorf("got %v, want %v and 250 lost", err, ErrWrong)
	}
}

// shortPlan is 25 reports in 100 ms.
func shortPlan(pacing fan.Pacing) *fan.Plan {
	plan := fan.AtRate(1, load.Constant(250), 100*time.Millisecond, 1)
	plan.Pacing = pacing
	return plan
}

func TestFanoutFindsADeliveryThatIsMissing(t *testing.T) {
	s := start(t)
	for name, pacing := range map[string]fan.Pacing{"as slices are": fan.Schedule, "in lockstep": fan.Step} {
		t.Run(name, func(t *testing.T) {
			var robbed atomic.Bool
			door := newRobber(t, s.Target.Addr, &robbed)
			c, err := openCrowdAt(t.Context(), s, door, shortPlan(pacing), 10, 500*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := c.play(t.Context(), func() {}); err != nil {
				t.Fatal(err)
			}
			robbed.Store(true)
			_, err = c.play(t.Context(), func() {})
			if !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), "lost") || !strings.Contains(err.Error(), "viewer-00000") {
				t.Errorf("got %v, want %v, and who missed what", err, ErrWrong)
			}
		})
	}
}

// newRobber is a door through which everything goes as it is, but for one delivery to a
// viewer over RPC, when it is told to.
func newRobber(t *testing.T, server string, rob *atomic.Bool) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				t.Error(err)
				_ = in.Close()
				return
			}
			all.Go(func() { defer out.Close(); _, _ = io.Copy(out, in) })
			all.Go(func() { defer in.Close(); pass(in, out, rob) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l.Addr().String()
}

// pass gives a viewer what the server says, until either of them ends.
func pass(viewer io.Writer, server io.Reader, rob *atomic.Bool) {
	r := bufio.NewReader(server)
	if head, err := r.Peek(4); err != nil || string(head) == "HTTP" {
		_, _ = r.WriteTo(viewer)
		return
	}
	for h := make([]byte, rpc.HeaderSize); ; {
		if _, err := io.ReadFull(r, h); err != nil {
			return
		}
		word := binary.LittleEndian.Uint32(h)
		frame := append([]byte(nil), h...)
		frame = append(frame, make([]byte, word&(1<<24-1))...)
		if _, err := io.ReadFull(r, frame[rpc.HeaderSize:]); err != nil {
			return
		}
		if rpc.Kind(word>>24&15) == rpc.KindEvent && rob.CompareAndSwap(true, false) {
			continue
		}
		if _, err := viewer.Write(frame); err != nil {
			return
		}
	}
}
