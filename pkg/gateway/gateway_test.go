package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/hub"
	"tracker/pkg/rpc"
	"tracker/pkg/seal"
	"tracker/pkg/store/sqlite"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// house is a store, an engine and this door in front of them, on loopback.
type house struct {
	t      testing.TB
	dir    string
	change func(*Config)
	hub    hub.Config
	db     *sqlite.DB
	engine *engine.Engine
	gate   *Gateway
	ln     net.Listener
	admin  string
	viewer string
	stop   func()
	pid    uint32
}

func newHouse(t testing.TB, change func(*Config)) *house {
	t.Helper()
	return newHouseWith(t, hub.Config{}, change)
}

func newHouseWith(t testing.TB, hc hub.Config, change func(*Config)) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), change: change, hub: hc}
	h.open()
	h.admin = h.token("boss", engine.RoleAdmin)
	h.viewer = h.token("guest", engine.RoleViewer)
	t.Cleanup(func() { h.stop() })
	return h
}

// open starts all of it, the second time on what the first left.
func (h *house) open() {
	h.t.Helper()
	db, err := sqlite.Open(sqlite.Config{Dir: h.dir})
	if err != nil {
		h.t.Fatal(err)
	}
	h.db = db
	storeCtx, stopStore := context.WithCancel(context.Background())
	stored := make(chan error, 1)
	go func() { stored <- db.Run(storeCtx) }()
	if h.engine, err = engine.New(context.Background(), engine.Config{Advertise: "t.example.org:4810", Hub: h.hub}, db); err != nil {
		h.t.Fatal(err)
	}
	engineCtx, stopEngine := context.WithCancel(context.Background())
	flowed := make(chan error, 1)
	go func() { flowed <- h.engine.Run(engineCtx) }()
	cfg := Config{Version: "1.2.3", RPC: Limits{Grace: 200 * time.Millisecond}}
	if os.Getenv("GATEWAY_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if h.change != nil {
		h.change(&cfg)
	}
	h.gate = New(cfg, h.engine)
	if h.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		h.t.Fatal(err)
	}
	doorCtx, stopDoor := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.gate.ServeListener(doorCtx, h.ln) }()
	h.stop = func() {
		h.stop = func() {}
		stopDoor()
		if err := <-served; err != nil {
			h.t.Errorf("serve: %v", err)
		}
		stopEngine()
		<-flowed
		stopStore()
		if err := errors.Join(<-stored, db.Close()); err != nil {
			h.t.Error(err)
		}
	}
}

