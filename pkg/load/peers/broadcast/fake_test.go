package broadcast

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/peers/codec"
)

// fake is a server of one of the protocols that does to one viewer what a fault says.
type fake struct {
	protocol protocol
	fault    func(f *fake, v net.Conn, nr int, seq uint64, payload []byte)

	mu      sync.Mutex
	viewers []net.Conn
	wg      sync.WaitGroup
}

// protocol is the server's side of one.
type protocol struct {
	name    string
	hello   string
	target  func(s *server) Target
	message func(payload []byte) []byte
	// next reads one thing that a client says. It answers what wants an answer.
	next func(in *bufio.Reader, out io.Writer) (event, []byte, error)
}

type event int

const (
	other event = iota
	subscribe
	publish
)

var protocols = []protocol{
	{
		name: "redis", target: func(s *server) Target { s.facts.Confirms = true; return &Redis{s} },
		message: func(p []byte) []byte { return codec.AppendCommand(nil, "message", channel, string(p)) },
		next:    nextRESP,
	},
	{
		name: "nats", hello: "INFO {}\r\n", target: func(s *server) Target { return &NATS{s} },
		message: func(p []byte) []byte { return fmt.Appendf(nil, "MSG %s 1 %d\r\n%s\r\n", channel, len(p), p) },
		next:    nextNATS,
	},
	{
		name: "mqtt", target: func(s *server) Target { s.facts.Confirms = true; return &Mosquitto{s, 1} },
		message: func(p []byte) []byte { return codec.AppendMQTTPublish(nil, channel, 1, 9, p) },
		next:    nextMQTT,
	},
}

func nextRESP(in *bufio.Reader, out io.Writer) (event, []byte, error) {
	line := func() (int, error) {
		s, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(s)[1:])
	}
	n, err := line()
	var args [][]byte
	for range n {
		size, err := line()
		if err != nil {
			return 0, nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return 0, nil, err
		}
		args = append(args, b[:size])
	}
	if err != nil {
		return 0, nil, err
	}
	if string(args[0]) == "PUBLISH" {
		_, err := io.WriteString(out, ":1\r\n")
		return publish, args[2], err
	}
	_, err = fmt.Fprintf(out, "*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(channel), channel)
	return subscribe, nil, err
}

func nextNATS(in *bufio.Reader, out io.Writer) (event, []byte, error) {
	s, err := in.ReadString('\n')
	if err != nil {
		return 0, nil, err
	}
	switch f := strings.Fields(s); f[0] {
	case "PING":
		_, err := io.WriteString(out, "PONG\r\nPING\r\n")
		return other, nil, err
	case "SUB":
		return subscribe, nil, nil
	case "PUB":
		n, _ := strconv.Atoi(f[2])
		b := make([]byte, n+2)
		_, err := io.ReadFull(in, b)
		return publish, b[:n], err
	}
	return other, nil, nil
}

func nextMQTT(in *bufio.Reader, out io.Writer) (event, []byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, head[1])
	if _, err := io.ReadFull(in, b); err != nil {
		return 0, nil, err
	}
	var answer []byte
	e := other
	switch head[0] >> 4 {
	case 1:
		answer = []byte{0x20, 2, 0, 0}
	case 8:
		e, answer = subscribe, []byte{0x90, 3, b[0], b[1], b[len(b)-1]}
	case 3:
		at := 2 + int(b[0])<<8 + int(b[1])
		e, answer, b = publish, []byte{0x40, 2, b[at], b[at+1]}, b[at+2:]
	}
	_, err := out.Write(answer)
	return e, b, err
}

// run serves until the test is over, and returns the target that speaks to it.
func (f *fake) run(t *testing.T) Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			f.wg.Go(func() { f.serve(nc) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.wg.Wait()
	})
	return f.protocol.target(&server{addr: l.Addr().String(), Child: &load.Child{Process: load.Process{PID: os.Getpid()}}})
}

func (f *fake) serve(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	_, _ = io.WriteString(nc, f.protocol.hello)
	in := bufio.NewReader(nc)
	for {
		what, payload, err := f.protocol.next(in, nc)
		if err != nil {
			return
		}
		f.mu.Lock()
		switch what {
		case subscribe:
			f.viewers = append(f.viewers, nc)
		case publish:
			f.spread(payload)
		}
		f.mu.Unlock()
	}
}

func (f *fake) spread(payload []byte) {
	seq := binary.LittleEndian.Uint64(payload)
	for i, v := range f.viewers {
		if i == 3 && f.fault != nil {
			f.fault(f, v, i, seq, payload)
		} else {
			f.send(v, payload)
		}
	}
}

func (f *fake) send(v net.Conn, payload []byte) { _, _ = v.Write(f.protocol.message(payload)) }

