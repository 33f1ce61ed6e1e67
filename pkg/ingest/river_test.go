package ingest

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/seal"
	"tracker/pkg/store"
	"tracker/pkg/store/sqlite"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// house is a reader with the whole river behind it: engine, present, store.
type house struct {
	*stand
	dir    string
	engine *engine.Engine
	db     *sqlite.DB
	stop   func()
}

func newHouse(t testing.TB) *house {
	h := &house{
		stand: &stand{t: t, river: newBareRiver(), socket: &memorySocket{from: netip.MustParseAddrPort("192.0.2.7:5000")}},
		dir:   t.TempDir(),
	}
	h.open()
	t.Cleanup(func() { h.stop() })
	return h
}

func (h *house) open() {
	h.t.Helper()
	db, err := sqlite.Open(sqlite.Config{Dir: h.dir, Now: h.now})
	if err != nil {
		h.t.Fatal(err)
	}
	e, err := engine.New(context.Background(), engine.Config{Master: [32]byte{1}, Advertise: "localhost", Now: h.now}, db)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- db.Run(ctx) }()
	go func() { done <- e.Run(ctx) }()
	cfg := Config{Now: h.now}
	cfg.setDefaults()
	h.engine, h.db = e, db
	h.restart(cfg, e)
	reader := h.reader
	h.stop = func() {
		reader.release()
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				h.t.Error(err)
			}
		}
		if err := db.Close(); err != nil {
			h.t.Error(err)
		}
		h.stop = func() {}
	}
}

// enroll registers a device and gives its sender's side.
func (h *house) enroll(name string, flags seal.EnrolFlags) *device {
	h.t.Helper()
	out, err := h.engine.Enroll(context.Background(), []engine.NewDevice{{Name: name, Flags: flags}})
	if err != nil {
		h.t.Fatal(err)
	}
	return deviceOf(out[0])
}

func deviceOf(e engine.Enrolled) *device {
	return &device{id: e.Enrolment.Device, root: e.Enrolment.Root, suite: e.Enrolment.Suite}
}

