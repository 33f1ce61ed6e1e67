package seal

import (
	"bytes"
	"errors"
	"testing"
)

func TestAckRoundTrip(t *testing.T) {
	for _, suite := range bothSuites {
		k := Derive(testRoot(), suite, testDevice, testEpoch)
		h := Header{suite, testDevice, testEpoch, MaxPID}
		for status := range AckReprovision + 1 {
			want := Ack{Status: status, Time: 1700000061, Max: MaxPID, Bitmap: 0xa001}
			pkt := AppendAck([]byte("x"), h, want, &k.Ack)[1:]
			gotH, got, err := OpenAck(pkt, func(Header) *[32]byte { return &k.Ack })
			if err != nil || got != want || gotH != h {
				t.Errorf("got %+v %+v %v, want %+v %+v", gotH, got, err, h, want)
			}
		}
	}
}

func TestAckRefuses(t *testing.T) {
	k := Derive(testRoot(), ChaCha20Poly1305, testDevice, testEpoch)
	key := func(Header) *[32]byte { return &k.Ack }
	h := Header{ChaCha20Poly1305, testDevice, testEpoch, 1}
	pkt := AppendAck(nil, h, Ack{Max: 1, Bitmap: 0x8000}, &k.Ack)
	for bit := range 8 * len(pkt) {
		bad := bytes.Clone(pkt)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, _, err := OpenAck(bad, key); err == nil {
			t.Errorf("accepted with bit %d flipped", bit)
		}
	}
	report := mustSeal(t, h, &k, fullBody[:13])
	for _, c := range []struct {
		name string
		pkt  []byte
		key  func(Header) *[32]byte
		want error
	}{
		{"one byte short", pkt[:39], key, ErrLength},
		{"one byte long", append(bytes.Clone(pkt), 0), key, ErrLength},
		{"a report cut to size", report[:40], key, ErrVersion},
		{"nothing waits for it", pkt, func(Header) *[32]byte { return nil }, ErrReplay},
		{"the key of the datagrams", pkt, func(Header) *[32]byte { return &k.Up }, ErrAuth},
	} {
		if _, _, err := OpenAck(c.pkt, c.key); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestThreat12AckIsSmallerThanAnyReport(t *testing.T) {
	k := Derive(testRoot(), ChaCha20Poly1305, testDevice, testEpoch)
	h := Header{ChaCha20Poly1305, testDevice, testEpoch, 0}
	ack := AppendAck(nil, h, Ack{}, &k.Ack)
	report := mustSeal(t, h, &k, make([]byte, MinBody))
	if len(ack) != AckLen || len(ack) >= len(report) {
		t.Errorf("ack of %d bytes to a report of %d", len(ack), len(report))
	}
}

func TestAckDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	k := Derive(testRoot(), ChaCha20Poly1305, testDevice, testEpoch)
	h := Header{ChaCha20Poly1305, testDevice, testEpoch, 1}
	dst := make([]byte, 0, AckLen)
	if n := testing.AllocsPerRun(1000, func() { AppendAck(dst, h, Ack{}, &k.Ack) }); n != 0 {
		t.Errorf("append: %v allocations", n)
	}
	root := testRoot()
	if n := testing.AllocsPerRun(1000, func() { Derive(root, h.Suite, h.Device, h.Epoch) }); n != 0 {
		t.Errorf("derive: %v allocations", n)
	}
}

func TestStatusNames(t *testing.T) {
	for s, want := range map[AckStatus]string{AckOK: "ok", AckClock: "clock", AckEpochOld: "epoch_old",
		AckRateLimited: "rate_limited", AckReprovision: "reprovision", 9: "status_9"} {
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
