package load

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"tracker/pkg/track"
)

func TestPreflightRaisesTheSoftLimit(t *testing.T) {
	soft, hard, known := fileLimits()
	if !known || hard < 1024 {
		t.Skip("this system has no limit to raise")
	}
	if err := setSoftFiles(200); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := setSoftFiles(soft); err != nil {
			t.Error(err)
		}
	})
	if err := Preflight(Need{Conns: 100}); err != nil {
		t.Fatal(err)
	}
	if got := OpenFiles(); got != 200 {
		t.Errorf("it raised the limit to %d though 200 were enough", got)
	}
	if err := Preflight(Need{Conns: 300, PerSec: 50}); err != nil {
		t.Fatal(err)
	}
	if got := OpenFiles(); got != 300+50+Spare {
		t.Errorf("the limit is %d, want %d", got, 300+50+Spare)
	}
}

func TestPreflightSaysHowToHaveMoreFiles(t *testing.T) {
	_, hard, known := fileLimits()
	if !known || hard > 1<<40 {
		t.Skip("this system has no limit")
	}
	err := Preflight(Need{Conns: int(hard)})
	var short *Shortage
	if !errors.As(err, &short) || !errors.Is(err, ErrShort) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(short.Fix, "prlimit --pid $$ --nofile=") || !strings.Contains(short.What, "files") {
		t.Errorf("got %+v", short)
	}
}

func TestPreflightCountsPorts(t *testing.T) {
	first, last, known := portRange()
	if !known {
		t.Skip("this system does not tell its ports")
	}
	target := netip.MustParseAddrPort("127.0.0.1:9")
	one := last - first + 1
	n := Need{Conns: one - 100, Target: target}
	if err := n.ports(); err != nil {
		t.Error(err)
	}
	n.Conns = one + 1
	var short *Shortage
	if err := n.ports(); !errors.As(err, &short) || short.Fix != "--source-ips 127.0.0.2,127.0.0.3" {
		t.Fatalf("got %v %+v", err, short)
	}
	var err error
	if n.Sources, err = ParseSources("127.0.0.2,127.0.0.3"); err != nil {
		t.Fatal(err)
	}
	if err := n.ports(); err != nil {
		t.Error(err)
	}
	n.Conns = 2*one + 1
	if err := n.ports(); !errors.As(err, &short) || short.Fix != "--source-ips 127.0.0.2,127.0.0.3,127.0.0.4" {
		t.Fatalf("got %v %+v", err, short)
	}
}

// Ports that were closed rest for a minute unless the system takes them again.
func TestPreflightCountsPortsThatRest(t *testing.T) {
	if _, _, known := portRange(); !known {
		t.Skip("this system does not tell its ports")
	}
	n := Need{PerSec: 10_000, For: time.Hour, Target: netip.MustParseAddrPort("192.0.2.1:9")}
	if how := number(line("/proc/sys/net/ipv4/tcp_tw_reuse")); how != nil && *how == 1 {
		t.Skip("this system lets no port rest")
	}
	var short *Shortage
	if err := n.ports(); !errors.As(err, &short) || !strings.Contains(short.Fix, "--source-ips A,B") {
		t.Errorf("got %v", err)
	}
}

func TestPortsTakenAreFound(t *testing.T) {
	first, last, known := portRange()
	if !known {
		t.Skip("this system does not tell its ports")
	}
	l := listen(t)
	target := TargetOf(l.Addr().String())
	if n := portsTaken(netip.Addr{}, target, first, last, false); n != 0 {
		t.Fatalf("%d ports before the first connection", n)
	}
	for range 3 {
		nc, err := net.Dial("tcp", target.String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	if n := portsTaken(netip.Addr{}, target, first, last, false); n != 3 {
		t.Errorf("%d ports, want 3", n)
	}
	if n := portsTaken(netip.MustParseAddr("127.0.0.2"), target, first, last, false); n != 0 {
		t.Errorf("%d ports of an address that nobody used", n)
	}
}

func TestSourcesTakeTurns(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have one loopback address")
	}
	s, err := ParseSources("127.0.0.2, 127.0.0.3")
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	if err := Preflight(Need{Conns: 4, Sources: s, Target: TargetOf(l.Addr().String())}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		nc, err := s.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		want := []string{"127.0.0.2", "127.0.0.3"}[i%2]
		if got, _, _ := net.SplitHostPort(nc.LocalAddr().String()); got != want {
			t.Errorf("connection %d comes from %s, want %s", i, got, want)
		}
	}
}

func TestBadSources(t *testing.T) {
	for _, s := range []string{"localhost", "127.0.0.2,,127.0.0.3", "127.0.0", ","} {
		if _, err := ParseSources(s); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%q: got %v", s, err)
		}
	}
	s, err := ParseSources("192.0.2.77")
	if err != nil {
		t.Fatal(err)
	}
	if err := Preflight(Need{Sources: s}); !errors.Is(err, ErrShort) {
		t.Errorf("an address of somebody else: got %v", err)
	}
	if s, err := ParseSources(""); s != nil || err != nil {
		t.Errorf("got %v %v", s, err)
	}
}

func FuzzParseSocket(f *testing.F) {
	f.Add("0100007F:1F90")
	f.Add("0000000000000000FFFF00000100007F:0016")
	f.Add("00000000000000000000000001000000:0016")
	f.Fuzz(func(t *testing.T, s string) {
		if a, ok := parseSocket(s); ok && !a.IsValid() {
			t.Errorf("%q: %v", s, a)
		}
	})
}

func TestParseSocket(t *testing.T) {
	for s, want := range map[string]string{
		"0100007F:1F90":                         "127.0.0.1:8080",
		"0000000000000000FFFF00000100007F:0016": "127.0.0.1:22",
		"00000000000000000000000001000000:0016": "[::1]:22",
	} {
		if got, ok := parseSocket(s); !ok || got.String() != want {
			t.Errorf("%s: got %v %v, want %s", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "x", ":", "0100007F", "0100007F:x", "0100007g:0016", "01:0016"} {
		if got, ok := parseSocket(s); ok {
			t.Errorf("%q: got %v", s, got)
		}
	}
}

func TestTargetOf(t *testing.T) {
	for s, want := range map[string]string{"localhost:80": "127.0.0.1:80", "[::ffff:127.0.0.1]:1": "127.0.0.1:1", "example.org:80": "invalid AddrPort", "": "invalid AddrPort"} {
		if got := TargetOf(s); got.String() != want {
			t.Errorf("%q: got %v, want %s", s, got, want)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
