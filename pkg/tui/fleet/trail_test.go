package fleet

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/world"
)

func TestTrailThinsTheOldAndKeepsTheRecent(t *testing.T) {
	s, c := clockedStore()
	const steps = 1000
	for i := range steps {
		c.Advance(time.Second)
		s.Apply([]client.Fix{fixOf(1, "a", c.At, 10, float64(i)*0.01)})
	}
	trail := s.Trail(nil, s.Find(1), MaxTrail)
	if len(trail) > MaxTrail || len(trail) < MaxTrail/2 {
		t.Fatalf("%d crumbs", len(trail))
	}
	for i := 1; i < len(trail); i++ {
		if trail[i].At <= trail[i-1].At {
			t.Fatalf("crumb %d is out of order", i)
		}
	}
	lon := func(i int) float64 { return trail[i].Pos.Point().LonDeg() }
	if lon(0) > 0.5 {
		t.Errorf("the trail begins at %.2f: its beginning is lost", lon(0))
	}
	if last := len(trail) - 1; lon(last) < 9.98 || lon(last)-lon(last-1) > 0.011 || trail[last].At != c.At.UnixMilli() {
		t.Errorf("the end of the trail has lost its detail: %.2f, %.2f", lon(last-1), lon(last))
	}
	if got := s.Trail(nil, s.Find(1), 3); !slices.Equal(got, trail[len(trail)-3:]) {
		t.Errorf("the last three are %v", got)
	}
	for _, i := range []int32{Nobody, 1, 1 << 30} {
		if got := s.Trail(nil, i, 9); got != nil {
			t.Errorf("nobody at %d left %v", i, got)
		}
	}
}

func TestTrailBreaksAtAJumpAndKeepsTheBreak(t *testing.T) {
	crumbs := make([]crumb, 16)
	for i := range crumbs {
		crumbs[i] = makeCrumb(world.Pos{X: uint32(i)}, 1e12, i == 3)
	}
	got := thin(crumbs)
	if len(got) != 12 || got[2].pos.X != 4 || !got[2].start() {
		t.Errorf("after thinning: %+v", got)
	}

	s, c := clockedStore()
	s.Apply([]client.Fix{fixOf(1, "a", c.At, 10, 10)})
	c.Advance(time.Second)
	jump := fixOf(1, "a", c.At, 50, 50)
	jump.Jump = true
	s.Apply([]client.Fix{jump})
	if trail := s.Trail(nil, s.Find(1), 9); len(trail) != 2 || !trail[1].Start {
		t.Errorf("trail over a jump: %+v", trail)
	}
}

func TestCrumbsKeepTheSecond(t *testing.T) {
	for ms, want := range map[int64]int64{
		epoch.UnixMilli() + 999: epoch.UnixMilli(), 0: alarmEpoch * 1000, 1 << 60: (alarmEpoch + 1<<31 - 1) * 1000,
	} {
		if got := makeCrumb(world.Pos{X: 1, Y: 2}, ms, true).open(); got != (Crumb{world.Pos{X: 1, Y: 2}, want, true}) {
			t.Errorf("%d reads back as %+v", ms, got)
		}
	}
}

// model is the trail of one device, kept in the obvious way.
type model []Crumb

func (m *model) drop(pos world.Pos, at int64, jump bool, room int) {
	n := len(*m)
	if n > 0 && apart((*m)[n-1].Pos, pos) < crumbApart {
		return
	}
	if n >= room {
		*m = thinModel(*m)
	}
	*m = append(*m, Crumb{pos, at, jump})
}

func thinModel(m model) (kept model) {
	jumped := false
	for i, c := range m {
		if i < len(m)/2 && i%2 == 1 {
			jumped = jumped || c.Start
			continue
		}
		c.Start = c.Start || jumped
		jumped = false
		kept = append(kept, c)
	}
	return kept
}

// Trails of devices that come, go and jump are what they would be if each were a slice
// of its own.
func TestBlocksHoldTheSameTrailsAsSlices(t *testing.T) {
	for _, most := range []int{1, 5, 8, 20, MaxTrail} {
		r := rand.New(rand.NewPCG(uint64(most), 4))
		s := New(Config{Trail: most})
		const devices = 40
		var trails [devices]trail
		var want [devices]model
		for step := range 20_000 {
			i := r.IntN(devices)
			if r.IntN(200) == 0 {
				s.crumbs.clear(&trails[i])
				want[i] = nil
				continue
			}
			pos := world.Pos{X: r.Uint32(), Y: r.Uint32()}
			if n := len(want[i]); n > 0 && r.IntN(3) == 0 {
				pos = want[i][n-1].Pos // where it was
			}
			at, jump := (alarmEpoch+int64(step))*1000, r.IntN(5) == 0
			s.drop(&trails[i], pos, at, jump)
			want[i].drop(pos, at, jump, most)
		}
		blocks := 0
		for i := range trails {
			var got model
			s.crumbs.walk(&trails[i], func(c crumb) { got = append(got, c.open()) })
			if !slices.Equal(got, want[i]) {
				t.Fatalf("%d crumbs a device, device %d:\ngot  %v\nwant %v", most, i, got, want[i])
			}
			blocks += (len(got) + blockSize - 1) / blockSize
		}
		for i := s.crumbs.free; i != 0; i = s.crumbs.block(i).next {
			blocks++
		}
		if blocks != int(s.crumbs.made) {
			t.Errorf("%d crumbs a device: %d blocks in trails and free, %d were made", most, blocks, s.crumbs.made)
		}
	}
}

func TestTrailsHaveABudget(t *testing.T) {
	s, c := clockedStore()
	const devices = trailBudget / MaxTrail * 2 // room for half of what one may have
	fixes := make([]client.Fix, devices)
	for round := range MaxTrail {
		c.Advance(time.Second)
		for i := range fixes {
			fixes[i] = fixOf(track.DeviceID(i+1), "x", c.At, 10, float64(round)*0.01)
		}
		s.Apply(fixes)
	}
	if kept := int(s.crumbs.made) * blockSize; kept > trailBudget+trailBudget/8 {
		t.Errorf("room for %d crumbs, the budget is %d", kept, trailBudget)
	}
	if n := len(s.Trail(nil, 0, MaxTrail)); n < MaxTrail/4 || n > MaxTrail/2 {
		t.Errorf("%d crumbs of a device", n)
	}
}
