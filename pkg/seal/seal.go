// Package seal closes and opens datagrams: keys, epochs, replay windows, acks, and
// the enrolment string that gives a device its secret. It knows nothing of what a
// datagram says; that is package wire.
//
//	 device                                             server
//	┌───────────────────────────┐                      ┌────────────────────────────┐
//	│ root (from the QR)        │                      │ root (wrapped at rest)     │
//	│   │ Derive(id, epoch)     │                      │   │ Derive, once an epoch  │
//	│   ▼                       │                      │   ▼                        │
//	│ Keys.Up ── Seal ──────────┼──── datagram ───────►│ ParseHeader  14..1200 B    │
//	│                           │                      │ Place        which epoch?  │
//	│ Sender: epoch, pid,       │                      │ Window.Check seen before?  │
//	│   never the same twice    │                      │ Opener.Open  authentic?    │
//	│                           │                      │ Window.Accept              │
//	│ Keys.Ack ── OpenAck ◄─────┼──── 40 B ack ────────┤ AppendAck    if asked      │
//	└───────────────────────────┘                      └────────────────────────────┘
//
// A datagram is 14 clear bytes, the sealed body, and 16 bytes of tag:
//
//	 0    1            7          11     14                    n+14        n+30
//	┌────┬────────────┬──────────┬──────┬─────────────────────┬─────────────┐
//	│ vt │ id       6 │ epoch  4 │ pid 3│ ciphertext          │ tag      16 │
//	└────┴────────────┴──────────┴──────┴─────────────────────┴─────────────┘
//	│     └── nonce: bytes 2..13 ──────┘│
//	└── associated data: bytes 0..13 ───┘
//
// The cheap questions come first, and nothing changes before the tag has verified:
// a window is written only by Accept, an epoch slot only by Epochs.Accept. The
// reference for all of this is docs/protocol.md.
//
// A nonce must never repeat under one key. The server never seals (its answer is a
// MAC without a nonce), so the whole duty lies with the device, and Sender is that
// duty written down: a new epoch, and with it a new key, each time it starts; the
// packet id moves on before anything can fail.
package seal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tracker/pkg/track"
)

// Suite names the cipher of a device. It is chosen once, at enrolment.
type Suite uint8

const (
	ChaCha20Poly1305 Suite = 1 // what every device should use
	AES128GCM        Suite = 2 // for devices with AES hardware only, and for FIPS sites
)

// Valid tells whether a datagram of this suite can exist.
func (s Suite) Valid() bool { return s == ChaCha20Poly1305 || s == AES128GCM }

func (s Suite) String() string {
	switch s {
	case ChaCha20Poly1305:
		return "chacha20poly1305"
	case AES128GCM:
		return "aes128gcm"
	}
	return fmt.Sprintf("suite_%d", uint8(s))
}

// Sizes in bytes.
const (
	HeaderLen   = 14
	TagLen      = 16
	Overhead    = HeaderLen + TagLen
	MinBody     = 13
	MaxBody     = MaxDatagram - Overhead
	MinDatagram = MinBody + Overhead
	MaxDatagram = 1200
	AckLen      = 40
)

// MaxPID is the largest packet id; the epoch ends with it.
const MaxPID = 1<<24 - 1

const (
	version = 1 << 4 // high nibble of the first byte
	ackBit  = 1 << 3 // set from server to device
)

// Why a datagram was not taken. They are plain values, so that refusing costs no
// allocation; all of them are also track.ErrInvalid or track.ErrDenied.
var (
	ErrLength   = fmt.Errorf("datagram length is not in %d..%d: %w", MinDatagram, MaxDatagram, track.ErrInvalid)
	ErrVersion  = fmt.Errorf("not a report of version 1: %w", track.ErrInvalid)
	ErrSuite    = fmt.Errorf("not the suite of this device: %w", track.ErrDenied)
	ErrAuth     = fmt.Errorf("authentication failed: %w", track.ErrDenied)
	ErrReplay   = fmt.Errorf("packet id seen before: %w", track.ErrDenied)
	ErrTooOld   = fmt.Errorf("packet id older than the window: %w", track.ErrDenied)
	ErrEpochOld = fmt.Errorf("epoch older than the live ones: %w", track.ErrDenied)
)

// errNoCipher: the process runs with GODEBUG=fips140=only, which knows no ChaCha20
// and no AES-GCM with a nonce of one's own.
var errNoCipher = errors.New("cipher not available in this FIPS mode")

// Header is the clear part of a datagram. Anybody can write one: until Open has
// succeeded it is only a claim.
type Header struct {
	Suite  Suite
	Device track.DeviceID // the id on the wire, rotating where the device has that flag
	Epoch  uint32
	PID    uint32 // 24 bits
}

// ParseHeader reads the clear part of a report. It refuses with ErrLength or
// ErrVersion; an ack (0x18 to 0x1f) is ErrVersion, so that two servers never
// answer each other.
func ParseHeader(pkt []byte) (Header, error) {
	if len(pkt) < MinDatagram || len(pkt) > MaxDatagram {
		return Header{}, ErrLength
	}
	h := readHeader(pkt)
	if pkt[0] != version|byte(h.Suite) || !h.Suite.Valid() {
		return Header{}, ErrVersion
	}
	return h, nil
}

// TagHint is 16 bits of a datagram's tag. Two datagrams with one pid and different
// hints are not copies: if the second is authentic, too, two senders share a key.
func TagHint(pkt []byte) uint16 { return binary.BigEndian.Uint16(pkt[len(pkt)-2:]) }

func readHeader(b []byte) Header {
	_ = b[HeaderLen-1]
	return Header{
		Suite:  Suite(b[0] & 7),
		Device: track.DeviceIDFromWire(b[1:7]),
		Epoch:  binary.BigEndian.Uint32(b[7:11]),
		PID:    uint24(b[11:14]),
	}
}

func putHeader(b []byte, kind byte, h Header) {
	_ = b[HeaderLen-1]
	b[0] = version | kind | byte(h.Suite)
	h.Device.PutWire(b[1:7])
	binary.BigEndian.PutUint32(b[7:11], h.Epoch)
	putUint24(b[11:14], h.PID)
}

func uint24(b []byte) uint32 {
	return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
}

func putUint24(b []byte, v uint32) {
	b[0], b[1], b[2] = byte(v>>16), byte(v>>8), byte(v)
}
