package churn

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"tracker/pkg/load/fan"
	"tracker/pkg/track"
)

// The kinds of WebSocket frames, RFC 6455.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// appendMasked appends a whole frame as clients send it.
func appendMasked(dst []byte, op byte, payload []byte) []byte {
	return append(fan.MaskedHead(dst, op, len(payload)), payload...)
}

// goodbye is a close frame of a client that is done.
var goodbye = appendMasked(nil, opClose, binary.BigEndian.AppendUint16(nil, 1000))

// frame is one WebSocket frame of a server.
type frame struct {
	op      byte
	fin     bool
	payload []byte
}

// cutFrame takes the first frame of b; n is 0 if it is not whole.
func cutFrame(b []byte) (f frame, n int, err error) {
	head, length, err := fan.ReadHead(b)
	switch {
	case err != nil || head == 0:
		return f, 0, err
	case length > mostWaiting:
		return f, 0, fmt.Errorf("a WebSocket frame of %d bytes: %w", length, errProtocol)
	case uint64(len(b)-head) < length:
		return f, 0, nil
	}
	n = head + int(length)
	return frame{op: b[0] & 15, fin: b[0]&0x80 != 0, payload: b[head:n]}, n, nil
}

// The beginnings of what a server says. Inside of strings quotes are escaped, so that
// what is looked for stands nowhere else.
var (
	isSnapshot = []byte(`{"type":"snapshot"`)
	isError    = []byte(`{"type":"error"`)
	goesOn     = []byte(`"more":true`)
)

// takeWS takes the first frame of b, if it is whole.
func (v *Viewer) takeWS(b []byte) (n int, done bool, err error) {
	f, n, err := cutFrame(b)
	if err != nil || n == 0 {
		return 0, false, err
	}
	switch f.op {
	case opText:
		if !f.fin {
			return n, false, fmt.Errorf("a message in parts: %w", errProtocol)
		}
		if bytes.HasPrefix(f.payload, isError) {
			return n, false, fmt.Errorf("the server said %.200s: %w", f.payload, track.ErrUnavailable)
		}
		done = bytes.HasPrefix(f.payload, isSnapshot) && !bytes.Contains(f.payload, goesOn)
	case opPing:
		_, err = v.nc.Write(appendMasked(nil, opPong, f.payload))
	case opPong:
	case opClose:
		err = closedWith(f.payload)
	default:
		err = fmt.Errorf("a WebSocket frame of kind %d: %w", f.op, errProtocol)
	}
	return n, done, err
}

// closedWith says why a server closed.
func closedWith(payload []byte) error {
	if len(payload) < 2 {
		return fmt.Errorf("the server closed the WebSocket: %w", track.ErrUnavailable)
	}
	code := binary.BigEndian.Uint16(payload)
	word := track.ErrUnavailable
	if code == 1008 || code == 4401 {
		word = track.ErrDenied
	}
	return fmt.Errorf("the server closed the WebSocket with %d %.100q: %w", code, payload[2:], word)
}
