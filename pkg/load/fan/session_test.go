package fan

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/load"
)

// sessionOf is a session of n viewers over either transport and two that report.
func sessionOf(t *testing.T, d Dialer, devices []Device, n int, pacing Pacing) *Session {
	t.Helper()
	plan := AtRate(len(devices), load.Constant(400), 100*time.Millisecond, 3)
	plan.Pacing = pacing
	reports := d
	reports.Transport = RPC
	s, err := Open(t.Context(), Config{
		Plan: plan, Devices: devices, N: n, Viewers: d, Reports: reports, Drain: 500 * time.Millisecond, Dialers: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func nothing() {}

func TestSessionPlaysAgainAndAgain(t *testing.T) {
	bothWays(t, func(t *testing.T, how Transport) {
		h := newHouse(t)
		devices := h.devices(t, 2)
		for _, pacing := range []Pacing{Schedule, Step} {
			s := sessionOf(t, h.dialer(how), devices, 8, pacing)
			for range 3 {
				measured := false
				got, err := s.Play(t.Context(), func() { measured = true })
				if err != nil {
					t.Fatal(err)
				}
				if got.Sent != 40 || got.Deliveries != 8*40 || got.Response.N != 8*40 || !measured {
					t.Errorf("got %d sent, %d deliveries, %d in the latency, measured %v; want 40, 320, 320", got.Sent, got.Deliveries, got.Response.N, measured)
				}
				if pacing == Step && got.Frames != 8*40 {
					t.Errorf("got %d frames in steps, want one for each update and viewer", got.Frames)
				}
			}
			s.Close()
		}
	})
}

func TestSessionFindsALiar(t *testing.T) {
	const wrongly, viewer = 57, 2 // the second play, update 18
	for what, lie := range map[string]func(u update) []update{
		"1 lost":         func(update) []update { return nil },
		"1 duplicate":    func(u update) []update { return []update{u, u} },
		"1 that nobody ": func(u update) []update { u.Lat += 500; return []update{u} },
	} {
		for _, how := range []Transport{RPC, WS} {
			for _, pacing := range []Pacing{Schedule, Step} {
				t.Run(what+how.String(), func(t *testing.T) {
					t.Parallel()
					f := newFake(t, func(to, n int, u update) []update {
						if to == viewer && n == wrongly {
							return lie(u)
						}
						return []update{u}
					})
					s := sessionOf(t, f.dialer(how), someDevices(2), 4, pacing)
					if _, err := s.Play(t.Context(), nothing); err != nil {
						t.Fatalf("before the lie: %v", err)
					}
					_, err := s.Play(t.Context(), nothing)
					if !errors.Is(err, ErrIncorrect) || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "viewer-000003 of marauder-00000") {
						t.Errorf("got %v, want %q of viewer-000003", err, what)
					}
					if _, err := s.Play(t.Context(), nothing); !errors.Is(err, ErrIncorrect) {
						t.Errorf("a session that failed went on: %v", err)
					}
				})
			}
		}
	}
}

// What comes twice after everything was counted is found by the next play.
func TestSessionFindsWhatComesInBetween(t *testing.T) {
	f := newFake(t, nil)
	var last atomic.Pointer[update]
	f.lie = func(to, _ int, u update) []update {
		if to == 0 {
			last.Store(&u)
		}
		return []update{u}
	}
	s := sessionOf(t, f.dialer(RPC), someDevices(2), 4, Schedule)
	if _, err := s.Play(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	f.publish(*last.Load())
	if err := s.r.barrier(t.Context(), 99); err != nil { // until everybody has it
		t.Fatal(err)
	}
	if _, err := s.Play(t.Context(), nothing); !errors.Is(err, ErrIncorrect) || !strings.Contains(err.Error(), "4 updates of earlier") {
		t.Errorf("got %v, want 4 updates of earlier", err)
	}
}

func TestSessionOfAServerThatDies(t *testing.T) {
	bothWays(t, func(t *testing.T, how Transport) {
		f := newFake(t, nil)
		f.after = 60
		s := sessionOf(t, f.dialer(how), someDevices(2), 4, Schedule)
		if _, err := s.Play(t.Context(), nothing); err != nil {
			t.Fatal(err)
		}
		_, err := s.Play(t.Context(), nothing)
		if !errors.Is(err, ErrIncorrect) || !strings.Contains(err.Error(), "the server closed the connection") {
			t.Errorf("got %v, want the end of a connection", err)
		}
	})
}

func TestSessionEndsWithItsContext(t *testing.T) {
	f := newFake(t, func(int, int, update) []update { return nil })
	s := sessionOf(t, f.dialer(RPC), someDevices(2), 4, Step)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Play(ctx, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestSessionOfNobody(t *testing.T) {
	d := Dialer{Dial: func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }}
	cfg := Config{Plan: AtRate(1, load.Constant(10), time.Second, 1), Devices: someDevices(1), N: 1, Viewers: d, Reports: d}
	if _, err := Open(t.Context(), cfg); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}
