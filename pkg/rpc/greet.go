package rpc

import (
	"context"
	"io"
	"net"
	"time"
)

// Greet shakes hands on nc as a client and leaves nc to the caller, for those that speak
// frames themselves, such as an instrument that measures. It reads no byte beyond the
// answer. A server that refuses says why: the error is an *Error. It ends with ctx at
// the latest; versions and, where it is 0, the limit of h are filled in.
func Greet(ctx context.Context, nc net.Conn, h Hello) (Welcome, error) {
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	h.ProtoMin, h.ProtoMax = 1, 1
	if h.MaxFrame == 0 {
		h.MaxFrame = 1 << 20
	}
	hello := AppendFrame([]byte(Preamble), Frame{Kind: KindHello, Body: appendHello(nil, &h)})
	if _, err := nc.Write(hello); err != nil {
		return Welcome{}, handshakeError(ctx, err)
	}
	f, err := readFrame(nc, int(h.MaxFrame))
	if err != nil {
		return Welcome{}, handshakeError(ctx, err)
	}
	if f.Kind == KindGoAway {
		return Welcome{}, f.Failure()
	}
	w, good := parseWelcome(f.Body)
	if f.Kind != KindWelcome || !good || w.Proto != 1 {
		return Welcome{}, protocolError(faultNone, BadFrame, "the server does not welcome")
	}
	return *w, nil
}

// readFrame takes exactly one frame from r.
func readFrame(r io.Reader, limit int) (Frame, error) {
	p := parser{buf: make([]byte, HeaderSize, HeaderSize+256), limit: limit}
	var f Frame
	for {
		n, err := io.ReadFull(r, p.buf[p.w:])
		p.w += n
		if err != nil {
			return f, err
		}
		ok, e := p.next(&f)
		if e != nil {
			return f, e
		}
		if ok {
			return f, nil
		}
		p.buf = append(p.buf, make([]byte, bodyLen(p.buf))...)
	}
}

// bodyLen is what a header says.
func bodyLen(h []byte) int { return int(h[0]) | int(h[1])<<8 | int(h[2])<<16 }

// Failure reads what an ERR, an END or a GOAWAY frame says; nil for an END without a
// failure, and for other frames.
func (f *Frame) Failure() *Error {
	switch {
	case f.Kind == KindGoAway:
		_, e := parseGoAway(Status(f.Code), f.Body)
		return e
	case f.Kind == KindErr, f.Kind == KindEnd && Status(f.Code) != OK:
		return parseError(Status(f.Code), f.Body)
	}
	return nil
}
