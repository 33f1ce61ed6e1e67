package web

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tracker/pkg/engine"
	"tracker/pkg/track"
)

// peer is a WebSocket client that does what a test tells it to, and nothing by itself.
type peer struct {
	t    testing.TB
	c    net.Conn
	r    *bufio.Reader
	seq  map[uint64]uint64 // by stream
	live map[uint64]map[track.DeviceID]msgFix
}

type msgFix struct {
	Device track.DeviceID
	Name   string
	Time   string
	Lat    float64
	Late   bool
}

type msg struct {
	Type           string
	ID             int64
	Stream         uint64
	Epoch          string
	Seq            uint64
	N              int
	Skipped        uint64
	Fresh          bool
	More           bool
	Resumed        bool
	Fixes          []msgFix
	Left           []track.DeviceID
	Reason         string
	Device         track.DeviceID
	Accepted, Late int
	Error          struct{ Code, Message string }
}

const handshake = "GET /v1/stream HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n%s\r\n"

// dialPeer connects as a viewer; extra are more headers, early is sent in one piece
// with the handshake.
func (h *house) dialPeer(token, extra, early string) *peer {
	h.t.Helper()
	p, resp := upgrade(h.t, h.raw(fmt.Sprintf(handshake, h.addr, token, extra)+early))
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		h.t.Fatalf("upgrade: got %d %v", resp.StatusCode, resp.Header)
	}
	return p
}

