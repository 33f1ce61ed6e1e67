package server

import (
	"context"
	"encoding/json"

	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// running is a whole server in this process.
type running struct {
	t        testing.TB
	dir      string
	tcp, udp string
	conn     *client.Conn
	srv      *Server
	broken   bool // the test broke it: Run may say so
	stop     func()
}

func startServer(t testing.TB, change func(*Config)) *running {
	t.Helper()
	r := &running{t: t, dir: filepath.Join(t.TempDir(), "data")}
	r.start(change)
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *running) start(change func(*Config)) {
	r.t.Helper()
	ready := make(chan struct{})
	cfg := Config{Data: r.dir, Listen: "127.0.0.1:0", UDP: "127.0.0.1:0"}
	cfg.Ready = func(tcp, udp net.Addr) {
		r.tcp, r.udp = tcp.String(), udp.String()
		close(ready)
	}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.srv = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-ready
	token, err := os.ReadFile(filepath.Join(r.dir, tokenFile))
	if err != nil {
		r.t.Fatal(err)
	}
	r.conn, err = client.Dial(client.Config{Server: r.tcp, Token: strings.TrimSpace(string(token))})
	if err != nil {
		r.t.Fatal(err)
	}
	r.stop = func() {
		r.conn.CloseIdle()
		cancel()
		if err := <-done; err != nil && !r.broken {
			r.t.Error(err)
		}
		r.stop = func() {}
	}
}

func (r *running) enroll(name string) seal.Enrolment {
	r.t.Helper()
	got, err := r.conn.Enroll(context.Background(), client.NewDevice{Name: name})
	if err != nil {
		r.t.Fatal(err)
	}
	e, err := seal.ParseEnrolment(got.Enrolment)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

func (r *running) history(ref string) (n int) {
	r.t.Helper()
	for _, err := range r.conn.History(context.Background(), client.HistoryQuery{Device: ref}) {
		if err != nil {
			r.t.Fatal(err)
		}
		n++
	}
	return n
}

// eventually asks until it is true; the test's own deadline is the limit.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func report(t *testing.T, e seal.Enrolment, epoch, pid uint32, at time.Time) []byte {
	t.Helper()
	f := track.Fix{Time: at.Unix() * 1000, At: geo.Deg(48, 11), Has: track.HasPos}
	body, err := wire.AppendBody(nil, &wire.Body{Fixes: []track.Fix{f}, Ack: true})
	if err != nil {
		t.Fatal(err)
	}
	keys := seal.Derive(&e.Root, e.Suite, e.Device, epoch)
	pkt, err := seal.Seal(nil, seal.Header{Suite: e.Suite, Device: e.Device, Epoch: epoch, PID: pid}, &keys, body)
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}

// TestThreat03OneWayRadio sends from an address that nothing can come back to: every
// answer goes into a socket that is closed.
func TestThreat03OneWayRadio(t *testing.T) {
	r := startServer(t, nil)
	e := r.enroll("van-1")
	const n = 100
	epoch := uint32(time.Now().Unix())
	for pid := range uint32(n) {
		c, err := net.Dial("udp", r.udp)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(report(t, e, epoch, pid, time.Now().Add(time.Duration(pid)*time.Second-n*time.Second))); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	eventually(t, "all fixes in history", func() bool { return r.history("van-1") == n })
}

func TestEveryFlippedBitIsRefusedAndCounted(t *testing.T) {
	r := startServer(t, nil)
	e := r.enroll("van-1")
	pkt := report(t, e, uint32(time.Now().Unix()), 0, time.Now())
	c, err := net.Dial("udp", r.udp)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	send := func(b []byte) {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	taken := func() (sum, good uint64) {
		st, err := r.conn.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ok", "bad_len", "bad_version", "unknown_id", "bad_suite", "epoch_old", "replay", "too_old", "auth_fail", "filtered", "kdf_budget"} {
			sum += st.Ingest[name]
		}
		return sum, st.Ingest["ok"]
	}
	for bit := range len(pkt) * 8 {
		b := append([]byte(nil), pkt...)
		b[bit/8] ^= 1 << (bit % 8)
		send(b)
	}
	eventually(t, "every flipped datagram counted", func() bool { sum, _ := taken(); return sum >= uint64(len(pkt)*8) })
	if _, good := taken(); good != 0 {
		t.Fatalf("%d flipped datagrams were taken", good)
	}
	send(pkt)
	send(pkt)
	eventually(t, "the true one taken", func() bool { _, good := taken(); return good == 1 })
	eventually(t, "its copy refused", func() bool { sum, _ := taken(); return sum >= uint64(len(pkt)*8+2) })
	if got := r.history("van-1"); got != 1 {
		t.Errorf("history has %d fixes, want 1", got)
	}
}

func TestHealthFailsWhenFixesNoLongerArrive(t *testing.T) {
	r := startServer(t, nil)
	health := func() int {
		resp, err := http.Get("http://" + r.tcp + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode
	}
	eventually(t, "healthy", func() bool { return health() == http.StatusOK })
	past := time.Now().Add(-time.Minute)
	r.srv.probe.last.Store(&past)
	if err := r.srv.ingest.Close(); err != nil { // the river runs dry
		t.Fatal(err)
	}
	r.srv.probe.last.Store(&past)
	if got := health(); got != http.StatusServiceUnavailable {
		t.Errorf("health is %d without datagrams, want 503", got)
	}
	r.broken = true
}

func TestHealthBeforeTheFirstProbe(t *testing.T) {
	// The API document: age_ms is -1 if none ever arrived.
	if age, err := new(probe).health(); err == nil || age.Milliseconds() != -1 {
		t.Errorf("age %v, %v; want -1 ms and an error", age, err)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	r := startServer(t, nil)
	e := r.enroll("van-1")
	pkt := report(t, e, uint32(time.Now().Unix()), 0, time.Now())
	c, err := net.Dial("udp", r.udp)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(pkt); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	eventually(t, "stored", func() bool { return r.history("van-1") == 1 })
	before, err := r.conn.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	r.stop()
	r.start(nil)
	after, err := r.conn.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if before.Lineage != after.Lineage || after.Devices != 1 || after.Live != 1 {
		t.Errorf("after the restart: %+v, before: %+v", after, before)
	}
	if got := r.history("van-1"); got != 1 {
		t.Errorf("history has %d fixes, want 1", got)
	}
}

func TestStartErrorsSayWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	takenUDP, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = takenUDP.Close() }()
	r := startServer(t, nil)

	lostKey := t.TempDir()
	if err := os.WriteFile(filepath.Join(lostKey, "track.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"port taken", Config{Data: t.TempDir(), Listen: taken.Addr().String(), UDP: "127.0.0.1:0"}, []string{taken.Addr().String(), "taken", "--listen"}},
		{"udp port taken", Config{Data: t.TempDir(), Listen: "127.0.0.1:0", UDP: takenUDP.LocalAddr().String()}, []string{takenUDP.LocalAddr().String(), "taken", "--udp"}},
		{"directory in use", Config{Data: r.dir, Listen: "127.0.0.1:0", UDP: "127.0.0.1:0"}, []string{r.dir}},
		{"no master key", Config{Data: lostKey, Listen: "127.0.0.1:0", UDP: "127.0.0.1:0"}, []string{"master.key", "backup"}},
		{"no certificate", Config{Data: t.TempDir(), Listen: "127.0.0.1:0", UDP: "127.0.0.1:0", Cert: "/no/such.pem", Key: "/no/such.key"}, []string{"/no/such.pem"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(context.Background(), tt.cfg)
			if err == nil {
				t.Fatal("it opened")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not name %q: %v", want, err)
				}
			}
		})
	}
}

func TestNewAdminTokenLetsIn(t *testing.T) {
	r := startServer(t, nil)
	r.stop()
	token, err := NewAdminToken(context.Background(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	r.start(nil)
	c, err := client.Dial(client.Config{Server: r.tcp, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	if _, err := c.Enroll(context.Background(), client.NewDevice{Name: "van-1"}); err != nil {
		t.Error(err)
	}
	if _, err := NewAdminToken(context.Background(), t.TempDir()); err == nil {
		t.Error("a directory that is no server's got a token")
	}
}

func TestTLSIsRequiredWhenAskedFor(t *testing.T) {
	r := startServer(t, func(c *Config) { c.TLS = TLSOn })
	resp, err := http.Get("http://" + r.tcp + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain http got %d, want 400", resp.StatusCode)
	}
	token, err := os.ReadFile(filepath.Join(r.dir, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(client.Config{Server: "https://" + r.tcp, Token: strings.TrimSpace(string(token)),
		TLS: client.TLSConfig{KnownServers: filepath.Join(t.TempDir(), "known")}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	if _, err := c.Status(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestDocumentIsServedWithoutToken(t *testing.T) {
	r := startServer(t, nil)
	resp, err := http.Get("http://" + r.tcp + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var doc struct {
		OpenAPI string `json:"openapi"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.") {
		t.Errorf("%+v, %v", doc, err)
	}
}

// TestStrangersSenderIsTaken runs a sender that was written from docs/protocol.md in
// another language, with its own cryptography: its report is taken and the ack that
// comes back verifies; its copies, and every bit flipped, are refused.
func TestStrangersSenderIsTaken(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("skip: no node here for the sender in another language")
	}
	for _, suite := range []int{1, 2} {
		r := startServer(t, nil)
		got, err := r.conn.Enroll(context.Background(), client.NewDevice{Name: "stranger", Suite: suite})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(node, "../../testdata/sender.mjs", "--enrolment", got.Enrolment, "--ack", "--repeat", "3", "--flip", "--timeout", "10000", "48.137,11.575")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("suite %d: %v\n%s", suite, err, out)
		}
		var answer struct {
			Ack struct {
				Status any `json:"status"`
			} `json:"ack"`
		}
		if err := json.Unmarshal(out, &answer); err != nil || answer.Ack.Status == nil {
			t.Fatalf("suite %d: no verified ack: %v\n%s", suite, err, out)
		}
		eventually(t, "copies refused", func() bool {
			st, err := r.conn.Status(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			var refused uint64
			for _, why := range []string{"bad_version", "unknown_id", "bad_suite", "epoch_old", "replay", "too_old", "auth_fail", "filtered"} {
				refused += st.Ingest[why]
			}
			return refused >= 3+seal.MinDatagram*8 && st.Ingest["ok"] == 1
		})
		if n := r.history("stranger"); n != 1 {
			t.Errorf("suite %d: history has %d fixes, want 1", suite, n)
		}
		r.stop()
	}
}
