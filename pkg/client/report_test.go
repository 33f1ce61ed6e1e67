package client

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// reported is a fix with everything that a device may say.
func reported(at time.Time) Fix {
	return Fix{Time: at.UTC().Truncate(time.Millisecond), At: geo.Deg(48.5, -11.25), Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat,
		Alt: -40, Speed: 13.37, Course: 271.5, Accuracy: 5, Battery: 55, Power: true, Event: "sos"}
}

func TestADeviceReportsItsOwnFixes(t *testing.T) {
	for _, scheme := range []string{"", "ws://"} {
		h := newHouse(t, nil)
		h.scheme = scheme
		e := h.enroll(2)[0]
		device := dialTo(t, Config{Server: scheme + h.tcp, Device: e})
		now := time.Now().Add(-time.Hour)
		var sent []Fix
		for i := range 3 {
			sent = append(sent, reported(now.Add(time.Duration(i)*time.Second)))
		}
		accepted, late, err := device.Report(t.Context(), "d1", sent) // which it is not
		if err != nil || accepted != 3 || late != 0 {
			t.Fatalf("got %d, %d, %v", accepted, late, err)
		}
		got, err := all(h.conn().History(t.Context(), HistoryQuery{Device: "d0"}))
		if err != nil || len(got) != len(sent) {
			t.Fatalf("got %+v, %v", got, err)
		}
		for i := range got {
			want := sent[i]
			want.Device, want.Name, want.Received = e.Device, "d0", got[i].Received
			want.Jump, want.Accuracy = false, got[i].Accuracy // kept in steps
			if got[i] != want {
				t.Errorf("%d:\n got %+v\nwant %+v", i, got[i], want)
			}
		}
		if _, late, err = device.Report(t.Context(), "", sent[:1]); err != nil || late != 1 {
			t.Errorf("late: got %d, %v", late, err)
		}
		if _, err := device.Status(t.Context()); !errors.Is(err, track.ErrDenied) {
			t.Errorf("a device asks: got %v", err)
		}
		if _, _, err := device.Report(t.Context(), "", []Fix{reported(time.Now().Add(time.Hour))}); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("from the future: got %v", err)
		}
		if accepted, _, err := h.conn().Report(t.Context(), "d1", sent); err != nil || accepted != 3 {
			t.Errorf("an admin: got %d, %v", accepted, err)
		}
		wrong := e
		wrong.Root[0] ^= 1
		if _, _, err := dialTo(t, Config{Server: scheme + h.tcp, Device: wrong}).Report(t.Context(), "", sent); !errors.Is(err, track.ErrDenied) {
			t.Errorf("another key: got %v", err)
		}
		if err := h.conn().Revoke(t.Context(), "d0"); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, _, err = device.Report(t.Context(), "", sent)
		}
		if !errors.Is(err, track.ErrDenied) && !errors.Is(err, track.ErrUnavailable) {
			t.Errorf("revoked: got %v", err)
		}
	}
}

func TestADeviceWithoutAClockTakesTheServers(t *testing.T) {
	h := newHouse(t, nil)
	c := dialTo(t, Config{Server: h.tcp, Device: h.enroll(1)[0]})
	c.wire.(*overRPC).skew.Store(int64(-24 * time.Hour))
	if _, _, err := c.Report(t.Context(), "", []Fix{reported(time.Now())}); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestReportsDoNotTravelOverHTTP(t *testing.T) {
	_, _, err := dialTo(t, Config{Server: "https://t.example.org"}).Report(t.Context(), "van", nil)
	if !errors.Is(err, track.ErrInvalid) || !strings.Contains(err.Error(), "wss://t.example.org:4810 or HOST:PORT") {
		t.Errorf("got %v", err)
	}
	e := seal.Enrolment{Device: 1}
	if _, err := Dial(Config{Server: "http://t.example.org", Device: e}); !errors.Is(err, track.ErrInvalid) {
		t.Errorf("as a device: got %v", err)
	}
	if _, err := Dial(Config{Server: "t.example.org", Device: e, Token: "trk_x"}); !errors.Is(err, track.ErrInvalid) {
		t.Errorf("as two: got %v", err)
	}
}
