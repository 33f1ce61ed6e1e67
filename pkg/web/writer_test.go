package web

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tracker/pkg/engine"
	"tracker/pkg/hub"
	"tracker/pkg/track"
)

// goroutinesOf counts goroutines with that function on their stack.
func goroutinesOf(function string) int {
	buf := make([]byte, 16<<20)
	buf = buf[:runtime.Stack(buf, true)]
	return strings.Count(string(buf), function+"(")
}

// eventually waits for what comes by itself.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestIdleViewerIsOneGoroutineAndNothingElse(t *testing.T) {
	h := newHouse(t, nil)
	ids := h.enroll("a")
	h.apply(fixAt(ids[0], 1, 1, 1))
	const viewers = 50
	conns := h.idleViewers(viewers)
	alone := func() bool {
		return goroutinesOf("web.(*session).run") == viewers && goroutinesOf("web.(*session).labour") == 0
	}
	eventually(t, "one goroutine each", alone)
	h.apply(fixAt(ids[0], 2, 2, 2))
	eventually(t, "a frame for everybody", func() bool { return h.web.stats.framesDirect.Load() >= viewers })
	eventually(t, "one goroutine each after a frame", alone)
	for _, s := range h.web.sessions.list() {
		s.mu.Lock()
		if s.taken || s.said != nil || s.asks != nil || s.in.msg != nil {
			t.Errorf("an idle session keeps %v %v %v %v", s.taken, s.said, s.asks, s.in.msg)
		}
		s.mu.Unlock()
	}
	for _, c := range conns {
		_ = c.Close()
	}
	eventually(t, "all have gone", func() bool {
		return goroutinesOf("web.(*session)") == 0 && len(h.web.sessions.list()) == 0 && h.engine.Status().Hub.Viewers == 0
	})
}

// keeps says how much the kernel keeps of a connection at its reader's end.
func keeps(t testing.TB, c net.Conn, size int) {
	t.Helper()
	if err := c.(*net.TCPConn).SetReadBuffer(size); err != nil {
		t.Fatal(err)
	}
}

// A viewer that stops reading: the others get everything meanwhile and no goroutine is
// theirs; it itself has one, and when it reads again, the newest and the count.
func TestStuckViewerCostsNobodyElseAnything(t *testing.T) {
	h := newHouse(t, nil)
	var names []string
	for i := range 400 {
		names = append(names, fmt.Sprintf("%0100d", i))
	}
	ids := h.enroll(names...)
	stuck := h.dialPeer(h.viewer, "", "")
	keeps(t, stuck.c, 256<<10)
	w := stuck.watch(`{"op":"watch","id":1,"all":true}`)
	stuck.snapshot(w.Stream)
	const viewers, rounds = 4, 100
	var others sync.WaitGroup
	for range viewers {
		p := h.dialPeer(h.viewer, "", "")
		p.snapshot(p.watch(`{"op":"watch","id":1,"all":true}`).Stream)
		others.Go(func() {
			if got := p.count(rounds * uint64(len(ids))); got != rounds*len(ids) {
				t.Errorf("got %d fixes", got)
			}
		})
	}
	for r := range rounds {
		h.fillRound(ids, r)
		// As fast as the others read, and no faster.
		eventually(t, "the others have read", func() bool {
			st := h.engine.Status().Hub
			return st.FixesOut+st.Skipped >= uint64(viewers*(r+1)*len(ids))
		})
	}
	others.Wait()
	eventually(t, "only the stuck one has a goroutine", func() bool { return goroutinesOf("web.(*session).labour") == 1 })
	skipped, got := uint64(0), uint64(0)
	stuck.until(func(m msg) bool {
		skipped, got = skipped+m.Skipped, got+uint64(m.N)
		return !m.More && m.Seq == rounds*uint64(len(ids))
	})
	if skipped == 0 || got+skipped != rounds*uint64(len(ids)) {
		t.Errorf("got %d and skipped %d", got, skipped)
	}
	eventually(t, "nobody has", func() bool { return goroutinesOf("web.(*session).labour") == 0 })
}

