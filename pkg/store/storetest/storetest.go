// Package storetest is what every store must do, as tests. An engine's own test calls
// Run with a way to open it; the suite closes and opens it again as it likes, and
// compares whatever comes back with a model that keeps everything in slices.
package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/store"
	"tracker/pkg/track"
)

// Options are what the suite wants of a store.
type Options struct {
	Now           func() time.Time // the store's clock
	RetentionDays int
}

// Open opens the store that lives in dir, or makes it. The suite opens it again only
// after it closed it.
type Open func(dir string, o Options) (store.Store, error)

// Run holds a store to its contract.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, r *rig)
	}{
		{"history gives back every fix in order", testHistory},
		{"history by pages is history", testPages},
		{"history keeps what differs only in place", testSameSecond},
		{"history ends when it is told to", testHistoryEnds},
		{"history sees a fix once at every moment", testHistoryMeanwhile},
		{"latest and floors follow what is stored", testState},
		{"denied epochs are no floors", testDenied},
		{"a day that is too old goes, and leaves its floors", testRetention},
		{"devices", testDevices},
		{"a batch of devices is all or nothing", testDevicesAtomic},
		{"credentials", testCredentials},
		{"tokens", testTokens},
		{"maps", testMaps},
		{"maps lose devices and tokens that end", testMapsLose},
		{"lineage and status", testStatus},
		{"a closed store says so", testClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := &rig{TB: t, open: open, dir: t.TempDir()}
			r.now = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
			r.start()
			t.Cleanup(r.stop)
			test.run(t, r)
		})
	}
}

