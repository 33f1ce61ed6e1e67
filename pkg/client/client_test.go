package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"tracker/pkg/track"
)

func TestServerAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:4810":            "http://127.0.0.1:4810",
		"127.9.9.9":                 "http://127.9.9.9:4810",
		"localhost":                 "http://localhost:4810",
		"LOCALHOST:1":               "http://LOCALHOST:1",
		"[::1]:4810":                "http://[::1]:4810",
		"::1":                       "http://[::1]:4810",
		"[::1]":                     "http://[::1]:4810",
		"t.example.org":             "https://t.example.org:4810",
		"10.0.0.7:443":              "https://10.0.0.7:443",
		"https://127.0.0.1:4810":    "https://127.0.0.1:4810",
		"http://t.example.org":      "http://t.example.org:4810",
		"https://t.example.org:99/": "https://t.example.org:99",
	} {
		got, err := parseServer(in)
		if err != nil || got.String() != want {
			t.Errorf("%q: got %s, %v, want %s", in, got.String(), err, want)
		}
	}
	for _, in := range []string{"", "http://", "ftp://x", "a:b:c", "host:", ":4810", "host/path", "user@host", "ho st", "https://x/y", "x?y"} {
		if got, err := parseServer(in); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
	}
}

func TestErrorsOfTheLineSayWhatToDo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	c := dialTo(t, Config{Server: addr})
	_, err = c.Status(t.Context())
	if !errors.Is(err, ErrUnreachable) || err.Error() != "cannot reach "+addr+": connection refused" {
		t.Errorf("nobody there: got %v", err)
	}
	if _, err := c.Watch(t.Context(), Area{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("watch: got %v", err)
	}

	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	c = dialTo(t, Config{Server: silent.Listener.Addr().String(), Timeout: 50 * time.Millisecond})
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.HasSuffix(err.Error(), "no answer in time") {
		t.Errorf("silence: got %v", err)
	}

	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	c = dialTo(t, Config{Server: "https://" + plain.Listener.Addr().String()})
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "try http://") {
		t.Errorf("plain: got %v", err)
	}

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func dialTo(t testing.TB, cfg Config) *Conn {
	t.Helper()
	c, err := Dial(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

func TestErrorsOfTheServerKeepTheirMeaning(t *testing.T) {
	for _, tc := range []struct {
		status int
		body   string
		is     error
		text   string
	}{
		{404, `{"error":{"code":"not_found","message":"device \"x\": not found","request":"r1"}}`, track.ErrNotFound, `device "x": not found`},
		{401, `{"error":{"code":"unauthenticated","message":"who?","hint":"h","request":"r1"}}`, track.ErrDenied, "who?"},
		{403, `{"error":{"code":"denied","message":"no","request":"r1"}}`, track.ErrDenied, "no"},
		{409, `{"error":{"code":"exists","message":"taken","request":"r1"}}`, track.ErrExists, "taken"},
		{413, `{"error":{"code":"too_large","message":"fat","request":"r1"}}`, track.ErrInvalid, "fat"},
		{429, `{"error":{"code":"rate_limited","message":"slow down","request":"r1"}}`, track.ErrUnavailable, "slow down"},
		{500, `{"error":{"code":"internal","message":"internal error","request":"r1"}}`, nil, "internal error (request r1)"},
		{503, `{"error":{"code":"unavailable","message":"later","request":"r1"}}`, track.ErrUnavailable, "later"},
		{502, `<html>a proxy</html>`, nil, "the server answered 502 Bad Gateway"},
		{302, ``, nil, "the server answered 302 Found"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://192.0.2.1/")
			w.WriteHeader(tc.status)
			_, _ = w.Write([]byte(tc.body))
		}))
		_, err := dialTo(t, Config{Server: s.URL}).Device(t.Context(), "x")
		var e *Error
		if !errors.As(err, &e) || e.Status != tc.status || err.Error() != tc.text || tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%d: got %v", tc.status, err)
		}
		s.Close()
	}
	strange := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("hello")) }))
	defer strange.Close()
	if _, err := dialTo(t, Config{Server: strange.URL}).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "is it a tracker server?") {
		t.Errorf("got %v", err)
	}
}

func TestTokenIsSentAndEmptyRefsAreNot(t *testing.T) {
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Authorization"))
		_, _ = w.Write([]byte("{}"))
	}))
	defer s.Close()
	c := dialTo(t, Config{Server: s.URL, Token: "trk_x"})
	if err := c.Revoke(t.Context(), "a/b ü"); err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(t.Context(), ""); !errors.Is(err, track.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if want := []string{"DELETE /v1/devices/a%2Fb%20%C3%BC Bearer trk_x"}; len(got) != 1 || got[0] != want[0] {
		t.Errorf("got %q, want %q", got, want)
	}
}

