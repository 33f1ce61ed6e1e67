package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/gateway"
	"tracker/pkg/geo"
	"tracker/pkg/ingest"
	"tracker/pkg/rpc"
	"tracker/pkg/seal"
	"tracker/pkg/store/sqlite"
	"tracker/pkg/track"
	"tracker/pkg/web"
)

// house is the other bank, in this process: a real store, engine and both doors.
type house struct {
	t      testing.TB
	engine *engine.Engine
	udp    string
	tcp    string
	admin  string
	scheme string // how to speak to it; empty: frames over TCP
	cut    func() // hangs up on everybody
	stop   func() // closes the door for people; open opens another at the same address
	webCfg web.Config
}

func newHouse(t testing.TB, change func(*house)) *house {
	t.Helper()
	db, err := sqlite.Open(sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(t.Context(), engine.Config{Advertise: "127.0.0.1"}, db)
	if err != nil {
		t.Fatal(err)
	}
	in, err := ingest.Listen(ingest.Config{Addr: "127.0.0.1:0"}, e)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, engine: e, udp: in.Addr().String()}
	if change != nil {
		change(h)
	}
	if _, h.admin, err = e.CreateToken(t.Context(), "boss", engine.RoleAdmin, 0); err != nil {
		t.Fatal(err)
	}
	start(t, db.Run) // stopped last
	t.Cleanup(func() { _ = in.Close() })
	start(t, e.Run)
	start(t, in.Run)
	h.tcp = "127.0.0.1:0"
	h.open()
	t.Cleanup(func() { h.stop() })
	return h
}

// open serves at h.tcp, as the port of a server does.
func (h *house) open() {
	h.t.Helper()
	ln, err := net.Listen("tcp", h.tcp)
	if err != nil {
		h.t.Fatal(err)
	}
	h.tcp = ln.Addr().String()
	apps := gateway.New(gateway.Config{RPC: gateway.Limits{Grace: 100 * time.Millisecond}, Ingest: func() iter.Seq2[string, uint64] { return maps.All(map[string]uint64{}) }}, h.engine)
	wc := h.webCfg
	wc.RPC = func(ctx context.Context, m web.Messages) { apps.ServeConn(ctx, rpc.OverMessages(m)) }
	wc.Gateway = apps.Counts
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 3)
	port := newDoors(ln)
	go func() { done <- port.run() }()
	go func() { done <- web.New(wc, h.engine).ServeListener(ctx, port.http) }()
	go func() { done <- apps.ServeListener(ctx, port.rpc) }()
	stopped := false
	h.cut = port.cut
	h.stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = ln.Close()
		cancel()
		for range 3 {
			if err := <-done; err != nil {
				h.t.Errorf("serve: %v", err)
			}
		}
	}
}

// doors tells RPC from HTTP by the first byte, of which only one protocol has a T here.
type doors struct {
	ln        net.Listener
	http, rpc *given

	mu   sync.Mutex
	open []net.Conn // or closed long ago
}

func newDoors(ln net.Listener) *doors {
	give := func() *given {
		return &given{addr: ln.Addr(), conns: make(chan net.Conn), done: make(chan bool)}
	}
	return &doors{ln: ln, http: give(), rpc: give()}
}

// cut hangs up on everybody, without a word.
func (d *doors) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	d.open = nil
}

func (d *doors) run() error {
	var sorting sync.WaitGroup
	defer sorting.Wait()
	for {
		c, err := d.ln.Accept()
		if err != nil {
			_, _ = d.http.Close(), d.rpc.Close()
			return nil
		}
		d.mu.Lock()
		d.open = append(d.open, c)
		d.mu.Unlock()
		sorting.Go(func() {
			first := make([]byte, 1)
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, err := c.Read(first)
			_ = c.SetReadDeadline(time.Time{})
			to := d.http
			if first[0] == 'T' {
				to = d.rpc
			}
			if err != nil || !to.give(&unread{c, first}) {
				_ = c.Close()
			}
		})
	}
}

// given is a listener of connections that somebody else accepted.
type given struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan bool
}