func upgrade(t testing.TB, c net.Conn) (*peer, *http.Response) {
	t.Helper()
	p := &peer{t: t, c: c, r: bufio.NewReader(c), seq: map[uint64]uint64{}, live: map[uint64]map[track.DeviceID]msgFix{}}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(p.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, resp
}

func (p *peer) send(text string) {
	p.t.Helper()
	if _, err := p.c.Write(clientFrame(ws.OpText, true, []byte(text))); err != nil {
		p.t.Fatal(err)
	}
}

// frame reads one frame as it comes. A server must not mask, and must use the shortest
// header.
func (p *peer) frame() (ws.OpCode, []byte, error) {
	_ = p.c.SetReadDeadline(time.Now().Add(20 * time.Second))
	h, err := ws.ReadHeader(p.r)
	if err != nil {
		return 0, nil, err
	}
	if err := ws.CheckHeader(h, ws.StateClientSide); err != nil {
		p.t.Errorf("frame: %v", err)
	}
	b := make([]byte, h.Length)
	_, err = io.ReadFull(p.r, b)
	return h.OpCode, b, err
}

// next reads one message and checks its numbers.
func (p *peer) next() msg {
	p.t.Helper()
	for {
		op, b, err := p.frame()
		if err != nil {
			p.t.Fatalf("read: %v", err)
		}
		switch op {
		case ws.OpPing, ws.OpPong:
			continue
		case ws.OpClose:
			p.t.Fatalf("closed: %v", b)
		}
		var m msg
		if err := json.Unmarshal(b, &m); err != nil {
			p.t.Fatalf("%v in %s", err, b)
		}
		p.check(m, b)
		return m
	}
}

// check follows a stream as a client would.
func (p *peer) check(m msg, raw []byte) {
	p.t.Helper()
	if m.Fresh {
		p.live[m.Stream] = map[track.DeviceID]msgFix{}
	}
	at := p.seq[m.Stream]
	switch m.Type {
	case "snapshot":
	case "fixes":
		if at+uint64(m.N) != m.Seq || m.N != len(m.Fixes) {
			p.t.Errorf("stream %d at %d: got %.300s", m.Stream, at, raw)
		}
	case "resync":
		if at+m.Skipped != m.Seq {
			p.t.Errorf("stream %d at %d: got %.300s", m.Stream, at, raw)
		}
	default:
		return
	}
	p.seq[m.Stream] = m.Seq
	for _, f := range m.Fixes {
		if !f.Late && p.live[m.Stream] != nil {
			p.live[m.Stream][f.Device] = f
		}
	}
	for _, id := range m.Left {
		delete(p.live[m.Stream], id)
	}
}

// until reads messages until want says so, and returns that one.
func (p *peer) until(want func(msg) bool) msg {
	p.t.Helper()
	for {
		if m := p.next(); want(m) {
			return m
		}
	}
}

// watch asks, and returns the answer.
func (p *peer) watch(request string) msg {
	p.t.Helper()
	p.send(request)
	return p.until(func(m msg) bool { return m.Type == "watching" || m.Type == "error" })
}

func (p *peer) snapshot(stream uint64) (n int) {
	p.t.Helper()
	p.until(func(m msg) bool {
		if m.Type != "snapshot" || m.Stream != stream {
			return false
		}
		n += len(m.Fixes)
		return !m.More
	})
	return n
}

// closed reads until the server closes, and returns its code and last words.
func (p *peer) closed() (code ws.StatusCode, goodbye string) {
	p.t.Helper()
	for {
		op, b, err := p.frame()
		if err != nil {
			p.t.Fatalf("no close frame: %v", err)
		}
		if op == ws.OpText {
			var m msg
			if json.Unmarshal(b, &m) == nil && m.Type == "goodbye" {
				goodbye = m.Reason
			}
		}
		if op == ws.OpClose {
			code, _ = ws.ParseCloseFrameData(b)
			_, _ = p.c.Write(clientFrame(ws.OpClose, true, b[:2]))
			if _, err := io.ReadAll(p.r); err != nil && !errors.Is(err, io.EOF) {
				p.t.Errorf("after the close: %v", err)
			}
			return code, goodbye
		}
	}
}

func TestWatchIsSnapshotThenWhatFollows(t *testing.T) {
	h := newHouse(t, nil)
	ids := h.enroll("a", "b", "c")
	h.apply(fixAt(ids[0], 1, 10, 10), fixAt(ids[1], 1, 20, 20))
	p := h.dialPeer(h.viewer, "", "")
	w := p.watch(`{"op":"watch","id":7,"all":true}`)
	if w.ID != 7 || len(w.Epoch) != 16 || w.Resumed {
		t.Fatalf("got %+v", w)
	}
	if n := p.snapshot(w.Stream); n != 2 {
		t.Errorf("got a snapshot of %d fixes", n)
	}
	h.apply(fixAt(ids[2], 2, 30, 30))
	m := p.next()
	if m.Type != "fixes" || len(m.Fixes) != 1 || m.Fixes[0].Name != "c" || m.Fixes[0].Lat != 30 {
		t.Errorf("got %+v", m)
	}
	p.send(`{"op":"ping"}`)
	if m := p.next(); m.Type != "pong" {
		t.Errorf("got %+v", m)
	}
	p.send(`{"op":"unwatch","id":7}`)
	if m := p.next(); m.Type != "unwatched" || m.ID != 7 {
		t.Errorf("got %+v", m)
	}
	h.apply(fixAt(ids[2], 3, 31, 31))
	p.send(`{"op":"ping"}`)
	if m := p.next(); m.Type != "pong" {
		t.Errorf("after unwatch: got %+v", m)
	}
}

func TestAreaMovesInPlace(t *testing.T) {
	h := newHouse(t, nil)
	ids := h.enroll("a", "b")
	h.apply(fixAt(ids[0], 1, 10, 10), fixAt(ids[1], 1, 50, 50))
	p := h.dialPeer(h.viewer, "", "")
	w := p.watch(`{"op":"watch","id":1,"bbox":[0,0,20,20]}`)
	if n := p.snapshot(w.Stream); n != 1 {
		t.Fatalf("got a snapshot of %d fixes", n)
	}
	h.apply(fixAt(ids[0], 2, 30, 30))
	if m := p.next(); len(m.Left) != 1 || m.Left[0] != ids[0] {
		t.Errorf("left: got %+v", m)
	}
	moved := p.watch(`{"op":"area","id":1,"bbox":[40,40,60,60]}`)
	if moved.Stream == w.Stream || moved.ID != 1 {
		t.Errorf("got %+v after %+v", moved, w)
	}
	if n := p.snapshot(moved.Stream); n != 1 {
		t.Errorf("got a snapshot of %d fixes", n)
	}
	named := p.watch(`{"op":"area","id":1,"devices":["a","` + ids[1].String() + `"]}`)
	if n := p.snapshot(named.Stream); n != 2 {
		t.Errorf("got a snapshot of %d fixes", n)
	}
}

func TestWatchResumesWhereItStopped(t *testing.T) {
	h := newHouse(t, nil)
	id := h.enroll("a")[0]
	p := h.dialPeer(h.viewer, "", "")
	w := p.watch(`{"op":"watch","id":1,"all":true}`)
	p.snapshot(w.Stream)
	h.apply(fixAt(id, 1, 1, 1))
	last := p.next()
	_ = p.c.Close()
	h.apply(fixAt(id, 2, 2, 2))
	q := h.dialPeer(h.viewer, "", "")
	q.seq[w.Stream] = last.Seq
	again := q.watch(fmt.Sprintf(`{"op":"watch","id":1,"all":true,"epoch":"%s","seq":%d}`, w.Epoch, last.Seq))
	if !again.Resumed || again.Stream != w.Stream {
		t.Errorf("got %+v", again)
	}
	if m := q.next(); m.Type != "fixes" || m.Fixes[0].Lat != 2 {
		t.Errorf("got %+v", m)
	}
	other := h.dialPeer(h.viewer, "", "")
	if m := other.watch(fmt.Sprintf(`{"op":"watch","id":1,"all":true,"epoch":"%016x","seq":%d}`, 12345, last.Seq)); m.Resumed {
		t.Errorf("resumed in another epoch: %+v", m)
	}
	other.snapshot(w.Stream)
}

func TestManyWatchesShareAConnectionFairly(t *testing.T) {
	h := newHouse(t, nil)
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("d%d", i))
	}
	ids := h.enroll(names...)
	p := h.dialPeer(h.viewer, "", "")
	streams := map[uint64]int{}
	for i, n := range names {
		w := p.watch(fmt.Sprintf(`{"op":"watch","id":%d,"devices":["%s"]}`, i, n))
		streams[w.Stream] = i
	}
	all := p.watch(`{"op":"watch","id":99,"all":true}`)
	const rounds = 50
	for r := range rounds {
		for i, id := range ids {
			h.apply(fixAt(id, r, float64(i), float64(r)))
		}
	}
	// Every watch gets the end of every device, the busy one beside them or not.
	waiting := len(streams) + len(ids)
	for waiting > 0 {
		m := p.next()
		for _, f := range m.Fixes {
			if f.Time == "2023-11-14T22:14:09.000Z" { // of the last round
				if i, single := streams[m.Stream]; single && f.Device != ids[i] {
					t.Fatalf("watch %d got %+v", i, f)
				}
				waiting--
			}
		}
	}
	if got := len(p.live[all.Stream]); got != len(ids) {
		t.Errorf("got %d devices, want %d", got, len(ids))
	}
}

