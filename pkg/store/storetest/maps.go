package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// mapState is all that a store says of maps, as text.
func mapState(r *rig) []string {
	r.Helper()
	var maps []store.Map
	var lines []string
	err := errors.Join(
		r.Maps(r.ctx(), func(m *store.Map) error { maps = append(maps, *m); return nil }),
		r.MapMembers(r.ctx(), func(id track.MapID, d track.DeviceID) error {
			lines = append(lines, fmt.Sprintf("%s has %s", id, d))
			return nil
		}),
		r.MapViewers(r.ctx(), func(id track.MapID, token uint64) error {
			lines = append(lines, fmt.Sprintf("%s for %016x", id, token))
			return nil
		}))
	if err != nil {
		r.Fatal(err)
	}
	slices.SortFunc(maps, func(a, b store.Map) int { return cmp.Compare(a.ID, b.ID) })
	var out []string
	for _, m := range maps {
		out = append(out, fmt.Sprintf("%s %q %s", m.ID, m.Name, m.Created.Format(time.RFC3339Nano)))
	}
	return append(out, lines...)
}

func wantMaps(r *rig, when string, want ...string) {
	r.Helper()
	if got := mapState(r); !slices.Equal(got, want) {
		r.Fatalf("%s:\ngot  %q\nwant %q", when, got, want)
	}
}

func wantErr(r *rig, what string, err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// mapRig is two maps, three devices and two tokens.
func mapRig(r *rig) (low, high track.MapID) {
	ctx, at := r.ctx(), time.Date(2026, 11, 21, 9, 0, 0, 5e6, time.UTC)
	low, high = 7, 1<<63+5
	wantErr(r, "devices", r.SaveDevices(ctx, []store.Device{{ID: 1, Name: "a", Created: at}, {ID: 2, Name: "b", Created: at}, {ID: 3, Name: "c", Created: at}}, nil), nil)
	for id, name := range map[track.MapID]string{low: "harbour", high: "Föhr"} {
		wantErr(r, name, r.SaveMap(ctx, store.Map{ID: id, Name: name, Created: at}), nil)
	}
	for _, id := range []uint64{9, 1<<63 + 9} {
		wantErr(r, "token", r.SaveToken(ctx, store.Token{ID: id, Name: "t", Role: "member", Created: at}), nil)
	}
	return low, high
}

const (
	harbour = `0000000000000007 "harbour" 2026-11-21T09:00:00.005Z`
	foehr   = `8000000000000005 "Föhr" 2026-11-21T09:00:00.005Z`
)

func testMaps(t *testing.T, r *rig) {
	wantMaps(r, "none")
	low, high := mapRig(r)
	wantMaps(r, "saved", harbour, foehr)
	ctx := r.ctx()
	wantErr(r, "the name again", r.SaveMap(ctx, store.Map{ID: 8, Name: "harbour"}), track.ErrExists)
	wantErr(r, "the id again", r.SaveMap(ctx, store.Map{ID: low, Name: "port"}), track.ErrExists)
	wantErr(r, "no name", r.SaveMap(ctx, store.Map{ID: 8}), track.ErrInvalid)
	wantErr(r, "no id", r.SaveMap(ctx, store.Map{Name: "x"}), track.ErrInvalid)

	wantErr(r, "join", r.JoinMap(ctx, low, []track.DeviceID{3, 1}), nil)
	wantErr(r, "join again", r.JoinMap(ctx, low, []track.DeviceID{1, 2}), nil)
	wantErr(r, "join another", r.JoinMap(ctx, high, []track.DeviceID{1}), nil)
	wantErr(r, "a map that is not", r.JoinMap(ctx, 99, []track.DeviceID{1}), track.ErrNotFound)
	wantErr(r, "a device that is not", r.JoinMap(ctx, high, []track.DeviceID{2, 99}), track.ErrNotFound)
	wantErr(r, "grant", r.GrantMap(ctx, high, 1<<63+9), nil)
	wantErr(r, "grant again", r.GrantMap(ctx, high, 1<<63+9), nil)
	wantErr(r, "grant another", r.GrantMap(ctx, high, 9), nil)
	wantErr(r, "grant to nobody", r.GrantMap(ctx, high, 10), track.ErrNotFound)
	wantErr(r, "grant nothing", r.GrantMap(ctx, 99, 9), track.ErrNotFound)
	joined := []string{harbour, foehr, "8000000000000005 has 000000000001",
		"0000000000000007 has 000000000001", "0000000000000007 has 000000000002", "0000000000000007 has 000000000003",
		"8000000000000005 for 0000000000000009", "8000000000000005 for 8000000000000009"}
	check := func(when string, want ...string) {
		t.Helper()
		got := mapState(r)
		slices.Sort(got)
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) {
			t.Fatalf("%s:\ngot  %q\nwant %q", when, got, want)
		}
	}
	check("joined", joined...)
	r.restart()
	ctx = r.ctx()
	check("after a restart", joined...)

	wantErr(r, "part", r.PartMap(ctx, low, []track.DeviceID{1, 3, 99}), nil)
	wantErr(r, "part from nothing", r.PartMap(ctx, 99, []track.DeviceID{1}), track.ErrNotFound)
	wantErr(r, "ungrant", r.UngrantMap(ctx, high, 9), nil)
	wantErr(r, "ungrant again", r.UngrantMap(ctx, high, 9), track.ErrNotFound)
	check("parted", harbour, foehr, "8000000000000005 has 000000000001", "0000000000000007 has 000000000002", "8000000000000005 for 8000000000000009")
	wantErr(r, "delete", r.DeleteMap(ctx, high), nil)
	wantErr(r, "delete again", r.DeleteMap(ctx, high), track.ErrNotFound)
	check("deleted", harbour, "0000000000000007 has 000000000002")
	wantErr(r, "its name is free", r.SaveMap(ctx, store.Map{ID: high, Name: "Föhr"}), nil)
}

func testMapsLose(t *testing.T, r *rig) {
	low, high := mapRig(r)
	ctx := r.ctx()
	wantErr(r, "join", errors.Join(r.JoinMap(ctx, low, []track.DeviceID{1, 2}), r.JoinMap(ctx, high, []track.DeviceID{1}),
		r.GrantMap(ctx, low, 9), r.GrantMap(ctx, high, 9), r.GrantMap(ctx, low, 1<<63+9)), nil)
	wantErr(r, "revoke", r.RevokeDevice(ctx, 1, r.clock()), nil)
	wantErr(r, "delete token", r.DeleteToken(ctx, 9), nil)
	wantErr(r, "a revoked device", r.JoinMap(ctx, low, []track.DeviceID{1}), track.ErrNotFound)
	wantMaps(r, "ended", harbour, foehr, "0000000000000007 has 000000000002", "0000000000000007 for 8000000000000009")
}
