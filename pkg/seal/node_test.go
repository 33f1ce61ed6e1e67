package seal_test

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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
