package ingest

import (
	"net/netip"
	"testing"
	"time"
)

func TestRateAllowsBurstThenTheSteadyRate(t *testing.T) {
	r := newRate(Rate{Datagrams: 4, Burst: 120, Fixes: 50})
	due, sent := int64(0), 0
	send := func(now int64) {
		if next, ok := r.allow(due, now); ok {
			due = next + r.surcharge(1)
			sent++
		}
	}
	for range 1000 {
		send(ticks(time.Hour))
	}
	if sent != 120 {
		t.Errorf("burst let %d datagrams in, want 120", sent)
	}
	sent = 0
	for ms := range int64(100_000) { // a thousand a second for 100 s
		send(ticks(time.Hour) + ms*ticks(time.Millisecond))
	}
	if sent != 4*100-1 && sent != 4*100 {
		t.Errorf("100 s let %d datagrams in, want 400", sent)
	}
}

func TestRateChargesTrailsByTheFix(t *testing.T) {
	r := newRate(Rate{Datagrams: 4, Burst: 120, Fixes: 50})
	due, fixes := int64(0), 0
	for ms := range int64(100_000) {
		now := ticks(time.Hour) + ms*ticks(time.Millisecond)
		if next, ok := r.allow(due, now); ok {
			due = next + r.surcharge(100)
			fixes += 100
		}
	}
	// 100 s at 50 a second, the burst of 30 s, and the last datagram on credit.
	if want := 100*50 + 30*50 + 100; fixes > want || fixes < want-200 {
		t.Errorf("let %d fixes in, want about %d", fixes, want)
	}
}

func TestRateForgivesAClockThatWasSetBack(t *testing.T) {
	r := newRate(Rate{Datagrams: 4, Burst: 120, Fixes: 50})
	if _, ok := r.allow(ticks(24*time.Hour), ticks(time.Hour)); !ok {
		t.Error("a device has to wait for a clock that was wrong")
	}
}

func TestBudgetIsRefilledByTimeAndKeepsAShare(t *testing.T) {
	b := newBudget(50_000)
	take := func(now int64, keep float64) (n int) {
		for b.take(now, keep) {
			n++
		}
		return n
	}
	if n := take(0, 0.5); n != 2500 {
		t.Errorf("the modest got %d, want half of a tenth of a second: 2500", n)
	}
	if n := take(0, 0); n != 2500 {
		t.Errorf("the others got %d, want 2500", n)
	}
	if n := take(ticks(10*time.Millisecond), 0); n != 500 {
		t.Errorf("10 ms later got %d, want 500", n)
	}
	if n := take(ticks(time.Hour), 0); n != 5000 {
		t.Errorf("an hour later got %d, want a full bucket of 5000", n)
	}
}

func TestSketchCountsNetworksAndForgets(t *testing.T) {
	s := newSketch()
	home := netip.MustParseAddr("192.0.2.77")
	for i := range 1000 {
		s.add(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 0)
		s.add(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 0)
	}
	if n := s.add(home, 0); n < 1001 || n > 1020 {
		t.Errorf("estimate %d for 192.0.2.0/24, want 1001 or little more", n)
	}
	if n := s.add(home, ticks(sketchHalfLife)); n < 500 || n > 515 {
		t.Errorf("estimate %d after a half-life, want about 501", n)
	}
}

func TestNetworkIsSlash24OrSlash48(t *testing.T) {
	for _, row := range []struct{ addr, want string }{
		{"192.0.2.77", "192.0.2.0/24"},
		{"::ffff:192.0.2.77", "192.0.2.0/24"},
		{"2001:db8:1:2::3", "2001:db8:1::/48"},
		{"fe80::1%eth0", "fe80::/48"},
	} {
		if got := network(netip.MustParseAddr(row.addr)).String(); got != row.want {
			t.Errorf("network of %s: got %s, want %s", row.addr, got, row.want)
		}
	}
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.3.1")
	if networkKey(a) == networkKey(b) || networkKey(a) != networkKey(netip.MustParseAddr("::ffff:192.0.2.9")) {
		t.Error("keys do not follow networks")
	}
}
