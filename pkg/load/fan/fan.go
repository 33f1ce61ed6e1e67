// Package fan sends what many watch, and holds what each of them got against the plan.
//
//	Plan ──► pacer ──► Line.Report ──► server ──► Line ─┐ one goroutine a connection,
//	           │ one locked thread,    fans out   Line ─┤ one look at the clock a read
//	           │ never waits for a     to all     Line ─┘
//	           │ connection                        │ Frame: fixes, as they stand in the read
//	           └─ when each was due, ──────────► row.note: which send was that? in order?
//	              when it really left              │         once? the place of the plan?
//	                                               └► shard: now - due, now - left
//
// Two measurements are made of it. In marauder every client sends and watches: n clients
// send m updates each, and every one of them must get all n·m. In fanout a few publish
// and many watch. A Session makes the same one over and over, on connections that stay.
//
// It has to cost less than what it measures: no update allocates, waits for another
// goroutine, or looks at the clock. No update carries a payload either. Which send of
// which device an update is stands in its place, a centimetre for each, see ground; so
// whatever a server mixes up shows as a place that was not to come next.
package fan

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"tracker/pkg/track"
)

// Transport is how a connection speaks.
type Transport uint8

const (
	RPC Transport = iota // frames of rpc over TCP, bodies in FlatBuffers
	WS                   // JSON over the WebSocket at /v1/stream
)

func (t Transport) String() string {
	if t == WS {
		return "ws"
	}
	return "rpc"
}

// ParseTransport reads rpc, tls, ws or wss; the second and the last are over TLS.
func ParseTransport(s string) (t Transport, tls bool, err error) {
	switch strings.ToLower(s) {
	case "rpc", "tcp":
		return RPC, false, nil
	case "tls", "rpcs":
		return RPC, true, nil
	case "ws":
		return WS, false, nil
	case "wss":
		return WS, true, nil
	}
	return 0, false, fmt.Errorf("transport %q: want rpc, tls, ws or wss: %w", s, track.ErrInvalid)
}

// Area is what a connection watches: everything, or a map.
type Area struct {
	Map string // id or name; empty: all
}

// Kind says what a frame is.
type Kind uint8

const (
	Snapshot Kind = iota + 1 // the present, before anything else
	Fixes                    // what follows it, in order
	Resync                   // instead of Skipped fixes that the viewer was too slow for
)

// Frame is what a server sends a viewer at once, whatever the transport.
type Frame struct {
	Kind     Kind
	More     bool // the snapshot goes on in the next frame
	Position uint64
	Skipped  uint64
	Fixes    []Fix // good until the Sink returns
	Bytes    int   // on the wire, without TLS
}

// Fix is one update in a frame.
type Fix struct {
	Device   track.DeviceID
	Time     int64 // unix ms
	Lat, Lon int32 // 1e-7 degree
	Late     bool  // the server says that it is older than what it had
	Placed   bool
}

// Sink takes what a Line reads. An error of Frame ends the reading.
type Sink interface {
	// Watching says that the server took the watch.
	Watching()
	Frame(f *Frame) error
	// Answer is what became of a report, nil for well.
	Answer(id uint32, err error)
	Pong(n uint32)
}

// errProtocol marks bytes that the protocol does not allow. Whoever sends them is no
// server of ours, or is a broken one.
var errProtocol = errors.New("it does not speak the protocol")

func protocol(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errProtocol)
}

// ClosedError is a server's reason to end a connection.
type ClosedError struct {
	Code   int
	Reason string
}

func (e *ClosedError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("the server closed the connection with code %d", e.Code)
	}
	return fmt.Sprintf("the server closed the connection with code %d: %s", e.Code, e.Reason)
}

// patience is how long setting up one connection may take.
const patience = 30 * time.Second