// rig is a running store and its clock.
type rig struct {
	testing.TB
	open Open
	dir  string
	days int

	mu  sync.Mutex
	now time.Time

	store.Store
	cancel context.CancelFunc
	ended  chan error
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func (r *rig) start() {
	r.Helper()
	s, err := r.open(r.dir, Options{Now: r.clock, RetentionDays: r.days})
	if err != nil {
		r.Fatalf("open: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.Store, r.cancel, r.ended = s, cancel, make(chan error, 1)
	go func() { r.ended <- s.Run(ctx) }()
}

func (r *rig) stop() {
	r.Helper()
	if r.Store == nil {
		return
	}
	r.cancel()
	if err := <-r.ended; err != nil {
		r.Errorf("run: %v", err)
	}
	if err := r.Close(); err != nil {
		r.Errorf("close: %v", err)
	}
	r.Store = nil
}

func (r *rig) restart() {
	r.Helper()
	r.stop()
	r.start()
}

func (r *rig) flush() {
	r.Helper()
	if err := r.Flush(r.ctx()); err != nil {
		r.Fatalf("flush: %v", err)
	}
}

func (r *rig) compact() {
	r.Helper()
	if err := r.Compact(r.ctx()); err != nil {
		r.Fatalf("compact: %v", err)
	}
}

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	r.Cleanup(cancel)
	return ctx
}

// stored is a fix with its TLVs, comparable.
type stored struct {
	track.Fix
	ext string
}

func take(f *track.Fix, ext []byte) stored {
	s := stored{*f, string(ext)}
	s.Ext = 0
	return s
}

func (r *rig) history(q store.Query) []stored {
	r.Helper()
	var got []stored
	err := r.History(r.ctx(), q, func(f *track.Fix, ext []byte) error {
		got = append(got, take(f, ext))
		return nil
	})
	if err != nil {
		r.Fatalf("history %+v: %v", q, err)
	}
	return got
}

// model is the slow and obvious store.
type model struct {
	rng   *rand.Rand
	fixes []stored
	pid   map[track.DeviceID]uint32
}

func newModel(seed uint64) *model {
	return &model{rng: rand.New(rand.NewPCG(seed, 1)), pid: make(map[track.DeviceID]uint32)}
}

// batch makes fixes of some devices that arrive at that time: most are of now, some
// are late, some out of order, some are heartbeats, and some carry TLVs.
func (m *model) batch(now time.Time, devices, n int) *track.Batch {
	b := &track.Batch{}
	for range n {
		id := track.DeviceID(m.rng.IntN(devices)+1) * 0x10_0000_0001
		at := now.UnixMilli() - m.rng.Int64N(3000)
		f := track.Fix{
			Device: id, Wire: id, Time: at, Arrived: now.UnixMilli(),
			Epoch: uint32(now.Unix() / 7200), PID: m.pid[id], Sub: uint8(m.rng.IntN(2)),
			At:    geo.Point{Lat: m.rng.Int32N(2*geo.MaxLat) - geo.MaxLat, Lon: int32(m.rng.Int64N(2*geo.MaxLon) - geo.MaxLon)},
			Speed: uint16(m.rng.Uint32()), Course: uint16(m.rng.IntN(36000)), Alt: int16(m.rng.Uint32()),
			Acc: uint8(m.rng.Uint32()), Bat: uint8(m.rng.Uint32()), Has: track.HasPos | track.Has(m.rng.IntN(16)<<1),
			Flags: track.Flags(m.rng.IntN(8)), Event: track.Event(m.rng.IntN(7)),
		}
		m.pid[id]++
		switch m.rng.IntN(10) {
		case 0: // from a queue, hours or days old
			f.Time -= m.rng.Int64N(3 * 24 * 3600_000)
		case 1:
			f.Has &^= track.HasPos
			f.At = geo.Point{}
		case 2:
			f.Wire ^= 0xffff // another credential
		case 3:
			f.Ext, f.ExtLen = uint32(len(b.Ext)), uint16(m.rng.IntN(20))
			for range f.ExtLen {
				b.Ext = append(b.Ext, byte(m.rng.Uint32()))
			}
		}
		if f.Flags&track.Suspect != 0 { // its clock is two minutes ahead, or hours
			f.Time = f.Arrived + 120_001 + m.rng.Int64N(6*3600_000)
		}
		b.Fixes = append(b.Fixes, f)
	}
	for i := range b.Fixes {
		m.fixes = append(m.fixes, take(&b.Fixes[i], b.ExtOf(&b.Fixes[i])))
	}
	return b
}

func (m *model) history(q store.Query) []stored {
	var want []stored
	for _, s := range m.fixes {
		if s.Device != q.Device || !q.From.IsZero() && s.When().Before(q.From) || !q.To.IsZero() && !s.When().Before(q.To) ||
			!q.Heartbeats && s.Has&track.HasPos == 0 || q.After.Passed(&s.Fix) {
			continue
		}
		want = append(want, s)
	}
	slices.SortFunc(want, func(a, b stored) int { return store.Compare(&a.Fix, &b.Fix) })
	if q.Limit > 0 && len(want) > q.Limit {
		want = want[:q.Limit]
	}
	return want
}

func (m *model) devices() []track.DeviceID {
	return slices.Sorted(maps.Keys(m.pid))
}

// check compares random queries, and everything there is.
func (m *model) check(r *rig, when string) {
	r.Helper()
	ids := m.devices()
	for _, id := range ids {
		m.compare(r, when, store.Query{Device: id, Heartbeats: true})
	}
	for range 60 {
		q := store.Query{Device: ids[m.rng.IntN(len(ids))], Heartbeats: m.rng.IntN(2) == 0}
		if m.rng.IntN(2) == 0 {
			q.Limit = 1 + m.rng.IntN(50)
		}
		base := m.fixes[m.rng.IntN(len(m.fixes))]
		if m.rng.IntN(2) == 0 {
			q.From = base.When().Add(time.Duration(m.rng.IntN(3)-1) * 500 * time.Microsecond)
		}
		if m.rng.IntN(2) == 0 {
			q.To = base.When().Add(time.Duration(m.rng.Int64N(int64(48*time.Hour))) + 500*time.Microsecond)
		}
		if m.rng.IntN(3) == 0 {
			q.After = store.Behind(&base.Fix)
		}
		m.compare(r, when, q)
	}
}

func (m *model) compare(r *rig, when string, q store.Query) {
	r.Helper()
	got, want := r.history(q), m.history(q)
	if !slices.Equal(got, want) {
		r.Fatalf("%s: history %+v: got %d fixes, want %d%s", when, q, len(got), len(want), firstDifference(got, want))
	}
}

func firstDifference(got, want []stored) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("\nmissing %d: %+v", i, want[i])
		case i >= len(want):
			return fmt.Sprintf("\ntoo much %d: %+v", i, got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("\nfirst difference at %d:\ngot  %+v\nwant %+v", i, got[i], want[i])
		}
	}
	return ""
}

