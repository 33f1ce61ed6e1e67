package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/load/leaktest"
	"tracker/pkg/seal"
	"tracker/pkg/server"
	"tracker/pkg/track"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// house is a whole server in this process.
type house struct {
	t    testing.TB
	udp  string
	conn *client.Conn
}

func newHouse(t testing.TB) *house {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	ready := make(chan struct{})
	h := &house{t: t}
	var tcp string
	s, err := server.Open(t.Context(), server.Config{
		Data: dir, Listen: "127.0.0.1:0", UDP: "127.0.0.1:0",
		Ready: func(a, b net.Addr) {
			tcp, h.udp = a.String(), b.String()
			close(ready)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.Run)
	<-ready
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	h.conn, err = client.Dial(client.Config{Server: tcp, Token: strings.TrimSpace(string(token))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.conn.CloseIdle)
	return h
}

// run runs something until the test is over.
func run(t testing.TB, work func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// muster enrols n devices by a roster of their own.
func (h *house) muster(n int) []Member {
	h.t.Helper()
	r, err := OpenRoster(filepath.Join(h.t.TempDir(), "fleet.json"))
	if err != nil {
		h.t.Fatal(err)
	}
	members, _, err := r.Muster(h.t.Context(), h.conn, names(n), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := r.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return members
}

func names(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("v%03d", i))
	}
	return out
}

// fleet starts members that send to addr.
func (h *house) fleet(members []Member, cfg client.FleetConfig) *client.Fleet {
	h.t.Helper()
	f := client.NewFleet(cfg)
	for _, m := range members {
		e, err := seal.ParseEnrolment(m.Enrolment)
		if err != nil {
			h.t.Fatal(err)
		}
		if _, err := f.Add(e); err != nil {
			h.t.Fatal(err)
		}
	}
	run(h.t, f.Run)
	return f
}

// wireline is a network between devices and server: it carries datagrams one way, and
// does with each what it is told.
type wireline struct {
	in      *net.UDPConn
	dropped atomic.Int64
}

// newLine passes on what keep agrees to; keep may take its time.
func newLine(t testing.TB, to string, keep func() bool) *wireline {
	t.Helper()
	in, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = in.SetReadBuffer(4 << 20)
	out, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	l := &wireline{in: in}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, err := in.Read(buf)
			if err != nil {
				return
			}
			if !keep() {
				l.dropped.Add(1)
				continue
			}
			_, _ = out.Write(buf[:n])
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		<-done
		_ = out.Close()
	})
	return l
}

func (l *wireline) addr() string { return l.in.LocalAddr().String() }

// journey makes cues: each of n devices sends each fixes, two of them in one second.
func journey(n, each int) []Cue {
	rng := rand.New(rand.NewPCG(1, 2))
	begin := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC).UnixMilli()
	var cues []Cue
	for k := range each {
		for i := range n {
			at := begin + int64(k/2)*1000
			f := track.Fix{Time: at, At: geo.Deg(40+float64(i)/10, 10+float64(k)/100), Has: track.HasPos}
			if rng.IntN(3) == 0 {
				f.Speed, f.Course, f.Has = 500, 9000, f.Has|track.HasVel
			}
			cues = append(cues, Cue{Device: i, Due: time.Duration(k) * time.Second, Fix: f})
		}
	}
	return cues
}

// history counts each fix of each member, the slow way.
func (h *house) history(members []Member) map[string]int {
	h.t.Helper()
	found := map[string]int{}
	for i, m := range members {
		for f, err := range h.conn.History(h.t.Context(), client.HistoryQuery{Device: m.Name}) {
			if err != nil {
				h.t.Fatal(err)
			}
			found[fmt.Sprint(i, f.Time.UnixMilli(), f.At)]++
		}
	}
	return found
}
