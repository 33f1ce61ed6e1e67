package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

func frames(fs ...Frame) []byte {
	var out []byte
	for _, f := range fs {
		out = AppendFrame(out, f)
	}
	return out
}

func req(id uint32, method uint16, body []byte) Frame {
	return Frame{Kind: KindReq, ID: id, Code: method, Body: body}
}

// badInput is what a peer may send, and what docs/rpc.md promises for it.
type badInput struct {
	raw   []byte // instead of a good handshake and in
	in    []byte
	kind  Kind // of the answer; 255: closed without a word
	code  Status
	id    uint32
	fault Fault
	n     uint64 // how often it is counted; 0: once
}

func badInputs() map[string]badInput {
	hello := func(h Hello) []byte {
		return append([]byte(Preamble), frames(Frame{Kind: KindHello, Body: appendHello(nil, &h)})...)
	}
	manyParts := func(n int) []byte {
		var out []byte
		for id := range uint32(n) {
			out = AppendFrame(out, Frame{Kind: KindReq, Flags: FlagMore, ID: id + 1, Code: mEcho, Body: []byte{1}})
		}
		return out
	}
	credit := func(n uint32) Frame {
		return Frame{Kind: KindCredit, ID: 1, Body: binary.LittleEndian.AppendUint32(nil, n)}
	}
	var cancels, bulk, flood []byte
	for i := range uint32(100_000) {
		cancels = AppendFrame(cancels, Frame{Kind: KindCancel, ID: i})
	}
	for range 100 {
		bulk = AppendFrame(bulk, Frame{Kind: KindReq, Flags: FlagMore, ID: 9, Code: mEcho, Body: make([]byte, 60000)})
	}
	bulk = append(bulk, frames(req(9, mEcho, nil))...)
	for range 100_000 {
		flood = AppendFrame(flood, Frame{Kind: KindReq, Flags: FlagMore, ID: 9, Code: mEcho, Body: make([]byte, 20)})
	}
	flood = append(flood, frames(req(9, mEcho, nil))...)
	const goes = KindGoAway
	return map[string]badInput{
		"another protocol":          {raw: []byte("GET / HTTP/1.1\r\n\r\n"), kind: 255, fault: FaultPreamble},
		"no hello":                  {raw: append([]byte(Preamble), frames(req(1, mSum, sumBody(1, 2)))...), kind: goes, code: Unauthenticated, fault: FaultHandshake},
		"torn hello":                {raw: append([]byte(Preamble), frames(Frame{Kind: KindHello, Body: make([]byte, 20)})...), kind: goes, code: BadBody, fault: FaultHandshake},
		"hello that lies":           {raw: append([]byte(Preamble), frames(Frame{Kind: KindHello, Body: bytes.Repeat([]byte{255}, 24)})...), kind: goes, code: BadBody, fault: FaultHandshake},
		"huge hello":                {raw: append([]byte(Preamble), 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0), kind: goes, code: FrameTooLarge, fault: FaultTooLarge},
		"other version":             {raw: hello(Hello{ProtoMin: 2, ProtoMax: 9, MaxFrame: 4096}), kind: goes, code: Version, fault: FaultVersion},
		"not let in":                {raw: hello(Hello{ProtoMin: 1, ProtoMax: 1, MaxFrame: 4096, Client: "mallory"}), kind: goes, code: Unauthenticated, fault: FaultAuth},
		"second hello":              {in: frames(Frame{Kind: KindHello}), kind: goes, code: BadFrame, fault: FaultControl},
		"kind of a server":          {in: frames(Frame{Kind: KindEvent, ID: 1}), kind: goes, code: BadFrame, fault: FaultControl},
		"unknown kind":              {in: frames(Frame{Kind: 13}), kind: goes, code: BadFrame, fault: FaultKind},
		"extension":                 {in: frames(Frame{Kind: 15}), kind: goes, code: BadFrame, fault: FaultKind},
		"reserved flag":             {in: frames(Frame{Kind: KindReq, Flags: 8, ID: 1}), kind: goes, code: BadFrame, fault: FaultFlags},
		"compressed":                {in: frames(Frame{Kind: KindReq, Flags: 4, ID: 1}), kind: goes, code: BadFrame, fault: FaultFlags},
		"oversized":                 {in: []byte{0xff, 0xff, 0xff, byte(KindReq), 1, 0, 0, 0, 0, 0, 0, 0}, kind: goes, code: FrameTooLarge, fault: FaultTooLarge},
		"id 0":                      {in: frames(req(0, mSum, nil)), kind: goes, code: BadFrame, fault: FaultID},
		"id in use":                 {in: frames(req(5, mWait, nil), req(5, mWait, nil)), kind: goes, code: BadFrame, fault: FaultID},
		"unknown method":            {in: frames(req(5, 9999, nil)), kind: KindErr, code: Unimplemented, id: 5, fault: FaultMethod},
		"body of another type":      {in: frames(req(5, mSum, []byte{1})), kind: KindErr, code: BadBody, id: 5, fault: FaultBody},
		"panic inline":              {in: frames(req(5, mPanicInline, nil)), kind: KindErr, code: Internal, id: 5, fault: FaultPanic},
		"panic async":               {in: frames(req(5, mPanic, nil)), kind: KindErr, code: Internal, id: 5, fault: FaultPanic},
		"panic in the key":          {in: frames(req(5, mKeyed, nil)), kind: KindErr, code: Internal, id: 5, fault: FaultPanic},
		"torn metadata":             {in: frames(Frame{Kind: KindReq, Flags: FlagMeta, ID: 5, Code: mSum, Body: []byte{9, 0, 1}}), kind: KindErr, code: BadBody, id: 5, fault: FaultMeta},
		"ping of 3 bytes":           {in: frames(Frame{Kind: KindPing, Body: []byte{1, 2, 3}}), kind: goes, code: BadFrame, fault: FaultControl},
		"credit of 3 bytes":         {in: frames(Frame{Kind: KindCredit, Body: []byte{1, 2, 3}}), kind: goes, code: BadFrame, fault: FaultControl},
		"credit overflow":           {in: frames(req(1, mLatest, nil), credit(1<<16), credit(1<<32-1)), kind: KindErr, code: OutOfRange, id: 1, fault: FaultCredit},
		"body in the frame's place": {in: append(frames(req(5, mSum, nil)), bytes.Repeat([]byte{0x0d}, 12)...), kind: goes, code: BadFrame, fault: FaultKind},
		"notify of a subscription":  {in: frames(Frame{Kind: KindNotify, Code: mLatest}), fault: FaultMethod},
		"flood of parts of one id":  {in: flood, kind: KindErr, code: FrameTooLarge, id: 9, fault: FaultMessage},
		"cancel of a message begun": {in: frames(Frame{Kind: KindReq, Flags: FlagMore, ID: 5, Code: mEcho, Body: []byte{1}}, Frame{Kind: KindCancel, ID: 5}), kind: KindErr, code: Canceled, id: 5},
		"late credit":               {in: frames(credit(1)), fault: FaultLate},
		"flood of cancels":          {in: cancels, fault: FaultLate, n: 100_000},
		"flood of messages":         {in: manyParts(maxParts + 1), kind: goes, code: ResourceExhausted, fault: FaultMore},
		"message too long":          {in: bulk, kind: KindErr, code: FrameTooLarge, id: 9, fault: FaultMessage},
		"empty part":                {in: frames(Frame{Kind: KindReq, Flags: FlagMore, ID: 1}), kind: goes, code: BadFrame, fault: FaultMore},
		"part of another": {in: frames(Frame{Kind: KindReq, Flags: FlagMore, ID: 1, Code: 1, Body: []byte{1}}, req(1, 2, nil)),
			kind: goes, code: BadFrame, fault: FaultMore},
		"ping in parts": {in: frames(Frame{Kind: KindPing, Flags: FlagMore, ID: 1, Body: []byte{1}}), kind: goes, code: BadFrame, fault: FaultMore},
	}
}