func TestWatchLimits(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.MaxWatches = 2; c.MaxDevices = 3 })
	h.enroll("a", "b", "c", "d")
	p := h.dialPeer(h.viewer, "", "")
	for _, tc := range []struct{ request, code string }{
		{`{"op":"watch","id":1,"all":true}`, ""},
		{`{"op":"watch","id":1,"all":true}`, "exists"},
		{`{"op":"watch","id":2,"devices":["a","b","c","d"]}`, "invalid"},
		{`{"op":"watch","id":2,"devices":["nobody"]}`, "not_found"},
		{`{"op":"watch","id":2,"devices":[]}`, "invalid"},
		{`{"op":"watch","id":2}`, "invalid"},
		{`{"op":"watch","id":2,"all":true,"bbox":[0,0,1,1]}`, "invalid"},
		{`{"op":"watch","id":2,"bbox":[0,0,1]}`, "invalid"},
		{`{"op":"watch","id":2,"bbox":[2,0,1,1]}`, "invalid"},
		{`{"op":"watch","id":2,"all":true,"epoch":"xyz"}`, "invalid"},
		{`{"op":"watch","id":2,"all":true,"colour":1}`, "invalid"},
		{`{"op":"watch","id":2,"all":true}{}`, "invalid"},
		{`{"op":"dance","id":2}`, "invalid"},
		{`hello`, "invalid"},
		{`{"op":"area","id":5,"all":true}`, "not_found"},
		{`{"op":"watch","id":2,"devices":["a","b","c"]}`, ""},
		{`{"op":"watch","id":3,"all":true}`, "rate_limited"},
	} {
		m := p.watch(tc.request)
		if m.Error.Code != tc.code || tc.code != "" && m.Error.Message == "" {
			t.Errorf("%s: got %+v", tc.request, m)
		}
	}
	p.send(`{"op":"unwatch","id":8}`)
	if m := p.until(func(m msg) bool { return m.Type == "error" }); m.Error.Code != "not_found" {
		t.Errorf("got %+v", m)
	}
}

