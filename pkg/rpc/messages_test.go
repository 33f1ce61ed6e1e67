package rpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
)

// packets is Messages over a net.Conn: a length before each.
type packets struct {
	net.Conn
	mu   sync.Mutex
	sent [][]byte
	door chan struct{}
}

func (p *packets) ReadMessage() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(p.Conn, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.LittleEndian.Uint32(head[:]))
	_, err := io.ReadFull(p.Conn, b)
	return b, err
}

func (p *packets) WriteMessage(b []byte) error {
	p.mu.Lock()
	p.sent = append(p.sent, bytes.Clone(b))
	p.mu.Unlock()
	_, err := p.Conn.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func (p *packets) Admit() { close(p.door) }

// Calls, long answers and subscriptions work over messages, and each message is what
// the page promises.
func TestMessagesCarryFrames(t *testing.T) {
	checkNoGoroutines(t)
	h := newHouse(Config{})
	near, far := tcpPair(t)
	there := &packets{Conn: far, door: make(chan struct{})}
	here := &packets{Conn: near}
	h.serve(t, OverMessages(there))
	c, err := NewClient(t.Context(), OverMessages(here), ClientConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-there.door // twice would panic
	var wg sync.WaitGroup
	for _, n := range []int{0, 16, 1000, chunk - 8, chunk, chunk + 1, 300_000} {
		for range 20 {
			wg.Go(func() {
				body := bytes.Repeat([]byte{byte(n)}, n)
				if got, err := c.Call(t.Context(), mEcho, body); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes of %d came back, %v", len(got), n, err)
				}
			})
		}
	}
	wg.Wait()
	s, err := c.Subscribe(t.Context(), mBlock, nil)
	if err != nil {
		t.Fatal(err)
	}
	(<-h.subs).Publish(0, 1, []byte("x"))
	if e, err := s.Next(t.Context()); err != nil || string(e.Body) != "x" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, end := range []*packets{here, there} {
		end.mu.Lock()
		for i, m := range end.sent {
			if n := checkMessage(m, i == 0); n == 0 || n > 1 && len(m) > chunk {
				t.Errorf("message %d of %d bytes holds %d frames", i, len(m), n)
			}
		}
		end.mu.Unlock()
	}
}

// checkMessage counts the frames of a message; 0 if it is not of whole ones.
func checkMessage(m []byte, first bool) int {
	if first {
		m = bytes.TrimPrefix(m, []byte(Preamble))
	}
	n := 0
	for len(m) >= HeaderSize {
		size := HeaderSize + int(binary.LittleEndian.Uint32(m)&maxBody)
		if size > len(m) {
			return 0
		}
		m = m[size:]
		n++
	}
	if len(m) > 0 {
		return 0
	}
	return n
}

func TestTornMessagesAreRefused(t *testing.T) {
	checkNoGoroutines(t)
	ping := Frame{Kind: KindPing, Body: make([]byte, 8)}
	big := func(n int) Frame { return req(1, mEchoInline, make([]byte, n)) }
	hello := helloFrame()
	for name, row := range map[string]struct {
		in    [][]byte
		fault Fault
		code  Status
	}{
		"ends in a body":                {[][]byte{hello, frames(ping)[:15]}, FaultTorn, BadFrame},
		"ends in a header":              {[][]byte{hello, append(frames(ping), 1, 2, 3)}, FaultTorn, BadFrame},
		"goes on in the next":           {[][]byte{hello, frames(ping)[:15], frames(ping)[15:]}, FaultTorn, BadFrame},
		"empty":                         {[][]byte{hello, nil}, FaultTorn, BadFrame},
		"two frames over 64 KiB":        {[][]byte{hello, frames(ping, big(chunk))}, FaultTorn, BadFrame},
		"the preamble alone":            {[][]byte{hello[:4], hello[4:]}, FaultTorn, BadFrame},
		"hello in two":                  {[][]byte{hello[:20], hello[20:]}, FaultTorn, BadFrame},
		"a second preamble":             {[][]byte{hello, append([]byte(Preamble), frames(ping)...)}, FaultTooLarge, FrameTooLarge},
		"a frame over the limit, torn":  {[][]byte{hello, {255, 255, 255, byte(KindReq), 1, 0, 0, 0, 0, 0, 0, 0}}, FaultTooLarge, FrameTooLarge},
		"another protocol":              {[][]byte{[]byte("GET / HTTP/1.1\r\n\r\n")}, FaultPreamble, OK},
		"one long frame, then half one": {[][]byte{hello, frames(big(100_000)), frames(ping)[:3]}, FaultTorn, BadFrame},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(Config{})
			near, far := tcpPair(t)
			h.serve(t, OverMessages(&packets{Conn: far, door: make(chan struct{})}))
			here := &packets{Conn: near}
			for _, m := range row.in {
				here.WriteMessage(m)
			}
			var all []byte
			for {
				m, err := here.ReadMessage()
				if err != nil {
					break
				}
				all = append(all, m...)
			}
			got := readFrames(t, bytes.NewReader(all))
			if row.code == OK {
				if len(got) != 0 {
					t.Errorf("answered %v", got)
				}
			} else if last := got[len(got)-1]; last.Kind != KindGoAway || Status(last.Code) != row.code {
				t.Errorf("the last frame is %v", last)
			}
			eventually(t, "it is counted", func() bool { s := h.Stats(); return s.Fault(row.fault) == 1 })
		})
	}
}

