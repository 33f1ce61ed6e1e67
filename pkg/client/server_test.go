package client

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tracker/pkg/server"
	"tracker/pkg/track"
)

// TestWholeServersAreAskedInEveryWay runs servers as trackerd does, with TLS and
// without, and asks each in all ways there are.
func TestWholeServersAreAskedInEveryWay(t *testing.T) {
	for _, mode := range []server.TLSMode{server.TLSAuto, server.TLSOn, server.TLSOff} {
		t.Run(string(mode), func(t *testing.T) {
			addr, token := runServer(t, mode)
			known := filepath.Join(t.TempDir(), "known_servers")
			told := 0
			for _, tc := range []struct {
				scheme string
				plain  bool
			}{{"", mode != server.TLSOn}, {"ws://", true}, {"http://", true}, {"wss://", false}, {"https://", false}} {
				c := dialTo(t, Config{Server: tc.scheme + addr, Token: token, TLS: TLSConfig{KnownServers: known, OnFirstUse: func(string, string) { told++ }}})
				st, err := c.Status(t.Context())
				var e *Error
				switch {
				case tc.scheme != "" && tc.plain && mode == server.TLSOn:
					if !errors.As(err, &e) || !strings.Contains(e.Hint, "s://") {
						t.Errorf("%s insisted: got %v", tc.scheme, err)
					}
					continue
				case !tc.plain && mode == server.TLSOff:
					if !errors.Is(err, ErrUnreachable) {
						t.Errorf("%s: got %v", tc.scheme, err)
					}
					continue
				case err != nil || len(st.RPC) == 0 || st.Lineage == "":
					t.Errorf("%s: got %+v, %v", tc.scheme, st, err)
					continue
				}
				w, err := c.Watch(t.Context(), Area{})
				if err != nil {
					t.Errorf("%s: watch: %v", tc.scheme, err)
					continue
				}
				if ev, err := w.Next(); err != nil || !wholeSnapshot(ev) {
					t.Errorf("%s: watch: %+v, %v", tc.scheme, ev, err)
				}
				w.Close()
				if _, err := c.Device(t.Context(), "nobody"); !errors.Is(err, track.ErrNotFound) {
					t.Errorf("%s: got %v", tc.scheme, err)
				}
				c.Close()
			}
			if want := map[bool]int{true: 0, false: 1}[mode == server.TLSOff]; told != want {
				t.Errorf("told of %d new servers, want %d", told, want)
			}
		})
	}
}

func runServer(t *testing.T, mode server.TLSMode) (addr, token string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	ready := make(chan string, 1)
	s, err := server.Open(context.Background(), server.Config{Data: dir, Listen: "127.0.0.1:0", UDP: "127.0.0.1:0", TLS: mode,
		Ready: func(tcp, _ net.Addr) { ready <- tcp.String() }})
	if err != nil {
		t.Fatal(err)
	}
	start(t, s.Run)
	b, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return <-ready, strings.TrimSpace(string(b))
}
