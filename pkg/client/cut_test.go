package client

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// badLine stands between a client and a house, and breaks each connection after a
// random number of bytes until it is mended.
type badLine struct {
	addr   string
	broken atomic.Int64 // connections that it broke
	mended atomic.Bool
}

func newBadLine(t testing.TB, to string) *badLine {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &badLine{addr: ln.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { b.carry(c, to) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return b
}

func (b *badLine) carry(c net.Conn, to string) {
	defer c.Close()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, up}, {up, c}} {
		wg.Go(func() {
			// Most die young, within the handshake; some carry a while.
			from := io.Reader(way[0])
			if !b.mended.Load() {
				from = io.LimitReader(from, 1+rand.Int64N(1<<(4+rand.N(14))))
			}
			_, _ = io.Copy(way[1], from)
			_ = c.Close()
			_ = up.Close()
			b.broken.Add(1)
		})
	}
	wg.Wait()
}

// TestNothingIsLostOrToldTwiceOverABadLine watches and asks over lines that break at
// any byte. What the watch tells must add up to every fix, once.
func TestNothingIsLostOrToldTwiceOverABadLine(t *testing.T) { overAll(t, badLineTest) }

func badLineTest(t *testing.T, h *house) {
	e := h.enroll(1)[0]
	line := newBadLine(t, h.tcp)
	c := dialTo(t, Config{Server: h.scheme + line.addr, Token: h.admin, Timeout: 2 * time.Second})
	var w *Watch
	for w == nil {
		var err error
		if w, err = c.Watch(t.Context(), Area{}); err != nil && !errors.Is(err, ErrUnreachable) {
			t.Fatal(err)
		}
	}
	defer w.Close()
	const total = 2000
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer line.mended.Store(true)
		for i := range total {
			f := of(testFix(i), e)
			f.At = geo.Deg(48, float64(i)/1e5)
			h.apply(f)
			if i%20 != 0 {
				continue
			}
			// Calls share the line, fail as lines do, and give it time to break.
			if _, err := c.Device(t.Context(), "d0"); err != nil && !errors.Is(err, ErrUnreachable) {
				t.Errorf("a call: %v", err)
			}
		}
	})
	told, skipped, from := 0, uint64(0), int64(-1)
	last := testFix(total - 1).Time
	for {
		ev, err := w.Next()
		if err != nil {
			t.Error(err)
			return
		}
		skipped += ev.Skipped
		for _, f := range ev.Fixes {
			ms := f.Time.UnixMilli()
			if ev.Kind == Fixes {
				if from >= 0 && ms != from+testFix(1).Time-testFix(0).Time {
					t.Errorf("fix %d was told behind %d", ms, from)
				}
				told++
			}
			from = max(from, ms)
		}
		if from == last && !ev.More {
			break
		}
	}
	if told+int(skipped) > total {
		t.Errorf("told %d and skipped %d of %d", told, skipped, total)
	}
	t.Logf("%d connections broke, %d fixes one by one", line.broken.Load(), told)
}

// TestAWatchThatIsNotReadHoldsUpNobody leaves a watch alone, whose connection everything
// else shares.
func TestAWatchThatIsNotReadHoldsUpNobody(t *testing.T) { overAll(t, slowWatchTest) }

func slowWatchTest(t *testing.T, h *house) {
	es := h.enroll(100)
	c := h.conn()
	idle, err := c.Watch(t.Context(), Area{})
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	busy, err := c.Watch(t.Context(), Area{})
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	const rounds = 400
	var wg sync.WaitGroup
	wg.Go(func() {
		for r := range rounds {
			var fixes []track.Fix
			for _, e := range es {
				fixes = append(fixes, of(testFix(r), e))
			}
			h.apply(fixes...)
			if _, err := c.Device(t.Context(), "d7"); err != nil {
				t.Errorf("a call beside it: %v", err)
				return
			}
		}
	})
	last := testFix(rounds - 1).Time
	newest := map[track.DeviceID]int64{}
	for done := 0; done < len(es); {
		e, err := busy.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range e.Fixes {
			if newest[f.Device] = f.Time.UnixMilli(); newest[f.Device] == last {
				done++
			}
		}
	}
	wg.Wait()
}

// FuzzWatchFrame reads what claims to be a frame: none may panic, whatever passed the
// verifier.
func FuzzWatchFrame(f *testing.F) {
	f.Add(trk.AppendWatchFrame(nil, &trk.WatchFrameT{Kind: trk.FrameKindFixes, Position: 7, Epoch: "00000000000000ff",
		Fixes: []*trk.FixT{{Time: 1, Has: 31, Battery: 0xff, Event: 6, AccuracyCm: 507904}}, Names: []string{"van"}, Left: []string{"0123456789ab"}}))
	f.Add(trk.AppendWatchFrame(nil, &trk.WatchFrameT{Kind: 77, More: true, Left: []string{"nonsense"}, Fixes: []*trk.FixT{{}, {}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := trk.ReadWatchFrame(b)
		if err != nil {
			return
		}
		r := &rpcFeed{words: make(words, 8)}
		var fr frame
		if r.read(&fr, &x) == nil && len(fr.fixes) != x.FixesLength() {
			t.Errorf("got %d fixes of %d", len(fr.fixes), x.FixesLength())
		}
	})
}
