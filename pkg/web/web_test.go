package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// house is an engine with this door in front of it, on loopback.
type house struct {
	t      testing.TB
	store  *memory
	engine *engine.Engine
	web    *Web
	ln     net.Listener
	addr   string
	admin  string
	viewer string
	pid    uint32
	http   *http.Client
	stop   func()
}

func newHouse(t testing.TB, change func(*Config)) *house {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newHouseOn(t, ln, change)
}

func newHouseOn(t testing.TB, ln net.Listener, change func(*Config)) *house {
	t.Helper()
	h := &house{t: t, store: &memory{}}
	e, err := engine.New(t.Context(), engine.Config{Advertise: "t.example.org:4810"}, h.store)
	if err != nil {
		t.Fatal(err)
	}
	h.engine = e
	cfg := Config{Version: "1.2.3", Ingest: func() iter.Seq2[string, uint64] { return maps.All(map[string]uint64{"ok": 7}) }}
	if os.Getenv("WEB_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if change != nil {
		change(&cfg)
	}
	h.web = New(cfg, e)
	h.ln, h.addr = ln, ln.Addr().String()
	h.admin = h.token("boss", engine.RoleAdmin)
	h.viewer = h.token("guest", engine.RoleViewer)
	h.http = &http.Client{Transport: &http.Transport{}}
	h.run()
	return h
}

func (h *house) run() {
	engineCtx, stopEngine := context.WithCancel(context.Background())
	webCtx, stopWeb := context.WithCancel(context.Background())
	engineDone, webDone := make(chan error, 1), make(chan error, 1)
	go func() { engineDone <- h.engine.Run(engineCtx) }()
	go func() { webDone <- h.web.ServeListener(webCtx, h.ln) }()
	stopped := false
	h.stop = func() {
		if stopped {
			return
		}
		stopped = true
		stopWeb()
		if err := <-webDone; err != nil {
			h.t.Errorf("serve: %v", err)
		}
		stopEngine()
		<-engineDone
	}
	h.t.Cleanup(func() {
		h.http.CloseIdleConnections()
		h.stop()
	})
}

func (h *house) token(name string, role engine.Role) string {
	h.t.Helper()
	_, secret, err := h.engine.CreateToken(context.Background(), name, role, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

func (h *house) enroll(names ...string) []track.DeviceID {
	h.t.Helper()
	var ask []engine.NewDevice
	for _, n := range names {
		ask = append(ask, engine.NewDevice{Name: n})
	}
	done, err := h.engine.Enroll(context.Background(), ask)
	if err != nil {
		h.t.Fatal(err)
	}
	var ids []track.DeviceID
	for i := range done {
		ids = append(ids, done[i].Device.ID)
	}
	return ids
}

// apply sends fixes down the river.
func (h *house) apply(fixes ...track.Fix) {
	b := track.Batch{Fixes: fixes}
	for i := range b.Fixes {
		h.pid++
		b.Fixes[i].PID = h.pid
	}
	h.engine.Apply(&b)
}

func fixAt(id track.DeviceID, sec int, lat, lon float64) track.Fix {
	return track.Fix{Device: id, Wire: id, Time: 1700000000000 + int64(sec)*1000, Arrived: 1700000000500 + int64(sec)*1000,
		At: geo.Deg(lat, lon), Has: track.HasPos}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do asks with a token ("" for none).
func (h *house) do(method, path, token, body string, header ...string) answer {
	h.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, "http://"+h.addr+path, r)
	if err != nil {
		h.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := h.http.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// get asks as a viewer and wants 200.
func (h *house) get(path string) answer {
	h.t.Helper()
	a := h.do("GET", path, h.viewer, "")
	if a.status != 200 {
		h.t.Fatalf("GET %s: got %d %s", path, a.status, a.body)
	}
	return a
}

func (a answer) decode(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

func (a answer) code(t testing.TB) string {
	t.Helper()
	var p struct {
		Error struct{ Code, Message, Request string }
	}
	a.decode(t, &p)
	if p.Error.Message == "" || p.Error.Request == "" || p.Error.Request != a.header.Get("X-Request-Id") {
		t.Errorf("got an incomplete problem: %s (%v)", a.body, a.header)
	}
	return p.Error.Code
}

// raw opens a connection and sends bytes as they are.
func (h *house) raw(send string) net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, send); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// readReply reads one HTTP answer from a raw connection.
func readReply(t testing.TB, c net.Conn) answer {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// TestMain fails when a goroutine of ours outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		code = lookForLeaks()
	}
	os.Exit(code)
}

func lookForLeaks() int {
	deadline := time.Now().Add(10 * time.Second)
	for {
		left := ourGoroutines()
		if len(left) == 0 {
			return 0
		}
		if time.Now().After(deadline) {
			_, _ = os.Stderr.WriteString("leaked goroutines:\n\n" + strings.Join(left, "\n\n") + "\n")
			return 1
		}
		runtime.Gosched()
		time.Sleep(20 * time.Millisecond) // nothing tells when a goroutine is gone
	}
}

// ourGoroutines are those with a frame of this project or of the HTTP server. The
// clock of fasthttp runs for ever, by design.
func ourGoroutines() []string {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for g := range bytes.SplitSeq(buf, []byte("\n\n")) {
		s := string(g)
		if strings.Contains(s, "web.TestMain") || strings.Contains(s, "updateServerDate") || strings.Contains(s, "serverDate") {
			continue
		}
		if strings.Contains(s, "tracker/pkg/") || strings.Contains(s, "fasthttp") {
			left = append(left, s)
		}
	}
	return left
}

// probeOf makes a probe that fails as *err says.
func probeOf(err *error) func() (time.Duration, error) {
	return func() (time.Duration, error) { return 10 * time.Millisecond, *err }
}
