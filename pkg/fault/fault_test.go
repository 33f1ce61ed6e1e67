//go:build benchfault

package fault

import (
	"bytes"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// worse makes worse what text says, for a test.
func worse(t *testing.T, text string) {
	t.Helper()
	if err := Set(text); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { active.Store(nil) })
}

func TestWrongTextIsRefusedPartByPart(t *testing.T) {
	for _, text := range []string{
		"cpu", "cpu=", "cpu=150", "cpu=-1ns", "cpu=0", "cpu=2s", "CPU=1ns", " cpu=1ns", "cpu=1ns ",
		"alloc=0", "alloc=-1", "alloc=1.5", "alloc=1000001", "alloc=+1",
		"latency=999ns", "latency=1m",
		"write=10", "write=0%", "write=101%", "write=1.5%", "write=%",
		"wrong=0", "wrong=99999999999999999999", "drop=every",
		"crash", "crash=0req", "crash=5", "crash=2h", "crash=req",
		"mute=", "mute=a b", "mute=a{b=\"c\"}", "mute=# HELP a",
		"leak=1", "leak=0B", "leak=1GiB", "leak=1025MiB", "leak=1 KiB", "leak=1kib",
		"slow=1", "=1", ",", "cpu=1ns,", "wrong=1,wrong=1", "wrong=1,wrong=x",
	} {
		f, err := parse(text)
		if err == nil {
			t.Errorf("%q: taken as %+v", text, f)
		} else if !strings.HasPrefix(err.Error(), "TRACKERD_FAULT: ") {
			t.Errorf("%q: %v: does not say where", text, err)
		}
	}
	_, err := parse("cpu=fast,alloc=1,write=lots")
	if err == nil || !strings.Contains(err.Error(), `"cpu=fast"`) || !strings.Contains(err.Error(), `"write=lots"`) || strings.Contains(err.Error(), `"alloc=1"`) {
		t.Errorf("%v: want the two parts that are wrong, and no other", err)
	}
}

