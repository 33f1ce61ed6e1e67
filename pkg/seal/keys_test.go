package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"tracker/pkg/track"
)

// testRoot is 00 01 … 1f, the root of the published vectors.
func testRoot() *Root {
	var r Root
	for i := range r {
		r[i] = byte(i)
	}
	return &r
}

const (
	testDevice = track.DeviceID(0xa1b2c3d4e5f6)
	testEpoch  = uint32(1700000000)
)

func testRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestMacIsHMACSHA256(t *testing.T) {
	r := testRand(1)
	for n := range macMost + 1 {
		key, msg := [32]byte(randomBytes(r, 32)), randomBytes(r, n)
		h := hmac.New(sha256.New, key[:])
		h.Write(msg)
		if got, want := mac(&key, msg), h.Sum(nil); !bytes.Equal(got[:], want) {
			t.Fatalf("%d bytes: got %x, want %x", n, got, want)
		}
	}
}

func TestDeriveIsHKDFExpand(t *testing.T) {
	r := testRand(2)
	for range 200 {
		root := Root(randomBytes(r, 32))
		suite := Suite(1 + r.IntN(2))
		id, epoch := track.DeviceID(r.Uint64()&uint64(track.MaxDeviceID)), r.Uint32()

		info := append([]byte("trk1"), 0x10|byte(suite))
		info = append(info, make([]byte, 6)...)
		id.PutWire(info[5:])
		info = binary.BigEndian.AppendUint32(info, epoch)
		want, err := hkdf.Expand(sha256.New, root[:], string(info), 64)
		if err != nil {
			t.Fatal(err)
		}
		k := Derive(&root, suite, id, epoch)
		if got := append(k.Up[:], k.Ack[:]...); !bytes.Equal(got, want) {
			t.Fatalf("suite %d id %s epoch %d: got %x, want %x", suite, id, epoch, got, want)
		}
	}
}

func TestRotatingIDIsHKDFThenHMAC(t *testing.T) {
	r := testRand(3)
	for range 100 {
		root, window := Root(randomBytes(r, 32)), r.Uint32N(1<<16)
		k, err := hkdf.Expand(sha256.New, root[:], "trk1 rotating id", 32)
		if err != nil {
			t.Fatal(err)
		}
		h := hmac.New(sha256.New, k)
		h.Write(binary.BigEndian.AppendUint32(nil, window))
		if got, want := RotatingID(&root, window), track.DeviceIDFromWire(h.Sum(nil)); got != want {
			t.Fatalf("window %d: got %s, want %s", window, got, want)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	e := Enrolment{Host: "t.example.org", Device: testDevice, Root: *testRoot(), Suite: ChaCha20Poly1305}
	k := Derive(&e.Root, e.Suite, e.Device, testEpoch)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "enrolment", e, "root", e.Root, "keys", k)
	out := log.String() + fmt.Sprintf("%v %+v %#v %s %v %+v %#v", e.Root, e.Root, e.Root, e.Root, k, k, k)
	for _, secret := range []string{
		"AAECAwQFBgcICQ", "00010203", "0 1 2 3 4", "0x0, 0x1, 0x2",
		fmt.Sprintf("%x", k.Up[:4]), fmt.Sprintf("%d %d %d", k.Up[0], k.Up[1], k.Up[2]),
	} {
		if strings.Contains(out, secret) {
			t.Errorf("%q in %s", secret, out)
		}
	}
}

func TestRootsDiffer(t *testing.T) {
	if a, b := NewRoot(), NewRoot(); a == b || a == (Root{}) {
		t.Fatal("two equal roots, or an empty one")
	}
}

func TestThreat08SendersOnOneRootHaveDistinctKeys(t *testing.T) {
	seen := map[Keys]string{}
	for _, suite := range []Suite{ChaCha20Poly1305, AES128GCM} {
		for _, id := range []track.DeviceID{testDevice, testDevice + 1, 1} {
			for _, epoch := range []uint32{0, 1, testEpoch, testEpoch + 1} {
				k, name := Derive(testRoot(), suite, id, epoch), fmt.Sprint(suite, id, epoch)
				if other, ok := seen[k]; ok {
					t.Errorf("%s and %s have the same keys", name, other)
				}
				seen[k] = name
			}
		}
	}
}

// The residue: two installations that open an epoch in the very same second do
// share a key. The server can see it, by two authentic datagrams of one pid.
func TestThreat08NonceReuseShowsInTheTag(t *testing.T) {
	k := Derive(testRoot(), ChaCha20Poly1305, testDevice, testEpoch)
	h := Header{Suite: ChaCha20Poly1305, Device: testDevice, Epoch: testEpoch}
	a := mustSeal(t, h, &k, []byte("first clone  "))
	b := mustSeal(t, h, &k, []byte("second clone "))
	var o Opener
	for _, pkt := range [][]byte{a, b} {
		if _, err := o.Open(nil, h.Suite, &k.Up, pkt); err != nil {
			t.Fatal(err)
		}
	}
	if TagHint(a) == TagHint(b) {
		t.Error("equal hints for different datagrams")
	}
}

func mustSeal(t testing.TB, h Header, k *Keys, body []byte) []byte {
	t.Helper()
	pkt, err := Seal(nil, h, k, body)
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}