func (h *house) token(name string, role engine.Role) string {
	h.t.Helper()
	_, secret, err := h.engine.CreateToken(context.Background(), name, role, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

func (h *house) enroll(names ...string) []seal.Enrolment {
	h.t.Helper()
	var ask []engine.NewDevice
	for _, n := range names {
		ask = append(ask, engine.NewDevice{Name: n})
	}
	done, err := h.engine.Enroll(context.Background(), ask)
	if err != nil {
		h.t.Fatal(err)
	}
	var out []seal.Enrolment
	for i := range done {
		out = append(out, done[i].Enrolment)
	}
	return out
}

// apply sends fixes down the river, as the door for datagrams does.
func (h *house) apply(fixes ...track.Fix) {
	b := track.Batch{Fixes: fixes}
	for i := range b.Fixes {
		h.pid++
		b.Fixes[i].PID = h.pid
	}
	h.engine.Apply(&b)
}

// second 0 of tests, so long ago that no clock is behind it.
const epochMillis = 1700000000000

func fixAt(id track.DeviceID, sec int, lat, lon float64) track.Fix {
	return track.Fix{Device: id, Wire: id, Time: epochMillis + int64(sec)*1000, Arrived: epochMillis + 500 + int64(sec)*1000,
		At: geo.Deg(lat, lon), Has: track.HasPos}
}

func bearer(token string) rpc.Hello {
	return rpc.Hello{AuthKind: rpc.AuthBearer, Auth: []byte(token), Client: "test"}
}

// proof is the HELLO of a device.
func proof(e *seal.Enrolment, at time.Time) rpc.Hello {
	return rpc.Hello{AuthKind: rpc.AuthDeviceKey, Auth: e.AppendProof(nil, at), Client: "test"}
}

func (h *house) raw() net.Conn {
	h.t.Helper()
	nc, err := net.Dial("tcp", h.ln.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	return nc
}

// knock shakes hands, if it is let in.
func (h *house) knock(hello rpc.Hello, window int) (*rpc.Client, error) {
	h.t.Helper()
	c, err := rpc.NewClient(context.Background(), h.raw(), rpc.ClientConfig{Hello: hello, Window: window, Timeout: 20 * time.Second})
	if err == nil {
		h.t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// dial is knock for those who are let in.
func (h *house) dial(hello rpc.Hello) *rpc.Client {
	h.t.Helper()
	c, err := h.knock(hello, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// status is how an error reads for tests.
func reason(err error) (rpc.Status, string) {
	var e *rpc.Error
	if errors.As(err, &e) {
		return e.Status, e.Reason
	}
	return rpc.StatusOf(err), ""
}

func wantStatus(t testing.TB, what string, err error, want rpc.Status) {
	t.Helper()
	if got, _ := reason(err); got != want {
		t.Errorf("%s: got %v, want status %v", what, err, want)
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// at makes a table addressable, as its methods want it.
func at[T any](v T) *T { return &v }

// within bounds one step of a test that waits for others.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until it is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
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
	var left []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if left = ourGoroutines(); len(left) == 0 {
			return 0
		}
	}
	_, _ = io.WriteString(os.Stderr, "leaked goroutines:\n\n"+strings.Join(left, "\n\n")+"\n")
	return 1
}

func ourGoroutines() (left []string) {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for g := range bytes.SplitSeq(buf, []byte("\n\n")) {
		s := string(g)
		if strings.Contains(s, "tracker/pkg/") && !strings.Contains(s, "gateway.TestMain") {
			left = append(left, s)
		}
	}
	return left
}

func TestStrangersAreRefusedAndToldWhy(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0]
	wrong := van
	wrong.Root = seal.NewRoot()
	nobody := van
	nobody.Device++
	torn := proof(&van, time.Now())
	torn.Auth = torn.Auth[:len(torn.Auth)-1]
	changed := proof(&van, time.Now())
	changed.Auth[7] ^= 1 // its time
	for name, tt := range map[string]struct {
		hello rpc.Hello
		want  rpc.Status
	}{
		"nothing":            {rpc.Hello{}, rpc.Unauthenticated},
		"resume":             {rpc.Hello{AuthKind: rpc.AuthResume, Auth: []byte("x")}, rpc.Unauthenticated},
		"wrong token":        {bearer("trk_no"), rpc.Unauthenticated},
		"empty token":        {bearer(""), rpc.Unauthenticated},
		"wrong key":          {proof(&wrong, time.Now()), rpc.Unauthenticated},
		"unknown device":     {proof(&nobody, time.Now()), rpc.Unauthenticated},
		"torn proof":         {torn, rpc.Unauthenticated},
		"changed proof":      {changed, rpc.Unauthenticated},
		"clock ahead":        {proof(&van, time.Now().Add(10*time.Minute)), rpc.Status(trk.AppErrorProofTime)},
		"clock behind":       {proof(&van, time.Now().Add(-10*time.Minute)), rpc.Status(trk.AppErrorProofTime)},
		"wrong key and time": {proof(&wrong, time.Now().Add(-10*time.Minute)), rpc.Unauthenticated},
	} {
		_, err := h.knock(tt.hello, 0)
		wantStatus(t, name, err, tt.want)
	}
}

func TestProofIsGoodOnce(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0]
	hello := proof(&van, time.Now())
	h.dial(hello)
	_, err := h.knock(hello, 0)
	wantStatus(t, "again", err, rpc.Unauthenticated)
	h.dial(proof(&van, time.Now())) // another one is
}

// A device whose id changes with the time never shows the one in its QR code.
func TestDeviceThatHidesProvesItselfByItsIDOfTheDay(t *testing.T) {
	h := newHouse(t, nil)
	done, err := h.engine.Enroll(context.Background(), []engine.NewDevice{{Name: "shy", Flags: seal.RotatingIDs}})
	if err != nil {
		t.Fatal(err)
	}
	shy := done[0].Enrolment
	c := servicesOf(h.dial(proof(&shy, time.Now())))
	h.gate.sweepOnce()
	info := must(c.session.Info(within(t), &trk.EmptyT{}))(t)
	if string(info.Id()) != shy.Device.String() {
		t.Errorf("I am %s", info.Id())
	}
	ack := must(c.publish.Report(within(t), &trk.ReportReqT{Fixes: []*trk.FixT{nowFix(0, 1, 2)}}))(t)
	if string(ack.Device()) != shy.Device.String() {
		t.Errorf("filed under %s", ack.Device())
	}
	shown := rpc.Hello{AuthKind: rpc.AuthDeviceKey, Auth: seal.AppendProof(nil, &shy.Root, shy.Device, time.Now())}
	_, err = h.knock(shown, 0)
	wantStatus(t, "the id of the QR code", err, rpc.Unauthenticated)
}

func TestDeviceCannotFillTheMemoryOfProofs(t *testing.T) {
	var p proofs
	p.init()
	now := time.Now()
	for i := range proofsEach {
		if e := p.use(7, seal.Proof{Time: uint32(now.Unix()), Nonce: [16]byte{byte(i)}}, now); e != nil {
			t.Fatal(e)
		}
	}
	more := seal.Proof{Time: uint32(now.Unix()), Nonce: [16]byte{255}}
	wantStatus(t, "one too many", p.use(7, more, now), rpc.ResourceExhausted)
	if e := p.use(8, more, now); e != nil {
		t.Errorf("another device: %v", e)
	}
	p.forget(now.Add(proofSkew))
	wantStatus(t, "while they are good", p.use(7, more, now), rpc.ResourceExhausted)
	p.forget(now.Add(proofSkew + time.Second))
	if p.total != 0 || len(p.seen) != 0 {
		t.Errorf("%d proofs of %d devices are remembered for ever", p.total, len(p.seen))
	}
}

func TestEveryRoleCallsWhatItsScopeAllows(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0]
	for role, hello := range map[engine.Role]rpc.Hello{
		engine.RoleAdmin: bearer(h.admin), engine.RoleViewer: bearer(h.viewer), engine.RoleMember: bearer(h.token("skipper", engine.RoleMember)),
		engine.RoleDevice: proof(&van, time.Now()),
	} {
		c := h.dial(hello)
		for _, m := range trk.Methods() {
			want := map[string][]engine.Role{
				"any":    {engine.RoleAdmin, engine.RoleViewer, engine.RoleMember, engine.RoleDevice},
				"member": {engine.RoleAdmin, engine.RoleViewer, engine.RoleMember, engine.RoleDevice},
				"viewer": {engine.RoleAdmin, engine.RoleViewer},
				"admin":  {engine.RoleAdmin},
				"device": {engine.RoleAdmin, engine.RoleDevice},
			}[m.Scope]
			allowed := false
			for _, r := range want {
				allowed = allowed || r == role
			}
			// A body that nobody can read: whoever may call is told of that.
			err := call(c, &m, []byte{1, 2, 3})
			if got, _ := reason(err); (got != rpc.PermissionDenied) != allowed {
				t.Errorf("%s as %s: got %v, want allowed %v", m.FullName(), role, err, allowed)
			}
			if allowed {
				wantStatus(t, m.FullName()+" with nonsense", err, rpc.BadBody)
			}
		}
	}
}

// call calls any method with any body.
func call(c *rpc.Client, m *trk.MethodInfo, body []byte) error {
	if !m.Stream {
		_, err := c.Call(context.Background(), m.ID, body)
		return err
	}
	s, err := c.Subscribe(context.Background(), m.ID, body)
	if err == nil {
		s.Close()
	}
	return err
}

func TestScopeThatNobodyKnowsIsNobodys(t *testing.T) {
	for _, role := range []engine.Role{engine.RoleAdmin, engine.RoleViewer, engine.RoleDevice, ""} {
		if mayCall(role, "operator") || mayCall(role, "") {
			t.Errorf("%q may call", role)
		}
	}
}

func TestRevokedTokenEndsItsConnectionsWithGrace(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.RPC.Grace = 20 * time.Second })
	tok, secret, err := h.engine.CreateToken(context.Background(), "short", engine.RoleViewer, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, other := h.dial(bearer(secret)), h.dial(bearer(h.viewer))
	slept := make(chan error, 1)
	go func() {
		_, err := trk.ExampleClient{Caller: c}.Sleep(within(t), &trk.SleepReqT{Ms: 900})
		slept <- err
	}()
	eventually(t, "the call is under way", func() bool { return h.gate.rpc.Stats().Inflight > 0 })
	if err := h.engine.RevokeToken(context.Background(), tok.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-slept; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	<-c.Done()
	if got, why := reason(c.Err()); got != rpc.Unauthenticated || why != "unauthenticated" {
		t.Errorf("got %v, want Unauthenticated", c.Err())
	}
	if _, err := (trk.ExampleClient{Caller: other}).Sum(within(t), &trk.SumReqT{A: 1}); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

func TestRevokedDeviceLosesItsConnection(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0]
	c := h.dial(proof(&van, time.Now()))
	if err := h.engine.Revoke(context.Background(), van.Device); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	wantStatus(t, "connection", c.Err(), rpc.Unauthenticated)
}

func TestRefreshedConnectionOutlivesItsFirstToken(t *testing.T) {
	h := newHouse(t, nil)
	tok, secret, err := h.engine.CreateToken(context.Background(), "short", engine.RoleAdmin, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := h.dial(bearer(secret))
	session := trk.SessionClient{Caller: c}
	_, err = session.Refresh(within(t), &trk.RefreshReqT{Token: "trk_no"})
	wantStatus(t, "a token that nobody made", err, rpc.Unauthenticated)
	info := must(session.Info(within(t), &trk.EmptyT{}))(t)
	if string(info.Name()) != "short" {
		t.Errorf("after a bad token: I am %q", info.Name())
	}
	info = must(session.Refresh(within(t), &trk.RefreshReqT{Token: h.viewer}))(t)
	if string(info.Name()) != "guest" || string(info.Role()) != "viewer" {
		t.Errorf("after refresh: I am %q, a %s", info.Name(), info.Role())
	}
	_, err = trk.TokensClient{Caller: c}.List(within(t), &trk.EmptyT{})
	wantStatus(t, "what only the first token might", err, rpc.PermissionDenied)
	if err := h.engine.RevokeToken(context.Background(), tok.ID); err != nil {
		t.Fatal(err)
	}
	h.gate.sweepOnce()
	if _, err := session.Info(within(t), &trk.EmptyT{}); err != nil {
		t.Errorf("after the first token ended: %v", err)
	}
}

func TestInfoTellsWhoIAm(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0]
	admin := must(trk.SessionClient{Caller: h.dial(bearer(h.admin))}.Info(within(t), &trk.EmptyT{}))(t)
	if len(admin.Id()) != 16 || string(admin.Role()) != "admin" || string(admin.Version()) != "1.2.3" || admin.Now() == 0 {
		t.Errorf("admin: %+v", admin.UnPack())
	}
	device := must(trk.SessionClient{Caller: h.dial(proof(&van, time.Now()))}.Info(within(t), &trk.EmptyT{}))(t)
	if string(device.Id()) != van.Device.String() || string(device.Role()) != "device" || string(device.Name()) != "van" {
		t.Errorf("device: %+v", device.UnPack())
	}
}

// smallGate lets one stranger in.
type smallGate struct{ in chan struct{} }

func (g smallGate) Enter(net.Addr) bool {
	select {
	case g.in <- struct{}{}:
		return true
	default:
		return false
	}
}
func (g smallGate) Leave(net.Addr) { <-g.in }

func TestStrangersCountUntilTheyAreKnown(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Strangers = smallGate{make(chan struct{}, 1)} })
	h.dial(bearer(h.viewer))
	h.dial(bearer(h.viewer)) // the first is known
	silent := h.raw()
	defer func() { _ = silent.Close() }()
	eventually(t, "one too many is refused", func() bool {
		_, err := h.knock(bearer(h.viewer), 0)
		return err != nil
	})
	if h.gate.stats.refused.Load() == 0 {
		t.Error("nothing was counted")
	}
	_ = silent.Close()
	eventually(t, "its place is free", func() bool {
		_, err := h.knock(bearer(h.viewer), 0)
		return err == nil
	})
}

func TestStopSaysGoAwayAndLeavesNothing(t *testing.T) {
	h := newHouse(t, nil)
	c := h.dial(bearer(h.viewer))
	w := must(trk.WatchClient{Caller: c}.Open(within(t), &trk.WatchReqT{Area: &trk.AreaT{All: true}}))(t)
	h.stop()
	<-c.Done()
	wantStatus(t, "connection", c.Err(), rpc.Unavailable)
	for {
		if _, _, err := w.Next(within(t)); err != nil {
			break
		}
	}
}
