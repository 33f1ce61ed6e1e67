package ingest

import (
	"bytes"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

func TestReaderCountsEachQuestionThatADatagramFails(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xa1, seal.ChaCha20Poly1305).start(seconds(s.now()))
	two := s.river.enroll(0xa2, seal.AES128GCM).start(seconds(s.now()))
	stranger := newBareRiver().enroll(0xa3, seal.ChaCha20Poly1305).start(seconds(s.now()))
	first := d.report(s.now())
	s.want("ok", first)
	s.want("ok", two.report(s.now()))

	for _, row := range []struct {
		want string
		pkt  []byte
	}{
		{"bad_len", nil},
		{"bad_len", first[:42]},
		{"bad_len", make([]byte, longest)},
		{"bad_version", append([]byte{0x21}, first[1:]...)},
		{"bad_version", append([]byte{0x13}, first[1:]...)},
		{"bad_version", append([]byte{0x19}, first[1:]...)},
		{"unknown_id", stranger.report(s.now())},
		{"unknown_id", append([]byte{0x11, 0, 0, 0, 0, 0, 0}, first[7:]...)},
		{"bad_suite", append([]byte{0x12}, first[1:]...)},
		{"epoch_old", setHeader(first, d.epoch-1, 9)},
		{"replay", first},
		{"auth_fail", flip(d.report(s.now()), 14*8)},
		{"auth_fail", setHeader(first, d.epoch, 77)},
		{"auth_fail", setHeader(first, d.epoch+1, 0)},
		{"malformed", d.seal(append([]byte{0x20}, make([]byte, 12)...))},
		{"time_future", d.report(s.now().Add(25 * time.Hour))},
		{"ok", d.report(s.now())},
	} {
		s.want(row.want, row.pkt)
	}
	st := s.in.Stats()
	if st.Received() != 19 || st.OK != 3 || st.Fixes != 3 || st.Devices != 2 || st.Sessions != 2 {
		t.Errorf("got %+v", st)
	}
}

// Each of the 408 bits of the full fix, flipped one at a time: none is taken, and
// all are accounted for.
func TestReaderRefusesEveryFlippedBit(t *testing.T) {
	for _, suite := range []seal.Suite{seal.ChaCha20Poly1305, seal.AES128GCM} {
		s := newStand(t)
		d := s.river.enroll(0x51a2b3c4d5e6, suite).start(seconds(s.now()))
		s.want("ok", d.report(s.now()))
		pkt := d.ask(s.now())
		if len(pkt) != 51 {
			t.Fatalf("full fix of %d bytes", len(pkt))
		}
		var flipped [][]byte
		for bit := range len(pkt) * 8 {
			flipped = append(flipped, flip(pkt, bit))
		}
		if acks := s.send(flipped...); len(acks) != 0 {
			t.Errorf("suite %v: %d acks for forgeries", suite, len(acks))
		}
		st := s.in.Stats()
		if st.OK != 1 || st.Received() != 409 || st.AuthFail < 300 {
			t.Errorf("suite %v: got %+v", suite, st)
		}
		s.want("ok", pkt)
	}
}

func TestReaderStampsWhatItKnows(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xb1, seal.ChaCha20Poly1305, func(e *engine.Session) { e.Device, e.Cred = 0xd1, 0xc1 }).start(seconds(s.now()))
	at := s.now().Add(-time.Minute)
	s.want("ok", d.seal(bodyOf(at, 3, false)))
	s.want("ok", d.seal(bodyOf(s.now().Add(3*time.Minute), 1, false)))
	got := s.river.fixes
	if len(got) != 4 {
		t.Fatalf("%d fixes, want 4", len(got))
	}
	for i, f := range got {
		wantFlags := track.Flags(0)
		if i == 3 {
			wantFlags = track.Suspect
		}
		if f.Device != 0xd1 || f.Wire != 0xc1 || f.Arrived != s.now().UnixMilli() || f.Epoch != d.epoch || f.PID != uint32(i/3) || f.Flags != wantFlags {
			t.Errorf("fix %d is %+v", i, f)
		}
	}
	if got[2].Time != at.UnixMilli() || got[2].Sub != 0 || got[0].Sub == 0 {
		t.Errorf("fixes are not oldest first: %+v", got[:3])
	}
	if st := s.in.Stats(); st.TimeSuspect != 1 || st.Fixes != 4 {
		t.Errorf("got %+v", st)
	}
}

