package rpc

import (
	"encoding/binary"
	"time"
)

// The bodies that the layer itself reads and writes. Nothing else in the package
// knows how they look, so that generated ones can take their place. All numbers are
// little endian; a reader ignores what follows the fields it knows.

// AuthKind says what Hello.Auth is.
type AuthKind uint8

// The kinds of proof.
const (
	AuthNone AuthKind = iota
	AuthBearer
	AuthDeviceKey
	AuthResume
)

// Hello is a client's first frame.
type Hello struct {
	ProtoMin, ProtoMax uint16
	MaxFrame           uint32 // the longest body that the client takes
	SchemaHash         uint64
	Features           uint32 // bits; those that both name are on
	AuthKind           AuthKind
	Client             string // name and version, at most 255 bytes
	Auth               []byte
}

const helloSize = 24

func appendHello(dst []byte, h *Hello) []byte {
	name := h.Client[:min(len(h.Client), 255)]
	dst = binary.LittleEndian.AppendUint16(dst, h.ProtoMin)
	dst = binary.LittleEndian.AppendUint16(dst, h.ProtoMax)
	dst = binary.LittleEndian.AppendUint32(dst, h.MaxFrame)
	dst = binary.LittleEndian.AppendUint64(dst, h.SchemaHash)
	dst = binary.LittleEndian.AppendUint32(dst, h.Features)
	dst = append(dst, byte(h.AuthKind), byte(len(name)))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(h.Auth)))
	dst = append(dst, name...)
	return append(dst, h.Auth...)
}

func parseHello(b []byte) (*Hello, bool) {
	if len(b) < helloSize {
		return nil, false
	}
	n, m := int(b[21]), int(binary.LittleEndian.Uint16(b[22:]))
	if len(b) < helloSize+n+m {
		return nil, false
	}
	h := &Hello{
		ProtoMin:   binary.LittleEndian.Uint16(b),
		ProtoMax:   binary.LittleEndian.Uint16(b[2:]),
		MaxFrame:   binary.LittleEndian.Uint32(b[4:]),
		SchemaHash: binary.LittleEndian.Uint64(b[8:]),
		Features:   binary.LittleEndian.Uint32(b[16:]),
		AuthKind:   AuthKind(b[20]),
		Client:     string(b[helloSize : helloSize+n]),
		Auth:       append([]byte(nil), b[helloSize+n:helloSize+n+m]...),
	}
	return h, h.ProtoMin <= h.ProtoMax && h.MaxFrame >= minFrame
}

// minFrame is the least limit that a peer may announce: control frames must fit.
const minFrame = 1 << 10

// Welcome is the server's first frame: what holds on this connection.
type Welcome struct {
	Proto            uint16
	MaxFrame         uint32 // the longest body that the server takes
	ConnID           uint64
	Epoch            uint64
	MaxInflight      uint32
	MaxInflightBytes uint32
	MaxSubs          uint32
	MaxCredit        uint32
	MaxMessage       uint32 // the longest message in several frames
	Idle             time.Duration
	Features         uint32
	Now              time.Time // of the server's clock
}

const welcomeSize = 64

func appendWelcome(dst []byte, w *Welcome) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(w.Proto)) // two bytes are reserved
	dst = binary.LittleEndian.AppendUint32(dst, w.MaxFrame)
	dst = binary.LittleEndian.AppendUint64(dst, w.ConnID)
	dst = binary.LittleEndian.AppendUint64(dst, w.Epoch)
	for _, v := range []uint32{w.MaxInflight, w.MaxInflightBytes, w.MaxSubs, w.MaxCredit,
		w.MaxMessage, uint32(w.Idle.Milliseconds()), w.Features, 0} {
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	return binary.LittleEndian.AppendUint64(dst, uint64(w.Now.UnixMilli()))
}

func parseWelcome(b []byte) (*Welcome, bool) {
	if len(b) < welcomeSize {
		return nil, false
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	w := &Welcome{
		Proto: binary.LittleEndian.Uint16(b), MaxFrame: u32(4), ConnID: u64(8), Epoch: u64(16),
		MaxInflight: u32(24), MaxInflightBytes: u32(28), MaxSubs: u32(32), MaxCredit: u32(36),
		MaxMessage: u32(40), Idle: time.Duration(u32(44)) * time.Millisecond, Features: u32(48),
		Now: time.UnixMilli(int64(u64(56))),
	}
	return w, w.MaxFrame >= minFrame && w.MaxInflight > 0
}

// An error's body: u32 retry after ms, u8 flags (1: had no effect), then reason,
// message, field and ref, each a u16 length and its bytes. An empty body is an error
// of which only the status is known.
func appendError(dst []byte, e *Error) []byte {
	if (*e == Error{Status: e.Status, fault: e.fault}) {
		return dst
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(min(max(e.RetryAfter.Milliseconds(), 0), 1<<31)))
	var flags byte
	if e.NotRun {
		flags |= 1
	}
	dst = append(dst, flags)
	for _, s := range []string{e.Reason, e.Message, e.Field, e.Ref} {
		s = s[:min(len(s), maxErrorText)]
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

// maxErrorText keeps an error within the least frame.
const maxErrorText = 240

func parseError(s Status, b []byte) *Error {
	e := &Error{Status: s, NotRun: !s.MayHaveRun()}
	if len(b) < 5 {
		return e
	}
	e.RetryAfter = time.Duration(binary.LittleEndian.Uint32(b)) * time.Millisecond
	e.NotRun = b[4]&1 != 0
	b = b[5:]
	for _, to := range []*string{&e.Reason, &e.Message, &e.Field, &e.Ref} {
		if len(b) < 2 {
			return e
		}
		n := int(binary.LittleEndian.Uint16(b))
		if len(b) < 2+n {
			return e
		}
		*to, b = string(b[2:2+n]), b[2+n:]
	}
	return e
}

// GOAWAY: u32 the last id that was accepted, then an error's body.
func appendGoAway(dst []byte, lastID uint32, e *Error) []byte {
	return appendError(binary.LittleEndian.AppendUint32(dst, lastID), e)
}

func parseGoAway(s Status, b []byte) (lastID uint32, e *Error) {
	if len(b) < 4 {
		return 0, parseError(s, nil)
	}
	return binary.LittleEndian.Uint32(b), parseError(s, b[4:])
}

func appendErrFrame(dst []byte, k Kind, id uint32, e *Error) []byte {
	at := len(dst)
	dst = appendError(appendHeader(dst, k, 0, 0, id, 0, 0), e)
	putHeader(dst[at:], k, 0, len(dst)-at-HeaderSize, id, uint16(e.Status), 0)
	return dst
}

func appendGoAwayFrame(dst []byte, lastID uint32, e *Error) []byte {
	at := len(dst)
	dst = appendGoAway(appendHeader(dst, KindGoAway, 0, 0, 0, 0, 0), lastID, e)
	putHeader(dst[at:], KindGoAway, 0, len(dst)-at-HeaderSize, 0, uint16(e.Status), 0)
	return dst
}
