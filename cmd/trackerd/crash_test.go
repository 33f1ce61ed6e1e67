package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// daemon is a trackerd in a process of its own.
type daemon struct {
	t        testing.TB
	bin, dir string
	args     []string  // more flags of serve
	env      []string  // on top of ours
	stderr   io.Writer // nil: ours
	cmd      *exec.Cmd
	tcp, udp string
	conn     *client.Conn
}

// buildDaemon builds a trackerd, with more flags of go build.
func buildDaemon(t testing.TB, flags ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, dir: filepath.Join(t.TempDir(), "data"), bin: filepath.Join(t.TempDir(), "trackerd")}
	args := append(append([]string{"build"}, flags...), "-o", d.bin, ".")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return d
}

func (d *daemon) start() {
	d.t.Helper()
	args := append([]string{"serve", "--data", d.dir, "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--log-level", "warn"}, d.args...)
	d.cmd = exec.Command(d.bin, args...)
	d.cmd.Env = append(os.Environ(), d.env...)
	if d.cmd.Stderr = d.stderr; d.stderr == nil {
		d.cmd.Stderr = os.Stderr
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(d.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		d.t.Fatalf("no ready line: %v", err)
	}
	if _, err := fmt.Sscanf(line, "ready tcp=%s udp=%s", &d.tcp, &d.udp); err != nil {
		d.t.Fatalf("ready line %q: %v", line, err)
	}
	token, err := os.ReadFile(filepath.Join(d.dir, "admin.token"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.conn, err = client.Dial(client.Config{Server: d.tcp, Token: strings.TrimSpace(string(token))})
	if err != nil {
		d.t.Fatal(err)
	}
}

// kill is SIGKILL: nothing is flushed, nothing said.
func (d *daemon) kill() {
	if d.cmd == nil {
		return
	}
	d.conn.CloseIdle()
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	d.cmd = nil
}

// stop is SIGTERM: the server writes what it has and ends.
func (d *daemon) stop() {
	d.t.Helper()
	d.conn.CloseIdle()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	if err := d.cmd.Wait(); err != nil {
		d.t.Fatal(err)
	}
	d.cmd = nil
}

// stored asks for all fixes of all devices, as "device epoch-second" keys, with how
// often each was found.
func (d *daemon) stored(devices []seal.Enrolment) map[string]int {
	d.t.Helper()
	found := map[string]int{}
	for _, e := range devices {
		for f, err := range d.conn.History(context.Background(), client.HistoryQuery{Device: e.Device.String()}) {
			if err != nil {
				d.t.Fatal(err)
			}
			found[fmt.Sprintf("%s %d", f.Device, f.Time.Unix())]++
		}
	}
	return found
}

// TestThreat04ReplayAfterServerCrash kills the server under load and replays all
// that was ever sent: what was committed is there once, and the replay adds only
// what was never stored.
func TestThreat04ReplayAfterServerCrash(t *testing.T) {
	const devices, rounds = 400, 60
	d := buildDaemon(t)
	d.start()
	enrolments := enrolMany(t, d, devices)
	traffic := sealTraffic(t, enrolments, rounds)

	committed, sent := killUnderLoad(t, d, traffic)
	t.Logf("killed after %d of %d datagrams, %d of them committed", sent, len(traffic), committed)

	d.start()
	before := d.stored(enrolments)
	if uint64(len(before)) < committed {
		t.Errorf("%d fixes after the restart, but %d were committed before the kill", len(before), committed)
	}
	sendAll(t, d, traffic)
	waitIdle(t, d)
	after := d.stored(enrolments)
	for key, n := range after {
		if n != 1 {
			t.Errorf("fix %s is stored %d times", key, n)
		}
	}
	for key := range before {
		if after[key] == 0 {
			t.Errorf("fix %s was there before the replay and is gone", key)
		}
	}
	st, err := d.conn.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if st.Ingest["socket_drops"] == 0 && len(after) != devices*rounds {
		t.Errorf("%d fixes in the end, want all %d", len(after), devices*rounds)
	}
	if got, want := st.Ingest["ok"], uint64(len(after)-len(before)); got < want {
		t.Errorf("replay was taken %d times for %d new fixes", got, want)
	}
	if st.Ingest["replay"]+st.Ingest["too_old"] == 0 {
		t.Error("no replay was refused")
	}
}

func enrolMany(t *testing.T, d *daemon, n int) []seal.Enrolment {
	t.Helper()
	asked := make([]client.NewDevice, n)
	for i := range asked {
		asked[i].Name = fmt.Sprintf("van-%d", i)
	}
	got, err := d.conn.EnrollBatch(context.Background(), asked)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]seal.Enrolment, n)
	for i := range got {
		if out[i], err = seal.ParseEnrolment(got[i].Enrolment); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// sealTraffic makes one fix a device and round, one second apart, in the order in
// which they will be sent.
func sealTraffic(t *testing.T, devices []seal.Enrolment, rounds int) [][]byte {
	t.Helper()
	epoch := uint32(time.Now().Unix())
	begin := int64(epoch) - int64(rounds)
	keys := make([]seal.Keys, len(devices))
	for i, e := range devices {
		keys[i] = seal.Derive(&e.Root, e.Suite, e.Device, epoch)
	}
	var out [][]byte
	for round := range rounds {
		for i, e := range devices {
			f := track.Fix{Time: (begin + int64(round)) * 1000, At: geo.Deg(48, 11), Has: track.HasPos}
			body, err := wire.AppendBody(nil, &wire.Body{Fixes: []track.Fix{f}})
			if err != nil {
				t.Fatal(err)
			}
			h := seal.Header{Suite: e.Suite, Device: e.Device, Epoch: epoch, PID: uint32(round)}
			pkt, err := seal.Seal(nil, h, &keys[i], body)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, pkt)
		}
	}
	return out
}

// killUnderLoad sends until a third of the traffic is committed, and kills the
// server while more is on its way.
func killUnderLoad(t *testing.T, d *daemon, traffic [][]byte) (committed uint64, sent int) {
	t.Helper()
	udp := dial(t, d.udp)
	for sent < len(traffic) {
		sent += sendSome(t, udp, traffic[sent:])
		st, err := d.conn.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if committed = st.Store.Stored; committed > uint64(len(traffic)/3) {
			sent += sendSome(t, udp, traffic[sent:])
			break
		}
	}
	d.kill()
	return committed, sent
}

func sendAll(t *testing.T, d *daemon, traffic [][]byte) {
	t.Helper()
	udp := dial(t, d.udp)
	for sent := 0; sent < len(traffic); {
		sent += sendSome(t, udp, traffic[sent:])
		if _, err := d.conn.Status(context.Background()); err != nil { // lets the server breathe
			t.Fatal(err)
		}
	}
}

func sendSome(t *testing.T, udp net.Conn, traffic [][]byte) int {
	t.Helper()
	n := min(500, len(traffic))
	for _, pkt := range traffic[:n] {
		if _, err := udp.Write(pkt); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// waitIdle returns when the server has read all there was and stored it.
func waitIdle(t testing.TB, d *daemon) {
	t.Helper()
	var last uint64
	for still := 0; still < 3; {
		st, err := d.conn.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var sum uint64
		for _, n := range st.Ingest {
			sum += n
		}
		if sum == last && st.Store.Pending == 0 {
			still++
		} else {
			still = 0
		}
		last = sum
		time.Sleep(100 * time.Millisecond)
	}
}
