package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// TestSenderInAnotherLanguage lets a device that shares no code with us talk to a
// server of a dozen lines: its reports open, the same bytes again do not, nor does
// any of them with a bit flipped, and it believes our acks and no others.
func TestSenderInAnotherLanguage(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: no second implementation of a sender is tried")
	}
	for _, flags := range []seal.EnrolFlags{0, seal.RotatingIDs, seal.CounterEpochs} {
		for _, suite := range []seal.Suite{seal.ChaCha20Poly1305, seal.AES128GCM} {
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			e := seal.Enrolment{Host: conn.LocalAddr().String(), Device: device, Root: root(), Suite: suite, Flags: flags}
			conn.SetReadBuffer(1 << 20) // the sender comes in bursts
			srv := newNodeServer(t, conn, e)
			args := []string{filepath.Join(testdata, "sender.mjs"), "--enrolment", e.String(), "--state", filepath.Join(t.TempDir(), "epoch"),
				"--ack", "--timeout", "20000", "--repeat", "1", "--flip", "52.1234567,13.2345678,2026-01-02T03:04:05.678Z", "--", "-33.9,18.4"}
			if flags&seal.CounterEpochs != 0 {
				args = append([]string{args[0], "--counter"}, args[1:]...)
			}
			cmd := exec.Command(node, args...)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("flags %q suite %v: %v\n%s", flags, suite, err, out)
			}
			srv.check(t, out)
		}
	}
}

type nodeServer struct {
	enrolment seal.Enrolment
	conn      *net.UDPConn
	epochs    seal.Epochs
	opener    seal.Opener
	results   map[string]int
	fixes     track.Batch
	done      chan struct{}
}

func newNodeServer(t *testing.T, conn *net.UDPConn, e seal.Enrolment) *nodeServer {
	s := &nodeServer{enrolment: e, conn: conn, results: map[string]int{}, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.serve(t)
	}()
	t.Cleanup(func() { conn.Close(); <-s.done })
	return s
}

func (s *nodeServer) serve(t *testing.T) {
	buf := make([]byte, 2048)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		h, k, result, ack := s.receive(buf[:n])
		s.results[result]++
		if !ack {
			continue
		}
		// A forged ack goes first; the device has to wait for the real one.
		good := seal.AppendAck(nil, h, seal.Ack{Time: uint32(time.Now().Unix()), Max: h.PID, Bitmap: 0x8000}, &k.Ack)
		forged := bytes.Clone(good)
		forged[14] = byte(seal.AckEpochOld)
		for _, pkt := range [][]byte{forged, good} {
			if _, err := s.conn.WriteToUDPAddrPort(pkt, from); err != nil {
				t.Error(err)
			}
		}
	}
}

func (s *nodeServer) receive(pkt []byte) (h seal.Header, k seal.Keys, result string, ack bool) {
	h, err := seal.ParseHeader(pkt)
	if err != nil {
		return h, k, counterName(err), false
	}
	want := s.enrolment.Device
	if s.enrolment.Flags&seal.RotatingIDs != 0 {
		want = seal.RotatingID(&s.enrolment.Root, h.Epoch>>16)
	}
	if h.Device != want {
		return h, k, "unknown_id", false
	}
	slot, err := s.epochs.Check(h.Epoch, h.PID)
	if err != nil {
		return h, k, counterName(err), false
	}
	k = seal.Derive(&s.enrolment.Root, s.enrolment.Suite, h.Device, h.Epoch)
	body, err := s.opener.Open(nil, s.enrolment.Suite, &k.Up, pkt)
	if err != nil {
		return h, k, counterName(err), false
	}
	s.epochs.Accept(slot, h.Epoch, h.PID)
	ack, err = wire.DecodeBody(&s.fixes, body)
	return h, k, counterName(err), ack
}

func (s *nodeServer) check(t *testing.T, out []byte) {
	t.Helper()
	s.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // for what is still in the socket
	<-s.done
	type line struct {
		PID uint32
		Hex string
		Ack struct {
			Status int
			Max    uint32
		}
		Flipped int
	}
	sent, got := 0, 0
	d := json.NewDecoder(bytes.NewReader(out))
	for pid := range uint32(2) {
		var l line
		if err := d.Decode(&l); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		if l.PID != pid || l.Ack.Status != int(seal.AckOK) || l.Ack.Max != pid || l.Flipped != 4*len(l.Hex) {
			t.Errorf("the sender says %+v", l)
		}
		sent += 2 + l.Flipped
	}
	for _, n := range s.results {
		got += n
	}
	// Most of the altered ones fall to the window already: their packet id is taken.
	if len(s.fixes.Fixes) != 2 || s.results["ok"] != 2 || got != sent {
		t.Errorf("flags %q: %d fixes, %v, together %d of %d", s.enrolment.Flags, len(s.fixes.Fixes), s.results, got, sent)
	}
	first, want := s.fixes.Fixes[0], time.Date(2026, 1, 2, 3, 4, 5, 676e6, time.UTC)
	if first.At != berlin || !first.When().Equal(want) {
		t.Errorf("the first fix is at %v, %v", first.At, first.When())
	}
}

// TestThreat20DecodersAgree gives thousands of damaged bodies to two decoders that
// were written apart. What one takes and the other refuses, or reads otherwise, is a
// bug in one of them or a hole in the page that both were written from.
func TestThreat20DecodersAgree(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: decoders are not compared")
	}
	var bodies [][]byte
	for _, v := range loadVectors(t) {
		if v.Kind == "report" && len(v.Plaintext) < 300 {
			bodies = append(bodies, unhex(t, v.Plaintext))
		}
	}
	r := rand.New(rand.NewPCG(11, 12))
	var in bytes.Buffer
	var damaged [][]byte
	for range 20_000 {
		b := damage(r, bodies[r.IntN(len(bodies))])
		damaged = append(damaged, b)
		fmt.Fprintf(&in, "%x\n", b)
	}
	cmd := exec.Command(node, filepath.Join(testdata, "decode.mjs"))
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n"))
	if len(lines) != len(damaged) {
		t.Fatalf("%d answers to %d bodies", len(lines), len(damaged))
	}
	taken := 0
	for i, b := range damaged {
		var want any = "malformed"
		var batch track.Batch
		if ack, err := wire.DecodeBody(&batch, b); err == nil {
			want = bodyFields(&batch, ack)
			taken++
		}
		ours, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if !sameJSON(t, ours, lines[i]) {
			t.Errorf("body %x\nhere  %s\nthere %s", b, ours, lines[i])
		}
	}
	if taken < 2000 || taken > 18_000 {
		t.Errorf("%d of %d bodies are well-formed: that compares little", taken, len(damaged))
	}
}

// damage changes a body a little, mostly where it hurts: in the presence bytes and
// by a bit or two.
func damage(r *rand.Rand, body []byte) []byte {
	b := bytes.Clone(body)
	switch r.IntN(6) {
	case 0:
		b[0] ^= 1 << r.IntN(8)
	case 1:
		b = b[:r.IntN(len(b))]
	case 2:
		b = append(b, byte(r.Uint32()))
	case 3:
		at := 13 % len(b)
		b[at+r.IntN(len(b)-at)] = byte(r.Uint32())
	case 4:
		at := r.IntN(len(b))
		b = slices.Insert(b, at, []byte{0, 0x7f, 0x80, 0xff}[r.IntN(4)])
	}
	if r.IntN(3) == 0 && len(b) > 0 {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	}
	return b
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}
