package seal

import (
	"bytes"
	"testing"
)

// FuzzOpen: whatever arrives, nothing opens but what was sealed, and the header
// that was read is the header that was there.
func FuzzOpen(f *testing.F) {
	for _, suite := range bothSuites {
		pkt, _ := fullDatagram(f, suite)
		f.Add(pkt)
		f.Add(pkt[:MinDatagram])
		k := Derive(testRoot(), suite, testDevice, testEpoch)
		f.Add(mustSeal(f, Header{suite, testDevice, testEpoch, MaxPID}, &k, make([]byte, MaxBody)))
		f.Add(AppendAck(nil, Header{suite, testDevice, testEpoch, 1}, Ack{}, &k.Ack))
	}
	var o Opener
	f.Fuzz(func(t *testing.T, pkt []byte) {
		h, err := ParseHeader(pkt)
		if err != nil {
			return
		}
		k := Derive(testRoot(), h.Suite, h.Device, h.Epoch)
		body, err := o.Open(nil, h.Suite, &k.Up, pkt)
		if err != nil {
			return
		}
		again, err := Seal(nil, h, &k, body)
		if err != nil || !bytes.Equal(again, pkt) {
			t.Fatalf("%x opens to %x, which seals to %x, %v", pkt, body, again, err)
		}
	})
}

// FuzzEnrolment: what parses is spelt in one way only.
func FuzzEnrolment(f *testing.F) {
	f.Add(testText)
	f.Add(testText + ".cpm")
	f.Add("https://[2001:db8::1]:4810/d#1." + testID + "." + testKey + ".2")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseEnrolment(s)
		if err != nil {
			return
		}
		if again := e.String(); again != s {
			t.Fatalf("%q becomes %q", s, again)
		}
		if !e.Suite.Valid() || e.Device == 0 || CheckHost(e.Addr()) != nil {
			t.Fatalf("%q gives suite %d, device %s, address %q", s, e.Suite, e.Device, e.Addr())
		}
	})
}

// FuzzAck: what verifies is what the server would have written.
func FuzzAck(f *testing.F) {
	for _, suite := range bothSuites {
		k := Derive(testRoot(), suite, testDevice, testEpoch)
		f.Add(AppendAck(nil, Header{suite, testDevice, testEpoch, 1}, Ack{AckClock, 1700000061, 1, 0x8000}, &k.Ack))
	}
	f.Fuzz(func(t *testing.T, pkt []byte) {
		var k Keys
		h, a, err := OpenAck(pkt, func(h Header) *[32]byte {
			k = Derive(testRoot(), h.Suite, h.Device, h.Epoch)
			return &k.Ack
		})
		if err != nil {
			return
		}
		if again := AppendAck(nil, h, a, &k.Ack); !bytes.Equal(again, pkt) {
			t.Fatalf("%x verifies, but the server would write %x", pkt, again)
		}
	})
}
