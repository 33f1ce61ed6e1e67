package seal

import (
	"crypto/cipher"
	"fmt"
	"reflect"

	"golang.org/x/crypto/chacha20poly1305"
)

// chacha is one ChaCha20-Poly1305 object that serves every device in turn.
//
// chacha20poly1305.New puts a copy of the key on the heap, 32 bytes a datagram, and
// has no way to set another key. So the object is made once and its key is written
// in place. That leans on how x/crypto lays the object out, a struct of nothing but
// the key; keyOf looks before it trusts, rekeyable proves it once at start with two
// keys, and where either fails the slow and certain way is taken: a new object for
// each call.
type chacha struct {
	aead cipher.AEAD
	key  *[32]byte // inside aead
}

func (c *chacha) with(key *[32]byte) (cipher.AEAD, error) {
	if c.key != nil {
		*c.key = *key
		return c.aead, nil
	}
	aead, err := newChaCha(key)
	if err != nil {
		return nil, err
	}
	if rekeyable {
		c.aead, c.key = aead, keyOf(aead)
	}
	return aead, nil
}

func newChaCha(key *[32]byte) (cipher.AEAD, error) {
	aead, err := chacha20poly1305.New(key[:])
	if err != nil {
		return nil, fmt.Errorf("chacha20poly1305: %w", errNoCipher)
	}
	return aead, nil
}

// keyOf finds the key inside an AEAD of x/crypto, nil unless the object is a
// pointer to a struct whose one and only field is an array of 32 bytes.
func keyOf(aead cipher.AEAD) *[32]byte {
	v := reflect.ValueOf(aead)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct || v.Elem().NumField() != 1 {
		return nil
	}
	if v.Elem().Field(0).Type() != reflect.TypeFor[[32]byte]() {
		return nil
	}
	return (*[32]byte)(v.UnsafePointer()) // the one dangerous line: writes here change the cipher's key
}

// rekeyable tells whether a key written in place is the key that counts.
var rekeyable = func() bool {
	var first, second [32]byte
	for i := range first {
		first[i], second[i] = byte(i), byte(0xa5^i)
	}
	nonce, text, aad := make([]byte, 12), []byte("the quick brown fox jumps over the lazy dog"), []byte("header")
	aead, err := newChaCha(&first)
	if err != nil {
		return false
	}
	want, err := newChaCha(&second)
	if err != nil {
		return false
	}
	inside := keyOf(aead)
	if inside == nil || *inside != first {
		return false
	}
	aead.Seal(nil, nonce, text, aad) // whatever it may remember of its first key, let it
	*inside = second
	box := aead.Seal(nil, nonce, text, aad)
	if string(box) != string(want.Seal(nil, nonce, text, aad)) {
		return false
	}
	_, err = aead.Open(nil, nonce, box, aad)
	return err == nil
}()