func TestRevokedTokenLosesItsSocketsWithinASecond(t *testing.T) {
	h := newHouse(t, nil)
	extra := h.token("doomed", "viewer")
	doomed, other := h.dialPeer(extra, "", ""), h.dialPeer(h.viewer, "", "")
	doomed.snapshot(doomed.watch(`{"op":"watch","id":1,"all":true}`).Stream)
	other.snapshot(other.watch(`{"op":"watch","id":1,"all":true}`).Stream)
	for _, tok := range h.engine.Tokens() {
		if tok.Name == "doomed" {
			if err := h.engine.RevokeToken(t.Context(), tok.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	began := time.Now()
	if code, goodbye := doomed.closed(); code != closeToken || goodbye == "" {
		t.Errorf("got close code %d, goodbye %q", code, goodbye)
	}
	if took := time.Since(began); took > sweepEvery+time.Second {
		t.Errorf("closed after %v", took)
	}
	other.send(`{"op":"ping"}`)
	if m := other.next(); m.Type != "pong" {
		t.Errorf("the other token: got %+v", m)
	}
}

func TestShutdownSaysGoodbye(t *testing.T) {
	h := newHouse(t, nil)
	p := h.dialPeer(h.viewer, "", "")
	p.snapshot(p.watch(`{"op":"watch","id":1,"all":true}`).Stream)
	idle := h.raw("")
	done := make(chan struct{})
	go func() { defer close(done); h.stop() }()
	if code, goodbye := p.closed(); code != ws.StatusGoingAway || goodbye == "" {
		t.Errorf("got close code %d, goodbye %q", code, goodbye)
	}
	<-done
	_ = idle.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := io.ReadAll(idle); isTimeout(err) {
		t.Error("a connection outlived the server")
	}
	if _, err := net.Dial("tcp", h.addr); err == nil {
		t.Error("somebody still listens")
	}
}

func TestBrokenFramesCloseWithTheRightCode(t *testing.T) {
	h := newHouse(t, nil)
	for name, tc := range map[string]struct {
		bytes []byte
		code  ws.StatusCode
	}{
		"top bit of the length": {msbFrame, ws.StatusProtocolError},
		"too long":              {lyingFrame(maxMessage + 1), ws.StatusMessageTooBig},
		"huge":                  {lyingFrame(1 << 50), ws.StatusMessageTooBig},
		"not masked":            {unhex("8101 41"), ws.StatusProtocolError},
		"binary":                {clientFrame(ws.OpBinary, true, []byte("x")), ws.StatusUnsupportedData},
		"not UTF-8":             {clientFrame(ws.OpText, true, []byte{0xff}), ws.StatusInvalidFramePayloadData},
	} {
		t.Run(name, func(t *testing.T) {
			p := h.dialPeer(h.viewer, "", "")
			p.t = t
			if _, err := p.c.Write(tc.bytes); err != nil {
				t.Fatal(err)
			}
			if code, _ := p.closed(); code != tc.code {
				t.Errorf("got close code %d, want %d", code, tc.code)
			}
		})
	}
}

func TestWordsBeforeTheHandshakeAnswerAreNotLost(t *testing.T) {
	h := newHouse(t, nil)
	early := string(clientFrame(ws.OpText, true, []byte(`{"op":"ping"}`))) + string(clientFrame(ws.OpText, true, []byte(`{"op":"watch","id":1,"all":true}`)))
	p := h.dialPeer(h.viewer, "", early)
	if m := p.next(); m.Type != "pong" {
		t.Errorf("got %+v", m)
	}
	if m := p.next(); m.Type != "watching" {
		t.Errorf("got %+v", m)
	}
}

func TestClientCloseIsAnswered(t *testing.T) {
	h := newHouse(t, nil)
	p := h.dialPeer(h.viewer, "", "")
	if _, err := p.c.Write(clientFrame(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))); err != nil {
		t.Fatal(err)
	}
	if code, goodbye := p.closed(); code != ws.StatusNormalClosure || goodbye != "" {
		t.Errorf("got close code %d, goodbye %q", code, goodbye)
	}
}

func TestSilentClientIsPingedAndThenClosed(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.PingEvery, c.IdleTimeout = 10*time.Millisecond, 1500*time.Millisecond })
	p := h.dialPeer(h.viewer, "", "")
	if op, _, err := p.frame(); op != ws.OpPing || err != nil {
		t.Fatalf("got %v, %v, want a ping", op, err)
	}
	// A pong counts as a sign of life, so this one stays twice as long.
	kept := time.Now()
	for time.Since(kept) < 2*time.Second {
		op, b, err := p.frame()
		if err != nil || op != ws.OpPing {
			t.Fatalf("got %v %s, %v, want a ping", op, b, err)
		}
		if _, err := p.c.Write(clientFrame(ws.OpPong, true, b)); err != nil {
			t.Fatal(err)
		}
	}
	if code, _ := p.closed(); code != ws.StatusPolicyViolation {
		t.Errorf("got close code %d", code)
	}
}

