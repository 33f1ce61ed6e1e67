package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tracker/pkg/engine"
)

const rpcHandshake = "GET /v1/rpc HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"

// echoRoom answers each message with itself; "admit" is what a stranger says to be known.
func echoRoom(_ context.Context, m Messages) {
	defer func() { _ = m.Close() }()
	for {
		b, err := m.ReadMessage()
		if err != nil {
			return
		}
		if string(b) == "admit" {
			m.Admit()
		}
		if m.WriteMessage(b) != nil {
			return
		}
	}
}

func newRPCHouse(t testing.TB, room func(context.Context, Messages)) *house {
	t.Helper()
	return newHouse(t, func(c *Config) { c.RPC = room })
}

func (h *house) dialRPC(extra, early string) (*peer, *http.Response) {
	h.t.Helper()
	return upgrade(h.t, h.raw(fmt.Sprintf(rpcHandshake, h.addr, extra)+early))
}

const offer = "Sec-WebSocket-Protocol: json, trk.v1\r\n"

func (h *house) rpcPeer() *peer {
	h.t.Helper()
	p, resp := h.dialRPC(offer, "")
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Protocol") != rpcProtocol {
		h.t.Fatalf("upgrade: got %d %v", resp.StatusCode, resp.Header)
	}
	return p
}