// count reads fixes up to a number in a stream.
func (p *peer) count(until uint64) (got int) {
	for {
		_, b, err := p.frame()
		if err != nil {
			p.t.Errorf("read: %v", err)
			return got
		}
		var stream, seq uint64
		var n int
		if _, err := fmt.Sscanf(string(b[:min(len(b), 100)]), `{"type":"fixes","stream":%d,"seq":%d,"n":%d`, &stream, &seq, &n); err == nil {
			if got += n; seq == until {
				return got
			}
		}
	}
}

func (h *house) fillRound(ids []track.DeviceID, r int) {
	fixes := make([]track.Fix, 0, len(ids))
	for i, id := range ids {
		fixes = append(fixes, fixAt(id, r, float64(i%90), float64(r%180)))
	}
	h.apply(fixes...)
}

// hostile reads frames in odd pieces from a connection with little room, and checks each:
// header, JSON, and the arithmetic of its stream.
func hostile(t *testing.T, p *peer, until func(m msg) bool) {
	piece := make([]byte, 7000)
	var have []byte
	for n := 0; ; n++ {
		_ = p.c.SetReadDeadline(time.Now().Add(20 * time.Second))
		k, err := p.r.Read(piece[:1+n*997%len(piece)])
		if err != nil {
			t.Errorf("read: %v", err)
			return
		}
		for have = append(have, piece[:k]...); ; {
			op, payload, rest, whole := cutFrame(have)
			if !whole {
				break
			}
			have = rest
			if op != ws.OpText {
				continue
			}
			var m msg
			if err := json.Unmarshal(payload, &m); err != nil {
				t.Errorf("torn: %v in %.200q", err, payload)
				return
			}
			if p.check(m, payload); until(m) {
				return
			}
		}
		if n%50 == 0 {
			time.Sleep(time.Millisecond) // this client is slow on purpose
		}
	}
}

// cutFrame takes one frame of a server off b.
func cutFrame(b []byte) (op ws.OpCode, payload, rest []byte, whole bool) {
	if len(b) < 2 {
		return 0, nil, b, false
	}
	n, at := int(b[1]), 2
	switch {
	case n == 126 && len(b) >= 4:
		n, at = int(binary.BigEndian.Uint16(b[2:])), 4
	case n == 127 && len(b) >= 10:
		n, at = int(binary.BigEndian.Uint64(b[2:])), 10
	case n >= 126:
		return 0, nil, b, false
	}
	if len(b)-at < n {
		return 0, nil, b, false
	}
	return ws.OpCode(b[0] & 15), b[at : at+n], b[at+n:], true
}

