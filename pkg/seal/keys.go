package seal

import (
	"bytes"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"

	"tracker/pkg/track"
)

// Root is the secret of a credential: 32 random bytes from which the keys of every
// epoch come. It prints as a placeholder.
type Root [32]byte

// NewRoot makes a random root.
func NewRoot() Root {
	var r Root
	rand.Read(r[:]) // never fails: the runtime ends the process first
	return r
}

func (Root) String() string       { return "[root]" }
func (Root) GoString() string     { return "[root]" }
func (Root) LogValue() slog.Value { return slog.StringValue("[root]") }

// Keys are what one epoch of one device needs. They print as a placeholder.
type Keys struct {
	Up  [32]byte // device to server; AES-128-GCM uses the first 16 bytes
	Ack [32]byte // server to device
}

func (Keys) String() string       { return "[keys]" }
func (Keys) GoString() string     { return "[keys]" }
func (Keys) LogValue() slog.Value { return slog.StringValue("[keys]") }

const infoLen = 4 + 1 + 6 + 4

// Derive makes the keys of an epoch: HKDF-Expand with SHA-256 of 64 bytes, that is
// two HMACs. The root is uniform, so there is nothing to extract. Suite, id and
// epoch are all in the info: mixing one up gives another key, never another meaning.
func Derive(root *Root, suite Suite, wire track.DeviceID, epoch uint32) Keys {
	// T(1) = HMAC(root, info 01), T(2) = HMAC(root, T(1) info 02)
	var b [32 + infoLen + 1]byte
	info := b[32 : 32+infoLen]
	copy(info, "trk1")
	info[4] = version | byte(suite)
	wire.PutWire(info[5:11])
	binary.BigEndian.PutUint32(info[11:15], epoch)

	var k Keys
	b[len(b)-1] = 1
	k.Up = mac((*[32]byte)(root), b[32:])
	copy(b[:32], k.Up[:])
	b[len(b)-1] = 2
	k.Ack = mac((*[32]byte)(root), b[:])
	return k
}

// RotatingID is the wire id that a device with flag p shows in a window of 65536
// seconds; window is epoch>>16. Ids of different devices can collide, so the one
// that opens is the right one.
func RotatingID(root *Root, window uint32) track.DeviceID {
	k := mac((*[32]byte)(root), []byte("trk1 rotating id\x01")) // HKDF-Expand, 32 bytes
	id := mac(&k, binary.BigEndian.AppendUint32(nil, window))
	return track.DeviceIDFromWire(id[:6])
}

const (
	macBlock = 64
	macMost  = 64 // the longest message that mac takes
)

// mac is HMAC-SHA256 with a key of 32 bytes and a message of at most macMost.
// crypto/hmac allocates five objects a call, which an ack or a new epoch would pay;
// under FIPS it is used all the same, as only it counts as approved.
func mac(key *[32]byte, msg []byte) [32]byte {
	if fips140.Enabled() {
		h := hmac.New(sha256.New, bytes.Clone(key[:])) // clones keep the callers' arrays off the heap
		h.Write(bytes.Clone(msg))
		return [32]byte(h.Sum(nil))
	}
	var b [macBlock + macMost]byte
	for i := range b[:macBlock] {
		b[i] = 0x36
	}
	for i, k := range key {
		b[i] ^= k
	}
	n := copy(b[macBlock:], msg)
	if n < len(msg) {
		panic("seal: message too long for mac")
	}
	inner := sha256.Sum256(b[:macBlock+n])
	for i := range b[:macBlock] {
		b[i] ^= 0x36 ^ 0x5c
	}
	copy(b[macBlock:], inner[:])
	return sha256.Sum256(b[:macBlock+len(inner)])
}
