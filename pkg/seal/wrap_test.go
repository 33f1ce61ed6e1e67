package seal

import (
	"bytes"
	"errors"
	"testing"
)

func TestThreat11RootsAreWrappedAtRest(t *testing.T) {
	master := [32]byte(randomBytes(testRand(9), 32))
	root := testRoot()
	w := Wrap(&master, testDevice, root)
	for at := 0; at+4 <= len(root); at++ {
		if bytes.Contains(w[:], root[at:at+4]) {
			t.Fatalf("%x shows part of the root", w)
		}
	}
	var got Root
	if err := Unwrap(&master, testDevice, &w, &got); err != nil || got != *root {
		t.Fatalf("got %x, %v", got[:], err)
	}

	untouched := Root{1: 7}
	for bit := range 8 * len(w) {
		bad := w
		bad[bit/8] ^= 1 << (bit % 8)
		got := untouched
		if err := Unwrap(&master, testDevice, &bad, &got); !errors.Is(err, ErrAuth) || got != untouched {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
	got = untouched
	if err := Unwrap(&master, testDevice+1, &w, &got); !errors.Is(err, ErrAuth) || got != untouched {
		t.Errorf("moved to another id: %v", err)
	}
	master[0] ^= 1
	if err := Unwrap(&master, testDevice, &w, &got); !errors.Is(err, ErrAuth) || got != untouched {
		t.Errorf("another master: %v", err)
	}
}

func TestSelfTestPasses(t *testing.T) {
	if err := SelfTest(); err != nil {
		t.Error(err)
	}
}