// Frames, answers and pings of several watches come from workers of the hub, from the
// reader, from the sweeper and from goroutines that wait for the line, and every frame is
// whole.
func TestFramesAreNeverTorn(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.PingEvery = 1 })
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("%0100d", i))
	}
	ids := h.enroll(names...)
	const readers, asks = 3, 40
	var done atomic.Int64
	var all sync.WaitGroup
	for range readers {
		p := h.dialPeer(h.admin, "", "")
		keeps(t, p.c, 32<<10)
		p.send(`{"op":"watch","id":1,"all":true}`)
		for i := range 5 {
			p.send(fmt.Sprintf(`{"op":"watch","id":%d,"devices":["%s"]}`, i+2, names[i]))
		}
		all.Go(func() {
			defer done.Add(1)
			pongs := 0
			hostile(t, p, func(m msg) bool {
				if m.Type == "pong" || m.Type == "reported" {
					pongs++
				}
				return pongs == asks
			})
		})
		all.Go(func() { // who asks all the time
			for i := range asks {
				text := `{"op":"ping"}`
				if i%2 == 0 {
					text = fmt.Sprintf(`{"op":"report","id":1,"device":%q,"fixes":[{"time":1,"lat":1,"lon":1}]}`, names[i%len(names)])
				}
				if _, err := p.c.Write(clientFrame(ws.OpText, true, []byte(text))); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	for r := 0; done.Load() < readers && !t.Failed(); r++ {
		h.fillRound(ids, r)
		time.Sleep(time.Millisecond)
	}
	all.Wait()
	st := &h.web.stats
	if st.bytesDirect.Load() == 0 || st.bytesSlow.Load() == 0 {
		t.Errorf("%d bytes were written at once and %d by goroutines: one way was not tried", st.bytesDirect.Load(), st.bytesSlow.Load())
	}
}

// What is broken under whoever has the pen ends that session, and only it.
func TestPanicUnderThePenEndsOneSession(t *testing.T) {
	h := newHouse(t, nil)
	id := h.enroll("a")[0]
	good := h.dialPeer(h.viewer, "", "")
	good.snapshot(good.watch(`{"op":"watch","id":1,"all":true}`).Stream)
	bad := h.dialPeer(h.viewer, "", "")
	bad.snapshot(bad.watch(`{"op":"watch","id":1,"all":true}`).Stream)
	var victim *session
	for _, s := range h.web.sessions.list() {
		if s.c.RemoteAddr().String() == bad.c.LocalAddr().String() {
			victim = s
		}
	}
	eventually(t, "it rests", func() bool {
		victim.mu.Lock()
		defer victim.mu.Unlock()
		return !victim.taken
	})
	victim.mu.Lock()
	victim.watches = append(victim.watches, nil) // nobody has the pen
	victim.mu.Unlock()
	h.apply(fixAt(id, 1, 1, 1))
	if _, err := io.Copy(io.Discard, bad.r); err != nil {
		t.Errorf("got %v", err)
	}
	eventually(t, "only the other is left", func() bool { return goroutinesOf("web.(*session).run") == 1 })
	if m := good.next(); len(m.Fixes) != 1 {
		t.Errorf("the other: got %+v", m)
	}
}

func TestEncodingAFrameAllocatesNothing(t *testing.T) {
	f := hub.Frame{Kind: hub.Fixes, Stream: 1}
	for range 100 {
		f.Fixes = append(f.Fixes, sampleFixes[0].fix)
	}
	enc, buf := frameEncoder(named("van-1")), make([]byte, 0, 1<<18)
	if n := testing.AllocsPerRun(100, func() { buf = enc(buf[:0], &f) }); n > 0 {
		t.Errorf("got %v allocations", n)
	}
}

// From the message to the answer in the socket, the engine in between.
func TestReportAllocatesHardlyAnything(t *testing.T) {
	if raceEnabled {
		t.Skip("what is lent is forgotten at random under the race detector")
	}
	h := newHouse(t, nil)
	h.enroll("van")
	p := h.dialPeer(h.admin, "", "")
	one := func(n int) string {
		fixes := strings.Repeat(`,{"time":"2026-03-01T12:00:00.000Z","lat":48.1371234,"lon":11.5754123,"alt_m":519,"speed_mps":13.89,"course_deg":270.15}`, n)
		return `{"op":"report","id":7,"device":"van","fixes":[` + fixes[1:] + `]}`
	}
	p.report(one(1))
	s := h.web.sessions.list()[0]
	_ = p.c.SetReadDeadline(time.Time{})
	go func() { _, _ = io.Copy(io.Discard, p.c) }()
	for _, fixes := range []int{1, 20, engine.MaxReport} {
		text := []byte(one(fixes))
		if n := testing.AllocsPerRun(200, func() {
			if !s.hear(text, time.Now()) {
				t.Fatal("not plain")
			}
		}); n > 2 {
			t.Errorf("%d fixes: got %v allocations", fixes, n)
		}
	}
}

func BenchmarkReport(b *testing.B) {
	h := newHouse(b, nil)
	h.enroll("van")
	p := h.dialPeer(h.admin, "", "")
	text := []byte(`{"op":"report","id":7,"device":"van","fixes":[{"time":"2026-03-01T12:00:00.000Z","lat":48.1371234,"lon":11.5754123}]}`)
	p.watch(`{"op":"unwatch","id":1}`)
	s := h.web.sessions.list()[0]
	_ = p.c.SetReadDeadline(time.Time{})
	go func() { _, _ = io.Copy(io.Discard, p.c) }()
	b.ReportAllocs()
	for b.Loop() {
		reading := engine.NewReading()
		q := plainReport{b: text}
		if _, ok := q.read(reading); !ok {
			b.Fatal("not plain")
		}
		reading.Free()
		s.answer(func(dst []byte) []byte { return appendReported(dst, 7, 1, 1, 0) })
	}
}

// One fix after the other, each sent when everybody has the one before: a notice that got
// lost between two who hold the pen would be the end of it.
func TestNoNoticeIsLost(t *testing.T) {
	h := newHouse(t, nil)
	id := h.enroll("van")[0]
	const viewers, rounds = 4, 300
	got := make(chan struct{}, viewers)
	var all sync.WaitGroup
	for range viewers {
		p := h.dialPeer(h.viewer, "", "")
		p.snapshot(p.watch(`{"op":"watch","id":1,"all":true}`).Stream)
		all.Go(func() {
			for range rounds {
				if _, _, err := p.frame(); err != nil {
					t.Error(err)
				}
				got <- struct{}{}
			}
		})
	}
	for r := range rounds {
		h.apply(fixAt(id, r, 1, 1))
		for range viewers {
			<-got
		}
	}
	all.Wait()
}

// A watch whose map is deleted ends with an error of its own. The others go on, and its
// number is free again.
func TestWatchThatMayNotGoOnEnds(t *testing.T) {
	h := newHouse(t, nil)
	id := h.enroll("van")[0]
	if _, err := h.engine.CreateMap(t.Context(), "harbour"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.engine.JoinMap(t.Context(), "harbour", []string{"van"}); err != nil {
		t.Fatal(err)
	}
	h.apply(fixAt(id, 1, 1, 1))
	p := h.dialPeer(h.viewer, "", "")
	if n := p.snapshot(p.watch(`{"op":"watch","id":1,"map":"harbour"}`).Stream); n != 1 {
		t.Errorf("got a snapshot of %d fixes", n)
	}
	all := p.watch(`{"op":"watch","id":2,"all":true}`)
	p.snapshot(all.Stream)
	if _, err := h.engine.DeleteMap(t.Context(), "harbour"); err != nil {
		t.Fatal(err)
	}
	if m := p.until(func(m msg) bool { return m.Type == "error" }); m.ID != 1 || m.Error.Code != "not_found" {
		t.Errorf("got %+v", m)
	}
	h.apply(fixAt(id, 2, 2, 2))
	if m := p.until(func(m msg) bool { return m.Type == "fixes" }); m.Stream != all.Stream {
		t.Errorf("got %+v", m)
	}
	if m := p.watch(`{"op":"watch","id":1,"devices":["van"]}`); m.Type != "watching" {
		t.Errorf("got %+v", m)
	}
}

// beforeUpgrade is a listener whose connections call a hook before they write the answer
// to a handshake.
type beforeUpgrade struct {
	net.Listener
	hook func()
}

type beforeUpgradeConn struct {
	net.Conn
	hook func()
}

func (l *beforeUpgrade) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &beforeUpgradeConn{c, l.hook}, err
}

func (c *beforeUpgradeConn) Write(b []byte) (int, error) {
	if strings.HasPrefix(string(b), "HTTP/1.1 101") {
		c.hook()
	}
	return c.Conn.Write(b)
}

// A server that stops, or a token that ends, while a handshake is being answered: what the
// session has to say about it comes behind the answer.
func TestNothingIsSaidBeforeTheHandshakeIsAnswered(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var h *house
	h = newHouseOn(t, &beforeUpgrade{ln, func() {
		for _, s := range h.web.sessions.list() {
			s.end(goingAway)
		}
		for goroutinesOf("web.(*session).labour") > 0 { // whoever says it
			runtime.Gosched()
		}
	}}, nil)
	p := h.dialPeer(h.viewer, "", "")
	if m := p.next(); m.Type != "goodbye" || m.Reason != goingAway.reason {
		t.Errorf("got %+v", m)
	}
	if op, b, err := p.frame(); op != ws.OpClose || err != nil {
		t.Errorf("got %v %q %v", op, b, err)
	}
}