// Every bad input has one answer that docs/rpc.md promises, and is counted.
func TestBadInput(t *testing.T) {
	checkNoGoroutines(t)
	for name, row := range badInputs() {
		t.Run(name, func(t *testing.T) {
			h := newHouse(Config{MaxMessage: 1 << 20, Authenticate: func(_ context.Context, h *Hello, _ net.Addr) (any, error) {
				if h.Client == "mallory" {
					return nil, errors.New("no")
				}
				return h.Client, nil
			}})
			other := h.client(t, ClientConfig{})
			nc := h.dial(t)
			in, alive := row.raw, false
			if in == nil {
				alive = row.kind != KindGoAway
				in = append(helloFrame(), row.in...)
				if alive { // the connection still answers what comes next
					in = append(in, frames(req(77, mSum, sumBody(40, 2)))...)
				}
			}
			go nc.Write(in)
			if alive {
				eventually(t, "it is counted and answered", func() bool {
					s := h.Stats()
					return s.Fault(row.fault) == max(row.n, 1)*min(1, uint64(row.fault)) && s.Inline > 0 && (row.kind == 0 || s.Failed == 1) && s.Inflight == 0
				})
				// What was counted is being written; the end of the input ends the rest.
				p := sendPing(t, nc)
				checkAnswer(t, p, row.kind, row.code, row.id)
			} else {
				got := readFrames(t, nc)
				if row.kind == 255 {
					if len(got) != 0 {
						t.Errorf("answered %v", got)
					}
				} else {
					checkAnswer(t, got, row.kind, row.code, row.id)
				}
				eventually(t, "it is counted", func() bool { s := h.Stats(); return s.Fault(row.fault) == 1 })
			}
			if _, err := other.Call(t.Context(), mSum, sumBody(1, 2)); err != nil {
				t.Errorf("somebody else: %v", err)
			}
		})
	}
}

