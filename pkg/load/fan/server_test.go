package fan

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/server"
)

// house is a whole server in this process.
type house struct {
	addr, token string
	conn        *client.Conn
}

func newHouse(t testing.TB) *house {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	ready := make(chan struct{})
	h := &house{}
	s, err := server.Open(t.Context(), server.Config{
		Data: dir, Listen: "127.0.0.1:0", UDP: "127.0.0.1:0",
		Ready: func(a, _ net.Addr) {
			h.addr = a.String()
			close(ready)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-ready
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	h.token = strings.TrimSpace(string(token))
	if h.conn, err = client.Dial(client.Config{Server: h.addr, Token: h.token}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.conn.Close)
	return h
}

func (h *house) dialer(how Transport) Dialer {
	return Dialer{Transport: how, Host: h.addr, Token: h.token, Agent: "test", Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", h.addr)
	}}
}

func (h *house) devices(t testing.TB, n int) (out []Device) {
	t.Helper()
	var ask []client.NewDevice
	for i := range n {
		ask = append(ask, client.NewDevice{Name: fmt.Sprintf("marauder-%06d", i+1)})
	}
	got, err := h.conn.EnrollBatch(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		out = append(out, Device{got[i].Device.ID, got[i].Device.Name})
	}
	return out
}

func TestAgainstTheServer(t *testing.T) {
	bothWays(t, func(t *testing.T, how Transport) {
		h := newHouse(t)
		const n, m = 20, 10
		devices := h.devices(t, n)
		for round := range 2 { // the second time the server has old places to show
			cfg := Config{
				Scenario: "marauder", Version: "test", Plan: Rounds(n, m, 100*time.Millisecond, Uniform, Schedule, uint64(round)),
				Devices: devices, Viewers: h.dialer(how), N: n, Together: true,
			}
			if round == 1 {
				cfg.Churn, cfg.Slow = 10, Slow{0.1, 30 * time.Millisecond}
			}
			res, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if res.Failure != nil {
				t.Errorf("round %d: got %+v, errors %v, faults %v", round, res.Failure, res.Counts.Errors, res.Counts.Faults)
			}
			if k := res.Consistency; k.Agree != k.Clients || res.Rates["updates_per_frame"] < 1 {
				t.Errorf("round %d: got %+v, %+v", round, k, res.Rates)
			}
		}
	})
}

func TestFanoutAgainstTheServer(t *testing.T) {
	h := newHouse(t)
	cfg := Config{
		Scenario: "fanout", Version: "test", Plan: AtRate(2, load.Constant(500), time.Second, 1), Devices: h.devices(t, 2),
		Viewers: h.dialer(WS), Reports: h.dialer(RPC), N: 10,
	}
	res, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if c := &res.Counts; res.Failure != nil || c.Deliveries.Received != 5000 {
		t.Errorf("got %+v, %+v", res.Failure, c)
	}
}

func TestWrongToken(t *testing.T) {
	h := newHouse(t)
	bothWays(t, func(t *testing.T, how Transport) {
		d := h.dialer(how)
		d.Token = "trk_wrong"
		if _, err := d.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "denied") && !strings.Contains(err.Error(), "allowed") {
			t.Errorf("got %v", err)
		}
	})
}