func TestWhatAServerDoesWrongIsNamed(t *testing.T) {
	var held []byte
	faults := []struct {
		name                        string
		lost, duplicate, outOfOrder int64
		says                        string
		gone                        error
		do                          func(f *fake, v net.Conn, nr int, seq uint64, payload []byte)
	}{
		{name: "nothing"},
		{name: "loses one", lost: 1, says: "1 lost, 0 twice, 0 out of order; number 7 never came", do: func(f *fake, v net.Conn, _ int, seq uint64, payload []byte) {
			if seq != 7 {
				f.send(v, payload)
			}
		}},
		{name: "loses the last", lost: 1, says: "number 14 never came", do: func(f *fake, v net.Conn, _ int, seq uint64, payload []byte) {
			if seq != 14 {
				f.send(v, payload)
			}
		}},
		{name: "doubles one", duplicate: 1, says: "0 lost, 1 twice, 0 out of order", do: func(f *fake, v net.Conn, _ int, seq uint64, payload []byte) {
			f.send(v, payload)
			if seq == 7 {
				f.send(v, payload)
			}
		}},
		{name: "swaps two", outOfOrder: 1, says: "0 lost, 0 twice, 1 out of order", do: func(f *fake, v net.Conn, _ int, seq uint64, payload []byte) {
			if seq == 6 {
				held = bytes.Clone(payload)
				return
			}
			f.send(v, payload)
			if seq == 7 {
				f.send(v, held)
			}
		}},
		{name: "sends what nobody sent", gone: errStray, do: func(f *fake, v net.Conn, _ int, _ uint64, _ []byte) {
			f.send(v, make([]byte, Payload))
		}},
		{name: "sends too short a message", gone: errStray, do: func(f *fake, v net.Conn, _ int, _ uint64, payload []byte) {
			f.send(v, payload[:8])
		}},
		{name: "speaks nonsense", gone: ErrGone, do: func(_ *fake, v net.Conn, _ int, _ uint64, _ []byte) {
			_, _ = v.Write([]byte("\r\n\r\n\r\n"))
		}},
		{name: "hangs up", gone: ErrGone, do: func(_ *fake, v net.Conn, _ int, _ uint64, _ []byte) { _ = v.Close() }},
	}
	for _, p := range protocols {
		for _, row := range faults {
			t.Run(p.name+" "+row.name, func(t *testing.T) {
				f := &fake{protocol: p, fault: row.do}
				target := f.run(t)
				got, err := Measure(t.Context(), target, Shape{Viewers: 6, Updates: 3, Bursts: 50, Duration: 100 * time.Millisecond, Drain: 200 * time.Millisecond})
				if row.gone != nil {
					if !errors.Is(err, row.gone) || errors.Is(err, ErrGone) == errors.Is(err, ErrFailed) {
						t.Errorf("%v, want %v", err, row.gone)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				all := int64(got.Bursts * 3 * 6)
				if got.Lost != row.lost || got.Duplicate != row.duplicate || got.OutOfOrder != row.outOfOrder || got.Deliveries != all-row.lost || got.Unconfirmed != 0 {
					t.Errorf("%+v", got)
				}
				fine := row.lost+row.duplicate+row.outOfOrder == 0
				if err := got.Err(); (err == nil) != fine || !fine && (!errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), row.says)) {
					t.Error(err)
				}
				if got.Latency.Count() != got.Deliveries {
					t.Errorf("%d times, %d deliveries", got.Latency.Count(), got.Deliveries)
				}
			})
		}
	}
}

// A server that accepts and says nothing is gone when the time is over.
func TestAServerThatSaysNothingIsGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, p := range protocols {
		if _, err := Measure(ctx, p.target(&server{addr: l.Addr().String()}), Shape{Viewers: 2}); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", p.name, err)
		}
	}
}

func TestAnInterruptedMeasurementEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{protocol: protocols[0], fault: func(*fake, net.Conn, int, uint64, []byte) { cancel() }}
	if _, err := Measure(ctx, f.run(t), Shape{Viewers: 6, Duration: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A server that holds up what it was sent is sent no more than the window: when the
// fourth message of one viewer is stuck, five are all that may leave.
func TestWhatIsUnderWayIsBounded(t *testing.T) {
	released := make(chan struct{})
	f := &fake{protocol: protocols[1], fault: func(f *fake, v net.Conn, _ int, seq uint64, payload []byte) {
		f.send(v, payload)
		if seq == 3 {
			<-released
		}
	}}
	target := f.run(t)
	defer close(released)
	got, err := Measure(t.Context(), target, Shape{Viewers: 6, Bursts: 100, Window: 2, Duration: 200 * time.Millisecond, Drain: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if got.Bursts != 5 || got.Planned != 20 || got.Lost != 2+6 {
		t.Errorf("%+v", got)
	}
}