// sendPing reads frames until the answer to request 77 and a PONG are there.
func sendPing(t *testing.T, nc net.Conn) []Frame {
	t.Helper()
	nc.Write(frames(Frame{Kind: KindPing, ID: 1234, Body: make([]byte, 8)}))
	nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	in := &parser{limit: maxBody}
	var all []Frame
	for {
		var f Frame
		for {
			ok, e := in.next(&f)
			if e != nil {
				t.Fatal(e)
			}
			if !ok {
				break
			}
			f.Body = bytes.Clone(f.Body)
			all = append(all, f)
			if f.Kind == KindPong {
				return all
			}
		}
		if _, err := in.fill(nc); err != nil {
			t.Fatal(err, all)
		}
	}
}

func checkAnswer(t *testing.T, got []Frame, kind Kind, code Status, id uint32) {
	t.Helper()
	found := kind == 0
	for _, f := range got {
		end := f.Kind == KindEnd && kind == KindErr // of a subscription that was accepted
		found = found || (f.Kind == kind || end) && Status(f.Code) == code && f.ID == id
	}
	if !found {
		t.Errorf("no frame of kind %d, code %v, id %d in %v", kind, code, id, got)
	}
}

// A peer that dies at any frame boundary, or inside of a frame, leaves nothing.
func TestPeerKilledAnywhere(t *testing.T) {
	checkNoGoroutines(t)
	times := 10_000
	if testing.Short() {
		times = 500
	}
	h := newHouse(Config{})
	publishing := make(chan struct{})
	defer func() { close(h.subs); <-publishing }()
	go func() { // beside the handlers; ends when the channel is closed
		defer close(publishing)
		for s := range h.subs {
			s.Publish(1, 1, []byte("x"))
		}
	}()
	lane := func(id uint32, n byte) Frame { return req(id, mKeyed, append([]byte{7, n}, make([]byte, 7)...)) }
	script := []Frame{
		req(1, mSum, sumBody(1, 2)), req(2, mWait, nil), req(3, mSleep, nil), req(4, mLatest, nil),
		{Kind: KindCredit, ID: 4, Body: []byte{9, 0, 0, 0}}, lane(5, 1), lane(15, 2), lane(25, 3),
		{Kind: KindReq, Flags: FlagMore, ID: 6, Code: mEcho, Body: []byte("half")}, req(9, mBatch, []byte("a")),
		req(6, mEcho, []byte("whole")), req(10, mBatch, []byte("b")), {Kind: KindCancel, ID: 2}, req(11, mPull, nil),
		{Kind: KindPing, Body: make([]byte, 8)}, req(7, mBlock, nil), {Kind: KindCredit, ID: 11, Body: []byte{9, 0, 0, 0}},
		{Kind: KindCancel, ID: 7}, {Kind: KindNotify, Code: mEcho, Body: []byte("x")}, req(8, mPanic, nil),
		{Kind: KindReq, ID: 12, Code: mWait, Aux: 5}, req(13, mDrop, nil), req(14, mPanicInline, nil), {Kind: KindCancel, ID: 11},
		{Kind: KindReq, Flags: FlagMore, ID: 16, Code: mEcho, Body: make([]byte, 3000)},
	}
	cuts := [][]byte{nil, []byte(Preamble), helloFrame()}
	for i := range script {
		cuts = append(cuts, append(helloFrame(), frames(script[:i+1]...)...))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range times {
		out := cuts[i%len(cuts)]
		if i/len(cuts)%2 == 1 && len(out) > 0 {
			out = out[:rng.IntN(len(out))]
		}
		here, there := net.Pipe()
		if i/len(cuts)%8 == 7 {
			here, there = tcpPair(t)
			if i%2 == 1 {
				here.(*net.TCPConn).SetLinger(0) // dies by a reset
			}
		}
		done := make(chan struct{})
		go func() { defer close(done); h.ServeConn(t.Context(), there) }()
		read := make(chan struct{})
		go func() { defer close(read); io.Copy(io.Discard, here) }()
		here.Write(out)
		here.Close()
		<-done
		<-read
	}
	checkNothingLeft(t, h.Server)
}

func TestHandshakesOfOneAddressAreBounded(t *testing.T) {
	h := newHouse(Config{MaxHandshakes: 2})
	a, b := h.dial(t), h.dial(t)
	eventually(t, "two wait", func() bool {
		h.Server.mu.Lock()
		defer h.Server.mu.Unlock()
		return h.unknown["127.0.0.1"] == 2
	})
	got := readFrames(t, h.dial(t))
	if len(got) != 1 || got[0].Kind != KindGoAway || Status(got[0].Code) != ResourceExhausted {
		t.Errorf("got %v", got)
	}
	a.Write(helloFrame())
	eventually(t, "one is known", func() bool { return h.Stats().Accepted == 1 })
	b.Close()
	h.client(t, ClientConfig{})
}

// chopped hands out a few bytes a read.
type chopped struct {
	b    []byte
	size int
}

func (c *chopped) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.size)], c.b)
	c.b = c.b[n:]
	return n, nil
}

