package web

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gobwas/ws"
)

// clientFrame is what a client would send, masked.
func clientFrame(op ws.OpCode, fin bool, payload []byte) []byte {
	f := ws.NewFrame(op, fin, bytes.Clone(payload))
	return ws.MustCompileFrame(ws.MaskFrameInPlaceWith(f, [4]byte{1, 2, 3, 4}))
}

// lyingFrame announces a payload that does not follow.
func lyingFrame(length int64) []byte {
	var b bytes.Buffer
	_ = ws.WriteHeader(&b, ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: length})
	return b.Bytes()
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// msbFrame is the frame of 15 bytes whose 64-bit length has the top bit set, which
// once took servers down before anybody had logged in.
var msbFrame = unhex("81 ff 80 00 00 00 00 00 00 01 00 00 00 00 41")

func TestMessagesComeWhole(t *testing.T) {
	long := bytes.Repeat([]byte("é"), maxMessage/2)
	stream := bytes.Join([][]byte{
		clientFrame(ws.OpText, true, []byte("hello")),
		clientFrame(ws.OpText, true, nil),
		clientFrame(ws.OpText, false, []byte("fra")),
		clientFrame(ws.OpPing, true, []byte("p")),
		clientFrame(ws.OpContinuation, false, []byte("gmen")),
		clientFrame(ws.OpContinuation, true, []byte("ted")),
		clientFrame(ws.OpText, true, long),
		clientFrame(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusNormalClosure, "bye")),
	}, nil)
	want := []struct {
		op      ws.OpCode
		payload string
	}{
		{ws.OpText, "hello"}, {ws.OpText, ""}, {ws.OpPing, "p"}, {ws.OpText, "fragmented"}, {ws.OpText, string(long)},
		{ws.OpClose, "\x03\xe8bye"},
	}
	r := newFrameReader(iotest.OneByteReader(bytes.NewReader(stream)))
	for _, m := range want {
		op, payload, err := r.next()
		if err != nil || op != m.op || string(payload) != m.payload {
			t.Fatalf("got %v %.20q, %v, want %v %.20q", op, payload, err, m.op, m.payload)
		}
	}
	if _, _, err := r.next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v at the end, want EOF", err)
	}
}

func TestBrokenFramesEndTheSession(t *testing.T) {
	fragments := clientFrame(ws.OpText, false, nil)
	for range maxFragments + 1 {
		fragments = append(fragments, clientFrame(ws.OpContinuation, false, nil)...)
	}
	half := clientFrame(ws.OpText, false, make([]byte, maxMessage-10))
	for name, tc := range map[string]struct {
		bytes []byte
		code  ws.StatusCode
	}{
		"64-bit length with the top bit":    {msbFrame, ws.StatusProtocolError},
		"64-bit length, huge":               {lyingFrame(1 << 62), ws.StatusMessageTooBig},
		"one byte too long":                 {lyingFrame(maxMessage + 1), ws.StatusMessageTooBig},
		"too long in two fragments":         {append(half, clientFrame(ws.OpContinuation, true, make([]byte, 11))...), ws.StatusMessageTooBig},
		"endless empty fragments":           {fragments, ws.StatusPolicyViolation},
		"not masked":                        {unhex("81 01 41"), ws.StatusProtocolError},
		"reserved bit":                      {unhex("c1 81 00000000 41"), ws.StatusProtocolError},
		"reserved opcode":                   {unhex("83 81 00000000 41"), ws.StatusProtocolError},
		"reserved control opcode":           {unhex("8b 80 00000000"), ws.StatusProtocolError},
		"long ping":                         {unhex("89 fe 007e 00000000"), ws.StatusProtocolError},
		"fragmented ping":                   {unhex("09 80 00000000"), ws.StatusProtocolError},
		"continuation of nothing":           {clientFrame(ws.OpContinuation, true, nil), ws.StatusProtocolError},
		"message within a message":          {append(clientFrame(ws.OpText, false, nil), clientFrame(ws.OpText, true, nil)...), ws.StatusProtocolError},
		"binary":                            {clientFrame(ws.OpBinary, true, []byte{0}), ws.StatusUnsupportedData},
		"not UTF-8":                         {clientFrame(ws.OpText, true, []byte{0xff}), ws.StatusInvalidFramePayloadData},
		"UTF-8 cut by the end":              {clientFrame(ws.OpText, true, []byte("é")[:1]), ws.StatusInvalidFramePayloadData},
		"close of one byte":                 {clientFrame(ws.OpClose, true, []byte{3}), ws.StatusProtocolError},
		"close with a code of nobody":       {clientFrame(ws.OpClose, true, []byte{0, 1}), ws.StatusProtocolError},
		"close with a reason not UTF-8":     {clientFrame(ws.OpClose, true, []byte{3, 0xe8, 0xff}), ws.StatusProtocolError},
		"close with a code of the protocol": {clientFrame(ws.OpClose, true, []byte{3, 0xed}), ws.StatusProtocolError},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := newFrameReader(bytes.NewReader(tc.bytes)).next()
			var c *closing
			if !errors.As(err, &c) || c.code != tc.code {
				t.Errorf("got %v, want close code %d", err, tc.code)
			}
		})
	}
}

func TestAnnouncedLengthTakesNoMemory(t *testing.T) {
	r := newFrameReader(bytes.NewReader(append(lyingFrame(maxMessage), 'x')))
	if _, _, err := r.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("got %v, want unexpected EOF", err)
	}
	if cap(r.have()) > 2*growStep {
		t.Errorf("got %d bytes of memory for one byte of payload", cap(r.have()))
	}
}

func FuzzFrameReader(f *testing.F) {
	f.Add(msbFrame)
	f.Add(lyingFrame(1 << 40))
	f.Add(clientFrame(ws.OpText, true, []byte(`{"op":"watch","id":1,"all":true}`)))
	f.Add(append(clientFrame(ws.OpText, false, []byte("a")), clientFrame(ws.OpContinuation, true, []byte("b"))...))
	f.Add(clientFrame(ws.OpClose, true, ws.NewCloseFrameBody(4401, "x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newFrameReader(bytes.NewReader(b))
		total := 0
		for {
			op, payload, err := r.next()
			if err != nil {
				break
			}
			if op == ws.OpText && len(payload) > maxMessage || op.IsControl() && len(payload) > 125 {
				t.Fatalf("%v of %d bytes", op, len(payload))
			}
			total += len(payload)
		}
		if total > len(b) {
			t.Fatalf("%d bytes of payload from %d bytes", total, len(b))
		}
		if cap(r.have()) > 2*(len(b)+growStep) {
			t.Fatalf("%d bytes of memory for %d bytes", cap(r.have()), len(b))
		}
	})
}