func TestBrowsersOfOtherSitesAreDenied(t *testing.T) {
	h := newHouse(t, nil)
	for origin, status := range map[string]int{
		"http://" + h.addr:               101,
		"https://" + h.addr:              101, // TLS may end before us
		"http://evil.example.org":        403,
		"http://" + h.addr + ".evil.com": 403,
		"null":                           403,
	} {
		_, resp := upgrade(t, h.raw(fmt.Sprintf(handshake, h.addr, h.viewer, "Origin: "+origin+"\r\n")))
		if body, _ := io.ReadAll(resp.Body); status == 403 && strings.Contains(string(body), "role admin") {
			t.Errorf("%s: the hint is about roles, and not the matter: %s", origin, body)
		}
		if resp.StatusCode != status {
			t.Errorf("%s: got %d, want %d", origin, resp.StatusCode, status)
		}
	}
	_, resp := upgrade(t, h.raw(fmt.Sprintf(handshake, h.addr, "trk_wrong", "")))
	if resp.StatusCode != 401 {
		t.Errorf("wrong token: got %d", resp.StatusCode)
	}
}

// fill applies fixes until the writer of the only session is stuck.
func (h *house) fill(ids []track.DeviceID, rounds int) {
	for r := range rounds {
		fixes := make([]track.Fix, 0, len(ids))
		for i, id := range ids {
			fixes = append(fixes, fixAt(id, r, float64(i%90), float64(r%180)))
		}
		h.apply(fixes...)
	}
}