func parseAll(b []byte, size, limit int) (fs []Frame, held int, e *Error) {
	p := &parser{limit: limit}
	in := &chopped{b, size}
	for {
		var f Frame
		for {
			ok, e := p.next(&f)
			if e != nil {
				return fs, len(p.buf), e
			}
			if !ok {
				break
			}
			f.Body = bytes.Clone(f.Body)
			fs = append(fs, f)
		}
		if _, err := p.fill(in); err != nil {
			return fs, len(p.buf), nil
		}
	}
}

// A buffer stays as long as reads use it, and goes when they do not.
func TestBufferFollowsThePeer(t *testing.T) {
	p := &parser{limit: 1 << 20}
	read := func(n int) {
		t.Helper()
		in := &chopped{frames(Frame{Kind: KindReq, ID: 1, Body: make([]byte, n-HeaderSize)}), n}
		for f := (Frame{}); ; {
			if ok, e := p.next(&f); ok || e != nil {
				return
			}
			if _, err := p.fill(in); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, row := range []struct{ times, bytes, size int }{
		{1, 100, smallBuffer}, {1000, 1800, 2 << 10}, {1, 300_000, 512 << 10},
		{1, 1800, bigBuffer}, {10000, 100, smallBuffer},
	} {
		for range row.times {
			read(row.bytes)
		}
		if len(p.buf) != row.size {
			t.Errorf("after %d reads of %d bytes the buffer has %d, want %d", row.times, row.bytes, len(p.buf), row.size)
		}
	}
}

// However the bytes are cut, the same frames come out; what comes out encodes to the
// same bytes; the buffer follows what arrived, not what was declared.
func FuzzParser(f *testing.F) {
	f.Add(frames(req(1, mSum, sumBody(1, 2)), Frame{Kind: KindPing, Body: make([]byte, 8)}), 1)
	f.Add([]byte{0xff, 0xff, 0x0f, 2, 1, 0, 0, 0, 0, 0, 0, 0}, 5)
	f.Add(frames(Frame{Kind: 14}), 3)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		size = 1 + int(uint(size)%4096)
		whole, _, e := parseAll(b, len(b)+1, 1<<20)
		split, held, e2 := parseAll(b, size, 1<<20)
		if fmt.Sprint(whole, e) != fmt.Sprint(split, e2) {
			t.Fatalf("whole %v %v, split %v %v", whole, e, split, e2)
		}
		if held > max(smallBuffer, 4*len(b)) {
			t.Fatalf("%d bytes held for %d", held, len(b))
		}
		if again := frames(whole...); !bytes.HasPrefix(b, again) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

func FuzzControl(f *testing.F) {
	f.Add(appendHello(nil, &Hello{ProtoMin: 1, ProtoMax: 1, MaxFrame: 4096, Client: "x", Auth: []byte("token")}))
	f.Add(appendWelcome(nil, &Welcome{Proto: 1, MaxFrame: 4096, MaxInflight: 1}))
	f.Add(appendError(nil, &Error{Status: NotFound, Reason: "r", Message: "m", Field: "f", Ref: "x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := parseHello(b); ok {
			if again := appendHello(nil, h); !bytes.HasPrefix(b, again) {
				t.Fatalf("hello %x became %x", b, again)
			}
		}
		if w, ok := parseWelcome(b); ok {
			w2, _ := parseWelcome(appendWelcome(nil, w))
			if *w2 != *w {
				t.Fatalf("%+v became %+v", w, w2)
			}
		}
		e := parseError(Internal, b)
		parseGoAway(Internal, b)
		if len(e.Reason)+len(e.Message)+len(e.Field)+len(e.Ref) > len(b) {
			t.Fatal("text from nowhere")
		}
	})
}

// Whatever follows the handshake, or takes its place, the server says goodbye and
// nothing of the connection is left.
func FuzzConn(f *testing.F) {
	f.Add(frames(req(1, mSum, sumBody(1, 2)), req(2, mLatest, nil), Frame{Kind: KindCredit, ID: 2, Body: []byte{1, 0, 0, 0}}), true)
	f.Add(helloFrame(), false)
	f.Add(frames(Frame{Kind: KindReq, Flags: FlagMore, ID: 6, Code: mEcho, Body: []byte("half")}, req(6, mEcho, nil)), true)
	f.Fuzz(func(t *testing.T, b []byte, greet bool) {
		h := newHouse(Config{})
		close(h.deaf)
		if greet {
			b = append(helloFrame(), b...)
		}
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); h.ServeConn(context.Background(), there) }()
		go func() {
			here.Write(b)
			here.Close()
		}()
		io.Copy(io.Discard, here)
		<-done
		if s := h.Stats(); s.Conns != 0 || s.Inflight != 0 || s.Subs != 0 {
			t.Fatalf("left behind: %+v", s)
		}
	})
}