func TestReaderKeepsTwoEpochsLive(t *testing.T) {
	s := newStand(t)
	a := s.river.enroll(0xb2, seal.ChaCha20Poly1305)
	b, c := *a, *a
	base := seconds(s.now())
	a.start(base)
	b.start(base + 10)
	c.start(base + 20)
	s.want("ok", a.report(s.now()))
	s.want("ok", b.report(s.now()))
	s.want("ok:2", a.report(s.now()), b.report(s.now()))
	late := a.report(s.now())
	s.want("ok", c.report(s.now()))
	s.want("epoch_old", late)
	s.want("ok:2", b.report(s.now()), c.report(s.now()))
	s.want("epoch_old", setHeader(late, base+15, 0)) // between the live ones
}

func TestReaderWindowIsSixtyFourWide(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xb3, seal.ChaCha20Poly1305).start(seconds(s.now()))
	var pkts [][]byte
	for range 100 {
		pkts = append(pkts, d.report(s.now()))
	}
	s.want("ok", pkts[99])
	s.want("ok", pkts[36])
	s.want("too_old", pkts[35])
	s.want("ok", pkts[37])
	s.want("replay", pkts[37])
}

// A stranger's datagram may open a session in name only.
func TestReaderChangesNothingForAForgery(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xb4, seal.ChaCha20Poly1305).start(seconds(s.now()))
	s.want("ok", d.report(s.now()))
	before := *s.records.find(d.id)
	forged := d.report(s.now())
	for _, pkt := range [][]byte{setHeader(forged, d.epoch, 1<<24-1), setHeader(forged, d.epoch+100, 0), setHeader(forged, 1<<32-1, 5)} {
		s.want("auth_fail", pkt)
	}
	after := *s.records.find(d.id)
	if after.fails != 3 {
		t.Errorf("counted %d forgeries, want 3", after.fails)
	}
	after.fails = 0
	if before != after {
		t.Errorf("a forgery changed the session:\n%+v\n%+v", before, after)
	}
	s.want("ok", forged)
}

func TestReaderRecoversSessionsFromTheStore(t *testing.T) {
	s := newStand(t)
	base := seconds(s.now())
	d := s.river.enroll(0xb5, seal.ChaCha20Poly1305, func(e *engine.Session) {
		e.Floor = base - 1000
		e.Live = [2]engine.Live{{Epoch: base, MaxPID: 41, Known: true}, {Epoch: base - 50, MaxPID: 7, Known: true}}
	})
	old := *d
	d.start(base)
	old.start(base - 50)
	var pkts, olds [][]byte
	for range 50 {
		pkts, olds = append(pkts, d.report(s.now())), append(olds, old.report(s.now()))
	}
	s.want("replay:2", pkts[41], pkts[0])
	s.want("ok", pkts[42])
	s.want("replay", pkts[20])
	s.want("replay", olds[7])
	s.want("ok", olds[8])
	third := *d
	s.want("epoch_old", third.start(base-20).report(s.now()))
	if s.river.unwraps > 3 {
		t.Errorf("%d roots lent for three sessions", s.river.unwraps)
	}
}

