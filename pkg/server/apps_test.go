package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tracker/pkg/rpc"
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