func TestEveryFaultIsRead(t *testing.T) {
	f, err := parse("cpu=150ns,alloc=1,latency=200us,write=10%,wrong=1000,drop=999,crash=2s,mute=tracker_fixes_total,leak=1KiB")
	if err != nil {
		t.Fatal(err)
	}
	got := []any{f.cpu, f.alloc, f.latency, f.write.percent, f.wrong.nth, f.drop.nth, f.crashAfter, f.mute, f.leak}
	want := []any{150 * time.Nanosecond, 1, 200 * time.Microsecond, uint64(10), uint64(1000), uint64(999), 2 * time.Second, "tracker_fixes_total", 1024}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("the %dth is %v, want %v", i+1, got[i], want[i])
		}
	}
	if f, err = parse("crash=1000req,leak=1MiB"); err != nil || f.crashAt.nth != 1000 || f.leak != 1<<20 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestNothingIsWorseUnasked(t *testing.T) {
	worse(t, "")
	c, other := net.Pipe()
	defer func() { _, _ = c.Close(), other.Close() }()
	if Conn(c) != c {
		t.Error("another connection")
	}
	if n := testing.AllocsPerRun(100, func() { Request(); Answers() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for range 1000 {
		if Sum(3) != 3 || Drop() || Split(100) != 0 {
			t.Fatal("worse")
		}
	}
	if page := "a 1\n"; string(Metrics([]byte(page))) != page {
		t.Error("another page")
	}
}

func TestSoManyOfAHundredAreDue(t *testing.T) {
	for percent := uint64(1); percent <= 100; percent++ {
		s := share{percent: percent}
		for range 10 {
			due := uint64(0)
			for range 100 {
				if s.due() {
					due++
				}
			}
			if due != percent {
				t.Fatalf("%d of 100, want %d", due, percent)
			}
		}
	}
	s := share{percent: 10}
	for i := 1; i <= 100; i++ {
		if due := s.due(); due != (i%10 == 0) {
			t.Errorf("write %d: %v", i, due)
		}
	}
}

// listener remembers what was written to it, call by call, and breaks where it is told to.
type listener struct {
	net.Conn
	calls  [][]byte
	breaks int // this call takes one byte
}

var errBroken = errors.New("broken")

func (l *listener) Write(b []byte) (int, error) {
	if len(l.calls)+1 == l.breaks {
		l.calls = append(l.calls, b[:1])
		return 1, errBroken
	}
	l.calls = append(l.calls, bytes.Clone(b))
	return len(b), nil
}

func TestEveryTenthWriteIsTwo(t *testing.T) {
	worse(t, "write=10%")
	l := new(listener)
	c := Conn(l)
	var want []byte
	for i := range 100 {
		b := []byte{byte(i), 'a', 'b'}
		want = append(want, b...)
		if n, err := c.Write(b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got := bytes.Join(l.calls, nil); len(l.calls) != 110 || !bytes.Equal(got, want) {
		t.Errorf("%d writes of %q, want 110 of %q", len(l.calls), got, want)
	}
	if n, err := c.Write([]byte("x")); n != 1 || err != nil || len(l.calls) != 111 {
		t.Errorf("one byte: %d, %v, %d writes", n, err, len(l.calls))
	}
}

func TestWriteOfTwoTellsHowFarItCame(t *testing.T) {
	worse(t, "write=100%")
	for breaks, want := range map[int]int{1: 1, 2: 6} {
		c := Conn(&listener{breaks: breaks})
		if n, err := c.Write([]byte("0123456789")); n != want || !errors.Is(err, errBroken) {
			t.Errorf("call %d breaks: %d, %v; want %d, %v", breaks, n, err, want, errBroken)
		}
	}
}

func TestConnectionBelowIsFound(t *testing.T) {
	worse(t, "leak=1KiB")
	l := new(listener)
	c := Conn(l)
	if below, ok := c.(interface{ NetConn() net.Conn }); !ok || below.NetConn() != net.Conn(l) {
		t.Error("the connection below is not to be found")
	}
	if len(c.(*conn).leaked) != 1024 {
		t.Errorf("%d bytes are kept", len(c.(*conn).leaked))
	}
	if half := c.(interface{ CloseWrite() error }); half.CloseWrite() == nil {
		t.Error("half of what cannot be closed in halves was closed")
	}
}

func TestEverySoManiethIsWorse(t *testing.T) {
	worse(t, "wrong=3,drop=4")
	for i := int32(1); i <= 12; i++ {
		if got := Sum(i); (got != i) != (i%3 == 0) {
			t.Errorf("sum %d is %d", i, got)
		}
		if got := Drop(); got != (i%4 == 0) {
			t.Errorf("frame %d: dropped is %v", i, got)
		}
	}
}

func TestRequestAllocatesAsAsked(t *testing.T) {
	worse(t, "alloc=7")
	if n := testing.AllocsPerRun(100, Request); n != 7 {
		t.Errorf("%v allocations, want 7", n)
	}
}

// The time of a processor is what is asked for, whatever else runs. The lower bound is
// loose, for a processor that is quicker for a moment.
func TestRequestTakesTheProcessorAsLongAsAsked(t *testing.T) {
	worse(t, "cpu=100us")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime()
	for range 500 {
		Request()
	}
	if got := threadTime() - before; got < 25*time.Millisecond {
		t.Errorf("500 requests took %v, want some 50ms", got)
	}
}

func TestAnswersLeaveLaterWithoutAProcessor(t *testing.T) {
	worse(t, "latency=5ms")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, before := time.Now(), threadTime()
	for range 4 {
		Answers()
	}
	if waited := time.Since(began); waited < 20*time.Millisecond {
		t.Errorf("four naps took %v, want 20ms", waited)
	}
	if worked := threadTime() - before; worked > 10*time.Millisecond {
		t.Errorf("and %v of a processor", worked)
	}
}

func TestMutedMetricIsNotTold(t *testing.T) {
	worse(t, "mute=tracker_a")
	const page = "# HELP tracker_a as\n# TYPE tracker_a counter\ntracker_a 1\ntracker_a{of=\"x\"} 1\n" +
		"# HELP tracker_ab tracker_a and b\ntracker_ab 2\nother_tracker_a 3\n"
	const want = "# HELP tracker_ab tracker_a and b\ntracker_ab 2\nother_tracker_a 3\n"
	if got := string(Metrics([]byte(page))); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