// tlsServer answers every question with an empty status.
func tlsServer(t testing.TB) (addr, fingerprint string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("{}")) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are the point
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), FingerprintOf(s.Certificate().Raw)
}

func TestFirstFingerprintIsRememberedAndAnotherRefused(t *testing.T) {
	addr, fingerprint := tlsServer(t)
	file := filepath.Join(t.TempDir(), "sub", "known_servers")
	var told []string
	cfg := Config{Server: "https://" + addr, TLS: TLSConfig{KnownServers: file, OnFirstUse: func(s, f string) { told = append(told, s+" "+f) }}}
	for range 2 {
		if _, err := dialTo(t, cfg).Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 1 || told[0] != addr+" "+fingerprint {
		t.Errorf("told %q", told)
	}
	b, _ := os.ReadFile(file)
	if string(b) != addr+" "+fingerprint+"\n" {
		t.Errorf("remembered %q", b)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v", info.Mode())
	}
	other := "sha256:" + strings.Repeat("00", 32)
	if err := os.WriteFile(file, []byte("# a comment\n\nelsewhere:1 "+other+"\n"+addr+" "+other+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, call := range []func(*Conn) error{
		func(c *Conn) error { _, err := c.Status(t.Context()); return err },
		func(c *Conn) error { _, err := c.Watch(t.Context(), Area{}); return err },
	} {
		err := call(dialTo(t, cfg))
		if !errors.Is(err, ErrUntrusted) || errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), file) {
			t.Errorf("another certificate: got %v", err)
		}
	}
	if err := os.WriteFile(file, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dialTo(t, cfg).Status(t.Context()); err == nil || !strings.Contains(err.Error(), file+":1") {
		t.Errorf("broken file: got %v", err)
	}
}

func TestOtherWaysToTrust(t *testing.T) {
	addr, fingerprint := tlsServer(t)
	for name, tc := range map[string]struct {
		tls TLSConfig
		ok  bool
	}{
		"nothing remembered, no authority": {TLSConfig{}, false},
		"insecure":                         {TLSConfig{Insecure: true}, true},
		"fingerprint":                      {TLSConfig{Fingerprint: strings.ToUpper(fingerprint[:7]) + strings.ToUpper(fingerprint[7:])}, true},
		"another fingerprint":              {TLSConfig{Fingerprint: "sha256:" + strings.Repeat("ab", 32)}, false},
	} {
		_, err := dialTo(t, Config{Server: "https://" + addr, TLS: tc.tls}).Status(t.Context())
		if (err == nil) != tc.ok || !tc.ok && !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, bad := range []TLSConfig{{Fingerprint: "sha256:abc"}, {Fingerprint: "md5:" + strings.Repeat("00", 32)}, {CAFile: "no such file"}} {
		if _, err := Dial(Config{Server: addr, TLS: bad}); err == nil {
			t.Errorf("%+v: got no error", bad)
		}
	}
}

func TestLoopbackGuessIsCorrectedByATLSPort(t *testing.T) {
	// A port of the real server tells plain text apart and says so in the clear.
	addr, _ := tlsServer(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go sniffAndPass(c, addr)
		}
	}()
	c := dialTo(t, Config{Server: ln.Addr().String(), TLS: TLSConfig{Insecure: true}})
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("guessed: got %v", err)
	}
	c = dialTo(t, Config{Server: "http://" + ln.Addr().String()})
	var e *Error
	if _, err := c.Status(t.Context()); !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("insisted: got %v", err)
	}
}

func sniffAndPass(c net.Conn, to string) {
	defer c.Close()
	first := make([]byte, 1)
	if _, err := c.Read(first); err != nil {
		return
	}
	if first[0] != 0x16 {
		const body = "this port speaks TLS: use https://\n"
		_, _ = fmt.Fprintf(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
		return
	}
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	_, _ = up.Write(first)
	go func() { _, _ = copyUntil(up, c) }()
	_, _ = copyUntil(c, up)
}

func copyUntil(dst, src net.Conn) (int64, error) {
	buf := make([]byte, 4096)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return 0, err
			}
		}
		if err != nil {
			return 0, err
		}
	}
}

// TestMain fails when a goroutine of ours outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	deadline := time.Now().Add(10 * time.Second)
	for code == 0 {
		left := ourGoroutines()
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			_, _ = os.Stderr.WriteString("leaked goroutines:\n\n" + strings.Join(left, "\n\n") + "\n")
			code = 1
		}
		time.Sleep(20 * time.Millisecond) // nothing tells when a goroutine is gone
	}
	os.Exit(code)
}

func ourGoroutines() []string {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for g := range bytes.SplitSeq(buf, []byte("\n\n")) {
		s := string(g)
		if !strings.Contains(s, "client.TestMain") && !strings.Contains(s, "erverDate") && strings.Contains(s, "tracker/pkg/") {
			left = append(left, s)
		}
	}
	return left
}
