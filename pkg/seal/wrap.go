package seal

import (
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"tracker/pkg/track"
)

// WrappedLen is the size of a root at rest.
const WrappedLen = 32 + chacha20poly1305.Overhead

// Wrap encrypts a root for storage under the server's master key. The id is nonce
// and associated data: a credential has one root for ever, so no nonce sees two
// texts, and a wrapped root moved to another id does not open. It panics in a
// process with GODEBUG=fips140=only; SelfTest tells that at start.
func Wrap(master *[32]byte, id track.DeviceID, root *Root) [WrappedLen]byte {
	aead, err := newChaCha(master)
	if err != nil {
		panic("seal: wrap root: " + err.Error())
	}
	nonce := wrapNonce(id)
	var out [WrappedLen]byte
	aead.Seal(out[:0], nonce[:], root[:], nonce[:])
	return out
}

// Unwrap is the opposite of Wrap. It fails with ErrAuth when master, id or bytes
// are not those of Wrap; root is then left alone.
func Unwrap(master *[32]byte, id track.DeviceID, wrapped *[WrappedLen]byte, root *Root) error {
	aead, err := newChaCha(master)
	if err != nil {
		return fmt.Errorf("unwrap root of %s: %w", id, err)
	}
	nonce := wrapNonce(id)
	var plain Root
	if _, err := aead.Open(plain[:0], nonce[:], wrapped[:], nonce[:]); err != nil {
		return fmt.Errorf("unwrap root of %s: %w", id, ErrAuth)
	}
	*root = plain
	clear(plain[:])
	return nil
}

func wrapNonce(id track.DeviceID) [chacha20poly1305.NonceSize]byte {
	var n [chacha20poly1305.NonceSize]byte
	copy(n[:], "trk1 w")
	id.PutWire(n[6:])
	return n
}

// SelfTest tells at start whether every cipher that a server needs is there. It
// fails in a process with GODEBUG=fips140=only, where suite 1 and the wrapping of
// roots are not allowed; fips140=on is fine.
func SelfTest() error {
	var key [32]byte
	if _, err := newChaCha(&key); err != nil {
		return fmt.Errorf("self test: %w", err)
	}
	return nil
}
