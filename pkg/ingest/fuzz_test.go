package ingest

import (
	"testing"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// FuzzDatagram brings foreign bytes to a reader in three ways: as a datagram, as the
// body of an authentic one, and as the damage done to it on the way. Whatever they
// are, no question panics, nothing is answered that is not authentic, new and
// asking, and less goes out than came in.
func FuzzDatagram(f *testing.F) {
	at := epoch0
	d := newBareRiver().enroll(0xf1, seal.ChaCha20Poly1305).start(seconds(at))
	full := bodyOf(at, 1, true)
	for _, body := range [][]byte{full, bodyOf(at, 3, false), append([]byte{wantsAck}, minimalBody(at)...), {0x40}, make([]byte, 1171)} {
		f.Add(d.ask(at), body, uint8(1), seconds(at), uint32(0), uint16(200))
		f.Add([]byte{}, body, uint8(2), uint32(0), uint32(1<<24-1), uint16(0))
	}
	f.Fuzz(func(t *testing.T, foreign, body []byte, suite uint8, epoch, pid uint32, damage uint16) {
		s := newStand(t)
		d := s.river.enroll(0xf1, seal.Suite(suite%2+1))
		d.root[31] = 1 // not the one of the seeds
		d.start(epoch)
		d.pid = pid & seal.MaxPID
		quiet := func(what string, pkt []byte) {
			t.Helper()
			before := s.in.Stats().OK
			if acks := s.send(pkt); len(acks) != 0 {
				t.Errorf("an answer to %s", what)
			}
			if s.in.Stats().OK != before {
				t.Errorf("took %s", what)
			}
		}
		// A foreign datagram can only be authentic if the fuzzer knew the key.
		quiet("foreign bytes", foreign)
		pkt, err := seal.Seal(nil, seal.Header{Suite: d.suite, Device: d.id, Epoch: d.epoch, PID: d.pid}, &d.keys, body)
		if err == nil {
			quiet("damaged bytes", flip(pkt, int(damage)%(len(pkt)*8)))
			acks := s.send(pkt)
			if len(acks) > 1 || len(acks) == 1 && (len(acks[0]) > len(pkt) || body[0]&wantsAck == 0) {
				t.Errorf("%d acks for %d bytes", len(acks), len(pkt))
			}
			quiet("a copy", pkt)
		}
		st := s.in.Stats()
		if st.Broken != 0 || st.Misrouted != 0 || st.Fixes != uint64(len(s.river.fixes)) {
			t.Errorf("got %+v", st)
		}
		for _, fix := range s.river.fixes {
			if fix.Device != track.DeviceID(0xf1) || fix.Has&track.HasPos != 0 && !fix.At.Valid() {
				t.Errorf("fix %+v", fix)
			}
		}
	})
}