func (h *house) history(id track.DeviceID) (fixes []track.Fix) {
	h.t.Helper()
	if err := h.db.Flush(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	err := h.engine.History(context.Background(), store.Query{Device: id}, func(f *track.Fix, _ []byte) error {
		fixes = append(fixes, *f)
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return fixes
}

// Row 4: the server dies with datagrams in hand. After the restart the whole capture
// is played back, twice: what was stored is refused, what was lost comes in, once.
func TestThreat04ReplayAfterACrash(t *testing.T) {
	h := newHouse(t)
	var fleet []*device
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		fleet = append(fleet, h.enroll(name, 0).start(seconds(h.now())))
	}
	var stored, lost [][]byte
	for range 20 {
		for _, d := range fleet {
			stored = append(stored, d.report(h.now()))
		}
		h.sleep(time.Second)
	}
	h.want("ok:100", stored...)
	if err := h.db.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	image := t.TempDir() // the disk as it is at this moment
	copyDir(t, h.dir, image)
	for range 10 {
		for _, d := range fleet {
			lost = append(lost, d.report(h.now()))
		}
		h.sleep(time.Second)
	}
	h.want("ok:50", lost...)
	h.stop()

	h.dir = image
	h.open()
	h.want("replay:100", stored...)
	h.want("ok:50", lost...)
	h.want("replay:150", append(stored, lost...)...)
	for _, d := range fleet {
		seen := map[uint32]int{}
		for _, f := range h.history(d.id) {
			seen[f.PID]++
		}
		if len(seen) != 30 {
			t.Errorf("device %s has %d fixes, want 30", d.id, len(seen))
		}
		for pid, n := range seen {
			if n != 1 {
				t.Errorf("device %s has fix %d %d times", d.id, pid, n)
			}
		}
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// Row 6: a datagram is held back for an hour and then released. It is authentic and
// goes into the past; the present does not go back.
func TestThreat06HoldAndRelease(t *testing.T) {
	h := newHouse(t)
	d := h.enroll("van", 0).start(seconds(h.now()))
	h.want("ok", d.report(h.now()))
	held, heldAt := d.report(h.now()), h.now()
	for range 6 {
		h.sleep(10 * time.Minute)
		h.want("ok", d.report(h.now()))
	}
	present, _ := h.engine.Latest(d.id)
	h.want("ok", held)
	if now, _ := h.engine.Latest(d.id); now != present || now.Time != h.now().UnixMilli() {
		t.Errorf("the present went from %+v to %+v", present, now)
	}
	for _, f := range h.history(d.id) {
		if late := f.Flags&track.Late != 0; late != (f.Time == heldAt.UnixMilli() && f.PID == 1) {
			t.Errorf("fix %+v: late is %v", f, late)
		}
	}
}

// Row 10: revoking one device takes effect on its next datagram and touches no other.
// A device that is given a new key keeps its name and its past, and the old key says
// that it is going.
func TestThreat10RevokeAndRotate(t *testing.T) {
	h := newHouse(t)
	thief, honest, renewed := h.enroll("thief", 0), h.enroll("honest", 0), h.enroll("renewed", 0)
	for _, d := range []*device{thief, honest, renewed} {
		h.want("ok", d.start(seconds(h.now())).report(h.now()))
	}
	if err := h.engine.Revoke(context.Background(), thief.id); err != nil {
		t.Fatal(err)
	}
	h.want("unknown_id", thief.report(h.now()))
	h.want("unknown_id", thief.start(seconds(h.now())+1).report(h.now()))
	h.want("ok", honest.report(h.now()))

	out, err := h.engine.Rotate(context.Background(), renewed.id)
	if err != nil {
		t.Fatal(err)
	}
	h.sleep(time.Second)
	fresh := deviceOf(out).start(seconds(h.now()))
	if a := renewed.openAck(t, h.send(renewed.ask(h.now()))[0]); a.Status != seal.AckReprovision {
		t.Errorf("the old key is told %v, want %v", a.Status, seal.AckReprovision)
	}
	h.sleep(time.Second)
	h.want("ok", fresh.report(h.now()))
	for i, f := range h.history(renewed.id) {
		if want := []track.DeviceID{renewed.id, renewed.id, fresh.id}[i]; f.Device != renewed.id || f.Wire != want {
			t.Errorf("fix %d is of device %s by key %s, want %s by %s", i, f.Device, f.Wire, renewed.id, want)
		}
	}
	h.sleep(7*24*time.Hour + time.Second)
	h.want("ok", fresh.start(seconds(h.now())).report(h.now()))
	h.sleep(2 * time.Second)
	h.want("ok unknown_id", fresh.report(h.now()), renewed.start(seconds(h.now())).report(h.now()))
}

// Row 9 once more, through the engine: a session from 2038, struck out by the
// operator, stays out after a restart, too.
func TestThreat09ResetIsDurable(t *testing.T) {
	h := newHouse(t)
	d := h.enroll("van", 0)
	h.want("ok", d.start(seconds(h.now())).report(h.now()))
	bad := *d
	bad.start(seconds(time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC)))
	recorded := bad.report(h.now())
	h.want("ok", recorded)
	h.sleep(time.Minute)
	d.start(seconds(h.now()))
	h.want("epoch_old", d.report(h.now()))
	if got := h.engine.Alarms(); len(got) != 1 || got[0].Kind != engine.AlarmEpochFuture {
		t.Errorf("alarms %+v", got)
	}
	if _, err := h.engine.ResetFloor(context.Background(), d.id); err != nil {
		t.Fatal(err)
	}
	h.want("ok", d.report(h.now()))
	h.want("epoch_old:2", recorded, bad.report(h.now()))
	if err := h.db.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	h.stop()
	h.open()
	h.want("ok", d.report(h.now()))
	h.want("epoch_old:2", recorded, bad.report(h.now()))
}

// Row 11: the heap of a server in the middle of its work holds no root, only keys of
// single sessions.
func TestThreat11HeapHoldsNoRoot(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector keeps copies of its own")
	}
	h := newHouse(t)
	const mask = 0x5a // what the test remembers must not be found, either
	var masked [][32]byte
	var first []byte
	for range 20 {
		out, err := h.engine.Enroll(context.Background(), []engine.NewDevice{{Name: "van-" + string(rune('a'+len(masked)))}})
		if err != nil {
			t.Fatal(err)
		}
		en := &out[0].Enrolment
		keys := seal.Derive(&en.Root, en.Suite, en.Device, seconds(h.now()))
		pkt, err := seal.Seal(nil, seal.Header{Suite: en.Suite, Device: en.Device, Epoch: seconds(h.now())}, &keys, bodyOf(h.now(), 1, true))
		if err != nil {
			t.Fatal(err)
		}
		h.want("ok", pkt)
		if first == nil {
			rec := h.records.find(en.Device)
			first = append(first, rec.key[:]...)
		}
		var m [32]byte
		for i := range len(en.Root) { // ranging over the bytes would copy them to the stack
			m[i] = en.Root[i] ^ mask
		}
		masked = append(masked, m)
		clear(en.Root[:])
	}
	dump := heapDump(t)
	for i, m := range masked {
		for j := range m {
			m[j] ^= mask
		}
		if bytes.Contains(dump, m[:]) {
			t.Errorf("the root of device %d is in the heap", i)
		}
	}
	// The search can find things: a session key that this test keeps.
	if !bytes.Contains(dump, first) {
		t.Error("the dump lacks what it must hold")
	}
}

func heapDump(t *testing.T) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "heap"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	debug.FreeOSMemory()
	debug.WriteHeapDump(f.Fd())
	dump, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return dump
}

// Row 23: a place that no vehicle reaches in that time is marked, not refused.
func TestThreat23JumpIsFlagged(t *testing.T) {
	h := newHouse(t)
	d := h.enroll("van", 0).start(seconds(h.now()))
	for i, lat := range []float64{52.5, 52.5001, 48.1, 48.1001} {
		body, err := wire.AppendBody(nil, &wire.Body{Fixes: []track.Fix{{Time: h.now().UnixMilli(), At: geo.Deg(lat, 13), Has: track.HasPos}}})
		if err != nil {
			t.Fatal(err)
		}
		h.want("ok", d.seal(body))
		f, _ := h.engine.Latest(d.id)
		if jump := f.Flags&track.Jump != 0; jump != (i == 2) || f.At.LatDeg() != lat {
			t.Errorf("fix %d at %v: jump is %v", i, f.At, jump)
		}
		h.sleep(10 * time.Second)
	}
}
