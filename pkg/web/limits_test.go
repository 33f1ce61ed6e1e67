package web

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestStrangersAreStoppedBeforeTheirBody(t *testing.T) {
	h := newHouse(t, nil)
	for name, head := range map[string]string{
		"length":           "POST /v1/devices:batch HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n",
		"chunked":          "POST /v1/devices:batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + strings.Repeat("x", 0xfff),
		"expect":           "POST /v1/devices HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
		"wrong token":      "POST /v1/devices HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer trk_no\r\nContent-Length: 4000000\r\n\r\n",
		"length and path":  "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n",
		"basic, not token": "POST /v1/devices HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Zm9vOmJhcg==\r\nContent-Length: 9\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := h.raw(head)
			r := bufio.NewReader(c)
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			line, err := r.ReadString('\n')
			if err != nil || !strings.Contains(line, " 401 ") {
				t.Fatalf("got %q, %v, want 401", line, err)
			}
			if _, err := io.Copy(io.Discard, r); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("got %v, want the connection closed", err)
			}
		})
	}
}

func TestBodyThatIsAskedForFirstIsRefusedUnsent(t *testing.T) {
	h := newHouse(t, nil)
	const head = "POST /v1/devices HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
	if a := readReply(t, h.raw(fmt.Sprintf(head, h.admin, maxBody+1))); a.status != 413 || a.code(t) != "too_large" {
		t.Errorf("too large: got %d %s", a.status, a.body)
	}
	const body = `{"name":"van"}`
	c := h.raw(fmt.Sprintf(head, h.admin, len(body)))
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
		t.Fatalf("got %q, %v", line, err)
	}
	_, _ = r.ReadString('\n')
	if _, err := io.WriteString(c, body); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, " 201 ") {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	h := newHouse(t, nil)
	a := readReply(t, h.raw("GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Big: "+strings.Repeat("a", maxHeader)+"\r\n\r\n"))
	if a.status != 431 || a.code(t) != "too_large" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	a = readReply(t, h.raw("GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Big: "+strings.Repeat("a", maxHeader/2)+"\r\n\r\n"))
	if a.status != 401 {
		t.Errorf("half of it: got %d %s", a.status, a.body)
	}
}

func TestWhoIsSlowToAskIsClosed(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.HeaderTimeout = 300 * time.Millisecond })
	for _, head := range []string{"", "G", "GET /v1/status HTTP/1.1\r\nHost: x\r\n"} {
		c := h.raw(head)
		began := time.Now()
		// One byte now and then must not keep the connection.
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for range 20 {
				if _, err := c.Write([]byte("a")); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond) // this client is slow on purpose
			}
		}()
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err := io.Copy(io.Discard, c)
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%q: still open after %v", head, time.Since(began))
		}
		_ = c.Close()
		<-stop
	}
}

func TestAddressesAreLimitedUntilTheyShowAToken(t *testing.T) {
	const limit = 4
	h := newHouse(t, func(c *Config) { c.MaxPerAddress = limit })
	status := fmt.Sprintf("GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", h.viewer)
	// Those who have shown a token do not count.
	for range 3 * limit {
		if a := readReply(t, h.raw(status)); a.status != 200 {
			t.Fatalf("got %d", a.status)
		}
	}
	var idle []net.Conn
	for range limit {
		idle = append(idle, h.raw(""))
	}
	refused := h.raw("")
	_ = refused.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := refused.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("one too many: got %v, want it closed", err)
	}
	for _, c := range idle {
		_ = c.Close()
	}
	// And they come in again when the others have left.
	deadline := time.Now().Add(10 * time.Second)
	for {
		c := h.raw(status)
		_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
		if n, _ := c.Read(make([]byte, 1)); n == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody comes in any more")
		}
	}
	h.web.gate.mu.Lock()
	defer h.web.gate.mu.Unlock()
	for a, n := range h.web.gate.open {
		if n < 0 || n > limit {
			t.Errorf("%v: got a count of %d", a, n)
		}
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

func TestSourceIsWhatOneCustomerHas(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7:1":              "192.0.2.7",
		"[::ffff:192.0.2.7]:1":     "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::",
		"[2001:db8:1:2:ffff::1]:1": "2001:db8:1:2::",
		"[fe80::1%eth0]:1":         "fe80::",
	} {
		a := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(in))
		if got := source(a).String(); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestGarbageIsAnsweredOnceAndClosed(t *testing.T) {
	h := newHouse(t, nil)
	for _, junk := range []string{"GET\r\n\r\n", "\x00\x01\x02\r\n\r\n", "GET / HTTP/9.9\r\nHost x\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"} {
		c := h.raw(junk)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		b, err := io.ReadAll(c)
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: %v", junk, err)
		}
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 4")) {
			t.Errorf("%q: got %.100q", junk, b)
		}
	}
}

func TestNothingIsCompressed(t *testing.T) {
	h := newHouse(t, nil)
	for _, path := range []string{"/v1/openapi.json", "/v1/status"} {
		a := h.do("GET", path, h.viewer, "", "Accept-Encoding", "gzip, br, zstd")
		if e := a.header.Get("Content-Encoding"); e != "" || !bytes.HasPrefix(a.body, []byte("{")) {
			t.Errorf("%s: got encoding %q", path, e)
		}
	}
	_, resp := upgrade(t, h.raw(fmt.Sprintf(handshake, h.addr, h.viewer, "Sec-WebSocket-Extensions: permessage-deflate\r\n")))
	if e := resp.Header.Get("Sec-WebSocket-Extensions"); e != "" {
		t.Errorf("got extensions %q", e)
	}
}
