package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/hub"
	"tracker/pkg/seal"
	"tracker/pkg/store"
	"tracker/pkg/store/sqlite"
	"tracker/pkg/track"
)

// world is an engine on a real store, with a clock that a test moves.
type world struct {
	*Engine
	t    testing.TB
	dir  string
	now  time.Time
	db   *sqlite.DB
	stop func()
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) start() {
	w.t.Helper()
	db, err := sqlite.Open(sqlite.Config{Dir: w.dir})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := Config{Advertise: "t.example.org", Now: func() time.Time { return w.now }}
	cfg.Master[0] = 1
	e, err := New(context.Background(), cfg, db)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Engine, w.db = e, db
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { _ = db.Run(ctx); done <- struct{}{} }()
	go func() { _ = e.Run(ctx); done <- struct{}{} }()
	w.stop = func() {
		cancel()
		<-done
		<-done
		if err := db.Close(); err != nil {
			w.t.Error(err)
		}
		w.stop = func() {}
	}
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

func (w *world) enroll(name string, flags seal.EnrolFlags) Enrolled {
	w.t.Helper()
	out, err := w.Enroll(context.Background(), []NewDevice{{Name: name, Flags: flags}})
	if err != nil {
		w.t.Fatal(err)
	}
	return out[0]
}

func (w *world) apply(fixes ...track.Fix) {
	w.Apply(&track.Batch{Fixes: fixes})
}

func (w *world) fix(d track.DeviceID, sec int64, lat, lon float64) track.Fix {
	ms := (w.now.Unix() + sec) * 1000
	return track.Fix{Device: d, Wire: d, Time: ms, Arrived: ms, At: geo.Deg(lat, lon), Has: track.HasPos,
		Epoch: uint32(w.now.Unix()), PID: uint32(sec & 0xffffff)}
}

func (w *world) history(d track.DeviceID) []track.Fix {
	w.t.Helper()
	var out []track.Fix
	err := w.History(context.Background(), store.Query{Device: d}, func(f *track.Fix, _ []byte) error {
		out = append(out, *f)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func TestEnrolmentGivesAKeyThatOpens(t *testing.T) {
	w := newWorld(t)
	en := w.enroll("van-1", 0)
	parsed, err := seal.ParseEnrolment(en.Enrolment.String())
	if err != nil {
		t.Fatal(err)
	}
	s, ok := w.Session(parsed.Device)
	if !ok || s.Device != en.Device.ID || s.Suite != seal.ChaCha20Poly1305 {
		t.Fatalf("Session = %+v, %v", s, ok)
	}
	err = w.WithRoot(s.Cred, func(root *seal.Root) {
		if *root != parsed.Root {
			t.Error("the root that opens is not the root that was given out")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := uint32(w.now.Add(-24 * time.Hour).Unix()); s.Floor != want {
		t.Errorf("floor = %d, want a day before enrolment, %d", s.Floor, want)
	}
}

func TestCounterDeviceMayStartAtOne(t *testing.T) {
	w := newWorld(t)
	en := w.enroll("buoy", seal.CounterEpochs)
	if s, _ := w.Session(en.Device.ID); s.Floor != 0 {
		t.Errorf("floor = %d, want 0", s.Floor)
	}
}

func TestNamesAreUniqueAndTypable(t *testing.T) {
	w := newWorld(t)
	w.enroll("van-1", 0)
	for _, tt := range []struct {
		name string
		want error
	}{
		{"van-1", track.ErrExists},
		{"", track.ErrInvalid},
		{" van", track.ErrInvalid},
		{"van\n", track.ErrInvalid},
		{"van\x1b[31m", track.ErrInvalid},
		{"\xff\xfe", track.ErrInvalid},
		{"a1b2c3d4e5f6", track.ErrInvalid},
		{strings.Repeat("x", 129), track.ErrInvalid},
	} {
		_, err := w.Enroll(context.Background(), []NewDevice{{Name: tt.name}})
		if !errors.Is(err, tt.want) {
			t.Errorf("enrol %q: %v, want %v", tt.name, err, tt.want)
		}
	}
	_, err := w.Enroll(context.Background(), []NewDevice{{Name: "a"}, {Name: "b"}, {Name: "a"}})
	if !errors.Is(err, track.ErrExists) {
		t.Errorf("twice in one enrolment: %v", err)
	}
	if got := len(w.Devices("", 0, 10)); got != 1 {
		t.Errorf("%d devices after refused enrolments, want 1", got)
	}
}

func TestRevokedDeviceIsAStrangerWithAHistory(t *testing.T) {
	w := newWorld(t)
	en := w.enroll("van-1", 0)
	w.apply(w.fix(en.Device.ID, 1, 48, 11))
	before := w.Generation()
	if err := w.Revoke(context.Background(), en.Device.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.Session(en.Device.ID); ok {
		t.Error("a revoked device still has a session")
	}
	changed, _ := w.Changed(before)
	if !slices.Contains(changed, en.Device.ID) {
		t.Errorf("Changed = %v, want it to hold %s", changed, en.Device.ID)
	}
	if err := w.WithRoot(en.Device.ID, func(*seal.Root) {}); !errors.Is(err, track.ErrNotFound) {
		t.Errorf("WithRoot after revoke: %v", err)
	}
	if got := len(w.history(en.Device.ID)); got != 1 {
		t.Errorf("history has %d fixes, want 1", got)
	}
	if _, ok := w.Latest(en.Device.ID); ok {
		t.Error("a revoked device is still in the present")
	}
	if err := w.Revoke(context.Background(), en.Device.ID); !errors.Is(err, track.ErrNotFound) {
		t.Errorf("revoke twice: %v", err)
	}
	again := w.enroll("van-1", 0) // the name is free
	w.restart()
	if d, err := w.Find("van-1"); err != nil || d.ID != again.Device.ID {
		t.Errorf("Find(van-1) = %v, %v, want the new device", d.ID, err)
	}
	if _, ok := w.Session(en.Device.ID); ok {
		t.Error("revoked device came back with a restart")
	}
}

func TestRotatedKeyHasGrace(t *testing.T) {
	w := newWorld(t)
	old := w.enroll("van-1", 0)
	fresh, err := w.Rotate(context.Background(), old.Device.ID)
	if err != nil {
		t.Fatal(err)
	}
	if fresh.Enrolment.Device == old.Enrolment.Device || fresh.Enrolment.Root == old.Enrolment.Root {
		t.Fatal("rotation kept the wire id or the root")
	}
	for _, start := range []func(){func() {}, w.restart} {
		start()
		s, ok := w.Session(old.Enrolment.Device)
		if !ok || !s.Retiring || s.Device != old.Device.ID {
			t.Errorf("old key within grace: %+v, %v", s, ok)
		}
		s, ok = w.Session(fresh.Enrolment.Device)
		if !ok || s.Retiring || !s.Several || s.Device != old.Device.ID {
			t.Errorf("new key: %+v, %v", s, ok)
		}
	}
	w.now = w.now.Add(7*24*time.Hour + time.Second)
	if _, ok := w.Session(old.Enrolment.Device); ok {
		t.Error("old key outlives its grace")
	}
	since := w.Generation()
	w.expireCredentials(context.Background(), w.now)
	if s, ok := w.Session(fresh.Enrolment.Device); !ok || s.Several {
		t.Errorf("the new key when the old one is gone: %+v, %v", s, ok)
	}
	if told, _ := w.Changed(since); !slices.Contains(told, fresh.Enrolment.Device) {
		t.Error("doors are not told that the new key is the only one now")
	}
	w.restart()
	d, err := w.Find("van-1")
	if err != nil || len(d.Credentials) != 1 || d.Credentials[0].ID != fresh.Enrolment.Device {
		t.Errorf("after the grace: %+v, %v", d, err)
	}
}

func TestResetFloorRecoversAClockThatRanAhead(t *testing.T) {
	w := newWorld(t)
	en := w.enroll("van-1", 0)
	id := en.Device.ID
	if _, err := w.ResetFloor(context.Background(), id); !errors.Is(err, ErrNothingToReset) {
		t.Errorf("reset of a sane device: %v", err)
	}
	sane, bad := uint32(w.now.Unix()), uint32(time.Date(2038, 1, 19, 0, 0, 0, 0, time.UTC).Unix())
	f := w.fix(id, 1, 1, 1)
	f.Epoch = sane
	w.apply(f)
	f.Epoch, f.PID = bad, 0
	w.apply(f)
	w.RaiseAlarm(AlarmEpochFuture, id, bad)
	d, err := w.ResetFloor(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	if d.Alarms != 0 {
		t.Errorf("alarms after the reset: %v", d.Alarms)
	}
	if err := w.db.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.restart()
	s, _ := w.Session(id)
	if !slices.Contains(s.Denied, bad) || s.Floor > uint32(w.now.Unix()) {
		t.Errorf("session after the reset: %+v", s)
	}
	for _, l := range s.Live {
		if l.Known && l.Epoch == bad {
			t.Error("the epoch from the future is still live")
		}
	}
}

func TestRotatingIDsAreKnownForThreeWindows(t *testing.T) {
	w := newWorld(t)
	en := w.enroll("private", seal.RotatingIDs)
	if _, ok := w.Session(en.Device.ID); ok {
		t.Error("the provisioned id of a rotating device was taken from the wire")
	}
	check := func(offset time.Duration, want bool) {
		t.Helper()
		id := seal.RotatingID(&en.Enrolment.Root, windowOf(w.now.Add(offset)))
		s, ok := w.Session(id)
		if ok != want || ok && s.Device != en.Device.ID {
			t.Errorf("id of the window %v away: %+v, %v, want %v", offset, s, ok, want)
		}
	}
	window := 65536 * time.Second
	check(0, true)
	check(-window, true)
	check(window, true)
	check(2*window, false)
	w.now = w.now.Add(2 * window)
	w.rotateAliases(w.now)
	check(0, true)
	check(-window, true)
	check(-2*window, false)
	if err := w.Revoke(context.Background(), en.Device.ID); err != nil {
		t.Fatal(err)
	}
	check(0, false)
}

func TestFloorsComeBackFromWhatWasStored(t *testing.T) {
	w := newWorld(t)
	id := w.enroll("van-1", 0).Device.ID
	base := uint32(w.now.Unix())
	for i, e := range []uint32{base, base + 10, base + 20} {
		f := w.fix(id, int64(i), 1, 1)
		f.Epoch, f.PID = e, uint32(100+i)
		w.apply(f)
	}
	w.restart()
	s, _ := w.Session(id)
	want := [2]Live{{Epoch: base + 20, MaxPID: 102, Known: true}, {Epoch: base + 10, MaxPID: 101, Known: true}}
	if s.Live != want {
		t.Errorf("live epochs = %+v, want %+v", s.Live, want)
	}
	if f, ok := w.Latest(id); !ok || f.PID != 102 {
		t.Errorf("latest after restart = %+v, %v", f, ok)
	}
}

func TestFixReachesPresentWatcherAndPast(t *testing.T) {
	w := newWorld(t)
	id := w.enroll("van-1", 0).Device.ID
	v, err := w.Watch(hub.Devices(id), hub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	next := func() *hub.Frame {
		t.Helper()
		fs, err := v.Next(context.Background(), make([]*hub.Frame, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		return fs[0]
	}
	if f := next(); f.Kind != hub.Snapshot || len(f.Fixes) != 0 {
		t.Fatalf("first frame: %+v", f)
	}
	w.apply(w.fix(id, 10, 48, 11))
	if f := next(); len(f.Fixes) != 1 || f.Fixes[0].Flags&track.Late != 0 {
		t.Fatalf("live frame: %+v", f)
	}
	w.apply(w.fix(id, 5, 47, 11)) // older than the present
	if f := next(); len(f.Fixes) != 1 || f.Fixes[0].Flags&track.Late == 0 {
		t.Fatalf("late frame: %+v", f)
	}
	if f, _ := w.Latest(id); f.At != geo.Deg(48, 11) {
		t.Errorf("a late fix moved the present to %v", f.At)
	}
	h := w.history(id)
	if len(h) != 2 || h[0].At != geo.Deg(47, 11) {
		t.Errorf("history = %+v, want both by their own time", h)
	}
	if hits := w.Near(geo.Deg(48, 11), 1000, 5); len(hits) != 1 {
		t.Errorf("near: %+v", hits)
	}
}

func TestProbeIsSeenByNobody(t *testing.T) {
	w := newWorld(t)
	en, err := w.EnrollProbe()
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.Watch(hub.All(), hub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	id := w.enroll("van-1", 0).Device.ID
	w.apply(w.fix(en.Device, 1, 0, 0), w.fix(id, 1, 0, 0))
	var fixes []track.Fix
	for len(fixes) == 0 {
		fs, err := v.Next(context.Background(), make([]*hub.Frame, 0, 4))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fs {
			fixes = append(fixes, f.Fixes...)
		}
	}
	if len(fixes) != 1 || fixes[0].Device != id {
		t.Errorf("a watcher of everything saw %+v", fixes)
	}
	if hits := w.Near(geo.Deg(0, 0), 0, 10); len(hits) != 1 {
		t.Errorf("near shows %d devices, want 1", len(hits))
	}
	if got, _ := w.Positions(geo.World, 0, 10); len(got) != 1 {
		t.Errorf("positions shows %d devices, want 1", len(got))
	}
	if got := w.Devices("", 0, 10); len(got) != 1 {
		t.Errorf("the list shows %d devices, want 1", len(got))
	}
	w.restart()
	if got := w.Status(); got.Devices != 1 || got.Live != 1 {
		t.Errorf("after a restart: %d devices, %d live, want 1 and 1", got.Devices, got.Live)
	}
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	admin, secret, err := w.CreateToken(ctx, "ops", RoleAdmin, 0)
	if err != nil {
		t.Fatal(err)
	}
	viewer, shown, err := w.CreateToken(ctx, "wall", RoleViewer, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.restart()
	if id, err := w.Authenticate(secret); err != nil || id.Role != RoleAdmin || id.Token != admin.ID {
		t.Errorf("Authenticate(admin) = %+v, %v", id, err)
	}
	for _, bad := range []string{"", "trk_", secret + "x", secret[:len(secret)-1], strings.Repeat("t", 500)} {
		if _, err := w.Authenticate(bad); !errors.Is(err, track.ErrDenied) {
			t.Errorf("Authenticate(%.8q…) = %v, want denied", bad, err)
		}
	}
	if err := w.RevokeToken(ctx, admin.ID); !errors.Is(err, track.ErrInvalid) {
		t.Errorf("revoking the last admin token: %v", err)
	}
	w.now = w.now.Add(2 * time.Hour)
	if _, err := w.Authenticate(shown); !errors.Is(err, track.ErrDenied) {
		t.Errorf("expired token: %v", err)
	}
	if w.TokenAlive(viewer.ID) || !w.TokenAlive(admin.ID) {
		t.Error("TokenAlive disagrees with Authenticate")
	}
}

func TestDevicesPageByID(t *testing.T) {
	w := newWorld(t)
	var asked []NewDevice
	for i := range 25 {
		asked = append(asked, NewDevice{Name: fmt.Sprintf("van-%02d", i)})
	}
	if _, err := w.Enroll(context.Background(), asked); err != nil {
		t.Fatal(err)
	}
	var seen []track.DeviceID
	for after := track.DeviceID(0); ; {
		page := w.Devices("", after, 10)
		if len(page) == 0 {
			break
		}
		for _, d := range page {
			seen = append(seen, d.ID)
		}
		after = page[len(page)-1].ID
	}
	if len(seen) != 25 || !slices.IsSorted(seen) {
		t.Errorf("paging saw %d devices, sorted %v", len(seen), slices.IsSorted(seen))
	}
	if got := w.Devices("van-07", 0, 10); len(got) != 1 {
		t.Errorf("filter found %d, want 1", len(got))
	}
}

func TestResetStrikesEverySessionFromTheFuture(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Unix()
	s := Session{Denied: []uint32{uint32(now) + 400_000_000}}
	for _, tt := range []struct {
		epoch int64
		want  bool
	}{
		{now + 400_000_000, true},  // the one that was struck
		{now + 399_000_000, true},  // an earlier one of the same wrong clock
		{now + 400_000_001, false}, // a new one raises its own alarm
		{now + 60, false},          // an honest clock a minute ahead
		{now, false},
		{now - 1000, false},
	} {
		if got := s.Struck(uint32(tt.epoch), now); got != tt.want {
			t.Errorf("epoch now%+d: struck %v, want %v", tt.epoch-now, got, tt.want)
		}
	}
}

func TestResetOutlastsARestartAndItsOwnFuture(t *testing.T) {
	w := newWorld(t)
	id := w.enroll("van-1", 0).Device.ID
	first, second := uint32(w.now.Add(48*time.Hour).Unix()), uint32(w.now.Add(72*time.Hour).Unix())
	for _, epoch := range []uint32{first, second} { // restarted while its clock was wrong
		f := w.fix(id, 1, 1, 1)
		f.Epoch = epoch
		w.apply(f)
		w.RaiseAlarm(AlarmEpochFuture, id, epoch)
	}
	if _, err := w.ResetFloor(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	if err := w.db.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.restart()
	s, _ := w.Session(id)
	for _, l := range s.Live {
		if l.Known {
			t.Errorf("session %d days ahead is live again: the device's own clock cannot open another", (int64(l.Epoch)-w.now.Unix())/86400)
		}
	}
	// Whoever recorded the first session may wait until its time has come.
	for _, epoch := range []uint32{first, second} {
		if !s.Struck(epoch, w.now.Add(96*time.Hour).Unix()) {
			t.Errorf("a recorded session of %d is good again four days later", epoch)
		}
	}
}

func TestFloodOfFutureSessionsIsRememberedWithinBounds(t *testing.T) {
	w := newWorld(t)
	id := w.enroll("van-1", 0).Device.ID
	far := uint32(w.now.Add(24 * time.Hour).Unix())
	for i := range uint32(10 * keptFuture) {
		w.RaiseAlarm(AlarmEpochFuture, id, far+i)
	}
	if got := w.futureEpochs(id); len(got) != keptFuture || got[keptFuture-1] != far+10*keptFuture-1 {
		t.Errorf("%d sessions kept, want the newest %d", len(got), keptFuture)
	}
}

func TestStatusBeforeTheProbeWatches(t *testing.T) {
	w := newWorld(t)
	if _, err := w.EnrollProbe(); err != nil {
		t.Fatal(err)
	}
	if h := w.Status().Hub; h.Viewers != 0 || h.Streams != 0 {
		t.Errorf("%d viewers, %d streams; want none", h.Viewers, h.Streams)
	}
}

func TestExpiredKeysLeaveTheDatabase(t *testing.T) {
	w := newWorld(t)
	id := w.enroll("van-1", 0).Device.ID
	if _, err := w.Rotate(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(8 * 24 * time.Hour) // the grace ends while the server is down
	w.restart()
	w.expireCredentials(context.Background(), w.now)
	var kept []track.DeviceID
	err := w.db.Credentials(context.Background(), func(c *store.Credential) error {
		kept = append(kept, c.ID)
		return nil
	})
	if err != nil || len(kept) != 1 || kept[0] == id {
		t.Errorf("credentials in the database: %v, %v; want the new one alone", kept, err)
	}
}

func TestBatchInFlightDoesNotBringARevokedDeviceBack(t *testing.T) {
	w := newWorld(t)
	id := w.enroll("van-1", 0).Device.ID
	w.apply(w.fix(id, 1, 1, 1))
	if err := w.Revoke(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	w.apply(w.fix(id, 2, 1, 1)) // was read before the door had heard of it
	if _, ok := w.Latest(id); ok {
		t.Error("the revoked device is in the present again")
	}
	if got := len(w.history(id)); got != 1 {
		t.Errorf("history has %d fixes, want 1", got)
	}
	w.forgetRevoked(w.now.Add(time.Hour))
	if w.revoked.Load() != nil {
		t.Error("the list of revoked devices is kept for ever")
	}
}

func TestRotatingIDsNeedAClock(t *testing.T) {
	w := newWorld(t)
	_, err := w.Enroll(context.Background(), []NewDevice{{Name: "buoy", Flags: seal.CounterEpochs | seal.RotatingIDs}})
	if !errors.Is(err, track.ErrInvalid) {
		t.Errorf("flags c and p together: %v, want invalid", err)
	}
}