func testHistory(t *testing.T, r *rig) {
	m := newModel(1)
	add := func(batches int) {
		for range batches {
			r.Append(m.batch(r.clock(), 7, m.rng.IntN(200)))
			r.pass(time.Minute)
		}
	}
	add(10)
	m.check(r, "just appended")
	r.flush()
	m.check(r, "flushed")
	add(10)
	r.restart()
	m.check(r, "opened again")
	add(10)
	r.compact()
	m.check(r, "compacted")
	r.pass(22 * time.Hour)
	add(10)
	m.check(r, "on the next day")
	r.flush()
	r.compact()
	m.check(r, "the next day compacted")
	r.restart()
	m.check(r, "opened once more")
	add(10)
	r.pass(24 * time.Hour)
	r.compact()
	m.check(r, "with nothing new on the third day")
}

func testPages(t *testing.T, r *rig) {
	m := newModel(2)
	walk := func(limit int, between func()) []stored {
		q := store.Query{Device: m.devices()[0], Limit: limit, Heartbeats: true}
		var all []stored
		for {
			page := r.history(q)
			all = append(all, page...)
			if len(page) < limit {
				return all
			}
			var err error
			after := store.Behind(&page[len(page)-1].Fix)
			if q.After, err = store.ParseCursor(after.String()); err != nil {
				t.Fatal(err)
			}
			between()
		}
	}
	for range 20 {
		r.Append(m.batch(r.clock(), 2, 250))
		r.pass(time.Minute)
	}
	want := m.history(store.Query{Device: m.devices()[0], Heartbeats: true})
	for _, limit := range []int{11, 500, len(want), len(want) + 1} {
		if got := walk(limit, func() {}); !slices.Equal(got, want) {
			t.Fatalf("pages of %d: got %d fixes, want %d%s", limit, len(got), len(want), firstDifference(got, want))
		}
	}
	steps := 0
	got := walk(len(want)/4, func() {
		switch steps++; steps {
		case 1:
			r.flush()
		case 2:
			r.restart()
		default:
			r.compact()
		}
	})
	if !slices.Equal(got, want) {
		t.Fatalf("while the store is moved about: got %d fixes, want %d%s", len(got), len(want), firstDifference(got, want))
	}
}