func TestClientRefusesTornMessages(t *testing.T) {
	checkNoGoroutines(t)
	near, far := tcpPair(t)
	there := &packets{Conn: far}
	defer far.Close()
	go func() {
		there.ReadMessage()
		there.WriteMessage(welcomeFrame(Welcome{}))
		there.WriteMessage([]byte{8, 0, 0})
	}()
	c, err := NewClient(t.Context(), OverMessages(&packets{Conn: near}), ClientConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if <-c.Done(); StatusOf(c.Err()) != BadFrame {
		t.Errorf("ended with %v", c.Err())
	}
}

// Behind a message that could not be written nothing is written.
func TestMessagesStopAtAFailedWrite(t *testing.T) {
	d := &deck{fails: 2}
	nc := OverMessages(d)
	one := frames(req(1, mEcho, nil))
	for i, want := range []bool{true, false, false} {
		if _, err := nc.Write(one); (err == nil) != want {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if len(d.out) != 2 {
		t.Errorf("%d messages were begun", len(d.out))
	}
}

// deck hands out messages and keeps those that are written.
type deck struct {
	Messages
	in, out [][]byte
	fails   int // the write that fails; 0: none
}

func (d *deck) ReadMessage() ([]byte, error) {
	if len(d.in) == 0 {
		return nil, io.EOF
	}
	m := d.in[0]
	d.in = d.in[1:]
	return m, nil
}

func (d *deck) WriteMessage(b []byte) error {
	d.out = append(d.out, bytes.Clone(b))
	if len(d.out) == d.fails {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// However messages are cut: Read yields all bytes to the end of the first that is torn
// and then BadFrame; what Write lets through are whole messages that read the same.
func FuzzMessages(f *testing.F) {
	f.Add(append(helloFrame(), frames(req(1, mSum, sumBody(1, 2)))...), uint16(0))
	f.Add(append(helloFrame(), frames(req(1, mSum, sumBody(1, 2)))...), uint16(20))
	f.Add(frames(req(1, mEcho, make([]byte, 65000)), req(2, mEcho, make([]byte, 70000)), req(3, mEcho, nil)), uint16(0))
	f.Add([]byte{0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0}, uint16(3))
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		in := [][]byte{b}
		if size > 0 {
			in = slices.Collect(slices.Chunk(b, int(size)))
		}
		var want []byte
		torn := false
		for i, m := range in {
			want = append(want, m...)
			n := checkMessage(m, i == 0)
			if torn = n == 0 || n > 1 && len(m) > chunk; torn {
				break
			}
		}
		got, err := io.ReadAll(OverMessages(&deck{in: in}))
		if !bytes.Equal(got, want) || torn != (StatusOf(err) == BadFrame) || !torn && err != nil {
			t.Fatalf("%d bytes of %d, torn %v, %v", len(got), len(want), torn, err)
		}
		to := &deck{}
		n, err := OverMessages(to).Write(b)
		if (err == nil) != (n == len(b)) {
			t.Fatalf("%d bytes written of %d, %v", n, len(b), err)
		}
		if again, err := io.ReadAll(OverMessages(&deck{in: to.out})); err != nil || !bytes.Equal(again, b[:n]) {
			t.Fatalf("%d bytes written, %d read, %v", n, len(again), err)
		}
		if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
			t.Fatal(err)
		}
	})
}
