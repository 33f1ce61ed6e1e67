package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// ofMembers is all that a member or a device may call beside what is open to everybody,
// and each of these asks what is theirs. Whoever adds a method to it has thought about
// what it shows.
var ofMembers = []string{"Watch.Open", "Watch.Move", "Maps.List", "Maps.Show"}

func TestMembersMayCallNothingThatNobodyThoughtOf(t *testing.T) {
	for _, m := range trk.Methods() {
		open := m.Scope == "any" || slices.Contains(ofMembers, m.FullName())
		if mayCall(engine.RoleMember, m.Scope) != open {
			t.Errorf("%s: a member may call it: %v, want %v", m.FullName(), !open, open)
		}
		if open = open || m.FullName() == "Publish.Report"; mayCall(engine.RoleDevice, m.Scope) != open {
			t.Errorf("%s: a device may call it: %v, want %v", m.FullName(), !open, open)
		}
	}
	for _, role := range []engine.Role{"", "operator"} {
		if mayCall(role, "member") {
			t.Errorf("role %q is one of members", role)
		}
	}
}

// harbour is a map of some devices, and a member who sees it.
func (h *house) harbour(devices ...string) (token, secret string) {
	h.t.Helper()
	ctx := context.Background()
	tok, secret, err := h.engine.CreateToken(ctx, "skipper", engine.RoleMember, 0)
	if err == nil {
		_, err = h.engine.CreateMap(ctx, "harbour")
	}
	if err == nil {
		_, err = h.engine.JoinMap(ctx, "harbour", devices)
	}
	if err = errors.Join(err, h.engine.GrantMap(ctx, "harbour", tok.ID)); err != nil {
		h.t.Fatal(err)
	}
	return tok.ID, secret
}

var harbour = &trk.AreaT{MapRef: "harbour"}

// TestWhoMayWatchWhat asks for every kind of area as everybody, to begin and to move.
func TestWhoMayWatchWhat(t *testing.T) {
	h := newHouse(t, nil)
	es := h.enroll("van", "lorry")
	_, skipper := h.harbour("van")
	if _, err := h.engine.CreateMap(context.Background(), "other"); err != nil {
		t.Fatal(err)
	}
	const all, theirs, none = "all", "theirs", "none"
	for name, who := range map[string]struct {
		hello rpc.Hello
		sees  string
	}{
		"admin": {bearer(h.admin), all}, "viewer": {bearer(h.viewer), all}, "member": {bearer(skipper), theirs},
		"member without a map": {bearer(h.token("mate", engine.RoleMember)), none},
		"device on the map":    {proof(&es[0], time.Now()), theirs}, "device beside it": {proof(&es[1], time.Now()), none},
	} {
		c := h.dial(who.hello)
		for what, area := range map[string]*trk.AreaT{
			"all": {All: true}, "devices": {Devices: []string{"van"}}, "box": {Box: &trk.BoxT{North: 1, East: 1}},
			"harbour": harbour, "other": {MapRef: "other"}, "nothing": {MapRef: "nothing"},
		} {
			want := rpc.OK
			switch {
			case who.sees == all && what == "nothing":
				want = rpc.NotFound
			case who.sees == none, who.sees == theirs && what != "harbour":
				want = rpc.PermissionDenied
			}
			s, err := trk.WatchClient{Caller: c}.Open(within(t), &trk.WatchReqT{Area: area})
			wantStatus(t, fmt.Sprintf("%s watches %s", name, what), err, want)
			if err == nil {
				s.Close()
			}
			if who.sees == none {
				continue
			}
			v := openView(t, c, &trk.WatchReqT{Area: harbour})
			_, err = trk.WatchClient{Caller: c}.Move(within(t), &trk.MoveReqT{Watch: v.ack.Watch, Area: area})
			wantStatus(t, fmt.Sprintf("%s moves to %s", name, what), err, want)
			v.s.Close()
		}
	}
}

