package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"tracker/pkg/track"
)

// vectorProof is the one that docs/rpc.md prints.
func vectorProof() (Root, Proof) {
	var root Root
	p := Proof{Device: 0x0123456789ab, Time: 1_800_000_000}
	for i := range root {
		root[i] = byte(i)
	}
	for i := range p.Nonce {
		p.Nonce[i] = byte(0xf0 + i)
	}
	return root, p
}

func TestProofIsThatOfTheDocument(t *testing.T) {
	root, p := vectorProof()
	got := hex.EncodeToString(p.append(nil, &root))
	page, err := os.ReadFile("../../docs/rpc.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.ReplaceAll(string(page), "\n", ""), got) {
		t.Errorf("docs/rpc.md lacks the proof %s", got)
	}
}

// The same by the standard library, as somebody else would write it.
func TestProofIsHMACUnderHKDF(t *testing.T) {
	root, p := vectorProof()
	b := p.append(nil, &root)
	key, err := hkdf.Expand(sha256.New, root[:], "trk1 device proof", 32)
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, key)
	h.Write(b[:27])
	if want := h.Sum(nil); !bytes.Equal(b[27:], want) {
		t.Errorf("got %x, want %x", b[27:], want)
	}
}

func TestProofReadsBackAndNoBitOfItMayChange(t *testing.T) {
	root := NewRoot()
	at := time.Unix(1_800_000_000, 0)
	b := AppendProof([]byte("x"), &root, 0xfedcba987654, at)[1:]
	p, err := ParseProof(b)
	if err != nil || p.Device != 0xfedcba987654 || p.Time != 1_800_000_000 {
		t.Fatal(p, err)
	}
	if !CheckProof(&root, b) {
		t.Fatal("not good")
	}
	for bit := range 8 * len(b) {
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := ParseProof(b); err == nil && CheckProof(&root, b) {
			t.Errorf("good with bit %d changed", bit)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
	other := NewRoot()
	if CheckProof(&other, b) {
		t.Error("good with another root")
	}
	if again := AppendProof(nil, &root, 0xfedcba987654, at); bytes.Equal(again, b) {
		t.Error("two proofs are the same")
	}
}

func FuzzParseProof(f *testing.F) {
	root, p := vectorProof()
	good := p.append(nil, &root)
	f.Add(good)
	f.Add(good[:58])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err != nil {
			return
		}
		if p.Device > track.MaxDeviceID {
			t.Fatalf("device %d", p.Device)
		}
		if CheckProof(&root, b) != bytes.Equal(b, p.append(nil, &root)) {
			t.Fatalf("%x is good, or not, without being the proof of what it says", b)
		}
	})
}
