// Package codec speaks the protocols of the systems that ours is measured beside, as
// far as publishing and subscribing go: RESP of Redis, the text protocol of NATS, MQTT
// 3.1.1.
//
//	Append… ──► bytes to write            read ──► Take ──► Sink.Message, one each
//	                                                 └────► owed: what the server wants back
//
// They are thin on purpose. A client library brings its own queues, goroutines and
// flushers, and would be what is measured; here the caller owns the connection and the
// buffers, and a message costs a scan. Nothing is allocated for one.
//
// They are strict: what a server of that protocol would not send, or would not send to
// this client, is an error, and everything has a bound. A Take that fails has handed
// out what came before.
package codec

import (
	"errors"
	"fmt"
)

// Sink takes the messages of one connection. The payload is good until it returns.
type Sink interface{ Message(payload []byte) error }

// Bounds of what a server may send.
const (
	MaxPayload = 1 << 20
	maxLine    = 4 << 10
)

var (
	errProtocol = errors.New("not the protocol")
	errTooLong  = errors.New("longer than is allowed")
)

// broken says what was wrong, with the beginning of where it was.
func broken(err error, what string, b []byte) error {
	return fmt.Errorf("%s: %w: %.40q", what, err, b)
}

// cutLine cuts a line that ends with CR LF off b. n is 0 when it is not whole yet.
func cutLine(b []byte, most int) (line []byte, n int, err error) {
	for i, c := range b[:min(len(b), most)] {
		if c != '\n' {
			continue
		}
		if i == 0 || b[i-1] != '\r' {
			return nil, 0, broken(errProtocol, "a line without CR", b)
		}
		return b[:i-1], i + 1, nil
	}
	if len(b) >= most {
		return nil, 0, broken(errTooLong, "a line", b)
	}
	return nil, 0, nil
}

// number reads decimal digits and nothing else, up to most.
func number(b []byte, most int) (int, bool) {
	if len(b) == 0 || len(b) > 10 || len(b) > 1 && b[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n <= most
}