// TestWatchesEndWithTheRightToThem ends it in every way there is, for a watch that takes
// what comes and for one without credit.
func TestWatchesEndWithTheRightToThem(t *testing.T) {
	ctx := context.Background()
	for name, tt := range map[string]struct {
		end  func(h *house, token string) error
		want rpc.Status
		dev  bool
	}{
		"ungranted": {end: func(h *house, token string) error { return h.engine.UngrantMap(ctx, "harbour", token) }, want: rpc.PermissionDenied},
		"deleted": {end: func(h *house, _ string) error {
			_, err := h.engine.DeleteMap(ctx, "harbour")
			return err
		}, want: rpc.NotFound},
		"revoked": {end: func(h *house, token string) error { return h.engine.RevokeToken(ctx, token) }, want: rpc.PermissionDenied},
		"parted": {end: func(h *house, _ string) error {
			_, err := h.engine.PartMap(ctx, "harbour", []string{"van"})
			return err
		}, want: rpc.PermissionDenied, dev: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			van := h.enroll("van")[0]
			token, secret := h.harbour("van")
			h.apply(fixAt(van.Device, 1, 1, 1))
			hello := func() rpc.Hello {
				if tt.dev {
					return proof(&van, time.Now())
				}
				return bearer(secret)
			}
			quick := openView(t, h.dial(hello()), &trk.WatchReqT{Area: harbour})
			quick.until("there", func() bool { return quick.ready })
			stuck, err := h.knock(hello(), 1) // credit for one frame, the snapshot
			if err != nil {
				t.Fatal(err)
			}
			slow, err := trk.WatchClient{Caller: stuck}.Open(within(t), &trk.WatchReqT{Area: harbour})
			if err != nil {
				t.Fatal(err)
			}
			other := openView(t, h.dial(bearer(h.viewer)), &trk.WatchReqT{Area: &trk.AreaT{All: true}})
			if err := tt.end(h, token); err != nil {
				t.Fatal(err)
			}
			for what, s := range map[string]*trk.WatchOpenStream{"quick": quick.s, "slow": slow} {
				err := error(nil)
				for err == nil {
					_, _, err = s.Next(within(t))
				}
				got, _ := reason(err)
				if got != tt.want && !(name == "revoked" && got == rpc.Unauthenticated) {
					t.Errorf("%s: ended with %v, want status %v", what, err, tt.want)
				}
			}
			h.apply(fixAt(van.Device, 2, 2, 2))
			other.until("goes on", func() bool { return other.fixes == 1 })
		})
	}
}

// TestRefreshTakesAwayWhatTheNewTokenMayNotSee goes on as a member.
func TestRefreshTakesAwayWhatTheNewTokenMayNotSee(t *testing.T) {
	h := newHouse(t, nil)
	van := h.enroll("van")[0]
	token, secret := h.harbour("van")
	h.apply(fixAt(van.Device, 1, 1, 1))
	c := h.dial(bearer(h.viewer))
	everything := openView(t, c, &trk.WatchReqT{Area: &trk.AreaT{All: true}})
	theirs := openView(t, c, &trk.WatchReqT{Area: harbour})
	theirs.until("there", func() bool { return theirs.ready })
	if _, err := (trk.SessionClient{Caller: c}).Refresh(within(t), &trk.RefreshReqT{Token: secret}); err != nil {
		t.Fatal(err)
	}
	err := error(nil)
	for err == nil {
		_, _, err = everything.s.Next(within(t))
	}
	wantStatus(t, "everything", err, rpc.PermissionDenied)
	h.apply(fixAt(van.Device, 2, 2, 2))
	theirs.until("goes on", func() bool { return theirs.fixes == 1 })
	// It rests on the new token's right from now on.
	if err := h.engine.UngrantMap(context.Background(), "harbour", token); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, _, err = theirs.s.Next(within(t))
	}
	wantStatus(t, "theirs", err, rpc.PermissionDenied)
}

// TestMapIsWhatJoined follows a map as its devices do.
func TestMapIsWhatJoined(t *testing.T) {
	h := newHouse(t, nil)
	es := h.enroll("van", "lorry")
	h.harbour("van")
	h.apply(fixAt(es[0].Device, 1, 1, 1), fixAt(es[1].Device, 1, 2, 2))
	v := openView(t, h.dial(proof(&es[0], time.Now())), &trk.WatchReqT{Area: harbour})
	sees := func(want ...track.DeviceID) func() bool {
		return func() bool {
			for _, id := range want {
				if v.present[id] == nil {
					return false
				}
			}
			return v.ready && len(v.present) == len(want)
		}
	}
	v.until("the van", sees(es[0].Device))
	admin := servicesOf(h.dial(bearer(h.admin)))
	m, err := admin.maps.Join(within(t), &trk.MembersReqT{MapRef: "harbour", Devices: []string{"lorry", "van"}})
	if err != nil || m.Members() != 2 {
		t.Fatalf("joined: %v", err)
	}
	v.until("both", sees(es[0].Device, es[1].Device))
	if _, err := admin.maps.Part(within(t), &trk.MembersReqT{MapRef: "harbour", Devices: []string{"lorry"}}); err != nil {
		t.Fatal(err)
	}
	v.until("the van again", sees(es[0].Device))
	if _, err := admin.devices.Revoke(within(t), &trk.DeviceRefT{Device: "lorry"}); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "join a revoked device", func() error {
		_, err := admin.maps.Join(within(t), &trk.MembersReqT{MapRef: "harbour", Devices: []string{es[1].Device.String()}})
		return err
	}(), rpc.Status(trk.AppErrorDeviceRevoked))
}