func (p *peer) write(frames ...[]byte) {
	p.t.Helper()
	if _, err := p.c.Write(bytes.Join(frames, nil)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) want(op ws.OpCode, payload string) {
	p.t.Helper()
	got, b, err := p.frame()
	if err != nil || got != op || string(b) != payload {
		p.t.Fatalf("got %v %.60q, %v, want %v %.60q", got, b, err, op, payload)
	}
}

func (p *peer) wantClose(code ws.StatusCode) {
	p.t.Helper()
	op, b, err := p.frame()
	if err != nil || op != ws.OpClose {
		p.t.Fatalf("got %v %q, %v, want a close", op, b, err)
	}
	if got, why := ws.ParseCloseFrameData(b); got != code {
		p.t.Errorf("closed with %d %q, want %d", got, why, code)
	}
}

func TestMessagesPassBothWays(t *testing.T) {
	h := newRPCHouse(t, echoRoom)
	p := h.rpcPeer()
	long := strings.Repeat("0123456789abcdef", 4000)
	p.write(clientFrame(ws.OpBinary, true, []byte("one")), clientFrame(ws.OpBinary, true, []byte("two")))
	p.want(ws.OpBinary, "one")
	p.want(ws.OpBinary, "two")
	p.write(clientFrame(ws.OpBinary, true, []byte(long)))
	p.want(ws.OpBinary, long)
	// In pieces, with a ping between them.
	p.write(clientFrame(ws.OpBinary, false, []byte("a")), clientFrame(ws.OpPing, true, []byte("?")),
		clientFrame(ws.OpContinuation, false, []byte("b")), clientFrame(ws.OpContinuation, true, []byte("c")))
	p.want(ws.OpPong, "?")
	p.want(ws.OpBinary, "abc")
	p.write(clientFrame(ws.OpPong, true, nil), clientFrame(ws.OpBinary, true, nil))
	p.want(ws.OpBinary, "")
	p.write(clientFrame(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
	p.wantClose(ws.StatusNormalClosure)
	if _, _, err := p.frame(); !errors.Is(err, io.EOF) {
		t.Errorf("after the close: %v", err)
	}
}

func TestMessageBehindTheHandshakeIsNotLost(t *testing.T) {
	h := newRPCHouse(t, echoRoom)
	p, _ := h.dialRPC(offer, string(clientFrame(ws.OpBinary, true, []byte("early"))))
	p.want(ws.OpBinary, "early")
}

func TestSocketForCallsWantsItsProtocolAndNothingElse(t *testing.T) {
	h := newRPCHouse(t, echoRoom)
	for extra, want := range map[string]int{
		"":                                   400,
		"Sec-WebSocket-Protocol: trk.v2\r\n": 400,
		offer + "Origin: https://elsewhere.org\r\n": 101, // nothing that a browser adds proves anything
	} {
		if _, resp := h.dialRPC(extra, ""); resp.StatusCode != want {
			t.Errorf("%q: got %d, want %d", extra, resp.StatusCode, want)
		}
	}
	if a := newHouse(t, nil).do("GET", "/v1/rpc", "", ""); a.status != 404 {
		t.Errorf("without a room: %d", a.status)
	}
}

func TestBrokenMessagesCloseWithTheRightCode(t *testing.T) {
	h := newRPCHouse(t, echoRoom)
	unmasked := ws.MustCompileFrame(ws.NewFrame(ws.OpBinary, true, []byte("x")))
	var pieces [][]byte
	for i := range maxFragments + 2 {
		op := ws.OpContinuation
		if i == 0 {
			op = ws.OpBinary
		}
		pieces = append(pieces, clientFrame(op, false, []byte("x")))
	}
	for name, tt := range map[string]struct {
		send []byte
		want ws.StatusCode
	}{
		"text":              {clientFrame(ws.OpText, true, []byte("{}")), ws.StatusUnsupportedData},
		"unmasked":          {unmasked, ws.StatusProtocolError},
		"continues nothing": {clientFrame(ws.OpContinuation, true, []byte("x")), ws.StatusProtocolError},
		"close of one byte": {clientFrame(ws.OpClose, true, []byte("x")), ws.StatusProtocolError},
		"many pieces":       {bytes.Join(pieces, nil), ws.StatusPolicyViolation},
		"stranger's":        {clientFrame(ws.OpBinary, true, make([]byte, strangerMessage+1))[:14], ws.StatusMessageTooBig},
	} {
		t.Run(name, func(t *testing.T) {
			p := h.rpcPeer()
			p.write(tt.send)
			p.wantClose(tt.want)
		})
	}
}

func TestWhoIsKnownMaySendMore(t *testing.T) {
	h := newRPCHouse(t, echoRoom)
	p := h.rpcPeer()
	p.write(clientFrame(ws.OpBinary, true, []byte("admit")))
	p.want(ws.OpBinary, "admit")
	long := strings.Repeat("x", 1<<20)
	go func() { _, _ = p.c.Write(clientFrame(ws.OpBinary, true, []byte(long))) }()
	p.want(ws.OpBinary, long)
	p.write(clientFrame(ws.OpBinary, true, make([]byte, maxCallMessage+1))[:14])
	p.wantClose(ws.StatusMessageTooBig)
}

func TestSocketForCallsCountsAsStrangerUntilAdmitted(t *testing.T) {
	h := newRPCHouse(t, echoRoom)
	strangers := func() (n int) {
		h.web.gate.mu.Lock()
		defer h.web.gate.mu.Unlock()
		for _, k := range h.web.gate.open {
			n += k
		}
		return n
	}
	p := h.rpcPeer()
	if strangers() != 1 {
		t.Errorf("%d strangers", strangers())
	}
	p.write(clientFrame(ws.OpBinary, true, []byte("admit")))
	p.want(ws.OpBinary, "admit")
	if strangers() != 0 {
		t.Errorf("%d strangers after it was admitted", strangers())
	}
}

func TestStoppingWaitsForSocketsForCalls(t *testing.T) {
	ended := make(chan struct{})
	h := newRPCHouse(t, func(ctx context.Context, m Messages) {
		<-ctx.Done()
		_ = m.WriteMessage([]byte("bye"))
		_ = m.CloseWrite()
		close(ended)
	})
	p := h.rpcPeer()
	h.stop()
	select {
	case <-ended:
	default:
		t.Error("it stopped before the room had ended")
	}
	p.want(ws.OpBinary, "bye")
	p.wantClose(ws.StatusNormalClosure)
}

// drops is a connection that gives what it has in pieces of the size that the bytes of
// steps say, and has a deadline pass between them.
type drops struct {
	net.Conn
	rest  []byte
	steps []byte
	late  bool
}

func (d *drops) Read(b []byte) (int, error) {
	if len(d.rest) == 0 {
		return 0, io.EOF
	}
	if d.late = !d.late; d.late && len(d.steps) > 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := len(d.rest)
	if len(d.steps) > 0 {
		n, d.steps = min(n, 1+int(d.steps[0])), d.steps[1:]
	}
	n = copy(b, d.rest[:n])
	d.rest = d.rest[n:]
	return n, nil
}
func (d *drops) Write(b []byte) (int, error)      { return len(b), nil }
func (d *drops) SetWriteDeadline(time.Time) error { return nil }

// readAll takes every message that some bytes hold.
func readAll(w *Web, raw, steps []byte) (got []string, err error) {
	m := &messages{conn: &conn{Conn: &drops{rest: bytes.Clone(raw), steps: steps}, w: w}}
	for {
		b, err := m.ReadMessage()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return got, err
		}
		got = append(got, string(b))
	}
}

// FuzzMessagesOfAStranger: whatever comes, nothing panics, nothing grows beyond what came,
// and how it was cut into pieces changes nothing.
func FuzzMessagesOfAStranger(f *testing.F) {
	f.Add([]byte(clientFrame(ws.OpBinary, true, []byte("hello"))), []byte{0, 1, 2})
	f.Add(bytes.Join([][]byte{clientFrame(ws.OpBinary, false, []byte("a")), clientFrame(ws.OpPing, true, nil),
		clientFrame(ws.OpContinuation, true, []byte("b")), clientFrame(ws.OpClose, true, nil)}, nil), []byte{3, 0, 9, 1})
	f.Add([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, []byte{})
	e, err := engine.New(f.Context(), engine.Config{}, &memory{})
	if err != nil {
		f.Fatal(err)
	}
	w := New(Config{}, e)
	f.Fuzz(func(t *testing.T, raw, steps []byte) {
		whole, why := readAll(w, raw, nil)
		cut, whyCut := readAll(w, raw, steps)
		if fmt.Sprint(whole, why) != fmt.Sprint(cut, whyCut) {
			t.Fatalf("in one piece %q, %v; in several %q, %v", whole, why, cut, whyCut)
		}
		n := 0
		for _, m := range whole {
			n += len(m)
		}
		if n > len(raw) {
			t.Fatalf("%d bytes of messages in %d", n, len(raw))
		}
	})
}