func (g *given) give(c net.Conn) bool {
	select {
	case g.conns <- c:
		return true
	case <-g.done:
		return false
	}
}

func (g *given) Accept() (net.Conn, error) {
	select {
	case c := <-g.conns:
		return c, nil
	case <-g.done:
		return nil, net.ErrClosed
	}
}

func (g *given) Close() error {
	g.once.Do(func() { close(g.done) })
	return nil
}

func (g *given) Addr() net.Addr { return g.addr }

func (h *house) conn() *Conn {
	h.t.Helper()
	return h.as(h.admin)
}

// as asks with a token, over the transport of the test.
func (h *house) as(token string) *Conn {
	h.t.Helper()
	return dialTo(h.t, Config{Server: h.scheme + h.tcp, Token: token})
}

// overAll runs a test over each transport, with a house of its own.
func overAll(t *testing.T, test func(t *testing.T, h *house)) {
	for _, scheme := range schemes {
		t.Run(cmp.Or(strings.TrimSuffix(scheme, "://"), "tcp"), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			h.scheme = scheme
			test(t, h)
		})
	}
}

// enroll enrols devices d0, d1, … and returns their enrolments.
func (h *house) enroll(n int) []seal.Enrolment {
	h.t.Helper()
	var ask []NewDevice
	for i := range n {
		ask = append(ask, NewDevice{Name: fmt.Sprintf("d%d", i)})
	}
	done, err := h.conn().EnrollBatch(h.t.Context(), ask)
	if err != nil {
		h.t.Fatal(err)
	}
	var out []seal.Enrolment
	for i := range done {
		e, err := seal.ParseEnrolment(done[i].Enrolment)
		if err != nil {
			h.t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// apply sends fixes down the river past the door for datagrams.
func (h *house) apply(fixes ...track.Fix) {
	for i := range fixes {
		fixes[i].Wire, fixes[i].Arrived = fixes[i].Device, fixes[i].Time+100
	}
	h.engine.Apply(&track.Batch{Fixes: fixes})
}

func of(f track.Fix, e seal.Enrolment) track.Fix {
	f.Device = e.Device
	return f
}

func TestQuestionsAndCommands(t *testing.T) { overAll(t, questionsAndCommands) }

func questionsAndCommands(t *testing.T, h *house) {
	c, ctx := h.conn(), t.Context()
	e, err := c.Enroll(ctx, NewDevice{Name: "van 1/ü", Flags: "m"})
	if err != nil || e.Device.State != "active" || e.Device.Credentials[0].Flags != "m" {
		t.Fatalf("enrol: got %+v, %v", e, err)
	}
	if _, err := c.Enroll(ctx, NewDevice{Name: "van 1/ü"}); !errors.Is(err, track.ErrExists) {
		t.Errorf("again: got %v", err)
	}
	enrolments := h.enroll(1500)
	var names []string
	for d, err := range c.Devices(ctx, "d1") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, d.Name)
	}
	if len(names) != 1+10+100+500 {
		t.Errorf("got %d devices with d1 in their names", len(names))
	}
	d, err := c.Rename(ctx, "van 1/ü", "van")
	if err != nil || d.Name != "van" {
		t.Errorf("rename: got %+v, %v", d, err)
	}
	r, err := c.Rotate(ctx, "van")
	if err != nil || r.Enrolment == e.Enrolment || len(r.Device.Credentials) != 2 || r.Device.Credentials[1].Expires.IsZero() {
		t.Errorf("rotate: got %+v, %v", r, err)
	}
	if _, err := c.ResetFloor(ctx, "van"); !errors.Is(err, track.ErrInvalid) {
		t.Errorf("reset: got %v", err)
	}
	if err := c.Revoke(ctx, "van"); err != nil {
		t.Errorf("revoke: %v", err)
	}
	if d, err = c.Device(ctx, d.ID.String()); err != nil || d.State != "revoked" || d.Revoked.IsZero() {
		t.Errorf("revoked: got %+v, %v", d, err)
	}

	for i := range 50 {
		f := of(testFix(i), enrolments[i])
		f.At = geo.Deg(50, float64(i)/10)
		h.apply(f)
	}
	got := 0
	box, _ := geo.ParseBox("49,0,51,2")
	for f, err := range c.Positions(ctx, Area{Box: &box}) {
		if err != nil || !box.Contains(f.At) || f.Name == "" {
			t.Fatalf("got %+v, %v", f, err)
		}
		got++
	}
	if got != 21 {
		t.Errorf("got %d devices in the box", got)
	}
	got = 0
	for f, err := range c.Positions(ctx, Area{Devices: []string{"d3", enrolments[4].Device.String()}}) {
		if err != nil || f.Name != "d3" && f.Name != "d4" {
			t.Fatalf("got %+v, %v", f, err)
		}
		got++
	}
	if got != 2 {
		t.Errorf("got %d devices of two", got)
	}
	hits, err := c.Near(ctx, geo.Deg(50, 0.21), 10_000, 2)
	if err != nil || len(hits) != 2 || hits[0].Fix.Name != "d2" || hits[0].Distance > hits[1].Distance || hits[0].Bearing < 269 || hits[0].Bearing > 271 {
		t.Errorf("near: got %+v, %v", hits, err)
	}

	st, err := c.Status(ctx)
	if err != nil || st.Devices != 1500 || st.Live != 50 || len(st.Lineage) != 16 || st.Store.State != "ok" || !st.Probe.OK {
		t.Errorf("status: got %+v, %v", st, err)
	}
	tok, secret, err := c.CreateToken(ctx, "wall", "viewer", time.Hour)
	if err != nil || secret == "" || tok.Expires.IsZero() {
		t.Errorf("token: got %+v, %v", tok, err)
	}
	viewer := h.as(secret)
	if err := viewer.Revoke(ctx, "d1"); !errors.Is(err, track.ErrDenied) {
		t.Errorf("viewer: got %v", err)
	}
	if list, err := c.Tokens(ctx); err != nil || len(list) != 2 {
		t.Errorf("tokens: got %+v, %v", list, err)
	}
	if err = c.RevokeToken(ctx, tok.ID); err != nil {
		t.Errorf("revoke token: %v", err)
	}
	for err == nil { // over frames the connection ends a moment later
		_, err = viewer.Status(ctx)
	}
	if !errors.Is(err, track.ErrDenied) {
		t.Errorf("revoked: got %v", err)
	}
}

func TestWrongTokenIsOneClearSentenceEvenForALargeBatch(t *testing.T) {
	overAll(t, wrongTokenIsOneClearSentenceEvenForALargeBatch)
}

func wrongTokenIsOneClearSentenceEvenForALargeBatch(t *testing.T, h *house) {
	c := h.as("trk_wrong")
	var ask []NewDevice
	for i := range MaxBatch {
		ask = append(ask, NewDevice{Name: fmt.Sprintf("%0100d", i)})
	}
	var e *Error
	if _, err := c.EnrollBatch(t.Context(), ask); !errors.As(err, &e) || e.Code != "unauthenticated" || e.Hint == "" {
		t.Errorf("got %v", err)
	}
	if _, err := c.Watch(t.Context(), Area{}); !errors.As(err, &e) || e.Code != "unauthenticated" {
		t.Errorf("watch: got %v", err)
	}
}

func TestHistoryIsAStream(t *testing.T) { overAll(t, historyIsAStream) }

func historyIsAStream(t *testing.T, h *house) {
	e := h.enroll(1)[0]
	const total = 7000
	for i := range total {
		h.apply(of(testFix(i), e))
	}
	c := h.conn()
	n := 0
	for f, err := range c.History(t.Context(), HistoryQuery{Device: "d0"}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := testFix(n); f.Time.UnixMilli() != want.Time || f.At != want.At || f.Name != "d0" {
			t.Fatalf("%d: got %+v", n, f)
		}
		n++
	}
	if n != total {
		t.Errorf("got %d fixes, want %d", n, total)
	}
	n = 0
	for _, err := range c.History(t.Context(), HistoryQuery{Device: "d0", From: ms(testFix(10).Time), To: ms(testFix(20).Time), Limit: 7}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 7 {
		t.Errorf("got %d fixes, want 7", n)
	}
	for range c.History(t.Context(), HistoryQuery{Device: "d0"}) {
		break // and nothing is left behind
	}
	for _, err := range c.History(t.Context(), HistoryQuery{Device: "nobody"}) {
		if !errors.Is(err, track.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	}
}

// view follows a watch as an application would.
type view struct {
	t    testing.TB
	w    *Watch
	at   map[track.DeviceID]Fix
	skip uint64
}

func (h *house) watch(a Area) *view {
	h.t.Helper()
	w, err := h.conn().Watch(h.t.Context(), a)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(w.Close)
	return &view{t: h.t, w: w, at: map[track.DeviceID]Fix{}}
}

// until follows events up to one that want likes, and returns it.
func (v *view) until(want func(Event) bool) Event {
	v.t.Helper()
	for {
		e, err := v.w.Next()
		if err != nil {
			v.t.Fatal(err)
		}
		if e.First {
			clear(v.at)
		}
		for _, f := range e.Fixes {
			if !f.Late {
				v.at[f.Device] = f
			}
		}
		for _, id := range e.Left {
			delete(v.at, id)
		}
		v.skip += e.Skipped
		if want(e) {
			return e
		}
	}
}

func wholeSnapshot(e Event) bool { return e.Kind == Snapshot && !e.More }

func TestWatchFollowsAndMoves(t *testing.T) { overAll(t, watchFollowsAndMoves) }

func watchFollowsAndMoves(t *testing.T, h *house) {
	es := h.enroll(3)
	for i, e := range es {
		f := of(testFix(0), e)
		f.At = geo.Deg(float64(i)*20, 0)
		h.apply(f)
	}
	box, _ := geo.ParseBox("-5,-5,5,5")
	v := h.watch(Area{Box: &box})
	v.until(wholeSnapshot)
	if len(v.at) != 1 {
		t.Errorf("got %d devices in the box", len(v.at))
	}
	f := of(testFix(1), es[0])
	f.At = geo.Deg(1, 1)
	h.apply(f)
	e := v.until(func(e Event) bool { return e.Kind == Fixes })
	if e.Fixes[0].At != f.At || e.Fixes[0].Speed != float64(f.Speed)/100 {
		t.Errorf("got %+v", e)
	}
	f.Time, f.At = f.Time+1000, geo.Deg(30, 1)
	h.apply(f)
	v.until(func(e Event) bool { return len(e.Left) == 1 })
	if len(v.at) != 0 {
		t.Errorf("got %d devices in the box", len(v.at))
	}
	if err := v.w.Move(Area{}); err != nil {
		t.Fatal(err)
	}
	v.until(wholeSnapshot)
	if len(v.at) != 3 {
		t.Errorf("got %d devices in the world", len(v.at))
	}
	if err := v.w.Move(Area{Devices: []string{"nobody"}}); err != nil {
		t.Fatal(err)
	}
	if e := v.until(func(e Event) bool { return e.Kind == Refused }); !errors.Is(e.Err, track.ErrNotFound) {
		t.Errorf("got %+v", e)
	}
	if err := v.w.Move(Area{Devices: []string{"d1", "d2"}}); err != nil {
		t.Fatal(err)
	}
	v.until(wholeSnapshot)
	if len(v.at) != 2 {
		t.Errorf("got %d devices of two", len(v.at))
	}
	v.w.Close()
	if _, err := v.w.Next(); !errors.Is(err, track.ErrClosed) {
		t.Errorf("closed: got %v", err)
	}
}

func TestWatchComesBackByItself(t *testing.T) { overAll(t, watchComesBackByItself) }

func watchComesBackByItself(t *testing.T, h *house) {
	e := h.enroll(1)[0]
	h.apply(of(testFix(0), e))
	v := h.watch(Area{})
	v.until(wholeSnapshot)
	h.apply(of(testFix(1), e))
	v.until(func(e Event) bool { return e.Kind == Fixes })

	// The line is cut: what came meanwhile follows, and nothing is repeated.
	h.cut()
	h.apply(of(testFix(2), e))
	if ev := v.until(func(e Event) bool { return e.Kind == Disconnected }); ev.Err == nil || ev.RetryIn <= 0 {
		t.Errorf("got %+v", ev)
	}
	v.until(func(e Event) bool { return e.Kind == Resumed })
	if ev := v.until(func(e Event) bool { return e.Kind == Fixes || e.Kind == Snapshot }); ev.Kind != Fixes || len(ev.Fixes) != 1 || ev.Fixes[0].Time.UnixMilli() != testFix(2).Time {
		t.Errorf("got %+v", ev)
	}

	// The door closes, and opens again later.
	h.stop()
	if ev := v.until(func(e Event) bool { return e.Kind == Disconnected }); !strings.Contains(ev.Err.Error(), "stopping") {
		t.Errorf("got %+v", ev)
	}
	if ev := v.until(func(e Event) bool { return e.Kind == Disconnected }); !errors.Is(ev.Err, ErrUnreachable) {
		t.Errorf("got %+v", ev)
	}
	h.open()
	v.until(func(e Event) bool { return e.Kind == Resumed || wholeSnapshot(e) })
	h.apply(of(testFix(3), e))
	v.until(func(e Event) bool { return len(e.Fixes) == 1 && e.Fixes[0].Time.UnixMilli() == testFix(3).Time })
}

func TestWatchEndsWithItsContextOrItsToken(t *testing.T) {
	overAll(t, watchEndsWithItsContextOrItsToken)
}

func watchEndsWithItsContextOrItsToken(t *testing.T, h *house) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := h.conn().Watch(ctx, Area{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Next(); err != nil { // the snapshot of nothing
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := w.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}

	tok, secret, err := h.conn().CreateToken(t.Context(), "doomed", "viewer", 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err = h.as(secret).Watch(t.Context(), Area{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Next(); err != nil {
		t.Fatal(err)
	}
	if err := h.conn().RevokeToken(t.Context(), tok.ID); err != nil {
		t.Fatal(err)
	}
	if e, err := w.Next(); !errors.Is(err, track.ErrDenied) || !strings.Contains(err.Error(), "expired or was revoked") {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestCloseEndsAWatch(t *testing.T) { overAll(t, closeEndsAWatch) }

func closeEndsAWatch(t *testing.T, h *house) {
	c := h.conn()
	w, err := c.Watch(t.Context(), Area{})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := w.Next(); err != nil || !wholeSnapshot(e) {
		t.Fatalf("got %+v, %v", e, err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := w.Next()
		ended <- err
	}()
	c.Close()
	if err := <-ended; !errors.Is(err, track.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Watch(t.Context(), Area{}); !errors.Is(err, track.ErrClosed) {
		t.Errorf("another: got %v", err)
	}
}

func TestMovesAreAnsweredInTheirOrder(t *testing.T) { overAll(t, movesInOrder) }

func movesInOrder(t *testing.T, h *house) {
	es := h.enroll(2)
	for _, e := range es {
		h.apply(of(testFix(0), e))
	}
	v := h.watch(Area{})
	v.until(wholeSnapshot)
	const moves = 20
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { // faster than anybody answers, while fixes come
		for i := range moves {
			h.apply(of(testFix(1+i), es[0]), of(testFix(1+i), es[1]))
			_ = v.w.Move(Area{Devices: []string{"nobody"}})
			_ = v.w.Move(Area{Devices: []string{fmt.Sprintf("d%d", i%2)}})
		}
	})
	refused := 0
	v.until(func(e Event) bool {
		if e.Kind == Refused {
			refused++
		}
		_, last := v.at[es[1].Device] // the one before may still be told
		return refused == moves && wholeSnapshot(e) && last
	})
	if len(v.at) != 1 {
		t.Errorf("got %+v, want d1", v.at)
	}
}

func TestSlowWatchIsResynced(t *testing.T) { overAll(t, slowWatchIsResynced) }

func slowWatchIsResynced(t *testing.T, h *house) {
	es := h.enroll(400)
	v := h.watch(Area{})
	v.until(wholeSnapshot)
	const rounds = 300
	for r := range rounds {
		var fixes []track.Fix
		for _, e := range es {
			fixes = append(fixes, of(testFix(r), e))
		}
		h.apply(fixes...)
	}
	got := uint64(0)
	last := testFix(rounds - 1).Time
	v.until(func(e Event) bool {
		if e.Kind == Fixes {
			got += uint64(len(e.Fixes))
		}
		if e.More || len(v.at) < len(es) {
			return false
		}
		for _, f := range v.at {
			if f.Time.UnixMilli() != last {
				return false
			}
		}
		return true
	})
	if v.skip == 0 || got+v.skip != rounds*uint64(len(es)) {
		t.Errorf("got %d and skipped %d of %d", got, v.skip, rounds*len(es))
	}
}

func TestFleetToWatch(t *testing.T) {
	h := newHouse(t, nil)
	es := h.enroll(50)
	f := NewFleet(FleetConfig{Addr: h.udp, Confirm: true})
	for _, e := range es {
		if _, err := f.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	v := h.watch(Area{})
	v.until(wholeSnapshot)
	start(t, f.Run)
	now := time.Now().Truncate(time.Second)
	const each = 20
	for n := range each {
		for i := range es {
			fix := testFix(n)
			fix.Time = now.Add(time.Duration(n-each) * time.Second).UnixMilli()
			if err := f.Send(t.Context(), i, &fix); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := f.Stats(); st.Acks == 0 || st.Confirmed != st.Datagrams-st.Resent || st.Unconfirmed != 0 || st.Waiting != 0 {
		t.Errorf("got %+v", st)
	}
	got := 0
	v.until(func(e Event) bool { got += len(e.Fixes); return got == each*len(es) })
	for i := range es {
		n := 0
		for _, err := range h.conn().History(t.Context(), HistoryQuery{Device: fmt.Sprintf("d%d", i)}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != each {
			t.Errorf("device %d: got %d fixes in its history, want %d", i, n, each)
		}
	}
}

func TestBeaconToWatchWithAcks(t *testing.T) {
	h := newHouse(t, nil)
	var es []seal.Enrolment
	for _, flags := range []string{"", "c", "p"} {
		for suite := 1; suite <= 2; suite++ {
			e, err := h.conn().Enroll(t.Context(), NewDevice{Name: fmt.Sprintf("b%s%d", flags, suite), Suite: suite, Flags: flags})
			if err != nil {
				t.Fatal(err)
			}
			en, err := seal.ParseEnrolment(e.Enrolment)
			if err != nil {
				t.Fatal(err)
			}
			es = append(es, en)
		}
	}
	var beacons []*Beacon
	for i, e := range es {
		cfg := BeaconConfig{Enrolment: e, Addr: h.udp, Acks: true, Epochs: EpochFile(fmt.Sprintf("%s/%d", t.TempDir(), i))}
		if e.Flags&seal.CounterEpochs != 0 {
			cfg.Clock = func() (time.Time, bool) { return time.Unix(int64(i), 0), false } // none
		}
		b, err := NewBeacon(cfg)
		if err != nil {
			t.Fatal(err)
		}
		beacons = append(beacons, b)
		start(t, b.Run)
		b.Send(testFix(1))
	}
	for i, b := range beacons {
		flush(t, b)
		if st := b.Stats(); st.Acks != 1 || st.Unacked != 0 || st.Refused != 0 {
			t.Errorf("%v: got %+v", es[i].Flags, st)
		}
	}
	v := h.watch(Area{})
	v.until(wholeSnapshot)
	var names []string
	for _, f := range v.at {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	if want := []string{"b1", "b2", "bc1", "bc2", "bp1", "bp2"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}