// After a restart the tag of the newest datagram is not known; a copy of it is a
// copy and no reason for an alarm.
func TestReaderNonceAlarmOnlyForAnotherTag(t *testing.T) {
	s := newStand(t)
	base := seconds(s.now())
	d := s.river.enroll(0xb6, seal.ChaCha20Poly1305, func(e *engine.Session) {
		e.Live[0] = engine.Live{Epoch: base, MaxPID: 0, Known: true}
	}).start(base)
	first := d.report(s.now())
	s.want("replay", first)
	second := d.report(s.now())
	s.want("ok", second)
	s.want("replay", second)
	d.pid--
	s.want("nonce_reuse", d.report(s.now().Add(-time.Hour)))
	d.pid--
	s.want("auth_fail", flip(d.report(s.now().Add(-time.Minute)), 400))
	if len(s.river.alarms) != 1 || s.river.alarms[0] != engine.AlarmNonceReuse {
		t.Errorf("alarms %v", s.river.alarms)
	}
}

func TestReaderRefusesAnExpiredCredential(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xb7, seal.ChaCha20Poly1305).start(seconds(s.now()))
	s.want("ok", d.report(s.now()))
	s.river.change(d.id, func(e *engine.Session) { e.Expires, e.Retiring = s.now().Add(time.Hour).Unix(), true })
	ack := d.openAck(t, s.send(d.ask(s.now()))[0])
	if ack.Status != seal.AckReprovision {
		t.Errorf("ack says %v, want %v", ack.Status, seal.AckReprovision)
	}
	s.sleep(time.Hour)
	s.river.revoke(d.id)
	s.want("unknown_id", d.report(s.now()))
	if s.in.Stats().Devices != 0 || len(s.aliases) != 0 || len(s.answers) != 0 {
		t.Error("the device left traces")
	}
}

func TestReaderSweepsIDsThatNobodyAnnounced(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xb8, seal.ChaCha20Poly1305, func(e *engine.Session) { e.Cred, e.Device, e.Flags = 1, 1, seal.RotatingIDs })
	d.start(seconds(s.now()))
	s.want("ok", d.report(s.now()))
	delete(s.river.sessions, d.id) // its window is over; the engine says nothing
	s.sleep(2 * time.Second)
	s.want("ok", d.report(s.now())) // the batch that sweeps
	s.want("unknown_id", d.report(s.now()))
}

// The ids of one credential may live on different readers; its epochs go up all the
// same.
func TestReadersShareTheFloorOfRotatingIDs(t *testing.T) {
	s := newStand(t)
	rotating := func(e *engine.Session) { e.Cred, e.Device, e.Flags = 1, 1, seal.RotatingIDs }
	a := s.river.enroll(0xc0, seal.ChaCha20Poly1305, rotating)
	b := s.river.enroll(0xc1, seal.ChaCha20Poly1305, rotating)
	a.root = b.root
	other := newReader(s.in, s.socket, 0)
	defer other.release()
	base := seconds(s.now())
	s.want("ok", a.start(base).report(s.now()))
	other.handle([][]byte{b.start(base + 70_000 - 65536).report(s.now())})
	if got := other.tally.published[fine].Load(); got != 1 {
		t.Fatalf("the second id was not taken")
	}
	kept := a.start(base + 100) // newer than a's session, older than b's
	s.want("epoch_old", kept.report(s.now()))
}

func TestReaderSurvivesABugInOneDatagram(t *testing.T) {
	var log bytes.Buffer
	s := newStand(t, func(c *Config) { c.Logger = testLogTo(&log) })
	d := s.river.enroll(0xb9, seal.ChaCha20Poly1305).start(seconds(s.now()))
	s.want("ok", d.report(s.now()))
	bad := s.river.enroll(0xba, seal.ChaCha20Poly1305).start(seconds(s.now()))
	s.river.roots[bad.id] = nil // lending nothing is a bug of the engine
	s.want("ok:2 broken", d.report(s.now()), bad.report(s.now()), d.report(s.now()))
	if !bytes.Contains(log.Bytes(), []byte("stack=")) {
		t.Errorf("no stack in the log: %s", &log)
	}
}

