package seal

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"tracker/pkg/track"
)

// A proof is what a device that has a connection shows instead of a token. It says
// who and when, and that it knows the root:
//
//	 0         1          7         11          27               59
//	┌─────────┬──────────┬─────────┬───────────┬────────────────┐
//	│ version │ wire id 6│ time 4  │ nonce 16  │ HMAC-SHA256 32 │
//	└─────────┴──────────┴─────────┴───────────┴────────────────┘
//
// Time is unix seconds, numbers are big endian, as in a datagram. The HMAC is over all
// before it, with a key that is used for nothing else: HKDF-Expand(root, "trk1 device
// proof", 32). Who reads a proof on its way can show it, too, for as long as its time
// holds; so it is for connections with TLS, and the checker remembers nonces.

// ProofLen is the size of every proof.
const ProofLen = proofBody + 32

const (
	proofVersion = 1
	proofBody    = 1 + 6 + 4 + 16
)

// Proof is what a proof claims.
type Proof struct {
	Device track.DeviceID // the wire id that it shows
	Time   uint32         // unix seconds
	Nonce  [16]byte
}

// AppendProof appends a proof of the device that the enrolment is of, under the id that
// its datagrams of that time would carry. Each is good for one connection.
func (e *Enrolment) AppendProof(dst []byte, at time.Time) []byte {
	wire := e.Device
	if e.Flags&RotatingIDs != 0 {
		wire = RotatingID(&e.Root, uint32(at.Unix())>>windowBits)
	}
	return AppendProof(dst, &e.Root, wire, at)
}

// AppendProof appends a proof of the holder of root, made at that time, under that wire
// id. Each is good for one connection.
func AppendProof(dst []byte, root *Root, wire track.DeviceID, at time.Time) []byte {
	p := Proof{Device: wire, Time: uint32(at.Unix())}
	_, _ = rand.Read(p.Nonce[:]) // never fails
	return p.append(dst, root)
}

func (p *Proof) append(dst []byte, root *Root) []byte {
	var b [proofBody]byte
	b[0] = proofVersion
	p.Device.PutWire(b[1:7])
	binary.BigEndian.PutUint32(b[7:11], p.Time)
	copy(b[11:], p.Nonce[:])
	tag := proofTag(root, b[:])
	return append(append(dst, b[:]...), tag[:]...)
}

// ParseProof reads what a proof claims. Nothing of it is true before CheckProof.
func ParseProof(b []byte) (Proof, error) {
	if len(b) != ProofLen || b[0] != proofVersion {
		return Proof{}, fmt.Errorf("proof of %d bytes: want %d of version %d: %w", len(b), ProofLen, proofVersion, track.ErrInvalid)
	}
	return Proof{
		Device: track.DeviceIDFromWire(b[1:7]),
		Time:   binary.BigEndian.Uint32(b[7:11]),
		Nonce:  [16]byte(b[11:proofBody]),
	}, nil
}

// CheckProof tells whether a proof that ParseProof took was made with that root. It
// takes the same time for each.
func CheckProof(root *Root, b []byte) bool {
	tag := proofTag(root, b[:proofBody])
	return hmac.Equal(tag[:], b[proofBody:])
}

func proofTag(root *Root, body []byte) [32]byte {
	k := mac((*[32]byte)(root), []byte("trk1 device proof\x01")) // HKDF-Expand, 32 bytes
	return mac(&k, body)
}
