package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"tracker/pkg/hub"
	"tracker/pkg/track"
)

var boss = &Identity{Role: RoleAdmin, Name: "boss"}

func (w *world) member(name string) *Identity {
	w.t.Helper()
	_, secret, err := w.CreateToken(context.Background(), name, RoleMember, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	who, err := w.Authenticate(secret)
	if err != nil {
		w.t.Fatal(err)
	}
	return &who
}

func (w *world) shows(who *Identity, ref string) MapDetail {
	w.t.Helper()
	d, err := w.ShowMap(who, ref)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func TestMapsComeBackAsTheyWere(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	a, b, c := w.enroll("a", 0).Device.ID, w.enroll("b", 0).Device.ID, w.enroll("c", 0).Device.ID
	anna, ben := w.member("anna"), w.member("ben")
	for _, name := range []string{"harbour", "port"} {
		if _, err := w.CreateMap(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	m, err := w.JoinMap(ctx, "harbour", []string{"c", "a", "c", b.String()})
	if err != nil || m.Members != 3 {
		t.Fatalf("join: got %+v, %v", m, err)
	}
	_, err = w.JoinMap(ctx, "port", []string{"a"})
	_, err2 := w.PartMap(ctx, m.ID.String(), []string{"b"})
	if err = errors.Join(err, err2, w.GrantMap(ctx, "harbour", anna.Token), w.GrantMap(ctx, "harbour", anna.Token), w.GrantMap(ctx, "port", ben.Token)); err != nil {
		t.Fatal(err)
	}
	want := []track.DeviceID{a, c}
	slices.Sort(want)
	before := w.shows(boss, "harbour")
	if !slices.Equal(before.Devices, want) || len(before.Viewers) != 1 || before.Viewers[0].ID != anna.Token || before.Members != 2 {
		t.Errorf("got %+v", before)
	}
	w.restart()
	if after := w.shows(boss, "harbour"); !reflect.DeepEqual(after, before) {
		t.Errorf("after a restart: got %+v\nwant %+v", after, before)
	}
	if got := w.maps.of(a); len(got) != 2 {
		t.Errorf("a is on %v", got)
	}
	if d := w.shows(anna, "harbour"); d.Viewers != nil {
		t.Errorf("a member is told of %+v", d.Viewers)
	}
	if list := w.Maps(ben, "", 0, 10); len(list) != 1 || list[0].Name != "port" {
		t.Errorf("ben sees %+v", list)
	}
	if list := w.Maps(&Identity{Role: RoleDevice, Device: c}, "", 0, 10); len(list) != 1 || list[0].Name != "harbour" {
		t.Errorf("c sees %+v", list)
	}

	// What ends is on no map any more, also not after a restart.
	if err := errors.Join(w.Revoke(ctx, a), w.RevokeToken(ctx, anna.Token)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if d := w.shows(boss, "harbour"); !slices.Equal(d.Devices, []track.DeviceID{c}) || d.Viewers != nil {
			t.Errorf("after the end of some: %+v", d)
		}
		w.restart()
	}
	if _, err := w.DeleteMap(ctx, "harbour"); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if list := w.Maps(boss, "", 0, 10); len(list) != 1 || list[0].Name != "port" || len(w.maps.of(c)) != 0 {
		t.Errorf("after deleting: %+v", list)
	}
}

// TestRevokedDeviceWatchesNoMapAnyMore holds that its watches are over when Revoke returns,
// as with a token: its connection may live a little longer.
func TestRevokedDeviceWatchesNoMapAnyMore(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	a := w.enroll("a", 0).Device.ID
	if _, err := w.CreateMap(ctx, "harbour"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.JoinMap(ctx, "harbour", []string{"a"}); err != nil {
		t.Fatal(err)
	}
	q, err := w.MapQuery(&Identity{Role: RoleDevice, Device: a, Name: "a"}, "harbour")
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.Watch(q, hub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := w.Revoke(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := v.Ended(); !errors.Is(err, track.ErrDenied) {
		t.Errorf("got %v, want %v", err, track.ErrDenied)
	}
}

// TestGrantOpensNothingThatWasBefore has somebody resume at a place in the stream that is
// older than their right to it: they begin anew, as does a device that joins.
func TestGrantOpensNothingThatWasBefore(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	a := w.enroll("a", 0).Device.ID
	late := w.enroll("late", 0).Device.ID
	anna := w.member("anna")
	_, err := w.CreateMap(ctx, "harbour")
	_, err2 := w.JoinMap(ctx, "harbour", []string{"a"})
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	watch := func(who *Identity, o hub.Options) *hub.Viewer {
		t.Helper()
		q, err := w.MapQuery(who, "harbour")
		if err != nil {
			t.Fatal(err)
		}
		v, err := w.Watch(q, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		return v
	}
	v := watch(boss, hub.Options{})
	place := func() (o hub.Options) {
		t.Helper()
		frames, err := v.Next(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		last := frames[len(frames)-1]
		return hub.Options{ResumeEpoch: last.Epoch, ResumeSeq: last.Seq}
	}
	report := func(n int64) {
		w.Apply(&track.Batch{Fixes: []track.Fix{{Device: a, Wire: a, Time: n, Has: track.HasPos}}})
	}
	old := place()
	report(1)
	if err := w.GrantMap(ctx, "harbour", anna.Token); err != nil {
		t.Fatal(err)
	}
	if _, _, resumed := watch(anna, old).Stream(); resumed {
		t.Error("a member sees what came before the grant")
	}
	old = place()
	if _, _, resumed := watch(anna, old).Stream(); !resumed {
		t.Error("a member does not resume what came since the grant")
	}
	report(2)
	if _, err := w.JoinMap(ctx, "harbour", []string{"late"}); err != nil {
		t.Fatal(err)
	}
	device := &Identity{Role: RoleDevice, Device: late, Name: "late"}
	if _, _, resumed := watch(device, old).Stream(); resumed {
		t.Error("a device sees what came before it joined")
	}
}

func TestMapsRefuse(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.enroll("a", 0)
	gone := w.enroll("gone", 0).Device.ID
	if err := w.Revoke(ctx, gone); err != nil {
		t.Fatal(err)
	}
	if _, err := w.CreateMap(ctx, "harbour"); err != nil {
		t.Fatal(err)
	}
	anna := w.member("anna")
	screen, _, err := w.CreateToken(ctx, "screen", RoleViewer, 0)
	if err != nil {
		t.Fatal(err)
	}
	of := func(_ any, err error) error { return err }
	for what, row := range map[string]struct{ got, want error }{
		"no name":           {of(w.CreateMap(ctx, "")), track.ErrInvalid},
		"a name like an id": {of(w.CreateMap(ctx, "00000000000000aa")), track.ErrInvalid},
		"a device's id":     {of(w.CreateMap(ctx, "0000000000aa")), track.ErrInvalid},
		"a long name":       {of(w.CreateMap(ctx, strings.Repeat("x", 129))), track.ErrInvalid},
		"the name again":    {of(w.CreateMap(ctx, "harbour")), track.ErrExists},
		"join what":         {of(w.JoinMap(ctx, "port", []string{"a"})), track.ErrNotFound},
		"join who":          {of(w.JoinMap(ctx, "harbour", []string{"a", "b"})), track.ErrNotFound},
		"join nobody":       {of(w.JoinMap(ctx, "harbour", nil)), track.ErrInvalid},
		"join too many":     {of(w.JoinMap(ctx, "harbour", make([]string, MaxMembers+1))), track.ErrInvalid},
		"join a revoked":    {of(w.JoinMap(ctx, "harbour", []string{gone.String()})), ErrRevoked},
		"part who":          {of(w.PartMap(ctx, "harbour", []string{"b"})), track.ErrNotFound},
		"grant what":        {w.GrantMap(ctx, "port", anna.Token), track.ErrNotFound},
		"grant whom":        {w.GrantMap(ctx, "harbour", "0123456789abcdef"), track.ErrNotFound},
		"grant a viewer":    {w.GrantMap(ctx, "harbour", screen.ID), track.ErrInvalid},
		"ungrant":           {w.UngrantMap(ctx, "harbour", anna.Token), track.ErrNotFound},
		"ungrant nonsense":  {w.UngrantMap(ctx, "harbour", "x"), track.ErrNotFound},
		"delete":            {of(w.DeleteMap(ctx, "port")), track.ErrNotFound},
		"show a member":     {of(w.ShowMap(anna, "harbour")), track.ErrDenied},
		"watch as member":   {of(w.MapQuery(anna, "harbour")), track.ErrDenied},
		"watch nothing":     {of(w.MapQuery(anna, "port")), track.ErrDenied},
		"watch as admin":    {of(w.MapQuery(boss, "port")), track.ErrNotFound},
	} {
		if !errors.Is(row.got, row.want) {
			t.Errorf("%s: got %v, want %v", what, row.got, row.want)
		}
	}
	if d := w.shows(boss, "harbour"); d.Members != 0 || d.Viewers != nil {
		t.Errorf("after all that: %+v", d)
	}
}

func TestDeviceIsOnSoManyMapsAtMost(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.enroll("a", 0)
	for i := range MaxMapsOf {
		name := fmt.Sprintf("map %d", i)
		_, err := w.CreateMap(ctx, name)
		_, err2 := w.JoinMap(ctx, name, []string{"a"})
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.CreateMap(ctx, "one more"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.JoinMap(ctx, "one more", []string{"a"}); !errors.Is(err, track.ErrInvalid) {
		t.Errorf("one too many: got %v", err)
	}
	if _, err := w.PartMap(ctx, "map 7", []string{"a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.JoinMap(ctx, "one more", []string{"a"}); err != nil {
		t.Errorf("one less: got %v", err)
	}
}

func TestMapHasSoManyDevicesAtMost(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	asked := make([]NewDevice, MaxMembers)
	refs := make([]string, MaxMembers)
	for i := range asked {
		refs[i] = fmt.Sprintf("d%d", i)
		asked[i].Name = refs[i]
	}
	if _, err := w.Enroll(ctx, asked); err != nil {
		t.Fatal(err)
	}
	w.enroll("one more", 0)
	if _, err := w.CreateMap(ctx, "harbour"); err != nil {
		t.Fatal(err)
	}
	if m, err := w.JoinMap(ctx, "harbour", refs); err != nil || m.Members != MaxMembers {
		t.Fatalf("all of them: got %+v, %v", m, err)
	}
	if _, err := w.JoinMap(ctx, "harbour", []string{"one more"}); !errors.Is(err, track.ErrInvalid) {
		t.Errorf("one more: got %v", err)
	}
	if m, err := w.PartMap(ctx, "harbour", refs[1:]); err != nil || m.Members != 1 {
		t.Errorf("all but one part: got %+v, %v", m, err)
	}
}

// TestMapWatchersMissNothing lets devices report as fast as they can while they join and
// part: who watches gets, of each that joins, a first fix and then every one that follows.
func TestMapWatchersMissNothing(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	const devices, each = 8, 400
	ids := make([]track.DeviceID, devices)
	for i := range ids {
		ids[i] = w.enroll(fmt.Sprintf("d%d", i), 0).Device.ID
	}
	if _, err := w.CreateMap(ctx, "harbour"); err != nil {
		t.Fatal(err)
	}
	q, err := w.MapQuery(boss, "harbour")
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.Watch(q, hub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var writers, reader sync.WaitGroup
	reader.Go(func() {
		last := map[track.DeviceID]int64{}
		for {
			frames, err := v.Next(ctx, nil)
			if errors.Is(err, track.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			for _, f := range frames {
				for _, fix := range f.Fixes {
					if before, known := last[fix.Device]; f.Kind == hub.Fixes && known && fix.Time != before+1 {
						t.Errorf("device %v: fix %d after %d", fix.Device, fix.Time, before)
					}
					last[fix.Device] = fix.Time
				}
				for _, id := range f.Left {
					delete(last, id)
				}
			}
		}
	})
	for _, id := range ids {
		writers.Go(func() {
			for n := range int64(each) {
				w.Apply(&track.Batch{Fixes: []track.Fix{{Device: id, Wire: id, Time: n + 1, Has: track.HasPos}}})
			}
		})
	}
	writers.Go(func() {
		for _, i := range rand.Perm(devices) {
			if _, err := w.JoinMap(ctx, "harbour", []string{ids[i].String()}); err != nil {
				t.Error(err)
			}
		}
		if _, err := w.PartMap(ctx, "harbour", []string{ids[0].String()}); err != nil {
			t.Error(err)
		}
	})
	writers.Wait()
	v.Close()
	reader.Wait()
}

func TestMapsOfADeviceCostNoAllocation(t *testing.T) {
	var a atlas
	a.init()
	a.join(5, []track.DeviceID{1, 2, 3})
	if n := testing.AllocsPerRun(100, func() { a.of(2); a.of(9) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAscendingLists holds union and without against sets.
func TestAscendingLists(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var a, b, both, left []track.DeviceID
		for id := range track.DeviceID(30) {
			switch rnd.IntN(4) {
			case 0:
				a, both, left = append(a, id), append(both, id), append(left, id)
			case 1:
				b, both = append(b, id), append(both, id)
			}
		}
		if got := union(a, b); !slices.Equal(got, both) {
			t.Fatalf("%v and %v: got %v", a, b, got)
		}
		if got := without(both, b); !slices.Equal(got, left) {
			t.Fatalf("%v without %v: got %v", both, b, got)
		}
	}
}

func BenchmarkMapsOf(b *testing.B) {
	var a atlas
	a.init()
	for id := range track.DeviceID(100_000) {
		a.join(1, []track.DeviceID{id + 1})
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for id := track.DeviceID(1); pb.Next(); id++ {
			a.of(id % 200_000)
		}
	})
}