func TestViewerThatTakesNothingIsClosedAndNobodyWaits(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.StreamTimeout = 2 * time.Second })
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprintf("%0100d", i))
	}
	ids := h.enroll(names...)
	stuck, good := h.dialPeer(h.viewer, "", ""), h.dialPeer(h.viewer, "", "")
	stuck.send(`{"op":"watch","id":1,"all":true}`)
	w := good.watch(`{"op":"watch","id":1,"all":true}`)
	good.snapshot(w.Stream)
	done := make(chan struct{})
	go func() { defer close(done); h.fill(ids, 200) }()
	// The one that reads gets everything.
	good.until(func(m msg) bool { return m.Seq == 200*500 })
	<-done
	for h.web.stats.tooSlow.Load() == 0 {
		h.fill(ids, 1)
		time.Sleep(10 * time.Millisecond)
	}
	_ = stuck.c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, stuck.r); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("got %v", err)
	}
}

func TestSlowViewerGetsTheNewestAndTheCount(t *testing.T) {
	h := newHouse(t, nil)
	var names []string
	for i := range 400 {
		names = append(names, fmt.Sprintf("%0100d", i))
	}
	ids := h.enroll(names...)
	p := h.dialPeer(h.viewer, "", "")
	w := p.watch(`{"op":"watch","id":1,"all":true}`)
	p.snapshot(w.Stream)
	const rounds = 300
	h.fill(ids, rounds) // 120,000 fixes of 330 bytes, unread: more than the hub keeps
	skipped, got := uint64(0), uint64(0)
	p.until(func(m msg) bool {
		skipped += m.Skipped
		got += uint64(m.N)
		return !m.More && m.Seq == rounds*uint64(len(ids))
	})
	if skipped == 0 || got+skipped != rounds*uint64(len(ids)) {
		t.Errorf("got %d and skipped %d, of %d", got, skipped, rounds*len(ids))
	}
	if len(p.live[w.Stream]) != len(ids) {
		t.Errorf("got %d devices", len(p.live[w.Stream]))
	}
	for id, f := range p.live[w.Stream] {
		if want := string(appendTime(nil, 1700000000000+(rounds-1)*1000)); f.Time != want {
			t.Fatalf("%s: got %s, want %s", id, f.Time, want)
		}
	}
}

func TestFramesReachViewersThroughTLS(t *testing.T) {
	cert := httptest.NewTLSServer(nil) // has one
	defer cert.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := newHouseOn(t, tls.NewListener(ln, &tls.Config{Certificates: cert.TLS.Certificates}), nil)
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("%0100d", i))
	}
	ids := h.enroll(names...)
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, handshake, h.addr, h.viewer, ""); err != nil {
		t.Fatal(err)
	}
	p, resp := upgrade(t, c)
	if resp.StatusCode != 101 {
		t.Fatalf("got %d", resp.StatusCode)
	}
	w := p.watch(`{"op":"watch","id":1,"all":true}`)
	p.snapshot(w.Stream)
	h.fill(ids, 20)
	p.until(func(m msg) bool { return m.Seq == 20*300 })
}

func TestFloodOfRequestsIsReadSlowly(t *testing.T) {
	h := newHouse(t, nil)
	p := h.dialPeer(h.viewer, "", "")
	flood := bytes.Repeat(clientFrame(ws.OpText, true, []byte(`{"op":"ping"}`)), engine.AskBurst+20)
	began := time.Now()
	if _, err := p.c.Write(flood); err != nil {
		t.Fatal(err)
	}
	for range engine.AskBurst + 20 {
		if m := p.next(); m.Type != "pong" {
			t.Fatalf("got %+v", m)
		}
	}
	if took := time.Since(began); took < 10*time.Second/engine.AskPerSec {
		t.Errorf("%d requests took %v", engine.AskBurst+20, took)
	}
}
