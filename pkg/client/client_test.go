package client

import (
	"bytes"
	"context"
	"errors"
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
		"127.0.0.1:4810":            "tcp://127.0.0.1:4810",
		"127.9.9.9":                 "tcp://127.9.9.9:4810",
		"localhost":                 "tcp://localhost:4810",
		"LOCALHOST:1":               "tcp://LOCALHOST:1",
		"[::1]:4810":                "tcp://[::1]:4810",
		"::1":                       "tcp://[::1]:4810",
		"[::1]":                     "tcp://[::1]:4810",
		"t.example.org":             "tls://t.example.org:4810",
		"10.0.0.7:443":              "tls://10.0.0.7:443",
		"https://127.0.0.1:4810":    "https://127.0.0.1:4810",
		"http://t.example.org":      "http://t.example.org:4810",
		"https://t.example.org:99/": "https://t.example.org:99",
		"ws://t.example.org":        "ws://t.example.org:4810",
		"wss://127.0.0.1:99":        "wss://127.0.0.1:99",
	} {
		got, err := parseServer(in)
		if err != nil || got.String() != want {
			t.Errorf("%q: got %s, %v, want %s", in, got.String(), err, want)
		}
	}
	for _, in := range []string{"", "http://", "ftp://x", "tcp://x:1", "a:b:c", "host:", ":4810", "host/path", "user@host", "ho st", "https://x/y", "x?y"} {
		if got, err := parseServer(in); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
	}
}

// schemes are what stands before HOST:PORT to choose a transport.
var schemes = []string{"", "ws://", "http://"}

func TestErrorsOfTheLineSayWhatToDo(t *testing.T) {
	nobody := closedPort(t)
	silent := silentPort(t)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for _, scheme := range schemes {
		c := dialTo(t, Config{Server: scheme + nobody})
		_, err := c.Status(t.Context())
		if !errors.Is(err, ErrUnreachable) || err.Error() != "cannot reach "+nobody+": connection refused" {
			t.Errorf("%s: nobody there: got %v", scheme, err)
		}
		if _, err := c.Watch(t.Context(), Area{}); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: watch: got %v", scheme, err)
		}

		c = dialTo(t, Config{Server: scheme + silent, Timeout: 50 * time.Millisecond})
		if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.HasSuffix(err.Error(), "no answer in time") {
			t.Errorf("%s: silence: got %v", scheme, err)
		}

		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Status(cancelled); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled: got %v", scheme, err)
		}
	}
	addr := plain.Listener.Addr().String()
	for _, scheme := range []string{"ws", "http"} {
		c := dialTo(t, Config{Server: strings.Replace(scheme, "ws", "wss", 1) + "://" + addr})
		if scheme == "http" {
			c = dialTo(t, Config{Server: "https://" + addr})
		}
		if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "try "+scheme+"://"+addr) {
			t.Errorf("%s: plain: got %v", scheme, err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = c.Write([]byte("220 mail.example.org ESMTP\r\n"))
		}
	}()
	if _, err := dialTo(t, Config{Server: ln.Addr().String()}).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "is it a tracker server?") {
		t.Errorf("another protocol: got %v", err)
	}
}

// closedPort is an address where nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	return ln.Addr().String()
}

// silentPort is an address where somebody listens and says nothing.
func silentPort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String()
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