func testSameSecond(t *testing.T, r *rig) {
	at := r.clock().UnixMilli()
	f := track.Fix{Device: 5, Wire: 5, Time: at, Arrived: at + 10, PID: 1, Has: track.HasPos, At: geo.Point{Lat: 1, Lon: 2}}
	g := f
	g.PID, g.At = 2, geo.Point{Lat: 1, Lon: 3}
	h := f // what a door without packet ids would give
	h.At = geo.Point{Lat: -1, Lon: 2}
	r.Append(&track.Batch{Fixes: []track.Fix{g, f}})
	r.Append(&track.Batch{Fixes: []track.Fix{h}})
	want := []stored{take(&h, nil), take(&f, nil), take(&g, nil)}
	for _, step := range []func(){func() {}, r.flush, r.restart, r.compact} {
		step()
		if got := r.history(store.Query{Device: 5}); !slices.Equal(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	}
}

func testHistoryEnds(t *testing.T, r *rig) {
	m := newModel(3)
	r.Append(m.batch(r.clock(), 1, 100))
	stop := errors.New("stop")
	seen := 0
	err := r.History(r.ctx(), store.Query{Device: m.devices()[0]}, func(*track.Fix, []byte) error {
		seen++
		return stop
	})
	if err != stop || seen != 1 {
		t.Errorf("error from yield: got %v after %d fixes", err, seen)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err = r.History(ctx, store.Query{Device: m.devices()[0]}, func(*track.Fix, []byte) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: got %v", err)
	}
	if got := r.history(store.Query{Device: 12345}); got != nil {
		t.Errorf("unknown device: got %v", got)
	}
}

// testHistoryMeanwhile reads while fixes are appended, committed and compacted and days
// go by: what was appended before a read is in it, each fix once.
func testHistoryMeanwhile(t *testing.T, r *rig) {
	const device, total = track.DeviceID(77), 6000
	start := r.clock().UnixMilli()
	var wg sync.WaitGroup
	var mu sync.Mutex
	appended := 0
	wg.Go(func() {
		for i := 0; i < total; i += 20 {
			b := &track.Batch{}
			for j := i; j < i+20; j++ {
				b.Fixes = append(b.Fixes,
					track.Fix{Device: device, Wire: device, Time: start + int64(j), Arrived: start, PID: uint32(j), Has: track.HasPos},
					track.Fix{Device: device + 1 + track.DeviceID(j), Wire: 1, Time: start, Arrived: start, PID: uint32(j), Has: track.HasPos})
			}
			r.Append(b)
			mu.Lock()
			appended = i + 20
			mu.Unlock()
			if i%400 == 0 {
				if err := r.Flush(r.ctx()); err != nil {
					t.Errorf("flush: %v", err)
				}
			}
			if i%1000 == 0 {
				if err := r.Compact(r.ctx()); err != nil {
					t.Errorf("compact: %v", err)
				}
			}
			if i%1500 == 0 {
				r.pass(24 * time.Hour)
			}
		}
	})
	for at := 0; at < total && !t.Failed(); {
		mu.Lock()
		at = appended
		mu.Unlock()
		n := 0
		err := r.History(r.ctx(), store.Query{Device: device}, func(f *track.Fix, _ []byte) error {
			if f.PID != uint32(n) {
				return fmt.Errorf("fix %d is number %d", f.PID, n)
			}
			n++
			return nil
		})
		if err != nil || n < at {
			t.Errorf("history: got %d fixes and %v, want at least %d", n, err, at)
		}
	}
	wg.Wait()
}

// floors as the model sees them: the two newest epochs of each credential.
func (m *model) floors() []store.Floor {
	byWire := make(map[track.DeviceID]map[uint32]uint32)
	for _, s := range m.fixes {
		if byWire[s.Wire] == nil {
			byWire[s.Wire] = make(map[uint32]uint32)
		}
		byWire[s.Wire][s.Epoch] = max(byWire[s.Wire][s.Epoch], s.PID)
	}
	var want []store.Floor
	for _, wire := range slices.Sorted(maps.Keys(byWire)) {
		epochs := slices.Sorted(maps.Keys(byWire[wire]))
		slices.Reverse(epochs)
		for _, e := range epochs[:min(2, len(epochs))] {
			want = append(want, store.Floor{Credential: wire, Epoch: e, MaxPID: byWire[wire][e]})
		}
	}
	return want
}

// latest as the model sees it: of each device the newest place, and a newer heartbeat.
func (m *model) latest() []track.Fix {
	var want []track.Fix
	for _, id := range m.devices() {
		var place, beat *track.Fix
		for i := range m.fixes {
			f := &m.fixes[i].Fix
			newest := &beat
			if f.Has&track.HasPos != 0 {
				newest = &place
			}
			if f.Device == id && (*newest == nil || store.Newer(f, *newest)) {
				*newest = f
			}
		}
		if place != nil {
			want = append(want, *place)
		}
		if beat != nil && (place == nil || store.Newer(beat, place)) {
			want = append(want, *beat)
		}
	}
	for i := range want {
		want[i].ExtLen = 0
	}
	return want
}

func (r *rig) floors() []store.Floor {
	r.Helper()
	var got []store.Floor
	var seen []track.DeviceID
	err := r.Floors(r.ctx(), func(f store.Floor) error {
		if n := len(seen); n == 0 || seen[n-1] != f.Credential {
			if slices.Contains(seen, f.Credential) {
				r.Errorf("floors of credential %s do not come together", f.Credential)
			}
			seen = append(seen, f.Credential)
		}
		got = append(got, f)
		return nil
	})
	if err != nil {
		r.Fatalf("floors: %v", err)
	}
	slices.SortStableFunc(got, func(a, b store.Floor) int { return cmp.Compare(a.Credential, b.Credential) })
	return got
}

func (r *rig) latest() []track.Fix {
	r.Helper()
	var got []track.Fix
	err := r.Latest(r.ctx(), func(f *track.Fix) error { got = append(got, *f); return nil })
	if err != nil {
		r.Fatalf("latest: %v", err)
	}
	slices.SortStableFunc(got, func(a, b track.Fix) int { return cmp.Compare(a.Device, b.Device) })
	return got
}

func (m *model) checkState(r *rig, when string) {
	r.Helper()
	if got, want := r.latest(), m.latest(); !slices.Equal(got, want) {
		r.Fatalf("%s: latest:\ngot  %+v\nwant %+v", when, got, want)
	}
	if got, want := r.floors(), m.floors(); !slices.Equal(got, want) {
		r.Fatalf("%s: floors:\ngot  %+v\nwant %+v", when, got, want)
	}
}

func testState(t *testing.T, r *rig) {
	m := newModel(4)
	if got := r.latest(); got != nil {
		t.Fatalf("latest of an empty store: %v", got)
	}
	for round := range 6 {
		for range 5 {
			r.Append(m.batch(r.clock(), 300*(round+1), 150))
			r.pass(31 * time.Minute)
		}
		switch round % 3 {
		case 0:
			r.restart()
		case 1:
			r.flush()
			r.compact()
		}
		m.checkState(r, fmt.Sprintf("round %d", round))
	}
	r.restart()
	m.checkState(r, "at the end")
}

func testDenied(t *testing.T, r *rig) {
	const id = track.DeviceID(9)
	r.mustSave([]store.Device{{ID: id, Name: "nine"}}, []store.Credential{{ID: id, Device: id, MinEpoch: 5}})
	pid := uint32(0)
	send := func(epochs ...uint32) {
		for _, e := range epochs {
			pid++
			at := r.clock().UnixMilli() + int64(pid)
			r.Append(&track.Batch{Fixes: []track.Fix{{Device: id, Wire: id, Time: at, Arrived: at, Epoch: e, PID: pid, Has: track.HasPos}}})
		}
	}
	expect := func(when string, want ...store.Floor) {
		t.Helper()
		if got := r.floors(); !slices.Equal(got, want) {
			t.Fatalf("%s: got %+v, want %+v", when, got, want)
		}
	}
	floor := func(epoch, pid uint32) store.Floor {
		return store.Floor{Credential: id, Epoch: epoch, MaxPID: pid}
	}
	bad := store.Floor{Credential: id, Epoch: 4_000_000_000, Denied: true}

	send(10, 4_000_000_000)
	r.compact()
	expect("before", floor(4_000_000_000, 2), floor(10, 1))
	if err := r.ResetFloor(r.ctx(), id, 11, 4_000_000_000); err != nil {
		t.Fatal(err)
	}
	expect("denied", floor(10, 1), bad)
	r.restart()
	expect("opened again", floor(10, 1), bad)
	send(4_000_000_000, 20)
	expect("sent again", floor(20, 4), floor(10, 1), bad)
	r.compact()
	expect("compacted", floor(20, 4), floor(10, 1), bad)
	r.restart()
	expect("opened once more", floor(20, 4), floor(10, 1), bad)

	if got := r.credentials(); len(got) != 1 || got[0].MinEpoch != 11 {
		t.Errorf("credentials: got %+v, want MinEpoch 11", got)
	}
	if err := r.ResetFloor(r.ctx(), 12345, 0); !errors.Is(err, track.ErrNotFound) {
		t.Errorf("unknown credential: got %v", err)
	}
}

func testRetention(t *testing.T, r *rig) {
	r.stop()
	r.days = 2
	r.start()
	m := newModel(5)
	arrival := make(map[string]int)
	for range 6 {
		r.Append(m.batch(r.clock(), 40, 300))
		r.flush()
		arrival[r.clock().Format(time.DateOnly)] = len(m.fixes)
		r.pass(24 * time.Hour)
		r.compact()
	}
	m.checkState(r, "after six days")
	// The clock stands on the seventh day; the fifth and the sixth are kept.
	m.fixes = m.fixes[arrival[r.clock().AddDate(0, 0, -3).Format(time.DateOnly)]:]
	for _, id := range m.devices() {
		m.compare(r, "after six days", store.Query{Device: id, Heartbeats: true})
	}
	r.restart()
	for _, id := range m.devices() {
		m.compare(r, "opened again", store.Query{Device: id, Heartbeats: true})
	}
	r.pass(10 * 24 * time.Hour)
	r.compact()
	for _, id := range m.devices() {
		if got := r.history(store.Query{Device: id, Heartbeats: true}); got != nil {
			t.Fatalf("ten days later device %s still has %d fixes", id, len(got))
		}
	}
	if got := r.latest(); len(got) == 0 {
		t.Error("ten days later the latest fixes are gone")
	}
	m = newModel(6)
	r.Append(m.batch(r.clock(), 40, 300))
	m.check(r, "a new beginning")
}

func (r *rig) mustSave(devices []store.Device, credentials []store.Credential) {
	r.Helper()
	if err := r.SaveDevices(r.ctx(), devices, credentials); err != nil {
		r.Fatalf("save devices: %v", err)
	}
}

func (r *rig) devices() []store.Device {
	r.Helper()
	var got []store.Device
	if err := r.Devices(r.ctx(), func(d *store.Device) error { got = append(got, *d); return nil }); err != nil {
		r.Fatalf("devices: %v", err)
	}
	slices.SortFunc(got, func(a, b store.Device) int { return cmp.Compare(a.ID, b.ID) })
	return got
}

func (r *rig) credentials() []store.Credential {
	r.Helper()
	var got []store.Credential
	if err := r.Credentials(r.ctx(), func(c *store.Credential) error { got = append(got, *c); return nil }); err != nil {
		r.Fatalf("credentials: %v", err)
	}
	slices.SortFunc(got, func(a, b store.Credential) int { return cmp.Compare(a.ID, b.ID) })
	return got
}

func testDevices(t *testing.T, r *rig) {
	made := time.Date(2026, 11, 21, 9, 0, 0, 123e6, time.UTC)
	want := []store.Device{
		{ID: 1, Name: "van-1", Created: made},
		{ID: 2, Name: "Lkw Südtirol 🚚", Created: made},
		{ID: track.MaxDeviceID, Name: "last", Created: made},
	}
	r.mustSave(want, nil)
	check := func(when string) {
		t.Helper()
		if got := r.devices(); !slices.Equal(got, want) {
			t.Fatalf("%s:\ngot  %+v\nwant %+v", when, got, want)
		}
	}
	check("saved")

	ctx := r.ctx()
	fails := func(what string, err, kind error, name string) {
		t.Helper()
		if !errors.Is(err, kind) || !bytes.Contains([]byte(err.Error()), []byte(name)) {
			t.Errorf("%s: got %v, want %v that names %q", what, err, kind, name)
		}
	}
	fails("name taken", r.SaveDevices(ctx, []store.Device{{ID: 3, Name: "van-1"}}, nil), track.ErrExists, "van-1")
	fails("id taken", r.SaveDevices(ctx, []store.Device{{ID: 1, Name: "other"}}, nil), track.ErrExists, "000000000001")
	fails("id 0", r.SaveDevices(ctx, []store.Device{{Name: "none"}}, nil), track.ErrInvalid, "none")
	fails("no name", r.SaveDevices(ctx, []store.Device{{ID: 4}}, nil), track.ErrInvalid, "000000000004")
	fails("rename to a taken name", r.RenameDevice(ctx, 2, "van-1"), track.ErrExists, "van-1")
	fails("rename nobody", r.RenameDevice(ctx, 77, "x"), track.ErrNotFound, "00000000004d")
	fails("rename to nothing", r.RenameDevice(ctx, 2, ""), track.ErrInvalid, "000000000002")
	fails("revoke nobody", r.RevokeDevice(ctx, 77, made), track.ErrNotFound, "00000000004d")
	check("after what failed")

	if err := r.RenameDevice(ctx, 2, "lorry"); err != nil {
		t.Fatal(err)
	}
	if err := r.RenameDevice(ctx, 2, "lorry"); err != nil {
		t.Fatalf("rename to its own name: %v", err)
	}
	for _, at := range []time.Time{made.Add(time.Hour), made.Add(2 * time.Hour)} {
		if err := r.RevokeDevice(ctx, 1, at); err != nil {
			t.Fatal(err)
		}
	}
	fails("rename a revoked device", r.RenameDevice(ctx, 1, "again"), track.ErrNotFound, "000000000001")
	r.mustSave([]store.Device{{ID: 5, Name: "van-1", Created: made}}, nil) // its name is free
	want[0].Revoked = made.Add(time.Hour)
	want[1].Name = "lorry"
	want = slices.Insert(want, 2, store.Device{ID: 5, Name: "van-1", Created: made})
	check("changed")
	r.restart()
	check("opened again")
}

func testDevicesAtomic(t *testing.T, r *rig) {
	const n = 1000
	var devices []store.Device
	var credentials []store.Credential
	for i := range n {
		id := track.DeviceID(i+1) * 0x1234567
		devices = append(devices, store.Device{ID: id, Name: fmt.Sprintf("device-%d", i)})
		credentials = append(credentials, store.Credential{ID: id, Device: id})
	}
	broken := slices.Clone(devices)
	broken[n-1].Name = "device-7"
	if err := r.SaveDevices(r.ctx(), broken, credentials); !errors.Is(err, track.ErrExists) {
		t.Fatalf("a name twice: got %v", err)
	}
	twice := slices.Clone(credentials)
	twice[n-1].ID = twice[3].ID
	if err := r.SaveDevices(r.ctx(), devices, twice); !errors.Is(err, track.ErrExists) {
		t.Fatalf("a credential twice: got %v", err)
	}
	if got := r.devices(); got != nil {
		t.Fatalf("%d devices stayed", len(got))
	}
	r.mustSave(devices, credentials)
	r.restart()
	if got := len(r.devices()); got != n {
		t.Errorf("got %d devices, want %d", got, n)
	}
	if got := len(r.credentials()); got != n {
		t.Errorf("got %d credentials, want %d", got, n)
	}
}

func testCredentials(t *testing.T, r *rig) {
	made := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	first := store.Credential{ID: 1, Device: 1, Suite: 1, Flags: 7, MinEpoch: 4_200_000_000, Created: made}
	for i := range first.Wrapped {
		first.Wrapped[i] = byte(200 + i)
	}
	second := store.Credential{ID: 100, Device: 1, Suite: 2, Created: made.Add(time.Hour)}
	other := store.Credential{ID: 2, Device: 2, Suite: 1, Created: made}
	r.mustSave([]store.Device{{ID: 1, Name: "one"}, {ID: 2, Name: "two"}}, []store.Credential{first, other})

	ctx := r.ctx()
	grace := made.Add(7 * 24 * time.Hour)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.RotateCredential(ctx, second, grace))
	must(r.RotateCredential(ctx, store.Credential{ID: 101, Device: 1, Created: made}, grace.Add(time.Hour)))
	if err := r.RotateCredential(ctx, store.Credential{ID: 101, Device: 2}, grace); !errors.Is(err, track.ErrExists) {
		t.Errorf("a wire id twice: got %v", err)
	}
	if err := r.RotateCredential(ctx, store.Credential{ID: 102, Device: 77}, grace); !errors.Is(err, track.ErrNotFound) {
		t.Errorf("unknown device: got %v", err)
	}
	first.Expires = grace // and not an hour later
	second.Expires = grace.Add(time.Hour)
	third := store.Credential{ID: 101, Device: 1, Created: made}
	check := func(when string, want ...store.Credential) {
		t.Helper()
		if got := r.credentials(); !slices.Equal(got, want) {
			t.Fatalf("%s:\ngot  %+v\nwant %+v", when, got, want)
		}
	}
	check("rotated twice", first, other, second, third)
	r.restart()
	ctx = r.ctx()
	check("opened again", first, other, second, third)

	revoked := grace.Add(time.Minute)
	must(r.RevokeDevice(ctx, 1, revoked))
	second.Expires, third.Expires = revoked, revoked
	check("revoked", first, other, second, third)

	if err := r.RotateCredential(ctx, store.Credential{ID: 103, Device: 1}, grace); !errors.Is(err, track.ErrNotFound) {
		t.Errorf("rotate a revoked device: got %v", err)
	}
	n, err := r.DropCredentials(ctx, revoked)
	if n != 1 || err != nil {
		t.Errorf("drop: got %d, %v, want 1", n, err)
	}
	check("dropped", other, second, third)
}

func testTokens(t *testing.T, r *rig) {
	ctx := r.ctx()
	a := store.Token{ID: 1 << 63, Name: "admin", Role: "admin", Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	b := store.Token{ID: 7, Name: "screen", Role: "viewer", Created: a.Created, Expires: a.Created.Add(time.Hour)}
	for i := range a.Hash {
		a.Hash[i], b.Hash[i] = byte(i), byte(255-i)
	}
	check := func(when string, want ...store.Token) {
		t.Helper()
		var got []store.Token
		if err := r.Tokens(r.ctx(), func(t *store.Token) error { got = append(got, *t); return nil }); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b store.Token) int { return cmp.Compare(a.ID, b.ID) })
		if !slices.Equal(got, want) {
			t.Fatalf("%s:\ngot  %+v\nwant %+v", when, got, want)
		}
	}
	check("none")
	for _, token := range []store.Token{a, b} {
		if err := r.SaveToken(ctx, token); err != nil {
			t.Fatal(err)
		}
	}
	check("saved", b, a)
	b.Role = "admin"
	if err := r.SaveToken(ctx, b); err != nil {
		t.Fatal(err)
	}
	r.restart()
	ctx = r.ctx()
	check("replaced", b, a)
	if err := r.DeleteToken(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteToken(ctx, a.ID); !errors.Is(err, track.ErrNotFound) {
		t.Errorf("delete twice: got %v", err)
	}
	check("deleted", b)
}

func testStatus(t *testing.T, r *rig) {
	lineage := r.Lineage()
	if lineage == 0 {
		t.Error("lineage is 0")
	}
	m := newModel(7)
	r.Append(m.batch(r.clock(), 10, 1234))
	r.flush()
	s := r.Status()
	if s.State != store.OK || s.Reason != "" || s.Stored != 1234 || s.Lost != 0 || s.Pending != 0 || s.Commits == 0 || s.Bytes == 0 {
		t.Errorf("status: %+v", s)
	}
	r.restart()
	if got := r.Lineage(); got != lineage {
		t.Errorf("lineage changed from %x to %x", lineage, got)
	}
	if s := r.Status(); s.Stored != 0 || s.Corrupt != 0 {
		t.Errorf("status after a restart: %+v", s)
	}
}

func testClosed(t *testing.T, r *rig) {
	m := newModel(8)
	r.Append(m.batch(r.clock(), 3, 10))
	s := r.Store
	r.stop()
	ctx := r.ctx()
	for what, err := range map[string]error{
		"history": s.History(ctx, store.Query{Device: m.devices()[0]}, func(*track.Fix, []byte) error { return nil }),
		"latest":  s.Latest(ctx, func(*track.Fix) error { return nil }),
		"floors":  s.Floors(ctx, func(store.Floor) error { return nil }),
		"devices": s.Devices(ctx, func(*store.Device) error { return nil }),
		"save":    s.SaveDevices(ctx, []store.Device{{ID: 1, Name: "x"}}, nil),
		"token":   s.SaveToken(ctx, store.Token{ID: 1}),
		"map":     s.SaveMap(ctx, store.Map{ID: 1, Name: "x"}),
		"maps":    s.Maps(ctx, func(*store.Map) error { return nil }),
		"members": s.MapMembers(ctx, func(track.MapID, track.DeviceID) error { return nil }),
		"viewers": s.MapViewers(ctx, func(track.MapID, uint64) error { return nil }),
		"join":    s.JoinMap(ctx, 1, []track.DeviceID{1}),
		"flush":   s.Flush(ctx),
		"compact": s.Compact(ctx),
	} {
		if !errors.Is(err, track.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", what, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	s.Append(m.batch(r.clock(), 3, 10)) // must not panic
}