func TestAckTellsStatusTimeAndLosses(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xbb, seal.ChaCha20Poly1305).start(seconds(s.now()))
	s.want("ok:2", d.report(s.now()), d.report(s.now()))
	d.pid++ // lost
	acks := s.send(d.ask(s.now()))
	if len(acks) != 1 {
		t.Fatalf("%d acks, want 1", len(acks))
	}
	want := seal.Ack{Status: seal.AckOK, Time: seconds(s.now()), Max: 3, Bitmap: 0b1011 << 12}
	if got := d.openAck(t, acks[0]); got != want {
		t.Errorf("ack %+v, want %+v", got, want)
	}
	for _, row := range []struct {
		at   time.Duration
		want seal.AckStatus
	}{{61 * time.Second, seal.AckClock}, {-61 * time.Second, seal.AckClock}, {59 * time.Second, seal.AckOK}, {48 * time.Hour, seal.AckClock}} {
		s.sleep(2 * time.Second)
		acks := s.send(d.ask(s.now().Add(row.at)))
		if len(acks) != 1 {
			t.Fatalf("%d acks for a fix %v ahead, want 1", len(acks), row.at)
		}
		if got := d.openAck(t, acks[0]).Status; got != row.want {
			t.Errorf("fix %v ahead: ack says %v, want %v", row.at, got, row.want)
		}
	}
}

func TestAcksAreLimitedPerDeviceAndInAll(t *testing.T) {
	s := newStand(t, func(c *Config) { c.Rate.Acks = 20 }) // a tenth of a second's worth: 2 at once
	var devices []*device
	for id := range track.DeviceID(5) {
		devices = append(devices, s.river.enroll(0xd0+id, seal.ChaCha20Poly1305).start(seconds(s.now())))
	}
	d := devices[0]
	if n := len(s.send(d.ask(s.now()), d.ask(s.now()), d.ask(s.now()))); n != 1 {
		t.Errorf("%d acks at once for one device, want 1", n)
	}
	s.sleep(500 * time.Millisecond)
	if n := len(s.send(d.ask(s.now()))); n != 0 {
		t.Errorf("%d acks after half a second, want none", n)
	}
	s.sleep(500 * time.Millisecond)
	var asks [][]byte
	for _, d := range devices {
		asks = append(asks, d.ask(s.now()))
	}
	if n := len(s.send(asks...)); n != 2 {
		t.Errorf("%d acks for all, want the 2 that the budget has", n)
	}
	if st := s.in.Stats(); st.Acks != 3 || st.AcksSuppressed != 2+1+3 || st.OK != 9 {
		t.Errorf("got %+v", st)
	}
}

func TestReaderTakesTheLargestTrail(t *testing.T) {
	s := newStand(t)
	d := s.river.enroll(0xbc, seal.ChaCha20Poly1305).start(seconds(s.now()))
	m := wire.Body{}
	for i := range 256 {
		m.Fixes = append(m.Fixes, track.Fix{Time: s.now().Add(-time.Duration(i) * time.Second).UnixMilli(), Has: track.HasPos})
	}
	body, err := wire.AppendBody(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	s.want("ok", d.seal(body))
	if len(s.river.fixes) != 256 {
		t.Errorf("%d fixes, want 256", len(s.river.fixes))
	}
}

func TestShieldGoesUpInAFloodAndComesDown(t *testing.T) {
	s := newStand(t)
	junk := make([][]byte, shieldAt-1)
	s.send(junk...)
	if s.socket.shielded {
		t.Fatal("shield is up below its mark")
	}
	s.sleep(time.Second)
	s.send(append(junk, nil, nil)...)
	if !s.socket.shielded {
		t.Fatal("no shield in a flood")
	}
	s.sleep(shieldIn)
	s.send(nil)
	s.send(make([]byte, 1))
	if s.socket.shielded {
		t.Error("the shield stayed up")
	}
}
