package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tracker/pkg/client"
)

func TestScheduleKeepsTheRhythm(t *testing.T) {
	cues := []Cue{{Due: 10 * time.Second}, {Due: 10 * time.Second}, {Due: 40 * time.Second}, {Due: time.Hour}, {Due: time.Hour + time.Minute}}
	ms := time.Millisecond
	for _, tc := range []struct {
		name string
		p    *Player
		want []time.Duration
		cut  time.Duration
	}{
		{"as recorded", &Player{MaxRate: 1e9}, []time.Duration{0, 1, 30 * time.Second, time.Hour - 10*time.Second, time.Hour + 50*time.Second}, 0},
		{"faster", &Player{Speed: 60, MaxRate: 1e9}, []time.Duration{0, 1, 500 * ms, 59833333333, 60833333333}, 0},
		{"without the silence", &Player{Speed: 60, MaxRate: 1e9, MaxGap: 2 * time.Second}, []time.Duration{0, 1, 500 * ms, 2500 * ms, 3500 * ms}, time.Hour - 40*time.Second - 2*time.Minute},
		{"all at once, spread", &Player{Speed: math.Inf(1), MaxRate: 1000}, []time.Duration{0, ms, 2 * ms, 3 * ms, 4 * ms}, 0},
	} {
		got, cut := tc.p.Schedule(cues)
		if fmt.Sprint(got) != fmt.Sprint(tc.want) || (cut-tc.cut).Abs() > time.Millisecond {
			t.Errorf("%s: got %v, cut %v; want %v, cut %v", tc.name, got, cut, tc.want, tc.cut)
		}
	}
}

func TestDeliveryStoresEveryFixOnceOverALossyLine(t *testing.T) {
	h := newHouse(t)
	members := h.muster(20)
	rng := rand.New(rand.NewPCG(3, 4))
	l := newLine(t, h.udp, func() bool { return rng.IntN(10) >= 4 }) // no way back, and 40 % lost
	fleet := h.fleet(members, client.FleetConfig{Addr: l.addr()})
	cues := journey(len(members), 10)

	d := Delivery{Auditor: Auditor{Conn: h.conn, Members: members}, Fleet: fleet}
	a := deliver(t, &d, cues)
	if l.dropped.Load() == 0 || a.Missing > len(cues)/10 { // 0.4 to the sixth is next to nothing
		t.Errorf("got %+v with %d datagrams lost", a, l.dropped.Load())
	}
	if want := (Account{Stored: len(cues) - a.Missing, Missing: a.Missing, Resent: a.Resent}); a != want || a.Resent == 0 {
		t.Errorf("got %+v, want %+v", a, want)
	}
	found := h.history(members)
	if len(found) != a.Stored {
		t.Errorf("history has %d fixes, the account says %d", len(found), a.Stored)
	}
	for key, n := range found {
		if n != 1 {
			t.Errorf("fix %s is there %d times", key, n)
		}
	}
}

// deliver plays cues and proves them.
func deliver(t *testing.T, d *Delivery, cues []Cue) Account {
	t.Helper()
	if err := d.Before(t.Context(), cues); err != nil {
		t.Fatal(err)
	}
	p := Player{Fleet: d.Fleet, Speed: 1000}
	if err := p.Play(t.Context(), cues); err != nil {
		t.Fatal(err)
	}
	if err := d.Fleet.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, err := d.Prove(t.Context(), cues)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDeliveryTellsAPlayFromTheOneBefore(t *testing.T) {
	h := newHouse(t)
	members := h.muster(5)
	fleet := h.fleet(members, client.FleetConfig{Addr: h.udp})
	cues := journey(len(members), 6)
	first := Delivery{Auditor: Auditor{Conn: h.conn, Members: members}, Fleet: fleet}
	if a := deliver(t, &first, cues); a != (Account{Stored: len(cues)}) {
		t.Fatalf("first: %+v", a)
	}

	// The same devices, known from before, with a history.
	for i := range members {
		members[i].Fresh = false
	}
	again := Delivery{Auditor: Auditor{Conn: h.conn, Members: members}, Fleet: fleet}
	if a := deliver(t, &again, cues); a != (Account{Stored: len(cues)}) {
		t.Errorf("again: %+v", a)
	}
	for key, n := range h.history(members) {
		if n != 2 {
			t.Errorf("fix %s is there %d times after two plays", key, n)
		}
	}

	// Whoever forgets to look before finds every fix once too often.
	blind := Auditor{Conn: h.conn, Members: members}
	found, err := blind.Audit(t.Context(), cues)
	if err != nil || found.Twice != len(cues) || found.Stored != len(cues) {
		t.Errorf("got %+v, %v", found, err)
	}
}

func TestDeliveryGivesUpOnADeadLine(t *testing.T) {
	h := newHouse(t)
	members := h.muster(2)
	l := newLine(t, h.udp, func() bool { return false })
	fleet := h.fleet(members, client.FleetConfig{Addr: l.addr()})
	cues := journey(len(members), 2)
	rounds := 0
	d := Delivery{Auditor: Auditor{Conn: h.conn, Members: members}, Fleet: fleet, Again: func(int) { rounds++ }}
	if a := deliver(t, &d, cues); a != (Account{Missing: len(cues), Resent: Rounds * len(cues)}) || rounds != Rounds {
		t.Errorf("got %+v after %d rounds", a, rounds)
	}
}
