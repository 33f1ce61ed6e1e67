package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"tracker/pkg/rpc"
	"tracker/pkg/seal"
	"tracker/pkg/wire/trk"
)

// hello is the HELLO of a client that bears the server's admin token.
func (r *running) hello() rpc.Hello {
	r.t.Helper()
	token, err := os.ReadFile(filepath.Join(r.dir, tokenFile))
	if err != nil {
		r.t.Fatal(err)
	}
	return rpc.Hello{AuthKind: rpc.AuthBearer, Auth: []byte(strings.TrimSpace(string(token))), Client: "test"}
}

// apps shakes hands on a connection.
func (r *running) apps(nc net.Conn) (*rpc.Client, error) {
	r.t.Helper()
	c, err := rpc.NewClient(context.Background(), nc, rpc.ClientConfig{Hello: r.hello()})
	if err == nil {
		r.t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func dialTCP(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func sum(t testing.TB, c rpc.Caller, a, b int32) int32 {
	t.Helper()
	rsp, err := trk.ExampleClient{Caller: c}.Sum(context.Background(), &trk.SumReqT{A: a, B: b})
	if err != nil {
		t.Fatal(err)
	}
	return rsp.Sum()
}

func TestAppsAreServedInTheClearAndInsideTLS(t *testing.T) {
	r := startServer(t, nil)
	for name, nc := range map[string]net.Conn{
		"plain": dialTCP(t, r.tcp),
		"tls":   tls.Client(dialTCP(t, r.tcp), &tls.Config{InsecureSkipVerify: true}),
	} {
		c, err := r.apps(nc)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := sum(t, c, 2, 3); got != 5 {
			t.Errorf("%s: 2 + 3 = %d", name, got)
		}
	}
}

func TestAppInTheClearIsToldOfTLS(t *testing.T) {
	r := startServer(t, func(c *Config) { c.TLS = TLSOn })
	_, err := r.apps(dialTCP(t, r.tcp))
	var e *rpc.Error
	if !errors.As(err, &e) || e.Status != rpc.FailedPrecondition || e.Reason != "tls" {
		t.Errorf("got %v, want FailedPrecondition for tls", err)
	}
}

// socket carries frames over a WebSocket as a client does, in the least way.
type socket struct{ net.Conn }

func (s socket) ReadMessage() ([]byte, error) { return wsutil.ReadServerBinary(s.Conn) }
func (s socket) WriteMessage(b []byte) error  { return wsutil.WriteClientBinary(s.Conn, b) }

func TestAppsAreServedOverWebSocket(t *testing.T) {
	r := startServer(t, nil)
	for _, scheme := range []string{"ws://", "wss://"} {
		d := ws.Dialer{Protocols: []string{"trk.v1"}, TLSConfig: &tls.Config{InsecureSkipVerify: true}}
		nc, buffered, hs, err := d.Dial(context.Background(), scheme+r.tcp+"/v1/rpc")
		if err != nil || buffered != nil || hs.Protocol != "trk.v1" {
			t.Fatalf("%s: %v, %+v", scheme, err, hs)
		}
		c, err := r.apps(rpc.OverMessages(socket{nc}))
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		if got := sum(t, c, 2, 3); got != 5 {
			t.Errorf("%s: 2 + 3 = %d", scheme, got)
		}
	}
	nc, _, _, err := ws.Dialer{Protocols: []string{"trk.v1"}}.Dial(context.Background(), "ws://"+r.tcp+"/v1/rpc")
	if err != nil {
		t.Fatal(err)
	}
	_, err = rpc.NewClient(context.Background(), rpc.OverMessages(socket{nc}), rpc.ClientConfig{Hello: rpc.Hello{AuthKind: rpc.AuthBearer, Auth: []byte("trk_no")}})
	if rpc.StatusOf(err) != rpc.Unauthenticated {
		t.Errorf("a wrong token: %v", err)
	}
}

// What the doors count is in /metrics with its HELP, and in the status of both.
func TestCountsOfAllDoorsAreShown(t *testing.T) {
	r := startServer(t, nil)
	c, err := r.apps(dialTCP(t, r.tcp))
	if err != nil {
		t.Fatal(err)
	}
	sum(t, c, 1, 1)
	resp, err := http.Get("http://" + r.tcp + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tracker_rpc_connections", "tracker_rpc_accepted_total", "tracker_rpc_fault_method_total", "tracker_rpc_skipped_total",
		"tracker_alias_collisions_total", "tracker_live_refused_total"} {
		if !strings.Contains(string(page), "# HELP "+name+" ") || !strings.Contains(string(page), "\n"+name+" ") {
			t.Errorf("%s is not in the metrics", name)
		}
	}
	reply, err := trk.StatusClient{Caller: c}.Get(context.Background(), &trk.EmptyT{})
	if err != nil {
		t.Fatal(err)
	}
	counters := map[string]float64{}
	for _, x := range append(reply.UnPack().Rpc, reply.UnPack().Ingest...) {
		counters[x.Name] = x.Value
	}
	if counters["connections"] != 1 || counters["readers"] == 0 {
		t.Errorf("status: %v", counters)
	}
}

// A device may use both doors at once, and both go down the same river.
func TestDeviceReportsAndSendsDatagrams(t *testing.T) {
	r := startServer(t, nil)
	e := r.enroll("van")
	hello := rpc.Hello{AuthKind: rpc.AuthDeviceKey, Auth: seal.AppendProof(nil, &e.Root, e.Device, time.Now())}
	c, err := rpc.NewClient(context.Background(), dialTCP(t, r.tcp), rpc.ClientConfig{Hello: hello})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	udp, err := net.Dial("udp", r.udp)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	const n = 20
	epoch := uint32(time.Now().Unix())
	for i := range n {
		if _, err := udp.Write(report(t, e, epoch, uint32(i), time.Now())); err != nil {
			t.Fatal(err)
		}
		fix := &trk.FixT{Time: float64(time.Now().UnixMilli()), Has: trk.HasPosition, Lat: int32(i), Lon: 1}
		if _, err := (trk.PublishClient{Caller: c}).Report(context.Background(), &trk.ReportReqT{Fixes: []*trk.FixT{fix}}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the fixes of both doors are history", func() bool { return r.history("van") == 2*n })
}

// What ends a token ends its connections whatever they travel over, and says so.
func TestRevokedTokenEndsSocketsToo(t *testing.T) {
	r := startServer(t, nil)
	c, err := r.apps(dialTCP(t, r.tcp))
	if err != nil {
		t.Fatal(err)
	}
	made, err := trk.TokensClient{Caller: c}.Create(context.Background(), &trk.NewTokenT{Name: "wall", Role: "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	token := made.UnPack()
	nc, _, _, err := ws.Dialer{Protocols: []string{"trk.v1"}}.Dial(context.Background(), "ws://"+r.tcp+"/v1/rpc")
	if err != nil {
		t.Fatal(err)
	}
	hello := rpc.Hello{AuthKind: rpc.AuthBearer, Auth: []byte(token.Secret)}
	wall, err := rpc.NewClient(context.Background(), rpc.OverMessages(socket{nc}), rpc.ClientConfig{Hello: hello})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = wall.Close() }()
	if _, err := (trk.WatchClient{Caller: wall}).Open(context.Background(), &trk.WatchReqT{Area: &trk.AreaT{All: true}}); err != nil {
		t.Fatal(err)
	}
	if _, err := (trk.TokensClient{Caller: c}).Revoke(context.Background(), &trk.TokenRefT{Id: token.Token.Id}); err != nil {
		t.Fatal(err)
	}
	<-wall.Done()
	if rpc.StatusOf(wall.Err()) != rpc.Unauthenticated {
		t.Errorf("it ended with %v", wall.Err())
	}
	if sum(t, c, 1, 2) != 3 {
		t.Error("the connection that revoked it suffers")
	}
}
