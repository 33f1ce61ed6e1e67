package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tracker/pkg/rpc"
)

// openPorts runs a port whose rooms answer with what they read first.
func openPorts(t *testing.T, plain, secure bool) *port {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := newPort(ln, slog.New(slog.DiscardHandler))
	p.plain = plain
	if secure {
		if p.tls, _, err = loadTLS(t.TempDir(), "", "", []string{"localhost"}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.run(ctx); err != nil {
			t.Error(err)
		}
	}()
	served := make(chan struct{}, 2)
	go answer(p.http, "http", served)
	go answer(p.rpc, "rpc", served)
	t.Cleanup(func() {
		cancel()
		<-done
		<-served
		<-served
	})
	return p
}

// answer is a room that says who heard what first.
func answer(ln net.Listener, room string, done chan<- struct{}) {
	defer func() { done <- struct{}{} }()
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err == nil {
			_, _ = fmt.Fprintf(c, "%s heard %s", room, line)
		}
		_ = c.Close()
	}
}

func talk(t *testing.T, p *port, secure bool, text string) string {
	t.Helper()
	var c net.Conn
	c, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		return err.Error()
	}
	answer, err := io.ReadAll(c)
	if err != nil && len(answer) == 0 && !errors.Is(err, io.EOF) {
		return ""
	}
	return string(answer)
}

// goAwayTLS is how the answer begins to a client that came without TLS.
var goAwayTLS = string(rpc.AppendGoAway(nil, &rpc.Error{Status: rpc.FailedPrecondition, Reason: "tls", Message: "this port speaks TLS", NotRun: true}))

func TestPortTellsLanguagesApart(t *testing.T) {
	const get = "GET / HTTP/1.1\n"
	for _, tt := range []struct {
		name                  string
		plain, secure, useTLS bool
		say, want             string
	}{
		{"http in the clear", true, true, false, get, "http heard " + get},
		{"http over tls", true, true, true, get, "http heard " + get},
		{"method that begins like rpc", true, true, false, "TRACE / HTTP/1.1\n", "http heard TRACE"},
		{"http where tls is wanted", false, true, false, get, "HTTP/1.1 400"},
		{"rpc in the clear", true, true, false, "TRK1....\n", "rpc heard TRK1....\n"},
		{"rpc over tls", true, true, true, "TRK1....\n", "rpc heard TRK1....\n"},
		{"rpc where tls is wanted", false, true, false, "TRK1....\n", goAwayTLS},
		{"nonsense", true, true, false, "\x00\x01\x02\x03", ""},
		{"tls where there is none", true, false, false, "\x16\x03\x01\x00", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := openPorts(t, tt.plain, tt.secure)
			got := talk(t, p, tt.useTLS, tt.say)
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("answer %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPortLimitsConnectionsThatSayNothing(t *testing.T) {
	p := openPorts(t, true, true)
	var silent []net.Conn
	for range maxPending {
		c, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		silent = append(silent, c)
	}
	c, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Fatalf("one connection too many was kept: %v", err)
	}
	// One of the silent speaks up and leaves: there is room again.
	if _, err := io.WriteString(silent[0], "GET / HTTP/1.1\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(silent[0]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "room for another after one had left", func() bool {
		return strings.HasPrefix(talk(t, p, false, "GET / HTTP/1.1\n"), "http heard")
	})
}

func TestPortStopsWithConnectionsInItsHands(t *testing.T) {
	p := openPorts(t, true, true) // its Cleanup waits for run
	for _, say := range []string{"", "G", "\x16\x03\x01"} {
		c, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAdvertisedAddressCanBeReached(t *testing.T) {
	for _, tt := range []struct{ configured, udp, want string }{
		{"track.example.org", "0.0.0.0:4810", "track.example.org"},
		{"", "127.0.0.1:4810", "127.0.0.1:4810"},
		{"", "[::1]:4810", "[::1]:4810"},
		{"", "192.0.2.7:99", "192.0.2.7:99"},
	} {
		if got := advertised(tt.configured, netip.MustParseAddrPort(tt.udp)); got != tt.want {
			t.Errorf("advertised(%q, %s) = %q, want %q", tt.configured, tt.udp, got, tt.want)
		}
	}
	got := netip.MustParseAddrPort(advertised("", netip.MustParseAddrPort("0.0.0.0:4810")))
	if got.Addr().IsUnspecified() {
		t.Errorf("a wildcard was advertised: %s", got)
	}
}
